"""Endpoints of the studies of why batch normalization works, and of the paper's own first figure."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import POINTS, Endpoint, Exact, accuracy, mean_over_cells, page_test, scored, wide
from bnstudy.scoring import chance

NETWORKS = {"relu2": "2 ReLU layers", "relu5": "5 ReLU layers", "sigmoid3": "3 sigmoid layers"}


def landscape(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """B1a, B1b and B9, averaged over networks, the cells.

    By construction the mean of a normalized unit hardly moves in training mode, so `drift_eval`, `wasserstein` and
    `wasserstein_eval` stand beside `drift` (B1a). `smoothness` (B9), on `options["smoothness_networks"]`, needs that
    the cosine of the gradients along the step agrees.
    """
    drifts = ("drift", "drift_eval", "wasserstein", "wasserstein_eval")
    found = {metric: compare(table, metric) for metric in drifts}
    mean = {metric: endpoint.effect.mean() for metric, endpoint in found.items()}
    drift_note = (
        f"In evaluation mode {mean['drift_eval']:+.2f} decades; for the whole distribution "
        f"(Wasserstein-1) {mean['wasserstein']:+.2f} in training and "
        f"{mean['wasserstein_eval']:+.2f} in evaluation mode."
    )
    relative = compare(table, "ics_relative_shift")
    by_network = ", ".join(f"{d.mean():+.2f} ({name})" for name, d in relative.cells.items())
    shift_note = (
        f"As relative change of the gradient, none over batch: {relative.effect.mean():+.2f} decades, "
        f"which is the mean of {by_network}."
    )
    smooth = table[table["network"].isin(options["smoothness_networks"])]
    return found | {
        "drift": replace(found["drift"], note=drift_note),
        "covariate_shift": compare(table, "ics_cosine", note=shift_note),
        "relative_covariate_shift": relative,
        "smoothness": compare(smooth, "beta", conditions={"cosine": compare(smooth, "cosine")}),
        "loss_range": compare(smooth, "loss_range"),
    }


def compare(table: pd.DataFrame, metric: str, **rest: object) -> Endpoint:
    """Mean of a metric over steps and layers: log10, none minus batch; of cosines batch minus none.

    Probes without a finite value (and zeros on a log scale) are left out of the means. A seed that is left with none in
    one arm counts as no difference.
    """
    rows = table[table["metric"] == metric]
    cosine = metric.endswith("cosine")
    scaled = rows["value"] if cosine else np.log10(rows["value"].where(rows["value"] > 0))
    means = scaled.groupby([rows["seed"], rows["norm"], rows["network"]]).mean()
    means = means.unstack(["norm", "network"])
    first, second = ("batch", "none") if cosine else ("none", "batch")
    difference = (means[first] - means[second]).fillna(0.0).sort_index(axis=1)
    return over_networks(difference, "cosine" if cosine else "decades", **rest)


def over_networks(difference: pd.DataFrame, unit: str = "ln ratio", **rest: object) -> Endpoint:
    """An endpoint from differences by seed (rows) and network (columns)."""
    cells = dict(difference.rename(columns=NETWORKS))
    return Endpoint(difference.mean(axis=1), unit, cells, **rest)


def mechanisms(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """B2, M3b and M10 from the arms that take batch normalization apart, averaged over networks, the cells.

    `causal` (B2, batch normalization helps because it reduces covariate shift) is how far noise that restores the shift
    brings the ln loss of batch beyond the middle between batch and none. If the claim is right, the noise takes the
    benefit away, and this is half the benefit or more; if it is wrong, the benefit stays, and it is half the benefit
    below zero. Nothing is decided unless there is a `benefit`, and a `shift` larger than without normalization (log10
    of the drift). Since noise may do harm by itself, the claim is supported only if `noise_alone` costs the plain
    network less than half the benefit.
    """
    ln_loss = wide(table, scored(table, "ln_val_loss"), "arm", "network")
    drift = wide(table, np.log10(table["drift"]), "arm", "network")
    growth = wide(table, np.log(table["bias_end"] / table["bias_start"]), "arm", "network")
    benefit = ln_loss["none"] - ln_loss["batch"]
    alone = ln_loss["noisy_none"] - ln_loss["none"]
    kept = (ln_loss["none"] - ln_loss["noisy_batch"]).mean() / benefit.mean()
    told = ", ".join(f"{share:.0%} ({NETWORKS.get(n, n)})" for n, share in kept.items())
    detached, batch = (math.exp(growth[a].mean().mean()) for a in ("batch_detached", "batch"))
    return {
        "causal": over_networks(
            ln_loss["noisy_batch"] - (ln_loss["batch"] + ln_loss["none"]) / 2,
            conditions={"noise_alone": over_networks(benefit / 2 - alone)},
            validity={
                "benefit": over_networks(benefit),
                "shift": over_networks(drift["noisy_batch"] - drift["none"], "decades"),
            },
            note=f"Batch normalization with noise keeps {told} of the gain in ln loss that batch "
            "normalization has over none.",
        ),
        "affine": over_networks(ln_loss["batch_no_affine"] - ln_loss["batch"]),
        "statistics_gradient": over_networks(
            ln_loss["batch_detached"] - ln_loss["batch"],
            note=f"The norm of the biases grows by a factor of {detached:.2f} with detached "
            f"statistics and {batch:.2f} with batch normalization.",
        ),
        "noise_without_batch": over_networks(alone),
    }


RELATIVE = "share of the validation loss"
# The size of a group in which statistics are taken, by arm, from the noisiest on.
DOSES = {"ghost_4": 4, "ghost_10": 10, "ghost_25": 25, "batch": 50}


def regularization(table: pd.DataFrame, options: dict) -> dict[str, Endpoint]:
    """S10 (B10, B11, B12): the generalization gap, validation minus clean training loss, and accuracy.

    Gaps are read where the clean training loss has come down to `matched_train_loss`, and compared as a share of the
    validation loss of the arm that the claim says is worse.
    """
    target = options["matched_train_loss"]
    gaps, _ = matched_gaps(table, target)
    last = table[table["epoch"] == table["epoch"].max()]
    test = wide(last, accuracy(last, "test_accuracy"), "arm")
    alone, batch, both = test["none_dropout"], test["batch"], test["batch_dropout"]
    gain, gain_with_batch = alone - test["none"], both - batch
    layers = {}  # how much more dropout before batch normalization shifts the variances of its inputs
    for column in last.filter(like="variance_shift_"):
        shifts = np.log(wide(last, column, "arm")).abs().fillna(0)
        layers[f"layer {column[-1]}"] = shifts["dropout_before"] - shifts["batch_dropout"]
    note = (
        f"Dropout changes test accuracy by {gain.mean():+.2f} points without and "
        f"{gain_with_batch.mean():+.2f} with batch normalization."
    )
    alongside = {
        "the comparison with batch normalization alone": gain_with_batch,
        "the comparison with dropout alone": both - alone,
    }
    return {
        "gap": gap(gaps, target, last, test),
        "noise": noise(gaps, target, test),
        "dropout_need": Endpoint(gain - gain_with_batch, POINTS, note=note),
        "alongside_dropout": Endpoint(both - np.maximum(batch, alone), POINTS, alongside),
        "dropout_order": Endpoint(both - test["dropout_before"], POINTS),
        "variance_shift": Endpoint(pd.DataFrame(layers).mean(axis=1), "ln ratio", layers),
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

    Of the losses of each epoch, shape (epochs,). Between two epochs the validation loss is linear in ln(training loss).
    A run that never gets there has the gap of its last epoch, one that is there after the first epoch has that of the
    first.
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


def gap(gaps: pd.DataFrame, target: float, last: pd.DataFrame, test: pd.DataFrame) -> Endpoint:
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
    return Endpoint(matched, RELATIVE, cells, note=note)


def noise(gaps: pd.DataFrame, target: float, test: pd.DataFrame) -> Endpoint:
    """B10b."""
    noisiest, *_, quietest = DOSES
    less = {arm: reduction(gaps, quietest, arm, target) for arm in DOSES if arm != quietest}
    effect, accuracies = less[noisiest], test.mean()
    conditions = {
        "trend": Endpoint(effect, RELATIVE, p=page_test(gaps[list(DOSES)])),
        "no_noise": Endpoint(reduction(gaps, "population", quietest, target), RELATIVE),
    }
    note = (
        f"Final test accuracy is {accuracies[noisiest]:.2f} % with groups of {DOSES[noisiest]}, "
        f"{accuracies[quietest]:.2f} % with groups of {DOSES[quietest]} and "
        f"{accuracies['population']:.2f} % without noise."
    )
    cells = {f"groups of {DOSES[arm]}": one for arm, one in less.items()}
    return Endpoint(effect, RELATIVE, cells, conditions=conditions, note=note)


def reduction(gaps: pd.DataFrame, worse: str, better: str, target: float) -> pd.Series:
    """What the gap is smaller by, as a share of the validation loss (gap plus training loss)."""
    return (gaps[worse] - gaps[better]) / (gaps[worse] + target)


def sigmoid_mnist(table: pd.DataFrame, options: dict) -> dict[str, Endpoint | Exact]:
    """H6, figure 1 of Ioffe and Szegedy in numbers: means over learning rates, which it does not give.

    Checkpoints count after the start, drift after the first interval, in which the running statistics leave their
    initial values. A checkpoint that a diverged run did not reach counts as guessing.
    """
    shares = 100 * curves(table, "accuracy").fillna(chance(table["n_classes"].max()))
    gain = (shares["batch"] - shares["none"]).iloc[1:]
    drift = np.log10(curves(table, "drift").iloc[2:].mean())
    means = gain.T.groupby("learning_rate").mean().stack()  # at every checkpoint, over the seeds
    below = int((means <= 0).sum())
    rate, step = means.idxmin()
    note = (
        f"Above at {len(means) - below} of {len(means)} checkpoints; the smallest difference "
        f"is {means.min():+.2f} points, at learning rate {rate:g} and step {step}."
    )

    def over_rates(effects: pd.Series, unit: str) -> Endpoint:
        cells = effects.unstack("learning_rate").rename(columns="learning rate {:g}".format)
        return mean_over_cells(cells, unit)

    return {
        "above_throughout": Exact(below == 0, below / len(means), 0.0, note),
        "accuracy_along_the_way": over_rates(gain.mean(), POINTS),
        "final_accuracy": over_rates(gain.iloc[-1], POINTS),
        "drift_decades": over_rates(drift["none"] - drift["batch"], "decades"),
    }


def curves(table: pd.DataFrame, column: str) -> pd.DataFrame:
    """Values by step (rows), norm, learning rate and seed (columns)."""
    columns = ["norm", "learning_rate", "seed"]
    return table.pivot(index="step", columns=columns, values=column).astype(float)
