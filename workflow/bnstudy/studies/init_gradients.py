"""S5: gradients of deep perceptrons at initialization: their size, and their growth against theory.

Perceptrons that were never trained get one batch; the loss is the cross-entropy. For each hidden layer l, with h_l the
output of its Linear layer (before any normalization):

- `gradient` is the norm of dL/dh_l over the batch;
- `weight_gradient` is the Frobenius norm of dL/dW_l;
- `growth` is the ratio of squared gradient norms |dL/dh_l|^2 / |dL/dh_(l+1)|^2, so above one the
  gradient grows on its way to the input; empty for the last hidden layer;
- `theory` is what the growth should be far from both ends, see `growth_in_theory`.

For the comparison with theory the input is Gaussian noise and batches are small, as theory has it: layers far wider
than the batch, samples alike. For the claims (`none_scaled`, `batch_scaled`) it is images, and the weights are He's
times a `gain`.

Source: Yang et al. (2019), A mean field theory of batch normalization, theorem 8.
"""

import math
from itertools import pairwise, product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.weights import NONLINEARITIES
from bnstudy.settings import Settings
from bnstudy.training.inputs import Scaling, Split, stream_generator
from bnstudy.training.loop import make_model

# norm, initialization, activation; the last two are of the claims
NETWORKS = {
    "none_default": ("none", "default", "relu"),
    "none_he": ("none", "he", "relu"),
    "batch_relu": ("batch", "default", "relu"),
    "batch_linear": ("batch", "default", None),
    "none_scaled": ("none", "he", "relu"),
    "batch_scaled": ("batch", "he", "relu"),
}


def run(data: PreparedData, cell: dict, options: dict, seed: int, device: torch.device) -> list[dict]:
    """One row per batch size or gain, and hidden layer.

    `cell` has `network` (a key of `NETWORKS`); `options` has `width`, for the theory `batch_sizes` and `theory_depth`,
    for the claims `gains`, `claim_batch_size` and `claim_depth`.
    """
    network = cell["network"]
    norm, initialization, activation = NETWORKS[network]
    if network.endswith("_scaled"):
        depth, batch_of = options["claim_depth"], images_of
        sizes, gains = [options["claim_batch_size"]], options["gains"]
    else:
        depth, batch_of = options["theory_depth"], noise_of
        sizes, gains = options["batch_sizes"], [1.0]
    chosen = {"norm": norm, "initialization": initialization, "seed": seed}
    chosen |= {"hidden": (options["width"],) * depth, "activation": activation or "relu"}
    rows = []
    for size, gain in product(sizes, gains):
        settings = Settings(**chosen, gain=gain, batch_size=size)
        theory = growth_in_theory(network, size) * (gain**2 if norm == "none" else 1)
        known = {"batch_size": size, "gain": gain, "depth": depth}
        inputs, labels = batch_of(data, settings)
        model = make_model(inputs.shape[1], len(data.classes), settings)
        if activation is None:
            model = nn.Sequential(*(m for m in model if not isinstance(m, NONLINEARITIES)))
        for row in measure(model.to(device), inputs.to(device), labels.to(device)):
            rows.append(known | row | {"theory": theory})
    return rows


def images_of(data: PreparedData, settings: Settings) -> tuple[Tensor, Tensor]:
    """The first batch of a run: inputs of shape (batch, inputs) and labels."""
    images = Split(data.train_images.flatten(1), data.train_labels, Scaling(data.pixel_max))
    order = torch.randperm(len(images), generator=stream_generator(settings.seed, "order"))
    batch = images.take(order[: settings.batch_size])
    return batch.inputs, batch.labels


def noise_of(data: PreparedData, settings: Settings) -> tuple[Tensor, Tensor]:
    """Standard normal inputs of the shape of images, and random labels."""
    size, generator = settings.batch_size, stream_generator(settings.seed, "order")
    inputs = torch.randn(size, data.train_images[0].numel(), generator=generator)
    return inputs, torch.randint(len(data.classes), (size,), generator=generator)


def measure(model: nn.Sequential, signal: Tensor, labels: Tensor) -> list[dict]:
    """The gradients of one network on one batch, a row per hidden layer, from the input on."""
    hidden = []
    for module in model:
        signal = module(signal)
        if isinstance(module, nn.Linear):
            hidden.append(signal)
    loss = F.cross_entropy(signal, labels)
    weights = [module.weight for module in model if isinstance(module, nn.Linear)]
    gradients = torch.autograd.grad(loss, hidden[:-1] + weights[:-1])
    # Summed in double precision on the CPU: squared norms of deep networks span 20 decades.
    squared = [gradient.cpu().double().square().sum().item() for gradient in gradients]
    by_output, by_weight = squared[: len(squared) // 2], squared[len(squared) // 2 :]
    growth = [*(here / behind for here, behind in pairwise(by_output)), None]
    columns = zip(by_output, by_weight, growth, strict=True)
    return [
        {"layer": i, "gradient": math.sqrt(h), "weight_gradient": math.sqrt(w), "growth": ratio}
        for i, (h, w, ratio) in enumerate(columns, start=1)
    ]


def growth_in_theory(network: str, batch_size: int) -> float:
    """Growth of the squared gradient norm per layer in an infinitely wide, deep network.

    Without normalization a ReLU passes half of the gradient, so the growth is fan_in * Var(W) / 2: 1/6 for PyTorch's
    default weights (variance 1 / (3 fan_in)), 1 for He's.

    With batch normalization of B samples it does not depend on the variance of the weights. For a linear network it is
    (B - 2) / (B - 3). For ReLU, normalized pre-activations of two samples have correlation r = -1 / (B - 1), and

        growth = ((B - 2) / 2 + p + k) / ((B - 3) (1/2 - k))

    with p = P(u > 0, v > 0) and the arc-cosine kernel k = E[relu(u) relu(v)] of Cho and Saul (2009), eq. 6. It tends to
    pi / (pi - 1).

    Source: Yang et al. (2019), theorem 8 and eq. 25; the form for a ReLU is our own derivation and gives the theorem's
    numbers. Less than four samples are a ValueError: the growth is infinite.
    """
    norm, initialization, activation = NETWORKS[network]
    if norm == "none":
        return {"default": 1 / 6, "he": 1.0}[initialization]
    if batch_size < 4:
        raise ValueError(f"the theory needs a batch of at least 4 samples, not {batch_size}")
    if activation is None:
        return (batch_size - 2) / (batch_size - 3)
    r = -1 / (batch_size - 1)
    p = 1 / 4 + math.asin(r) / (2 * math.pi)
    k = (math.sqrt(1 - r**2) + r * (math.pi - math.acos(r))) / (2 * math.pi)
    return ((batch_size - 2) / 2 + p + k) / ((batch_size - 3) * (1 / 2 - k))
