"""Measures and their comparisons, and how numbers, levels and lists are written."""

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

import pandas as pd

from bnstudy import settings, statistics

ALPHA = 0.05
SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

Level = str | float  # of an axis: a word or a number
Kind = Literal["accuracy", "loss", "steps", "ratio", "number"]
Outcome = Literal["higher", "lower", "unclear", "equal", "untested", "censored", "missing"]
DIGITS: dict[Kind, int] = {"accuracy": 2, "loss": 4, "steps": 0}
UNITS: dict[Kind, str] = {"accuracy": "percentage points", "loss": "nats", "steps": "steps"}


@dataclass(frozen=True)
class Metric:
    """How a column of the tables is called, read and written.

    A `ratio` is tabled as a natural logarithm, so its differences are logarithms of ratios. A `number` is what an
    observer measured: it has no unit, and neither direction is better.
    """

    title: str
    kind: Kind
    better: Literal["higher", "lower", ""] = ""
    target: str = ""  # the accuracy to which steps are counted, as a sentence names it

    @property
    def unit(self) -> str:
        """Of a difference, for headers and prose."""
        return UNITS.get(self.kind, "")

    @property
    def were(self) -> str:
        """The verb of its title."""
        return "were" if self.kind in ("ratio", "steps") else "was"

    def value(self, x: float) -> str:
        """A mean of one arm, with its unit where it has a short one."""
        if math.isnan(x) or self.kind not in ("ratio", "accuracy"):
            return self.difference(x, signed=False)
        return decimal(math.exp(x), 0) if self.kind == "ratio" else f"{decimal(100 * x, 2)}{SPACE}%"

    def difference(self, x: float, *, signed: bool = True) -> str:
        """A difference between two arms in its unit; a ratio has no sign."""
        if math.isnan(x):
            return "n/a"
        if self.kind == "number":
            return number(x, signed=signed)
        if self.kind == "ratio":
            return decimal(math.exp(x), 2)
        x *= 100 if self.kind == "accuracy" else 1
        return decimal(x, DIGITS[self.kind], signed=signed)

    def interval(self, low: float, high: float) -> str:
        """`+0.15 to +0.27` in its unit."""
        ends = f"{self.difference(low)}{SPACE}to{SPACE}{self.difference(high)}"
        return "n/a" if math.isnan(low) else ends


METRICS = {
    f"{split}_{kind}": Metric(f"{title} {kind}", kind, better)
    for split, title in (("test", "test"), ("val", "validation"), ("train", "training"))
    for kind, better in (("accuracy", "higher"), ("loss", "lower"))
}
METRICS["ln_steps_to_target"] = Metric("steps to {}", "ratio", "lower")
METRICS["steps_to_target"] = Metric("steps to {}", "steps", "lower")
# The metrics of which the report speaks. The plain number of steps is in the tables for reference; its differences are
# dominated by the smallest batch size, where a step sees the fewest images.
GAP = Metric("gap between validation and training loss", "loss", "lower")
SPOKEN = tuple(name for name in METRICS if name != "steps_to_target")
MAIN = ("test_accuracy", "test_loss", "ln_steps_to_target")  # that are compared first


