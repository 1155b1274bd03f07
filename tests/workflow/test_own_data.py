"""Images of one's own from the configuration to the tables, and what is made again when they change."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from bnstudy.data.registry import DATASETS
from checkouts import Checkout, copy_checkout

CONFIG = """
exploratory: true
datasets: {flowers: {path: images/flowers, title: "Flowers of {mine}"}}
grid: {dataset: [flowers], norm: [none, batch], batch_size: [16], seed: [0]}
training: {epochs: 1}
studies:
  identities: {enabled: false}
  init_gradients: {enabled: false}
"""
AGAIN = {"prepare": 1, "record_config": 1, "train": 2, "aggregate": 1, "judge_claims": 1}


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """A study of 60 images in three classes, as far as its tables; not to be changed."""
    study = copy_checkout(tmp_path_factory.mktemp("own"))
    images = np.random.default_rng(0).integers(0, 99, (60, 8, 8), dtype=np.uint8)
    for i, image in enumerate(images):
        image[:, 2 * (i % 3)] += 150
        file = study.root / "images/flowers" / "abc"[i % 3] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    study.configure(CONFIG)
    study.run("tables")
    return study


@pytest.fixture
def own(trained: Checkout, tmp_path: Path) -> Iterator[Checkout]:
    """A copy of it that a test may change."""
    before = dict(DATASETS)
    root = tmp_path / "copy"
    shutil.copytree(trained.root, root, symlinks=True)
    yield Checkout(root, root)
    DATASETS.clear()
    DATASETS.update(before)


def repaint(file: Path) -> None:
    """Another image of the same size, with an older date than all others."""
    Image.fromarray(np.full((8, 8), 7, np.uint8)).save(file)
    os.utime(file, (10**9, 10**9))


def test_content_decides_what_is_made_again(own):
    assert own.plan("tables").counts == {}
    file = own.root / "images/flowers/a/0.png"
    whole = file.read_bytes()
    os.utime(file)
    assert own.plan("tables").counts == {}
    repaint(file)
    assert own.plan("tables").counts == AGAIN | {"tables": 1}
    file.write_bytes(whole)
    assert own.plan("tables").counts == {}
    file.rename(file.with_name("other.png"))
    assert own.plan("tables").counts["train"] == 2
    file.with_name("other.png").rename(file)
    (own.root / "images").rename(own.root / "moved")
    own.configure("datasets: {flowers: {path: moved/flowers, title: 'Flowers of {mine}'}}")
    assert own.plan("tables").counts.keys().isdisjoint({"prepare", "train"})
    own.configure("datasets: {flowers: {path: moved/flowers, title: 'Flowers of {mine}', size: 9}}")
    assert own.plan("tables").counts["train"] == 2


def test_a_changed_image_trains_again_and_what_is_put_back_gives_the_same_tables(own):
    tables = own.root / "results/tables"
    before = (tables / "metrics.csv").read_bytes()
    file = own.root / "images/flowers/b/1.png"
    whole = file.read_bytes()
    repaint(file)
    own.run("tables")
    assert (tables / "metrics.csv").read_bytes() != before
    assert own.plan("tables").counts == {}
    file.write_bytes(whole)
    own.run("tables")
    assert (tables / "metrics.csv").read_bytes() == before


def test_results_are_made_again_also_where_their_data_are_prepared_again(own):
    """Snakemake forces no job downstream of one that runs."""
    for file in ("data/registry.py", "training/loop.py"):
        own.edit(f"workflow/bnstudy/{file}")
    counts = own.plan("tables").counts
    assert (counts["prepare"], counts["train"]) == (1, 2)


def test_an_image_that_cannot_be_read_is_named(own):
    (own.root / "images/flowers/a/0.png").write_bytes(b"no image")
    done = own.snakemake("--cores", "1", "tables")
    assert done.returncode != 0
    assert "datasets.flowers: images/flowers/a/0.png cannot be read" in done.stdout + done.stderr


@pytest.mark.fault("a password in data.source")
def test_a_password_in_the_source_is_written_nowhere(checkout):
    checkout.study = checkout.root / "study"
    checkout.study.mkdir()
    checkout.configure("data: {source: 'https://me:hush-hush@h.invalid/x?token=hush-hush'}")
    target = "results/data/fashion_mnist/raw"
    nobody = "http://127.0.0.1:1"  # where there is no copy on this machine, it fails
    done = checkout.snakemake(*("--printshellcmds", "--verbose", target), HTTPS_PROXY=nobody, HTTP_PROXY=nobody)
    assert "h.invalid" in (checkout.study / "results/logs/download/dataset~fashion_mnist.log").read_text()
    assert "hush-hush" not in done.stdout + done.stderr
    files = [path for path in checkout.study.rglob("*") if path.is_file()]
    assert len(files) > 5
    assert not [path for path in files if b"hush-hush" in path.read_bytes()]


FORMS = """
question: Which of the networks profits?
exploratory: true
datasets: {folder: {path: images/folder}, arrays: {path: images/a.npz}, sheet: {path: images/a.csv}}
grid: {dataset: [folder, arrays, sheet], kind: [mlp, cnn], norm: [none, batch], batch_size: [32], seed: [0]}
training: {epochs: 1}
observers: [dead_units, variance_shift]
"""


def test_every_form_of_images_goes_from_the_configuration_to_the_report(checkout):
    """300 images as PNG in folders, as arrays and as a sheet, on two kinds of network."""
    study, folder = checkout, checkout.root / "images"
    images = np.random.default_rng(0).integers(0, 99, (300, 8, 8), dtype=np.uint8)
    labels = np.arange(300) % 3
    for i, (image, label) in enumerate(zip(images, labels, strict=True)):
        image[:, 2 * label] += 150
        file = folder / "folder" / "abc"[label] / f"{i}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(file)
    np.savez(folder / "a.npz", x_train=images, y_train=labels)
    head = ",".join(["label", *map(str, range(64))])
    table = np.column_stack([labels, images.reshape(300, -1)])
    np.savetxt(folder / "a.csv", table, "%d", ",", header=head, comments="")
    study.configure(FORMS)
    study.run()
    page = (study.root / "report/report.html").read_text(encoding="utf-8")
    soup = BeautifulSoup(page, "html.parser")
    for name in ("folder", "arrays", "sheet"):
        suffix = "" if name == "folder" else f"-{name}"
        for figure in (f"samples-{name}", f"balance-{name}", f"networks{suffix}", f"confusion{suffix}"):
            assert soup.find(id=f"fig-{figure}"), figure
        assert soup.find(id=f"tab-parameters{suffix}")
    text = " ".join(soup.get_text().split())
    assert "a sixth of each class was set apart" in text
    assert "convolutional network" in text
    classes = pd.read_csv(study.root / "results/tables/classes.csv")
    tested = classes.groupby(["dataset", "kind", "norm"])["n"].sum()
    assert tested.between(35, 65).all()  # a hash of each image decides
    runs = pd.read_csv(study.root / "results/tables/runs.csv")
    assert (runs["status"] == "ok").all()
    assert runs.loc[runs["norm"] == "batch", "variance_shift_1"].notna().all()
