"""Raw files of a dataset: from the first source that has the right ones, or none at all.

A raw folder is laid out as torchvision's dataset classes expect it.
"""

import gzip
import hashlib
import json
import os
import shutil
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from itertools import product
from pathlib import Path, PurePosixPath

from bnstudy import plugins
from bnstudy.cli import parser_of
from bnstudy.data import sources
from bnstudy.data.registry import DATASETS, Archive, Dataset
from bnstudy.data.sources import BadAnswer, Fetch, NotThere, Patience, Unreachable, extract, shown
from bnstudy.errors import UserError, refusal
from bnstudy.files import sync
from bnstudy.logs import say
from bnstudy.provenance import file_sha256

SOURCE_VARIABLE = "BNSTUDY_DATA_SOURCE"
CONFIGURED_VARIABLE = "BNSTUDY_CONFIGURED_SOURCE"
"""How the workflow hands on `data.source`, which may hold a password: commands are printed."""


def download(dataset: Dataset, out: str | Path, source: str | None = None, patience: Patience | None = None) -> None:
    """Fetch the raw files of a dataset, check them, and put them all in a folder, or none.

    Each file comes from the first of `places` that has it with the right content: an archive or the raw files,
    directly, in torchvision's layout, or either of them below a folder named like the dataset. What may be secret in an
    address, a password or a query, is told nowhere.

    The folder also gets ``source.json``: where each file came from, its SHA-256. If no source gives the right files,
    that is refused with the answer of each, and nothing stays behind.
    """
    if dataset.reader is None:
        raise UserError(
            f"{dataset.name} is not fetched from anywhere: there is nothing to download,"
            f" run `bnstudy prepare {dataset.name}`"
        )
    out = Path(out)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"{out} exists already: remove it to download {dataset.name} again")

    unfinished = out.with_name(f".{out.name}.partial")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        record = _fetch_all(dataset, unfinished, source, patience or Patience())
        text = json.dumps({"dataset": dataset.name, "files": record}, indent=2, sort_keys=True)
        (unfinished / "source.json").write_text(f"{text}\n")
        for path in (*unfinished.rglob("*"), unfinished):
            sync(path)
        unfinished.replace(out)
        sync(out.parent)
    except OSError as error:
        reason = refusal(error) or f"cannot write the raw files of {dataset.name}: {error}"
        raise UserError(reason) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _fetch_all(dataset: Dataset, root: Path, source: str | None, patience: Patience) -> dict[str, dict[str, str]]:
    """Put every raw file of a dataset below root; returns source and SHA-256 of each."""
    missing = list(archives(dataset))
    record: dict[str, dict[str, str]] = {}
    answers: list[str] = []
    for location, folders in places(dataset, source):
        if not missing:
            break
        say(f"{dataset.name}: trying {shown(location)}")
        told = []
        try:
            with sources.opened(location, patience) as fetch:
                for archive in tuple(missing):
                    forms = _spellings(archive, local=os.path.isdir(location))
                    try:
                        found = _fetch_archive(archive, product(folders, forms), fetch, root)
                    except BadAnswer as answer:
                        told.append(f"{archive.name}: {answer}")
                        say(f"  {told[-1]}")
                        continue
                    missing.remove(archive)
                    for member in archive.members:
                        say(f"  {PurePosixPath(member).name}: verified")
                        origin = f"{shown(location).rstrip('/')}/{found}"
                        record[member] = {"source": origin, "sha256": file_sha256(root / member)}
        except Unreachable as answer:
            told.append(str(answer))
            say(f"  {answer}")
        answers.append(f"  {shown(location)}: {'; '.join(told)}")
    if missing:
        names, tried = ", ".join(archive.name for archive in missing), "\n".join(answers)
        below = ", ".join(filter(None, _folders(dataset, local=True)))
        raise UserError(
            f"no source has the right files of {dataset.name}. Tried:\n{tried}\n"
            f"Get {names} (see {dataset.url}), put them in a folder and give its path as"
            f" `data: source:` in config/config.yaml or in the environment variable"
            f" {SOURCE_VARIABLE}; they are found packed or unpacked, there or below {below}.\n"
            f"`make quick` runs the whole study on a small dataset without any network."
        )
    return record


def _fetch_archive(archive: Archive, forms: Iterable[tuple], fetch: Fetch, root: Path) -> str:
    """Put the raw files of one archive below root; returns where in the source they were."""
    answers = []
    for folder, files in forms:
        with tempfile.TemporaryDirectory(dir=root) as scratch:
            try:
                for target, name in files.items():
                    fetch(f"{folder}{name}", Path(scratch, target))
                if archive.name in files:
                    _unpack(archive, Path(scratch))
                for member, digest in archive.members.items():
                    _verify(digest, Path(scratch, member), f" of {PurePosixPath(member).name}")
            except NotThere:
                continue
            except BadAnswer as answer:
                answers.append(str(answer))
                continue
            for member in archive.members:
                (root / member).parent.mkdir(parents=True, exist_ok=True)
                Path(scratch, member).replace(root / member)
            return f"{folder}{next(iter(files.values()))}"
    raise BadAnswer("; ".join(dict.fromkeys(answers)) or "not there")


