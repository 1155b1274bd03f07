"""The tables of a study as the report asks for them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from bnstudy import grid, scoring, settings
from bnstudy.claims.endpoints import base
from bnstudy.data.splits import split_sizes
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.report import measures
from bnstudy.report.measures import METRICS, SPACE, SPOKEN, Comparison, Level, Metric, as_level

TABLES = ("runs", "metrics", "timings", "comparison")
MORE = ("classes", "confusion", "claims", "missing")  # that there need not be
CONTROLS = ("input_scaling", "long_training")  # studies that repeat the main comparison
EVERY = "all"  # what `datasets` holds where they are the levels that are compared
COLUMNS = [one.name for one in fields(Comparison) if one.type is float]


def read_table(path: Path, config: dict) -> pd.DataFrame:
    """A table of the study: an axis holds what `as_level` makes of the values of the config."""
    levels = {axis: [*map(as_level, values)] for axis, values in config["grid"].items()}
    levels["level"] = levels["baseline"] = levels[config["compare"]["axis"]]
    words = {axis: str for axis, found in levels.items() if any(isinstance(v, str) for v in found)}
    try:
        frame = pd.read_csv(path, keep_default_na=False, na_values=[""], dtype=words)
    except FileNotFoundError:
        raise UserError(f"there is no table {path}; `snakemake tables` writes it") from None
    for axis, values in levels.items():
        if math.inf in values and axis in frame:  # an empty cell, but not in a row over all cells
            pooled = "scope" in frame and axis not in ("level", "baseline")
            over_cells = frame["scope"] == "all" if pooled else False
            frame[axis] = frame[axis].where(frame[axis].notna() | over_cells, math.inf)
    return frame


class Remaining(NamedTuple):
    """The main comparison in a study with centred input, long training or both."""

    study: str
    scaling: str
    condition: str  # `standardized pixels, 25 epochs`
    effects: list[Comparison]  # on the steps to the target and on the test accuracy


class DatasetFacts(NamedTuple):
    """What the tables do not hold about a dataset."""

    title: str
    n_classes: int
    n_train: int  # images before the validation images are split off
    n_test: int
    classes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Results:
    """The config and the tables of one study, and the questions the report asks of them."""

    config: dict
    facts: dict[str, DatasetFacts]
    runs: pd.DataFrame
    metrics: pd.DataFrame
    timings: pd.DataFrame
    comparison: pd.DataFrame
    classes: pd.DataFrame | None = None
    confusion: pd.DataFrame | None = None
    claims: pd.DataFrame | None = None
    missing: pd.DataFrame | None = None  # what an unfinished study lacks: part, cell, reason, log
    tables: Path = Path()  # where the tables of the studies lie

    @classmethod
    def load(cls, config: Path, tables: Path, facts: dict[str, DatasetFacts]) -> "Results":
        """Read the recorded config and the tables; refuse missing files and runs without `facts`."""
        if not config.exists():
            raise UserError(f"there is no config at {config}; `snakemake tables` writes it")
        content = read_yaml(config)
        names = [*TABLES, *(name for name in MORE if (tables / f"{name}.csv").exists())]
        frames = {name: read_table(tables / f"{name}.csv", content) for name in names}
        if lacking := sorted(set(frames["runs"]["dataset"]) - set(facts)):
            names = measures.listed(lacking)
            raise UserError(f"the tables have runs on {names} but no --data file of that dataset was given")
        results = cls(content, facts, **frames, tables=tables)
        if results.axis == "dataset":
            some = [facts[name] for name in results.levels]
            titles = measures.listed(one.title for one in some)
            return replace(results, facts=facts | {EVERY: some[0]._replace(title=titles)})
        return results

    # What was swept and what was compared

    @property
    def axis(self) -> str:
        """The treatment: the setting whose levels are compared."""
        return self.config["compare"]["axis"]

    @property
    def baseline(self) -> Level:
        return as_level(self.config["compare"]["baseline"])

    def values(self, axis: str) -> list[Level]:
        """The values of a setting in the order of the config: of an axis, those that have runs."""
        if axis in self.config["grid"]:
            present = set(self.runs[axis])
            return [v for v in map(as_level, self.config["grid"][axis]) if v in present]
        known = settings.SETTINGS[axis]
        return [as_level(self.config[known.section].get(axis, known.default))]

    @property
    def levels(self) -> list[Level]:
        """The levels of the treatment, the baseline first."""
        return sorted(self.values(self.axis), key=lambda level: level != self.baseline)

    @property
    def treatments(self) -> list[Level]:
        """The levels that can be compared with the baseline; none where it was not trained."""
        return self.levels[1:] if self.baseline in self.levels else []

    @property
    def cell_axes(self) -> list[str]:
        """The other axes that were swept, apart from dataset and seed."""
        return [axis for axis in grid.swept(self.config) if len(self.values(axis)) > 1]

    @cached_property
    def cells(self) -> list[dict[str, Level]]:
        """Every combination of the other axes that were swept; one without keys if none was."""
        columns = [self.values(axis) for axis in self.cell_axes]
        return [dict(zip(self.cell_axes, values, strict=True)) for values in product(*columns)]

    @property
    def datasets(self) -> list[str]:
        """The datasets that are reported on one by one; `EVERY` where they are compared."""
        return [EVERY] if self.axis == "dataset" else self.values("dataset")

    @property
    def seeds(self) -> list[int]:
        return sorted(self.values("seed"))

    # Names

    def level_name(self, level: Level) -> str:
        return measures.level_name(self.axis, level)

    def arm(self, level: Level) -> str:
        return measures.arm(level, self.axis)

    def cell_title(self, cell: dict[str, Level]) -> str:
        """`batch size 32`, `SGD, learning rate 0.01`; empty where nothing else was swept."""
        return ", ".join(measures.level_name(axis, value) for axis, value in cell.items())

    def title(self, dataset: str) -> str:
        return self.facts[dataset].title

    def label(self, label: str, dataset: str, level: Level | None = None) -> str:
        """The label of a figure or table; all but the first dataset and treatment carry a name."""
        if level is not None and level != self.treatments[0]:
            label += f"-{settings.text(level)}".replace(".", "-").replace(":", "-")
        return label if dataset == self.datasets[0] else f"{label}-{dataset}"

    @property
    def n_seeds(self) -> str:
        """`10 seeds` in every cell of the grid that was run, or `8 to 10 seeds`."""
        counts = self.runs.groupby(grid.axes(self.config)[:-1])["seed"].nunique()
        fewest = f"{counts.min()}{SPACE}to{SPACE}" if counts.min() < counts.max() else ""
        return fewest + measures.counted(int(counts.max()), "seed")

    @property
    def epochs(self) -> int:
        """Passes over the training images; the most, where they were swept."""
        return max(self.values("epochs"))

    @property
    def target(self) -> str:
        """The accuracy to which steps are counted, as a sentence names it."""
        targets = self.values("target")
        return measures.percent(targets[0]) if len(targets) == 1 else "the target"

    def metric(self, name: str) -> Metric:
        """A metric by its name in the tables; what observers measured has no other."""
        if name not in METRICS:
            return Metric(name.replace("_", " "), "number")
        known = METRICS[name]
        return replace(known, title=known.title.format(self.target), target=self.target)

    # Tables

    def select(self, frame: pd.DataFrame, **where: object) -> pd.DataFrame:
        """Rows of a table in which each named column has the value given."""
        for column, value in where.items():
            if (column, value) != ("dataset", EVERY):
                frame = frame[frame[column] == value]
        return frame

    def at(self, frame: pd.DataFrame, dataset: str, level: Level, **cell: object) -> pd.DataFrame:
        """Rows of a table on a dataset with a level of the treatment, in a cell if one is given."""
        return self.select(frame, **{"dataset": dataset, self.axis: level}, **cell)

    def complete(self, frame: pd.DataFrame, dataset: str, levels: Sequence[Level], **cell: Level) -> pd.DataFrame:
        """Rows with these levels, of the seeds that have all of them in every cell, or in this one."""
        rows = self.select(frame, dataset=dataset, **cell)
        rows = rows[rows[self.axis].isin(levels)]
        whole = len(levels) * (1 if cell else len(self.cells))
        return rows[rows.groupby("seed")["seed"].transform("size") == whole]

    def by_seed(
        self, frame: pd.DataFrame, dataset: str, value: str, levels: Sequence[Level], **where: Level
    ) -> dict[Level, pd.Series]:
        """A column of complete seeds for each level: its mean over all cells, or those of a setting."""
        rows = self.complete(frame.dropna(subset=value), dataset, levels)
        groups = self.select(rows, **where).groupby([self.axis, "seed"])[value]
        means = groups.agg(lambda values: values.mean())  # as numpy adds them up
        return dict(means.unstack(0).reindex(columns=levels).items())

    def compare(
        self, dataset: str, level: Level, metric: str, cell: dict[str, Level] | None = None
    ) -> Comparison | None:
        """The comparison with the baseline in a cell, or of the means over all; None without a row."""
        scope = "all" if cell is None else "cell"
        rows = self.select(self.comparison, dataset=dataset, level=level, scope=scope)
        # Holm spans the metrics of the mean over cells, or the cells of one metric.
        family = rows if cell is None else self.select(rows, metric=metric)
        found = self.select(rows, metric=metric, **(cell or {}))
        if found.empty:
            return None
        row, of, cell = found.iloc[0], self.metric(metric), cell or {}
        numbers = {name: float(row[name]) for name in COLUMNS} | {"n": int(row["n"])}
        if of.kind in ("ratio", "steps"):  # how many runs of the complete seeds never came there
            runs = self.complete(self.runs, dataset, [self.baseline, level], **cell)
            unreached = runs["steps_to_target"].isna() | scoring.failed(runs)
            counts = unreached.groupby(runs[self.axis]).sum()
            numbers |= {"runs": len(runs) // 2, "censored_level": int(counts.get(level, 0))}
            numbers["censored_baseline"] = int(counts.get(self.baseline, 0))
        family = max(1, int(family["p"].notna().sum()))
        return Comparison(of, **numbers, **self.names(dataset, level), cell=cell, family=family)

    def names(self, dataset: str, level: Level) -> dict[str, Level]:
        """What a `Comparison` of a level with the baseline is called by."""
        return {"dataset": dataset, "axis": self.axis, "level": level, "baseline": self.baseline}

    def gap(self, dataset: str, level: Level) -> Comparison | None:
        """Validation minus training loss against the baseline's, over all cells; None without a pair."""
        gaps = self.scored("val_loss")
        gaps["value"] -= self.scored("train_loss")["value"]
        by = self.by_seed(gaps, dataset, "value", [self.baseline, level])
        if by[level].empty:
            return None
        both = (by[level], by[self.baseline])
        return measures.paired(measures.GAP, *both, **self.names(dataset, level))

    def remaining(self, level: Level) -> Iterator[Remaining]:
        """What is left of an effect in each study and scaling of `CONTROLS` that was run whole."""
        lacking = set() if self.missing is None else set(self.missing["part"])
        for study in CONTROLS:
            path, said = self.tables / f"{study}.csv", self.config["studies"].get(study, {})
            if not said.get("enabled") or study in lacking or not path.exists():
                continue
            runs = read_table(path, self.config)
            runs["ln_steps_to_target"] = base.scored(runs, "ln_steps_to_target")
            runs["test_accuracy"] = base.accuracy(runs, "test_accuracy") / 100
            epochs = said["settings"].get("epochs", self.config["training"]["epochs"])
            for scaling, part in runs.groupby("scaling", sort=False):
                if not {level, self.baseline} <= set(part.get(self.axis, ())):
                    continue
                wide, effects = part.pivot(index="seed", columns=self.axis), []
                for name in ("ln_steps_to_target", "test_accuracy"):
                    effects.append(measures.paired(self.metric(name), wide[name, level], wide[name, self.baseline]))
                title = measures.level_name("scaling", scaling)
                condition = f"{title}, {measures.counted(epochs, 'epoch')}"
                yield Remaining(study, scaling, condition, effects)

    def comparisons(self, dataset: str, level: Level, metrics: Sequence[str] = SPOKEN) -> list[Comparison]:
        """The comparisons over all cells that there are, in the order of `metrics`."""
        found = (self.compare(dataset, level, metric) for metric in metrics)
        return [comparison for comparison in found if comparison]

    def scored(self, metric: str) -> pd.DataFrame:
        """Runs with a column `value` of the metric, scored as in comparison.csv."""
        scale = 100 if metric.endswith("accuracy") else 1  # the claims have them in percent
        return self.runs.assign(value=base.scored(self.runs, metric) / scale)

    def diverged(self, dataset: str, level: Level) -> int:
        """Number of runs with a level that diverged."""
        return int((self.at(self.runs, dataset, level)["status"] == "diverged").sum())

    def split_sizes(self, dataset: str) -> tuple[int, int]:
        """Numbers of training and of validation images, before any subset of the former is taken."""
        fraction = self.values("validation_fraction")[0]
        return split_sizes(self.facts[dataset].n_train, fraction)
