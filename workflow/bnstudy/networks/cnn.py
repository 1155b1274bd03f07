"""Convolutional networks: a small plain one, and the residual one for CIFAR.

Both take images of shape (n, channels, height, width). Weights lie in memory with channels last, and what is computed
with them follows. Measured on one thread of an AMD EPYC with AVX-512, seconds for 48,000 images of 28 by 28 in batches
of 64, forward and backward, with 8 and 16 channels:

    normalization                       none  batch  group:8
    channels first, pooling last         5.2    7.1    5.5
    channels last, pooling last          3.4    4.3    8.0
    channels last, pooling, then norm    2.6    3.1    4.2

With 16 and 32 channels the last line is 5.2, 5.8 and 6.5.
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.networks.weights import ACTIVATIONS, Generator, hidden_layers, new_layer, norm_behind

if TYPE_CHECKING:
    from bnstudy.settings import Settings

RESNET_WIDTHS = (16, 32, 64)


def build_cnn(settings: "Settings", shape: tuple[int, int, int], n_classes: int, generator: Generator) -> nn.Sequential:
    """Blocks of convolution, pooling, normalization and activation, and a linear layer on the last maps.

    Pooling comes before the normalization, as in airbench (Jordan 2024, section 3.1): max pooling and a monotone
    activation commute, so only the statistics of the normalization see a difference, and everything behind the pooling
    has a quarter of the values.
    """
    channels, height, width = shape
    new = partial(new_layer, settings.initialization, generator)
    layers: list[nn.Module] = []
    for next_channels in settings.channels:
        block = new(nn.Conv2d, channels, next_channels, 3, padding=1)
        layers += hidden_layers(block, settings, nn.MaxPool2d(2))
        channels, height, width = next_channels, height // 2, width // 2
    head = new(nn.Linear, channels * height * width, n_classes)
    return nn.Sequential(*layers, nn.Flatten(), head).to(memory_format=torch.channels_last)


def build_resnet(
    settings: "Settings", shape: tuple[int, int, int], n_classes: int, generator: Generator
) -> nn.Sequential:
    """The residual network for CIFAR of He et al. (2016), section 4.2, with 6n + 2 layers.

    A convolution, then three stages of n blocks of two, with 16, 32 and 64 channels, the second and third stage halving
    the maps; at the end the mean of each map and a linear layer.
    """
    width = RESNET_WIDTHS[0]
    new = partial(new_layer, settings.initialization, generator)
    first = new(nn.Conv2d, shape[0], width, 3, padding=1)
    layers = [first, *norm_behind(first, settings), ACTIVATIONS[settings.activation]()]
    for stage, next_width in enumerate(RESNET_WIDTHS):
        for block in range((settings.depth - 2) // 6):
            stride = 2 if stage > 0 and block == 0 else 1
            layers.append(Residual(settings, new, width, next_width, stride))
            width = next_width
    head = new(nn.Linear, width, n_classes)
    return nn.Sequential(*layers, MapMeans(), head).to(memory_format=torch.channels_last)


class Residual(nn.Module):
    """Two convolutions around which the input is led past: act(body(x) + shortcut(x)).

    Where the maps change, the shortcut takes every second pixel and fills the new channels with zeros: He et al.'s
    option A, which has no weights. Dropout, which they do not have, stands between the convolutions (Zagoruyko and
    Komodakis 2016, section 2.4).
    """

    def __init__(self, settings: "Settings", new: Callable, n_inputs: int, n_outputs: int, stride: int):
        super().__init__()
        first = new(nn.Conv2d, n_inputs, n_outputs, 3, stride, padding=1)
        last = new(nn.Conv2d, n_outputs, n_outputs, 3, padding=1)
        self.body = nn.Sequential(*hidden_layers(first, settings), last, *norm_behind(last, settings))
        self.activation = ACTIVATIONS[settings.activation]()
        self.stride, self.widening = stride, n_outputs - n_inputs

    def forward(self, inputs: Tensor) -> Tensor:
        shortcut = inputs[:, :, :: self.stride, :: self.stride]
        if self.widening:
            shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.widening))
        return self.activation(self.body(inputs) + shortcut)


class MapMeans(nn.Module):
    """The mean of each map: (n, channels, height, width) to (n, channels).

    `nn.AdaptiveAvgPool2d` does the same, but its backward pass on CUDA is not deterministic.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.mean((2, 3))
