"""The tables of claims and verdicts: scorecard, errata, published values, what else was measured."""

import math
from collections.abc import Sequence

import pandas as pd

from bnstudy import statistics
from bnstudy.claims.endpoints.init_gradients import growth_by_network
from bnstudy.claims.endpoints.small_batches import errors
from bnstudy.claims.endpoints.trend import page_test
from bnstudy.claims.judge import git_blob_hash
from bnstudy.claims.listed import version_of
from bnstudy.config import ALPHA
from bnstudy.provenance import came_before, last_commit
from bnstudy.report.amounts import effect_cell, interval, small, threshold, typographic
from bnstudy.report.exhibits import INTERVAL
from bnstudy.report.measures import SPACE, capitalized, counted, decimal, listed, p_text
from bnstudy.report.rendering import slug
from bnstudy.report.tables import Code, Exhibit, Link
from bnstudy.report.verdicts import (
    LOOKED,
    Claims,
    Judged,
    not_measured,
    quoted,
    quotes,
    short_name,
    verdict_word,
)


def scorecard(claims: Claims) -> Exhibit | None:
    """A row per statistical claim that was run."""
    found = [claim for claim in claims.kind("statistical") if claim.was_run]
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
    if not rows:
        return None
    family = len(claims.kind("statistical"))
    return Exhibit(
        "scorecard",
        f"Statistical claims: effect, {INTERVAL} and verdict. Effects are oriented so that above "
        "zero, or above one for ratios (\N{MULTIPLICATION SIGN}), is as the claim says; pp are "
        f"percentage points. p is that of no effect, uncorrected; the verdicts are corrected for all "
        f"{family} claims, also those not run. {marked(found)}The prior is the probability given to the claim beforehand. Each claim leads to its evidence.",
        pd.DataFrame(rows),
        {"p": p_text, "prior": lambda x: f"{x:g}"},
        words=("verdict",),
    )


def marked(claims: Sequence[Judged]) -> str:
    """What the mark of entries stands for, where there are any."""
    if not any(claim.looked for claim in claims):
        return ""
    return (
        f"Claims with {LOOKED} were written or changed knowing the results of earlier seeds, which are "
        "not among these. "
    )


def exact(claims: Claims, study: str) -> Exhibit | None:
    """The exact statements of a study: a row each, with its error and what was seen."""
    found = [claim for claim in claims.of(study) if claim.exact]
    rows = [
        {
            "statement": typographic(claim.name) + quoted(claim, str),
            "verdict": claim.verdict,
            "largest error": claim.effect,
            "allowed": claim.smallest_effect,
            "prior": claim.prior,
            "what was seen": capitalized(typographic(claim.note)),
        }
        for claim in found
    ]
    if not rows:
        return None
    return Exhibit(
        f"exact-{study.replace('_', '-')}",
        "Exact statements: they hold if the largest error is within what rounding, or the theory, "
        "allows.",
        pd.DataFrame(rows),
        {"largest error": small, "allowed": small, "prior": lambda x: f"{x:g}"},
        words=("verdict", "what was seen"),
        fold=f"{counted(len(rows), 'exact statement')}, "
        f"{sum(c.verdict == 'holds' for c in found)} of which hold",
    )


def not_run(claims: Claims) -> Exhibit | None:
    """The studies that were not run, in one small table."""
    frame = not_measured(claims)
    if frame.empty:
        return None
    return Exhibit(
        "not-run",
        "Studies that this report does not have, and the claims that have no verdict without them. "
        "`make full` runs every study.".replace("`", ""),
        frame,
        words=("claims without a verdict", "why"),
    )


def further(claims: Claims, study: str) -> Exhibit | None:
    """What a study measures besides its claims, with uncorrected p-values."""
    rows = []
    for title, endpoint in claims.further(study).items():
        d = endpoint.effect.to_numpy(float)
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
    if not rows:
        return None
    return Exhibit(
        f"further-{study}",
        f"What else {claims.headings[study].split()[0]} measured: exploratory, p not corrected. Ratios "
        f"(\N{MULTIPLICATION SIGN}) stand beside differences; the last column counts the seeds "
        "with an effect above zero, for ratios above one.",
        pd.DataFrame(rows),
        {"p": p_text},
        fold="Further measures" if claims.of(study) else "",
    )


