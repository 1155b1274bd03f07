"""What the tables say, in words that the numbers choose.

Nothing here is decided in advance: a difference is called higher or lower only where the Holm-adjusted p is below 0.05
and the 95 % interval excludes zero, and every other case has its own wording, in report/sentences.yaml. The first
screen speaks of the most accurate of several levels; the written analysis adds why, by the evidence of the studies, and
how sure that is.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from typing import NamedTuple

import pandas as pd

from bnstudy import settings, statistics
from bnstudy.report import measures
from bnstudy.report.design import averaging, why_no_comparison
from bnstudy.report.exhibits import Exhibit, of_results
from bnstudy.report.measures import ALPHA, SPACE, SPOKEN, Comparison, capitalized, decimal, listed
from bnstudy.report.results import Level, Results
from bnstudy.report.verdicts import QUOTES, Claims, Judged
from bnstudy.report.words import INTERVAL, effect_cell, interval, say, shown

# Ratios that have a name, up to a tenth of themselves.
SHARES = {1 / 2: "half", 1 / 3: "a third", 1 / 4: "a quarter", 1 / 5: "a fifth", 1 / 10: "a tenth"}
# What the conditions of `Results.remaining` are called; the last one that was run is the hardest.
HARDER = {
    ("input_scaling", "standardize"): "centred input",
    ("long_training", "symmetric"): "long training",
    ("long_training", "standardize"): "centred input and long training",
}
LIMITS = ("L1", "L2", "L3", "L4")  # claims about what the method costs, or where it fails
TIMES = f"\N{MULTIPLICATION SIGN}{SPACE}"


def lost_arm(c: Comparison) -> str:
    """That one arm never reached the target where the other did, which leaves no ratio to speak of."""
    unreached = {c.with_level: c.censored_level, c.with_baseline: c.censored_baseline}
    arm, other = sorted(unreached, key=unreached.get, reverse=True)
    if c.of.kind != "ratio" or not unreached[other] < unreached[arm] == c.runs:
        return ""
    return say("brief", "lost", c=c, arm=arm, other=other, reached=c.runs - unreached[other])


def brief(c: Comparison) -> str:
    """A comparison for the headline: the effect first, then one phrase of uncertainty."""
    kind, ratio = c.outcome, c.of.kind == "ratio"
    if kind in ("higher", "lower"):
        kind = "ratio" if ratio else "shown"
    kind = "one pair" if kind == "untested" and c.n == 1 else kind
    return lost_arm(c) or say("brief", kind, c=c, ratio="a ratio of " * ratio)


def caveats(c: Comparison) -> list[str]:
    """Sentences that limit what a comparison can say."""
    sentences = []
    if c.outcome in ("unclear", "equal") and c.family * statistics.smallest_p(c.n) >= ALPHA:
        sentences.append(out_of_reach(c.n, c.family))
    elif c.outcome == "unclear" and (c.ci_low > 0 or c.ci_high < 0):
        sentences.append(say("limits", "interval alone"))
    unreached = {c.with_baseline: c.censored_baseline, c.with_level: c.censored_level}
    total = sum(unreached.values())
    if c.of.kind == "ratio" and total and c.outcome != "censored" and not lost_arm(c):
        arms = [f"{n} of {c.runs} runs {arm}" for arm, n in unreached.items() if n]
        way = "may be larger or smaller"
        if len(arms) == 1:
            way = f"is {'smaller' if c.censored_baseline else 'larger'} still"
        sentences.append(say("limits", "censored", c=c, arms=listed(arms), total=total, way=way))
    return sentences


def out_of_reach(n: int, family: int) -> str:
    """Why n seeds cannot show any difference in a family of tests."""
    smallest = statistics.smallest_p(n)
    corrected = min(1.0, family * smallest)
    after = say("limits", "corrected", corrected=corrected, family=family) if family > 1 else ""
    return say("limits", "out of reach", n=n, smallest=smallest, after=after)


def headline(results: Results, dataset: str) -> tuple[str, str]:
    """The answer on speed and on accuracy, and apart from it what limits it."""
    limits = divergence(results, dataset)
    if reason := why_no_comparison(results):
        return reason, " ".join(limits)
    found = {level: main_pair(results, dataset, level) for level in results.treatments}
    if all(len(pair) < 2 for pair in found.values()):
        return f"On {results.title(dataset)}, {incomplete(results)}.", ""
    notes = [note for pair in found.values() for c in pair for note in caveats(c)]
    begin = f"On {results.title(dataset)}, {averaging(results)}"
    baseline = results.level_name(results.baseline)
    first, *others = (
        f"{results.arm(level)} instead of {baseline}, {listed(map(brief, reversed(pair)))}."
        for level, pair in found.items()
        if pair
    )
    answer = " ".join([f"{begin[:-2]}: {first}", *map(capitalized, others)])
    return answer, " ".join(dict.fromkeys([*notes, *limits]))


def main_pair(results: Results, dataset: str, level: Level) -> list[Comparison]:
    """The comparisons of speed and of accuracy over all cells, as far as there are."""
    return results.comparisons(dataset, level, ("ln_steps_to_target", "test_accuracy"))


def incomplete(results: Results) -> str:
    """That no seed has all its runs yet."""
    every = listed(map(settings.label, results.cell_axes)) or "setting"
    return say("limits", "incomplete", every=every)


def divergence(results: Results, dataset: str) -> list[str]:
    """A sentence per arm in which runs diverged."""
    classes, sentences = results.facts[dataset].n_classes, []
    for level in results.levels:
        runs = len(results.at(results.runs, dataset, level))
        if n := results.diverged(dataset, level):
            words = {"diverged": n, "runs": runs, "arm": results.arm(level), "classes": classes}
            sentences.append(say("limits", "diverged", **words))
    return sentences


def parameter_cost(results: Results, dataset: str, level: Level) -> list[str]:
    """How many trainable parameters a level adds."""
    runs = results.select(results.runs, dataset=dataset)
    counts = runs.groupby(results.axis)["n_parameters"].first()
    plain, own = (counts.get(one, 0) for one in (results.baseline, level))
    if not 0 < plain < own:
        return []
    words = {"level": results.level_name(level), "added": own - plain, "plain": plain}
    return [say("cost", "parameters", share=decimal(100 * (own - plain) / plain, 2), **words)]


def time_cost(results: Results, dataset: str, level: Level) -> tuple[str | None, str]:
    """Whether an epoch's time is `better` or `worse`, by the middle half of the ratios of paired runs.

    The sentence is empty where no pair was timed.
    """
    ratios = epoch_time_ratios(results, dataset, level)
    if ratios.empty:
        return None, ""
    ratio, low, high = (ratios.quantile(q) for q in (0.5, 0.25, 0.75))
    shown = "worse" if low > 1 else "better" if high < 1 else None
    words = {"ratio": ratio, "n": len(ratios), "low": low, "high": high}
    words |= {"arm": results.arm(level), "baseline": results.arm(results.baseline)}
    return shown, say("cost", shown or "neither", **words)


def epoch_time_ratios(results: Results, dataset: str, level: Level) -> pd.Series:
    """Seconds per epoch over the baseline's, one ratio per cell and seed."""
    times, pairs = results.select(results.timings, dataset=dataset), [*results.cell_axes, "seed"]
    wide = times.pivot(index=pairs, columns=results.axis, values="seconds_per_epoch")
    wide = wide.reindex(columns=[level, results.baseline])
    return (wide[level] / wide[results.baseline]).dropna()


