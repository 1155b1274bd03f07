"""S0: what can be checked exactly (M1 to M9, L3, L5, the bound of Santurkar et al., the erratum).

Each row is one check: a `value`, what it should be (`reference`) and how far off it may be (`tolerance`); `holds` says
whether it is. Where the checked statement is wrong as it is written, the reference is what the statement says, and the
row does not hold; that is the result.

Everything is computed on the CPU, formulas in double precision.
"""

import copy
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from itertools import product
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.layers import DetachedBatchNorm, fuse
from bnstudy.networks.weights import count_parameters
from bnstudy.settings import Settings
from bnstudy.training.inputs import Split, make_splits, pixel_statistics, stream_generator
from bnstudy.training.loop import evaluate, make_model, train

CHECKS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SAMPLES, UNITS = 64, 8
EPSILON = 1e-5  # BatchNorm1d's default
NO_EPSILON = 1e-30  # as good as zero, which PyTorch refuses
BATCH_SIZES = (32, 64, 128, 256)


def run(data: PreparedData, cell: dict, options: dict, seed: int, device: torch.device) -> list[dict]:
    """One row per check.

    `options` has `batch_size` and `epochs` of the network that the checks on a trained network use.
    """
    settings = Settings(norm="batch", seed=seed, **options)
    splits = make_splits(data, settings, torch.device("cpu"))
    size = (splits["train"].pixels.shape[1], len(data.classes))
    model, batch = (make_model(*size, settings) for _ in range(2))
    none = make_model(*size, replace(settings, norm="none"))
    train(model, splits, settings)
    return [
        *formula_checks(seed),
        *statistics_checks(seed),
        *scale_checks(seed),
        *failure_checks(splits["train"], batch, seed),
        *network_checks(model, splits, seed),
        *complexity_checks(none, batch, size[0], seed),
        *averaging_checks(model, splits),
        *pixel_checks(data),
        *hyperparameter_checks(splits, size, settings),
    ]


def check(key: str, value: float, **about: object) -> dict:
    """A row; `holds` is 1 where the value is within the tolerance of the reference, else 0."""
    known = CHECKS[key]
    reference, tolerance = float(known.get("reference", 0)), float(known["tolerance"])
    return {
        "check": known["check"].format(**about),
        "quantity": known["quantity"].format(**about),
        "value": float(value),
        "reference": reference,
        "tolerance": tolerance,
        "holds": int(abs(value - reference) <= tolerance),
        "note": known.get("note", "").format(**about),
    }


def largest(tensor: Tensor) -> float:
    return tensor.abs().max().item()


def batch_norm(x: np.ndarray, gamma: np.ndarray, beta: np.ndarray, epsilon: float) -> np.ndarray:
    """Batch normalization in training mode, of shape (samples, units).

    Source: Ioffe and Szegedy (2015), algorithm 1.
    """
    return gamma * (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + epsilon) + beta


