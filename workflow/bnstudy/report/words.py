"""How texts are filled in, what captions of many figures say, and how effects and claims are written."""

import math
import re
from collections.abc import Mapping
from string import Formatter

import pandas as pd

from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.report.look import ENOUGH
from bnstudy.report.measures import MINUS, SPACE, capitalized, counted, decimal, listed, number, percent
from bnstudy.report.rendering import escape_markdown

TIMES = "\N{MULTIPLICATION SIGN}"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
INTERVAL = f"95{SPACE}% interval"
SENTENCES = read_yaml(ROOT / "report/sentences.yaml")


class Words(Formatter):
    """Fills texts in: `{epochs:count epoch}` counts, `{target:percent}` writes a share.

    `{levels:list}` lists and `{name:capital}` begins a sentence; `{n:is|are}` is the first word for one and the second
    for any other number.
    """

    def format_field(self, value: object, spec: str) -> str:
        if "|" in spec:
            return spec.split("|")[value != 1]
        kind, _, noun = spec.partition(" ")
        if kind == "count":
            return counted(len(value) if isinstance(value, list) else int(value), noun)
        known = {"percent": percent, "list": listed, "capital": capitalized}
        known |= {"small": small, "typographic": typographic}
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


def seeds_in(table: pd.DataFrame) -> str:
    return counted(table["seed"].nunique(), "seed")


def bands_of(table: pd.DataFrame, dots: str = ", dots the {}") -> str:
    """What lines and bands are; `dots` says where the seeds are, with their number in place of `{}`."""
    return said_of("bands", table, dots=dots.format(seeds_in(table)))


def failures(kind: str, runs: pd.DataFrame, keys: list[str]) -> str:
    """A sentence on failed runs that are `left out` or count as `guessing`, none where there are none."""
    n = len(runs[keys].drop_duplicates())
    return say("failed", kind, n=n) if n else ""


def without_markup(text: str) -> str:
    """Text without what means something in Markdown or TeX, for sentences and plain captions alike."""
    return " ".join(re.sub(r"[\\`*_{}\[\]<>$|]", " ", text).split())


# Effects, thresholds and the words of claims.yaml.


def small(x: float) -> str:
    """A number of any size to three digits, such as 3.6 times 10 to the -15, with a true minus sign."""
    if math.isnan(x):
        return "n/a"
    mantissa, _, power = f"{x:.3g}".partition("e")
    mantissa = mantissa.replace("-", MINUS)
    if not power:
        return mantissa
    return f"{mantissa}{SPACE}{TIMES}{SPACE}10{str(int(power)).translate(SUPERSCRIPTS)}"


def typographic(text: str) -> str:
    """A computed note with true minus signs."""
    text = re.sub(r"(?<![\w.)])-(?=\d)", MINUS, text.replace("+-", "±"))
    return re.sub(r"\b(\d[\d.]*)e-?\d+\b", lambda found: small(float(found[0])), text)


def shown(text: str) -> str:
    """Text from claims.yaml or a computed note, safe and well set in Markdown."""
    return escape_markdown(typographic(text)).rstrip()


def sentence_of(text: str) -> str:
    """Text with a capital and a full stop."""
    text = capitalized(text.strip())
    return text if not text or text[-1] in ".!?" else f"{text}."


def factor(x: float) -> str:
    """A ratio to three digits."""
    if 0.0995 <= x < 99.95:
        return f"{x:.2f}"
    return f"{x:,.0f}" if x >= 99.95 else small(x)


def bare(x: float, unit: str) -> str:
    """An effect without its unit: a ratio for logarithms, a share as a percentage."""
    if math.isnan(x):
        return "n/a"
    if unit == "ln ratio":
        return factor(math.exp(x)) if x < 700 else "over 10³⁰⁰"
    if unit in ("", "nats", "steps"):
        return number(x, signed=True)
    share = unit.startswith("share")
    return decimal(100 * x if share else x, 1 if share else 2, signed=True)


def unit_of(unit: str, *, short: bool = False) -> str:
    """What follows the number of `bare`."""
    if whole := unit.partition("share of the ")[2]:
        return f"{SPACE}%" if short else f"{SPACE}% of the {whole}"
    if unit == "percentage points" and short:
        return f"{SPACE}pp"
    return "" if unit in ("", "cosine", "ln ratio") else f" {unit}"


def amount(x: float, unit: str) -> str:
    """An effect as it stands in a sentence, with its unit."""
    amount = f"{bare(x, unit)}{unit_of(unit)}"
    if unit == "decades" and abs(x) < 6:
        return f"{amount} (a factor of {factor(10**x)})"
    said = {"ln ratio": "a ratio of {}", "cosine": "{} in the cosine"}
    return said.get(unit, "{}").format(amount)


def threshold(x: float, unit: str, *, short: bool = False) -> str:
    """The smallest effect that matters, as exact as claims.yaml has it."""
    if unit == "ln ratio":
        return f"{TIMES if short else 'a ratio of '}{factor(math.exp(x))}"
    x *= 100 if unit.startswith("share") else 1
    return f"{x:+g}".replace("-", MINUS) + unit_of(unit, short=short)


def interval(low: float, high: float, unit: str) -> str:
    """`+0.15 to +0.27`, without the unit."""
    return f"{bare(low, unit)}{SPACE}to{SPACE}{bare(high, unit)}"


def effect_cell(x: float, unit: str) -> str:
    """An effect with a short unit; a ratio is marked as one."""
    sign = TIMES if unit == "ln ratio" and not math.isnan(x) else ""
    return f"{sign}{bare(x, unit)}{unit_of(unit, short=True)}"
