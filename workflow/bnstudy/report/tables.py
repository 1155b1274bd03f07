"""A table of the report: what it holds, as report/tables.yaml declares it, and how it is written as HTML."""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import zip_longest
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.report.amounts import small
from bnstudy.report.measures import decimal, p_text
from bnstudy.report.words import INTERVAL, Words

DECLARED = read_yaml(ROOT / "report/tables.yaml")
WRITERS: dict[str, Callable[[float], str]] = {
    "p": p_text,
    "small": small,
    "plain": "{:g}".format,
    "whole": "{:,.0f}".format,
    "power": "{:.1e}".format,
    "three digits": lambda x: decimal(x, 3),
    "two digits": lambda x: decimal(x, 2),
    "signed": lambda x: decimal(x, 2, signed=True),
}
PARTS = (
    Environment(loader=FileSystemLoader(ROOT / "report/templates"), autoescape=True)
    .get_template("parts.html.j2")
    .module
)


class Link(NamedTuple):
    """A cell that leads to an anchor of the page."""

    text: str
    anchor: str


class Code(NamedTuple):
    """A cell set as code, such as a hash."""

    text: str


class Exhibit(NamedTuple):
    """A table as `reporting.Report.table` shows it.

    `label` is its name in cross-references, `tab-<label>`. The first column holds the headings of the
    rows; numbers are written by `formats` and sorted by value, columns of `words` aligned left, rows
    `overall` cells set off from the others. With `fold` the table is folded away behind this summary.
    """

    label: str
    caption: str
    frame: pd.DataFrame
    formats: Mapping[str, Callable]
    words: Sequence[str]
    overall: Sequence[bool]
    fold: str


def exhibit(
    name: str,
    rows: Iterable[Mapping[str, object] | Sequence] | pd.DataFrame,
    *,
    label: str = "",
    overall: Sequence[bool] = (),
    text: Sequence[str] = (),
    **words: object,
) -> Exhibit | None:
    """A table as declared, of these rows, with `words` filled into its texts; None without a row.

    `label` is its own where the name is not; `text` are columns of words beside those declared.
    """
    frame = pd.DataFrame(rows, columns=DECLARED[name].get("columns"))
    if frame.empty:
        return None
    said = Words().filled(DECLARED[name], {"interval": INTERVAL, "count": len(frame)} | words)
    numbers = [c for c in frame if frame[c].map(lambda value: isinstance(value, int | float)).all()]
    patterns = said.get("formats", {}).items()
    formats = {c: WRITERS[kind] for c in numbers for like, kind in patterns if fnmatchcase(c, like)}
    text, fold = [*text, *said.get("words", ())], said.get("fold", "")
    return Exhibit(label or name, said["caption"], frame, formats, text, overall, fold)


def table_html(exhibit: Exhibit, number: int) -> str:
    """A `<table>` with scoped headers and the values that its rows are sorted by."""

    def cell(column: str, value: object) -> tuple[str, object, str]:
        if isinstance(value, float) and math.isnan(value):
            return column, value, "n/a"
        text = value.text if isinstance(value, Link | Code) else value
        return column, value, exhibit.formats.get(column, str)(text)

    columns = list(exhibit.frame)
    rows = [list(map(cell, columns, row)) for row in exhibit.frame.itertuples(index=False)]
    words = {columns[0], *exhibit.words}
    return str(PARTS.table(exhibit, number, words, list(zip_longest(rows, exhibit.overall))))
