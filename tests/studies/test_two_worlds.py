"""Every statistical claim comes out supported in a simulated world where it is true, refuted in another.

A study's table is made up without any effect, every run alike but for a little noise. Then one thing
happens to some of its rows: in the world where the claim is true to those where it should, in the other
to their opposite. Tables are written and judged as those of real studies are, in the family of all claims.
"""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml

from bnstudy import config as configuration
from bnstudy.claims import judge, listed
from bnstudy.claims.endpoints.base import as_text
from bnstudy.studies import declaration
from bnstudy.studies.declaration import CODE_STUDIES

SEEDS = list(declaration.seeds_of({}, 12))
CONFIG = yaml.safe_load((configuration.ROOT / "config/config.yaml").read_text())
CONFIG["studies"] = {name: one | {"enabled": True} for name, one in configuration.default_studies().items()}
configuration.check_config(CONFIG)
CLAIMS = listed.judged_claims(listed.LIST, CONFIG)
STATISTICAL = {claim["id"]: claim for claim in CLAIMS if claim["kind"] == "statistical"}

RUN = {"status": "ok", "n_classes": 10, "n_steps": 1000}
NOISY = {
    **dict.fromkeys(("train_accuracy", "val_accuracy", "test_accuracy", "accuracy"), 0.6),
    **dict.fromkeys(("train_loss", "val_loss", "test_loss", "loss"), 0.4),
    **dict.fromkeys(("steps_to_target", "steps_to_85", "steps_to_90", "steps_to_95"), 400.0),
    **dict.fromkeys(("gradient_range", "gradient_range_initial", "gradient_size"), 1.0),
    **dict.fromkeys(("fluctuation", "spikes", "spikes_all", "soft_rank", "window_steps"), 1.0),
    **dict.fromkeys(("drift", "bias_start", "bias_end", "sharpness", "calibration_error"), 1.0),
    **dict.fromkeys(("angle_error", "trajectory_difference", "value"), 1.0),
    **dict.fromkeys(("weight_gradient", "growth", "milliseconds"), 1.0),
    **dict.fromkeys(("skip", "branch", "rank", "mean_error"), 1.0),
    **{f"accuracy_{shift}": 0.6 for shift in ("clean", "contrast", "brightness", "noise")},
}
METRICS = ("drift", "drift_eval", "wasserstein", "wasserstein_eval", "ics_cosine", "cosine", "beta")
METRICS += ("loss_range", "ics_relative_shift")
NETWORKS = ("none_default", "none_he", "batch_relu", "batch_linear", "none_scaled", "batch_scaled")
# What a row is besides a run, or where the study is no grid of runs, all that it is.
ROWS = {
    "core": {"dataset": ["mnist"], "norm": ["none", "batch"], "batch_size": [32, 64, 128, 256]},
    "landscape": {"metric": METRICS},
    "regularization": {"epoch": [1]},
    "small_batches": {"statistics": ["running", "precise", "batch"]},
    "robustness": {"images": ["fgsm_0.1", "noise_0.2", "sign_0.1", "contrast_0.5"]},
    "init_gradients": {"network": NETWORKS, "gain": [0.5, 1, 2], "layer": range(1, 31)},
    "timing": {
        "batch_size": [32, 256],
        "phase, arm": [(p, a) for p in ("training", "inference") for a in ("none", "batch", "fused")],
    },
    "inference_statistics": {
        "part": ["shift", "staleness", "last_batch"],
        "norm": ["none", "batch"],
        "shift, level": [("contrast", 1.0), ("contrast", 0.5)],
        "statistics": ["running", "reestimated", "precise", "frozen", "kept", "statistics_dropped"],
    },
    "residual_init": {"norm": ["none", "batch"], "block": [1, 18]},
    "rank": {"norm": ["none", "batch"], "width": [64, 256], "layer": [1, 50]},
    "test_time": {"norm": ["none", "batch"], "statistics": ["5", "5+16", "50", "50+16", "500", "500+16", "running"]},
}
FIXED = {
    "init_gradients": {"depth": 30, "batch_size": 32, "theory": 1.0},
    "timing": {"parameters": 10, "buffers": 4, "saved_bytes": 100},
    "inference_statistics": {"momentum": "0.1", "step": 10},
}


def table_of(study: str) -> pd.DataFrame:
    """A row for each run of the study, or more, all alike but for noise that arms share in part."""
    said = CONFIG["studies"].get(study, {})
    rows: list[dict] = [{}]
    if study != "core" and study not in CODE_STUDIES:
        runs = declaration.runs(said | {"seeds": 1}, "mnist", 1)
        rows = [{k: v for k, v in levels.items() if k != "seed"} for levels, _ in runs]
    for names, values in ROWS.get(study, {}).items():
        keys = names.split(", ")
        rows = [
            row | dict(zip(keys, value if len(keys) > 1 else [value], strict=True))
            for row, value in product(rows, values)
        ]
    rows = [row | {"seed": seed} for seed, row in product(SEEDS, rows)]
    table = pd.DataFrame(rows).assign(**RUN, **FIXED.get(study, {}))
    rng = np.random.default_rng(5)
    shared = table["seed"].map(dict(zip(SEEDS, rng.normal(0, 0.01, 12), strict=True)))
    for name, usual in NOISY.items():
        table[name] = usual * np.exp(shared + rng.normal(0, 0.001, len(table)))
    return table


