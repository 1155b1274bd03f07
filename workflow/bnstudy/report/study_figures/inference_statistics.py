"""Figures of the statistics at inference (S9)."""

import math
from collections.abc import Iterable

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter

from bnstudy.claims.endpoints import scoring
from bnstudy.report.figures import INK, MUTED, Drawing, Layout, panels
from bnstudy.report.results import counted, decimal, listed
from bnstudy.report.study_figures.looks import (
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    GREEN,
    NONE,
    ORANGE,
    PINK,
    RED,
    Look,
    average,
    bands_of,
    curve,
    dot_row,
    fit,
    guessing,
    in_order,
    left_out,
    legend,
    name_rows,
    seeds_of,
    significant,
)

MOMENTA = (
    ("0.1", BLUE, "solid", "o"),
    ("cumulative", MUTED, DOTTED, "s"),
    ("0.01", PINK, DASHED, "v"),
    ("0.5", RED, DASH_DOT, "^"),
)
PRECISE = Look("precise statistics", INK, "solid", "")


def momentum_looks(momenta: Iterable[str]) -> dict[str, Look]:
    """A look for every momentum; the usual ones keep theirs whatever else there is."""
    known = {name: (color, dash, marker) for name, color, dash, marker in MOMENTA}
    spare = [look for name, *look in MOMENTA if name not in set(momenta)]
    spare += [(GREEN, DASH_DOT, "D"), (ORANGE, DASHED, "P")]
    looks = {}
    ordered = sorted(
        momenta, key=lambda m: (m == "cumulative", 0 if m == "cumulative" else float(m))
    )
    for i, momentum in enumerate(ordered):
        color, dash, marker = known.get(momentum) or spare[i % len(spare)]
        looks[momentum] = Look(momentum_name(momentum), color, dash, marker)
    return looks


def momentum_name(momentum: str) -> str:
    return "cumulative average" if momentum == "cumulative" else f"momentum {momentum}"


