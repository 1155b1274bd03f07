"""What all networks are made of: initial weights, hidden layers, and what is known of them afterwards.

Linear and convolution layers draw from their generator in the order in which they are made; normalization and dropout
draw nothing. Networks of one kind that are built from equal generators therefore start with equal weights, whatever
their normalization. All of them have biases, so that an arm whose normalization brings no shift is not the poorer for
it.
"""

import copy
import math
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized, register_parametrization

from bnstudy.networks.norms import make_norm

if TYPE_CHECKING:
    from bnstudy.settings import Settings

Generator = torch.Generator | None  # PyTorch's global one if there is none
ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
NONLINEARITIES = tuple(ACTIVATIONS.values())
WEIGHTED = (nn.Linear, nn.Conv2d)


def new_layer(
    initialization: str, generator: Generator, kind: type, *given: int, **options: int
) -> nn.Linear | nn.Conv2d:
    """A layer whose initial values come from `generator` alone, made of what is given besides."""
    with torch.random.fork_rng(devices=[]):  # the layer's own first draw must leave no trace
        layer = kind(*given, **options)
    initialize(layer, initialization, generator)
    return layer


def initialize(layer: nn.Module, initialization: str, generator: Generator = None) -> None:
    """Draw the weights and biases of a layer in place.

    `default` is PyTorch's own: weights and biases uniform in +-1/sqrt(fan_in). `he` (He et al. 2015, eq. 10) draws
    weights from N(0, 2/fan_in), `xavier` (Glorot and Bengio 2010, eq. 16) uniformly with variance 2/(fan_in + fan_out),
    `normal` from N(0, 1); all three set biases to zero. The fan of a convolution counts the values under its kernel.
    """
    if initialization == "default":
        bound = 1 / math.sqrt(layer.weight[0].numel())
        for values in (layer.weight, layer.bias):
            nn.init.uniform_(values, -bound, bound, generator=generator)
        return
    draw = {
        "he": partial(nn.init.kaiming_normal_, nonlinearity="relu"),
        "xavier": nn.init.xavier_uniform_,
        "normal": nn.init.normal_,
    }
    draw[initialization](layer.weight, generator=generator)
    nn.init.zeros_(layer.bias)


def hidden_layers(layer: nn.Module, settings: "Settings", *pool: nn.Module) -> list[nn.Module]:
    """A Linear or a convolution, and what stands behind it up to the next one.

    Pooling, normalization of the pre-activations (Ioffe and Szegedy 2015, section 3.2), activation, and dropout `after`
    it or `before` the normalization; dropout of 0 adds no layer.
    """
    before = [layer, *pool]
    behind = [*norm_behind(layer, settings), ACTIVATIONS[settings.activation]()]
    if settings.dropout > 0:
        place = before if settings.dropout_place == "before" else behind
        place.append(nn.Dropout(settings.dropout))
    return before + behind


def norm_behind(layer: nn.Module, settings: "Settings") -> list[nn.Module]:
    """The normalization behind a Linear or a convolution, if it is a layer; that one may change."""
    norm = make_norm(layer, settings.norm, settings.norm_momentum, settings.norm_epsilon)
    return [] if norm is None else [norm]


def weighted_layers(model: nn.Module) -> list[nn.Module]:
    """Linear and convolutional layers from the input to the output; the last one is no hidden layer."""
    return [module for module in model.modules() if isinstance(module, WEIGHTED)]


@torch.no_grad()
def scale_weights(model: nn.Module, gain: float, layers: str) -> None:
    """Multiply the weights of `all` linear and convolution layers, or the `hidden` ones, in place."""
    weighted = weighted_layers(model)
    for layer in {"all": weighted, "hidden": weighted[:-1]}[layers]:
        if is_parametrized(layer, "weight"):  # by weight normalization: it takes the weights apart
            layer.weight = layer.weight * gain
        else:
            layer.weight.mul_(gain)


class FewTrained(nn.Module):
    """A parametrization of weights of which `number` of each unit, chosen at random, are trained."""

    def __init__(self, weight: Tensor, number: int, generator: Generator):
        super().__init__()
        rows = weight.detach().flatten(1)
        places = torch.rand(rows.shape, generator=generator).argsort(1)[:, :number]
        self.register_buffer("places", places)
        self.values = nn.Parameter(rows.gather(1, places))

    def forward(self, weight: Tensor) -> Tensor:
        return weight.flatten(1).scatter(1, self.places, self.values).view_as(weight)


def freeze_all_but(model: nn.Module, trained: str, generator: Generator) -> None:
    """Leave only the `trained` parameters to training (Frankle et al. 2021), in place.

    `affine` are those of the normalization, `output` the last layer; `random` are two weights of each hidden unit or
    channel, as many as scale and shift are. None left is a ValueError.
    """
    weighted = weighted_layers(model)
    model.requires_grad_(trained == "affine")
    for layer in weighted[:-1]:
        layer.requires_grad_(False)
    weighted[-1].requires_grad_(trained == "output")
    if trained == "random":
        for layer in weighted[:-1]:
            register_parametrization(layer, "weight", FewTrained(layer.weight, 2, generator))
    if not count_parameters(model):
        raise ValueError(f"trained: {trained} leaves nothing to train; choose another norm.")


def count_parameters(model: nn.Module) -> int:
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


class Layer(NamedTuple):
    """A layer of a network: its place, such as `4` or `3.body.0`, its class, the shape that an image
    has behind it, and its trainable parameters."""

    name: str
    kind: str
    shape: tuple[int, ...]
    n_parameters: int


@torch.no_grad()
def describe_layers(model: nn.Module, shape: tuple[int, ...]) -> list[Layer]:
    """The layers of a network in the order in which an image passes them.

    `shape` is that of an image as the network takes it. The network is left as it is.
    """
    found: list[Layer] = []
    twin = copy.deepcopy(model).eval()

    def note(name: str, module: nn.Module, inputs: object, outputs: Tensor) -> None:
        kind = type(module).__name__.removeprefix("Parametrized")
        found.append(Layer(name, kind, tuple(outputs.shape[1:]), count_parameters(module)))

    for name, module in twin.named_modules():
        is_layer = isinstance(module, WEIGHTED) or not list(module.children())
        if is_layer and "parametrizations" not in name:
            module.register_forward_hook(partial(note, name))
    twin(next(twin.parameters()).new_zeros(1, *shape))
    return found
