"""What the units of the hidden layers do: dead ones, ranks, and how their inputs drift."""

import copy
import math

import torch
from torch import Tensor, nn

from bnstudy.networks.weights import NONLINEARITIES, weighted_layers
from bnstudy.training.inputs import stream_generator
from bnstudy.training.loop import PROBE_SIZE
from bnstudy.training.observing import Moment, Observer, Rows, watch

PROBE_IMAGES = 1_000
SOFT_RANK_THRESHOLD = 0.01  # of the largest singular value
QUANTILES = {"percentile_15": 0.15, "percentile_50": 0.50, "percentile_85": 0.85}


class DeadUnits(Observer):
    """`dead_units:l`: share of the units after nonlinearity l that are zero for every probe image.

    At every probe, on validation images, in evaluation mode.
    """

    def observe(self, now: Moment) -> Rows:
        if now.at_probe:
            images = now.splits["validation"].first(PROBE_SIZE).inputs
            for layer, share in enumerate(dead_shares(now.model, images), start=1):
                yield now.step, "probe", f"dead_units:{layer}", share


def dead_shares(model: nn.Module, images: Tensor) -> list[float]:
    """Share of units that are zero for all images, by nonlinearity; a unit of a channel is its map."""
    twin = copy.deepcopy(model).eval()
    layers = [module for module in twin.modules() if isinstance(module, NONLINEARITIES)]
    seen = watch(twin, images, layers)
    alive = [(outputs != 0).transpose(0, 1).flatten(1).any(1) for _, outputs in seen]
    return [1 - one.double().mean().item() for one in alive]


class SoftRank(Observer):
    """`soft_rank` of the last hidden layer's activations after training, `soft_rank_initial` before.

    It is the number of singular values of at least 1 % of the largest (Daneshmand et al. 2020, arXiv:2003.01652), on
    validation images, with batch statistics where there are any.
    """

    def __init__(self, probe_images: int = PROBE_IMAGES):
        self.n = probe_images

    def rank(self, now: Moment) -> int:
        images = now.splits["validation"].first(self.n).inputs
        return soft_rank(last_hidden_activations(now.model, images))

    def start(self, now: Moment) -> Rows:
        yield now.step, "validation", "soft_rank_initial", self.rank(now)

    def end(self, now: Moment) -> Rows:
        yield now.step, "validation", "soft_rank", self.rank(now) if now.status == "ok" else None


@torch.no_grad()
def last_hidden_activations(model: nn.Module, inputs: Tensor) -> Tensor:
    """What the last layer gets, (images, width), in training mode, on a copy that keeps BN's buffers."""
    twin = copy.deepcopy(model).train()
    return watch(twin, inputs, weighted_layers(twin)[-1:])[0][0]


def soft_rank(activations: Tensor) -> int:
    """Number of singular values of at least 1 % of the largest; 0 for a matrix of zeros."""
    values = torch.linalg.svdvals(activations.double())
    return int((values >= SOFT_RANK_THRESHOLD * values[0]).sum()) if values[0] > 0 else 0


@torch.no_grad()
def last_activations(model: nn.Module, images: Tensor) -> dict[str, Tensor]:
    """Inputs of the last hidden nonlinearity, each of shape (samples, units), on the CPU.

    A sample is an image or, in a convolutional network, a position of its map, whose channels are the units. `raw` is
    the output of the last hidden linear layer or convolution; `train` and `eval` what the nonlinearity gets, in
    training mode (statistics of these images) and in evaluation mode (running statistics). The three are equal in a
    perceptron without normalization. The network is left as it is.
    """
    twin = copy.deepcopy(model)
    last = [module for module in twin.modules() if isinstance(module, NONLINEARITIES)][-1]
    layers = [last, weighted_layers(twin)[-2]]
    # Evaluation first: training mode changes the running statistics.
    (in_eval, _), _ = watch(twin.eval(), images, layers)
    (in_training, _), (_, raw) = watch(twin.train(), images, layers)
    found = {"raw": raw, "train": in_training, "eval": in_eval}
    return {name: values.movedim(1, -1).flatten(0, -2).cpu() for name, values in found.items()}


