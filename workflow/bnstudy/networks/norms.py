"""The normalizations that can be chosen. Nothing here imports PyTorch before a layer is made.

A file of the user adds one with `NORMS["mine"] = Norm("my normalization", lambda site: MyNorm(site.features))`.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class Site:
    """Where a normalization stands, and with what."""

    features: int  # units of the layer before it, or its channels
    dimensions: int  # 1 for inputs of shape (n, features), 2 for (n, features, height, width)
    number: int | None = None  # what is written behind the name, as in `group:8`
    momentum: float = 0.1  # weight of the newest batch in running statistics
    epsilon: float = 1e-5  # is added to a variance under its root


@dataclass(frozen=True)
class Norm:
    """A normalization.

    `make` gives the layer for a `Site`; it must draw no random number, or the arms would differ in more than their
    normalization. `wrap` changes the Linear or Conv2d before it in place. `refuses` says for features, positions
    (height times width, 1 for flat features) and number why it cannot work there, as the end of a sentence; something
    false where it can.
    """

    title: str  # in a sentence
    make: "Callable[[Site], nn.Module] | None" = None
    wrap: "Callable[[nn.Module], object] | None" = None
    takes_number: bool = False  # whether one belongs to its name, as in `group:8`
    least_images: int = 1  # what a batch must hold at least, in training
    refuses: Callable[[int, int, int | None], object] | None = None


def shipped(name: str) -> "Callable[[Site | nn.Module], nn.Module]":
    """The function of this name in `networks.layers`, which is imported when it is called."""

    def make(given: "Site | nn.Module") -> "nn.Module":
        from bnstudy.networks.layers import MAKE

        return MAKE[name](given)

    return make


def no_groups(features: int, positions: int, groups: int) -> str | None:
    if features % groups:
        return f"{features} features are not a multiple of {groups} groups"
    if features * positions == groups:
        return f"a group of one value is always normalized to zero, as {groups} of {features} would be"
    return None


ZERO = "is always normalized to zero"
NORMS = {
    "none": Norm("no normalization"),
    "batch": Norm("batch normalization", shipped("batch"), least_images=2),
    "layer": Norm(
        "layer normalization",
        shipped("layer"),
        refuses=lambda features, positions, number: (
            features * positions == 1 and f"a layer has one value, which {ZERO}"
        ),
    ),
    "group": Norm("group normalization", shipped("group"), takes_number=True, refuses=no_groups),
    "instance": Norm(
        "instance normalization",
        shipped("instance"),
        refuses=lambda features, positions, number: (
            positions == 1 and f"a feature has one value an image, which {ZERO}"
        ),
    ),
    "rms": Norm("RMS normalization", shipped("rms")),
    "weight": Norm("weight normalization", wrap=shipped("weight")),
    "ghost": Norm(
        "ghost batch normalization",
        shipped("ghost"),
        takes_number=True,
        least_images=2,
        refuses=lambda features, positions, images: images < 2 and "a group needs two images to have a variance",
    ),
    "population": Norm(
        "batch normalization by the whole training split",
        shipped("population"),
        refuses=lambda features, positions, number: (
            positions > 1 and "the whole training split would have to be in memory as feature maps; use kind mlp"
        ),
    ),
    "batch_no_affine": Norm("batch normalization without scale and shift", shipped("batch_no_affine"), least_images=2),
    "batch_detached": Norm("batch normalization with detached statistics", shipped("batch_detached"), least_images=2),
    "noisy_batch": Norm("batch normalization with noise", shipped("noisy_batch"), least_images=2),
    "noisy_none": Norm("noise without normalization", shipped("noisy_none")),
}


def parse(name: str) -> tuple[Norm, int | None]:
    """The normalization of a name such as `batch` or `group:8`, and its number."""
    word, _, number = name.partition(":")
    return NORMS[word], int(number) if number else None


def make_norm(before: "nn.Module", name: str, momentum: float = 0.1, epsilon: float = 1e-5) -> "nn.Module | None":
    """What stands behind a Linear or a Conv2d layer for a normalization; the layer itself may change."""
    norm, number = parse(name)
    if norm.wrap is not None:
        norm.wrap(before)
    if norm.make is None:
        return None
    features, _, *kernel = before.weight.shape
    return norm.make(Site(features, 2 if kernel else 1, number, momentum, epsilon))


def problem(name: str, sites: Iterable[tuple[int, int]]) -> str | None:
    """Why a normalization cannot work in a network, as the end of a sentence; None if it can.

    `sites` has features and positions (height times width, 1 for flat features) of each place.
    """
    norm, number = parse(name)
    reasons = (norm.refuses and norm.refuses(*site, number) for site in sites)
    reason = next(filter(None, reasons), None)
    return reason and f"{name} cannot be used here: {reason}"
