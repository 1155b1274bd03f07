"""Writing results: whole files or none, and the same bytes for the same values."""

import csv
import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TextIO

SEALED = ("run.json", "metrics.csv")  # of a run; its timing.json says what they hold
RUN_FILES = (*SEALED, "timing.json")
TABLES = ("runs", "metrics", "timings", "comparison", "classes", "confusion")  # of the grid
TEMPORARY = ".*." + 16 * "[0-9a-f]"
"""Pattern of the files that `replacing` leaves behind when it is killed."""


@contextmanager
def replacing(path: Path, *, binary: bool = False) -> Iterator[IO]:
    """Open a temporary file that takes the place of `path` once it is complete; its folder is made.

    Its content is on the disk before it gets the name, so that a crash of the machine leaves the old file or the new
    one, whole. An error of writing names `path`, not the temporary file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Nobody can have put a file or a link there before: the name cannot be guessed, and "x" opens nothing that exists.
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    text = {} if binary else {"newline": "", "encoding": "utf-8"}
    try:
        with open(temporary, "xb" if binary else "x", **text) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
        sync(path.parent)
    except OSError as error:
        if error.filename in (None, str(temporary)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Wait until a file's content, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_rows(file: TextIO, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Write dicts as CSV: floats so that they read back equal, NaN and None as nothing."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(None if row[key] != row[key] else row[key] for key in columns)


def write_table(path: Path, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Write dicts as a CSV file, whole or not at all."""
    with replacing(path) as file:
        write_rows(file, columns, rows)


SEAL = "rows_sha256"


def sealed(text: str) -> str:
    """A table with one column more, the hash of all the others, so that an edit by hand is noticed."""
    lines = text.splitlines()
    sha256 = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    return "".join(f"{line},{SEAL if i == 0 else sha256}\n" for i, line in enumerate(lines))


def is_sealed(text: str) -> bool:
    """Whether a table is as `sealed` gave it."""
    return text == sealed("\n".join(line.rpartition(",")[0] for line in text.splitlines()))
