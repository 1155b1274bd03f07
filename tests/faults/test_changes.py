"""Copies, clocks, edits and odd paths: what is up to date stays so, and what is not is done."""

import json
import random
import shutil
import time

import pytest
from aftermath import CONFIG, results

from checkouts import Checkout, copy_checkout

DECADE = 10 * 365 * 86_400  # seconds


def set_dates(folder, date):
    """Give every file the modification date that a function says, in seconds."""
    import os

    for path in sorted(folder.rglob("*")):
        if path.is_file():
            when = date(path)
            os.utime(path, (when, when))


def counts(study, *arguments):
    return dict(study.plan(*arguments).counts)


def test_a_copy_elsewhere(finished, fault, tmp_path):
    """Without dates, as `cp -r` and most services do: the inputs may come out newer."""
    copied = fault("a results folder copied to another place")
    root = tmp_path / "somewhere else" / "another name"
    shutil.copytree(finished.root, root, copy_function=shutil.copyfile)
    copy = Checkout(root, root / "study")
    for folder in (root / "workflow", root / "config", copy.study / "results/data"):
        set_dates(folder, lambda path: time.time())
    copied.tried()
    planned = counts(copy)
    copied.lost(len(planned), f"it would run {planned}")
    for place in (finished.root / "b", tmp_path / "elsewhere/a/b/study"):  # the results alone
        copied.tried()
        shutil.copytree(copy.study, place, copy_function=shutil.copyfile)
        planned = counts(Checkout(finished.root, place))
        copied.lost(len(planned), f"in {place} it would run {planned}")


def test_an_unpacked_archive_with_another_setting(finished, fault, tmp_path):
    """It has tables and no runs: what it holds of the old setting is made anew where it lies."""
    unpacked = fault("an unpacked archive with a changed setting")
    finished.run("archive")
    (archive,) = finished.study.glob("results/archive/*.zip")
    shutil.unpack_archive(archive, tmp_path / "unpacked")
    study = Checkout(tmp_path / "unpacked", tmp_path / "unpacked")
    study.configure("grid: {seed: [0]}\ntraining: {epochs: 1}")
    study.configure("studies: {init_gradients: {enabled: false}}")
    unpacked.tried()
    done = study.snakemake("tables")
    unpacked.wrong(done.returncode != 0, f"it failed: {done.stdout + done.stderr}")
    runs = (study.root / "results/tables/runs.csv").read_text().splitlines()[1:]
    unpacked.wrong([("/epochs~1/" in run) for run in runs] != [True, True], f"it has {runs}")
    planned = counts(study, "tables")
    unpacked.lost(planned != {}, f"it would run again {planned}")


@pytest.mark.parametrize("what", ["in the future", "in the past", "in no order"])
def test_clocks(finished, fault, what):
    """Dates that no longer tell what came first: nothing runs for them, and edits are seen."""
    clock = fault(f"dates {what}")
    chance = random.Random(0)
    date = {
        "in the future": lambda path: time.time() + DECADE,
        "in the past": lambda path: time.time() - DECADE,
        "in no order": lambda path: time.time() + chance.uniform(-DECADE, DECADE),
    }[what]
    set_dates(finished.root, date)
    clock.tried()
    planned = counts(finished)
    clock.lost(len(planned), f"it would run {planned}")
    clock.tried()
    (finished.study / "results/tables/claims.csv").unlink()
    done = finished.snakemake("--cores", "1", "tables")
    clock.wrong(done.returncode != 0, f"a lost table is not made again: {done.stdout + done.stderr}")
    clock.tried()
    finished.edit("workflow/bnstudy/networks/mlp.py")
    set_dates(finished.root / "workflow", lambda path: time.time() - 2 * DECADE)
    planned = counts(finished)
    clock.wrong(planned.get("train") != 4, f"an edit of the training code plans {planned}")
    clock.wrong(planned.get("run_study") != 6, f"an edit of the training code plans {planned}")


