"""Endpoints of the core grid (B3, B17, B18) from tables small enough to check by hand."""

import math

import numpy as np
import pandas as pd
import pytest

from bnstudy.claims.endpoints.base import metric_endpoint
from bnstudy.claims.endpoints.practice import core as endpoints
from bnstudy.claims.endpoints.practice import steps_to
from bnstudy.training.loop import first_step_reaching

SIZES = (32, 64, 128, 256)
BUDGET = {32: 800, 64: 400, 128: 200, 256: 100}


def run_of(norm: str, size: int, seed: int) -> dict:
    """Without normalization the loss grows by 10 % a doubling of the batch size, with it by 4 %."""
    doublings = math.log2(size / 32)
    growth = {"none": 1.10, "batch": 1.04}[norm]
    samples = {"none": 6400 * 2**doublings, "batch": 3200 * 2 ** (doublings / 3)}[norm]
    return {
        "run": f"dataset~mnist/norm~{norm}/batch_size~{size}/seed~{seed}",
        "dataset": "mnist",
        "norm": norm,
        "batch_size": size,
        "seed": seed,
        "status": "ok",
        "val_loss": 0.2 * growth**doublings,
        "val_accuracy": 0.95,
        "test_accuracy": {"none": 0.950, "batch": 0.953}[norm] + 0.001 * seed,
        "steps_to_target": samples / size,
        "n_classes": 10,
        "n_steps": BUDGET[size],
    }


