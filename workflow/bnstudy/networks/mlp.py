"""The perceptron."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import nn

from bnstudy.networks import norms
from bnstudy.networks.weights import hidden_layers, linear

if TYPE_CHECKING:
    from bnstudy.settings import Settings


def build_model(
    n_inputs: int,
    n_classes: int,
    *,
    hidden: tuple[int, ...] = (128, 64),
    norm: str | Callable[[int], nn.Module] = "none",
    activation: str = "relu",
    dropout: float = 0.0,
    dropout_place: str = "after",
    initialization: str = "default",
    norm_momentum: float = 0.1,
    norm_epsilon: float = 1e-5,
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build a multilayer perceptron, normalized between each hidden Linear and its activation.

    Parameters
    ----------
    n_inputs, n_classes : int
        Numbers of input features and of output logits.
    hidden : tuple of int
        Widths of the hidden layers.
    norm : str or callable
        A name of `norms.NORMS`; a callable makes the layer for a given width.
    activation : {"relu", "tanh", "sigmoid"}
    dropout : float
        Probability of zeroing a hidden activation in training.
    dropout_place : {"after", "before"}
        See `hidden_layers`.
    initialization : {"default", "he", "xavier", "normal"}
        See `initialize`.
    norm_momentum, norm_epsilon : float
        See `norms.Site`.
    generator : torch.Generator, optional
        Source of the initial weights, on the CPU; PyTorch's global generator if not given.

    Returns
    -------
    nn.Sequential
        Maps a float tensor of shape (batch, n_inputs) to logits of shape (batch, n_classes).
    """
    if callable(norm):
        make_norm = lambda layer: norm(layer.out_features)
    else:
        make_norm = partial(
            norms.make_norm, name=norm, momentum=norm_momentum, epsilon=norm_epsilon
        )
    layers: list[nn.Module] = []
    width = n_inputs
    for next_width in hidden:
        layer = linear(width, next_width, initialization, generator)
        layers += hidden_layers(layer, make_norm, activation, dropout, dropout_place=dropout_place)
        width = next_width
    return nn.Sequential(*layers, linear(width, n_classes, initialization, generator))


def build(
    settings: "Settings", n_inputs: int, n_classes: int, generator: torch.Generator | None
) -> nn.Sequential:
    """The perceptron of a run."""
    names = ("hidden", "norm", "activation", "dropout", "dropout_place", "initialization")
    names += ("norm_momentum", "norm_epsilon")
    chosen = {name: getattr(settings, name) for name in names}
    return build_model(n_inputs, n_classes, generator=generator, **chosen)
