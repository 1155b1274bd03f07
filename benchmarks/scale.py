"""Measure how the workflow grows with the number of runs: dry run, jobs, aggregation.

`python benchmarks/scale.py --results results` after `make`: the runs there are copied under other
seeds, so that files have their real sizes, and no network is trained. Each measurement is one whole
process, timed from start to end. Nothing is extrapolated: `scale.svg` shows what was measured.
"""

import argparse
import json
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import yaml
from matplotlib.figure import Figure
from processes import BNSTUDY, RESULTS, ROOT, machine, measure, read_table, say, snakemake, write_grid, write_table

from bnstudy.provenance import config_sha256
from bnstudy.report.look import PAPER, Drawing
from bnstudy.report.panels import small_multiples
from bnstudy.settings import make, run_name
from bnstudy.training.command import seal
from bnstudy.training.observers import asked_of_run

AXES = {"dataset": ["mnist"], "norm": ["none", "batch"], "batch_size": [32, 64, 128, 256]}
ARMS = [{"dataset": "mnist", "norm": norm, "batch_size": size} for norm in AXES["norm"] for size in AXES["batch_size"]]
# What is drawn of each measurement: colour (of seaborn's colour-blind-safe palette), dashes, marker.
STYLES = {
    "dry run": ("#0173b2", "solid", "o"),
    "dry run of a tenth": ("#029e73", (0, (4, 1.4, 1, 1.4)), "D"),
    "jobs": ("#de8f05", (0, (4, 1.6)), "s"),
    "jobs, all ready ones weighed": ("#d55e00", "none", "P"),
    "jobs, ilp scheduler": ("#cc78bc", "none", "^"),
    "aggregation": ("#1b1f24", (0, (1.5, 1.2)), "v"),
}

# Settings instead of the default profile's. What they take grows with the square of the runs.
SLOWER = {
    "jobs, all ready ones weighed": ("--scheduler-subsample", str(10**9)),
    "jobs, ilp scheduler": ("--scheduler-subsample", str(10**9), "--scheduler", "ilp"),
}
SLOWER_RUNS = 1_000

# Stands in for everything before the aggregation. The files of a run are there at once, so that what
# is left of the time is Snakemake's own.
STUB = """#!/bin/sh
command=$1
while [ $# -gt 0 ]; do
  case $1 in
    --norm) norm=$2 ;; --batch-size) size=$2 ;; --seed) seed=$2 ;; --out) out=$2 ;;
  esac
  shift
done
case $command in
  download) mkdir -p "$out" ;;
  prepare) : > "$out" ;;
  train) cp {templates}/norm~"$norm"/batch_size~"$size"/seed~1000/* "$out" ;;
esac
"""


