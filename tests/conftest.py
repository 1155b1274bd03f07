"""Fixtures shared by the tests."""

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "network: needs a package registry; skips without one")


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared digits dataset: 1,797 images of 8 x 8 pixels."""
    from bnstudy.datasets import DATASETS, prepare

    path = tmp_path_factory.mktemp("digits") / "prepared.safetensors"
    prepare(DATASETS["digits"], None, path)
    return path
