"""What the tables say, in words that the numbers choose.

Nothing here is decided in advance: a difference is called higher or lower only where the
Holm-adjusted p is below 0.05 and the 95 % interval excludes zero, and every other case has its
own wording.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from itertools import product
from typing import Literal

import pandas as pd

from bnstudy import statistics
from bnstudy.report.results import (
    ALPHA,
    BASELINE,
    METRICS,
    NORM_NAMES,
    SPACE,
    Comparison,
    Metric,
    Results,
    arm,
    capitalized,
    counted,
    decimal,
    listed,
    p_value,
)

TIMES = " \N{MULTIPLICATION SIGN} "


def clause(c: Comparison) -> str:
    """The finding of a comparison as a clause: no capital, no full stop, all its numbers."""
    if c.of.kind == "ratio":
        return steps_clause(c)
    name, with_norm, without = c.of.title, arm(c.norm), arm(c.baseline)
    values = f"{c.of.value(c.mean_norm)} against {c.of.value(c.mean_baseline)} {without}"
    match c.outcome:
        case "higher" | "lower":
            return f"{name} was {c.outcome} {with_norm}: {values}, {evidence(c)}"
        case "equal":
            seeds = counted(c.n, "seed")
            return f"{name} was the same in all {seeds} {with_norm} and {without}: {values}"
        case "untested":
            reason = "a single pair of runs allows neither an interval nor a test"
            return f"{name} was {c.of.value(c.mean_norm)} {with_norm} and " + (
                f"{c.of.value(c.mean_baseline)} {without}; {reason}"
            )
        case "missing" | "censored":
            return f"{name} could not be compared: no pair of runs has it"
        case _:
            return f"no difference in {name} could be shown {with_norm}: {values}, {evidence(c)}"


def steps_clause(c: Comparison) -> str:
    """`clause` for a ratio of numbers of steps; means are geometric."""
    target = f"to reach 95{SPACE}% validation accuracy"
    ratio = math.exp(c.difference) if not math.isnan(c.difference) else math.nan
    steps = f"{c.of.value(c.mean_norm)} against {c.of.value(c.mean_baseline)} steps"
    match c.outcome:
        case "censored":
            return f"no run reached 95{SPACE}% validation accuracy, so speed cannot be compared"
        case "missing":
            return "speed could not be compared: no pair of runs has the number of steps"
        case "lower":
            fewer = f"{100 * (1 - ratio):.0f}{SPACE}% fewer steps"
            return f"it took {fewer} {arm(c.norm)} {target}: {steps}, {evidence(c)}"
        case "higher":
            more = (
                f"{100 * (ratio - 1):.0f}{SPACE}% more" if ratio < 2 else f"{ratio:.1f} times the"
            )
            return f"it took {more} steps {arm(c.norm)} {target}: {steps}, {evidence(c)}"
        case "equal":
            return (
                f"the number of steps {target} was the same in all {counted(c.n, 'seed')} "
                f"{arm(c.norm)} and {arm(c.baseline)}: {steps}"
            )
        case "untested":
            return (
                f"it took {steps} {target} {arm(c.norm)} and {arm(c.baseline)}; a single pair of "
                "runs allows neither an interval nor a test"
            )
        case _:
            return (
                f"no difference in the number of steps {target} could be shown {arm(c.norm)}: "
                f"{steps}, {evidence(c)}"
            )


def evidence(c: Comparison) -> str:
    """The difference with its interval, p and seeds: what carries a finding."""
    kind = "a ratio of" if c.of.kind == "ratio" else "a difference of"
    unit = "" if c.of.kind == "ratio" else f" {c.of.unit}"
    return (
        f"{kind} {c.of.difference(c.difference)}{unit} (95{SPACE}% interval {c.interval}; "
        f"Holm {p_value(c.p_holm)}; better in {c.seeds_in_favour} of {counted(c.n, 'seed')})"
    )


def caveats(c: Comparison) -> list[str]:
    """Sentences that limit what a comparison can say; none where there is nothing to add."""
    sentences = []
    if c.outcome in ("unclear", "equal") and c.attainable_p >= ALPHA:
        sentences.append(out_of_reach(c.n, c.family))
    elif c.outcome == "unclear" and (c.ci_low > 0 or c.ci_high < 0):
        sentences.append(
            "The interval by itself excludes zero, but the test corrected for the number of "
            "comparisons does not reject."
        )
    if c.of.kind in ("ratio", "steps") and c.outcome != "censored":
        sentences += censoring(c)
    return sentences


def out_of_reach(n: int, family: int) -> str:
    """Why n seeds cannot show any difference in a family of tests."""
    smallest = statistics.smallest_p(n)
    corrected = min(1.0, family * smallest)
    after = (
        "" if family == 1 else f", and {corrected:.3g} after Holm's correction for {family} tests"
    )
    return (
        f"With {counted(n, 'seed')} the smallest p that the test can give is "
        f"{smallest:.3g}{after}; no difference, however large, could have been shown."
    )


def censoring(c: Comparison) -> list[str]:
    """How runs that never reached the target bend a ratio of steps."""
    if not c.censored_baseline + c.censored_norm:
        return []
    parts = [
        f"{count} of {c.runs} runs {arm(norm)}"
        for norm, count in ((c.baseline, c.censored_baseline), (c.norm, c.censored_norm))
        if count
    ]
    if not c.censored_norm:
        consequence = "so the true ratio is smaller still"
    elif not c.censored_baseline:
        consequence = "so the true ratio is larger still"
    else:
        consequence = "so the true ratio may be larger or smaller"
    unreached = f"{capitalized(listed(parts))} never reached 95{SPACE}%"
    return [f"{unreached} and count with all the steps they had, {consequence}."]


def sentence(c: Comparison) -> str:
    """`clause` as a sentence, without caveats."""
    return f"{capitalized(clause(c))}."


def with_caveats(found: Sequence[Comparison]) -> list[str]:
    """A sentence for each comparison, and after them what limits them, each caveat once."""
    notes = dict.fromkeys(note for c in found for note in caveats(c))
    return [*map(sentence, found), *notes]


def why_no_comparison(results: Results) -> str:
    """Why this study compares nothing, or an empty string where it compares."""
    names = [NORM_NAMES.get(norm, norm) for norm in results.norms]
    if not results.has_baseline:
        return (
            f"This study trained networks with {listed(names)} but none without normalization, so "
            "there is no baseline to compare with."
        )
    if not results.treatments:
        return (
            "This study trained networks without normalization only, so there is nothing to "
            "compare them with."
        )
    return ""


def subtitle(results: Results) -> str:
    """What was run, in one line."""
    axes = [
        counted(len(results.norms), "arm"),
        counted(len(results.batch_sizes), "batch size"),
        results.n_seeds,
    ]
    if len(results.datasets) > 1:
        axes.insert(0, counted(len(results.datasets), "dataset"))
    titles = listed(results.title(dataset) for dataset in results.datasets)
    runs = counted(len(results.runs), "training run")
    if lacking := len(missing_runs(results)):
        runs = f"{len(results.runs):,} of {counted(len(results.runs) + lacking, 'training run')}"
    return f"*{runs} on {titles}: {TIMES.join(axes)}, {counted(results.epochs, 'epoch')} each.*"


def missing_runs(results: Results) -> pd.DataFrame:
    """The runs of the grid that an unfinished study lacks."""
    if results.missing is None:
        return pd.DataFrame()
    return results.select(results.missing, part="core")


def unfinished(results: Results) -> str:
    """That this is not the whole study, and what that means; empty for a finished one."""
    if results.missing is None:
        return ""
    runs = len(missing_runs(results))
    cells = len(results.missing) - runs
    lacking = listed(
        counted(n, noun, plural)
        for n, noun, plural in (
            (runs, "run of the grid", "runs of the grid"),
            (cells, "cell of the studies", "cells of the studies"),
        )
        if n
    )
    if not lacking:
        return "This is a partial report, but nothing is missing: `snakemake` makes the full one."
    return (
        f"This report is partial: {lacking} are missing or cannot be used; "
        "[table](#tab-missing) lists them. Comparisons count the seeds that have all their runs, "
        "and claims whose study is incomplete have no verdict."
    )


NO_COMPLETE_SEED = (
    "no seed has finished in both arms at every batch size yet, so the averages over batch sizes "
    "cannot be compared"
)


def headline(results: Results, dataset: str) -> tuple[str, str]:
    """The answer in two sentences, on speed and on accuracy, and apart from it what limits it."""
    reason = why_no_comparison(results)
    if reason:
        return reason, " ".join(divergence(results, dataset))
    norm = results.treatments[0]
    speed = results.compare(dataset, norm, "ln_steps_to_95")
    accuracy = results.compare(dataset, norm, "test_accuracy")
    if speed is None or accuracy is None:
        return f"On {results.title(dataset)}, {NO_COMPLETE_SEED}.", ""
    answer = (
        f"On {results.title(dataset)}, {averaging(results)}{clause(speed)}. After "
        f"{counted(results.epochs, 'epoch')}, {clause(accuracy)}."
    )
    limits = dict.fromkeys([*caveats(speed), *caveats(accuracy), *divergence(results, dataset)])
    return answer, " ".join(limits)


def averaging(results: Results) -> str:
    """`averaged over the batch sizes 32 and 64, `, or at the only one."""
    sizes = results.batch_sizes
    if len(sizes) == 1:
        return f"at batch size {sizes[0]}, "
    return f"averaged over the batch sizes {listed(sizes)}, "


def divergence(results: Results, dataset: str) -> list[str]:
    """A sentence per arm in which runs diverged."""
    sentences = []
    for norm in results.norms:
        diverged = results.diverged(dataset, norm)
        total = len(results.select(results.runs, dataset=dataset, norm=norm))
        if diverged:
            verb = "diverged and counts" if diverged == 1 else "diverged and count"
            sentences.append(
                f"{diverged} of the {counted(total, 'run')} {arm(norm)} {verb} as guessing: "
                f"accuracy 1/{results.facts[dataset].n_classes}, the full number of steps."
            )
    return sentences


def advantages(results: Results, dataset: str, norm: str) -> list[str]:
    """Sentences on what was shown to be better with the normalization, over all batch sizes."""
    return verdict_sentences(results, dataset, norm, "better")


def limitations(results: Results, dataset: str, norm: str) -> list[str]:
    """Sentences on what was shown to be worse with the normalization, its costs among them."""
    worse = verdict_sentences(results, dataset, norm, "worse")
    return [*worse, *parameter_cost(results, dataset, norm)]


def not_shown(results: Results, dataset: str, norm: str) -> list[str]:
    """Sentences on the measures in which no difference was shown."""
    return verdict_sentences(results, dataset, norm, None)


def verdict_sentences(
    results: Results, dataset: str, norm: str, shown: Literal["better", "worse"] | None
) -> list[str]:
    """The comparisons and the run time that came out as `shown`, with their caveats."""
    found = [c for c in results.comparisons(dataset, norm) if c.shown == shown]
    time_shown, time_sentence = time_cost(results, dataset, norm)
    times = [time_sentence] if time_sentence and time_shown == shown else []
    return [*with_caveats(found), *times]


def sorted_verdicts(results: Results, dataset: str, norm: str) -> dict[str, list[str]]:
    """Advantages, limitations and what could not be shown, under their headings."""
    name = NORM_NAMES.get(norm, norm)
    nothing = "No measure was shown to be {} by the rule."
    return {
        f"Advantages of {name}": advantages(results, dataset, norm) or [nothing.format("better")],
        f"Limitations of {name}": limitations(results, dataset, norm) or [nothing.format("worse")],
        "Not shown either way": not_shown(results, dataset, norm)
        or ["All measures were shown to differ."],
    }


def parameter_cost(results: Results, dataset: str, norm: str) -> list[str]:
    """How many trainable parameters the normalization adds."""
    counts = [
        results.select(results.runs, dataset=dataset, norm=name)["n_parameters"]
        for name in (BASELINE, norm)
    ]
    if any(count.empty for count in counts):
        return []
    plain, normalized = (int(count.iloc[0]) for count in counts)
    added = normalized - plain
    if added <= 0:
        return []
    share = 100 * added / plain
    name = capitalized(NORM_NAMES.get(norm, norm))
    return [f"{name} adds {added:,} trainable parameters to {plain:,}, {share:.2f}{SPACE}% more."]


def time_cost(
    results: Results, dataset: str, norm: str
) -> tuple[Literal["better", "worse"] | None, str]:
    """Whether an epoch takes more or less time, by the middle half of the ratios of paired runs.

    The sentence is empty where no pair was timed.
    """
    ratios = epoch_time_ratios(results, dataset, norm)
    if ratios.empty:
        return None, ""
    ratio, low, high = (ratios.quantile(q) for q in (0.5, 0.25, 0.75))
    pairs = f"median of {counted(len(ratios), 'pair')} of runs, middle half {low:.2f} to {high:.2f}"
    caution = "The runs shared the machine with one another, so take this as a rough figure."
    shown: Literal["better", "worse"] | None = None
    if low > 1:
        shown = "worse"
        finding = f"An epoch took {ratio:.2f} times as long {arm(norm)} as {arm(BASELINE)}"
    elif high < 1:
        shown = "better"
        finding = f"An epoch took less time {arm(norm)}: {ratio:.2f} times as long"
    else:
        finding = (
            f"An epoch took about as long {arm(norm)} as {arm(BASELINE)}: a ratio of {ratio:.2f}"
        )
    return shown, f"{finding} ({pairs}). {caution}"


def epoch_time_ratios(results: Results, dataset: str, norm: str) -> pd.Series:
    """Seconds per epoch over the baseline's, one ratio per batch size and seed."""
    times = results.select(results.timings, dataset=dataset)
    paired = times.pivot(index=["batch_size", "seed"], columns="norm", values="seconds_per_epoch")
    if not {BASELINE, norm} <= set(paired.columns):
        return pd.Series(dtype=float)
    return (paired[norm] / paired[BASELINE]).dropna()


