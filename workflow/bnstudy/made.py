"""What every result was made from, so that content decides what is made again, and never a date.

A result carries hashes of what it was made from: a run and a row of a study in themselves, anything else in a note
beside the results (results/made), which has the hashes of the result's files too. Before anything runs, `Keys` says
what each of them should be now, and `stale` finds what is not. Nothing here imports PyTorch, for every cluster job
plans the workflow again.
"""

import csv
import hashlib
import json
import os
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import Counter
from collections.abc import Iterable
from functools import cache, cached_property, partial
from pathlib import Path

from bnstudy import grid, plugins, provenance
from bnstudy.cli import parser_of
from bnstudy.config import config_text, enabled_studies
from bnstudy.data import own
from bnstudy.data.registry import DATASETS
from bnstudy.errors import UserError
from bnstudy.files import SEALED, TABLES, is_sealed, replacing
from bnstudy.settings import as_dict
from bnstudy.studies import declaration
from bnstudy.training.observers import asked_of_run, observed_code

REPORT_KINDS = {".css", ".html", ".j2", ".js", ".json", ".md", ".py", ".svg", ".txt", ".yaml"}
MODULES = {  # of the rules whose results depend on what a module imports
    "prepare": "data.prepare",
    "merge_study": "studies.table",
    "aggregate": "tables.aggregate",
    "judge_claims": "claims.judge",
}
RENDERED = ("report.html", "partial.html")
RESULTS = Path("results")
RUNS = "results/runs"