def conclusion(results: Results, dataset: str, level: Level) -> list[str]:
    """The verdict over all measures: how many were shown better, worse, or neither."""
    found = results.comparisons(dataset, level, SPOKEN)
    if not found:
        return [why_no_comparison(results) or f"{capitalized(incomplete(results))}."]
    words = {"arm": results.arm(level), "level": results.level_name(level)}
    words["dataset"] = results.title(dataset)
    sentences = []
    for kind in ("better", "worse", None):
        of = [c.of for c in found if c.shown == kind]
        name = "found" if kind else "not shown" if sentences else "nothing shown"
        if of:
            words |= {"measures": [one.title for one in of], "kind": kind}
            words["were"] = "were" if len(of) > 1 else of[0].were
            sentences.append(say("conclusion", name, **words))
    return sentences


def gap_sentence(c: Comparison) -> str:
    """How much wider the gap between validation and training loss is than the baseline's."""
    wider = "wider" if c.difference > 0 else "narrower"
    return say("gap", "single" if c.n < 2 else "shown" if c.shown else "unclear", c=c, wider=wider)


def steps_along(results: Results, axis: str) -> list[tuple[Level, Level]]:
    """What is compared along an axis: smallest and largest number, or the first word and the others."""
    values = results.values(axis)
    if all(isinstance(value, str) for value in values):
        return [(values[0], value) for value in values[1:]]
    numbers = sorted(value for value in values if not isinstance(value, str))
    return [(numbers[0], numbers[-1])] if len(numbers) > 1 else []


