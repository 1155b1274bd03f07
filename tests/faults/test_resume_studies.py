"""A job of a study that is cut off in any way ends, when repeated, as if it never had been."""

import json
import multiprocessing
import os
import random
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
from test_resume import FORKS, STARTED, bnstudy

from bnstudy.training.checkpoints import AGAIN

# Every observer that keeps something between two steps, and noise that a run must go on with.
WATCHED = {
    "settings": {"train_images": 320, "batch_size": 16, "epochs": 4, "dropout": 0.3,
                 "optimizer": "sgd", "learning_rate": 0.1, "probe_every": 7},
    "grid": {"norm": ["noisy_batch"], "activation": ["relu", "tanh"]},
    "loop": ["activation"],
    "observers": [
        {"landscape": {"landscape_every": 6, "drift_steps": 4}},
        {"drift": {"drift_every": 5, "drift_steps": 3}},
        {"gradient_range": {"gradient_every": 3}},
        *("bias_norm", "soft_rank", "loss_fluctuation", "last_inputs", "variance_shift"),
    ],
    "rows": "value",
}  # fmt: skip
STALENESS = {
    "options": {
        "hidden": [64, 64],
        "learning_rate": 0.001,
        "statistics_images": 300,
        "evaluation_images": 200,
        "staleness": {"batch_size": 64, "epochs": 1, "momenta": [0.1, None], "steps": [1, 9]},
    }
}


@dataclass
class Job:
    """One job of a study, that can be started again and again."""

    data: Path
    out: Path
    name: str = "watched"
    declaration: dict = field(default_factory=lambda: WATCHED)
    cell: dict = field(default_factory=lambda: {"norm": "noisy_batch"})

    def start(self, last_sync: int | None = None) -> multiprocessing.Process:
        self.out.parent.mkdir(parents=True, exist_ok=True)
        words = ["study", self.name, self.data, "--declaration", json.dumps(self.declaration)]
        words += ["--cell", json.dumps(self.cell), "--seeds", "2", "--device", "cpu"]
        words += ["--checkpoint-every", "5", "--out", self.out]
        log = self.out.parent.with_suffix(".log")
        arguments = (log, [str(word) for word in words], last_sync)
        process = FORKS.Process(target=bnstudy, args=arguments, daemon=True)
        process.start()
        STARTED.append(process)
        return process

    def finish(self) -> float:
        """Run to the end; returns the seconds that it took."""
        started = time.monotonic()
        process = self.start()
        process.join()
        assert process.exitcode == 0, self.log()
        return time.monotonic() - started

    def log(self) -> str:
        return self.out.parent.with_suffix(".log").read_text()

    def finished(self) -> int:
        """Parts whose rows are kept."""
        return len(list(self.out.parent.glob(".progress/*/rows.json")))

    def is_clean(self) -> bool:
        return os.listdir(self.out.parent) == [self.out.name]


@pytest.fixture(scope="module")
def undisturbed(digits_data, tmp_path_factory):
    """The same job, finished without any trouble, and the seconds that it took."""
    twin = Job(digits_data, tmp_path_factory.mktemp("undisturbed") / "cell/rows.csv")
    return twin, twin.finish()


@pytest.fixture
def job(digits_data, tmp_path):
    yield Job(digits_data, tmp_path / "cell/rows.csv")
    while STARTED:  # what a failed test left; pytest would wait for it
        STARTED.pop().kill()


def test_sigkill_at_random_moments(job, undisturbed, fault):
    twin, seconds = undisturbed
    kills = fault("SIGKILL of a job of a study at a random moment")
    random.seed(13)
    attempts, finished, resumed = 0, 0, 0
    while not job.out.exists():
        process = job.start()
        process.join(random.uniform(0.12, 0.35) * seconds)
        process.kill()
        process.join()
        attempts += 1
        kills.tried()
        kills.lost(job.finished() < finished and not job.out.exists(), "finished runs were lost")
        finished, resumed = job.finished(), resumed + ("resumed after step" in job.log())
        assert "Traceback" not in job.log(), job.log()
        assert attempts < 100
    job.finish()
    assert attempts >= 3
    assert resumed > 0
    kills.wrong(job.out.read_bytes() != twin.out.read_bytes(), "other bytes than undisturbed")
    kills.wrong(not job.is_clean(), "files were left behind")


def test_sigkill_at_every_kind_of_write(job, undisturbed, fault):
    """Checkpoints, rows of a run, the table: the odd syncs are of files, the even ones of folders."""
    twin, _ = undisturbed
    kills = fault("SIGKILL while a job of a study writes")
    syncs = list(range(1, 70, 6)) + [2] * 3
    for last_sync in syncs:
        process = job.start(last_sync)
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL, job.log()
        kills.tried()
    job.finish()
    kills.wrong(job.out.read_bytes() != twin.out.read_bytes(), "other bytes than undisturbed")
    kills.wrong(not job.is_clean(), "files were left behind")


def test_sigterm_saves_and_asks_for_another_attempt(job, undisturbed, fault):
    twin, seconds = undisturbed
    signals = fault("SIGTERM to a job of a study")
    for share in (0.4, 0.5, 0.6):
        process = job.start()
        process.join(share * seconds)
        if not job.out.parent.joinpath(".progress").exists():
            process.kill()  # it had not begun
            continue
        process.terminate()
        process.join()
        if process.exitcode == 0:
            break
        signals.tried()
        signals.wrong(process.exitcode != AGAIN, f"exit status {process.exitcode}: {job.log()}")
        signals.wrong("asked to stop" not in job.log().splitlines()[-1], "no word of it")
    job.finish()
    signals.wrong(job.out.read_bytes() != twin.out.read_bytes(), "other bytes than undisturbed")


def test_what_other_settings_left_is_not_used(job, fault):
    other = fault("rows kept from a job with other settings")
    job.start(last_sync=40).join()
    kept = job.finished()
    assert kept > 0
    slower = WATCHED | {"settings": WATCHED["settings"] | {"learning_rate": 0.05}}
    fresh = replace(job, out=job.out.parent.with_name("fresh") / "rows.csv", declaration=slower)
    fresh.finish()
    job.declaration = slower
    job.finish()
    other.tried()
    other.wrong(job.out.read_bytes() != fresh.out.read_bytes(), "rows of other settings were used")


def test_a_study_that_is_code_keeps_its_seeds(job, fault):
    job.name, job.declaration, job.cell = "inference_statistics", STALENESS, {"part": "staleness"}
    twin = replace(job, out=job.out.parent.with_name("undisturbed") / "rows.csv")
    twin.finish()
    kills = fault("SIGKILL of a study that is code")
    for last_sync in (2, 2):
        process = job.start(last_sync)
        process.join()
        assert process.exitcode == -signal.SIGKILL, job.log()
        kills.tried()
    assert job.finished() == 2
    job.finish()
    kills.wrong(job.out.read_bytes() != twin.out.read_bytes(), "other bytes than undisturbed")
    kills.wrong(not job.is_clean(), "files were left behind")
