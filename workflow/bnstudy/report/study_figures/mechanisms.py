"""Figures of the arms that take the layer apart (S7)."""

import re
from collections.abc import Iterable, Sequence

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.claims.endpoints.regularization import GUESSING_LOSS
from bnstudy.report.figures import Drawing, Layout, panels
from bnstudy.report.results import capitalized, counted, decimal, listed
from bnstudy.report.study_figures.looks import (
    BATCH,
    BLUE,
    DASHED,
    LAYER,
    NONE,
    ORANGE,
    Look,
    dot_row,
    dots,
    estimate,
    fit,
    guessing,
    in_order,
    legend,
    name_rows,
    seeds_of,
    significant,
)

ARMS = {
    "none": NONE,
    "noisy_none": Look("noise alone", ORANGE, DASHED, "s", filled=False),
    "batch": BATCH,
    "noisy_batch": Look("batch norm. with noise", BLUE, "solid", "o", filled=False),
    "batch_no_affine": Look("no scale and shift", BLUE, "solid", "^"),
    "batch_detached": Look("detached statistics", BLUE, "solid", "v", filled=False),
    "layer": LAYER,
}
ARM_NOTES = {
    "noisy_none": "*Noise* shifts the distributions anew at every step.",
    "noisy_batch": "*Noise* shifts the distributions anew at every step.",
    "batch_no_affine": "*No scale and shift* leaves out the learned gamma and beta.",
    "batch_detached": "*Detached statistics* stop the gradient through mean and variance.",
}


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
    networks = in_order(data["network"], options["network"])
    arms = in_order(data["arm"], ARMS)
    if not networks or not arms:
        return None

    def draw(layout: Layout) -> Figure:
        shape = (len(networks), 1) if layout.narrow else (1, len(networks))
        figure, axes = panels(
            *shape, layout, height=0.4 + 0.2 * len(arms), sharex=False, sharey=True
        )
        for ax, network in zip(axes.flat, networks, strict=True):
            some = data[data["network"] == network]
            for arm in in_order(some["arm"], ("none", "batch")):
                mean, *_ = estimate(some[some["arm"] == arm]["value"], log=True)
                ax.axvline(mean, color=ARMS[arm].color, ls=ARMS[arm].dash, lw=1, alpha=0.6)
            for arm in in_order(some["arm"], arms):
                values = some[some["arm"] == arm]["value"]
                dot_row(ax, arms.index(arm), values, ARMS[arm], log=True)
            fit(ax, "x", some["value"], log=True)
            name_rows(ax, [ARMS[arm].name for arm in arms])
            ax.set_title(network_name(network))
        for ax in axes[-1] if not layout.narrow else axes[-1:, 0]:
            ax.set_xlabel("validation loss (nats)")
        return figure

    return Drawing(
        "mechanisms",
        " ".join(mechanism_finding(data, network, arms) for network in networks),
        f"Validation loss (cross-entropy in nats, logarithmic scale, evaluation mode) after "
        f"{counted(options['epochs'], 'epoch')} of SGD at a learning rate of "
        f"{options['learning_rate']:g} and batch size {options['batch_size']}. "
        f"{arm_notes(arms)}Vertical lines repeat the means without and with batch "
        f"normalization. {seeds_of(data, geometric=True)}"
        f"{guessing(table[scoring.diverged(table)], ['network', 'arm', 'seed'])}",
        data,
        draw,
    )


def arm_notes(arms: Iterable[str]) -> str:
    """What the arms are whose name does not say it, each sentence once, a space behind it."""
    return "".join(
        f"{text} " for text in dict.fromkeys(ARM_NOTES[arm] for arm in arms if arm in ARM_NOTES)
    )


def mechanism_finding(data: pd.DataFrame, network: str, arms: Sequence[str]) -> str:
    """Which arms end lowest and highest, and where the two main arms are."""
    some = data[data["network"] == network]
    there = in_order(some["arm"], arms)
    means = {arm: estimate(some[some["arm"] == arm]["value"], log=True)[0] for arm in there}
    low, high = min(means, key=means.get), max(means, key=means.get)
    others = [arm for arm in ("none", "batch") if arm in means and arm not in (low, high)]
    text = (
        f"{capitalized(network_name(network))}: the lowest mean loss is {decimal(means[low], 3)} "
        f"({ARMS[low].name}), the highest {decimal(means[high], 3)} ({ARMS[high].name})"
    )
    rest = listed(f"{decimal(means[arm], 3)} ({ARMS[arm].name})" for arm in others)
    return text + (f"; for comparison {rest}." if rest else ".")


def mechanism_drift(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The loss against how far distributions shift, a panel per network."""
    data = scored_mechanisms(table).dropna(subset=["drift"])
    data = data[data["drift"] > 0]
    networks = in_order(data["network"], options["network"])
    arms = in_order(data["arm"], ARMS)
    if not networks or not arms:
        return None

    def draw(layout: Layout) -> Figure:
        shape = (len(networks), 1) if layout.narrow else (1, len(networks))
        figure, axes = panels(*shape, layout, height=1.75, sharex=False, sharey=False)
        for ax, network in zip(axes.flat, networks, strict=True):
            some = data[data["network"] == network]
            for arm in arms:
                look, runs = ARMS[arm], some[some["arm"] == arm]
                dots(ax, runs["drift"], runs["value"], look.color)
                if len(runs):
                    centre = [estimate(runs[c], log=True)[0] for c in ("drift", "value")]
                    ax.plot(*centre, **look.point(6.5), zorder=3)
            fit(ax, "x", some["drift"], log=True)
            fit(ax, "y", some["value"], log=True)
            ax.set_title(network_name(network))
        for ax in axes[:, 0]:
            ax.set_ylabel("validation loss (nats)")
        for ax in axes[-1]:
            ax.set_xlabel("drift (standard deviations)")
        legend(figure, [ARMS[arm].handle(line=False) for arm in arms], layout, wide=4, narrow=2)
        return figure

    return Drawing(
        "mechanisms-drift",
        " ".join(drift_finding(data, network, arms) for network in networks),
        "Validation loss after training against the drift of the inputs of the last nonlinearity, "
        f"the mean distance over {options['drift_steps']} steps by which their distribution moves "
        "in training mode, noise included (both axes logarithmic). If less drift were what makes "
        "training fast, the marks would lie on a rising line. Small marks are seeds, large marks "
        f"geometric means ({counted(data['seed'].nunique(), 'seed')})."
        f"{guessing(table[scoring.diverged(table)], ['network', 'arm', 'seed'])}",
        data,
        draw,
    )


def drift_finding(data: pd.DataFrame, network: str, arms: Sequence[str]) -> str:
    """Drift and loss of the arms that the causal claim compares."""
    some = data[data["network"] == network]
    parts = []
    for arm in in_order(arms, ("none", "batch", "noisy_batch")) or arms[:1]:
        runs = some[some["arm"] == arm]
        if len(runs):
            drift, loss = (estimate(runs[c], log=True)[0] for c in ("drift", "value"))
            parts.append(f"{significant(drift)} and {decimal(loss, 3)} ({ARMS[arm].name})")
    return f"{capitalized(network_name(network))}: drift and loss are {'; '.join(parts)}."
