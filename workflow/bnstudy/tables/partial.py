"""What there is of an unfinished study: `bnstudy partial` makes its tables and lists what is missing.

Only complete runs and complete studies count. Nothing is trained and nothing but the folder of these tables is written
to.
"""

from collections import Counter
from pathlib import Path

from bnstudy.claims import judge as claims
from bnstudy.cli import parser_of
from bnstudy.config import enabled_studies
from bnstudy.errors import UserError
from bnstudy.files import RUN_FILES, write_table
from bnstudy.grid import runs
from bnstudy.logs import NOT_STARTED, last_words, why_missing
from bnstudy.settings import Settings
from bnstudy.studies.declaration import cells, dataset_of
from bnstudy.studies.table import merge
from bnstudy.tables import aggregate as tables

GRID = claims.CORE
COLUMNS = ("part", "cell", "reason", "log")  # of missing.csv


def lack(part: str, cell: str, dataset: str, results: Path, reason: str = "") -> dict:
    """A row of missing.csv: a run of the grid ("core") or a cell of a study, why, and where its log is.

    The reason is what the log tells where none is given; that of its images where it was not started.
    """
    folder = results / ("runs" if part == GRID else f"studies/{part}") / cell
    log = results / "logs" / ("train" if part == GRID else f"studies/{part}") / f"{cell}.log"
    reason = reason or why_missing(log, folder)
    if reason == NOT_STARTED and not (results / "data" / dataset / "prepared.safetensors").exists():
        for job in ("prepare", "download"):
            tried = results / "logs" / job / f"dataset~{dataset}.log"
            if said := last_words(tried):
                said = said.removeprefix("bnstudy: ").removesuffix(" Tried:")
                reason, log = f"its images could not be had: {said}", tried
                break
    return {"part": part, "cell": cell, "reason": reason, "log": str(log)}


def complete_runs(config: dict, results: Path) -> tuple[dict[str, Settings], list[dict]]:
    """The runs of the grid that can be used, and rows of those that cannot, damaged ones among them."""
    chosen = runs(config)
    usable: dict[str, dict] = {}
    reasons: dict[str, str] = {}
    for name, settings in chosen.items():
        folder = results / "runs" / name
        if not all((folder / file).is_file() for file in RUN_FILES):
            reasons[name] = ""
            continue
        try:
            usable[name] = tables.read_run(folder, name, settings)
            tables.timing_row(results, usable[name])
        except UserError as error:
            usable.pop(name, None)
            reasons[name] = str(error)
    for key, what in (
        ("code_sha256", "version of the training code"),
        ("data_sha256", "version of the data"),
        ("environment", "environment"),
    ):
        # The data are one for each dataset.
        places = {n: key == "data_sha256" and chosen[n].dataset for n in usable}
        found = Counter((places[name], run[key]) for name, run in usable.items())
        most = dict(one for one, _ in reversed(found.most_common()))
        for name in [name for name, run in usable.items() if most[places[name]] != run[key]]:
            reasons[name] = f"comes from another {what} than most runs; `snakemake` trains it again"
            del usable[name]
    missing = [lack(GRID, n, chosen[n].dataset, results, said) for n, said in reasons.items()]
    return {name: chosen[name] for name in usable}, missing


def gather(config_path: Path, claims_path: Path, results: Path, out: Path) -> None:
    """Write the tables of what is complete, and `missing.csv`, in place of those that were in `out`.

    Where no run of the grid can be used, that is refused.
    """
    config = tables.read_config(config_path)
    chosen, missing = complete_runs(config, results)
    if not chosen:
        reasons = Counter(one["reason"] for one in missing).most_common(1)
        raise UserError(
            f"there is nothing to report yet: none of the {len(missing)} runs of the grid can be "
            f"used (most often: {reasons[0][0]}); run `snakemake` to train them."
        )
    for old in out.glob("*.csv"):
        old.unlink()
    tables.aggregate(config_path, results, out, chosen=chosen)
    for study, settings in enabled_studies(config).items():
        asked = cells(settings)
        rows = {name: results / "studies" / study / name / "rows.csv" for name in asked}
        if lacking := [name for name, path in rows.items() if not path.is_file()]:
            missing += [lack(study, n, dataset_of(settings, asked[n], config), results) for n in lacking]
            continue
        try:
            merge([*rows.values()], out / f"{study}.csv")
        except UserError as error:
            log = f"{results}/logs/merge_study/{study}.log"
            missing.append({"part": study, "cell": "all", "reason": str(error), "log": log})
    incomplete = {
        part: f"{count} of its jobs are missing, and a verdict is given once, when all are there"
        for part, count in Counter(one["part"] for one in missing).items()
    }
    claims.judge_all(claims_path, config, out, out, incomplete)
    write_table(out / "missing.csv", COLUMNS, missing)


def main(argv: list[str]) -> None:
    parser = parser_of("partial")
    parser.add_argument("config", type=Path, help="merged configuration")
    parser.add_argument("--claims", type=Path, required=True, help="config/claims.yaml")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    arguments = parser.parse_args(argv)
    gather(arguments.config, arguments.claims, arguments.results, arguments.out)
