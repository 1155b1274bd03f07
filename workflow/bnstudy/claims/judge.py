"""From measured endpoints to verdicts: `bnstudy claims` writes the table of claims.

What is claimed, how it is measured and which effect is the smallest that matters stand in config/claims.yaml and in the
configuration, written before any result. Nothing here knows a single claim.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from pathlib import Path

import pandas as pd

from bnstudy import grid, statistics
from bnstudy.claims.endpoints import ENDPOINTS
from bnstudy.claims.endpoints.base import Endpoint, Exact, last_values, metric_endpoint
from bnstudy.claims.listed import CORE, axes_of, judged_claims
from bnstudy.cli import parser_of
from bnstudy.config import ALPHA, check_config, enabled_studies
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.files import write_table
from bnstudy.schema import SCHEMAS

SEPARATOR = "; "  # between the names in a field


@dataclass(frozen=True)
class Row:
    """A row of claims.csv, see tables/dictionary.yaml; None where there is nothing to say."""

    id: str
    kind: str
    claim: str
    line: str
    study: str
    endpoint: str
    verdict: str
    scope: str
    effect: float | None = None
    ci_low: float | None = None
    ci_high: float | None = None
    smallest_effect: float | None = None
    p: float | None = None
    p_holm: float | None = None
    effect_size: float | None = None
    share_of_seeds: float | None = None
    n: int | None = None
    unit: str = ""
    prior: float | None = None
    mixed: str = ""
    unmet: str = ""
    family: int | None = None
    level: float | None = None
    low: float | None = None
    high: float | None = None
    expected_low: float | None = None
    expected_high: float | None = None
    looked: int = 0
    reason: str = ""
    note: str = ""


def git_blob_hash(path: Path) -> str:
    """The hash under which git stores a file of this content, 40 hex digits."""
    content = path.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass(frozen=True)
class Measured:
    """The tables of a study that was run, and the endpoints computed from them."""

    study: str
    said: Mapping
    config: Mapping
    tables: Path

    def endpoint(self, claim: Mapping) -> Endpoint | Exact | None:
        """The endpoint of a claim or a reading of the study, None if what it compares was not run.

        A grid that was cut so far that endpoints cannot be formed is refused.
        """
        if "metric" not in claim:
            return self.coded.get(claim["endpoint"])
        axes = list(axes_of(self.study, self.config))
        if self.study == CORE:
            axes, table = grid.axes(self.config), self.read("runs")
            if claim["metric"] not in table and "/" in claim["metric"]:
                metrics = last_values(self.read("metrics"), claim["metric"], axes)
                table = table.merge(metrics, on=axes, how="left")
        else:
            table = self.read(self.study)
        try:
            found = metric_endpoint(claim, table, axes)
        except KeyError:
            return None
        return found if len(found.effect) else None

    @cached_property
    def coded(self) -> dict[str, Endpoint | Exact]:
        """The endpoints that are code, by name."""
        if self.study not in ENDPOINTS:
            return {}
        if self.study == CORE:
            given = [self.read(table) for table in ("runs", "metrics", "timings")]
        else:
            given = [self.read(self.study), self.said["options"]]
        try:
            return ENDPOINTS[self.study](*given)
        except (KeyError, IndexError) as error:
            raise UserError(
                f"studies.{self.study}: its claims cannot be judged, {error} is missing from its "
                "table; give it back the grid it has in config/studies.yaml, or switch it off."
            ) from error

    def read(self, table: str) -> pd.DataFrame:
        return read_table(self.tables / f"{table}.csv")


def read_table(path: Path) -> pd.DataFrame:
    """Read one of our tables; the text "none" is a normalization, not a missing value."""
    return pd.read_csv(path, keep_default_na=False, na_values=[""])


def departures(config: dict, study: str) -> list[str]:
    """In what a study was run otherwise than as it is shipped, which the scopes of claims describe."""
    shipped = read_yaml(SCHEMAS / "registered.yaml")
    if study == CORE:
        mine, usual = grid.base(config), grid.base(shipped)
        parts = {"grid": (config["grid"], shipped["grid"]), "": (mine, mine | usual)}
    else:
        used, registered = config["studies"][study], shipped["studies"].get(study, {})
        names = ("seeds", "grid", "settings", "variants", "options")
        parts = {"grid.dataset": (config["grid"]["dataset"], shipped["grid"]["dataset"])}
        parts |= {name: (used.get(name, {}), registered.get(name, {})) for name in names}
    pairs = []
    for name, (mine, usual) in parts.items():
        if isinstance(mine, dict) and isinstance(usual, dict):
            pairs += [(f"{name}.{key}".lstrip("."), mine[key], usual.get(key)) for key in mine]
        else:
            pairs.append((name, mine, usual))
    return [f"{name} {value}" for name, value, usual in pairs if value != usual]


def actual_scope(claim: dict, config: dict) -> str:
    """The scope of a claim, corrected where the configuration departs from the shipped one."""
    # Something is expected of the study as it is shipped.
    if claim["expected"] and (changed := departures(config, claim["study"])):
        return f"not as registered, but with {'; '.join(changed)} (registered: {claim['scope']})"
    return claim["scope"]


def judge(claims: list[dict], measured: dict[str, Endpoint | Exact]) -> list[Row]:
    """Give every claim its verdict.

    All statistical claims are one family, in which those that were not measured count too, so that leaving studies out
    never makes a verdict easier. Controls and exploratory claims stand alone.
    """
    family = [claim for claim in claims if claim["kind"] == "statistical"]
    alone = [[claim] for claim in claims if claim["kind"] not in ("statistical", "exact")]
    found = {}
    for together in (family, *alone):
        asked = [question(claim, measured.get(claim["id"])) for claim in together]
        answers = zip(together, statistics.verdicts(asked, ALPHA), strict=True)
        found |= {claim["id"]: (answer, len(together)) for claim, answer in answers}
    return [row_of(claim, measured.get(claim["id"]), *found.get(claim["id"], (None, None))) for claim in claims]


def question(claim: Mapping, endpoint: Endpoint | None) -> statistics.Question:
    """A claim as the rule sees it. Conditions all have to hold, so the largest of their p counts.

    (An intersection-union test, which needs no correction.)
    """
    if endpoint is None:
        return statistics.Question((), claim["smallest_effect"])
    needed = [
        max((p_above_zero(one) for one in conditions.values()), default=0.0)
        for conditions in (endpoint.conditions, endpoint.validity)
    ]
    d, delta = endpoint.effect.to_numpy(dtype=float), claim["smallest_effect"]
    return statistics.Question(d, delta, *needed, bounded=endpoint.bounded)


def p_above_zero(condition: Endpoint) -> float:
    """p of a condition, 1 where its effect is on the wrong side."""
    if not condition.effect.mean() > 0:
        return 1.0
    return statistics.sign_flip(condition.effect).p() if condition.p is None else condition.p


def row_of(
    claim: Mapping, endpoint: Endpoint | Exact | None, answer: statistics.Verdict | None, family: int | None
) -> Row:
    """The row of a claim: what was written of it, what was measured, and its verdict."""
    known = ("id", "kind", "claim", "line", "study", "endpoint", "scope", "prior")
    row = {key: claim[key] for key in known} | {"looked": int(claim.get("looked", False))}
    if endpoint is None:
        return Row(**row, verdict="not run", reason="what it compares was not run")
    row["note"] = endpoint.note
    if isinstance(endpoint, Exact):
        return Row(
            **row,
            verdict="holds" if endpoint.holds else "does not hold",
            effect=endpoint.value,
            smallest_effect=endpoint.tolerance,
            reason=f"worst error {endpoint.value:.3g}, tolerance {endpoint.tolerance:.3g}",
        )
    test = statistics.sign_flip(endpoint.effect.to_numpy(dtype=float))
    delta, summary = claim["smallest_effect"], test.summary()
    summary["effect"] = summary.pop("mean")
    low, high = test.interval(answer.level)
    missing: list[str] = []
    if answer.verdict == "inconclusive":
        needed = endpoint.validity | (endpoint.conditions if low > delta else {})
        missing = [name for name, one in needed.items() if p_above_zero(one) >= answer.level]
    # The cells that came out the other way, each a question of one family.
    other = "refuted" if answer.verdict == "supported" else "supported"
    asked = [statistics.Question(d.to_numpy(dtype=float), delta) for d in endpoint.cells.values()]
    cells = zip(endpoint.cells, statistics.verdicts(asked, ALPHA), strict=True)
    opposite = [name for name, one in cells if one.verdict == other]
    expected = zip(("expected_low", "expected_high"), claim.get("expected_range", ()), strict=False)
    return Row(
        **row,
        **summary,
        **dict(expected),
        verdict=answer.verdict,
        smallest_effect=delta,
        p_holm=answer.p_holm,
        unit=endpoint.unit,
        mixed=SEPARATOR.join(opposite),
        unmet=SEPARATOR.join(missing),
        family=family,
        level=answer.level,
        low=low,
        high=high,
        reason=reason(answer, endpoint, delta, (low, high), missing),
    )


def reason(
    answer: statistics.Verdict, endpoint: Endpoint, delta: float, interval: tuple[float, float], missing: list[str]
) -> str:
    """Why the verdict is what it is."""
    n, level = len(endpoint.effect), answer.level
    if statistics.smallest_p(n) >= level:
        return f"the smallest p that n = {n} seeds can give is not below the level left, {level:.2g}"
    where = f"the {100 * (1 - level):.4g} % interval {interval[0]:+.3g} to {interval[1]:+.3g}"
    if missing:
        return f"{where} decides alone, but what it needs as well was not shown"
    if endpoint.bounded and interval[1] < delta:
        return f"{where} is a lower bound, for too many targets were never reached"
    if answer.equivalent:
        return f"equivalent: {where} lies within +-{delta:g}"
    words = {
        "supported": f"lies above {delta:g}",
        "refuted": f"lies below {-delta:g}",
        "not supported": f"lies below {delta:g}",
        "inconclusive": f"holds the smallest effect that matters, {delta:g}",
    }
    return f"{where} {words[answer.verdict]}"


def effect_rows(measured: dict[str, Endpoint | Exact]) -> Iterator[dict]:
    """Every seed's effect behind the verdicts; the cell "all" is the endpoint itself."""
    for name, endpoint in measured.items():
        if isinstance(endpoint, Endpoint):
            for cell, effects in ({"all": endpoint.effect} | endpoint.cells).items():
                for seed, effect in effects.items():
                    yield {"id": name, "cell": cell, "seed": seed, "effect": effect}


