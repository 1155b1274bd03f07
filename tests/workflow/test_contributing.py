"""CONTRIBUTING.md, followed to the letter on scikit-learn's digits: what it adds is trained and reported."""

import csv
import re
from pathlib import Path

import pytest
import yaml

TEXT = (Path(__file__).parents[2] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(?:python|yaml)\n# ([^\n]+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
SMALL = {
    "grid": {"dataset": ["digits"]},
    "training": {"epochs": 1, "probe_every": 5, "target": 0.5},
    "studies": {"identities": {"enabled": False}, "init_gradients": {"enabled": False}},
}


def read(path: Path) -> list[dict]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def small(tmp_path):
    """A configuration that takes a moment, laid over the one that is tried."""
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return str(path)


def test_plugins_a_study_and_a_claim(checkout, small, tmp_path):
    files = {name: content for name, content in BLOCKS if re.fullmatch(r"\w+\.(py|yaml)", name)}
    assert set(files) == {"my_things.py", "my_question.yaml"}
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    (command,) = re.findall(r"^snakemake .* --configfile my_question\.yaml$", TEXT, re.MULTILINE)
    assert "--directory .centring" in command
    checkout.study = checkout.root / ".centring"
    checkout.run("--configfile", str(tmp_path / "my_question.yaml"), small)
    tables = checkout.study / "results/tables"
    runs = read(tables / "runs.csv")
    assert {run["norm"] for run in runs} == {"none", "centred", "batch"}
    assert all(float(run["logit_size"]) > 0 for run in runs)
    judged = read(tables / "claims.csv")[-2:]
    assert [claim["id"] for claim in judged] == ["Q1", "Q2"]
    words = {"supported", "refuted", "not supported", "inconclusive"}
    assert {claim["verdict"] for claim in judged} <= words
    rows = read(tables / "centring_and_rate.csv")
    assert len(rows) == 2 * 2 * 12
    page = (checkout.study / "report/report.html").read_text()
    for word in ("Is it enough to centre the features?", "centring", "Q1", "Q2"):
        assert word in page
    # An edit of the user's file counts.
    with open(tmp_path / "my_things.py", "a") as file:
        file.write("\n# edited\n")
    plan = checkout.plan("--configfile", str(tmp_path / "my_question.yaml"), small)
    assert plan.counts["train"] == len(runs)


def test_a_setting(checkout, small):
    edits = [(place, code) for place, code in BLOCKS if place.startswith("workflow/")]
    assert len(edits) == 2
    for place, code in edits:
        path, where, line = re.fullmatch(r"(\S+), (after|instead of) \"(.+)\"", place).groups()
        source = (checkout.root / path).read_text()
        assert source.count(line) == 1
        start = source.index(line)
        old = source[source.rindex("\n", 0, start) + 1 : source.index("\n", start) + 1]
        new = old + code if where == "after" else code
        (checkout.root / path).write_text(source.replace(old, new))
    done = checkout.bnstudy("document")
    assert done.returncode == 0, done.stderr
    assert "`training.label_smoothing`" in (checkout.root / "config/README.md").read_text()
    checkout.configure(
        "compare: {axis: label_smoothing, baseline: 0.0}\n"
        "grid: {norm: [batch], label_smoothing: [0.0, 0.2], batch_size: [64], seed: [0, 1]}\n"
        "exploratory: true"
    )
    checkout.run("report", "--configfile", small)
    comparison = read(checkout.study / "results/tables/comparison.csv")
    assert {(row["axis"], row["level"]) for row in comparison} == {("label_smoothing", "0.2")}
    page = (checkout.study / "report/report.html").read_text()
    assert "label smoothing 0.2" in page
    runs = read(checkout.study / "results/tables/runs.csv")
    assert {"/label_smoothing~0.2/" in run["run"] for run in runs} == {True, False}
