"""The short report of any treatment: which notebook is taken, what it says, and that it is safe."""

import re
import subprocess
import sys

import pytest
import synthetic
import yaml
from bs4 import BeautifulSoup

from bnstudy.config import notebook_for
from bnstudy.files import write_table
from bnstudy.report.command import title_of
from conftest import PAYLOAD, ROOT, render

QUESTION = ROOT / "report" / "question.py"
TEN = list(range(10))
DROPOUT = {"norm": ["none"], "dropout": [0.0, 0.2, 0.5], "batch_size": [64], "seed": TEN}


@pytest.mark.parametrize(
    ("config", "notebook"),
    [
        (synthetic.config(), "notebook.py"),
        (synthetic.config(norm=["none", "batch", "layer"], batch_size=[64]), "notebook.py"),
        (synthetic.config(dropout=[0.5]), "notebook.py"),
        (synthetic.config(dropout=[0.0, 0.5]), "question.py"),
        (synthetic.config(baseline="batch"), "question.py"),
        (synthetic.config("dropout", 0.0, **DROPOUT), "question.py"),
    ],
)
def test_the_textbook_is_for_norms_by_batch_size_alone(config, notebook):
    assert notebook_for(config) == notebook


def test_choosing_a_notebook_is_cheap():
    code = (
        "import sys; from bnstudy.config import notebook_for; "
        "print([m for m in ('torch', 'pandas', 'matplotlib') if m in sys.modules])"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.strip() == "[]"


def test_title():
    config = synthetic.config("dropout", 0.0, **DROPOUT)
    assert title_of(config) == "What the dropout does to training"
    assert title_of(config | {"question": "Does it\n help?"}) == "Does it help?"
    assert title_of(synthetic.config()) == "A made-up study"


@pytest.fixture(scope="module")
def dropout(tmp_path_factory, images):
    """The page of a study of dropout whose question and class names try to break out."""
    folder = tmp_path_factory.mktemp("dropout")
    settings = synthetic.config("dropout", 0.0, **DROPOUT)
    settings["question"] = PAYLOAD
    settings["claims"] = [{"id": "D1"}, {"id": "D2"}]
    prepared = synthetic.write_images(folder / "own.safetensors", classes=[PAYLOAD, *"123456789"])
    synthetic.write_study(folder, settings, [prepared], diverged=[(0.5, 64, 3)])
    claim = {"claim": f"It helps {PAYLOAD}", "unit": "percentage points", "prior": 0.4, "n": 10}
    effect = {"effect": 0.4, "ci_low": 0.35, "ci_high": 0.45, "reason": "because"}
    rows = [
        {"id": "D1", "verdict": "supported", "study": "core"} | claim | effect,
        {"id": "D2", "verdict": "not run", "study": "core"} | claim | dict.fromkeys(effect),
        {"id": "B1", "verdict": "refuted", "study": "core"} | claim | effect,
    ]
    write_table(folder / "results" / "tables" / "claims.csv", list(rows[0]), rows)
    render(folder, [prepared], QUESTION)
    return folder


@pytest.fixture(scope="module")
def soup(dropout):
    return BeautifulSoup((dropout / "report.html").read_text(encoding="utf-8"), "html.parser")


def test_it_speaks_of_its_treatment_alone(soup):
    text = soup.get_text().lower()
    recorded = soup.find("pre", string=re.compile("checkpoint_every"))
    recorded.extract()
    assert "dropout 0.5" in text
    assert "batch norm" not in soup.get_text().lower()
    assert len(soup.select("figure")) >= 7
    headings = [heading.get_text().strip(" #") for heading in soup.select("main h2")]
    assert headings[:2] == ["1. What was compared", "2. What came out"]


def test_it_is_short(soup):
    prose = " ".join(p.get_text() for p in soup.select("main > p, main > ul, main > blockquote"))
    assert 600 < len(prose.split()) < 1400


def test_claims_of_the_configuration_have_their_verdicts(soup):
    rows = soup.select("#tab-claims tbody tr")
    assert [row.th.get_text() for row in rows] == ["D1", "D2"]
    assert "supported" in rows[0].get_text()
    assert "+0.40 pp (+0.35 to +0.45)" in rows[0].get_text().replace("\xa0", " ")
    assert "not run" in rows[1].get_text()


@pytest.mark.fault("HTML in questions, claims and names of classes")
def test_words_of_the_user_are_text(soup, dropout):
    assert soup.title.get_text() == PAYLOAD
    assert PAYLOAD in soup.get_text()
    assert [script.get("type") for script in soup.select("script")] == ["application/json", None]
    data = 'figure script:not([type="application/json"])'
    assert soup.select(f"h1 a, h1 math, h1 strong, table script, {data}") == []
    assert soup.select_one("#tab-classes tbody th").get_text() == PAYLOAD
    assert PAYLOAD in soup.select_one("#tab-claims").get_text()


def test_a_table_of_one_row_is_not_sorted(soup):
    assert soup.select_one("#tab-splits tbody tr")
    assert "sortable" not in soup.select_one("#tab-splits").get("class", [])
    assert "sortable" in soup.select_one("#tab-comparison").get("class", [])


def test_the_bundle_holds_the_question(dropout):
    recorded = yaml.safe_load((dropout / "results" / "run_config.yaml").read_text())
    assert recorded["question"] == PAYLOAD
    assert (dropout / "figures" / "paired.csv").exists()