def checks(table: pd.DataFrame) -> Exhibit:
    """Every row of the identities, folded away."""
    frame = pd.DataFrame(
        {
            "quantity": [typographic(text) for text in table["quantity"]],
            "check": table["check"],
            "value": table["value"],
            "should be": table["reference"],
            "tolerance": table["tolerance"],
            "result": ["holds" if holds else "does not hold" for holds in table["holds"]],
        }
    )
    return Exhibit(
        "checks",
        "Every single check. Where a statement is wrong as it stands, the third column is what the "
        "statement says, so that the check does not hold.",
        frame,
        dict.fromkeys(("value", "should be", "tolerance"), small),
        words=("check", "result"),
        fold=f"All {counted(len(frame), 'check')}",
    )


def errata(claims: Claims) -> Exhibit:
    """Wrong or imprecise statements, their corrections, and what shows them here."""
    rows = []
    for erratum in quotes()["errata"]:
        claim, (line, said) = claims[erratum["shown"]], erratum.get("quote", ("", ""))
        found = Link("both arms, every seed", erratum["shown"])
        if claim is not None:
            found = Link(f"{claim.id}: {verdict_word(claim)}", slug(claim.heading))
            if not claim.was_run:
                found = f"{claim.id}: not run"
        rows.append(
            {
                "erratum": erratum["id"],
                "the text": f"“{said}” (line{SPACE}{line})" if said else "",
                "what is right": typographic(erratum["right"]),
                "shown by": found,
            }
        )
    return Exhibit(
        "errata",
        f"Wrong or imprecise statements of the text ({quotes()['source']}), and what is right.",
        pd.DataFrame(rows),
        words=("the text", "what is right", "shown by"),
    )


def published(claims: Claims) -> Exhibit:
    """Published values beside ours."""
    rows = [
        *growth_rows(claims),
        first_experiment(claims),
        *(direction(claims, *fixed) for fixed in DIRECTIONS),
        group_row(claims),
        identity_row(claims),
        library_row(claims),
    ]
    columns = ("quantity", "source", "published", "ours", "accepted", "outcome")
    return Exhibit(
        "published",
        "Published values beside ours. Where networks or data differ, only the direction can be "
        "compared; it agrees if the 95 % interval of our effect lies on that side of zero.",
        pd.DataFrame([dict(zip(columns, row, strict=True)) for row in rows]),
        words=columns[1:],
    )


def outcome(agrees: bool) -> str:
    return "agrees" if agrees else "does not agree"


def growth_rows(claims: Claims) -> list[tuple]:
    """H1: the growth of gradients at initialization per batch size."""
    source = "Yang et al. 2019, theorem 8"
    label = "H1: squared gradient norm, growth a layer"
    accepted = "within the standard error of twelve networks, corrected"
    if "init_gradients" not in claims.studies:
        return [(label, source, "1.52 to 1.47 (ReLU)", "", accepted, "not run")]
    options = claims.studies["init_gradients"]["options"]
    growth = growth_by_network(claims.table("init_gradients"), options)
    rows = []
    for network, kind in (("batch_relu", "ReLU"), ("batch_linear", "linear")):
        if network in growth.index.get_level_values(0):
            for size, row in growth.loc[network].iterrows():
                error = row["measured"] / row["theory"] - 1
                ours = f"{row['measured']:.3f} ({decimal(100 * error, 1, signed=True)}{SPACE}%)"
                quantity = f"{label}, {kind}, B = {size}"
                agrees = outcome(abs(row["z"]) <= row["limit"])
                rows.append((quantity, source, f"{row['theory']:.4g}", ours, accepted, agrees))
    return rows