@dataclass(frozen=True)
class Change:
    """How a metric changes from the smallest to the largest batch size, paired by seed."""

    metric: Metric
    what: str  # e.g. "with batch normalization"
    mean_small: float
    mean_large: float
    difference: float
    ci_low: float
    ci_high: float
    p_holm: float
    n: int

    @property
    def interval(self) -> str:
        if math.isnan(self.ci_low):
            return "n/a"
        ends = (self.metric.difference(self.ci_low), self.metric.difference(self.ci_high))
        return f"{SPACE}to{SPACE}".join(ends)

    @property
    def verb(self) -> str:
        """`rose` or `fell` where the test and the interval show it."""
        if self.n < 2 or math.isnan(self.p_holm):
            return "not tested"
        if self.p_holm < ALPHA and (self.ci_low > 0 or self.ci_high < 0):
            return "rose" if self.difference > 0 else "fell"
        return "not shown"


def batch_size_changes(results: Results, dataset: str, metrics: Sequence[str]) -> list[Change]:
    """The change of each metric in each arm; Holm's correction spans all of them."""
    if len(results.batch_sizes) < 2:
        return []
    small, large = results.batch_sizes[0], results.batch_sizes[-1]
    changes, p_values = [], []
    for name in metrics:
        runs = results.select(results.scored(name), dataset=dataset)
        for norm in results.norms:
            table = results.select(runs, norm=norm).pivot(
                index="seed", columns="batch_size", values="value"
            )
            if not {small, large} <= set(table.columns):
                continue
            table = table[[small, large]].dropna()
            if table.empty:
                continue
            summary = statistics.paired_summary((table[large] - table[small]).to_numpy())
            changes.append(
                Change(
                    METRICS[name],
                    arm(norm),
                    float(table[small].mean()),
                    float(table[large].mean()),
                    summary.mean,
                    summary.ci_low,
                    summary.ci_high,
                    math.nan,
                    summary.n,
                )
            )
            p_values.append(summary.p if summary.n > 1 else math.nan)
    return [
        replace(change, p_holm=p)
        for change, p in zip(changes, statistics.holm(p_values), strict=True)
    ]


