"""Gather the runs of the grid into tidy tables, and compare them paired by seed: `bnstudy aggregate`.

A table is only worth its rows, so every file is held against its seal, and every run against its own path, the
configuration and the other runs before a byte is written. The tables depend on what is in the files alone: not on the
order in which runs finished, nor on runs outside the grid.
"""

import csv
import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from itertools import product
from pathlib import Path
from statistics import median

import yaml

from bnstudy import statistics
from bnstudy.cli import parser_of
from bnstudy.config import check_config
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.files import RUN_FILES, SEALED, TABLES, replacing, write_rows
from bnstudy.grid import RUN, axes, cell, order, runs, table_value
from bnstudy.logs import say
from bnstudy.provenance import ORIGIN, check_origins, check_unmixed, config_sha256, file_sha256
from bnstudy.scoring import METRICS, RESULTS, failed, score
from bnstudy.settings import Settings, as_dict, as_number
from bnstudy.training.observers import asked_of_run

METRICS_COLUMNS = ("epoch", "step", "split", "metric", "value")
CONFUSION_COLUMNS = ("true", "predicted", "count")
CLOCK_COLUMNS = (
    *("start_seconds", "data_seconds", "training_seconds", "evaluation_seconds"),
    *("wall_seconds", "cpu_seconds"),
)
JOB_COLUMNS = {"job_seconds": "s", "job_cpu_seconds": "cpu_time", "job_max_rss_mb": "max_rss"}
TIMINGS_COLUMNS = (
    *(*CLOCK_COLUMNS, "seconds_per_epoch", "peak_memory_mb"),
    *("resumptions", *JOB_COLUMNS, "host", "device_name"),
)
CELL, ALL = "cell", "all"
STATISTICS = (
    *("metric", "mean_baseline", "mean_level", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("effect_size", "share_of_seeds", "n", "n_diverged"),
)


def read_config(path: Path) -> dict:
    """Read and check the merged configuration that the workflow recorded, or say what is wrong with it."""
    try:
        config = read_yaml(path)
    except OSError as error:
        raise UserError(
            f"{path} cannot be read ({error.strerror}); `snakemake` writes it, or name another configuration."
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
    """Read one JSON object, or refuse a file that is not exactly that."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise damaged(path, f"is not JSON ({error})") from error
    if not isinstance(content, dict):
        raise damaged(path, "is not a JSON object")
    return content


def read_run(folder: Path, name: str, settings: Settings) -> dict:
    """Read a run.json that is as it was written, metrics.csv with it, by the settings that are asked for.

    Another run, or one that was trained otherwise than the configuration now says, is refused. Returns the object
    without its settings and observers, with the content of timing.json as `timing`, and of it the hash of metrics.csv
    and the name of the device.
    """
    path = folder / "run.json"
    run = read_object(path)
    timing = run["timing"] = read_object(folder / "timing.json")
    seals = timing.get("sha256", {})
    for file in SEALED:
        if seals.get(file) != file_sha256(folder / file):
            raise damaged(folder / file, "is not as it was written")
    run |= {"metrics_sha256": seals["metrics.csv"], "device_name": timing.get("device_name")}
    if run["run"] != name:
        raise damaged(path, f"says run '{run['run']}' where its path says '{name}'")
    trained, expected = run.pop("settings"), as_dict(settings)
    for key in expected.keys() | trained.keys():
        if trained.get(key) != expected.get(key):
            where = f"where the configuration says {expected.get(key)!r}"
            raise damaged(path, f"was trained with {key} {trained.get(key)!r} {where}")
    if run["config_sha256"] != config_sha256(asked_of_run(trained, run.pop("observers"))):
        raise damaged(path, "has a hash that is not that of its settings")
    return run


def timing_row(results: Path, run: dict) -> dict:
    """The row of a run of `read_run` in timings.csv, with what Snakemake's benchmark file says."""
    timing, name = run["timing"], run["run"]
    try:
        row = {key: float(timing[key]) for key in (*CLOCK_COLUMNS, "peak_memory_mb")}
        epochs = list(map(float, timing["epoch_seconds"]))
    except (KeyError, TypeError, ValueError) as error:
        raise damaged(results / f"runs/{name}/timing.json", f"lacks a number ({error})") from error
    row["seconds_per_epoch"] = median(epochs) if epochs else None
    row["resumptions"] = timing.get("resumptions", 0)
    row |= {key: timing.get(key) for key in ("host", "device_name")}
    measured = {}
    with suppress(FileNotFoundError):  # a run that was trained by hand has no benchmark
        path = results / f"benchmarks/train/{name}.tsv"
        measured = next(csv.DictReader(path.read_text("utf-8").splitlines(), delimiter="\t"), {})
    # NA: a job too short for Snakemake to look at.
    row |= {column: as_number(measured.get(key)) for column, key in JOB_COLUMNS.items()}
    if row["job_max_rss_mb"] is not None:  # Snakemake counts in 2^20 bytes, to two decimals
        row["job_max_rss_mb"] = round(row["job_max_rss_mb"] * 2**20 / 1e6, 2)
    return row


def check_complete(folder: Path, names: Mapping[str, Settings]) -> None:
    """Refuse a grid with holes, saying how many runs are missing and which is the first."""
    files = (folder / name / part for name in names for part in RUN_FILES)
    if missing := [file for file in files if not file.is_file()]:
        count = len({file.parent for file in missing})
        raise UserError(
            f"{count} of the {len(names)} runs of the grid are missing or incomplete, the first for "
            f"want of {missing[0]}; run `snakemake` to train them."
        )


def check_folders(folder: Path, names: Mapping[str, Settings]) -> None:
    """Refuse a folder of runs that the workflow did not name, such as copies of runs."""
    found = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("run.json")}
    if strange := sorted(run for run in found if not re.fullmatch(RUN, run)):
        raise UserError(
            f"{folder / strange[0]} is not the folder of a run, though it holds a run.json "
            f"({len(strange)} such); move it away or delete it."
        )
    if others := found - names.keys():  # the grid may become larger again
        say(f"{len(others)} runs outside the grid were left alone")


def read_grid(
    config: Mapping,
    folder: Path,
    chosen: Mapping[str, Settings] | None = None,
    data: Sequence[Path] = (),
    *,
    allow_mixed_code: bool = False,
) -> list[dict]:
    """The runs of a grid, or those chosen of it, with the values of its axes and sorted by them.

    Runs that are missing, or contradict their path, the configuration or one another, are refused.
    """
    whole, keys = runs(config), axes(config)
    chosen = whole if chosen is None else chosen
    # By value, not by their order in the configuration, which may change without any run changing.
    cells = {name: cell(settings, keys) for name, settings in chosen.items()}
    names = sorted(chosen, key=lambda name: order(cells[name].values()))
    check_complete(folder, chosen)
    check_folders(folder, whole)
    found = [{"run": name} | cells[name] | read_run(folder / name, name, chosen[name]) for name in names]
    named = [(run["run"], run) for run in found]
    check_origins(named, "the training code", data, allow_mixed_code=allow_mixed_code)
    remedy = "delete the older runs and run `snakemake` to train them again"
    for dataset in sorted({run["dataset"] for run in found}):
        of_data = [(name, run) for name, run in named if run["dataset"] == dataset]
        check_unmixed(of_data, "data_sha256", f"the data of {dataset}", remedy)
    return found


def by_class(run: dict, keys: Sequence[str]) -> Iterator[dict]:
    """A run's rows of classes.csv: its test images of each class, and the share that was right."""
    where, n_classes = {key: run[key] for key in keys}, run["n_classes"]
    for k, row in enumerate(run["confusion"] or [None] * n_classes):
        n, share = row and sum(row), None
        if n:
            # Of many classes a row is [right, wrong].
            share = (row[k] if len(row) == n_classes else row[0]) / n
        yield where | {"class": k, "n": n, "accuracy": share}


def comparison_columns(config: Mapping) -> tuple[str, ...]:
    """The columns of comparison.csv: those that say what is compared where, then the statistics."""
    rest = [name for name in axes(config) if name not in (config["compare"]["axis"], "seed")]
    return ("axis", "level", "baseline", *rest, "scope", *STATISTICS)


def compare(runs: list[dict], config: Mapping) -> list[dict]:
    """Compare every level of the treatment with its baseline, paired by seed.

    Each combination of the remaining axes has a row per metric (scope `cell`), and scope `all` compares, within a
    dataset, the means over them that each seed reached. A seed counts where all its runs are there. Holm's adjustment
    is over the cells of a metric, and over the metrics of `all`. A metric that is not known of every run that counts
    has no row. Rows come sorted by dataset, level, cell and the order of the metrics.
    """
    axis, baseline = config["compare"]["axis"], table_value(config["compare"]["baseline"])
    strata = [] if axis == "dataset" else ["dataset"]
    swept = [name for name in axes(config) if name not in (axis, "seed", *strata)]
    rows: list[dict] = []
    for stratum in distinct(runs, strata):
        part = [run for run in runs if stratum.items() <= run.items()]
        levels = [cell[axis] for cell in distinct(part, [axis])]
        if baseline not in levels:
            continue
        scores = {(run[axis], at(run, swept), run["seed"]): score(run) for run in part}
        bad = {(run[axis], at(run, swept), run["seed"]) for run in part if failed(run)}
        cells = distinct(part, swept)
        for level in (level for level in levels if level != baseline):
            about = {"axis": axis, "level": level, "baseline": baseline} | stratum
            whole = dict.fromkeys(swept) | {"scope": ALL}, cells
            for where, pooled in [*((one | {"scope": CELL}, [one]) for one in cells), whole]:
                arms = list(product((baseline, level), (at(one, swept) for one in pooled)))
                rows += [about | where | found for found in paired(scores, bad, arms, level)]
    adjust(rows)
    return rows


def paired(scores: dict, bad: set, arms: list[tuple], level: object) -> Iterator[dict]:
    """The statistics of each metric over the seeds that have all arms, means over the cells of each."""
    seeds = sorted({seed for _, _, seed in scores})
    seeds = [seed for seed in seeds if all((*arm, seed) in scores for arm in arms)]
    if not seeds:
        return
    known = [scores[(*arm, seed)] for seed in seeds for arm in arms]
    observed = sorted({metric for score in known for metric in score} - set(METRICS))
    metrics = [m for m in (*METRICS, *observed) if all(score.get(m) is not None for score in known)]
    sides = [[arm for arm in arms if (arm[0] == level) is new] for new in (False, True)]
    means = {
        metric: [[statistics.mean([scores[(*arm, seed)][metric] for arm in side]) for seed in seeds] for side in sides]
        for metric in metrics
    }
    differences = [[b - a for a, b in zip(*pair, strict=True)] for pair in means.values()]
    summaries = [test.summary() for test in statistics.sign_flips(differences)]
    for metric, difference, summary in zip(metrics, differences, summaries, strict=True):
        better = difference if metric.endswith("accuracy") else [-d for d in difference]
        yield summary | {
            "metric": metric,
            "mean_baseline": statistics.mean(means[metric][0]),
            "mean_level": statistics.mean(means[metric][1]),
            "difference": summary["mean"],
            "share_of_seeds": statistics.share_of_seeds(better),
            "n_diverged": sum((*arm, seed) in bad for arm in arms for seed in seeds),
        }


def adjust(rows: list[dict]) -> None:
    """Add `p_holm` to the rows of a comparison, family by family."""
    families: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        member_of = ALL if row["scope"] == ALL else row["metric"]
        families[row.get("dataset"), row["level"], member_of].append(row)
    for family in families.values():
        for row, p in zip(family, statistics.holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p


def at(run: Mapping, names: list[str]) -> tuple:
    return tuple(run[name] for name in names)


def distinct(runs: list[dict], names: list[str]) -> list[dict]:
    """The combinations of values that occur, numbers sorted by their value."""
    found = sorted({at(run, names) for run in runs}, key=order)
    return [dict(zip(names, values, strict=True)) for values in found]


def aggregate(
    config_path: Path,
    results: Path,
    out: Path,
    data: list[Path] | None = None,
    *,
    allow_mixed_code: bool = False,
    chosen: Mapping[str, Settings] | None = None,
) -> None:
    """Write the tables of the runs of a grid (`TABLES`).

    The grid of the merged configuration says which runs below `results` are read, or `chosen` which of them; `data` are
    prepared datasets to hold them against. Tables that were there stay as they are if `read_grid` refuses anything.
    """
    config = read_config(config_path)
    folder, keys = results / "runs", axes(config)
    found = read_grid(config, folder, chosen, data or (), allow_mixed_code=allow_mixed_code)
    observed = sorted({metric for run in found for metric in run["observed"]})
    unseeded = [key for key in keys if key != "seed"]
    run_columns = (
        *("run", *keys, "status", "n_parameters", "n_classes", "n_steps", *RESULTS),
        *("steps_to_target", *observed, "device", "python", "torch", "git_commit", *ORIGIN),
    )
    run_rows = (dict.fromkeys(observed) | run["observed"] | run for run in found)
    timings = (run | timing_row(results, run) for run in found)
    classes = (row for run in found for row in by_class(run, keys))
    contents = {  # columns and rows
        "runs": (run_columns, run_rows),
        "timings": (("run", *keys, *TIMINGS_COLUMNS), timings),
        "comparison": (comparison_columns(config), compare(found, config)),
        "classes": ((*keys, "class", "n", "accuracy"), classes),
        "confusion": ((*unseeded, *CONFUSION_COLUMNS), confusion_rows(found, unseeded)),
    }
    with ExitStack() as stack:  # all take their places at the end, or none does
        files = {name: stack.enter_context(replacing(out / f"{name}.csv")) for name in TABLES}
        for name, (columns, rows) in contents.items():
            write_rows(files[name], columns, rows)
        files["metrics"].write(",".join((*keys, *METRICS_COLUMNS)) + "\n")
        for run in found:  # one at a time: together they may not fit into memory
            prefix = ",".join(str(run[key]) for key in keys)
            text = (folder / run["run"] / "metrics.csv").read_text(encoding="utf-8")
            files["metrics"].writelines(f"{prefix},{line}\n" for line in text.splitlines()[1:])


def confusion_rows(found: list[dict], keys: list[str]) -> Iterator[dict]:
    """The confusion matrices of all cells, summed over the seeds that did not diverge."""
    counts: Counter = Counter()
    for run in found:
        where, rows = tuple(run[key] for key in keys), run["confusion"] or []
        for i, row in enumerate(rows if rows and len(rows[0]) == len(rows) else []):
            counts.update({(*where, i, j): n for j, n in enumerate(row)})
    for at, n in counts.items():
        yield dict(zip((*keys, *CONFUSION_COLUMNS), (*at, n), strict=True))


def main(argv: list[str]) -> None:
    parser = parser_of("aggregate")
    parser.add_argument("config", type=Path, help="merged configuration (results/run_config.yaml)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--out", type=Path, help="default: tables/ in the folder of results")
    parser.add_argument("--data", type=Path, nargs="+", help="prepared datasets that runs must have been trained on")
    mixed = "accept runs of several versions of the training code"
    parser.add_argument("--allow-mixed-code", action="store_true", help=mixed)
    given = parser.parse_args(argv)
    out, mixed_code = given.out or given.results / "tables", given.allow_mixed_code
    aggregate(given.config, given.results, out, given.data, allow_mixed_code=mixed_code)