def first_experiment(claims: Claims) -> tuple:
    claim = claims["H6"]
    fixed = (
        "H6: accuracy of the normalized sigmoid network on MNIST",
        "Ioffe and Szegedy 2015, figure 1a",
        "above the other throughout",
    )
    if claim is None or not claim.was_run:
        return (*fixed, "", "at every checkpoint", "not run")
    agrees = outcome(claim.verdict == "holds")
    return (*fixed, typographic(claim.note), "at every checkpoint", agrees)


# Of which only the direction can be compared: claim, side of zero that was published, quantity, value.
DIRECTIONS = (
    ("B2", -1, "loss with noise after batch normalization, over no normalization", "clearly better than none"),
    ("B1b", -1, "covariate shift as cosine of gradients, batch minus none", "no less shift with it"),
    ("B9", 1, "smoothness along the gradient, none over batch", "smoother, by up to 2 decades"),
    ("B18", 1, "test accuracy, batch minus none", f"+3{SPACE}pp (83 against 80{SPACE}%)"),
)  # fmt: skip
SANTURKAR = "Santurkar et al. 2018, figures 1, 2 and 4; VGG, CIFAR-10"


def direction(claims: Claims, name: str, sign: int, quantity: str, value: str) -> tuple:
    """A row that compares nothing but the sign of a claim's effect, mean and interval."""
    claim = claims[name]
    fixed, accepted = (f"H9: {quantity}", SANTURKAR, value), f"direction ({name})"
    if claim is None or not claim.was_run:
        return (*fixed, "", accepted, "not run")
    low, high = sorted((sign * claim.ci_low, sign * claim.ci_high))
    seen = low > 0 or high < 0
    ours = effect_cell(claim.effect, claim.unit)
    ours += f" ({interval(claim.ci_low, claim.ci_high, claim.unit)})"
    return (*fixed, ours, accepted, outcome(low > 0) if seen else "cannot be seen")


# Accuracies on the test images of networks that are most like ours, with the study that comes nearest in
# budget, and in what it differs all the same. Nobody has published this network with this budget.
LONG = ("mnist", "long_training", {"scaling": "standardize"})
FASHION = ("fashion_mnist", "fashion", {"batch_size": 64})
ONE_LAYER = "one hidden layer of 100 ReLU, all 60,000 training images, scikit-learn"
ACCURACIES = (
    ("LeCun et al. 1998, figure 9", "784-300-100-10, MNIST", 96.95, LONG, "wider layers of sigmoid units, squared error, all 60,000 training images"),
    ("Xiao et al. 2017, table 3", "784-100-10, MNIST", 97.2, LONG, ONE_LAYER),
    ("Xiao et al. 2017, table 3", "784-100-10, Fashion-MNIST", 87.1, FASHION, ONE_LAYER),
)  # fmt: skip


def accuracies(claims: Claims) -> Exhibit | None:
    """Published test accuracies of plain networks beside ours, in percent; None where none was run."""
    rows = []
    for source, network, value, (dataset, study, cells), differs in ACCURACIES:
        declared = claims.studies.get(study)
        first = claims.config["grid"]["dataset"][:1]
        if declared is None or dataset not in declared["grid"].get("dataset", first):
            continue
        table = claims.table(study)
        table = table[(table[list(cells)] == pd.Series(cells)).all(axis=1)]
        ours = 100 * table.groupby("norm")["test_accuracy"].mean()
        settings = declared["settings"] | cells
        rows.append(
            {
                "network": network,
                "source": source,
                "published (%)": decimal(value, 2),
                **{f"ours, {norm} (%)": decimal(ours[norm], 2) for norm in ("none", "batch")},
                "ours": f"784-128-64-10, {settings['epochs']} epochs at batch size 64",
                "the other": differs,
            }
        )
    if not rows:
        return None
    return Exhibit(
        "accuracies",
        "Published accuracies on the test images beside ours. No network, budget or split is the same, so "
        "what can be asked is whether ours is in the range.",
        pd.DataFrame(rows),
        words=("network", "source", "ours", "the other"),
    )


