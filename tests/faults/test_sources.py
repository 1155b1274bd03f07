"""Sources of data that hang, lie, drip, redirect or send too much; damaged raw and prepared data.

Every server is on loopback and every wait is bounded by the program under test.
"""

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading

import pytest

import bnstudy.data.sources
from bnstudy.data.download import download
from bnstudy.data.prepare import prepare
from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.provenance import prepared_header
from sources import HASTY, PACKED, RAW, Server, serving, tiny, write_files

NAME = "t10k-images-idx3-ubyte.gz"  # the third of four
BEFORE = {"train-images-idx3-ubyte.gz", "train-labels-idx1-ubyte.gz"}
BODY = PACKED[NAME]


@pytest.fixture(autouse=True)
def loopback_only(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("BNSTUDY_DATA_SOURCE", raising=False)


def hang(handler):
    handler.server.closing.wait(30)


def hang_midway(handler):
    handler.give(BODY[:50], announced=len(BODY))
    handler.server.closing.wait(30)


def drip(handler):
    handler.give(b"", announced=len(BODY))
    for byte in BODY:
        handler.wfile.write(bytes([byte]))
        if handler.server.closing.wait(0.05):
            break


def send_without_end(handler):
    handler.send_response(200)
    handler.end_headers()
    while not handler.server.closing.is_set():
        handler.wfile.write(b"\0" * 2**16)


def redirect(handler, to):
    handler.send_response(302)
    handler.send_header("Location", to)
    handler.end_headers()


FAULTS = {
    # the fault: what the server does, what the user is told, what to change in our patience
    "hangs": (hang, "no data for 0.3 s", {"read_timeout": 0.3, "attempts": 2}),
    "hangs midway": (hang_midway, "no data for 0.3 s", {"read_timeout": 0.3, "attempts": 2}),
    "drips": (drip, "not complete after 0.5 s", {"file_within": 0.5}),
    "never stops sending": (send_without_end, "more than", {}),
    "sends too little": (lambda h: h.give(BODY[:70], announced=len(BODY)), "IncompleteRead", {}),
    "truncates": (lambda h: h.give(BODY[:70]), "cannot be unpacked", {}),
    "sends another file": (lambda h: h.give(PACKED["train-images-idx3-ubyte.gz"]), "wrong sha256", {}),
    "sends a page": (lambda h: h.give(b"<html>log in</html>"), "cannot be unpacked", {}),
    "answers 404": (lambda h: h.send_error(404), "not there", {}),
    "answers 500": (lambda h: h.send_error(500), "HTTP status 500", {}),
    "redirects in a circle": (lambda h: redirect(h, h.path), "redirect", {}),
    "redirects to a dead host": (lambda h: redirect(h, "http://127.0.0.1:1/x"), "Connection refused", {}),
}


@pytest.mark.parametrize("what", FAULTS)
def test_a_source_that(what, fault, tmp_path, monkeypatch):
    misbehave, told, patience = FAULTS[what]
    source = fault(f"a source that {what}")
    monkeypatch.setattr(bnstudy.data.sources, "LARGEST_FILE", 2**20)
    with serving() as server, serving() as good:
        server.files, server.faults = PACKED, {NAME: misbehave}
        good.files = PACKED
        hasty = dataclasses.replace(HASTY, **patience)
        source.tried()
        with pytest.raises(UserError) as caught:
            download(tiny(server.url), tmp_path / "raw", patience=hasty)
        source.wrong(told not in str(caught.value), f"'{told}' was not said: {caught.value}")
        source.wrong(list(tmp_path.iterdir()) != [], "something stayed behind")
        # The next mirror has it, and is not asked for what was verified before.
        source.tried()
        download(tiny(server.url, good.url), tmp_path / "raw", patience=hasty)
        source.lost(len(good.asked.keys() & BEFORE), "files were asked for again")
        source.wrong(not is_whole(tmp_path / "raw"), "the raw files are not whole")


def test_a_redirect_to_another_host_that_has_the_file(fault, tmp_path):
    source = fault("a source that redirects to another host")
    with serving() as server, serving() as other:
        other.files = PACKED
        server.faults = {name: redirector(other, name) for name in PACKED}
        source.tried()
        download(tiny(server.url), tmp_path / "raw", patience=HASTY)
        source.wrong(not is_whole(tmp_path / "raw"), "the raw files are not whole")


def redirector(other: Server, name: str):
    return lambda handler: redirect(handler, f"{other.url}/{name}")


def is_whole(raw):
    return all((raw / "MNIST/raw" / name).read_bytes() == text for name, text in RAW.items())


def damaged(text: bytes):
    """Truncated at many lengths, and with one bit flipped at many places."""
    step = max(1, len(text) // 37)
    for i in range(0, len(text), step):
        yield "truncated", text[:i]
        yield "bit-flipped", text[:i] + bytes([text[i] ^ 1 << i % 8]) + text[i + 1 :]


def test_damaged_downloads(fault, tmp_path):
    """A flipped bit that leaves the unpacked file as it was (in a gzip header) is no damage."""
    recorders = {kind: fault(f"a download that is {kind}") for kind in ("truncated", "bit-flipped")}
    for i, (kind, text) in enumerate(damaged(BODY)):
        folder = write_files(tmp_path / f"source {i}", PACKED | {NAME: text})
        raw = tmp_path / f"raw {i}"
        recorders[kind].tried()
        try:
            download(tiny(), raw, str(folder))
        except UserError as error:
            recorders[kind].wrong(NAME not in str(error), f"it did not say which file: {error}")
            recorders[kind].wrong(raw.exists(), "something stayed behind")
        else:
            recorders[kind].wrong(not is_whole(raw), "a damaged file was taken for whole")


def test_damaged_raw_files(fault, tmp_path):
    """The cache of raw files is verified when it is read, not only when it was written."""
    recorders = {kind: fault(f"a cache that is {kind}") for kind in ("truncated", "bit-flipped")}
    given = write_files(tmp_path / "given", RAW)
    download(tiny(), tmp_path / "raw", str(given))
    path = tmp_path / "raw/MNIST/raw" / NAME.removesuffix(".gz")
    for kind, text in damaged(path.read_bytes()):
        path.write_bytes(text)
        recorders[kind].tried()
        try:
            prepare(tiny(), tmp_path / "raw", tmp_path / "prepared.safetensors")
        except UserError as error:
            recorders[kind].wrong(str(path) not in str(error), "it did not say which file")
        else:
            recorders[kind].wrong(1, "a damaged file was prepared")
        recorders[kind].wrong((tmp_path / "prepared.safetensors").exists(), "there is a file")
    # What it says helps.
    shutil.rmtree(tmp_path / "raw")
    download(tiny(), tmp_path / "raw", str(given))
    prepare(tiny(), tmp_path / "raw", tmp_path / "prepared.safetensors")


def test_damaged_prepared_data(fault, tmp_path, finished):
    """Every bit of the file is covered: by the header's length, by its JSON or by the hash."""
    recorders = {kind: fault(f"prepared data that is {kind}") for kind in ("truncated", "bit-flipped")}
    whole = (finished.study / "results/data/digits/prepared.safetensors").read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    path = tmp_path / "prepared.safetensors"
    path.write_bytes(whole)
    sha256 = open_prepared(path).sha256
    cases = [*damaged(whole)]
    for i in range(header):  # of the header, every byte
        cases.append(("bit-flipped", whole[:i] + bytes([whole[i] ^ 1 << i % 8]) + whole[i + 1 :]))
    for kind, text in cases:
        path.write_bytes(text)
        recorders[kind].tried()
        try:
            found = open_prepared(path).sha256
        except UserError as error:
            recorders[kind].wrong(str(path) not in str(error), "it did not say which file")
        else:
            recorders[kind].wrong(found == sha256 and text != whole, f"it was opened {len(text)}")
        try:
            prepared_header(path)
        except UserError as error:
            recorders[kind].wrong(str(path) not in str(error), "it did not say which file")


def test_a_study_whose_prepared_data_is_damaged_keeps_its_runs(finished, fault, aftermath):
    """One more seed, and the data are broken: they are prepared again, and what is finished stays."""
    damage = fault("prepared data damaged beneath a finished study")
    path = finished.study / "results/data/digits/prepared.safetensors"
    whole = path.read_bytes()
    shutil.rmtree(finished.study / "results/tables")
    shutil.rmtree(finished.study / "results/runs/dataset~digits/norm~none/epochs~20/probe_every~5/batch_size~32/seed~1")
    path.write_bytes(whole[:-1] + b"\x07")
    damage.tried()
    done = finished.snakemake("--cores", "2", "tables")
    said = done.stdout + done.stderr
    damage.wrong(done.returncode != 0, said)
    damage.wrong(path.read_bytes() != whole, "the data are still damaged")
    aftermath(finished, damage, said, "of an edit by hand")


def test_a_download_that_is_interrupted(finished, fault):
    """SIGINT to `bnstudy download` while the source hangs; the next one starts afresh."""
    interrupt = fault("Ctrl-C in download")
    arrived = threading.Event()
    out = finished.study / "results/data/fashion_mnist/raw"
    with serving() as server:

        def arrive_and_hang(handler):
            arrived.set()
            hang(handler)

        first = "train-images-idx3-ubyte.gz"
        server.faults = {f"fashion_mnist/{first}": arrive_and_hang}
        running = subprocess.Popen(
            [sys.executable, "-m", "bnstudy", "download", "fashion_mnist", "--out", str(out)],
            env=os.environ | {"BNSTUDY_DATA_SOURCE": server.url},
            stderr=subprocess.PIPE,
            text=True,
        )
        assert arrived.wait(60)
        interrupt.tried()
        running.send_signal(signal.SIGINT)
        said = running.communicate(timeout=60)[1]
    interrupt.wrong(running.returncode != 130, f"it ended with {running.returncode}")
    interrupt.wrong("Traceback" in said, "a traceback was shown")
    interrupt.wrong(any(path.is_file() for path in out.parent.rglob("*")), "something stayed")
