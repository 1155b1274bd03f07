"""Figures that a study names in a few lines: curves, strips and rows of a tidy frame.

A frame has a column `value`, a row for each seed, a column of levels (`hue`), and columns whose values
make panels (`row`, `col`). Each function gives a `look.Drawing`; axes, names, legend, the alternative
text and the sentence of the caption that says what the marks are follow from the frame:

    strips("dropout", runs, "Test accuracy after five epochs.", x="dropout", value="accuracy (%)")

Options that are not named here are those of `panels.small_multiples`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnstudy import settings
from bnstudy.report import marks
from bnstudy.report.look import RULE, Drawing, Layout, Look, looks_of, summary
from bnstudy.report.panels import of_panel, said, small_multiples
from bnstudy.report.results import listed
from bnstudy.report.words import bands_of, interval_phrase, number, seeds_in, seeds_of

MOST_WORDS = 60  # of an alternative text
ONE_BY_ONE = 4  # of more levels it names the extremes
Looks = Mapping[Hashable, Look]


def name_of(column: str) -> Callable[[object], str]:
    """How the values of a column are named: those of a setting as everywhere, others as they are."""
    known = settings.SETTINGS.get(column)
    return known.named if known else lambda value: str(value).replace("_", " ")


def label_of(column: str) -> str:
    known = settings.SETTINGS.get(column)
    return known.label if known else column.replace("_", " ")


def arms(frame: pd.DataFrame, hue: str = "norm", baseline: object = "none") -> dict:
    """The levels of a setting that a frame has with their looks, the baseline first."""
    levels = sorted(frame[hue].drop_duplicates(), key=lambda level: level != baseline)
    return looks_of(levels, baseline, name_of(hue))


def figure(
    label: str,
    frame: pd.DataFrame,
    caption: str,
    mark: Callable[[Axes, pd.DataFrame, Looks], None],
    *,
    value: str | Mapping,
    hue: str = "norm",
    looks: Looks | None = None,
    row: str | None = None,
    col: str | None = None,
    x: str | None = None,
    other: str | Mapping | None = None,
    what: str = "",
    scale: str | Mapping | None = "linear",
    flat: bool = False,
    rule: float | Mapping | None = None,
    then: Callable[[Axes, pd.DataFrame], None] | None = None,
    legend: Iterable = (),
    data: pd.DataFrame | None = None,
    **panels: object,
) -> Drawing:
    """A panel for each value of `row` and `col`, filled by `mark(axes, rows, looks)`.

    Parameters
    ----------
    value, scale : str, or mapping by panel
        Label and scale of the axis of values, which is horizontal where it is `flat`.
    looks : mapping
        Looks of the levels of `hue`, in order; those that the frame lacks are left out.
    x, other : str
        Column of the other axis, of which the alternative text takes the last value, and its label.
    what : str
        What is measured, for the alternative text; else it is the label of the values.
    rule : float, or mapping by panel
        Where a line of reference stands.
    then : callable
        What else is drawn into a panel: `then(axes, rows)`.
    legend : iterable
        Entries after those of the levels.
    data : pandas.DataFrame
        The numbers behind the figure, where they are not the frame.
    """
    there = set(frame[hue])
    looks = arms(frame, hue) if looks is None else {k: v for k, v in looks.items() if k in there}
    which, across = ("x", "y") if flat else ("y", "x")
    options = {which: value, f"{which}scale": scale} | panels
    options[across] = label_of(x) if other is None and x else other or ""
    for column, key in ((row, "row_name"), (col, "col_name")):
        if column:
            options.setdefault(key, name_of(column))
    entries = [*(looks.values() if len(looks) > 1 and not flat else ()), *legend]

    def draw(layout: Layout) -> Figure:
        made = small_multiples(frame, row, col, layout, **options)
        for key, ax in made.axes.items():
            if (place := of_panel(rule, key)) is not None:
                (ax.axvline if flat else ax.axhline)(place, **RULE)
            if len(part := made.parts[key]):
                mark(ax, part, looks)
                if then:
                    then(ax, part)
        return made.finish(entries)

    names = {c: options[key] for c, key in ((row, "row_name"), (col, "col_name")) if c}
    what = what or (value if isinstance(value, str) else "")
    text = alternative(frame, hue, looks, what, names, x, scale)
    return Drawing(label, text, caption, frame if data is None else data, draw)


def alternative(
    frame: pd.DataFrame,
    hue: str,
    looks: Looks,
    what: str,
    names: Mapping[str, object],
    x: str | None = None,
    scale: object = None,
) -> str:
    """A figure in at most 60 words: what is drawn, and the means of the levels panel by panel.

    `names` are those of the values of the columns that make panels. Means are geometric where the
    axis is; of a figure over `x` they are those at its last value.
    """
    ending = ""
    if x and len(frame):
        last = frame[x].max() if pd.api.types.is_numeric_dtype(frame[x]) else frame[x].iloc[-1]
        frame = frame[frame[x] == last]
        ending = f" at {label_of(x)} {number(last) if isinstance(last, float) else last}"
    parts = []
    groups = frame.groupby([*names], sort=False, observed=True) if names else [((), frame)]
    for key, part in groups:
        title = ", ".join(
            filter(None, (said(n, k) for n, k in zip(names.values(), key, strict=True)))
        )
        geometric = of_panel(scale, key) == "geometric"
        mean = summary(part, [hue], geometric=geometric).set_index(hue)["mean"].reindex([*looks])
        mean = mean.dropna()
        if len(mean) > ONE_BY_ONE:
            mean = mean.loc[[mean.idxmin(), mean.idxmax()]]
        means = listed(f"{looks[level].name} {number(mean[level])}" for level in mean.index)
        parts += [f"{title}: {means}".removeprefix(": ")] if means else []
    said_first = f"{what[:1].upper()}{what[1:]}{f' against {label_of(x)}' if x else ''}".strip()
    while len(parts) > 1 and len(f"{said_first} {ending} {parts}".split()) > MOST_WORDS - 3:
        parts.pop()
    means = f"Means{ending}: {'; '.join(parts)}" if parts else "Nothing was measured"
    return f"{said_first}. {means}.".removeprefix(". ")


def curves(
    label: str,
    frame: pd.DataFrame,
    caption: str,
    *,
    x: str,
    hue: str = "norm",
    seeds: str = "dots",
    estimator: str = "mean",
    markers: bool = True,
    ticks: Sequence | None = None,
    names: Sequence[str] | None = None,
    **options: object,
) -> Drawing:
    """A line of means with its band for each level, over a column of numbers.

    `seeds` are drawn as `dots`, as thin `lines`, or not at all (``""``). `ticks` are sizes that double,
    which all have a tick with one of the `names`. Rows without `x` are the same at any: a line across.
    """

    def mark(ax: Axes, part: pd.DataFrame, looks: Looks) -> None:
        there = part[x].notna()
        for level, same in part[~there].groupby(hue):
            marks.across(ax, same["value"], looks[level])
        style = {"seeds": seeds, "estimator": estimator, "markers": markers}
        marks.curve(ax, part[there], x, "value", looks, hue, **style)
        if ticks:
            marks.doubling_axis(ax, ticks, names)

    options = {"xscale": None if ticks else "linear"} | options
    text = f"{caption} {lines_of(frame, seeds, estimator)}".strip()
    return figure(label, frame, text, mark, hue=hue, x=x, **options)


def lines_of(frame: pd.DataFrame, seeds: str, estimator: str) -> str:
    if estimator == "median":
        return f"Small marks are single runs ({seeds_in(frame)}), lines join the medians."
    drawn = {"dots": ", dots the {}", "lines": ", thin lines the {}"}
    return bands_of(frame, drawn.get(seeds, " over {}")) if "seed" in frame else ""


def strips(
    label: str,
    frame: pd.DataFrame,
    caption: str,
    *,
    x: str,
    hue: str = "norm",
    order: Sequence | None = None,
    names: Sequence[str] | None = None,
    missed: str | None = None,
    average: bool = True,
    **options: object,
) -> Drawing:
    """The runs of each level side by side at each value of `x`, a thin line between those of a seed.

    `missed` is a column that is true for values which are only a bound, with its entry in the legend.
    """
    values = frame[x].drop_duplicates()
    numeric = pd.api.types.is_numeric_dtype(values)
    order = list(order or (sorted(values) if numeric else values))
    names = names or [f"{v:g}" if numeric else name_of(x)(v) for v in order]

    def mark(ax: Axes, part: pd.DataFrame, looks: Looks) -> None:
        there = {level: look for level, look in looks.items() if (part[hue] == level).any()}
        style = {"order": order, "names": names, "censored": missed, "average": average}
        marks.strip(ax, part, x, "value", there, hue, **style)

    legend = marks.mark_of(frame[missed], missed) if missed else []
    text = (
        f"{caption} Small marks are single runs ({seeds_in(frame)}), a thin line joins those of a seed, "
        f"large marks are means{interval_phrase(frame)}."
    )
    return figure(
        label, frame, text, mark, hue=hue, x=x, **{"xscale": None, "legend": legend} | options
    )


def rows(
    label: str,
    frame: pd.DataFrame,
    caption: str,
    *,
    hue: str,
    average: bool = True,
    noun: str = "seed",
    **options: object,
) -> Drawing:
    """A row for each level: an open circle per seed, mean and interval in front of them."""
    levels = frame[hue].nunique()

    def mark(ax: Axes, part: pd.DataFrame, looks: Looks) -> None:
        marks.rows(ax, part, "value", hue, looks, average=average)

    scale = options.get("scale")
    geometric = scale == "geometric" or (
        isinstance(scale, Mapping) and "geometric" in scale.values()
    )
    text = f"{caption} {seeds_of(frame, geometric=geometric, noun=noun)}"
    usual = {"yscale": None, "sharex": False, "height": 0.4 + 0.2 * levels, "wrap": (3, 1)}
    return figure(label, frame, text, mark, hue=hue, flat=True, **usual | options)