def decimal(x: float, digits: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; what rounds to zero has no sign.

    Sums of the same numbers in another order differ in their last bits. Rounding those away first keeps a mean that
    ends in 5 from being written in two ways.
    """
    text = f"{round(x, digits + 6):{'+' if signed else ''},.{digits}f}"
    text = text if re.search("[1-9]", text) else text.lstrip("+-")
    return text.replace("-", MINUS)


def number(x: float, *, signed: bool = False) -> str:
    """A number of any size, to four significant digits."""
    return f"{x:{'+' if signed and x else ''}.4g}".replace("-", MINUS)


def percent(share: float) -> str:
    """`95 %`, `97.25 %`: to four digits."""
    return f"{100 * share:.4g}{SPACE}%"


def p_value(p: float) -> str:
    """`p = 0.016` as it stands in a sentence."""
    equal = "" if p < 0.001 else f"={SPACE}"
    return "p not available" if math.isnan(p) else f"p{SPACE}{equal}{p_text(p)}"


def p_text(p: float) -> str:
    """A p-value to three decimals, as a table cell holds it."""
    if p < 0.001:
        return f"<{SPACE}0.001"
    return "1" if p > 0.9995 else f"{p:.3f}"


def listed(items: Iterable[object]) -> str:
    """`a`, `a and b`, `a, b and c`."""
    words = [str(item) for item in items]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)


def counted(n: int, noun: str, plural: str | None = None) -> str:
    """`1 seed`, `10 seeds`."""
    return f"{n:,}{SPACE}{noun if n == 1 else plural or noun + 's'}"


def capitalized(text: str) -> str:
    return text[:1].upper() + text[1:]


def as_level(value: object) -> Level:
    """A value of a setting as the tables hold it: a list of widths is a word, no limit is infinite."""
    if value is None:
        return math.inf
    return settings.text(value) if isinstance(value, list | tuple) else value


def level_name(axis: str, level: Level) -> str:
    """A level in prose: `batch normalization`, `dropout 0.5`, `SGD`."""
    return settings.level_name(axis, None if level == math.inf else level)


def short_name(axis: str, level: Level) -> str:
    """A level where its setting stands beside it: the bare number, or the name of a word."""
    if level == math.inf:
        return settings.SETTINGS[axis].unsaid or "all"
    named = settings.SETTINGS[axis].names is not None
    return level_name(axis, level) if named else settings.text(level)


def arm(level: Level, axis: str = "norm") -> str:
    """A level as a sentence names it: `with dropout 0.5`, `without normalization`."""
    name = level_name(axis, level)
    return f"without {name[3:]}" if name.startswith("no ") else f"with {name}"


@dataclass(frozen=True)
class Comparison:
    """One row of comparison.csv, with what a sentence about it needs to know besides."""

    of: Metric
    mean_baseline: float
    mean_level: float
    difference: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    effect_size: float
    share_of_seeds: float
    n: int
    dataset: str = ""
    axis: str = ""
    level: Level = ""
    baseline: Level = ""
    cell: dict[str, Level] = field(default_factory=dict)  # values of the other axes; none: of all
    family: int = 1  # the tests that Holm's correction spans
    runs: int = 0  # in each arm, of which so many never reached the target accuracy
    censored_baseline: int = 0
    censored_level: int = 0

    @property
    def outcome(self) -> Outcome:
        """Which wording the numbers allow."""
        if math.isnan(self.difference) or self.n < 1:
            return "missing"
        if self.censored_baseline == self.censored_level == self.runs > 0:
            return "censored"
        if self.n < 2 or math.isnan(self.p_holm) or math.isnan(self.ci_low):
            return "untested"
        if self.difference == self.ci_low == self.ci_high == 0:
            return "equal"
        excludes_zero = self.ci_low > 0 or self.ci_high < 0
        if self.p_holm < ALPHA and excludes_zero:
            return "higher" if self.difference > 0 else "lower"
        return "unclear"

    @property
    def shown(self) -> Literal["better", "worse"] | None:
        """Whether a difference was shown, and for or against the level."""
        if self.outcome not in ("higher", "lower") or not self.of.better:
            return None
        return "better" if self.outcome == self.of.better else "worse"

    @property
    def with_level(self) -> str:
        return arm(self.level, self.axis)

    @property
    def with_baseline(self) -> str:
        return arm(self.baseline, self.axis)

    @property
    def interval(self) -> str:
        return self.of.interval(self.ci_low, self.ci_high)

    @property
    def values(self) -> str:
        """`97.79 % against 97.58 %`."""
        return f"{self.of.value(self.mean_level)} against {self.of.value(self.mean_baseline)}"

    @property
    def amount(self) -> str:
        """The difference with its unit."""
        return f"{self.of.difference(self.difference)} {self.of.unit}".rstrip()

    @property
    def size(self) -> str:
        """The same without a sign."""
        return self.amount.lstrip(f"+{MINUS}")

    @property
    def sizes(self) -> str:
        """The interval without signs, for one that excludes zero."""
        ends = sorted((abs(self.ci_low), abs(self.ci_high)))
        return f"{SPACE}to{SPACE}".join(self.of.difference(end, signed=False) for end in ends)

    @property
    def factor(self) -> str:
        """A ratio of steps in words: `45 % fewer steps`, `20 % more steps`, `3.0 times the steps`."""
        ratio = math.exp(self.difference)
        if ratio >= 2:
            return f"{ratio:.1f} times the steps"
        return f"{abs(100 * (ratio - 1)):.0f}{SPACE}% {'fewer' if ratio < 1 else 'more'} steps"

    @property
    def seeds_in_favour(self) -> int:
        return round(self.share_of_seeds * self.n)


def paired(of: Metric, after: pd.Series, before: pd.Series, **names: object) -> Comparison:
    """A comparison of values by seed; p_holm is p, until it is corrected for others."""
    found = statistics.sign_flip((after - before).to_numpy()).summary()
    found["p"] = found["p_holm"] = found["p"] if found["n"] > 1 else math.nan
    if of.better == "lower":
        found["share_of_seeds"] = 1 - found["share_of_seeds"]
    means = {"mean_baseline": statistics.mean(before), "mean_level": statistics.mean(after)}
    return Comparison(of, difference=found.pop("mean"), **means, **found, **names)
