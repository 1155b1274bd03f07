"""Every wording a verdict can get, from endpoints made for it, and the exhibits built on them."""

import math
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import yaml

from bnstudy.claims import judge as engine
from bnstudy.claims import listed
from bnstudy.claims.endpoints.base import Endpoint, Exact
from bnstudy.config import default_studies
from bnstudy.errors import UserError
from bnstudy.files import write_rows
from bnstudy.report import verdict_exhibits, verdicts, words
from bnstudy.report.figures import FIGURES
from bnstudy.report.svg import compact, short_name
from conftest import ROOT

LIST = ROOT / "config" / "claims.yaml"
UP = np.array([1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 1.15, 0.85, 1.0])  # n = 10: p = 2/1024
MIXED = np.array([5, -4, 3, -2, 6, -5, 4, -3, 2, 1.0])


def entry(name="B3", kind="statistical", **more) -> dict:
    written = {
        "id": name,
        "kind": kind,
        "claim": "Training converges faster",
        "line": "61, 62",
        "study": "core",
        "endpoint": "e",
        "measure": "ln of the steps",
        "unit": "percentage points",
        "smallest_effect": 0.5,
        "prior": 0.9,
        "expected": "supported",
        "scope": "a small network",
        "source": "a paper",
    }
    if kind == "exact":
        del written["unit"], written["smallest_effect"]
    return written | more


def series(values) -> pd.Series:
    return pd.Series(np.asarray(values, dtype=float))


def endpoint(values=UP, **more) -> Endpoint:
    cells = {name: series(v) for name, v in more.pop("cells", {}).items()}
    return Endpoint(series(values), "percentage points", cells, **more)


def write(folder: Path, entries: list[dict], measured: dict, config: dict | None = None) -> verdicts.Claims:
    """Judge made-up endpoints and read the tables back, as the report does."""
    config = config or {}
    folder.mkdir(parents=True, exist_ok=True)
    text = yaml.safe_dump({"claims": entries}, allow_unicode=True)
    (folder / "claims.yaml").write_text(text)
    entries = listed.judged_claims(folder / "claims.yaml", config)
    rows = [asdict(row) for row in engine.judge(entries, measured)]
    with (folder / "claims.csv").open("w", newline="") as file:
        write_rows(file, list(rows[0]), rows)
    with (folder / "claim_effects.csv").open("w", newline="") as file:
        write_rows(file, ["id", "cell", "seed", "effect"], engine.effect_rows(measured))
    return verdicts.Claims.load(folder / "claims.yaml", folder, config)


@pytest.fixture
def judge(tmp_path):
    """A judged claim from its endpoint, None for one that was not run."""

    def one(measured, **more) -> verdicts.Judged:
        listed = entry(**more)
        found = {} if measured is None else {listed["id"]: measured}
        return write(tmp_path, [listed], found).judged[0]

    return one


def plain(text: str) -> str:
    """Markdown without its escapes, special spaces and dashes; the multiplication sign is an x."""
    text = re.sub(r"\\(.)", r"\1", text).replace("\N{NO-BREAK SPACE}", " ")
    text = text.replace("\N{MULTIPLICATION SIGN}", "x")
    return text.replace("\N{MINUS SIGN}", "-").replace("\N{EN DASH}", "-")


def said(claim: verdicts.Judged) -> str:
    return plain(verdicts.verdict_sentence(claim))


def test_supported(judge):
    assert said(judge(endpoint())) == (
        "**B3: supported.** Training converges faster: “allowing the network to converge faster” "
        "(line 62). +1.00 percentage points (95 % interval +0.90 to +1.10), as claimed in 10 of 10 "
        "seeds (p = 0.002). The interval lies above the smallest effect that matters (+0.5 percentage "
        "points).  \n  *Measure:* ln of the steps. *Expected:* supported; prior 0.9. *Scope:* a small network."
    )


def test_refuted(judge):
    text = said(judge(endpoint(-UP)))
    assert text.startswith("**B3: refuted.**")
    assert "as claimed in 0 of 10 seeds" in text
    assert "The interval lies beyond -0.5 percentage points, against the claim." in text


