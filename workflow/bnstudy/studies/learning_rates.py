"""Learning rates: how high, how wide, how fast, and whether without risk (B4, B5, B6; study S2).

One row is one training run at one learning rate. What the endpoints need of it:

- B4: whether it trained. lr_max is the largest rate of the grid whose run stays finite and ends
  at a given validation accuracy or more. Anchors: Inception trains at 5 and 30 times the rate of
  the baseline, which diverges at 5 (Ioffe and Szegedy 2015, section 4.2); a 110-layer ResNet at 0.1
  instead of 0.0001 (Bjorck et al. 2018).
- B5: `steps_to_<percent>`, the first step at which the median of the last three probe accuracies
  reaches a target (None: never). One epoch without batch normalization does not reach 95 %: the
  arms are compared by a lower target, and the rates within the normalized arm by 95 %.
- B6: the final validation accuracy, for the band of rates within one point of the arm's best.

De and Smith (2020, arXiv:2002.10444) find that larger rates help little at small batch sizes;
hence the batch size is a factor, the smaller on fewer images for the sake of cost.
"""

from dataclasses import replace

import torch

from bnstudy.data.prepared import PreparedData
from bnstudy.studies.plain import make_network, make_settings, outcome, steps_to
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import train


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train at every learning rate of the optimizer's grid, each seed from the same weights.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm`, `optimizer`, `batch_size`.
    options : dict
        `sgd`, `adam`: the learning rates. `images`, `probe_every`: training images, and steps
        between two probes, by batch size (a key is text); all images where there is none.
        `targets`: accuracies. Further settings of a training run, such as `epochs`.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed and learning rate.
    """
    probe_every = options["probe_every"][str(cell["batch_size"])]
    images = options["images"].get(str(cell["batch_size"]))
    rows = []
    for seed in seeds:
        settings = make_settings(seed, options, cell, {"probe_every": probe_every})
        splits = make_splits(data, settings, device)
        if images is not None:
            splits["train"] = splits["train"].first(images)
        for learning_rate in options[cell["optimizer"]]:
            at_rate = replace(settings, learning_rate=learning_rate)
            result = train(make_network(data, at_rate, device), splits, at_rate)
            rows.append(
                {
                    "seed": seed,
                    "learning_rate": learning_rate,
                    **outcome(result),
                    **{
                        f"steps_to_{round(100 * target)}": steps_to(result, target)
                        for target in options["targets"]
                    },
                }
            )
    return rows
