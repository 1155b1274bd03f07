"""Smoothness of the loss and internal covariate shift, as Santurkar et al. (2018) define them; sharpness."""

import copy
import statistics

import torch
import torch.nn.functional as F
from scipy.sparse.linalg import LinearOperator, eigsh
from torch import Tensor, nn

from bnstudy.networks.weights import weighted_layers
from bnstudy.training.observers import activations
from bnstudy.training.observing import Moment, Observer, Rows

STEP_SIZES = 8
TOLERANCE = 1e-3  # of the sharpness, relative
KEPT = 10  # vectors of the Lanczos method; its 20 are twice the work for the same digits
SMALLEST_STEP, LARGEST_STEP = 0.5, 4.0  # in units of the learning rate; the paper's end is 4
DRIFTS = {
    "drift": (activations.drift, "train"),
    "drift_eval": (activations.drift, "eval"),
    "drift_raw": (activations.drift, "raw"),
    "wasserstein": (activations.wasserstein, "train"),
    "wasserstein_eval": (activations.wasserstein, "eval"),
}


class Landscape(Observer):
    """Looks at the loss around the weights and at how far the layers move under each other.

    Every `landscape_every` steps, on the batch of that step and before its update:

    - the landscape along the gradient and the internal covariate shift of each layer, as defined in
      `landscape` and `covariate_shift` (`ics_shift:l`, `ics_relative_shift:l` and `ics_cosine:l`);
    - on the first 1,000 training images, how far `last_activations` move in the next `drift_steps` steps,
      see `DRIFTS`;
    - `percentile_15`, `_50` and `_85` of the input of one unit's nonlinearity, as in Ioffe and Szegedy
      (2015), figure 1b.
    """

    state = ("waiting",)

    def __init__(self, landscape_every: int = 25, drift_steps: int = 10):
        self.every, self.ahead = landscape_every, drift_steps
        self.waiting: dict[int, dict[str, Tensor]] = {}  # activations at a probe, by step

    def observe(self, now: Moment) -> Rows:
        last = len(weighted_layers(now.model)) - 1
        if (before := self.waiting.pop(now.step - self.ahead, None)) is not None:
            after = activations.activations_in_training(now)
            for metric, (measure, kind) in DRIFTS.items():
                value = measure(before[kind], after[kind])
                yield now.step - self.ahead, "train", f"{metric}:{last}", value
        if now.step % self.every == 0:
            rate, batch = now.settings.learning_rate, (now.inputs, now.labels)
            spacing = (LARGEST_STEP / SMALLEST_STEP) ** (1 / (STEP_SIZES - 1))
            step_sizes = [rate * SMALLEST_STEP * spacing**i for i in range(STEP_SIZES)]
            for metric, value in landscape(now.model, *batch, step_sizes).items():
                yield now.step, "train", metric, value
            for layer, shifts in covariate_shift(now.model, *batch, rate).items():
                for metric, value in shifts.items():
                    yield now.step, "train", f"ics_{metric}:{layer}", value
            self.waiting[now.step] = activations.activations_in_training(now)
            for name, value in activations.percentiles(self.waiting[now.step]["train"]).items():
                yield now.step, "train", f"{name}:{last}", value


def gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, list[Tensor]]:
    """Loss of a batch and its gradient by every parameter; changes BN's running statistics."""
    loss = F.cross_entropy(model(inputs), labels)
    return loss.item(), list(torch.autograd.grad(loss, list(model.parameters())))


