"""The claims, their verdicts, and the sentences that say what came out.

A sentence is put together from a row of claims.csv, the seeds behind it and the entry of the list of
claims; every verdict that `claims.judge` can give has its own wording, and a claim that was not run
never gets one.
"""

import math
import textwrap
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from functools import cache, cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from bnstudy import statistics
from bnstudy.claims.endpoints.base import Endpoint
from bnstudy.claims.judge import SEPARATOR, Measured, Row, read_table
from bnstudy.claims.listed import CORE, judged_claims, readings
from bnstudy.config import ALPHA, ROOT, default_studies, enabled_studies
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.report.amounts import amount, interval, sentence_of, shown, threshold
from bnstudy.report.measures import MINUS, SPACE, capitalized, counted, listed, p_value

STATISTICAL = ("supported", "refuted", "not supported", "inconclusive")
NOT_RUN = "not run"
SIGNS = {  # how a verdict is shown without words
    "supported": "\N{CHECK MARK}",
    "holds": "\N{CHECK MARK}",
    "refuted": "\N{MULTIPLICATION X}",
    "does not hold": "\N{MULTIPLICATION X}",
    "not supported": MINUS,
    "inconclusive": "?",
}
LOOKED = "\N{DAGGER}"  # marks a claim that was written knowing earlier results
CORE_HEADING = "S1 Speed and accuracy"  # the grid comes second among the studies
LINE_BREAK = "  \n  "  # within an item of a list in Markdown
QUOTES = ROOT / "report/quotes.yaml"  # sentences of the text that claims and errata speak of
TRUE = {"supported", "holds"}
FALSE = {"refuted", "not supported", "does not hold"}


@dataclass(frozen=True)
class Judged(Row):
    """A claim with its verdict, the seeds behind it and what was written before.

    Numbers that do not exist are NaN, `n` is then 0.

    Attributes
    ----------
    short, measure, expected, source, checked, conditions, history
        As in the list of claims.
    own : bool
        Whether it stands in the configuration, not in claims.yaml.
    heading : str
        The heading of its study's section.
    effects : array of float, shape (n,)
        One effect per seed.
    cells : dict of str to array
        The same in each cell that the effect is made of; exploratory.
    """

    short: str = ""
    measure: str = ""
    expected: str = ""
    source: str = ""
    checked: str = ""
    conditions: dict[str, str] = field(default_factory=dict)
    history: Sequence[str] = ()
    own: bool = False
    heading: str = ""
    effects: np.ndarray = field(default_factory=lambda: np.zeros(0))
    cells: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def was_run(self) -> bool:
        return self.verdict != NOT_RUN

    @property
    def exact(self) -> bool:
        return self.kind == "exact"

    @property
    def untestable(self) -> bool:
        """Whether so few seeds cannot decide it, whatever they say."""
        return self.n < 2 or statistics.smallest_p(self.n) >= self.level

    @property
    def name(self) -> str:
        """`B3: Training converges faster`."""
        return f"{self.id}: {self.claim}"


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
        claims, tables = Path(claims), Path(tables)

        def rows_of(name: str) -> list[dict]:
            path = tables / f"{name}.csv"
            return read_table(path).to_dict("records") if path.exists() else []

        rows = {row["id"]: row for row in rows_of("claims")}
        incomplete = {row["part"] for row in rows_of("missing")}  # with holes: not looked at
        effects: dict[str, dict[str, list[float]]] = {}
        for row in rows_of("claim_effects"):
            cells = effects.setdefault(row["id"], {})
            cells.setdefault(str(row["cell"]), []).append(float(row["effect"]))
        studies = default_studies() | config.get("studies", {})
        headings = {name: f"{one['code']} {one['title']}" for name, one in studies.items()}
        headings = {"identities": headings["identities"], CORE: CORE_HEADING} | headings
        own = {claim["id"] for claim in config.get("claims", [])}
        judged = [
            combine(
                entry | {"own": name in own, "heading": headings.get(study, study)},
                rows.get(name, {}),
                effects.get(name, {}),
            )
            for entry in judged_claims(claims, config)
            for name, study in [(entry["id"], entry["study"])]
        ]
        ran = {CORE: {"options": {}}} | (enabled_studies(config) if "studies" in config else {})
        ran = {
            name: said
            for name, said in ran.items()
            if name not in incomplete and (name == CORE or (tables / f"{name}.csv").exists())
        }
        return cls(judged, claims, tables, config, ran, headings, incomplete)

    def __getitem__(self, name: str) -> Judged | None:
        return next((claim for claim in self.judged if claim.id == name), None)

    def of(self, study: str) -> list[Judged]:
        """The claims of a study that were run."""
        return [c for c in self.judged if c.study == study and c.was_run]

    def frame(self) -> pd.DataFrame:
        """A row per claim that was judged: id, kind, study, verdict, effect, n."""
        columns = ["id", "kind", "study", "verdict", "effect", "n"]
        rows = [[getattr(claim, name) for name in columns] for claim in self.judged]
        return pd.DataFrame(rows, columns=columns)

    def order(self, study: str) -> int:
        """The place of a study among the sections."""
        names = [*self.headings]
        return names.index(study) if study in names else len(names)

    def kind(self, *kinds: str) -> list[Judged]:
        return [claim for claim in self.judged if claim.kind in kinds]

    def table(self, study: str) -> pd.DataFrame:
        """The table of a study that was run."""
        return read_table(self.tables / f"{study}.csv")

    @cached_property
    def readings(self) -> list[dict]:
        """What the studies measure besides their claims."""
        return readings(self.path, self.config)

    def further(self, study: str) -> dict[str, Endpoint]:
        """What a study measures besides its claims, by title; nothing where its grid was cut too far.

        Without what cannot be known, such as seconds per step where every run diverged.
        """
        if study not in self.studies:
            return {}
        measured = Measured(study, self.studies[study], self.config, self.tables)
        asked = [one for one in self.readings if one["study"] == study]
        try:
            found = {one["short"]: measured.endpoint(one) for one in asked}
        except UserError:
            return {}
        return {
            title: one
            for title, one in found.items()
            if one is not None and np.isfinite(one.effect.to_numpy(float)).all()
        }


