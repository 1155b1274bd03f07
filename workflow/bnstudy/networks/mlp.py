"""The perceptron."""

import math
from functools import partial
from typing import TYPE_CHECKING

from torch import nn

from bnstudy.networks.weights import Generator, hidden_layers, new_layer

if TYPE_CHECKING:
    from bnstudy.settings import Settings


def build_mlp(
    settings: "Settings", shape: tuple[int, ...], n_classes: int, generator: Generator = None
) -> nn.Sequential:
    """The multilayer perceptron of a run, normalized between each hidden Linear and its activation.

    It maps a float tensor of shape (batch, features), as many as the shape of an image says, to logits of shape (batch,
    n_classes). The generator draws the initial weights, see `networks.models.build`.
    """
    new = partial(new_layer, settings.initialization, generator, nn.Linear)
    layers: list[nn.Module] = []
    width = math.prod(shape)
    for next_width in settings.hidden:
        layers += hidden_layers(new(width, next_width), settings)
        width = next_width
    return nn.Sequential(*layers, new(width, n_classes))
