"""Figures of the layer taken apart (S7), small batches (S8), its time (S11) and the rule (S15, S16)."""

import pandas as pd
from matplotlib.axes import Axes

from bnstudy.claims.endpoints.scoring import accuracy
from bnstudy.report import words
from bnstudy.report.look import (
    BLUE,
    BROWN,
    DASH_DOT,
    DASHED,
    DOTTED,
    INK,
    MUTED,
    PINK,
    RED,
    SKY,
    Drawing,
    Look,
)
from bnstudy.report.marks import SIGNS, dots
from bnstudy.report.measures import SPACE, capitalized, counted
from bnstudy.report.plots import curves, figure, rows
from bnstudy.report.study_figures.tables import (
    BATCH,
    LAYER,
    NONE,
    after,
    name,
    val_losses,
)
from bnstudy.scoring import failed

ARMS = {
    "none": NONE,
    "noisy_none": Look("noise alone", BROWN, DASHED, "X"),
    "batch": BATCH,
    "noisy_batch": Look("batch norm. + noise", SKY, marker="P"),
    "batch_no_affine": Look("no scale and shift", PINK, marker="^"),
    "batch_detached": Look("detached statistics", RED, marker="v"),
    "layer": LAYER,
}
NETWORK = {"col": "network", "col_name": name, "wrap": (3, 1), "sharex": False}


