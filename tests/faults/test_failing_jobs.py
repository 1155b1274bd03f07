"""Jobs that crash, diverge, reach their time limit, or whose notebook fails."""

import json
import os
import shutil
import signal
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
from background import start, wait_for

RUN = "dataset~digits/norm~batch/epochs~20/probe_every~5/batch_size~32/seed~1"


def forget_runs(study):
    for folder in ("results/runs", "results/tables", "results/logs/train"):
        shutil.rmtree(study.study / folder)


def training_processes(running):
    """The process that trains `RUN`, or none; those that end meanwhile are none."""
    found = []
    for process in psutil.Process(running.pid).children(recursive=True):
        with suppress(psutil.Error):
            if {"train", f"results/runs/{RUN}"} <= {*process.cmdline()}:
                found.append(process)
    return found


def training_process(study, running):
    """The process that trains `RUN`, once it has trained an epoch."""
    log = study.study / f"results/logs/train/{RUN}.log"
    wait_for(lambda: log.exists() and "epoch 1/" in log.read_text(), running)
    (process,) = training_processes(running)
    return process


@pytest.fixture
def little_memory(tmp_path):
    """A control group with 64 MB: its folder, and the file that counts whom the kernel killed."""
    first = Path("/sys/fs/cgroup/memory")  # of the first version, if it has that controller
    top, limit, events = (
        (first, "memory.limit_in_bytes", "memory.oom_control")
        if first.is_dir()
        else (first.parent, "memory.max", "memory.events")
    )
    group = top / f"bnstudy_{os.getpid()}"
    try:
        group.mkdir()
        (group / limit).write_text(str(64 * 2**20))
    except OSError as error:
        group.rmdir() if group.is_dir() else None
        pytest.skip(f"no control group can be made here: {error}")
    yield group, group / events
    group.rmdir()


@pytest.mark.parametrize(
    ("name", "how"), [("a run is killed (SIGKILL)", signal.SIGKILL), ("a run hits its limit (SIGTERM)", signal.SIGTERM)]
)
def test_a_run_that_is_killed(finished, fault, aftermath, name, how):
    """As the kernel does when memory runs out, and a scheduler when time does."""
    kill = fault(name)
    forget_runs(finished)
    running = start(finished, "tables")
    process = training_process(finished, running)
    kill.tried()
    os.kill(process.pid, how)
    said = running.communicate()[0]
    kill.wrong(running.returncode == 0, "it says that it succeeded")
    kill.wrong((finished.study / "results/tables/runs.csv").exists(), "tables without the run")
    finished_runs = len(list(finished.study.glob("results/runs/**/run.json")))
    kill.lost(3 - finished_runs, "other runs did not finish")
    aftermath(finished, kill, said, f"results/logs/train/{RUN}.log: ")


def test_a_run_out_of_memory(finished, fault, aftermath, little_memory):
    """The kernel's own doing: the job alone, in a control group that is too small for it."""
    group, events = little_memory
    out = fault("a run is out of memory (the kernel's OOM killer, in a control group)")
    forget_runs(finished)
    running = start(finished, "tables")
    wait_for(lambda: training_processes(running), running)
    (group / "cgroup.procs").write_text(str(training_processes(running)[0].pid))
    out.tried()
    said = running.communicate()[0]
    assert "oom_kill 1" in events.read_text().splitlines()
    out.wrong(running.returncode == 0, "it says that it succeeded")
    out.lost(3 - len(list(finished.study.glob("results/runs/**/run.json"))), "other runs")
    aftermath(finished, out, said, f"results/logs/train/{RUN}.log: ")


def test_a_run_that_is_stopped_for_a_while(finished, fault, aftermath):
    """As with `kill -STOP`, by a laptop that sleeps or a scheduler that suspends."""
    pause = fault("a run is stopped and goes on (SIGSTOP, SIGCONT)")
    forget_runs(finished)
    running = start(finished, "tables")
    process = training_process(finished, running)
    pause.tried()
    process.suspend()
    wait_for(lambda: len(list(finished.study.glob("results/runs/**/run.json"))) >= 1, running)
    process.resume()
    said = running.communicate()[0]
    pause.wrong(running.returncode != 0, f"it failed: {said}")
    text = aftermath(finished, pause, said, None)
    pause.lost("Nothing to be done" not in text, "something was left to do")


def test_a_run_that_crashes(finished, fault, aftermath):
    """An error in the code, which its author has to see: the log has it, the message its last line."""
    crash = fault("a run that crashes")
    forget_runs(finished)
    source = finished.root / "workflow/bnstudy/networks/mlp.py"
    sound = source.read_text()
    source.write_text(sound.replace("def build_mlp(", "def build_mlp(*, impossible, ", 1))
    crash.tried()
    done = finished.snakemake("--cores", "2", "tables")
    said = done.stdout + done.stderr
    crash.wrong(done.returncode == 0, "it says that it succeeded")
    summary = said.partition("These jobs did not finish")[2]
    crash.wrong(f"results/logs/train/{RUN}.log: TypeError" not in summary, f"not in {summary}")
    source.write_text(sound)
    # Snakemake shows the log of the failed job, with its traceback, by the default profile.
    aftermath(finished, crash, said.replace("Traceback", ""), None)


def test_a_run_that_diverges_is_a_result(finished, fault):
    diverge = fault("a run that diverges")
    settings = "--norm none --batch-size 32 --seed 0 --optimizer sgd --learning-rate 1e30"
    out = finished.study / "diverged"
    diverge.tried()
    done = finished.bnstudy("train", "results/data/digits/prepared.safetensors", *settings.split(), "--out", out)
    diverge.wrong(done.returncode != 0, "it failed")
    diverge.wrong("diverged" not in done.stderr, "it did not say so")
    run = json.loads((out / "run.json").read_text())
    diverge.wrong(run["status"] != "diverged" or run["test_accuracy"] is not None, "a result of it")


def test_a_notebook_cell_that_fails(finished, fault, aftermath):
    failing = fault("a notebook cell that fails")
    source = finished.root / "report/notebook.py"
    sound = source.read_text()
    source.write_text(f"{sound}\n# %% [markdown]\n# ## A new section\n\n# %%\n[][3]\n")
    kept = finished.study / "report/report.html"
    failing.tried()
    done = finished.snakemake("--cores", "2")
    said = done.stdout + done.stderr
    failing.wrong(done.returncode == 0, "it says that it succeeded")
    told = "the section 'A new section', cell '[][3]': IndexError"
    copy = json.loads((finished.study / "results/logs/render.failed.ipynb").read_text())
    outputs = [output for cell in copy["cells"] for output in cell.get("outputs", [])]
    failing.wrong(not any(o["output_type"] == "error" for o in outputs), "no error in the copy")
    failing.wrong(kept.exists(), "the report of another notebook is still there")
    source.write_text(sound)
    aftermath(finished, failing, said, told, "all")
    failing.wrong(not kept.exists(), "no report")
