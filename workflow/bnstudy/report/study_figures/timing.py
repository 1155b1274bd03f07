"""Figure of the time of a step (S11)."""

import math

import pandas as pd
from matplotlib.figure import Figure
from scipy import stats

from bnstudy.report.look import BLUE, MUTED, RULE, Drawing, Layout, Look
from bnstudy.report.marks import fit, means, rows, spread
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import SPACE, counted, decimal, listed

FAR = 1.6  # times the largest median, or below the smallest, a block is drawn at the edge
SIGNS = 6  # blocks that a 95 % interval of the median takes
PHASES = {  # by phase and arm
    "training, batch": Look("training", BLUE),
    "inference, batch": Look("inference", BLUE, marker="D"),
    "inference, fused": Look("inference, fused", BLUE, marker="s", filled=False),
}


def step_times(table: pd.DataFrame, options: dict) -> Drawing | None:
    """Ratios of step times with and without batch normalization, a panel per phase."""
    keys = ["batch_size", "seed", "phase"]
    wide = table.pivot(index=keys, columns="arm", values="milliseconds")
    if "none" not in wide:
        return None
    data = wide.div(wide.pop("none"), axis=0).stack().rename("ratio").reset_index()
    data = data.rename(columns={"seed": "block"})
    data = data.assign(kind=data["phase"] + ", " + data["arm"])
    data = data[data["kind"].isin(PHASES)]
    if data.empty:
        return None
    phases = [kind for kind in PHASES if (data["kind"] == kind).any()]
    sizes = sorted(data["batch_size"].unique())
    medians = data.groupby(["kind", "batch_size"])["ratio"].median()
    # A block that was disturbed can be far off; it is drawn at the edge instead of far out.
    low = max(data["ratio"].min(), min(1.0, medians.min()) / FAR)
    high = min(data["ratio"].max(), max(1.0, medians.max()) * FAR)
    low, high = min(low, 0.95), max(high, 1.05)
    outside = int((~data["ratio"].between(low, high)).sum())

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            data, None, "kind", layout, cols=phases, x="time over that without", xscale="log",
            y="batch size", yscale=None, col_name={kind: PHASES[kind].name for kind in phases},
            height=0.45 + 0.27 * len(sizes), wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            look = PHASES[part["kind"].iat[0]]
            ax.axvline(1, **RULE)
            rows(ax, part, "ratio", "batch_size", look, order=sizes, average=False)
            inside = part["ratio"].between(low, high)
            rows(ax, part[inside], "ratio", "batch_size", look, order=sizes, average=False)
            part = part.assign(place=part["batch_size"].map(sizes.index))
            for marker, beyond in (("<", part["ratio"] < low), (">", part["ratio"] > high)):
                edge, place = part["ratio"][beyond].clip(low, high), part["place"][beyond]
                open_ones = {"ls": "none", "marker": marker, "mfc": "none", "mec": MUTED, "ms": 2.8}
                ax.plot(edge, place + spread(len(place), 0.3), mew=0.6, **open_ones)
            medians_of = {"estimator": "median", "errorbar": median_interval}
            means(ax, part, "ratio", "place", look, orient="y", **medians_of)
            fit(ax, "x", [low, high], log=True)
        return panels.finish()

    def said(kind: str) -> str:
        found = medians[kind].items()
        return listed(f"{decimal(ratio, 2)} times at batch size {size}" for size, ratio in found)

    n = data["block"].nunique()
    intervals = f" with 95{SPACE}% intervals from order statistics" if n >= SIGNS else ""
    edge = f" Outside the axes lie {counted(outside, 'circle')}, drawn at the edge as triangles."
    return Drawing(
        "timing",
        "Median time of a step with batch normalization over that without: "
        f"{'; '.join(f'{PHASES[kind].name} {said(kind)}' for kind in phases)}.",
        "Time of a step with batch normalization over that without (logarithmic scale), training "
        "and inference, and inference once batch normalization is folded into the Linear layer "
        f"before it. A circle is one of {counted(n, 'block')} of {counted(options['steps'], 'step')} "
        f"that the arms took in turns; large marks are medians{intervals}. The vertical line marks "
        f"equal times.{edge if outside else ''}",
        data.drop(columns="kind"),
        draw,
    )


def median_interval(values: pd.Series) -> tuple[float, float]:
    """95 % interval of the median from order statistics; NaN of fewer values than it takes."""
    if len(values) < SIGNS:
        return math.nan, math.nan
    return tuple(stats.quantile_test(values, p=0.5).confidence_interval(0.95))
