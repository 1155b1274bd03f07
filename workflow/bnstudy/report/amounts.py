"""How the report writes effects, thresholds and the words of claims.yaml."""

import math
import re

from bnstudy.report.measures import MINUS, SPACE, capitalized, decimal, number
from bnstudy.report.rendering import escape_markdown

TIMES = "\N{MULTIPLICATION SIGN}"
SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
