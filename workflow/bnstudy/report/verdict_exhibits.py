"""The tables of claims and verdicts: scorecard, errata, published values, what else was measured."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd

from bnstudy import statistics
from bnstudy.claims.endpoints.base import page_test
from bnstudy.claims.endpoints.inference import errors
from bnstudy.claims.endpoints.initialization import growth_by_network
from bnstudy.claims.judge import Measured, git_blob_hash
from bnstudy.claims.listed import CORE, complete, read
from bnstudy.config import ALPHA
from bnstudy.errors import UserError
from bnstudy.provenance import came_before, last_commit
from bnstudy.report.amounts import effect_cell, interval, small, threshold, typographic
from bnstudy.report.measures import SPACE, capitalized, decimal, listed, p_text
from bnstudy.report.rendering import slug
from bnstudy.report.tables import DECLARED, Code, Exhibit, Link, exhibit
from bnstudy.report.verdicts import LOOKED, Claims, Judged, quoted, quotes, short_name, verdict_word
from bnstudy.report.words import INTERVAL, Words, say


def scorecard(claims: Claims) -> Exhibit | None:
    """A row per statistical claim that was run."""
    statistical = claims.kind("statistical")
    found = [claim for claim in statistical if claim.was_run]
    rows = [
        {
            "claim": Link(short_name(claim), slug(claim.heading)),
            "verdict": verdict_word(claim),
            "effect": effect_cell(claim.effect, claim.unit),
            INTERVAL: interval(claim.ci_low, claim.ci_high, claim.unit),
            "smallest that matters": threshold(claim.smallest_effect, claim.unit, short=True),
            "p": claim.p,
            "prior": claim.prior,
            "n": claim.n,
        }
        for claim in found
    ]
    looked = say("verdicts", "looked", mark=LOOKED) if any(c.looked for c in found) else ""
    return exhibit("scorecard", rows, family=len(statistical), looked=looked)


def exact(claims: Claims, study: str) -> Exhibit | None:
    """The exact statements of a study: a row each, with its error and what was seen."""
    found = [claim for claim in claims.of(study) if claim.exact]
    rows = [
        {
            "statement": typographic(f"{claim.id}: {claim.claim}") + quoted(claim, str),
            "verdict": claim.verdict,
            "largest error": claim.effect,
            "allowed": claim.smallest_effect,
            "prior": claim.prior,
            "what was seen": capitalized(typographic(claim.note)),
        }
        for claim in found
    ]
    holding = sum(claim.verdict == "holds" for claim in found)
    return exhibit("exact", rows, label=f"exact-{study.replace('_', '-')}", holding=holding)


def not_run(claims: Claims) -> Exhibit | None:
    """The studies that were not run, or lack jobs, with the claims that wait for them."""
    waiting = {study: [] for study in claims.headings if study not in [*claims.studies, CORE]}
    for claim in claims.judged:
        if not claim.was_run:
            waiting.setdefault(claim.study, []).append(claim.id)
    order = [*claims.headings, *waiting]
    rows = [
        {
            "study": claims.headings.get(study, study),
            "claims without a verdict": listed(waiting[study]),
            "why": "jobs are missing" if study in claims.incomplete else "not part of this run",
        }
        for study in sorted(waiting, key=order.index)
    ]
    return exhibit("not-run", rows)


def further(claims: Claims, study: str) -> Exhibit | None:
    """What a study measures besides its claims, with uncorrected p-values; folded behind claims.

    None where its grid was cut too far, and without what cannot be known, such as seconds per step where
    every run diverged.
    """
    if study not in claims.studies:
        return None
    measured = Measured(study, claims.studies[study], claims.config, claims.tables)
    further = [complete(one, claims.config) for one in read(claims.path)["further"]]
    asked = [one for one in further if one["study"] == study]
    try:
        found = {one["short"]: measured.endpoint(one) for one in asked}
    except UserError:
        return None
    rows = []
    for title, endpoint in found.items():
        d = np.zeros(0) if endpoint is None else endpoint.effect.to_numpy(float)
        if not len(d) or not np.isfinite(d).all():
            continue
        low, high = statistics.interval(d)
        rows.append(
            {
                "measure": typographic(title),
                "effect": effect_cell(statistics.mean(d), endpoint.unit),
                INTERVAL: interval(low, high, endpoint.unit) if not math.isnan(low) else "n/a",
                "p": statistics.sign_flip_test(d) if len(d) > 1 else math.nan,
                "above zero": f"{int((d > 0).sum())}/{len(d)}",
            }
        )
    words = {"code": claims.headings[study].split()[0]}
    words |= {"fold": "Further measures" if claims.of(study) else ""}
    return exhibit("further", rows, label=f"further-{study}", **words)


def checks(table: pd.DataFrame) -> Exhibit:
    """Every row of the identities, folded away."""
    frame = table[["quantity", "check", "value", "reference", "tolerance"]]
    frame = frame.assign(
        quantity=table["quantity"].map(typographic),
        result=np.where(table["holds"] == 1, "holds", "does not hold"),
    )
    return exhibit("checks", frame.rename(columns={"reference": "should be"}))


def errata(claims: Claims) -> Exhibit:
    """Wrong or imprecise statements, their corrections, and what shows them here."""
    rows = []
    for erratum in quotes()["errata"]:
        claim, (line, said) = claims[erratum["shown"]], erratum.get("quote", ("", ""))
        found = Link("both arms, every seed", erratum["shown"])
        if claim is not None:
            found = Link(f"{claim.id}: {verdict_word(claim)}", slug(claim.heading))
            found = found if claim.was_run else found.text
        rows.append(
            {
                "erratum": erratum["id"],
                "the text": f"“{said}” (line{SPACE}{line})" if said else "",
                "what is right": typographic(erratum["right"]),
                "shown by": found,
            }
        )
    return exhibit("errata", rows, source=quotes()["source"])


def published(claims: Claims) -> Exhibit:
    """Published values beside ours, as declared in report/tables.yaml."""
    rows = []
    for declared in DECLARED["rows of published"]:
        claim = claims[declared.get("claim")]
        words = dict.fromkeys(("note", "error", "allowed"))
        if claim is not None:
            words |= {"note": typographic(claim.note), "error": small(claim.effect)}
            words |= {"allowed": small(claim.smallest_effect)}
        said = Words().filled(declared, words)
        row = {key: said[key] for key in ("quantity", "source", "published")}
        row |= {"ours": "", "accepted": said["accepted"], "outcome": "not run"}
        if said.get("study") in claims.studies or (claim is not None and claim.was_run):
            rows += [row | found for found in READ[said["read"]](claims, claim, said)]
        else:
            rows.append(row)
    return exhibit("published", rows)


def outcome(agrees: bool, seen: bool = True) -> str:
    return "cannot be seen" if not seen else "agrees" if agrees else "does not agree"


def growth(claims: Claims, _: None, said: dict) -> Iterator[dict]:
    """The growth of gradients at initialization, a row per network and batch size."""
    options = claims.studies["init_gradients"]["options"]
    found = growth_by_network(claims.table("init_gradients"), options)
    kinds = {"batch_relu": "ReLU", "batch_linear": "linear"}
    for network in filter(set(found.index.get_level_values(0)).__contains__, kinds):
        for size, row in found.loc[network].iterrows():
            error = decimal(100 * (row["measured"] / row["theory"] - 1), 1, signed=True)
            yield {
                "quantity": f"{said['quantity']}, {kinds[network]}, B = {size}",
                "published": f"{row['theory']:.4g}",
                "ours": f"{row['measured']:.3f} ({error}{SPACE}%)",
                "outcome": outcome(abs(row["z"]) <= row["limit"]),
            }


def stated(claims: Claims, claim: Judged, said: dict) -> Iterator[dict]:
    """A claim that is a statement, in the words declared for one that was checked."""
    yield said["checked"] | {"outcome": outcome(claim.verdict == "holds")}


def direction(claims: Claims, claim: Judged, said: dict) -> Iterator[dict]:
    """Nothing but the sign of a claim's effect is compared, mean and interval."""
    low, high = sorted((said["sign"] * claim.ci_low, said["sign"] * claim.ci_high))
    ends = interval(claim.ci_low, claim.ci_high, claim.unit)
    ours = f"{effect_cell(claim.effect, claim.unit)} ({ends})"
    yield {"ours": ours, "outcome": outcome(low > 0, seen=low > 0 or high < 0)}


