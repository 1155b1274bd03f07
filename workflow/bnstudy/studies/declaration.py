"""What a study of config/studies.yaml asks for: its cells, each one job, the runs of each, and its code.

Nothing here imports PyTorch, for every cluster job plans the workflow again.
"""

import json
from collections.abc import Iterator, Mapping
from itertools import product
from typing import NamedTuple

from bnstudy.provenance import NEUTRAL_CODE, TRAINING_CODE, imported_code
from bnstudy.settings import SETTINGS, Settings, as_dict, closest, make, run_name, text
from bnstudy.studies.rows import ROWS
from bnstudy.training import observers

# The studies that are no grids of runs. Each is a module here with run(data, cell, options, seed, device), which gives
# rows of a seed as flat dicts.
CODE_STUDIES = {
    name: name for name in ("identities", "init_gradients", "inference_statistics", "timing", "calibration")
} | dict.fromkeys(("residual_init", "rank"), "random_networks")
# What makes the rows of a study of runs, besides its observers.
RUNNER = (*TRAINING_CODE, *("scoring.py", "studies/rows.py", "studies/runner.py"))
FIRST_SEED = 1000  # where a study says no other; earlier seeds served to build them, and judge nothing
# What a job needs besides its runs.
JOB_KEYS = ("first_seed", "settings", "observers", "targets", "rows")


def grids(study: Mapping) -> list[dict]:
    """The grids whose union a study is."""
    return study["grid"] if isinstance(study["grid"], list) else [study["grid"]]


def axes(study: Mapping) -> list[str]:
    """All axes of a study, each a column of its table."""
    return study.get("axes") or list(dict.fromkeys(axis for grid in grids(study) for axis in grid))


def levels(study: Mapping) -> Iterator[dict]:
    """Every combination of the values of the axes, the first axis slowest."""
    for grid in grids(study):
        for values in product(*grid.values()):
            yield dict(zip(grid, values, strict=True))


def cells(study: Mapping) -> dict[str, dict]:
    """The cells by name, such as `norm~batch+optimizer~sgd`; `all` for a study of one cell.

    A job runs through the axes in `loop` and the seeds; the others span the cells.
    """
    loop = study.get("loop", [])
    found = ({k: v for k, v in one.items() if k not in loop} for one in levels(study))
    return {cell_name(cell): cell for cell in found}


def cell_name(cell: Mapping) -> str:
    """The folder of a cell."""
    parts = (f"{axis}~{level_text(value)}".replace(":", "-") for axis, value in cell.items())
    # No comma: at one a job of a cluster would be taken for two wildcards.
    return "+".join(parts) or "all"


def variant(axis: str, one: Mapping) -> str:
    """The key of a combination of levels among the variants of an axis, or of several, `norm,batch_size`."""
    return ",".join(str(one.get(name)) for name in axis.split(","))


def level_text(value: object) -> object:
    """A level as it stands in tables and paths: lists of widths as text, all else as it is."""
    return text(value) if isinstance(value, list | tuple) else value


def dataset_of(study: Mapping, cell: Mapping, config: Mapping) -> str:
    """The dataset of a cell: its own, that of its study, or the first of the grid."""
    own = cell.get("dataset", study.get("settings", {}).get("dataset"))
    return own or config["grid"]["dataset"][0]


def cell_part(study: Mapping, cell: Mapping) -> dict:
    """The part of a study of runs that the job of one cell does, again in the form of a study."""
    loop = study.get("loop", [])
    parts = [
        {axis: values if axis in loop else [cell[axis]] for axis, values in grid.items()}
        for grid in grids(study)
        if {axis for axis in grid if axis not in loop} == cell.keys() and all(cell[axis] in grid[axis] for axis in cell)
    ]
    explained, each = study.get("variants", {}), list(levels({"grid": parts}))
    variants = {
        axis: {level: said for level, said in named.items() if level in used}
        for axis, named in explained.items()
        for used in [{variant(axis, one) for one in each}]
    }
    found = {key: study[key] for key in JOB_KEYS if key in study}
    found["variants"] = {axis: named for axis, named in variants.items() if named}
    return found | {"axes": axes(study), "grid": parts}


def seeds_of(study: Mapping, number: int) -> range:
    """So many seeds of a study."""
    first = study.get("first_seed", FIRST_SEED)
    return range(first, first + number)


