"""Every number in the computed prose of a page, read back and held against the tables.

Nothing of the code that writes the sentences is used: a sentence is recognized by its words, and
all its numbers, in their order, must be those that pandas and scipy get from the tables, rounded as
they are shown. A sentence that is not recognized must not hold a number.
"""

import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup
from scipy import stats

from bnstudy.report.verdicts import QUOTES
from conftest import ROOT

METRICS = {
    "test accuracy": "test_accuracy",
    "test loss": "test_loss",
    "validation accuracy": "val_accuracy",
    "validation loss": "val_loss",
    "training accuracy": "train_accuracy",
    "training loss": "train_loss",
    "steps to 95 %": "ln_steps_to_target",
}
TIMES = "\N{MULTIPLICATION SIGN}"
NUMBER = re.compile(rf"(?<![\w.])[+-]?\d+(?:,\d{{3}})*(?:\.\d+)?(?: {TIMES} 10[⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)?")
RAISED = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")
VERDICTS = ("supported", "holds", "refuted", "does not hold", "not supported", "inconclusive")
CLAIM = re.compile(r"^(?P<id>[A-Z][\w.-]*): (?P<verdict>[a-z ]+?)(?P<mixed>, mixed)?\. ")


def plain(text: str) -> str:
    """Text with ordinary spaces and minus signs, without the marks of Markdown."""
    text = text.replace("\N{NO-BREAK SPACE}", " ").replace("\N{MINUS SIGN}", "-")
    text = re.sub(r"`[^`]*`", "", text)  # code: hashes, options
    text = re.sub(r"\[([^\]]*)\]\(#[^)]*\)", r"\1", text)
    text = re.sub(r"(?<!\\)\*|^> ", "", text)
    return " ".join(re.sub(r"\\([\W_])", r"\1", text).split())


def bare(text: str) -> str:
    """The letters and digits of a text."""
    return "".join(filter(str.isalnum, text)).lower()


def agrees(shown: str, value: float) -> bool:
    """Whether a value rounds to what is shown, with as many digits."""
    if isinstance(value, str):
        return shown == value
    mantissa, _, power = shown.replace(",", "").partition(f" {TIMES} 10")
    scale = 10.0 ** int(power.translate(RAISED)) if power else 1.0
    digits = len(mantissa.partition(".")[2])
    return abs(float(mantissa) * scale - value) <= (0.5 * 10.0**-digits + 1e-9) * scale


def hold(sentence: str, expected: list) -> None:
    shown = NUMBER.findall(sentence)
    assert len(shown) == len(expected), (sentence, shown, expected)
    for one, value in zip(shown, expected, strict=True):
        assert agrees(one, value), (sentence, one, value)


class Study:
    """The tables of the page, and what the test computes from them by itself."""

    about = "speed"  # what the paragraph is about

    def __init__(self, folder: Path) -> None:
        tables = folder / "results" / "tables"
        read = {"keep_default_na": False, "na_values": [""]}
        self.runs = pd.read_csv(tables / "runs.csv", **read)
        self.comparison = pd.read_csv(tables / "comparison.csv", **read)
        self.claims = pd.read_csv(tables / "claims.csv", **read).set_index("id")
        self.effects = pd.read_csv(tables / "claim_effects.csv", dtype={"cell": str}, **read)
        self.timings = pd.read_csv(tables / "timings.csv", **read)
        self.config = yaml.safe_load((folder / "results" / "run_config.yaml").read_text())
        self.listed = {
            entry["id"]: entry for entry in yaml.safe_load((ROOT / "config" / "claims.yaml").read_text())["claims"]
        }
        self.sizes = sorted(self.runs["batch_size"].unique())
        self.seeds = self.runs["seed"].nunique()
        steps = self.runs["steps_to_target"]
        budget = 3 * np.ceil(320 / self.runs["batch_size"])  # epochs of 320 images
        self.runs["ln_steps_to_target"] = np.log(steps.fillna(budget))

    def values(self, metric: str, norm: str, size: int) -> pd.Series:
        cell = self.runs[(self.runs["norm"] == norm) & (self.runs["batch_size"] == size)]
        return cell.set_index("seed").sort_index()[metric]


def scale(metric: str) -> Callable[[float], float]:
    if metric == "ln_steps_to_target":
        return np.exp
    return (lambda x: 100 * x) if metric.endswith("accuracy") else (lambda x: x)


