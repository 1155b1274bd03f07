"""Runs a study's job: what is finished is kept, what was begun goes on where it was.

Beside the job's table lies a folder with a folder for each part of it (a run, or a seed of a study that is code): the
part's rows once it is finished, its checkpoint before. Both are believed only if they were made by the same code, on
the same data, with the same settings and environment.
"""

import csv
import json
import shutil
import sys
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path

import torch

from bnstudy.checks import check_batches, run_problem
from bnstudy.data.prepared import PreparedData
from bnstudy.data.registry import add_prepared
from bnstudy.errors import UserError
from bnstudy.files import replacing
from bnstudy.logs import say
from bnstudy.provenance import config_sha256
from bnstudy.settings import SETTINGS, Settings, as_dict, run_name
from bnstudy.studies import declaration
from bnstudy.studies.rows import OUTCOME, ROWS, Metrics
from bnstudy.training.checkpoints import AGAIN, NAME, Checkpoint
from bnstudy.training.inputs import Split, make_splits
from bnstudy.training.loop import first_step_reaching, make_model, train
from bnstudy.training.observers import make_observers
from bnstudy.training.progress import Progress
from bnstudy.training.record import summarize

FOLDER = ".progress"
# What runs with the same images share.
split_by = attrgetter("seed", "kind", *(n for n, one in SETTINGS.items() if one.section == "data"))


class Kept:
    """The finished parts of a job and the checkpoint of the one that is under way.

    They lie in the `folder` of the job, whose only writer must be this process. The `identity` is what every part
    depends on; its settings are added to it. There are `every` optimizer steps between two checkpoints.
    """

    def __init__(self, folder: Path, identity: dict[str, str], every: int):
        self.folder = folder / FOLDER
        self.identity = identity
        # Studies have thousands of epochs that are shorter than the writing of a checkpoint.
        self.checkpoint = Checkpoint(self.folder, identity, every, at_epochs=False)

    def rows(self, asked: dict, make: Callable[[], list[dict]]) -> list[dict]:
        """The rows of a part that was asked for so: those kept, or made now and then kept."""
        if self.checkpoint.stopping:
            say("asked to stop: what is finished is kept, run it again")
            sys.exit(AGAIN)
        sha256 = config_sha256(asked)
        folder = self.folder / sha256[:16]
        identity = self.identity | {"settings": sha256}
        path = folder / "rows.json"
        try:
            kept = json.loads(path.read_text())
            if kept["identity"] == identity:
                return kept["rows"]
        except (OSError, ValueError, KeyError, TypeError):
            pass
        folder.mkdir(parents=True, exist_ok=True)
        self.checkpoint.path = folder / NAME
        self.checkpoint.identity = identity
        rows = make()
        with replacing(path) as file:
            file.write(json.dumps({"identity": identity, "rows": rows}))
        self.checkpoint.remove()
        return rows

    def remove(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def run_grid(
    study: dict, data: PreparedData, seeds: int, device: torch.device, kept: Kept, reuse: list[Path]
) -> list[dict]:
    """The rows of every run of a study, or of the part of it that one job does.

    The study is as in config/studies.yaml, see `bnstudy.studies.declaration.cell_part`. Folders to `reuse` are of runs
    of the grid; those that equal a run of the study are read.
    """
    known = {}
    for folder in reuse:
        run = json.loads((folder / "run.json").read_text())
        if run["environment"] == kept.identity["environment"]:
            known[config_sha256(run["settings"]), run["data_sha256"]] = folder, run
    described, observed = add_prepared(data), study.get("observers", [])
    splits: dict[tuple, dict[str, Split]] = {}  # of the last run: the runs of a seed share them
    rows = []
    for levels, settings in declaration.runs(study, data.name, seeds):
        if settings.dataset != data.name:
            raise UserError(f"{run_name(settings)} cannot be trained on {data.name}.")
        if found := run_problem(settings, described, observed):
            raise UserError(f"{found[0]}: {found[1]}.")
        asked = {key: study[key] for key in declaration.JOB_KEYS if key in study}
        asked["settings"] = as_dict(settings)

        def make(settings: Settings = settings) -> list[dict]:
            name, key = run_name(settings), split_by(settings)
            say(name)
            if key not in splits:
                splits.clear()
                splits[key] = make_splits(data, settings, device)
            images = splits[key]["train"]
            check_batches(len(images), settings)
            model = make_model(images.pixels.shape[1:], len(data.classes), settings).to(device)
            around = (make_observers(observed), kept.checkpoint, Progress(name, settings.epochs))
            each_epoch = study.get("rows") == "epoch"
            run = train(model, splits[key], settings, None, *around, each_epoch=each_epoch)
            summary = summarize(run, len(data.classes), splits[key], settings, {}, observed)
            return rows_of(study, settings, summary, run.metrics)

        if found := known.get((config_sha256(asked["settings"]), data.sha256)):
            folder, summary = found
            made = rows_of(study, settings, summary, read_metrics(folder / "metrics.csv"))
        else:
            made = kept.rows(asked, make)
        rows += [levels | row for row in made]
    return rows


def read_metrics(path: Path) -> Metrics:
    """The metrics of a run of the grid; the value of what was not finite is None."""
    with open(path, newline="") as file:
        return [
            (int(epoch), int(step), split, metric, json.loads(value or "null"))
            for epoch, step, split, metric, value in list(csv.reader(file))[1:]
        ]


def rows_of(study: dict, settings: Settings, summary: dict, metrics: Metrics) -> list[dict]:
    """The rows of a run in the study's table, from what run.json has of it and its metrics."""
    outcome = {key: summary[key] for key in OUTCOME}
    probes = [(step, v) for _, step, s, m, v in metrics if (s, m) == ("probe", "accuracy")]
    for target in study.get("targets", []):
        reached = first_step_reaching(probes, target) if outcome["status"] == "ok" else None
        outcome = outcome | {f"steps_to_{round(100 * target)}": reached}
    kind = study.get("rows", "run")
    if kind == "epoch":
        outcome = outcome | {"epochs": settings.epochs}
    return ROWS[kind](outcome, metrics)
