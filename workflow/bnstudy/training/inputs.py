"""What the network sees: splits by the seed, pixels scaled, batches in order.

Everything random of a run comes from its seed through separate streams (split, initial weights, order of samples,
noise, wrong labels), so runs that share a seed differ only in the factor that is studied.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from bnstudy.data.splits import split_sizes
from bnstudy.networks.models import MODELS

if TYPE_CHECKING:
    from bnstudy.data.prepared import PreparedData
    from bnstudy.settings import Settings

STREAMS = ("split", "init", "order", "noise", "labels")


@dataclass(frozen=True)
class Scaling:
    """Maps uint8 pixels in [0, pixel_max] to (x / pixel_max - mean) / deviation, in float32.

    The same operations in the same order as torchvision's ToTensor and Normalize. `mean` and `deviation` are numbers,
    or tensors: a value per channel, of shape (channels, 1, 1), or, for rows, per feature.
    """

    pixel_max: int
    mean: float | Tensor = 0.5
    deviation: float | Tensor = 0.5

    def __call__(self, pixels: Tensor) -> Tensor:
        return pixels.float().div_(self.pixel_max).sub_(self.mean).div_(self.deviation)


@dataclass(frozen=True)
class Split:
    """Images as uint8, rows of shape (n, features) or (n, channels, height, width), and labels of
    shape (n,), on one device.

    Pixels stay bytes until a batch is used: a quarter of the memory, and scaling a batch that is in the cache costs
    less than fetching one that was scaled before.
    """

    pixels: Tensor
    labels: Tensor
    scaling: Scaling

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def inputs(self) -> Tensor:
        """All images as the network sees them: float32 of the shape of `pixels`."""
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


def make_splits(data: "PreparedData", settings: "Settings", device: torch.device) -> dict[str, Split]:
    """Split by the seed and scale; `standardize` uses training-split statistics only.

    Gives `train`, `validation` and `test`. The first rows of `train` and `validation` are random subsets, since the
    split is a random order. Images are rows where the network takes rows, see `networks.models.Model.is_flat`.
    """
    train, validation = split_indices(len(data.train_images), settings.validation_fraction, settings.seed)
    if settings.class_balance > 1:
        train = train[imbalanced(data.train_labels[train], settings.class_balance)]
    train = train[: settings.train_images]
    validation = validation[: settings.validation_images]
    # Several times as fast as indexing, for the same result.
    train_images = data.train_images.index_select(0, train)
    labels = data.train_labels[train]
    if settings.label_noise > 0:
        labels = noisy(labels, settings.label_noise, len(data.classes), settings.seed)
    is_flat = MODELS[settings.kind].is_flat
    scaling = make_scaling(train_images, data.pixel_max, settings.scaling, device, is_flat)
    validation_images = data.train_images.index_select(0, validation)
    given = {
        "train": (train_images, labels),
        "validation": (validation_images, data.train_labels[validation]),
        "test": (data.test_images, data.test_labels),
    }
    splits = {}
    for name, (images, labels) in given.items():
        if settings.scaling == "binary":
            images = (images > data.pixel_max / 2).to(torch.uint8)
        images = images.flatten(1) if is_flat else images
        splits[name] = Split(images.to(device), labels.to(device), scaling)
    return splits


def noisy(labels: Tensor, share: float, n_classes: int, seed: int) -> Tensor:
    """Labels of which this share, drawn at random, is another class, each other one as likely.

    Source: the symmetric noise of Patrini et al. (2017, section 5).
    """
    generator = stream_generator(seed, "labels")
    wrong = torch.rand(len(labels), generator=generator) < share
    others = torch.randint(1, n_classes, labels.shape, generator=generator)
    return torch.where(wrong, (labels + others) % n_classes, labels)


def imbalanced(labels: Tensor, factor: float) -> Tensor:
    """Positions, in order, of the images that are kept for classes as unequal as `factor` says.

    Class k of C keeps its first n factor^(-k / (C - 1)) images, n being the size of the largest class (Cui et al. 2019,
    section 5.1), or all where it has fewer.
    """
    counts = torch.bincount(labels)
    exponents = torch.arange(len(counts), dtype=torch.float64) / max(1, len(counts) - 1)
    wanted = (counts.max() * factor**-exponents).round().long()
    so_far = F.one_hot(labels).cumsum(0)  # images of each class, the one at hand included
    place = so_far.gather(1, labels[:, None]).flatten()
    return torch.nonzero(place <= wanted[labels]).flatten()


def make_scaling(images: Tensor, pixel_max: int, kind: str, device: torch.device, is_flat: bool) -> Scaling:
    """How pixels are scaled; `standardize` by the statistics of these images, of (n, c, h, w)."""
    if kind == "symmetric":
        return Scaling(pixel_max)
    if kind in ("unit", "binary"):
        return Scaling(pixel_max if kind == "unit" else 1, 0.0, 1.0)
    mean, deviation = pixel_statistics(images, pixel_max)
    # A channel that never varies carries nothing; dividing by one keeps it finite.
    both = (mean, torch.where(deviation > 0, deviation, 1.0))
    if is_flat:
        each = images[0, 0].numel()  # pixels of a channel
        both = (values.repeat_interleave(each) for values in both)
    else:
        both = (values.view(-1, 1, 1) for values in both)
    return Scaling(pixel_max, *(values.float().to(device) for values in both))


def shift_images(split: Split, name: str, level: float, generator: torch.Generator) -> Split:
    """The images of a split after a shift of their distribution, still bytes.

    `contrast` blends each image with its own mean (torchvision's `adjust_contrast`), `brightness` adds to every pixel,
    `noise` adds Gaussian noise of this standard deviation; levels are in units of the brightest pixel, and the result
    is cut to what a pixel can be.
    """
    pixels = split.pixels.float() / split.scaling.pixel_max
    if name == "contrast":
        mean = pixels.mean(1, keepdim=True)
        pixels = mean + level * (pixels - mean)
    elif name == "brightness":
        pixels = pixels + level
    elif name == "noise":
        pixels = pixels + level * torch.randn(pixels.shape, generator=generator).to(pixels.device)
    else:
        raise ValueError(f"unknown shift {name!r}")
    shifted = (pixels.clamp(0, 1) * split.scaling.pixel_max).round()
    return Split(shifted.to(torch.uint8), split.labels, split.scaling)
