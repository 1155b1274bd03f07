"""S9: what the statistics of inference are worth. Settles M5 (line 146) and L4 (line 387).

Three parts, one a cell:

- `staleness`: PyTorch's running averages against the statistics that the network has at that step
  ("precise", Wu and Johnson 2021), from the first step on, for several momenta. PyTorch starts at
  mean 0 and variance 1 and does not correct for it. The momentum does not touch training, so all
  momenta see the same weights. At the end the weights are frozen and one more epoch is averaged:
  what is then between a running mean and the mean of the training set is no longer staleness but
  the short memory of the average.
- `last_batch`: the last batch of each epoch has two images. It is evaluated with everything
  (`kept`), without that batch in the running averages (`statistics_dropped`), and without the step
  itself (`dropped`, what `drop_last` leaves at the end of the first epoch).
- `shift`: test images with less contrast, more brightness or noise, for networks without batch
  normalization, with it, and with its statistics estimated anew on shifted validation images.

Metrics: `loss` is mean cross-entropy in nats, `accuracy` a fraction, on validation images (`shift`: test images).
`mean_error` is the root mean square over units of (running mean - mean of the images) / their standard deviation,
`deviation_error` that of ln(running / their standard deviation); both with epsilon in the variance.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial

import torch
from torch import nn

from bnstudy.data.prepared import PreparedData
from bnstudy.settings import Settings
from bnstudy.training.inputs import Split, make_splits, shift_images, stream_generator
from bnstudy.training.loop import Run, evaluate, make_model, train
from bnstudy.training.observers.inference import batch_norms, with_precise_statistics
from bnstudy.training.observing import Moment, Observer, Rows

NEVER = 10**9  # steps between probes: the study looks for itself
LEFT_OVER = 2  # images in the last batch of an epoch
COLUMNS = (
    *("norm", "momentum", "status", "step", "statistics", "shift", "level"),
    *("loss", "accuracy", "mean_error", "deviation_error"),
)


def run(data: PreparedData, cell: dict, options: dict, seed: int, device: torch.device) -> list[dict]:
    """Rows of the `part` that `cell` names, with the columns `COLUMNS`; None where a part has no use for one.

    A momentum is text ("0.1", "cumulative"); a diverged run has a row of None.

    `options` has the `hidden` widths, and `learning_rate` of Adam; `statistics_images` and `evaluation_images`, how
    many training images precise statistics are taken over and how many validation images are evaluated; and a mapping
    for each part with its `batch_size` and `epochs`, `momenta` (None for the cumulative average) and `steps` of
    `staleness`, and `shifts` of `shift`: levels by names that `shift_images` knows.
    """
    options = options | options[cell["part"]]
    chosen = {key: options[key] for key in ("hidden", "batch_size", "epochs", "learning_rate")}
    settings = Settings(norm="batch", seed=seed, probe_every=NEVER, **chosen)
    splits = make_splits(data, settings, device)
    rows = PARTS[cell["part"]](partial(make_network, data, device=device), splits, settings, options)
    return [dict.fromkeys(COLUMNS) | row for row in rows]


def staleness(make: Callable, splits: dict, settings: Settings, options: dict) -> Iterator[dict]:
    """Running against precise statistics during the first epoch, then with frozen weights."""
    images = splits["train"].first(options["statistics_images"])
    validation = splits["validation"].first(options["evaluation_images"])
    for momentum in options["momenta"]:
        name = "cumulative" if momentum is None else str(momentum)
        labels = {"norm": "batch", "momentum": name, "status": "ok"}
        model = make(settings)
        for layer in batch_norms(model):
            layer.momentum = momentum
        result, networks = train_and_keep(model, splits, settings, options["steps"])
        if result.status == "diverged":
            yield labels | {"status": "diverged"}
            continue
        for step, network in networks.items():
            precise = with_precise_statistics(network, images)
            at = labels | {"step": step}
            yield at | score(network, validation, "running") | distance(network, precise)
            yield at | score(precise, validation, "precise")
        averaged = average_over_epoch(model, splits["train"], settings.batch_size)
        precise = with_precise_statistics(model, splits["train"])
        # Only the first layer: what the others see depends on the statistics in use.
        error = distance(averaged, precise, layers=1)
        yield labels | {"step": result.n_steps, "statistics": "frozen"} | error


def last_batch(make: Callable, splits: dict, settings: Settings, options: dict) -> Iterator[dict]:
    """What a last batch of two images does to the network at the end of each epoch."""
    whole = (len(splits["train"]) - LEFT_OVER) // settings.batch_size  # batches in an epoch
    splits["train"] = splits["train"].first(whole * settings.batch_size + LEFT_OVER)
    images = splits["train"].first(options["statistics_images"])
    validation = splits["validation"].first(options["evaluation_images"])
    ends = [epoch * (whole + 1) for epoch in range(1, settings.epochs + 1)]
    steps = [step for end in ends for step in (end - 1, end)]
    labels = {"norm": "batch", "momentum": "0.1", "status": "ok"}
    result, networks = train_and_keep(make(settings), splits, settings, steps)
    if result.status == "diverged":
        yield labels | {"status": "diverged"}
        return
    for end in ends:
        kept, dropped = networks[end], networks[end - 1]
        mixed = copy.deepcopy(kept)
        mixed.load_state_dict(kept.state_dict() | dict(dropped.named_buffers()))
        at = labels | {"step": end}
        yield at | score(kept, validation, "kept")
        yield at | score(mixed, validation, "statistics_dropped")
        yield at | score(dropped, validation, "dropped")
        yield at | score(with_precise_statistics(kept, images), validation, "precise")


def shift(make: Callable, splits: dict, settings: Settings, options: dict) -> Iterator[dict]:
    """Accuracy on shifted test images, without and with batch normalization."""
    images = splits["validation"].first(options["statistics_images"])
    for norm in ("none", "batch"):
        settings = replace(settings, norm=norm)
        model = make(settings)
        labels = {"norm": norm, "status": "ok"}
        result = train(model, splits, settings)
        if result.status == "diverged":
            yield labels | {"status": "diverged"}
            continue
        shifts = options["shifts"].items()
        for name, level in ((name, level) for name, levels in shifts for level in levels):
            # One generator for each, so every network sees the same noise.
            shifted, estimate_from = (
                shift_images(split, name, level, stream_generator(settings.seed, "noise"))
                for split in (splits["test"], images)
            )
            at = labels | {"step": result.n_steps, "shift": name, "level": level}
            yield at | score(model, shifted, "running")
            if norm == "batch":
                estimated = with_precise_statistics(model, estimate_from)
                yield at | score(estimated, shifted, "reestimated")


PARTS = {"staleness": staleness, "last_batch": last_batch, "shift": shift}


def make_network(data: PreparedData, settings: Settings, device: torch.device) -> nn.Sequential:
    return make_model(data.train_images[0].numel(), len(data.classes), settings).to(device)


class Keep(Observer):
    """Keeps a copy of the network, running averages included, after each of these numbers of updates."""

    def __init__(self, steps: Collection[int]):
        self.steps, self.copies = steps, {}

    def start(self, now: Moment) -> Rows:
        self.averages = {name: buffer.clone() for name, buffer in now.model.named_buffers()}
        return ()

    def observe(self, now: Moment) -> Rows:
        # The weights are those after `step` updates, but the forward pass has moved the averages once more: the ones
        # that belong to these weights were kept a step ago.
        if now.step in self.steps:
            self.copies[now.step] = copy.deepcopy(now.model)
            self.copies[now.step].load_state_dict(now.model.state_dict() | self.averages)
        return self.start(now)

    def end(self, now: Moment) -> Rows:
        if now.step in self.steps:
            self.copies[now.step] = copy.deepcopy(now.model)
        return ()


def train_and_keep(
    model: nn.Module, splits: dict[str, Split], settings: Settings, steps: Collection[int]
) -> tuple[Run, dict[int, nn.Module]]:
    """Train, and keep what the network was after each of the given numbers of updates."""
    keep = Keep(steps)
    return train(model, splits, settings, observers=[keep]), keep.copies


def score(model: nn.Module, split: Split, statistics: str) -> dict[str, object]:
    loss, accuracy = evaluate(model, split)
    return {"statistics": statistics, "loss": loss, "accuracy": accuracy}


def distance(model: nn.Module, precise: nn.Module, layers: int | None = None) -> dict[str, float]:
    """How far running statistics are from precise ones, over the units of the first `layers`."""
    found = [batch_norms(network)[:layers] for network in (model, precise)]
    means = [torch.cat([norm.running_mean.double() for norm in norms]) for norms in found]
    variances = [torch.cat([norm.running_var.double() + norm.eps for norm in norms]) for norms in found]
    errors = {
        "mean_error": (means[0] - means[1]) / variances[1].sqrt(),
        "deviation_error": (variances[0] / variances[1]).log() / 2,
    }
    return {name: each.square().mean().sqrt().item() for name, each in errors.items()}


@torch.no_grad()
def average_over_epoch(model: nn.Module, split: Split, batch_size: int) -> nn.Module:
    """A copy whose running statistics, or a new cumulative average, went through an epoch at rest."""
    network = copy.deepcopy(model).train()
    for layer in batch_norms(network):
        if layer.momentum is None:
            layer.reset_running_stats()
    for inputs, _ in split.batches(batch_size):
        network(inputs)
    return network.eval()
