"""Every column that a table can have is explained."""

import ast
import csv
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from bnstudy.claims.judge import Row
from bnstudy.provenance import ORIGIN
from bnstudy.schema import documents
from bnstudy.studies.rows import OUTCOME
from bnstudy.tables import dictionary
from bnstudy.tables.aggregate import JOB_COLUMNS, comparison_columns
from bnstudy.training.observers import OBSERVERS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "workflow" / "bnstudy"
STUDIES = yaml.safe_load((ROOT / "config" / "studies.yaml").read_text())["studies"]
LEVELS = {"nominal", "ordinal", "interval", "ratio"}


def literals(node: ast.AST) -> set[str]:
    """The texts of an expression; what is filled in is a star."""
    found = set()
    for one in ast.walk(node):
        if isinstance(one, ast.Constant) and isinstance(one.value, str):
            found.add(one.value)
    return found


def of_code_studies(path: Path) -> set[str]:
    """The keys of the dicts that a study of code makes rows of."""
    return {
        key.value
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Dict)
        for key in node.keys
        if isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.isidentifier()
    }


def of_observer(place: str) -> set[str]:
    """The metrics that the rows of an observer name, up to a colon; other texts are left out."""
    module, name = place.split(":")
    tree = ast.parse((PACKAGE / "training" / "observers" / f"{module}.py").read_text())
    owner = next(node for node in tree.body if getattr(node, "name", "") == name)
    names = set()
    for node in ast.walk(owner):
        if isinstance(node, ast.Yield) and isinstance(node.value, ast.Tuple):
            metric = node.value.elts[2]
            if isinstance(metric, ast.Constant):
                names.add(metric.value)
            elif isinstance(metric, ast.JoinedStr) and isinstance(metric.values[0], ast.Constant):
                names.add(metric.values[0].value.partition(":")[0])
    return names


def study_columns(study: dict) -> set[str]:
    grids = study["grid"] if isinstance(study["grid"], list) else [study["grid"]]
    found = {"seed", *ORIGIN} | {axis for grid in grids for axis in grid}
    if study.get("rows") != "value":
        for entry in study.get("observers", []):
            name = entry if isinstance(entry, str) else next(iter(entry))
            found |= of_observer(OBSERVERS[name])
    return found | set(OUTCOME)


@pytest.mark.parametrize("name", STUDIES)
def test_columns_of_a_study(name):
    unknown = {c for c in study_columns(STUDIES[name]) if dictionary.column(name, c) is None}
    assert unknown == set()


def test_columns_of_studies_that_are_code():
    from bnstudy.studies.inference_statistics import COLUMNS

    known = {*COLUMNS, "seed", "gradient", "weight_gradient", "growth", "theory", "depth"}
    known |= {"check", "quantity", "value", "reference", "tolerance", "holds", "note", "studies"}
    for name in ("timing", "random_networks"):
        known |= of_code_studies(PACKAGE / "studies" / f"{name}.py")
    assert {"milliseconds", "saved_bytes", "rank", "branch"} <= known
    assert {name for name in known if dictionary.column("inference_statistics", name) is None} == set()


def test_columns_of_the_other_tables():
    with (ROOT / "published" / "summary.csv").open() as file:
        published = next(csv.reader(file))
    config = {"grid": {"dataset": [], "norm": [], "batch_size": [], "seed": []},
              "compare": {"axis": "norm", "baseline": "none"}}  # fmt: skip
    tables = {
        "published": published,
        "timings": JOB_COLUMNS,
        "claims": [field.name for field in fields(Row)],
        "comparison": comparison_columns(config),
        "claim_effects": ["id", "cell", "seed", "effect"],
        "classes": ["class", "n", "accuracy"],
        "confusion": ["true", "predicted", "count"],
        "metrics": ["epoch", "step", "split", "metric", "value"],
        "missing": ["part", "cell", "reason", "log"],
    }
    found = dictionary.rows(tables)
    assert [row["column"] for row in found if row["meaning"].startswith("not explained")] == []


def test_entries_are_whole():
    tables, columns = dictionary.read()
    assert all(len(sentence) > 10 for sentence in tables.values())
    for name, entry in columns.items():
        assert len(entry.meaning) > 3, name
        assert entry.level in LEVELS, name
    assert dictionary.column("runs", "nothing_of_the_kind") is None
    assert dictionary.column("calibration", "effect") != dictionary.column("claims", "effect")
    assert dictionary.column("runs", "batch_size").unit == "images"


def test_the_manual_is_fresh():
    path = ROOT / "docs" / "tables.md"
    assert path.read_text() == documents()[path]
