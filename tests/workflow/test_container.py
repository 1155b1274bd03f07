"""The container recipe, as far as it can be checked without building (`make test-image`)."""

import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
RECIPE = ROOT / "Containerfile"
STEPS = [
    shlex.split(line, comments=True)
    for line in RECIPE.read_text().replace("\\\n", " ").splitlines()
    if line.strip() and not line.startswith("#")
]


def test_recipe_passes_the_linter():
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "--failure-threshold", "style", RECIPE],
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_file_it_copies_exists():
    copied = [source for step, *words in STEPS if step == "COPY" for source in words[:-1]]
    assert [source for source in copied if not (ROOT / source).exists()] == []
    needed = {"requirements.txt", "Snakefile", "config", "report", "workflow", "profiles"}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert needed | {"pyproject.toml", project["readme"]} <= set(copied)


def test_base_is_pinned_by_a_python_the_project_supports_and_user_is_not_root():
    (base,) = [words[0] for step, *words in STEPS if step == "ARG"]
    assert base.startswith("BASE=")
    assert base.rpartition(":")[2].startswith("3.12-")
    assert [words for step, *words in STEPS if step == "FROM"] == [["${BASE}"]]
    assert [words for step, *words in STEPS if step == "USER"] == [["1000"]]
