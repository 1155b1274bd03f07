"""Workflows and commands that a test starts, watches and stops, each in a group of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from checkouts import Checkout

PATIENCE = 120  # seconds; generous, for it only ends a test that hangs


def start(study: Checkout, *arguments: str, before: tuple[str, ...] = (), **environment: str) -> subprocess.Popen:
    """Start Snakemake in a process group of its own, as a terminal does.

    `before` is a command that starts it in turn, such as `unshare`.
    """
    paths = ["--snakefile", str(study.root / "Snakefile"), "--directory", str(study.study)]
    return subprocess.Popen(
        [*before, sys.executable, "-m", "snakemake", "--cores", "2", *paths, *arguments],
        cwd=study.root,
        env=os.environ | {"PYTHONPATH": str(study.root / "workflow")} | environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def wait_for(condition: Callable[[], object], process: subprocess.Popen) -> None:
    """Wait until something is so, while the process lives."""
    end = time.monotonic() + PATIENCE
    while not condition():
        assert process.poll() is None, f"ended too early:\n{process.communicate()[0]}"
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.02)


def stop(process: subprocess.Popen, how: signal.Signals) -> str:
    """Send a signal to the whole group, as a terminal or a scheduler does; returns what was said."""
    os.killpg(process.pid, how)
    try:
        return process.communicate(timeout=PATIENCE)[0]
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)


def content(folder: Path) -> dict[str, bytes]:
    """Every file below a folder."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
