"""Figures of the main comparison: their numbers, and studies of every shape and treatment."""

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic
import torch

from bnstudy.data.prepared import PreparedData, open_prepared
from bnstudy.report import figures, pictures
from bnstudy.report.figures import frontier
from bnstudy.report.look import Drawing
from bnstudy.report.results import DatasetFacts, Results

LIMIT = 200_000  # bytes of one SVG, of a study of twenty cells
FACTS = {"digits": DatasetFacts("Digits", 10, 400, 100)}
SEEDS = (0, 1, 2)
OF_RESULTS = (
    figures.learning_curves,
    figures.train_against_validation,
    figures.probe_curves,
    figures.steps_to_target,
    figures.accuracy_by_time,
)


def study(accuracies: dict, training_seconds: dict) -> Results:
    """Runs of one dataset, by norm, batch size and seed: accuracies at steps 0, 10 and 20."""
    keys = ["norm", "batch_size", "seed"]
    cells = [dict(zip(keys, key, strict=True)) | {"dataset": "digits"} for key in accuracies]
    runs = pd.DataFrame(cells).assign(status="ok", n_steps=20)
    metrics = [
        cell | {"epoch": 1, "step": step, "split": "probe", "metric": "accuracy", "value": value}
        for cell, values in zip(cells, accuracies.values(), strict=True)
        for step, value in zip((0, 10, 20), values, strict=True)
    ]
    timings = [cell | {"training_seconds": training_seconds[cell["norm"], cell["batch_size"]]} for cell in cells]
    axes = {key: list(dict.fromkeys(cell[key] for cell in cells)) for key in ["dataset", *keys]}
    return Results(
        synthetic.config() | {"grid": axes}, FACTS, runs, pd.DataFrame(metrics), pd.DataFrame(timings), pd.DataFrame()
    )


def test_accuracy_by_time_by_hand():
    results = study(
        {
            ("none", 32, 0): (0.1, 0.7, 0.9),
            ("none", 32, 1): (0.1, 0.9, 0.9),
            ("none", 64, 0): (0.1, 0.6, 0.96),
            ("none", 64, 1): (0.1, 0.6, 0.96),
            ("batch", 32, 0): (0.1, 0.5, 0.6),
            ("batch", 32, 1): (0.1, 0.5, 0.6),
            ("batch", 64, 0): (0.1, 0.4, 0.5),
            ("batch", 64, 1): (0.1, 0.4, 0.5),
        },
        {("none", 32): 4.0, ("none", 64): 8.0, ("batch", 32): 6.0, ("batch", 64): 1.0},
    )
    drawing = figures.accuracy_by_time(results, "digits")
    drawn = drawing.data.set_index(["norm", "batch_size", "step"])
    assert drawn.loc[("none", 32, 10), "mean"] == pytest.approx(0.8)
    assert drawn.loc[("none", 32, 10), "seconds"] == pytest.approx(2.0)
    assert drawn.loc[("none", 64, 20), "seconds"] == pytest.approx(8.0)
    # At 4 s: 0.9 at batch size 32 and 0.6 at 64.
    best = frontier(drawing.data[drawing.data["norm"] == "none"].rename(columns={"mean": "value"}))
    assert best.to_numpy().ravel() == pytest.approx([2.0, 0.8, 4.0, 0.9, 8.0, 0.96])
    assert drawing.pictures().svg.startswith("<svg")


def test_a_run_on_its_own_has_no_frontier_and_an_arm_that_never_ran_a_step_no_time():
    results = study({("batch", 32, 0): (0.1, 0.96, 0.97)}, {("batch", 32): 2.0})
    drawing = figures.accuracy_by_time(results, "digits")
    assert "Best of all" not in drawing.caption
    broken = study({("none", 32, 0): (0.1, 0.1, 0.1)}, {("none", 32): math.nan})
    drawing = figures.accuracy_by_time(broken, "digits")
    assert drawing.pictures().svg.startswith("<svg")


