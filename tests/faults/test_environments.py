"""What changes while jobs wait, or between two starts: settings, code, the machine, its software.

No table may hold rows of two kinds, nothing may be recorded as made from what it was not made from,
and what is finished stays finished where nothing is added to it.
"""

import csv
import shutil

import pytest
from aftermath import results
from background import start, wait_for

SUBMIT = """#!/bin/sh
setsid sh -c 'until [ -e QUEUE/go ]; do sleep 0.05; done; sh "$0" > "QUEUE/$$.log" 2>&1
    echo $? > QUEUE/$$.rc' "$1" > /dev/null 2>&1 &
echo $!
"""
STATUS = """#!/bin/sh
if ! [ -e QUEUE/$1.rc ]; then echo running
elif [ $(cat QUEUE/$1.rc) = 0 ]; then echo success; else echo failed; fi
"""
TRAINED = "results/runs/dataset~digits/norm~{}/epochs~20/probe_every~5/batch_size~32/seed~{}"


def environments(study, table="runs"):
    with open(study.study / f"results/tables/{table}.csv", newline="") as file:
        return [row["environment"] for row in csv.DictReader(file)]


def said_by(done):
    return done.stdout + done.stderr


@pytest.fixture
def queue(finished):
    """Arguments for a cluster whose jobs wait until there is a file `go` in a folder, and the folder."""
    folder = finished.root.parent / "queue"
    folder.mkdir()
    scripts = {"submit": SUBMIT, "status": STATUS}
    for name, text in scripts.items():
        (folder / name).write_text(text.replace("QUEUE", str(folder)))
        (folder / name).chmod(0o755)
    arguments = (
        *("--executor", "cluster-generic", "--jobs", "4", "--max-status-checks-per-second", "10"),
        *("--cluster-generic-submit-cmd", f"{folder}/submit"),
        *("--cluster-generic-status-cmd", f"{folder}/status"),
    )
    return arguments, folder


def test_a_configuration_edited_while_jobs_wait(finished, queue, undisturbed, fault):
    """And edited back when they are done: what is there was made with what it says."""
    edit = fault("the configuration is edited while jobs wait in a queue, and edited back")
    arguments, folder = queue
    shutil.rmtree(finished.study / "results/tables")
    shutil.rmtree(finished.study / TRAINED.format("batch", 1))
    shutil.rmtree(finished.study / "results/studies/init_gradients/network~none_he")
    path = finished.root / "config/config.yaml"
    sound = path.read_text()
    running = start(finished, "tables", *arguments)
    wait_for(lambda: len(list((finished.study / ".snakemake/tmp.*").parent.glob("tmp.*/*.sh"))) > 1, running)
    edit.tried()
    finished.configure(
        "training: {learning_rate: 0.1}\nstudies: {init_gradients: {options: {width: 32}}}\ngrid: {seed: [7]}"
    )
    (folder / "go").touch()
    said = running.communicate()[0]
    path.write_text(sound)
    edit.wrong(running.returncode != 0, f"it failed: {said}")
    edit.wrong(results(finished) != results(undisturbed), "another configuration was trained")
    edit.tried()
    planned = finished.plan("tables").counts
    edit.wrong(planned != {}, f"a second snakemake plans {dict(planned)}")


FLAG = {"MKL_CBWR": "COMPATIBLE"}


def test_another_environment(finished, fault):
    """Flags that change numbers: what is finished stays; where rows are added, all are of one kind."""
    other = fault("flags of the processor's libraries that change between two starts")
    other.tried()
    planned = finished.plan(**FLAG).counts
    other.lost(planned != {}, f"nothing is added, but it would run {dict(planned)}")
    finished.configure("grid: {seed: [0, 1, 2]}")
    other.tried()
    done = finished.snakemake("--cores", "2", "tables", **FLAG)
    other.wrong(done.returncode != 0, said_by(done))
    told = "4 of another environment (now MKL_CBWR=COMPATIBLE)"
    other.wrong(told not in " ".join(said_by(done).split()), f"it did not say why: {said_by(done)}")
    found = environments(finished)
    other.wrong(len(found) != 6 or len(set(found)) != 1, f"mixed: {set(found)}")
    other.lost(len(set(environments(finished, "init_gradients"))) != 1, "a study was mixed")
    other.tried()
    planned = finished.plan("tables").counts  # back without the flag: all of one kind, nothing to add
    other.lost(planned != {}, f"it would run {dict(planned)}")


