"""Small multiples: panels in pictures as wide as a phone, of which a page shows two side by side."""

import math
import textwrap
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise, product

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, MaxNLocator, NullLocator

from bnstudy.report.look import MUTED, WIDTH, Look

LETTER = 0.075  # inches of a digit on an axis
ALIGNED = 8  # labels; of more, whose alignment takes long, the ticks are alike anyway
PLAIN_DECADES = 4  # axes up to this length have plain numbers, longer ones powers of ten


@dataclass
class Panels:
    """Panels of `small_multiples` to be filled: `for ax, part in panels: ...`, then `panels.finish(looks)`.

    Iterating gives the axes and the rows of the frame that they show, of panels with any. `axes` and `parts` hold both
    by (value of the row, value of the column), of all panels.
    """

    settings: dict
    figures: list[Figure]
    axes: dict[tuple, Axes] = field(default_factory=dict)
    parts: dict[tuple, pd.DataFrame] = field(default_factory=dict)
    places: dict[tuple, tuple] = field(default_factory=dict)  # of picture, row and column in it

    def __iter__(self) -> Iterator[tuple[Axes, pd.DataFrame]]:
        return ((ax, self.parts[key]) for key, ax in self.axes.items() if len(self.parts[key]))

    def finish(self, legend: Iterable[Look | Line2D] | Mapping[object, Look] = ()) -> list[Figure]:
        """Ticks, limits and labels, once everything is drawn, and a legend above the first picture."""
        for (picture, row, column), key in self.places.items():
            ax = self.axes[key]
            if not (ax.lines or ax.collections or ax.patches or ax.images):
                middle = {"ha": "center", "va": "center", "color": MUTED, "fontsize": 7.5}
                ax.text(0.5, 0.5, "nothing was measured", transform=ax.transAxes, **middle)
            for which, neighbour in (("x", (row + 1, column)), ("y", (row, column - 1))):
                scale = of_panel(self.settings[f"{which}scale"], key)
                set_ticks(ax, which, scale, self.settings["inches"])
                self.unlabel(which, key, self.places.get((picture, *neighbour)))
        for figure in self.figures:
            labelled = [ax for ax in figure.axes if ax.get_ylabel()]
            if len(labelled) <= ALIGNED:
                figure.align_ylabels(labelled)
        if entries := list(legend.values() if isinstance(legend, Mapping) else legend):
            add_legend(self.figures, entries)
        return self.figures

    def unlabel(self, which: str, key: tuple, neighbour: tuple | None) -> None:
        """Remove what the panel below (x) or to the left (y) says already: label, and ticks."""
        ax, shared = self.axes[key], getattr(self.axes[key], f"get_shared_{which}_axes")()
        same = neighbour is not None and self.text(which, neighbour) == self.text(which, key)
        getattr(ax, f"set_{which}label")("" if same else self.text(which, key))
        if neighbour is not None and shared.joined(ax, self.axes[neighbour]):
            ticks = "labelbottom" if which == "x" else "labelleft"
            ax.tick_params(axis=which, length=0, **{ticks: False})

    def text(self, which: str, key: tuple) -> str:
        """The label of an axis; that of a row of panels starts with the name of the row."""
        words = [str(of_panel(self.settings[which], key) or "")]
        if which == "y" and not self.settings["turned"]:
            words.insert(0, said(self.settings["row_name"], key[0]))
        return "\n".join(filter(None, words))


