"""Figures of the arms that take the layer apart (S7)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnstudy.report import words
from bnstudy.report.look import BLUE, DASHED, ORANGE, Drawing, Layout, Look
from bnstudy.report.marks import dots, fit, rows
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import counted, decimal
from bnstudy.report.study_figures.tables import BATCH, LAYER, NONE, name, per_look
from bnstudy.scoring import failed as failed_runs

ARMS = {
    "none": NONE,
    "noisy_none": Look("noise alone", ORANGE, DASHED, "s", filled=False),
    "batch": BATCH,
    "noisy_batch": Look("batch norm. + noise", BLUE, filled=False),
    "batch_no_affine": Look("no scale and shift", BLUE, marker="^"),
    "batch_detached": Look("detached statistics", BLUE, marker="v", filled=False),
    "layer": LAYER,
}
ARM_NOTES = {
    "noisy_none": " *Noise* shifts the distributions anew at every step.",
    "noisy_batch": " *Noise* shifts the distributions anew at every step.",
    "batch_no_affine": " *No scale and shift* leaves out the learned gamma and beta.",
    "batch_detached": " *Detached statistics* stop the gradient through mean and variance.",
}


def scored(table: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, Look], str]:
    """Validation losses as the claims score them, the looks of the arms, and who only guesses."""
    failed = failed_runs(table)
    data = table[["network", "arm", "seed", "status", "drift"]]
    data = data.assign(
        value=table["val_loss"].astype(float).mask(failed, np.log(table["n_classes"]))
    )
    data = data[data["arm"].isin(ARMS)]
    looks = {arm: ARMS[arm] for arm in words.in_order(data["arm"], ARMS)}
    return data, looks, words.guessing(table[failed], ["network", "arm", "seed"])


def loss(rows: pd.DataFrame) -> str:
    return decimal(words.geometric_mean(rows["value"]), 3)


def mechanism_arms(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation loss of the arms that take batch normalization apart, a panel per network."""
    data, looks, guessing = scored(table)
    networks = words.in_order(data["network"], options["network"])
    if not networks:
        return None

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "network", layout, cols=networks, x="validation loss (nats)",
            xscale="geometric", yscale=None, sharex=False, col_name=name,
            height=0.4 + 0.2 * len(looks), wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            for arm in words.in_order(part["arm"], ("none", "batch")):
                mean = words.geometric_mean(part[part["arm"] == arm]["value"])
                ax.axvline(mean, **looks[arm].line(lw=1, alpha=0.6))
            rows(ax, part, "value", "arm", looks)
            fit(ax, "x", part["value"], log=True)
        return panels.finish()

    def finding(network: str) -> str:
        some = data[data["network"] == network]
        means = some.groupby("arm")["value"].apply(words.geometric_mean)
        low, high = means.idxmin(), means.idxmax()
        lowest, highest = (
            per_look(some[some["arm"] == a], "arm", looks, loss) for a in (low, high)
        )
        others = some[some["arm"].isin({"none", "batch"} - {low, high})]
        rest = f"; for comparison {per_look(others, 'arm', looks, loss)}" if len(others) else ""
        return f"{name(network)}: the lowest mean loss is {lowest}, the highest {highest}{rest}."

    return Drawing(
        "mechanisms",
        " ".join(map(finding, networks)),
        "Validation loss (cross-entropy in nats, logarithmic scale, evaluation mode) after "
        f"{counted(options['epochs'], 'epoch')} of SGD at a learning rate of "
        f"{options['learning_rate']:g} and batch size {options['batch_size']}."
        f"{''.join(dict.fromkeys(ARM_NOTES.get(arm, '') for arm in looks))} Vertical lines repeat "
        "the means without and with batch normalization. "
        f"{words.seeds_of(data, geometric=True)}{guessing}",
        data,
        draw,
    )


def mechanism_drift(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The loss against how far distributions shift, a panel per network."""
    data, looks, guessing = scored(table)
    data = data[data["drift"] > 0]
    networks = words.in_order(data["network"], options["network"])
    if not networks:
        return None
    means = data.groupby(["network", "arm"])[["drift", "value"]].agg(words.geometric_mean)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "network", layout, cols=networks, x="drift (standard deviations)",
            y="validation loss (nats)", xscale="log", yscale="log", sharex=False, sharey=False,
            col_name=name, height=1.75, wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            for (network, arm), runs in part.groupby(["network", "arm"]):
                dots(ax, runs["drift"], runs["value"], looks[arm])
                ax.plot(*means.loc[network, arm], **looks[arm].point(6.5), zorder=3)
            fit(ax, "x", part["drift"], log=True)
            fit(ax, "y", part["value"], log=True)
        return panels.finish([look.handle(ls="none") for look in looks.values()])

    def both(rows: pd.DataFrame) -> str:
        return f"{words.significant(words.geometric_mean(rows['drift']))} and {loss(rows)}"

    compared = words.in_order(looks, ("none", "batch", "noisy_batch")) or [*looks][:1]
    compared = {arm: looks[arm] for arm in compared}
    return Drawing(
        "mechanisms-drift",
        " ".join(
            f"{name(network)}: drift and loss are {per_look(runs, 'arm', compared, both)}."
            for network, runs in data.groupby("network")
        ),
        "Validation loss after training against the drift of the inputs of the last nonlinearity, "
        f"the mean distance over {options['drift_steps']} steps by which their distribution moves "
        "in training mode, noise included (both axes logarithmic). If less drift were what makes "
        "training fast, the marks would lie on a rising line. Small marks are seeds, large marks "
        f"geometric means ({counted(data['seed'].nunique(), 'seed')}).{guessing}",
        data,
        draw,
    )