def combine(entry: dict, row: dict, seeds: dict[str, list[float]]) -> Judged:
    """An entry of the list of claims with its row of claims.csv and its seeds."""
    names = "effect ci_low ci_high p effect_size share_of_seeds level low high"
    names += " expected_low expected_high smallest_effect"
    values = dict.fromkeys(names.split(), math.nan)
    values |= {"n": 0, "family": 0, "verdict": NOT_RUN} | entry
    said = ("kind", "claim", "line", "study")  # by the list
    values |= {k: v for k, v in row.items() if k not in said and not pd.isna(v)}
    values |= {key: int(values[key]) for key in ("n", "family")}
    return Judged(
        **{one.name: values[one.name] for one in fields(Judged) if one.name in values},
        effects=np.array(seeds.get("all", [])),
        cells={cell: np.array(one) for cell, one in seeds.items() if cell != "all"},
    )


def short_name(claim: Judged) -> str:
    """`B3 faster convergence`, with a mark if it was written knowing earlier results."""
    text = claim.short or textwrap.shorten(claim.claim, 34, placeholder="…")
    return f"{claim.id}{LOOKED * claim.looked} {text}"


@cache
def quotes() -> dict:
    """`source`, `claims` and `errata` of report/quotes.yaml."""
    return read_yaml(QUOTES)


def quoted(claim: Judged, write: Callable[[str], str] = shown) -> str:
    """The sentence of the text that a claim speaks of: `: “...” (line 62)`; empty without one."""
    found = None if claim.own else quotes()["claims"].get(claim.id)
    return f": “{write(found[1])}” (line{SPACE}{found[0]})" if found else ""


def verdict_word(claim: Judged) -> str:
    """The verdict as a table or a heading shows it: `supported, mixed`."""
    return f"{claim.verdict}, mixed" if claim.mixed else claim.verdict


def verdict_sentence(claim: Judged, *, with_scope: bool = True) -> str:
    """What came out of a claim and the verdict; on a second line measure, prior and scope.

    Markdown. The second line says how the claim was measured, what was expected beforehand, for
    what the verdict holds, and where it surprised, how the measurement was checked.
    """
    found = [
        f"**{claim.id}: {verdict_word(claim)}.** {shown(claim.claim).rstrip('.')}{quoted(claim)}."
    ]
    found += statistical_parts(claim)
    if claim.note:
        found.append(sentence_of(shown(claim.note)))
    before = f"{shown(claim.expected).rstrip('.')}; " if claim.expected else ""
    details = [
        f"*Measure:* {shown(claim.measure)}.",
        f"*Expected:* {before}prior {claim.prior:g}.",
    ]
    if with_scope:
        details.append(f"*Scope:* {shown(claim.scope)}.")
    if claim.checked:
        details.append(f"*Measured twice:* {sentence_of(shown(claim.checked))}")
    return f"{' '.join(found)}{LINE_BREAK}{' '.join(details)}"


