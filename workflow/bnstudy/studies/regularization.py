"""S10: does batch normalization regularize? Settles B10, B11 and B12 (lines 69-71, 346, 379, 955).

All training images would hardly be overfitted, so few are used, for many epochs. Arms, which share
initial weights and the order of images:

- `none`, `batch`: the contrast of B10a.
- `ghost_<n>`: batch normalization over groups of n images (`networks.layers.Ghost`), the smaller the
  noisier; and `population`, over the whole training set at every step (`PopulationBatchNorm`), no
  noise at all. With `batch` they are the doses of B10b.
- `none_dropout`, `batch_dropout`: dropout after each hidden activation (Linear, BN, ReLU, dropout);
  with `none` and `batch` the two by two of B11 and B12.
- `dropout_before`: Linear, dropout, BN, ReLU; against `batch_dropout` the question of order.

Metrics, once an epoch and in evaluation mode: `train_loss` and `val_loss` (mean cross-entropy in
nats, clean: the same weights for both) and accuracies (fractions); after the last epoch also on the
test images. The generalization gap is val_loss - train_loss, read where train_loss is the same.
`variance_shift_<k>` is the mean over the units of BN layer k of (variance of their inputs in
evaluation mode, over the training images) / running variance: 1 where training and inference agree
(Li et al. 2019, "Understanding the disharmony between dropout and batch normalization").
"""

import torch
from torch import Tensor, nn

from bnstudy.checks import check_batches
from bnstudy.data.prepared import PreparedData
from bnstudy.networks.mlp import build_model
from bnstudy.settings import Settings
from bnstudy.studies.ghost import batch_norms
from bnstudy.training.inputs import Split, make_splits, stream_generator
from bnstudy.training.loop import Run, train

NEVER = 10**9  # steps between probes: the ends of epochs are all that is looked at
N_HIDDEN = 2


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train one arm.

    Parameters
    ----------
    cell : dict
        `arm`: see the module.
    options : dict
        `train_images`, `validation_images`, `batch_size`, `epochs`, `learning_rate` of Adam and
        `dropout`, the probability of the arms that have it.

    Returns
    -------
    list of dict
        A row per seed and epoch. Test results and variance shifts are in the row of the last epoch
        and None elsewhere; the losses of a diverged run are None from where it broke off.
    """
    return [row for seed in seeds for row in train_arm(data, cell["arm"], options, seed, device)]


def train_arm(
    data: PreparedData, arm: str, options: dict, seed: int, device: torch.device
) -> list[dict]:
    """Train the network of an arm; a row per epoch."""
    settings = Settings(
        norm="none" if arm.startswith("none") else "batch",
        batch_size=options["batch_size"],
        seed=seed,
        epochs=options["epochs"],
        learning_rate=options["learning_rate"],
        dropout=options["dropout"] if arm.endswith("_dropout") else 0.0,
        probe_every=NEVER,
    )
    splits = make_splits(data, settings, device)
    splits["train"] = splits["train"].first(options["train_images"])
    splits["validation"] = splits["validation"].first(options["validation_images"])
    check_batches(len(splits["train"]), settings)
    model = make_network(data, arm, options["dropout"], settings, splits["train"])
    result = train(model, splits, settings)
    rows = path(result, settings)
    shifts = [None] * N_HIDDEN
    if result.status == "ok" and batch_norms(model):
        shifts = variance_shifts(model, splits["train"])
    rows[-1] |= {
        "test_loss": result.last("test", "loss"),
        "test_accuracy": result.last("test", "accuracy"),
    } | {f"variance_shift_{k}": shift for k, shift in enumerate(shifts, start=1)}
    return rows


def make_network(
    data: PreparedData, arm: str, dropout: float, settings: Settings, train_split: Split
) -> nn.Module:
    """The network of an arm, on the device of the training images."""
    kind, _, group_size = arm.partition("_")
    norms = {"none_dropout": "none", "batch_dropout": "batch", "dropout_before": "batch"}
    before = arm == "dropout_before"
    return build_model(
        train_split.pixels.shape[1],
        len(data.classes),
        norm=f"ghost:{group_size}" if kind == "ghost" else norms.get(arm, arm),
        dropout=dropout if before else settings.dropout,
        dropout_place="before" if before else "after",
        generator=stream_generator(settings.seed, "init"),
    ).to(train_split.pixels.device)


def path(result: Run, settings: Settings) -> list[dict]:
    """A row per epoch with what was recorded at its end."""
    recorded = {(epoch, split, metric): value for epoch, _, split, metric, value in result.metrics}
    columns = {
        "train_loss": ("train_subset", "loss"),
        "train_accuracy": ("train_subset", "accuracy"),
        "val_loss": ("validation", "loss"),
        "val_accuracy": ("validation", "accuracy"),
    }
    steps_per_epoch = result.n_steps // settings.epochs
    empty = ("test_loss", "test_accuracy", *(f"variance_shift_{k + 1}" for k in range(N_HIDDEN)))
    return [
        {"seed": settings.seed, "status": result.status}
        | {"epoch": epoch, "step": epoch * steps_per_epoch}
        | {name: recorded.get((epoch, *key)) for name, key in columns.items()}
        | dict.fromkeys(empty)
        for epoch in range(1, settings.epochs + 1)
    ]


def variance_shifts(model: nn.Module, split: Split) -> list[float | None]:
    """Mean over units of (variance of the input in evaluation mode) / running variance, by layer.

    None for a layer whose units all have a running variance of zero.
    """
    inputs_of: dict[nn.Module, Tensor] = {}
    layers = batch_norms(model)
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: inputs_of.update({layer: inputs[0]}))
        for layer in layers
    ]
    was_training = model.training
    with torch.no_grad():
        model.eval()(split.inputs)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    shifts: list[float | None] = []
    for layer in layers:
        alive = layer.running_var > 0
        ratios = inputs_of[layer].var(0)[alive] / layer.running_var[alive]
        shifts.append(ratios.double().mean().item() if alive.any() else None)
    return shifts
