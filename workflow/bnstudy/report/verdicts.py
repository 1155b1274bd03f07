"""The claims, their verdicts, and the sentences that say what came out.

A sentence of report/sentences.yaml is chosen by a row of claims.csv, the seeds behind it and the entry of the list of
claims; every verdict that `claims.judge` can give has its own wording, and a claim that was not run never gets one.
"""

import math
import textwrap
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bnstudy import statistics
from bnstudy.claims.judge import SEPARATOR, Row, read_table
from bnstudy.claims.listed import CORE, judged_claims, read
from bnstudy.config import ALPHA, ROOT, default_studies, enabled_studies
from bnstudy.documents import read_yaml
from bnstudy.report.exhibits import PARTS
from bnstudy.report.measures import MINUS, SPACE, p_value
from bnstudy.report.words import amount, interval, say, sentence_of, shown, threshold

NOT_RUN = "not run"
# How a verdict is shown without words
SIGNS = {"supported": "✓", "holds": "✓", "refuted": "✕", "does not hold": "✕"}
SIGNS |= {"not supported": MINUS, "inconclusive": "?"}
LOOKED = "†"  # of a claim that was written or changed knowing earlier results
CORE_HEADING = "S1 Speed and accuracy"  # the grid comes second among the studies
LINE_BREAK = "  \n  "  # within an item of a list in Markdown
QUOTES = read_yaml(ROOT / "report/quotes.yaml")  # what claims and errata speak of
TRUE = {"supported", "holds"}
FALSE = {"refuted", "not supported", "does not hold"}


@dataclass(frozen=True)
class Judged(Row):
    """A claim with its verdict, the seeds behind it and what the list of claims says of it.

    Numbers that do not exist are NaN, `n` is then 0. `effects` are one per seed, and `cells` the same in each cell that
    the effect is made of.
    """

    short: str = ""
    measure: str = ""
    expected: str = ""
    checked: str = ""
    conditions: dict[str, str] = field(default_factory=dict)
    history: Sequence[str] = ()
    own: bool = False  # whether it stands in the configuration, not in claims.yaml
    heading: str = ""  # of its study's section
    effects: np.ndarray = field(default_factory=lambda: np.zeros(0))
    cells: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def was_run(self) -> bool:
        return self.verdict != NOT_RUN

    @property
    def name(self) -> str:
        """`B3 faster convergence`, with a mark if it was written knowing earlier results."""
        text = self.short or textwrap.shorten(self.claim, 34, placeholder="…")
        return f"{self.id}{LOOKED * self.looked} {text}"

    @property
    def word(self) -> str:
        """The verdict as a table or a heading shows it: `supported, mixed`."""
        return f"{self.verdict}, mixed" if self.mixed else self.verdict

    @property
    def untestable(self) -> bool:
        """Whether so few seeds cannot decide it, whatever they say."""
        return self.n < 2 or statistics.smallest_p(self.n) >= self.level


@dataclass(frozen=True)
class Claims:
    """All claims that are judged, in their order, and the tables that they were judged by."""

    judged: list[Judged]
    path: Path
    tables: Path
    config: dict
    studies: dict[str, dict]  # those that were run, with their settings
    headings: dict[str, str]  # of the sections, by study
    incomplete: set[str]  # studies with holes

    @classmethod
    def load(cls, claims: Path, tables: Path, config: dict) -> "Claims":
        """Read the list of claims, claims.csv and claim_effects.csv.

        A claim without a row is one that was not run.
        """

        def rows_of(name: str) -> list[dict]:
            path = tables / f"{name}.csv"
            return read_table(path).to_dict("records") if path.exists() else []

        rows = {row["id"]: row for row in rows_of("claims")}
        seeds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
        for row in rows_of("claim_effects"):
            seeds[row["id"]][str(row["cell"])].append(float(row["effect"]))
        studies = default_studies() | config.get("studies", {})
        headings = {name: f"{one['code']} {one['title']}" for name, one in studies.items()}
        headings = {"identities": headings["identities"], CORE: CORE_HEADING} | headings
        own = {claim["id"] for claim in config.get("claims", [])}
        judged = []
        for entry in judged_claims(claims, config):
            name, study = entry["id"], entry["study"]
            entry |= {"own": name in own, "heading": headings.get(study, study)}
            judged.append(combine(entry, rows.get(name, {}), seeds[name]))
        incomplete = {row["part"] for row in rows_of("missing")}  # with holes: not looked at
        on = enabled_studies(config) if "studies" in config else {}
        ran = {name: said for name, said in on.items() if (tables / f"{name}.csv").exists()}
        ran = {CORE: {"options": {}}} | ran
        ran = {name: said for name, said in ran.items() if name not in incomplete}
        return cls(judged, claims, tables, config, ran, headings, incomplete)

    @cached_property
    def listed(self) -> dict:
        """The list of claims as its file has it."""
        return read(self.path)

    def __getitem__(self, name: str) -> Judged | None:
        return next((claim for claim in self.judged if claim.id == name), None)

    def of(self, study: str) -> list[Judged]:
        """The claims of a study that were run."""
        return [c for c in self.judged if c.study == study and c.was_run]

    def frame(self) -> pd.DataFrame:
        """A row per claim that was judged."""
        return pd.DataFrame(map(vars, self.judged))

    def kind(self, *kinds: str) -> list[Judged]:
        return [claim for claim in self.judged if claim.kind in kinds]

    def table(self, study: str) -> pd.DataFrame:
        """The table of a study that was run."""
        return read_table(self.tables / f"{study}.csv")