# Of claims whose endpoint is code: what happens where, as (rows, column, effect), in the world where the
# claim is true and in that where it is false. An effect is a number to multiply by.
def arms(rows: str, column: str, factor: float) -> tuple[list, list]:
    """The same thing happens to one arm or to the other."""
    other = rows.replace("'none'", "'?'").replace("'batch'", "'none'").replace("'?'", "'batch'")
    return [(rows, column, factor)], [(other, column, factor)]


def turned(rows: str, column: str, factor: float) -> tuple[list, list]:
    """The thing happens, or its reciprocal."""
    return [(rows, column, factor)], [(rows, column, 1 / factor)]


HIGH = "learning_rate > 1"
SCALED = "network == '{}_scaled' and gain {}"
WORLDS = {
    "B1a": arms("norm == 'none' and metric == 'drift'", "value", 2),
    "B1b": arms("norm == 'batch' and metric == 'ics_cosine'", "value", 1.3),
    "B2": (
        [("arm in ('batch',)", "val_loss", 0.4), ("arm == 'noisy_batch'", "drift", 10)],
        [("arm in ('batch', 'noisy_batch')", "val_loss", 0.4), ("arm == 'noisy_batch'", "drift", 10)],
    ),
    "B4": (
        [
            ("norm != ''", "val_accuracy", 1.5),
            (f"{HIGH} and not (norm == 'batch' and learning_rate <= 10)", "val_accuracy", 0.5),
        ],
        [
            ("norm != ''", "val_accuracy", 1.5),
            (f"{HIGH} and not (norm == 'none' and learning_rate <= 10)", "val_accuracy", 0.5),
        ],
    ),
    "B5": turned("norm == 'batch' and learning_rate > 0.1", "steps_to_95", 0.5),
    "B6": (
        [("norm == 'none' and (learning_rate > 1 or learning_rate < 0.1)", "val_accuracy", 0.9)],
        [("norm == 'batch' and (learning_rate > 1 or learning_rate < 0.1)", "val_accuracy", 0.9)],
    ),
    "B7": arms("norm == 'batch' and initialization == 'default'", "gradient_size", 3),
    "B7-init": (
        [(SCALED.format("none", "<= 1"), "weight_gradient", 0.01), (SCALED.format("none", "<= 1"), "growth", 0.2)],
        [(SCALED.format("batch", "<= 1"), "weight_gradient", 0.01)],
    ),
    "B8": (
        [(SCALED.format("none", ">= 1"), "weight_gradient", 100), (SCALED.format("none", ">= 1"), "growth", 5)],
        [(SCALED.format("batch", ">= 1"), "weight_gradient", 100)],
    ),
    "B8-training": arms("norm == 'none' and initialization == 'he2'", "gradient_size", 3),
    "B8-layers": (
        [("network == 'batch_scaled'", "growth", 1.5)],
        [("network == 'none_scaled'", "growth", 1.5)],
    ),
    "B9": (
        [("norm == 'none' and metric == 'beta'", "value", 2),
         ("norm == 'batch' and metric == 'cosine'", "value", 1.3)],
        [("norm == 'batch' and metric == 'beta'", "value", 2)],
    ),
    "B10a": (
        [("arm == 'none'", "val_loss", 2)],
        [("arm == 'batch'", "val_loss", 2)],
    ),
    "B10b": (
        [("arm == 'ghost_10'", "val_loss", 1.3), ("arm == 'ghost_25'", "val_loss", 1.6),
         ("arm == 'batch'", "val_loss", 2), ("arm == 'population'", "val_loss", 3)],
        [("arm == 'ghost_4'", "val_loss", 2)],
    ),
    "B11": (
        [("arm == 'none_dropout'", "test_accuracy", 1.1)],
        [("arm == 'batch_dropout'", "test_accuracy", 1.1)],
    ),
    "B12": turned("arm == 'batch_dropout'", "test_accuracy", 1.1),
    "B13": arms("norm == 'none' and gain == 10", "val_accuracy", 0.5),
    "B14": arms("norm == 'none' and initialization == 'default' and depth == 20", "val_accuracy", 0.5),
    "B14-he": arms("norm == 'none' and initialization == 'he' and depth == 20", "val_accuracy", 0.5),
    "B15": arms("norm == 'none' and initialization == 'default' and activation == 'sigmoid'", "val_accuracy", 0.5),
    "B15-he": arms("norm == 'none' and initialization == 'he' and activation == 'sigmoid'", "val_accuracy", 0.5),
    "B16": arms("norm == 'none'", "fluctuation", 2),
    "B17": arms("norm == 'none' and batch_size == 256", "val_loss", 2),
    "L1": (
        [(f"group_size == {size}", "val_accuracy", 1 - 0.5 / size) for size in (2, 4, 8, 16, 32, 64)],
        [(f"group_size == {size}", "val_accuracy", 1 + 0.5 / size) for size in (2, 4, 8, 16, 32, 64)],
    ),
    "L2": turned("arm == 'batch'", "milliseconds", 1.5),
    "L4": arms("norm == 'batch' and level == 0.5", "accuracy", 0.8),
    "M3b": turned("arm == 'batch_no_affine'", "val_loss", 1.5),
    "M10": turned("arm == 'batch_detached'", "val_loss", 1.5),
    "S18b": arms("norm == 'none'", "trajectory_difference", 7),
    "S21a": arms("norm == 'batch' and block == 18", "skip", 18),
    "S23a": arms("norm == 'batch' and layer == 50", "rank", 5),
    "S23b": turned("norm == 'batch' and layer == 50 and width == 256", "rank", 3),
    "S25a": turned("norm == 'batch' and statistics in ('50', '500')", "accuracy_contrast", 1.2),
    "S25b": turned("norm == 'batch' and statistics == '5+16'", "accuracy_contrast", 1.2),
    "S25c": turned("norm == 'batch' and statistics == 'running'", "accuracy_clean", 1.2),
    "S25d": turned("norm == 'batch' and statistics in ('50', '500')", "accuracy_contrast", 1.2),
    "S27b": (
        [("norm == 'batch' and batch_size == 8 and train_images == 6000", "test_accuracy", 0.8)],
        [("norm == 'group:4' and batch_size == 8 and train_images == 6000", "test_accuracy", 0.8)],
    ),
}  # fmt: skip


