"""S0: what can be checked exactly (M1 to M9, L3, L5, the bound of Santurkar et al., the erratum).

Each row is one check: a `value`, what it should be (`reference`) and how far off it may be
(`tolerance`); `holds` says whether it is. Where the checked statement is wrong as it is written,
the reference is what the statement says, and the row does not hold; that is the result.

Everything is computed on the CPU, formulas in double precision.
"""

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import yaml
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.layers import DetachedBatchNorm1d, fuse
from bnstudy.networks.weights import count_parameters
from bnstudy.settings import Settings
from bnstudy.training.inputs import Split, make_splits, pixel_statistics, stream_generator
from bnstudy.training.loop import evaluate, make_model, train

CHECKS = yaml.safe_load(Path(__file__).with_suffix(".yaml").read_text(encoding="utf-8"))
SAMPLES, UNITS = 64, 8
EPSILON = 1e-5  # BatchNorm1d's default
NO_EPSILON = 1e-30  # as good as zero, which PyTorch refuses
BATCH_SIZES = (32, 64, 128, 256)


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """One row per seed and check.

    `options` has `batch_size` and `epochs` of the network that the checks on a trained network use.
    """
    rows = []
    for seed in seeds:
        settings = Settings(
            norm="batch", batch_size=options["batch_size"], seed=seed, epochs=options["epochs"]
        )
        splits = make_splits(data, settings, torch.device("cpu"))
        n_inputs, n_classes = splits["train"].pixels.shape[1], len(data.classes)
        model = make_model(n_inputs, n_classes, settings)
        train(model, splits, settings)
        for found in (
            formula_checks(seed),
            statistics_checks(seed),
            scale_checks(seed),
            failure_checks(splits["train"], n_classes, seed),
            network_checks(model, splits, seed),
            complexity_checks(n_inputs, n_classes, seed),
            averaging_checks(model, splits),
            pixel_checks(data),
            hyperparameter_checks(splits, n_classes, settings),
        ):
            rows.extend({"seed": seed} | row for row in found)
    return rows


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
    mean = x.mean(axis=0)
    variance = ((x - mean) ** 2).mean(axis=0)
    return gamma * (x - mean) / np.sqrt(variance + epsilon) + beta


