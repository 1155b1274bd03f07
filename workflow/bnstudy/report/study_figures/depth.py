"""Figures of depth (S4) and of the gradients while deep networks train (S4b)."""

import math

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnstudy.report.results import SPACE, counted, decimal, listed
from bnstudy.report.study_figures.runs import (
    INTERVALS,
    ON_DARK,
    ON_LIGHT,
    SUPERSCRIPTS,
    arms,
    bare_inside,
    differences,
    in_order,
    interval_phrase,
    name,
    number,
    outer_labels,
    per_arm,
    product_of,
    runs,
    seeds_of,
    select,
    strip,
    swept_accuracy,
)
from bnstudy.report.study_figures.toolkit import (
    INK,
    PAPER,
    Drawing,
    Layout,
    arm,
    arm_legend,
    arm_name,
    band,
    panels,
)
from bnstudy.scoring import fails_below


def relu_or_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ReLU networks, or of whatever activation was run."""
    activations = in_order(table["activation"])
    return select(table, activation="relu" if "relu" in activations else activations[0])


def depth_map(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by depth and initialization as a heat map per arm, and the paired differences."""
    frame = swept_accuracy(relu_or_first(table))
    keys = ["norm", "initialization", "depth"]
    cells = frame.groupby(keys, sort=False).agg(
        accuracy=("value", "mean"),
        trained=("failed", lambda failed: int((~failed).sum())),
        runs=("failed", "size"),
    )
    gains = differences(frame, ["initialization", "depth"])
    gain = band(gains, ["initialization", "depth"]).set_index(["initialization", "depth"])
    inits, norms = in_order(frame["initialization"]), arms(frame)
    depths = sorted(frame["depth"].unique())
    parts = norms + (["difference"] if len(gain) else [])

    def draw(layout: Layout) -> Figure:
        shape = (len(parts), 1) if layout.narrow else (1, len(parts))
        height = 0.46 * len(inits) + 0.5
        figure, axes = panels(*shape, layout, height=height, sharex=True, sharey=True)
        for ax, part in zip(axes.flat, parts, strict=True):
            grid = np.full((len(inits), len(depths)), np.nan)
            for (i, init), (j, depth) in product_of(inits, depths):
                if part == "difference":
                    write_difference(ax, j, i, gain, (init, depth))
                elif (part, init, depth) in cells.index:
                    cell = cells.loc[(part, init, depth)]
                    grid[i, j] = cell["accuracy"]
                    write_cell(
                        ax,
                        j,
                        i,
                        decimal(cell["accuracy"], 1),
                        f"{cell['trained']:.0f}/{cell['runs']:.0f}",
                        on_heat(cell["accuracy"]),
                    )
            edges = [np.arange(n + 1) - 0.5 for n in (len(depths), len(inits))]
            ax.pcolormesh(
                *edges, np.ma.masked_invalid(grid), cmap="cividis", vmin=0, vmax=100,
                edgecolor=PAPER, linewidth=1.5,
            )  # fmt: skip
            ax.set_xticks(range(len(depths)), [str(depth) for depth in depths])
            ax.set_yticks(range(len(inits)), [name(init).replace(" ", "\n") for init in inits])
            ax.set_ylim(len(inits) - 0.5, -0.5)
            ax.grid(visible=False)
            ax.tick_params(length=0)
            ax.spines[:].set_visible(False)
            ax.set_title("difference (points)" if part == "difference" else arm_name(part))
        outer_labels(axes, "hidden layers", "")
        return figure

    deepest = depths[-1]
    sentences = [
        f"with {name(init).replace('init', 'initialization')} "
        + listed(
            f"{decimal(cells.loc[(norm, init, deepest)]['accuracy'], 1)} percent "
            f"({cells.loc[(norm, init, deepest)]['trained']:.0f} of "
            f"{runs(int(cells.loc[(norm, init, deepest)]['runs']))} trained) {arm(norm)}"
            for norm in norms
            if (norm, init, deepest) in cells.index
        )
        for init in inits
    ]
    activation = name(in_order(frame["activation"])[0])
    differences_note = (
        " Last: the difference between the arms in percentage points, paired by seed, with the half "
        f"width of its {INTERVALS}."
        if len(gain)
        else ""
    )
    return Drawing(
        "depth",
        f"Grids of mean accuracy by depth and initial weights. At {deepest} hidden layers: "
        f"{'; '.join(sentences)}.",
        f"Mean validation accuracy in percent of {activation} networks with hidden layers of "
        f"{next(iter(options['depth'].values()))['hidden'][0]} units after {counted(options['epochs'], 'epoch')}, over "
        f"{seeds_of(frame)}; lighter is higher. Below each mean, the number of runs that trained: "
        f"the others diverged or ended below {100 * fails_below(10):.0f}{SPACE}%, and count as "
        f"guessing.{differences_note}",
        frame[[*keys, "seed", "value", "failed"]].rename(
            columns={"value": "accuracy (%)", "failed": "did not train"}
        ),
        draw,
    )