def statistical_parts(claim: Judged) -> list[str]:
    """The effect with its evidence, why the verdict is what it is, and what is mixed about it."""
    parts = [one for one in (evidence(claim), missed_range(claim), because(claim)) if one]
    if claim.mixed:
        where = listed(shown(cell) for cell in claim.mixed.split(SEPARATOR))
        way = "opposite is true" if claim.verdict == "supported" else "claim holds"
        parts.append(f"But the result is mixed: the {way} for {where}.")
    if claim.kind == "exploratory":
        parts.append("It is exploratory and stands outside the family of corrected tests.")
    if claim.kind == "control":
        parts.append(control_sentence(claim))
    return parts


def evidence(claim: Judged) -> str:
    """The effect, its interval, its seeds and its p in one sentence."""
    found = capitalized(amount(claim.effect, claim.unit))
    if claim.n < 2:
        return f"{found} in a single seed, without interval or test."
    in_favour = round(claim.share_of_seeds * claim.n)
    return (
        f"{found} (95{SPACE}% interval {interval(claim.ci_low, claim.ci_high, claim.unit)}), as "
        f"claimed in {in_favour} of {counted(claim.n, 'seed')} ({p_value(claim.p)})."
    )


def because(claim: Judged) -> str:
    """Why the numbers lead to the verdict: where the interval lies that decides."""
    delta, unit = claim.smallest_effect, claim.unit
    needed = f"the smallest effect that matters ({threshold(delta, unit)})"
    if claim.untestable:
        return f"That decides nothing: {shown(claim.reason)}."
    found = "The interval"
    if claim.level < ALPHA:
        ends = interval(claim.low, claim.high, unit)
        found = f"The {100 * (1 - claim.level):.4g}{SPACE}% interval that decides, {ends},"
    match claim.verdict:
        case "supported":
            return f"{found} lies above {needed}."
        case "refuted":
            return f"{found} lies beyond {threshold(-delta, unit)}, against the claim."
        case "not supported" if claim.low > -delta:
            within = f"{threshold(-delta, unit)} and {threshold(delta, unit)}"
            return f"{found} lies between {within}: no effect that matters, either way."
        case "not supported":
            return f"{found} lies below {needed}, so what the claim needs is excluded."
    if claim.unmet:
        names = claim.unmet.split(SEPARATOR)
        wanted = listed(shown(claim.conditions.get(n, n.replace("_", " "))) for n in names)
        return (
            f"{found} is on one side of {needed}, but the verdict also needs {wanted}, which was not "
            "shown."
        )
    if claim.high < delta:
        return "Too many runs never reached the target for a small effect to exclude a larger one."
    return f"{found} reaches to both sides of {needed}."


def missed_range(claim: Judged) -> str:
    """That the effect is not within the range that was expected; empty if it is, or none was."""
    if not claim.was_run or claim.expected_low <= claim.effect <= claim.expected_high:
        return ""
    if math.isnan(claim.expected_low):
        return ""
    expected = interval(claim.expected_low, claim.expected_high, claim.unit)
    way = "less" if claim.effect < claim.expected_low else "more"
    return f"That is {way} than was expected, {expected}."


def verdict_sentences(claims: Sequence[Judged]) -> list[str]:
    """A sentence per claim that seeds decide, as Markdown items; a common scope is said once."""
    claims = [claim for claim in claims if not claim.exact]
    scopes = Counter(claim.scope for claim in claims)
    common, count = max(scopes.items(), key=lambda item: item[1], default=("", 0))
    if count < 3:
        common = ""
    sentences = [verdict_sentence(claim, with_scope=claim.scope != common) for claim in claims]
    if common:
        which = f"of all {count}" if count == len(claims) else "where none is given"
        sentences.append(f"*Scope* {which}: {shown(common)}.")
    return sentences


