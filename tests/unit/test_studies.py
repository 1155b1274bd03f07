"""Running and merging the cells of a study, and the two studies that check the verdict rule."""

import csv
import dataclasses
import json

import pandas as pd
import pytest
import yaml

from bnstudy import settings
from bnstudy.claims.endpoints import practice
from bnstudy.claims.endpoints.base import metric_endpoint
from bnstudy.config import default_studies
from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.provenance import TRAINING_CODE, code_sha256
from bnstudy.studies import command, declaration, table
from bnstudy.training import command as train_command
from bnstudy.training.observers import OBSERVERS
from bnstudy.training.observing import Observer

SMALL = {"settings": {"epochs": 2, "probe_every": 5}, "grid": [{"norm": ["none", "batch"]}]}


def run(name, data, out, cell, declared, *options, seeds=2):
    told = ["--cell", json.dumps(cell), "--declaration", json.dumps(declared)]
    how = ["--seeds", str(seeds), "--device", "cpu", "--out", str(out)]
    command.main([name, str(data), *told, *how, *map(str, options)])
    with open(out) as file:
        return list(csv.DictReader(file))


def test_a_cell_is_named_by_its_axes():
    assert declaration.cell_name({"norm": "batch", "optimizer": "sgd"}) == "norm~batch+optimizer~sgd"
    assert declaration.cell_name({}) == "all"
    assert declaration.cell_name({"norm": "ghost:8", "hidden": [32, 16]}) == "norm~ghost-8+hidden~32-16"


def test_cells_are_one_job_each_and_a_job_runs_through_the_loop():
    study = default_studies()["init_gains"]
    assert list(declaration.cells(study)) == [
        f"norm~{norm}+optimizer~{optimizer}" for norm in ("none", "batch") for optimizer in ("sgd", "adam")
    ]
    cell = {"norm": "batch", "optimizer": "adam"}
    runs = declaration.runs(declaration.cell_part(study, cell), "mnist", 2)
    assert len(runs) == 2 * 6
    assert {(s.optimizer, s.learning_rate, s.batch_size) for _, s in runs} == {("adam", 0.001, 128)}
    assert [levels["gain"] for levels, _ in runs[:6]] == study["grid"]["gain"]


@pytest.mark.parametrize("study", default_studies())
def test_no_study_rests_on_another(study):
    """Nor on what prints and parses, nor on observers that it has not."""
    files = set(declaration.study_code(study, default_studies()[study]))
    codes = {f"studies/{module}.py" for module in declaration.CODE_STUDIES.values()}
    assert codes & files <= {f"studies/{declaration.CODE_STUDIES.get(study)}.py"}
    assert not files & {
        *("studies/command.py", "studies/table.py", "training/command.py"),
        *("settings.py", "settings.yaml", "provenance.py", "files.py"),
    }
    assert ("studies/identities.yaml" in files) == (study == "identities")
    if study not in declaration.CODE_STUDIES:
        assert files > set(TRAINING_CODE)
        observed = {f for f in files if f.startswith("training/observers/")}
        assert bool(observed) == bool(default_studies()[study].get("observers"))


def test_a_study_can_be_run_by_hand(digits_data, tmp_path):
    shared = ["--seeds", "1", "--device", "cpu", "--out", str(tmp_path / "rows.csv")]
    cell = {"norm": "batch", "scaling": "symmetric"}
    command.main(["input_scaling", str(digits_data), "--cell", json.dumps(cell), *shared])
    row = pd.read_csv(tmp_path / "rows.csv").iloc[0]
    assert (row["norm"], row["scaling"], row["n_steps"]) == ("batch", "symmetric", 5 * 5)
    assert row["seed"] == default_studies()["input_scaling"]["first_seed"] == 3000
    with pytest.raises(UserError, match=r"cells norm~none\+scaling~symmetric"):
        command.main(["input_scaling", str(digits_data), "--cell", '{"norm": "x"}', *shared])
    with pytest.raises(UserError, match="there is no study input; there are identities"):
        command.main(["input", str(digits_data), *shared])


def test_runs_of_the_grid_are_read_not_trained(digits_data, tmp_path, monkeypatch):
    trained = run("mine", digits_data, tmp_path / "a/rows.csv", {}, SMALL)
    folders = []
    for _, one in declaration.runs(SMALL, "digits", 2):
        folders.append(tmp_path / "runs" / settings.run_name(one))
        options = ["--out", str(folders[-1]), "--device", "cpu", *settings.options(one)]
        train_command.main([str(digits_data), *options])

    def no_training(*arguments, **options):
        raise AssertionError("trained again")

    monkeypatch.setattr("bnstudy.studies.runner.train", no_training)
    again = run("mine", digits_data, tmp_path / "b/rows.csv", {}, SMALL, "--reuse", *folders)
    assert again == trained
    # One that has other settings is not taken for it.
    file = folders[0] / "run.json"
    other = json.loads(file.read_text())
    other["settings"]["learning_rate"] = 0.5
    file.write_text(json.dumps(other))
    with pytest.raises(AssertionError, match="trained again"):
        run("mine", digits_data, tmp_path / "c/rows.csv", {}, SMALL, "--reuse", *folders)


