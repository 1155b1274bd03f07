"""The verdict engine: each verdict from effects whose answer is known, and the list of claims."""

import copy
from dataclasses import fields
from pathlib import Path

import pandas as pd
import pytest
import yaml

from bnstudy import config
from bnstudy.claims import judge as claims
from bnstudy.claims import listed
from bnstudy.claims.endpoints.base import Endpoint, Exact
from bnstudy.errors import UserError

ROOT = Path(__file__).parents[2]
UP = [1.0, 1.1, 0.9, 1.2, 0.8, 1.05, 0.95, 1.15, 0.85, 1.0]  # n = 10: p = 2/1024


def series(values) -> pd.Series:
    return pd.Series(list(values), dtype=float)


def endpoint(values=UP, **more) -> Endpoint:
    return Endpoint(series(values), "points", **more)


def claim(name="B1", kind="statistical", study="core", **more) -> dict:
    entry = {
        "id": name,
        "kind": kind,
        "claim": "c",
        "line": "1",
        "study": study,
        "endpoint": "e",
        "measure": "m",
        "unit": "points",
        "smallest_effect": 0.5,
        "prior": 0.5,
        "expected": "x",
        "scope": "s",
        "source": "o",
    }
    return entry | more


def verdict(measured, **more) -> claims.Row:
    return claims.judge([claim(**more)], {"B1": measured})[0]


def test_all_seeds_agreeing_on_a_large_effect_support_a_claim():
    row = verdict(endpoint())
    assert row.verdict == "supported"
    assert row.p == row.p_holm == pytest.approx(2 / 1024)
    assert (row.n, row.share_of_seeds) == (10, 1.0)
    assert row.effect == pytest.approx(1.0)
    assert row.ci_low < 1.0 < row.ci_high


def test_the_other_verdicts():
    assert verdict(endpoint([-x for x in UP])).verdict == "refuted"
    assert verdict(endpoint([0.1 * x for x in UP])).verdict == "not supported"  # real, too small
    assert verdict(endpoint([5, -4, 3, -2, 6, -5, 4, -3, 2, 1])).verdict == "inconclusive"
    assert verdict(endpoint(UP[:5])).verdict == "inconclusive"  # 2/2^5 cannot reach 0.05


def test_a_claim_whose_study_was_not_run_has_no_verdict():
    row = claims.judge([claim()], {})[0]
    assert (row.verdict, row.effect, row.p) == ("not run", None, None)


def test_exact_claims_hold_or_do_not():
    holds = claims.judge([claim(kind="exact")], {"B1": Exact(True, 1e-9, 1e-6)})[0]
    assert (holds.verdict, holds.p, holds.effect) == ("holds", None, 1e-9)
    assert verdict(Exact(False, 1.0, 1e-6), kind="exact").verdict == "does not hold"


def test_unmeasured_claims_count_in_the_family_and_controls_do_not():
    listed = [claim(), *(claim(f"X{i}") for i in range(24)), claim("C", kind="control")]
    rows = {row.id: row for row in claims.judge(listed, {"B1": endpoint(), "C": endpoint()})}
    assert rows["B1"].p_holm == pytest.approx(25 * 2 / 1024)  # Holm's first step of 25
    assert rows["B1"].verdict == "supported"
    assert rows["C"].p_holm == pytest.approx(2 / 1024)
    assert (rows["B1"].family, rows["C"].family) == (25, 1)
    assert (rows["B1"].level, rows["C"].level) == (pytest.approx(0.05 / 24), 0.05)
    one_more = claims.judge([*listed, claim("X24")], {"B1": endpoint()})[0]
    assert one_more.p_holm > 0.05
    assert one_more.verdict == "inconclusive"


def test_a_cell_the_other_way_makes_a_verdict_mixed():
    cells = {"batch size 32": series(UP), "batch size 256": series([-x for x in UP])}
    row = verdict(endpoint(cells=cells))
    assert (row.verdict, row.mixed) == ("supported", "batch size 256")
    row = verdict(endpoint([-x for x in UP], cells=cells | {"c": series(UP)}))
    assert (row.verdict, row.mixed) == ("refuted", "batch size 32; c")
    too_small = {"a": series(UP), "b": series([-0.1 * x for x in UP])}
    assert verdict(endpoint(cells=too_small)).mixed == ""


def test_conditions_must_hold_as_well():
    met = {"also": endpoint()}
    unmet = {"also": endpoint([-x for x in UP])}
    assert verdict(endpoint(conditions=met)).verdict == "supported"
    row = verdict(endpoint(conditions=unmet))
    assert (row.verdict, row.unmet) == ("inconclusive", "also")


