"""Sensitivity to the scale of the initial weights (B13; study S3).

Weights are drawn from N(0, (g sqrt(2 / fan_in))^2), He et al.'s (2015, eq. 10) times a gain g,
biases zero; the draws of a seed are the same for every gain. Metric: the final validation accuracy,
of which the endpoint takes the range over gains.

Theory: in training mode BN((g W) u) = BN(W u) (Ioffe and Szegedy 2015, section 3.3), so as long as
the epsilon in the root does not count, scaling the *hidden* layers does not change the output of a
batch-normalized network at all; what remains is that its gradients shrink by g, which is a smaller
learning rate for plain SGD and none for Adam's first steps. The output layer has no normalization
behind it, so both are studied: all layers scaled, and the hidden ones alone.
"""

import torch
from torch import nn

from bnstudy.data.prepared import PreparedData
from bnstudy.studies.plain import make_network, make_settings, outcome
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import train

SCALED = ("all", "hidden")


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train from every gain, each seed from the same draws.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm`, `optimizer`, `scaled` (one of `SCALED`).
    options : dict
        `gains`; `learning_rates`: the rate by optimizer; further settings of a training run.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed and gain.
    """
    chosen = {
        "initialization": "he",
        "learning_rate": options["learning_rates"][cell["optimizer"]],
    }
    rows = []
    for seed in seeds:
        settings = make_settings(seed, options, cell, chosen)
        splits = make_splits(data, settings, device)
        for gain in options["gains"]:
            model = make_network(data, settings, device)
            scale_weights(model, gain, cell["scaled"])
            result = train(model, splits, settings)
            rows.append({"seed": seed, "gain": gain, **outcome(result)})
    return rows


@torch.no_grad()
def scale_weights(model: nn.Module, gain: float, scaled: str) -> None:
    """Multiply the weights of `all` linear layers, or of the `hidden` ones, by `gain` in place."""
    if scaled not in SCALED:
        raise ValueError(f"unknown choice of layers {scaled!r}")
    layers = [m for m in model.modules() if isinstance(m, nn.Linear)]
    for layer in layers if scaled == "all" else layers[:-1]:
        layer.weight.mul_(gain)
