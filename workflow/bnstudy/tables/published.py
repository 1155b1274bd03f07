"""The published summary: what the default study gave, kept in the repository to compare with.

published/summary.csv has a row per run and published/settings.yaml what all of them share;
`bnstudy publish` writes both. They are read whenever the workflow is planned, so this module imports
nothing slow until it has work to do.
"""

import argparse
import csv
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import yaml

from bnstudy import grid
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.files import replacing, write_rows
from bnstudy.provenance import file_sha256
from bnstudy.settings import ALWAYS_NAMED, SETTINGS, Settings, as_dict, departures, make

METRICS = (
    *("train_loss", "train_accuracy", "val_loss", "val_accuracy", "test_loss", "test_accuracy"),
)
PROVENANCE = (
    *("device", "device_name", "python", "torch", "git_commit"),
    *("code_sha256", "config_sha256", "data_sha256"),
)
RESULTS = ("status", *METRICS, "steps_to_target", "metrics_sha256", *PROVENANCE)


def read_summary(folder: Path) -> list[dict]:
    """The rows of summary.csv with their numbers as numbers; None where a run diverged.

    Raises
    ------
    UserError
        If the file is missing or is no summary.
    """
    path = folder / "summary.csv"
    try:
        with open(path, newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            for key in [name for name in row if name in SETTINGS]:
                row[key] = SETTINGS[key].read(row[key])
            for key in (*METRICS, "steps_to_target"):
                kind = int if key == "steps_to_target" else float
                row[key] = None if row[key] == "" else kind(row[key])
            row |= {key: row[key] for key in ("run", *ALWAYS_NAMED, *RESULTS)}
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {REMEDY}.") from error
    except (KeyError, TypeError, ValueError, csv.Error) as error:
        raise UserError(f"{path} is damaged or of another version; {REMEDY}.") from error
    if not rows:
        raise UserError(f"{path} holds no run; {REMEDY}.")
    return rows


REMEDY = "restore the folder from the repository, or write it anew with `bnstudy publish`"


def read_settings(folder: Path) -> dict:
    """The settings that all published runs share, by name.

    Raises
    ------
    UserError
        If settings.yaml is missing or holds no settings.
    """
    path = folder / "settings.yaml"
    try:
        settings = read_yaml(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {REMEDY}.") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML; {REMEDY}.") from error
    if not isinstance(settings, dict) or not settings:
        raise UserError(f"{path} holds no settings; {REMEDY}.")
    return settings


def published_runs(folder: Path) -> dict[str, Settings]:
    """The settings of every published run by its name, in the order of the summary.

    Raises
    ------
    UserError
        If a file is missing, or names settings that there are not.
    """
    shared = read_settings(folder)
    try:
        return {
            row["run"]: make(shared | {key: row[key] for key in row if key in SETTINGS})
            for row in read_summary(folder)
        }
    except (KeyError, UserError) as error:
        raise UserError(f"{folder} cannot be used ({error}); {REMEDY}.") from error


def choose_cells(runs: Mapping[str, Settings], n: int) -> dict[str, Settings]:
    """Choose `n` runs (all, if there are fewer), always the same ones and spread over the grid.

    Each choice is the first run, in the order of the summary, whose values of the axes, and whose pair
    of norm and batch size, were chosen least often before.
    """
    remaining, chosen, uses = dict(runs), {}, Counter()
    while remaining and len(chosen) < n:
        marks = {
            name: [*departures(s).items(), (s.norm, s.batch_size)] for name, s in remaining.items()
        }
        best = min(remaining, key=lambda name: sum(uses[mark] for mark in marks[name]))
        chosen[best] = remaining.pop(best)
        uses.update(marks[best])
    return chosen


def read_result(folder: Path, name: str, settings: Settings) -> dict:
    """A run as a summary has it: checked, with the hash of its metrics and the name of its device.

    Raises
    ------
    UserError
        If the run is malformed, or was trained with other settings.
    """
    from bnstudy.tables import aggregate as tables

    run = tables.read_run(folder, name, settings)
    run["metrics_sha256"] = file_sha256(folder / "metrics.csv")
    run["device_name"] = run["timing"].get("device_name")
    return run


def publish(config_path: Path, results: Path, out: Path) -> None:
    """Write the summary of a finished study; nothing in it tells a machine's name or paths.

    Parameters
    ----------
    config_path : Path
        The merged configuration; its grid says which runs are published.
    results : Path
        Folder with runs/.
    out : Path
        The folder published/.

    Raises
    ------
    UserError
        If a run is missing or malformed, or if runs come from several versions of code or data.
    """
    from bnstudy.tables import aggregate as tables

    config = tables.read_config(config_path)
    folder = results / "runs"
    keys = grid.axes(config)
    cells = {name: grid.cell(one, keys) for name, one in grid.runs(config).items()}
    chosen = grid.runs(config)
    tables.check_complete(folder, chosen)
    names = sorted(chosen, key=lambda name: [tables.order(value) for value in cells[name].values()])
    runs = [{"run": n} | cells[n] | read_result(folder / n, n, chosen[n]) for n in names]
    tables.check_provenance(runs, [], allow_mixed_code=False)
    shared = as_dict(next(iter(chosen.values())))
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "settings.yaml") as file:
        file.write("# What the runs of summary.csv share; written by `bnstudy publish`.\n")
        settings = {key: value for key, value in shared.items() if key not in keys}
        yaml.safe_dump(settings, file, sort_keys=False, default_flow_style=None)
    with replacing(out / "summary.csv") as file:
        write_rows(file, ("run", *keys, *RESULTS), runs)


def main(argv: list[str]) -> None:
    """Run `bnstudy publish`."""
    parser = argparse.ArgumentParser(
        prog="bnstudy publish",
        description="Write the summary that `snakemake verify` compares with.",
    )
    parser.add_argument("config", type=Path, help="merged configuration (results/run_config.yaml)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the summary (published)")
    arguments = parser.parse_args(argv)
    publish(arguments.config, arguments.results, arguments.out)
