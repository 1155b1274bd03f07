"""Figures of S21 to S26, drawn from small made-up tables of the studies' columns."""

from io import StringIO
from itertools import product

import numpy as np
import pandas as pd
import pytest

from bnstudy.report.figures import FIGURES
from report.test_figures_of_training import LIMIT, NORMS, options, run_row


def residual_init(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "seed": seed, "block": block, "skip": block + rng.random(), "branch": 1.0}
        for norm, seed, block in product(NORMS, range(seeds), range(1, 19))
    )


def rank(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "seed": seed, "width": width, "layer": layer, "rank": 1 + width / layer}
        for norm, seed, width, layer in product(NORMS, range(seeds), (64, 256), range(1, 51))
    )


def edge_of_stability(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "seed": seed, "learning_rate": rate, "sharpness": 2 / rate}
        | run_row(rng, 0.8)
        | {f"sharpness:{step}": min(2 / rate, 1 + step) for step in range(0, 110, 10)}
        for norm, seed, rate in product(NORMS, range(seeds), (0.05, 0.1))
    )


def confidence(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "seed": seed, "label_noise": share, "calibration_error": 0.04 + share / 2}
        | run_row(rng, 0.85 - share / 5)
        for norm, seed, share in product(NORMS, range(seeds), (0.0, 0.4))
    )


def test_time(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    ways = {"none": ("running",), "batch": ("5", "5+16", "50", "50+16", "500", "500+16", "running")}
    return pd.DataFrame(
        {"norm": norm, "seed": seed, "statistics": way, "status": "ok", "n_classes": 10}
        | {f"accuracy_{s}": 0.9 for s in ("clean", "contrast", "brightness", "noise")}
        for norm, seed in product(NORMS, range(seeds))
        for way in ways[norm]
    )


test_time.__test__ = False


def fair_race(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "seed": seed, "steps_to_target": 900.0 if seed else None} | run_row(rng, 0.98)
        for norm, seed in product((*NORMS, "one_epoch"), range(seeds))
    )


TABLES = [residual_init, rank, edge_of_stability, confidence, test_time, fair_race]


def drawn(made, seeds: int):
    table = made(seeds, np.random.default_rng(0))
    table = pd.read_csv(StringIO(table.to_csv(index=False)))  # as the report has it
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
    drawing = figure(table[table["norm"] == norm], said)
    if made is test_time and norm == "none":
        assert drawing is None  # nothing adapts
        return
    assert "interval" not in drawing.caption
    assert drawing.pictures().svg.startswith("<svg")


def test_numbers_of_the_figures_by_hand():
    figure, table, said = drawn(edge_of_stability, 2)
    shown = figure(table, said).data
    assert shown.groupby("learning_rate")["mean"].max().tolist() == [1, 1]
    figure, table, said = drawn(test_time, 2)
    shown = figure(table, said).data
    assert set(shown.loc[shown["way"] == "blended", "group"]) == {5, 50, 500}
    assert shown.loc[shown["way"].isin(["none", "running"]), "group"].isna().all()
    assert set(shown["value"]) == {90}