def as_vector(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def norm(vector: Tensor) -> float:
    return torch.linalg.vector_norm(vector).item()


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two tensors, each taken as one vector; 1 where one is zero."""
    lengths = norm(a) * norm(b)
    return (a.flatten() @ b.flatten()).item() / lengths if lengths else 1.0


def landscape(model: nn.Module, inputs: Tensor, labels: Tensor, step_sizes: list[float]) -> dict[str, float]:
    """The loss and its gradient along the gradient direction, for one batch in training mode.

    With g the gradient at theta and theta_eta = theta - eta g for each step size eta:

    - `loss_range`: max - min of L(theta_eta);
    - `gradient_change_min`, `gradient_change_max`: of |grad L(theta_eta) - g|, the (lack of)
      gradient predictiveness;
    - `beta`: max of |grad L(theta_eta) - g| / |theta_eta - theta|, the effective smoothness;
    - `relative_change`: max of |grad L(theta_eta) - g| / |g|, and `cosine`: mean of
      cos(grad L(theta_eta), g), both free of the scale of the weights.

    The network stays as it is. Source: Santurkar et al. (2018), section 3.2, figure 4 and appendix A.2.2; the
    scale-free measures are ours.
    """
    twin = copy.deepcopy(model).train()
    _, direction = gradients(twin, inputs, labels)
    origin = [p.detach().clone() for p in twin.parameters()]
    start = as_vector(direction)
    length = norm(start)
    losses, changes, cosines = [], [], []
    for step_size in step_sizes:
        with torch.no_grad():
            for parameter, at, d in zip(twin.parameters(), origin, direction, strict=True):
                parameter.copy_(at - step_size * d)
        loss, moved = gradients(twin, inputs, labels)
        gradient = as_vector(moved)
        losses.append(loss)
        changes.append(norm(gradient - start))
        cosines.append(cosine(gradient, start))
    betas = (c / (s * length) for c, s in zip(changes, step_sizes, strict=True))
    return {
        "loss_range": max(losses) - min(losses),
        "gradient_change_min": min(changes),
        "gradient_change_max": max(changes),
        "beta": max(betas) if length else 0.0,
        "relative_change": max(changes) / length if length else 0.0,
        "cosine": sum(cosines) / len(cosines),
    }


def covariate_shift(
    model: nn.Module, inputs: Tensor, labels: Tensor, learning_rate: float
) -> dict[int, dict[str, float]]:
    """Internal covariate shift of each layer but the first: what one SGD step does to its gradient.

    G_i is the gradient by the weights W_i of the i-th linear layer or convolution, G'_i the same on the same batch
    after all layers before it have made their step. With normalization, a layer's step includes the scale and shift
    that follow it. By layer, from 2: `shift` = |G_i - G'_i|, `relative_shift` = |G_i - G'_i| / |G_i| and `cosine` =
    cos(G_i, G'_i), ideally 1.

    The network stays as it is. Source: Santurkar et al. (2018), definition 2.1.
    """
    twin = copy.deepcopy(model).train()
    parameters = list(twin.parameters())
    weights = [layer.weight for layer in weighted_layers(twin)]
    _, start = gradients(twin, inputs, labels)
    first = [next(i for i, p in enumerate(parameters) if p is weight) for weight in weights]
    shifts = {}
    for layer in range(1, len(weights)):
        with torch.no_grad():  # the layer before this one makes its step; those before it have
            for i in range(first[layer - 1], first[layer]):
                parameters[i] -= learning_rate * start[i]
        loss = F.cross_entropy(twin(inputs), labels)
        (moved,) = torch.autograd.grad(loss, [weights[layer]])
        original = start[first[layer]]
        change, length = norm(moved - original), norm(original)
        shifts[layer + 1] = {
            "shift": change,
            "relative_shift": change / length if length else 0.0,
            "cosine": cosine(original, moved),
        }
    return shifts


class Sharpness(Observer):
    """`sharpness:t` of the batch of step t, every `sharpness_every` steps, and `sharpness`.

    The latter is the median over the last third of the probes. In gradient descent with the whole training set as its
    batch, sharpness rises to 2 / learning rate, the largest at which a quadratic loss would be stable, and stays there
    (Cohen et al. 2021, arXiv:2103.00065).
    """

    state = ("found",)

    def __init__(self, sharpness_every: int = 50):
        self.every = sharpness_every
        self.found: list[float] = []

    def observe(self, now: Moment) -> Rows:
        if now.step % self.every == 0 and torch.isfinite(now.loss):
            self.found.append(sharpness(now.model, now.inputs, now.labels))
            yield now.step, "train", f"sharpness:{now.step}", self.found[-1]

    def end(self, now: Moment) -> Rows:
        last = self.found[-max(1, len(self.found) // 3) :]
        known = now.status == "ok" and last
        yield now.step, "train", "sharpness", statistics.median(last) if known else None


def sharpness(model: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """The largest eigenvalue of the Hessian of a batch's cross-entropy by all parameters.

    On a copy in training mode, by the Lanczos method on products with the Hessian (Pearlmutter 1994).
    """
    twin = copy.deepcopy(model).train()
    parameters = list(twin.parameters())
    loss = F.cross_entropy(twin(inputs), labels)
    gradient = as_vector(torch.autograd.grad(loss, parameters, create_graph=True))

    def product(vector):
        direction = torch.from_numpy(vector).to(gradient).flatten()
        found = torch.autograd.grad(gradient @ direction, parameters, retain_graph=True, materialize_grads=True)
        return as_vector(found).cpu().numpy()

    n = len(gradient)
    start = torch.randn(n, generator=torch.Generator().manual_seed(0)).numpy()
    hessian = LinearOperator((n, n), product, dtype=start.dtype)
    values = eigsh(hessian, k=1, which="LA", v0=start, ncv=KEPT, tol=TOLERANCE, return_eigenvectors=False)
    return float(values[0])
