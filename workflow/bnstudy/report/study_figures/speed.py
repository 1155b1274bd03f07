"""Figures of speed and accuracy: standardized input (S1b) and Fashion-MNIST (S13)."""

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnstudy.data.registry import DATASETS
from bnstudy.report.look import INK, RULE, Drawing, Layout, Look
from bnstudy.report.marks import mark_of, strip
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import SPACE, counted, listed
from bnstudy.report.study_figures.tables import (
    arms,
    differences,
    name,
    steps_and_accuracy,
)
from bnstudy.report.words import average, geometric_mean, in_order, interval_phrase, per_level

GAIN = Look("", INK, "", "D")
GAINS = {"steps_gain": 1, "accuracy_gain": 0}  # and what is no difference
SCALES = {"steps": "geometric", "accuracy": "linear"}
SCALES |= {"steps_gain": "geometric", "accuracy_gain": "linear"}


def input_scaling(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy by input scaling, and below them what each pair gains."""
    frame = steps_and_accuracy(table, "scaling")
    pairs = gains(frame, "scaling")
    note = (
        " Below, each line is a seed: how many times fewer steps its batch-normalized run took, and "
        "by how many percentage points its test accuracy is higher; the horizontal line is no "
        f"difference, black marks are means{interval_phrase(table)}."
    )
    levels = in_order(table["scaling"])
    return Drawing(
        "input-scaling",
        f"Seeds and means of both arms. {means(frame, 'scaling', levels, '{} input'.format)}",
        f"{what(options)}, batch size {options['batch_size']}, for pixels scaled to the range from "
        "\N{MINUS SIGN}1 to 1 (symmetric) and to mean 0 and standard deviation 1 (standardized). "
        f"{marks_of(table)}{note if len(pairs) else ''}",
        frame.rename(columns={"censored": "not reached"}),
        strips(pd.concat([frame, pairs]), "scaling", levels, options),
    )


def fashion(table: pd.DataFrame, options: dict) -> Drawing:
    """Steps and test accuracy of both arms by batch size."""
    frame = steps_and_accuracy(table, "batch_size")
    sizes = sorted(table["batch_size"].unique())
    titles = [DATASETS[d].title if d in DATASETS else str(d) for d in in_order(table["dataset"])]
    return Drawing(
        "fashion",
        f"Seeds and means of both arms. {means(frame, 'batch_size', sizes, 'batch size {}'.format)}",
        f"{what(options)} on {listed(titles)}. {marks_of(table)}",
        frame.rename(columns={"censored": "not reached"}),
        strips(frame, "batch_size", sizes, options),
    )


def gains(frame: pd.DataFrame, axis: str) -> pd.DataFrame:
    """How many times fewer steps batch normalization takes, and how many points it gains."""
    logs = frame["value"].mask(frame["measure"] == "steps", -np.log(frame["value"]))
    pairs = differences(frame.assign(value=logs), ["measure", axis])
    ratios = pairs["value"].mask(pairs["measure"] == "steps", np.exp(pairs["value"]))
    return pairs.assign(value=ratios, measure=pairs["measure"] + "_gain", norm="", censored=False)


def strips(
    frame: pd.DataFrame, axis: str, levels: Sequence, options: dict
) -> Callable[[Layout], Figure]:
    looks = arms(frame[frame["norm"] != ""])
    titles = {"steps": f"steps to {percent(options)}", "accuracy": "test accuracy (%)"}
    shown = in_order(frame["measure"], SCALES)
    titles |= {"steps_gain": "gain (ratio)", "accuracy_gain": "gain (points)"}

    def draw(layout: Layout) -> Figure:
        hyphen = "-\n" if layout.narrow else ""
        names = [name(level).replace("standardized", f"standard{hyphen}ized") for level in levels]
        panels = small_multiples(
            frame, None, "measure", layout, cols=shown, x="input scaling" if axis == "scaling" else "batch size",
            xscale=None, yscale=SCALES, sharey=False, col_name=titles, height=1.9, wrap=(2, 2),
        )  # fmt: skip
        for ax, part in panels:
            ax.tick_params(axis="x", labelsize=7 if layout.narrow else 8)
            style = {"order": levels, "names": names, "censored": "censored"}
            if (nothing := GAINS.get(part["measure"].iat[0])) is None:
                strip(ax, part, axis, "value", looks, "norm", **style)
            else:
                ax.axhline(nothing, **RULE)
                strip(ax, part, axis, "value", dict.fromkeys(levels, GAIN), axis, **style)
        return panels.finish([*looks.values(), *mark_of(frame["censored"], "not reached")])

    return draw


def percent(options: dict) -> str:
    return f"{round(100 * options['target'], 1):g}{SPACE}%"


def means(frame: pd.DataFrame, axis: str, levels: Sequence, say: Callable) -> str:
    """`Means, geometric for steps: batch size 64, steps 400 without normalization and ...`."""

    def said(level: object) -> str:
        rows = frame[frame[axis] == level]
        writes = {
            "steps": ("steps", lambda one: f"{geometric_mean(one['value']):,.0f}"),
            "accuracy": ("test accuracy", lambda one: f"{average(one['value'], 2)} percent"),
        }
        return ", ".join(
            f"{word} {per_level(rows[rows['measure'] == measure], 'norm', arms(rows), write)}"
            for measure, (word, write) in writes.items()
        )

    parts = "; ".join(f"{say(name(level))}, {said(level)}" for level in levels)
    return f"Means, geometric for steps: {parts}."


def what(options: dict) -> str:
    return (
        f"Steps to {percent(options)} accuracy on the validation probe (logarithmic scale) and test "
        f"accuracy after {counted(options['epochs'], 'epoch')}"
    )


def marks_of(table: pd.DataFrame) -> str:
    return (
        f"Small marks are single runs ({counted(table['seed'].nunique(), 'seed')}, thin lines join "
        f"the runs of one), large ones means{interval_phrase(table)}, for steps geometric."
    )
