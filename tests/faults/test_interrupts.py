"""Ctrl-C, kills and a second Snakemake: the next plain one continues."""

import shutil
import signal
import subprocess
import sys
import time

import pytest
from background import start, stop, wait_for

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
    # Into the work, and not beyond it; wherever that is, nothing may be lost.
    time.sleep(0.3 if stage == "aggregate" else 1)
    interrupt.tried()
    said = stop(running, signal.SIGINT)
    interrupt.wrong(running.returncode == 0, "it says that it succeeded")
    target = "all" if stage == "render" else "tables"
    aftermath(finished, interrupt, said, "the same command does the rest", target)


# A job that gets SIGINT when Python looks for a certain module, or when it has done its work.
INTERRUPTED = """
import atexit, os, signal, sys

def interrupt():
    print("now", flush=True)
    os.kill(os.getpid(), signal.SIGINT)

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == moment:
            interrupt()

moment = sys.argv.pop(1)
sys.meta_path.insert(0, Finder())
if moment == "exit":
    atexit.register(interrupt)
from bnstudy.__main__ import main
main()
"""


@pytest.mark.parametrize(
    ("moment", "status", "said"),
    [
        ("bnstudy.cli", 130, "interrupted"),
        ("argparse", 130, "interrupted"),
        ("bnstudy.training.loop", 130, "interrupted"),
        ("torch", 130, "interrupted"),
        ("numpy", 130, "interrupted"),  # by PyTorch, in C++
        ("numpy._core.multiarray", 130, "interrupted"),
        ("torch.storage", 130, "interrupted"),
        ("bnstudy.networks.optimizers", 130, "interrupted"),
        ("exit", 2, "cannot open the prepared dataset"),  # as if nobody had asked
    ],
)
def test_ctrl_c_while_python_starts_or_ends(fault, tmp_path, moment, status, said):
    interrupt = fault("Ctrl-C while Python starts or ends")
    options = ("--norm=none", "--batch-size=32", "--seed=0", "--device=cpu")
    run = ("train", str(tmp_path / "missing"), "--out", str(tmp_path / "run"), *options)
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED, moment, *run], check=False, capture_output=True, text=True
    )
    interrupt.tried()
    assert done.stdout == "now\n"
    interrupt.wrong(done.returncode != status, f"it ended with {done.returncode}")
    lines = done.stderr.splitlines()
    interrupt.wrong(len(lines) != 1 or said not in lines[0], f"not one clear line: {done.stderr}")


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