def worlds(claim: dict) -> tuple[list, list]:
    """What happens; for a claim about a metric, twice its smallest effect, one way or the other.

    There rows are named by an axis and the level that the claim is about.
    """
    if claim["id"] in WORLDS:
        return WORLDS[claim["id"]]
    column = claim["metric"].removeprefix("ln_")
    delta, usual = claim["smallest_effect"], NOISY[column]
    logarithmic = claim["scale"] == "ratio" or column != claim["metric"]
    amount = np.exp(2 * delta) if logarithmic else 1 + 2 * delta / usual
    if "accuracy" in column:
        amount = 1 + max(2 * delta / 100, 0.02) / usual
    rows = (claim["axis"], listed.written(claim["axis"], claim["level"]))
    higher, lower = [(rows, column, amount)], [(rows, column, 1 / amount)]
    return (higher, lower) if claim["direction"] == "higher" else (lower, higher)


def verdict(claim: dict, events: list, tmp_path, seeds: int = 12) -> str:
    """The verdict in the family of all claims, of which the others were not measured."""
    study = claim["study"]
    table = table_of(study)
    table = table[table["seed"].isin(SEEDS[:seeds])].copy()
    for rows, column, factor in events:
        if isinstance(rows, tuple):
            chosen = table.index[as_text(table[rows[0]]) == rows[1]]
        else:
            chosen = table.query(rows, engine="python").index
        assert len(chosen), rows
        table.loc[chosen, column] *= factor
    if study == "core":
        runs = table.assign(run="x")
        runs.to_csv(tmp_path / "runs.csv", index=False)
        metrics = table.assign(epoch=1, step=100, split="probe", metric="accuracy", value=0.9)
        metrics.to_csv(tmp_path / "metrics.csv", index=False)
        table.assign(training_seconds=1.0).to_csv(tmp_path / "timings.csv", index=False)
    else:
        table.to_csv(tmp_path / f"{study}.csv", index=False)
    said = {"options": {}} if study == "core" else configuration.enabled_studies(CONFIG)[study]
    endpoint = judge.Measured(study, said, CONFIG, tmp_path).endpoint(claim)
    (row,) = [row for row in judge.judge(CLAIMS, {claim["id"]: endpoint}) if row.id == claim["id"]]
    return row.verdict


@pytest.mark.parametrize("name", STATISTICAL)
def test_a_claim_can_come_out_both_ways(name, tmp_path):
    claim = STATISTICAL[name]
    true, false = worlds(claim)
    assert verdict(claim, true, tmp_path) == "supported"
    assert verdict(claim, false, tmp_path) == "refuted"
    least = 2 if claim["study"] == "init_gradients" else 1  # fewer are refused
    assert verdict(claim, true, tmp_path, seeds=least) == "inconclusive"