def digest(*parts: object) -> str:
    """A hash of plain values, as 64 hex digits."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()


def pack(config: dict) -> str:
    """A configuration as a word of a command line; without its source of data, which is a secret."""
    public = config | {"data": config["data"] | {"source": None}}
    return urlsafe_b64encode(zlib.compress(json.dumps(public).encode(), 9)).decode().rstrip("=")


def unpack(word: str) -> dict:
    """The configuration that `pack` packed."""
    return json.loads(zlib.decompress(urlsafe_b64decode(f"{word}===")))


class Keys:
    """What the results of a checked configuration should be made from: a hash for each.

    `root` is the checkout, `here` the environment that jobs will have, as `provenance.environment` tells it; None if
    that is not known, for they run elsewhere or on a GPU.
    """

    def __init__(self, config: dict, root: Path, here: str | None = None):
        self.config = config
        self.root = root
        self.here = here
        self.runs = grid.runs(config)
        self.studies = enabled_studies(config)
        self.text = config_text(config)
        self.sources = cache(partial(sources, root))
        names = config["grid"]["dataset"]
        self.grid_data = [f"results/data/{name}/prepared.safetensors" for name in names]
        self.training = provenance.code_sha256(observed_code(config["observers"]))

    @cached_property
    def jobs(self) -> dict[str, dict[str, declaration.Job]]:
        """The jobs of every study by the name of their cell."""
        studies = self.studies.items()
        return {name: declaration.jobs(name, one, self.config, self.runs) for name, one in studies}

    # What has a note: the code that its rule runs, what was asked for, and the files that it read.

    def inputs(self, name: str) -> list[str]:
        """The files that the results of a note are made from."""
        rule, _, part = name.partition("/")
        if rule == "prepare":
            return []
        if rule == "merge_study":
            return [f"results/studies/{part}/{cell}/rows.csv" for cell in self.jobs[part]]
        if rule == "aggregate":
            return [RUNS, *self.grid_data]
        tables = [f"results/tables/{table}.csv" for table in (*TABLES, *self.studies)]
        if rule == "judge_claims":
            return tables
        judged = ["results/tables/claims.csv", "results/tables/claim_effects.csv"]
        verified = "results/tables/verification.csv"
        return [*tables, *judged, *[verified] * os.path.exists(verified), *self.grid_data]

    def note(self, name: str) -> dict:
        """What the note should say its results were made from."""
        rule, _, part = name.partition("/")
        asked = "" if rule == "merge_study" else [self.text, provenance.versions()]
        if rule == "prepare":
            asked = repr(DATASETS[part])
        inputs = {path: hash_of_input(path, self.runs) for path in self.inputs(name)}
        return {"code": self.sources(rule), "asked": digest(asked), "inputs": inputs}

    def options(self, name: str) -> list[str]:
        """The same, as the first arguments of `bnstudy note`."""
        said = self.note(name)
        named = ["--inputs", *said["inputs"]] if said["inputs"] else []
        return [*named, "--", name.partition("/")[0], said["code"], said["asked"]]

    # What a table's runs or cells say of where they come from, and where they should come from.

    @cache  # noqa: B019 - there is one of it, as long as the workflow is planned
    def origins(self, table: str) -> dict[str, tuple[list | None, list]]:
        """Of every run of the grid ("runs"), or cell of a study: what it says, and what it should."""
        if study := table.partition("/")[2]:
            file, said = "rows.csv", self.studies[study]
            code = provenance.code_sha256(declaration.study_code(study, said))
            jobs = self.jobs[study]
        else:
            file, code, jobs = "run.json", self.training, self.runs
        found = {}
        for name, job in jobs.items():
            if study:
                told = json.loads(job.declaration)
                asked = declaration.asked_of_cell(study, told, job.cell, job.dataset, said["seeds"])
            else:
                asked = asked_of_run(as_dict(job), self.config["observers"])
            wanted = [code, provenance.config_sha256(asked), self.prepared(job.dataset)]
            found[name] = origin_of(RESULTS / table / name / file), wanted
        return found

    @cache  # noqa: B019
    def environment(self, table: str) -> str:
        """The one environment that a table will have: what is there stays if nothing is to be added.

        Otherwise it is that of the jobs to come; where their processor is not known, the most frequent one that has
        their software.
        """
        origins = self.origins(table).values()
        sound = [found for found, wanted in origins if found and not differing(found, wanted)]
        known = Counter(found[-1] for found in sound)
        if len(known) == 1 and len(sound) == len(origins):
            return sound[0][-1]
        if self.here is not None:
            return self.here
        ours = [one for one, _ in known.most_common() if one.startswith(provenance.environment(""))]
        return ours[0] if ours else provenance.environment("")

    def stale(self, table: str, name: str) -> str | None:
        """Why a run of the grid or a cell of a study has to be made again; None if it need not."""
        found, wanted = self.origins(table)[name]
        return found and differing(found, [*wanted, self.environment(table)])

    def stale_retrained(self, name: str) -> str | None:
        """Of a run that `verify` trained, which tells of the code and the machine of today."""
        found = origin_of(RESULTS / "verify/runs" / name / "run.json")
        return found and differing(found, [self.training, None, None, self.here])

    def stale_config(self) -> str | None:
        recorded = RESULTS / "run_config.yaml"
        differs = recorded.is_file() and recorded.read_bytes() != self.text.encode()
        return "another configuration" if differs else None

    def stale_note(self, name: str) -> str | None:
        """Whether what a note is about was made from something else than it should, or edited since."""
        names = {"code": "other code", "asked": "other settings", "inputs": "other inputs"}
        said = self.note(name)
        try:
            note = json.loads((RESULTS / f"made/{name}.json").read_text(encoding="utf-8"))
            reasons = [why for key, why in names.items() if note.get(key) != said[key]]
            intact = all(hash_of(path) == sha256 for path, sha256 in note["files"].items())
        except FileNotFoundError:
            return None  # the note is an output of its rule: Snakemake sees that it is missing
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return "damage"
        return " and ".join(reasons) or (None if intact else "an edit by hand")

    @cache  # noqa: B019
    def prepared(self, dataset: str) -> str | None:
        """The hash of a prepared dataset's content, None if it is not there or cannot be read.

        A file made from other images than the user's own of now is made again before it is used.
        """
        known = DATASETS[dataset]
        try:
            header = provenance.prepared_header(RESULTS / "data" / dataset / "prepared.safetensors")
        except UserError:
            return None
        changed = known.own and header.get("source") != own.source(known)
        return "not known yet" if changed else header["sha256"]


def sources(root: Path, rule: str) -> str:
    """A hash of the files of the checkout that decide what a rule makes, plug-ins included."""
    files: set[Path] = set()
    if rule == "render":
        places = [(root / "report", REPORT_KINDS), (provenance.PACKAGE, {".py", ".yaml"})]
        kept = {p for place, kinds in places for p in place.rglob("*") if p.suffix in kinds}
        files = {p for p in kept if p.name not in RENDERED}
    if rule in ("judge_claims", "render"):
        files |= {root / "config/claims.yaml", *(root / "workflow/schemas").glob("*.yaml")}
    found = provenance.imported_code(MODULES[rule]) if rule in MODULES else ()
    code = provenance.code_sha256(("cli.py", *found))
    names = [os.path.relpath(p, root) for p in sorted(files) if p.is_file()]
    return digest(code, {name: provenance.file_sha256(root / name) for name in names})


DAMAGED = ["damage, or an edit by hand"] * len(provenance.ORIGIN)


def origin_of(path: Path) -> list[str] | None:
    """What a run, or the rows of a cell, say they were made from; None if they are not there."""
    try:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".csv":
            said, intact = next(csv.DictReader(text.splitlines())), is_sealed(text)
        else:
            said = json.loads(text)
            seals = json.loads(path.with_name("timing.json").read_text(encoding="utf-8"))["sha256"]
            intact = all(hash_of(str(path.with_name(name))) == seals[name] for name in SEALED)
        return [said.get(key, "") for key in provenance.ORIGIN] if intact else DAMAGED
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration, csv.Error):
        return DAMAGED


def differing(found: list[str], wanted: list[str | None]) -> str | None:
    """In what a result differs from what it should be made from; what is not known yet does not."""
    if found == DAMAGED:
        return DAMAGED[0]
    names = ("other code", "other settings", "other data")
    reasons = [n for n, a, b in zip(names, found, wanted, strict=False) if b is not None and a != b]
    if len(wanted) == len(provenance.ORIGIN) and wanted[-1] not in (None, found[-1]):
        then, now = (one.replace(" on ", ", ").split(", ") for one in (found[-1], wanted[-1]))
        lost, new = ([p for p in a if p and p not in b] for a, b in ((then, now), (now, then)))
        said = [f"{when} {', '.join(p)}" for when, p in (("then", lost), ("now", new)) if p]
        reasons.append(f"another environment ({'; '.join(said)})")
    return " and ".join(reasons) or None


@cache
def hash_of(path: str) -> str:
    """The hash of a file's content; empty if there is none."""
    return provenance.file_sha256(Path(path)) if os.path.isfile(path) else ""


