"""A training run that is cut off in any way ends, when repeated, as if it never had been.

Every kill is a real one, of a real process. A fork server with PyTorch in its memory starts the
processes, for a test that imported PyTorch at each attempt would be able to kill only a few.
"""

import io
import json
import multiprocessing
import os
import pickle
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

import psutil
import pytest
import torch

from bnstudy.training.checkpoints import AGAIN, NAME, Checkpoint
from checkouts import Checkout, copy_checkout

FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["bnstudy.cli", "bnstudy.training.loop", "psutil"])
OUTPUTS = ("metrics.csv", "run.json")
STARTED: list[multiprocessing.Process] = []
STARTED_ANEW = "starting at the beginning"


def bnstudy(log: Path, arguments: list[str], last_sync: int | None) -> None:
    """The command, in a process of its own, which is killed when it writes to the disk that often."""
    with open(log, "w") as file:
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["bnstudy", *arguments]
    if last_sync is not None:
        os.fsync = killing(os.fsync, last_sync)
    from bnstudy import cli

    cli.main()


def killing(function, last: int):
    """The function, in whose call number `last` the process gets SIGKILL."""
    calls = 0

    def call(*arguments):
        nonlocal calls
        calls += 1
        if calls == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments)

    return call


@dataclass
class Run:
    """One training run, that can be started again and again; 864 steps and 98 checkpoints."""

    data: Path
    folder: Path
    options: dict[str, str] = field(default_factory=dict)

    def arguments(self) -> list[str]:
        defaults = {"norm": "batch", "batch-size": 16, "seed": 0, "epochs": 12, "device": "cpu"}
        options = defaults | {"dropout": 0.3, "probe-every": 7, "checkpoint-every": 10}
        words = [f"--{key}={value}" for key, value in (options | self.options).items()]
        return ["train", str(self.data), "--out", str(self.folder), *words]

    def start(self, log: str = "log", last_sync: int | None = None) -> multiprocessing.Process:
        arguments = (self.folder.with_name(log), self.arguments(), last_sync)
        process = FORKS.Process(target=bnstudy, args=arguments, daemon=True)
        process.start()
        STARTED.append(process)
        return process

    def finish(self, code: int = 0) -> str:
        """Run to the end and return the log."""
        process = self.start()
        process.join()
        assert process.exitcode == code, self.log()
        return self.log()

    def log(self, name: str = "log") -> str:
        path = self.folder.with_name(name)
        return path.read_text() if path.exists() else ""

    @property
    def checkpoint(self) -> Path:
        return self.folder / NAME

    def step(self) -> int:
        """The step that the checkpoint was made after."""
        content = self.checkpoint.read_bytes().partition(b"\n")[2]
        return torch.load(io.BytesIO(content), weights_only=True)["state"]["step"]

    def wait_for_checkpoints(self, process: multiprocessing.Process, n: int) -> None:
        """Wait until the process has made `n` checkpoints, or has ended."""
        last = version(self.checkpoint)
        while n > 0 and process.is_alive():
            if (now := version(self.checkpoint)) != last:
                last, n = now, n - 1
            time.sleep(0.0005)

    def stop_after(self, n: int) -> int:
        """Start, ask it to end after `n` checkpoints, and return the exit code."""
        process = self.start()
        self.wait_for_checkpoints(process, n)
        process.terminate()
        process.join()
        return process.exitcode

    def die_after(self, n: int) -> None:
        """Start, and be killed when the checkpoint number `n` has its name."""
        process = self.start(last_sync=2 * n)  # each writes the file, then the folder, to the disk
        process.join()
        assert process.exitcode == -signal.SIGKILL, self.log()

    def outputs(self) -> dict[str, bytes]:
        return {name: (self.folder / name).read_bytes() for name in OUTPUTS}

    def is_clean(self) -> bool:
        names = {path.name for path in self.folder.iterdir()}
        return names == {*OUTPUTS, "timing.json"}


