"""Runs of the core's loop as rows of a study: one training run, one row.

`input_scaling` and `fashion` are this and nothing else; other studies that train share the
functions for settings, network and outcome.
"""

from dataclasses import fields

import torch
from torch import nn

from bnstudy.data.prepared import PreparedData
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import Run, first_step_reaching, make_model, train

SETTINGS = {field.name for field in fields(Settings)}


def make_settings(seed: int, *choices: dict) -> Settings:
    """Settings from what a cell and the options of a study say; later ones win.

    Keys that are not settings (a study's own options) are passed over.
    """
    merged = {k: v for choice in choices for k, v in choice.items() if k in SETTINGS}
    if "hidden" in merged:
        merged["hidden"] = tuple(merged["hidden"])
    return Settings(**merged | {"seed": seed})


def make_network(data: PreparedData, settings: Settings, device: torch.device) -> nn.Sequential:
    """The network of a run with its initial weights, on the device."""
    n_inputs = data.train_images[0].numel()
    return make_model(n_inputs, len(data.classes), settings).to(device)


def outcome(run: Run) -> dict[str, object]:
    """What became of a run: its status, its length and its final losses and accuracies.

    `status` is `diverged` where a loss was not finite; the results are None then. Losses are in
    nats, accuracies fractions, all in evaluation mode with the final weights.
    """
    return {
        "status": run.status,
        "n_steps": run.n_steps,
        "train_loss": run.last("train_subset", "loss"),
        "train_accuracy": run.last("train_subset", "accuracy"),
        "val_loss": run.last("validation", "loss"),
        "val_accuracy": run.last("validation", "accuracy"),
        "test_loss": run.last("test", "loss"),
        "test_accuracy": run.last("test", "accuracy"),
    }


def steps_to(run: Run, target: float) -> int | None:
    """Steps until the probe accuracy reaches `target`, see `first_step_reaching`; or None."""
    probes = [(step, v) for _, step, s, m, v in run.metrics if (s, m) == ("probe", "accuracy")]
    return first_step_reaching(probes, target) if run.status == "ok" else None


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train the network of a cell once for each seed.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm` and any other setting of a training run.
    options : dict
        Further settings, and `target`: the accuracy of `steps_to_target`.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed: `outcome`, `steps_to_target` (None if never), and `first_epoch_val_loss`
        (None for a run that diverged).
    """
    rows = []
    for seed in seeds:
        settings = make_settings(seed, options, cell)
        splits = make_splits(data, settings, device)
        result = train(make_network(data, settings, device), splits, settings)
        rows.append(
            {
                "seed": seed,
                **outcome(result),
                "steps_to_target": steps_to(result, options["target"]),
                "first_epoch_val_loss": validation_loss_of_epoch(result, 1),
            }
        )
    return rows


def validation_loss_of_epoch(run: Run, epoch: int) -> float | None:
    """Validation loss at the end of an epoch; None for a run that diverged."""
    if run.status == "diverged":
        return None
    wanted = (epoch, "validation", "loss")
    return next(v for e, _, s, m, v in run.metrics if (e, s, m) == wanted)
