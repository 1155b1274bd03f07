"""S21 and S23: what networks with random weights do to a batch of images, block by block.

Nothing is trained. Networks are in training mode, so batch normalization uses the statistics of the batch; means are
over the batch, and over the places of a map.

- A residual network (`kind: resnet`) adds a branch to a skip path in each block. `skip` is the mean
  square of what enters the block, `branch` that of what is added to it; both of the first stage, whose
  blocks are alike. Where the mean is zero the mean square is the variance of De and Smith (2020,
  arXiv:2002.10444).
- A perceptron (`kind: mlp`) of equal layers has for each layer and image a row of H, the inputs of the
  layer's nonlinearity; see `effective_rank`.
"""

from itertools import takewhile

import torch
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.cnn import Residual
from bnstudy.networks.weights import NONLINEARITIES
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model
from bnstudy.training.observing import watch


def run(data: PreparedData, cell: dict, options: dict, seed: int, device: torch.device) -> list[dict]:
    """A row per block of a residual network, or per hidden layer of a perceptron.

    `cell` has settings, and for perceptrons `width`; `options` has `images`, how many are in the batch, `depth`, the
    number of layers, and the other settings of all networks.
    """
    chosen = {k: v for k, v in (options | cell).items() if k not in ("images", "width")}
    if "width" in cell:
        chosen["hidden"] = (cell["width"],) * chosen.pop("depth")
    settings = Settings(seed=seed, **chosen)
    images = make_splits(data, settings, device)["train"].first(options["images"]).inputs
    model = make_model(images.shape[1:], len(data.classes), settings).to(device).train()
    return (blocks if settings.kind == "resnet" else layers)(model, images)


def blocks(model: nn.Sequential, images: Tensor) -> list[dict]:
    """Mean squares of skip path and branch, by block of the first stage."""
    stage = nn.Sequential(*takewhile(lambda module: not getattr(module, "widening", 0), model))
    bodies = [module.body for module in stage if isinstance(module, Residual)]
    return [
        {"block": block, "skip": mean_square(skip), "branch": mean_square(branch)}
        for block, (skip, branch) in enumerate(watch(stage, images, bodies), start=1)
    ]


def layers(model: nn.Sequential, images: Tensor) -> list[dict]:
    """Rank of the inputs of each nonlinearity."""
    seen = watch(model, images, [one for one in model if isinstance(one, NONLINEARITIES)])
    return [{"layer": layer, "rank": effective_rank(inputs)} for layer, (inputs, _) in enumerate(seen, start=1)]


def mean_square(values: Tensor) -> float:
    return values.double().square().mean().item()


def effective_rank(rows: Tensor) -> float:
    """(tr M)^2 / ||M||_F^2 of M = H^T H, for H of shape (images, width): how many directions it has.

    At least 1 and at most the rank, which it equals where all singular values that are not zero are alike.

    Source: Daneshmand et al. (2020, arXiv:2003.01652), the lower bound of the rank in their analysis.
    """
    squares = torch.linalg.svdvals(rows.double()).square()
    return (squares.sum().square() / squares.square().sum()).item() if squares[0] > 0 else 0.0