def control_sentence(claim: Judged) -> str:
    """Whether a control of the rule came out as it must."""
    must = claim.prior > 0.5
    wanted = "must be supported" if must else "must not be supported"
    if claim.untestable:
        return f"As a control it {wanted}; with so few seeds that cannot be seen."
    was = claim.verdict == "supported"
    outcome = "it is" if was else "it is not"
    judgement = "as it should be" if was == must else "so the rule fails this check"
    return f"As a control it {wanted}; {outcome}, {judgement}."


def tally(verdicts: Iterable[str]) -> str:
    """`12 claims judged: 3 supported, 2 refuted, 4 hold and 3 do not hold`."""
    counts = Counter(verdicts)
    words = {"holds": "hold", "does not hold": "do not hold"}
    said = listed(
        f"{n} {word if n == 1 else words.get(word, word)}" for word in SIGNS if (n := counts[word])
    )
    return f"{counted(counts.total(), 'claim')} judged: {said}"


def headline(claims: Claims) -> str:
    """How many claims came out how."""
    found = claims.kind("statistical", "exact")
    run = [claim for claim in found if claim.was_run]
    if not run:
        return f"None of the {counted(len(found), 'claim')} was run."
    parts = [tally(claim.verdict for claim in run)]
    if mixed := sum(bool(claim.mixed) for claim in run):
        parts.append(f"{mixed} of them {'is' if mixed == 1 else 'are'} mixed")
    if rest := len(found) - len(run):
        parts.append(f"{rest} {'was' if rest == 1 else 'were'} not run")
    return "; ".join(parts) + "."


def surprises(claims: Claims) -> str:
    """Which verdicts went against what was thought more likely, and how good the priors were."""
    decided = [c for c in claims.kind("statistical", "exact") if c.verdict in TRUE | FALSE]
    tested = [c for c in decided if not c.exact]
    if not decided:
        return ""
    against = [c for c in decided if (c.verdict in TRUE) != (c.prior > 0.5) and c.prior != 0.5]
    named = listed(f"{c.id} ({c.verdict}, prior {c.prior:g})" for c in against)
    surprise = f"The verdicts that were not expected are {named}. " if against else ""
    if not tested:
        return surprise.strip()
    score = sum((c.prior - (c.verdict in TRUE)) ** 2 for c in tested) / len(tested)
    return surprise + (
        f"The Brier score of the priors is {score:.2f} over the "
        f"{counted(len(tested), 'statistical claim')} with a definite verdict (0 is perfect, 0.25 "
        "what always saying one half would get)."
    )


def not_measured(claims: Claims) -> pd.DataFrame:
    """The studies that were not run, or lack jobs, with the claims that wait for them."""
    waiting: dict[str, list[str]] = {}
    for claim in claims.judged:
        if not claim.was_run:
            waiting.setdefault(claim.study, []).append(claim.id)
    for study in claims.headings:
        if study not in claims.studies and study != CORE:
            waiting.setdefault(study, [])
    return pd.DataFrame(
        [
            {
                "study": claims.headings.get(study, study),
                "claims without a verdict": listed(names),
                "why": "jobs are missing" if study in claims.incomplete else "not part of this run",
            }
            for study, names in sorted(waiting.items(), key=lambda item: claims.order(item[0]))
        ],
        columns=["study", "claims without a verdict", "why"],
    )


def calibration_sentence(table: pd.DataFrame) -> str:
    """How often families had a wrong verdict, and from where on the rule finds what matters."""
    wrong = table.groupby("distribution", sort=False)["family_error"].max()
    errors = listed(f"{100 * share:.0f}{SPACE}% ({name})" for name, share in wrong.items())
    worst = (
        "At the worst effect and spread, the simulated families with one wrong verdict or more, where "
        f"{100 * ALPHA:.0f}{SPACE}% are allowed, were {errors}."
    )
    sentences = [worst]
    normal = table[table["distribution"] == "normal"]
    for spread, part in normal.groupby("spread"):
        found = part.loc[part["supported"] >= 0.8, "effect"]
        if len(found):
            sentences.append(
                f"With a standard deviation of {spread:g} times the smallest effect that matters, an "
                f"effect of {found.min():g} times it is supported in at least 80{SPACE}% of them."
            )
    return " ".join(sentences)
