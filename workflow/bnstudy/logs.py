"""What the log of a job tells about a job that did not finish."""

from pathlib import Path

NOT_STARTED = "not started"


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


def why_missing(log: Path) -> str:
    """That there is no log, or what it says; a job that is still running looks alike."""
    if not log.exists():
        return NOT_STARTED
    last = last_words(log)
    return f"begun and not finished, its log says: {last}" if last else "begun, not finished"
