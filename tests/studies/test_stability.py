"""Fluctuations: running median, window and ratios on made-up losses."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from bnstudy.claims.endpoints.practice import pitman_morgan, pseudo_values
from bnstudy.claims.endpoints.practice import stability as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train
from bnstudy.training.observers.gradients import LossFluctuation, describe, running_median

CPU = torch.device("cpu")


def test_running_median_against_numpy():
    values = torch.randn(200, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = [np.median(values.numpy()[max(0, i - 25) : i + 26]) for i in range(200)]
    np.testing.assert_allclose(running_median(values, 51), expected)


def test_fluctuation_of_a_steady_loss_with_spikes():
    losses = torch.full((400,), 0.2, dtype=torch.float64)
    losses[10::20] = 0.5  # 150 % above the median, one step in twenty
    described = describe(losses)
    assert described["window_steps"] == 400
    assert described["fluctuation"] == pytest.approx(math.sqrt(1.5**2 / 20))
    assert described["spikes"] == described["spikes_all"] == pytest.approx(1 / 20)


def test_only_the_matched_level_counts():
    """Loss 1 without noise, then 0.2 with noise of 10 %, then 0.05 with noise of 50 %."""
    generator = torch.Generator().manual_seed(0)
    levels = torch.tensor([1.0, 0.2, 0.05]).repeat_interleave(2_000).double()
    noise = torch.tensor([0.0, 0.1, 0.5]).repeat_interleave(2_000).double()
    losses = levels * (1 + noise * (2 * torch.rand(6_000, generator=generator).double() - 1))
    described = describe(losses)
    assert described["window_steps"] == pytest.approx(2_000, abs=5)
    assert described["fluctuation"] == pytest.approx(0.1 / math.sqrt(3), rel=0.05)
    assert described["spikes"] == pytest.approx(0, abs=0.01)


def test_a_loss_that_passes_through_too_fast_is_undefined():
    described = describe(torch.tensor([1.0] * 60 + [0.01] * 60).double())
    assert described["fluctuation"] is described["spikes"] is None
    assert described["spikes_all"] is not None


def test_recorded_losses_are_those_of_the_steps(digits_data):
    """The epoch's mean of what is recorded is what the training loop itself reports."""
    data = open_prepared(digits_data)
    settings = Settings(norm="batch", batch_size=64, seed=0, hidden=(16,), epochs=2, dropout=0.2)
    splits = make_splits(data, settings, CPU)
    plain = train(make_model(64, 10, settings), splits, settings)
    model = make_model(64, 10, settings)
    recorder = LossFluctuation()
    watched = train(model, splits, settings, observers=[recorder])
    assert set(plain.metrics) < set(watched.metrics)  # watching changes nothing
    losses = torch.stack(recorder.losses).double()
    weights = torch.tensor([len(y) for _, y in splits["train"].batches(64)]).double()
    for epoch, part in enumerate(losses.split(len(weights)), start=1):
        reported = next(v for e, _, s, m, v in plain.metrics if (e, s, m) == (epoch, "train", "loss"))
        assert (part * weights).sum() / weights.sum() == pytest.approx(reported, rel=1e-6)


def table(n: int = 6) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "norm": norm,
            "batch_size": size,
            "seed": seed,
            "status": "ok",
            "n_classes": 10,
            "val_accuracy": 0.95,
            "fluctuation": 0.4 if norm == "none" else 0.2 * (size / 32),
            "spikes": 0.05 if norm == "none" else 0.02,
            "spikes_all": 0.05,
            "val_loss": 0.1 + 0.01 * rng.normal() * (3 if norm == "none" else 1),
        }
        for norm in ("none", "batch")
        for size in (32, 64)
        for seed in range(n)
    )


def test_endpoints_by_hand():
    found = endpoints(table(), {})
    fluctuation = found["fluctuation"]
    assert fluctuation.cells["batch size 32"].tolist() == pytest.approx([math.log(2)] * 6)
    assert fluctuation.cells["batch size 64"].tolist() == pytest.approx([0] * 6)
    assert fluctuation.effect.tolist() == pytest.approx([math.log(2) / 2] * 6)
    assert found["spikes"].effect.tolist() == pytest.approx([3] * 6)
    assert found["spikes_all"].effect.tolist() == pytest.approx([0] * 6)
    assert set(found["between_seeds"].cells) == {"batch size 32", "batch size 64"}
    assert "between_seeds" not in endpoints(table(2), {})


def test_an_undefined_cell_is_left_out_and_reported():
    runs = table()
    undefined = (runs["seed"] == 0) & (runs["batch_size"] == 64) & (runs["norm"] == "batch")
    runs["fluctuation"] = runs["fluctuation"].mask(undefined)
    found = endpoints(runs, {})["fluctuation"]
    assert found.effect[0] == pytest.approx(math.log(2))
    assert len(found.effect) == 6
    assert "1 of 24 runs" in found.note


def test_pseudo_values_average_to_the_jackknife_estimate():
    rng = np.random.default_rng(1)
    a, b = (pd.Series(rng.normal(0, scale, 8)) for scale in (2, 1))

    def ratio(x, y):
        return math.log(np.std(x, ddof=1) / np.std(y, ddof=1))

    left_out = np.mean([ratio(a.drop(i), b.drop(i)) for i in range(8)])
    expected = ratio(a, b) - 7 * (left_out - ratio(a, b))  # estimate minus jackknife bias
    assert pseudo_values(a, b).mean() == pytest.approx(expected)


def test_pitman_morgan_is_the_regression_test():
    """r of sum and difference, tested by t = r sqrt((n - 2) / (1 - r^2))."""
    rng = np.random.default_rng(2)
    a = pd.Series(rng.normal(0, 3, 12))
    b = pd.Series(0.3 * a + rng.normal(0, 1, 12))
    r = np.corrcoef(a + b, a - b)[0, 1]
    t = r * math.sqrt(10 / (1 - r**2))
    assert pitman_morgan(a, b) == pytest.approx(2 * stats.t.sf(abs(t), 10))