def test_an_experiment_that_does_not_bite_decides_nothing():
    down = [-x for x in UP]
    assert verdict(endpoint(down, conditions={"also": endpoint(down)})).verdict == "refuted"
    assert verdict(endpoint(down, validity={"bites": endpoint()})).verdict == "refuted"
    row = verdict(endpoint(down, validity={"bites": endpoint(down)}))
    assert (row.verdict, row.unmet) == ("inconclusive", "bites")


def test_a_condition_may_bring_its_own_p():
    assert verdict(endpoint(conditions={"trend": endpoint(p=1e-9)})).verdict == "supported"
    row = verdict(endpoint(conditions={"trend": endpoint(p=0.6)}))
    assert (row.verdict, row.unmet) == ("inconclusive", "trend")


def test_lower_bounds_exclude_nothing():
    row = verdict(endpoint([0.1 * x for x in UP], bounded=True))
    assert (row.verdict, "never reached" in row.reason) == ("inconclusive", True)


def test_the_scope_says_where_a_study_was_run_otherwise():
    shipped = yaml.safe_load((ROOT / "config" / "config.yaml").read_text())
    usual = shipped | {"studies": config.default_studies()}
    assert claims.actual_scope(claim(), usual) == "s"
    assert claims.actual_scope(claim(study="depth"), usual) == "s"
    changed = copy.deepcopy(usual)
    changed["grid"]["dataset"] = ["digits"]
    changed["grid"]["seed"] = [0, 1]
    changed["studies"]["depth"]["settings"]["epochs"] = 16
    core, depth = (claims.actual_scope(claim(study=study), changed) for study in ("core", "depth"))
    assert core == ("not as registered, but with grid.dataset ['digits']; grid.seed [0, 1] (registered: s)")
    assert "settings.epochs 16" in depth
    assert "grid.dataset ['digits']" in depth
    assert "seed [0, 1]" not in depth


def test_git_names_a_file_as_we_do(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"test content\n")
    # The example of the git book, chapter "Git Objects".
    assert claims.git_blob_hash(file) == "d670460b4b4aece5915caf5c68d12f560a9fe3e4"


def write(path: Path, entries: list[dict]) -> Path:
    path.write_text(yaml.safe_dump({"claims": entries}))
    return path


def test_a_list_of_claims_is_checked(tmp_path):
    good = claim()
    assert listed.read(write(tmp_path / "c.yaml", [good]))["claims"] == [good]
    with pytest.raises(UserError, match="used twice"):
        listed.read(write(tmp_path / "c.yaml", [good, good]))
    with pytest.raises(UserError, match="prior"):
        listed.read(write(tmp_path / "c.yaml", [good | {"prior": 1.5}]))
    with pytest.raises(UserError, match="smalest_effect"):
        listed.read(write(tmp_path / "c.yaml", [good | {"smalest_effect": 1}]))
    for missing in ("smallest_effect", "prior", "endpoint"):
        without = {key: value for key, value in good.items() if key != missing}
        with pytest.raises(UserError, match="metric" if missing == "endpoint" else missing):
            listed.read(write(tmp_path / "c.yaml", [without]))["claims"]
    with pytest.raises(UserError, match="cannot be read"):
        listed.read(tmp_path / "missing.yaml")


def test_the_table_begins_with_the_columns_that_it_is_known_for():
    """Whoever reads claims.csv by position finds these; `unit` and words follow."""
    known = (
        "id kind claim line study endpoint verdict scope effect ci_low ci_high smallest_effect "
        "p p_holm effect_size share_of_seeds n"
    )
    assert [field.name for field in fields(claims.Row)][:17] == known.split()


def test_the_registered_claims_can_all_be_judged():
    found = listed.read(listed.LIST)
    kinds = [entry.get("kind", "statistical") for entry in found["claims"]]
    statistical = [e for e, kind in zip(found["claims"], kinds, strict=True) if kind == "statistical"]
    # With twelve seeds the strictest step of Holm's method needs 2/4096 <= 0.05/m.
    assert len(statistical) <= 102
    simulated = config.default_studies()["calibration"]["options"]
    assert (simulated["n"], simulated["family_size"]) == (12, len(statistical))
    assert all("short" in entry for entry in statistical)
    studies = set(config.default_studies()) | {listed.CORE}
    assert {entry["study"] for entry in found["claims"] + found["further"]} <= studies
    for entry in found["claims"]:
        assert {"study", "line", "measure", "expected", "scope", "source"} <= set(entry)


def test_a_study_with_fresh_seeds_says_so_in_each_of_its_claims():
    """And no other claim does."""
    studies = config.default_studies()
    for entry in listed.read(listed.LIST)["claims"]:
        first = studies.get(entry["study"], {}).get("first_seed")
        fresh = [line for line in entry.get("history", []) if f"judged by seeds from {first} on" in line]
        assert bool(fresh) == (first is not None), entry["id"]
        assert entry.get("looked") or not fresh, entry["id"]