def test_an_edit_between_runs(finished, fault):
    """Half of the runs with one version of the code, half with another: no table mixes them."""
    edit = fault("the code is edited between runs")
    shutil.rmtree(finished.study / "results/tables")
    shutil.rmtree(finished.study / "results/runs/dataset~digits/norm~batch")
    finished.edit("workflow/bnstudy/networks/mlp.py")
    set_dates(finished.root / "workflow", lambda path: time.time() - DECADE)
    edit.tried()
    # Told to look at dates alone, which tell nothing: content decides all the same.
    planned = counts(finished, "results/tables/runs.csv", "--rerun-triggers", "mtime")
    edit.wrong(planned.get("train") != 4, f"with dates alone it plans {planned}")
    done = finished.snakemake(*("--cores", "2", "results/tables/runs.csv", "--rerun-triggers", "mtime"))
    said = done.stdout + done.stderr
    edit.wrong(done.returncode != 0, f"it did not continue: {said}")
    edit.wrong("2 of other code" not in said, f"it did not say why: {said}")
    runs = [json.loads(path.read_text()) for path in finished.study.glob("results/runs/**/run.json")]
    edit.wrong(len({run["code_sha256"] for run in runs}) != 1, "the table has two versions")
    edit.tried()
    planned = counts(finished, "results/tables/runs.csv")
    edit.wrong(planned != {}, f"a second snakemake plans {planned}")


def test_an_edit_of_what_preparing_and_training_share(finished, fault):
    """All of it is done again by one snakemake; a dataset that is only made again changes no run."""
    edit = fault("an edit of code that prepares and of code that trains")
    edit.tried()
    planned = counts(finished, "--forcerun", "prepare")
    edit.lost("train" in planned, f"a dataset made again would run {planned}")
    finished.edit("workflow/bnstudy/data/prepare.py")
    finished.edit("workflow/bnstudy/networks/mlp.py")
    edit.tried()
    planned = counts(finished)
    runs = len(list(finished.study.glob("results/runs/**/run.json")))
    done = planned.get("prepare") == 1 and planned.get("train") == runs
    edit.wrong(not done, f"it would run {planned} and leave what the old code made")


def test_a_stray_copy_of_a_run(finished, fault, aftermath):
    stray = fault("a copy of a run among the runs")
    runs = finished.study / "results/runs/dataset~digits/norm~none/epochs~20/probe_every~5/batch_size~32"
    shutil.rmtree(finished.study / "results/tables")
    shutil.copytree(runs / "seed~0", runs / "seed~0 (copy)")
    stray.tried()
    done = finished.snakemake("--cores", "2", "tables")
    said = done.stdout + done.stderr
    stray.wrong(done.returncode == 0, "it says that it succeeded")
    shutil.rmtree(runs / "seed~0 (copy)")  # as the message says
    aftermath(finished, stray, said, "move it away or delete it")


ODD = {
    "odd characters": 'it\'s a "folder" with  Größe, π, 数据, a$HOME `b` & (c);d',
    "a great length": "/".join(["a" * 60] * 3),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_paths(fault, undisturbed, tmp_path, name):
    """Of the checkout and of the working directory: a run, its tables and the report."""
    odd = fault(f"paths with {name}")
    folder = tmp_path / ODD[name]
    folder.mkdir(parents=True)
    study = copy_checkout(folder)
    study.configure(CONFIG)
    study.configure("grid: {seed: [0]}\nstudies: {init_gradients: {enabled: false}}")
    study.study = study.root / ODD[name]
    odd.tried()
    done = study.snakemake("--cores", "2")
    said = done.stdout + done.stderr
    odd.wrong(done.returncode != 0, f"it failed: {said}")
    whole = results(undisturbed)
    for file, text in results(study).items():
        if file.endswith(("metrics.csv", "run.json")) and "/seed~" in file:
            odd.wrong(text != whole[file], f"{file} differs")
    odd.wrong(not (study.study / "report/report.html").is_file(), "there is no report")
    odd.tried()
    again = study.plan().text
    odd.lost("Nothing to be done" not in again, f"it would run again: {again}")