def small_multiples(
    frame: pd.DataFrame,
    row: str | None,
    col: str | None,
    *,
    x: object = "",
    y: object = "",
    xscale: object = "linear",
    yscale: object = "linear",
    sharex: bool | str = True,
    sharey: bool | str = True,
    row_name: Callable[[object], str] | Mapping | str | None = None,
    col_name: Callable[[object], str] | Mapping | str | None = str,
    rows: Sequence | None = None,
    cols: Sequence | None = None,
    wrap: int = 2,
    height: float = 1.45,
) -> Panels:
    """A panel for each value of the columns `row` and `col` of a tidy frame.

    What does not fit side by side, at most `wrap` panels of `height` inches, goes on in the next picture. Without a
    column, or with a single value of it, the panels of the rows follow each other as words do. Values stand in order of
    appearance, that of `rows` and `cols`, or of the words for them, `row_name` and `col_name`: a function, a pattern or
    a mapping. Columns have theirs as titles; rows have them before the label of the vertical axis, or as titles where
    there are no columns.

    `x` and `y` are labels of the axes, `xscale` and `yscale` scales, one for all or a mapping from values of row or
    column: `linear`; `zero` (linear, from there on); `count` (whole numbers); `percent` (fractions written as
    percentages, the axis ends at 0 and at 1); `log` (means stay arithmetic); `geometric` (the same axis, and means and
    intervals are those of the logarithms); None: as drawn. `sharex` and `sharey` say which panels have an axis in
    common: "row" and "col" are those with the same value of it, wherever they stand.
    """
    row_values = values_of(frame, row, rows, row_name)
    col_values = values_of(frame, col, cols, col_name)
    turned = len(col_values) == 1  # rows stand side by side
    across, down = (row_values, col_values) if turned else (col_values, row_values)
    columns = min(len(across), wrap)
    inches = WIDTH / columns - 0.4
    letters = int(inches / 0.071)  # of a title, in bold

    settings = {"x": x, "y": y, "xscale": xscale, "yscale": yscale, "row_name": row_name}
    pictures = [Figure(layout="constrained") for _ in range(math.ceil(len(across) / columns))]
    panels = Panels(settings | {"turned": turned, "inches": inches}, pictures)
    grids = [figure.add_gridspec(len(down), columns) for figure in pictures]
    first: dict[tuple, Axes] = {}
    tallest = 1
    for (i, a), (j, b) in product(enumerate(down), enumerate(across)):
        key = (b, a) if turned else (a, b)
        picture, column = divmod(j, columns)
        groups = {"x": sharing("x", sharex, key), "y": sharing("y", sharey, key)}
        shared = {f"share{which}": first.get(group) for which, group in groups.items()}
        ax = pictures[picture].add_subplot(grids[picture][i, column], **shared)
        for which, group in groups.items():
            first.setdefault(group, ax)
            if of_panel(settings[f"{which}scale"], key) == "geometric":
                getattr(ax, f"set_{which}scale")("log")
        words = [said(row_name, key[0])] * turned + [said(col_name, key[1])] * (i == 0)
        title = [line for word in words for line in wrapped(word, letters)]
        # Labels stand here so that seaborn has not to look for them.
        ax.set(title="\n".join(title), xlabel=" ", ylabel=" ")
        tallest = max(tallest, len(title))
        part = frame if row is None else frame[frame[row] == key[0]]
        panels.axes[key], panels.places[picture, i, column] = ax, key
        panels.parts[key] = part if col is None else part[part[col] == key[1]]
    for figure in pictures:
        figure.set_size_inches(WIDTH, len(down) * (height + 0.13 * (tallest - 1)) + 0.5)
    return panels


def of_panel(value: object, key: tuple) -> object:
    """What holds for a panel: one value for all, or a mapping from values of row or column, `*` for others."""
    if isinstance(value, Mapping):
        return next((value[level] for level in key if level in value), value.get("*"))
    return value


def wrapped(title: str, letters: int) -> list[str]:
    """The lines of a title of panels so wide, broken at its commas if it must be broken."""
    parts = [title] if len(title) <= letters else title.replace(", ", ",\n").split("\n")
    return [line for part in parts for line in textwrap.wrap(part, max(letters, 8))]


def values_of(frame: pd.DataFrame, column: str | None, order: Sequence | None, names: object) -> list:
    """The values of a column in this order, or that of their names, or of appearance; [None] of none."""
    if order is not None:
        return list(order) or [None]
    found = list(frame[column].drop_duplicates()) if column else []
    if isinstance(names, Mapping):
        found.sort(key=lambda value: [*names, value].index(value))
    return found or [None]


def sharing(which: str, share: bool | str, key: tuple) -> tuple:
    """The group of panels that have an axis in common with that of `key`."""
    if isinstance(share, str):
        return which, share, key[share == "col"]
    return (which,) if share else (which, *key)


def said(names: Callable[[object], str] | Mapping | str | None, value: object) -> str:
    """The name of a value: by a function, a mapping, or a pattern such as `width %s`."""
    if names is None or value is None:
        return ""
    if isinstance(names, str):
        return names % value
    return names.get(value, str(value)) if isinstance(names, Mapping) else names(value)


