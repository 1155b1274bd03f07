"""Figures named in a few lines: curves, strips and rows of a tidy frame.

A frame has a column `value`, a row for each seed, a column of levels (`hue`), and columns whose values make panels
(`row`, `col`). Axes, names, legend, alternative text, the data behind the figure and what its caption says of the marks
follow from the frame:

    plot("strips", "dropout", runs, "Accuracy after five epochs.", x="dropout", value="accuracy (%)")

Options are those of `marks.Plot` and of `panels.small_multiples`.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from inspect import signature
from numbers import Number

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnstudy import settings
from bnstudy.report import look, marks
from bnstudy.report.look import DECLARED, MUTED, RULE, Drawing, Look, looks_of, summary, thinned
from bnstudy.report.marks import Plot
from bnstudy.report.measures import capitalized, listed
from bnstudy.report.panels import of_panel, said, small_multiples
from bnstudy.report.words import Words, bands_of, said_of, seeds_in

MOST_WORDS = 60  # of an alternative text
ONE_BY_ONE = 4  # of more levels it names the extremes
OWN = {field.name for field in fields(Plot)}
OPTIONS = OWN | set(signature(small_multiples).parameters)


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


def plot(kind: str, label: str, frame: pd.DataFrame, caption: str, **options: object) -> Drawing:
    """A panel for each value of `row` and `col`, filled as the kind says, or by a `mark` of its own."""
    of = Plot(**{name: options.pop(name) for name in OWN & set(options)}, panels=options)
    if kind in KINDS:
        frame, marked = KINDS[kind](frame, of)
        caption, of.mark = f"{caption} {marked}".strip(), getattr(marks, kind)
    frame = finite(frame)
    there = set(frame[of.hue])
    looks = arms(frame, of.hue, of.baseline) if of.looks is None else of.looks
    of.looks = {level: look for level, look in looks.items() if level in there}
    which, across = ("x", "y") if of.flat else ("y", "x")
    other = label_of(of.x) if of.other is None and of.x else of.other or ""
    names = {key: name_of(c) for key, c in (("row_name", of.row), ("col_name", of.col)) if c}
    of.panels = {which: of.value, f"{which}scale": of.scale, across: other} | names | of.panels
    entries = list(of.looks.values()) if len(of.looks) > 1 and not of.flat else []
    if of.missed and frame[of.missed].any():
        entries.append(Line2D([], [], **marks.bound(of.missed, color=MUTED, label=of.missed)))

    def draw() -> list[Figure]:
        made = small_multiples(frame, of.row, of.col, **of.panels)
        for key, ax in made.axes.items():
            if (place := of_panel(of.rule, key)) is not None:
                (ax.axvline if of.flat else ax.axhline)(place, **RULE)
            if len(part := made.parts[key]):
                of.mark(ax, part, of)
                if of.then:
                    of.then(ax, part, of)
        return made.finish([*entries, *of.legend])

    if not isinstance(of.data, pd.DataFrame):
        used = of.data or (of.row, of.col, of.hue, of.x, "seed", "value", of.missed)
        of.data = frame[[column for column in dict.fromkeys(used) if column in frame]]
    finding = alternative(frame, of) if of.finding is None else of.finding
    return Drawing(label, finding, caption, of.data, draw)


def finite(frame: pd.DataFrame) -> pd.DataFrame:
    return frame[np.isfinite(frame["value"].astype(float))]


# Each kind gives the rows to draw and what the caption says of its marks.


def curves(frame: pd.DataFrame, of: Plot) -> tuple[pd.DataFrame, str]:
    """A line of means with its band for each level, over a column of numbers."""
    frame = finite(frame)
    columns = [column for column in (of.row, of.col, of.hue) if column]
    if of.seeds != "dots" and of.data is None:
        of.data = means(frame, [*columns, of.x], of.scale)
    of.panels.setdefault("xscale", None if of.ticks else "linear")
    frame = thinned(frame, of.x, columns)
    if "seed" not in frame:
        return frame, ""
    if of.estimator == "median":
        return frame, f"Small marks are single runs ({seeds_in(frame)}), lines join the medians."
    dots = {"dots": ", dots the {}", "lines": ", thin lines the {}", "": " over {}"}
    return frame, bands_of(frame, dots[of.seeds])


def strips(frame: pd.DataFrame, of: Plot) -> tuple[pd.DataFrame, str]:
    """The runs of each level side by side at each value of `x`, a thin line between those of a seed.

    Without `x` there is one place in each panel.
    """
    values = frame[of.x].drop_duplicates() if of.x else pd.Series([""])
    numeric = pd.api.types.is_numeric_dtype(values)
    names = of.names or ("{:g}".format if numeric else name_of(of.x or ""))
    of.names = {value: said(names, value) for value in (sorted(values) if numeric else values)}
    of.panels.setdefault("xscale", None)
    return frame, said_of("strips", frame)


def rows(frame: pd.DataFrame, of: Plot) -> tuple[pd.DataFrame, str]:
    """A row for each level: a circle per seed, mean and interval in front of them."""
    of.flat = True
    height = 0.4 + 0.2 * len(of.looks or frame[of.hue].unique())
    of.panels = {"yscale": None, "sharex": False, "height": height, "wrap": 1} | of.panels
    geometric = "geometric" in (of.scale.values() if isinstance(of.scale, Mapping) else [of.scale])
    means = "geometric means" if geometric else "means"
    return frame, said_of("circles", frame, noun=of.noun, means=means) if of.noun else ""


KINDS = {"curves": curves, "strips": strips, "rows": rows}


def alternative(frame: pd.DataFrame, of: Plot) -> str:
    """A figure in at most 60 words: what is drawn, and the means of the levels panel by panel.

    Panels without names are named by the label of their `value`. Means are geometric where the axis is. Of a figure
    over `x` they are those at its last value, or where the levels are furthest `apart`.
    """
    x, parts, places = of.x, [], []
    names = {c: of.panels.get(key) for key, c in (("row_name", of.row), ("col_name", of.col)) if c}
    groups = frame.groupby([*names], sort=False, observed=True) if names else [((), frame)]
    order = [*pd.unique(frame[x].dropna())] if x else []
    order = sorted(order) if all(isinstance(v, Number) for v in order) else order
    for key, part in groups:
        kind, title = of_panel(of.scale, key), [*filter(None, map(said, names.values(), key))]
        if not title and isinstance(of.value, Mapping):
            title = [of_panel(of.value, key) or ""]
        if x and part[x].notna().any():
            if of.apart:
                wide = part.groupby([x, of.hue])["value"].mean().unstack()
                places.append((wide.max(axis=1) - wide.min(axis=1)).idxmax())
                title.append(f"at {places[-1]:,.3g}")
            else:
                places.append(max(part[x].dropna().unique(), key=order.index))
            part = part[part[x].isna() | (part[x] == places[-1])]
        mean = summary(part, [of.hue], geometric=kind == "geometric").set_index(of.hue)["mean"]
        mean = part.groupby(of.hue)["value"].median() if of.estimator == "median" else mean
        mean = mean.reindex([*of.looks]).dropna() * (100 if kind == "percent" else 1)
        if len(mean) > ONE_BY_ONE:
            mean = mean.loc[[mean.idxmin(), mean.idxmax()]]
        alone = len(of.looks) == 1
        found = [number(m) if alone else f"{of.looks[k].name} {number(m)}" for k, m in mean.items()]
        parts += [f"{', '.join(title)}: {listed(found)}".removeprefix(": ")] if found else []
    what = of.what or (of.value if isinstance(of.value, str) else "")
    start = f"{what}{f' against {label_of(x)}' if x else ''}"
    start = capitalized(start) if start.isascii() else start
    at = " furthest apart" if of.apart else ""
    if places and not of.apart:
        last = f"{places[0]:,.6g}" if isinstance(places[0], Number) else name_of(x)(places[0])
        same = len(set(places)) == 1
        at = f" at {label_of(x)} {last}" if same else f" at the last {label_of(x)}"
    told = f"{start}. {of.estimator.capitalize()}s{at}:"
    while len(parts) > 1 and len(f"{told} {' '.join(parts)}".split()) > MOST_WORDS:
        parts.pop()
    return f"{told} {'; '.join(parts)}." if parts else f"{start}: nothing was measured."


def number(x: float) -> str:
    """Three significant digits, `1.2e-9` below a ten thousandth."""
    if not math.isfinite(x):
        return "n/a"
    text = f"{x if abs(x) > 1e-12 else 0:.3g}"
    return text if "e" not in text or abs(x) < 1 else f"{x:,.0f}"


def means(frame: pd.DataFrame, by: Sequence[str], scale: object) -> pd.DataFrame:
    """Means with intervals by these columns, the panels first; geometric where the scale is."""
    panels = [c for c in by if isinstance(scale, Mapping) and set(frame[c]) & set(scale)][:1]
    parts = frame.groupby(panels, sort=False, observed=True) if panels else [((), frame)]
    return pd.concat(summary(p, by, geometric=of_panel(scale, k) == "geometric") for k, p in parts)


# Figures and texts as report/figures.yaml declares them.

NORMS = looks_of(("none", "batch", "layer"), name=name_of("norm"))
THEORY = {"color": look.INK, "lw": 1.1, "ls": (0, look.DASHED), "zorder": 4}
BAR = {"lw": 3.2, "solid_capstyle": "butt"}
LEGEND = {
    "theory": lambda label: Line2D([], [], label=label, **THEORY),
    "bar": lambda label: Line2D([], [], label=label, color=MUTED, **BAR),
    "area": lambda label: Patch(color=look.GRID, label=label),
}


def look_of(said: str | Look | Mapping[str, str]) -> Look:
    """A look as declared: that of a norm, or its name, colour, dash and marker."""
    if isinstance(said, Mapping):
        named = {key: getattr(look, said[key]) for key in ("color", "dash") if key in said}
        return Look(**said | named)
    return NORMS[said] if isinstance(said, str) else said


def declared(label: str, said: Mapping, frame: pd.DataFrame, words: Mapping, found: Mapping) -> Drawing:
    """A figure as `said`, of a frame; what was `found` with it are more words, and options of `plot`."""
    words = {**words, **found}
    said = Words().filled(said, words)
    if "legend" in said:
        said["legend"] = [LEGEND[kind](text) for text, kind in said["legend"].items()]
    said |= {key: found[key] for key in OPTIONS & set(found)} | {"words": words}
    if "looks" in said:
        said["looks"] = {level: look_of(one) for level, one in said["looks"].items()}
    return plot(said.pop("kind"), label, frame, said.pop("caption"), **said)


def pictured(name: str, label: str, data: pd.DataFrame, draw: Callable[[], list[Figure]], **words: object) -> Drawing:
    """A picture of its own making, with alternative text and caption as declared."""
    said = DECLARED["pictures"][name]
    finding, caption = Words().filled([said["finding"], said["caption"]], words)
    return Drawing(label, finding, caption, data, draw)
