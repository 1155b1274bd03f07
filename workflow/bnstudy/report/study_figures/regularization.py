"""Figures of regularization and dropout (S10)."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.claims.endpoints.regularization import matched_gaps
from bnstudy.report import words
from bnstudy.report.look import (
    BLUE,
    DASH_DOT,
    DOTTED,
    MUTED,
    RULE,
    Drawing,
    Layout,
    Look,
    series,
    thinned,
)
from bnstudy.report.marks import across, category_axis, curves, doubling_axis, fit, note, rows
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import counted, decimal, listed
from bnstudy.report.study_figures.tables import BATCH, NONE, per_look
from bnstudy.scoring import failed as failed_runs

PATHS = {
    "none": NONE,
    "batch": BATCH,
    "ghost_4": Look("batch norm. of groups of 4", BLUE, DASH_DOT, "^", filled=False),
    "population": Look("batch norm. of all images", BLUE, DOTTED, filled=False),
}


def group_sizes(arms: Iterable[str], options: dict) -> dict[str, int]:
    """How many images each arm normalizes together, in order; the whole training set is last."""
    sizes = {"batch": options["batch_size"], "population": options["train_images"]}
    for arm in arms:
        if arm.startswith("ghost_"):
            sizes[arm] = int(arm.removeprefix("ghost_"))
    return {arm: sizes[arm] for arm in sorted(set(arms) & set(sizes), key=sizes.get)}


def overfitting_path(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation against training loss over the epochs."""
    found = table[(table["status"] == "ok") & (table[["train_loss", "val_loss"]] > 0).all(axis=1)]
    found = found[found["arm"].isin(PATHS)]
    if found.empty:
        return None
    looks = {arm: PATHS[arm] for arm in words.in_order(found["arm"], PATHS)}
    data = found.groupby(["arm", "epoch"])[["train_loss", "val_loss"]].agg(words.geometric_mean)
    data = data.set_axis(["training_loss", "validation_loss"], axis=1).reset_index()
    runs, means = thinned(found, "epoch", points=16), thinned(data, "epoch", points=24)
    target = options["matched_train_loss"]

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            found, None, None, layout, x="training loss, evaluation mode (nats)", xscale="log",
            y="validation loss (nats)", yscale="log", height=2.7, width=5.2,
        )  # fmt: skip
        for ax, _ in panels:
            for arm, look in looks.items():
                for _, run in runs[runs["arm"] == arm].groupby("seed"):
                    losses = run["train_loss"], run["val_loss"]
                    ax.plot(*losses, color=look.color, lw=0.5, alpha=0.25)
                path = means[means["arm"] == arm]
                point = look.point(4.5) | {"ls": look.linestyle, "markevery": [0, len(path) - 1]}
                ax.plot(path["training_loss"], path["validation_loss"], zorder=3, **point)
            fit(ax, "x", found["train_loss"], log=True)
            fit(ax, "y", found["val_loss"], log=True)
            ax.axline((1, 1), (2, 2), color=MUTED, lw=0.8)
            ax.axvline(target, **RULE)
            note(ax, f"compared at {target:g}", (target, 1), (3, -2), "data axes", va="top")
            ax.invert_xaxis()
        return panels.finish(looks, columns=2)

    def ends(path: pd.DataFrame) -> str:
        losses = path["validation_loss"]
        return f"{decimal(losses.iat[-1], 3)}, lowest on the way {decimal(losses.min(), 3)}"

    finding = per_look(data, "arm", looks, ends)
    return Drawing(
        "overfitting",
        f"As the training loss falls, the mean validation loss ends at {finding}.",
        f"The way through training on {options['train_images']:,} images: validation against "
        "training loss of the same weights, both in evaluation mode and in nats (logarithmic "
        "scales), from the first epoch on the left to the last, "
        f"{options['epochs']}, on the right. On the thin diagonal they are equal. Thick lines are "
        f"geometric means, thin lines the {counted(found['seed'].nunique(), 'seed')}; not every "
        f"epoch is drawn.{words.left_out(table[table['arm'].isin(PATHS)], ['arm', 'seed'])}",
        data,
        draw,
    )


