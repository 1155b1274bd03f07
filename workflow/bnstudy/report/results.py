"""The tables of a study as the report asks for them, and how their numbers are written."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import pandas as pd
import yaml

from bnstudy import statistics
from bnstudy.data.splits import split_sizes
from bnstudy.errors import UserError

ALPHA = 0.05
TABLES = ("runs", "metrics", "timings", "comparison")
RUN_KEYS = ["dataset", "norm", "batch_size", "seed"]
BASELINE = "none"
NORM_NAMES = {
    "none": "no normalization",
    "batch": "batch normalization",
    "layer": "layer normalization",
}
SPACE = "\N{NO-BREAK SPACE}"
MINUS = "\N{MINUS SIGN}"

Kind = Literal["accuracy", "loss", "steps", "ratio"]
Outcome = Literal["higher", "lower", "unclear", "equal", "untested", "censored", "missing"]


@dataclass(frozen=True)
class Metric:
    """How a column of the tables is called, read and written.

    A `ratio` is tabled as a natural logarithm, so its differences are logarithms of ratios.
    """

    name: str
    title: str
    kind: Kind
    better: Literal["higher", "lower"]

    @property
    def unit(self) -> str:
        """Unit of a difference, for headers and prose."""
        return {
            "accuracy": "percentage points",
            "loss": "nats",
            "steps": "steps",
            "ratio": "ratio",
        }[self.kind]

    def value(self, x: float) -> str:
        """A mean of one arm, with its unit where it has a short one."""
        if math.isnan(x):
            return "n/a"
        match self.kind:
            case "accuracy":
                return f"{decimal(100 * x, 2)}{SPACE}%"
            case "loss":
                return decimal(x, 4)
            case "steps":
                return f"{x:,.0f}"
            case "ratio":
                return f"{math.exp(x):,.0f}"

    def difference(self, x: float) -> str:
        """A difference between two arms in `unit`, signed; a ratio without a sign."""
        if math.isnan(x):
            return "n/a"
        match self.kind:
            case "accuracy":
                return decimal(100 * x, 2, signed=True)
            case "loss":
                return decimal(x, 4, signed=True)
            case "steps":
                return decimal(x, 0, signed=True)
            case "ratio":
                return f"{math.exp(x):.2f}"


METRICS = {
    metric.name: metric
    for metric in (
        Metric("test_accuracy", "test accuracy", "accuracy", "higher"),
        Metric("test_loss", "test loss", "loss", "lower"),
        Metric("val_accuracy", "validation accuracy", "accuracy", "higher"),
        Metric("val_loss", "validation loss", "loss", "lower"),
        Metric("train_accuracy", "training accuracy", "accuracy", "higher"),
        Metric("train_loss", "training loss", "loss", "lower"),
        Metric("ln_steps_to_95", f"steps to 95{SPACE}%", "ratio", "lower"),
        Metric("steps_to_95", f"steps to 95{SPACE}%", "steps", "lower"),
    )
}
# The metrics of which the report speaks. The plain number of steps is in the tables for reference;
# its differences are dominated by the smallest batch size, where a step sees the fewest images.
SPOKEN = tuple(name for name in METRICS if name != "steps_to_95")


def decimal(x: float, digits: int, *, signed: bool = False) -> str:
    """A number with a true minus sign; what rounds to zero has no sign."""
    text = f"{x:+,.{digits}f}" if signed else f"{x:,.{digits}f}"
    if not any(c in "123456789" for c in text):
        text = text.lstrip("+-")
    return text.replace("-", MINUS)


def p_value(p: float) -> str:
    """`p = 0.016` as it stands in a sentence."""
    if math.isnan(p):
        return "p not available"
    return f"p{SPACE}{p_text(p)}" if p < 0.001 else f"p{SPACE}={SPACE}{p_text(p)}"


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


def arm(norm: str) -> str:
    """The arm as a sentence names it: `with batch normalization`, `without normalization`."""
    if norm == BASELINE:
        return "without normalization"
    return f"with {NORM_NAMES.get(norm, norm + ' normalization')}"


@dataclass(frozen=True)
class Comparison:
    """One row of comparison.csv, with what a sentence about it needs to know besides.

    `family` is the number of tests that Holm's correction spans. `censored_*` are the runs that
    never reached the target accuracy, out of `runs` in each arm.
    """

    dataset: str
    norm: str
    baseline: str
    batch_size: str  # "all" for the mean over batch sizes
    metric: str
    mean_baseline: float
    mean_norm: float
    difference: float
    ci_low: float
    ci_high: float
    p: float
    p_holm: float
    effect_size: float
    share_of_seeds: float
    n: int
    family: int = 1
    runs: int = 0
    censored_baseline: int = 0
    censored_norm: int = 0

    @property
    def of(self) -> Metric:
        return METRICS[self.metric]

    @property
    def outcome(self) -> Outcome:
        """Which wording the numbers allow."""
        if math.isnan(self.difference) or self.n < 1:
            return "missing"
        if self.censored_baseline == self.censored_norm == self.runs > 0:
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
        """Whether a difference was shown, and for or against the normalization."""
        if self.outcome not in ("higher", "lower"):
            return None
        return "better" if self.outcome == self.of.better else "worse"

    @property
    def interval(self) -> str:
        """`+0.15 to +0.27` in the metric's unit."""
        if math.isnan(self.ci_low):
            return "n/a"
        ends = (self.of.difference(self.ci_low), self.of.difference(self.ci_high))
        return f"{SPACE}to{SPACE}".join(ends)

    @property
    def attainable_p(self) -> float:
        """The smallest Holm-adjusted p that this many seeds can give in this family."""
        return min(1.0, self.family * statistics.smallest_p(self.n))

    @property
    def seeds_in_favour(self) -> int:
        return round(self.share_of_seeds * self.n)


