"""Figures of the arms that take the layer apart (S7)."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.claims.endpoints.regularization import GUESSING_LOSS
from bnstudy.report.look import BLUE, DASHED, ORANGE, Drawing, Layout, Look
from bnstudy.report.marks import dots, fit, rows
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import capitalized, counted, decimal, listed
from bnstudy.report.study_figures.tables import BATCH, LAYER, NONE
from bnstudy.report.words import (
    geometric_mean,
    guessing,
    in_order,
    seeds_of,
    significant,
)

ARMS = {
    "none": NONE,
    "noisy_none": Look("noise alone", ORANGE, DASHED, "s", filled=False),
    "batch": BATCH,
    "noisy_batch": Look("batch norm. with noise", BLUE, filled=False),
    "batch_no_affine": Look("no scale and shift", BLUE, marker="^"),
    "batch_detached": Look("detached statistics", BLUE, marker="v", filled=False),
    "layer": LAYER,
}
NOISE = "*Noise* shifts the distributions anew at every step."
ARM_NOTES = {
    "noisy_none": NOISE,
    "noisy_batch": NOISE,
    "batch_no_affine": "*No scale and shift* leaves out the learned gamma and beta.",
    "batch_detached": "*Detached statistics* stop the gradient through mean and variance.",
}
NAMES = {arm: look.name for arm, look in ARMS.items()}


def network_name(network: str) -> str:
    """`relu5` in words."""
    activation, depth = re.fullmatch(r"([a-z]+)(\d+)", network).groups()
    name = {"relu": "ReLU"}.get(activation, activation)
    return f"{depth} hidden layers, {name}"


def scored_mechanisms(table: pd.DataFrame) -> pd.DataFrame:
    """Runs with a column `value`, the validation loss, as the claims score it."""
    loss = table["val_loss"].astype(float).mask(scoring.diverged(table), GUESSING_LOSS)
    return table[["network", "arm", "seed", "status", "drift"]].assign(value=loss)


def mechanism_arms(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation loss of the arms that take batch normalization apart, a panel per network."""
    data = scored_mechanisms(table)
    networks, arms = in_order(data["network"], options["network"]), in_order(data["arm"], ARMS)
    if not networks or not arms:
        return None
    looks = {arm: ARMS[arm] for arm in arms}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "network", layout, cols=networks, x="validation loss (nats)",
            xscale="geometric", yscale=None, sharex=False, col_name=network_name,
            height=0.4 + 0.2 * len(arms), wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            for arm in in_order(part["arm"], ("none", "batch")):
                mean = geometric_mean(part[part["arm"] == arm]["value"])
                ax.axvline(mean, **ARMS[arm].line(lw=1, alpha=0.6))
            rows(ax, part, "value", "arm", looks, names=NAMES)
            fit(ax, "x", part["value"], log=True)
        return panels.finish()

    notes = " ".join(dict.fromkeys(ARM_NOTES[arm] for arm in arms if arm in ARM_NOTES))
    return Drawing(
        "mechanisms",
        " ".join(mechanism_finding(data, network, arms) for network in networks),
        "Validation loss (cross-entropy in nats, logarithmic scale, evaluation mode) after "
        f"{counted(options['epochs'], 'epoch')} of SGD at a learning rate of "
        f"{options['learning_rate']:g} and batch size {options['batch_size']}. "
        f"{notes + ' ' if notes else ''}Vertical lines repeat the means without and with batch "
        f"normalization. {seeds_of(data, geometric=True)}"
        f"{guessing(table[scoring.diverged(table)], ['network', 'arm', 'seed'])}",
        data,
        draw,
    )


def mechanism_finding(data: pd.DataFrame, network: str, arms: Sequence[str]) -> str:
    """Which arms end lowest and highest, and where the two main arms are."""
    some = data[data["network"] == network]
    means = some.groupby("arm")["value"].apply(geometric_mean).reindex(in_order(some["arm"], arms))

    def said(arms: Iterable[str]) -> str:
        return listed(f"{decimal(means[arm], 3)} ({NAMES[arm]})" for arm in arms)

    low, high = means.idxmin(), means.idxmax()
    rest = [arm for arm in ("none", "batch") if arm in means and arm not in (low, high)]
    return (
        f"{capitalized(network_name(network))}: the lowest mean loss is {said([low])}, the highest "
        f"{said([high])}" + (f"; for comparison {said(rest)}." if rest else ".")
    )


def mechanism_drift(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The loss against how far distributions shift, a panel per network."""
    data = scored_mechanisms(table).dropna(subset=["drift"])
    data = data[data["drift"] > 0]
    networks, arms = in_order(data["network"], options["network"]), in_order(data["arm"], ARMS)
    if not networks or not arms:
        return None
    looks = {arm: ARMS[arm] for arm in arms}
    centres = data.groupby(["network", "arm"])[["drift", "value"]].agg(geometric_mean)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "network", layout, cols=networks, x="drift (standard deviations)",
            y="validation loss (nats)", xscale="log", yscale="log", sharex=False, sharey=False,
            col_name=network_name, height=1.75, wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            for arm, runs in part.groupby("arm"):
                dots(ax, runs["drift"], runs["value"], ARMS[arm])
                ax.plot(*centres.loc[runs["network"].iat[0], arm], **ARMS[arm].point(6.5))
            fit(ax, "x", part["drift"], log=True)
            fit(ax, "y", part["value"], log=True)
        return panels.finish([look.handle(ls="none") for look in looks.values()])

    return Drawing(
        "mechanisms-drift",
        " ".join(drift_finding(centres.loc[network], network, arms) for network in networks),
        "Validation loss after training against the drift of the inputs of the last nonlinearity, "
        f"the mean distance over {options['drift_steps']} steps by which their distribution moves "
        "in training mode, noise included (both axes logarithmic). If less drift were what makes "
        "training fast, the marks would lie on a rising line. Small marks are seeds, large marks "
        f"geometric means ({counted(data['seed'].nunique(), 'seed')})."
        f"{guessing(table[scoring.diverged(table)], ['network', 'arm', 'seed'])}",
        data,
        draw,
    )


def drift_finding(means: pd.DataFrame, network: str, arms: Sequence[str]) -> str:
    """Drift and loss of the arms that the causal claim compares."""
    compared = in_order(arms, ("none", "batch", "noisy_batch")) or arms[:1]
    parts = (
        f"{significant(means['drift'][arm])} and {decimal(means['value'][arm], 3)} ({NAMES[arm]})"
        for arm in compared
        if arm in means.index
    )
    return f"{capitalized(network_name(network))}: drift and loss are {'; '.join(parts)}."
