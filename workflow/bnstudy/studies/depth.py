"""Depth, initialization and activation (B7 in training, B14, B15; study S4).

Networks of L equal hidden layers are trained for a few hundred steps. Metrics, per run:

- B14, B15: the final validation accuracy.
- B7: `gradient_range`, the dynamic range R = median over probed steps of
  log10(max_l g_l / min_l g_l), with g_l = ||dL/dW_l||_F over the hidden layers, in decades; and
  `gradient_range_initial`, the same at the first step alone. A layer whose gradient is more than
  twelve decades below the largest, or zero, counts as twelve decades below: in float32 it has none.
  Without batch normalization and with PyTorch's default initialization g_l^2 shrinks by 1/6 a layer
  towards the input; with it, g_l^2 grows by about 1.48 (Yang et al. 2019, theorem 8).
- `soft_rank_initial`, `soft_rank`: how many singular values of the last hidden layer's activations
  on the probe images are at least 1 % of the largest (Daneshmand et al. 2020, arXiv:2003.01652),
  with batch statistics where there are any; before the first and after the last step.
"""

import copy
import math
import statistics

import torch
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.studies.plain import make_network, make_settings, outcome
from bnstudy.studies.probes import hidden_gradient_norms
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import train

DECADES_AT_MOST = 12.0
SOFT_RANK_THRESHOLD = 0.01  # of the largest singular value


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train the network at every depth of its activation.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm`, `activation`, `initialization`.
    options : dict
        `depths`: numbers of hidden layers by activation. `width` of each. `gradient_every`: steps
        between two readings of the gradients. `probe_images`: how many images the soft rank is
        taken over. Further settings of a training run.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed and depth.
    """
    rows = []
    for seed in seeds:
        settings = make_settings(seed, options, cell)
        splits = make_splits(data, settings, device)
        probe = splits["validation"].first(options["probe_images"]).inputs
        for depth in options["depths"][cell["activation"]]:
            deep = make_settings(seed, options, cell, {"hidden": [options["width"]] * depth})
            model = make_network(data, deep, device)
            initial_rank = soft_rank(last_hidden_activations(model, probe))
            gradients = GradientRange(options["gradient_every"])
            result = train(model, splits, deep, observe=gradients.observe)
            finite = result.status == "ok"
            rows.append(
                {
                    "seed": seed,
                    "depth": depth,
                    **outcome(result),
                    "gradient_range_initial": gradients.ranges[0],
                    "gradient_range": statistics.median(gradients.ranges),
                    "soft_rank_initial": initial_rank,
                    "soft_rank": (
                        soft_rank(last_hidden_activations(model, probe)) if finite else None
                    ),
                }
            )
    return rows


class GradientRange:
    """Reads the gradients that the training step has made anyway, every so many steps."""

    def __init__(self, every: int):
        self.every = every
        self.ranges: list[float] = []

    def observe(self, step: int, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        if step % self.every == 0:
            self.ranges.append(dynamic_range(hidden_gradient_norms(model)))


def dynamic_range(norms: list[float]) -> float:
    """Decades between the largest and the smallest norm, `DECADES_AT_MOST` at most.

    Norms that are not finite (a run about to diverge) span everything; norms that are all zero
    span nothing and count as everything too, since no layer learns.
    """
    largest, smallest = max(norms), min(norms)
    if not all(map(math.isfinite, norms)) or smallest <= 10**-DECADES_AT_MOST * largest:
        return DECADES_AT_MOST
    return math.log10(largest / smallest)


@torch.no_grad()
def last_hidden_activations(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """Activations of shape (images, width) in training mode, on a copy that keeps BN's buffers."""
    return copy.deepcopy(model)[:-1].train()(inputs)


def soft_rank(activations: Tensor) -> int:
    """Number of singular values of at least 1 % of the largest; 0 for a matrix of zeros."""
    values = torch.linalg.svdvals(activations.double())
    return int((values >= SOFT_RANK_THRESHOLD * values[0]).sum()) if values[0] > 0 else 0
