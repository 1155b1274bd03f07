"""A report rendered once from made-up results, and a browser without a network to look at it."""

import gc
from collections.abc import Iterator
from pathlib import Path

import pytest
import synthetic

from bnstudy.reporting import report

# statsmodels collects garbage in each call of multipletests: what is loaded now need not be
# searched.
gc.freeze()

ROOT = Path(__file__).parents[2]
CHROMIUM = Path("/usr/bin/chromium")
ARGUMENTS = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
PAYLOAD = "</script><script>document.title='taken'</script> $x$ **b** [l](javascript:alert(1))"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small prepared dataset."""
    return synthetic.write_images(tmp_path_factory.mktemp("data") / "prepared.safetensors")


def render(
    folder: Path, data: list[Path], notebook: Path = ROOT / "report" / "notebook.py"
) -> None:
    """Render the study that lies in `folder`, as `bnstudy report` does."""
    report(
        config=folder / "results" / "run_config.yaml",
        tables=folder / "results" / "tables",
        claims=ROOT / "config" / "claims.yaml",
        data=data,
        notebook=notebook,
        figures=folder / "figures",
        ipynb=folder / "report.ipynb",
        page=folder / "report.html",
        failed_copy=folder / "failed.ipynb",
    )


@pytest.fixture(scope="session")
def rendered(tmp_path_factory: pytest.TempPathFactory, images: Path) -> Path:
    """The folder of a rendered study whose title tries to break out of the page."""
    folder = tmp_path_factory.mktemp("study")
    settings = synthetic.config(seed=list(range(8)))
    settings["report"]["title"] = PAYLOAD
    synthetic.write_study(folder, settings, [images])
    synthetic.write_claims(folder, ROOT / "config" / "claims.yaml")
    render(folder, [images])
    return folder


@pytest.fixture(scope="session")
def page(rendered: Path) -> str:
    return (rendered / "report.html").read_text(encoding="utf-8")


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
