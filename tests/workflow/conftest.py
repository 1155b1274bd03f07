"""A copy of the checkout to run and to edit, and one quick study that the tests share."""

import shutil
from pathlib import Path

import pytest

from checkouts import Checkout, copy_checkout


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    """A fresh copy of the checkout, nothing run in it."""
    return copy_checkout(tmp_path)


@pytest.fixture(scope="session")
def quick_study(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """The quick study, run to its end on two cores; not to be changed."""
    study = copy_checkout(tmp_path_factory.mktemp("quick"))
    study.study = study.root / ".quick"
    study.run("--configfile", str(study.root / "config/quick.yaml"))
    return study


@pytest.fixture
def finished(quick_study: Checkout, tmp_path: Path) -> Checkout:
    """A copy of the finished quick study that a test may change.

    What quick.yaml says is in its config.yaml, so that a plan needs no further file.
    """
    root = tmp_path / "moved checkout"
    shutil.copytree(quick_study.root, root, symlinks=True)
    study = Checkout(root, root / ".quick")
    study.configure((root / "config/quick.yaml").read_text())
    return study
