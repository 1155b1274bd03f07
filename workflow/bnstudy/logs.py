"""What the log of a job tells about a job that did not finish."""

from pathlib import Path

NOT_STARTED = "not started"


def last_line(log: Path) -> str:
    """The last line that says something; empty if there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
    # A progress bar overwrites its line.
    said = [line.rpartition("\r")[2].strip() for line in lines]
    return next((line for line in reversed(said) if line), "")


def why_missing(log: Path) -> str:
    """That there is no log, or its last line; a job that is still running looks alike."""
    if not log.exists():
        return NOT_STARTED
    last = last_line(log)
    return (
        f"begun and not finished, last line of the log: {last}" if last else "begun, not finished"
    )
