"""Figures of regularization and dropout (S10)."""

from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.claims.endpoints.regularization import GUESSING_LOSS, matched_gaps
from bnstudy.report.figures import INK, MUTED, Drawing, Layout, panels
from bnstudy.report.results import counted, decimal, listed
from bnstudy.report.study_figures.looks import (
    BATCH,
    BLUE,
    DASH_DOT,
    DOTTED,
    ENOUGH,
    INTERVAL,
    NONE,
    Look,
    bands_of,
    curve,
    dot_row,
    doubling_axis,
    estimate,
    fit,
    guessing,
    in_order,
    left_out,
    legend,
    level,
    name_rows,
    note,
)


def group_sizes(arms: Iterable[str], options: dict) -> dict[str, int]:
    """How many images each arm normalizes together, in order; the whole training set is last."""
    sizes = {"batch": options["batch_size"], "population": options["train_images"]}
    for arm in arms:
        if arm.startswith("ghost_"):
            sizes[arm] = int(arm.removeprefix("ghost_"))
    return {arm: sizes[arm] for arm in sorted(set(arms) & set(sizes), key=sizes.get)}


def overfitting_path(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation against training loss over the epochs."""
    looks = {
        "none": NONE,
        "batch": BATCH,
        "ghost_4": Look("batch norm. of groups of 4", BLUE, DASH_DOT, "^", filled=False),
        "population": Look("batch norm. of all images", BLUE, DOTTED, "o", filled=False),
    }
    rows = table[table["status"] == "ok"].dropna(subset=["train_loss", "val_loss"])
    rows = rows[(rows["train_loss"] > 0) & (rows["val_loss"] > 0)]
    arms = in_order(rows["arm"], looks)
    if not arms:
        return None
    keys = ["arm", "epoch"]
    logs = rows[keys].assign(train=np.log(rows["train_loss"]), val=np.log(rows["val_loss"]))
    means = np.exp(logs.groupby(keys)[["train", "val"]].mean()).reset_index()
    data = means[means["arm"].isin(arms)].rename(
        columns={"train": "training_loss", "val": "validation_loss"}
    )
    target = options["matched_train_loss"]

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(1, 1, layout, height=2.7, sharex=False, sharey=False)
        figure.set_size_inches(layout.width if layout.narrow else 5.2, figure.get_size_inches()[1])
        ax = axes[0, 0]
        shown = rows[rows["arm"].isin(arms)]
        fit(ax, "x", shown["train_loss"], log=True)
        fit(ax, "y", shown["val_loss"], log=True)
        ends = np.array([*ax.get_xlim(), *ax.get_ylim()])
        ax.plot([ends.min(), ends.max()], [ends.min(), ends.max()], color=MUTED, lw=0.8)
        ax.axvline(target, color=INK, lw=0.8)
        for arm in arms:
            look = looks[arm]
            for _, path in shown[shown["arm"] == arm].groupby("seed"):
                path = epochs_drawn(path)
                ax.plot(path["train_loss"], path["val_loss"], color=look.color, lw=0.5, alpha=0.25)
            path = epochs_drawn(data[data["arm"] == arm], 24)
            point = look.point(4.5) | {"ls": look.dash, "lw": 1.6}
            ax.plot(
                path["training_loss"],
                path["validation_loss"],
                **point,
                zorder=3,
                markevery=[0, len(path) - 1],
            )
        ax.set_xlim(ends[0], ends[1])
        ax.set_ylim(ends[2], ends[3])
        ax.set_xlabel("training loss, evaluation mode (nats)")
        ax.set_ylabel("validation loss (nats)")
        note(ax, f"compared at {target:g}", (target, 1), (3, -2), "data axes", va="top")
        ax.invert_xaxis()
        legend(figure, [looks[arm] for arm in arms], layout, wide=2)
        return figure

    last = data[data["epoch"] == data["epoch"].max()].set_index("arm")
    least = data.groupby("arm")["validation_loss"].min()
    parts = listed(
        f"{decimal(last['validation_loss'][arm], 3)}, lowest on the way {decimal(least[arm], 3)} "
        f"({looks[arm].name})"
        for arm in arms
        if arm in last.index
    )
    return Drawing(
        "overfitting",
        f"As the training loss falls, the mean validation loss ends at {parts}.",
        f"The way through training on {options['train_images']:,} images: validation against "
        "training loss of the same weights, both in evaluation mode and in nats (logarithmic "
        "scales), from the first epoch on the left to the last, "
        f"{options['epochs']}, on the right. On the thin diagonal they are equal. Thick lines are "
        f"geometric means, thin lines the {counted(rows['seed'].nunique(), 'seed')}; not every epoch "
        f"is drawn.{left_out(table[table['arm'].isin(looks)], ['arm', 'seed'])}",
        data,
        draw,
    )


def epochs_drawn(path: pd.DataFrame, most: int = 16) -> pd.DataFrame:
    """At most about so many epochs of a run, the first and the last among them."""
    path = path.sort_values("epoch")
    chosen = np.unique(np.geomspace(1, len(path), most).round().astype(int)) - 1
    return path.iloc[chosen]


OUTCOMES = {
    "matched": "gap at a training loss of {target:g}",
    "end": "gap at the end",
    "test": "test accuracy (%)",
}


def noise_doses(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Gap and accuracy against how many images are normalized together."""
    sizes = group_sizes(table["arm"].unique(), options)
    if not sizes:
        return None
    arms = [*sizes, *in_order(table["arm"], ["none"])]
    shown = table[table["arm"].isin(arms)]
    matched, reached = matched_gaps(shown, options["matched_train_loss"])
    last = shown[shown["epoch"] == shown["epoch"].max()]
    end = last["val_loss"].fillna(GUESSING_LOSS) - last["train_loss"].fillna(0)
    data = pd.concat(
        [
            matched.melt(ignore_index=False, var_name="arm")
            .reset_index(names="seed")
            .assign(outcome="matched"),
            last[["seed", "arm"]].assign(value=end, outcome="end"),
            last[["seed", "arm"]].assign(
                value=scoring.accuracy(last, "test_accuracy"), outcome="test"
            ),
        ]
    ).assign(group_size=lambda rows: rows["arm"].map(sizes))
    data = data[["outcome", "arm", "group_size", "seed", "value"]]
    places = [*sizes.values()]
    names = [f"{n:,}" if arm != "population" else "all" for arm, n in sizes.items()]

    def draw(layout: Layout) -> Figure:
        shape = (3, 1) if layout.narrow else (1, 3)
        figure, axes = panels(*shape, layout, height=1.9, sharex=False, sharey=False)
        for ax, (outcome, title) in zip(axes.flat, OUTCOMES.items(), strict=True):
            some = data[data["outcome"] == outcome]
            level(ax, some[some["arm"] == "none"]["value"], NONE)
            groups = some.dropna(subset=["group_size"])
            curve(ax, groups, "group_size", BATCH, size=5)
            fit(ax, "y", some["value"])
            doubling_axis(ax, places, names)
            ax.set_title(title.format(target=options["matched_train_loss"]))
            if outcome != "test":
                ax.set_ylabel("nats")
            ax.set_xlabel("images normalized together")
        legend(figure, [BATCH, NONE] if "none" in arms else [BATCH], layout, wide=2)
        return figure

    missed = int((~reached.astype(bool)).to_numpy().sum())
    late = f" {counted(missed, 'run')} never came down to it and has its last gap."
    if missed != 1:
        late = late.replace("has its last gap", "have their last gaps")
    return Drawing(
        "noise-doses",
        doses_finding(data, sizes, options),
        "The generalization gap, validation minus training loss in evaluation mode, where the "
        f"training loss first comes down to {options['matched_train_loss']:g} and after the last "
        "epoch, and the final test accuracy. The fewer images are normalized together (logarithmic "
        "scale; *all* is the whole training set, without noise), the noisier the statistics; the "
        f"gradient always comes from batches of {options['batch_size']}. "
        f"{options['train_images']:,} training images, {options['epochs']} epochs. "
        f"{bands_of(data)}{late if missed else ''}"
        f"{guessing(shown[scoring.diverged(shown)], ['arm', 'seed'])}",
        data,
        draw,
    )


def doses_finding(data: pd.DataFrame, sizes: dict[str, int], options: dict) -> str:
    """The gap at the matched loss for every dose and without normalization, then accuracies."""
    sentences = []
    for outcome, text, digits in (
        ("matched", f"Mean gap at a training loss of {options['matched_train_loss']:g}", 3),
        ("test", "Mean test accuracy in percent", 2),
    ):
        means = data[data["outcome"] == outcome].groupby("arm")["value"].mean()
        parts = [f"{decimal(means[arm], digits)} in groups of {n:,}" for arm, n in sizes.items()]
        if "none" in means:
            parts.append(f"{decimal(means['none'], digits)} without normalization")
        sentences.append(f"{text}: {listed(parts)}.")
    return " ".join(sentences)


ORDERS = {
    "batch": Look("no dropout", BLUE, "solid", "o"),
    "batch_dropout": Look("after the activation", BLUE, "solid", "^"),
    "dropout_before": Look("before batch norm.", BLUE, "solid", "v", filled=False),
}


def dropout(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Dropout without and with batch normalization, and its place."""
    last = table[table["epoch"] == table["epoch"].max()]
    last = last.assign(value=scoring.accuracy(last, "test_accuracy"))
    pairs = {
        look: arms
        for look, arms in ((NONE, ("none", "none_dropout")), (BATCH, ("batch", "batch_dropout")))
        if set(arms) <= set(last["arm"])
    }
    places = in_order(last["arm"], ORDERS)
    if not pairs or not places:
        return None
    shifts = [c for c in last.columns if c.startswith("variance_shift_")]
    wanted = {arm for arms in pairs.values() for arm in arms} | set(places)
    data = last[last["arm"].isin(wanted)][["seed", "arm", "value", *shifts]].rename(
        columns={"value": "test_accuracy"}
    )

    def draw(layout: Layout) -> Figure:
        if layout.narrow:
            figure, axes = panels(3, 1, layout, height=1.35, sharex=False, sharey=False)
        else:
            figure = Figure(figsize=(layout.width, 2.75))
            axes = figure.subplots(1, 3, squeeze=False, width_ratios=(0.8, 1, 1))
        interaction, order, variance = axes.flat
        for look, arms in pairs.items():
            wide = data[data["arm"].isin(arms)].pivot(
                index="seed", columns="arm", values="test_accuracy"
            )[list(arms)]
            for _, seed in wide.iterrows():
                interaction.plot((0, 1), seed, color=look.color, lw=0.6, alpha=0.35)
            estimates = [estimate(wide[arm], log=False) for arm in arms]
            for x, (_, low, high) in enumerate(estimates):
                interaction.plot([x, x], [low, high], color=look.color, lw=2)
            means = [mean for mean, *_ in estimates]
            interaction.plot((0, 1), means, **look.point() | {"ls": look.dash, "lw": 1.8}, zorder=3)
        interaction.set_xticks(
            (0, 1), ("without", f"dropout {options['arm']['batch_dropout']['dropout']:g}")
        )
        interaction.set_xlim(-0.3, 1.3)
        interaction.grid(axis="x", visible=False)
        accuracies = [arm for arms in pairs.values() for arm in arms]
        fit(interaction, "y", data[data["arm"].isin(accuracies)]["test_accuracy"])
        interaction.set_title("test accuracy (%)")
        for y, arm in enumerate(places):
            dot_row(order, y, data[data["arm"] == arm]["test_accuracy"], ORDERS[arm])
            ratios = data[data["arm"] == arm]
            for k, column in enumerate(shifts):
                some = ratios[column].dropna()
                offset = 0.36 * (k - (len(shifts) - 1) / 2)
                if len(some):
                    dot_row(variance, y + offset, some, ORDERS[arm], log=True, spread=0.12)
                    note(
                        variance,
                        f"layer {k + 1}",
                        (1, y + offset),
                        (2, 0),
                        "axes data",
                        va="center",
                        fontsize=7,
                        color=MUTED,
                    )
        variance.axvline(1, color=INK, lw=0.8, zorder=1)
        fit(order, "x", data[data["arm"].isin(places)]["test_accuracy"])
        fit(variance, "x", [1, *data[shifts].to_numpy(float).ravel()], log=True)
        names = [ORDERS[arm].name for arm in places]
        name_rows(order, names)
        name_rows(variance, names if layout.narrow else [""] * len(names))
        order.set_title("place of dropout")
        order.set_xlabel("test accuracy (%)")
        variance.set_title("variance, inference / running")
        variance.set_xlabel("ratio")
        legend(figure, list(pairs), layout, wide=2)
        return figure

    means = data.groupby("arm")["test_accuracy"].mean()
    effects = listed(
        f"{decimal(means[arms[1]] - means[arms[0]], 2, signed=True)} points with {look.name}"
        for look, arms in pairs.items()
    )
    order_text = listed(f"{decimal(means[arm], 2)} percent ({ORDERS[arm].name})" for arm in places)
    return Drawing(
        "dropout",
        f"Dropout changes mean test accuracy by {effects}. By place of dropout it is {order_text}.",
        f"Dropout with probability {options['arm']['batch_dropout']['dropout']:g} on {options['train_images']:,} training "
        "images. *Test accuracy* without and with dropout; parallel lines would mean that "
        "dropout helps as much with batch normalization as without. *Place of dropout:* networks "
        "with batch normalization. *Variance:* that of the inputs of each batch normalization in "
        "evaluation mode over its running variance, mean over units (logarithmic scale); at 1 "
        "training and inference agree. Thin lines and circles are the "
        f"{counted(data['seed'].nunique(), 'seed')}, large marks means (of ratios, geometric)"
        + (f" with their {INTERVAL}s." if data["seed"].nunique() >= ENOUGH else ".")
        + guessing(last[scoring.diverged(last) & last["arm"].isin(wanted)], ["arm", "seed"]),
        data,
        draw,
    )
