"""Figures of depth (S4) and of the gradients while deep networks train (S4b)."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnstudy.claims.endpoints.depth import BEYOND
from bnstudy.report.look import Drawing, Layout, summary
from bnstudy.report.marks import heat, strip
from bnstudy.report.panels import power, small_multiples
from bnstudy.report.results import SPACE, arm, counted, decimal, listed
from bnstudy.report.study_figures.tables import arms, differences, name, swept_accuracy
from bnstudy.report.words import average, in_order, interval_phrase, number, per_level
from bnstudy.scoring import fails_below


def relu_or_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ReLU networks, or of whatever activation was run, with weights of a usual scale."""
    table = table[table["initialization"] != BEYOND]
    kinds = in_order(table["activation"])
    return table[table["activation"] == ("relu" if "relu" in kinds else kinds[0])]


def in_words(initialization: str) -> str:
    return name(initialization).replace("init", "initialization")


def depth_map(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by depth and initialization as a heat map per arm, and the paired differences."""
    frame = swept_accuracy(relu_or_first(table))
    inits, depths = in_order(frame["initialization"]), sorted(frame["depth"].unique())
    keys = ["initialization", "depth"]
    cells = frame.groupby(["norm", *keys]).agg(
        value=("value", "mean"), failed=("failed", "sum"), runs=("failed", "size")
    )
    cells = cells.reset_index().rename(columns={"norm": "part"})
    trained = (cells["runs"] - cells["failed"]).astype(str) + "/" + cells["runs"].astype(str)
    cells["text"] = cells["value"].map(lambda v: decimal(v, 1)) + "\n" + trained
    gain = summary(differences(frame, keys), keys).assign(part="difference")
    half = (gain["ci_high"] - gain["mean"]).map(
        lambda v: "" if math.isnan(v) else f"\n± {decimal(v, 1)}"
    )
    gain["text"] = gain["mean"].map(lambda v: decimal(v, 1, signed=True)) + half
    shown = pd.concat([cells, gain.rename(columns={"mean": "value"})])
    titles = {norm: look.name for norm, look in arms(frame).items()}
    titles |= {"difference": "difference (points)"} if len(gain) else {}
    scales = {title: {"vmin": 0, "vmax": 100} for title in titles}
    reach = gain["mean"].abs().max() or 1
    scales["difference"] = {"vmin": -reach, "vmax": reach, "cmap": "PuOr"}

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            shown, None, "part", layout, cols=list(titles), x="hidden layers", xscale=None,
            yscale=None, col_name=titles, height=0.46 * len(inits) + 0.5, wrap=(3, 1),
        )  # fmt: skip
        for ax, part in panels:
            wide = part.pivot(index="initialization", columns="depth", values=["value", "text"])
            wide = wide.reindex(index=inits).rename(lambda init: name(init).replace(" ", "\n"))
            values, text = (wide[key].reindex(columns=depths) for key in ("value", "text"))
            heat(ax, values, text, **scales[part["part"].iat[0]])
        return panels.finish()

    def said(one: pd.DataFrame) -> str:
        of = f"{(~one['failed']).sum()} of {counted(len(one), 'run')} trained"
        return f"{average(one['value'], 1)} percent ({of})"

    deepest = frame[frame["depth"] == depths[-1]]
    parts = "; ".join(
        f"with {in_words(init)} {per_level(one, 'norm', arms(one), said)}"
        for init, one in deepest.groupby("initialization", sort=False)
    )
    note = (
        " Last: the differences between the arms in percentage points, paired by seed"
        f"{interval_phrase(frame, ', with half the widths of their ')}."
    )
    width = next(iter(options["depth"].values()))["hidden"][0]
    floor = 100 * fails_below(frame["n_classes"].max())
    return Drawing(
        "depth",
        f"Grids of mean accuracy by depth and initial weights. At {depths[-1]} hidden layers: "
        f"{parts}.",
        f"Mean validation accuracy in percent of {name(frame['activation'].iat[0])} networks with "
        f"hidden layers of {width} units after {counted(options['epochs'], 'epoch')}, over "
        f"{seeds(frame)}; lighter is higher. Below each mean, the number of runs that trained: the "
        f"others diverged or ended below {floor:.0f}{SPACE}%, and count as guessing."
        f"{note if len(gain) else ''}",
        frame[["norm", *keys, "seed", "value", "failed"]].rename(
            columns={"value": "accuracy (%)", "failed": "did not train"}
        ),
        draw,
    )


def seeds(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def activations(table: pd.DataFrame, options: dict) -> Drawing:
    """Accuracy by activation, a panel per initialization and depth that all activations share."""
    kinds = in_order(table["activation"])
    shared = table.groupby("depth")["activation"].nunique()
    depths = sorted(shared.index[shared == len(kinds)]) or sorted(table["depth"].unique())[:2]
    frame = swept_accuracy(table[table["depth"].isin(depths)])
    looks = arms(frame)

    def layers(depth: int) -> str:
        return counted(depth, "layer")

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "depth", "initialization", layout, rows=depths, x="activation",
            y="accuracy (%)", xscale=None, row_name=layers, col_name=name, height=(1.6, 1.4),
        )  # fmt: skip
        for ax, part in panels:
            names = [*map(name, kinds)]
            strip(ax, part, "activation", "value", looks, "norm", order=kinds, names=names)
            ax.set_ylim(0, 104)
        return panels.finish(looks)

    several = len(kinds) > 1

    def said(one: pd.DataFrame) -> str:
        means = one.groupby("activation")["value"].mean()
        return decimal(means.max() - means.min() if several else means.mean(), 1)

    what = "Range of the mean over activations, in percentage points"
    parts = "; ".join(
        f"{layers(depth)}, {in_words(init)}, {per_level(one, 'norm', looks, said)}"
        for (depth, init), one in frame.groupby(["depth", "initialization"], sort=False)
    )
    return Drawing(
        "activations",
        f"Accuracy for each activation function. {what if several else 'Mean in percent'}: {parts}.",
        f"Validation accuracy after {counted(options['epochs'], 'epoch')} for each activation "
        "function, by number of hidden layers and initialization. Small marks are single runs "
        f"({seeds(frame)}, thin lines join the runs of one), large ones means"
        f"{interval_phrase(frame)}. A run that did not train counts as guessing.",
        frame[["initialization", "depth", "activation", "norm", "seed", "value", "failed"]].rename(
            columns={"value": "accuracy (%)", "failed": "did not train"}
        ),
        draw,
    )


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
    frame = chosen.melt(keys, list(DEPTH_MEASURES), "measure")
    depths, looks = sorted(frame["depth"].unique()), arms(frame)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "measure", "initialization", layout, x="hidden layers", xscale=None,
            y={measure: unit for measure, (_, unit) in DEPTH_MEASURES.items()}, sharey="row",
            row_name={measure: title for measure, (title, _) in DEPTH_MEASURES.items()},
            col_name=name, height=(1.6, 1.4), turn=False,
        )  # fmt: skip
        for ax, part in panels:
            strip(ax, part, "depth", "value", looks, "norm", order=depths)
        for ax in panels.axes.values():
            ax.set_ylim(bottom=0)  # once all panels of the row are drawn
        return panels.finish(looks)

    deepest = frame[(frame["measure"] == "gradient_range") & (frame["depth"] == depths[-1])]
    parts = "; ".join(
        f"{in_words(init)}, {per_level(one, 'norm', looks, lambda runs: average(runs['value'], 2))}"
        for init, one in deepest.groupby("initialization", sort=False)
    )
    return Drawing(
        "depth-gradients",
        f"Three measures against depth for both arms. Mean range of the gradient norms over the "
        f"layers in training at {depths[-1]} hidden layers, in decades: {parts}.",
        "Rows: decades between the largest and the smallest gradient norm of the hidden layers, at "
        "the first step and as the median over training (12 where a layer has none left); and the "
        "soft rank, the number of singular values of the last hidden layer's activations of at "
        f"least 1{SPACE}% of the largest, after training (0 for a run that diverged). Small marks "
        f"are single runs ({seeds(frame)}), large ones means{interval_phrase(frame)}.",
        frame,
        draw,
    )


SMALLEST_GRADIENT = 1e-12  # what is smaller, or zero, is drawn as this


def gradient_paths(table: pd.DataFrame, options: dict) -> Drawing:
    """The gradient of every layer at every step read, a heat map per arm and initialization."""
    frame = table.dropna(subset="gradient_norm")
    frame = frame.assign(value=np.log10(frame["gradient_norm"].clip(lower=SMALLEST_GRADIENT)))
    means = frame.groupby(["initialization", "norm", "layer", "step"], sort=False)["value"].mean()
    means = means.reset_index()
    looks = arms(table)
    layers, steps = (sorted(table[key].unique()) for key in ("layer", "step"))
    ends = [f"{layer}" for layer in (layers[0], layers[-1])]

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            means, "initialization", "norm", layout, cols=list(looks), x="step", y="layer",
            xscale=None, yscale=None, row_name=name, turn=False,
            col_name={norm: look.name for norm, look in looks.items()},
        )  # fmt: skip
        limits = {"vmin": means["value"].min(), "vmax": means["value"].max()}
        for ax, part in panels:
            wide = part.pivot(index="layer", columns="step", values="value")
            wide = wide.reindex(index=layers, columns=steps)
            image = ax.imshow(wide, cmap="cividis", aspect="auto", interpolation="none", **limits)
            shown = [k for k, step in enumerate(steps) if k == 0 or step in (10, 100)]
            ax.set_xticks(shown, [f"{steps[k]:,}" for k in shown])
            ax.set_yticks([0, len(layers) - 1], ends)
            ax.grid(visible=False)
        across = {"location": "bottom" if layout.narrow else "right", "shrink": 0.8, "pad": 0.02}
        ticks = {"ticks": MaxNLocator(5, integer=True), "label": "gradient norm"}
        powers = FuncFormatter(lambda v, _: power(10.0**v))
        bar = panels.figure.colorbar(
            image, ax=[*panels.axes.values()], format=powers, **across, **ticks
        )
        bar.outline.set_visible(False)
        return panels.finish()

    def ratio(one: pd.DataFrame) -> str:
        curve = one.set_index("layer")["value"].sort_index()
        return f"{number(10 ** (curve.iloc[0] - curve.iloc[-1]))} times"

    first_and_last = means[means["step"].isin([steps[0], steps[-1]])]
    parts = "; ".join(
        f"{arm(norm)} and {in_words(init)} "
        + listed(f"{ratio(one)} at step {step:,}" for step, one in cell.groupby("step"))
        for (init, norm), cell in first_and_last.groupby(["initialization", "norm"], sort=False)
    )
    broken = len(table) - len(frame)
    return Drawing(
        "gradient-paths",
        f"Heat maps of the gradient of each layer over training. Gradient of layer {ends[0]} over "
        f"that of layer {ends[1]}: {parts}.",
        f"Norm of the gradient of each hidden layer's weights while ReLU networks of "
        f"{counted(len(layers), 'layer')} train for {counted(options['epochs'], 'epoch')}; layer 1 "
        f"is next to the input. Geometric means over {seeds(table)}; lighter is larger. The "
        f"{counted(len(steps), 'step')} read stand side by side and lie ever further apart, so the "
        "axis is nearly logarithmic."
        + (f" Not finite, and left out: {counted(broken, 'reading')}." if broken else ""),
        means.rename(columns={"value": "log10 gradient norm, mean"}),
        draw,
    )
