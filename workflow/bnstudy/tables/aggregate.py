"""Gather the runs of the grid into tidy tables: `bnstudy aggregate`.

A table is only worth its rows, so every file is held against its own path, the other files of its
run, the configuration and the other runs before a byte is written. The tables depend on what is in
the files alone: not on the order in which runs finished, nor on runs outside the grid.
"""

import argparse
import csv
import json
import math
import re
import statistics as stdlib_statistics
import sys
from collections import defaultdict
from contextlib import ExitStack
from itertools import product
from pathlib import Path

import yaml

from bnstudy import statistics
from bnstudy.config import check_config, grid_cells
from bnstudy.errors import UserError
from bnstudy.files import replacing, write_rows
from bnstudy.provenance import check_unmixed, data_sha256

BASELINE = "none"
ALL = "all"  # batch sizes

CELL_COLUMNS = ("dataset", "norm", "batch_size", "seed")
TEXTS = ("run", "dataset", "norm", "status", "device", "python", "torch", "git_commit")
HASHES = ("code_sha256", "config_sha256", "data_sha256")
COUNTS = (
    *("batch_size", "seed", "n_parameters", "n_train", "n_validation", "n_test", "n_classes"),
    *("n_steps", "steps_done"),
)
# The results of a run, and the last value of which (split, metric) of metrics.csv each one is.
RESULTS = {
    "train_loss": ("train_subset", "loss"),
    "train_accuracy": ("train_subset", "accuracy"),
    "val_loss": ("validation", "loss"),
    "val_accuracy": ("validation", "accuracy"),
    "test_loss": ("test", "loss"),
    "test_accuracy": ("test", "accuracy"),
}
RUN_KEYS = {*TEXTS, *HASHES, *COUNTS, *RESULTS, "steps_to_95", "settings"}
METRICS_HEADER = "epoch,step,split,metric,value"
SERIES = {
    (split, metric)
    for split in ("train", "train_subset", "validation", "probe", "test")
    for metric in ("loss", "accuracy")
}

RUNS_COLUMNS = (
    *("run", *CELL_COLUMNS, "status", "n_parameters", *RESULTS, "steps_to_95"),
    *("device", "python", "torch", "git_commit", *HASHES),
)
METRICS_COLUMNS = (*CELL_COLUMNS, *METRICS_HEADER.split(","))
CLOCK_COLUMNS = (
    *("start_seconds", "data_seconds", "training_seconds", "evaluation_seconds"),
    *("wall_seconds", "cpu_seconds"),
)
JOB_COLUMNS = {"job_seconds": "s", "job_cpu_seconds": "cpu_time", "job_max_rss_mb": "max_rss"}
TIMINGS_COLUMNS = (
    *("run", *CELL_COLUMNS, *CLOCK_COLUMNS, "seconds_per_epoch", "peak_memory_mb"),
    *("resumptions", *JOB_COLUMNS, "host", "device_name"),
)
COMPARISON_COLUMNS = (
    *("dataset", "norm", "baseline", "batch_size", "metric", "mean_baseline", "mean_norm"),
    *("difference", "ci_low", "ci_high", "p", "p_holm", "effect_size", "share_of_seeds"),
    *("n", "n_diverged"),
)
COMPARED = (*RESULTS, "steps_to_95", "ln_steps_to_95")


def run_path(cell: dict) -> str:
    """The folder of a run below results/runs, as the workflow names it."""
    return "/".join(f"{key}~{cell[key]}" for key in CELL_COLUMNS)


