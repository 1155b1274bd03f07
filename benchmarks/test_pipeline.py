"""The workflow around the runs: the default grid, a plan, the aggregation, the report."""

import csv
import json
import os

import pytest
import yaml
from processes import BNSTUDY, ROOT, bare_import, measure, snakemake, write_grid
from scale import aggregate, copy_runs

ROUNDS = 5
MANY = 50_000


@pytest.fixture
def study(request):
    """The results of a finished study, by default of this checkout."""
    results = request.config.getoption("study").resolve() / "results"
    if not (results / "tables/claims.csv").is_file():
        pytest.fail(f"{results} holds no finished study: run make, or name one with --study")
    return results


@pytest.fixture(scope="module")
def grid(mnist, tmp_path_factory):
    """The default grid, trained: its folder, and the seconds from start to tables."""
    folder = tmp_path_factory.mktemp("grid")
    prepared = folder / "results/data/mnist/prepared.safetensors"
    prepared.parent.mkdir(parents=True)
    prepared.hardlink_to(mnist / "prepared.safetensors")
    config = write_grid(folder / "grid.yaml")
    command = snakemake(folder, "--configfile", config, "--cores", "all", "--", "tables")
    return folder, measure(command, folder / "log")["wall_seconds"]


def test_grid_over_its_runs(record, grid):
    """Wall time against that of the runs, each from its own start to end, divided by the cores."""
    folder, wall = grid
    timings = [json.loads(p.read_text()) for p in folder.glob("results/runs/**/timing.json")]
    runs = sum(timing["wall_seconds"] for timing in timings)
    record(f"grid of {len(timings)} runs: wall", [wall], "s")
    record("grid / (its runs / cores)", [wall * os.cpu_count() / runs], "x", at_most=1.3)


def test_aggregation_of_many_runs(benchmark, record, study, tmp_path):
    """Of copies of a study's runs under other seeds."""
    copy_runs(study, tmp_path / "results", MANY)
    imports, measured = [], []

    def tables():
        measured.append(aggregate(tmp_path / "results", tmp_path / "log"))

    benchmark.pedantic(tables, setup=lambda: imports.append(bare_import()), rounds=3)
    walls = [one["wall_seconds"] for one in measured]
    name = f"aggregation of {MANY:,} runs"
    record(f"{name}: wall", walls, "s", at_most=60)
    peaks = [one["peak_memory_mb"] for one in measured]
    record(f"{name}: peak memory", peaks, "MB", at_most=2_000)
    ratios = [wall / bare for wall, bare in zip(walls, imports, strict=True)]
    record(f"{name} / bare import", ratios, "x")


def test_plan_of_the_default_study(benchmark, record, mnist, tmp_path):
    """`snakemake -n`, of a study of which nothing is there."""
    imports, walls = [], []
    command = snakemake(tmp_path, "--dry-run")

    def plan():
        walls.append(measure(command, tmp_path / "log")["wall_seconds"])

    benchmark.pedantic(plan, setup=lambda: imports.append(bare_import()), rounds=ROUNDS)
    record("snakemake -n: wall", walls, "s", at_most=2)
    ratios = [wall / bare for wall, bare in zip(walls, imports, strict=True)]
    record("snakemake -n / bare import", ratios, "x")


def test_report(benchmark, record, study, tmp_path):
    """The report of a finished study."""
    config = yaml.safe_load((study / "run_config.yaml").read_text())
    data = [study / "data" / name / "prepared.safetensors" for name in config["grid"]["dataset"]]
    command = [BNSTUDY, "report", "--config", study / "run_config.yaml"]
    command += ["--tables", study / "tables", "--claims", ROOT / "config/claims.yaml"]
    command += ["--data", *data, "--notebook", ROOT / "report/notebook.py"]
    command += ["--figures", tmp_path / "figures", "--ipynb", tmp_path / "report.ipynb"]
    command += ["--html", tmp_path / "report.html"]
    imports, walls = [], []

    def render():
        walls.append(measure(command, tmp_path / "log")["wall_seconds"])

    benchmark.pedantic(render, setup=lambda: imports.append(bare_import()), rounds=3)
    with open(study / "tables/claims.csv", newline="") as table:
        name = f"report of {len(list(csv.DictReader(table)))} claims"
    record(f"{name}: wall", walls, "s", at_most=30)
    ratios = [wall / bare for wall, bare in zip(walls, imports, strict=True)]
    record(f"{name} / bare import", ratios, "x")
