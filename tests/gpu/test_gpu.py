"""On a real NVIDIA GPU (`make test-gpu`): every study trains there, to the byte, and jobs share a card."""

import csv
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pynvml
import pytest
import torch

from bnstudy.config import default_studies
from bnstudy.studies import declaration
from checkouts import ROOT, Checkout, copy_checkout
from small import INFERENCE_STATISTICS

SHARED = ["--seed", "1000", "--epochs", "6", "--batch-size", "16", "--probe-every", "7"]
RUNS = {
    "none": [],
    "dropout": ["--norm", "batch", "--dropout", "0.3"],
    "noise": ["--norm", "noisy_batch", "--optimizer", "sgd", "--learning-rate", "0.1"],
    "ghost": ["--norm", "ghost:8", "--schedule", "cosine", "--weight-decay", "0.1"],
    "cnn": ["--norm", "batch", "--kind", "cnn", "--channels", "4", "8"],
    "resnet": ["--norm", "group:2", "--kind", "resnet", "--depth", "8"],
}
# Studies with everything that is large cut down.
SMALL = {
    "learning_rate": [0.1], "gain": [1], "network": ["relu2", "sigmoid3"], "depth": ["2", "5"],
    "group_size": ["4", "64"], "batch_size": [16, "128"],
}  # fmt: skip
OPTIONS = {
    "identities": {"batch_size": 64, "epochs": 2},
    "init_gradients": {"width": 64, "theory_depth": 12, "middle": [4, 8], "claim_depth": 8},
    "inference_statistics": INFERENCE_STATISTICS,
    "timing": {"batch_sizes": [32, 64], "blocks": 2, "steps": 3},
    "residual_init": {"depth": 14},
    "rank": {"depth": 14},
}


def bnstudy(*words: object) -> subprocess.Popen:
    command = [sys.executable, "-m", "bnstudy", *map(str, words)]
    environment = os.environ | {"PYTHONPATH": str(ROOT / "workflow")}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def finish(*words: object) -> str:
    """Run a command to its end, which must be a good one; its log."""
    process = bnstudy(*words)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    return log


def table(path: Path) -> list[dict[str, str]]:
    with open(path) as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module", autouse=True)
def gpu():
    assert torch.cuda.is_available(), "these tests need an NVIDIA GPU"


@pytest.mark.parametrize("kind", RUNS)
def test_a_run_gives_the_same_bytes_again_and_after_a_kill(kind, digits_data, tmp_path):
    def words(name: str, *more: str) -> list:
        options = [*SHARED, *RUNS[kind], "--device", "cuda", "--jobs-per-gpu", "8", *more]
        return ["train", digits_data, "--out", tmp_path / name, *options]

    for name in ("once", "again"):
        finish(*words(name))
    killed = words("killed", "--checkpoint-every", "20")
    process = bnstudy(*killed)
    while process.poll() is None and not list((tmp_path / "killed").glob(".checkpoint.pt")):
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    log = finish(*killed)
    assert "starting at the beginning" not in log
    runs = [(tmp_path / name / "metrics.csv").read_bytes() for name in ("once", "again", "killed")]
    assert runs[0] == runs[1] == runs[2]
    said = json.loads((tmp_path / "once/run.json").read_text())
    assert said["device"] == "cuda"

    # What the CPU computes is close, but not the same: a network trained is trained on both.
    finish(*(word if word != "cuda" else "cpu" for word in words("cpu")))
    here, there = (table(tmp_path / name / "metrics.csv") for name in ("cpu", "once"))
    assert [{**row, "value": 0} for row in here] == [{**row, "value": 0} for row in there]
    first = [(float(h["value"]), float(t["value"])) for h, t in zip(here, there, strict=True) if h["step"] == "0"]
    assert first
    for ours, theirs in first:
        assert theirs == pytest.approx(ours, rel=2e-5)  # convolutions in TF32 would be off by more
    last = [[float(row["value"]) for row in rows if row["metric"] == "accuracy"][-1] for rows in (here, there)]
    assert last[1] == pytest.approx(last[0], abs=0.05)


