"""The studies that are no grids of runs, and which files each study depends on."""

import json
from collections.abc import Mapping
from typing import NamedTuple

from bnstudy.provenance import NEUTRAL_CODE, PACKAGE, TRAINING_CODE, imported_code
from bnstudy.settings import Settings, as_dict, run_name
from bnstudy.studies.declaration import cell_part, cells, dataset_of, runs, seeds_of
from bnstudy.training.observers import observer_code

# Each is a module here with run(data, cell, options, seed, device), which gives rows of a seed as flat dicts.
CODE_STUDIES = {
    "identities": "identities",
    "init_gradients": "init_gradients",
    "inference_statistics": "inference_statistics",
    "residual_init": "random_networks",
    "rank": "random_networks",
    "timing": "timing",
    "calibration": "calibration",
}


# What makes the rows of a study of runs, besides its observers.
RUNNER = (*TRAINING_CODE, *("scoring.py", "studies/rows.py", "studies/runner.py"))


def study_code(name: str, study: Mapping) -> tuple[str, ...]:
    """Files that decide the rows of a study: edits of other studies leave it alone.

    The definitions of the settings are not among them: a study depends on the values that it uses, not
    on their wording, see `settings_used`.
    """
    if name in CODE_STUDIES:
        module = f"studies/{CODE_STUDIES[name]}"
        lists = {f"{module}.yaml"} if (PACKAGE / f"{module}.yaml").is_file() else set()
        files = lists | set(imported_code(module.replace("/", ".")))
    else:
        files = {*RUNNER, *observer_code(study.get("observers", []))}
    return tuple(sorted(files - NEUTRAL_CODE))


def job(name: str, study: Mapping, cell: Mapping) -> dict:
    """What the job of a cell must be told of its study."""
    return {"options": study["options"]} if name in CODE_STUDIES else cell_part(study, cell)


def asked_of_cell(name: str, told: Mapping, cell: Mapping, dataset: str, seeds: int) -> dict:
    """What the job of a cell was asked for, as it is hashed: defaults that it does not name too."""
    if name in CODE_STUDIES:
        used = [as_dict(Settings())]
    else:
        used = [as_dict(settings) for _, settings in runs(told, dataset, seeds)]
    own = list(seeds_of(seeds))
    return {"cell": cell, "study": told, "seeds": own, "settings": used}


class Job(NamedTuple):
    """One cell of a study, as the workflow runs it."""

    cell: dict
    dataset: str
    declaration: str  # JSON
    reuse: list[str]  # runs of the grid that equal runs of the cell


def jobs(
    name: str, study: Mapping, config: Mapping, grid: Mapping[str, Settings]
) -> dict[str, Job]:
    """The jobs of a study by the name of their cell.

    Runs of the grid are read where they have the same settings and were observed alike.
    """
    found = {}
    for cell_name, cell in cells(study).items():
        told = job(name, study, cell)
        dataset = dataset_of(study, cell, config)
        reuse: list[str] = []
        if name not in CODE_STUDIES and study.get("observers", []) == config["observers"]:
            names = [run_name(settings) for _, settings in runs(told, dataset, study["seeds"])]
            reuse = [run for run in names if run in grid]
        found[cell_name] = Job(cell, dataset, json.dumps(told), reuse)
    return found
