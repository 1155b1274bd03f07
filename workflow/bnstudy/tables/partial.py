"""What there is of an unfinished study: `bnstudy partial` makes its tables and lists what is missing.

Only complete runs and complete studies count. Nothing is trained and nothing but the folder of
these tables is written to.
"""

from collections import Counter
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from bnstudy.claims import judge as claims
from bnstudy.cli import parser_of
from bnstudy.config import enabled_studies
from bnstudy.errors import UserError
from bnstudy.files import RUN_FILES, replacing, write_rows
from bnstudy.grid import runs
from bnstudy.logs import NOT_STARTED, last_words, why_missing
from bnstudy.settings import Settings
from bnstudy.studies.declaration import cells, dataset_of
from bnstudy.studies.table import merge
from bnstudy.tables import aggregate as tables

GRID = claims.CORE


@dataclass(frozen=True)
class Missing:
    """A run of the grid or a cell of a study that does not count, why, and where its log is."""

    part: str  # "core" for the grid, else the study
    cell: str
    reason: str
    log: str


def entry(
    part: str, cell: str, log: Path, dataset: str, results: Path, reason: str = ""
) -> Missing:
    """What is missing, for this reason or for what the log tells; else the log of its images does."""
    folder = results / ("runs" if part == GRID else f"studies/{part}") / cell
    reason = reason or why_missing(log, folder)
    if reason == NOT_STARTED and not (results / "data" / dataset / "prepared.safetensors").exists():
        for job in ("prepare", "download"):
            tried = results / "logs" / job / f"dataset~{dataset}.log"
            if said := last_words(tried):
                said = said.removeprefix("bnstudy: ").removesuffix(" Tried:")
                return Missing(part, cell, f"its images could not be had: {said}", str(tried))
    return Missing(part, cell, reason, str(log))


def complete_runs(config: dict, results: Path) -> tuple[dict[str, Settings], list[Missing]]:
    """The runs of the grid that can be used, and those that cannot.

    A run that is damaged, or that was trained with other settings or by other code than most, is
    missing too.
    """
    chosen = runs(config)
    usable: dict[str, dict] = {}
    missing: list[Missing] = []

    def leave_out(name: str, reason: str) -> None:
        log = results / "logs" / "train" / f"{name}.log"
        dataset = chosen[name].dataset
        missing.append(entry(GRID, name, log, dataset, results, reason))

    for name, settings in chosen.items():
        folder = results / "runs" / name
        if not all((folder / file).is_file() for file in RUN_FILES):
            leave_out(name, "")
            continue
        try:
            run = tables.read_run(folder, name, settings)
            benchmark = results / "benchmarks" / "train" / f"{name}.tsv"
            tables.timing_row(folder, run, benchmark)
        except UserError as error:
            leave_out(name, str(error))
            continue
        usable[name] = run
    for key, what, group in (
        ("code_sha256", "another version of the training code", lambda settings: None),
        ("data_sha256", "another version of the data", lambda settings: settings.dataset),
        ("environment", "another environment", lambda settings: None),
    ):
        counts = Counter((group(chosen[name]), run[key]) for name, run in usable.items())
        most = {place: found for (place, found), _ in reversed(counts.most_common())}
        for name in [n for n, run in usable.items() if run[key] != most[group(chosen[n])]]:
            leave_out(name, f"comes from {what} than most runs; `snakemake` trains it again")
            del usable[name]
    return {name: chosen[name] for name in usable}, missing


def complete_studies(config: dict, results: Path) -> tuple[dict[str, list[Path]], list[Missing]]:
    """The tables of cells of every study that has all of them, and the cells that others lack."""
    found: dict[str, list[Path]] = {}
    missing: list[Missing] = []
    for study, settings in enabled_studies(config).items():
        folder = results / "studies" / study
        asked = cells(settings)
        rows = {name: folder / name / "rows.csv" for name in asked}
        lacking = [name for name, path in rows.items() if not path.is_file()]
        for name in lacking:
            log = results / "logs" / "studies" / study / f"{name}.log"
            dataset = dataset_of(settings, asked[name], config)
            missing.append(entry(study, name, log, dataset, results))
        if not lacking:
            found[study] = list(rows.values())
    return found, missing


def no_verdict(missing: list[Missing]) -> dict[str, str]:
    """Why the claims of an incomplete study get no verdict, by study."""
    lacking = Counter(entry.part for entry in missing)
    return {
        part: f"{count} of its jobs are missing, and a verdict is given once, when all are there"
        for part, count in lacking.items()
    }


def gather(config_path: Path, claims_path: Path, results: Path, out: Path) -> None:
    """Write the tables of what is complete, and `missing.csv`.

    Tables that were in `out` before are replaced.

    Raises
    ------
    UserError
        If no run of the grid can be used, or if an input is malformed.
    """
    config = tables.read_config(config_path)
    chosen, missing = complete_runs(config, results)
    if not chosen:
        reasons = Counter(entry.reason for entry in missing).most_common(1)
        raise UserError(
            f"there is nothing to report yet: none of the {len(missing)} runs of the grid can be "
            f"used (most often: {reasons[0][0]}); run `snakemake` to train them."
        )
    studies, cells_missing = complete_studies(config, results)
    missing += cells_missing
    out.mkdir(parents=True, exist_ok=True)
    for old in out.glob("*.csv"):
        old.unlink()
    tables.aggregate(config_path, results, out, chosen=chosen)
    for study, rows in studies.items():
        try:
            merge(rows, out / f"{study}.csv")
        except UserError as error:
            log = results / "logs" / "merge_study" / f"{study}.log"
            missing.append(Missing(study, "all", str(error), str(log)))
    claims.judge_all(claims_path, config, out, out, incomplete=no_verdict(missing))
    with replacing(out / "missing.csv") as file:
        write_rows(file, [field.name for field in fields(Missing)], map(asdict, missing))


def main(argv: list[str]) -> None:
    parser = parser_of("partial")
    parser.add_argument("config", type=Path, help="merged configuration")
    parser.add_argument("--claims", type=Path, required=True, help="config/claims.yaml")
    parser.add_argument("--results", type=Path, default=Path("results"), help="default: results")
    parser.add_argument("--out", type=Path, required=True, help="folder of the tables")
    arguments = parser.parse_args(argv)
    gather(arguments.config, arguments.claims, arguments.results, arguments.out)
