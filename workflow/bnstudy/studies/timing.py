"""S11: what batch normalization costs in time and memory (L2).

Memory layout and the like differ from process to process and stay within one, so the unit is the process: each seed is
timed in a fresh one. Within it arms take turns in short blocks, so that a slow minute of the machine hits all of them;
their order turns round from block to block. Phases and arms:

- `training`: `none` and `batch`, a step of `bnstudy train` (forward, backward, Adam);
- `inference`: `none`, `batch` and `fused` (batch normalization folded into the Linear before it),
  one batch in evaluation mode.

`milliseconds` is the time of a step, the median over the blocks of the mean over a block's steps; `saved_bytes` what
the forward pass of a training step keeps for the backward pass, the part of a step's peak memory that depends on the
arm beyond its `parameters` and `buffers` (numbers of values).
"""

import multiprocessing
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.layers import fuse
from bnstudy.networks.optimizers import Optimizer, make_optimizer
from bnstudy.networks.weights import count_parameters
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model


def run(data: PreparedData, cell: dict, options: dict, seed: int, device: torch.device) -> list[dict]:
    """One row per batch size, phase and arm, of one process; the job needs the machine for itself.

    `options` has `batch_sizes`, `blocks`, and `steps`, the number of steps in a block.
    """
    settings = Settings(seed=seed)
    split = make_splits(data, settings, torch.device("cpu"))["train"]
    batches = [[one.numpy() for one in next(split.batches(size))] for size in options["batch_sizes"]]
    asked = (batches, len(data.classes), settings, options, device, torch.get_num_threads())
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as fresh:
        return fresh.submit(one_process, *asked).result()


def one_process(batches: list, n_classes: int, settings: Settings, options: dict, device, threads: int) -> list[dict]:
    """The rows of a seed, measured in the process that this is called in."""
    torch.set_num_threads(threads)
    rows = []
    for batch in batches:
        inputs, labels = (torch.from_numpy(one).to(device) for one in batch)
        timed = times_of(inputs, labels, n_classes, settings, options)
        rows += [{"batch_size": len(labels)} | row for row in timed]
    return rows


def times_of(inputs: Tensor, labels: Tensor, n_classes: int, settings: Settings, options: dict) -> list[dict]:
    """The rows of a batch, on its device."""
    device = inputs.device
    models = {
        norm: make_model(inputs.shape[1], n_classes, replace(settings, norm=norm)).to(device)
        for norm in ("none", "batch")
    }
    models["fused"] = fuse(models["batch"])
    sizes = {arm: size(model, inputs, labels) for arm, model in models.items()}
    measured = {}
    for arm, model in models.items():
        if arm != "fused":
            adam = make_optimizer(model.parameters(), settings)
            measured["training", arm] = partial(training_step, model, adam, inputs, labels)
        measured["inference", arm] = partial(inference_step, model, inputs)
    time_of = partial(milliseconds_per_step, steps=options["steps"], device=device)
    for step in measured.values():  # the first steps are slow: memory, threads, caches
        time_of(step)
    times: dict[tuple, list[float]] = {arm: [] for arm in measured}
    for block in range(options["blocks"]):
        for arm in measured if (settings.seed + block) % 2 == 0 else reversed(measured):
            times[arm].append(time_of(measured[arm]))
    return [
        {"phase": phase, "arm": arm, "milliseconds": statistics.median(found), **sizes[arm]}
        for (phase, arm), found in times.items()
    ]


def training_step(model: nn.Module, optimizer: Optimizer, inputs: Tensor, labels: Tensor) -> None:
    model.train()
    optimizer.zero_grad()
    F.cross_entropy(model(inputs), labels).backward()
    optimizer.step()


@torch.inference_mode()
def inference_step(model: nn.Module, inputs: Tensor) -> None:
    model.eval()
    model(inputs)


def milliseconds_per_step(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Mean wall-clock time of a step, the device's queue included."""
    wait = torch.get_device_module(device).synchronize
    wait()
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait()
    return 1000 * (time.perf_counter() - start) / steps


def size(model: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, int]:
    """Numbers of parameters and buffer values, and the bytes kept for the backward pass."""
    kept: dict[int, int] = {}
    held = {p.data_ptr() for p in model.parameters()} | {inputs.data_ptr(), labels.data_ptr()}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.data_ptr() not in held:
            kept[tensor.data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        loss = F.cross_entropy(model(inputs), labels)
    del loss
    return {
        "parameters": count_parameters(model),
        "buffers": sum(buffer.numel() for buffer in model.buffers()),
        "saved_bytes": sum(kept.values()),
    }