def version(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_mtime_ns


def resumed_after(log: str) -> int | None:
    found = re.search(r"^resumed after step (\d+) of", log, re.MULTILINE)
    return int(found[1]) if found else None


@pytest.fixture
def new_run(digits_data, tmp_path):
    """Make a run, by its options, and an undisturbed twin that has finished."""

    def make(**options) -> tuple[Run, Run]:
        options = {key.replace("_", "-"): value for key, value in options.items()}
        (tmp_path / "undisturbed").mkdir()
        twin = Run(digits_data, tmp_path / "undisturbed/run", options)
        twin.finish()
        return Run(digits_data, tmp_path / "run", options), twin

    yield make
    while STARTED:  # what a failed test left; pytest would wait for it
        STARTED.pop().kill()


@pytest.mark.parametrize(
    "options",
    [
        {"norm": "batch"},
        {"norm": "none"},
        {"norm": "layer", "optimizer": "sgd", "dropout": 0.0, "scaling": "standardize"},
    ],
    ids=lambda options: options["norm"],
)
def test_sigkill_at_random_moments(new_run, fault, options):
    run, twin = new_run(**options)
    kills = fault("SIGKILL of a training job at a random moment")
    random.seed(options["norm"])
    attempts, step = 0, None
    while True:
        process = run.start()
        # Anywhere: between two checkpoints, while one is written, in an evaluation.
        run.wait_for_checkpoints(process, random.randint(1, 5))
        time.sleep(random.uniform(0, 0.01))
        process.kill()
        process.join()
        kills.lost(resumed_after(run.log()) != step, "did not go on from the last checkpoint")
        if process.exitcode == 0 or not run.checkpoint.exists():
            break  # done, and perhaps killed on its way out
        assert process.exitcode == -signal.SIGKILL, run.log()
        attempts += 1
        kills.tried()
        step = run.step()
    assert attempts >= 10
    kills.wrong(run.outputs() != twin.outputs(), "other bytes than an undisturbed run")
    kills.wrong(process.exitcode == 0 and not run.is_clean(), "files were left behind")
    timing, whole = (json.loads((r.folder / "timing.json").read_text()) for r in (run, twin))
    assert timing["resumptions"] == attempts
    assert whole["resumptions"] == 0
    assert len(timing["epoch_seconds"]) == len(whole["epoch_seconds"]) == 12
    parts = ("start_seconds", "training_seconds", "evaluation_seconds", "checkpoint_seconds")
    assert all(timing[part] > 0 for part in parts)
    assert sum(timing[part] for part in parts) < timing["wall_seconds"]


def test_sigkill_while_a_checkpoint_is_written(new_run, fault):
    """The odd kills come before the new file gets its name, the even ones after."""
    run, twin = new_run(epochs=4)
    kills = fault("SIGKILL while a checkpoint is written")
    step = None
    for last_sync in range(1, 9):
        process = run.start(last_sync=last_sync)
        process.join()
        assert process.exitcode == -signal.SIGKILL, run.log()
        kills.tried()
        kills.lost(resumed_after(run.log()) != step, "did not go on from the last checkpoint")
        temporary = list(run.folder.glob(f".{NAME}.*"))
        kills.wrong(len(temporary) != last_sync % 2, "what killed writers left piles up")
        step = run.step() if run.checkpoint.exists() else None
    run.finish()
    kills.wrong(run.outputs() != twin.outputs(), "other bytes than an undisturbed run")
    kills.wrong(not run.is_clean(), "files were left behind")


def test_sigterm_saves_the_step_and_asks_for_another_attempt(new_run, fault):
    run, twin = new_run(batch_size=4, epochs=6, checkpoint_every=100)  # 288 steps an epoch
    signals = fault("SIGTERM to a training job")
    steps = [None]
    for n in (1, 2, 1, 3):
        signals.tried()
        code = run.stop_after(n)
        signals.wrong(code != AGAIN, f"exit status {code}")
        signals.wrong("asked to stop" not in run.log().splitlines()[-1], "no word of it")
        signals.lost(resumed_after(run.log()) != steps[-1], "steps were done again")
        steps.append(run.step())
    # Not one of those at which a checkpoint is due anyway.
    assert any(step % 288 % 100 != 0 for step in steps[1:])
    assert AGAIN == os.EX_TEMPFAIL == 75
    run.finish()
    signals.wrong(run.outputs() != twin.outputs(), "other bytes than an undisturbed run")
    signals.wrong(not run.is_clean(), "files were left behind")


def flip(content: bytes, place: int) -> bytes:
    changed = bytearray(content)
    changed[place] ^= 0b100
    return bytes(changed)


def truncate(content: bytes, place: int) -> bytes:
    return content[:place]


def test_a_damaged_checkpoint_is_refused(new_run, fault, capsys):
    run, twin = new_run(epochs=4)
    run.die_after(10)
    whole = run.checkpoint.read_bytes()
    weight = whole.rindex(torch.load(io.BytesIO(whole.partition(b"\n")[2]))["state"]["model"]
                          ["0.weight"].numpy().tobytes()[:64])  # fmt: skip
    places = [0, 63, 64, 65, 70, weight + 2, len(whole) // 3, len(whole) // 2, len(whole) - 1]
    for change in (flip, truncate):
        damage = fault(f"checkpoint with {'a flipped bit' if change is flip else 'its end missing'}")
        for place in places:
            damage.tried()
            run.checkpoint.write_bytes(change(whole, place))
            taken = Checkpoint(run.folder, {}, 10).load()
            damage.wrong(taken is not None, "a damaged checkpoint was used")
            damage.wrong("is damaged" not in capsys.readouterr().err, "no word of it")
        for place in (weight + 2, len(whole) // 2):
            damage.tried()
            run.checkpoint.write_bytes(change(whole, place))
            damage.wrong(STARTED_ANEW not in run.finish(), "no word of it")
            damage.wrong(run.outputs() != twin.outputs(), "another result")


def test_a_checkpoint_of_another_run_is_refused(new_run, fault, tmp_path):
    run, twin = new_run(epochs=4)
    run.die_after(10)
    whole = run.checkpoint.read_bytes()
    other = fault("checkpoint of other code, data, settings or software")

    def check(log: str, reason: str, got: dict[str, bytes], wanted: dict[str, bytes]) -> None:
        other.tried()
        other.wrong(f"made with other {reason}; {STARTED_ANEW}" not in log, f"{reason}: {log}")
        other.wrong(got != wanted, f"{reason}: another result")

    rate = run.options | {"learning-rate": 0.002}
    faster, faster_twin = (Run(r.data, r.folder, rate) for r in (run, twin))
    faster_twin.finish()
    check(faster.finish(), "settings", faster.outputs(), faster_twin.outputs())

    from bnstudy.data.prepared import open_prepared, write_prepared

    data = vars(open_prepared(run.data)) | {"title": "other digits"}
    del data["sha256"]
    write_prepared(tmp_path / "other.safetensors", **data)
    elsewhere, elsewhere_twin = (Run(tmp_path / "other.safetensors", r.folder, r.options) for r in (run, twin))
    elsewhere_twin.finish()
    run.checkpoint.write_bytes(whole)
    check(elsewhere.finish(), "data", elsewhere.outputs(), elsewhere_twin.outputs())

    checkout = copy_checkout(tmp_path)
    checkout.edit("workflow/bnstudy/networks/mlp.py")

    def finish_with_edited_code(run: Run) -> str:
        return subprocess.run(
            [Path(sys.executable).with_name("bnstudy"), *run.arguments()],
            env=os.environ | {"PYTHONPATH": str(checkout.root / "workflow")},
            capture_output=True,
            text=True,
            check=True,
        ).stderr

    finish_with_edited_code(twin)
    run.checkpoint.write_bytes(whole)
    check(finish_with_edited_code(run), "code", run.outputs(), twin.outputs())


def test_code_in_a_checkpoint_is_not_run(new_run, fault, tmp_path):
    run, twin = new_run(epochs=2)
    run.folder.mkdir()
    payload = fault("program hidden in a checkpoint")
    proof = tmp_path / "it ran"

    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(proof),)

    zipped = io.BytesIO()
    torch.save({"identity": {}, "state": Evil()}, zipped)
    bare = pickle.dumps(Evil())
    for content in (bare, sealed(bare), zipped.getvalue(), sealed(zipped.getvalue())):
        payload.tried()
        run.checkpoint.write_bytes(content)
        log = run.finish()
        payload.wrong(proof.exists(), "it ran")
        payload.wrong(STARTED_ANEW not in log or "Traceback" in log, "no clear word of it")
        payload.wrong(run.outputs() != twin.outputs(), "another result")
    # It does run where it is trusted.
    pickle.loads(bare)
    assert proof.exists()


def sealed(content: bytes) -> bytes:
    """With the right checksum, as the hand that made it would give it."""
    return sha256(content).hexdigest().encode() + b"\n" + content


def test_two_copies_of_a_run_at_once(new_run, fault):
    run, twin = new_run()
    copies = fault("the same run twice at once")
    copies.tried(2)
    first = run.start("first")
    run.wait_for_checkpoints(first, 3)
    os.kill(first.pid, signal.SIGSTOP)
    second = run.start("second")
    wait_for(lambda: "waiting: another process is training this run" in run.log("second"))
    third = run.start("third")
    wait_for(lambda: "waiting" in run.log("third"))
    before = version(run.checkpoint)
    os.kill(first.pid, signal.SIGKILL)  # the lock goes with it, though it could not let go itself
    for process in (first, second, third):
        process.join()
    assert before is not None
    assert (first.exitcode, second.exitcode, third.exitcode) == (-signal.SIGKILL, 0, 0)
    resumed = [resumed_after(run.log(name)) for name in ("second", "third")]
    copies.lost(resumed.count(None) != 1, "nobody went on from the checkpoint")
    copies.wrong(run.outputs() != twin.outputs(), "other bytes than a single run")
    copies.wrong(not run.is_clean(), "files were left behind")


def wait_for(condition, seconds: float = 120) -> None:
    for _ in range(int(seconds / 0.01)):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come to that")


@dataclass
class Study:
    """A study of one run that takes long enough to be disturbed, in a copy of the checkout."""

    checkout: Checkout
    run: Path = Path("results/runs/dataset~digits/norm~batch/dropout~0.3/epochs~60/probe_every~7/batch_size~16/seed~0")

    @property
    def folder(self) -> Path:
        return self.checkout.study / self.run

    @property
    def log_file(self) -> Path:
        log = Path("results/logs/train", *self.run.parts[2:-1], f"{self.run.name}.log")
        return self.checkout.study / log

    def log(self) -> str:
        return self.log_file.read_text() if self.log_file.exists() else ""

    def start(self) -> subprocess.Popen:
        """Plain `snakemake`, in a process group of its own."""
        self.log_file.unlink(missing_ok=True)
        return self.snakemake("--cores", "1", f"{self.run}/run.json")

    def snakemake(self, *arguments: str) -> subprocess.Popen:
        return subprocess.Popen(
            [sys.executable, "-m", "snakemake", *arguments],
            cwd=self.checkout.root,
            env=os.environ | {"PYTHONPATH": str(self.checkout.root / "workflow")},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def job(self, snakemake: subprocess.Popen) -> psutil.Process:
        """The process that trains, which is below a shell."""
        below = psutil.Process(snakemake.pid).children(recursive=True)
        return next(one for one in reversed(below) if "train" in one.cmdline())


def disturb(way: str, snakemake: subprocess.Popen, job: psutil.Process) -> None:
    """Break a workflow off, and wait until nothing of it runs but what is meant to."""
    if way == "kill -9 of the job":
        job.kill()
    elif way == "Ctrl-C":
        os.killpg(snakemake.pid, signal.SIGINT)
    elif way == "SIGTERM of the job":
        job.terminate()
    elif way == "kill -9 of everything":
        os.killpg(snakemake.pid, signal.SIGKILL)
    elif way == "kill -9 of snakemake":
        job.suspend()  # lest it finish before the next snakemake has started
        snakemake.kill()
    assert snakemake.wait() != 0
    if way != "kill -9 of snakemake":
        psutil.wait_procs([job])


def test_snakemake_goes_on_with_a_run_that_was_cut_off(fault, tmp_path):
    checkout = copy_checkout(tmp_path)
    checkout.configure(
        "grid: {dataset: [digits], norm: [batch], batch_size: [16], seed: [0]}\n"
        "model: {dropout: 0.3}\n"
        "training: {epochs: 60, probe_every: 7, checkpoint_every: 10, device: cpu}"
    )
    study = Study(checkout)
    run = Run(Path(), study.folder)
    last = None
    for way in (
        *("kill -9 of the job", "SIGTERM of the job", "Ctrl-C"),
        *("kill -9 of everything", "kill -9 of snakemake"),
    ):
        breaks = fault(f"{way}, in a workflow")
        breaks.tried()
        snakemake = study.start()
        wait_for(lambda: "train loss" in study.log())
        job = study.job(snakemake)
        breaks.lost(resumed_after(study.log()) != last, "did not go on from the checkpoint")
        seen = version(run.checkpoint)
        wait_for(lambda seen=seen: version(run.checkpoint) not in (seen, None))
        disturb(way, snakemake, job)
        last = run.step()
        if snakemake.returncode == -signal.SIGKILL:  # as its message says
            assert study.snakemake("--unlock").wait() == 0

    # The job of the snakemake that was killed alone lives on. The next snakemake starts a second one.
    snakemake = study.start()
    wait_for(lambda: "waiting: another process is training this run" in study.log())
    job.kill()
    assert snakemake.wait() == 0
    breaks.lost(resumed_after(study.log()) is None, "did not go on from the checkpoint")
    timing = json.loads((run.folder / "timing.json").read_text())
    assert timing["resumptions"] == 5

    outputs, clean = run.outputs(), run.is_clean()
    shutil.rmtree(run.folder)
    assert study.start().wait() == 0
    breaks.wrong(resumed_after(study.log()) is not None, "the finished run left a checkpoint")
    breaks.wrong(outputs != run.outputs(), "other bytes than an undisturbed run")
    breaks.wrong(not clean, "files were left behind")
