"""Running and merging the cells of a study, and the two studies that check the verdict rule."""

import csv
import json

import pandas as pd
import pytest

from bnstudy import studies
from bnstudy.claims.endpoints import controls as control_endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.provenance import code_sha256, imported_code


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
    given = ["--data", str(digits_data), "--out", str(tmp_path / "table.csv")]
    studies.merge_main([*map(str, paths), *given])
    table = pd.read_csv(tmp_path / "table.csv")
    assert len(table) == 8
    assert set(table["data_sha256"]) == {open_prepared(digits_data).sha256}
    files = ("cli.py", *imported_code("studies.controls"))
    assert set(table["code_sha256"]) == {code_sha256(files)}
    assert table["config_sha256"].nunique() == 2  # one for each cell
    found = control_endpoints.endpoints(table, options)
    assert list(found["same"].effect.index) == [0, 1]
    assert (found["learning_rate"].effect > 20).all()  # 64 epochs' worth of steps against none


HASHED = "seed,x,code_sha256,config_sha256,data_sha256\n0,{x},{code},{config},{data}\n"


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"config": "f2", "code": "c2"}, "2 versions of the study's code"),
        ({"config": "f2", "data": "d2"}, "measured on other data"),
        ({}, "hold the same cell"),
    ],
)
def test_rows_of_other_code_other_data_or_the_same_cell_are_refused(
    digits_data, tmp_path, second, told
):
    """Unless told otherwise, for the code."""
    data = open_prepared(digits_data).sha256
    first = {"x": 1, "code": "c1", "config": "f1", "data": data}
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, values in zip(paths, (first, first | second), strict=True):
        path.write_text(HASHED.format(**values))
    out = tmp_path / "table.csv"
    argv = [*map(str, paths), "--data", str(digits_data), "--out", str(out)]
    with pytest.raises(UserError) as caught:
        studies.merge_main(argv)
    assert told in str(caught.value)
    assert not out.exists()
    if "code" in second:
        studies.merge_main([*argv, "--allow-mixed-code"])
        assert len(pd.read_csv(out)) == 2


def test_rows_without_hashes_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("seed,x\n0,1\n")
    with pytest.raises(UserError, match=r"a\.csv has no column code_sha256"):
        studies.merge_main([str(tmp_path / "a.csv"), "--out", str(tmp_path / "t.csv")])


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
