"""Another workflow imports this one as a module, and runs the quick study of it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

IMPORTING = """
module bn:
    snakefile: "{snakefile}"
{config}

use rule * from bn as bn_*


rule all:
    default_target: True
    input:
        rules.bn_all.input,
    output:
        "mine.txt",
    shell:
        "wc -l results/tables/runs.csv > {{output}}"
"""


def importing(checkout, folder: Path, config: str, settings: dict, *arguments: str):
    folder.mkdir()
    text = IMPORTING.format(snakefile=checkout.root / "Snakefile", config=config)
    (folder / "Snakefile").write_text(text)
    (folder / "mine.yaml").write_text(yaml.safe_dump(settings))
    return subprocess.run(
        [sys.executable, "-m", "snakemake", "--configfile", "mine.yaml", *arguments],
        check=False,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(checkout.root / "workflow")},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def quick(checkout):
    return yaml.safe_load((checkout.root / "config/quick.yaml").read_text())


def test_an_importing_workflow_runs_the_quick_study(checkout, quick, tmp_path):
    """Given a part of its own configuration, which lies over the defaults like any other."""
    settings = {"bn": quick, "other": 1}
    folder = tmp_path / "theirs"
    done = importing(checkout, folder, '    config: config["bn"]', settings, "--cores", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "mine.txt").read_text().split()[0] == "13"  # a heading and twelve runs
    assert (folder / "report/report.html").stat().st_size > 0
    again = importing(checkout, tmp_path / "again", "", quick, "-n")
    assert again.returncode == 0, again.stdout + again.stderr
    assert "bn_train" in again.stdout + again.stderr


def test_a_workflow_may_include_it(checkout, tmp_path):
    included = f'include: "{checkout.root / "Snakefile"}"\n\n\nrule mine:\n    input: rules.all.input\n'
    (tmp_path / "Snakefile").write_text(included)
    quick = str(checkout.root / "config/quick.yaml")
    plan = checkout.plan(*("--snakefile", str(tmp_path / "Snakefile"), "--configfile", quick, "--", "mine"))
    assert (plan.counts["train"], plan.counts["render"], plan.counts["mine"]) == (12, 1, 1)


def test_a_mistake_is_said_to_the_importing_workflow(checkout, quick, tmp_path):
    quick["grid"]["norm"] = ["bacth"]
    done = importing(checkout, tmp_path / "theirs", '    config: config["bn"]', {"bn": quick}, "-n")
    assert done.returncode == 1
    assert "grid.norm" in done.stdout + done.stderr
