"""A report rendered once from made-up results."""

import gc
from pathlib import Path

import pytest
import synthetic

from bnstudy.report.command import report

# statsmodels collects garbage in each call of multipletests: what is loaded now need not be
# searched.
gc.freeze()

ROOT = Path(__file__).parents[2]
PAYLOAD = "</script><script>document.title='taken'</script> $x$ **b** [l](javascript:alert(1))"


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small prepared dataset."""
    return synthetic.write_images(tmp_path_factory.mktemp("data") / "prepared.safetensors")


def render(folder: Path, data: list[Path], notebook: Path = ROOT / "report" / "notebook.py") -> None:
    """Render the study that lies in `folder`, as `bnstudy report` does."""
    report(
        config=folder / "results" / "run_config.yaml",
        tables=folder / "results" / "tables",
        claims=ROOT / "config" / "claims.yaml",
        data=data,
        notebook=notebook,
        figures=folder / "figures",
        ipynb=folder / "report.ipynb",
        html=folder / "report.html",
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
