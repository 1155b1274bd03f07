"""What every result was made from, so that content decides what is made again, and never a date.

A result carries hashes of what it was made from: a run and a row of a study in themselves, anything
else in a note beside the results (results/made), which has the hashes of the result's files too. Before
anything runs, `Keys` says what each of them should be now, and `stale` finds what is not. Nothing here
imports PyTorch, for every cluster job plans the workflow again.
"""

import argparse
import csv
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from functools import cache, cached_property
from pathlib import Path

from bnstudy import grid
from bnstudy.config import config_text, enabled_studies
from bnstudy.data import own
from bnstudy.data.registry import DATASETS
from bnstudy.errors import UserError
from bnstudy.files import replacing
from bnstudy.provenance import (
    PACKAGE,
    code_sha256,
    config_sha256,
    file_sha256,
    imported_code,
    prepared_header,
)
from bnstudy.settings import as_dict
from bnstudy.studies import registry
from bnstudy.training.observers import asked_of_run, observed_code

REPORT_KINDS = {".css", ".html", ".j2", ".js", ".json", ".md", ".py", ".svg", ".txt"}
RENDERED = ("report.html", "partial.html")
HASHES = ("code_sha256", "config_sha256", "data_sha256")


def digest(*parts: object) -> str:
    """A hash of plain values, as 64 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


class Keys:
    """What the results of a configuration should be made from: a hash for each.

    Parameters
    ----------
    config : dict
        Checked.
    root : Path
        The checkout.
    """

    def __init__(self, config: dict, root: Path):
        self.config = config
        self.root = root
        self.runs = grid.runs(config)
        self.studies = enabled_studies(config)
        self.text = config_text(config)

    @cached_property
    def jobs(self) -> dict[str, dict[str, registry.Job]]:
        """The jobs of every study by the name of their cell."""
        return {
            name: registry.jobs(name, study, self.config, self.runs)
            for name, study in self.studies.items()
        }

    def code(self, *modules: str) -> str:
        """Of the package's modules that these need, and of the command line."""
        return code_sha256(("cli.py", *sorted({f for m in modules for f in imported_code(m)})))

    def files(self, paths: Iterable[str]) -> dict[str, str]:
        """The content of files of the checkout."""
        return {path: file_sha256(self.root / path) for path in paths}

    def dataset(self, name: str) -> str:
        return digest(self.code("data.prepare"), repr(DATASETS[name]))

    @cached_property
    def training(self) -> str:
        return code_sha256(observed_code(self.config["observers"]))

    def study(self, name: str) -> str:
        """The code of a study's jobs."""
        return code_sha256(registry.study_code(name, self.studies[name]))

    def cell(self, study: str, job: registry.Job) -> str:
        """What the rows of a cell say of themselves as `config_sha256`."""
        told, seeds = json.loads(job.declaration), self.studies[study]["seeds"]
        return config_sha256(registry.asked_of_cell(study, told, job.cell, job.dataset, seeds))

    def merged(self, study: str) -> str:
        cells = {name: self.cell(study, job) for name, job in self.jobs[study].items()}
        data = {job.dataset: self.dataset(job.dataset) for job in self.jobs[study].values()}
        return digest(self.code("studies.table"), self.study(study), cells, data)

    @cached_property
    def aggregate(self) -> str:
        data = {name: self.dataset(name) for name in self.config["grid"]["dataset"]}
        code = self.code("tables.aggregate")
        return digest(code, self.training, self.text, sorted(self.runs), data)

    @cached_property
    def judge(self) -> str:
        endpoints = (f"claims.endpoints.{name}" for name in ("core", *self.studies))
        present = (m for m in endpoints if (PACKAGE / f"{m.replace('.', '/')}.py").is_file())
        code = self.code("claims.judge", *present)
        lists = self.files(["config/claims.yaml", "workflow/schemas/claims.schema.yaml"])
        return digest(code, lists, self.aggregate, [self.merged(name) for name in self.studies])

    def render(self, verification: Path) -> str:
        folder = self.root / "report"
        sources = (p for p in folder.rglob("*") if p.suffix in REPORT_KINDS and p.is_file())
        used = [p.relative_to(self.root).as_posix() for p in sources if p.name not in RENDERED]
        code = [path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py")]
        verified = file_sha256(verification) if verification.is_file() else ""
        return digest(
            code_sha256(tuple(sorted(code))), self.files(sorted(used)), self.judge, verified
        )

    def pack(self, sources: Iterable[str], verification: Path) -> str:
        return digest(self.files(sources), self.render(verification))

    def note(self, name: str, results: Path) -> str:
        """The key of what has a note, by the note's name."""
        rule, _, part = name.partition("/")
        if rule == "render":
            return self.render(results / "tables/verification.csv")
        found = {"aggregate": lambda: self.aggregate, "judge_claims": lambda: self.judge}
        found |= {"prepare": lambda: self.dataset(part), "merge_study": lambda: self.merged(part)}
        return found[rule]()

    # Why a result that is there has to be made again; None where it need not, or is not there.

    def stale_config(self, results: Path) -> str | None:
        recorded = results / "run_config.yaml"
        differs = recorded.is_file() and recorded.read_bytes() != self.text.encode()
        return "another configuration" if differs else None

    def stale_note(self, name: str, results: Path) -> str | None:
        return changed(note_path(results, name), self.note(name, results))

    def stale_run(self, name: str, results: Path) -> str | None:
        """Of a run of the grid. A damaged one is left to aggregation, which says what is wrong."""
        found = hashes_of_run(results / "runs" / name / "run.json")
        settings = self.runs[name]
        asked = asked_of_run(as_dict(settings), self.config["observers"])
        data = self.prepared(results, settings.dataset)
        return differing(found, [self.training, config_sha256(asked), data])

    def stale_retrained(self, name: str, results: Path) -> str | None:
        """Of a run that `verify` trained."""
        found = hashes_of_run(results / "verify/runs" / name / "run.json")
        return differing(found, [self.training, None, None])

    def stale_cell(self, study: str, cell: str, results: Path) -> str | None:
        job = self.jobs[study][cell]
        path = results / "studies" / study / cell / "rows.csv"
        try:
            with open(path, newline="", encoding="utf-8") as file:
                row = next(csv.DictReader(file))
            found = [row[key] for key in HASHES]
        except FileNotFoundError:
            return None
        except (OSError, StopIteration, KeyError, ValueError):
            return "damage"
        data = self.prepared(results, job.dataset)
        return differing(found, [self.study(study), self.cell(study, job), data])

    @cache  # noqa: B019 - there is one of it, as long as the workflow is planned
    def prepared(self, results: Path, dataset: str) -> str | None:
        """The hash of a prepared dataset's content, None if it is not there or cannot be read.

        A file made from other images than the user's own of now is made again before it is used.
        """
        known = DATASETS[dataset]
        try:
            header = prepared_header(results / "data" / dataset / "prepared.safetensors")
        except UserError:
            return None
        changed = known.own and header.get("source") != own.source(known)
        return "not known yet" if changed else header["sha256"]


def hashes_of_run(path: Path) -> list[str] | None:
    """What a run says it was made from; None if it is not there or damaged."""
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        return [run[key] for key in HASHES]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def differing(found: list[str] | None, wanted: list[str | None]) -> str | None:
    """In what a result differs from what it should be made from; what is not known yet does not."""
    names = ("other code", "other settings", "other data")
    pairs = zip(names, found or [], wanted, strict=found is not None)
    return " and ".join(name for name, a, b in pairs if b is not None and a != b) or None


def note_path(results: Path, name: str) -> Path:
    return results / "made" / f"{name}.json"


def write_note(path: Path, key: str, files: Iterable[Path]) -> None:
    """Note what files, or all files of a folder, were made from, and what they hold."""
    content = {str(file): file_sha256(file) for one in files for file in contained(one)}
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as file:
        json.dump({"made_from": key, "files": content}, file, indent=1, sort_keys=True)


def contained(path: Path) -> list[Path]:
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def changed(path: Path, key: str) -> str | None:
    """Whether what a note is about was made from something else than it should, or edited since."""
    try:
        note = json.loads(path.read_text(encoding="utf-8"))
        files = {Path(name): sha256 for name, sha256 in note["files"].items()}
        made_from = note["made_from"]
    except FileNotFoundError:
        return None  # the note is an output of its rule: Snakemake sees that it is missing
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "damage"
    if made_from != key:
        return "other code, settings or data"
    intact = all(file.is_file() and file_sha256(file) == sha256 for file, sha256 in files.items())
    return None if intact else "an edit by hand"


def summary(reasons: Iterable[str]) -> str:
    """How many results are made again and why, in one line; empty if none are."""
    parts = [f"{n} of {reason}" for reason, n in Counter(reasons).items()]
    return f"Made again, since they come from something else: {', '.join(parts)}." if parts else ""


def main(argv: list[str]) -> None:
    """Run `bnstudy note`."""
    parser = argparse.ArgumentParser(
        prog="bnstudy note", description="Note what results were made from, and what they hold."
    )
    parser.add_argument("key", help="the hash of what they were made from")
    parser.add_argument("files", type=Path, nargs="+", help="files or folders")
    parser.add_argument("--out", type=Path, required=True, help="the note")
    arguments = parser.parse_args(argv)
    write_note(arguments.out, arguments.key, arguments.files)