def noise_doses(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Gap and accuracy against how many images are normalized together."""
    sizes = group_sizes(table["arm"].unique(), options)
    if not sizes:
        return None
    target = options["matched_train_loss"]
    shown = table[table["arm"].isin([*sizes, "none"])]
    matched, reached = matched_gaps(shown, target)
    last = shown[shown["epoch"] == shown["epoch"].max()]
    end = last["val_loss"].fillna(np.log(last["n_classes"])) - last["train_loss"].fillna(0)
    test = scoring.accuracy(last, "test_accuracy")
    gaps = matched.rename_axis(index="seed", columns="arm").stack().rename("value").reset_index()
    seeds = last[["seed", "arm"]]
    outcomes = {"matched": gaps, "end": seeds.assign(value=end), "test": seeds.assign(value=test)}
    data = pd.concat(rows.assign(outcome=outcome) for outcome, rows in outcomes.items())
    data = data.assign(group_size=data["arm"].map(sizes)).reset_index(drop=True)
    names = [f"{n:,}" if arm != "population" else "all" for arm, n in sizes.items()]
    titles = {"matched": f"gap at a training loss of {target:g}", "end": "gap at the end"}
    titles["test"] = "test accuracy (%)"

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "outcome", layout, x="images normalized together", xscale=None,
            y={"matched": "nats", "end": "nats"}, sharey=False, col_name=titles, height=1.9,
            wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            plain = part["arm"] == "none"
            across(ax, part["value"][plain], NONE)
            groups = part[~plain].assign(norm="batch")
            curves(ax, groups, "group_size", "value", {"batch": BATCH}, "norm", size=5)
            fit(ax, "y", part["value"])
            doubling_axis(ax, [*sizes.values()], names)
        return panels.finish([BATCH, NONE] if (data["arm"] == "none").any() else [BATCH])

    def means(outcome: str, digits: int) -> str:
        def mean(rows: pd.DataFrame) -> str:
            return words.average(rows["value"], digits)

        return words.per_level(data[data["outcome"] == outcome], "arm", doses, mean, doses)

    doses = {arm: f"in groups of {n:,}" for arm, n in sizes.items()}
    doses["none"] = "without normalization"
    missed = int((~reached.astype(bool)).to_numpy().sum())
    late = f" {counted(missed, 'run')} never came down to it and "
    late += "has its last gap." if missed == 1 else "have their last gaps."
    return Drawing(
        "noise-doses",
        f"Mean gap at a training loss of {target:g}: {means('matched', 3)}. Mean test accuracy in "
        f"percent: {means('test', 2)}.",
        "The generalization gap, validation minus training loss in evaluation mode, where the "
        f"training loss first comes down to {target:g} and after the last epoch, and the final "
        "test accuracy. The fewer images are normalized together (logarithmic scale; *all* is the "
        "whole training set, without noise), the noisier the statistics; the gradient always comes "
        f"from batches of {options['batch_size']}. {options['train_images']:,} training images, "
        f"{options['epochs']} epochs. {words.bands_of(data)}{late if missed else ''}"
        f"{words.guessing(shown[failed_runs(shown)], ['arm', 'seed'])}",
        data[["outcome", "arm", "group_size", "seed", "value"]],
        draw,
    )


PAIRS = {"none": ("none", "none_dropout"), "batch": ("batch", "batch_dropout")}
PLACES = {
    "batch": Look("no dropout", BLUE),
    "batch_dropout": Look("after the activation", BLUE, marker="^"),
    "dropout_before": Look("before batch norm.", BLUE, marker="v", filled=False),
}


def dropout(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Dropout without and with batch normalization, and its place."""
    last = table[table["epoch"] == table["epoch"].max()]
    last = last.assign(test_accuracy=scoring.accuracy(last, "test_accuracy"))
    pairs = {norm: arms for norm, arms in PAIRS.items() if set(arms) <= set(last["arm"])}
    places = {arm: PLACES[arm] for arm in words.in_order(last["arm"], PLACES)}
    looks = {norm: look for norm, look in (("none", NONE), ("batch", BATCH)) if norm in pairs}
    if not pairs or not places:
        return None
    shifts = {c: f"layer {c[-1]}" for c in last.columns if c.startswith("variance_shift_")}
    norms = {arm: norm for norm, arms in pairs.items() for arm in arms}
    data = last[last["arm"].isin({*places, *norms})]
    data = data[["seed", "arm", "test_accuracy", *shifts]]
    both = data.assign(panel="both", norm=data["arm"].map(norms), value=data["test_accuracy"])
    both = both.assign(dropped=(both["arm"] != both["norm"]).astype(int)).dropna(subset="norm")
    placed = data[data["arm"].isin(places)].melt(["seed", "arm"], var_name="panel")
    shown = pd.concat([both, placed.dropna(subset="value")])
    titles = {"both": "test accuracy (%)", "test_accuracy": "place of dropout"}
    titles |= {column: f"variance, {layer}" for column, layer in shifts.items()}
    probability = options["arm"]["batch_dropout"]["dropout"]

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "panel", layout, sharex=False, sharey=False, height=(1.4, 1.2),
            x=dict.fromkeys(shifts, "inference over running") | {"test_accuracy": titles["both"]},
            xscale=dict.fromkeys(shifts, "geometric") | {"test_accuracy": "linear"},
            yscale={"both": "linear"}, col_name=titles, wrap=(2, 1), width=layout.width,
        )  # fmt: skip
        for ax, part in panels:
            variance = (panel := part["panel"].iat[0]) in shifts
            if panel == "both":
                style = series(looks, "norm") | {"x": "dropped", "y": "value", "ax": ax}
                thin = {"units": "seed", "estimator": None, "lw": 0.6, "alpha": 0.35}
                sns.lineplot(part, **style | thin | {"markers": False, "dashes": False})
                sns.lineplot(part, zorder=3, **style | {"err_style": "bars", "err_kws": {"lw": 2}})
                category_axis(ax, "x", ["without", f"dropout {probability:g}"])
                fit(ax, "y", part["value"])
                continue
            if variance:
                ax.axvline(1, **RULE)
            rows(ax, part, "value", "arm", places)
            fit(ax, "x", [*part["value"], *[1] * variance], log=variance)
        return panels.finish(looks)

    means = data.groupby("arm")["test_accuracy"].mean()
    effects = listed(
        f"{decimal(means[dropped] - means[kept], 2, signed=True)} points with {looks[norm].name}"
        for norm, (kept, dropped) in pairs.items()
    )
    by_place = per_look(
        data, "arm", places, lambda one: f"{words.average(one['test_accuracy'], 2)} percent"
    )
    failed = last[failed_runs(last) & last["arm"].isin(data["arm"])]
    return Drawing(
        "dropout",
        f"Dropout changes mean test accuracy by {effects}. By place of dropout it is {by_place}.",
        f"Dropout with probability {probability:g} on {options['train_images']:,} training images. "
        "*Test accuracy* without and with dropout; parallel lines would mean that dropout helps as "
        "much with batch normalization as without. *Place of dropout* and *variance:* networks with "
        "batch normalization; the variance of each layer's inputs in evaluation mode over the "
        "running variance, mean over units (logarithmic scale), which is 1 where training and "
        f"inference agree. Thin lines and circles are the {counted(data['seed'].nunique(), 'seed')}, "
        f"large marks means (of ratios, geometric){words.interval_phrase(data)}."
        f"{words.guessing(failed, ['arm', 'seed'])}",
        data,
        draw,
    )