def _spellings(archive: Archive, local: bool) -> list[dict[str, str]]:
    """What to fetch under which name: the archive, or its members unpacked; locally also as
    unpackers and older copies of the files spell them (``train-images.idx3-ubyte``)."""
    forms = [{archive.name: archive.name}]
    if all(archive.members.values()):  # else only the archive's own digest can tell what is right
        forms.append({member: PurePosixPath(member).name for member in archive.members})
    dotted = [{k: name.replace("-idx", ".idx") for k, name in form.items()} for form in forms]
    return [*forms, *(form for form in dotted if local and form not in forms)]


def _unpack(archive: Archive, scratch: Path) -> None:
    path = scratch / archive.name
    _verify(archive.digest, path)
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                for member in archive.members:
                    extract(tar, member, scratch / member)
        else:
            (member,) = archive.members
            with gzip.open(path) as packed:
                sources.pour(packed.read, scratch / member)
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError, NotThere) as error:
        raise BadAnswer(f"cannot be unpacked ({error})") from error


def _verify(digest: str | None, path: Path, of: str = "") -> None:
    if digest and not matches(digest, path):
        raise BadAnswer(f"wrong {digest.partition(':')[0]}{of}")


def places(dataset: Dataset, source: str | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Where to look, in order, and in which folders there: what is given, systems', mirrors, fallbacks."""
    variables = (CONFIGURED_VARIABLE, SOURCE_VARIABLE)
    given = filter(None, (source, *map(os.environ.get, variables)))
    for location in dict.fromkeys(map(os.path.expanduser, given)):
        yield location, _folders(dataset, local=os.path.isdir(location))
    yield from ((location, ("",)) for location in (*dataset.folders, *_mirrors(dataset)))
    yield from ((location, ("package/data/",)) for location in dataset.fallbacks)


def _folders(dataset: Dataset, local: bool) -> tuple[str, ...]:
    """Folders of a given source that may hold the files; more of them where looking costs nothing."""
    homes = {str(PurePosixPath(m).parent) for a in archives(dataset) for m in a.members}
    below = ("", *(f"{home}/" for home in sorted(homes)), *(["raw/"] if local else []))
    hyphened = [f"{dataset.name.replace('_', '-')}/"] if local else []
    tops = dict.fromkeys((f"{dataset.name}/", *hyphened, ""))
    return tuple(f"{top}{folder}" for top in tops for folder in below)


def archives(dataset: Dataset) -> tuple[Archive, ...]:
    """What to fetch, as the registry or torchvision lists it."""
    if dataset.archives is not None:
        return dataset.archives
    reader = torchvision_class(dataset)
    if hasattr(reader, "resources"):
        return tuple(
            Archive(name, {f"{dataset.reader}/raw/{name.removesuffix('.gz')}": None}, f"md5:{md5}")
            for name, md5 in reader.resources
        )
    files = [*reader.train_list, *reader.test_list, (reader.meta["filename"], reader.meta["md5"])]
    members = {f"{reader.base_folder}/{name}": f"md5:{md5}" for name, md5 in files}
    return (Archive(reader.filename, members),)


def _mirrors(dataset: Dataset) -> tuple[str, ...]:
    if dataset.mirrors is not None:
        return dataset.mirrors
    reader = torchvision_class(dataset)
    if not hasattr(reader, "mirrors"):
        return (reader.url.removesuffix(reader.filename),)
    return tuple(f"https{url[4:]}" if sources.insecure(url) else url for url in reader.mirrors)


def torchvision_class(dataset: Dataset) -> type:
    """The class that knows and decodes the raw files."""
    import torchvision.datasets

    return getattr(torchvision.datasets, dataset.reader)


def matches(known: str, path: Path) -> bool:
    """Whether a file has a digest, given as ``algorithm:digits``."""
    algorithm, _, expected = known.partition(":")
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest() == expected


def main(argv: list[str]) -> None:
    parser = parser_of("download")
    parser.add_argument("dataset", help=f"{', '.join(DATASETS)}, or a plug-in's")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--source", help="folder or URL tried before all others")
    parser.add_argument("--plugins", type=Path, nargs="*", default=[], help="files of your own")
    arguments = parser.parse_args(argv)
    plugins.load(arguments.plugins)
    download(known(arguments.dataset), arguments.out, arguments.source)


def known(name: str) -> Dataset:
    """The entry of a dataset; a name that there is not is refused."""
    if name not in DATASETS:
        raise UserError(f"there is no dataset {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]
