"""The families of networks that can be chosen. Nothing here imports PyTorch before one is built.

A file of the user adds one with `MODELS["mine"] = Model(...)`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from bnstudy.networks import norms

if TYPE_CHECKING:
    import torch
    from torch import nn

    from bnstudy.settings import Settings

Shape = tuple[int, ...]  # of an image: channels, height, width


@dataclass(frozen=True)
class Model:
    """A family of networks.

    `build` gives the network for settings, shape of an image, number of classes and generator; it must draw from that
    generator alone. `sentence` says for settings what the network is, as the object of a sentence. `sites` gives for
    settings and shape the features and positions (height times width, 1 for flat features) of each normalized layer,
    `problem` a setting that cannot be and why, as the end of a sentence, or None.
    """

    title: str  # in a sentence
    build: "Callable[[Settings, Shape, int, torch.Generator | None], nn.Module]"
    sentence: "Callable[[Settings], str]"
    sites: "Callable[[Settings, Shape], list[tuple[int, int]]]"
    settings: tuple[str, ...]  # that decide its size
    is_flat: bool = False  # whether images are given as rows of shape (n, features)
    problem: "Callable[[Settings, Shape], tuple[str, str] | None]" = lambda settings, shape: None

    def input_shape(self, shape: Shape) -> Shape:
        """The shape in which the network takes an image of this shape."""
        return (math.prod(shape),) if self.is_flat else shape


def build(
    settings: "Settings", shape: Shape, n_classes: int, generator: "torch.Generator | None" = None
) -> "nn.Module":
    """The untrained network of a run, on the CPU, its weights from a generator there or the global one.

    Networks that differ in `norm` alone start with equal Linear and Conv2d weights. `shape` is that of an image as
    `data.prepared` has it. The network maps float tensors of shape (batch, channels, height, width), or (batch,
    features) where `MODELS[settings.kind].is_flat`, to logits of shape (batch, n_classes).
    """
    model = MODELS[settings.kind].build(settings, shape, n_classes, generator)
    from bnstudy.networks.weights import freeze_all_but, scale_weights

    if settings.gain != 1:
        scale_weights(model, settings.gain, settings.gain_layers)
    if settings.trained != "all":
        freeze_all_but(model, settings.trained, generator)
    return model


def problem(settings: "Settings", shape: Shape) -> tuple[str, str] | None:
    """The setting for which no network can be built and why, as the end of a sentence, or None."""
    model = MODELS[settings.kind]
    if found := model.problem(settings, shape):
        return found
    if reason := norms.problem(settings.norm, model.sites(settings, shape)):
        return "norm", reason
    norm, _ = norms.parse(settings.norm)
    if settings.trained == "affine" and norm.make is None:
        return "trained", f"affine leaves nothing to train with {norm.title}; choose another norm"
    if settings.trained == "random" and norm.wrap is not None:
        return "trained", f"random does not go together with {norm.title}; choose another norm"
    return None


def shipped(name: str, *given: object) -> "nn.Module":
    """A network of the package, whose module is imported when it is built."""
    from bnstudy.networks import cnn, mlp

    builders = {"mlp": mlp.build_mlp, "cnn": cnn.build_cnn, "resnet": cnn.build_resnet}
    return builders[name](*given)


def problem_of_cnn(settings: "Settings", shape: Shape) -> tuple[str, str] | None:
    _, height, width = shape
    most = min(height, width).bit_length() - 1
    if len(settings.channels) <= most:
        return None
    return "channels", (
        f"images of {height} by {width} pixels cannot be halved {len(settings.channels)} times; "
        f"write {most} widths or fewer"
    )


def problem_of_resnet(settings: "Settings", shape: Shape) -> tuple[str, str] | None:
    if settings.depth >= 8 and settings.depth % 6 == 2:
        return None
    near = 6 * max(1, round((settings.depth - 2) / 6)) + 2
    return "depth", f"{settings.depth} is not 8, 14, 20 or another 6n + 2; the nearest is {near}"


def counted(values: Sequence[int]) -> str:
    """A list in a sentence: "128 and 64"."""
    *first, last = map(str, values)
    return f"{', '.join(first)} and {last}" if first else last


MODELS = {
    "mlp": Model(
        "multilayer perceptron",
        partial(shipped, "mlp"),
        lambda settings: f"a multilayer perceptron with hidden layers of {counted(settings.hidden)} units",
        lambda settings, shape: [(width, 1) for width in settings.hidden],
        ("hidden",),
        is_flat=True,
    ),
    "cnn": Model(
        "convolutional network",
        partial(shipped, "cnn"),
        lambda settings: (
            f"a convolutional network with {counted(settings.channels)} channels, each of its "
            "convolutions (3 by 3) followed by max pooling (2 by 2), normalization and activation, "
            "and a linear layer at the end"
        ),
        lambda settings, shape: [
            (channels, (shape[1] >> block) * (shape[2] >> block))
            for block, channels in enumerate(settings.channels, start=1)
        ],
        ("channels",),
        problem=problem_of_cnn,
    ),
    "resnet": Model(
        "residual network",
        partial(shipped, "resnet"),
        lambda settings: (
            f"the residual network of {settings.depth} layers that He et al. (2016, section 4.2) used for CIFAR"
        ),
        lambda settings, shape: [  # of the three stages
            (channels, -(-shape[1] // by) * -(-shape[2] // by)) for channels, by in ((16, 1), (32, 2), (64, 4))
        ],
        ("depth",),
        problem=problem_of_resnet,
    ),
}
