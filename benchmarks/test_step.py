"""A training step against what it cannot do without: its matrix products and its update.

Both in this process, on one thread, in blocks that take turns, so that a busy machine slows both.
The step is the study's own loop, `bnstudy.training.loop.train`: shuffling, scaling, forward, backward and
update, without evaluations.
"""

import time
from itertools import pairwise
from statistics import median

import pytest
import torch
from floors import forward_products, layer_work, matrix_products, optimizer_update, seconds_of
from torch import nn

from bnstudy.data.prepared import open_prepared
from bnstudy.networks.optimizers import OPTIMIZERS
from bnstudy.settings import Settings
from bnstudy.training import loop as training
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_deterministic

ROUNDS = 25
WARM_UP = 3
STEPS = {32: 400, 256: 100}  # in a block: about a sixth of a second
STEP_TARGETS = {32: 2.2, 256: 1.7}
PHASES = ("gather", "forward", "backward", "update")
CELLS = [(norm, batch_size) for batch_size in STEPS for norm in ("none", "batch")]


@pytest.fixture(scope="module")
def data(mnist):
    make_deterministic(torch.device("cpu"))
    return open_prepared(mnist / "prepared.safetensors")


@pytest.fixture
def work(data, monkeypatch, norm, batch_size):
    """A fresh network, the settings, and splits of one block whose evaluations cost nothing."""
    steps = STEPS[batch_size]
    monkeypatch.setattr(training, "TRAIN_SUBSET_SIZE", 10)
    settings = Settings(norm=norm, batch_size=batch_size, seed=0, epochs=1, probe_every=steps + 1)
    splits = make_splits(data, settings, torch.device("cpu"))
    splits = {name: split.first(10) for name, split in splits.items()} | {
        "train": splits["train"].first(steps * batch_size)
    }

    def make_network() -> nn.Sequential:
        return training.make_model(splits["train"].pixels.shape[1], len(data.classes), settings)

    return make_network, splits, settings


@pytest.mark.parametrize(("norm", "batch_size"), CELLS)
def test_step_over_its_floor(benchmark, record, work, norm, batch_size):
    make_network, splits, settings = work
    steps = STEPS[batch_size]
    network = make_network()
    products = matrix_products(network, batch_size)
    update = optimizer_update(network, settings)
    floors = []

    def time_floor():
        floors.append((seconds_of(products, steps), seconds_of(update, steps)))
        return (make_network(), splits, settings), {}

    benchmark.pedantic(training.train, setup=time_floor, rounds=ROUNDS, warmup_rounds=WARM_UP)
    blocks, floors = benchmark.stats.stats.data, floors[-ROUNDS:]
    cell = {"norm": norm, "batch_size": batch_size}
    record("step", [1e3 * block / steps for block in blocks], "ms", **cell)
    record("step: its matrix products alone", [1e3 * p / steps for p, _ in floors], "ms", **cell)
    record("step: its update alone", [1e3 * u / steps for _, u in floors], "ms", **cell)
    ratios = [block / (p + u) for block, (p, u) in zip(blocks, floors, strict=True)]
    record("step / (products + update)", ratios, "x", at_most=STEP_TARGETS[batch_size], **cell)


@pytest.mark.parametrize(("norm", "batch_size"), CELLS)
def test_where_a_step_spends_its_time(monkeypatch, record, work, norm, batch_size):
    """Gather, forward, backward, update: the training loop with a clock read between them."""
    make_network, splits, settings = work
    marks: list[tuple[str, float]] = []

    def mark(phase: str) -> None:
        marks.append((phase, time.perf_counter()))

    def while_training(phase: str):
        return lambda *_: mark(phase) if torch.is_grad_enabled() else None

    class Clocked(OPTIMIZERS[settings.optimizer]):
        def step(self) -> None:
            mark("backward")
            super().step()
            mark("update")

    monkeypatch.setitem(OPTIMIZERS, settings.optimizer, Clocked)
    rounds: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for _ in range(WARM_UP + ROUNDS):
        marks.clear()
        network = make_network()
        network.register_forward_pre_hook(while_training("gather"))
        network.register_forward_hook(while_training("forward"))
        training.train(network, splits, settings)
        # What lies between two marks belongs to the later one; the first step has no mark before it.
        spans = [(phase, end - start) for (_, start), (phase, end) in pairwise(marks)]
        for phase in PHASES:
            times = [seconds for name, seconds in spans if name == phase]
            rounds[phase].append(1e3 * sum(times) / len(times))
    for phase in PHASES:
        record(f"step: {phase}", rounds[phase][WARM_UP:], "ms", norm=norm, batch_size=batch_size)