@pytest.fixture(scope="session")
def made_up(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Callable[..., Results]:
    """The results of a made-up study with the axes of the grid given."""

    def write(config: dict, **options: object) -> Results:
        folder = tmp_path_factory.mktemp("study")
        synthetic.write_study(folder, config, [images], **options)
        results = folder / "results"
        return Results.load(results / "run_config.yaml", results / "tables", FACTS)

    return write


def drawings(results: Results) -> list[Drawing]:
    drawn = [figure(results, "digits") for figure in OF_RESULTS]
    if "batch_size" in results.cell_axes:
        drawn.append(figures.batch_size_effect(results, "digits"))
    return drawn + [figures.paired_differences(results, "digits", k) for k in results.treatments]


every = [(norm, size, seed) for norm in ("none", "batch") for size in (32, 64) for seed in SEEDS]
DROPOUT = {"norm": ["batch"], "dropout": [0.0, 0.2, 0.5], "batch_size": [64]}
MANY = {"learning_rate": [0.001, 0.003, 0.01, 0.03, 0.1], "batch_size": [16, 32, 64, 128]}
SHAPES = {
    "the usual": (synthetic.config(), {}),
    "one run": (synthetic.config(norm=["none"], batch_size=[64], seed=[0]), {}),
    "no baseline": (synthetic.config(norm=["batch"]), {}),
    "nobody arrives": (synthetic.config(batch_size=[32]), {"floor": 0.2}),
    "all diverged": (synthetic.config(), {"diverged": every}),
    "half a level diverged": (synthetic.config(), {"diverged": every[:7]}),
    "no pair at any size": (synthetic.config(), {"lacking": [*every[:3], *every[9:]]}),
    "dropout": (synthetic.config("dropout", 0.0, **DROPOUT), {}),
    "nine levels": (
        synthetic.config("dropout", 0.0, norm=["none"], dropout=[i / 10 for i in range(9)], seed=[0, 1]),
        {},
    ),
    "twenty cells": (synthetic.config(**MANY, seed=[0, 1]), {}),
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.filterwarnings("error::UserWarning")
def test_a_study_of_any_shape_is_drawn(shape, made_up):
    config, options = SHAPES[shape]
    drawn = drawings(made_up(config, **options))
    for drawing in drawn[::3] if shape in ("nine levels", "twenty cells") else drawn:
        said = drawing.finding + drawing.caption
        assert drawing.finding.strip()
        assert drawing.finding != drawing.caption
        assert len(drawing.finding.split()) <= 80
        for wrong in ("nan", "None", "np.", "  ", "batch normalization" * ("dropout" in config["grid"])):
            assert not wrong or wrong not in said
        svg = drawing.pictures().svg
        ET.fromstring(svg)
        assert len(svg) < LIMIT


def test_figures_speak_of_the_treatment_that_is_compared(made_up):
    results = made_up(synthetic.config("dropout", 0.0, **DROPOUT))
    curves = figures.learning_curves(results, "digits")
    assert "dropout 0 95.5" in curves.finding
    assert "dropout 0.5 97.4" in curves.finding
    assert list(curves.data.columns[:2]) == ["metric", "dropout"]
    last = figures.paired_differences(results, "digits", 0.5)
    assert "Differences between dropout 0.5 and dropout 0 on Digits" in last.caption
    assert last.label == "paired-0-5"


def test_paired_differences_are_those_of_the_comparison(made_up):
    results = made_up(synthetic.config(seed=[0, 1, 2, 3]), lacking=[("none", 32, 3)])
    data = figures.paired_differences(results, "digits", "batch").data
    runs = results.runs.set_index(["norm", "batch_size", "seed"])["test_accuracy"]
    by_hand = 100 * (runs["batch", 64, 3] - runs["none", 64, 3])
    of = data.set_index(["metric", "cell", "seed"])["value"]
    assert of["test_accuracy", "batch size 64", 3] == pytest.approx(by_hand)
    assert ("test_accuracy", "batch size 32", 3) not in of.index
    overall = data[(data["metric"] == "ln_steps_to_target") & (data["cell"] == "all")]["value"]
    tabled = results.compare("digits", "batch", "ln_steps_to_target")
    assert len(overall) == tabled.n == 3
    assert np.log(overall).mean() == pytest.approx(tabled.difference)


def test_curves_hold_the_means_of_the_metrics(made_up):
    results = made_up(synthetic.config())
    data = figures.learning_curves(results, "digits").data
    rows = results.metrics.query("split == 'validation' and metric == 'loss' and epoch == 2")
    mean = rows.query("norm == 'batch' and batch_size == 64")["value"].mean()
    drawn = data.set_index(["metric", "norm", "batch_size", "epoch"])["mean"]
    assert drawn["loss", "batch", 64, 2] == pytest.approx(mean)


def test_images_of_any_number_of_classes_and_channels(images, tmp_path):
    colour = open_prepared(synthetic.write_images(tmp_path / "c.safetensors", "cifar10", colour=True))
    for data, n in ((open_prepared(images), 10), (colour, 10), (many_classes(colour, 45), 20)):
        samples = pictures.sample_images(data)
        assert samples.data["class"].nunique() == n
        balance = pictures.class_balance(data)
        assert len(balance.data) == len(data.classes)
        assert balance.data["training and validation images"].sum() == len(data.train_labels)
        for drawing in (samples, balance):
            ET.fromstring(drawing.pictures().svg)


def many_classes(data: PreparedData, n: int) -> object:
    """The same images with more classes, the last of which has a single one."""
    from types import SimpleNamespace

    labels = torch.arange(len(data.train_labels)) % (n - 1)
    labels[0] = n - 1
    return SimpleNamespace(
        train_labels=labels,
        test_labels=labels[: len(data.test_labels)],
        train_images=data.train_images,
        classes=tuple(f"class {i}" for i in range(n)),
        pixel_max=data.pixel_max,
        title=data.title,
    )


def test_the_layer_is_drawn_for_page_and_phone():
    table = pd.DataFrame({"input": [4.0, 5, 7, 8], "normalized": [-1.26, -0.63, 0.63, 1.26]})
    four = pictures.four_samples(table)
    assert "mean moves from 6.00 to 0.00" in four.finding
    for drawing in (four, pictures.computation()):
        ET.fromstring(drawing.pictures().svg)
