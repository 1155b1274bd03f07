"""The data dictionary: what every column of every table means, its unit and its level of measurement.

`dictionary.yaml` is the one place; the settings have theirs in `settings.yaml`. A plug-in's own columns are not in it.
"""

from collections.abc import Iterable
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import NamedTuple

from bnstudy.documents import read_yaml
from bnstudy.schema import markdown
from bnstudy.settings import SETTINGS

SOURCE = Path(__file__).with_suffix(".yaml")


class Column(NamedTuple):
    """What a column is; `level` is nominal, ordinal, interval or ratio."""

    meaning: str
    unit: str
    level: str


@cache
def read() -> tuple[dict[str, str], dict[str, Column]]:
    """Sentences on tables, and columns, settings last, by name."""
    found = read_yaml(SOURCE)
    columns = {name: Column(*entry) for name, entry in found["columns"].items()}
    for name, one in SETTINGS.items():
        level = "ratio" if one.names is None else "nominal"
        unit = "images" if name == "batch_size" else ""
        columns.setdefault(name, Column(one.text.rstrip("."), unit, level))
    return found["tables"], columns


def table(name: str) -> str:
    """What a row of a table is."""
    tables, _ = read()
    return tables.get(name, tables["*"])


def column(table: str, name: str) -> Column | None:
    """What a column of a table is; None where nothing is known of it."""
    _, columns = read()
    patterns = (known for known in columns if "*" in known and fnmatchcase(name, known))
    found = (known for known in (f"{table}.{name}", name, *patterns) if known in columns)
    return columns.get(next(found, ""))


def rows(tables: dict[str, Iterable[str]]) -> list[dict[str, str]]:
    """The dictionary of some tables: a row per column, what many tables share once."""
    found: dict[tuple[str, Column], list[str]] = {}
    for name, columns in tables.items():
        for one in columns:
            known = column(name, one) or Column("not explained: of a plug-in", "", "")
            found.setdefault((one, known), []).append(name)
    return [{"column": name, "tables": ", ".join(places), **known._asdict()} for (name, known), places in found.items()]


def manual() -> str:
    """The dictionary as a page of the manual."""
    tables, columns = read()
    said = [("every study's own" if n == "*" else f"`{n}.csv`", one) for n, one in tables.items()]
    rows = [(f"`{n}`", one.meaning.replace("|", "/"), *one[1:]) for n, one in columns.items()]
    further = markdown(("Column", "What it is", "Unit", "Level"), rows)
    head = read_yaml(SOURCE)["manual"]
    return f"{head}\n{markdown(('Table', 'What a row is'), said)}\n\n{further}\n"
