"""Figures named in a few lines: curves, strips and rows of a tidy frame.

A frame has a column `value`, a row for each seed, a column of levels (`hue`), and columns whose values
make panels (`row`, `col`). Each function gives a `look.Drawing`; axes, names, legend, the alternative
text, the data behind it and the sentence of the caption that says what the marks are follow from the
frame:

    strips("dropout", runs, "Test accuracy after five epochs.", x="dropout", value="accuracy (%)")

Options that are not named here are those of `panels.small_multiples`.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from numbers import Number

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnstudy import settings
from bnstudy.report import marks
from bnstudy.report.look import RULE, Drawing, Look, looks_of, summary, thinned
from bnstudy.report.measures import listed
from bnstudy.report.panels import of_panel, said, small_multiples
from bnstudy.report.words import bands_of, interval_phrase, number, seeds_in, seeds_of

MOST_WORDS = 60  # of an alternative text
ONE_BY_ONE = 4  # of more levels it names the extremes
Looks = Mapping[Hashable, Look]


def name_of(column: str) -> Callable[[object], str]:
    """How the values of a column are named: those of a setting as everywhere, others as they are."""
    known = settings.SETTINGS.get(column)

    def name(value: object) -> str:
        value = value.item() if isinstance(value, np.generic) else value
        return known.named(value) if known else str(value).replace("_", " ")

    return name


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
    baseline: object = "none",
    row: str | None = None,
    col: str | None = None,
    x: str | None = None,
    other: str | Mapping | None = None,
    what: str = "",
    apart: bool = False,
    estimator: str | None = "mean",
    scale: str | Mapping | None = "linear",
    flat: bool = False,
    rule: float | Mapping | None = None,
    then: Callable[[Axes, pd.DataFrame, Looks], None] | None = None,
    legend: Iterable = (),
    missed: str | None = None,
    finding: str | None = None,
    data: pd.DataFrame | None = None,
    **panels: object,
) -> Drawing:
    """A panel for each value of `row` and `col`, filled by `mark(axes, rows, looks)`.

    Parameters
    ----------
    value, scale : str, or mapping by panel
        Label and scale of the axis of values, which is horizontal where it is `flat`.
    looks : mapping
        Looks of the levels of `hue`, in order; those that the frame lacks are left out. Without them
        the levels are those of a setting, the `baseline` first.
    x, other : str
        Column of the other axis, of which the alternative text takes the last value, and its label.
    what, apart, estimator
        What is measured and where its means are told, for `alternative`.
    rule : float, or mapping by panel
        Where a line of reference stands.
    then : callable
        What else is drawn into a panel: `then(axes, rows, looks)`.
    legend : iterable
        Entries after those of the levels.
    missed : str
        A column that is true for values which are only a bound; its name stands in the legend.
    finding, data
        The alternative text and the numbers behind the figure, where they do not follow from the frame.
    """
    frame = frame[np.isfinite(frame["value"].astype(float))]
    there = set(frame[hue])
    looks = arms(frame, hue, baseline) if looks is None else looks
    looks = {level: look for level, look in looks.items() if level in there}
    which, across = ("x", "y") if flat else ("y", "x")
    options = {which: value, f"{which}scale": scale} | panels
    options[across] = label_of(x) if other is None and x else other or ""
    names = {}
    for column, key in ((row, "row_name"), (col, "col_name")):
        if column:
            names[column] = options.setdefault(key, name_of(column))
    bounds = marks.mark_of(frame[missed], missed) if missed else []
    entries = [*(looks.values() if len(looks) > 1 and not flat else ()), *bounds, *legend]

    def draw() -> list[Figure]:
        made = small_multiples(frame, row, col, **options)
        for key, ax in made.axes.items():
            if (place := of_panel(rule, key)) is not None:
                (ax.axvline if flat else ax.axhline)(place, **RULE)
            if len(part := made.parts[key]):
                mark(ax, part, looks)
                if then:
                    then(ax, part, looks)
        return made.finish(entries)

    if finding is None:
        what = what or (value if isinstance(value, str) else "")
        finding = alternative(frame, hue, looks, what, names, x, scale, value, apart, estimator)
    if data is None:
        used = dict.fromkeys((row, col, hue, x, "seed", "value", missed))
        data = frame[[column for column in used if column in frame]]
    return Drawing(label, finding, caption, data, draw)


def alternative(
    frame: pd.DataFrame,
    hue: str,
    looks: Looks,
    what: str,
    names: Mapping[str, object],
    x: str | None = None,
    scale: object = None,
    value: object = None,
    apart: bool = False,
    estimator: str | None = "mean",
) -> str:
    """A figure in at most 60 words: what is drawn, and the means of the levels panel by panel.

    `names` are those of the values of the columns that make panels; panels without any are named by the
    label of their `value`. Means are geometric where the axis is. Of a figure over `x` they are those at
    its last value, or where the levels are furthest `apart`.
    """
    parts, places = [], []
    groups = frame.groupby([*names], sort=False, observed=True) if names else [((), frame)]
    order = {v: i for i, v in enumerate(pd.unique(frame[x].dropna()))} if x else {}
    if all(isinstance(v, Number) for v in order):
        order = {v: v for v in order}
    for key, part in groups:
        kind, title = of_panel(scale, key), [*filter(None, map(said, names.values(), key))]
        if not title and isinstance(value, Mapping):
            title = [of_panel(value, key) or ""]
        if x and part[x].notna().any():
            if apart:
                wide = part.groupby([x, hue])["value"].mean().unstack()
                places.append((wide.max(axis=1) - wide.min(axis=1)).idxmax())
                title.append(f"at {places[-1]:,.3g}")
            else:
                places.append(max(part[x].dropna(), key=order.get))
            part = part[part[x].isna() | (part[x] == places[-1])]
        mean = summary(part, [hue], geometric=kind == "geometric").set_index(hue)["mean"]
        mean = part.groupby(hue)["value"].median() if estimator == "median" else mean
        mean = mean.reindex([*looks]).dropna() * (100 if kind == "percent" else 1)
        if len(mean) > ONE_BY_ONE:
            mean = mean.loc[[mean.idxmin(), mean.idxmax()]]
        alone = len(looks) == 1
        found = [number(m) if alone else f"{looks[k].name} {number(m)}" for k, m in mean.items()]
        parts += [f"{', '.join(title)}: {listed(found)}".removeprefix(": ")] if found else []
    start = f"{what}{f' against {label_of(x)}' if x else ''}"
    start = start[:1].upper() + start[1:] if start.isascii() else start
    at = ""
    if places and not apart:
        last = f"{places[0]:,.6g}" if isinstance(places[0], Number) else name_of(x)(places[0])
        same = len(set(places)) == 1
        at = f" at {label_of(x)} {last}" if same else f" at the last {label_of(x)}"
    told = f"{estimator or 'mean'}s".capitalize()
    means = f"{start}. {told}{' furthest apart' if apart else ''}{at}:"
    while len(parts) > 1 and len(f"{means} {' '.join(parts)}".split()) > MOST_WORDS:
        parts.pop()
    return f"{means} {'; '.join(parts)}." if parts else f"{start}: nothing was measured."


def means(frame: pd.DataFrame, by: Sequence[str | None], scale: object = None) -> pd.DataFrame:
    """Means with intervals by these columns, the panels first; geometric where the scale is."""
    by = [column for column in by if column]
    if frame.empty or not isinstance(scale, Mapping):
        return summary(frame, by, geometric=scale == "geometric")
    panels = [column for column in by if set(frame[column]) & set(scale)][:1]
    parts = frame.groupby(panels, sort=False, observed=True)
    return pd.concat(summary(p, by, geometric=of_panel(scale, k) == "geometric") for k, p in parts)


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
    missed: str | None = None,
    dodge: float = 1,
    ticks: bool = False,
    **options: object,
) -> Drawing:
    """A line of means with its band for each level, over a column of numbers.

    `seeds` are drawn as `dots`, as thin `lines`, or not at all (``""``). `ticks` says that the numbers
    double: each of a panel gets its own. A level without `x` is the same at any: a line across.
    """
    frame = frame[np.isfinite(frame["value"].astype(float))]
    columns = [options.get("row"), options.get("col"), hue]
    if seeds != "dots":
        options = {"data": means(frame, [*columns, x], options.get("scale"))} | options
    frame = thinned(frame, x, [column for column in columns if column])
    style = {"seeds": seeds, "estimator": estimator, "markers": markers}
    style |= {"missed": missed, "dodge": dodge}

    def mark(ax: Axes, part: pd.DataFrame, looks: Looks) -> None:
        there = part[x].notna()
        for level, same in part[~there].groupby(hue):
            marks.across(ax, same["value"], looks[level])
        marks.curve(ax, part[there], x, looks, hue, **style)
        if ticks:
            marks.doubling_axis(ax, set(part[x][there]))

    options = {"xscale": None if ticks else "linear"} | options
    text = f"{caption} {lines_of(frame, seeds, estimator)}".strip()
    told = {"estimator": estimator, "missed": missed}
    return figure(label, frame, text, mark, hue=hue, x=x, **told, **options)


def lines_of(frame: pd.DataFrame, seeds: str, estimator: str) -> str:
    """What the lines are, and the small marks."""
    if "seed" not in frame:
        return ""
    if estimator == "median":
        return f"Small marks are single runs ({seeds_in(frame)}), lines join the medians."
    dots = {"dots": ", dots the {}", "lines": ", thin lines the {}", "": " over {}"}
    return bands_of(frame, dots[seeds])


def strips(
    label: str,
    frame: pd.DataFrame,
    caption: str,
    *,
    x: str | None = None,
    hue: str = "norm",
    names: Mapping | None = None,
    missed: str | None = None,
    **options: object,
) -> Drawing:
    """The runs of each level side by side at each value of `x`, a thin line between those of a seed.

    Without `x` there is one place in each panel. `names` are those of the values of `x`.
    """
    values = frame[x].drop_duplicates() if x else pd.Series([""])
    numeric = pd.api.types.is_numeric_dtype(values)
    order = sorted(values) if numeric else list(values)
    written = [said(names or ("{:g}".format if numeric else name_of(x or "")), v) for v in order]

    def mark(ax: Axes, part: pd.DataFrame, looks: Looks) -> None:
        there = {level: look for level, look in looks.items() if (part[hue] == level).any()}
        marks.strip(ax, part, x, there, hue, order=order, names=written, missed=missed)

    text = (
        f"{caption} Small marks are single runs ({seeds_in(frame)}), a thin line joins those of a seed, "
        f"large marks are means{interval_phrase(frame)}."
    )
    options = {"xscale": None, "missed": missed} | options
    return figure(label, frame, text, mark, hue=hue, x=x, **options)


def rows(
    label: str,
    frame: pd.DataFrame,
    caption: str,
    *,
    hue: str = "norm",
    estimator: str | None = "mean",
    noun: str = "seed",
    bold: Sequence[bool] = (),
    **options: object,
) -> Drawing:
    """A row for each level: a circle per seed, mean and interval in front of them."""

    def mark(ax: Axes, part: pd.DataFrame, looks: Looks) -> None:
        marks.rows(ax, part, hue, looks, estimator=estimator, bold=bold)

    scale = options.get("scale")
    scales = scale.values() if isinstance(scale, Mapping) else [scale]
    marked = seeds_of(frame, geometric="geometric" in scales, noun=noun) if noun else ""
    height = 0.4 + 0.2 * len(options.get("looks") or frame[hue].unique())
    usual = {"yscale": None, "sharex": False, "height": height, "wrap": 1, "flat": True}
    options = usual | {"hue": hue, "estimator": estimator} | options
    return figure(label, frame, f"{caption} {marked}".strip(), mark, **options)
