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
    """Where a normalization stands, and with what.

    Attributes
    ----------
    features : int
        Units of the layer before it, or its channels.
    dimensions : int
        1 for inputs of shape (n, features), 2 for (n, features, height, width).
    number : int or None
        What is written behind the name, as in `group:8`.
    momentum : float
        Weight of the newest batch in running statistics.
    epsilon : float
        Is added to a variance under its root.
    """

    features: int
    dimensions: int
    number: int | None = None
    momentum: float = 0.1
    epsilon: float = 1e-5


@dataclass(frozen=True)
class Norm:
    """A normalization.

    Attributes
    ----------
    title : str
        Its name in a sentence.
    make : callable, optional
        Gives the layer for a `Site`; it must draw no random number, or the arms would differ in more
        than their normalization.
    wrap : callable, optional
        Changes the layer before it in place, a Linear or a Conv2d.
    takes_number : bool
        Whether a number belongs to its name, as in `group:8`.
    least_images : int
        What a batch must hold at least, in training.
    refuses : callable, optional
        Given features, positions (height times width, 1 for flat features) and number, says why it
        cannot work there, as the end of a sentence, or None.
    """

    title: str
    make: "Callable[[Site], nn.Module] | None" = None
    wrap: "Callable[[nn.Module], object] | None" = None
    takes_number: bool = False
    least_images: int = 1
    refuses: Callable[[int, int, int | None], str | None] | None = None


def batch(site: Site, **options: object) -> "nn.Module":
    """Ioffe and Szegedy (2015): by mean and variance of a feature over the batch."""
    from torch import nn

    kind = nn.BatchNorm1d if site.dimensions == 1 else nn.BatchNorm2d
    return kind(site.features, eps=site.epsilon, momentum=site.momentum, **options)


def group(site: Site) -> "nn.Module":
    """Wu and He (2018): by mean and variance of groups of channels of one image."""
    from torch import nn

    return nn.GroupNorm(site.number, site.features, eps=site.epsilon)


def layer(site: Site) -> "nn.Module":
    """Ba et al. (2016): by mean and variance of all features of one image.

    Behind a convolution all channels and positions are one group, and each channel has a scale and a
    shift (Wu and He 2018, section 3.1).
    """
    from torch import nn

    if site.dimensions == 1:
        return nn.LayerNorm(site.features, eps=site.epsilon)
    return nn.GroupNorm(1, site.features, eps=site.epsilon)


def instance(site: Site) -> "nn.Module":
    """Ulyanov et al. (2016): by mean and variance of one channel of one image, with scale and shift."""
    from torch import nn

    return nn.InstanceNorm2d(site.features, eps=site.epsilon, affine=True)


def rms(site: Site) -> "nn.Module":
    """Zhang and Sennrich (2019): by the root mean square of all features of one image."""
    from bnstudy.networks.layers import RMSNorm

    return RMSNorm(site.features, site.epsilon)


def weight(before: "nn.Module") -> "nn.Module":
    """Salimans and Kingma (2016): a length and a direction for the weights of each unit.

    The weights stay as they were, up to rounding, and so do the directions, exactly.
    """
    from torch.nn.utils.parametrizations import weight_norm

    return weight_norm(before)


def ghost(site: Site) -> "nn.Module":
    """Hoffer et al. (2017): batch normalization over groups of so many images."""
    from bnstudy.networks import layers

    kind = layers.GhostBatchNorm if site.dimensions == 1 else layers.GhostBatchNorm2d
    return kind(site.features, site.number, momentum=site.momentum, eps=site.epsilon)


def population(site: Site) -> "nn.Module":
    """The limit of ever larger groups: by the statistics of the whole training split."""
    from bnstudy.networks.layers import PopulationBatchNorm

    return PopulationBatchNorm(site.features, momentum=site.momentum, eps=site.epsilon)


