"""The notebook and the report in docs/ are those of the published runs."""

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml
from bs4 import BeautifulSoup

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT / "docs" / "12_July_BatchNormalization.ipynb"
PAGE = ROOT / "docs" / "sample_report.html"
LARGEST = 3_000_000  # bytes
COLUMNS = {"test_accuracy": "test accuracy (%)", "test_loss": "test loss (nats)"}


def outputs() -> list[dict]:
    cells = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return [output for cell in cells for output in cell.get("outputs", [])]


def html_of(where: Path) -> str:
    """What holds the table of all arms."""
    if where == PAGE:
        return PAGE.read_text(encoding="utf-8")
    labelled = {
        output["metadata"]["bnstudy"].get("label"): output["data"].get("text/html")
        for output in outputs()
        if "bnstudy" in output.get("metadata", {})
    }
    return "".join(labelled["arms"])


@pytest.mark.parametrize("where", [NOTEBOOK, PAGE], ids=lambda path: path.name)
def test_every_arm_is_that_of_the_published_runs(where):
    table = BeautifulSoup(html_of(where), "html.parser").find(id="tab-arms")
    heads = [head.get_text() for head in table.select("thead th")]
    rows = [[cell.get_text() for cell in row.select("th, td")] for row in table.select("tbody tr")]
    shown = [dict(zip(heads, row, strict=True)) for row in rows]
    runs = pd.read_csv(ROOT / "published" / "summary.csv", keep_default_na=False, na_values=[""])
    words = {"none": "no normalization", "batch": "batch normalization"}
    groups = runs.groupby(["batch_size", "norm"])
    assert len(shown) == len(groups)
    for (size, norm), group in groups:
        (row,) = [row for row in shown if (row["batch size"], row["normalization"]) == (str(size), words[norm])]
        for column, head in COLUMNS.items():
            scale, digits = (100, 2) if column.endswith("accuracy") else (1, 4)
            values = scale * group[column]
            assert row[head] == f"{values.mean():.{digits}f} ± {values.std():.{digits}f}"


def test_every_claim_has_its_published_verdict():
    listed = yaml.safe_load((ROOT / "config/claims.yaml").read_text(encoding="utf-8"))["claims"]
    judged = pd.read_csv(ROOT / "docs" / "verdicts.csv").set_index("id")
    assert list(judged.index) == [claim["id"] for claim in listed]
    statistical = judged[judged["kind"] != "exact"]
    assert set(statistical["verdict"]) <= {"supported", "refuted", "not supported", "inconclusive"}
    assert set(statistical["n"]) == {12}
    assert set(judged.loc[judged["kind"] == "exact", "verdict"]) <= {"holds", "does not hold"}
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert f"All {len(judged)} claims and exact statements" in text


def test_each_convolutional_arm_has_the_rate_that_was_best_for_it_on_other_seeds():
    tried = pd.read_csv(ROOT / "docs/convolutional_rates.csv", keep_default_na=False)
    asked = yaml.safe_load((ROOT / "config/examples/convolutional_rates.yaml").read_text())["grid"]
    for axis in ("norm", "batch_size", "learning_rate", "seed"):
        assert set(tried[axis]) == set(asked[axis])
    means = tried.groupby(["norm", "batch_size", "learning_rate"])["val_accuracy"].mean()
    best = means.groupby(level=["norm", "batch_size"]).idxmax()
    chosen = {f"{norm},{size}": {"learning_rate": rate} for norm, size, rate in best}
    studies = yaml.safe_load((ROOT / "config/studies.yaml").read_text())["studies"]
    arms = studies["convolutional"]["variants"]["norm,batch_size"]
    assert arms == {arm: chosen[arm] for arm in arms}


def test_the_notebook_ran_without_errors_and_shows_its_figures():
    found = outputs()
    assert NOTEBOOK.stat().st_size < LARGEST
    assert not [output for output in found if output["output_type"] == "error"]
    figures = [o for o in found if o.get("metadata", {}).get("bnstudy", {}).get("kind") == "figure"]
    assert len(figures) > 10
    for figure in figures:
        assert {"image/png", "image/svg+xml"} <= set(figure["data"])
        assert len(figure["metadata"]["image/png"]["alt"]) > 40
