"""Whether the effect of the treatment depends on the axes beside it."""

from collections.abc import Iterator, Sequence
from itertools import product

from bnstudy import settings
from bnstudy.report.measures import arm, p_value, paired, short_name
from bnstudy.report.results import Level, Results
from bnstudy.report.words import say


def steps_along(results: Results, axis: str) -> list[tuple[Level, Level]]:
    """What is compared along an axis: smallest and largest number, or the first word and the others."""
    values = results.values(axis)
    if all(isinstance(value, str) for value in values):
        return [(values[0], value) for value in values[1:]]
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [(numbers[0], numbers[-1])] if len(numbers) > 1 else []


def contrasts(
    results: Results, dataset: str, axis: str, levels: Sequence[Level] | None = None
) -> Iterator[str]:
    """Whether the effect of each treatment, or of some, depends on another axis, by metric."""
    reached = results.select(results.runs, dataset=dataset)["steps_to_target"].notna().any()
    metrics = ("test_accuracy", "test_loss", "ln_steps_to_target")[: 3 if reached else 2]
    place = 1 + results.cell_axes.index(axis)
    for level, name in product(results.treatments if levels is None else levels, metrics):
        of, arms = results.metric(name), [level, results.baseline]
        wide = results.paired(results.scored(name), dataset, "value", arms)
        pairs = {}
        for value in results.values(axis):  # by seed, the mean over the other axes
            columns = ([c for c in wide if (c[0], c[place]) == (one, value)] for one in arms)
            pairs[value] = [wide[found].mean(axis=1) for found in columns]
        for start, end in steps_along(results, axis) if len(wide) else []:
            before, after = (pairs[value][0] - pairs[value][1] for value in (start, end))
            change = paired(of, after, before)
            compared = {
                value: paired(of, *pairs[value]) for value in pairs if value in (start, end)
            }
            values = " and ".join(
                f"{c.amount} {at(axis, value)} ({c.values})" for value, c in compared.items()
            )
            kind = "depends" if change.outcome in ("higher", "lower") else "unclear"
            yield say(
                "interactions", "one seed" if change.n < 2 else kind, c=change,
                level=results.level_name(level), axis=settings.label(axis), p=p_value(change.p),
                values="a ratio of " * (of.kind == "ratio") + values,
            )  # fmt: skip


def at(axis: str, value: Level) -> str:
    return arm(value, axis) if isinstance(value, str) else f"at {short_name(axis, value)}"
