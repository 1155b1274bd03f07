"""Sizes of gradients, weights and biases, layer by layer, and fluctuations of the loss (B16)."""

import math
import statistics
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from bnstudy.networks.weights import weighted_layers
from bnstudy.training.observing import Moment, Observer, Rows

DECADES_AT_MOST = 12.0
MEDIAN_STEPS = 51
LEVEL = (0.15, 0.25)  # nats
SPIKE = 2.0  # times the running median
WINDOW_AT_LEAST = 20  # steps


def hidden_gradient_norms(model: nn.Module) -> list[float]:
    """Frobenius norms of the hidden layers' weight gradients, from the input to the output."""
    return [layer.weight.grad.norm().item() for layer in weighted_layers(model)[:-1]]


class GradientNorms(Observer):
    """`gradient_norm:l`, the Frobenius norm ||dL/dW_l||_F of hidden layer l, counted from the input.

    At `steps`, or at every probe. The gradients are those that the training step has made anyway.
    """

    def __init__(self, steps: Sequence[int] | None = None):
        self.steps = steps

    def observe(self, now: Moment) -> Rows:
        if now.at_probe if self.steps is None else now.step in self.steps:
            for layer, norm in enumerate(hidden_gradient_norms(now.model), start=1):
                yield now.step, "train", f"gradient_norm:{layer}", norm


class GradientRange(Observer):
    """How far apart the gradients of the hidden layers are, and how large they are together, in decades.

    `gradient_range` is the median over every `gradient_every`-th step of log10(max_l g_l / min_l g_l) with g_l =
    ||dL/dW_l||_F, `gradient_range_initial` its value at the first. A layer whose gradient is more than twelve decades
    below the largest, or zero, counts as twelve decades below: in float32 it has none. Without batch normalization and
    with PyTorch's default initialization g_l^2 shrinks by 1/6 a layer towards the input; with it, g_l^2 grows by about
    1.48 (Yang et al. 2019, theorem 8). `gradient_size` is the median of log10 ||(g_1, g_2, ...)||, from -12 to 12.
    """

    state = ("ranges", "sizes")

    def __init__(self, gradient_every: int = 25):
        self.every = gradient_every
        self.ranges: list[float] = []
        self.sizes: list[float] = []

    def observe(self, now: Moment) -> Rows:
        if now.step % self.every == 0:
            norms = hidden_gradient_norms(now.model)
            self.ranges.append(dynamic_range(norms))
            self.sizes.append(log_size(norms))
        return ()

    def end(self, now: Moment) -> Rows:
        yield 0, "train", "gradient_range_initial", self.ranges[0]
        yield now.step, "train", "gradient_range", statistics.median(self.ranges)
        yield now.step, "train", "gradient_size", statistics.median(self.sizes)


def dynamic_range(norms: list[float]) -> float:
    """Decades between the largest and the smallest norm, `DECADES_AT_MOST` at most.

    So many too where norms are not finite (a run about to diverge) or all zero (no layer learns).
    """
    largest, smallest = max(norms), min(norms)
    if not all(map(math.isfinite, norms)) or smallest <= 10**-DECADES_AT_MOST * largest:
        return DECADES_AT_MOST
    return math.log10(largest / smallest)


def log_size(norms: list[float]) -> float:
    """log10 of the norm of all together, within +-`DECADES_AT_MOST`; not finite counts as too large."""
    size = math.hypot(*norms)
    if not math.isfinite(size):
        return DECADES_AT_MOST
    log = math.log10(size) if size else -math.inf
    return max(-DECADES_AT_MOST, min(DECADES_AT_MOST, log))


@torch.no_grad()
def weight_norms(model: nn.Module, inputs: Tensor, labels: Tensor) -> dict[str, float]:
    """`weight_norm:l`, the Frobenius norm of the weights of layer l, counted from the input."""
    layers = enumerate(weighted_layers(model), start=1)
    return {f"weight_norm:{i}": layer.weight.norm().item() for i, layer in layers}


class BiasNorm(Observer):
    """`bias_start` and `bias_end`: the norm of all hidden biases together, before and after training."""

    def start(self, now: Moment) -> Rows:
        yield now.step, "train", "bias_start", bias_norm(now.model)

    def end(self, now: Moment) -> Rows:
        yield now.step, "train", "bias_end", bias_norm(now.model)


@torch.no_grad()
def bias_norm(model: nn.Module) -> float:
    biases = [layer.bias.flatten() for layer in weighted_layers(model)[:-1]]
    return torch.linalg.vector_norm(torch.cat(biases)).item()


class LossFluctuation(Observer):
    """How the loss l_t of step t, on its own batch and as trained, moves around its running median m_t.

    m_t is over 51 steps (fewer at the ends). The *window* is the steps at which m_t lies between 0.15 and 0.25, so that
    both arms are compared at the same level of the loss: batch normalization gets there sooner, and a smaller loss
    fluctuates more in proportion.

    - `fluctuation`: coefficient of variation around the median, sqrt(mean(((l_t - m_t) / m_t)^2)) over
      the window.
    - `spikes`: share of the window's steps with l_t > 2 m_t.
    - `spikes_all`: the same over all steps of the run, whatever the level.

    The first two are None where the window has fewer than `WINDOW_AT_LEAST` steps.
    """

    def __init__(self):
        self.losses: list[Tensor] = []

    def observe(self, now: Moment) -> Rows:
        self.losses.append(now.loss.detach())
        return ()

    def end(self, now: Moment) -> Rows:
        for metric, value in describe(torch.stack(self.losses).cpu().double()).items():
            yield now.step, "train", metric, value

    def state_dict(self) -> dict[str, object]:
        return {"losses": torch.stack(self.losses).cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.losses = list(state["losses"])


def describe(losses: Tensor) -> dict[str, float | int | None]:
    """The metrics of the losses of all steps, shape (steps,), around their running median."""
    median = running_median(losses, MEDIAN_STEPS)
    window = (median >= LEVEL[0]) & (median <= LEVEL[1])
    deviation = (losses / median - 1)[window]
    spikes = losses > SPIKE * median
    enough = int(window.sum()) >= WINDOW_AT_LEAST
    return {
        "window_steps": int(window.sum()),
        "fluctuation": deviation.square().mean().sqrt().item() if enough else None,
        "spikes": spikes[window].double().mean().item() if enough else None,
        "spikes_all": spikes.double().mean().item(),
    }


def running_median(values: Tensor, width: int) -> Tensor:
    """Centred running median over `width` (odd) values of shape (n,); fewer at the two ends."""
    half = width // 2
    padding = torch.full((half,), torch.nan, dtype=values.dtype)
    windows = torch.cat([padding, values, padding]).unfold(0, width, 1)
    return torch.nanquantile(windows, 0.5, dim=1)
