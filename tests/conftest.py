"""Fixtures shared by the tests."""

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

# A shell that starts the tests in the background ignores SIGINT, and every child would inherit that:
# no Ctrl-C would reach it.
signal.signal(signal.SIGINT, signal.default_int_handler)

CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "fault(name): a fault; `make test-faults` lists those of tests/unit too")
    config.addinivalue_line("markers", "network: needs a package registry; skips without one")


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The prepared digits dataset: 1,797 images of 8 x 8 pixels."""
    from bnstudy.data.prepare import prepare
    from bnstudy.data.registry import DATASETS

    path = tmp_path_factory.mktemp("digits") / "prepared.safetensors"
    prepare(DATASETS["digits"], None, path)
    return path


@pytest.fixture(scope="session")
def browser() -> Iterator[object]:
    """Chromium; the test is skipped where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(ARGUMENTS))
        yield chromium
        chromium.close()
