"""Tables of studies: `bnstudy merge` joins the cells."""

import argparse
import csv
import io
import math
from collections.abc import Sequence
from pathlib import Path

from bnstudy.errors import UserError
from bnstudy.files import SEAL, replacing, sealed, write_rows
from bnstudy.provenance import ORIGIN, check_one_environment, check_unmixed, data_sha256


def write_study(path: Path, rows: Sequence[dict], *, seal: bool = False) -> None:
    """Write rows as CSV, whole or not at all; None, and what only other rows have, is left empty.

    With a seal, the last column is a hash of the others.

    Raises
    ------
    ValueError
        If there is no row, or if a value is not finite: a study says what a diverged run counts as,
        it does not leave a NaN behind.
    """
    if not rows:
        raise ValueError("a study returned no rows")
    for row in rows:
        if odd := [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)]:
            raise ValueError(f"values that are not finite in {', '.join(odd)}: {row}")
    columns = dict.fromkeys(column for row in rows for column in row)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = io.StringIO()
    write_rows(text, list(columns), (dict.fromkeys(columns) | row for row in rows))
    with replacing(path) as file:
        file.write(sealed(text.getvalue()) if seal else text.getvalue())


def merge(
    paths: Sequence[Path],
    out: Path,
    data: Sequence[Path] | None = None,
    *,
    allow_mixed_code: bool = False,
) -> None:
    """Join the cells of a study into one table, in order; what a cell has not stays empty.

    Raises
    ------
    UserError
        If a cell has no rows, if rows come from other data than these prepared datasets or, unless
        that is allowed, from several versions of the study's code, or if a cell is given twice.
    """
    merged: list[dict] = []
    names: list[str] = []
    for path in paths:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows:
            raise UserError(f"{path} holds no rows; remove it and run `snakemake`.")
        merged += [{key: row[key] for key in row if key != SEAL} for row in rows]
        names += [str(path)] * len(rows)
    check_hashes(merged, names, data, allow_mixed_code=allow_mixed_code)
    write_study(out, merged)


def main(argv: list[str]) -> None:
    """Run `bnstudy merge`."""
    parser = argparse.ArgumentParser(
        prog="bnstudy merge", description="Join the cells of a study into one table, in order."
    )
    parser.add_argument("rows", type=Path, nargs="+", help="the cells' CSV files")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    parser.add_argument(
        "--data", type=Path, nargs="+", help="prepared datasets the rows must have come from"
    )
    parser.add_argument(
        "--allow-mixed-code", action="store_true", help="accept several versions of the code"
    )
    arguments = parser.parse_args(argv)
    merge(
        arguments.rows,
        arguments.out,
        arguments.data,
        allow_mixed_code=arguments.allow_mixed_code,
    )


def check_hashes(
    rows: list[dict], names: list[str], data: Sequence[Path] | None, *, allow_mixed_code: bool
) -> None:
    """Refuse rows of several versions of the code, rows of other data, and a cell given twice.

    Raises
    ------
    UserError
        Naming the file of such a row.
    """
    remedy = "remove what is out of date and run `snakemake`, or pass --allow-mixed-code"
    if missing := set(ORIGIN) - rows[0].keys():
        raise UserError(f"{names[0]} has no column {min(missing)}; remove it and run `snakemake`.")
    if not allow_mixed_code:
        check_unmixed(rows, "code_sha256", names, "the study's code", remedy)
    check_one_environment(rows, names)
    known = {data_sha256(path) for path in data or []}
    for row, name in zip(rows, names, strict=True):
        if known and row["data_sha256"] not in known:
            raise UserError(
                f"{name} was measured on other data than {', '.join(map(str, data))} now holds; "
                "remove it and run `snakemake`."
            )
    files: dict[str, str] = {}
    for row, name in zip(rows, names, strict=True):
        if files.setdefault(row["config_sha256"], name) != name:
            raise UserError(
                f"{name} and {files[row['config_sha256']]} hold the same cell; remove one of them."
            )
