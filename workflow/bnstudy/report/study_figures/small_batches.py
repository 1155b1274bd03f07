"""Figure of small batches (S8)."""

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.claims.endpoints import scoring
from bnstudy.report import words
from bnstudy.report.look import BLUE, DASHED, DOTTED, MUTED, PINK, Drawing, Layout, Look
from bnstudy.report.marks import across, curves, doubling_axis, fit
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import capitalized
from bnstudy.report.study_figures.tables import LAYER, NONE
from bnstudy.scoring import failed

LINES = {  # the statistics that batch normalization is evaluated with, and norms beside it
    "running": Look("batch norm., running averages", BLUE),
    "precise": Look("batch norm., precise statistics", PINK, DASHED, "v"),
    "batch": Look("batch norm., batch statistics", MUTED, DOTTED, "^"),
    "none": NONE,
    "layer": LAYER,
}
OTHERS = ("none", "layer")
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
    keys = ["design", "norm", "statistics", *SIZES, "seed"]
    data = table[keys].assign(value=100 - scoring.accuracy(table))
    other = data["norm"].isin(OTHERS)
    sizes = data["group_size"].where(data["design"] == "groups", data["batch_size"])
    shown = data.assign(line=data["norm"].where(other, data["statistics"]), size=sizes)
    normalized = data["norm"].isin(("ghost", "batch"))
    present = words.in_order(data["design"][normalized], titles)
    shown = shown[shown["design"].isin(present)]
    if shown.empty:
        return None

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "design", layout, cols=present, sharex=False, sharey=False, height=2.35,
            x={"groups": "images normalized together", "batches": "batch size"}, xscale=None,
            y="validation error (%)", yscale="log", wrap=(2, 1), width=layout.width,
            col_name=titles,
        )  # fmt: skip
        for ax, part in panels:
            whole = part["size"].isna()  # the same at any size
            for norm in OTHERS:
                across(ax, part["value"][whole & (part["line"] == norm)], LINES[norm])
            curves(ax, part[~whole], "size", "value", LINES, "line")
            fit(ax, "y", part["value"], log=True)
            doubling_axis(ax, sorted(part["size"].dropna().unique()))
        lines = words.in_order(shown["line"], LINES)
        return panels.finish([LINES[line] for line in lines], columns=2)

    names = {line: f"({look.name.removeprefix('batch norm., ')})" for line, look in LINES.items()}

    def error(rows: pd.DataFrame) -> str:
        return words.average(rows["value"], 2)

    def finding(design: str) -> str:
        rows = shown[shown["design"] == design]
        low, high = rows["size"].min(), rows["size"].max()
        first = rows[rows["size"].fillna(low) == low]
        last = rows[(rows["size"] == high) & (rows["line"] == "running")]
        return (
            f"{capitalized(titles[design])}: the mean error in percent at {low:g} is "
            f"{words.per_level(first, 'line', names, error, names)}; at {high:g} it is "
            f"{error(last)} {names['running']}."
        )

    return Drawing(
        "small-batches",
        " ".join(map(finding, present)),
        "Validation error (logarithmic scale). "
        + " ".join(f"*{capitalized(titles[design])}:* {notes[design]}" for design in present)
        + " Three lines evaluate the same batch-normalized networks with PyTorch's running "
        "averages, with precise statistics over "
        f"{options['statistics_images']:,} training images, and with the statistics of groups as "
        f"small as in training. {words.bands_of(data)}"
        f"{words.guessing(table[failed(table)], ['design', 'norm', *SIZES, 'seed'])}",
        data,
        draw,
    )
