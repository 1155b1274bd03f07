"""Figures of regularization and dropout (S10)."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from bnstudy.claims.endpoints.regularization import matched_gaps
from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.report import words
from bnstudy.report.look import (
    BLUE,
    DASH_DOT,
    DOTTED,
    GREEN,
    MUTED,
    ORANGE,
    PINK,
    RED,
    RULE,
    SKY,
    Drawing,
    Look,
    thinned,
)
from bnstudy.report.marks import note
from bnstudy.report.measures import counted
from bnstudy.report.plots import curves, figure, rows
from bnstudy.report.study_figures.tables import BATCH, NONE
from bnstudy.scoring import failed

PATHS = {
    "none": NONE,
    "batch": BATCH,
    "ghost_4": Look("batch norm. of groups of 4", RED, DASH_DOT, "^"),
    "population": Look("batch norm. of all images", PINK, DOTTED, "D"),
}


def overfitting_path(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation against training loss over the epochs."""
    found = table[(table["status"] == "ok") & (table[["train_loss", "val_loss"]] > 0).all(axis=1)]
    found = found[found["arm"].isin(PATHS)]
    if found.empty:
        return None
    data = found.groupby(["arm", "epoch"])[["train_loss", "val_loss"]].agg(words.geometric_mean)
    data, target = data.reset_index(), options["matched_train_loss"]

    def mark(ax: Axes, part: pd.DataFrame, looks: dict) -> None:
        for arm, look in looks.items():
            for _, run in thinned(part[part["arm"] == arm], "epoch", points=16).groupby("seed"):
                ax.plot(run["train_loss"], run["val_loss"], color=look.color, lw=0.5, alpha=0.25)
            path = thinned(data[data["arm"] == arm], "epoch", points=24)
            ends = look.point(4.5) | {"ls": look.linestyle, "markevery": [0, len(path) - 1]}
            ax.plot(path["train_loss"], path["val_loss"], zorder=3, **ends)
        ax.autoscale_view()
        ax.autoscale(enable=False)
        ax.axline((1, 1), (2, 2), color=MUTED, lw=0.8)
        ax.axvline(target, **RULE)
        note(ax, f"compared at {target:g}", (target, 1), (3, -2), "data axes", va="top")
        ax.invert_xaxis()

    return figure(
        "overfitting",
        found.assign(value=found["val_loss"]),
        f"The way through training on {options['train_images']:,} images: validation against "
        "training loss of the same weights, both in evaluation mode and in nats (logarithmic "
        "scales), from the first epoch on the left to the last, "
        f"{options['epochs']}, on the right. On the thin diagonal they are equal. Thick lines are "
        f"geometric means, thin lines the {words.seeds_in(found)}; not every epoch is drawn."
        f"{words.left_out(table[table['arm'].isin(PATHS)], ['arm', 'seed'])}",
        mark, hue="arm", looks=PATHS, x="epoch", other="training loss, evaluation mode (nats)",
        value="validation loss (nats)", xscale="geometric", scale="geometric", height=2.7, width=5.2,
        data=data,
    )  # fmt: skip


def noise_doses(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Gap and accuracy against how many images are normalized together."""
    sizes = {"batch": options["batch_size"], "population": options["train_images"]}
    for arm in table["arm"].unique():
        if arm.startswith("ghost_"):
            sizes[arm] = int(arm.removeprefix("ghost_"))
    target = options["matched_train_loss"]
    shown = table[table["arm"].isin([*sizes, "none"])]
    if not shown["arm"].isin(sizes).any():
        return None
    matched, reached = matched_gaps(shown, target)
    last = shown[shown["epoch"] == shown["epoch"].max()]
    end = last["val_loss"].fillna(np.log(last["n_classes"])) - last["train_loss"].fillna(0)
    gaps = matched.rename_axis(index="seed", columns="arm").stack().rename("value").reset_index()
    outcomes = {
        "matched": gaps,
        "end": last[["seed", "arm"]].assign(value=end),
        "test": last[["seed", "arm"]].assign(value=accuracy(last, "test_accuracy")),
    }
    data = pd.concat(part.assign(outcome=outcome) for outcome, part in outcomes.items())
    norms = data["arm"].where(data["arm"] == "none", "batch")
    titles = {"matched": f"gap at a training loss of {target:g}", "end": "gap at the end"}
    titles["test"] = "test accuracy (%)"
    missed = int((~reached.astype(bool)).to_numpy().sum())
    late = f" Never that low, and counted with the last gap: {counted(missed, 'run')}."
    return curves(
        "noise-doses",
        data.assign(norm=norms, group_size=data["arm"].map(sizes)),
        "The generalization gap, validation minus training loss in evaluation mode, where the "
        f"training loss first comes down to {target:g} and after the last epoch, and the final "
        "test accuracy. The fewer images are normalized together (logarithmic scale; *all* is the "
        "whole training set, without noise), the noisier the statistics; the gradient always comes "
        f"from batches of {options['batch_size']}. {options['train_images']:,} training images, "
        f"{options['epochs']} epochs.{late if missed else ''}"
        f"{words.guessing(shown[failed(shown)], ['arm', 'seed'])}",
        x="group_size", other="images normalized together", col="outcome", col_name=titles,
        value={"matched": "nats", "end": "nats"}, sharey=False, height=1.9, wrap=(3, 1),
        ticks=True, names=lambda n: "all" if n == options["train_images"] else f"{n:,.0f}",
        what="gap and accuracy",
    )  # fmt: skip


DROPOUT = {
    "none": Look("no normalization", ORANGE, marker="s"),
    "none_dropout": Look("with dropout", GREEN, marker="D"),
    "batch": Look("batch norm.", BLUE),
    "batch_dropout": Look("dropout after it", SKY, marker="^"),
    "dropout_before": Look("dropout before it", PINK, marker="v"),
}


def dropout(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Dropout without and with batch normalization, and its place."""
    last = table[(table["epoch"] == table["epoch"].max()) & table["arm"].isin(DROPOUT)]
    if not last["arm"].str.contains("dropout").any():
        return None
    last = last.assign(test_accuracy=accuracy(last, "test_accuracy"))
    shifts = {c: f"variance, layer {c[-1]}" for c in last if c.startswith("variance_shift_")}
    titles = {"test_accuracy": "test accuracy (%)"} | shifts
    frame = last.melt(["seed", "arm"], list(titles), "panel").dropna(subset="value")
    batch = ~frame["arm"].str.startswith("none") | (frame["panel"] == "test_accuracy")
    return rows(
        "dropout",
        frame[batch].astype({"value": float}),
        f"Dropout with probability {options['arm']['batch_dropout']['dropout']:g} on "
        f"{options['train_images']:,} training images, without and with batch normalization, after the "
        "activation that follows it or before it. *Variance:* that of each layer's inputs in "
        "evaluation mode over the running variance, mean over units (logarithmic scale, geometric "
        "means), which is 1 where training and inference agree."
        f"{words.guessing(last[failed(last)], ['arm', 'seed'])}",
        hue="arm", looks=DROPOUT, col="panel", cols=[*titles], col_name=titles,
        value=dict.fromkeys(shifts, "inference over running") | {"test_accuracy": "percent"},
        scale=dict.fromkeys(shifts, "geometric") | {"test_accuracy": "linear"},
        rule=dict.fromkeys(shifts, 1), what="dropout",
    )  # fmt: skip