def test_the_workflow_reuses_runs_that_were_observed_alike():
    config = {"grid": {"dataset": ["mnist"]}, "observers": []}
    study = default_studies()["input_scaling"] | {"first_seed": 1000}
    made = (
        settings.Settings(norm=norm, batch_size=256, seed=seed)
        for norm in ("none", "batch")
        for seed in range(1000, 1003)
    )
    grid = {settings.run_name(one): one for one in made}
    jobs = declaration.jobs("input_scaling", study, config, grid)
    assert {name: len(job.reuse) for name, job in jobs.items()} == {
        "norm~none+scaling~symmetric": 3,
        "norm~none+scaling~standardize": 0,
        "norm~batch+scaling~symmetric": 3,
        "norm~batch+scaling~standardize": 0,
    }
    config["observers"] = ["weight_norms"]
    jobs = declaration.jobs("input_scaling", study, config, grid)
    assert not any(job.reuse for job in jobs.values())


def test_a_changed_default_is_another_job(monkeypatch):
    study = default_studies()["fashion"]
    cell = {"dataset": "fashion_mnist", "norm": "none", "batch_size": 128}
    told = declaration.job("fashion", study, cell)
    before = declaration.asked_of_cell("fashion", told, cell, "mnist", 2)
    monkeypatch.setattr(settings.Settings.__init__, "__defaults__", changed_default("momentum", 0.5))
    after = declaration.asked_of_cell("fashion", told, cell, "mnist", 2)
    assert before != after
    assert {one["momentum"] for one in after["settings"]} == {0.5}


def changed_default(name, value):
    """The defaults of all settings, one of them another."""
    defaults = {field.name: field.default for field in dataclasses.fields(settings.Settings)}
    return tuple((defaults | {name: value}).values())


def test_an_observer_of_one_s_own(digits_data, tmp_path, monkeypatch):
    class Mine(Observer):
        def __init__(self, factor=1):
            self.factor = factor

        def end(self, now):
            yield now.step, "train", "mine", self.factor * now.step

    def function(model, inputs, labels):
        return {"biggest": model[0].weight.grad.abs().max().item(), "images": len(labels)}

    monkeypatch.setitem(OBSERVERS, "mine", Mine)
    monkeypatch.setitem(OBSERVERS, "function", function)
    observed = SMALL | {"observers": [{"mine": {"factor": 2}}, "function"]}
    rows = run("mine", digits_data, tmp_path / "rows.csv", {}, observed)
    assert {row["mine"] for row in rows} == {str(2 * 2 * 18)}
    assert {row["images"] for row in rows} == {"62"}  # of the last batch, at the last probe
    assert all(float(row["biggest"]) > 0 for row in rows)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"settings": {"epoch": 2}}, "settings.epoch: there is no setting 'epoch'; the closest is epochs."),
        ({"grid": {"norm": ["batsh"]}}, 'grid.norm: "batsh" is not one of none, batch'),
        ({"variants": {"arm": {"a": {"dropout": 1.0}}}}, "variants.arm.a: 1.0 is too large"),
        ({"loop": ["seed"]}, "loop: seed is no axis of its grid; there are norm."),
        ({"observers": [{"drifts": {}}]}, "observers: there is no observer drifts; there are"),
        ({"rows": "runs"}, "rows: runs is not one of run, epoch"),
    ],
)
def test_what_a_declaration_cannot_say_is_a_sentence(wrong, told):
    assert not list(declaration.problems(SMALL))
    found = list(declaration.problems(SMALL | wrong))
    assert len(found) == 1
    assert found[0].startswith(told)


def test_controls_run_and_merge(digits_data, tmp_path):
    controls = yaml.safe_load("{settings: {epochs: 2}, grid: {learning_rate: [0.01, 0.00001]}}")
    paths = []
    for name, cell in declaration.cells(controls).items():
        paths.append(tmp_path / "with space" / name / "r.csv")
        part = declaration.cell_part(controls, cell)
        rows = run("controls", digits_data, paths[-1], cell, part, seeds=4)
        assert [row["seed"] for row in rows] == ["1000", "1001", "1002", "1003"]
        assert {row["learning_rate"] for row in rows} == {str(cell["learning_rate"])}
    given = ["--data", str(digits_data), "--out", str(tmp_path / "table.csv")]
    table.main([*map(str, paths), *given])
    merged = pd.read_csv(tmp_path / "table.csv")
    assert len(merged) == 8
    assert set(merged["data_sha256"]) == {open_prepared(digits_data).sha256}
    assert set(merged["code_sha256"]) == {code_sha256(declaration.study_code("controls", controls))}
    assert merged["config_sha256"].nunique() == 2  # one for each cell
    found = practice.controls(merged, {})
    assert list(found["same"].effect.index) == [1000, 1001]
    claim = {"metric": "test_accuracy", "axis": "learning_rate", "level": 0.01, "baseline": 1e-5}
    claim |= {"direction": "higher", "scale": "difference", "where": {}, "unit": ""}
    gain = metric_endpoint(claim, merged, ["learning_rate", "seed"])
    assert (gain.effect > 20).all()  # 64 epochs' worth of steps against none


