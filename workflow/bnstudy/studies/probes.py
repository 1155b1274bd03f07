"""What the studies of the mechanism measure in the middle of training, and on which networks.

A probe works on a deep copy: the network in training keeps its weights, gradients and running
statistics. Whatever it draws at random comes from a state of the generator that is put back.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.networks.weights import ACTIVATIONS
from bnstudy.training.inputs import stream_generator

# hidden widths and activation
NETWORKS = {
    "relu2": ((128, 64), "relu"),  # the assignment's
    "relu5": ((128,) * 5, "relu"),
    "sigmoid3": ((100,) * 3, "sigmoid"),  # Ioffe and Szegedy (2015), section 4.1
}
PERCENTILES = (15, 50, 85)


@contextmanager
def private_noise(seed: int, step: int) -> Iterator[None]:
    """Draw from a state of PyTorch's CPU generator of one's own, and put the old one back."""
    generator = torch.random.default_generator
    state = generator.get_state()
    generator.manual_seed(stream_generator(seed, "noise").initial_seed() + 1 + step)
    try:
        yield
    finally:
        generator.set_state(state)


@dataclass(frozen=True)
class Activations:
    """Inputs of the last hidden nonlinearity for a fixed batch, each of shape (images, units).

    `raw` is the output of the last hidden Linear; `train` and `eval` what the nonlinearity gets,
    in training mode (statistics of this batch) and in evaluation mode (running statistics). The
    three are equal in a network without normalization.
    """

    raw: Tensor
    train: Tensor
    eval: Tensor


@torch.no_grad()
def last_activations(model: nn.Sequential, images: Tensor) -> Activations:
    """Run a copy of the network up to its last hidden nonlinearity, in both modes."""
    kinds = tuple(ACTIVATIONS.values())
    end = max(i for i, module in enumerate(model) if isinstance(module, kinds))
    linear = max(i for i in range(end) if isinstance(model[i], nn.Linear))
    twin = copy.deepcopy(model[:end])
    in_eval = twin.eval()(images)  # first: training mode changes the running statistics
    twin.train()
    raw = twin[: linear + 1](images)
    return Activations(raw, twin[linear + 1 :](raw), in_eval)


def drift(before: Tensor, after: Tensor) -> float:
    """How far units' means moved, in units of their standard deviation; mean over units.

    mean_j |mu_j(after) - mu_j(before)| / s_j with s_j^2 the mean of the two variances. Units that
    do not vary at all are left out.

    Source: the shift of distributions that Ioffe and Szegedy (2015), section 2, have in mind, in
    the form of a standardized mean difference.
    """
    distance = (after.mean(0) - before.mean(0)).abs()
    return distance[varies(before, after)].div(spread(before, after)).mean().item()


def wasserstein(before: Tensor, after: Tensor) -> float:
    """Wasserstein-1 distance of units' distributions, over their deviation; mean over units.

    For two samples of equal size it is the mean distance of their sorted values. Unlike `drift` it
    sees changes of scale and shape too.
    """
    distance = (after.sort(dim=0).values - before.sort(dim=0).values).abs().mean(0)
    return distance[varies(before, after)].div(spread(before, after)).mean().item()


def varies(before: Tensor, after: Tensor) -> Tensor:
    return before.var(0, unbiased=False) + after.var(0, unbiased=False) > 0


def spread(before: Tensor, after: Tensor) -> Tensor:
    """Pooled standard deviation of the units that vary."""
    variance = (before.var(0, unbiased=False) + after.var(0, unbiased=False)) / 2
    return variance[variance > 0].sqrt()


def gradients(model: nn.Module, inputs: Tensor, labels: Tensor) -> tuple[float, list[Tensor]]:
    """Loss of a batch and its gradient by every parameter; changes BN's running statistics."""
    loss = F.cross_entropy(model(inputs), labels)
    return loss.item(), list(torch.autograd.grad(loss, list(model.parameters())))


def hidden_gradient_norms(model: nn.Module) -> list[float]:
    """Frobenius norms of the hidden layers' weight gradients, from the input to the output."""
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    return [layer.weight.grad.norm().item() for layer in layers[:-1]]


def as_vector(tensors: list[Tensor]) -> Tensor:
    """All values of a list of tensors, one after the other."""
    return torch.cat([tensor.flatten() for tensor in tensors])


