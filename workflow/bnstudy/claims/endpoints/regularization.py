"""Endpoints of S10: claims B10 (effect and mechanism), B11 and B12."""

import math

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import Endpoint, accuracy, page_test, wide

POINTS = "percentage points"
RELATIVE = "share of the validation loss"
# The size of a group in which statistics are taken, by arm, from the noisiest on.
DOSES = {"ghost_4": 4, "ghost_10": 10, "ghost_25": 25, "batch": 50}


def endpoints(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """Effects on the generalization gap, validation minus clean training loss, and on accuracy.

    Gaps are read where the clean training loss has come down to `matched_train_loss`, and compared
    as a share of the validation loss of the arm that the claim says is worse.
    """
    target = options["matched_train_loss"]
    gaps, reached = matched_gaps(table, target)
    last = table[table["epoch"] == table["epoch"].max()]
    test = wide(last, accuracy(last, "test_accuracy"), "arm")
    alone, batch, both = test["none_dropout"], test["batch"], test["batch_dropout"]
    gain, gain_with_batch = alone - test["none"], both - batch
    return {
        "gap": gap(gaps, reached, target, last, test),
        "noise": noise(gaps, reached, target, test),
        "dropout_need": Endpoint(
            gain - gain_with_batch,
            POINTS,
            note=f"Dropout changes test accuracy by {gain.mean():+.2f} points without and "
            f"{gain_with_batch.mean():+.2f} with batch normalization.",
        ),
        "alongside_dropout": Endpoint(
            both - np.maximum(batch, alone),
            POINTS,
            {
                "the comparison with batch normalization alone": gain_with_batch,
                "the comparison with dropout alone": both - alone,
            },
        ),
        "dropout_order": Endpoint(both - test["dropout_before"], POINTS),
        "variance_shift": variance_shift(last),
    }


def matched_gaps(table: pd.DataFrame, target: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Gap at a training loss of `target`, and whether it was reached: rows seeds, columns arms."""
    gaps, reached = {}, {}
    for key, epochs in table.sort_values("epoch").groupby(["seed", "arm"]):
        if (epochs["status"] == "diverged").any():
            gaps[key], reached[key] = np.log(epochs["n_classes"].iloc[0]) - target, False
        else:
            gaps[key], reached[key] = matched_gap(
                epochs["train_loss"].to_numpy(), epochs["val_loss"].to_numpy(), target
            )
    return pd.Series(gaps).unstack(), pd.Series(reached).unstack()


def matched_gap(train: np.ndarray, validation: np.ndarray, target: float) -> tuple[float, bool]:
    """Validation minus training loss (nats) where the training loss first comes down to `target`; and if it does.

    Of the losses of each epoch, shape (epochs,). Between two epochs the validation loss is linear in
    ln(training loss). A run that never gets there has the gap of its last epoch, one that is there after
    the first epoch has that of the first.
    """
    below = np.flatnonzero(train <= target)
    if len(below) == 0:
        return float(validation[-1] - train[-1]), False
    after = below[0]
    if after == 0:
        return float(validation[0] - train[0]), True
    before = after - 1
    share = math.log(train[before] / target) / math.log(train[before] / train[after])
    return float(validation[before] * (1 - share) + validation[after] * share - target), True


def gap(
    gaps: pd.DataFrame, reached: pd.DataFrame, target: float, last: pd.DataFrame, test: pd.DataFrame
) -> Endpoint:
    """B10a."""
    matched = reduction(gaps, "none", "batch", target)
    validation = wide(last, "val_loss", "arm").fillna(np.log(last["n_classes"].max()))
    final = validation - wide(last, "train_loss", "arm").fillna(0)
    cells = {
        f"training loss {target:g}": matched,
        "end of training": (final["none"] - final["batch"]) / validation["none"],
    }
    note = (
        f"At a training loss of {target:g} the gap is {gaps['none'].mean():.3f} nats without "
        f"and {gaps['batch'].mean():.3f} with batch normalization; at the end test accuracy is "
        f"{test['none'].mean():.2f} and {test['batch'].mean():.2f} %."
    )
    censored = missed(reached, ["none", "batch"])
    return Endpoint(matched, RELATIVE, cells, censored=censored, note=note)


def noise(gaps: pd.DataFrame, reached: pd.DataFrame, target: float, test: pd.DataFrame) -> Endpoint:
    """B10b."""
    noisiest, *_, quietest = DOSES
    cells = {
        f"groups of {size}": reduction(gaps, quietest, arm, target)
        for arm, size in DOSES.items()
        if arm != quietest
    }
    effect = cells[f"groups of {DOSES[noisiest]}"]
    no_noise = reduction(gaps, "population", quietest, target)
    accuracies = test.mean()
    return Endpoint(
        effect,
        RELATIVE,
        cells,
        censored=missed(reached, [*DOSES, "population"]),
        conditions={
            "trend": Endpoint(effect, RELATIVE, p=page_test(gaps[list(DOSES)])),
            "no_noise": Endpoint(no_noise, RELATIVE),
        },
        note="Final test accuracy is "
        f"{accuracies[noisiest]:.2f} % with groups of {DOSES[noisiest]}, "
        f"{accuracies[quietest]:.2f} % with groups of {DOSES[quietest]} and "
        f"{accuracies['population']:.2f} % without noise.",
    )


def reduction(gaps: pd.DataFrame, worse: str, better: str, target: float) -> pd.Series:
    """What the gap is smaller by, as a share of the validation loss (gap plus training loss)."""
    return (gaps[worse] - gaps[better]) / (gaps[worse] + target)


def missed(reached: pd.DataFrame, arms: list[str]) -> int:
    """How many runs of these arms never came down to the training loss."""
    return int((~reached[arms].astype(bool)).to_numpy().sum())


def variance_shift(last: pd.DataFrame) -> Endpoint:
    """How much more dropout before batch normalization shifts the variances of its inputs."""
    layers = {}
    for column in last.filter(like="variance_shift_"):
        shifts = np.log(wide(last, column, "arm")).abs().fillna(0)
        layers[f"layer {column[-1]}"] = shifts["dropout_before"] - shifts["batch_dropout"]
    return Endpoint(pd.DataFrame(layers).mean(axis=1), "ln ratio", layers)
