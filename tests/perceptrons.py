"""Perceptrons for tests, of a few settings."""

import torch
from torch import nn

from bnstudy.networks.mlp import build_mlp
from bnstudy.settings import Settings


def build_model(
    n_inputs: int, n_classes: int, generator: torch.Generator | None = None, **settings: object
) -> nn.Sequential:
    return build_mlp(Settings(**settings), (n_inputs,), n_classes, generator)