def batch_norm_backward(
    x: np.ndarray, gamma: np.ndarray, epsilon: float, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients by the inputs, the scale and the shift, given the gradient by the outputs.

    Source: the chain rule of Ioffe and Szegedy (2015), section 3.
    """
    m, mean, deviation = len(x), x.mean(axis=0), np.sqrt(x.var(axis=0) + epsilon)
    normalized = (x - mean) / deviation
    d_normalized = dy * gamma
    d_variance = (d_normalized * (x - mean)).sum(axis=0) * -0.5 / deviation**3
    d_mean = -d_normalized.sum(axis=0) / deviation + d_variance * (-2 * (x - mean)).mean(axis=0)
    dx = d_normalized / deviation + d_variance * 2 * (x - mean) / m + d_mean / m
    return dx, (dy * normalized).sum(axis=0), dy.sum(axis=0)


def random_layer(seed: int) -> tuple[Tensor, nn.BatchNorm1d, Callable[..., Tensor]]:
    """Inputs with different means and scales, a layer with random scale and shift, and more normal numbers."""
    generator = stream_generator(seed, "noise")
    normal = partial(torch.randn, generator=generator, dtype=torch.float64)
    x = normal(SAMPLES, UNITS) * normal(UNITS).exp() + 3 * normal(UNITS)
    layer = nn.BatchNorm1d(UNITS, dtype=torch.float64)
    layer.load_state_dict({"weight": normal(UNITS), "bias": normal(UNITS)}, strict=False)
    return x, layer, normal


def normalized(x: Tensor, epsilon: float = EPSILON, *affine: Tensor) -> Tensor:
    """What a layer makes of a batch in training mode, with a scale and a shift if they are given."""
    return F.batch_norm(x, None, None, *affine, training=True, eps=epsilon)


def relative(a: Tensor, b: Tensor) -> float:
    return ((a - b).norm() / b.norm()).item()


def formula_checks(seed: int) -> Iterator[dict]:
    """M1, M2, M3a, E6, E7: forward and backward pass of one layer in training mode."""
    x, layer, normal = random_layer(seed)
    gamma, beta = layer.weight.detach(), layer.bias.detach()
    dy = normal(x.shape)
    inputs = x.clone().requires_grad_()
    y = layer(inputs)
    found = torch.autograd.grad(y, [inputs, layer.weight, layer.bias], dy)
    arrays = [t.numpy() for t in (x, gamma, beta)]
    yield check("outputs", largest(y - torch.from_numpy(batch_norm(*arrays, EPSILON))))
    expected = batch_norm_backward(x.numpy(), gamma.numpy(), EPSILON, dy.numpy())
    names = ("inputs", "scale", "shift")
    for name, ours, formula in zip(names, found, expected, strict=True):
        yield check("gradients", largest(ours - torch.from_numpy(formula)), name=name)
    dx = found[0]
    numeric = finite_differences(lambda v: float((batch_norm(v, *arrays[1:], EPSILON) * dy.numpy()).sum()), x.numpy())
    yield check("finite_differences", largest(dx - torch.from_numpy(numeric)))

    plain, y = normalized(x), y.detach()
    variance = x.var(0, unbiased=False)
    shrunk = variance / (variance + EPSILON)
    yield check("batch_mean", largest(plain.mean(0)))
    yield check("batch_variance", largest(plain.var(0, unbiased=False) - shrunk))
    yield check("shifted_mean", largest(y.mean(0) - beta))
    yield check("scaled_variance", largest(y.var(0, unbiased=False) - gamma**2 * shrunk))
    restored = normalized(x, EPSILON, (variance + EPSILON).sqrt(), x.mean(0))
    yield check("identity", largest(restored - x))
    # One unit that is dead, and one whose variance is epsilon.
    narrow = torch.stack([torch.zeros(SAMPLES, dtype=torch.float64), x[:, 0]], dim=1)
    narrow[:, 1] *= math.sqrt(EPSILON / variance[0].item())
    dead, small = normalized(narrow).var(0, unbiased=False)
    yield check("dead_unit", dead)
    yield check("narrow_unit", small)
    detached = DetachedBatchNorm(UNITS, dtype=torch.float64)
    detached.load_state_dict(layer.state_dict())
    (without,) = torch.autograd.grad(detached(inputs), inputs, dy)
    yield check("without_paths", relative(without, dx))


def finite_differences(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Central differences of a scalar function by each element of x."""
    step = 1e-5
    moves = step * np.eye(x.size).reshape(-1, *x.shape)
    changes = [function(x + move) - function(x + move - 2 * move) for move in moves]
    return np.reshape(changes, x.shape) / (2 * step)


def statistics_checks(seed: int) -> Iterator[dict]:
    """M4 (one layer), M5, E3, E4, E5, E18: which statistics are used, and which are stored."""
    x, layer, normal = random_layer(seed)
    other, fresh = normal(x.shape), copy.deepcopy(layer)
    first = layer(x)
    stored_mean, stored = layer.running_mean.clone(), layer.running_var.clone()
    layer(other)
    again = layer(x)
    changed = largest(layer.running_mean - fresh.running_mean)
    layer.eval()
    together = layer(torch.cat([x, 100 * other]))[: len(x)]
    alone = torch.cat([layer(sample) for sample in x.split(1)])
    yield check("layer_alone", largest(alone - together))

    # An impulse per batch shows the weight that the running mean gives to each batch.
    n_batches = 750
    impulses = nn.BatchNorm1d(n_batches, dtype=torch.float64)
    for impulse in torch.eye(n_batches, dtype=torch.float64):
        impulses(impulse.repeat(2, 1))
    yield check("window", (1 / impulses.running_mean.square().sum()).item())

    m = 0.1  # the momentum; running statistics start at mean 0 and variance 1
    yield check("stored_unbiased", largest(stored - ((1 - m) + m * x.var(0, unbiased=True))))
    yield check("stored_biased", largest(stored - ((1 - m) + m * x.var(0, unbiased=False))))
    yield check("convention", largest(stored_mean - m * x.mean(0)))
    cumulative = nn.BatchNorm1d(UNITS, momentum=None, dtype=torch.float64)
    cumulative(x)
    cumulative(other)
    average = (x.mean(0) + other.mean(0)) / 2
    yield check("plain_average", largest(cumulative.running_mean - average))
    yield check("other_convention", largest(stored_mean - (1 - m) * x.mean(0)))
    yield check("after_another_batch", largest(first - again))
    yield check("running_mean", changed)


def scale_checks(seed: int) -> Iterator[dict]:
    """M6, M7 and the bound of Santurkar et al.: what the layer does to the Linear before it."""
    u, layer, normal = random_layer(seed)
    weights, bias = normal(UNITS, UNITS), normal(UNITS).requires_grad_()
    dy = normal(u.shape)

    def forward(a: float, epsilon: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output and gradients by the scaled weights, the bias and the inputs."""
        weight = (a * weights).requires_grad_()
        inputs = u.clone().requires_grad_()
        y = normalized(F.linear(inputs, weight, bias), epsilon, layer.weight, layer.bias)
        return y.detach(), *torch.autograd.grad(y, [weight, bias, inputs], dy)

    y, d_weight, d_bias, d_inputs = forward(1, NO_EPSILON)
    yield check("bias_gradient", (d_bias.norm() / d_weight.norm()).item())
    for a in (0.1, 10, 100):
        y_a, d_weight_a, _, d_inputs_a = forward(a, NO_EPSILON)
        yield check("scaled_output", relative(y_a, y), a=a)
        yield check("scaled_weight_gradient", relative(a * d_weight_a, d_weight), a=a)
        yield check("scaled_input_gradient", relative(d_inputs_a, d_inputs), a=a)
    for exponent in range(-5, 1):
        a = 10.0**exponent
        yield check("scaled_output_with_epsilon", relative(forward(a, EPSILON)[0], y), a=a)

    # Theorem 4.1, with the loss <dy, z>: the gradient by the layer's output z is dy.
    preactivation = F.linear(u, weights, bias).detach()
    inputs = preactivation.clone().requires_grad_()
    outputs = normalized(inputs, NO_EPSILON, layer.weight, layer.bias)
    (gradient,) = torch.autograd.grad(outputs, inputs, dy)
    m, deviation = len(u), preactivation.var(0, unbiased=False).sqrt()
    standardized = (preactivation - preactivation.mean(0)) / deviation
    bound = (layer.weight.detach() / deviation) ** 2 * (
        dy.square().sum(0) - dy.sum(0) ** 2 / m - (dy * standardized).sum(0) ** 2 / m
    )
    yield check("bound", max((gradient.square().sum(0) / bound - 1).max().item(), 0))


def raises(model: nn.Module, inputs: Tensor) -> int:
    """1 where the network in training mode refuses a batch because it is too small, else 0."""
    try:
        model.train()(inputs)
    except ValueError as error:
        return int("more than 1 value per channel" in str(error))
    return 0


def failure_checks(training: Split, model: nn.Module, seed: int) -> Iterator[dict]:
    """M8, E20: batches of one and of two samples."""
    yield check("batch_of_one", raises(model, training.first(1).inputs))
    noise = torch.randn(2, UNITS, generator=stream_generator(seed, "noise"), dtype=torch.float64)
    yield check("batch_of_two", largest(normalized(noise, NO_EPSILON).abs() - 1))
    *_, (last, _) = training.first(65).batches(64)
    yield check("last_batch_of_one", raises(model, last))


@torch.no_grad()
def network_checks(model: nn.Sequential, splits: dict[str, Split], seed: int) -> Iterator[dict]:
    """M4 (the network), M9: a trained network in evaluation mode, and its noise in training."""
    model.eval()
    test = splits["test"].inputs
    logits, fused = model(test), fuse(model)(test)
    scale = largest(logits)
    alone = torch.cat([model(image) for image in test[:100].split(1)])
    yield check("network_alone", largest(alone - logits[:100]) / scale)
    sizes = (16, 32, 64, 128, 256)
    noise = [dependence_on_the_batch(model, splits["train"], size, seed) for size in sizes]
    for size, value in zip(sizes, noise, strict=True):
        yield check("in_training", value, size=size)
    yield check("slope", np.polyfit(np.log(sizes), np.log(noise), 1)[0])
    yield check("fused_logits", largest(fused - logits) / scale, scale=scale)
    yield check("fused_classes", (fused.argmax(1) != logits.argmax(1)).sum().item())


def dependence_on_the_batch(model: nn.Module, training: Split, size: int, seed: int) -> float:
    """Root mean square deviation of an image's logits over batches, relative to their mean's norm.

    Each of the first 4 images is put into 48 batches with `size` - 1 random others.
    """
    twin = copy.deepcopy(model).train()
    generator = stream_generator(seed, "order")
    deviations = []
    draw = partial(torch.randint, 4, len(training), (size - 1,), generator=generator)
    for image in range(4):
        batches = (training.take(torch.cat([torch.tensor([image]), draw()])) for _ in range(48))
        logits = torch.stack([twin(batch.inputs)[0] for batch in batches])
        spread = (logits - logits.mean(0)).square().sum(1).mean().sqrt()
        deviations.append((spread / logits.mean(0).norm()).item())
    return float(np.sqrt(np.mean(np.square(deviations))))


def complexity_checks(none: nn.Sequential, batch: nn.Sequential, n_inputs: int, seed: int) -> Iterator[dict]:
    """L3, L5: what the layer adds to the assignment's network."""
    images = torch.randn(8, n_inputs, generator=stream_generator(seed, "noise"))

    @torch.no_grad()
    def differs(model: nn.Module) -> bool:
        return largest(model.train()(images) - model.eval()(images)) > 0

    yield check("layers", len(batch) - len(none))
    yield check("tensors", len(list(batch.parameters())) - len(list(none.parameters())))
    yield check("parameters", count_parameters(batch) - count_parameters(none))
    yield check("buffers", len(list(batch.buffers())) - len(list(none.buffers())))
    yield check("modes", differs(batch) - differs(none))
    yield check("failures", raises(batch, images[:1]) - raises(none, images[:1]))
    affine = [p for one in batch if isinstance(one, nn.BatchNorm1d) for p in one.parameters()]
    yield check("learned", sum(not p.requires_grad for p in affine))


def averaging_checks(model: nn.Module, splits: dict[str, Split]) -> Iterator[dict]:
    """E8: the mean over batches of a batch's mean loss is not the mean loss."""
    for name, size in [*product(["validation"], BATCH_SIZES), ("train", 256)]:
        split = splits[name]
        exact, _ = evaluate(model, split)
        model.eval()
        with torch.no_grad():
            losses = [F.cross_entropy(model(x), y).item() for x, y in split.batches(size)]
        error = math.fsum(losses) / len(losses) - exact
        about = {"size": size, "n": len(losses), "last": len(split) % size or size}
        yield check("mean_of_means", error, name=name, **about)


def pixel_checks(data: PreparedData) -> Iterator[dict]:
    """E10: Normalize(0.5, 0.5) maps pixels to [-1, 1] but does not centre them."""
    mean, deviation = (s.mean().item() for s in pixel_statistics(data.train_images, data.pixel_max))
    yield check("pixel_mean", (mean - 0.5) / 0.5)
    yield check("pixel_deviation", deviation / 0.5)
    if data.name == "mnist":
        yield check("mnist_mean", mean)
        yield check("mnist_deviation", deviation)


def hyperparameter_checks(splits: dict, size: tuple, settings: Settings) -> Iterator[dict]:
    """L5: whether the actual hyperparameters, epsilon and momentum, need tuning here."""
    for name, values in {"epsilon": (1e-3, 1e-5, 1e-7), "momentum": (0.01, 0.1, 0.5)}.items():
        changed = [replace(settings, **{f"norm_{name}": value}) for value in values]
        runs = [train(make_model(*size, chosen), splits, chosen) for chosen in changed]
        accuracies = [100 * (one.last("validation", "accuracy") or 0.0) for one in runs]
        spread = round(max(accuracies) - min(accuracies), 9)
        tried = ", ".join(f"{value:g}" for value in values)
        yield check("hyperparameter", spread, name=name, values=tried)