def test_not_supported_because_equivalent(judge):
    text = said(judge(endpoint(0.01 * MIXED)))
    assert "**B3: not supported.**" in text
    assert "no effect that matters, either way." in text


def test_not_supported_because_below(judge):
    values = np.array([-3, 1, -2.5, 0.6, -3, 0.5, -2, 0.4, -2.6, 0.3])
    text = said(judge(endpoint(values)))
    assert "**B3: not supported.**" in text
    assert "lies below the smallest effect that matters (+0.5 percentage points)" in text
    assert "what the claim needs is excluded" in text


def test_inconclusive_because_the_interval_is_wide(judge):
    text = said(judge(endpoint(MIXED)))
    assert "**B3: inconclusive.**" in text
    assert "reaches to both sides of the smallest effect that matters (+0.5 percentage" in text


def test_the_interval_that_decides_is_that_of_the_level_left(tmp_path):
    entries = [entry(), *(entry(f"X{i}") for i in range(9))]
    claim = write(tmp_path, entries, {"B3": endpoint()}).judged[0]
    assert claim.level == pytest.approx(0.05 / 9)
    # Of 1024 subsets 2 may lie on one side: the mean of the two smallest.
    ends = "+0.82 to +1.18"
    assert f"The 99.44 % interval that decides, {ends}, lies above" in said(claim)


def test_an_effect_outside_of_what_was_expected_says_so(judge):
    assert "more than was expected, +0.10 to +0.40." in said(judge(endpoint(), expected_range=[0.1, 0.4]))
    assert "less than was expected" in said(judge(endpoint(), expected_range=[2, 3]))
    assert "was expected" not in said(judge(endpoint(), expected_range=[0.5, 1.5]))


def test_too_many_lower_bounds_decide_nothing(judge):
    text = said(judge(replace(endpoint(0.1 * UP), bounded=True)))
    assert "Too many runs never reached the target" in text


def test_inconclusive_because_of_few_seeds(judge):
    text = said(judge(endpoint(UP[:3])))
    assert "That decides nothing: the smallest p that n = 3 seeds can give is not below" in text
    single = said(judge(endpoint(UP[:1])))
    assert "in a single seed, without interval or test" in single
    assert "That decides nothing" in single
    assert "nan" not in single + text


def test_inconclusive_because_a_condition_fails(judge):
    words = {"inference": "more time at inference as well", "shift": "noise that shifts"}
    conditions = {"inference": endpoint(-UP), "odd_name": endpoint(-UP)}
    text = said(judge(endpoint(conditions=conditions), conditions=words))
    assert "**B3: inconclusive.**" in text
    assert "needs more time at inference as well and odd name, which was not shown" in text
    against = said(judge(endpoint(-UP, validity={"shift": endpoint(-UP)}), conditions=words))
    assert "but the verdict also needs noise that shifts, which was not shown" in against


def test_every_condition_of_the_endpoints_has_words():
    sources = (ROOT / "workflow/bnstudy/claims/endpoints").glob("*.py")
    text = "".join(path.read_text() for path in sources)
    found = re.findall(r"conditions ?= ?\{\s*\"(\w+)\"", text)
    assert {"cosine", "inference", "trend", "noise_alone"} <= set(found)
    words = {name for one in listed.read(LIST)["claims"] for name in one.get("conditions", {})}
    assert set(found) <= words


def test_mixed(judge):
    cells = {"batch size 32": UP, "batch size 256": -UP}
    claim = judge(endpoint(cells=cells))
    assert (claim.verdict, claim.mixed) == ("supported", "batch size 256")
    text = said(claim)
    assert "**B3: supported, mixed.**" in text
    assert "But the result is mixed: the opposite is true for batch size 256." in text
    cells = {"He's weights, 20 layers": UP, "5 layers": UP, "2 layers": -UP}
    refuted = said(judge(endpoint(-UP, cells=cells), study="depth"))
    assert "the claim holds for He's weights, 20 layers and 5 layers." in refuted


