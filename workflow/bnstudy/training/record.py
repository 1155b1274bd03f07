"""What is kept of a run: metrics.csv, run.json with where it came from, timing.json."""

import csv
import json
import platform
import resource
import socket
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import torch

from bnstudy import provenance
from bnstudy.data.prepared import PreparedData
from bnstudy.files import replacing
from bnstudy.networks.weights import count_parameters
from bnstudy.scoring import RESULTS, SERIES
from bnstudy.settings import Settings, as_dict, run_name
from bnstudy.training.devices import device_name
from bnstudy.training.inputs import Split
from bnstudy.training.loop import Run

MODEL = "model.safetensors"
FEW_CLASSES = 30  # up to which a confusion matrix is kept


def find_origin(code: Iterable[str], asked: object, data: PreparedData, device: torch.device) -> dict[str, str]:
    """What results come from; asked for at the start, for files may be edited while they are made."""
    is_cpu = device.type == "cpu"
    hardware = provenance.processor() if is_cpu else f"{device.type} {device_name(device)}"
    return {
        "code_sha256": provenance.code_sha256(code),
        "config_sha256": provenance.config_sha256(asked),
        "data_sha256": data.sha256,
        "environment": provenance.environment(hardware),
    }


def identity(origin: dict[str, str]) -> dict[str, str]:
    """What must be equal for a run to go on from a checkpoint and end with the same bytes."""
    names = ("code", "settings", "data", "environment")
    return dict(zip(names, (origin[key] for key in provenance.ORIGIN), strict=True))


def summarize(
    run: Run, n_classes: int, splits: dict, settings: Settings, origin: dict, observers: Sequence
) -> dict[str, object]:
    """The content of run.json: the run's row of the table of runs, with where it came from."""
    return {
        "run": run_name(settings),
        "status": run.status,
        "n_parameters": count_parameters(run.model),
        **{f"n_{name}": len(split) for name, split in splits.items()},
        "n_classes": n_classes,
        "n_steps": run.n_steps,
        "steps_done": run.steps_done,
        **{name: run.last(*series) for name, series in RESULTS.items()},
        "steps_to_target": run.steps_to(settings.target),
        "observed": {m: v for _, _, s, m, v in run.metrics if (s, m) not in SERIES},
        "confusion": confusion(run, splits["test"], n_classes),
        "device": splits["train"].pixels.device.type,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **origin,
        "settings": as_dict(settings),
        "observers": list(observers),
    }


def confusion(run: Run, test: Split, n_classes: int) -> list[list[int]] | None:
    """Test images by true class (rows) and predicted class; of many classes, those that were right.

    The rows are then [right, wrong]. None for a run that diverged.
    """
    if run.status != "ok":
        return None
    labels, predicted, columns = test.labels.cpu(), run.predictions, n_classes
    if n_classes > FEW_CLASSES:
        predicted, columns = (labels != predicted).long(), 2
    counts = torch.bincount(labels * columns + predicted, minlength=n_classes * columns)
    return counts.view(n_classes, columns).tolist()


def summarize_timing(run: Run, device: torch.device) -> dict[str, object]:
    """Where the time of a run went; seconds are those of all attempts that led to its result."""
    totals = {"checkpoint": 0.0, **run.clock.totals(), "training": sum(run.epoch_seconds)}
    phases = ("start", "data", "training", "evaluation", "checkpoint", "wall", "cpu")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    return {f"{phase}_seconds": totals[phase] for phase in phases} | {
        "resumptions": run.clock.resumptions,
        "epoch_seconds": run.epoch_seconds,
        # The largest resident memory of this process so far, in units of 10^6 bytes.
        "peak_memory_mb": peak if sys.platform == "darwin" else peak * 1024,  # bytes, KiB on Linux
        "host": socket.gethostname(),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
    }


def write_outputs(out: Path, run: Run, summary: dict, timing: dict, *, keep_model: bool = False) -> None:
    """Write the files of a run, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    if keep_model:
        from safetensors.torch import save

        weights = {name: tensor.contiguous() for name, tensor in run.model.state_dict().items()}
        with replacing(out / MODEL, binary=True) as file:
            file.write(save(weights))
    with replacing(out / "metrics.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", "step", "split", "metric", "value"])
        writer.writerows(run.metrics)
    for name, content in (("timing.json", timing), ("run.json", summary)):
        with replacing(out / name) as file:
            file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")
