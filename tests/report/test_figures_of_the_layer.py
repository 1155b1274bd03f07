"""Figures of half of the studies: drawn from small made-up tables of the studies' columns."""

import math
from collections.abc import Callable
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml

from bnstudy.report.figures import DECLARED, FIGURES
from bnstudy.report.look import Drawing
from bnstudy.report.panels import power
from bnstudy.studies.declaration import all_options
from conftest import ROOT

LIMIT = 120_000  # bytes of one SVG
SHIFTED = DECLARED["studies"]["inference_statistics"]["shifted-images"]["looks"]
STUDIES = yaml.safe_load((ROOT / "config" / "studies.yaml").read_text(encoding="utf-8"))["studies"]


def options(study: str) -> dict:
    return all_options(STUDIES[study])


def identities(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    checks = [
        ("M1", "largest difference of the outputs to the formula", 2e-15, 0, 1e-12),
        ("M1", "largest difference of the gradient by the shift to the chain rule", 0, 0, 1e-12),
        ("M4", "largest difference of a layer's output alone and in a batch", 0, 0, 0),
        ("M9", "largest change of a logit by fusing the layers", 6e-7, 0, 1e-5),
        ("E6", "variance of a dead unit after normalization", 0, 1, 0.01),
        ("M4 slope", "slope of ln deviation over ln batch size in training mode", -0.5, -0.5, 0.1),
        *(("M7", f"relative change of the output with weights times {a:g}", 1e-15, 0, 1e-5) for a in (0.1, 10, 100)),
        *(
            (
                "M4 in training",
                f"relative deviation of an image's logits between batches of {size}",
                1 / math.sqrt(size),
                0,
                1e-5,
            )
            for size in (16, 32, 64)
        ),
        *(
            (
                "M7 with epsilon",
                f"relative change of the output with weights times {10.0**e:g}",
                10.0 ** (-6 - 2 * e) if e > -4 else 0.7,
                0,
                1e-5,
            )
            for e in range(-5, 1)
        ),
    ]
    return pd.DataFrame(
        {
            "seed": seed,
            "check": name,
            "quantity": quantity,
            "value": value * (1 + 0.1 * seed),
            "reference": reference,
            "tolerance": tolerance,
            "holds": int(abs(value - reference) <= tolerance),
            "note": None,
        }
        for seed in range(seeds)
        for name, quantity, value, reference, tolerance in checks
    )


def mechanisms(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for arm, network, seed in product(
        DECLARED["studies"]["mechanisms"]["mechanisms"]["looks"], options("mechanisms")["network"], range(seeds)
    ):
        stuck = network == "sigmoid3" and arm in ("none", "noisy_none")
        rows.append(
            {
                "arm": arm,
                "network": network,
                "seed": seed,
                "status": "ok",
                "val_loss": 2.31 if stuck else 0.2 * math.exp(rng.normal(0, 0.1)),
                "val_accuracy": 0.11 if stuck else 0.95,
                "drift": 10.0 ** rng.uniform(-7, 1),
            }
        )
    return pd.DataFrame(rows)


def small_batches(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows: list[dict] = []
    groups, _, batches = STUDIES["small_batches"]["grid"]
    designs = [("groups", "ghost", 128, size) for size in groups["group_size"]]
    designs += [("groups", norm, 128, None) for norm in ("layer", "none")]
    designs += [
        ("batches", norm, size, size if norm == "batch" else None)
        for norm in ("batch", "layer", "none")
        for size in batches["batch_size"]
    ]
    for (design, norm, batch_size, group_size), seed in product(designs, range(seeds)):
        kinds = ("running", "precise", "batch") if group_size else ("running",)
        for shift, statistics in enumerate(kinds):
            accuracy = 0.97 - 0.3 / (group_size or 10) - 0.01 * shift - 0.005 * rng.random()
            rows.append(
                {
                    "norm": norm,
                    "seed": seed,
                    "design": design,
                    "batch_size": batch_size,
                    "group_size": group_size,
                    "status": "ok",
                    "statistics": statistics,
                    "val_loss": 0.2,
                    "val_accuracy": accuracy,
                }
            )
    return pd.DataFrame(rows)


def inference_statistics(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    grid, rows = options("inference_statistics"), []

    def add(part: str, seed: int, **row: object) -> None:
        rows.append({"part": part, "seed": seed, "norm": "batch", "status": "ok"} | row)

    for seed in range(seeds):
        factor = math.exp(rng.normal(0, 0.05))
        for m in grid["staleness"]["momenta"]:
            momentum = "cumulative" if m is None else str(m)
            for step in grid["staleness"]["steps"]:
                at = {"momentum": momentum, "step": step}
                loss = factor * 2 / step**0.4
                stale = {"loss": 1.1 * loss, "mean_error": factor / step**0.3}
                add("staleness", seed, **at, statistics="running", **stale)
                add("staleness", seed, **at, statistics="precise", loss=loss)
            rest = {"mean_error": 1e-6 if m is None else 0.02 * factor}
            add("staleness", seed, momentum=momentum, step=375, statistics="frozen", **rest)
        for end in (376, 752):
            for kind, more in (
                *zip(DECLARED["studies"]["inference_statistics"]["last-batch"]["looks"], (0.1, 0.05, 0), strict=True),
                ("precise", 0),
            ):
                loss = 0.1 * factor * (1 + more * rng.random())
                add("last_batch", seed, step=end, statistics=kind, loss=loss)
        for (name, levels), arm in product(grid["shift"]["shifts"].items(), SHIFTED):
            norm, kind = arm.split()
            for level in levels:
                accuracy = {"accuracy": 0.97 - 0.1 * rng.random()}
                at = {"step": 10, "shift": name, "level": level}
                add("shift", seed, **at, **accuracy, norm=norm, statistics=kind)
    return pd.DataFrame(rows)


def regularization(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    arms = STUDIES["regularization"]["grid"]["arm"]
    for arm, seed, epoch in product(arms, range(seeds), range(1, 61)):
        last = epoch == 60
        train = 1.5 * 0.9**epoch
        rows.append(
            {
                "arm": arm,
                "seed": seed,
                "status": "ok",
                "epoch": epoch,
                "train_loss": train,
                "val_loss": train + 0.3 + 0.01 * rng.random(),
                "val_accuracy": 0.9,
                "test_accuracy": 0.88 + 0.02 * rng.random() if last else None,
                "variance_shift_1": 0.5 if last and arm == "dropout_before" else None,
                "variance_shift_2": 1 + 0.1 * rng.random() if last and arm != "none" else None,
            }
        )
    return pd.DataFrame(rows)


def timing(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    arms = [("training", "none", 1.0), ("training", "batch", 1.5), ("inference", "none", 0.2)]
    arms += [("inference", "batch", 0.3), ("inference", "fused", 0.2)]
    return pd.DataFrame(
        {
            "batch_size": size,
            "seed": seed,
            "phase": phase,
            "arm": arm,
            "milliseconds": time * math.exp(rng.normal(0, 0.03)),
        }
        for size, seed, (phase, arm, time) in product((32, 64), range(seeds), arms)
    )


def controls(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "learning_rate": rate,
            "seed": seed,
            "status": "ok",
            "n_classes": 10,
            "val_accuracy": 0.9 if rate == 0.001 else 0.3,
            "test_accuracy": 0.9 + rng.normal(0, 0.002) if rate == 0.001 else 0.3,
        }
        for rate, seed in product((0.001, 0.00001), range(2 * seeds))
    )


def calibration(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for effect, spread in product((0, 0.5, 1, 3), (0.8, 4)):
        supported = effect / 3
        rest = {"not supported": 0.75 * (1 - supported), "inconclusive": 0.25 * (1 - supported)}
        row = {"supported": supported, "refuted": 0.0} | rest
        rows.append(row | {"effect": effect, "spread": spread, "distribution": "normal"})
    return pd.DataFrame(rows).assign(studies=200, seed=0)


TABLES: dict[str, Callable] = {
    table.__name__: table
    for table in (
        identities,
        mechanisms,
        small_batches,
        inference_statistics,
        regularization,
        timing,
        controls,
        calibration,
    )
}


def table_of(study: str, seeds: int = 3) -> pd.DataFrame:
    return TABLES[study](seeds, np.random.default_rng(7)).assign(n_classes=10)


def drawings(study: str, table: pd.DataFrame) -> list[Drawing]:
    found = (function(table, options(study)) for function in FIGURES[study].values())
    return [drawing for drawing in found if drawing]


def check(drawing: Drawing) -> None:
    """What holds for every figure."""
    svg = drawing.pictures().svg
    assert svg.startswith("<svg")
    assert len(svg) < LIMIT, (drawing.label, len(svg))
    assert drawing.finding != drawing.caption
    assert len(drawing.finding.split()) <= 60
    for text in (drawing.finding, drawing.caption):
        assert text.endswith(".")
        assert "nan" not in text.lower().split()
        assert "  " not in text
        assert ".." not in text
    assert len(drawing.data)


def test_every_study_has_its_figures():
    labels = [d.label for study in TABLES for d in drawings(study, table_of(study))]
    assert len(labels) == len(set(labels)) == sum(len(FIGURES[study]) for study in TABLES)


@pytest.mark.parametrize("seeds", [1, 2, 10])
@pytest.mark.parametrize("study", TABLES)
def test_figures_for_any_number_of_seeds(study, seeds):
    for drawing in drawings(study, table_of(study, seeds)):
        check(drawing)


def test_equal_tables_give_equal_bytes():
    once, again = (drawings("small_batches", table_of("small_batches")) for _ in range(2))
    assert [d.pictures().svg for d in once] == [d.pictures().svg for d in again]


REDUCED = {
    "two mechanisms": ("mechanisms", lambda t: t[t["arm"].isin(["noisy_none", "layer"])], 2),
    "one network": ("mechanisms", lambda t: t[t["network"] == "relu5"], 2),
    "an arm on one network only": ("mechanisms", lambda t: t[(t["arm"] != "layer") | (t["network"] == "relu2")], 2),
    "no references": ("small_batches", lambda t: t[t["norm"] == "ghost"], 1),
    "no batch statistics": ("small_batches", lambda t: t[t["norm"] == "layer"], 0),
    "one group size": ("small_batches", lambda t: t[(t["norm"] == "ghost") & (t["group_size"] == 8)], 1),
    "shift only": ("inference_statistics", lambda t: t[t["part"] == "shift"], 1),
    "staleness only": ("inference_statistics", lambda t: t[t["part"] == "staleness"], 2),
    "one shift": ("inference_statistics", lambda t: t[t["shift"] == "noise"], 1),
    "no dropout": ("regularization", lambda t: t[~t["arm"].str.contains("dropout")], 2),
    "only dropout": ("regularization", lambda t: t[t["arm"].isin(["none", "none_dropout"])], 2),
    "training only": ("timing", lambda t: t[t["phase"] == "training"], 1),
    "no baseline": ("timing", lambda t: t[t["arm"] != "none"], 0),
    "one learning rate": ("controls", lambda t: t[t["learning_rate"] == 0.001], 1),
    "one run": ("controls", lambda t: t[t["seed"] == 0], 0),
    "one effect": ("calibration", lambda t: t[t["effect"] == 0.5], 1),
    "no sweep": ("identities", lambda t: t[t["check"] == "M1"], 1),
    "no tolerance": ("identities", lambda t: t[t["tolerance"] == 0], 0),
}


@pytest.mark.parametrize("case", REDUCED)
def test_reduced_grids(case):
    study, reduce, count = REDUCED[case]
    found = drawings(study, reduce(table_of(study)))
    assert len(found) == count
    for drawing in found:
        check(drawing)


def test_diverged_runs_are_drawn_as_guessing_and_counted():
    table = table_of("small_batches")
    table = table.astype({"val_accuracy": float})
    table.loc[table["seed"] == 1, ["val_loss", "val_accuracy"]] = None
    table.loc[table["seed"] == 1, "status"] = "diverged"
    (drawing,) = drawings("small_batches", table)
    check(drawing)
    runs = len(table[table["seed"] == 1][["design", "norm", "batch_size", "group_size"]].drop_duplicates())
    assert f"{runs}\N{NO-BREAK SPACE}runs diverged or ended near guessing" in drawing.caption
    assert (drawing.data[drawing.data["seed"] == 1]["value"] == 90).all()


def test_diverged_runs_of_other_studies():
    table = table_of("mechanisms")
    broken = (table["arm"] == "batch_detached") & (table["seed"] == 0)
    table.loc[broken, ["val_loss", "val_accuracy", "drift"]] = None
    table.loc[broken, "status"] = "diverged"
    for drawing in drawings("mechanisms", table):
        check(drawing)
        assert "count as guessing" in drawing.caption

    table = table_of("regularization")
    broken = (table["arm"] == "ghost_4") & (table["seed"] == 0)
    measures = [c for c in table.columns if c.endswith(("loss", "accuracy")) or "shift" in c]
    table[measures] = table[measures].astype(float)
    table.loc[broken, measures] = None
    table.loc[broken, "status"] = "diverged"
    for drawing in drawings("regularization", table):
        check(drawing)


def test_a_diverged_network_guesses_at_every_shift():
    table = table_of("inference_statistics")
    shift = table["part"] == "shift"
    broken = shift & (table["norm"] == "none") & (table["seed"] == 2)
    row = {"part": "shift", "seed": 2, "norm": "none", "status": "diverged", "n_classes": 10}
    table = pd.concat([table[~broken], pd.DataFrame([row])], ignore_index=True)
    drawing = FIGURES["inference_statistics"]["shifted-images"](table, options("inference_statistics"))
    check(drawing)
    guessed = drawing.data[(drawing.data["arm"] == "none running") & (drawing.data["seed"] == 2)]
    assert (guessed["value"] == 10).all()
    assert set(guessed["shift"]) == {"contrast", "brightness", "noise"}
    assert "1\N{NO-BREAK SPACE}run diverged" in drawing.caption


def test_identities_are_told_apart_by_their_rows():
    drawing = FIGURES["identities"]["identities"](table_of("identities", 1), {})
    assert drawing.finding.startswith("3 of 4\N{NO-BREAK SPACE}checks hold in all parts")
    assert "0.06 times its tolerance (M9)" in drawing.finding
    assert "in E6 at least one part does not" in drawing.finding
    table = table_of("identities", 1)
    kept = FIGURES["identities"]["identities"](table[table["holds"] == 1], {})
    assert "does not" not in kept.finding
    none = FIGURES["identities"]["identities"](table[table["check"] == "E6"], {})
    assert none.finding.startswith("0 of 1\N{NO-BREAK SPACE}check hold in all parts")


def test_mechanisms_are_told_by_geometric_means():
    rows = [
        {"arm": arm, "network": "relu2", "seed": seed, "status": "ok", "val_loss": loss * 2.0**seed}
        | {"val_accuracy": 0.9, "drift": 0.1, "n_classes": 10}
        for arm, loss in (("none", 0.2), ("batch", 0.1))
        for seed in (-1, 0, 1)
    ]
    drawing = FIGURES["mechanisms"]["mechanisms"](pd.DataFrame(rows), options("mechanisms"))
    assert "2 layers, ReLU: no normalization 0.2 and batch normalization 0.1" in drawing.finding


def test_timing_has_medians_and_marks_what_is_outside():
    table = table_of("timing", 30)
    slow = (table["arm"] == "batch") & (table["seed"] == 0)
    table.loc[slow, "milliseconds"] *= 50
    drawing = FIGURES["timing"]["timing"](table, options("timing"))
    check(drawing)
    training = drawing.data[drawing.data["phase"] == "training"]
    median = training[training["batch_size"] == 32]["ratio"].median()
    assert f"training: batch size 32 {median:.3g}" in drawing.finding
    assert "Drawn at the edge: 4\N{NO-BREAK SPACE}circles" in drawing.caption


def test_controls_compare_the_halves():
    rows = [
        {"learning_rate": rate, "seed": seed, "status": "ok", "n_classes": 10}
        | {"val_accuracy": accuracy, "test_accuracy": accuracy}
        for rate, values in ((0.001, (0.9, 0.8, 0.8, 0.9)), (1e-5, (0.2, 0.2, 0.2, 0.2)))
        for seed, accuracy in enumerate(values)
    ]
    drawing = FIGURES["controls"]["controls"](pd.DataFrame(rows), options("controls"))
    differences = drawing.data.groupby("control", sort=False)["value"].apply(list)
    assert differences.iloc[0] == pytest.approx([10, -10])
    assert differences.iloc[1] == pytest.approx([70, 60])
    assert "2\N{NO-BREAK SPACE}pairs" in drawing.caption


def test_numbers_are_written_for_readers():
    assert [power(x) for x in (1, 10, 1e-4)] == ["1", "10", "$10^{-4}$"]


def test_momenta_stand_in_order_and_precise_statistics_are_told_once():
    table = table_of("inference_statistics", 3)
    drawing = FIGURES["inference_statistics"]["staleness"](table, options("inference_statistics"))
    precise = drawing.data[drawing.data["momentum"] == "precise"]
    assert not precise.duplicated(["seed", "step", "measure"]).any()
    assert list(dict.fromkeys(drawing.data["momentum"]))[:2] == ["0.01", "0.1"]