def test_a_claim_of_ones_own_reads_without_a_text_behind_it(tmp_path):
    own = {
        "id": "D1",
        "claim": "Dropout makes it more accurate.",
        "metric": "test_accuracy",
        "level": 0.5,
        "direction": "higher",
        "smallest_effect": 0.33,
        "prior": 0.4,
    }
    config = {
        "compare": {"axis": "dropout", "baseline": 0.0},
        "grid": {"dropout": [0.0, 0.5], "batch_size": [64]},
        "claims": [own],
    }
    (claim,) = write(tmp_path, [], {"D1": endpoint()}, config).judged
    assert said(claim) == (
        "**D1: supported.** Dropout makes it more accurate. +1.00 percentage points (95 % interval "
        "+0.90 to +1.10), as claimed in 10 of 10 seeds (p = 0.002). The interval lies above the "
        "smallest effect that matters (+0.33 percentage points).  \n  *Measure:* test accuracy, dropout 0.5 minus dropout 0. *Expected:* "
        "prior 0.4. *Scope:* batch size 64."
    )
    assert plain(claim.name) == "D1 Dropout makes it more accurate."
    (later,) = write(tmp_path, [], {"D1": endpoint(-UP)}, config).judged
    assert said(later).startswith("**D1: refuted.** Dropout makes it more accurate.")
    (missing,) = write(tmp_path, [], {}, config).judged
    assert not missing.was_run


def test_a_measurement_that_was_checked(judge):
    text = said(judge(endpoint(), checked="again in numpy, the same"))
    assert text.endswith("*Measured twice:* Again in numpy, the same.")
    assert "Measured twice" not in said(judge(endpoint()))


def test_not_run(judge):
    claim = judge(None)
    assert not claim.was_run
    assert math.isnan(claim.effect)
    assert claim.n == 0


def test_exact_statements_are_a_table(tmp_path):
    measured = {"M1": Exact(True, 3.6e-15, 1e-12, "largest: -0.5"), "M5": Exact(False, 731.0, 1.0)}
    entries = [entry(name, "exact", study="identities") for name in ("M1", "M5", "M9")]
    claims = write(tmp_path, entries, measured)
    exhibit = verdict_exhibits.exact(claims, "identities")
    frame = exhibit.frame
    assert list(frame["verdict"]) == ["holds", "does not hold"]
    assert plain(frame["statement"][0]) == (
        "M1: Training converges faster: “normalize using the computed mean and variance” (line 113)"
    )
    assert frame["what was seen"][0] == "Largest: \N{MINUS SIGN}0.5"
    assert plain(exhibit.formats["largest error"](3.6e-15)) == "3.6 x 10⁻¹⁵"
    assert plain(exhibit.fold) == "2 exact statements, 1 of which hold"
    assert verdict_exhibits.exact(claims, "core") is None
    assert verdicts.verdict_sentences(claims.of("identities")) == []


def test_exploratory_claims_have_no_corrected_p(judge):
    text = said(judge(endpoint(), kind="exploratory"))
    assert "(p = 0.002)" in text
    assert "Holm" not in text
    assert "exploratory" in text


@pytest.mark.parametrize(
    ("expected", "values", "words"),
    [
        ("must be supported", UP, "must be supported; it is, as it should be"),
        ("must be supported", 0.01 * MIXED, "it is not, so the rule fails this check"),
        ("must not be supported", UP, "it is, so the rule fails this check"),
        ("must not be supported", 0.01 * MIXED, "it is not, as it should be"),
        ("must be supported", UP[:2], "with so few seeds that cannot be seen"),
    ],
)
def test_controls(judge, expected, values, words):
    prior = 0.99 if expected == "must be supported" else 0.02
    claim = judge(endpoint(values), name="C1", kind="control", expected=expected, prior=prior)
    assert words in said(claim)