def contrasts(results: Results, dataset: str, axis: str, levels: Sequence[Level] | None = None) -> Iterator[str]:
    """Whether the effect of each treatment, or of some, depends on another axis, by metric."""

    def at(value: Level) -> str:
        word = isinstance(value, str)
        return measures.arm(value, axis) if word else f"at {measures.short_name(axis, value)}"

    reached = results.select(results.runs, dataset=dataset)["steps_to_target"].notna().any()
    metrics = measures.MAIN[: 3 if reached else 2]
    for level, name in product(results.treatments if levels is None else levels, metrics):
        of, runs, arms = results.metric(name), results.scored(name), [level, results.baseline]
        for ends in steps_along(results, axis):
            pairs = [results.by_seed(runs, dataset, "value", arms, **{axis: v}) for v in ends]
            before, after = (pair[level] - pair[results.baseline] for pair in pairs)
            if before.empty:
                continue
            change = measures.paired(of, after, before)
            effects = [measures.paired(of, pair[level], pair[results.baseline]) for pair in pairs]
            values = " and ".join(
                f"{c.amount} {at(value)} ({c.values})" for c, value in zip(effects, ends, strict=True)
            )
            kind = "depends" if change.outcome in ("higher", "lower") else "unclear"
            words = {"level": results.level_name(level), "axis": settings.label(axis)}
            words |= {"p": measures.p_value(change.p), "c": change}
            words["values"] = "a ratio of " * (of.kind == "ratio") + values
            yield say("interactions", "one seed" if change.n < 2 else kind, **words)


# The first screen


class Tile(NamedTuple):
    """A number, what it is, and what stands behind it."""

    value: str
    label: str
    detail: str = ""


class Opening(NamedTuple):
    """The first screen, for the page and for Jupyter."""

    kicker: str
    title: str
    sentences: str
    tiles: list[Tile]


def first_screen(results: Results, question: str) -> Opening:
    """What came out on the first dataset; a title that asks where nothing can be said."""
    dataset = results.datasets[0]
    found = [main_pair(results, dataset, level) for level in results.treatments]
    complete = [pair for pair in found if len(pair) == 2]
    if not complete:
        said = why_no_comparison(results) or say("opening", "incomplete")
        return Opening("", question, said, [])
    speed, accuracy = max(complete, key=lambda pair: pair[1].difference)
    left = {
        HARDER[key]: one.effects[1].difference
        for one in results.remaining(accuracy.level)
        if (key := (one.study, one.scaling)) in HARDER
    }
    words = {"dataset": results.title(dataset), "axis": settings.label(results.axis)}
    words["runs"] = len(results.select(results.runs, dataset=dataset))
    sentences = f"{say('opening', 'setting', **words)} {certainty(speed, accuracy, left)}"
    shown = list(tiles(results, [speed, accuracy], left))
    return Opening(question, finding(results, speed, accuracy), sentences, shown)


def points(share: float) -> str:
    return f"{decimal(100 * share, 2, signed=True)}{SPACE}points"


def finding(results: Results, speed: Comparison, accuracy: Comparison) -> str:
    """The title: what was shown of speed and of accuracy."""
    level, baseline = map(results.level_name, (accuracy.level, accuracy.baseline))
    parts = []
    if speed.shown and not lost_arm(speed):
        parts.append(f"reaches {speed.of.target} in {share(speed)}")
    elif speed.shown == "better":
        parts.append(f"is the only one to reach {speed.of.target}")
    if accuracy.shown:
        size = abs(100 * accuracy.difference)
        word = "more" if accuracy.shown == "better" else "less"
        parts.append(f"ends {decimal(size, 1 if size >= 0.95 else 2)} points {word} accurate")
    if not parts:
        kind = "one pair" if accuracy.n < 2 else "nothing shown"
        return say("opening", kind, level=level, baseline=baseline)
    beside = f" than {baseline}" if accuracy.shown and len(results.treatments) > 1 else ""
    return f"{capitalized(level)} {listed(parts)}{beside}"


def share(speed: Comparison) -> str:
    """`a quarter of the steps`, `45 % fewer steps`."""
    ratio = math.exp(speed.difference)
    named = [word for value, word in SHARES.items() if abs(ratio / value - 1) <= 0.1]
    return f"{named[0]} of the steps" if named else speed.factor