def groups(claims: Claims, _: None, said: dict) -> Iterator[dict]:
    """Error against the number of images normalized together."""
    table = errors(claims.table("small_batches"), "groups", "ghost", "running", "group_size")
    falling = table[[size for size in sorted(table, reverse=True) if size <= 32]]
    if len(falling.columns) < 3 or len(falling) < 2:
        yield {"ours": "too few groups or seeds", "outcome": outcome(False, seen=False)}
        return
    means, p = falling.mean(), page_test(falling)
    sizes = ", ".join(f"{size:g}" for size in means.index)
    ours = f"{', '.join(decimal(x, 2) for x in means)}{SPACE}% at {sizes}; p {p_text(p)}"
    yield {"ours": ours, "outcome": outcome(means.iloc[-1] > means.iloc[0], seen=p < ALPHA)}


def exactly(claims: Claims, _: Judged, said: dict) -> Iterator[dict]:
    """The identities, which have no error at all on paper."""
    run = [claim for name in said["claims"] if (claim := claims[name]) and claim.was_run]
    failed = [claim.id for claim in run if claim.verdict != "holds"]
    largest = max(run, key=lambda claim: claim.effect)
    ours = f"{len(run) - len(failed)} of {len(run)} hold"
    ours += f", not {listed(failed)}" if failed else ""
    ours += f"; largest error {small(largest.effect)} ({largest.id})"
    yield {"ours": ours, "outcome": outcome(not failed)}