def batch_norm_backward(
    x: np.ndarray, gamma: np.ndarray, epsilon: float, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gradients by the inputs, the scale and the shift, given the gradient by the outputs.

    Source: the chain rule of Ioffe and Szegedy (2015), section 3.
    """
    m = len(x)
    mean = x.mean(axis=0)
    variance = ((x - mean) ** 2).mean(axis=0)
    deviation = np.sqrt(variance + epsilon)
    normalized = (x - mean) / deviation
    d_normalized = dy * gamma
    d_variance = (d_normalized * (x - mean)).sum(axis=0) * -0.5 / deviation**3
    d_mean = -d_normalized.sum(axis=0) / deviation + d_variance * (-2 * (x - mean)).mean(axis=0)
    dx = d_normalized / deviation + d_variance * 2 * (x - mean) / m + d_mean / m
    return dx, (dy * normalized).sum(axis=0), dy.sum(axis=0)


def random_layer(seed: int) -> tuple[Tensor, nn.BatchNorm1d, torch.Generator]:
    """Inputs with different means and scales, and a layer with random scale and shift."""
    generator = stream_generator(seed, "noise")

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    x = normal(SAMPLES, UNITS) * normal(UNITS).exp() + 3 * normal(UNITS)
    layer = nn.BatchNorm1d(UNITS, dtype=torch.float64)
    with torch.no_grad():
        layer.weight.copy_(normal(UNITS))
        layer.bias.copy_(normal(UNITS))
    return x, layer, generator


def formula_checks(seed: int) -> list[dict]:
    """M1, M2, M3a, E6, E7: forward and backward pass of one layer in training mode."""
    x, layer, generator = random_layer(seed)
    gamma, beta = layer.weight.detach(), layer.bias.detach()
    dy = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    inputs = x.clone().requires_grad_()
    y = layer(inputs)
    dx, dgamma, dbeta = torch.autograd.grad(y, [inputs, layer.weight, layer.bias], dy)
    arrays = [t.numpy() for t in (x, gamma, beta)]
    expected_y = torch.from_numpy(batch_norm(*arrays, EPSILON))
    expected = batch_norm_backward(x.numpy(), gamma.numpy(), EPSILON, dy.numpy())
    rows = [
        check("outputs", largest(y - expected_y)),
    ]
    for name, ours, formula in zip(
        ("inputs", "scale", "shift"), (dx, dgamma, dbeta), expected, strict=True
    ):
        error = largest(ours - torch.from_numpy(formula))
        rows.append(check("gradients", error, name=name))
    numeric = finite_differences(
        lambda v: float((batch_norm(v, *arrays[1:], EPSILON) * dy.numpy()).sum()), x.numpy()
    )
    rows.append(check("finite_differences", largest(dx - torch.from_numpy(numeric))))

    plain = nn.BatchNorm1d(UNITS, affine=False, dtype=torch.float64)(x)
    variance = x.var(0, unbiased=False)
    shrunk = variance / (variance + EPSILON)
    y = y.detach()
    # One unit that is dead, and one whose variance is epsilon.
    narrow = torch.stack([torch.zeros(SAMPLES, dtype=torch.float64), x[:, 0]], dim=1)
    narrow[:, 1] *= math.sqrt(EPSILON / variance[0].item())
    narrow = nn.BatchNorm1d(2, affine=False, dtype=torch.float64)(narrow).var(0, unbiased=False)
    detached = DetachedBatchNorm1d(UNITS, dtype=torch.float64)
    detached.load_state_dict(layer.state_dict())
    (without,) = torch.autograd.grad(detached(inputs), inputs, dy)
    scaled = copy.deepcopy(layer)
    with torch.no_grad():
        scaled.weight.copy_((variance + EPSILON).sqrt())
        scaled.bias.copy_(x.mean(0))
    return [
        *rows,
        check("batch_mean", largest(plain.mean(0))),
        check("batch_variance", largest(plain.var(0, unbiased=False) - shrunk)),
        check("shifted_mean", largest(y.mean(0) - beta)),
        check("scaled_variance", largest(y.var(0, unbiased=False) - gamma**2 * shrunk)),
        check("identity", largest(scaled(x).detach() - x)),
        check("dead_unit", narrow[0]),
        check("narrow_unit", narrow[1]),
        check("without_paths", ((without - dx).norm() / dx.norm()).item()),
    ]


def finite_differences(function: Callable[[np.ndarray], float], x: np.ndarray) -> np.ndarray:
    """Central differences of a scalar function by each element of x."""
    gradient, step = np.zeros_like(x), 1e-5
    for index in np.ndindex(x.shape):
        moved = x.copy()
        moved[index] += step
        above = function(moved)
        moved[index] -= 2 * step
        gradient[index] = (above - function(moved)) / (2 * step)
    return gradient


def statistics_checks(seed: int) -> list[dict]:
    """M4 (one layer), M5, E3, E4, E5, E18: which statistics are used, and which are stored."""
    x, layer, generator = random_layer(seed)
    other = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    fresh = copy.deepcopy(layer)
    first = layer(x)
    stored_mean, stored = layer.running_mean.clone(), layer.running_var.clone()
    momentum = 0.1
    by_convention = (1 - momentum) * 0 + momentum * x.mean(0)
    other_convention = momentum * 0 + (1 - momentum) * x.mean(0)
    layer(other)
    again = layer(x)
    biased = (1 - momentum) + momentum * x.var(0, unbiased=False)
    unbiased = (1 - momentum) + momentum * x.var(0, unbiased=True)

    cumulative = nn.BatchNorm1d(UNITS, momentum=None, dtype=torch.float64)
    cumulative(x)
    cumulative(other)
    average = (x.mean(0) + other.mean(0)) / 2

    layer.eval()
    together = layer(torch.cat([x, 100 * other]))[: len(x)]
    alone = torch.cat([layer(sample) for sample in x.split(1)])

    # An impulse per batch shows the weight that the running mean gives to each batch.
    n_batches = 750
    impulses = nn.BatchNorm1d(n_batches, dtype=torch.float64)
    for k in range(n_batches):
        batch = torch.zeros(2, n_batches, dtype=torch.float64)
        batch[:, k] = 1
        impulses(batch)
    window = (1 / impulses.running_mean.square().sum()).item()
    return [
        check("layer_alone", largest(alone - together)),
        check("window", window),
        check("stored_unbiased", largest(stored - unbiased)),
        check("stored_biased", largest(stored - biased)),
        check("convention", largest(stored_mean - by_convention)),
        check("plain_average", largest(cumulative.running_mean - average)),
        check("other_convention", largest(stored_mean - other_convention)),
        check("after_another_batch", largest(first - again)),
        check("running_mean", largest(layer.running_mean - fresh.running_mean)),
    ]


def scale_checks(seed: int) -> list[dict]:
    """M6, M7 and the bound of Santurkar et al.: what the layer does to the Linear before it."""
    u, layer, generator = random_layer(seed)
    linear = nn.Linear(UNITS, UNITS, dtype=torch.float64)
    with torch.no_grad():
        for parameter in linear.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    dy = torch.randn(u.shape, generator=generator, dtype=torch.float64)

    def forward(a: float, epsilon: float) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Output and gradients by the scaled weights, the bias and the inputs."""
        norm = copy.deepcopy(layer)
        norm.eps = epsilon
        weight = (a * linear.weight).detach().requires_grad_()
        inputs = u.clone().requires_grad_()
        y = norm(F.linear(inputs, weight, linear.bias))
        return y.detach(), *torch.autograd.grad(y, [weight, linear.bias, inputs], dy)

    def relative(a: Tensor, b: Tensor) -> float:
        return ((a - b).norm() / b.norm()).item()

    y, d_weight, d_bias, d_inputs = forward(1, NO_EPSILON)
    rows = [check("bias_gradient", (d_bias.norm() / d_weight.norm()).item())]
    for a in (0.1, 10, 100):
        y_a, d_weight_a, _, d_inputs_a = forward(a, NO_EPSILON)
        rows += [
            check("scaled_output", relative(y_a, y), a=a),
            check("scaled_weight_gradient", relative(a * d_weight_a, d_weight), a=a),
            check("scaled_input_gradient", relative(d_inputs_a, d_inputs), a=a),
        ]
    for exponent in range(-5, 1):
        a = 10.0**exponent
        rows.append(check("scaled_output_with_epsilon", relative(forward(a, EPSILON)[0], y), a=a))

    # Theorem 4.1, with the loss <dy, z>: the gradient by the layer's output z is dy.
    preactivation = F.linear(u, linear.weight, linear.bias).detach().requires_grad_()
    exact = copy.deepcopy(layer)
    exact.eps = NO_EPSILON
    (gradient,) = torch.autograd.grad(exact(preactivation), preactivation, dy)
    m = len(u)
    deviation = preactivation.detach().var(0, unbiased=False).sqrt()
    normalized = (preactivation.detach() - preactivation.detach().mean(0)) / deviation
    bound = (layer.weight.detach() / deviation) ** 2 * (
        dy.square().sum(0) - dy.sum(0) ** 2 / m - (dy * normalized).sum(0) ** 2 / m
    )
    excess = (gradient.square().sum(0) / bound - 1).max().item()
    rows.append(check("bound", max(excess, 0)))
    return rows


def raises(model: nn.Module, inputs: Tensor) -> int:
    """1 where the network in training mode refuses a batch because it is too small, else 0."""
    try:
        model.train()(inputs)
    except ValueError as error:
        return int("more than 1 value per channel" in str(error))
    return 0


def failure_checks(training: Split, n_classes: int, seed: int) -> list[dict]:
    """M8, E20: batches of one and of two samples."""
    settings = Settings(norm="batch", batch_size=64, seed=seed)
    model = make_model(training.pixels.shape[1], n_classes, settings)
    few = training.first(65)
    *_, (last, _) = few.batches(64)
    pair = nn.BatchNorm1d(UNITS, affine=False, eps=NO_EPSILON, dtype=torch.float64)(
        torch.randn(2, UNITS, generator=stream_generator(seed, "noise"), dtype=torch.float64)
    )
    return [
        check("batch_of_one", raises(model, training.first(1).inputs)),
        check("batch_of_two", largest(pair.abs() - 1)),
        check("last_batch_of_one", raises(model, last)),
    ]


@torch.no_grad()
def network_checks(model: nn.Sequential, splits: dict[str, Split], seed: int) -> list[dict]:
    """M4 (the network), M9: a trained network in evaluation mode, and its noise in training."""
    model.eval()
    test = splits["test"].inputs
    logits = model(test)
    fused = fuse(model)(test)
    alone = torch.cat([model(image) for image in test[:100].split(1)])
    sizes = (16, 32, 64, 128, 256)
    noise = [dependence_on_the_batch(model, splits["train"], size, seed) for size in sizes]
    slope = np.polyfit(np.log(sizes), np.log(noise), 1)[0]
    return [
        check("network_alone", largest(alone - logits[:100]) / largest(logits)),
        *(check("in_training", value, size=size) for size, value in zip(sizes, noise, strict=True)),
        check("slope", slope),
        check("fused_logits", largest(fused - logits) / largest(logits), scale=largest(logits)),
        check("fused_classes", (fused.argmax(1) != logits.argmax(1)).sum().item()),
    ]


def dependence_on_the_batch(model: nn.Module, training: Split, size: int, seed: int) -> float:
    """Root mean square deviation of an image's logits over batches, relative to their mean's norm.

    Each of the first 4 images is put into 48 batches with `size` - 1 random others.
    """
    twin = copy.deepcopy(model).train()
    generator = stream_generator(seed, "order")
    deviations = []
    for image in range(4):
        outputs = []
        for _ in range(48):
            others = torch.randint(4, len(training), (size - 1,), generator=generator)
            batch = training.take(torch.cat([torch.tensor([image]), others]))
            outputs.append(twin(batch.inputs)[0])
        logits = torch.stack(outputs)
        spread = (logits - logits.mean(0)).square().sum(1).mean().sqrt()
        deviations.append((spread / logits.mean(0).norm()).item())
    return float(np.sqrt(np.mean(np.square(deviations))))


def complexity_checks(n_inputs: int, n_classes: int, seed: int) -> list[dict]:
    """L3, L5: what the layer adds to the assignment's network."""
    models = {
        norm: make_model(n_inputs, n_classes, Settings(norm=norm, batch_size=64, seed=seed))
        for norm in ("none", "batch")
    }
    none, batch = models["none"], models["batch"]
    layers = [module for module in batch if isinstance(module, nn.BatchNorm1d)]
    learned = {id(p) for p in batch.parameters() if p.requires_grad}
    affine = [p for layer in layers for p in (layer.weight, layer.bias)]
    generator = stream_generator(seed, "noise")
    images = torch.randn(8, n_inputs, generator=generator)
    with torch.no_grad():
        differ = {norm: largest(m.train()(images) - m.eval()(images)) for norm, m in models.items()}
    return [
        check("layers", len(batch) - len(none)),
        check("tensors", len(list(batch.parameters())) - len(list(none.parameters()))),
        check("parameters", count_parameters(batch) - count_parameters(none)),
        check("buffers", len(list(batch.buffers())) - len(list(none.buffers()))),
        check("modes", int(differ["batch"] > 0) - int(differ["none"] > 0)),
        check("failures", raises(batch, images[:1]) - raises(none, images[:1])),
        check("learned", sum(id(p) not in learned for p in affine)),
    ]


def averaging_checks(model: nn.Module, splits: dict[str, Split]) -> list[dict]:
    """E8: the mean over batches of a batch's mean loss is not the mean loss."""
    rows = []
    for name, batch_size in [("validation", size) for size in BATCH_SIZES] + [("train", 256)]:
        split = splits[name]
        exact, _ = evaluate(model, split)
        model.eval()
        with torch.no_grad():
            losses = [
                F.cross_entropy(model(inputs), labels).item()
                for inputs, labels in split.batches(batch_size)
            ]
        remainder = len(split) % batch_size
        rows.append(
            check(
                "mean_of_means",
                math.fsum(losses) / len(losses) - exact,
                name=name,
                size=batch_size,
                n=len(losses),
                last=remainder or batch_size,
            )
        )
    return rows


def pixel_checks(data: PreparedData) -> list[dict]:
    """E10: Normalize(0.5, 0.5) maps pixels to [-1, 1] but does not centre them."""
    mean, deviation = (s.mean().item() for s in pixel_statistics(data.train_images, data.pixel_max))
    rows = [
        check("pixel_mean", (mean - 0.5) / 0.5),
        check("pixel_deviation", deviation / 0.5),
    ]
    if data.name == "mnist":
        rows += [
            check("mnist_mean", mean),
            check("mnist_deviation", deviation),
        ]
    return rows


def hyperparameter_checks(
    splits: dict[str, Split], n_classes: int, settings: Settings
) -> list[dict]:
    """L5: whether the actual hyperparameters, epsilon and momentum, need tuning here."""
    rows = []
    for name, values in {"epsilon": (1e-3, 1e-5, 1e-7), "momentum": (0.01, 0.1, 0.5)}.items():
        accuracies = []
        for value in values:
            chosen = replace(settings, **{f"norm_{name}": value})
            model = make_model(splits["train"].pixels.shape[1], n_classes, chosen)
            outcome = train(model, splits, chosen)
            accuracies.append(100 * (outcome.last("validation", "accuracy") or 0.0))
        spread = round(max(accuracies) - min(accuracies), 9)
        tried = ", ".join(f"{value:g}" for value in values)
        rows.append(check("hyperparameter", spread, name=name, values=tried))
    return rows