def activations_in_training(now: Moment) -> dict[str, Tensor]:
    """`last_activations` of the first 1,000 training images."""
    return last_activations(now.model, now.splits["train"].first(PROBE_IMAGES).inputs)


def percentiles(activations: Tensor) -> dict[str, float]:
    """Of one unit of activations of shape (samples, units); none is more typical than another."""
    return {name: activations[:, 0].quantile(share).item() for name, share in QUANTILES.items()}


class Drift(Observer):
    """`drift`: how far the inputs of the last nonlinearity move in `drift_steps` steps of training.

    In training mode, noise included, on 1,000 training images; the geometric mean over a probe every `drift_every`
    steps.
    """

    state = ("waiting", "log_drifts")

    def __init__(self, drift_every: int = 25, drift_steps: int = 10):
        self.every, self.ahead = drift_every, drift_steps
        self.waiting: dict[int, Tensor] = {}  # activations at a probe, by step
        self.log_drifts: list[float] = []

    def observe(self, now: Moment) -> Rows:
        if now.step - self.ahead in self.waiting or now.step % self.every == 0:
            noise = stream_generator(now.settings.seed, "noise").initial_seed()
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(noise + 1 + now.step)
                values = activations_in_training(now)["train"]
            if (before := self.waiting.pop(now.step - self.ahead, None)) is not None:
                moved = drift(before, values)
                if math.isfinite(moved) and moved > 0:
                    self.log_drifts.append(math.log(moved))
            if now.step % self.every == 0:
                self.waiting[now.step] = values
        return ()

    def end(self, now: Moment) -> Rows:
        logs = self.log_drifts
        yield now.step, "train_subset", "drift", math.exp(sum(logs) / len(logs)) if logs else None


def drift(before: Tensor, after: Tensor) -> float:
    """mean_j |mu_j(after) - mu_j(before)| / s_j over the units j that vary, s_j^2 the mean of two variances.

    The shift of distributions that Ioffe and Szegedy (2015), section 2, have in mind, as a standardized mean
    difference.
    """
    return per_deviation((after.mean(0) - before.mean(0)).abs(), before, after)


def wasserstein(before: Tensor, after: Tensor) -> float:
    """As `drift`, of the Wasserstein-1 distance, which sees changes of scale and shape too.

    For two samples of equal size it is the mean distance of their sorted values.
    """
    distance = (after.sort(dim=0).values - before.sort(dim=0).values).abs().mean(0)
    return per_deviation(distance, before, after)


def per_deviation(distance: Tensor, before: Tensor, after: Tensor) -> float:
    """Mean over the units that vary of distance over pooled standard deviation."""
    variance = (before.var(0, unbiased=False) + after.var(0, unbiased=False)) / 2
    varies = variance > 0
    return distance[varies].div(variance[varies].sqrt()).mean().item()


class LastInputs(Observer):
    """What enters the last hidden layer's nonlinearity at every probe, as in Ioffe and Szegedy's figure 1.

    On the images of the validation probe, in evaluation mode: with batch statistics the mean and the variance of a
    normalized unit would be stable by construction. `percentile_15`, `_50` and `_85` are those of one unit; `drift` is
    `mean_shift` since the last probe (none at the first).
    """

    state = ("before",)
    before: Tensor | None = None

    def observe(self, now: Moment) -> Rows:
        if not now.at_probe:
            return
        images = now.splits["validation"].first(PROBE_SIZE).inputs
        values = last_activations(now.model, images)["eval"]
        for name, value in percentiles(values).items():
            yield now.step, "probe", name, value
        moved = None if self.before is None else mean_shift(self.before, values)
        yield now.step, "probe", "drift", moved
        self.before = values

    def end(self, now: Moment) -> Rows:
        return self.observe(now) if now.status != "diverged" else ()


def mean_shift(before: Tensor, after: Tensor) -> float | None:
    """As `drift`, with unbiased variances; None if there is a unit that varies in neither."""
    pooled = ((before.var(0) + after.var(0)) / 2).sqrt()
    moved = (after.mean(0) - before.mean(0)).abs() / pooled
    return moved.mean().item() if (pooled > 0).all() else None
