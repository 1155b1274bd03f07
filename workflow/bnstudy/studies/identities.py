"""S0: what can be checked exactly (M1 to M9, L3, L5, the bound of Santurkar et al., the erratum).

Each row is one check: a `value`, what it should be (`reference`) and how far off it may be
(`tolerance`); `holds` says whether it is. Where the checked statement is wrong as it is written,
the reference is what the statement says, and the row does not hold; that is the result.

Everything is computed on the CPU, formulas in double precision.
"""

import copy
import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.layers import DetachedBatchNorm1d, fuse
from bnstudy.networks.mlp import build_model
from bnstudy.networks.weights import count_parameters
from bnstudy.settings import Settings
from bnstudy.training.inputs import Split, make_splits, pixel_statistics, stream_generator
from bnstudy.training.loop import evaluate, make_model, train

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


def check(
    name: str,
    quantity: str,
    value: float,
    reference: float,
    tolerance: float,
    note: str = "",
) -> dict:
    """A row; `holds` is 1 where the value is within the tolerance of the reference, else 0."""
    return {
        "check": name,
        "quantity": quantity,
        "value": float(value),
        "reference": float(reference),
        "tolerance": float(tolerance),
        "holds": int(abs(value - reference) <= tolerance),
        "note": note,
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
        check(
            "M1",
            "largest difference of the outputs to the formula",
            largest(y - expected_y),
            0,
            1e-12,
        ),
    ]
    for name, ours, formula in zip(
        ("inputs", "scale", "shift"), (dx, dgamma, dbeta), expected, strict=True
    ):
        error = largest(ours - torch.from_numpy(formula))
        rows.append(
            check(
                "M1",
                f"largest difference of the gradient by the {name} to the chain rule",
                error,
                0,
                1e-12,
            )
        )
    numeric = finite_differences(
        lambda v: float((batch_norm(v, *arrays[1:], EPSILON) * dy.numpy()).sum()), x.numpy()
    )
    rows.append(
        check(
            "M1",
            "largest difference of the gradient by the inputs to finite differences",
            largest(dx - torch.from_numpy(numeric)),
            0,
            1e-6,
        )
    )

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
        check("M2", "largest batch mean before scale and shift", largest(plain.mean(0)), 0, 1e-6),
        check(
            "M2",
            "largest difference of the batch variance to var / (var + epsilon)",
            largest(plain.var(0, unbiased=False) - shrunk),
            0,
            1e-12,
        ),
        check(
            "M2",
            "largest difference of the batch mean to beta, after scale and shift",
            largest(y.mean(0) - beta),
            0,
            1e-12,
        ),
        check(
            "M2",
            "largest difference of the batch variance to gamma^2 var / (var + epsilon)",
            largest(y.var(0, unbiased=False) - gamma**2 * shrunk),
            0,
            1e-12,
        ),
        check(
            "M3a",
            "largest difference of output and input, with gamma the deviation and beta the mean",
            largest(scaled(x).detach() - x),
            0,
            1e-6,
        ),
        check(
            "E6",
            "variance of a dead unit after normalization",
            narrow[0],
            1,
            0.01,
            "A unit that does not vary stays at 0.",
        ),
        check(
            "E6",
            "variance of a unit with variance epsilon after normalization",
            narrow[1],
            1,
            0.01,
            "The normalized variance is var / (var + epsilon).",
        ),
        check(
            "E7",
            "relative error of the gradient by the inputs without the paths through the statistics",
            ((without - dx).norm() / dx.norm()).item(),
            0,
            1e-6,
            "The backward pass must also go through the batch's mean and variance.",
        ),
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
        check(
            "M4",
            "largest difference of a layer's output alone and in a batch, evaluation mode",
            largest(alone - together),
            0,
            0,
        ),
        check(
            "M5",
            "batches that the running mean averages, of an epoch's 750",
            window,
            n_batches,
            1,
            "It is an exponential average: (2 - m) / m = 19 batches at momentum m = 0.1.",
        ),
        check(
            "E4",
            "largest difference of the stored variance to the unbiased one, by the formula",
            largest(stored - unbiased),
            0,
            1e-12,
        ),
        check(
            "E4",
            "largest difference of the stored variance to the one that normalizes",
            largest(stored - biased),
            0,
            1e-12,
            "One formula does not cover both: batches are normalized by the biased variance, the "
            "unbiased one is stored.",
        ),
        check(
            "E5",
            "largest difference of the running mean to (1 - m) r + m x",
            largest(stored_mean - by_convention),
            0,
            1e-12,
        ),
        check(
            "E5",
            "largest difference to the plain average of the batch means, momentum None",
            largest(cumulative.running_mean - average),
            0,
            1e-12,
        ),
        check(
            "E5",
            "largest difference of the running mean to m r + (1 - m) x, the other convention",
            largest(stored_mean - other_convention),
            0,
            1e-12,
            "In other libraries momentum is the share that is kept.",
        ),
        check(
            "E18",
            "largest change of a batch's output after another batch",
            largest(first - again),
            0,
            0,
            "Batch statistics are computed anew from each batch; nothing of them is updated.",
        ),
        check(
            "E18",
            "change of the running mean by one batch",
            largest(layer.running_mean - fresh.running_mean),
            0,
            1e-12,
            "It is the running statistics that a training step updates.",
        ),
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
    rows = [
        check(
            "M6",
            "norm of the gradient by the bias before the layer, relative to that by the weights",
            (d_bias.norm() / d_weight.norm()).item(),
            0,
            1e-7,
        )
    ]
    for a in (0.1, 10, 100):
        y_a, d_weight_a, _, d_inputs_a = forward(a, NO_EPSILON)
        rows += [
            check(
                "M7",
                f"relative change of the output with weights times {a:g}",
                relative(y_a, y),
                0,
                1e-5,
            ),
            check(
                "M7",
                f"relative error of the gradient by the weights being 1 / {a:g} of before",
                relative(a * d_weight_a, d_weight),
                0,
                1e-5,
            ),
            check(
                "M7",
                f"relative change of the gradient by the inputs with weights times {a:g}",
                relative(d_inputs_a, d_inputs),
                0,
                1e-5,
            ),
        ]
    for exponent in range(-5, 1):
        a = 10.0**exponent
        rows.append(
            check(
                "M7 with epsilon",
                f"relative change of the output with weights times {a:g}",
                relative(forward(a, EPSILON)[0], y),
                0,
                1e-5,
                "Small weights have a variance that epsilon is not small against.",
            )
        )

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
    rows.append(
        check(
            "S4.1",
            "largest excess of the squared gradient over the bound of theorem 4.1, relative",
            max(excess, 0),
            0,
            1e-9,
            "With epsilon = 0 the bound is met with equality.",
        )
    )
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
        check(
            "M8",
            "training mode refuses a batch of one (1 is yes)",
            raises(model, training.first(1).inputs),
            1,
            0,
        ),
        check(
            "M8",
            "largest difference of the normalized values of a batch of two to +-1",
            largest(pair.abs() - 1),
            0,
            1e-9,
            "Two samples keep nothing but which of them is larger.",
        ),
        check(
            "E20",
            "an epoch of 65 images in batches of 64 fails at its last batch (1 is yes)",
            raises(model, last),
            1,
            0,
            "So does any number of images that leaves a last batch of one.",
        ),
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
        check(
            "M4",
            "largest relative difference of logits alone and in a batch, evaluation mode",
            largest(alone - logits[:100]) / largest(logits),
            0,
            1e-5,
            "Matrix products of different sizes round differently; the layer itself is bit-equal.",
        ),
        *(
            check(
                "M4 in training",
                f"relative deviation of an image's logits between batches of {size}",
                value,
                0,
                1e-5,
                "In training mode the output depends on the other images.",
            )
            for size, value in zip(sizes, noise, strict=True)
        ),
        check(
            "M4 slope",
            "slope of ln deviation over ln batch size in training mode",
            slope,
            -0.5,
            0.1,
            "The standard error of a mean of B values falls as 1 / sqrt(B).",
        ),
        check(
            "M9",
            "largest change of a logit by fusing the layers, on the test images, relative",
            largest(fused - logits) / largest(logits),
            0,
            1e-5,
            f"Relative to the largest logit, {largest(logits):.3g}; single precision.",
        ),
        check(
            "M9",
            "test images whose class changes by fusing",
            (fused.argmax(1) != logits.argmax(1)).sum().item(),
            0,
            0,
        ),
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
        check("L3", "more layers", len(batch) - len(none), 2, 0),
        check(
            "L3",
            "more trainable tensors",
            len(list(batch.parameters())) - len(list(none.parameters())),
            4,
            0,
        ),
        check(
            "L3",
            "more parameters",
            count_parameters(batch) - count_parameters(none),
            2 * (128 + 64),
            0,
        ),
        check("L3", "more buffers", len(list(batch.buffers())) - len(list(none.buffers())), 6, 0),
        check(
            "L3",
            "more modes with different outputs (training and evaluation)",
            int(differ["batch"] > 0) - int(differ["none"] > 0),
            1,
            0,
        ),
        check(
            "L3",
            "more ways to fail: a batch of one (1 is yes)",
            raises(batch, images[:1]) - raises(none, images[:1]),
            1,
            0,
        ),
        check(
            "L5",
            "scales and shifts that are hyperparameters and not learned",
            sum(id(p) not in learned for p in affine),
            len(affine),
            0,
            "All of them are learned parameters; momentum and epsilon are the hyperparameters.",
        ),
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
                "E8",
                f"mean over batches minus over images of the {name} loss, batch size {batch_size}",
                math.fsum(losses) / len(losses) - exact,
                0,
                1e-6,
                f"The last of {len(losses)} batches has {remainder or batch_size} images.",
            )
        )
    return rows


