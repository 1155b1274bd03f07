"""Figures of the statistics at inference (S9)."""

import math
from collections.abc import Iterable

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.report import words
from bnstudy.report.look import BLUE, DOTTED, INK, RULE, Drawing, Layout, Look, looks_of
from bnstudy.report.marks import curves, fit, rows
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import counted, decimal, listed
from bnstudy.report.study_figures.tables import BATCH, NONE, per_look
from bnstudy.scoring import chance

PRECISE = Look("precise statistics", INK, "", "")
STALENESS = {
    "loss": "validation loss (nats)",
    "mean_error": "distance of the means (sd)",
    "rest": "distance at rest (sd)",
}


def momentum_looks(momenta: Iterable[str]) -> dict[str, Look]:
    """A look for each momentum in order, the cumulative average last."""
    cumulative = [m for m in momenta if m == "cumulative"]
    numbers = sorted((m for m in momenta if m != "cumulative"), key=float)
    return looks_of([*numbers, *cumulative], name=momentum_name)


def momentum_name(momentum: str) -> str:
    return "cumulative average" if momentum == "cumulative" else f"momentum {momentum}"


def staleness(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Running against precise statistics over the first steps of training."""
    table = table[table["part"] == "staleness"]
    found = table[table["status"] == "ok"]
    if found.empty:
        return None
    data = found.assign(momentum=found["momentum"].astype(str))
    data = data[["seed", "momentum", "step", "statistics", "loss", "mean_error"]]
    momenta = momentum_looks(data["momentum"].unique())
    looks = momenta | {"precise": PRECISE}
    running, frozen = (data[data["statistics"] == name] for name in ("running", "frozen"))
    # All momenta see the same weights, so any of them has the precise statistics of all.
    floor = data[(data["statistics"] == "precise") & (data["momentum"] == next(iter(momenta)))]
    loss = pd.concat([running, floor.assign(momentum="precise")])
    values = {
        "loss": loss.assign(value=loss["loss"]),
        "mean_error": running.assign(value=running["mean_error"]),
        "rest": frozen.assign(value=frozen["mean_error"]),
    }
    shown = pd.concat(rows.assign(measure=measure) for measure, rows in values.items())

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "measure", layout, sharex=False, sharey=False, height=1.95, wrap=(3, 1),
            x=dict.fromkeys(STALENESS, "step") | {"rest": "after an epoch, weights frozen"},
            y={"rest": "momentum"}, yscale={"loss": "log", "mean_error": "log"}, cols=[*STALENESS],
            xscale=dict.fromkeys(STALENESS, "log") | {"rest": "geometric"}, col_name=STALENESS,
        )  # fmt: skip
        for ax, part in panels:
            if part["measure"].iat[0] == "rest":
                rows(ax, part, "value", "momentum", momenta, names={"cumulative": "all"})
                fit(ax, "x", part["value"], log=True)
            else:
                curves(ax, part, "step", "value", looks, "momentum", size=4)
                fit(ax, "x", part["step"], log=True)
                fit(ax, "y", part["value"], log=True)
        return panels.finish(looks, columns=3)

    epochs = options["staleness"]["epochs"]
    return Drawing(
        "staleness",
        staleness_finding(loss, frozen, looks),
        f"*Validation loss* in the first {'epoch' if epochs == 1 else counted(epochs, 'epoch')} at "
        f"batch size {options['staleness']['batch_size']}, evaluated with running averages of "
        "several momenta and with precise statistics, the mean and variance over "
        f"{options['statistics_images']:,} training images under the weights of that step. "
        "*Distance of the means:* root mean square over units of running minus precise mean, in "
        "standard deviations. *Distance at rest:* the same for the first layer against the whole "
        "training set, after one more epoch with frozen weights; what is left is the short memory "
        f"of the average. All axes of numbers are logarithmic. {words.bands_of(data)}"
        f"{words.left_out(table, ['momentum', 'seed'])}",
        data,
        draw,
    )


def staleness_finding(loss: pd.DataFrame, frozen: pd.DataFrame, looks: dict[str, Look]) -> str:
    """The loss in the middle and at the end by momentum, and what is left with frozen weights."""
    steps = sorted(loss["step"].unique())
    early = min(steps, key=lambda step: abs(math.log(step / 10)))
    parts = []
    for step in dict.fromkeys((early, steps[-1])):
        at = loss[loss["step"] == step]
        losses = per_look(at, "momentum", looks, lambda one: words.average(one["loss"], 3))
        parts.append(f"At step {step:g} the mean validation loss is {losses}.")
    if len(frozen):
        rest = frozen.groupby("momentum")["mean_error"].mean()
        said = listed(f"{words.significant(rest[m])} ({looks[m].name})" for m in looks if m in rest)
        parts.append(f"With frozen weights the distance of the means is {said}.")
    return " ".join(parts)


LAST_BATCH = {
    "kept": Look("all batches", BLUE),
    "statistics_dropped": Look("not in the averages", BLUE, filled=False),
    "dropped": Look("without its step", BLUE, marker="^", filled=False),
}


def last_batch(table: pd.DataFrame, options: dict) -> Drawing | None:
    """What a last batch of two images does to the loss at the end of each epoch."""
    table = table[table["part"] == "last_batch"]
    found = table[table["status"] == "ok"]
    if found.empty:
        return None
    wide = found.pivot(index=["seed", "step"], columns="statistics", values="loss")
    data = wide[[*LAST_BATCH]].stack().rename("loss").reset_index()
    precise = wide["precise"].loc[[*zip(data["seed"], data["step"], strict=True)]]
    data["ratio"] = data["loss"] / precise.to_numpy()
    ends = {step: epoch for epoch, step in enumerate(sorted(data["step"].unique()), 1)}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "step", layout, x="relative to precise statistics", xscale="geometric",
            yscale=None, cols=[*ends], col_name=lambda step: f"end of epoch {ends[step]}",
            height=0.4 + 0.2 * len(LAST_BATCH), wrap=(4, 1),
        )  # fmt: skip
        for ax, part in panels:
            ax.axvline(1, **RULE)
            rows(ax, part, "ratio", "statistics", LAST_BATCH)
            fit(ax, "x", [1, *data["ratio"]], log=True)
        return panels.finish()

    def ratio(one: pd.DataFrame) -> str:
        return decimal(words.geometric_mean(one["ratio"]), 3)

    parts = (
        f"after epoch {ends[step]} {per_look(at, 'statistics', LAST_BATCH, ratio)}"
        for step, at in data.groupby("step")
    )
    return Drawing(
        "last-batch",
        f"Validation loss over that with precise statistics: {'; '.join(parts)}.",
        "Validation loss with running averages over that of the whole training with precise "
        "statistics (logarithmic scale), at the end of each epoch whose last batch has two images, "
        f"at batch size {options['last_batch']['batch_size']}: with everything, without that batch "
        "in the running averages, and without the whole step, which `drop_last` leaves out. "
        f"{words.seeds_of(data, geometric=True)}{words.left_out(table, ['seed'])}",
        data,
        draw,
    )


SHIFTS = {
    "contrast": ("less contrast", "share of the contrast left"),
    "brightness": ("more brightness", "added to every pixel"),
    "noise": ("Gaussian noise", "standard deviation"),
}
SHIFTED = {  # by norm and statistics
    "none running": NONE,
    "batch running": BATCH,
    "batch reestimated": Look("batch norm., estimated anew", BLUE, DOTTED, filled=False),
}


def shifted_images(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Test accuracy on shifted images, a panel per kind of shift."""
    table = table[table["part"] == "shift"]
    found = table[table["shift"].notna()]
    if found.empty:
        return None
    columns = ["norm", "statistics", "shift", "level"]
    data = found[["seed", *columns]].assign(value=100 * found["accuracy"])
    # A diverged run guesses, whatever the shift.
    failed = table[table["status"] == "diverged"]
    cells = data[columns].drop_duplicates().merge(failed[["norm", "seed"]], on="norm")
    data = pd.concat([data, cells.assign(value=100 * chance(table["n_classes"].max()))])
    shifts = words.in_order(data["shift"], SHIFTS)
    # Contrast 1 leaves the images as they are; the other shifts start there, too.
    clean = data[(data["shift"] == "contrast") & (data["level"] == 1)]
    started = {"contrast", *data[data["level"] == 0]["shift"]}
    starts = (clean.assign(shift=shift, level=0.0) for shift in shifts if shift not in started)
    data = pd.concat([data, *starts], ignore_index=True)
    shown = data.assign(arm=data["norm"] + " " + data["statistics"])
    looks = {arm: SHIFTED[arm] for arm in words.in_order(shown["arm"], SHIFTED)}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "shift", layout, sharex=False, height=1.9, wrap=(3, 1), cols=shifts,
            x={shift: unit for shift, (_, unit) in SHIFTS.items()}, xscale=None,
            y="test accuracy (%)", col_name={shift: title for shift, (title, _) in SHIFTS.items()},
        )  # fmt: skip
        for ax, part in panels:
            curves(ax, part, "level", "value", looks, "arm", size=5)
            levels = sorted(part["level"].unique())
            ax.set_xticks(levels, [f"{level:g}" for level in levels])
            if part["shift"].iat[0] == "contrast":
                ax.invert_xaxis()
            fit(ax, "y", shown["value"])
        return panels.finish(looks)

    def accuracy(one: pd.DataFrame) -> str:
        return f"{words.average(one['value'], 1)} percent"

    parts = []
    for shift, levels in shown.groupby("shift", sort=False):
        end = levels["level"].min() if shift == "contrast" else levels["level"].max()
        at = levels[levels["level"] == end]
        parts.append(f"at {shift} {end:g} {per_look(at, 'arm', looks, accuracy)}")
    return Drawing(
        "shifted-images",
        f"Mean test accuracy where the shift is largest: {'; '.join(parts)}.",
        f"Accuracy on test images with {listed(SHIFTS[shift][0] for shift in shifts)}, one at a "
        "time, in units of the brightest pixel; shifts grow to the right. Batch normalization is "
        "evaluated with the running averages of training, and with statistics estimated anew on "
        f"{options['statistics_images']:,} validation images with the same shift. "
        f"{words.bands_of(data)}{words.guessing(failed, ['norm', 'seed'])}",
        data,
        draw,
    )