def change_sentence(change: Change, small: int, large: int) -> str:
    """A `Change` that was shown, in words; an empty string for one that was not."""
    if change.verb not in ("rose", "fell"):
        return ""
    metric = change.metric
    name = f"the number of steps to 95{SPACE}%" if metric.kind == "ratio" else metric.title
    unit = "times" if metric.kind == "ratio" else metric.unit
    return (
        f"{capitalized(name)} {change.what} {change.verb} from batch size {small} to {large}, from "
        f"{metric.value(change.mean_small)} to {metric.value(change.mean_large)} "
        f"({metric.difference(change.difference)} {unit}, 95{SPACE}% interval {change.interval}; "
        f"Holm {p_value(change.p_holm)})."
    )


def contrast_sentence(results: Results, dataset: str, norm: str, metric: str) -> str:
    """Whether the difference between the arms depends on the batch size."""
    if len(results.batch_sizes) < 2:
        return ""
    small, large = results.batch_sizes[0], results.batch_sizes[-1]
    runs = results.select(results.scored(metric), dataset=dataset)
    table = runs.pivot(index="seed", columns=["norm", "batch_size"], values="value")
    table = table.reindex(columns=list(product((norm, BASELINE), (small, large)))).dropna()
    if table.empty:
        return ""
    effects = [table[norm, size] - table[BASELINE, size] for size in (large, small)]
    summary = statistics.paired_summary((effects[0] - effects[1]).to_numpy())
    of = METRICS[metric]
    name = f"the effect of {NORM_NAMES.get(norm, norm)} on {of.title}"
    means = [of.difference(float(effect.mean())) for effect in reversed(effects)]
    unit = " (ratios)" if of.kind == "ratio" else f" {of.unit}"
    values = f"{means[0]} at {small} and {means[1]}{unit} at {large}"
    if summary.n < 2:
        return f"{capitalized(name)} was {values} (one seed, no test)."
    numbers = f"{values}; unadjusted {p_value(summary.p)}, {counted(summary.n, 'seed')}"
    if summary.p < ALPHA and (summary.ci_low > 0 or summary.ci_high < 0):
        return f"{capitalized(name)} depended on the batch size: {numbers}."
    return f"That {name} depends on the batch size could not be shown: {numbers}."


