"""Figures of regularization and dropout (S10)."""

from collections.abc import Iterable

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.claims.endpoints.regularization import GUESSING_LOSS, matched_gaps
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
from bnstudy.report.study_figures.tables import BATCH, NONE
from bnstudy.report.words import (
    average,
    bands_of,
    geometric_mean,
    guessing,
    in_order,
    interval_phrase,
    left_out,
    per_level,
)

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
    arms = in_order(found["arm"], PATHS)
    if not arms:
        return None
    found = found[found["arm"].isin(arms)]
    data = found.groupby(["arm", "epoch"])[["train_loss", "val_loss"]].agg(geometric_mean)
    data = data.set_axis(["training_loss", "validation_loss"], axis=1).reset_index()
    runs, means = thinned(found, "epoch", points=16), thinned(data, "epoch", points=24)
    target = options["matched_train_loss"]

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            found, None, None, layout, x="training loss, evaluation mode (nats)", xscale="log",
            y="validation loss (nats)", yscale="log", height=2.7, width=5.2,
        )  # fmt: skip
        for ax, _ in panels:
            for arm in arms:
                path = means[means["arm"] == arm]
                point = PATHS[arm].point(4.5) | {"ls": PATHS[arm].linestyle, "zorder": 3}
                ends = {"markevery": [0, len(path) - 1]}
                ax.plot(path["training_loss"], path["validation_loss"], **point, **ends)
                for _, one in runs[runs["arm"] == arm].groupby("seed"):
                    thin = {"color": PATHS[arm].color, "lw": 0.5, "alpha": 0.25}
                    ax.plot(one["train_loss"], one["val_loss"], **thin)
            fit(ax, "x", found["train_loss"], log=True)
            fit(ax, "y", found["val_loss"], log=True)
            ax.axline((1, 1), (2, 2), color=MUTED, lw=0.8)
            ax.axvline(target, **RULE)
            note(ax, f"compared at {target:g}", (target, 1), (3, -2), "data axes", va="top")
            ax.invert_xaxis()
        return panels.finish([PATHS[arm] for arm in arms], columns=2)

    last = data[data["epoch"] == data["epoch"].max()].set_index("arm")["validation_loss"]
    least = data.groupby("arm")["validation_loss"].min()
    parts = listed(
        f"{decimal(last[arm], 3)}, lowest on the way {decimal(least[arm], 3)} ({PATHS[arm].name})"
        for arm in arms
        if arm in last
    )
    return Drawing(
        "overfitting",
        f"As the training loss falls, the mean validation loss ends at {parts}.",
        f"The way through training on {options['train_images']:,} images: validation against "
        "training loss of the same weights, both in evaluation mode and in nats (logarithmic "
        "scales), from the first epoch on the left to the last, "
        f"{options['epochs']}, on the right. On the thin diagonal they are equal. Thick lines are "
        f"geometric means, thin lines the {counted(found['seed'].nunique(), 'seed')}; not every "
        f"epoch is drawn.{left_out(table[table['arm'].isin(PATHS)], ['arm', 'seed'])}",
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
    end = last["val_loss"].fillna(GUESSING_LOSS) - last["train_loss"].fillna(0)
    test = scoring.accuracy(last, "test_accuracy")
    matched = matched.rename_axis(index="seed", columns="arm").stack().rename("value").reset_index()
    outcomes = {
        "matched": matched,
        "end": last[["seed", "arm"]].assign(value=end),
        "test": last[["seed", "arm"]].assign(value=test),
    }
    data = pd.concat(rows.assign(outcome=outcome) for outcome, rows in outcomes.items())
    data = data.assign(
        group_size=data["arm"].map(sizes), line=data["arm"].replace(dict.fromkeys(sizes, "batch"))
    )
    data = data.reset_index(drop=True)
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
            curves(ax, part[~plain], "group_size", "value", {"batch": BATCH}, "line", size=5)
            fit(ax, "y", part["value"])
            doubling_axis(ax, [*sizes.values()], names)
        return panels.finish([BATCH, NONE] if (data["arm"] == "none").any() else [BATCH])

    missed = int((~reached.astype(bool)).to_numpy().sum())
    late = f" {counted(missed, 'run')} never came down to it and "
    late += "has its last gap." if missed == 1 else "have their last gaps."
    return Drawing(
        "noise-doses",
        doses_finding(data, sizes, target),
        "The generalization gap, validation minus training loss in evaluation mode, where the "
        f"training loss first comes down to {target:g} and after the last epoch, and the final "
        "test accuracy. The fewer images are normalized together (logarithmic scale; *all* is the "
        "whole training set, without noise), the noisier the statistics; the gradient always comes "
        f"from batches of {options['batch_size']}. {options['train_images']:,} training images, "
        f"{options['epochs']} epochs. {bands_of(data)}{late if missed else ''}"
        f"{guessing(shown[scoring.diverged(shown)], ['arm', 'seed'])}",
        data[["outcome", "arm", "group_size", "seed", "value"]],
        draw,
    )


def doses_finding(data: pd.DataFrame, sizes: dict[str, int], target: float) -> str:
    """The gap at the matched loss for every dose and without normalization, then accuracies."""
    names = {arm: f"in groups of {n:,}" for arm, n in sizes.items()}
    names["none"] = "without normalization"

    def means(outcome: str, digits: int) -> str:
        rows = data[data["outcome"] == outcome]
        return per_level(rows, "arm", names, lambda one: average(one["value"], digits), names)

    return (
        f"Mean gap at a training loss of {target:g}: {means('matched', 3)}. "
        f"Mean test accuracy in percent: {means('test', 2)}."
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
    places = {arm: PLACES[arm] for arm in in_order(last["arm"], PLACES)}
    if not pairs or not places:
        return None
    shifts = [column for column in last.columns if column.startswith("variance_shift_")]
    wanted = {*places, *(arm for arms in pairs.values() for arm in arms)}
    data = last[last["arm"].isin(wanted)][["seed", "arm", "test_accuracy", *shifts]]
    looks = {norm: {"none": NONE, "batch": BATCH}[norm] for norm in pairs}
    norms = {arm: norm for norm, arms in pairs.items() for arm in arms}
    shown = data.melt(["seed", "arm"], var_name="panel").dropna(subset="value")
    both = shown[(shown["panel"] == "test_accuracy") & shown["arm"].isin(norms)]
    both = both.assign(
        panel="both", norm=both["arm"].map(norms), dropped=both["arm"].str.endswith("dropout")
    )
    shown = pd.concat([both, shown[shown["arm"].isin(places)]])
    probability = options["arm"]["batch_dropout"]["dropout"]
    layers = {column: f"layer {column.rpartition('_')[2]}" for column in shifts}
    titles = {"both": "test accuracy (%)", "test_accuracy": "place of dropout"} | layers
    ratio = "variance ratio"

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "panel", layout, sharex=False, sharey=False, height=(1.75, 1.2),
            x={"test_accuracy": "test accuracy (%)"} | dict.fromkeys(shifts, ratio),
            xscale={"test_accuracy": "linear"} | dict.fromkeys(shifts, "geometric"),
            yscale={"both": "linear"}, col_name=titles, wrap=(4, 1),
        )  # fmt: skip
        for ax, part in panels:
            if (panel := part["panel"].iat[0]) == "both":
                line = {"x": "dropped", "y": "value", "ax": ax}
                thin = {"units": "seed", "estimator": None, "lw": 0.6, "alpha": 0.35}
                sns.lineplot(
                    part.astype({"dropped": int}),
                    **line,
                    **series(looks, "norm", markers=False) | thin,
                )
                sns.lineplot(
                    part.astype({"dropped": int}), **line, zorder=3, **series(looks, "norm")
                )
                category_axis(ax, "x", ["without", f"dropout {probability:g}"])
                fit(ax, "y", part["value"])
                continue
            if panel in shifts:
                ax.axvline(1, **RULE)
            names = {arm: look.name for arm, look in places.items()}
            rows(ax, part, "value", "arm", places, names=names)
            fit(ax, "x", [*part["value"], *([1] if panel in shifts else [])], log=panel in shifts)
        return panels.finish(looks)

    means = data.groupby("arm")["test_accuracy"].mean()
    effects = listed(
        f"{decimal(means[dropped] - means[kept], 2, signed=True)} points with {looks[norm].name}"
        for norm, (kept, dropped) in pairs.items()
    )
    order = listed(
        f"{decimal(means[arm], 2)} percent ({look.name})" for arm, look in places.items()
    )
    failed = last[scoring.diverged(last) & last["arm"].isin(wanted)]
    return Drawing(
        "dropout",
        f"Dropout changes mean test accuracy by {effects}. By place of dropout it is {order}.",
        f"Dropout with probability {probability:g} on {options['train_images']:,} training images. "
        "*Test accuracy* without and with dropout; parallel lines would mean that dropout helps as "
        "much with batch normalization as without. *Place of dropout* and *layers:* networks with "
        "batch normalization. The variance ratio is that of a layer's inputs in evaluation mode "
        "over the running variance, mean over units (logarithmic scale); at 1 training and "
        "inference agree. Thin lines and circles are the "
        f"{counted(data['seed'].nunique(), 'seed')}, large marks means (of ratios, geometric)"
        f"{interval_phrase(data)}.{guessing(failed, ['arm', 'seed'])}",
        data,
        draw,
    )
