"""The studies behind the claims: each a module here, each cell of its grid one job.

A module has one function, `run(data, cell, options, seeds, device)`, which returns a row per seed
(or per seed and setting) as flat dicts. `bnstudy study` runs one cell, `bnstudy merge` joins cells.
"""

import argparse
import csv
import importlib
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path

from bnstudy.errors import UserError
from bnstudy.files import replacing, write_rows
from bnstudy.provenance import check_unmixed, code_sha256, config_sha256, data_sha256, imported_code

HASHES = ("code_sha256", "config_sha256", "data_sha256")
STUDIES = {
    "identities": "S0",
    "input_scaling": "S1b",
    "learning_rates": "S2",
    "init_gains": "S3",
    "depth": "S4",
    "gradient_paths": "S4b",
    "init_gradients": "S5",
    "landscape": "S6",
    "mechanisms": "S7",
    "small_batches": "S8",
    "inference_statistics": "S9",
    "regularization": "S10",
    "timing": "S11",
    "sigmoid_mnist": "S12",
    "fashion": "S13",
    "stability": "S14",
    "controls": "S15",
    "calibration": "S16",
}


def cell_name(cell: dict) -> str:
    """The folder of a cell, such as `norm~batch,optimizer~sgd`; `all` for a study of one cell."""
    return ",".join(f"{axis}~{value}" for axis, value in cell.items()) or "all"


def write_study(path: Path, rows: Sequence[dict]) -> None:
    """Write rows of equal keys as CSV, whole or not at all; None becomes an empty field.

    Raises
    ------
    ValueError
        If there is no row, if rows differ in their columns, or if a value is not finite: a study
        says what a diverged run counts as, it does not leave a NaN behind.
    """
    if not rows:
        raise ValueError("a study returned no rows")
    for row in rows:
        if row.keys() != rows[0].keys():
            raise ValueError(f"rows differ in their columns: {set(row) ^ set(rows[0])}")
        if odd := [k for k, v in row.items() if isinstance(v, float) and not math.isfinite(v)]:
            raise ValueError(f"values that are not finite in {', '.join(odd)}: {row}")
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        write_rows(file, list(rows[0]), rows)


def study_main(argv: list[str]) -> None:
    """Run `bnstudy study`."""
    parser = argparse.ArgumentParser(
        prog="bnstudy study", description="Run one cell of a study and write a row per seed."
    )
    parser.add_argument("study", choices=STUDIES)
    parser.add_argument("data", type=Path, help="prepared dataset")
    parser.add_argument("--cell", type=json.loads, default={}, help="the cell's axes, as JSON")
    parser.add_argument("--options", type=json.loads, default={}, help="settings, as JSON")
    parser.add_argument("--seeds", type=int, required=True, help="number of seeds, from 0")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs-per-gpu", type=int, default=1, help="jobs that may share a GPU")
    parser.add_argument("--out", type=Path, required=True, help="CSV to write")
    arguments = parser.parse_args(argv)

    from bnstudy.data.prepared import open_prepared
    from bnstudy.training.devices import make_deterministic, select_device

    # Before anything runs: an edit made meanwhile is not what ran.
    code = code_sha256(("cli.py", *imported_code(f"studies.{arguments.study}")))
    device = select_device(arguments.device, arguments.jobs_per_gpu)
    make_deterministic(device)
    data = open_prepared(arguments.data)
    study = importlib.import_module(f"bnstudy.studies.{arguments.study}")
    rows = study.run(
        data,
        arguments.cell,
        arguments.options,
        list(range(arguments.seeds)),
        device,
    )
    print(f"{arguments.study}, {cell_name(arguments.cell)}: {len(rows)} rows", file=sys.stderr)
    asked = {"cell": arguments.cell, "options": arguments.options, "seeds": arguments.seeds}
    hashes = {
        "code_sha256": code,
        "config_sha256": config_sha256(asked),
        "data_sha256": data.sha256,
    }
    write_study(arguments.out, [arguments.cell | row | hashes for row in rows])


def merge(
    paths: Sequence[Path],
    out: Path,
    data: Sequence[Path] | None = None,
    *,
    allow_mixed_code: bool = False,
) -> None:
    """Join the cells of a study into one table, in order.

    Parameters
    ----------
    paths : sequence of Path
        The cells' CSV files.
    out : Path
        The table.
    data : sequence of Path, optional
        The prepared datasets that the rows must have come from.
    allow_mixed_code : bool
        Accept rows of several versions of the study's code.

    Raises
    ------
    UserError
        If cells differ in their columns or do not belong together.
    """
    merged: list[dict] = []
    names: list[str] = []
    for path in paths:
        with open(path, newline="") as file:
            rows = list(csv.DictReader(file))
        if not rows or (merged and rows[0].keys() != merged[0].keys()):
            raise UserError(
                f"{path} does not have the columns of {paths[0]}; remove it and run snakemake "
                "again."
            )
        merged += rows
        names += [str(path)] * len(rows)
    check_hashes(merged, names, data, allow_mixed_code=allow_mixed_code)
    write_study(out, merged)


def merge_main(argv: list[str]) -> None:
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
    if missing := set(HASHES) - rows[0].keys():
        raise UserError(f"{names[0]} has no column {min(missing)}; remove it and run `snakemake`.")
    if not allow_mixed_code:
        check_unmixed(rows, "code_sha256", names, "the study's code", remedy)
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