def conclusion(results: Results, dataset: str, norm: str) -> list[str]:
    """The verdict over all measures: how many were shown better, worse, or neither."""
    found = results.comparisons(dataset, norm)
    if not found:
        return [why_no_comparison(results) or f"{capitalized(NO_COMPLETE_SEED)}."]
    groups = {
        kind: [c.of.title for c in found if c.shown == kind] for kind in ("better", "worse", None)
    }
    sentences = []
    name = NORM_NAMES.get(norm, norm)
    if groups["better"]:
        sentences.append(
            f"With {name}, {listed(groups['better'])} {were(groups['better'])} better."
        )
    if groups["worse"]:
        sentences.append(f"With {name}, {listed(groups['worse'])} {were(groups['worse'])} worse.")
    if groups[None]:
        sentences.append(f"No difference could be shown in {listed(groups[None])}.")
    if not groups["better"] and not groups["worse"]:
        sentences.append(
            f"On this evidence nothing can be said for or against {name} on "
            f"{results.title(dataset)}; that is not the same as showing that it does nothing."
        )
    return sentences


def were(items: Sequence[str]) -> str:
    plural = len(items) > 1 or items[0].startswith("steps")
    return "were" if plural else "was"


def conclusions(results: Results, dataset: str) -> list[str]:
    """The headline once more, and the verdict for every normalization."""
    sentences = [headline(results, dataset)[0]]
    for norm in results.treatments:
        sentences.append(" ".join(conclusion(results, dataset, norm)))
    return sentences