@pytest.mark.parametrize(
    ("x", "unit", "amount", "cell"),
    [
        (math.log(2), "ln ratio", "a ratio of 2.00", "x2.00"),
        (math.log(0.0123), "ln ratio", "a ratio of 0.0123", "x0.0123"),
        (-1.0, "decades", "-1.00 decades (a factor of 0.10)", "-1.00 decades"),
        (9.0, "decades", "+9.00 decades", "+9.00 decades"),
        (0.053, "share of the validation loss", "+5.3 % of the validation loss", "+5.3 %"),
        (0.21, "percentage points", "+0.21 percentage points", "+0.21 pp"),
        (-0.1, "cosine", "-0.10 in the cosine", "-0.10"),
        (-0.01234, "nats", "-0.01234 nats", "-0.01234 nats"),
        (12.5, "", "+12.5", "+12.5"),
        (math.nan, "ln ratio", "a ratio of n/a", "n/a"),
    ],
)
def test_amounts(x, unit, amount, cell):
    assert plain(words.amount(x, unit)) == amount
    assert plain(words.effect_cell(x, unit)) == cell


def test_small_numbers_and_signs():
    assert plain(words.small(1e-12)) == "1 x 10⁻¹²"
    assert words.small(0.05) == "0.05"
    assert plain(words.typographic("+-1 of -0.74, 1e-5 of 784-128 and (B - 2)")) == (
        "±1 of -0.74, 1 x 10⁻⁵ of 784-128 and (B - 2)"
    )


def test_text_of_the_list_is_escaped(judge):
    text = verdicts.verdict_sentence(judge(endpoint(), claim="<script>alert(1)</script> $x$ **b**"))
    assert "<script>" not in text
    assert "\\<script\\>" in text
    assert "\\$x\\$" in text


def many(folder: Path) -> verdicts.Claims:
    """A claim of every kind of outcome."""
    entries = [
        entry("B1", prior=0.2),
        entry("B2"),
        entry("B3", prior=0.5),
        entry("L1", history=["Changed after a look."]),
        entry("L2", study="timing"),
        entry("M1", "exact", study="identities"),
        entry("M2", "exact", study="identities", prior=0.1),
        entry("M3", "exact", study="identities"),
        entry("C1", "control", study="controls"),
    ]
    measured = {
        "B1": endpoint(cells={"batch size 32": UP, "batch size 64": -UP}),
        "B2": endpoint(-300 * UP),
        "B3": endpoint(0.01 * MIXED),
        "L1": endpoint(MIXED, cells={"32": MIXED, "64": 0.5 * MIXED}),
        "M1": Exact(True, 1e-15, 1e-12),
        "M2": Exact(False, 1.0, 0.0),
        "C1": endpoint(),
    }
    return write(folder, entries, measured)


def test_headline_counts(tmp_path):
    assert plain(verdicts.headline(many(tmp_path))) == (
        "6 claims judged: 1 supported, 1 holds, 1 refuted, 1 does not hold, 1 not supported and 1 "
        "inconclusive; 1 of them is mixed; 2 were not run."
    )
    nothing = write(tmp_path / "none", [entry(), entry("M1", "exact")], {})
    assert plain(verdicts.headline(nothing)) == "None of the 2 claims was run."


def test_surprises_and_what_was_not_run(tmp_path):
    claims = many(tmp_path)
    text = plain(verdicts.surprises(claims))
    assert "not expected are B1 (supported, prior 0.2) and B2 (refuted, prior 0.9)." in text
    # B1 .8^2, B2 .9^2, B3 .5^2 (not supported); exact statements do not count.
    assert f"is {(0.64 + 0.81 + 0.25) / 3:.2f} over the 3 statistical claims" in text
    waiting = verdict_exhibits.not_run(claims).frame.set_index("study")["claims without a verdict"]
    assert waiting["S0 Exact identities"] == "M3"
    assert waiting["S11 Cost in time"] == "L2"
    assert waiting["S2 Learning rates"] == ""
    assert verdicts.surprises(write(tmp_path / "none", [entry()], {})) == ""


