"""Writing results: whole files or none, and the same bytes for the same values."""

import csv
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO


@contextmanager
def replacing(path: Path) -> Iterator[TextIO]:
    """Open a temporary text file that takes the place of `path` once it is complete."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with open(temporary, "w", newline="", encoding="utf-8") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_rows(file: TextIO, columns: Sequence[str], rows: Iterable[dict]) -> None:
    """Write dicts as CSV: floats so that they read back equal, NaN and None as nothing."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(None if row[key] != row[key] else row[key] for key in columns)
