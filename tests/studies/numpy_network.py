"""A perceptron in numpy, in double precision: forward, backward, SGD and Adam written out.

A second implementation to check the studies against, from the definitions alone. It shares no code
with the package.
"""

from dataclasses import dataclass, field

import numpy as np

EPSILON, MOMENTUM = 1e-5, 0.1


@dataclass
class Layer:
    """A linear map and, for hidden layers with batch normalization, scale, shift and averages."""

    weight: np.ndarray
    bias: np.ndarray
    scale: np.ndarray | None = None
    shift: np.ndarray | None = None
    mean: np.ndarray = None
    variance: np.ndarray = None

    @property
    def parameters(self) -> list[np.ndarray]:
        return [p for p in (self.weight, self.bias, self.scale, self.shift) if p is not None]


@dataclass
class Network:
    """Layers from the input on; `group` images are normalized together, all of them if None."""

    layers: list[Layer]
    activation: str = "relu"
    group: int | None = None
    dropout: float = 0.0
    cache: list = field(default_factory=list)

    @property
    def parameters(self) -> list[np.ndarray]:
        return [p for layer in self.layers for p in layer.parameters]

    def copy(self) -> "Network":
        layers = [Layer(*(None if v is None else v.copy() for v in vars(layer).values()))
                  for layer in self.layers]  # fmt: skip
        return Network(layers, self.activation, self.group, self.dropout)

    def forward(self, x, *, training=True, track=False, rng=None):
        """Logits; with `track` the running averages move by one step."""
        self.cache = []
        for layer in self.layers[:-1]:
            z = x @ layer.weight.T + layer.bias
            groups = []
            u = z
            if layer.scale is not None:
                if training:
                    u, groups = normalized_groups(z, self.group or len(z))
                    if track:
                        means = np.mean([z[g].mean(0) for g, _ in groups], axis=0)
                        variances = np.mean([z[g].var(0, ddof=1) for g, _ in groups], axis=0)
                        layer.mean = (1 - MOMENTUM) * layer.mean + MOMENTUM * means
                        layer.variance = (1 - MOMENTUM) * layer.variance + MOMENTUM * variances
                else:
                    u = (z - layer.mean) / np.sqrt(layer.variance + EPSILON)
            y = u if layer.scale is None else u * layer.scale + layer.shift
            a = np.maximum(y, 0) if self.activation == "relu" else 1 / (1 + np.exp(-y))
            slope = (y > 0) * 1.0 if self.activation == "relu" else a * (1 - a)
            keep = np.ones_like(a)
            if training and self.dropout:
                keep = (rng.random(a.shape) >= self.dropout) / (1 - self.dropout)
            self.cache.append((x, u, groups, slope * keep))
            x = a * keep
        self.cache.append((x,))
        return x @ self.layers[-1].weight.T + self.layers[-1].bias

    def gradients(self, x, labels, **how) -> list[list[np.ndarray]]:
        """The gradient of the mean cross-entropy by every parameter, layer by layer."""
        logits = self.forward(x, **how)
        delta = (softmax(logits) - np.eye(logits.shape[1])[labels]) / len(labels)
        found = []
        for i in range(len(self.layers) - 1, -1, -1):
            layer = self.layers[i]
            own = []
            if i < len(self.layers) - 1:
                _, u, groups, slope = self.cache[i]
                delta = delta * slope
                if layer.scale is not None:
                    own = [(delta * u).sum(0), delta.sum(0)]
                    delta = through_statistics(delta * layer.scale, u, groups)
            found.append([delta.T @ self.cache[i][0], delta.sum(0), *own])
            delta = delta @ layer.weight
        return found[::-1]


def normalized_groups(z, size):
    """Groups of consecutive rows normalized by their own mean and biased variance."""
    u, groups = np.empty_like(z), []
    for start in range(0, len(z), size):
        g = slice(start, start + size)
        deviation = np.sqrt(z[g].var(0) + EPSILON)
        u[g] = (z[g] - z[g].mean(0)) / deviation
        groups.append((g, deviation))
    return u, groups


def through_statistics(delta, u, groups):
    """Ioffe and Szegedy (2015), section 3: the chain rule through mean and variance."""
    out = np.empty_like(delta)
    for g, deviation in groups:
        d, v = delta[g], u[g]
        out[g] = (d - d.mean(0) - v * (d * v).mean(0)) / deviation
    return out


def softmax(logits):
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    return odds / odds.sum(axis=1, keepdims=True)


def loss_of(network: Network, x, labels, **how) -> float:
    """Mean cross-entropy."""
    return -np.log(softmax(network.forward(x, **how))[np.arange(len(labels)), labels]).mean()


def from_torch(model, **settings) -> Network:
    """The same weights, in double precision; fresh scales, shifts and running averages."""
    tensors = [p.detach().double().numpy() for p in model.parameters() if p.dim() == 2]
    biases = [m.bias.detach().double().numpy() for m in model.modules()
              if getattr(m, "weight", None) is not None and m.weight.dim() == 2]  # fmt: skip
    batch = any(hasattr(m, "running_mean") for m in model.modules())
    layers = []
    for k, (weight, bias) in enumerate(zip(tensors, biases, strict=True)):
        width, hidden = len(bias), k < len(tensors) - 1
        extra = [np.ones(width), np.zeros(width)] if batch and hidden else [None, None]
        averages = [np.zeros(width), np.ones(width)]
        layers.append(Layer(weight.copy(), bias.copy(), *extra, *averages))
    return Network(layers, **settings)


def sgd_step(network: Network, gradients, rate: float) -> None:
    for layer, own in zip(network.layers, gradients, strict=True):
        for parameter, gradient in zip(layer.parameters, own, strict=True):
            parameter -= rate * gradient


class Adam:
    """Kingma and Ba (2015), algorithm 1."""

    def __init__(self, network: Network, rate: float):
        self.network, self.rate, self.t = network, rate, 0
        self.m = [np.zeros_like(p) for p in network.parameters]
        self.v = [np.zeros_like(p) for p in network.parameters]

    def step(self, gradients) -> None:
        self.t += 1
        flat = [g for own in gradients for g in own]
        for p, g, m, v in zip(self.network.parameters, flat, self.m, self.v, strict=True):
            m *= 0.9
            m += 0.1 * g
            v *= 0.999
            v += 0.001 * g * g
            corrected = v / (1 - 0.999**self.t)
            p -= self.rate * m / (1 - 0.9**self.t) / (np.sqrt(corrected) + 1e-8)


def covariate_shift(network: Network, x, labels, rate: float) -> dict[int, tuple[float, float]]:
    """Santurkar et al. (2018), definition 2.1: (cosine, relative change) by layer, from 2 on.

    For each layer anew: all layers before it at their next weights, itself and those after it at
    the old ones, the same batch.
    """
    before = network.gradients(x, labels)
    found = {}
    for i in range(1, len(network.layers)):
        moved = network.copy()
        for layer, own in zip(moved.layers[:i], before[:i], strict=True):
            for parameter, gradient in zip(layer.parameters, own, strict=True):
                parameter -= rate * gradient
        g, after = before[i][0].ravel(), moved.gradients(x, labels)[i][0].ravel()
        cosine = g @ after / np.sqrt((g @ g) * (after @ after))
        found[i + 1] = cosine, np.sqrt(((after - g) ** 2).sum() / (g @ g))
    return found
