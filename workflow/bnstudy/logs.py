"""The log of a job: its lines, and what it tells about a job that did not finish."""

import fcntl
import sys
from contextlib import suppress
from pathlib import Path

NOT_STARTED = "not started"


def say(message: str) -> None:
    """A line for the log."""
    print(message, file=sys.stderr, flush=True)


def last_words(log: Path) -> str:
    """The sentence for the user in a log, else its last line; empty if it says nothing."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    except OSError:
        return ""
    # A progress bar overwrites its line.
    said = [line for line in (line.rpartition("\r")[2].strip() for line in lines) if line]
    sentences = [line for line in said if line.startswith("bnstudy: ")]
    return next(reversed(sentences or said), "")


def why_missing(log: Path, folder: Path) -> str:
    """Why a job's results in `folder` are not there, with what its log says."""
    if not log.exists():
        return NOT_STARTED
    begun = "begun and not finished"
    with suppress(OSError), open(folder / ".lock") as lock:
        try:  # the lock by which a job is the only writer in its folder
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            begun = "running now"
    last = last_words(log)
    return f"{begun}, its log says: {last}" if last else begun