def group_row(claims: Claims) -> tuple:
    """H10: error against the number of images normalized together."""
    fixed = (
        "H10: error by images normalized together",
        "Wu and He 2018; ResNet-50, ImageNet",
        f"23.6, 23.7, 24.8, 27.3, 34.7{SPACE}% at 32, 16, 8, 4, 2",
    )
    accepted = "rises as groups shrink (Page's test)"
    if "small_batches" not in claims.studies:
        return (*fixed, "", accepted, "not run")
    table = errors(claims.table("small_batches"), "groups", "ghost", "running", "group_size")
    falling = table[[size for size in sorted(table, reverse=True) if size <= 32]]
    if len(falling.columns) < 3 or len(falling) < 2:
        return (*fixed, "too few groups or seeds", accepted, "cannot be seen")
    means, p = falling.mean(), page_test(falling)
    ours = (
        f"{', '.join(decimal(x, 2) for x in means)}{SPACE}% at "
        f"{', '.join(f'{size:g}' for size in means.index)}; p {p_text(p)}"
    )
    agrees = outcome(means.iloc[-1] > means.iloc[0]) if p < ALPHA else "cannot be seen"
    return (*fixed, ours, accepted, agrees)


def identity_row(claims: Claims) -> tuple:
    """H12: the identities, which have no error at all on paper."""
    names = ("M1", "M2", "M3a", "M4", "M6", "M7", "M8", "M9", "S4.1")
    run = [claim for name in names if (claim := claims[name]) and claim.was_run]
    fixed = ("H12: exact identities of the layer", "Ioffe and Szegedy 2015", "no error")
    if not run:
        return (*fixed, "", "the tolerance of each", "not run")
    failed = [claim.id for claim in run if claim.verdict != "holds"]
    largest = max(run, key=lambda claim: claim.effect)
    ours = f"{len(run) - len(failed)} of {len(run)} hold"
    ours += f", not {listed(failed)}" if failed else ""
    ours += f"; largest error {small(largest.effect)} ({largest.id})"
    return (*fixed, ours, "the tolerance of each", outcome(not failed))


def library_row(claims: Claims) -> tuple:
    """H13: PyTorch's own operation against the formulas in numpy, forward and backward."""
    fixed = (
        "H13: the layer and its gradients in numpy",
        "PyTorch's own operation",
        "no difference",
    )
    claim = claims["M1"]
    if claim is None or not claim.was_run:
        return (*fixed, "", "the tolerance of M1", "not run")
    ours = f"differ by no more than {small(claim.effect)}"
    accepted = f"{small(claim.smallest_effect)} (M1)"
    return (*fixed, ours, accepted, outcome(claim.verdict == "holds"))


def history(claims: Claims) -> Exhibit | None:
    """What was changed in the list of claims after results had been seen."""
    rows = [
        {"claim": claim.id, "change, and why": typographic(text)}
        for claim in claims.judged
        for text in claim.history
    ]
    if not rows:
        return None
    return Exhibit(
        "history",
        "Changes of the list of claims since it was first written, as recorded in claims.yaml.",
        pd.DataFrame(rows),
        words=("change, and why",),
    )


def registration(claims: Claims) -> Exhibit:
    """Which list of claims was judged, and whether it was committed before the runs that judge it."""
    listed_at = last_commit(claims.path)
    ran_at = sorted(set(claims.table("runs")["git_commit"]))
    first = sorted({came_before(listed_at, commit) for commit in ran_at})
    looked = [claim.id for claim in claims.judged if claim.looked]
    rows: list[tuple[str, object]] = [
        ("version of the list of claims", version_of(claims.path)),
        ("its hash by `git hash-object`", Code(git_blob_hash(claims.path))),
        ("its commit", Code(listed_at)),
        ("commit of the runs", Code(", ".join(ran_at))),
        ("is the first an ancestor of the second?", ", ".join(first)),
        (
            "entries written or changed knowing the results of earlier seeds",
            ", ".join(looked) or "none",
        ),
    ]
    return Exhibit(
        "registration",
        "Whether the claims were written before the runs that judge them: if the commit of the list is "
        "an ancestor of that of the runs, no result can have changed an entry. Another list has another "
        "hash.",
        pd.DataFrame(rows, columns=["item", "value"]),
        words=("value",),
    )