def norm(vector: Tensor) -> float:
    return torch.linalg.vector_norm(vector).item()


def cosine(a: Tensor, b: Tensor) -> float:
    """Cosine of the angle between two tensors, each taken as one vector; 1 where one is zero."""
    lengths = norm(a) * norm(b)
    return (a.flatten() @ b.flatten()).item() / lengths if lengths else 1.0


def landscape(
    model: nn.Module, inputs: Tensor, labels: Tensor, step_sizes: list[float]
) -> dict[str, float]:
    """The loss and its gradient along the gradient direction, for one batch in training mode.

    With g the gradient at theta and theta_eta = theta - eta g for each step size eta:

    - `loss_range`: max - min of L(theta_eta);
    - `gradient_change_min`, `gradient_change_max`: of |grad L(theta_eta) - g|, the (lack of)
      gradient predictiveness;
    - `beta`: max of |grad L(theta_eta) - g| / |theta_eta - theta|, the effective smoothness;
    - `relative_change`: max of |grad L(theta_eta) - g| / |g|, and `cosine`: mean of
      cos(grad L(theta_eta), g), both free of the scale of the weights.

    The network itself stays as it is.

    Source: Santurkar et al. (2018), section 3.2, figure 4 and appendix A.2.2; the scale-free
    measures are ours.
    """
    twin = copy.deepcopy(model).train()
    _, direction = gradients(twin, inputs, labels)
    origin = [p.detach().clone() for p in twin.parameters()]
    start = as_vector(direction)
    length = norm(start)
    losses, changes, cosines, betas = [], [], [], []
    for step_size in step_sizes:
        move(twin, origin, direction, step_size)
        loss, moved = gradients(twin, inputs, labels)
        gradient = as_vector(moved)
        change = norm(gradient - start)
        losses.append(loss)
        changes.append(change)
        betas.append(change / (step_size * length) if length else 0.0)
        cosines.append(cosine(gradient, start))
    return {
        "loss_range": max(losses) - min(losses),
        "gradient_change_min": min(changes),
        "gradient_change_max": max(changes),
        "beta": max(betas),
        "relative_change": max(changes) / length if length else 0.0,
        "cosine": sum(cosines) / len(cosines),
    }


@torch.no_grad()
def move(model: nn.Module, origin: list[Tensor], direction: list[Tensor], step_size: float) -> None:
    """Put the parameters at origin - step_size * direction."""
    for parameter, start, d in zip(model.parameters(), origin, direction, strict=True):
        parameter.copy_(start - step_size * d)


def covariate_shift(
    model: nn.Sequential, inputs: Tensor, labels: Tensor, learning_rate: float
) -> list[dict[str, float]]:
    """Internal covariate shift of each layer but the first: what one SGD step does to its gradient.

    G_i is the gradient by the weights W_i of the i-th Linear, G'_i the same on the same batch after
    all layers before it have made their step. With normalization, a layer's step includes the scale
    and shift that follow it. Per layer: `layer` (from 2), `shift` = |G_i - G'_i|,
    `relative_shift` = |G_i - G'_i| / |G_i| and `cosine` = cos(G_i, G'_i), ideally 1.

    The network itself stays as it is.

    Source: Santurkar et al. (2018), definition 2.1.
    """
    twin = copy.deepcopy(model).train()
    parameters = list(twin.parameters())
    weights = [module.weight for module in twin if isinstance(module, nn.Linear)]
    _, start = gradients(twin, inputs, labels)
    first = [next(i for i, p in enumerate(parameters) if p is weight) for weight in weights]
    rows = []
    for layer in range(1, len(weights)):
        with torch.no_grad():  # the layer before this one makes its step; those before it have
            for i in range(first[layer - 1], first[layer]):
                parameters[i] -= learning_rate * start[i]
        loss = F.cross_entropy(twin(inputs), labels)
        (moved,) = torch.autograd.grad(loss, [weights[layer]])
        original = start[first[layer]]
        change, length = norm(moved - original), norm(original)
        rows.append(
            {
                "layer": layer + 1,
                "shift": change,
                "relative_shift": change / length if length else 0.0,
                "cosine": cosine(original, moved),
            }
        )
    return rows