def cut(name: str) -> tuple[dict, dict]:
    """A shipped study made small, and one of its cells: the last, which has normalization."""
    study = default_studies()[name]
    if name in declaration.CODE_STUDIES:
        study["options"] |= OPTIONS.get(name, {})
    else:
        levels = study.get("variants", {}).values()
        for settings in (one for named in levels for one in named.values()):
            settings |= {name: 640 for name in ("train_images", "batch_size") if settings.get(name, 0) > 640}
        grids = study["grid"] if isinstance(study["grid"], list) else [study["grid"]]
        for grid in grids:
            for axis in grid.keys() & SMALL.keys():
                grid[axis] = [one for one in grid[axis] if one in SMALL[axis]] or grid[axis][:1]
            grid.pop("dataset", None)
            grid |= {"train_images": [600]} if "train_images" in grid else {}
        study["settings"] = study.get("settings", {}) | {"dataset": "digits", "epochs": 2}
        study["settings"] |= {"train_images": 640, "validation_images": 200, "batch_size": 16}
    return study, [*declaration.cells(study).values()][-1]


@pytest.mark.parametrize("name", default_studies())
def test_every_study_runs_there(name, digits_data, tmp_path):
    study, cell = cut(name)
    told = json.dumps(declaration.job(name, study, cell))
    found = {}
    for device in ("cpu", "cuda"):
        out = tmp_path / device / "rows.csv"
        out.parent.mkdir(exist_ok=True)
        how = ["--declaration", told, "--seeds", "1", "--device", device, "--jobs-per-gpu", "8"]
        finish("study", name, digits_data, "--cell", json.dumps(cell), *how, "--out", out)
        found[device] = table(out)
    here, there = found["cpu"], found["cuda"]
    assert len(here) == len(there) > 0
    pairs = [
        (key, value, other[key])
        for row, other in zip(here, there, strict=True)
        for key, value in row.items()
        if key not in ("environment", "milliseconds", "rows_sha256")
    ]
    far = [(k, a, b) for k, a, b in pairs if not close(a, b)]
    # Networks of 20 layers or with large steps go their own ways after a few steps.
    assert len(far) <= 0.2 * len(pairs), far


def close(one: str, other: str) -> bool:
    try:
        return math.isclose(float(one), float(other), rel_tol=0.05, abs_tol=0.02)
    except ValueError:
        return one == other


def test_jobs_share_a_card_as_told(digits_data, tmp_path):
    """Never more than two at once, and once two."""
    options = [*SHARED, "--device", "cuda", "--jobs-per-gpu", "2"]
    processes = [bnstudy("train", digits_data, "--out", tmp_path / str(i), *options) for i in range(5)]
    pynvml.nvmlInit()
    card = pynvml.nvmlDeviceGetHandleByIndex(0)
    seen = {0}
    while any(process.poll() is None for process in processes):
        seen.add(len(pynvml.nvmlDeviceGetComputeRunningProcesses(card)))
        time.sleep(0.02)
    for process in processes:
        assert process.wait() == 0, process.stderr.read()
    assert max(seen) == 2
    assert len({(tmp_path / str(i) / "metrics.csv").read_bytes() for i in range(5)}) == 1


def test_the_quick_study_through_to_its_report(tmp_path):
    checkout = copy_checkout(tmp_path)
    study = Checkout(checkout.root, checkout.root / ".quick")
    study.configure((checkout.root / "config/quick.yaml").read_text())
    study.configure("training: {device: cuda, jobs_per_gpu: 4}")
    options = ["--profile", str(checkout.root / "profiles/gpu"), "--resources", "gpu=4"]
    study.run(*options, cores=8)
    runs = table(study.study / "results/tables/runs.csv")
    assert {row["device"] for row in runs} == {"cuda"}
    assert {row["status"] for row in runs} == {"ok"}
    name = torch.cuda.get_device_name()
    assert name in (study.study / "report/report.html").read_text()
    assert "Nothing to be done" in study.run(*options)