def certainty(speed: Comparison, accuracy: Comparison, left: Mapping[str, float]) -> str:
    """How sure it is, or of what it is made."""
    if left and accuracy.shown == "better":
        conditions, gain = list(left.items())[-1]
        rest = "most is gone" if gain < accuracy.difference / 2 else "much remains"
        return say("opening", rest, conditions=conditions)
    agreeing = min(max(c.seeds_in_favour, c.n - c.seeds_in_favour) for c in (speed, accuracy))
    kind = "all agree" if agreeing == accuracy.n else "some agree"
    return say("opening", "single" if accuracy.n < 2 else kind, n=accuracy.n, agreeing=agreeing)


def tiles(results: Results, pair: list[Comparison], left: Mapping[str, float]) -> Iterator[Tile]:
    """Speed and accuracy with their intervals, the price in time and gap, and what remains."""
    speed, accuracy = pair

    def arms(c: Comparison) -> str:
        return c.values if math.isnan(c.ci_low) else f"{c.values} ({c.interval})"

    if speed.outcome not in ("missing", "censored") and not lost_arm(speed):
        value = f"{TIMES}{speed.of.difference(speed.difference)}"
        yield Tile(value, f"the steps to {speed.of.target} accuracy", arms(speed))
    if accuracy.outcome != "missing":
        label = f"of test accuracy after {measures.counted(results.epochs, 'epoch')}"
        yield Tile(points(accuracy.difference), label, arms(accuracy))
    if len(ratios := epoch_time_ratios(results, accuracy.dataset, accuracy.level)):
        said = ""
        if gap := results.gap(accuracy.dataset, accuracy.level):
            after, before = (decimal(x, 3) for x in (gap.mean_level, gap.mean_baseline))
            said = f"gap to the training loss {after} against {before}{SPACE}nats"
        yield Tile(f"{TIMES}{decimal(ratios.median(), 2)}", "the time of an epoch", said)
    if left:  # the hardest conditions, with the others
        *others, (name, gain) = left.items()
        rest = "; ".join(f"{one}: {points(share)}" for one, share in others)
        yield Tile(points(gain), f"of test accuracy with {name}", rest)


# The written analysis: effects come first, each with one phrase of uncertainty


def short_verdict(claim: Judged) -> str:
    """`[B3](#its-section) faster convergence: **supported**, +1.4 pp (+1.3 to +1.5)`, as Markdown."""
    name = shown(claim.short or claim.claim).rstrip(".")
    found = f"[{claim.id}](#{claim.heading.replace(' ', '-')}) {name}: **{claim.word}**"
    if claim.kind == "exact":
        return found
    size = effect_cell(claim.effect, claim.unit)
    around = f" ({interval(claim.ci_low, claim.ci_high, claim.unit)})" if claim.n > 1 else ""
    return f"{found}, {size}{around}"


def evidence(claims: Claims, names: Sequence[str]) -> str:
    """The verdicts on those claims that were measured; empty where none was."""
    found = [claim for name in names if (claim := claims[name]) and claim.was_run]
    verdicts = "; ".join(map(short_verdict, found))
    return say("analysis", "found here", verdicts=verdicts) if found else ""


def benefit(claims: Claims, said: dict) -> tuple[str, ...]:
    """A benefit of `verdicts.QUOTES` with the words of the text, and what was found of it."""
    line, words = QUOTES["claims"][said["quote"]]
    told = say("analysis", "benefit", **said | {"quote": shown(words), "line": line})
    lacking = [n for n in said["claims"] if (claim := claims[n]) and not claim.was_run]
    missing = say("analysis", "not measured", claims=lacking) if lacking else ""
    return told, f"{evidence(claims, said['claims'])} {missing}".strip()


def sure(c: Comparison) -> str:
    """How many seeds agree, and the p value that carries the finding."""
    if c.n < 2 or c.outcome in ("missing", "censored", "untested"):
        return ""
    most = max(c.seeds_in_favour, c.n - c.seeds_in_favour)
    agree = f"All {c.n} seeds" if most == c.n else f"{most} of {c.n} seeds"
    return say("analysis", "agree", agree=agree, p=measures.p_value(c.p))