def grid_of(runs: int) -> dict[str, list]:
    """A grid of so many runs: the arms under as many seeds."""
    return AXES | {"seed": list(range(runs // len(ARMS)))}


def copy_runs(results: Path, out: Path, runs: int) -> None:
    """Copies of the default study's runs of its first seed under the seeds 0, 1, 2, ..., and their
    configuration.
    """
    files = [ROOT / "config" / f"{name}.yaml" for name in ("config", "studies")]
    config = {k: v for path in files for k, v in yaml.safe_load(path.read_text()).items()}
    first = config["grid"]["seed"][0]
    config["grid"] = grid_of(runs)
    out.mkdir(parents=True)
    (out / "run_config.yaml").write_text(yaml.safe_dump(config))
    for arm in ARMS:
        source = run_name(make(arm | {"seed": first}))
        run = json.loads((results / "runs" / source / "run.json").read_text())
        timing, metrics = ((results / "runs" / source / name).read_text() for name in ("timing.json", "metrics.csv"))
        benchmark = (results / "benchmarks/train" / f"{source}.tsv").read_text()
        for seed in config["grid"]["seed"]:
            settings = run["settings"] | {"seed": seed}
            name = run_name(make(arm | {"seed": seed}))
            sha256 = config_sha256(asked_of_run(settings, run["observers"]))
            own = run | {"run": name, "settings": settings, "config_sha256": sha256}
            folder = out / "runs" / name
            folder.mkdir(parents=True)
            (folder / "run.json").write_text(json.dumps(own))
            (folder / "timing.json").write_text(timing)
            (folder / "metrics.csv").write_text(metrics)
            seal(folder)
            tsv = out / "benchmarks/train" / f"{name}.tsv"
            tsv.parent.mkdir(parents=True, exist_ok=True)
            tsv.write_text(benchmark)


def environment_with_stub(folder: Path, templates: Path) -> Path:
    """The Python of an environment like this one, but for the command `bnstudy`.

    The workflow looks for that beside the interpreter it runs from.
    """
    bin_folder = folder / "bin"
    bin_folder.mkdir(parents=True)
    shutil.copy(Path(sys.prefix, "pyvenv.cfg"), folder)
    (folder / "lib").symlink_to(Path(sys.prefix, "lib"))
    python = bin_folder / "python"
    python.symlink_to(Path(sys.executable).resolve())
    stub = bin_folder / "bnstudy"
    stub.write_text(STUB.format(templates=shlex.quote(str(templates))))
    stub.chmod(0o755)
    return python


def command_for(folder: Path, runs: int, *options: str, python: Path | str = sys.executable) -> list[object]:
    """The command that runs the workflow in a folder of its own, for so many runs."""
    folder.mkdir(parents=True, exist_ok=True)
    config = write_grid(folder / "scale.yaml", grid=grid_of(runs))
    return snakemake(folder, "--configfile", config, *options, python=python)


def measure_dry_run(folder: Path, runs: int, log: Path) -> dict:
    return measure(command_for(folder, runs, "-n", "--", "tables"), log)


def measure_batch(folder: Path, runs: int, log: Path) -> dict:
    """A dry run of a tenth of the runs.

    Batches are cut from the sorted inputs of the aggregation, of which the benchmark files come
    first: a quarter of them, one for each run. So 1/40 of the inputs stands for 1/10 of the runs.
    """
    options = ("-n", "--batch", "aggregate=1/40", "--", "aggregate")
    return measure(command_for(folder, runs, *options), log)


def measure_jobs(python: Path, folder: Path, runs: int, cores: int, settings: Sequence[str], log: Path) -> dict:
    """All jobs up to training, done by the stub."""
    options = ("--cores", str(cores), *settings, "--until", "train", "--", "tables")
    return measure(command_for(folder, runs, *options, python=python), log)


def aggregate(folder: Path, log: Path) -> dict:
    """The tables of all runs in a folder of results."""
    command = [BNSTUDY, "aggregate", folder / "run_config.yaml", "--results", folder]
    return measure(command, log)


def measure_aggregation(results: Path, folder: Path, runs: int, log: Path) -> dict:
    copy_runs(results, folder, runs)
    measured = aggregate(folder, log)
    shutil.rmtree(folder)
    return measured


def measure_all(options: argparse.Namespace, scratch: Path, table: Path) -> None:
    """Add a row to the table after each measurement, the smallest ones first."""
    log = scratch / "log"
    results = options.results.resolve()
    python = environment_with_stub(scratch / "environment", results / "runs/dataset~mnist")
    for runs in sorted(options.runs):
        steps = {
            "dry run": lambda n: measure_dry_run(scratch / f"dry-{n}", n, log),
            "dry run of a tenth": lambda n: measure_batch(scratch / f"dry-{n}", n, log),
            "aggregation": lambda n: measure_aggregation(results, scratch / f"runs-{n}", n, log),
        }
        for what, settings in {"jobs": (), **SLOWER}.items():
            if runs <= (SLOWER_RUNS if settings else options.jobs):
                steps[what] = lambda n, what=what, settings=settings: measure_jobs(
                    python, scratch / f"{what}-{n}", n, options.cores, settings, log
                )
        for what, step in steps.items():
            if what in options.what:
                measured = step(runs)
                say(f"{what}, {runs:,} runs: {measured['wall_seconds']:.1f} s")
                add_row(table, {"what": what, "runs": runs, **measured})


def add_row(path: Path, row: dict) -> None:
    """Put a row in the place of an older one of the same measurement."""
    row = {k: f"{v:.6g}" if isinstance(v, float) else str(v) for k, v in row.items()}
    about = machine() | {"snakemake": version("snakemake")}
    row |= {key: str(value) for key, value in about.items()}
    rows = [old for old in read_table(path) if (old["what"], old["runs"]) != (row["what"], row["runs"])]
    rows = sorted([*rows, row], key=lambda r: (list(STYLES).index(r["what"]), int(r["runs"])))
    write_table(path, rows)


COLUMNS = {"cpu_seconds": "Processor time (s)", "peak_memory_mb": "Peak memory of a process (MB)"}


def draw(rows: list[dict[str, str]]) -> str:
    """Processor time and memory over the number of runs, as SVG."""

    def figure() -> list[Figure]:
        panels = small_multiples(
            pd.DataFrame({"column": list(COLUMNS)}), None, "column", col_name=COLUMNS,
            x="Runs", xscale="log", yscale="log", sharey=False, height=2.6, wrap=1,
        )  # fmt: skip
        for (_, column), ax in panels.axes.items():
            for what, (color, dash, marker) in STYLES.items():
                points = [(int(r["runs"]), float(r[column])) for r in rows if r["what"] == what]
                ax.plot(
                    *zip(*points, strict=True) if points else ((), ()),
                    color=color,
                    linestyle=dash,
                    marker=marker,
                    markersize=6,
                    label=what,
                    markeredgecolor=PAPER,
                )
        return panels.finish(ax.get_legend_handles_labels()[0])

    return Drawing("scale", "", "", None, figure).pictures().svg


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="a finished study")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the table")
    parser.add_argument("--runs", type=int, nargs="+", default=[1_000, 10_000, 50_000])
    parser.add_argument("--jobs", type=int, default=50_000, help="most runs to do the jobs of")
    parser.add_argument("--cores", type=int, default=os.cpu_count(), help="jobs at a time")
    parser.add_argument("--what", nargs="+", choices=STYLES, default=list(STYLES))
    return parser.parse_args(argv)


def main() -> None:
    options = parse_arguments()
    if not (options.results / "runs").is_dir():
        sys.exit(f"{options.results} holds no runs to copy; run `make` first, or name a study.")
    options.out.mkdir(parents=True, exist_ok=True)
    table = options.out / "scale.csv"
    with tempfile.TemporaryDirectory() as scratch:
        measure_all(options, Path(scratch), table)
    (options.out / "scale.svg").write_text(draw(read_table(table)))


if __name__ == "__main__":
    main()