def metric_of(sentence: str) -> str:
    if "steps" in sentence:
        return "ln_steps_to_target"
    return METRICS[next(name for name in METRICS if name in sentence.lower())]


def interval(d: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    half = stats.t.ppf((1 + level) / 2, len(d) - 1) * d.std(ddof=1) / math.sqrt(len(d))
    return d.mean() - half, d.mean() + half


def sign_flip(d: np.ndarray) -> float:
    signs = np.array(np.meshgrid(*[[-1, 1]] * len(d))).reshape(len(d), -1)
    return float((abs(d @ signs) >= abs(d.sum()) * (1 - 1e-9)).mean())


def holm(p: list[float]) -> list[float]:
    order, adjusted, so_far = np.argsort(p), [0.0] * len(p), 0.0
    for rank, i in enumerate(order):
        so_far = max(so_far, min(1.0, p[i] * (len(p) - rank)))
        adjusted[i] = so_far
    return adjusted


def row_of(study: Study, metric: str) -> pd.Series:
    rows = study.comparison[study.comparison["scope"] == "all"]
    return rows[rows["metric"] == metric].iloc[0]


def brief(study: Study, metric: str, words: str) -> list:
    """A comparison in brief: the effect, and its interval."""
    row, f = row_of(study, metric), scale(metric)
    effect, low, high = (f(row[c]) for c in ("difference", "ci_low", "ci_high"))
    if "no difference" in words:
        return [95, effect, 95, low, high] if "steps" in words else [effect, 95, low, high]
    if metric == "ln_steps_to_target":
        return [100 * abs(1 - effect), 95, low, high]
    return [abs(effect), 95, *sorted((abs(low), abs(high)))]


def compared(study: Study, sentence: str) -> list:
    """One or two comparisons in brief, after what they are averaged over."""
    found = list(study.sizes) if "averaged over" in sentence else []
    parts = re.split(r" and (?=no difference|it took|[a-z ]+ was )", sentence.lower())
    for part in parts:
        if "took" in part or "steps to 95" in part:
            found += brief(study, "ln_steps_to_target", part)
        elif name := next((name for name in METRICS if name in part), None):
            found += brief(study, METRICS[name], part)
    return found


def agreeing(study: Study, sentence: str) -> list:
    """How many seeds agree, after the sentence on speed or on accuracy."""
    metric = "ln_steps_to_target" if study.about == "speed" else "test_accuracy"
    row = row_of(study, metric)
    better = round(row["share_of_seeds"] * row["n"])
    most = max(better, row["n"] - better)
    return [*([row["n"]] if most == row["n"] else [most, row["n"]]), row["p"]]


def by_size(study: Study, sentence: str) -> list:
    """The smallest and the largest ratio of steps."""
    rows = study.comparison[study.comparison["scope"] == "cell"]
    rows = rows[rows["metric"] == "ln_steps_to_target"].sort_values("difference")
    ends = [rows.iloc[0], rows.iloc[-1]]
    return [x for row in ends for x in (np.exp(row["difference"]), row["batch_size"])]


def found_here(study: Study, sentence: str) -> list:
    """Verdicts on claims, each with effect and interval."""
    numbers = []
    for name, words, verdict in re.findall(
        r"([A-Z][\w.-]*?) ([^:;]*): ([a-z ]+?)(?:, mixed)?(?=[,;.])", sentence.partition(": ")[2]
    ):
        row = study.claims.loc[name]
        assert row["verdict"] == verdict, (name, verdict)
        numbers += NUMBER.findall(words)
        if row["kind"] != "exact":
            unit = row["unit"]
            f = np.exp if unit == "ln ratio" else (lambda x, u=unit: 100 * x if "share" in u else x)
            numbers += [f(row["effect"]), f(row["ci_low"]), f(row["ci_high"])]
    return numbers


def contrasted(study: Study, sentence: str) -> list:
    """Whether the effect differs at the ends of the batch sizes, and the effect and both arms there."""
    metric = metric_of(sentence)
    f = scale(metric)
    ends = {size: [study.values(metric, n, size) for n in ("batch", "none")]
            for size in (study.sizes[0], study.sizes[-1])}  # fmt: skip
    effects = [(batch - none).to_numpy() for batch, none in ends.values()]
    numbers = [95] if metric == "ln_steps_to_target" else []
    numbers.append(sign_flip(effects[1] - effects[0]))
    for size, (batch, none) in ends.items():
        numbers += [f((batch - none).mean()), size, f(batch.mean()), f(none.mean())]
    return numbers


def gaps(study: Study) -> dict[str, np.ndarray]:
    runs = study.runs.assign(gap=study.runs["val_loss"] - study.runs["train_loss"])
    table = runs.groupby(["norm", "seed"])["gap"].mean()
    return {norm: table[norm].to_numpy() for norm in ("none", "batch")}


def gap_between(study: Study, sentence: str) -> list:
    found = gaps(study)
    d = found["batch"] - found["none"]
    size = [] if "could be shown" in sentence else [abs(d.mean())]
    return [*size, 95, *interval(d), found["batch"].mean(), found["none"].mean()]


def out_of_reach(study: Study, sentence: str) -> list:
    n = study.seeds
    smallest = 2 / 2**n
    family = (study.comparison["scope"] == "all").sum()
    return [n, f"{smallest:.3g}", f"{min(1, family * smallest):.3g}", family]


def never_reached(study: Study, sentence: str) -> list:
    runs = study.runs
    lost = runs[runs["steps_to_target"].isna()].groupby("norm").size()
    total = runs.groupby("norm").size()
    return [n for norm in ("none", "batch") if norm in lost for n in (lost[norm], total[norm])] + [95]


def counts(study: Study, sentence: str) -> list:
    """How many claims came out how."""
    found = study.claims[study.claims["kind"].isin(["statistical", "exact"])]
    run = found[found["verdict"] != "not run"]
    numbers = [run["verdict"].value_counts().get(word, 0) for word in VERDICTS]
    rest = [run["mixed"].notna().sum(), len(found) - len(run)]
    return [len(run), *(n for n in [*numbers, *rest] if n)]


def decided(study: Study) -> pd.DataFrame:
    word = study.claims["verdict"]
    kinds = study.claims["kind"].isin(["statistical", "exact"])
    known = study.claims[kinds & ~word.isin(["not run", "inconclusive"])]
    return known.assign(true=known["verdict"].str.match(r"(supported|holds)"))


def surprises(study: Study, sentence: str) -> list:
    rows = decided(study)
    wrong = rows[(rows["true"] != (rows["prior"] > 0.5)) & (rows["prior"] != 0.5)]
    assert re.findall(r"(\w[\w.-]*) \(", sentence) == list(wrong.index)
    return list(wrong["prior"])


def brier(study: Study, sentence: str) -> list:
    rows = decided(study)
    rows = rows[rows["kind"] == "statistical"]
    return [((rows["prior"] - rows["true"]) ** 2).mean(), len(rows), 0, 0.25]


def epoch_time(study: Study, sentence: str) -> list:
    wide = study.timings.pivot(index=["batch_size", "seed"], columns="norm", values="seconds_per_epoch")
    ratio = wide["batch"] / wide["none"]
    return [ratio.median(), len(ratio), *ratio.quantile([0.25, 0.75])]


def parameters(study: Study, sentence: str) -> list:
    counts = study.runs.groupby("norm")["n_parameters"].first()
    added = counts["batch"] - counts["none"]
    return [added, counts["none"], 100 * added / counts["none"]]


# By the words that a sentence cannot do without; the first that fits counts.
FAMILIES: list[tuple[str, Callable[[Study, str], list]]] = [
    ("training runs on", lambda s, _: [len(s.runs), 2, len(s.sizes), s.seeds, 3]),
    (r"gap between validation and training loss", gap_between),
    (r"took .*%|percentage points (higher|lower) \(|nats (higher|lower) \(|could be shown \([^u]", compared),
    (r"seeds agree", agreeing),
    (r"^The ratio of steps runs", by_size),
    (r"^Found here: ", found_here),
    (r"depend(ed|s) on the batch size", contrasted),
    ("smallest p that the test can give", out_of_reach),
    ("never reached 95", never_reached),
    (r"claims judged: ", counts),
    ("verdicts that were not expected", surprises),
    ("The Brier score", brier),
    ("An epoch took", epoch_time),
    ("trainable parameters", parameters),
    ("images to learn from", lambda s, _: [320, 80, 100]),
    ("with hidden layers of", lambda s, _: s.config["model"]["hidden"]),
    ("^Batch sizes:", lambda s, _: s.sizes),
    ("^Seeds:", lambda s, _: [s.seeds]),
    ("at learning rate", lambda s, _: [3, s.config["training"]["learning_rate"], len(s.runs)]),
    ("has 400 images", lambda s, _: [400, 100, 8, 8, 10]),
    ("sees an image as", lambda s, _: [64]),
    ("mapped linearly", lambda s, _: [0, -1, 1]),
    ("seeds per cell", lambda s, _: [s.seeds]),
    ("smallest p of the sign-flip", lambda s, _: [f"{2 / 2**s.seeds:.3g}", 0.05]),
    ("One learning rate and", lambda s, _: [3]),
    (r"[Nn]o difference could be shown in", lambda s, _: [95]),
]  # fmt: skip
# Sums by hand, and numbers that are checked elsewhere.
OTHERS = ("The mean of the batch is", "The inputs made from", "Not measured in this run", "To cite")


def prose(folder: Path) -> Iterator[str]:
    """The computed paragraphs and list items of the notebook; what studies.yaml says is not."""
    config = yaml.safe_load((folder / "results" / "run_config.yaml").read_text())
    declared = "".join(bare(study["text"]) for study in config["studies"].values())
    whys = [said["why"] for said in QUOTES["benefits"]]
    notebook = nbformat.read(folder / "report.ipynb", as_version=4)
    for cell in notebook.cells:
        if cell.source.startswith("report.opening"):
            continue  # test_opening holds the first screen
        for output in cell.get("outputs", []):
            text = output.get("data", {}).get("text/markdown")
            meta = output.get("metadata", {}).get("bnstudy", {})
            if text and meta.get("kind") != "caption" and not text.startswith(("```", "#")):
                for block in text.split("\n\n"):
                    if bare(plain(block)).endswith(tuple(map(bare, map(plain, whys)))):
                        continue
                    yield from re.split(r"^- ", block, flags=re.MULTILINE)
            elif text and text.startswith("#"):
                text = re.sub(r"\[(table|figure) \d+\](?=\(#)", r"[\1]", text)
                blocks = text.split("\n\n")[1:]
                yield from (block for block in blocks if bare(block) not in declared)


def sentences(text: str) -> list[str]:
    return re.split(r"(?<=[.!?])\s+(?=[A-Z]|\d+ of )", text)


@pytest.fixture(scope="module")
def study(rendered: Path) -> Study:
    return Study(rendered)


def test_every_number_of_the_sentences_comes_from_the_tables(study, rendered, page):
    soup = BeautifulSoup(page, "html.parser").main
    for code in soup.select("code"):
        code.decompose()
    text = plain(soup.get_text().replace("*", r"\*"))
    seen, n_claims = set(), 0
    for block in map(plain, prose(rendered)):
        if CLAIM.match(block) or block.startswith("Scope "):
            n_claims += judged_claim(study, block)
            continue
        for sentence in sentences(block):
            if sentence.startswith(OTHERS):
                continue
            family = next((f for f in FAMILIES if re.search(f[0], sentence)), None)
            if family is None:
                assert not NUMBER.findall(sentence), f"nobody vouches for {sentence!r}"
                continue
            study.about = "speed" if "it took" in sentence.lower() else study.about
            study.about = "accuracy" if sentence.startswith("Test accuracy was") else study.about
            hold(sentence, family[1](study, sentence))
            seen.add(family[0])
            assert sentence in text
    judged = study.claims[(study.claims["kind"] != "exact") & (study.claims["verdict"] != "not run")]
    assert n_claims == len(judged)
    assert len(seen) > 20


def judged_claim(study: Study, block: str) -> int:
    """Check an item on a claim; what claims.yaml and claims.csv say in words is taken out first."""
    found = CLAIM.match(block)
    if not found:
        return 0
    row = study.claims.loc[found["id"]]
    entry = study.listed[found["id"]]
    assert row["verdict"] == found["verdict"]
    assert bool(found["mixed"]) == (not pd.isna(row["mixed"]))
    rest = block[found.end() :].replace(f"Made up: -1 {TIMES} 10⁻¹⁵.", "")
    rest, _, twice = rest.partition("Measured twice: ")
    if twice:
        assert bare(twice) == bare(entry["checked"])
    for key in ("claim", "measure", "expected", "scope"):
        rest = rest.replace(plain(entry[key].replace("*", r"\*")).rstrip("."), "", 1)
    rest = re.sub(r": “[^”]*” \(line \d+\)", "", rest)
    prior = re.search(r"prior ([\d.]+)\.", rest)
    assert float(prior[1]) == row["prior"]
    rest = rest.replace(prior[0], "")
    statistical_claim(study, found["id"], row, rest)
    return 1


def statistical_claim(study: Study, name: str, row: pd.Series, rest: str) -> None:
    shares = row["unit"].startswith("share")
    f = np.exp if row["unit"] == "ln ratio" else (lambda x: 100 * x if shares else x)
    effect, reason = re.match(r"\s*\.?\s*(.*?p [^)]*\))\. (.*)$", rest).groups()
    factor = [10 ** row["effect"]] if "a factor of" in effect else []
    numbers = [f(row["effect"]), *factor, 95, f(row["ci_low"]), f(row["ci_high"])]
    favour = [round(row["share_of_seeds"] * row["n"]), row["n"]]
    hold(effect, [*numbers, *favour, max(row["p"], 0.001)])  # written as "< 0.001"
    delta = row["smallest_effect"]
    # A cell that is named as mixed may be called by a number, as batch size 64.
    reason = re.sub(r"But the result is mixed: .*?\.( |$)", "", reason)
    shown = NUMBER.findall(reason)
    ends = [f(row["low"]), f(row["high"]), f(delta), f(-delta)]
    ends += [f(row["expected_low"]), f(row["expected_high"])]
    allowed = [100 * (1 - row["level"]), *ends, row["p"], row["n"], 0.05]
    assert shown
    for number in shown:
        assert any(agrees(number, value) for value in allowed), (name, number, allowed)


def table(page: str, label: str) -> list[dict[str, str]]:
    soup = BeautifulSoup(page, "html.parser").find(id=f"tab-{label}")
    heads = [plain(head.get_text()) for head in soup.select("thead th")]
    rows = [[plain(cell.get_text()) for cell in row.select("th, td")] for row in soup.select("tr")]
    return [dict(zip(heads, row, strict=True)) for row in rows[1:]]


def test_key_numbers_and_comparison_are_those_of_the_table(study, page):
    rows = table(page, "comparison") + table(page, "all-measures")
    assert len(rows) == len(study.comparison)
    rows += [row | {"batch size": "all"} for row in table(page, "key-numbers")]
    for row in rows:
        if row["measure"].endswith("(arithmetic)"):
            metric, f = "steps_to_target", lambda x: x
        else:
            metric = METRICS[row["measure"]]
            f = scale(metric)
        found = study.comparison
        everywhere = row["batch size"] == "all"
        here = found["scope"] == "all" if everywhere else found["batch_size"] == float(row["batch size"])
        found = found[(found["metric"] == metric) & here]
        (source,) = found.to_dict("records")
        cells = [
            *(("no normalization", "mean_baseline"), ("batch normalization", "mean_level")),
            ("difference", "difference"),
        ]
        for head, column in cells:
            if head in row:
                hold(row[head], [f(source[column])])
        numbers = [f(source[column]) for column in ("difference", "ci_low", "ci_high")]
        if both := row.get("difference (95 % interval)"):
            hold(both, numbers)
            continue
        hold(row["95 % interval"], numbers[1:])
        hold(row["p"], [source["p"]])
        assert row["seeds"] == f"{round(source['share_of_seeds'] * source['n'])}/{source['n']}"


def test_scorecard_is_that_of_the_claims(study, page):
    rows = table(page, "scorecard")
    assert len(rows) == len(
        study.claims[(study.claims["kind"] == "statistical") & (study.claims["verdict"] != "not run")]
    )
    for row in rows:
        source = study.claims.loc[row["claim"].split()[0].rstrip("\N{DAGGER}")]
        unit = source["unit"]
        f = np.exp if unit == "ln ratio" else (lambda x, u=unit: 100 * x if "share" in u else x)
        hold(row["effect"].lstrip(TIMES), [f(source["effect"])])
        hold(row["95 % interval"], [f(source["ci_low"]), f(source["ci_high"])])
        hold(row["smallest that matters"].lstrip(TIMES), [f(source["smallest_effect"])])
        if row["p"].startswith("<"):
            assert source["p"] < 0.001
        else:
            hold(row["p"], [source["p"]])
        hold(row["prior"], [source["prior"]])
        assert row["n"] == str(source["n"]).removesuffix(".0")
        assert row["verdict"] == source["verdict"] + ("" if pd.isna(source["mixed"]) else ", mixed")


def test_the_check_sees_a_wrong_number():
    text = f"95 % and +1.40 and 3.6 {TIMES} 10⁻¹⁵"
    hold(text, [95, 1.3951, 3.58e-15])
    for wrong in ([95, 1.41, 3.6e-15], [95, 1.40], [95, 1.40, 3.6e-14]):
        with pytest.raises(AssertionError):
            hold(text, wrong)