def test_shared_scopes_are_said_once(tmp_path):
    claims = many(tmp_path)
    sentences = [plain(text) for text in verdicts.verdict_sentences(claims.judged[:4])]
    assert sentences[-1] == "*Scope* of all 4: a small network."
    assert sum("*Scope" in text for text in sentences) == 1
    two = verdicts.verdict_sentences(claims.judged[:2])
    assert len(two) == 2
    assert all("*Scope:*" in text for text in two)
    assert verdicts.verdict_sentences([]) == []


def test_without_any_table_all_claims_are_not_run(tmp_path):
    claims = verdicts.Claims.load(LIST, tmp_path, {})
    assert {claim.verdict for claim in claims.judged} == {"not run"}
    assert list(claims.studies) == ["core"]
    assert verdict_exhibits.ratios(claims) is None
    assert verdict_exhibits.scorecard(claims) is None
    assert verdict_exhibits.exact(claims, "identities") is None
    assert set(verdict_exhibits.published(claims).frame["outcome"]) == {"not run"}
    assert len(verdict_exhibits.errata(claims).frame) == 20
    waiting = verdict_exhibits.not_run(claims).frame.set_index("study")["claims without a verdict"]
    assert waiting["S2 Learning rates"] == "B4, B4b, B5 and B6"
    with pytest.raises(UserError):
        verdicts.Claims.load(tmp_path / "missing.yaml", tmp_path, {})


def test_the_real_list_fits_headings_anchors_and_exhibits(tmp_path):
    found = listed.read(LIST)
    claims = verdicts.Claims.load(LIST, tmp_path, {})
    assert list(claims.headings)[:3] == ["identities", "core", "input_scaling"]
    assert claims.headings["core"] == "S1 Speed and accuracy"
    source = (ROOT / "report" / "notebook.py").read_text()
    assert f"# ### {claims.headings['core']}\n" in source
    ids = {claim["id"] for claim in found["claims"]}
    assert set(verdicts.QUOTES["claims"]) <= ids
    shown_by = {erratum["shown"] for erratum in verdicts.QUOTES["errata"]}
    assert {name for name in shown_by if name not in ids} == {*("fig-gap", "fig-batch-size", "tab-arms")}
    # What a study measures is a claim, a reading or a figure.
    measured = {entry["study"] for entry in found["claims"] + found["further"]}
    assert set(default_studies()) <= measured | set(FIGURES)


def test_scorecard_table(tmp_path):
    claims = many(tmp_path)
    exhibit = verdict_exhibits.scorecard(claims)
    frame = exhibit.frame
    assert list(frame["verdict"]) == ["supported, mixed", "refuted", "not supported", "inconclusive"]
    assert frame["claim"][0].anchor == "s1-speed-and-accuracy"
    assert "all 5 claims" in exhibit.caption
    assert list(verdict_exhibits.history(claims).frame["claim"]) == ["L1"]


def test_a_change_of_several_claims_is_told_once():
    claims = SimpleNamespace(judged=[SimpleNamespace(id=i, history=h) for i, h in (("A", ["x"]), ("B", ["y", "x"]))])
    assert verdict_exhibits.history(claims).frame.to_numpy().tolist() == [["A, B", "x"], ["B", "y"]]


def test_scorecard_figure(tmp_path):
    claims = many(tmp_path)
    drawing = verdict_exhibits.ratios(claims)
    assert "supported: B1; refuted: B2; not supported: B3; inconclusive: L1" in drawing.finding
    assert len(drawing.data) == 40
    ratio = drawing.data[drawing.data["claim"] == "B2"]["effect / smallest that matters"]
    assert ratio.mean() == pytest.approx(-600)
    ET.fromstring(drawing.pictures().svg)
    single = replace(claims.judged[0], effects=np.array([0.3]), n=1)
    ET.fromstring(verdict_exhibits.ratios(replace(claims, judged=[single])).pictures().svg)