def design(results: Results) -> list[str]:
    """What was trained, as a list of Markdown items."""
    model, training = results.config["model"], results.config["training"]
    datasets = []
    for dataset in results.datasets:
        n_train, n_validation = results.split_sizes(dataset)
        datasets.append(
            f"{results.title(dataset)}, {n_train:,} images to learn from and {n_validation:,} to "
            f"validate on, besides the {results.facts[dataset].n_test:,} for the final test"
        )
    widths = listed(model["hidden"])
    seeds = results.n_seeds
    return [
        f"**Data:** {'; '.join(datasets)}.",
        (
            f"**Networks:** a multilayer perceptron with hidden layers of {widths} units, "
            f"{listed(arm(norm) for norm in results.norms)}."
        ),
        f"**Batch sizes:** {listed(results.batch_sizes)} images.",
        (
            f"**Seeds:** {seeds}. A seed fixes the division of the images, the initial linear "
            "weights, the order of the samples and the noise, each on its own; runs that share a "
            "seed are a pair."
        ),
        (
            f"**Training:** {counted(results.epochs, 'epoch')} with "
            f"{training['optimizer'].capitalize()} at learning rate {training['learning_rate']:g}; "
            f"{counted(len(results.runs), 'run')} in all."
        ),
    ]


def dataset_sentence(data: object) -> str:
    """What a prepared dataset (`PreparedData`) holds."""
    channels, height, width = data.train_images.shape[1:]
    kind = "grey" if channels == 1 else "colour"
    return (
        f"{data.title} has {len(data.train_images):,} images for training and validation and "
        f"{len(data.test_images):,} for the test, each of {height} by {width} pixels in {kind}, in "
        f"{len(data.classes)} classes. A network sees an image as {channels * height * width:,} "
        "numbers in a row; where a pixel lies is lost to it."
    )