def combine(entry: dict, row: dict, seeds: dict[str, list[float]]) -> Judged:
    """An entry of the list of claims with its row of claims.csv and its seeds."""
    values = {one.name: math.nan for one in fields(Row) if one.default is None}
    values |= {"n": 0, "family": 0, "verdict": NOT_RUN} | entry
    said = ("kind", "claim", "line", "study")  # by the list
    values |= {k: v for k, v in row.items() if k not in said and not pd.isna(v)}
    values["n"] = int(values["n"])
    values["cells"] = {cell: np.array(one) for cell, one in seeds.items()}
    values["effects"] = values["cells"].pop("all", np.zeros(0))
    return Judged(**{f.name: values[f.name] for f in fields(Judged) if f.name in values})


def quoted(claim: Judged, write: Callable[[str], str] = shown) -> str:
    """The sentence of the text that a claim speaks of; empty without one."""
    found = None if claim.own else QUOTES["claims"].get(claim.id)
    return say("verdict", "quoted", words=write(found[1]), line=found[0]) if found else ""


def verdict_sentence(claim: Judged, *, with_scope: bool = True) -> str:
    """What came out of a claim and the verdict; on a second line how it was measured, in Markdown."""

    def part(name: str, **words: object) -> str:
        return say("verdict", name, claim=claim, **words)

    text = shown(claim.claim).rstrip(".")
    found = [part("claim", said=text, quoted=quoted(claim)), evidence(claim)]
    low, high = claim.expected_low, claim.expected_high
    if not (math.isnan(low) or low <= claim.effect <= high):
        way = "less" if claim.effect < low else "more"
        found.append(part("range", way=way, expected=interval(low, high, claim.unit)))
    found.append(because(claim))
    if claim.mixed:
        way = "opposite is true" if claim.verdict == "supported" else "claim holds"
        found.append(part("mixed", way=way, cells=map(shown, claim.mixed.split(SEPARATOR))))
    of_kind = {"exploratory": part("exploratory"), "control": control_sentence(claim)}
    found.append(of_kind.get(claim.kind, ""))
    found.append(sentence_of(shown(claim.note)))
    before = f"{shown(claim.expected).rstrip('.')}; " if claim.expected else ""
    details = [part("measure", measure=shown(claim.measure)), part("expected", before=before)]
    if with_scope:
        details.append(part("scope", scope=shown(claim.scope)))
    if claim.checked:
        details.append(part("checked", checked=sentence_of(shown(claim.checked))))
    return LINE_BREAK.join([" ".join(filter(None, found)), " ".join(details)])


def evidence(claim: Judged) -> str:
    """The effect, its interval, its seeds and its p in one sentence."""
    words = {"claim": claim, "effect": amount(claim.effect, claim.unit)}
    if claim.n < 2:
        return say("verdict", "one seed", **words)
    words |= {"ends": interval(claim.ci_low, claim.ci_high, claim.unit), "p": p_value(claim.p)}
    return say("verdict", "evidence", favour=round(claim.share_of_seeds * claim.n), **words)