def pixel_checks(data: PreparedData) -> list[dict]:
    """E10: Normalize(0.5, 0.5) maps pixels to [-1, 1] but does not centre them."""
    mean, deviation = (s.mean().item() for s in pixel_statistics(data.train_images, data.pixel_max))
    note = "The range is [-1, 1]; the pixels are neither centred nor of unit variance."
    rows = [
        check(
            "E10", "mean of the pixels after Normalize(0.5, 0.5)", (mean - 0.5) / 0.5, 0, 0.05, note
        ),
        check(
            "E10",
            "standard deviation of the pixels after Normalize(0.5, 0.5)",
            deviation / 0.5,
            1,
            0.05,
            note,
        ),
    ]
    if data.name == "mnist":
        rows += [
            check("MNIST pixels", "mean of the pixels in [0, 1]", mean, 0.1307, 5e-5, "Published."),
            check(
                "MNIST pixels",
                "standard deviation of the pixels in [0, 1]",
                deviation,
                0.3081,
                5e-5,
                "Published.",
            ),
        ]
    return rows


def hyperparameter_checks(
    splits: dict[str, Split], n_classes: int, settings: Settings
) -> list[dict]:
    """L5: whether the actual hyperparameters, epsilon and momentum, need tuning here."""
    accuracies: dict[str, list[float]] = {"epsilon": [], "momentum": []}
    choices = {
        "epsilon": [{"eps": 1e-3}, {"eps": 1e-5}, {"eps": 1e-7}],
        "momentum": [{"momentum": 0.01}, {"momentum": 0.1}, {"momentum": 0.5}],
    }
    for name, variants in choices.items():
        for variant in variants:
            model = build_model(
                splits["train"].pixels.shape[1],
                n_classes,
                hidden=settings.hidden,
                norm=lambda width, variant=variant: nn.BatchNorm1d(width, **variant),
                generator=stream_generator(settings.seed, "init"),
            )
            outcome = train(model, splits, settings)
            accuracies[name].append(100 * (outcome.last("validation", "accuracy") or 0.0))
    return [
        check(
            "L5 " + name,
            f"range of validation accuracy over {name}, percentage points",
            round(max(values) - min(values), 9),
            0,
            0.15,
            "One run each at "
            + ", ".join(f"{next(iter(v.values())):g}" for v in choices[name])
            + ".",
        )
        for name, values in accuracies.items()
    ]
