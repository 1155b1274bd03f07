"""Tables of studies: `bnstudy merge` joins the cells."""

import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from bnstudy.cli import parser_of
from bnstudy.errors import UserError
from bnstudy.files import SEAL, replacing, sealed, write_rows
from bnstudy.provenance import ORIGIN, check_origins


def write_study(path: Path, rows: Sequence[dict], *, seal: bool = False) -> None:
    """Write rows as CSV, whole or not at all; None, and what only other rows have, is left empty.

    With a seal, the last column is a hash of the others. No rows are a ValueError, and so is a value that is not
    finite: a study says what a diverged run counts as, it does not leave a NaN behind.
    """
    if not rows:
        raise ValueError("a study returned no rows")
    for row in rows:
        if odd := [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)]:
            raise ValueError(f"values that are not finite in {', '.join(odd)}: {row}")
    columns = dict.fromkeys(column for row in rows for column in row)
    text = io.StringIO()
    write_rows(text, list(columns), (dict.fromkeys(columns) | row for row in rows))
    with replacing(path) as file:
        file.write(sealed(text.getvalue()) if seal else text.getvalue())


def merge(rows: Sequence[Path], out: Path, data: Sequence[Path] = (), *, allow_mixed_code: bool = False) -> None:
    """Join the cells of a study into one table, in order; what a cell has not stays empty.

    Refused are a cell without rows or given twice, rows from other data than these prepared datasets and, unless that
    is allowed, from several versions of the study's code.
    """
    named: list[tuple[str, dict]] = []
    for path in rows:
        with open(path, newline="") as file:
            found = list(csv.DictReader(file))
        if not found:
            raise UserError(f"{path} holds no rows; remove it and run `snakemake`.")
        named += [(str(path), {key: row[key] for key in row if key != SEAL}) for row in found]
    if missing := set(ORIGIN) - named[0][1].keys():
        lacks = f"{named[0][0]} has no column {min(missing)}"
        raise UserError(f"{lacks}; remove it and run `snakemake`.")
    check_origins(named, "the study's code", data, allow_mixed_code=allow_mixed_code)
    files: dict[str, str] = {}
    for name, row in named:
        if (other := files.setdefault(row["config_sha256"], name)) != name:
            raise UserError(f"{name} and {other} hold the same cell; remove one of them.")
    write_study(out, [row for _, row in named])


def main(argv: list[str]) -> None:
    parser = parser_of("merge")
    parser.add_argument("rows", type=Path, nargs="+", help="the cells' CSV files")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    data = "prepared datasets the rows must have come from"
    parser.add_argument("--data", type=Path, nargs="+", default=[], help=data)
    allowed = "accept several versions of the code"
    parser.add_argument("--allow-mixed-code", action="store_true", help=allowed)
    merge(**vars(parser.parse_args(argv)))