def detached(site: Site) -> "nn.Module":
    """No gradient through the statistics of the batch (Ioffe and Szegedy 2015, section 2)."""
    from bnstudy.networks import layers

    kind = layers.DetachedBatchNorm1d if site.dimensions == 1 else layers.DetachedBatchNorm2d
    return kind(site.features, momentum=site.momentum, eps=site.epsilon)


def noise(site: Site) -> "nn.Module":
    """Noise that shifts the distribution of the activations (Santurkar et al. 2018, algorithm 1)."""
    from bnstudy.networks.layers import ShiftingNoise

    return ShiftingNoise(site.features)


def noisy_batch(site: Site) -> "nn.Module":
    """Batch normalization with that noise behind it."""
    from torch import nn

    return nn.Sequential(batch(site), noise(site))


def refuses_groups(features: int, positions: int, groups: int | None) -> str | None:
    if features % groups:
        return f"{features} features are not a multiple of {groups} groups"
    if features * positions == groups:
        return (
            f"a group of one value is always normalized to zero, as {groups} of {features} would be"
        )
    return None


def refuses_one_value(features: int, positions: int, number: int | None) -> str | None:
    if positions == 1:
        return "a feature has one value an image, which is always normalized to zero"
    return None


def refuses_one_feature(features: int, positions: int, number: int | None) -> str | None:
    if features * positions == 1:
        return "a layer has one value, which is always normalized to zero"
    return None


def refuses_one_image(features: int, positions: int, images: int | None) -> str | None:
    return "a group needs two images to have a variance" if images < 2 else None


def refuses_maps(features: int, positions: int, number: int | None) -> str | None:
    if positions > 1:
        return "the whole training split would have to be in memory as feature maps; use kind mlp"
    return None


NORMS = {
    "none": Norm("no normalization"),
    "batch": Norm("batch normalization", batch, least_images=2),
    "layer": Norm("layer normalization", layer, refuses=refuses_one_feature),
    "group": Norm("group normalization", group, takes_number=True, refuses=refuses_groups),
    "instance": Norm("instance normalization", instance, refuses=refuses_one_value),
    "rms": Norm("RMS normalization", rms),
    "weight": Norm("weight normalization", wrap=weight),
    "ghost": Norm(
        "ghost batch normalization",
        ghost,
        takes_number=True,
        least_images=2,
        refuses=refuses_one_image,
    ),
    "population": Norm(
        "batch normalization by the whole training split", population, refuses=refuses_maps
    ),
    "batch_no_affine": Norm(
        "batch normalization without scale and shift",
        lambda site: batch(site, affine=False),
        least_images=2,
    ),
    "batch_detached": Norm(
        "batch normalization with detached statistics", detached, least_images=2
    ),
    "noisy_batch": Norm("batch normalization with noise", noisy_batch, least_images=2),
    "noisy_none": Norm("noise without normalization", noise),
}


def parse(name: str) -> tuple[Norm, int | None]:
    """The normalization of a name such as `batch` or `group:8`, and its number."""
    word, _, number = name.partition(":")
    return NORMS[word], int(number) if number else None


def make_norm(
    before: "nn.Module", name: str, momentum: float = 0.1, epsilon: float = 1e-5
) -> "nn.Module | None":
    """What stands behind a Linear or a Conv2d layer for a normalization; the layer itself may change."""
    from torch import nn

    norm, number = parse(name)
    if norm.wrap is not None:
        norm.wrap(before)
    if norm.make is None:
        return None
    is_flat = isinstance(before, nn.Linear)
    features = before.out_features if is_flat else before.out_channels
    return norm.make(Site(features, 1 if is_flat else 2, number, momentum, epsilon))


def problem(name: str, sites: Iterable[tuple[int, int]]) -> str | None:
    """Why a normalization cannot work in a network, as the end of a sentence; None if it can.

    `sites` has features and positions (height times width, 1 for flat features) of each place.
    """
    norm, number = parse(name)
    for features, positions in sites:
        reason = norm.refuses and norm.refuses(features, positions, number)
        if reason:
            return f"{name} cannot be used here: {reason}"
    return None
