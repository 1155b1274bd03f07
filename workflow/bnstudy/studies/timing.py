"""S11: what batch normalization costs in time and memory (L2).

Arms take turns in short blocks, so that a slow minute of the machine hits all of them; their order
turns round from block to block. A block is the `seed` of a row. Phases and arms:

- `training`: `none` and `batch`, a step of `bnstudy train` (forward, backward, Adam);
- `inference`: `none`, `batch` and `fused` (batch normalization folded into the Linear before it),
  one batch in evaluation mode.

`milliseconds` is the time of a step, a mean over the steps of the block; `saved_bytes` what the
forward pass of a training step keeps for the backward pass, the part of a step's peak memory that
depends on the arm beyond its `parameters` and `buffers` (numbers of values).
"""

import time
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.layers import fuse
from bnstudy.networks.optimizers import OPTIMIZERS
from bnstudy.networks.weights import count_parameters
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """One row per block (a seed), phase and arm; the job needs the machine for itself.

    `cell` has `batch_size`; `options` has `steps`, the number of steps in a block.
    """
    batch_size = cell["batch_size"]
    models, splits = {}, {}
    for norm in ("none", "batch"):
        settings = Settings(norm=norm, batch_size=batch_size, seed=0)
        splits = make_splits(data, settings, device)
        n_inputs = splits["train"].pixels.shape[1]
        models[norm] = make_model(n_inputs, len(data.classes), settings).to(device)
    inputs, labels = next(splits["train"].batches(batch_size))

    measured = {}
    for norm, model in models.items():
        measured["training", norm] = training_step(model, inputs, labels)
        measured["inference", norm] = inference_step(model, inputs)
    measured["inference", "fused"] = inference_step(fuse(models["batch"]), inputs)
    sizes = {norm: size(model, inputs, labels) for norm, model in models.items()}
    sizes["fused"] = size(fuse(models["batch"]), inputs, labels)

    steps = options["steps"]
    for step in measured.values():  # the first steps are slow: memory, threads, caches
        milliseconds_per_step(step, steps, device)
    rows = []
    for seed in seeds:
        arms = list(measured.items())
        for (phase, arm), step in arms if seed % 2 == 0 else reversed(arms):
            rows.append(
                {
                    "seed": seed,
                    "phase": phase,
                    "arm": arm,
                    "milliseconds": milliseconds_per_step(step, steps, device),
                    **sizes[arm],
                }
            )
    return rows


def training_step(model: nn.Module, inputs: Tensor, labels: Tensor) -> Callable[[], None]:
    optimizer = OPTIMIZERS["adam"](model.parameters(), 1e-3)

    def step() -> None:
        model.train()
        optimizer.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()

    return step


def inference_step(model: nn.Module, inputs: Tensor) -> Callable[[], None]:
    @torch.inference_mode()
    def step() -> None:
        model.eval()
        model(inputs)

    return step


def milliseconds_per_step(step: Callable[[], None], steps: int, device: torch.device) -> float:
    """Mean wall-clock time of a step, the device's queue included."""
    wait(device)
    start = time.perf_counter()
    for _ in range(steps):
        step()
    wait(device)
    return 1000 * (time.perf_counter() - start) / steps


def wait(device: torch.device) -> None:
    """Wait until the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


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