def tables(seeds: int = 3) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    runs = pd.DataFrame(
        run_of(norm, size, seed) for norm in ("none", "batch") for size in SIZES for seed in range(seeds)
    )
    keys = ["dataset", "norm", "batch_size", "seed"]
    metrics = []
    for run in runs.to_dict("records"):
        where = {key: run[key] for key in keys}
        budget = BUDGET[run["batch_size"]]
        for step in range(0, budget + 1, budget // 4):
            accuracy = 0.5 + 0.49 * step / budget
            metrics.append(
                where | {"epoch": 1, "step": step, "split": "probe", "metric": "accuracy", "value": accuracy}
            )
        metrics.append(
            where | {"epoch": 1, "step": budget, "split": "validation", "metric": "loss", "value": run["val_loss"]}
        )
    timings = runs[["run", *keys]].assign(
        # A normalized step costs 1.5 times as much.
        training_seconds=[BUDGET[r.batch_size] * {"none": 0.001, "batch": 0.0015}[r.norm] for r in runs.itertuples()]
    )
    return runs, pd.DataFrame(metrics), timings


AXES = ["dataset", "norm", "batch_size", "seed"]
FASTER = {"metric": "ln_steps_to_target", "direction": "lower", "unit": "ln ratio"}
BETTER = {"metric": "test_accuracy", "direction": "higher", "unit": "percentage points"}
USUAL = {"axis": "norm", "baseline": "none", "level": "batch", "scale": "difference", "where": {}}


def metric_of(runs: pd.DataFrame, claim: dict):
    return metric_endpoint(USUAL | claim, runs, AXES)


def test_convergence_by_hand():
    found = endpoints(*tables())
    steps = metric_of(tables()[0], FASTER)
    # Samples: 6400 2^k against 3200 2^(k/3), k = 0..3.
    for k, size in enumerate(SIZES):
        ratio = math.log(2) * (1 + k * 2 / 3)
        assert steps.cells[f"batch size {size}"].tolist() == pytest.approx([ratio] * 3)
    assert steps.effect.tolist() == pytest.approx([2 * math.log(2)] * 3)
    assert steps.note.startswith("0 of ")
    seconds = found["seconds_to_target"].effect
    assert seconds.tolist() == pytest.approx([2 * math.log(2) - math.log(1.5)] * 3)
    assert found["first_epoch_loss"].effect.tolist() == pytest.approx([1.5 * math.log(1.10 / 1.04)] * 3)
    assert found["steps_to_97"].effect.tolist() == pytest.approx([0] * 3)


def test_dependence_on_the_batch_size_by_hand():
    found = endpoints(*tables())
    assert found["batch_size_slope"].effect.tolist() == pytest.approx([3 * math.log(1.10 / 1.04)] * 3)
    # Samples from 32 to 256: times 8 without, times 2 with batch normalization.
    assert found["batch_size_samples"].effect.tolist() == pytest.approx([math.log(4)] * 3)


def test_a_loss_that_falls_with_the_batch_size_depends_on_it_as_much():
    runs, metrics, timings = tables()
    batch = runs["norm"] == "batch"
    runs.loc[batch, "val_loss"] = 0.04 / runs.loc[batch, "val_loss"]  # falls by 4 % a doubling
    found = endpoints(runs, metrics, timings)
    assert found["batch_size_slope"].effect.tolist() == pytest.approx([3 * math.log(1.10 / 1.04)] * 3)


def test_accuracy_by_hand():
    found = metric_of(tables()[0], BETTER)
    assert found.effect.tolist() == pytest.approx([0.3] * 3)
    assert list(found.cells) == [f"batch size {size}" for size in SIZES]
    worse = metric_of(tables()[0], BETTER | {"direction": "lower"})
    assert worse.effect.tolist() == pytest.approx([-0.3] * 3)
    ratio = metric_of(tables()[0], BETTER | {"scale": "ratio"})
    assert ratio.effect.iloc[0] == pytest.approx(math.log(95.3 / 95.0))
    part = metric_of(tables()[0], BETTER | {"where": {"batch_size": 64, "seed": [0, 2]}})
    assert (list(part.effect.index), part.cells) == ([0, 2], {})


def test_runs_that_diverged_or_never_arrived_stand_at_the_budget():
    runs, metrics, timings = tables()
    first = (runs["norm"] == "batch") & (runs["batch_size"] == 32) & (runs["seed"] == 0)
    runs.loc[first, ["status"]] = "diverged"
    runs.loc[first, ["val_loss", "val_accuracy", "test_accuracy", "steps_to_target"]] = np.nan
    second = (runs["norm"] == "none") & (runs["batch_size"] == 64) & (runs["seed"] == 1)
    runs.loc[second, "steps_to_target"] = np.nan
    timings.loc[first, "training_seconds"] = 0.0
    found = endpoints(runs, metrics, timings)
    assert found["seconds_to_target"].cells["batch size 32"][0] == pytest.approx(math.log(200 / (800 * 1.5)))
    steps = metric_of(runs, FASTER)
    assert steps.note.startswith("2 of ")
    assert steps.cells["batch size 32"][0] == pytest.approx(math.log(200 / 800))
    assert steps.cells["batch size 64"][1] == pytest.approx(math.log(400 / (3200 * 2 ** (1 / 3) / 64)))
    assert metric_of(runs, BETTER).cells["batch size 32"][0] == pytest.approx(10 - 95)


def test_steps_to_agrees_with_the_training_loop():
    rng = np.random.default_rng(0)
    for seed in range(20):
        values = np.sort(rng.random(12)) + 0.2 * rng.normal(size=12)
        probes = pd.DataFrame(
            {"step": 25 * np.arange(12), "value": values, "split": "probe", "metric": "accuracy"}
        ).assign(dataset="mnist", norm="none", batch_size=32, seed=seed)
        expected = first_step_reaching(list(zip(probes["step"], values, strict=True)), 0.6)
        assert steps_to(probes.sample(frac=1, random_state=1), 0.6).tolist() == ([] if expected is None else [expected])


def test_without_both_arms_or_several_batch_sizes():
    runs, metrics, timings = tables()
    assert endpoints(runs.loc[runs["norm"] == "none"], metrics, timings) == {}
    one = runs.loc[runs["batch_size"] == 64]
    assert "batch_size_slope" not in endpoints(one, metrics, timings)
