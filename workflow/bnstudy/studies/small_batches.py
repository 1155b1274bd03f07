"""S8: does batch normalization need large batches? Settles claim L1 (lines 384 and 960).

Two designs, told apart by the column `design`:

- `groups`: the gradient comes from the same large batch everywhere, and only the number of images
  that are normalized together changes (Hoffer et al. 2017, `networks.layers.Ghost`). Networks with
  layer normalization and without normalization are the reference.
- `batches`: small batches as they are, on fewer images. They disturb plain stochastic gradient
  descent as well, which is why networks without batch statistics run beside.

Metrics, on the whole validation split at the end: mean cross-entropy `val_loss` (nats) and accuracy
`val_accuracy` (fraction), by the statistics that batch normalization is evaluated with:

- `running`: PyTorch's running averages, the ordinary evaluation mode; for networks without batch
  normalization, ordinary evaluation.
- `precise`: mean and variance over training images under the final weights (Wu and Johnson 2021).
- `batch`: the statistics of groups of validation images as large as in training.

`running` minus `precise` is the share of the evaluation statistics alone (Singh and Shrivastava
2019, EvalNorm); what is left of the error was lost in training.
"""

import torch
from torch import nn

from bnstudy.checks import check_batches
from bnstudy.data.prepared import PreparedData
from bnstudy.networks.mlp import build_model
from bnstudy.settings import Settings
from bnstudy.studies.ghost import (
    batch_norms,
    evaluate_with_batch_statistics,
    with_precise_statistics,
)
from bnstudy.training.inputs import Split, make_splits, stream_generator
from bnstudy.training.loop import evaluate, train

NEVER = 10**9  # steps between probes: the end of training is all that is looked at


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train the networks of one kind of normalization.

    Parameters
    ----------
    cell : dict
        `norm`: ghost, batch, layer or none. `ghost` is in the first design only, `batch` in the
        second only (a group as large as the batch is `batch`), the others are in both.
    options : dict
        `group_sizes`, `batch_size` and `epochs` of the first design; `small_batch_sizes`,
        `small_images` (training images) and `small_epochs` of the second; `learning_rate` of
        Adam; `statistics_images`, how many training images precise statistics are taken over.

    Returns
    -------
    list of dict
        A row per seed, network and kind of statistics; `group_size` is the number of images that
        are normalized together, None without batch statistics. Loss and accuracy of a diverged run
        are None.
    """
    norm = cell["norm"]
    rows = []
    for seed in seeds:
        splits = make_splits(data, Settings(norm=norm, batch_size=1, seed=seed), device)
        if norm != "batch":
            for group_size in options["group_sizes"] if norm == "ghost" else [None]:
                size, epochs = options["batch_size"], options["epochs"]
                rows += train_and_evaluate(
                    data, splits, "groups", norm, size, group_size, epochs, seed, options
                )
        if norm != "ghost":
            few = splits | {"train": splits["train"].first(options["small_images"])}
            for size in options["small_batch_sizes"]:
                group_size = size if norm == "batch" else None
                epochs = options["small_epochs"]
                rows += train_and_evaluate(
                    data, few, "batches", norm, size, group_size, epochs, seed, options
                )
    return rows


def train_and_evaluate(
    data: PreparedData,
    splits: dict[str, Split],
    design: str,
    norm: str,
    batch_size: int,
    group_size: int | None,
    epochs: int,
    seed: int,
    options: dict,
) -> list[dict]:
    """Train one network; a row for each kind of statistics it can be evaluated with."""
    settings = Settings(
        norm=norm,
        batch_size=batch_size,
        seed=seed,
        epochs=epochs,
        learning_rate=options["learning_rate"],
        probe_every=NEVER,
    )
    check_batches(len(splits["train"]), settings)
    model = build_model(
        splits["train"].pixels.shape[1],
        len(data.classes),
        norm=f"ghost:{group_size}" if norm == "ghost" else norm,
        generator=stream_generator(seed, "init"),
    ).to(splits["train"].pixels.device)
    status = train(model, splits, settings).status
    images = splits["train"].first(options["statistics_images"])
    results = evaluations(model, splits["validation"], images, group_size)
    return [
        {
            "seed": seed,
            "design": design,
            "batch_size": batch_size,
            "group_size": group_size,
            "status": status,
            "statistics": statistics,
            "val_loss": loss if status == "ok" else None,
            "val_accuracy": accuracy if status == "ok" else None,
        }
        for statistics, (loss, accuracy) in results.items()
    ]


def evaluations(
    model: nn.Module, validation: Split, images: Split, group_size: int | None
) -> dict[str, tuple[float, float]]:
    """Loss and accuracy on the validation split by the kind of statistics; see the module."""
    results = {"running": evaluate(model, validation)}
    if batch_norms(model):
        results["precise"] = evaluate(with_precise_statistics(model, images), validation)
        results["batch"] = evaluate_with_batch_statistics(model, validation, group_size)
    return results