@pytest.mark.parametrize(("norm", "batch_size"), [("none", 256), ("batch", 256)])
def test_evaluation_over_its_floor(benchmark, record, data, norm, batch_size):
    """A probe of 2,000 images against the matrix products of its forward pass."""
    settings = Settings(norm=norm, batch_size=batch_size, seed=0)
    splits = make_splits(data, settings, torch.device("cpu"))
    probe = splits["validation"].first(training.PROBE_SIZE)
    network = training.make_model(probe.pixels.shape[1], len(data.classes), settings)
    products = forward_products(network, len(probe))
    floors = []

    def time_floor():
        floors.append(seconds_of(products, 10) / 10)
        return (network, probe), {}

    benchmark.pedantic(training.evaluate, setup=time_floor, rounds=10 * ROUNDS, warmup_rounds=10)
    probes, floors = benchmark.stats.stats.data, floors[-10 * ROUNDS :]
    ratios = [a / b for a, b in zip(probes, floors, strict=True)]
    # One probe takes milliseconds, so single ones scatter: ten of them make a round.
    rounds = [median(ratios[i : i + 10]) for i in range(0, len(ratios), 10)]
    record("probe / (its products)", rounds, "x", at_most=1.3, norm=norm)


IMAGES = 128  # in a batch
NETWORKS = {"cnn": {"kind": "cnn"}, "resnet": {"kind": "resnet", "depth": 8}}
BLOCK = {"cnn": 10, "resnet": 2}  # steps


@pytest.mark.parametrize("norm", ["none", "batch"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_convolutional_step_and_evaluation_over_their_floor(benchmark, record, data, monkeypatch, kind, norm):
    """The same for convolutions, on images as the loop has them."""
    monkeypatch.setattr(training, "TRAIN_SUBSET_SIZE", 10)
    settings = Settings(norm=norm, batch_size=IMAGES, seed=0, epochs=1, probe_every=1_000, **NETWORKS[kind])
    splits = make_splits(data, settings, torch.device("cpu"))
    few = {name: split.first(10) for name, split in splits.items()}
    splits = few | {"train": splits["train"].first(BLOCK[kind] * IMAGES)}
    images = splits["train"].first(IMAGES)
    chunk = splits["train"].first(training.MAPS_CHUNK)

    def make_network() -> nn.Module:
        return training.make_model(splits["train"].pixels.shape[1:], len(data.classes), settings)

    step = layer_work(make_network(), images.inputs, backward=True)
    forward = layer_work(make_network(), chunk.inputs, backward=False)
    update = optimizer_update(make_network(), settings)
    network = make_network()
    steps, chunks = [], []

    def time_floors():
        floor = seconds_of(step, BLOCK[kind]) + seconds_of(update, BLOCK[kind])
        steps.append(floor)
        floor = seconds_of(forward, 2)
        chunks.append(seconds_of(lambda: training.evaluate(network, chunk), 2) / floor)
        return (make_network(), splits, settings), {}

    benchmark.pedantic(training.train, setup=time_floors, rounds=ROUNDS, warmup_rounds=WARM_UP)
    blocks = benchmark.stats.stats.data
    ratios = [block / floor for block, floor in zip(blocks, steps[-ROUNDS:], strict=True)]
    cell = {"norm": norm, "batch_size": IMAGES}
    record(f"{kind}: step / (convolutions + update)", ratios, "x", at_most=1.5, **cell)
    record(f"{kind}: evaluation / (its convolutions)", chunks[-ROUNDS:], "x", at_most=1.3, norm=norm)
