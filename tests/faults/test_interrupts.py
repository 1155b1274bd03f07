"""Ctrl-C, kills and a second Snakemake: the next plain one continues."""

import shutil
import signal
import time

import pytest
from processes import start, stop, wait_for

STAGES = {
    # stage: what is removed for it to run again, and its log
    "prepare": (["results"], "prepare/dataset~digits.log"),
    "train": (["results/runs", "results/tables"], "train/**/seed~*.log"),
    "run_study": (["results/studies", "results/tables"], "studies/init_gradients/*.log"),
    "aggregate": (["results/tables"], "aggregate.log"),
    "render": (["report"], "render.log"),
}


def begin(study, stage):
    """Start Snakemake with a stage still to do, and wait until that has begun."""
    removed, log = STAGES[stage]
    logs = study.study / "results/logs"
    for path in list(logs.glob(log)):
        path.unlink()
    for folder in removed:
        shutil.rmtree(study.study / folder)
    running = start(study, "all" if stage == "render" else "tables")
    wait_for(lambda: list(logs.glob(log)), running)
    return running


@pytest.mark.parametrize("stage", STAGES)
def test_ctrl_c(finished, fault, aftermath, stage):
    interrupt = fault(f"Ctrl-C in {stage}")
    running = begin(finished, stage)
    time.sleep(1)  # into the work; wherever that is, nothing may be lost
    interrupt.tried()
    said = stop(running, signal.SIGINT)
    interrupt.wrong(running.returncode == 0, "it says that it succeeded")
    target = "all" if stage == "render" else "tables"
    aftermath(finished, interrupt, said, "the same command does the rest", target)


def test_a_killed_snakemake_leaves_no_lock_that_stops_the_next(finished, fault, aftermath):
    kill = fault("SIGKILL of Snakemake and its jobs")
    running = begin(finished, "train")
    kill.tried()
    said = stop(running, signal.SIGKILL)
    kill.wrong(not list((finished.study / ".snakemake/locks").iterdir()), "it left no lock")
    aftermath(finished, kill, said, None)


def test_two_at_once(finished, fault, aftermath):
    second = fault("a second Snakemake in the same folder")
    running = begin(finished, "train")
    second.tried()
    done = finished.snakemake("--cores", "1", "tables")
    said = done.stdout + done.stderr
    assert running.poll() is None, "the first one was too quick for this test"
    second.wrong(done.returncode == 0, "both ran")
    second.wrong("Traceback" in said, "a traceback was shown")
    second.wrong("another" not in said and "no other" not in said, f"it did not say why: {said}")
    dry = finished.snakemake("-n", "tables")
    second.wrong(dry.returncode != 0, "a dry run was refused")
    first = running.communicate()[0]
    second.wrong(running.returncode != 0, f"the first one failed: {first}")
    text = aftermath(finished, second, first, None)
    second.wrong("Nothing to be done" not in text, "something was left to do")