def judge_all(path: Path, config: dict, tables: Path, out: Path, incomplete: Mapping[str, str] = {}) -> None:
    """Write claims.csv and claim_effects.csv; `incomplete` says of studies why they have no verdict yet."""
    claims = judged_claims(path, config)
    studies = {CORE: {"options": {}}} | enabled_studies(config)
    ready = {name: Measured(name, said, config, tables) for name, said in studies.items() if name not in incomplete}
    measured = {
        claim["id"]: endpoint
        for claim in claims
        if claim["study"] in ready and (endpoint := ready[claim["study"]].endpoint(claim))
    }
    claims = [claim | {"scope": actual_scope(claim, config)} for claim in claims]
    rows = [
        replace(row, reason=incomplete[row.study]) if row.study in incomplete else row
        for row in judge(claims, measured)
    ]
    write_table(out / "claims.csv", [field.name for field in fields(Row)], map(asdict, rows))
    write_table(out / "claim_effects.csv", ["id", "cell", "seed", "effect"], effect_rows(measured))


def main(argv: list[str]) -> None:
    parser = parser_of("claims")
    parser.add_argument("claims", type=Path, help="config/claims.yaml")
    parser.add_argument("--config", type=Path, required=True, help="results/run_config.yaml")
    parser.add_argument("--tables", type=Path, required=True, help="folder of the tables")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    arguments = parser.parse_args(argv)
    config = read_yaml(arguments.config)
    check_config(config)  # completes it, with the user's plug-ins
    judge_all(arguments.claims, config, arguments.tables, arguments.out)
