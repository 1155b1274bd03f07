"""Whole `bnstudy train` processes: where their time goes, and what they could not do without."""

import json

import pytest
import torch
from floors import matrix_products, optimizer_update, seconds_of
from processes import BNSTUDY, bare_import, measure

from bnstudy.settings import Settings
from bnstudy.training import loop as training
from bnstudy.training.loop import make_deterministic

ROUNDS = 5
PHASES = ("start", "data", "training", "evaluation")
WHOLE_RUN_TARGETS = {256: 3.0}


@pytest.mark.parametrize("batch_size", [32, 256])
@pytest.mark.parametrize("norm", ["none", "batch"])
def test_whole_run(benchmark, record, mnist, tmp_path, norm, batch_size):
    make_deterministic(torch.device("cpu"))
    settings = Settings(norm=norm, batch_size=batch_size, seed=0)
    network = training.make_model(784, 10, settings)
    products = matrix_products(network, batch_size)
    update = optimizer_update(network, settings)
    command = [BNSTUDY, "train", mnist / "prepared.safetensors", "--out", tmp_path / "run"]
    command += ["--norm", norm, "--batch-size", batch_size, "--seed", 0, "--device", "cpu"]
    imports, floors, processes, timings = [], [], [], []

    def measure_floor():
        imports.append(bare_import())
        floors.append([seconds_of(products, 300) / 300, seconds_of(update, 300) / 300])

    def run():
        processes.append(measure(command, tmp_path / "log"))
        timings.append(json.loads((tmp_path / "run/timing.json").read_text()))

    benchmark.pedantic(run, setup=measure_floor, rounds=ROUNDS)
    walls = [process["wall_seconds"] for process in processes]
    memory = [process["peak_memory_mb"] for process in processes]
    steps = json.loads((tmp_path / "run/run.json").read_text())["steps_done"]
    cell = {"norm": norm, "batch_size": batch_size}
    targets = {"data": 0.2}
    record("run: wall", walls, "s", **cell)
    for phase in PHASES:
        seconds = [timing[f"{phase}_seconds"] for timing in timings]
        record(f"run: {phase}", seconds, "s", at_most=targets.get(phase), **cell)
    # The network, the hashes of what it comes from, checkpoints, writing, the end of the process.
    others = [
        wall - sum(timing[f"{phase}_seconds"] for phase in PHASES) for wall, timing in zip(walls, timings, strict=True)
    ]
    record("run: everything else", others, "s", **cell)
    record("run: peak memory", memory, "MB", at_most=1_000, **cell)
    starts = [timing["start_seconds"] for timing in timings]
    pairs = list(zip(starts, imports, strict=True))
    record("start - bare import", [a - b for a, b in pairs], "s", at_most=0.3, **cell)
    record("start / bare import", [a / b for a, b in pairs], "x", **cell)
    ratios = [wall / (steps * sum(floor)) for wall, floor in zip(walls, floors, strict=True)]
    target = WHOLE_RUN_TARGETS.get(batch_size)
    record("run / (products + updates)", ratios, "x", at_most=target, **cell)
