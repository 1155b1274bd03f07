"""A table of the report: what it holds, as report/tables.yaml declares it, and how it is written as HTML."""

import html
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

import pandas as pd

from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.report.amounts import small
from bnstudy.report.findings import INTERVAL
from bnstudy.report.measures import decimal, p_text
from bnstudy.report.words import Words

DECLARED = read_yaml(ROOT / "report/tables.yaml")
WRITERS: dict[str, Callable[[float], str]] = {
    "p": p_text,
    "small": small,
    "plain": "{:g}".format,
    "whole": "{:,.0f}".format,
    "two digits": lambda x: decimal(x, 2),
    "signed": lambda x: decimal(x, 2, signed=True),
}
SHORT_HEADING = 24  # characters of a row's heading that stay on one line


@dataclass(frozen=True)
class Link:
    """A cell that leads to an anchor of the page."""

    text: str
    anchor: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Code:
    """A cell set as code, such as a hash."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Exhibit:
    """A table as `reporting.Report.table` shows it.

    Attributes
    ----------
    label : str
        Its name in cross-references, `tab-<label>`.
    caption : str
        Plain text.
    frame : pandas.DataFrame
        The first column holds the headings of the rows; values may be `Link` or `Code`.
    formats : mapping of str to callable
        How the numbers of a column are written; they are sorted by value.
    words : sequence of str
        Columns of words, which are aligned left.
    overall : sequence of bool
        Rows over all cells, set off from the others; empty for none.
    fold : str
        If given, the table is folded away behind this summary.
    """

    label: str
    caption: str
    frame: pd.DataFrame
    formats: Mapping[str, Callable] = field(default_factory=dict)
    words: Sequence[str] = ()
    overall: Sequence[bool] = ()
    fold: str = ""


def exhibit(
    name: str,
    rows: Sequence[Mapping[str, object]] | pd.DataFrame,
    *,
    label: str = "",
    overall: Sequence[bool] = (),
    text: Sequence[str] = (),
    **words: object,
) -> Exhibit | None:
    """A table as declared, of these rows, with `words` filled into its texts; None without a row.

    `label` is its own where the name is not; `text` are columns of words beside those declared.
    """
    frame = pd.DataFrame(rows)
    if frame.empty:
        return None
    said = Words().filled(DECLARED[name], {"interval": INTERVAL, "count": len(frame)} | words)
    numbers = [column for column in frame if frame[column].map(is_number).all()]
    patterns = said.get("formats", {}).items()
    formats = {c: WRITERS[kind] for c in numbers for like, kind in patterns if fnmatchcase(c, like)}
    text = (*text, *said.get("words", ()))
    return Exhibit(
        label or name, said["caption"], frame, formats, text, overall, said.get("fold", "")
    )


def is_number(value: object) -> bool:
    return isinstance(value, int | float)


def table_html(exhibit: Exhibit, number: int) -> str:
    """A `<table>` with scoped headers and the values that its rows are sorted by; all is escaped."""
    columns = list(exhibit.frame.columns)
    words = {columns[0], *exhibit.words}

    def cell(column: str, value: object) -> str:
        missing = isinstance(value, float) and math.isnan(value)
        content = html.escape("n/a" if missing else exhibit.formats.get(column, str)(value))
        short = len(content) <= SHORT_HEADING
        if isinstance(value, Link):
            content = f'<a href="#{html.escape(value.anchor)}">{content}</a>'
        if isinstance(value, Code):
            content = f'<span class="hash">{content}</span>'
        tag, scope = ("th", ' scope="row"') if column == columns[0] else ("td", "")
        style = ' class="text"' if column in words else ""
        if tag == "th" and short:
            style = ' class="text short"'
        # A number is sorted by its value, not as it is written.
        key = f' data-value="{"" if missing else value}"' if is_number(value) else ""
        return f"<{tag}{scope}{style}{key}>{content}</{tag}>"

    def heading(column: str) -> str:
        style = ' class="text"' if column in words else ""
        return f'<th scope="col"{style}>{html.escape(column)}</th>'

    overall = exhibit.overall or [False] * len(exhibit.frame)
    rows = [
        f"<tr{' class=overall' if mark else ''}>"
        + "".join(cell(column, value) for column, value in zip(columns, row, strict=True))
        + "</tr>"
        for row, mark in zip(exhibit.frame.itertuples(index=False), overall, strict=True)
    ]
    sortable = ' class="sortable"' if len(rows) > 1 else ""
    body = (
        f'<table id="tab-{html.escape(exhibit.label)}"{sortable}><caption>'
        f'<span class="caption"><span class="number">Table&nbsp;{number}.</span> '
        f"{html.escape(exhibit.caption)}</span></caption>"
        f"<thead><tr>{''.join(map(heading, columns))}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    if not exhibit.fold:
        return body
    summary = html.escape(exhibit.fold)
    return f'<details class="fold"><summary>{summary}</summary>{body}</details>'
