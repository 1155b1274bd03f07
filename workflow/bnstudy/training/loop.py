"""Train one network and record what happens: `bnstudy train`, one job of the grid.

Everything random comes from the seed through four separate streams (split, initial weights, order
of samples, noise), so runs that share a seed differ only in the factor that is studied.
"""

import argparse
import csv
import hashlib
import json
import math
import platform
import resource
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from bnstudy import provenance
from bnstudy.data.prepared import PreparedData, open_prepared
from bnstudy.data.splits import split_sizes
from bnstudy.errors import UserError
from bnstudy.files import replacing
from bnstudy.networks.mlp import ACTIVATIONS, NORMALIZATIONS, build_model, count_parameters
from bnstudy.networks.optimizers import OPTIMIZERS
from bnstudy.training.checkpoints import Checkpoint, only_writer
from bnstudy.training.devices import DEVICES, device_name, make_deterministic, select_device

STREAMS = ("split", "init", "order", "noise")
PROBE_SIZE = 2_000  # validation images
TRAIN_SUBSET_SIZE = 12_000  # training images for the clean training loss
TARGET_ACCURACY = 0.95
EVALUATION_CHUNK = 2_000  # images per forward pass; small enough to stay in the cache


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result of a run, apart from the data, the code and the device."""

    norm: str
    batch_size: int
    seed: int
    hidden: tuple[int, ...] = (128, 64)
    activation: str = "relu"
    dropout: float = 0.0
    initialization: str = "default"
    scaling: str = "symmetric"
    validation_fraction: float = 0.2
    epochs: int = 5
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    probe_every: int = 25


@dataclass(frozen=True)
class Scaling:
    """Maps uint8 pixels in [0, pixel_max] to (x / pixel_max - mean) / deviation, in float32.

    The same operations in the same order as torchvision's ToTensor and Normalize. `mean` and
    `deviation` are numbers, or one value per feature.
    """

    pixel_max: int
    mean: float | Tensor = 0.5
    deviation: float | Tensor = 0.5

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels.float().div_(self.pixel_max).sub_(self.mean).div_(self.deviation)


@dataclass(frozen=True)
class Split:
    """Images as uint8 rows of shape (n, features), and labels of shape (n,), on one device.

    Pixels stay bytes until a batch is used: a quarter of the memory, and scaling a batch that is in
    the cache costs less than fetching one that was scaled before.
    """

    pixels: Tensor
    labels: Tensor
    scaling: Scaling

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> Tensor:
        """All images as the network sees them: float32 of shape (n, features)."""
        return self.scaling(self.pixels)

    def first(self, n: int) -> "Split":
        """The first `n` images."""
        return Split(self.pixels[:n], self.labels[:n], self.scaling)

    def take(self, order: Tensor, memory: Tensor | None = None) -> "Split":
        """The images at these indices, copied to the first rows of `memory` if there is any.

        Memory that was used before saves most of the time: the system hands out fresh pages slowly.
        """
        out = None if memory is None else memory[: len(order)]
        pixels = torch.index_select(self.pixels, 0, order, out=out)
        return Split(pixels, self.labels[order], self.scaling)

    def batches(self, size: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Scaled inputs and labels in order, `size` at a time; the last batch may be shorter."""
        for pixels, labels in zip(self.pixels.split(size), self.labels.split(size), strict=True):
            yield self.scaling(pixels), labels


@dataclass
class Clock:
    """Wall-clock seconds spent, by phase; a resumed run goes on counting.

    What an earlier attempt did after its last checkpoint, and so for nothing, is not counted.
    """

    seconds: dict[str, float] = field(default_factory=dict)
    earlier: dict[str, float] = field(default_factory=dict)  # totals of the earlier attempts
    resumptions: int = 0

    @contextmanager
    def measure(self, phase: str) -> Iterator[None]:
        start = time.perf_counter()
        yield
        self.seconds[phase] = self.seconds.get(phase, 0.0) + time.perf_counter() - start

    def unmeasured(self) -> float:
        """A time in seconds that stands still while a phase is measured."""
        return time.perf_counter() - sum(self.seconds.values())

    def totals(self) -> dict[str, float]:
        """Seconds by phase and those of the whole process, `wall` and `cpu`, over all attempts."""
        process = {"wall": seconds_since_process_start(), "cpu": time.process_time()}
        now = self.seconds | process
        return {k: now.get(k, 0.0) + self.earlier.get(k, 0.0) for k in self.earlier | now}


