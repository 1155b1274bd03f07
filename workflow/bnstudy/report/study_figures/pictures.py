"""The heat maps of the studies: accuracy by depth, and gradients by layer and step."""

import math

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from bnstudy.report.look import Drawing, summary
from bnstudy.report.marks import heat
from bnstudy.report.measures import decimal
from bnstudy.report.panels import power, small_multiples
from bnstudy.report.plots import alternative, arms
from bnstudy.report.study_figures.frames import UNTRAINED, differences


def depth_map(label: str, frame: pd.DataFrame, caption: str, row_name: dict) -> Drawing:
    """Accuracy by depth and initialization, a map per arm, and one of the paired differences."""
    keys, looks = ["initialization", "depth"], arms(frame)
    inits = list(frame["initialization"].unique())
    cells = frame.groupby(["norm", *keys], as_index=False).agg(
        value=("value", "mean"), lost=(UNTRAINED, "sum"), runs=("seed", "size")
    )
    cells["text"] = [
        f"{decimal(value, 1)}\n{runs - lost}/{runs}"
        for value, lost, runs in cells[["value", "lost", "runs"]].itertuples(index=False)
    ]
    gain = summary(differences(frame, keys), keys).assign(norm="difference")
    gain["text"] = [
        decimal(mean, 1, signed=True)
        + ("" if math.isnan(high) else f"\n± {decimal(high - mean, 1)}")
        for mean, high in gain[["mean", "ci_high"]].itertuples(index=False)
    ]
    shown = pd.concat([cells, gain.rename(columns={"mean": "value"})])
    titles = {norm: look.name for norm, look in looks.items()} | {
        "difference": "difference (points)"
    }
    order = [norm for norm in titles if norm in set(shown["norm"])]
    reach = gain["mean"].abs().max() or 1
    scales = {"difference": {"vmin": -reach, "vmax": reach, "cmap": "PuOr"}}

    def draw() -> list[Figure]:
        panels = small_multiples(
            shown, None, "norm", x="hidden layers", xscale=None, yscale=None,
            cols=order, col_name=titles, height=0.46 * len(inits) + 0.5, wrap=1,
        )  # fmt: skip
        for ax, part in panels:
            wide = part.pivot(index="initialization", columns="depth", values=["value", "text"])
            wide = wide.reindex(index=inits).rename(lambda init: row_name.get(init, init))
            scale = scales.get(part["norm"].iat[0], {"vmin": 0, "vmax": 100})
            heat(ax, wide["value"], wide["text"], **scale)
        return panels.finish()

    finding = alternative(
        frame, "norm", looks, "accuracy (%)", {"initialization": row_name}, "depth"
    )
    if gain["ci_high"].notna().any():
        caption += " Below a difference stands half the width of its 95 % interval."
    data = frame[["norm", *keys, "seed", "value", UNTRAINED]]
    return Drawing(label, finding, caption, data, draw)


def gradient_paths(label: str, frame: pd.DataFrame, caption: str, row_name: dict) -> Drawing:
    """The gradient of every layer at every step, a map per arm and initialization.

    The `value` of the frame is its logarithm to base ten.
    """
    looks = arms(frame)
    layers, steps = (sorted(frame[key].unique()) for key in ("layer", "step"))
    titles = {norm: look.name for norm, look in looks.items()}

    def draw() -> list[Figure]:
        panels = small_multiples(
            frame, "initialization", "norm", cols=list(looks), x="step", y="layer", xscale=None,
            yscale=None, row_name=row_name, col_name=titles,
        )  # fmt: skip
        limits = {"vmin": frame["value"].min(), "vmax": frame["value"].max()}
        for ax, part in panels:
            wide = part.pivot(index="layer", columns="step", values="value")
            wide = wide.reindex(index=layers, columns=steps)
            image = ax.imshow(wide, cmap="cividis", aspect="auto", interpolation="none", **limits)
            shown = [k for k, step in enumerate(steps) if k == 0 or step in (10, 100)]
            ax.set_xticks(shown, [f"{steps[k]:,}" for k in shown])
            ax.set_yticks([0, len(layers) - 1], [layers[0], layers[-1]])
            ax.grid(visible=False)
        for figure in panels.figures:
            bar = figure.colorbar(
                image, ax=figure.axes, location="bottom", ticks=MaxNLocator(5, integer=True),
                label="gradient norm", shrink=0.8, pad=0.02,
                format=FuncFormatter(lambda v, _: power(10.0**v)),
            )  # fmt: skip
            bar.outline.set_visible(False)
        return panels.finish()

    ends = frame.pivot(index=["initialization", "norm", "step"], columns="layer", values="value")
    ratio = np.power(10, ends[layers[0]] - ends[layers[-1]]).rename("value").reset_index()
    what = f"gradient of layer {layers[0]} over that of layer {layers[-1]}"
    finding = alternative(ratio, "norm", looks, what, {"initialization": row_name}, "step")
    data = frame.rename(columns={"value": "log10 gradient norm, mean"})
    return Drawing(label, finding, caption, data, draw)
