"""The look of every figure, once: theme, a look for each level, and intervals.

A figure is a `Drawing` of a tidy frame: `panels.small_multiples` gives a panel for each value of a row and a column,
which seaborn's axes-level functions and a few marks of our own, in `marks`, fill. Nothing there touches pyplot's
figures or draws random numbers: equal data give equal bytes.
"""

import io
import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from typing import NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib import style as mpl_style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image
from scipy.special import stdtrit

from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.report.svg import compact, side_by_side, together

# Ink on a heat map: the colours of cells are the same on a dark page, so these must be too.
ON_LIGHT, ON_DARK = "#000000", "#fefefe"
# seaborn's colour-blind-safe palette without its yellow and its lightest pink, in our order.
BLUE, ORANGE, GREEN, RED, PINK, BROWN, _, GREY, _, SKY = sns.color_palette("colorblind").as_hex()
DECLARED = read_yaml(ROOT / "report/figures.yaml")
THEME = sns.axes_style("whitegrid") | sns.plotting_context("paper") | DECLARED["theme"]
COLORS = ("text.color", "axes.edgecolor", "grid.color", "figure.facecolor")
INK, MUTED, GRID, PAPER = (THEME[name] for name in COLORS)
RULE = {"color": INK, "lw": 0.8, "zorder": 1}  # a line of reference, for axhline and axvline
CURVE_POINTS = 60  # per line; more cannot be told apart at this size
ENOUGH = 3  # seeds that an interval takes: that of two is so wide that it says nothing
WIDTH = 3.6  # inches of a picture: a phone shows them one below the other, a page two side by side


class Pictures(NamedTuple):
    """A figure as it was drawn: its pictures in order, and all in one as a page shows them."""

    svgs: list[str]
    svg: str
    png: bytes  # for readers that show no SVG; empty where not asked for


@dataclass(frozen=True)
class Drawing:
    """A figure of one or several pictures, each as wide as a phone."""

    label: str  # its name in cross-references (`fig-<label>`) and file names
    finding: str  # alternative text: what the picture shows
    caption: str  # Markdown: what, n, units, uncertainty
    data: pd.DataFrame  # the numbers drawn
    draw: Callable[[], list[Figure]]

    def pictures(self, dpi: int = 0) -> Pictures:
        """Drawn once in the theme alone: no setting of the user's matplotlib plays a part.

        The SVGs are without time, tool or document type; above a `dpi` of zero there is a PNG, too.
        """
        with mpl_style.context(THEME, after_reset=True), warnings.catch_warnings():
            # A single run has a single value, around which matplotlib widens the axis by itself.
            warnings.filterwarnings("ignore", "Attempting to set identical low and high")
            figures = self.draw()
            for figure in figures:
                if (engine := figure.get_layout_engine()) is not None:
                    engine.execute(figure)
                    figure.set_layout_engine("none")  # all in it has its place
            png = as_png(figures, dpi) if dpi else b""
            ends = map(str, range(len(figures))) if len(figures) > 1 else [""]
            svgs = [compact(as_svg(figure), end) for figure, end in zip(figures, ends, strict=True)]
            return Pictures(svgs, together(svgs), png)


def as_svg(figure: Figure) -> str:
    buffer = io.StringIO()
    nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(buffer, metadata=nothing)
    return buffer.getvalue()


def as_png(figures: Sequence[Figure], dpi: int) -> bytes:
    """Figures in one image, two side by side."""
    images = []
    for figure in figures:
        figure.set_dpi(dpi)
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        images.append(Image.fromarray(np.asarray(canvas.buffer_rgba())))
    places, size = side_by_side([image.size for image in images])
    whole = Image.new("RGB", size, PAPER)
    for image, place in zip(images, places, strict=True):
        whole.paste(image, place)
    buffer = io.BytesIO()
    whole.save(buffer, "png", optimize=True)
    return buffer.getvalue()


# Levels: a colour each and, for those who do not see it, a dash and a marker.


@dataclass(frozen=True)
class Look:
    """A series: its name, and how its line and marks look."""

    name: str
    color: str = BLUE
    dash: tuple | str = ""  # lengths of dashes and gaps in line widths, nothing for a solid line
    marker: str = "o"

    @property
    def linestyle(self) -> object:
        return (0, self.dash) if self.dash else "solid"

    def point(self, size: float = 6) -> dict:
        """Arguments of `Axes.plot` for a large mark."""
        look = {"ls": "none", "marker": self.marker, "ms": size, "color": self.color}
        return look | {"mec": PAPER, "mew": 0.8}

    def line(self, **changes: object) -> dict:
        """Arguments of `Axes.plot` for a line without marks."""
        return {"color": self.color, "ls": self.linestyle} | changes

    def handle(self, **changes: object) -> Line2D:
        """Its entry in a legend, of a line with its mark (`ls="none"`: of the mark alone)."""
        return Line2D([], [], label=self.name, **self.point(5) | {"ls": self.linestyle} | changes)


