"""Figures of depth (S4) and of the gradients while deep networks train (S4b)."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnstudy.claims.endpoints.depth import BEYOND
from bnstudy.report.look import Drawing, Layout, summary
from bnstudy.report.marks import heat
from bnstudy.report.measures import SPACE, counted, decimal
from bnstudy.report.panels import power, small_multiples
from bnstudy.report.plots import alternative, arms, strips
from bnstudy.report.study_figures.tables import (
    UNTRAINED,
    after,
    differences,
    name,
    percent,
    swept_accuracy,
)
from bnstudy.report.words import seeds_in
from bnstudy.scoring import fails_below


def relu_or_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ReLU networks, or of whatever activation was run, with weights of a usual scale."""
    table = table[table["initialization"] != BEYOND]
    kinds = table["activation"].unique()
    return table[table["activation"] == ("relu" if "relu" in kinds else kinds[0])]


def depth_map(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by depth and initialization as a heat map per arm, and the paired differences."""
    keys = ["initialization", "depth"]
    columns = ["norm", "activation", *keys, "seed", "value", UNTRAINED]
    frame = swept_accuracy(relu_or_first(table))[columns]
    looks, inits = arms(frame), list(frame["initialization"].unique())
    cells = frame.groupby(["norm", *keys]).agg(
        value=("value", "mean"), lost=(UNTRAINED, "sum"), runs=(UNTRAINED, "size")
    )
    cells = cells.reset_index().rename(columns={"norm": "part"})
    trained = (cells["runs"] - cells["lost"]).astype(str) + "/" + cells["runs"].astype(str)
    cells["text"] = cells["value"].map(lambda v: decimal(v, 1)) + "\n" + trained
    gain = summary(differences(frame, keys), keys).assign(part="difference")
    half = (gain["ci_high"] - gain["mean"]).map(
        lambda v: "" if math.isnan(v) else f"\n± {decimal(v, 1)}"
    )
    gain["text"] = gain["mean"].map(lambda v: decimal(v, 1, signed=True)) + half
    shown = pd.concat([cells, gain.rename(columns={"mean": "value"})])
    titles = {norm: look.name for norm, look in looks.items()}
    titles |= {"difference": "difference (points)"} if len(gain) else {}
    reach = gain["mean"].abs().max() or 1
    scales = {part: {"vmin": 0, "vmax": 100} for part in titles}
    scales["difference"] = {"vmin": -reach, "vmax": reach, "cmap": "PuOr"}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "part", layout, cols=list(titles), x="hidden layers", xscale=None,
            yscale=None, col_name=titles, height=0.46 * len(inits) + 0.5, wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            wide = part.pivot(index="initialization", columns="depth", values=["value", "text"])
            wide = wide.reindex(index=inits).rename(lambda init: name(init).replace(" ", "\n"))
            heat(ax, wide["value"], wide["text"], **scales[part["part"].iat[0]])
        return panels.finish()

    width = next(iter(options["depth"].values()))["hidden"][0]
    what = "accuracy in percent"
    return Drawing(
        "depth",
        alternative(frame, "norm", looks, what, {"initialization": name}, "depth"),
        f"Mean validation accuracy in percent of {name(frame['activation'].iat[0])} networks with "
        f"hidden layers of {width} units {after(options)}, over {seeds_in(frame)}; lighter is higher. "
        "Below each mean, the number of runs that trained: the others diverged or ended below "
        f"{percent(fails_below(table['n_classes'].max()))}, and count as guessing."
        + (" Last: the differences in percentage points, paired by seed." if len(gain) else "")
        + (f" Below them, half the widths of their 95{SPACE}% t-intervals." if half.any() else ""),
        frame,
        draw,
    )


def layers(depth: int) -> str:
    return counted(int(depth), "layer")


def activations(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by activation, a panel per initialization and depth that all activations share."""
    shared = table.groupby("depth")["activation"].nunique()
    depths = sorted(shared.index[shared == table["activation"].nunique()])
    depths = depths or sorted(table["depth"].unique())[:2]
    frame = swept_accuracy(table[table["depth"].isin(depths)])
    return strips(
        "activations",
        frame[["initialization", "depth", "activation", "norm", "seed", "value", UNTRAINED]],
        f"Validation accuracy {after(options)} for each activation function, by number of hidden layers "
        "and initialization. A run that did not train counts as guessing.",
        x="activation", names=name, row="depth", rows=depths, row_name=layers, col="initialization",
        col_name=name, value="accuracy (%)", scale="zero", height=(1.6, 1.4),
    )  # fmt: skip


DEPTH_MEASURES = {
    "gradient_range_initial": ("range, first step", "decades"),
    "gradient_range": ("range, training", "decades"),
    "soft_rank": ("soft rank", "singular values"),
}


def depth_gradients(table: pd.DataFrame, options: dict) -> Drawing:
    """Range of the gradients over layers and soft rank of the activations against depth."""
    chosen = relu_or_first(table)
    # The activations of a run that broke off are of no use: its rank counts as zero.
    chosen = chosen.assign(soft_rank=chosen["soft_rank"].fillna(0))
    keys = ["norm", "initialization", "seed", "depth"]
    return strips(
        "depth-gradients",
        chosen.melt(keys, list(DEPTH_MEASURES), "measure"),
        "Rows: decades between the largest and the smallest gradient norm of the hidden layers, at "
        "the first step and as the median over training (12 where a layer has none left); and the "
        "soft rank, the number of singular values of the last hidden layer's activations of at "
        f"least 1{SPACE}% of the largest, after training (0 for a run that diverged).",
        x="depth", other="hidden layers", row="measure", col="initialization", col_name=name,
        row_name={measure: title for measure, (title, _) in DEPTH_MEASURES.items()},
        value={measure: unit for measure, (_, unit) in DEPTH_MEASURES.items()},
        scale="zero", sharey="row", height=(1.6, 1.4), turn=False,
        what="gradients and rank",
    )  # fmt: skip


SMALLEST_GRADIENT = 1e-12  # what is smaller, or zero, is drawn as this


def gradient_paths(table: pd.DataFrame, options: dict) -> Drawing:
    """The gradient of every layer at every step read, a heat map per arm and initialization."""
    frame = table.dropna(subset="gradient_norm")
    frame = frame.assign(value=np.log10(frame["gradient_norm"].clip(lower=SMALLEST_GRADIENT)))
    means = frame.groupby(["initialization", "norm", "layer", "step"], sort=False)["value"].mean()
    means, looks = means.reset_index(), arms(table)
    layers, steps = (sorted(table[key].unique()) for key in ("layer", "step"))
    titles = {norm: look.name for norm, look in looks.items()}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            means, "initialization", "norm", layout, cols=list(looks), x="step", y="layer",
            xscale=None, yscale=None, row_name=name, turn=False, col_name=titles,
        )  # fmt: skip
        limits = {"vmin": means["value"].min(), "vmax": means["value"].max()}
        for ax, part in panels:
            wide = part.pivot(index="layer", columns="step", values="value")
            wide = wide.reindex(index=layers, columns=steps)
            image = ax.imshow(wide, cmap="cividis", aspect="auto", interpolation="none", **limits)
            shown = [k for k, step in enumerate(steps) if k == 0 or step in (10, 100)]
            ax.set_xticks(shown, [f"{steps[k]:,}" for k in shown])
            ax.set_yticks([0, len(layers) - 1], [layers[0], layers[-1]])
            ax.grid(visible=False)
        bar = panels.figure.colorbar(
            image, ax=[*panels.axes.values()], location="bottom" if layout.narrow else "right",
            ticks=MaxNLocator(5, integer=True), label="gradient norm", shrink=0.8, pad=0.02,
            format=FuncFormatter(lambda v, _: power(10.0**v)),
        )  # fmt: skip
        bar.outline.set_visible(False)
        return panels.finish()

    ends = means[means["layer"] == layers[0]].merge(
        means[means["layer"] == layers[-1]], on=["initialization", "norm", "step"]
    )
    ratio = ends.assign(value=10 ** (ends["value_x"] - ends["value_y"]))
    what = f"gradient of layer {layers[0]} over that of layer {layers[-1]}"
    broken = len(table) - len(frame)
    return Drawing(
        "gradient-paths",
        alternative(ratio, "norm", looks, what, {"initialization": name}, "step"),
        f"Norm of the gradient of each hidden layer's weights while ReLU networks of "
        f"{counted(len(layers), 'layer')} train for {counted(options['epochs'], 'epoch')}; layer 1 "
        f"is next to the input. Geometric means over {seeds_in(table)}; lighter is larger. The "
        f"{counted(len(steps), 'step')} read stand side by side and lie ever further apart, so the "
        "axis is nearly logarithmic."
        + (f" Not finite, and left out: {counted(broken, 'reading')}." if broken else ""),
        means.rename(columns={"value": "log10 gradient norm, mean"}),
        draw,
    )