def test_cells_figure(tmp_path):
    claims = many(tmp_path)
    drawing = verdict_exhibits.cells(claims.of("core"), "core")
    assert drawing.label == "cells-core"
    assert "B1 from -2.0 (batch size 64) to +2.0 (batch size 32)" in plain(drawing.finding)
    assert set(drawing.data["claim"]) == {"B1", "L1"}
    ET.fromstring(drawing.pictures().svg)
    assert verdict_exhibits.cells(claims.of("identities"), "identities") is None


def test_direction_of_a_published_effect(tmp_path):
    claims = write(tmp_path, [entry("B18"), entry("B1b"), entry("B9")], {
        "B18": endpoint(), "B1b": endpoint(), "B9": endpoint(MIXED),
    })  # fmt: skip
    rows = verdict_exhibits.published(claims).frame.set_index("accepted")["outcome"]
    assert rows["direction (B18)"] == "agrees"
    assert rows["direction (B1b)"] == "does not agree"  # published: no less shift
    assert rows["direction (B9)"] == "cannot be seen"


def test_published_accuracies_stand_beside_the_means_of_the_arms(tmp_path):
    claims = many(tmp_path)
    table = pd.DataFrame(
        [
            ("none", "symmetric", 0, 0.90),
            ("none", "standardize", 0, 0.96),
            ("none", "standardize", 1, 0.97),
            ("batch", "standardize", 0, 0.98),
        ],
        columns=["norm", "scaling", "seed", "test_accuracy"],
    )
    table.to_csv(claims.tables / "long_training.csv", index=False)
    studies = claims.studies | {"long_training": default_studies()["long_training"]}
    for dataset, rows in (("mnist", 2), ("fashion_mnist", 0)):
        config = claims.config | {"grid": {"dataset": [dataset]}}
        exhibit = verdict_exhibits.accuracies(replace(claims, studies=studies, config=config))
        assert rows == (0 if exhibit is None else len(exhibit.frame))
        if exhibit is not None:
            first = exhibit.frame.iloc[0]
            assert (first["ours, none (%)"], first["ours, batch (%)"]) == ("96.50", "98.00")
            assert first["ours"] == "784-128-64-10, 25 epochs at batch size 256"


def test_the_layer_in_numpy_beside_pytorch(tmp_path):
    for error, holds, word in ((7e-15, True, "agrees"), (0.3, False, "does not agree")):
        measured = {"M1": Exact(holds=holds, value=error, tolerance=1e-12)}
        claims = write(tmp_path, [entry("M1", "exact", study="identities")], measured)
        rows = verdict_exhibits.published(claims).frame.set_index("quantity")
        row = rows.loc["H13: the layer and its gradients in numpy"]
        assert row["outcome"] == word
        assert words.small(error) in row["ours"]


def test_growth_and_groups_beside_published_values(tmp_path):
    claims = many(tmp_path)
    layers = pd.DataFrame(
        [
            (network, 32, seed, 30, layer, theory * factor * math.exp((-1) ** seed / 50), theory)
            for network, theory, factor in (("batch_relu", 1.522, 1.01), ("batch_linear", 1.034, 1.1))
            for seed in range(12)
            for layer in (9, 10)
        ],
        columns=["network", "batch_size", "seed", "depth", "layer", "growth", "theory"],
    )
    layers.to_csv(tmp_path / "init_gradients.csv", index=False)
    groups = pd.DataFrame(
        [
            ("ghost", seed, "groups", 128, size, "ok", 10, "running", 0.95 - 0.1 / size + seed / 1000)
            for seed in range(10)
            for size in (2, 4, 8, 16, 32, 64)
        ],
        columns=[
            *("norm", "seed", "design", "batch_size", "group_size", "status", "n_classes", "statistics"),
            "val_accuracy",
        ],
    )
    groups.to_csv(tmp_path / "small_batches.csv", index=False)
    ran = {"init_gradients": {"options": {"theory_depth": 30, "middle": [8, 22]}}, "small_batches": {"options": {}}}
    frame = verdict_exhibits.published(replace(claims, studies=claims.studies | ran)).frame
    by_quantity = frame.set_index("quantity")
    relu = by_quantity.loc["H1: squared gradient norm, growth a layer, ReLU, B = 32"]
    assert (relu["published"], relu["outcome"]) == ("1.522", "agrees")
    assert plain(relu["ours"]) == "1.537 (+1.0 %)"
    linear = by_quantity.loc["H1: squared gradient norm, growth a layer, linear, B = 32"]
    assert linear["outcome"] == "does not agree"
    grouped = by_quantity.loc["H10: error by images normalized together"]
    assert grouped["outcome"] == "agrees"
    assert "at 32, 16, 8, 4, 2" in grouped["ours"]


