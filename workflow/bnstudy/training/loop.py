"""Train one network: the loop on which the whole study rests."""

import math
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.networks import models
from bnstudy.networks.layers import with_population
from bnstudy.networks.optimizers import learning_rate_at, make_optimizer
from bnstudy.training.clock import Clock
from bnstudy.training.inputs import Split, stream_generator
from bnstudy.training.observing import Moment, is_probe

if TYPE_CHECKING:
    from bnstudy.settings import Settings
    from bnstudy.training.checkpoints import Checkpoint
    from bnstudy.training.observing import Observer
    from bnstudy.training.progress import Progress

PROBE_SIZE = 2_000  # validation images
TRAIN_SUBSET_SIZE = 12_000  # training images for the clean training loss
EVALUATION_CHUNK = 2_000  # images per forward pass; small enough to stay in the cache
MAPS_CHUNK = 250  # where images are not rows, since feature maps are larger: twice as fast


@dataclass
class Run:
    """What a training run produced."""

    status: str  # "ok", or "diverged": a loss that was not finite
    # (epoch, step, split, metric, value), in the order of step, split and metric. Losses and accuracies are finite;
    # what an observer found is None where it was not.
    metrics: list[tuple[int, int, str, str, float | None]]
    predictions: Tensor  # the class that each test image was taken for at the end, int64, (n_test,)
    n_steps: int
    steps_done: int
    model: nn.Module
    clock: Clock
    epoch_seconds: list[float]

    def last(self, split: str, metric: str) -> float | None:
        """The last recorded value of a metric; None for a diverged run."""
        if self.status == "diverged":
            return None
        return next(v for _, _, s, m, v in reversed(self.metrics) if (s, m) == (split, metric))

    def steps_to(self, target: float) -> int | None:
        """Steps to a target accuracy on the probe, None if it was never reached."""
        probes = [(step, v) for _, step, s, m, v in self.metrics if (s, m) == ("probe", "accuracy")]
        return first_step_reaching(probes, target) if self.status == "ok" else None


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split, predictions: Tensor | None = None) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over every image of a split, in evaluation mode.

    Evaluation mode uses BN's running statistics and leaves them alone. The model is left in the mode it came in. What
    each image was taken for is left in `predictions`, int64 of shape (n,).
    """
    was_training = model.training
    model.eval()
    loss = correct = 0.0
    chunk = EVALUATION_CHUNK if split.pixels.dim() == 2 else MAPS_CHUNK
    for i, (inputs, labels) in enumerate(split.batches(chunk)):
        logits = model(inputs)
        # Sums, not means: the last chunk may be shorter than the others.
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        predicted = logits.argmax(1)
        correct += (predicted == labels).sum().item()
        if predictions is not None:
            predictions[i * chunk :][: len(labels)] = predicted
    model.train(was_training)
    return loss / len(split), correct / len(split)


def first_step_reaching(probes: list[tuple[int, float]], target: float) -> int | None:
    """The first step at which the median of the last three probes is at least `target`.

    The median keeps one lucky probe from counting as arrival. At the start there are fewer than three probes, and the
    median of those there are is taken.
    """
    values = [value for _, value in probes]
    medians = (statistics.median(values[max(0, i - 2) : i + 1]) for i in range(len(values)))
    return next((s for (s, _), m in zip(probes, medians, strict=True) if m >= target), None)


def make_model(inputs: int | tuple[int, ...], n_classes: int, settings: "Settings") -> nn.Module:
    """The network of a run, its initial weights drawn from the seed's `init` stream.

    `inputs` is the shape of an image as `Split.pixels` has it, or the number of features.
    """
    shape = (inputs,) if isinstance(inputs, int) else tuple(inputs)
    return models.build(settings, shape, n_classes, stream_generator(settings.seed, "init"))


def train(
    model: nn.Module,
    splits: dict[str, Split],
    settings: "Settings",
    clock: Clock | None = None,
    observers: "Sequence[Observer]" = (),
    checkpoint: "Checkpoint | None" = None,
    progress: "Progress | None" = None,
    *,
    each_epoch: bool = True,
) -> Run:
    """Train one network.

    The probe is looked at as often as the settings say, the test split once, at the end. A loss that is not finite, in
    training or in evaluation, ends the run with status `diverged`. It is looked for at each probe and at each epoch's
    end: asking at every step would stall a GPU.

    The model is trained in place, on the device of the splits `train`, `validation` and `test`, see `make_splits`. The
    settings decide optimizer, batches, order and noise; what concerns the network is in `model`. The clock gathers the
    seconds spent training and evaluating. Observers look at the start, at every step and at the end, and add rows to
    the metrics. The checkpoint is where to go on from, and where to keep the state at each epoch's end and in between.
    Without `each_epoch`, loss and accuracy on training and validation images are asked for at the last epoch's end
    alone; nothing that is trained depends on it.
    """
    clock = clock or Clock()
    train_split, validation, test = splits["train"], splits["validation"], splits["test"]
    probe, subset = validation.first(PROBE_SIZE), train_split.first(TRAIN_SUBSET_SIZE)
    device = train_split.pixels.device
    optimizer = make_optimizer(model.parameters(), settings)
    forward = with_population(model, train_split)
    order_generator = stream_generator(settings.seed, "order")
    # Dropout draws from PyTorch's global generator; nothing else in a run does.
    torch.manual_seed(stream_generator(settings.seed, "noise").initial_seed())

    batch_lengths = [len(labels) for labels in train_split.labels.split(settings.batch_size)]
    n_steps = settings.epochs * len(batch_lengths)
    metrics: list[tuple[int, int, str, str, float | None]] = []
    epoch_seconds: list[float] = []
    seconds_so_far = 0.0  # of the epoch that a resumed run goes on with
    losses = torch.zeros(len(batch_lengths), device=device)
    predictions = torch.zeros_like(test.labels)
    memory = torch.empty_like(train_split.pixels)  # of the shuffled images
    step = 0

    def save(order_state: Tensor, seconds: float) -> None:
        """Keep all that the rest of the run depends on, and what was measured so far."""
        with clock.measure("checkpoint"):
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.memory,
                    "order": order_state,
                    "noise": random_state(device),
                    "step": step,
                    "losses": losses,
                    "finite": finite,
                    "metrics": metrics,
                    "epoch_seconds": epoch_seconds,
                    "seconds_so_far": seconds,
                    "clock": clock.totals(),
                    "resumptions": clock.resumptions,
                    "observers": [observer.state_dict() for observer in observers],
                }
            )

    def record(epoch: int, name: str, split: Split, predictions: Tensor | None = None) -> bool:
        """Evaluate on a split and record loss and accuracy, unless the loss is not finite."""
        with clock.measure("evaluation"):
            loss, accuracy = evaluate(model, split, predictions)
        if finite := math.isfinite(loss):
            metrics.append((epoch, step, name, "accuracy", accuracy))
            metrics.append((epoch, step, name, "loss", loss))
        return finite

    def look(moment: str, now: Moment) -> None:
        """Record what the observers find; the random numbers that they draw are put back."""
        noise = random_state(device)
        with clock.measure("evaluation"):
            for observer in observers:
                for at, name, metric, value in getattr(observer, moment)(now):
                    known = value is not None and math.isfinite(value)
                    epoch = math.ceil(at / len(batch_lengths))
                    metrics.append((epoch, at, name, metric, value if known else None))
        set_random_state(device, noise)

    look("start", Moment(settings, splits, model))
    saved = checkpoint.load() if checkpoint is not None else None
    if saved is None:
        finite = record(0, "probe", probe)
    else:
        for observer, state in zip(observers, saved["observers"], strict=True):
            observer.load_state_dict(state)
        model.load_state_dict(saved["model"])
        optimizer.remember(saved["optimizer"])
        order_generator.set_state(saved["order"])
        set_random_state(device, saved["noise"])
        step, finite = saved["step"], saved["finite"]
        losses.copy_(saved["losses"])
        metrics, epoch_seconds = saved["metrics"], saved["epoch_seconds"]
        seconds_so_far = saved["seconds_so_far"]
        clock.earlier, clock.resumptions = saved["clock"], saved["resumptions"] + 1
    if progress is not None:
        progress.start(step, n_steps)
    for epoch in range(len(epoch_seconds) + 1, settings.epochs + 1):
        epoch_start = clock.unmeasured() - seconds_so_far
        # The epoch is shuffled once; a batch is then a slice, not a gather.
        order_state = order_generator.get_state()
        order = torch.randperm(len(train_split), generator=order_generator).to(device)
        first = step % len(batch_lengths)  # above 0 only where a resumed run goes on
        shuffled = train_split.take(order[first * settings.batch_size :], memory)
        losses[first:] = 0
        model.train()
        for i, (inputs, labels) in enumerate(shuffled.batches(settings.batch_size), start=first):
            if checkpoint is not None and i > first and checkpoint.due(step):
                save(order_state, clock.unmeasured() - epoch_start)
            optimizer.zero_grad()
            loss = F.cross_entropy(forward(inputs), labels)
            loss.backward()
            if observers:
                now = Moment(settings, splits, model, step, inputs, labels, loss.detach())
                look("observe", now)
            optimizer.learning_rate = learning_rate_at(step, n_steps, settings)
            optimizer.step()
            losses[i] = loss.detach()
            step += 1
            if is_probe(step, settings.probe_every):
                if progress is not None:
                    progress.update(step)
                finite = torch.isfinite(losses).all().item() and record(epoch, "probe", probe)
                if not finite:
                    break
        if not (finite and torch.isfinite(losses).all()):
            break
        weights = torch.tensor(batch_lengths, dtype=torch.float64)
        as_trained = (losses.cpu().double() * weights).sum().item() / len(train_split)
        metrics.append((epoch, step, "train", "loss", as_trained))
        if each_epoch or epoch == settings.epochs:
            finite = record(epoch, "train_subset", subset)
            finite = finite and record(epoch, "validation", validation)
            if not finite:
                break
        epoch_seconds.append(clock.unmeasured() - epoch_start)
        seconds_so_far = 0.0
        if progress is not None:
            progress.end_epoch(epoch, step, metrics)
        if checkpoint is not None and (checkpoint.at_epochs or checkpoint.due(step)):
            save(order_generator.get_state(), 0.0)
    # A run that broke off has recorded fewer epochs than were asked for.
    complete = len(epoch_seconds) == settings.epochs
    finite = complete and record(settings.epochs, "test", test, predictions)
    status = "ok" if finite else "diverged"
    look("end", Moment(settings, splits, model, step, status=status))
    return Run(
        status=status,
        metrics=sorted(metrics, key=lambda row: row[1:4]),
        predictions=predictions.cpu(),
        n_steps=n_steps,
        steps_done=step,
        model=model,
        clock=clock,
        epoch_seconds=epoch_seconds,
    )


def make_deterministic(device: torch.device) -> None:
    """One thread and deterministic kernels: results must not depend on how many cores are free.

    Call it before the first computation on the device.
    """
    torch.set_num_threads(1)  # the number of threads changes the order of floating-point sums
    # One thread of the CPU is deterministic already, and the call costs an import of one second.
    if device.type != "cpu":
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # which cuBLAS asks for
        # Apple's max pooling has no such backward pass; there is a warning then.
        torch.use_deterministic_algorithms(True, warn_only=device.type == "mps")


def random_state(device: torch.device) -> dict[str, Tensor]:
    """The states of PyTorch's global generators that training on a device draws from."""
    states = {"cpu": torch.get_rng_state()}
    if device.type != "cpu":
        states[device.type] = torch.get_device_module(device).get_rng_state()
    return states


def set_random_state(device: torch.device, states: dict[str, Tensor]) -> None:
    """Go on from the generators' states that `random_state` gave."""
    torch.set_rng_state(states["cpu"])
    if device.type != "cpu":
        torch.get_device_module(device).set_rng_state(states[device.type])
