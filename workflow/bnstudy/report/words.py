"""How texts are filled in, and what captions and alternative texts of many figures say."""

import math
import re
from collections.abc import Mapping
from string import Formatter

import numpy as np
import pandas as pd

from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.report.look import ENOUGH
from bnstudy.report.measures import SPACE, capitalized, counted, listed, percent

INTERVAL = f"95{SPACE}% interval"
SENTENCES = read_yaml(ROOT / "report/sentences.yaml")


class Words(Formatter):
    """Fills texts in: `{epochs:count epoch}` counts, `{target:percent}` writes a share.

    `{levels:list}` lists and `{name:capital}` begins a sentence; `{n:is|are}` is the first word for one and
    the second for any other number.
    """

    def format_field(self, value: object, spec: str) -> str:
        if "|" in spec:
            return spec.split("|")[value != 1]
        kind, _, noun = spec.partition(" ")
        if kind == "count":
            return counted(len(value) if isinstance(value, list) else int(value), noun)
        known = {"percent": percent, "list": listed, "capital": capitalized}
        return known[kind](value) if kind in known else super().format_field(value, spec)

    def filled(self, part: object, words: Mapping[str, object]) -> object:
        """A part of a declaration with its texts filled in; ~ is a space that does not break."""
        if isinstance(part, str):
            return self.vformat(part.replace("~", SPACE), (), words)
        if isinstance(part, Mapping):
            return {self.filled(k, words): self.filled(v, words) for k, v in part.items()}
        return [self.filled(one, words) for one in part] if isinstance(part, list) else part


def say(place: str, name: str, /, **words: object) -> str:
    """A sentence of report/sentences.yaml with its words filled in."""
    return Words().filled(SENTENCES[place][name], words)


def said_of(place: str, table: pd.DataFrame, **words: object) -> str:
    """What is said for one seed, for few, or for as many as an interval takes."""
    n = table["seed"].nunique()
    return say(place, "one" if n == 1 else "few" if n < ENOUGH else "many", n=n, **words)


def seeds_of(table: pd.DataFrame, *, geometric: bool = False, noun: str = "seed") -> str:
    """What circles and large marks are, and how many seeds a mean stands for."""
    return said_of("circles", table, noun=noun, means="geometric means" if geometric else "means")


def seeds_in(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def bands_of(table: pd.DataFrame, dots: str = ", dots the {}") -> str:
    """The same for lines; `dots` says where the seeds are, with their number in place of `{}`."""
    return said_of("bands", table, dots=dots.format(seeds_in(table)))


def interval_phrase(table: pd.DataFrame) -> str:
    """What stands behind a mean; nothing for fewer seeds than an interval takes."""
    return say("bands", "interval") if table["seed"].nunique() >= ENOUGH else ""


def failures(kind: str, runs: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on failed runs that are `left out` or count as `guessing`, none where there are none."""
    n = len(runs[keys].drop_duplicates())
    return say("failed", kind, n=n) if n else ""


def geometric_mean(values: pd.Series) -> float:
    return math.exp(np.log(values.astype(float)).mean()) if len(values) else math.nan


def number(x: float) -> str:
    """Three significant digits, `1.2e-9` below a ten thousandth."""
    if not math.isfinite(x):
        return "n/a"
    text = f"{x if abs(x) > 1e-12 else 0:.3g}"
    return text if "e" not in text or abs(x) < 1 else f"{x:,.0f}"


def without_markup(text: str) -> str:
    """Text without what means something in Markdown or TeX, for sentences and plain captions alike."""
    return " ".join(re.sub(r"[\\`*_{}\[\]<>$|]", " ", text).split())