def scaling_sentence(config: dict) -> str:
    """What preprocessing does to a pixel."""
    if config["data"]["scaling"] == "symmetric":
        return (
            "**Scaling.** Pixels are mapped linearly from 0 to their largest value to the range "
            "from \u22121 to 1. That bounds the inputs but does not centre them."
        )
    return (
        "**Scaling.** From every pixel the mean is subtracted and the result divided by the "
        "standard deviation, both per channel and from the training split of the run alone, so "
        "that nothing of the validation images leaks into training."
    )


def centring_sentence(title: str, mean: float, deviation: float) -> str:
    """Whether scaled inputs are centred, as batch normalization would make them."""
    numbers = f"mean {decimal(mean, 2)} and standard deviation {decimal(deviation, 2)}"
    if abs(mean) < 0.05 and abs(deviation - 1) < 0.05:
        return (
            f"The inputs made from {title} have {numbers}: the first layer gets centred values in "
            "both arms."
        )
    return (
        f"The inputs made from {title} have {numbers}, not 0 and 1. A part of what a normalization "
        "layer gains may therefore be that it repairs the inputs, which standardized inputs would "
        "not need."
    )


def gap_sentences(results: Results, dataset: str) -> list[str]:
    """How far validation loss lies above training loss, per arm and between the arms."""
    gaps = results.scored("val_loss")
    gaps["value"] -= results.scored("train_loss")["value"]
    wide = results.select(gaps, dataset=dataset).pivot(
        index="seed", columns=["norm", "batch_size"], values="value"
    )

    def over_sizes(*norms: str) -> pd.DataFrame:
        """Mean over the batch sizes, a column per arm, of the seeds that have all of them."""
        cells = list(product(norms, results.batch_sizes))
        return wide.reindex(columns=cells).dropna().T.groupby(level="norm").mean().T

    sentences = []
    for norm in results.norms:
        table = over_sizes(norm)
        if table.empty:
            continue
        mean = float(table[norm].mean())
        relation = "above" if mean >= 0 else "below"
        sentences.append(
            f"{capitalized(arm(norm))}, the validation loss ended {decimal(abs(mean), 4)} nats "
            f"{relation} the training loss, both in evaluation mode, on average over the "
            f"{counted(len(table), 'seed')}{over_batch_sizes(results)}."
        )
    for norm in results.treatments:
        table = over_sizes(BASELINE, norm)
        if len(table) < 2:
            continue
        summary = statistics.paired_summary((table[norm] - table[BASELINE]).to_numpy())
        numbers = (
            f"a difference of {decimal(summary.mean, 4, signed=True)} nats "
            f"(95{SPACE}% interval {decimal(summary.ci_low, 4, signed=True)} to "
            f"{decimal(summary.ci_high, 4, signed=True)}; unadjusted {p_value(summary.p)})"
        )
        if summary.p < ALPHA and (summary.ci_low > 0 or summary.ci_high < 0):
            word = "wider" if summary.mean > 0 else "narrower"
            sentences.append(f"This gap was {word} {arm(norm)}: {numbers}.")
        else:
            sentences.append(f"That the gap differs {arm(norm)} could not be shown: {numbers}.")
    return sentences


