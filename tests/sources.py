"""Sources of datasets for tests: ten images in MNIST's format, and a server that can misbehave."""

import gzip
import hashlib
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np

from bnstudy.data.registry import Dataset, idx_archives
from bnstudy.data.sources import Patience

HASTY = Patience(connect_timeout=20, read_timeout=20, attempts=3, first_wait=0.01)

N = {"train": 7, "t10k": 3}
RANDOM = np.random.default_rng(0)
IMAGES = {split: RANDOM.integers(0, 256, (n, 28, 28), dtype=np.uint8) for split, n in N.items()}
LABELS = {split: RANDOM.integers(0, 10, n, dtype=np.uint8) for split, n in N.items()}


def idx_files(images: dict[str, np.ndarray], labels: dict[str, np.ndarray]) -> dict[str, bytes]:
    """The raw files of a dataset in MNIST's format, by name."""
    return {
        f"{split}-{kind}": struct.pack(f">i{len(array.shape)}i", magic, *array.shape) + array.tobytes()
        for split in images
        for kind, magic, array in (
            ("images-idx3-ubyte", 0x803, images[split]),
            ("labels-idx1-ubyte", 0x801, labels[split]),
        )
    }


RAW = idx_files(IMAGES, LABELS)
PACKED = {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in RAW.items()}


def tiny(*mirrors: str, **changes) -> Dataset:
    """Ten images in MNIST's format, known by the SHA-256 of the raw files."""
    known = {name: hashlib.sha256(content).hexdigest() for name, content in RAW.items()}
    fields = {
        "name": "tiny",
        "title": "Tiny",
        "n_train": 7,
        "n_test": 3,
        "shape": (1, 28, 28),
        "classes": tuple("0123456789"),
        "licence": "none",
        "url": "https://example.org",
        "reader": "MNIST",
        "archives": idx_archives("MNIST", known),
        "mirrors": mirrors,
    }
    return Dataset(**{**fields, **changes})


class Server(ThreadingHTTPServer):
    """Serves ``files``; ``faults[path]``, where there is one, answers in their place."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, Callable[[Handler], None]] = {}
        self.headers: dict[str, str] = {}
        self.asked: Counter[str] = Counter()
        self.closing = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request, client_address) -> None:
        """Say nothing when a client hangs up."""


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        name = self.path.removeprefix("/")
        self.server.asked[name] += 1
        if name in self.server.faults:
            self.server.faults[name](self)
        elif name in self.server.files:
            self.give(self.server.files[name])
        else:
            self.send_error(404)

    def give(self, body: bytes, announced: int | None = None) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) if announced is None else announced))
        for key, value in self.server.headers.items():
            self.send_header(key, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments) -> None:
        pass


@contextmanager
def serving() -> Iterator[Server]:
    """A server on loopback that is stopped, with whatever hangs in it, at the end."""
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        yield server
        server.closing.set()
        server.shutdown()
        thread.join()


def write_files(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder
