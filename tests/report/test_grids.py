"""The notebook on every odd shape of study: nothing crashes, nothing dangles."""

from pathlib import Path

import nbformat
import pytest
import synthetic

from bnstudy.report.command import read_notebook
from bnstudy.report.rendering import page_of
from conftest import ROOT

SOURCE = ROOT / "report" / "notebook.py"
SEEDS = (0, 1, 2)
STUDIES = {
    "one seed": ({"seed": [3]}, {}),
    "one batch size, nobody arrives": ({"batch_size": [32]}, {"floor": 0.2}),
    "baseline only": ({"norm": ["none"]}, {}),
    "no baseline": ({"norm": ["batch"]}, {}),
    "one run": ({"norm": ["batch"], "batch_size": [64], "seed": [0]}, {}),
    "layer norm, diverged runs": (
        {"norm": ["batch", "layer", "none"]},
        {"diverged": [("none", 32, 0), ("layer", 64, 1), ("layer", 64, 2)]},
    ),
    "all of an arm diverged": ({"batch_size": [32], "seed": [0, 1]}, {"diverged": [("none", 32, 0), ("none", 32, 1)]}),
    "everything diverged": (
        {"batch_size": [32], "seed": [0, 1]},
        {"diverged": [(norm, 32, seed) for norm in ("none", "batch") for seed in (0, 1)]},
    ),
    "one cell lacks": ({}, {"lacking": [("none", 64, s) for s in SEEDS]}),
    "one arm lacks": ({}, {"lacking": [("batch", b, s) for b in (32, 64) for s in SEEDS]}),
    "no pair at any size": ({}, {"lacking": [("batch", 32, s) for s in SEEDS] + [("none", 64, s) for s in SEEDS]}),
    "layer norm, one diverged, one lacks": (
        {"norm": ["batch", "layer", "none"]},
        {"diverged": [("none", 32, 0)], "lacking": [("none", 32, 1), ("layer", 64, 2)]},
    ),
    "two datasets": ({"dataset": ["digits", "cifar10"], "seed": [0, 1]}, {}),
}


def executed(parameters: dict, monkeypatch: pytest.MonkeyPatch, source: Path = SOURCE) -> nbformat.NotebookNode:
    """The notebook, run in this process without a kernel."""
    nb = read_notebook(source, synthetic.config())
    outputs: list = []

    def display(shown: object, metadata: dict | None = None, raw: bool = False) -> None:
        data = shown if raw else {"text/markdown": shown.data}
        outputs.append(nbformat.v4.new_output("display_data", data, metadata=metadata or {}))

    monkeypatch.setattr("bnstudy.report.reporting.display", display)
    namespace: dict = {}
    for cell in nb.cells:
        if cell.cell_type == "code":
            exec(compile(cell.source, source.name, "exec"), namespace)  # noqa: S102 (our own source)
            if "parameters" in cell.metadata.get("tags", []):
                namespace |= parameters
            cell.outputs, outputs[:] = list(outputs), []
    return nb


@pytest.mark.parametrize("name", STUDIES)
def test_report_of_an_odd_study(name, tmp_path, images, monkeypatch):
    grid, options = STUDIES[name]
    data = [images]
    if "cifar10" in grid.get("dataset", []):
        data.append(synthetic.write_images(tmp_path / "c.safetensors", "cifar10", colour=True))
    synthetic.write_study(tmp_path, synthetic.config(**grid), data, **options)
    parameters = {
        "config": str(tmp_path / "results" / "run_config.yaml"),
        "tables": str(tmp_path / "results" / "tables"),
        "claims": str(ROOT / "config" / "claims.yaml"),
        "data": [str(path) for path in data],
    }
    nb = executed(parameters, monkeypatch)
    page = page_of(nb, SOURCE.parent / "templates")
    assert ">nan" not in page
    assert " nan" not in page.split("<footer>")[0]
    if "norm" in grid and "none" not in grid["norm"]:
        assert "no baseline to compare with" in page
    assert (">What is missing <" in page) == ("lacking" in options)
    if name == "two datasets":
        assert 'id="fig-curves-cifar10"' in page


def test_datasets_may_be_what_is_compared(tmp_path, images, monkeypatch):
    data = [images, synthetic.write_images(tmp_path / "c.safetensors", "cifar10", colour=True)]
    grid = {"norm": ["none"], "dataset": ["digits", "cifar10"], "batch_size": [64]}
    synthetic.write_study(tmp_path, synthetic.config("dataset", "digits", **grid), data)
    parameters = {
        "config": str(tmp_path / "results" / "run_config.yaml"),
        "tables": str(tmp_path / "results" / "tables"),
        "data": [str(path) for path in data],
    }
    nb = executed(parameters, monkeypatch, ROOT / "report" / "question.py")
    page = page_of(nb, SOURCE.parent / "templates")
    for name in ("Digits", "Cifar10"):
        assert f"Trainable parameters of the networks for {name}" in page
        assert f"SHA-256 of {name}" in page
