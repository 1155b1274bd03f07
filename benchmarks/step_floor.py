"""Time the training loop's step against its matrix products and optimizer update alone.

Both are timed in this one process on one thread, in blocks that take turns, so that a busy machine
slows both. The step is the study's own loop, `bnstudy.training.train`, on as many images as a block
has steps for: shuffling, scaling, forward, backward and update, without evaluations.
"""

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import torch
from torch import nn

from bnstudy.devices import make_deterministic
from bnstudy.prepared import open_prepared
from bnstudy.training import OPTIMIZERS, Settings, make_model, make_splits, train

WARM_UP_BLOCKS = 2


def matrix_products(model: nn.Sequential, batch_size: int) -> Callable[[], None]:
    """The products of one step: X W' and dY' X for each Linear, dY W for all but the first."""
    layers = [module for module in model if isinstance(module, nn.Linear)]
    products = []
    for position, layer in enumerate(layers):
        weight = layer.weight.detach().clone()
        inputs = torch.randn(batch_size, layer.in_features)
        gradient = torch.randn(batch_size, layer.out_features)
        products += [(inputs, weight.T), (gradient.T, inputs)]
        if position > 0:
            products.append((gradient, weight))
    jobs = [(a, b, torch.empty(a.shape[0], b.shape[1])) for a, b in products]

    def run() -> None:
        for a, b, out in jobs:
            torch.mm(a, b, out=out)

    return run


def optimizer_update(model: nn.Sequential, settings: Settings) -> Callable[[], None]:
    """The update of every parameter of the network, given gradients."""
    for parameter in model.parameters():
        parameter.grad = torch.randn_like(parameter)
    return OPTIMIZERS[settings.optimizer](model.parameters(), settings.learning_rate).step


def timed(work: Callable[[], None], times: int) -> float:
    """Milliseconds per call, over `times` calls."""
    start = time.perf_counter()
    for _ in range(times):
        work()
    return (time.perf_counter() - start) * 1e3 / times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="prepared dataset")
    parser.add_argument("--norm", required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--blocks", type=int, default=15)
    parser.add_argument("--steps", type=int, default=50, help="steps in a block")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    arguments = parser.parse_args()

    device = torch.device("cpu")
    make_deterministic(device)
    settings = Settings(
        norm=arguments.norm,
        batch_size=arguments.batch_size,
        seed=0,
        epochs=1,
        probe_every=arguments.steps + 1,
    )
    data = open_prepared(arguments.data)
    splits = make_splits(data, settings, device)
    n_inputs = splits["train"].pixels.shape[1]
    if len(splits["train"]) < arguments.steps * arguments.batch_size:
        parser.error("a block has more steps than an epoch")
    splits = {name: split.first(1_000) for name, split in splits.items()} | {
        "train": splits["train"].first(arguments.steps * arguments.batch_size)
    }
    n_classes = len(data.classes)

    def training_block() -> float:
        run = train(make_model(n_inputs, n_classes, settings), splits, settings)
        return run.epoch_seconds[0] * 1e3 / arguments.steps

    model = make_model(n_inputs, n_classes, settings)
    products = matrix_products(model, arguments.batch_size)
    update = optimizer_update(model, settings)
    blocks: dict[str, list[float]] = {"step": [], "products": [], "update": []}
    for _ in range(WARM_UP_BLOCKS + arguments.blocks):
        blocks["step"].append(training_block())
        with torch.no_grad():
            blocks["products"].append(timed(products, arguments.steps))
        blocks["update"].append(timed(update, arguments.steps))
    medians = {f"{name}_ms": median(values[WARM_UP_BLOCKS:]) for name, values in blocks.items()}
    arguments.out.write_text(json.dumps(medians))


if __name__ == "__main__":
    main()