DASHED, DOTTED, DASH_DOT = (4, 1.6), (1, 1.4), (4, 1.4, 1, 1.4)
BASELINE_LOOK = Look("", ORANGE, DASHED, "s")
LEVEL_LOOKS = (
    Look("", BLUE, "", "o"),
    Look("", GREEN, DASH_DOT, "D"),
    Look("", PINK, DOTTED, "^"),
    Look("", RED, (7, 1.6), "v"),
    Look("", SKY, (2, 1.2), "P"),
    Look("", BROWN, (6, 1.4, 1, 1.4, 1, 1.4), "X"),
    Look("", GREY, (3, 3), "p"),
    Look("", INK, (8, 2, 2, 2), "*"),
    Look("", MUTED, (1, 3), "h"),
)
USUAL = {"batch": LEVEL_LOOKS[0], "layer": LEVEL_LOOKS[1]}  # alike in every study


def looks_of(levels: Iterable[Hashable], baseline: Hashable = "none", name: Callable[[object], str] = str) -> dict:
    """A look for each level, in the given order: the baseline always looks the same.

    `name` gives a level's name. Beyond nine treatments looks repeat.
    """
    levels = list(levels)
    usual = {level: USUAL[level] for level in levels if level in USUAL} | {baseline: BASELINE_LOOK}
    free = [look for look in LEVEL_LOOKS if look not in usual.values()]
    others = cycle(free or LEVEL_LOOKS[:1])
    return {k: replace(usual.get(k) or next(others), name=name(k)) for k in levels}


def series(looks: Mapping[Hashable, Look], column: str, *, markers: bool = True) -> dict:
    """Arguments of `seaborn.lineplot` that draw a line per level of a column in its look.

    The band around a line of means is its t-interval, and `Panels.finish` makes the legend.
    """
    order, style = list(looks), {"errorbar": t_interval, "err_kws": {"alpha": 0.18, "lw": 0}}
    style |= {"hue": column, "hue_order": order, "style": column, "style_order": order}
    style["palette"] = {level: look.color for level, look in looks.items()}
    style["dashes"] = {level: look.dash for level, look in looks.items()}
    style["markers"] = markers and {level: look.marker for level, look in looks.items()}
    return style | {"legend": False}


def t_interval(values: Sequence[float]) -> tuple[float, float]:
    """95 % t-interval of the mean, for seaborn's `errorbar`; NaN for fewer than `ENOUGH` values."""
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if (n := len(values)) < ENOUGH:
        return math.nan, math.nan
    half = stdtrit(n - 1, 0.975) * values.std(ddof=1) / math.sqrt(n)
    return values.mean() - half, values.mean() + half


def summary(frame: pd.DataFrame, by: Sequence[str], *, geometric: bool = False) -> pd.DataFrame:
    """Mean over seeds of the column `value` with its pointwise 95 % t-interval.

    Columns `by`, mean, ci_low, ci_high, n; the interval is empty for n < `ENOUGH`. Values that are not finite, as a
    diverging run leaves them, do not count. `geometric` takes the mean of the logarithms of what is above zero, and
    goes back.
    """
    numbers = frame["value"].astype(float)
    kept = np.isfinite(numbers) & (numbers > 0 if geometric else True)
    numbers = np.log(numbers[kept]) if geometric else numbers[kept]
    groups = numbers.groupby([frame.loc[kept, key] for key in by], sort=True, observed=True)
    table = groups.agg(["mean", "std", "count"]).reset_index().rename(columns={"count": "n"})
    half = table["std"] * stdtrit(table["n"] - 1, 0.975) / np.sqrt(table["n"])
    half = half.where(table["n"] >= ENOUGH)
    table = table.assign(ci_low=table["mean"] - half, ci_high=table["mean"] + half)
    found = ["mean", "ci_low", "ci_high"]
    table[found] = np.exp(table[found]) if geometric else table[found]
    return table[[*by, *found, "n"]]


def thinned(frame: pd.DataFrame, x: str, by: Sequence[str] = (), points: int = CURVE_POINTS) -> pd.DataFrame:
    """The rows of each group at about `points` values of x, evenly spread over their logarithm."""
    if by and len(frame):
        groups = frame.groupby(list(by), sort=False)
        return pd.concat(thinned(group, x, (), points) for _, group in groups)
    values = np.sort(frame[x].unique())
    if len(values) <= points:
        return frame
    kept = np.unique(np.geomspace(1, len(values), points).round().astype(int)) - 1
    return frame[frame[x].isin(values[kept])]
