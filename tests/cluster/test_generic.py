"""The study through the generic profile, on a stand-in for a batch system: three shell commands.

It runs each job at once, detached from whoever submitted it, in a folder of the queue.
"""

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import ROOT, RUNS, Study, targets

COMMANDS = {
    "submit": """
        job=$(mktemp -d QUEUE/XXXXXX)
        shift  # what was asked for, which nobody here limits
        setsid sh -c 'echo $$ > $0/pid; "$1" > $0/log 2>&1; echo $? > $0/exit' $job "$1" \
            > /dev/null 2>&1 &
        basename $job
    """,
    "status": """
        if [ -e QUEUE.slow ]; then touch QUEUE.asked; sleep 5; fi
        if ! [ -e QUEUE/$1/exit ]; then echo running
        elif [ $(cat QUEUE/$1/exit) = 0 ]; then echo success
        else echo failed; fi
    """,
    "cancel": """
        for job; do
            for signal in TERM CONT; do kill -$signal -- -$(cat QUEUE/$job/pid); done
            echo cancelled > QUEUE/$job/exit
        done
    """,
}


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[Path]:
    """The folder of the jobs; what still runs at the end of the test is ended."""
    folder = tmp_path / "queue"
    folder.mkdir()
    for name, text in COMMANDS.items():
        script = tmp_path / name
        script.write_text("#!/bin/sh\n" + text.replace("QUEUE", str(folder)))
        script.chmod(0o755)
    yield folder
    for job in folder.iterdir():
        if not (job / "exit").exists():
            os.killpg(int((job / "pid").read_text()), signal.SIGKILL)


@pytest.fixture
def study(undisturbed: Study, tmp_path: Path) -> Iterator[Study]:
    """The study of two runs with its data prepared and nothing trained."""
    folder = tmp_path / "study"
    data = "results/data/digits/prepared.safetensors"
    (folder / data).parent.mkdir(parents=True)
    shutil.copy2(undisturbed.folder / data, folder / data)
    study = Study(folder, undisturbed.configfile)
    yield study
    study.kill()


def on_stand_in(queue: Path, *arguments: str) -> list[str]:
    """Arguments for the shipped profile, with the stand-in's commands."""
    asked = "{threads},{resources.mem_mb},{resources.runtime},{resources.gpu}"
    return [
        *("--profile", str(ROOT / "profiles/generic"), "--max-status-checks-per-second", "10"),
        *("--cluster-generic-submit-cmd", f"{queue.parent}/submit {asked}"),
        *("--cluster-generic-status-cmd", f"{queue.parent}/status"),
        *("--cluster-generic-cancel-cmd", f"{queue.parent}/cancel", *arguments),
    ]


def test_jobs_of_a_killed_submitter_are_waited_for(study, queue, undisturbed):
    """The jobs that the second snakemake submits wait, each, for the one that still trains."""
    arguments = on_stand_in(queue, *targets(RUNS))
    first = study.start(*arguments)
    study.wait_until_trains(RUNS, first)
    old = [int((job / "pid").read_text()) for job in queue.iterdir()]
    for group in old:
        os.killpg(group, signal.SIGSTOP)  # or they might be done before the second begins
    first.kill()
    first.wait()
    assert study.run("--unlock")[0] == 0
    second = study.start(*arguments)
    study.wait_until(lambda: all("waiting: another process" in study.log(r) for r in RUNS), second)
    assert not any(study.result(run) for run in RUNS)
    for group in old:
        os.killpg(group, signal.SIGCONT)
    assert second.wait(300) == 0, study.output()
    assert {path.read_text().strip() for path in queue.glob("*/exit")} == {"0"}
    assert len(list(queue.iterdir())) == 2 * len(RUNS)
    assert [study.result(run) for run in RUNS] == [undisturbed.result(run) for run in RUNS]


@pytest.mark.parametrize("while_it_asks", [False, True])
def test_interrupt_cancels_what_was_submitted(study, queue, while_it_asks):
    """Also while Snakemake waits for a batch system to say how the jobs are."""
    process = study.start(*on_stand_in(queue, *targets(RUNS)))
    study.wait_until_trains(RUNS, process)
    if while_it_asks:
        for job in queue.iterdir():  # or they might be done before it first asks
            os.killpg(int((job / "pid").read_text()), signal.SIGSTOP)
        Path(f"{queue}.slow").touch()
        study.wait_until(Path(f"{queue}.asked").exists, process)
    process.send_signal(signal.SIGINT)
    assert process.wait(100) == 1, study.output()
    assert {path.read_text().strip() for path in queue.glob("*/exit")} == {"cancelled"}
    assert not any(study.result(run) for run in RUNS)
