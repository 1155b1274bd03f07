"""Figures of S17 to S20 and S27, drawn from small made-up tables of the studies' columns."""

from io import StringIO
from itertools import product

import numpy as np
import pandas as pd
import pytest

from bnstudy.report.figures import FIGURES
from report.test_figures_of_training import LIMIT, NORMS, options, run_row


def robustness(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    images = ("fgsm_0.02", "fgsm_0.1", "sign_0.02", "sign_0.1", "noise_0.2", "contrast_0.5")
    return pd.DataFrame(
        {"norm": norm, "weight_decay": decay, "seed": seed}
        | run_row(rng, 0.97)
        | {"images": one, "test_accuracy": 0.9 - 0.3 * (norm == "batch")}
        for norm, decay, seed, one in product(NORMS, (0.0, 1.0), range(seeds), images)
    )


def weight_decay(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "weight_decay": decay, "seed": seed, "angle_error": 0.1}
        | run_row(rng, 0.95)
        | {f"angular_update:{layer}": (0.2 * decay) ** 0.5 for layer in (1, 2)}
        for norm, decay, seed in product(NORMS, (0.005, 0.01, 0.02), range(seeds))
    )


def large_batches(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    cells = [*product(NORMS, (128, 1024, 4096), ("scaled",)), ("ghost:64", 4096, "scaled")]
    cells += product(NORMS, (4096,), ("fixed",))
    return pd.DataFrame(
        {"norm": norm, "batch_size": size, "rate": rate, "seed": seed}
        | run_row(rng, float("nan") if norm == "none" and size == 4096 else 0.85)
        for norm, size, rate in cells
        for seed in range(seeds)
    )


def affine_only(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"trained": trained, "seed": seed} | run_row(rng, accuracy)
        for trained, accuracy in (("all", 0.97), ("affine", 0.8), ("random", 0.7), ("output", 0.8))
        for seed in range(seeds)
    )


def convolutional(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    cells = [*product(("none", "batch", "group:4", "layer"), (8, 128), (6000,)), ("batch", 128, 600)]
    return pd.DataFrame(
        {"norm": norm, "batch_size": size, "train_images": images, "seed": seed} | run_row(rng, 0.85)
        for norm, size, images in cells
        for seed in range(seeds)
    )


TABLES = [robustness, weight_decay, large_batches, affine_only, convolutional]


def drawn(made, seeds: int):
    table = made(seeds, np.random.default_rng(0))
    table = pd.read_csv(StringIO(table.to_csv(index=False)), keep_default_na=False, na_values=[""])
    (figure,) = FIGURES[made.__name__].values()
    return figure, table, options(made.__name__)


@pytest.mark.parametrize("made", TABLES)
def test_figure_is_drawn_for_page_and_phone(made):
    figure, table, said = drawn(made, 12)
    drawing = figure(table, said)
    assert drawing.finding.strip()
    assert "nan" not in drawing.finding + drawing.caption
    assert len(drawing.pictures().svg) < LIMIT


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("made", TABLES)
def test_a_single_run_of_a_single_arm_is_drawn(made, norm):
    figure, table, said = drawn(made, 1)
    table = table[table["norm"] == norm] if "norm" in table else table[table["trained"] == "affine"]
    drawing = figure(table, said)
    assert "with their" not in drawing.caption
    assert drawing.pictures().svg.startswith("<svg")


def test_values_of_the_figures_by_hand():
    figure, table, said = drawn(robustness, 2)
    shown = figure(table, said).data
    attack = shown[(shown["kind"] == "fgsm") & (shown["arm"] == "batch decayed")]
    assert attack.groupby("size")["value"].mean().to_dict() == pytest.approx({0.02: 60, 0.1: 60})
    figure, table, said = drawn(large_batches, 2)
    drawing = figure(table, said)
    assert "4 runs diverged or ended near guessing" in drawing.caption.replace("\N{NO-BREAK SPACE}", " ")
    failed = (drawing.data["norm"] == "none") & (drawing.data["batch_size"] == 4096)
    assert set(drawing.data.loc[failed, "value"]) == {10}
