"""Whether the effect of the treatment depends on the axes beside it."""

from collections.abc import Iterator, Sequence
from itertools import product

import pandas as pd

from bnstudy import settings
from bnstudy.report.measures import (
    arm,
    capitalized,
    p_value,
    paired,
    short_name,
)
from bnstudy.report.results import Level, Results


def steps_along(results: Results, axis: str) -> list[tuple[Level, Level]]:
    """What is compared along an axis: smallest and largest number, or the first word and the others."""
    values = results.values(axis)
    if all(isinstance(value, str) for value in values):
        return [(values[0], value) for value in values[1:]]
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [(numbers[0], numbers[-1])] if len(numbers) > 1 else []


def along(
    results: Results, dataset: str, metric: str, axis: str, levels: Sequence[Level]
) -> dict[tuple[Level, Level], pd.Series]:
    """A metric by level of the treatment and value of an axis, per seed complete in all of it.

    The mean over the other axes.
    """
    wide = results.paired(results.scored(metric), dataset, "value", levels)
    place = 1 + results.cell_axes.index(axis)
    return {
        (level, value): wide[[c for c in wide.columns if (c[0], c[place]) == (level, value)]].mean(
            axis=1
        )
        for level, value in product(levels, results.values(axis))
    }


def contrasts(
    results: Results, dataset: str, axis: str, levels: Sequence[Level] | None = None
) -> Iterator[str]:
    """Whether the effect of each treatment, or of some, depends on another axis, by metric."""
    reached = results.select(results.runs, dataset=dataset)["steps_to_target"].notna().any()
    metrics = ("test_accuracy", "test_loss", "ln_steps_to_target")[: 3 if reached else 2]
    label, baseline = settings.label(axis), results.baseline
    for level, name in product(results.treatments if levels is None else levels, metrics):
        of = results.metric(name)
        by = along(results, dataset, name, axis, [level, baseline])
        pairs = {v: paired(of, by[level, v], by[baseline, v]) for v in results.values(axis)}
        for start, end in steps_along(results, axis):
            if by[level, start].empty:
                continue
            after, before = (by[level, v] - by[baseline, v] for v in (end, start))
            change = paired(of, after, before)
            ends = (
                f"{of.difference(c.difference)} {of.unit}".rstrip()
                + f" {at(axis, v)} ({of.value(c.mean_level)} against {of.value(c.mean_baseline)})"
                for v, c in pairs.items()
                if v in (start, end)
            )
            values = ("a ratio of " if of.kind == "ratio" else "") + " and ".join(ends)
            subject = f"the effect of {results.level_name(level)} on {of.title}"
            if change.n < 2:
                yield f"{capitalized(subject)} was {values}: one seed, so without a test."
            elif change.outcome in ("higher", "lower"):
                yield (
                    f"{capitalized(subject)} depends on the {label} (unadjusted "
                    f"{p_value(change.p)}): {values}."
                )
            else:
                yield (
                    f"That {subject} depends on the {label} could not be shown (unadjusted "
                    f"{p_value(change.p)}): {values}."
                )


def at(axis: str, value: Level) -> str:
    return arm(value, axis) if isinstance(value, str) else f"at {short_name(axis, value)}"
