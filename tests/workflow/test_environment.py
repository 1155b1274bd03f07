"""pyproject.toml, requirements.txt and environment.yml name one set of packages; `make` installs it."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"].values()
DECLARED = [Requirement(text) for texts in (PROJECT["dependencies"], *EXTRAS) for text in texts]
LINES = (ROOT / "requirements.txt").read_text().splitlines()
PINNED = [Requirement(line) for line in LINES if line.strip() and not line.lstrip().startswith("#")]


def pins(name: str) -> list[str]:
    """Versions a package is pinned to; there may be one for each platform or Python."""
    found = [r for r in PINNED if canonicalize_name(r.name) == canonicalize_name(name)]
    return [spec.version for requirement in found for spec in requirement.specifier]


@pytest.mark.parametrize("declared", DECLARED, ids=str)
def test_what_is_declared_is_pinned_to_a_version_that_satisfies_it(declared):
    assert pins(declared.name)
    assert all(declared.specifier.contains(pin) for pin in pins(declared.name))


def test_requirements_are_exact_pins_and_nothing_else():
    for requirement in PINNED:
        assert [spec.operator for spec in requirement.specifier] == ["=="], requirement
        assert requirement.url is None
    assert not [line for line in LINES if "://" in line or line.lstrip().startswith("-")]


def test_torch_and_torchvision_are_a_pair():
    """By what torchvision asks for, and by its compiled operators, which a wrong torch cannot load."""
    (needed,) = [r for r in map(Requirement, requires("torchvision")) if r.name == "torch"]
    assert all(needed.specifier.contains(pin) for pin in pins("torch"))
    for name in ("torch", "torchvision"):
        (declared,) = [r for r in DECLARED if r.name == name]
        assert pins(name) == [next(iter(declared.specifier)).version]
        assert Version(version(name)).base_version == pins(name)[0]
    import torch
    from torchvision.ops import nms

    boxes = torch.tensor([[0.0, 0, 2, 2], [0, 0, 2, 2.1], [5, 5, 6, 6]])
    assert nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]


def test_conda_installs_the_same_set():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    assert environment["name"] == PROJECT["name"]
    *conda, pip = environment["dependencies"]
    assert pip == {"pip": ["-r requirements.txt", "-e ."]}
    names = [re.split("[ =<>]", package)[0] for package in conda]
    assert names == ["python", "pip"]
    python = re.search(r"[\d.]+", conda[0])[0]
    assert SpecifierSet(PROJECT["requires-python"]).contains(f"{python}.0")
    assert not [
        line for line in (ROOT / "environment.yml").read_text().splitlines() if "://" in line
    ]


@pytest.fixture
def planned(tmp_path):
    """What `make` would do in a checkout: planned(*arguments) returns its commands."""
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, tmp_path)
    environment = {"PATH": os.environ["PATH"]}  # nothing of a `make` that runs the tests

    def plan(*arguments: str) -> list[str]:
        command = ["make", "--dry-run", "--no-print-directory", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.splitlines()

    return plan


def installs(commands: list[str]) -> bool:
    return any("pip install" in command for command in commands)


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ((), ".venv/bin/snakemake --cores all"),
        (("CORES=1", "full"), ".venv/bin/snakemake --cores 1 --configfile config/full.yaml"),
        (("test",), ".venv/bin/python -m pytest"),
    ],
)
def test_first_make_installs_and_then_does_what_it_is_asked_for(planned, target, last):
    commands = planned(*target)
    assert installs(commands)
    assert commands[-1] == last


def test_later_make_installs_again_only_for_another_pytorch(planned, tmp_path):
    for name in ("bin/python", "ready"):
        path = tmp_path / ".venv" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / ".venv/torch").write_text("cpu\n")
    assert planned() == planned("TORCH=cpu") == [".venv/bin/snakemake --cores all"]
    commands = planned("TORCH=default")
    assert installs(commands)
    assert commands[-1] == ".venv/bin/snakemake --cores all"