def on_heat(percent: float) -> str:
    """A colour that can be read on a cell of the heat map."""
    red, green, blue, _ = mpl.colormaps["cividis"](percent / 100)
    return ON_LIGHT if 0.3 * red + 0.59 * green + 0.11 * blue > 0.5 else ON_DARK


def write_cell(ax: Axes, x: float, y: float, large: str, small: str, color: str) -> None:
    ax.text(x, y - 0.04, large, ha="center", va="bottom", fontsize=8.5, color=color, weight="bold")
    ax.text(x, y + 0.1, small, ha="center", va="top", fontsize=6.8, color=color)


def write_difference(
    ax: Axes, x: float, y: float, gain: pd.DataFrame, key: tuple[str, int]
) -> None:
    if key not in gain.index:
        return
    row = gain.loc[key]
    half = (row["ci_high"] - row["ci_low"]) / 2
    interval = "" if math.isnan(half) else f"± {decimal(half, 1)}"
    write_cell(ax, x, y, decimal(row["mean"], 1, signed=True), interval, INK)


def activations(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by activation, a panel per initialization and depth that all activations share."""
    kinds = in_order(table["activation"])
    shared = table.groupby("depth")["activation"].nunique()
    depths = sorted(shared.index[shared == len(kinds)]) or sorted(table["depth"].unique())[:2]
    frame = swept_accuracy(table[table["depth"].isin(depths)])
    frame = frame.rename(columns={"activation": "level"})
    inits, norms = in_order(frame["initialization"]), arms(frame)

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(len(depths), len(inits), layout, height=1.7, sharex=True, sharey=True)
        for (i, depth), (j, init) in product_of(depths, inits):
            ax = axes[i, j]
            cell = select(frame, depth=depth, initialization=init)
            strip(ax, cell, kinds, norms, logarithmic=False)
            ax.set_ylim(0, 104)
            ax.set_yticks(range(0, 101, 25))
            layers = counted(depth, "layer")
            ax.set_title(f"{layers}, {name(init)}")
        outer_labels(axes, "activation", "accuracy (%)")
        bare_inside(axes)
        arm_legend(figure, norms, layout)
        return figure

    means = frame.groupby(["norm", "initialization", "depth", "level"])["value"].mean()
    several = len(kinds) > 1
    ranges = means.groupby(level=[0, 1, 2]).agg(
        lambda v: v.max() - v.min() if several else v.mean()
    )
    what = (
        "Range of the mean over activations, in percentage points" if several else "Mean in percent"
    )
    parts = [
        f"{counted(depth, 'layer')}, {name(init).replace('init', 'initialization')}, "
        + listed(
            f"{decimal(ranges[norm, init, depth], 1)} {arm(norm)}"
            for norm in norms
            if (norm, init, depth) in ranges.index
        )
        for depth in depths
        for init in inits
    ]
    return Drawing(
        "activations",
        f"Accuracy for each activation function. {what}: {'; '.join(parts)}.",
        f"Validation accuracy after {counted(options['epochs'], 'epoch')} for each activation "
        "function, a row per number of hidden layers and a column per initialization. Small marks "
        f"are single runs ({seeds_of(frame)}, thin lines join the runs of one), large ones the mean"
        f"{interval_phrase(frame)}. A run that diverged counts as guessing.",
        frame[["initialization", "depth", "level", "norm", "seed", "value", "failed"]].rename(
            columns={"level": "activation", "value": "accuracy (%)", "failed": "diverged"}
        ),
        draw,
    )


DEPTH_MEASURES = {
    "gradient_range_initial": "gradient range at the first step (decades)",
    "gradient_range": "gradient range in training (decades)",
    "soft_rank": "soft rank after training",
}


def depth_gradients(table: pd.DataFrame, options: dict) -> Drawing:
    """Range of the gradients over layers and soft rank of the activations against depth."""
    chosen = relu_or_first(table)
    # The activations of a run that broke off are of no use: its rank counts as zero.
    chosen = chosen.assign(soft_rank=chosen["soft_rank"].fillna(0))
    frame = chosen.melt(
        ["norm", "initialization", "seed", "depth"],
        list(DEPTH_MEASURES),
        var_name="measure",
        value_name="value",
    ).rename(columns={"depth": "level"})
    inits, norms = in_order(frame["initialization"]), arms(frame)
    depths = sorted(frame["level"].unique())

    def draw(layout: Layout) -> Figure:
        shape = (len(DEPTH_MEASURES), len(inits))
        figure, axes = panels(*shape, layout, height=1.6, sharex=True, sharey="row")
        for (i, measure), (j, init) in product_of(DEPTH_MEASURES, inits):
            ax = axes[i, j]
            cell = select(frame, measure=measure, initialization=init)
            strip(ax, cell, depths, norms, logarithmic=False)
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=measure == "soft_rank"))
            label, _, unit = DEPTH_MEASURES[measure].partition(" (")
            if j == 0:
                ax.set_ylabel(unit.rstrip(")") or "singular values")
            ax.set_title(name(init) if layout.narrow else f"{label}, {name(init)}", fontsize=7.6)
            if layout.narrow and j == 0:
                ax.set_title(f"{label}\n{name(init)}", fontsize=7.6)
        for ax in axes[:, 0]:
            ax.set_ylim(bottom=0)  # once all panels of the row are drawn
        for ax in axes[-1]:
            ax.set_xlabel("hidden layers")
        bare_inside(axes)
        arm_legend(figure, norms, layout)
        return figure

    deepest = select(frame, measure="gradient_range", level=depths[-1])
    parts = [
        f"{name(init).replace('init', 'initialization')}, "
        + per_arm(
            select(deepest, initialization=init), lambda rows: decimal(rows["value"].mean(), 2)
        )
        for init in inits
        if len(select(deepest, initialization=init))
    ]
    return Drawing(
        "depth-gradients",
        f"Three measures against depth for both arms. Mean range of the gradient norms over the "
        f"layers in training at {depths[-1]} hidden layers, in decades: {'; '.join(parts)}.",
        "Rows: decades between the largest and the smallest gradient norm of the hidden layers, at "
        "the first step and as the median over training (12 where a layer has none left); and the "
        "soft rank, the number of singular values of the last hidden layer's activations of at "
        f"least 1{SPACE}% of the largest, after training (0 for a run that diverged). Small marks "
        f"are single runs ({seeds_of(frame)}), large ones the mean{interval_phrase(frame)}.",
        frame[["measure", "initialization", "level", "norm", "seed", "value"]].rename(
            columns={"level": "depth"}
        ),
        draw,
    )


SMALLEST_GRADIENT = 1e-12  # what is smaller, or zero, is drawn as this


def gradient_paths(table: pd.DataFrame, options: dict) -> Drawing:
    """The gradient of every layer at every step read, a heat map per arm and initialization."""
    frame = table.dropna(subset=["gradient_norm"])
    frame = frame.assign(value=np.log10(frame["gradient_norm"].clip(lower=SMALLEST_GRADIENT)))
    keys = ["initialization", "norm", "layer", "step"]
    means = frame.groupby(keys)["value"].mean()
    inits, norms = in_order(table["initialization"]), arms(table)
    layers, steps_read = (sorted(table[key].unique()) for key in ("layer", "step"))

    def draw(layout: Layout) -> Figure:
        figure, axes = panels(len(inits), len(norms), layout, height=1.75, sharex=True, sharey=True)
        limits = {"vmin": means.min(), "vmax": means.max()} if len(means) else {}
        for (i, init), (j, norm) in product_of(inits, norms):
            ax = axes[i, j]
            heat = np.full((len(layers), len(steps_read)), np.nan)
            if (init, norm) in means.index:
                wide = means[init, norm].unstack("step").reindex(index=layers, columns=steps_read)
                heat = wide.to_numpy()
            image = ax.imshow(
                heat, cmap="cividis", aspect="auto", interpolation="none", origin="upper", **limits
            )
            shown = [k for k, step in enumerate(steps_read) if k == 0 or step in (10, 100)]
            ax.set_xticks(shown, [f"{steps_read[k]:,}" for k in shown])
            ax.set_yticks([0, len(layers) - 1], [str(layers[0]), str(layers[-1])])
            ax.grid(visible=False)
            ax.tick_params(length=2)
            short = {"none": "none", "batch": "batch norm."}.get(norm, norm)
            ax.set_title(
                f"{short if layout.narrow else arm_name(norm)}, {name(init)}", fontsize=7.6
            )
        outer_labels(axes, "step", "layer")
        bar = figure.colorbar(
            image, ax=axes, location="bottom" if layout.narrow else "right", shrink=0.8, pad=0.02
        )
        bar.set_label("gradient norm")
        bar.outline.set_visible(False)
        axis = bar.ax.xaxis if layout.narrow else bar.ax.yaxis
        axis.set_major_locator(MaxNLocator(5, integer=True))
        axis.set_major_formatter(
            FuncFormatter(lambda x, _: "10" + str(round(x)).translate(SUPERSCRIPTS))
        )
        return figure

    parts = [
        f"{arm(norm)} and {name(init).replace('init', 'initialization')} "
        + listed(
            f"{first_over_last(means[init, norm], step)} at step {step:,}"
            for step in sorted({steps_read[0], steps_read[-1]})
            if step in means[init, norm].index.get_level_values("step")
        )
        for init in inits
        for norm in norms
        if (init, norm) in means.index
    ]
    broken = len(table) - len(frame)
    return Drawing(
        "gradient-paths",
        f"Heat maps of the gradient of each layer over training. Gradient of layer {layers[0]} over "
        f"that of layer {layers[-1]}: {'; '.join(parts)}.",
        f"Norm of the gradient of each hidden layer's weights while ReLU networks of "
        f"{counted(len(layers), 'layer')} train for {counted(options['epochs'], 'epoch')}; layer 1 "
        "is next to the input. Geometric means over "
        f"{seeds_of(table)}; lighter is larger. The {counted(len(steps_read), 'step')} read stand "
        "side by side and lie ever further apart, so the axis is nearly logarithmic."
        + (f" Not finite, and left out: {counted(broken, 'reading')}." if broken else ""),
        means.rename("log10 gradient norm, mean").reset_index(),
        draw,
    )


def first_over_last(means: pd.Series, step: int) -> str:
    """Ratio of the gradients of the first and the last layer; `means` are logarithms."""
    curve = means.xs(step, level="step")
    return f"{number(10 ** (curve.iloc[0] - curve.iloc[-1]))} times"