HASHED = "seed,x,code_sha256,config_sha256,data_sha256,environment\n0,{x},{code},{config},{data},here\n"


@pytest.mark.parametrize(
    ("second", "told"),
    [
        ({"config": "f2", "code": "c2"}, "2 versions of the study's code"),
        ({"config": "f2", "data": "d2"}, "measured on other data"),
        ({}, "hold the same cell"),
    ],
)
def test_rows_of_other_code_other_data_or_the_same_cell_are_refused(digits_data, tmp_path, second, told):
    """Unless told otherwise, for the code."""
    data = open_prepared(digits_data).sha256
    first = {"x": 1, "code": "c1", "config": "f1", "data": data}
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    for path, values in zip(paths, (first, first | second), strict=True):
        path.write_text(HASHED.format(**values))
    out = tmp_path / "table.csv"
    argv = [*map(str, paths), "--data", str(digits_data), "--out", str(out)]
    with pytest.raises(UserError) as caught:
        table.main(argv)
    assert told in str(caught.value)
    assert not out.exists()
    if "code" in second:
        table.main([*argv, "--allow-mixed-code"])
        assert len(pd.read_csv(out)) == 2


def test_rows_without_hashes_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("seed,x\n0,1\n")
    with pytest.raises(UserError, match=r"a\.csv has no column code_sha256"):
        table.main([str(tmp_path / "a.csv"), "--out", str(tmp_path / "t.csv")])


def test_control_effects_by_hand():
    runs = pd.DataFrame(
        {
            "learning_rate": [0.1] * 4 + [0.001] * 4,
            "seed": [0, 1, 2, 3] * 2,
            "n_classes": 10,
            "n_steps": 10,
            "status": ["ok"] * 4 + ["diverged"] + ["ok"] * 3,
            "val_accuracy": [0.9] * 4 + [None] + [0.9] * 3,
            "test_accuracy": [0.9, 0.8, 0.7, 0.5, None, 0.2, 0.3, 0.4],  # it guesses: 0.1
        }
    )
    found = practice.controls(runs, {})
    assert found["same"].effect.tolist() == pytest.approx([20, 30])
    claim = {"metric": "test_accuracy", "axis": "learning_rate", "level": 0.1, "baseline": 0.001}
    claim |= {"direction": "higher", "scale": "difference", "where": {"seed": [0, 1]}, "unit": ""}
    gain = metric_endpoint(claim, runs, ["learning_rate", "seed"])
    assert gain.effect.tolist() == pytest.approx([80, 60])


def test_the_rule_seldom_supports_what_is_not_there_and_finds_what_is(digits_data, tmp_path):
    options = {"n": 12, "studies": 60, "family_size": 20, "looked_at": 10}
    options |= {"effects": [0, 1, 5], "spreads": [0.8]}
    for distribution in ("normal", "ties"):
        cell = {"distribution": distribution}
        path = tmp_path / "c.csv"
        rows = run("calibration", digits_data, path, cell, {"options": options}, seeds=1)
        found = {float(row["effect"]): row for row in rows}
        assert float(found[0]["supported"]) == float(found[0]["refuted"]) == 0
        assert float(found[5]["supported"]) > 0.95
        assert all(float(row["family_error"]) <= 0.15 for row in rows)  # 0.05 and 3 errors of 60


def test_what_a_cell_has_not_stays_empty(tmp_path):
    hashes = "code_sha256,config_sha256,data_sha256,environment"
    (tmp_path / "a.csv").write_text(f"seed,x,{hashes}\n0,1,c,a,d,e\n")
    (tmp_path / "b.csv").write_text(f"seed,y,{hashes}\n0,2,c,b,d,e\n")
    table.merge([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "t.csv")
    assert (tmp_path / "t.csv").read_text().splitlines()[1:] == ["0,1,c,a,d,e,", "0,,c,b,d,e,2"]
    (tmp_path / "b.csv").write_text("seed,y\n")
    with pytest.raises(UserError, match=r"b\.csv holds no rows"):
        table.merge([tmp_path / "a.csv", tmp_path / "b.csv"], tmp_path / "t.csv")


@pytest.mark.parametrize("rows", [[], [{"seed": 0, "x": float("nan")}]])
def test_a_study_never_leaves_a_gap_behind(tmp_path, rows):
    with pytest.raises(ValueError, match=r"no rows|finite"):
        table.write_study(tmp_path / "rows.csv", rows)
    assert not any(tmp_path.iterdir())