@dataclass
class Run:
    """What a training run produced; `metrics` rows are (epoch, step, split, metric, value)."""

    status: str
    metrics: list[tuple[int, int, str, str, float]]
    n_parameters: int
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

    def steps_to_target(self) -> int | None:
        """Steps to the target accuracy on the probe, None if it was never reached."""
        probes = [(step, v) for _, step, s, m, v in self.metrics if (s, m) == ("probe", "accuracy")]
        return first_step_reaching(probes, TARGET_ACCURACY) if self.status == "ok" else None


def stream_generator(seed: int, stream: str) -> torch.Generator:
    """A CPU generator for one of `STREAMS`, independent of the other streams of the seed."""
    if stream not in STREAMS:
        raise ValueError(f"unknown random stream {stream!r}")
    digest = hashlib.sha256(f"bnstudy/{stream}/{seed}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def split_indices(n: int, validation_fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split 0..n-1 at random into training and validation indices, both int64."""
    n_train, _ = split_sizes(n, validation_fraction)
    order = torch.randperm(n, generator=stream_generator(seed, "split"))
    return order[:n_train], order[n_train:]


def pixel_statistics(images: Tensor, pixel_max: int) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per channel, of shape (channels,), of images scaled to [0, 1].

    Computed exactly from the pixel histogram, so the order of the images does not matter.
    """
    means, deviations = [], []
    values = torch.arange(256, dtype=torch.float64) / pixel_max
    for channel in images.unbind(1):
        counts = torch.bincount(channel.flatten(), minlength=256).double()
        mean = (counts * values).sum() / counts.sum()
        means.append(mean)
        deviations.append(((counts * (values - mean) ** 2).sum() / counts.sum()).sqrt())
    return torch.stack(means), torch.stack(deviations)


def make_splits(data: PreparedData, settings: Settings, device: torch.device) -> dict[str, Split]:
    """Split by the seed, scale and flatten; `standardize` uses training-split statistics only.

    Returns
    -------
    dict
        `train`, `validation` and `test`. The first rows of `train` and `validation` are random
        subsets, since the split is a random order.
    """
    train, validation = split_indices(
        len(data.train_images), settings.validation_fraction, settings.seed
    )
    scaling = Scaling(data.pixel_max)
    # Several times as fast as indexing, for the same result.
    train_images = data.train_images.index_select(0, train)
    if settings.scaling == "standardize":
        mean, deviation = pixel_statistics(train_images, data.pixel_max)
        # A channel that never varies carries nothing; dividing by one keeps it finite.
        deviation = torch.where(deviation > 0, deviation, 1.0)
        pixels_per_channel = train_images[0, 0].numel()
        mean, deviation = (
            values.float().repeat_interleave(pixels_per_channel).to(device)
            for values in (mean, deviation)
        )
        scaling = Scaling(data.pixel_max, mean, deviation)

    def split(images: Tensor, labels: Tensor) -> Split:
        return Split(images.flatten(1).to(device), labels.to(device), scaling)

    return {
        "train": split(train_images, data.train_labels[train]),
        "validation": split(
            data.train_images.index_select(0, validation), data.train_labels[validation]
        ),
        "test": split(data.test_images, data.test_labels),
    }


@torch.inference_mode()
def evaluate(model: nn.Module, split: Split) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over every image of a split, in evaluation mode.

    Evaluation mode uses BN's running statistics and leaves them alone. The model is left in the
    mode it came in.
    """
    was_training = model.training
    model.eval()
    loss = correct = 0.0
    for inputs, labels in split.batches(EVALUATION_CHUNK):
        logits = model(inputs)
        # Sums, not means: the last chunk may be shorter than the others.
        loss += F.cross_entropy(logits, labels, reduction="sum").item()
        correct += (logits.argmax(1) == labels).sum().item()
    model.train(was_training)
    return loss / len(split), correct / len(split)


def first_step_reaching(probes: list[tuple[int, float]], target: float) -> int | None:
    """The first step at which the median of the last three probes is at least `target`.

    The median keeps one lucky probe from counting as arrival. At the start there are fewer than
    three probes, and the median of those there are is taken.
    """
    values = [value for _, value in probes]
    for i, (step, _) in enumerate(probes):
        if statistics.median(values[max(0, i - 2) : i + 1]) >= target:
            return step
    return None


def make_model(n_inputs: int, n_classes: int, settings: Settings) -> nn.Sequential:
    """The network of a run, its initial weights drawn from the seed's `init` stream."""
    return build_model(
        n_inputs,
        n_classes,
        hidden=settings.hidden,
        norm=settings.norm,
        activation=settings.activation,
        dropout=settings.dropout,
        initialization=settings.initialization,
        generator=stream_generator(settings.seed, "init"),
    )


def train(
    model: nn.Module,
    splits: dict[str, Split],
    settings: Settings,
    clock: Clock | None = None,
    observe: Callable[[int, nn.Module, Tensor, Tensor], None] | None = None,
    checkpoint: Checkpoint | None = None,
) -> Run:
    """Train one network; the whole study rests on this loop.

    The validation split is looked at as often as the settings say, the test split once, at the end.
    A loss that is not finite, in training or in evaluation, ends the run with status `diverged`. It
    is looked for at each probe and at each epoch's end: asking at every step would stall a GPU.

    Parameters
    ----------
    model : nn.Module
        Trained in place, on the device of the splits.
    splits : dict of Split
        `train`, `validation` and `test`, see `make_splits`.
    settings : Settings
        Decides optimizer, batches, order and noise; what concerns the network is in `model`.
    clock : Clock, optional
        Gathers the seconds spent training and evaluating.
    observe : callable, optional
        Called as observe(step, model, inputs, labels) after each backward pass and before its
        update, with the number of updates done so far.
    checkpoint : Checkpoint, optional
        Where to go on from, and where to keep the state at each epoch's end and in between.
    """
    clock = clock or Clock()
    train_split, validation, test = splits["train"], splits["validation"], splits["test"]
    probe, subset = validation.first(PROBE_SIZE), train_split.first(TRAIN_SUBSET_SIZE)
    device = train_split.pixels.device
    optimizer = OPTIMIZERS[settings.optimizer](model.parameters(), settings.learning_rate)
    order_generator = stream_generator(settings.seed, "order")
    # Dropout draws from PyTorch's global generator; nothing else in a run does.
    torch.manual_seed(stream_generator(settings.seed, "noise").initial_seed())

    batch_lengths = [len(labels) for labels in train_split.labels.split(settings.batch_size)]
    n_steps = settings.epochs * len(batch_lengths)
    metrics: list[tuple[int, int, str, str, float]] = []
    epoch_seconds: list[float] = []
    seconds_so_far = 0.0  # of the epoch that a resumed run goes on with
    losses = torch.zeros(len(batch_lengths), device=device)
    memory = torch.empty_like(train_split.pixels)  # of the shuffled images
    step = 0

    def save(order_state: Tensor, seconds: float) -> None:
        """Keep all that the rest of the run depends on, and what was measured so far."""
        with clock.measure("checkpoint"):
            checkpoint.save(
                {
                    "model": model.state_dict(),
                    "optimizer": optimizer.state_dict(),
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
                }
            )

    def record(epoch: int, split_name: str, split: Split) -> bool:
        """Evaluate on a split and record loss and accuracy, unless the loss is not finite."""
        with clock.measure("evaluation"):
            loss, accuracy = evaluate(model, split)
        if finite := math.isfinite(loss):
            metrics.append((epoch, step, split_name, "accuracy", accuracy))
            metrics.append((epoch, step, split_name, "loss", loss))
        return finite

    saved = checkpoint.load() if checkpoint is not None else None
    if saved is None:
        finite = record(0, "probe", probe)
    else:
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        order_generator.set_state(saved["order"])
        set_random_state(device, saved["noise"])
        step, finite = saved["step"], saved["finite"]
        losses.copy_(saved["losses"])
        metrics, epoch_seconds = saved["metrics"], saved["epoch_seconds"]
        seconds_so_far = saved["seconds_so_far"]
        clock.earlier, clock.resumptions = saved["clock"], saved["resumptions"] + 1
        print(f"resumed after step {step} of {n_steps}", file=sys.stderr)
    progress = tqdm(
        total=n_steps,
        initial=step,
        unit="step",
        disable=None,
        desc=f"{settings.norm}, seed {settings.seed}",
    )
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
            loss = F.cross_entropy(model(inputs), labels)
            loss.backward()
            if observe is not None:
                observe(step, model, inputs, labels)
            optimizer.step()
            losses[i] = loss.detach()
            step += 1
            if step % settings.probe_every == 0:
                progress.update(step - progress.n)
                finite = torch.isfinite(losses).all().item() and record(epoch, "probe", probe)
                if not finite:
                    break
        if not (finite and torch.isfinite(losses).all()):
            break
        weights = torch.tensor(batch_lengths, dtype=torch.float64)
        as_trained = (losses.cpu().double() * weights).sum().item() / len(train_split)
        metrics.append((epoch, step, "train", "loss", as_trained))
        finite = record(epoch, "train_subset", subset) and record(epoch, "validation", validation)
        if not finite:
            break
        epoch_seconds.append(clock.unmeasured() - epoch_start)
        seconds_so_far = 0.0
        report_epoch(progress, epoch, settings.epochs, metrics)
        if checkpoint is not None:
            save(order_generator.get_state(), 0.0)
    progress.update(step - progress.n)
    progress.close()
    # A run that broke off has recorded fewer epochs than were asked for.
    finite = len(epoch_seconds) == settings.epochs and record(settings.epochs, "test", test)
    return Run(
        status="ok" if finite else "diverged",
        metrics=sorted(metrics, key=lambda row: row[1:4]),
        n_parameters=count_parameters(model),
        n_steps=n_steps,
        steps_done=step,
        model=model,
        clock=clock,
        epoch_seconds=epoch_seconds,
    )


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


def report_epoch(progress: tqdm, epoch: int, epochs: int, metrics: list[tuple]) -> None:
    """One line per epoch, above the progress bar on a terminal and alone in a log file."""
    latest = {(split, metric): value for _, _, split, metric, value in metrics}
    progress.write(
        f"epoch {epoch}/{epochs}: train loss {latest['train', 'loss']:.4f} as trained, "
        f"{latest['train_subset', 'loss']:.4f} clean; validation loss "
        f"{latest['validation', 'loss']:.4f}, accuracy {latest['validation', 'accuracy']:.2%}",
        file=sys.stderr,
    )


def find_origin(data: PreparedData, settings: Settings) -> dict[str, str]:
    """What a run comes from; asked for at its start, for files may be edited while it trains."""
    return {
        "git_commit": provenance.git_commit(),
        "code_sha256": provenance.code_sha256(),
        "config_sha256": provenance.config_sha256(asdict(settings)),
        "data_sha256": data.sha256,
    }


def summarize(
    run: Run,
    data: PreparedData,
    splits: dict[str, Split],
    settings: Settings,
    origin: dict[str, str],
) -> dict[str, object]:
    """The run's row of the table of runs, with where it came from."""
    return {
        "run": run_path(data.name, settings),
        "dataset": data.name,
        "norm": settings.norm,
        "batch_size": settings.batch_size,
        "seed": settings.seed,
        "status": run.status,
        "n_parameters": run.n_parameters,
        "n_train": len(splits["train"]),
        "n_validation": len(splits["validation"]),
        "n_test": len(splits["test"]),
        "n_classes": len(data.classes),
        "n_steps": run.n_steps,
        "steps_done": run.steps_done,
        "train_loss": run.last("train_subset", "loss"),
        "train_accuracy": run.last("train_subset", "accuracy"),
        "val_loss": run.last("validation", "loss"),
        "val_accuracy": run.last("validation", "accuracy"),
        "test_loss": run.last("test", "loss"),
        "test_accuracy": run.last("test", "accuracy"),
        "steps_to_95": run.steps_to_target(),
        "device": splits["train"].pixels.device.type,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **origin,
        "settings": asdict(settings),
    }


def summarize_timing(run: Run, device: torch.device) -> dict[str, object]:
    """Where the time of a run went; seconds are those of all attempts that led to its result."""
    totals = run.clock.totals()
    return {
        "start_seconds": totals["start"],
        "data_seconds": totals["data"],
        "training_seconds": sum(run.epoch_seconds),
        "evaluation_seconds": totals["evaluation"],
        "checkpoint_seconds": totals.get("checkpoint", 0.0),
        "wall_seconds": totals["wall"],
        "cpu_seconds": totals["cpu"],
        "resumptions": run.clock.resumptions,
        "epoch_seconds": run.epoch_seconds,
        "peak_memory_mb": peak_memory_mb(),
        "host": socket.gethostname(),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
    }


def run_path(dataset: str, settings: Settings) -> str:
    """The folder of a run below results/runs, as the workflow names it."""
    return (
        f"dataset~{dataset}/norm~{settings.norm}/batch_size~{settings.batch_size}"
        f"/seed~{settings.seed}"
    )


def seconds_since_process_start() -> float:
    """Wall-clock seconds since this process was started, imports included."""
    import psutil

    return time.time() - psutil.Process().create_time()


def peak_memory_mb() -> float:
    """Largest resident memory of this process so far, in MB (10^6 bytes)."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak * 1024 / 1e6  # bytes, or KiB on Linux


def write_outputs(out: Path, run: Run, summary: dict, timing: dict) -> None:
    """Write the three files of a run, each whole or not at all."""
    out.mkdir(parents=True, exist_ok=True)
    with replacing(out / "metrics.csv") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", "step", "split", "metric", "value"])
        writer.writerows(run.metrics)
    for name, content in (("timing.json", timing), ("run.json", summary)):
        with replacing(out / name) as file:
            file.write(json.dumps(content, indent=2, allow_nan=False) + "\n")


def positive(text: str) -> int:
    """An integer of at least one, for argparse."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is less than 1")
    return value