def test_further_measures(tmp_path):
    rows = [
        ("fashion_mnist", norm, 64, seed, "ok", 10, 100, 0.8 + gain, 0.8 + gain, 50 - 400 * gain)
        for norm, gain in (("none", 0), ("batch", 0.05))
        for seed in range(3)
    ]
    columns = ["dataset", "norm", "batch_size", "seed", "status", "n_classes", "n_steps"]
    columns += ["val_accuracy", "test_accuracy", "steps_to_target"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "fashion.csv", index=False)
    studies = {"fashion": default_studies()["fashion"] | {"enabled": True}}
    claims = verdicts.Claims.load(LIST, tmp_path, {"studies": studies})
    exhibit = verdict_exhibits.further(claims, "fashion")
    assert list(exhibit.frame["measure"]) == ["steps to the target, none over batch", "test accuracy, batch minus none"]
    assert exhibit.fold == ""
    assert plain(exhibit.frame["effect"][1]) == "+5.00 pp"
    assert plain(exhibit.frame["effect"][0]) == "x1.67"  # 50 steps against 30
    assert list(exhibit.frame["above zero"]) == ["3/3", "3/3"]
    assert verdict_exhibits.further(claims, "depth") is None


def test_calibration_sentence():
    table = pd.DataFrame(
        {"distribution": ["normal"] * 3 + ["exponential"], "spread": 2, "effect": [0, 3, 5, 1],
         "supported": [0.0, 0.5, 0.9, 0.0], "family_error": [0.01, 0.02, 0.01, 0.12]}
    )  # fmt: skip
    text = plain(verdicts.calibration_sentence(table))
    assert "were 2 % (normal) and 12 % (exponential)" in text
    assert "2 times the smallest effect that matters, an effect of 5 times it is supported" in text


def test_compact_svg_says_the_same_in_less():
    svg = (
        '<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg" '
        'xmlns:xlink="http://www.w3.org/1999/xlink" width="9pt">\n <metadata>x</metadata>\n'
        ' <g id="figure_1">\n  <!-- words -->\n  <g id="a_1"/>\n'
        '  <path id="mark" d="M 1.23456 2 \nL 3 -4.5 \nL 3 0.5 \nz\n" style="fill: #ffffff"/>\n'
        '  <text style="font: 8px \'DejaVu Sans\'" x="1.005" transform="rotate(-0 1.00 2.00)">B</text>\n'
        '  <g style="fill: none">\n   <use xlink:href="#mark" x="1.000" style="fill: #ffffff"/>\n'
        '  </g>\n  <path d="M 1.26 0 \nL 2.04 0.04 \nM 0 1 \n"/>\n </g>\n</svg>'
    )
    assert compact(svg) == (
        '<svg xmlns="http://www.w3.org/2000/svg" width="9pt"><style>'
        "svg{stroke-linejoin:round}.a{fill:#ffffff}</style>"
        '<path id="a" d="m1.23 2 1.77-6.5 0 5z" class="a"/>'
        '<text style="font:8px system-ui, sans-serif" x="1">B</text>'
        '<g style="fill:none"><use href="#a" x="1" class="a"/></g>'
        '<path d="m1.3 0 .7 0m-2 1"/></svg>'
    )
    assert [short_name(i) for i in (0, 25, 26, 27)] == ["a", "z", "ba", "bb"]
