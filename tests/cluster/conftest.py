"""A throw-away cluster, and studies that run on it through the shipped profiles."""

import contextlib
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import psutil
import pytest
from throwaway_slurm import ThrowawaySlurm, missing_packages

ROOT = Path(__file__).parents[2]
QUICK = ROOT / "config/quick.yaml"
POLLING = Path(__file__).with_name("polling.py")

# Two runs that take long enough to be disturbed.
DISTURBED = """
grid: {dataset: [digits], norm: [none], batch_size: [32], seed: [0, 1]}
training: {epochs: 300, probe_every: 1000}
studies: {identities: {enabled: false}, init_gradients: {enabled: false}}
"""
RUNS = [f"dataset~digits/norm~none/epochs~300/probe_every~1000/batch_size~32/seed~{seed}" for seed in (0, 1)]


@dataclass
class Study:
    """A folder in which the checkout's workflow runs, on this machine or on a cluster."""

    folder: Path
    configfile: Path
    environment: dict[str, str] = field(default_factory=os.environ.copy, repr=False)
    started: list[subprocess.Popen] = field(default_factory=list, repr=False)

    def command(self, *arguments: str) -> list[str]:
        return [
            *(sys.executable, str(POLLING), "--cores", "all", "--configfile", str(self.configfile)),
            *("--directory", str(self.folder), *arguments),
        ]

    def start(self, *arguments: str) -> subprocess.Popen:
        """Start snakemake; what it says goes to `output.txt`."""
        with open(self.folder / "output.txt", "a") as output:
            process = subprocess.Popen(
                self.command(*arguments),
                cwd=ROOT,
                env=self.environment | {"PYTHONPATH": str(ROOT / "workflow")},
                stdout=output,
                stderr=output,
            )
        self.started.append(process)
        return process

    def kill(self) -> None:
        """End what a failed test left running."""
        for process in self.started:
            if process.poll() is None:
                process.kill()
                process.wait()

    def run(self, *arguments: str) -> tuple[int, str]:
        """Run snakemake to its end; returns the exit status and all that was said so far."""
        status = self.start(*arguments).wait(timeout=1200)
        return status, self.output()

    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def log(self, run: str) -> str:
        path = self.folder / f"results/logs/train/{run}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def result(self, run: str) -> list[bytes] | None:
        """Content of the files of a run that must not depend on how it was run."""
        files = [self.folder / f"results/runs/{run}/{name}" for name in ("run.json", "metrics.csv")]
        return [file.read_bytes() for file in files] if files[0].exists() else None

    def wait_until(self, ready: Callable[[], bool], process: subprocess.Popen) -> None:
        """Wait for something that happens while snakemake runs."""
        end = time.monotonic() + 300
        while not ready():
            assert process.poll() is None, self.output()
            assert time.monotonic() < end, self.output()
            time.sleep(0.1)

    def wait_until_trains(self, runs: list[str], process: subprocess.Popen) -> None:
        """Wait until these runs are all past their tenth epoch, and not finished."""
        self.wait_until(lambda: all("epoch 10/" in self.log(run) for run in runs), process)
        assert not any(self.result(run) for run in runs)


class Writers(threading.Thread):
    """Watches how many processes train the same run of a study at the same time."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self.folder, self.most, self.done = folder, Counter(), threading.Event()

    def run(self) -> None:
        while not self.done.wait(0.05):
            self.most |= Counter(self.trained())

    def trained(self) -> Iterator[str]:
        """The run that each of these processes trains."""
        found = {}
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):  # gone by now
                words = process.cmdline()
                if {"train", "--out"} <= {*words} and Path(process.cwd()) == self.folder:
                    found[process.pid] = (process.ppid(), words[words.index("--out") + 1])
        for parent, folder in found.values():
            # A process that is about to become another program (git, for the commit) bears its
            # parent's command line until then: milliseconds, where the processors are busy.
            if parent not in found:
                yield folder.removeprefix("results/runs/")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error) -> None:
        self.done.set()
        self.join()


@pytest.fixture(scope="session")
def quick_study(tmp_path_factory) -> Path:
    """The folder of the quick study's tables, made on this machine."""
    folder = tmp_path_factory.mktemp("here")
    status, output = Study(folder, QUICK).run("--", "tables")
    assert status == 0, output
    return folder


def check_same_tables(here: Path, there: Path) -> None:
    """All tables but the times are the same, byte for byte, and there is a report."""
    tables = {path.name for path in (here / "results/tables").iterdir()}
    assert {"runs.csv", "metrics.csv", "comparison.csv", "claims.csv"} <= tables
    for name in sorted(tables - {"timings.csv"}):
        ours, theirs = (folder / "results/tables" / name for folder in (here, there))
        assert ours.read_bytes() == theirs.read_bytes(), name
    assert (there / "report/report.html").exists()


@pytest.fixture(scope="session")
def cluster() -> Iterator[ThrowawaySlurm]:
    """Two nodes with two fake GPUs each."""
    if missing := missing_packages():
        install = f"apt-get install --no-install-recommends {' '.join(missing)}"
        pytest.fail(f"the cluster tests need a real Slurm: {install}", pytrace=False)
    throwaway = ThrowawaySlurm()
    yield throwaway
    throwaway.stop()
    left = [daemon.args for daemon in throwaway.daemons.values() if daemon.poll() is None]
    assert not left
    assert not throwaway.folder.exists()


@pytest.fixture
def slurm(cluster: ThrowawaySlurm) -> Iterator[ThrowawaySlurm]:
    """The cluster, without jobs before and after the test."""
    yield cluster
    cluster.cancel_all()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """The study of two runs, run on this machine."""
    folder = tmp_path_factory.mktemp("undisturbed")
    configfile = folder / "disturbed.yaml"
    configfile.write_text(DISTURBED)
    study = Study(folder, configfile)
    status, output = study.run(*targets(RUNS))
    assert status == 0, output
    return study


@pytest.fixture
def study(undisturbed: Study, slurm: ThrowawaySlurm, tmp_path: Path) -> Iterator[Study]:
    """The study of two runs with its data prepared and nothing trained, to be run on Slurm."""
    data = "results/data/digits/prepared.safetensors"
    (tmp_path / data).parent.mkdir(parents=True)
    shutil.copy2(undisturbed.folder / data, tmp_path / data)
    study = Study(tmp_path, undisturbed.configfile, slurm.environment)
    yield study
    study.kill()


def targets(runs: list[str]) -> list[str]:
    """Arguments that make these runs, without tables and report."""
    return ["--", *(f"results/runs/{run}/run.json" for run in runs)]


def on_slurm(*arguments: str) -> list[str]:
    """Arguments for the shipped profile on a cluster without accounting and with nobody else."""
    return [
        *("--profile", str(ROOT / "profiles/slurm"), "--slurm-status-command", "squeue"),
        *("--slurm-init-seconds-before-status-checks", "1", "--max-status-checks-per-second", "10"),
        *("--latency-wait", "20", *arguments),
    ]
