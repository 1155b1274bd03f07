"""Gradients of every layer while a deep network trains (study S4b, beside B7, B8 and B14).

The depth study keeps how far the layers lie apart; here is each layer by itself: `gradient`, the
Frobenius norm g_l = ||dL/dW_l||_F of hidden layer l, counted from the input, at chosen steps. No
claim hangs on it.
"""

import math

import torch
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.studies.plain import make_network, make_settings
from bnstudy.studies.probes import hidden_gradient_norms
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import train


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train one deep network for each seed and read its gradients.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm`, `initialization`.
    options : dict
        `depth`: hidden layers, of `width` units each. `steps`: updates done before a reading; those
        that the training does not reach are passed over. Further settings of a training run.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed, step and layer; `gradient` is None where it was not finite.
    """
    rows = []
    for seed in seeds:
        shape = {"hidden": [options["width"]] * options["depth"]}
        settings = make_settings(seed, options, cell, shape)
        splits = make_splits(data, settings, device)
        path = GradientPath(options["steps"])
        train(make_network(data, settings, device), splits, settings, observe=path.observe)
        rows += [
            {"seed": seed, "step": step, "layer": layer, "gradient": norm}
            for step, norms in path.readings
            for layer, norm in enumerate(norms, start=1)
        ]
    return rows


class GradientPath:
    """Reads the gradients that the training step has made anyway, at chosen steps."""

    def __init__(self, steps: list[int]):
        self.steps = frozenset(steps)
        self.readings: list[tuple[int, list[float | None]]] = []

    def observe(self, step: int, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        if step in self.steps:
            norms = hidden_gradient_norms(model)
            self.readings.append((step, [x if math.isfinite(x) else None for x in norms]))