def staleness(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Running against precise statistics over the first steps of training."""
    rows = table[(table["part"] == "staleness") & (table["status"] == "ok")]
    if rows.empty:
        return None
    rows = rows.assign(momentum=rows["momentum"].astype(str))
    looks = momentum_looks(rows["momentum"].unique())
    data = rows[["seed", "momentum", "step", "statistics", "loss", "mean_error"]]
    running, frozen = (data[data["statistics"] == name] for name in ("running", "frozen"))
    # All momenta see the same weights, so any of them has the precise statistics of all.
    floor = data[(data["statistics"] == "precise") & (data["momentum"] == next(iter(looks)))]

    def draw(layout: Layout) -> Figure:
        shape = (3, 1) if layout.narrow else (1, 3)
        figure, axes = panels(*shape, layout, height=1.95, sharex=False, sharey=False)
        loss, distance, rest = axes.flat
        for ax, column in ((loss, "loss"), (distance, "mean_error")):
            for momentum, look in looks.items():
                some = running[running["momentum"] == momentum]
                curve(ax, some.assign(value=some[column]), "step", look, size=4)
            fit(ax, "x", running["step"], log=True)
            ax.set_xlabel("step")
        curve(loss, floor.assign(value=floor["loss"]), "step", PRECISE)
        fit(loss, "y", [*running["loss"], *floor["loss"]], log=True)
        fit(distance, "y", running["mean_error"], log=True)
        loss.set_title("validation loss (nats)")
        distance.set_title("distance of the means (sd)")
        for y, (momentum, look) in enumerate(looks.items()):
            some = frozen[frozen["momentum"] == momentum]["mean_error"]
            if len(some):
                dot_row(rest, y, some, look, log=(some > 0).all())
        fit(rest, "x", frozen["mean_error"], log=True)
        name_rows(rest, [m.replace("cumulative", "all") for m in looks])
        rest.set_title("distance at rest (sd)")
        rest.set_xlabel("after an epoch, weights frozen")
        rest.set_ylabel("momentum")
        legend(figure, [*looks.values(), PRECISE], layout, wide=3, narrow=2)
        return figure

    return Drawing(
        "staleness",
        staleness_finding(running, floor, frozen, looks),
        f"*Validation loss* during {first_epochs(options['staleness']['epochs'])} at batch size "
        f"{options['staleness']['batch_size']}, evaluated with running averages of several momenta "
        "and with precise statistics, the mean and variance over "
        f"{options['statistics_images']:,} training images under the weights of that step. "
        "*Distance of the means:* root mean square over units of running minus precise mean, in "
        "standard deviations. *Distance at rest:* the same for the first layer against the whole "
        "training set, after one more epoch with frozen weights; what is left is the short memory "
        f"of the average. All axes of numbers are logarithmic. {bands_of(data)}"
        f"{left_out(table[table['part'] == 'staleness'], ['momentum', 'seed'])}",
        data,
        draw,
    )


def first_epochs(n: int) -> str:
    return "the first epoch" if n == 1 else f"the first {counted(n, 'epoch')}"


def staleness_finding(
    running: pd.DataFrame, floor: pd.DataFrame, frozen: pd.DataFrame, looks: dict[str, Look]
) -> str:
    """The loss in the middle and at the end by momentum, and what is left with frozen weights."""
    steps = sorted(running["step"].unique())
    early = min(steps, key=lambda step: abs(math.log(step / 10)))
    parts = []
    for step in dict.fromkeys((early, steps[-1])):
        at = running[running["step"] == step].groupby("momentum")["loss"].mean()
        losses = listed(f"{decimal(at[m], 3)} ({looks[m].name})" for m in looks if m in at)
        exact = average(floor[floor["step"] == step]["loss"], 3)
        parts.append(
            f"At step {step:g} the mean validation loss is {losses}, and {exact} with precise "
            "statistics."
        )
    means = frozen.groupby("momentum")["mean_error"].mean()
    if len(means):
        rest = listed(f"{significant(means[m])} ({looks[m].name})" for m in looks if m in means)
        parts.append(f"With frozen weights the distance of the means is {rest}.")
    return " ".join(parts)


LAST_BATCH = {
    "kept": Look("all batches", BLUE, "solid", "o"),
    "statistics_dropped": Look("not in the averages", BLUE, "solid", "o", filled=False),
    "dropped": Look("without its step", BLUE, "solid", "^", filled=False),
}


def last_batch(table: pd.DataFrame, options: dict) -> Drawing | None:
    """What a last batch of two images does to the loss at the end of each epoch."""
    rows = table[(table["part"] == "last_batch") & (table["status"] == "ok")]
    if rows.empty:
        return None
    wide = rows.pivot(index=["seed", "step"], columns="statistics", values="loss")
    ratios = wide[[*LAST_BATCH]].div(wide["precise"], axis=0)
    data = pd.concat(
        [frame.melt(ignore_index=False)["value"] for frame in (wide[[*LAST_BATCH]], ratios)], axis=1
    ).set_axis(["loss", "ratio"], axis=1)
    data.insert(0, "statistics", wide[[*LAST_BATCH]].melt(ignore_index=False)["statistics"])
    data = data.reset_index()
    ends = sorted(data["step"].unique())

    def draw(layout: Layout) -> Figure:
        shape = (len(ends), 1) if layout.narrow else (1, len(ends))
        figure, axes = panels(
            *shape, layout, height=0.4 + 0.2 * len(LAST_BATCH), sharex=True, sharey=True
        )
        for ax, step in zip(axes.flat, ends, strict=True):
            some = data[data["step"] == step]
            ax.axvline(1, color=INK, lw=0.8, zorder=1)
            for y, (kind, look) in enumerate(LAST_BATCH.items()):
                dot_row(ax, y, some[some["statistics"] == kind]["ratio"], look, log=True)
            name_rows(ax, [look.name for look in LAST_BATCH.values()])
            fit(ax, "x", [1, *data["ratio"]], log=True)
            ax.set_title(f"end of epoch {ends.index(step) + 1}")
        figure.supxlabel("loss over that with precise statistics", fontsize=8.5)
        return figure

    parts = []
    for epoch, step in enumerate(ends, 1):
        at = np.exp(np.log(data[data["step"] == step]["ratio"]).groupby(data["statistics"]).mean())
        found = listed(f"{decimal(at[k], 3)} ({look.name})" for k, look in LAST_BATCH.items())
        parts.append(f"after epoch {epoch} {found}")
    return Drawing(
        "last-batch",
        f"Validation loss over that with precise statistics: {'; '.join(parts)}.",
        "Validation loss with running averages over that of the whole training with precise "
        "statistics (logarithmic scale), at the end of each epoch whose last batch has two images, at batch size "
        f"{options['last_batch']['batch_size']}: with everything, without that batch in the "
        "running averages, and without the whole step, which `drop_last` leaves out. "
        f"{seeds_of(data, geometric=True)}"
        f"{left_out(table[table['part'] == 'last_batch'], ['seed'])}",
        data,
        draw,
    )


SHIFTS = {
    "contrast": ("less contrast", "share of the contrast left"),
    "brightness": ("more brightness", "added to every pixel"),
    "noise": ("Gaussian noise", "standard deviation"),
}
SHIFTED = {
    ("none", "running"): NONE,
    ("batch", "running"): Look("batch normalization", BLUE, "solid", "o"),
    ("batch", "reestimated"): Look("batch norm., estimated anew", BLUE, DOTTED, "o", filled=False),
}


def shifted_images(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Test accuracy on shifted images, a panel per kind of shift."""
    rows = table[(table["part"] == "shift") & table["shift"].notna()]
    if rows.empty:
        return None
    columns = ["norm", "statistics", "shift", "level"]
    data = rows[["seed", *columns]].assign(value=100 * rows["accuracy"])
    # A diverged run guesses, whatever the shift.
    failed = table[(table["part"] == "shift") & (table["status"] == "diverged")]
    for _, run in failed.iterrows():
        cells = data.loc[data["norm"] == run["norm"], columns].drop_duplicates()
        data = pd.concat([data, cells.assign(seed=run["seed"], value=100 * scoring.CHANCE)])
    shifts = in_order(data["shift"], SHIFTS)
    # Contrast 1 leaves the images as they are; the other shifts start there, too.
    clean = data[(data["shift"] == "contrast") & (data["level"] == 1)]
    missing = [name for name in shifts if name != "contrast" and not starts_at_zero(data, name)]
    data = pd.concat([data, *(clean.assign(shift=name, level=0.0) for name in missing)])
    looks = {key: look for key, look in SHIFTED.items() if of_arm(data, *key).any()}

    def draw(layout: Layout) -> Figure:
        shape = (len(shifts), 1) if layout.narrow else (1, len(shifts))
        figure, axes = panels(*shape, layout, height=1.9, sharex=False, sharey=True)
        for ax, name in zip(axes.flat, shifts, strict=True):
            some = data[data["shift"] == name]
            for key, look in looks.items():
                curve(ax, some[of_arm(some, *key)], "level", look, size=5)
            ax.set_xticks(sorted(some["level"].unique()))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda v, _: f"{v:g}"))
            title, unit = SHIFTS[name]
            ax.set_title(title)
            ax.set_xlabel(unit)
            if name == "contrast":
                ax.invert_xaxis()
        fit(axes.flat[0], "y", data["value"])
        for ax in axes[:, 0]:
            ax.set_ylabel("test accuracy (%)")
        legend(figure, list(looks.values()), layout, wide=3)
        return figure

    parts = []
    for name in shifts:
        some = data[data["shift"] == name]
        end = some["level"].min() if name == "contrast" else some["level"].max()
        at = some[some["level"] == end]
        values = listed(
            f"{average(at[of_arm(at, *key)]['value'], 1)} percent ({look.name})"
            for key, look in looks.items()
        )
        parts.append(f"at {name} {end:g} {values}")
    return Drawing(
        "shifted-images",
        f"Mean test accuracy where the shift is largest: {'; '.join(parts)}.",
        f"Accuracy on test images with {listed(SHIFTS[name][0] for name in shifts)}, one at a "
        "time, in units of the brightest pixel; shifts grow to the right. Batch normalization is evaluated with "
        "the running averages of training, and with statistics estimated anew on "
        f"{options['statistics_images']:,} validation images with the same shift. "
        f"{bands_of(data)}{guessing(failed, ['norm', 'seed'])}",
        data,
        draw,
    )


def starts_at_zero(data: pd.DataFrame, name: str) -> bool:
    return 0 in set(data[data["shift"] == name]["level"])


def of_arm(rows: pd.DataFrame, norm: str, statistics: str) -> pd.Series:
    return (rows["norm"] == norm) & (rows["statistics"] == statistics)
