"""Running and merging the cells of a study, and the two studies that check the verdict rule."""

import csv
import json

import pandas as pd
import pytest

from bnstudy import studies
from bnstudy.endpoints import controls as control_endpoints
from bnstudy.errors import UserError
from bnstudy.provenance import imported_code


def run(name, data, out, cell, options, seeds=2):
    studies.study_main(
        [
            *(name, str(data), "--cell", json.dumps(cell), "--options", json.dumps(options)),
            *("--seeds", str(seeds), "--device", "cpu", "--out", str(out)),
        ]
    )
    with open(out) as file:
        return list(csv.DictReader(file))


def test_a_cell_is_named_by_its_axes():
    assert studies.cell_name({"norm": "batch", "optimizer": "sgd"}) == "norm~batch,optimizer~sgd"
    assert studies.cell_name({}) == "all"


@pytest.mark.parametrize("study", studies.STUDIES)
def test_no_study_rests_on_another(study):
    files = imported_code(f"studies.{study}")
    assert f"studies/{study}.py" in files
    others = {f"studies/{name}.py" for name in studies.STUDIES if name != study}
    assert not others.intersection(files)


def test_controls_run_and_merge(digits_data, tmp_path):
    options = {"batch_size": 64, "epochs": 2}
    paths = []
    for rate in (0.01, 0.00001):
        paths.append(tmp_path / "with space" / studies.cell_name({"learning_rate": rate}) / "r.csv")
        rows = run("controls", digits_data, paths[-1], {"learning_rate": rate}, options, seeds=4)
        assert [row["seed"] for row in rows] == ["0", "1", "2", "3"]
        assert {row["learning_rate"] for row in rows} == {str(rate)}
    studies.merge_main([*map(str, paths), "--out", str(tmp_path / "table.csv")])
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 8
    found = control_endpoints.endpoints(table, options)
    assert list(found["same"].effect.index) == [0, 1]
    assert (found["learning_rate"].effect > 20).all()  # 64 epochs' worth of steps against none


def test_control_effects_by_hand():
    table = pd.DataFrame(
        {
            "learning_rate": [0.1] * 4 + [0.001] * 4,
            "seed": [0, 1, 2, 3] * 2,
            "test_accuracy": [0.9, 0.8, 0.7, 0.5, 0.1, 0.2, 0.3, 0.4],
        }
    )
    found = control_endpoints.endpoints(table, {})
    assert found["same"].effect.tolist() == pytest.approx([20, 30])
    assert found["learning_rate"].effect.tolist() == pytest.approx([80, 60])


def test_the_rule_seldom_supports_what_is_not_there_and_finds_what_is(digits_data, tmp_path):
    options = {"n": 10, "studies": 2000, "deviation": 1.0, "family_size": 1}
    shares = {}
    for effect in (0.0, 3.0):
        (row,) = run("calibration", digits_data, tmp_path / "c.csv", {"effect": effect}, options, 1)
        shares[effect] = {key: float(row[key]) for key in ("supported", "refuted")}
    assert shares[0.0]["supported"] <= 0.05
    assert shares[0.0]["refuted"] <= 0.05
    assert shares[3.0]["supported"] > 0.95


def test_cells_of_different_shape_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("seed,x\n0,1\n")
    (tmp_path / "b.csv").write_text("seed,y\n0,1\n")
    with pytest.raises(UserError, match=r"b\.csv"):
        studies.merge_main(
            [*(str(tmp_path / n) for n in ("a.csv", "b.csv")), "--out", str(tmp_path / "t.csv")]
        )
    assert not (tmp_path / "t.csv").exists()


@pytest.mark.parametrize(
    "rows", [[], [{"seed": 0, "x": float("nan")}], [{"seed": 0}, {"seed": 1, "x": 1}]]
)
def test_a_study_never_leaves_a_gap_behind(tmp_path, rows):
    with pytest.raises(ValueError, match=r"no rows|finite|differ"):
        studies.write_study(tmp_path / "rows.csv", rows)
    assert not any(tmp_path.iterdir())
