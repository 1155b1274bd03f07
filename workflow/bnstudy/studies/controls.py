"""Controls of the verdict rule on real runs.

A/A: two groups of runs that differ in nothing but their seeds must not be told apart. Positive
control: a learning rate a hundred times too small must be. Neither is a claim about batch
normalization.
"""

import torch

from bnstudy.data.prepared import PreparedData
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train the network without normalization; a row per seed with its test accuracy.

    `cell` has `learning_rate`; `options` has `batch_size` and `epochs`.
    """
    rows = []
    for seed in seeds:
        settings = Settings(
            norm="none",
            batch_size=options["batch_size"],
            seed=seed,
            epochs=options["epochs"],
            learning_rate=cell["learning_rate"],
        )
        splits = make_splits(data, settings, device)
        model = make_model(splits["train"].pixels.shape[1], len(data.classes), settings).to(device)
        outcome = train(model, splits, settings)
        accuracy = outcome.last("test", "accuracy")
        rows.append(
            {
                "seed": seed,
                "status": outcome.status,
                # A diverged run is scored as a classifier that guesses.
                "test_accuracy": 1 / len(data.classes) if accuracy is None else accuracy,
            }
        )
    return rows