def hash_of_input(path: str, runs: Iterable[str]) -> str:
    """The same; of `RUNS`, a hash of what all runs say of themselves."""
    if path != RUNS:
        return hash_of(path)
    return digest([[name, hash_of(f"{RUNS}/{name}/run.json")] for name in sorted(runs)])


def summary(reasons: Iterable[str]) -> str:
    """How many results are made again and why, in one line; empty if none are."""
    parts = [f"{n} of {reason}" for reason, n in Counter(reasons).items()]
    return f"Made again, since they come from something else: {', '.join(parts)}." if parts else ""


def main(argv: list[str]) -> None:
    parser = parser_of("note")
    parser.add_argument("rule", help="the rule that made them")
    parser.add_argument("code", help="the hash of its code when it was planned")
    parser.add_argument("asked", help="the hash of what was asked for")
    parser.add_argument("files", type=Path, nargs="+", help="files or folders that were made")
    parser.add_argument("--inputs", nargs="*", default=[], help="files that they were made from")
    parser.add_argument("--plugins", type=Path, nargs="*", default=[], help="files of your own")
    parser.add_argument("--out", type=Path, required=True, help="the note")
    arguments = parser.parse_args(argv)
    plugins.load(arguments.plugins)
    if sources(provenance.PACKAGE.parents[1], arguments.rule) != arguments.code:
        raise UserError(
            "the code or the list of claims was edited while this job waited or ran; run the same command again"
        )
    runs = []
    if RUNS in arguments.inputs:
        with open("results/tables/runs.csv", newline="", encoding="utf-8") as file:
            runs = [row["run"] for row in csv.DictReader(file)]
    inside = [p for one in arguments.files for p in (one.rglob("*") if one.is_dir() else [one])]
    said = {"code": arguments.code, "asked": arguments.asked}
    said["inputs"] = {path: hash_of_input(path, runs) for path in arguments.inputs}
    said["files"] = {str(path): hash_of(str(path)) for path in inside if not path.is_dir()}
    with replacing(arguments.out) as file:
        json.dump(said, file, indent=1, sort_keys=True)
