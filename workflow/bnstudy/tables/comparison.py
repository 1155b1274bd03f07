"""The treatment's levels against their baseline, paired by seed: the rows of comparison.csv."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import product

from bnstudy import statistics
from bnstudy.grid import axes, order, table_value
from bnstudy.scoring import METRICS, failed, score

CELL, ALL = "cell", "all"
STATISTICS = (
    *("metric", "mean_baseline", "mean_level", "difference", "ci_low", "ci_high", "p", "p_holm"),
    *("effect_size", "share_of_seeds", "n", "n_diverged"),
)


def columns(config: Mapping) -> tuple[str, ...]:
    """The columns of comparison.csv: those that say what is compared where, then the statistics."""
    rest = [name for name in axes(config) if name not in (config["compare"]["axis"], "seed")]
    return ("axis", "level", "baseline", *rest, "scope", *STATISTICS)


def compare(runs: list[dict], config: Mapping) -> list[dict]:
    """Compare every level of the treatment with its baseline, paired by seed.

    Each combination of the remaining axes has a row per metric (scope `cell`), and scope `all` compares,
    within a dataset, the means over them that each seed reached. A seed counts where all its runs are there.
    Holm's adjustment is over the cells of a metric, and over the metrics of `all`. A metric that is not known
    of every run that counts has no row. Rows come sorted by dataset, level, cell and the order of the
    metrics.
    """
    axis, baseline = config["compare"]["axis"], table_value(config["compare"]["baseline"])
    strata = [] if axis == "dataset" else ["dataset"]
    swept = [name for name in axes(config) if name not in (axis, "seed", *strata)]
    rows: list[dict] = []
    for stratum in distinct(runs, strata):
        part = [run for run in runs if stratum.items() <= run.items()]
        levels = [cell[axis] for cell in distinct(part, [axis])]
        if baseline not in levels:
            continue
        scores = {(run[axis], at(run, swept), run["seed"]): score(run) for run in part}
        bad = {(run[axis], at(run, swept), run["seed"]) for run in part if failed(run)}
        cells = distinct(part, swept)
        for level in (level for level in levels if level != baseline):
            about = {"axis": axis, "level": level, "baseline": baseline} | stratum
            whole = dict.fromkeys(swept) | {"scope": ALL}, cells
            for where, pooled in [*((cell | {"scope": CELL}, [cell]) for cell in cells), whole]:
                arms = list(product((baseline, level), (at(cell, swept) for cell in pooled)))
                rows += [about | where | found for found in paired(scores, bad, arms, level)]
    adjust(rows)
    return rows


def paired(scores: dict, bad: set, arms: list[tuple], level: object) -> Iterator[dict]:
    """The statistics of each metric over the seeds that have all arms, means over the cells of each."""
    seeds = sorted({seed for _, _, seed in scores})
    seeds = [seed for seed in seeds if all((*arm, seed) in scores for arm in arms)]
    if not seeds:
        return
    known = [scores[(*arm, seed)] for seed in seeds for arm in arms]
    observed = sorted({metric for score in known for metric in score} - set(METRICS))
    metrics = [m for m in (*METRICS, *observed) if all(score.get(m) is not None for score in known)]
    sides = [[arm for arm in arms if (arm[0] == level) is new] for new in (False, True)]
    means = {
        metric: [
            [statistics.mean([scores[(*arm, seed)][metric] for arm in side]) for seed in seeds]
            for side in sides
        ]
        for metric in metrics
    }
    differences = [[b - a for a, b in zip(*pair, strict=True)] for pair in means.values()]
    summaries = [test.summary() for test in statistics.sign_flips(differences)]
    for metric, difference, summary in zip(metrics, differences, summaries, strict=True):
        better = difference if metric.endswith("accuracy") else [-d for d in difference]
        yield summary | {
            "metric": metric,
            "mean_baseline": statistics.mean(means[metric][0]),
            "mean_level": statistics.mean(means[metric][1]),
            "difference": summary["mean"],
            "share_of_seeds": statistics.share_of_seeds(better),
            "n_diverged": sum((*arm, seed) in bad for arm in arms for seed in seeds),
        }


def adjust(rows: list[dict]) -> None:
    """Add `p_holm` to the rows of a comparison, family by family."""
    families: dict[tuple, list[dict]] = defaultdict(list)
    for row in rows:
        member_of = ALL if row["scope"] == ALL else row["metric"]
        families[row.get("dataset"), row["level"], member_of].append(row)
    for family in families.values():
        for row, p in zip(family, statistics.holm([row["p"] for row in family]), strict=True):
            row["p_holm"] = p


def at(run: Mapping, names: list[str]) -> tuple:
    return tuple(run[name] for name in names)


def distinct(runs: list[dict], names: list[str]) -> list[dict]:
    """The combinations of values that occur, numbers sorted by their value."""
    found = sorted({at(run, names) for run in runs}, key=order)
    return [dict(zip(names, values, strict=True)) for values in found]
