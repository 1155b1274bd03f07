"""What figures of studies draw into a panel, beside the usual marks or in their place.

Each function takes the axes, the rows of the panel and the `marks.Plot`.
"""

import math

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import FuncFormatter, MaxNLocator
from scipy.stats import gmean

from bnstudy.claims.endpoints.initialization import skip_in_theory
from bnstudy.claims.endpoints.practice import BAND_POINTS
from bnstudy.report.frames import UNTRAINED
from bnstudy.report.look import BLUE, GRID, MUTED, RED, RULE, Look, summary, thinned
from bnstudy.report.marks import Plot, dots, heat, note, rank_of, row_names
from bnstudy.report.panels import power
from bnstudy.report.plots import BAR, THEORY
from bnstudy.training.observers.angles import equilibrium

TOLERANCE = 0.05  # of the shaded band around theory, relative


def usable_bands(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """Below zero, a bar per arm over the settings within a point of each seed's best."""
    x = "gain" if "gain" in part else "learning_rate"
    for i, (norm, look) in enumerate(plot.looks.items()):
        ends = usable(part[part["norm"] == norm], x)
        if ends is not None:
            bar = [ends[0] / 10**0.09, ends[1] * 10**0.09]
            ax.plot(bar, [-7.0 * (i + 1)] * 2, color=look.color, clip_on=False, **BAR)
    ax.set_ylim(-7.0 * len(plot.looks) - 5, 104)
    ax.set_yticks(range(0, 101, 25))
    ax.spines["left"].set_bounds(0, 100)


def usable(frame: pd.DataFrame, x: str) -> tuple[float, float] | None:
    """Medians over seeds of the ends of the band within a point of the best; None if no run trained."""
    trained = frame[~frame[UNTRAINED]]
    if trained.empty:
        return None
    best = trained.groupby("seed")["value"].transform("max")
    within = trained[trained["value"] >= best - BAND_POINTS].groupby("seed")[x]
    low, high = (10 ** float(np.log10(end).median()) for end in (within.min(), within.max()))
    return low, high


def slopes_in_theory(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    mean = summary(part, ["network", "layer"], geometric=True)
    for network, curve in mean.groupby("network"):
        ax.plot(*theory_line(curve, plot.words["growth"][network], *plot.words["middle"]), **THEORY)


def theory_line(curve: pd.DataFrame, growth: float, first: int, last: int) -> tuple:
    """Norms that grow by `growth` (of their squares) a layer towards the input.

    The line spans the layers `first` to `last` and has the geometric mean of the measured ones.
    """
    middle = curve[curve["layer"].between(first, last)]
    layers, level = middle["layer"].astype(float), np.log(middle["mean"]).mean()
    line = np.exp(level - (layers - layers.mean()) * math.log(growth) / 2)
    return layers.to_numpy(), line.to_numpy()


def growth_in_theory(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """The growth that theory has for batch sizes around the measured ones, and a band around it."""
    from bnstudy.studies.init_gradients import growth_in_theory  # imports torch

    low, high = max(4, plot.words["sizes"][0] / 1.5), plot.words["sizes"][-1] * 1.5
    x = np.geomspace(low, high, 40)
    theory = np.array([growth_in_theory(part["network"].iat[0], size) for size in x])
    ax.fill_between(x, theory * (1 - TOLERANCE), theory * (1 + TOLERANCE), fc=GRID, lw=0)
    ax.plot(x, theory, **THEORY)


def equilibrium_angles(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    decays = np.linspace(part["weight_decay"].min(), part["weight_decay"].max(), 30)
    ax.plot(decays, [equilibrium(plot.words["learning_rate"], d) for d in decays], **THEORY)


def random_walk(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    blocks = sorted(part["block"].unique())
    ax.plot(blocks, [skip_in_theory(block) for block in blocks], **THEORY)


def root_law(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """One over the root of the batch size, through the geometric mean of what was measured."""
    if part["panel"].iat[0] == "batch":
        means = part.groupby("size")["value"].agg(gmean)
        roots = np.sqrt(means.index.to_numpy())
        ax.plot(means.index, gmean(means * roots) / roots, **THEORY)


def both_norms(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """Vertical lines at the geometric means without and with batch normalization."""
    for arm, one in part[part["arm"].isin(["none", "batch"])].groupby("arm"):
        ax.axvline(gmean(one["value"]), **plot.looks[arm].line(lw=1, alpha=0.6))


def grows_to_the_right(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    levels = sorted(part["level"].unique())
    ax.set_xticks(levels, [f"{level:g}" for level in levels])
    if part["shift"].iat[0] == "contrast":
        ax.invert_xaxis()


# Panels that are no curves, strips or rows.


def errors(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A row per check, right of the tolerance what does not hold; at the left end no error at all."""
    row_names(ax, [look.name for look in plot.looks.values()])
    ax.hlines(range(len(plot.looks)), 0, 1, GRID, lw=0.6, transform=ax.get_yaxis_transform())
    places = rank_of(part["check"], plot.looks)
    for holds, color, marker in ((1, BLUE, "o"), (0, RED, "X")):
        one = part["holds"] == holds
        ax.plot(part["value"][one], places[one], **Look("", color, marker=marker).point(5))
    zero, high = plot.words["zero"], max(10.0, part["value"].max()) * 10
    powers = [10.0**e for e in range(-40, 40, 4) if 100 * zero < 10.0**e < high]
    ax.set(xscale="log", xlim=(zero / 4, high))
    ax.axvspan(1, high, color=GRID, alpha=0.45, lw=0, zorder=0)
    ax.set_xticks([zero, *powers], ["0", *map(power, powers)])
    ax.minorticks_off()
    for text, side, align in (("holds", -4, "right"), ("does not hold", 4, "left")):
        note(ax, text, (1, 1), (side, 3), "data axes", ha=align, color=MUTED)


def percentiles(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A median as a line, between outer percentiles."""
    look = plot.looks[part["norm"].iat[0]]
    outer = part["percentile_15"], part["percentile_85"]
    ax.fill_between(part["step"], *outer, color=look.color, alpha=0.2, lw=0)
    ax.plot(part["step"], part["percentile_50"], **look.line(lw=1.8))


def clouds(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A small mark per run at its drift and loss, a large one at the geometric means."""
    for arm, runs in part.groupby("arm"):
        dots(ax, runs["drift"], runs["value"], plot.looks[arm])
        center = runs[["drift", "value"]].agg(gmean)
        ax.plot(*center, **plot.looks[arm].point(6.5), zorder=3)


def paths(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """Validation against training loss: geometric means from the first epoch to the last, and runs."""
    for arm, look in plot.looks.items():
        one, losses = part[part["arm"] == arm], ["train_loss", "val_loss"]
        for _, run in thinned(one, "epoch", points=16).groupby("seed"):
            ax.plot(*run[losses].to_numpy().T, color=look.color, lw=0.5, alpha=0.25)
        mean = one.groupby("epoch")[losses].agg(gmean).reset_index()
        mean = thinned(mean, "epoch", points=24)[losses]
        ends = look.point(4.5) | {"ls": look.linestyle, "markevery": [0, len(mean) - 1]}
        ax.plot(*mean.to_numpy().T, zorder=3, **ends)
    target = plot.words["matched_train_loss"]
    ax.autoscale_view()
    ax.autoscale(enable=False)
    ax.axline((1, 1), (2, 2), color=MUTED, lw=0.8)
    ax.axvline(target, **RULE)
    note(ax, f"compared at {target:g}", (target, 1), (3, -2), "data axes", va="top")
    ax.invert_xaxis()


def accuracies(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A map of the accuracy of an arm by depth and initialization, or of the paired differences."""
    names, reach = plot.words["initializations"], plot.words["reach"]
    wide = part.pivot(index="initialization", columns="depth", values=["value", "text"])
    wide = wide.reindex(index=[*names]).rename(names)
    scale = {"vmin": 0, "vmax": 100}
    if part["norm"].iat[0] == "difference":
        scale = {"vmin": -reach, "vmax": reach, "cmap": "PuOr"}
    heat(ax, wide["value"], wide["text"], **scale)


def gradients(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
    """A map of the logarithm of the gradient of every layer at every step read."""
    layers, steps = plot.words["layers"], plot.words["read"]
    wide = part.pivot(index="layer", columns="step", values="value")
    wide = wide.reindex(index=layers, columns=steps)
    style = {"cmap": "cividis", "aspect": "auto", "interpolation": "none"}
    image = ax.imshow(wide, **style, **plot.words["limits"])
    shown = [k for k, step in enumerate(steps) if k == 0 or step in (10, 100)]
    ax.set_xticks(shown, [f"{steps[k]:,}" for k in shown])
    ax.set_yticks([0, len(layers) - 1], [layers[0], layers[-1]])
    ax.grid(visible=False)
    if ax is ax.figure.axes[0]:
        bar = ax.figure.colorbar(
            image, ax=ax.figure.axes, location="bottom", ticks=MaxNLocator(5, integer=True),
            label="gradient norm", shrink=0.8, pad=0.02,
            format=FuncFormatter(lambda v, _: power(10.0**v)),
        )  # fmt: skip
        bar.outline.set_visible(False)
