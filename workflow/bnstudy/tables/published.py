"""The published summary: what the default study gave, kept in the repository to compare with.

published/summary.csv has a row per run and published/settings.yaml what all of them share; `bnstudy publish` writes
both. They are read whenever the workflow is planned, so this module imports nothing slow until it has work to do.
"""

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import yaml

from bnstudy import grid
from bnstudy.cli import parser_of
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.files import replacing, write_table
from bnstudy.scoring import RESULTS
from bnstudy.settings import ALWAYS_NAMED, SETTINGS, Settings, as_dict, departures, make

PROVENANCE = (
    *("device", "device_name", "python", "torch", "git_commit"),
    *("code_sha256", "config_sha256", "data_sha256"),
)
COLUMNS = ("status", *RESULTS, "steps_to_target", "metrics_sha256", *PROVENANCE)
REMEDY = "restore the folder from the repository, or write it anew with `bnstudy publish`"


@contextmanager
def readable(path: Path) -> Iterator[None]:
    """Say of a file that cannot be used which one it is, and what to do."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {REMEDY}.") from error
    except (KeyError, TypeError, ValueError, csv.Error, yaml.YAMLError) as error:
        raise UserError(f"{path} is damaged or of another version; {REMEDY}.") from error


def read_summary(folder: Path) -> list[dict]:
    """The rows of summary.csv with their numbers as numbers; None where a run diverged."""
    path = folder / "summary.csv"
    with readable(path):
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            row |= {key: SETTINGS[key].read(row[key]) for key in row if key in SETTINGS}
            for key, kind in (dict.fromkeys(RESULTS, float) | {"steps_to_target": int}).items():
                row[key] = None if row[key] == "" else kind(row[key])
            row |= {key: row[key] for key in ("run", *ALWAYS_NAMED, *COLUMNS)}  # or it lacks one
    if not rows:
        raise UserError(f"{path} holds no run; {REMEDY}.")
    return rows


def published_runs(folder: Path) -> dict[str, Settings]:
    """The settings of every published run by its name, in the order of the summary."""
    path = folder / "settings.yaml"
    with readable(path):
        shared = read_yaml(path)
    if not isinstance(shared, dict) or not shared:
        raise UserError(f"{path} holds no settings; {REMEDY}.")
    try:
        return {
            row["run"]: make(shared | {key: row[key] for key in row if key in SETTINGS}) for row in read_summary(folder)
        }
    except (KeyError, UserError) as error:
        raise UserError(f"{folder} cannot be used ({error}); {REMEDY}.") from error


def choose_cells(runs: Mapping[str, Settings], n: int) -> dict[str, Settings]:
    """Choose `n` runs (all, if there are fewer), always the same ones and spread over the grid.

    Each choice is the first run, in the order of the summary, whose values of the axes, and whose pair of norm and
    batch size, were chosen least often before.
    """
    marks = {name: [*departures(s).items(), (s.norm, s.batch_size)] for name, s in runs.items()}
    chosen, uses = {}, Counter()
    while len(chosen) < min(n, len(runs)):
        remaining = (name for name in runs if name not in chosen)
        best = min(remaining, key=lambda name: sum(uses[mark] for mark in marks[name]))
        chosen[best] = runs[best]
        uses.update(marks[best])
    return chosen


def publish(config_path: Path, results: Path, out: Path) -> None:
    """Write the summary of a finished study; nothing in it tells a machine's name or paths."""
    from bnstudy.tables import aggregate as tables

    config = tables.read_config(config_path)
    runs, keys = tables.read_grid(config, results / "runs"), grid.axes(config)
    shared = as_dict(next(iter(grid.runs(config).values())))
    with replacing(out / "settings.yaml") as file:
        file.write("# What the runs of summary.csv share; written by `bnstudy publish`.\n")
        settings = {key: value for key, value in shared.items() if key not in keys}
        yaml.safe_dump(settings, file, sort_keys=False, default_flow_style=None)
    write_table(out / "summary.csv", ("run", *keys, *COLUMNS), runs)


def main(argv: list[str]) -> None:
    parser = parser_of("publish")
    parser.add_argument("config", type=Path, help="merged configuration (results/run_config.yaml)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the summary (published)")
    arguments = parser.parse_args(argv)
    publish(arguments.config, arguments.results, arguments.out)
