"""A finished study in one file: `bnstudy archive` packs results, report and sources as an RO-Crate.

The .zip unpacks to a checkout with its results, described for machines in ro-crate-metadata.json by the Workflow Run
Crate profile (https://w3id.org/ro/wfrun/workflow/0.5). The same files give the same bytes: names are sorted,
permissions fixed, and the one date there is that of the commit, or SOURCE_DATE_EPOCH where that is set.

The modules that plan the workflow read this one, so it imports nothing slow until it has work to do.
"""

import csv
import io
import json
import os
import tomllib
import zipfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from urllib.parse import quote

import yaml

from bnstudy import provenance
from bnstudy.cli import parser_of
from bnstudy.data.registry import DATASETS
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.files import replacing
from bnstudy.tables import dictionary

KNOWN = read_yaml(Path(__file__).with_suffix(".yaml"))  # what is packed, and how it is described
LICENCE = "https://spdx.org/licenses/MIT"
EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)  # that a .zip file can tell
MODE = 0o100644 << 16  # a plain file, readable by all


def source_files(root: Path) -> list[str]:
    """Files of the checkout that go into the archive, by their paths below it, sorted."""
    found = {path for pattern in KNOWN["sources"] for path in root.glob(pattern) if path.is_file()}
    return sorted(path.relative_to(root).as_posix() for path in found)


def project_version(root: Path) -> str:
    """The version in the checkout's pyproject.toml."""
    with open(root / "pyproject.toml", "rb") as file:
        return tomllib.load(file)["project"]["version"]


def release_date(results: Iterable[Path]) -> datetime:
    """The date of the archive: SOURCE_DATE_EPOCH, or the commit's, or that of the newest result."""
    if (given := os.environ.get("SOURCE_DATE_EPOCH")) is not None:
        if not given.isdecimal():
            raise UserError(f"SOURCE_DATE_EPOCH is '{given}'; give seconds since 1970, or unset the variable.")
        seconds = int(given)
    elif (commit := provenance.git_commit()) != "unknown":
        seconds = int(provenance.git("show", "--no-patch", "--format=%ct", commit)[1])
    else:
        seconds = int(max(path.stat().st_mtime for path in results))
    return max(datetime.fromtimestamp(seconds, UTC), EARLIEST)


def without_hosts(table: bytes) -> bytes:
    """A CSV table with the names in its column `host` replaced by machine 1, machine 2, ..."""
    rows = list(csv.reader(io.StringIO(table.decode())))
    if not rows or "host" not in rows[0]:
        return table
    column, numbers = rows[0].index("host"), {}
    for row in rows[1:]:
        row[column] = f"machine {numbers.setdefault(row[column], len(numbers) + 1)}"
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


def gather(root: Path, results: Iterable[Path]) -> dict[str, bytes]:
    """Contents by path in the archive: the sources, and results where they lie in the study.

    A result that tells where on this machine it was made is refused.
    """
    packed = {name: (root / name).read_bytes() for name in source_files(root)}
    for result in results:
        # What begins with a dot in a folder is Snakemake's own.
        inside = [p for p in result.rglob("*") if p.is_file() and not p.name.startswith(".")]
        for path in sorted(inside) if result.is_dir() else [result]:
            name = PurePosixPath(path).as_posix()
            if path.is_absolute() or ".." in path.parts:
                raise UserError(f"{path} lies outside the study; name files below its folder.")
            try:
                content = path.read_bytes()
            except OSError as error:
                raise UserError(f"{path} cannot be read ({error.strerror}); run `snakemake` to make it.") from error
            for folder in {os.getcwd(), os.path.expanduser("~")}:
                if len(Path(folder).parts) > 1 and f"{folder}/".encode() in content:
                    raise UserError(
                        f"{name} contains the path {folder}/ of this machine; take it out of the "
                        "configuration or the notebook and run `snakemake` again before publishing."
                    )
            packed[name] = without_hosts(content) if path.suffix == ".csv" else content
    return packed