def parse_arguments(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="bnstudy train",
        description="Train one network and write metrics.csv, run.json and timing.json.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    default = Settings(norm="batch", batch_size=64, seed=0)
    parser.add_argument("data", type=Path, help="prepared dataset (from `bnstudy prepare`)")
    parser.add_argument("--out", type=Path, required=True, help="folder for the run's files")
    parser.add_argument("--norm", choices=NORMALIZATIONS, required=True)
    parser.add_argument("--batch-size", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--hidden", type=int, nargs="+", default=default.hidden, help="widths")
    parser.add_argument("--activation", choices=ACTIVATIONS, default=default.activation)
    parser.add_argument("--dropout", type=float, default=default.dropout, help="probability")
    parser.add_argument(
        "--initialization", choices=("default", "he", "xavier"), default=default.initialization
    )
    parser.add_argument("--scaling", choices=("symmetric", "standardize"), default=default.scaling)
    parser.add_argument("--validation-fraction", type=float, default=default.validation_fraction)
    parser.add_argument("--epochs", type=positive, default=default.epochs)
    parser.add_argument("--optimizer", choices=OPTIMIZERS, default=default.optimizer)
    parser.add_argument("--learning-rate", type=float, default=default.learning_rate)
    parser.add_argument("--probe-every", type=positive, default=default.probe_every, help="steps")
    parser.add_argument("--device", choices=DEVICES, default="auto")
    parser.add_argument("--jobs-per-gpu", type=int, default=1, help="jobs that may share a GPU")
    parser.add_argument(
        "--checkpoint-every",
        type=positive,
        default=1000,
        help="steps between two checkpoints within an epoch; each epoch ends with one",
    )
    return parser.parse_args(argv)


def check_batches(n_train: int, settings: Settings) -> None:
    """Refuse batches that batch normalization cannot train on.

    Raises
    ------
    UserError
        If a batch, or what is left for the last batch of an epoch, is a single sample (its variance
        is not defined), or if a batch is larger than the training split.
    """
    if not 1 <= settings.batch_size <= n_train:
        raise UserError(
            f"--batch-size {settings.batch_size} does not fit {n_train} training images; "
            f"choose 1 to {n_train}."
        )
    if settings.norm == "batch" and (
        settings.batch_size == 1 or n_train % settings.batch_size == 1
    ):
        raise UserError(
            f"--batch-size {settings.batch_size} leaves a batch of one of the {n_train} training "
            "images, which has no variance to normalize with; choose another batch size."
        )


def main(argv: list[str]) -> None:
    """Run `bnstudy train`, from where an earlier attempt left off if there was one.

    Exits with `checkpoints.AGAIN` when SIGTERM asked it to stop.
    """
    clock = Clock({"start": seconds_since_process_start()})
    arguments = parse_arguments(argv)
    options = {setting.name: getattr(arguments, setting.name) for setting in fields(Settings)}
    settings = replace(Settings(**options), hidden=tuple(arguments.hidden))
    device = select_device(arguments.device, arguments.jobs_per_gpu)
    make_deterministic(device)
    with clock.measure("data"):
        data = open_prepared(arguments.data)
        check_batches(
            split_sizes(len(data.train_images), settings.validation_fraction)[0], settings
        )
        splits = make_splits(data, settings, device)
    origin = find_origin(data, settings)
    print(f"{run_path(data.name, settings)} on {device_name(device)}", file=sys.stderr)
    model = make_model(splits["train"].pixels.shape[1], len(data.classes), settings).to(device)
    identity = {
        "code": origin["code_sha256"],
        "settings": origin["config_sha256"],
        "data": origin["data_sha256"],
        "device": f"{device.type} {device_name(device)}",
        "PyTorch": str(torch.__version__),  # which is a class of its own
    }
    with only_writer(arguments.out):
        checkpoint = Checkpoint(arguments.out, identity, arguments.checkpoint_every)
        with checkpoint.saved_on_sigterm():
            run = train(model, splits, settings, clock, checkpoint=checkpoint)
            if run.status == "diverged":
                print(
                    f"diverged: the loss was not finite by step {run.steps_done}", file=sys.stderr
                )
            summary = summarize(run, data, splits, settings, origin)
            write_outputs(arguments.out, run, summary, summarize_timing(run, device))
        checkpoint.remove()