def remaining_table(results: Results, level: Level) -> Exhibit | None:
    """`Results.remaining` as a table; None where neither study was run."""
    titles = {"ratio of steps": "", "test accuracy": " (pp)"}
    rows, text = [], [f"{INTERVAL} of the {title}" for title in titles]
    batch_size = None
    for one in results.remaining(level):
        batch_size = results.config["studies"][one.study]["settings"]["batch_size"]
        rows.append({"condition": one.condition, "seeds": one.effects[0].n})
        for c, (title, unit), head in zip(one.effects, titles.items(), text, strict=True):
            rows[-1] |= {title + unit: c.of.difference(c.difference), head: c.interval}
    return of_results("remaining", results, results.datasets[0], rows, level, text=text, batch_size=batch_size)


def remains(results: Results, level: Level) -> str:
    """What is left of the difference in accuracy with centred input and with long training."""
    left = ((one.effects[1], one.condition) for one in results.remaining(level))
    parts = [f"{c.of.difference(c.difference)} points with {condition}" for c, condition in left]
    return say("analysis", "remains", parts=parts) if parts else ""


def answer(results: Results, claims: Claims, dataset: str, level: Level, question: str) -> list[str]:
    """What was found and how sure it is, and why by the evidence of the studies."""
    asked = QUOTES["questions"][question]
    told = evidence(claims, asked["claims"])
    if asked["why"]:
        told = f"{asked['why']} {told or say('analysis', 'elsewhere')}"
    return [" ".join(filter(None, sentences_on(results, dataset, level, question))), told]


def sentences_on(results: Results, dataset: str, level: Level, question: str) -> list[str]:
    """The sentences that answer a question of report/quotes.yaml by what the tables say."""
    match question:
        case "Speed":  # how much, how sure, and at which batch sizes
            if c := results.compare(dataset, level, "ln_steps_to_target"):
                ratios = across(results, dataset, level)
                return [f"{capitalized(brief(c))}.", sure(c), ratios, *caveats(c)]
        case "Accuracy":
            pair = results.comparisons(dataset, level, ("test_accuracy", "test_loss"))
            for c in pair[:1]:
                return [f"{capitalized(listed(map(brief, pair)))}.", sure(c), *caveats(c)]
        case "Generalization gap":
            if c := results.gap(dataset, level):
                return [gap_sentence(c)]
        case "Batch size":
            if "batch_size" in results.cell_axes:
                return list(contrasts(results, dataset, "batch_size", [level]))
            only = settings.level_name("batch_size", results.values("batch_size")[0])
            return [say("analysis", "one batch size", size=only)]
        case "Cost":
            _, time = time_cost(results, dataset, level)
            caution = say("cost", "caution") if time else ""
            return [time, caution, *parameter_cost(results, dataset, level)]
    return []


def across(results: Results, dataset: str, level: Level) -> str:
    """The smallest and the largest ratio of steps among the cells."""
    found = [results.compare(dataset, level, "ln_steps_to_target", cell) for cell in results.cells]
    found = [c for c in found if c and not math.isnan(c.difference) and c.outcome != "censored"]
    if len(found) < 2:
        return ""
    first, last = (
        f"{c.of.difference(c.difference)} at {results.cell_title(c.cell)}"
        for c in (pick(found, key=lambda c: c.difference) for pick in (min, max))
    )
    return say("analysis", "across", first=first, last=last)


def balance(results: Results, claims: Claims, dataset: str, level: Level) -> Exhibit | None:
    """Advantages and limitations side by side, measure by measure, as far as they were shown."""
    slower, time = time_cost(results, dataset, level)
    said = [(c.of.title, c.shown, brief(c)) for c in results.comparisons(dataset, level, SPOKEN)]
    if gap := results.gap(dataset, level):
        said.append(("generalization gap", gap.shown, gap_sentence(gap)))
    said.append(("time of an epoch", slower, time))
    said += [("parameters", "worse", one) for one in parameter_cost(results, dataset, level)]
    for claim in filter(None, map(claims.__getitem__, LIMITS)):
        if claim.verdict in ("supported", "holds", "refuted"):
            words = f"{claim.short or claim.claim} ({claim.id}): {claim.word}"
            way = "better" if claim.verdict == "refuted" else "worse"
            said.append((f"claim {claim.id}", way, words))
    sides = {"better": "advantage", "worse": "limitation"}
    rows = [
        {"measure": topic, "advantage": "", "limitation": ""} | {sides[way]: capitalized(words).rstrip(".")}
        for topic, way, words in said
        if way
    ]
    return of_results("balance", results, dataset, rows, level)
