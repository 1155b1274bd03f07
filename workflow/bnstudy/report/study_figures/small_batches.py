"""Figure of small batches (S8)."""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.report.figures import MUTED, Drawing, Layout, panels
from bnstudy.report.results import capitalized, listed
from bnstudy.report.study_figures.looks import (
    BATCH,
    BLUE,
    DASHED,
    DOTTED,
    LAYER,
    NONE,
    PINK,
    Look,
    average,
    bands_of,
    curve,
    doubling_axis,
    fit,
    guessing,
    legend,
    level,
)

STATISTICS = {
    "running": Look("batch norm., running averages", BLUE, "solid", "o"),
    "precise": Look("batch norm., precise statistics", PINK, DASHED, "v"),
    "batch": Look("batch norm., batch statistics", MUTED, DOTTED, "^"),
}
DESIGNS = {
    "groups": ("group_size", ("ghost",)),
    "batches": ("batch_size", ("batch",)),
}


def small_batches(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation error against the number of images that are normalized together."""
    data = table[["design", "norm", "statistics", "batch_size", "group_size", "seed"]].assign(
        value=100 - scoring.accuracy(table)
    )
    designs = [d for d in DESIGNS if (data["design"] == d).any()]
    designs = [d for d in designs if data[data["design"] == d]["norm"].isin(DESIGNS[d][1]).any()]
    if not designs:
        return None
    norms = [look for look in (NONE, LAYER) if (data["norm"] == KEYS[look.name]).any()]

    def draw(layout: Layout) -> Figure:
        shape = (len(designs), 1) if layout.narrow else (1, len(designs))
        figure, axes = panels(*shape, layout, height=2.35, sharex=False, sharey=False)
        for ax, design in zip(axes.flat, designs, strict=True):
            size, (norm,) = DESIGNS[design]
            rows = data[data["design"] == design]
            own = rows[rows["norm"] == norm]
            for look in norms:
                reference = rows[rows["norm"] == KEYS[look.name]]
                if design == "groups":
                    level(ax, reference["value"], look)
                else:
                    curve(ax, reference, size, look)
            for name, look in STATISTICS.items():
                curve(ax, own[own["statistics"] == name], size, look)
            fit(ax, "y", rows["value"], log=True)
            ax.set_title(design_title(design, options))
            ax.set_xlabel("images normalized together" if design == "groups" else "batch size")
        for ax in axes.flat if layout.narrow else axes[:, 0]:
            ax.set_ylabel("validation error (%)")
        for ax, design in zip(axes.flat, designs, strict=True):
            size, norm = DESIGNS[design]
            rows = data[(data["design"] == design) & data["norm"].isin(norm)]
            doubling_axis(ax, sorted(rows[size].dropna().unique()))
        legend(figure, [*STATISTICS.values(), *norms], layout, wide=2)
        return figure

    return Drawing(
        "small-batches",
        " ".join(small_batch_finding(data, design, options) for design in designs),
        "Validation error (logarithmic scale). "
        + " ".join(design_note(design, options) for design in designs)
        + " Three lines evaluate the same batch-normalized networks with PyTorch's running "
        "averages, with precise statistics over "
        f"{options['statistics_images']:,} training images, and with the statistics of groups as "
        "small as in training. "
        f"{bands_of(data)}"
        f"{guessing(table[scoring.diverged(table)], ['design', 'norm', *SIZES, 'seed'])}",
        data,
        draw,
    )


SIZES = ("batch_size", "group_size")
KEYS = {NONE.name: "none", BATCH.name: "batch", LAYER.name: "layer"}


def design_title(design: str, options: dict) -> str:
    if design == "groups":
        return f"gradient from {options['design']['groups']['batch_size']} images"
    return "small batches as they are"


def design_note(design: str, options: dict) -> str:
    title = capitalized(design_title(design, options))
    if design == "groups":
        return (
            f"*{title}:* every update sees the same batch, and only the groups that are "
            "normalized together get smaller."
        )
    return f"*{title}:* {options['design']['batches']['train_images']:,} training images."


def small_batch_finding(data: pd.DataFrame, design: str, options: dict) -> str:
    """The error in the smallest and the largest groups, and that of the references."""
    size, (norm,) = DESIGNS[design]
    rows = data[data["design"] == design]
    own = rows[(rows["norm"] == norm) & (rows["statistics"] == "running")]
    sizes = sorted(own[size].dropna().unique())
    ends = listed(
        f"{average(own[own[size] == s]['value'], 2)} percent at {s:g}"
        for s in dict.fromkeys((sizes[0], sizes[-1]))
    )
    precise = rows[(rows["norm"] == norm) & (rows["statistics"] == "precise")]
    precise = precise[precise[size] == sizes[0]]["value"]
    others = []
    for look in (NONE, LAYER):
        some = rows[(rows["norm"] == KEYS[look.name]) & rows[size].isin([*sizes[:1], np.nan])]
        if len(some):
            others.append(f"{average(some['value'], 2)} with {look.name}")
    text = f"{capitalized(design_title(design, options))}: the mean error is {ends}"
    if len(precise):
        text += f"; at {sizes[0]:g} it is {average(precise, 2)} with precise statistics"
    if others:
        text += f"; for comparison {listed(others)}"
    return f"{text}."