def over_batch_sizes(results: Results) -> str:
    return " and all batch sizes" if len(results.batch_sizes) > 1 else ""


def effect_metrics(results: Results, dataset: str) -> tuple[str, ...]:
    """The measures in which the effect of the batch size can be seen."""
    reached = results.select(results.runs, dataset=dataset)["steps_to_95"].notna().any()
    return ("test_accuracy", "test_loss", "ln_steps_to_95")[: 3 if reached else 2]


def batch_size_sentences(results: Results, dataset: str) -> list[str]:
    """What a larger batch does to each arm, and to the difference between the arms."""
    sizes = results.batch_sizes
    if len(sizes) < 2:
        return [f"Only batch size {sizes[0]} was trained, so its effect cannot be seen."]
    metrics = effect_metrics(results, dataset)
    changes = batch_size_changes(results, dataset, metrics)
    shown = [text for c in changes if (text := change_sentence(c, sizes[0], sizes[-1]))]
    n, family = len(results.seeds), len(changes)
    if n > 1 and not shown:
        shown = [f"No change from batch size {sizes[0]} to {sizes[-1]} could be shown in any arm."]
        if family * statistics.smallest_p(n) >= ALPHA:
            shown.append(out_of_reach(n, family))
    contrasts = [
        contrast_sentence(results, dataset, norm, metric)
        for norm in results.treatments
        for metric in metrics
    ]
    return [*shown, *filter(None, contrasts)]


def scope(results: Results) -> list[str]:
    """What a reader must not conclude, as far as the design says it."""
    n = len(results.seeds)
    floor = statistics.smallest_p(n)
    items = []
    if n < 2:
        items.append("One seed: differences are single observations, without interval or test.")
    else:
        able = "so it can" if floor < ALPHA else "so by itself it can never"
        items.append(
            f"{counted(n, 'seed')} per cell. The smallest p of the sign-flip test with so many is "
            f"{floor:.3g}, {able} fall below {ALPHA:g}."
        )
    items += [
        (
            f"Small images only, of {listed(results.title(name) for name in results.datasets)}, "
            "and one small fully connected network. Convolutional, recurrent, residual and very "
            "deep networks may behave differently."
        ),
        (
            f"One learning rate and {counted(results.epochs, 'epoch')} for everything. Neither arm "
            "was tuned; at its own best learning rate, or trained for longer, either could do "
            "better."
        ),
        (
            "The seeds vary the division of the images, the initial weights and the order of the "
            "samples. The test images are always the same, so the intervals do not cover another "
            "test set."
        ),
        (
            "Comparisons at single batch sizes, of the gap and of the effect of the batch size are "
            "there to describe; the averages over batch sizes carry the conclusion."
        ),
    ]
    return items


def citation(results: Results) -> str:
    """How to cite the study, with the version and commit that made the runs."""
    commits = listed(f"`{commit[:12]}`" for commit in sorted(set(results.runs["git_commit"])))
    return (
        "To cite this page, name the study, its version and the commit of its runs: *The reference "
        f"study of batch normalization*, version {version('bnstudy')}, commit {commits}. The file "
        "`CITATION.cff` of the repository holds the same in machine-readable form."
    )