def test_odd_surroundings(finished, fault, undisturbed, tmp_path):
    """A home that cannot be written, a long TMPDIR, a matplotlibrc, modules and folders in the way."""
    odd = fault("an odd home, TMPDIR, matplotlibrc; stray modules and folders")
    temporary = tmp_path / ("t" * 120)
    temporary.mkdir()
    (finished.study / "matplotlibrc").write_text("text.usetex: true\nfont.size: 30\n")
    for module in ("pandas", "torch", "yaml"):
        (finished.study / f"{module}.py").write_text("raise SystemExit('the wrong one')\n")
    (finished.study / TRAINED.format("batch", 1) / "a stray folder").mkdir(parents=True)
    shutil.rmtree(finished.study / "report")
    shutil.rmtree(finished.study / "results/tables")
    (finished.study / TRAINED.format("batch", 1) / "run.json").unlink()
    odd.tried()
    nowhere = "/proc/none"
    # Snakemake itself keeps a cache at home, before it reads any workflow; README says what to set.
    cache = {"XDG_CACHE_HOME": str(tmp_path)}
    done = finished.snakemake(HOME=nowhere, TMPDIR=str(temporary), MPLCONFIGDIR=nowhere, **cache)
    odd.wrong(done.returncode != 0, f"it failed: {said_by(done)}")
    odd.wrong("Traceback" in said_by(done), f"a traceback was shown: {said_by(done)}")
    odd.wrong(results(finished) != results(undisturbed), "other results")
    odd.wrong(not (finished.study / "report/report.html").is_file(), "there is no report")


def test_tables_of_two_environments_are_refused(finished, fault):
    """Also where somebody makes the runs and tables by hand."""
    mixed = fault("runs of two environments in one table")
    run = TRAINED.format("batch", 1)
    options = "--norm batch --batch-size 32 --seed 1 --epochs 20 --probe-every 5 --device cpu"
    data = "results/data/digits/prepared.safetensors"
    done = finished.bnstudy("train", data, *options.split(), "--out", run, **FLAG)
    assert done.returncode == 0, done.stderr
    mixed.tried()
    done = finished.bnstudy("aggregate", "results/run_config.yaml", "--results", "results")
    mixed.wrong(done.returncode != 2 or "MKL_CBWR=COMPATIBLE" not in done.stderr, done.stderr)
    mixed.wrong("Traceback" in done.stderr, done.stderr)
    mixed.tried()
    planned = finished.plan("results/tables/runs.csv").counts  # as its message says
    mixed.wrong(planned.get("train") != 1, f"it would not train the other again: {dict(planned)}")
    finished.run("results/tables/runs.csv")
    mixed.wrong(len(set(environments(finished))) != 1, "the table mixes them")


def test_a_list_of_claims_edited_while_a_job_runs(finished, fault):
    """What it was judged by is not what is there then: it says so, and judges again."""
    edit = fault("the list of claims is edited while jobs run")
    path = finished.root / "config/claims.yaml"
    sound = path.read_text()
    shutil.rmtree(finished.study / TRAINED.format("batch", 1))
    running = start(finished, "tables")
    log = finished.study / "results/logs/train" / f"{TRAINED.format('batch', 1)[13:]}.log"
    log.unlink(missing_ok=True)
    wait_for(log.exists, running)
    path.write_text(sound.replace("Training converges faster", "Training becomes faster"))
    edit.tried()
    said = running.communicate()[0]
    edit.wrong(running.returncode == 0, "it says that it succeeded")
    edit.wrong("was edited while this job" not in " ".join(said.split()), f"not said: {said}")
    path.write_text(sound)
    finished.run("tables")
    text = (finished.study / "results/tables/claims.csv").read_text()
    edit.wrong("becomes faster" in text, "the discarded claim is in the table")
