"""What a training step cannot do without, alone: its matrix products and its update."""

import time
from collections.abc import Callable

import torch
from torch import nn

from bnstudy.networks.optimizers import make_optimizer
from bnstudy.settings import Settings


def matrix_products(network: nn.Sequential, batch_size: int) -> Callable[[], None]:
    """The products of one step: X W' and dY' X for each Linear, dY W for all but the first."""
    layers = [module for module in network if isinstance(module, nn.Linear)]
    products = []
    for position, layer in enumerate(layers):
        weight = layer.weight.detach().clone()
        inputs = torch.randn(batch_size, layer.in_features)
        gradient = torch.randn(batch_size, layer.out_features)
        products += [(inputs, weight.T), (gradient.T, inputs)]
        if position > 0:
            products.append((gradient, weight))
    return multiply(products)


def forward_products(network: nn.Sequential, images: int) -> Callable[[], None]:
    """The products of a forward pass: X W' for each Linear."""
    layers = [module for module in network if isinstance(module, nn.Linear)]
    return multiply([(torch.randn(images, layer.in_features), layer.weight.detach().T) for layer in layers])


def layer_work(network: nn.Module, images: torch.Tensor, backward: bool) -> Callable[[], None]:
    """The convolutions and products of a network alone, on maps as they lie in memory in its own passes.

    Forward for each layer and, of a step, the gradients of its weight and, but for the first, its input.
    """
    seen: list[tuple[nn.Module, torch.Tensor, torch.Tensor]] = []
    layers = [one for one in network.modules() if isinstance(one, nn.Conv2d | nn.Linear)]
    hooks = [
        layer.register_forward_hook(lambda layer, got, gives: seen.append((layer, got[0], gives))) for layer in layers
    ]
    with torch.no_grad():
        network(images)
    for hook in hooks:
        hook.remove()

    @torch.no_grad()
    def run() -> None:
        for place, (layer, inputs, outputs) in enumerate(seen):
            weight, first = layer.weight, place == 0
            if isinstance(layer, nn.Linear):
                inputs @ weight.T
                if backward:
                    outputs.T @ inputs
                    outputs @ weight
                continue
            how = (layer.stride, layer.padding, layer.dilation)
            torch.conv2d(inputs, weight, None, *how, layer.groups)
            if backward:
                asked = [not first, True, False]
                torch.ops.aten.convolution_backward(
                    outputs, inputs, weight, None, *how, False, [0, 0], layer.groups, asked
                )

    return run


def multiply(products: list[tuple[torch.Tensor, torch.Tensor]]) -> Callable[[], None]:
    """What multiplies these pairs of matrices, one after the other, into memory that is there."""
    jobs = [(a, b, torch.empty(a.shape[0], b.shape[1])) for a, b in products]

    @torch.no_grad()
    def run() -> None:
        for a, b, out in jobs:
            torch.mm(a, b, out=out)

    return run


def optimizer_update(network: nn.Sequential, settings: Settings) -> Callable[[], None]:
    """The update of every parameter of the network, given gradients."""
    for parameter in network.parameters():
        parameter.grad = torch.randn_like(parameter)
    return make_optimizer(network.parameters(), settings).step


def seconds_of(action: Callable[[], None], times: int) -> float:
    start = time.perf_counter()
    for _ in range(times):
        action()
    return time.perf_counter() - start