def because(claim: Judged) -> str:
    """Why the numbers lead to the verdict: where the interval lies that decides."""
    delta, unit, kind = claim.smallest_effect, claim.unit, claim.verdict
    names, words = claim.unmet.split(SEPARATOR), {"found": "The interval"}
    if claim.level < ALPHA:
        ends = interval(claim.low, claim.high, unit)
        words["found"] = say("because", "interval", share=100 * (1 - claim.level), ends=ends)
    if claim.untestable:
        kind = "untestable"
    elif kind == "not supported" and claim.low > -delta:
        kind = "equivalent"
    elif kind == "inconclusive":
        kind = "unmet" if claim.unmet else "bounded" if claim.high < delta else "both sides"
    words |= {"delta": threshold(delta, unit), "against": threshold(-delta, unit)}
    words["wanted"] = [shown(claim.conditions.get(n, n.replace("_", " "))) for n in names]
    return say("because", kind, reason=shown(claim.reason), **words)


def verdict_sentences(claims: Sequence[Judged]) -> list[str]:
    """A sentence per claim that seeds decide, as Markdown items; a common scope is said once."""
    claims = [claim for claim in claims if claim.kind != "exact"]
    common, count = next(iter(Counter(claim.scope for claim in claims).most_common(1)), ("", 0))
    if count < 3:
        return list(map(verdict_sentence, claims))
    which = f"of all {count}" if count == len(claims) else "where none is given"
    scope = say("verdict", "common scope", which=which, scope=shown(common))
    return [*(verdict_sentence(c, with_scope=c.scope != common) for c in claims), scope]


def control_sentence(claim: Judged) -> str:
    """Whether a control of the rule came out as it must."""
    must, was = claim.prior > 0.5, claim.verdict == "supported"
    words = {"must": "must" if must else "must not", "is": "it is" if was else "it is not"}
    words["judgement"] = "as it should be" if was == must else "so the rule fails this check"
    return say("verdict", "untestable control" if claim.untestable else "control", **words)


def tally(verdicts: Iterable[str]) -> str:
    """`12 claims judged: 3 supported, 2 refuted, 4 hold and 3 do not hold`."""
    counts = Counter(verdicts)
    several = {word: word for word in SIGNS} | {"holds": "hold", "does not hold": "do not hold"}
    said = [f"{n} {word if n == 1 else several[word]}" for word in SIGNS if (n := counts[word])]
    return say("verdicts", "tally", n=counts.total(), verdicts=said)


def headline(claims: Claims) -> str:
    """How many claims came out how."""
    found = claims.kind("statistical", "exact")
    run = [claim for claim in found if claim.was_run]
    if not run:
        return say("verdicts", "none", n=len(found))
    counts = {"mixed": sum(bool(c.mixed) for c in run), "not run": len(found) - len(run)}
    parts = [say("verdicts", name, n=n) for name, n in counts.items() if n]
    return "; ".join([tally(claim.verdict for claim in run), *parts]) + "."


def surprises(claims: Claims) -> str:
    """Which verdicts went against what was thought more likely, and how good the priors were."""
    decided = [c for c in claims.kind("statistical", "exact") if c.verdict in TRUE | FALSE]
    against = [c for c in decided if (c.verdict in TRUE) != (c.prior > 0.5) and c.prior != 0.5]
    named = [f"{c.id} ({c.verdict}, prior {c.prior:g})" for c in against]
    found = [say("verdicts", "surprises", against=named)] if named else []
    errors = [(c.prior - (c.verdict in TRUE)) ** 2 for c in decided if c.kind != "exact"]
    if errors:
        found.append(say("verdicts", "brier", score=np.mean(errors), n=len(errors)))
    return " ".join(found)


def calibration_sentence(table: pd.DataFrame) -> str:
    """How often families had a wrong verdict, and from where on the rule finds what matters."""
    wrong = table.groupby("distribution", sort=False)["family_error"].max()
    errors = [f"{100 * share:.0f}{SPACE}% ({name})" for name, share in wrong.items()]
    found = table[(table["distribution"] == "normal") & (table["supported"] >= 0.8)]
    smallest = found.groupby("spread")["effect"].min().items()
    sentences = (say("verdicts", "found", spread=spread, effect=effect) for spread, effect in smallest)
    return " ".join([say("verdicts", "worst", allowed=100 * ALPHA, errors=errors), *sentences])


def strip(rows: pd.DataFrame, anchors: Mapping[str, str]) -> str:
    """A mark with its verdict for each claim of claims.csv that was judged, leading to its anchor."""
    found = rows[rows["id"].isin(list(anchors)) & rows["verdict"].isin(list(SIGNS))]
    if found.empty:
        return ""
    claims = found.assign(anchor=found["id"].map(anchors), sign=found["verdict"].map(SIGNS))
    return str(PARTS.verdicts(tally(found["verdict"]), claims.to_dict("records")))
