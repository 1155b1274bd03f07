"""Figure of small batches (S8)."""

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.report.look import BLUE, DASHED, DOTTED, MUTED, PINK, Drawing, Layout, Look
from bnstudy.report.marks import across, curves, doubling_axis, fit
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import capitalized
from bnstudy.report.study_figures.tables import LAYER, NONE
from bnstudy.report.words import average, bands_of, guessing, in_order, per_level

LINES = {  # the statistics that batch normalization is evaluated with, and norms beside it
    "running": Look("batch norm., running averages", BLUE),
    "precise": Look("batch norm., precise statistics", PINK, DASHED, "v"),
    "batch": Look("batch norm., batch statistics", MUTED, DOTTED, "^"),
    "none": NONE,
    "layer": LAYER,
}
OTHERS = ("none", "layer")
DESIGNS = {"groups": ("ghost", "group_size"), "batches": ("batch", "batch_size")}
SIZES = ("batch_size", "group_size")


def small_batches(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Validation error against the number of images that are normalized together."""
    keys = ["design", "norm", "statistics", *SIZES, "seed"]
    data = table[keys].assign(value=100 - scoring.accuracy(table))
    other = data["norm"].isin(OTHERS)
    sizes = data["group_size"].where(data["design"] == "groups", data["batch_size"])
    shown = data.assign(line=data["norm"].where(other, data["statistics"]), size=sizes)
    present = [
        d
        for d, (norm, _) in DESIGNS.items()
        if ((data["design"] == d) & (data["norm"] == norm)).any()
    ]
    shown = shown[shown["design"].isin(present)]
    if shown.empty:
        return None

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "design", layout, cols=present, sharex=False, sharey=False, height=2.35,
            x={"groups": "images normalized together", "batches": "batch size"}, xscale=None,
            y="validation error (%)", yscale="log", wrap=(2, 1), width=layout.width,
            col_name=lambda design: design_title(design, options),
        )  # fmt: skip
        for ax, part in panels:
            whole = part["size"].isna()  # the same at any size
            for norm in OTHERS:
                across(ax, part["value"][whole & (part["line"] == norm)], LINES[norm])
            curves(ax, part[~whole], "size", "value", LINES, "line")
            fit(ax, "y", part["value"], log=True)
            doubling_axis(ax, sorted(part["size"].dropna().unique()))
        return panels.finish([LINES[line] for line in in_order(shown["line"], LINES)], columns=2)

    return Drawing(
        "small-batches",
        " ".join(
            small_batch_finding(shown[shown["design"] == design], design, options)
            for design in present
        ),
        "Validation error (logarithmic scale). "
        + " ".join(design_note(design, options) for design in present)
        + " Three lines evaluate the same batch-normalized networks with PyTorch's running "
        "averages, with precise statistics over "
        f"{options['statistics_images']:,} training images, and with the statistics of groups as "
        f"small as in training. {bands_of(data)}"
        f"{guessing(table[scoring.diverged(table)], ['design', 'norm', *SIZES, 'seed'])}",
        data,
        draw,
    )


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


def small_batch_finding(rows: pd.DataFrame, design: str, options: dict) -> str:
    """The error in the smallest and the largest groups, and that of the references."""
    own = rows[rows["line"] == "running"]
    sizes = sorted(own["size"].unique())
    ends = dict.fromkeys((sizes[0], sizes[-1]))

    def said(rows: pd.DataFrame, column: str, names: dict) -> str:
        return per_level(rows, column, names, lambda one: average(one["value"], 2), names)

    smallest = rows[rows["size"].isna() | (rows["size"] == sizes[0])]
    precise = smallest[smallest["line"] == "precise"]["value"]
    others = said(smallest, "line", {norm: f"with {LINES[norm].name}" for norm in OTHERS})
    text = f"{capitalized(design_title(design, options))}: the mean error is "
    text += said(own, "size", {size: f"percent at {size:g}" for size in ends})
    if len(precise):
        text += f"; at {sizes[0]:g} it is {average(precise, 2)} with precise statistics"
    return f"{text}; for comparison {others}." if others else f"{text}."