def read_config(path: Path) -> dict:
    """Read and check the merged configuration that the workflow recorded.

    Raises
    ------
    UserError
        If there is no such file, if it is not YAML, or if it is no valid configuration.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); `snakemake` writes it, or name another "
            "configuration."
        ) from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"{path} is not YAML: {reason}; repair or delete it.") from error
    if not isinstance(config, dict):
        raise UserError(f"{path} holds no configuration; delete it and run `snakemake` again.")
    check_config(config)
    return config


def damaged(path: Path, what: str) -> UserError:
    return UserError(f"{path} {what}; delete its folder and run `snakemake` to train it again.")


def read_object(path: Path) -> dict:
    """Read one JSON object, refusing repeated keys and numbers that are not finite.

    Raises
    ------
    UserError
        If the file is not exactly that.
    """

    def unique(pairs: list[tuple[str, object]]) -> dict:
        keys = [key for key, _ in pairs]
        for key in keys:
            if keys.count(key) > 1:
                raise ValueError(f"has the key '{key}' twice")
        return dict(pairs)

    def refuse(constant: str) -> None:
        raise ValueError(f"holds {constant}, which is not a JSON number")

    try:
        content = json.loads(
            path.read_text(encoding="utf-8"), object_pairs_hook=unique, parse_constant=refuse
        )
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise damaged(path, f"is not JSON ({error})") from error
    except ValueError as error:
        raise damaged(path, str(error)) from error
    if not isinstance(content, dict):
        raise damaged(path, "is not a JSON object")
    return content


def is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_run(path: Path, cell: dict, expected_settings: dict) -> dict:
    """Read a run.json and hold it against the cell it lies in and the settings of the grid.

    Parameters
    ----------
    path : Path
        The run.json.
    cell : dict
        dataset, norm, batch_size and seed, as in the path.
    expected_settings : dict
        What the configuration says of the settings that are not swept.

    Returns
    -------
    dict
        The object without its settings, results as float.

    Raises
    ------
    UserError
        If a key is missing, unknown or of the wrong kind, or if a value contradicts the path, the
        status or the configuration.
    """
    run = read_object(path)
    if missing := RUN_KEYS - run.keys():
        raise damaged(path, f"lacks the key '{min(missing)}'")
    if unknown := run.keys() - RUN_KEYS:
        raise damaged(path, f"has the unknown key '{min(unknown)}'")
    for key, value in ({"run": run_path(cell)} | cell).items():
        if run[key] != value:
            raise damaged(path, f"says {key} '{run[key]}' where its path says '{value}'")
    for key in TEXTS + HASHES:
        if not isinstance(run[key], str) or not run[key]:
            raise damaged(path, f"has no text for '{key}'")
    for key in COUNTS:
        if not is_count(run[key]):
            raise damaged(path, f"has {run[key]!r} for the count '{key}'")
    if run["n_classes"] < 2 or run["n_steps"] < 1:
        raise damaged(path, "has fewer than two classes or no steps")
    if run["status"] not in ("ok", "diverged"):
        raise damaged(path, f"has the unknown status '{run['status']}'")
    diverged = run["status"] == "diverged"
    for key in RESULTS:
        if diverged != (run[key] is None) or not (diverged or is_number(run[key])):
            raise damaged(path, f"has {run[key]!r} for '{key}' with status '{run['status']}'")
        if not diverged:
            run[key] = float(run[key])
    steps = run["steps_to_95"]
    if steps is not None and (diverged or not is_count(steps) or steps > run["n_steps"]):
        raise damaged(path, f"has {steps!r} for 'steps_to_95'")
    check_settings(path, run.pop("settings"), cell, expected_settings)
    return run


def check_settings(path: Path, settings: object, cell: dict, expected: dict) -> None:
    """Refuse a run that was trained otherwise than the configuration now says.

    Raises
    ------
    UserError
        Naming the first setting that differs.
    """
    if not isinstance(settings, dict):
        raise damaged(path, "has no object for 'settings'")
    for source, values in (("its path", cell), ("the configuration", expected)):
        for key in settings.keys() & values.keys():
            if settings[key] != values[key]:
                raise damaged(
                    path,
                    f"was trained with {key} {settings[key]!r} where {source} says {values[key]!r}",
                )


def read_metrics(path: Path, run: dict) -> list[str]:
    """Read the lines of a metrics.csv without its header, as text, each of them checked.

    Values stay text, so that they come out of the table as they went into the file.

    Raises
    ------
    UserError
        If a line is malformed, repeated or out of order, or if the last values of a finished run
        are not those in its run.json.
    """
    try:
        header, *lines = path.read_text(encoding="utf-8").splitlines()
    except (ValueError, UnicodeDecodeError) as error:
        raise damaged(path, "is empty or not text") from error
    if header != METRICS_HEADER:
        raise damaged(path, f"does not start with '{METRICS_HEADER}'")
    previous: tuple = ()
    last: dict[tuple[str, str], float] = {}
    n_steps, finished = run["n_steps"], run["status"] == "ok"
    for number, line in enumerate(lines, start=2):  # most of the time of a large aggregation
        try:
            epoch, step, split, metric, value = line.split(",")
            epoch, step, value = int(epoch), int(step), float(value)
        except ValueError as error:
            raise damaged(path, f"is malformed in line {number}") from error
        series = split, metric
        if series not in SERIES or epoch < 0 or not 0 <= step <= n_steps:
            raise damaged(path, f"has an unknown series or step in line {number}")
        if finished and not math.isfinite(value):
            raise damaged(path, f"holds '{value}' in line {number} of a run that did not diverge")
        place = step, split, metric
        if place <= previous:
            raise damaged(path, f"repeats a row or is out of order in line {number}")
        previous = place
        last[series] = value
    if finished:
        for key, series in RESULTS.items():
            if last.get(series) != run[key]:
                raise damaged(
                    path,
                    f"ends with {' '.join(series)} {last.get(series)} where run.json says "
                    f"{run[key]}",
                )
    return lines


def read_timing(path: Path, benchmark: Path, run: dict) -> dict:
    """The row of a run in timings.csv, from its timing.json and Snakemake's benchmark file.

    The columns of the job stay empty for a run that was trained by hand, which has no benchmark.

    Raises
    ------
    UserError
        If timing.json lacks a number.
    """
    timing = read_object(path)
    row = {key: run[key] for key in ("run", *CELL_COLUMNS)}
    for key in (*CLOCK_COLUMNS, "peak_memory_mb"):
        if not is_number(timing.get(key)):
            raise damaged(path, f"has no number for '{key}'")
        row[key] = float(timing[key])
    epochs = timing.get("epoch_seconds")
    if not isinstance(epochs, list) or not all(map(is_number, epochs)):
        raise damaged(path, "has no list of numbers for 'epoch_seconds'")
    row["seconds_per_epoch"] = float(stdlib_statistics.median(epochs)) if epochs else None
    row["resumptions"] = timing.get("resumptions", 0)
    row |= {key: timing.get(key) for key in ("host", "device_name")}
    return row | read_benchmark(benchmark)


def read_benchmark(path: Path) -> dict[str, float | None]:
    """Seconds, CPU seconds and peak memory (10^6 bytes) of a job, None where not measured."""
    measured: dict[str, float | None] = dict.fromkeys(JOB_COLUMNS)
    try:
        with open(path, newline="", encoding="utf-8") as file:
            row = next(csv.DictReader(file, delimiter="\t"), {})
    except FileNotFoundError:
        return measured
    for column, name in JOB_COLUMNS.items():
        try:
            measured[column] = float(row[name])
        except (KeyError, TypeError, ValueError):
            continue  # NA: a job too short for Snakemake to look at
    if measured["job_max_rss_mb"] is not None:
        # Snakemake counts in 2^20 bytes, to two decimals.
        measured["job_max_rss_mb"] = round(measured["job_max_rss_mb"] * 2**20 / 1e6, 2)
    return measured


def check_complete(folder: Path, cells: list[dict]) -> None:
    """Refuse a grid with holes.

    Raises
    ------
    UserError
        Saying how many runs are missing, and the first of them.
    """
    missing = [
        file
        for cell in cells
        for name in ("run.json", "metrics.csv", "timing.json")
        if not (file := folder / run_path(cell) / name).is_file()
    ]
    if missing:
        runs = len({file.parent for file in missing})
        raise UserError(
            f"{runs} of the {len(cells)} runs of the grid are missing or incomplete, the first for "
            f"want of {missing[0]}; run `snakemake` to train them."
        )


def check_folders(folder: Path, cells: list[dict]) -> None:
    """Refuse folders of runs that the workflow did not name, such as copies of runs.

    Runs of another grid are left where they are, for the grid may become larger again.

    Raises
    ------
    UserError
        Naming the first such folder.
    """
    axes = zip(CELL_COLUMNS, (r"[a-z0-9_]+", "[a-z]+", r"[1-9]\d*", r"0|[1-9]\d*"), strict=True)
    form = re.compile("/".join(f"{key}~({values})" for key, values in axes))
    found = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("run.json")}
    if strange := sorted(run for run in found if not form.fullmatch(run)):
        raise UserError(
            f"{folder / strange[0]} is not the folder of a run, though it holds a run.json "
            f"({len(strange)} such); move it away or delete it."
        )
    if others := found - {run_path(cell) for cell in cells}:
        print(f"{len(others)} runs outside the grid were left alone", file=sys.stderr)


def check_provenance(runs: list[dict], data: list[Path], *, allow_mixed_code: bool) -> None:
    """Refuse runs of several code versions, of several versions of one dataset, or of other data.

    Parameters
    ----------
    runs : list of dict
    data : list of Path
        The prepared datasets that the runs should have been trained on; may be empty.
    allow_mixed_code : bool
        Accept several versions of the training code.

    Raises
    ------
    UserError
        Naming the two groups.
    """
    names = [run["run"] for run in runs]
    if not allow_mixed_code:
        check_unmixed(
            runs,
            "code_sha256",
            names,
            "the training code",
            "run `snakemake` to train what is out of date, or pass --allow-mixed-code",
        )
    for dataset in sorted({run["dataset"] for run in runs}):
        chosen = [run for run in runs if run["dataset"] == dataset]
        check_unmixed(
            chosen,
            "data_sha256",
            [run["run"] for run in chosen],
            f"the data of {dataset}",
            "delete the older runs and run `snakemake` to train them again",
        )
    known = {data_sha256(path) for path in data}
    if known and (strange := [run for run in runs if run["data_sha256"] not in known]):
        raise UserError(
            f"{len(strange)} runs (as {strange[0]['run']}) were trained on other data than "
            f"{', '.join(map(str, data))} now holds; delete them and run `snakemake` to train them "
            "again."
        )


def score(run: dict) -> dict[str, float]:
    """What a run counts for in a comparison.

    A diverged run is a result and scores as a classifier that guesses: accuracy 1/C and loss ln C
    for C classes, all its steps without reaching the target. A run that never reached the target
    counts its whole budget, a lower bound. The logarithm takes 0 steps for 1.
    """
    n_classes, n_steps = run["n_classes"], run["n_steps"]
    if run["status"] == "diverged":
        guess = {"loss": math.log(n_classes), "accuracy": 1 / n_classes}
        scores = {key: guess[metric] for key, (_, metric) in RESULTS.items()}
    else:
        scores = {key: run[key] for key in RESULTS}
    steps = n_steps if run["steps_to_95"] is None else run["steps_to_95"]
    return scores | {"steps_to_95": float(steps), "ln_steps_to_95": math.log(max(steps, 1))}


def compare(runs: list[dict]) -> list[dict]:
    """Compare every normalization with none, paired by seed: the rows of comparison.csv.

    Each batch size has a row per metric, and "all" compares the means over batch sizes that each
    seed reached. A seed counts where all its runs are there. Holm's adjustment is over the batch
    sizes of a metric, and over the metrics of "all". Rows come sorted by dataset, norm, batch size
    and the order of the metrics.
    """
    scores = {tuple(run[key] for key in CELL_COLUMNS): score(run) for run in runs}
    diverged = {
        tuple(run[key] for key in CELL_COLUMNS) for run in runs if run["status"] == "diverged"
    }
    datasets, norms, batch_sizes, seeds = (sorted({c[i] for c in scores}) for i in range(4))
    rows: list[dict] = []
    if BASELINE not in norms:
        return rows
    for dataset in datasets:
        for norm in norms:
            if norm == BASELINE:
                continue
            for batch_size in (*batch_sizes, ALL):
                pooled = batch_sizes if batch_size == ALL else [batch_size]
                arms = list(product((BASELINE, norm), pooled))
                paired = [s for s in seeds if all((dataset, a, b, s) in scores for a, b in arms)]
                if not paired:
                    continue
                n_diverged = sum(
                    (dataset, arm, size, seed) in diverged for arm, size in arms for seed in paired
                )
                baseline, changed = (
                    {
                        metric: [
                            statistics.mean([scores[dataset, arm, b, s][metric] for b in pooled])
                            for s in paired
                        ]
                        for metric in COMPARED
                    }
                    for arm in (BASELINE, norm)
                )
                for metric, columns in paired_columns(baseline, changed).items():
                    rows.append(
                        {
                            "dataset": dataset,
                            "norm": norm,
                            "baseline": BASELINE,
                            "batch_size": str(batch_size),
                            "metric": metric,
                            **columns,
                            "n_diverged": n_diverged,
                        }
                    )
    adjust(rows)
    return rows


def paired_columns(
    baseline: dict[str, list[float]], norm: dict[str, list[float]]
) -> dict[str, dict]:
    """The statistics of each metric: norm minus baseline, the share in the better direction."""
    differences = {
        metric: [b - a for a, b in zip(baseline[metric], norm[metric], strict=True)]
        for metric in baseline
    }
    summaries = statistics.paired_summaries(list(differences.values()))
    columns = {}
    for (metric, difference), summary in zip(differences.items(), summaries, strict=True):
        better = difference if metric.endswith("accuracy") else [-d for d in difference]
        columns[metric] = {
            "mean_baseline": statistics.mean(baseline[metric]),
            "mean_norm": statistics.mean(norm[metric]),
            "difference": summary.mean,
            "ci_low": summary.ci_low,
            "ci_high": summary.ci_high,
            "p": summary.p,
            "effect_size": summary.effect_size,
            "share_of_seeds": statistics.share_of_seeds(better),
            "n": summary.n,
        }
    return columns


def adjust(rows: list[dict]) -> None:
    """Add `p_holm` to the rows of a comparison, family by family."""
    families: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        member_of = ALL if row["batch_size"] == ALL else row["metric"]
        families[row["dataset"], row["norm"], member_of].append(row)
    for family in families.values():
        for row, p in zip(family, statistics.holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p


def aggregate(
    config_path: Path,
    results: Path,
    out: Path,
    data: list[Path] | None = None,
    *,
    allow_mixed_code: bool = False,
    cells: list[dict] | None = None,
) -> None:
    """Write runs.csv, metrics.csv, timings.csv and comparison.csv for the runs of a grid.

    Parameters
    ----------
    config_path : Path
        The merged configuration; its grid says which runs are read, others are left alone.
    results : Path
        Folder with runs/ and, where Snakemake made the runs, benchmarks/train/.
    out : Path
        Folder of the tables. Tables that were there stay as they are if anything is wrong.
    data : list of Path, optional
        The prepared datasets, to hold the runs against.
    allow_mixed_code : bool
        Accept runs of several versions of the training code.
    cells : list of dict
        The runs to read, where not those of the whole grid.

    Raises
    ------
    UserError
        If a run is missing or malformed, or if runs contradict their path, the configuration or
        one another.
    """
    config = read_config(config_path)
    # By value, not by their order in the configuration, which may change without any run changing.
    cells = grid_cells(config) if cells is None else cells
    cells = sorted(cells, key=lambda cell: [cell[key] for key in CELL_COLUMNS])
    folder = results / "runs"
    check_complete(folder, cells)
    check_folders(folder, grid_cells(config))
    expected = {k: v for name in ("data", "model", "training") for k, v in config[name].items()}
    runs = [
        read_run(folder / run_path(cell) / "run.json", {k: cell[k] for k in CELL_COLUMNS}, expected)
        for cell in cells
    ]
    check_provenance(runs, data or [], allow_mixed_code=allow_mixed_code)
    out.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:  # all four take their places at the end, or none does
        files = [
            stack.enter_context(replacing(out / f"{name}.csv"))
            for name in ("runs", "metrics", "timings", "comparison")
        ]
        write_rows(files[0], RUNS_COLUMNS, runs)
        files[1].write(",".join(METRICS_COLUMNS) + "\n")
        for run in runs:  # one at a time: together they may not fit into memory
            prefix = ",".join(str(run[key]) for key in CELL_COLUMNS)
            lines = read_metrics(folder / run["run"] / "metrics.csv", run)
            files[1].writelines(f"{prefix},{line}\n" for line in lines)
        timings = (
            read_timing(
                folder / run["run"] / "timing.json",
                results / "benchmarks" / "train" / f"{run['run']}.tsv",
                run,
            )
            for run in runs
        )
        write_rows(files[2], TIMINGS_COLUMNS, timings)
        write_rows(files[3], COMPARISON_COLUMNS, compare(runs))


def main(argv: list[str]) -> None:
    """Run `bnstudy aggregate`."""
    parser = argparse.ArgumentParser(
        prog="bnstudy aggregate",
        description="Gather all runs of the grid into runs.csv, metrics.csv, timings.csv and "
        "comparison.csv.",
    )
    parser.add_argument("config", type=Path, help="merged configuration (results/run_config.yaml)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--out", type=Path, help="default: tables/ in the folder of results")
    parser.add_argument(
        "--data", type=Path, nargs="+", help="prepared datasets that runs must have been trained on"
    )
    parser.add_argument(
        "--allow-mixed-code",
        action="store_true",
        help="accept runs of several versions of the training code",
    )
    arguments = parser.parse_args(argv)
    aggregate(
        arguments.config,
        arguments.results,
        arguments.out or arguments.results / "tables",
        arguments.data,
        allow_mixed_code=arguments.allow_mixed_code,
    )