def mechanism_arms(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation loss of the arms that take batch normalization apart, a panel per network."""
    frame = table[["network", "arm", "seed", "status"]].assign(value=val_losses(table))
    frame = frame[frame["arm"].isin(ARMS)]

    def references(ax: Axes, part: pd.DataFrame) -> None:
        for arm in ("none", "batch"):
            if len(one := part[part["arm"] == arm]):
                ax.axvline(words.geometric_mean(one["value"]), **ARMS[arm].line(lw=1, alpha=0.6))

    return rows(
        "mechanisms",
        frame,
        f"Validation loss (cross-entropy in nats, logarithmic scale, evaluation mode) {after(options)} "
        f"of SGD at a learning rate of {options['learning_rate']:g} and batch size "
        f"{options['batch_size']}. *Noise* shifts the distributions anew at every step, *no scale and "
        "shift* leaves out the learned gamma and beta, *detached statistics* stop the gradient through "
        "mean and variance. Vertical lines repeat the means without and with batch normalization."
        f"{words.guessing(table[failed(table)], ['network', 'arm', 'seed'])}",
        hue="arm", looks=ARMS, value="validation loss (nats)", scale="geometric", then=references,
        **NETWORK,
    )  # fmt: skip


def mechanism_drift(table: pd.DataFrame, options: dict) -> Drawing | None:
    """The loss against how far distributions shift, a panel per network."""
    frame = table[["network", "arm", "seed", "drift"]].assign(value=val_losses(table))
    frame = frame[frame["arm"].isin(ARMS) & (frame["drift"] > 0)]
    if frame.empty:
        return None

    def mark(ax: Axes, part: pd.DataFrame, looks: dict) -> None:
        for arm, runs in part.groupby("arm"):
            dots(ax, runs["drift"], runs["value"], looks[arm])
            center = runs[["drift", "value"]].agg(words.geometric_mean)
            ax.plot(*center, **looks[arm].point(6.5), zorder=3)

    return figure(
        "mechanisms-drift",
        frame,
        "Validation loss after training against the drift of the inputs of the last nonlinearity, "
        f"the mean distance over {options['drift_steps']} steps by which their distribution moves "
        "in training mode, noise included (both axes logarithmic). If less drift were what makes "
        "training fast, the marks would lie on a rising line. Small marks are seeds, large marks "
        f"geometric means ({words.seeds_in(frame)})."
        f"{words.guessing(table[failed(table)], ['network', 'arm', 'seed'])}",
        mark, hue="arm", looks=ARMS, value="validation loss (nats)", other="drift (standard deviations)",
        what="validation loss against drift", scale="geometric", xscale="log", sharey=False,
        height=1.75, **NETWORK,
    )  # fmt: skip


LINES = {  # the statistics that batch normalization is evaluated with, and norms beside it
    "running": Look("batch norm., running averages", BLUE),
    "precise": Look("batch norm., precise statistics", PINK, DASHED, "v"),
    "batch": Look("batch norm., batch statistics", MUTED, DOTTED, "^"),
    "none": NONE,
    "layer": LAYER,
}
SIZES = ("batch_size", "group_size")


def small_batches(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation error against the number of images that are normalized together."""
    groups, batches = (options["design"][design] for design in ("groups", "batches"))
    titles = {
        "groups": f"gradient from {groups['batch_size']} images",
        "batches": "small batches as they are",
    }
    notes = {
        "groups": "every update sees the same batch, and only the groups that are normalized "
        "together get smaller.",
        "batches": f"{batches['train_images']:,} training images.",
    }
    sizes = table["group_size"].where(table["design"] == "groups", table["batch_size"])
    line = table["norm"].where(table["norm"].isin(("none", "layer")), table["statistics"])
    frame = table[["design", "norm", "statistics", *SIZES, "seed"]]
    frame = frame.assign(value=100 - accuracy(table), line=line, size=sizes)
    normalized = frame["design"][frame["norm"].isin(("ghost", "batch"))]
    present = words.in_order(normalized, titles)
    frame = frame[frame["design"].isin(present)]
    if frame.empty:
        return None
    return curves(
        "small-batches",
        frame,
        "Validation error (logarithmic scale). "
        + " ".join(f"*{capitalized(titles[design])}:* {notes[design]}" for design in present)
        + " Three lines evaluate the same batch-normalized networks with PyTorch's running "
        "averages, with precise statistics over "
        f"{options['statistics_images']:,} training images, and with the statistics of groups as "
        "small as in training."
        f"{words.guessing(table[failed(table)], ['design', 'norm', *SIZES, 'seed'])}",
        x="size", hue="line", looks=LINES, col="design", cols=present, col_name=titles, wrap=(2, 1),
        other={"groups": "images normalized together", "batches": "batch size"}, sharex=False,
        value="validation error (%)", scale="log", sharey=False, ticks=True, height=2.35, width=7.6,
    )  # fmt: skip


FAR = 1.6  # times the largest median, or below the smallest, a block is drawn at the edge
PHASES = {  # by phase and arm
    "training, batch": "training",
    "inference, batch": "inference",
    "inference, fused": "inference, fused",
}


def step_times(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Ratios of step times with and without batch normalization, a panel per phase."""
    keys = ["batch_size", "seed", "phase"]
    wide = table.pivot(index=keys, columns="arm", values="milliseconds")
    if "none" not in wide:
        return None
    data = wide.div(wide.pop("none"), axis=0).stack().rename("ratio").reset_index()
    data = data.assign(kind=data["phase"] + ", " + data["arm"])
    data = data[data["kind"].isin(PHASES)]
    if data.empty:
        return None
    # A block that was disturbed can be far off; it is drawn at the edge instead of far out.
    medians = data.groupby(["kind", "batch_size"])["ratio"].median()
    low, high = min(1.0, medians.min()) / FAR, max(1.0, medians.max()) * FAR
    outside = int((~data["ratio"].between(low, high)).sum())
    n = data["seed"].nunique()
    intervals = f" with 95{SPACE}% intervals from order statistics" if n >= SIGNS else ""
    return rows(
        "timing",
        data.assign(value=data["ratio"].clip(low, high)),
        "Time of a step with batch normalization over that without (logarithmic scale), training "
        "and inference, and inference once batch normalization is folded into the Linear layer "
        f"before it. A circle is one of {counted(n, 'block')} of {counted(options['steps'], 'step')} "
        f"that the arms took in turns; large marks are medians{intervals}. The vertical line marks "
        "equal times." + (f" Drawn at the edge: {counted(outside, 'circle')}." if outside else ""),
        hue="batch_size", estimator="median", col="kind", col_name=PHASES, cols=[*PHASES],
        looks={size: Look(f"batch size {size}") for size in sorted(data["batch_size"].unique())},
        value="time over that without", scale="geometric", rule=1, sharex=True,
        noun="", data=data.drop(columns="kind"),
    )  # fmt: skip


def controls(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Differences that must be nothing, and differences that must be something."""
    scored = table.assign(value=accuracy(table, "test_accuracy"))
    values = scored.pivot(index="seed", columns="learning_rate", values="value")
    rates = sorted(values.columns)
    half = len(values) // 2
    if half == 0:
        return None
    usual = values[rates[-1]]
    first, second = usual.iloc[:half], usual.iloc[half : 2 * half]
    found = {"same settings, other seeds": first - second.set_axis(first.index)}
    if len(rates) > 1:
        low, high = words.unrounded(rates[0]), words.unrounded(rates[-1])
        title = f"learning rate {high} or {low}"
        found[title] = first - values[rates[0]].iloc[:half]
    frame = pd.DataFrame(found).rename_axis(index="seed", columns="control")
    return rows(
        "controls",
        frame.unstack().rename("value").reset_index().assign(norm="none"),
        f"Differences in test accuracy of networks without normalization {after(options)} at batch size "
        f"{options['batch_size']}: those of the first half of the seeds minus the others, which must "
        "not be told apart, and of the usual learning rate minus one that is too low, which must be.",
        hue="norm", looks={"none": Look("", NONE.color, marker="s")}, col="control", rule=0, wrap=(2, 1),
        value="percentage points", what="differences in test accuracy", height=0.75, noun="pair",
    )  # fmt: skip


VERDICTS = {
    "supported": Look("supported", INK),
    "not supported": Look("not supported", MUTED, DASHED, "s"),
    "inconclusive": Look("inconclusive", PINK, DASH_DOT, "D"),
    "refuted": Look("refuted", RED, DOTTED, "v"),
}


def verdict_shares(table: pd.DataFrame, options: dict) -> Drawing | None:
    """How often each verdict comes out against the true effect, by simulation; normal differences."""
    normal = table[table["distribution"] == "normal"]
    if normal.empty:
        return None
    shares = 100 * normal.groupby(["spread", "effect"])[list(VERDICTS)].mean()
    return curves(
        "calibration",
        shares.rename_axis(columns="verdict").stack().rename("value").reset_index(),
        f"How often each verdict comes out by true effect and by the standard deviation of its "
        f"{options['n']} seeds, both in units of the smallest effect that matters. Judged in "
        f"{int(table['studies'].min()):,} families of {options['family_size']} claims each.",
        x="effect", other="true effect / smallest that matters", hue="verdict", looks=VERDICTS,
        col="spread", col_name="standard deviation {:g}".format, value="share of the claims (%)",
        scale="zero", seeds="", height=2.2, wrap=(3, 1),
    )  # fmt: skip
