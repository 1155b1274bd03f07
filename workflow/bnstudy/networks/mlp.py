"""The perceptron."""

import math
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from bnstudy.networks.norms import make_norm
from bnstudy.networks.weights import hidden_layers, linear

if TYPE_CHECKING:
    from bnstudy.settings import Settings


def build_model(
    n_inputs: int,
    n_classes: int,
    *,
    hidden: tuple[int, ...] = (128, 64),
    norm: str = "none",
    activation: str = "relu",
    dropout: float = 0.0,
    dropout_place: str = "after",
    initialization: str = "default",
    norm_momentum: float = 0.1,
    norm_epsilon: float = 1e-5,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build a multilayer perceptron, normalized between each hidden Linear and its activation.

    It maps a float tensor of shape (batch, n_inputs) to logits of shape (batch, n_classes). `hidden`
    are the widths of the hidden layers; the others are settings of a run. Initial weights come from the
    generator, on the CPU, or from PyTorch's global one.
    """
    make = partial(make_norm, name=norm, momentum=norm_momentum, epsilon=norm_epsilon)
    layers: list[nn.Module] = []
    width = n_inputs
    for next_width in hidden:
        layer = linear(width, next_width, initialization, generator)
        layers += hidden_layers(layer, make, activation, dropout, dropout_place=dropout_place)
        width = next_width
    return nn.Sequential(*layers, linear(width, n_classes, initialization, generator))


def build(
    settings: "Settings",
    shape: tuple[int, ...],
    n_classes: int,
    generator: torch.Generator | None,
) -> nn.Sequential:
    names = ("hidden", "norm", "activation", "dropout", "dropout_place", "initialization")
    names += ("norm_momentum", "norm_epsilon")
    chosen = {name: getattr(settings, name) for name in names}
    return build_model(math.prod(shape), n_classes, generator=generator, **chosen)