READ = {f.__name__: f for f in (growth, stated, direction, groups, exactly)}


def accuracies(claims: Claims) -> Exhibit | None:
    """Published test accuracies of plain networks beside ours, in percent; None where none was run."""
    rows = []
    for said in DECLARED["rows of accuracies"]:
        declared, cells = claims.studies.get(said["study"]), said["cells"]
        first = claims.config["grid"]["dataset"][:1]
        if declared is None or said["dataset"] not in declared["grid"].get("dataset", first):
            continue
        table = claims.table(said["study"])
        table = table[(table[list(cells)] == pd.Series(cells)).all(axis=1)]
        ours = 100 * table.groupby("norm")["test_accuracy"].mean()
        epochs = (declared["settings"] | cells)["epochs"]
        rows.append(
            {
                "network": said["network"],
                "source": said["source"],
                "published (%)": decimal(said["published"], 2),
                **{f"ours, {norm} (%)": decimal(ours[norm], 2) for norm in ("none", "batch")},
                "ours": f"784-128-64-10, {epochs} epochs at batch size 64",
                "the other": said["differs"],
            }
        )
    return exhibit("accuracies", rows)


def history(claims: Claims) -> Exhibit | None:
    """What was changed in the list of claims after results had been seen."""
    rows = [
        {"claim": claim.id, "change, and why": typographic(text)}
        for claim in claims.judged
        for text in claim.history
    ]
    return exhibit("history", rows)


def registration(claims: Claims) -> Exhibit:
    """Which list of claims was judged, and whether it was committed before the runs that judge it."""
    listed_at = last_commit(claims.path)
    ran_at = sorted(set(claims.table("runs")["git_commit"]))
    first = sorted({came_before(listed_at, commit) for commit in ran_at})
    looked = ", ".join(claim.id for claim in claims.judged if claim.looked) or "none"
    rows = {
        "version of the list of claims": read(claims.path)["version"],
        "its hash by `git hash-object`": Code(git_blob_hash(claims.path)),
        "its commit": Code(listed_at),
        "commit of the runs": Code(", ".join(ran_at)),
        "is the first an ancestor of the second?": ", ".join(first),
        "entries written or changed knowing the results of earlier seeds": looked,
    }
    return exhibit("registration", rows.items())
