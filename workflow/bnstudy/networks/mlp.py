"""The networks that are compared: perceptrons that differ in nothing but their normalization."""

import math
from collections.abc import Callable

import torch
from torch import nn

NORMALIZATIONS = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}


def build_model(
    n_inputs: int,
    n_classes: int,
    *,
    hidden: tuple[int, ...] = (128, 64),
    norm: str | Callable[[int], nn.Module] = "none",
    activation: str = "relu",
    dropout: float = 0.0,
    initialization: str = "default",
    generator: torch.Generator | None = None,
) -> nn.Sequential:
    """Build a multilayer perceptron, normalized between each hidden Linear and its activation.

    Linear layers draw from `generator` in order; normalization and dropout draw nothing. Two
    networks built from equal generators therefore start with equal Linear weights, whatever their
    `norm`.

    Parameters
    ----------
    n_inputs, n_classes : int
        Numbers of input features and of output logits.
    hidden : tuple of int
        Widths of the hidden layers.
    norm : {"none", "batch", "layer"} or callable
        Normalization of the pre-activations (Ioffe and Szegedy 2015, section 3.2); a callable makes
        the layer for a given width.
    activation : {"relu", "tanh", "sigmoid"}
    dropout : float
        Probability of zeroing a hidden activation in training; 0 adds no layer.
    initialization : {"default", "he", "xavier"}
        See `initialize_linear`.
    generator : torch.Generator, optional
        Source of the initial weights, on the CPU; PyTorch's global generator if not given.

    Returns
    -------
    nn.Sequential
        Maps a float tensor of shape (batch, n_inputs) to logits of shape (batch, n_classes).
    """
    make_norm = norm if callable(norm) else NORMALIZATIONS[norm]
    layers: list[nn.Module] = []
    width = n_inputs
    for next_width in hidden:
        layers.append(linear(width, next_width, initialization, generator))
        if make_norm is not None:
            layers.append(make_norm(next_width))
        layers.append(ACTIVATIONS[activation]())
        if dropout > 0:
            layers.append(nn.Dropout(dropout))
        width = next_width
    layers.append(linear(width, n_classes, initialization, generator))
    return nn.Sequential(*layers)


def linear(
    n_inputs: int, n_outputs: int, initialization: str, generator: torch.Generator | None
) -> nn.Linear:
    """A Linear layer whose initial values come from `generator` alone."""
    with torch.random.fork_rng(devices=[]):  # the layer's own first draw must leave no trace
        layer = nn.Linear(n_inputs, n_outputs)
    initialize_linear(layer, initialization, generator)
    return layer


def initialize_linear(
    layer: nn.Linear, initialization: str, generator: torch.Generator | None = None
) -> None:
    """Draw the weights and biases of a Linear layer in place.

    `default` is PyTorch's own: weights and biases uniform in +-1/sqrt(fan_in). `he` (He et al.
    2015, eq. 10) draws weights from N(0, 2/fan_in), `xavier` (Glorot and Bengio 2010, eq. 16)
    uniformly with variance 2/(fan_in + fan_out); both set biases to zero.
    """
    if initialization == "default":
        bound = 1 / math.sqrt(layer.in_features)
        nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
        nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    elif initialization == "he":
        nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
        nn.init.zeros_(layer.bias)
    elif initialization == "xavier":
        nn.init.xavier_uniform_(layer.weight, generator=generator)
        nn.init.zeros_(layer.bias)
    else:
        raise ValueError(f"unknown initialization {initialization!r}")


def count_parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)
