"""Figures of the statistics at inference (S9)."""

import pandas as pd
from matplotlib.axes import Axes

from bnstudy.report import words
from bnstudy.report.look import BLUE, DOTTED, INK, PINK, RED, SKY, Drawing, Look, looks_of
from bnstudy.report.measures import counted, listed
from bnstudy.report.plots import curves, rows
from bnstudy.report.study_figures.tables import BATCH, NONE
from bnstudy.scoring import chance


def momentum_name(momentum: str) -> str:
    return "cumulative average" if momentum == "cumulative" else f"momentum {momentum}"


def part_of(table: pd.DataFrame, part: str) -> tuple[pd.DataFrame, str]:
    """The rows of a part of the study that did not diverge, and a sentence on those that did."""
    table = table[table["part"] == part]
    keys = ["momentum", "seed"] if part == "staleness" else ["seed"]
    return table[table["status"] == "ok"], words.left_out(table, keys) if len(table) else ""


def staleness(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Running against precise statistics over the first steps of training."""
    found, left_out = part_of(table, "staleness")
    if found.empty:
        return None
    found = found.assign(momentum=found["momentum"].astype(str))
    looks = looks_of(sorted(found["momentum"].unique()), name=momentum_name)
    running, precise = (found[found["statistics"] == kind] for kind in ("running", "precise"))
    # All momenta see the same weights, so any of them has the precise statistics of all.
    floor = precise[precise["momentum"] == next(iter(looks))].assign(momentum="precise")
    titles = {"loss": "validation loss (nats)", "mean_error": "distance of the means (sd)"}
    frame = pd.concat([running, floor]).melt(["seed", "momentum", "step"], list(titles), "measure")
    epochs = options["staleness"]["epochs"]
    return curves(
        "staleness",
        frame,
        f"*Validation loss* in the first {'epoch' if epochs == 1 else counted(epochs, 'epoch')} at "
        f"batch size {options['staleness']['batch_size']}, evaluated with running averages of "
        "several momenta and with precise statistics, the mean and variance over "
        f"{options['statistics_images']:,} training images under the weights of that step. "
        "*Distance of the means:* root mean square over units of running minus precise mean, in "
        f"standard deviations. All axes are logarithmic.{left_out}",
        x="step", hue="momentum", looks=looks | {"precise": Look("precise statistics", INK, "", "d")},
        col="measure", col_name=titles, value="", scale="log", xscale="log", sharey=False, height=1.95,
        wrap=(2, 1), width=7.6, what="loss and distance of the means",
    )  # fmt: skip


def staleness_at_rest(table: pd.DataFrame, options: dict) -> Drawing | None:
    """What is left of the distance once the weights stand still."""
    found, left_out = part_of(table, "staleness")
    found = found[found["statistics"] == "frozen"]
    if found.empty:
        return None
    frame = found.assign(momentum=found["momentum"].astype(str), value=found["mean_error"])
    levels = sorted(frame["momentum"].unique())
    return rows(
        "staleness-at-rest",
        frame[["seed", "momentum", "value"]],
        "Distance of the running from the precise mean, for the first layer against the whole training "
        "set, after one more epoch with frozen weights (standard deviations, logarithmic scale): what "
        f"is left is the short memory of the average.{left_out}",
        hue="momentum", looks=looks_of(levels, name=momentum_name), scale="geometric", width=5.6,
        value="distance of the means (sd)",
    )  # fmt: skip


LAST_BATCH = {
    "kept": Look("all batches", BLUE),
    "statistics_dropped": Look("not in the averages", SKY, marker="D"),
    "dropped": Look("without its step", PINK, marker="^"),
}


def last_batch(table: pd.DataFrame, options: dict) -> Drawing | None:
    """What a last batch of two images does to the loss at the end of each epoch."""
    found, left_out = part_of(table, "last_batch")
    if found.empty:
        return None
    wide = found.pivot(index=["seed", "step"], columns="statistics", values="loss")
    frame = wide[[*LAST_BATCH]].div(wide["precise"], axis=0).stack().rename("value").reset_index()
    ends = {step: f"end of epoch {i}" for i, step in enumerate(sorted(frame["step"].unique()), 1)}
    return rows(
        "last-batch",
        frame,
        "Validation loss with running averages over that of the whole training with precise "
        "statistics (logarithmic scale), at the end of each epoch whose last batch has two images, "
        f"at batch size {options['last_batch']['batch_size']}: with everything, without that batch "
        "in the running averages, and without the whole step, which `drop_last` leaves out."
        f"{left_out}",
        hue="statistics", looks=LAST_BATCH, col="step", cols=[*ends], col_name=ends, rule=1,
        value="relative to precise statistics", scale="geometric", sharex=True, wrap=(4, 1),
    )  # fmt: skip


SHIFTS = {
    "contrast": ("less contrast", "share of the contrast left"),
    "brightness": ("more brightness", "added to every pixel"),
    "noise": ("Gaussian noise", "standard deviation"),
}
SHIFTED = {  # by norm and statistics
    "none running": NONE,
    "batch running": BATCH,
    "batch reestimated": Look("batch norm., estimated anew", RED, DOTTED, "v"),
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

    def grows_to_the_right(ax: Axes, part: pd.DataFrame) -> None:
        levels = sorted(part["level"].unique())
        ax.set_xticks(levels, [f"{level:g}" for level in levels])
        if part["shift"].iat[0] == "contrast":
            ax.invert_xaxis()

    return curves(
        "shifted-images",
        data.assign(arm=data["norm"] + " " + data["statistics"]),
        f"Accuracy on test images with {listed(SHIFTS[shift][0] for shift in shifts)}, one at a "
        "time, in units of the brightest pixel; shifts grow to the right. Batch normalization is "
        "evaluated with the running averages of training, and with statistics estimated anew on "
        f"{options['statistics_images']:,} validation images with the same shift."
        f"{words.guessing(failed, ['norm', 'seed'])}",
        x="level", hue="arm", looks=SHIFTED, col="shift", cols=shifts, sharex=False, xscale=None,
        other={shift: unit for shift, (_, unit) in SHIFTS.items()}, value="test accuracy (%)",
        col_name={shift: title for shift, (title, _) in SHIFTS.items()}, height=1.9, wrap=(3, 1),
        then=grows_to_the_right,
    )  # fmt: skip