def runs(study: Mapping, dataset: str, seeds: int) -> list[tuple[dict, Settings]]:
    """Every run of a study: the values of the axes, as its table has them, and the settings.

    A level that `variants` explains stands for the settings it lists, else the axis is a setting; what is said of
    several axes at once, `norm,batch_size`, comes on top. What nobody says has its default in settings.yaml, whatever
    the configuration of the grid is. Settings and values that do not exist are refused.
    """
    found, variants = [], study.get("variants", {})
    for seed, one in product(seeds_of(study, seeds), levels(study)):
        chosen = {"dataset": dataset, **study.get("settings", {}), "seed": seed}
        for axis, value in one.items():
            chosen |= variants.get(axis, {}).get(str(value), {axis: value})
        for axis in (name for name in variants if "," in name):
            chosen |= variants[axis].get(variant(axis, one), {})
        settings = make(chosen)
        row = {axis: one.get(axis, getattr(settings, axis, None)) for axis in axes(study)}
        row = {axis: level_text(value) for axis, value in row.items()}
        found.append((row | {"seed": seed}, settings))
    return found


def problems(study: Mapping) -> Iterator[str]:
    """Sentences about what a study says of its runs, each beginning with the key it is about."""
    for name, one in study.get("settings", {}).items():
        yield from value_problems(f"settings.{name}", {name: one})
    explained = study.get("variants", {})
    for axis, named in explained.items():
        for level, said in named.items():
            yield from value_problems(f"variants.{axis}.{level}", said)
    for grid in grids(study):
        for axis, values in grid.items():
            for value in values:
                if str(value) not in explained.get(axis, {}):
                    yield from value_problems(f"grid.{axis}", {axis: value})
    for axis in study.get("loop", []):
        if axis not in axes(study):
            yield f"loop: {axis} is no axis of its grid; there are {', '.join(axes(study))}."
    yield from observers.problems(study.get("observers", []))
    if (kind := study.get("rows", "run")) not in ROWS:
        yield f"rows: {kind} is not one of {', '.join(ROWS)}."


def value_problems(where: str, values: Mapping) -> Iterator[str]:
    for name, value in values.items():
        if name not in SETTINGS:
            hint = closest(name, SETTINGS) or "; config/README.md lists the settings"
            yield f"{where}: there is no setting {name!r}{hint}."
        elif problem := SETTINGS[name].problem(value):
            yield f"{where}: {problem}."


def all_options(study: Mapping) -> dict:
    """Everything that a study says of its runs, in one mapping for endpoints and report."""
    observed = [observers.name_and_options(entry)[1] for entry in study.get("observers", [])]
    settings, variants, options = (study.get(k, {}) for k in ("settings", "variants", "options"))
    return {k: v for part in (settings, variants, *observed, options) for k, v in part.items()}


def study_code(name: str, study: Mapping) -> tuple[str, ...]:
    """Files that decide the rows of a study: edits of other studies leave it alone.

    The definitions of the settings are not among them: a study depends on the values that it uses, not on their
    wording, see `asked_of_cell`.
    """
    if module := CODE_STUDIES.get(name):
        files = set(imported_code(f"studies.{module}"))
    else:
        files = {*RUNNER, *observers.observed_code(study.get("observers", []))}
    return tuple(sorted(files - NEUTRAL_CODE))


def job(name: str, study: Mapping, cell: Mapping) -> dict:
    """What the job of a cell must be told of its study."""
    if name not in CODE_STUDIES:
        return cell_part(study, cell)
    return {key: study[key] for key in ("first_seed", "options") if key in study}


def asked_of_cell(name: str, told: Mapping, cell: Mapping, dataset: str, seeds: int) -> dict:
    """What the job of a cell was asked for, as it is hashed: defaults that it does not name too."""
    used = [Settings()] if name in CODE_STUDIES else [one for _, one in runs(told, dataset, seeds)]
    asked = {"cell": cell, "study": told, "seeds": list(seeds_of(told, seeds))}
    return asked | {"settings": [as_dict(settings) for settings in used]}


class Job(NamedTuple):
    """One cell of a study, as the workflow runs it."""

    cell: dict
    dataset: str
    declaration: str  # JSON
    reuse: list[str]  # runs of the grid that equal runs of the cell


def jobs(name: str, study: Mapping, config: Mapping, grid: Mapping[str, Settings]) -> dict[str, Job]:
    """The jobs of a study by the name of their cell.

    Runs of the grid are read where they have the same settings and were observed alike.
    """
    found = {}
    alike = name not in CODE_STUDIES and study.get("observers", []) == config["observers"]
    for cell_name, cell in cells(study).items():
        told, dataset = job(name, study, cell), dataset_of(study, cell, config)
        asked = runs(told, dataset, study["seeds"]) if alike else []
        names = [run_name(settings) for _, settings in asked]
        reuse = [run for run in names if run in grid]
        found[cell_name] = Job(cell, dataset, json.dumps(told), reuse)
    return found
