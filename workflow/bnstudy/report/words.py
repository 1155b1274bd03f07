"""What captions and alternative texts of many figures say: seeds, intervals, numbers, levels."""

import math
import re

import numpy as np
import pandas as pd

from bnstudy.report.look import ENOUGH
from bnstudy.report.measures import SPACE, counted

INTERVALS = f"95{SPACE}% t-intervals"
MARKDOWN_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#+\-.!|~$&\"'^=:])")


def seeds_of(table: pd.DataFrame, *, geometric: bool = False, noun: str = "seed") -> str:
    """What circles and large marks are, and how many seeds a mean stands for."""
    n = table["seed"].nunique()
    means = "geometric means" if geometric else "means"
    if n == 1:
        return f"One {noun}, so there are no intervals."
    if n < ENOUGH:
        return f"Circles are {counted(n, noun)}, too few for intervals; large marks are {means}."
    return f"Circles are {counted(n, noun)}, large marks {means} with their {INTERVALS}."


def seeds_in(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def bands_of(table: pd.DataFrame, dots: str = ", dots the {}") -> str:
    """The same for lines; `dots` says where the seeds are, with their number in place of `{}`."""
    n = table["seed"].nunique()
    if n == 1:
        return "One seed, so there are no bands."
    seeds = dots.format(counted(n, "seed"))
    if n < ENOUGH:
        return f"Lines are means{seeds}, too few for bands."
    return f"Lines are means, bands their pointwise {INTERVALS}{seeds}."


def interval_phrase(table: pd.DataFrame, around: str = " with their ") -> str:
    """What stands around a mean; nothing for fewer seeds than an interval takes."""
    return f"{around}{INTERVALS}" if table["seed"].nunique() >= ENOUGH else ""


def left_out(table: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on diverged runs that are not drawn, none where there are none."""
    n = len(table.loc[table["status"] == "diverged", keys].drop_duplicates())
    return f" {counted(n, 'run')} diverged and {'is' if n == 1 else 'are'} left out." if n else ""


def guessing(failed: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on the runs that count as guessing, none where there are none."""
    n = len(failed[keys].drop_duplicates())
    if n == 0:
        return ""
    verb, counts = ("run", "counts") if n == 1 else ("runs", "count")
    return f" {n:,}{SPACE}{verb} diverged or ended near guessing and {counts} as guessing."


def geometric_mean(values: pd.Series) -> float:
    return math.exp(np.log(values.astype(float)).mean()) if len(values) else math.nan


def number(x: float) -> str:
    """Three significant digits, `1.2e-9` below a ten thousandth."""
    if not math.isfinite(x):
        return "n/a"
    text = f"{x if abs(x) > 1e-12 else 0:.3g}"
    return text if "e" not in text or abs(x) < 1 else f"{x:,.0f}"


def unrounded(x: float) -> str:
    """A setting without an exponent, as in 0.00001."""
    return f"{x:.12f}".rstrip("0").rstrip(".")


def escape_markdown(text: object) -> str:
    """Text from a config so that Markdown, TeX and HTML show it as it is, on one line."""
    return MARKDOWN_SPECIAL.sub(r"\\\1", " ".join(str(text).split()))


def without_markup(text: str) -> str:
    """Text without what means something in Markdown or TeX, for sentences and plain captions alike."""
    return " ".join(re.sub(r"[\\`*_{}\[\]<>$|]", " ", text).split())