@dataclass(frozen=True)
class DatasetFacts:
    """What the tables do not hold about a dataset."""

    title: str
    n_classes: int
    n_train: int  # images before the validation images are split off
    n_test: int


@dataclass(frozen=True)
class Results:
    """The config and the tables of one study, and the questions the report asks of them."""

    config: dict
    facts: dict[str, DatasetFacts]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    timings: pd.DataFrame
    comparison: pd.DataFrame
    missing: pd.DataFrame | None = None  # what an unfinished study lacks: part, cell, reason, log

    @classmethod
    def load(cls, config: Path, tables: Path, facts: dict[str, DatasetFacts]) -> "Results":
        """Read the recorded config and the four tables.

        Raises
        ------
        UserError
            If a file is missing, or a dataset of the runs has no `facts`.
        """
        frames = {name: read_table(Path(tables) / f"{name}.csv") for name in TABLES}
        if not Path(config).exists():
            raise UserError(f"there is no config at {config}; `snakemake tables` writes it")
        missing = sorted(set(frames["runs"]["dataset"]) - set(facts))
        if missing:
            raise UserError(
                f"the tables have runs on {listed(missing)} but no --data file of that dataset was "
                "given"
            )
        settings = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        if (lacking := Path(tables) / "missing.csv").exists():
            frames["missing"] = read_table(lacking)
        return cls(settings, facts, **frames)

    def in_grid(self, key: str) -> list:
        """Values of a grid axis in the order of the config, those that have runs."""
        present = set(self.runs[key])
        return [value for value in self.config["grid"][key] if value in present]

    @property
    def datasets(self) -> list[str]:
        return self.in_grid("dataset")

    @property
    def norms(self) -> list[str]:
        """The arms, the baseline first."""
        return sorted(self.in_grid("norm"), key=lambda norm: norm != BASELINE)

    @property
    def batch_sizes(self) -> list[int]:
        return sorted(self.in_grid("batch_size"))

    @property
    def seeds(self) -> list[int]:
        return sorted(self.in_grid("seed"))

    @property
    def n_seeds(self) -> str:
        """`10 seeds` in every cell of the grid that was run, or `8 to 10 seeds`."""
        counts = self.runs.groupby(["dataset", "norm", "batch_size"])["seed"].nunique()
        if counts.min() == counts.max():
            return counted(int(counts.max()), "seed")
        return f"{counts.min()}{SPACE}to{SPACE}{counted(int(counts.max()), 'seed')}"

    @property
    def treatments(self) -> list[str]:
        """The arms that can be compared with the baseline; none where it was not trained."""
        return [norm for norm in self.norms if norm != BASELINE] if self.has_baseline else []

    @property
    def has_baseline(self) -> bool:
        return BASELINE in self.norms

    @property
    def epochs(self) -> int:
        return self.config["training"]["epochs"]

    def title(self, dataset: str) -> str:
        return self.facts[dataset].title

    def label(self, label: str, dataset: str) -> str:
        """The label of a figure or table for a dataset; those after the first carry its name."""
        return label if dataset == self.datasets[0] else f"{label}-{dataset}"

    def select(self, frame: pd.DataFrame, **where: object) -> pd.DataFrame:
        """Rows of a table in which each named column has the value given."""
        for column, value in where.items():
            frame = frame[frame[column] == value]
        return frame

    def compare(
        self, dataset: str, norm: str, metric: str, batch_size: int | str = "all"
    ) -> Comparison | None:
        """The comparison of an arm with the baseline, None where the table has no such row."""
        rows = self.select(self.comparison, dataset=dataset, norm=norm)
        level = rows[rows["batch_size"] == str(batch_size)]
        found = self.select(level, metric=metric)
        if found.empty:
            return None
        # Holm spans the metrics of the mean over batch sizes, or the batch sizes of one metric.
        if batch_size == "all":
            family = level
        else:
            family = rows[(rows["metric"] == metric) & (rows["batch_size"] != "all")]
        row = found.iloc[0].to_dict()
        row.pop("n_diverged", None)
        comparison = Comparison(
            **row | {"n": int(row["n"])}, family=max(1, int(family["p"].notna().sum()))
        )
        if comparison.of.kind not in ("ratio", "steps"):
            return comparison
        runs = self.select(self.runs, dataset=dataset)
        if batch_size != "all":
            runs = self.select(runs, batch_size=int(batch_size))
        runs = paired(runs, comparison.baseline, norm)
        arms = {name: self.select(runs, norm=name) for name in (comparison.baseline, norm)}
        return replace(
            comparison,
            runs=len(arms[norm]),
            censored_baseline=int(arms[comparison.baseline]["steps_to_95"].isna().sum()),
            censored_norm=int(arms[norm]["steps_to_95"].isna().sum()),
        )

    def comparisons(
        self,
        dataset: str,
        norm: str,
        metrics: Sequence[str] = SPOKEN,
        batch_size: int | str = "all",
    ) -> list[Comparison]:
        """The comparisons there are, in the order of `metrics`."""
        found = (self.compare(dataset, norm, metric, batch_size) for metric in metrics)
        return [comparison for comparison in found if comparison]

    def scored(self, metric: str) -> pd.DataFrame:
        """Runs with a column `value` of the metric, a diverged run scored as comparison.csv does.

        A diverged run guesses: its accuracy is 1/C and its loss ln C for C classes. A run that
        never reached the target has taken all its steps.
        """
        runs = self.runs.copy()
        source = "steps_to_95" if metric == "ln_steps_to_95" else metric
        runs["value"] = runs[source].astype(float)
        for index, run in runs[runs["value"].isna()].iterrows():
            runs.loc[index, "value"] = self.fallback(run, METRICS[metric].kind)
        if metric == "ln_steps_to_95":
            runs["value"] = runs["value"].clip(lower=1).map(math.log)
        return runs

    def fallback(self, run: pd.Series, kind: Kind) -> float:
        """What a run without a value of this kind counts as."""
        n_classes = self.facts[run["dataset"]].n_classes
        if kind == "accuracy":
            return 1 / n_classes
        if kind == "loss":
            return math.log(n_classes)
        return self.n_steps(run["dataset"], run["batch_size"])

    def n_steps(self, dataset: str, batch_size: int) -> int:
        """Optimizer steps of a run that goes to its end."""
        return self.epochs * math.ceil(self.split_sizes(dataset)[0] / batch_size)

    def split_sizes(self, dataset: str) -> tuple[int, int]:
        """Numbers of training and of validation images."""
        return split_sizes(self.facts[dataset].n_train, self.config["data"]["validation_fraction"])

    def diverged(self, dataset: str, norm: str) -> int:
        """Number of runs of an arm that diverged."""
        runs = self.select(self.runs, dataset=dataset, norm=norm)
        return int((runs["status"] == "diverged").sum())


def paired(runs: pd.DataFrame, baseline: str, norm: str) -> pd.DataFrame:
    """The runs of two arms, of those seeds that have every batch size in both."""
    runs = runs[runs["norm"].isin([baseline, norm])]
    cells = 2 * runs["batch_size"].nunique()
    return runs[runs.groupby("seed")["run"].transform("count") == cells]


def read_table(path: Path) -> pd.DataFrame:
    """A table of the study; the norm `none` is a word, an empty cell is missing."""
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""])
    except FileNotFoundError:
        raise UserError(f"there is no table {path}; `snakemake tables` writes it") from None
    return frame.astype({"batch_size": str}) if path.name == "comparison.csv" else frame