def describe(packed: dict[str, bytes], results: Sequence[str], date: datetime) -> str:
    """ro-crate-metadata.json: what the packed files are, and which run of the workflow made the results."""
    from rocrate.model import ContextEntity
    from rocrate.rocrate import ROCrate

    citation = yaml.safe_load(packed["CITATION.cff"])
    config = yaml.safe_load(packed["results/run_config.yaml"])
    runs = list(csv.DictReader(io.StringIO(packed["results/tables/runs.csv"].decode())))
    crate = ROCrate(version="1.1")

    def entity(at: str, kind: str, **properties: object) -> ContextEntity:
        return crate.add(ContextEntity(crate, at, {"@type": kind} | properties))

    authors = []
    parts = ("given-names", "name-particle", "family-names", "name-suffix")  # of a person, in order
    for number, about in enumerate(citation["authors"], 1):
        kind = "Person" if "family-names" in about else "Organization"
        name = about.get("name") or " ".join(about[part] for part in parts if part in about)
        authors.append(entity(about.get("orcid", f"#author-{number}"), kind, name=name))
    licence = entity(LICENCE, "CreativeWork", name="MIT License", identifier="MIT", url=LICENCE)
    crate.name = config["report"]["title"]
    crate.description = " ".join(citation["abstract"].split())
    crate.keywords = citation["keywords"]
    crate.datePublished = date.isoformat()
    crate.license = licence
    crate.root_dataset["author"] = crate.publisher = authors
    crate.root_dataset["version"] = citation["version"]

    work = {"name": citation["title"], "author": authors, "license": licence}
    work |= {"version": citation["version"], "dateCreated": date.isoformat()}
    files = {}
    for name in sorted(packed):
        encoding = KNOWN["formats"].get(PurePosixPath(name).suffix, "text/plain")
        about = {"name": name, "encodingFormat": encoding, "contentSize": str(len(packed[name]))}
        if name == "Snakefile":
            how = {"properties": about | work, "main": True, "lang": "snakemake"}
            files[name] = crate.add_workflow(dest_path=name, **how)
        else:
            files[name] = crate.add_file(dest_path=name, properties=about)
    for name, file in files.items():
        if name.startswith("results/tables/"):
            file["variableMeasured"] = measured(PurePosixPath(name).stem, packed[name], entity)
    files["README.md"]["about"] = crate.root_dataset
    software = {("Python", run["python"]) for run in runs} | {("PyTorch", r["torch"]) for r in runs}
    software.add(("Snakemake", provenance.versions()["snakemake"]))
    requirements = []
    for name, version in sorted(software):
        home = KNOWN["homes"][name]
        about = {"name": name, "softwareVersion": version, "url": home}
        requirements.append(entity(f"{home}#{version}", "SoftwareApplication", **about))
    files["Snakefile"]["softwareRequirements"] = requirements
    data = []
    for name, sha256 in sorted({(run["dataset"], run["data_sha256"]) for run in runs}):
        about = {"name": name, "description": "Not packed; images of the author's own."}
        if known := DATASETS.get(name):
            about = {"name": known.title, "url": known.url, "license": known.licence}
            about["description"] = f"Not packed; fetched and verified by the workflow ({name})."
        about = {"identifier": f"sha256:{sha256}"} | about
        data.append(entity(f"#{name}-{sha256[:12]}", "Dataset", **about))
    settings = [f"config/{name}.yaml" for name in ("config", "studies", "claims")]
    action = crate.add_action(
        files["Snakefile"],
        "#run",
        object=[files[name] for name in ("results/run_config.yaml", *settings)] + data,
        result=[files[name] for name in results if name != "results/run_config.yaml"],
        properties={
            "name": "The run of the workflow that made the tables, the figures and the report",
            "description": f"{len(runs)} training runs and the studies behind the claims.",
            "actionStatus": "http://schema.org/CompletedActionStatus",
            "agent": authors,
        },
    )
    crate.root_dataset["mentions"] = action
    crate.root_dataset["conformsTo"] = [
        entity(profile, "CreativeWork", name=name, version=version)
        for profile, (name, version) in KNOWN["profiles"].items()
    ]
    return json.dumps(crate.metadata.generate(), indent=2, ensure_ascii=False) + "\n"


def measured(table: str, content: bytes, entity: Callable) -> list:
    """What the columns of a table mean, as values of properties."""
    header = next(csv.reader(io.StringIO(content.decode())), [])
    found = []
    for column in header:
        if known := dictionary.column(table, column):
            about = {"name": column, "description": f"{known.meaning} ({known.level})"}
            about |= {"unitText": known.unit} if known.unit else {}
            found.append(entity(f"#{quote(f'column-{table}.{column}')}", "PropertyValue", **about))
    return found


def pack(root: Path, results: Sequence[Path], out: Path) -> None:
    """Write the archive of the checkout and of results, run_config.yaml and tables/runs.csv among them."""
    packed, date = gather(root, results), release_date(results)
    made = sorted(packed.keys() - set(source_files(root)))
    packed["ro-crate-metadata.json"] = describe(packed, made, date).encode()
    with replacing(out, binary=True) as file, zipfile.ZipFile(file, "w") as archive:
        for name in sorted(packed):
            entry = zipfile.ZipInfo(name, date.timetuple()[:6])
            entry.create_system, entry.external_attr = 3, MODE  # as on Unix, on any system
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, packed[name], compresslevel=9)


def main(argv: list[str]) -> None:
    parser = parser_of("archive")
    parser.add_argument("results", type=Path, nargs="+", help="files and folders it made")
    parser.add_argument("--root", type=Path, required=True, help="the checkout")
    parser.add_argument("--out", type=Path, required=True, help="file to write (.zip)")
    arguments = parser.parse_args(argv)
    pack(arguments.root, arguments.results, arguments.out)