def add_legend(figures: Sequence[Figure], entries: Sequence[Look | Line2D]) -> None:
    """Name series above the first picture; what stands beside it is left as much room."""
    handles = [entry.handle() if isinstance(entry, Look) else entry for entry in entries]
    longest = max(len(handle.get_label()) for handle in handles)
    columns = min(len(handles), max(1, int(WIDTH / (0.066 * longest + 0.52))))
    room = 0.08 + 0.165 * math.ceil(len(handles) / columns)  # inches
    for figure in figures[:2]:
        height = figure.get_figheight() + room
        figure.set_figheight(height)
        figure.get_layout_engine().set(rect=(0, 0, 1, 1 - room / height))
    spaces = {"handlelength": 2.6, "columnspacing": 1.4, "borderpad": 0}
    figures[0].legend(handles=handles, loc="upper left", ncols=columns, **spaces)


# Ticks.


def set_ticks(ax: Axes, which: str, scale: str | None, inches: float = 2) -> None:
    """Give an axis that is so long its scale and its ticks, once everything is drawn."""
    axis, limit = getattr(ax, f"{which}axis"), getattr(ax, f"set_{which}lim")
    few = 5 if which == "y" else max(2, min(4, int(inches / 0.3)))
    if scale in ("log", "geometric"):
        if axis.get_scale() != "log":
            getattr(ax, f"set_{which}scale")("log")
        log_ticks(ax, which, inches)
    elif scale is not None:
        if scale == "percent":
            low, high = getattr(ax, f"get_{which}lim")()
            limit(max(low, 0.0), min(high, 1.0))
        elif scale == "zero":
            limit(0)
        write = (lambda v: f"{round(100 * v, 6):g}") if scale == "percent" else plain
        axis.set_major_locator(MaxNLocator(few, integer=scale == "count", steps=[1, 2, 5, 10]))
        axis.set_major_formatter(lambda v, _: write(v))


def plain(value: float) -> str:
    """A number of an axis: with a true minus sign, and commas from a thousand on."""
    text = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.6g}"
    return text.replace("-", "\N{MINUS SIGN}")


def log_ticks(ax: Axes, which: str, inches: float = 2) -> None:
    """Three to five round numbers on a logarithmic axis, powers of ten where it is long.

    There are as few as two where more would not fit.
    """
    low, high = sorted(getattr(ax, f"get_{which}lim")())
    axis = getattr(ax, f"{which}axis")
    axis.set_minor_locator(NullLocator())  # even invisible ticks would take their bytes
    if high < 1.001 * low:  # a single value, such as the last step of runs that never arrived
        low, high = low / 1.5, high * 1.5
        getattr(ax, f"set_{which}lim")(low, high)
    decades = math.log10(high / low)
    exponents = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)

    def between(digits: Sequence[float]) -> list[float]:
        ticks = [10.0**e * digit for e in exponents for digit in digits]
        return [tick for tick in ticks if low <= tick <= high]

    def fits(ticks: Sequence[float]) -> bool:
        """Whether labels side by side do not touch."""
        wide = {tick: LETTER * (len(plain(tick)) + 1) / 2 for tick in ticks}
        places = ((math.log10(b / a) / decades * inches, wide[a] + wide[b]) for a, b in pairwise(ticks))
        return which == "y" or all(apart > needed for apart, needed in places)

    write, found = plain, between([1])
    if decades > PLAIN_DECADES or (len(found) > 2 and not fits(found)):
        every = math.ceil(decades / (min(5, inches / (5 * LETTER)) if which == "x" else 5))
        write, found = power, [10.0**e for e in exponents if e % every == 0]
    else:
        for digits in ((1, 3), (1, 2, 5), (1, 1.5, 2, 3, 5, 7)):
            more = between(digits)
            if len(found) < 3 and len(more) > len(found) and (len(found) < 2 or fits(more)):
                found = more
        if len(found) < 2:
            ticks = MaxNLocator(4, steps=[1, 2, 5, 10]).tick_values(low, high)
            found = [tick for tick in ticks if low <= tick <= high]
    axis.set_major_locator(FixedLocator(found))
    axis.set_major_formatter(lambda v, _: write(v))


def power(value: float) -> str:
    """`1`, or ten to a power, as matplotlib sets it."""
    exponent = round(math.log10(value))
    return {0: "1", 1: "10"}.get(exponent, f"$10^{{{exponent}}}$")
