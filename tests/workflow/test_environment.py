"""pyproject.toml, the pins and environment.yml name the same packages; `make` installs what runs need.

What only tests need is pinned in tests/requirements.txt, which holds the pins of runs as well.
"""

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
from importlib.metadata import packages_distributions, requires, version
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from checkouts import copy_checkout

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
RUNNING = [Requirement(text) for text in (*PROJECT["dependencies"], *EXTRAS["cluster"])]
TESTING = [Requirement(text) for texts in EXTRAS.values() for text in texts]
LINES = {name: (ROOT / name).read_text().splitlines() for name in ("requirements.txt", "tests/requirements.txt")}
PINNED = {
    name: [Requirement(line) for line in lines if line.strip() and not line.strip().startswith("#")]
    for name, lines in LINES.items()
}


def pins(name: str, file: str = "requirements.txt") -> list[str]:
    """Versions a package is pinned to; there may be one for each platform or Python."""
    found = [r for r in PINNED[file] if canonicalize_name(r.name) == canonicalize_name(name)]
    return [spec.version for requirement in found for spec in requirement.specifier]


@pytest.mark.parametrize(
    ("declared", "file"),
    [(declared, "requirements.txt") for declared in RUNNING]
    + [(declared, "tests/requirements.txt") for declared in RUNNING + TESTING],
    ids=str,
)
def test_what_is_declared_is_pinned_to_a_version_that_satisfies_it(declared, file):
    assert pins(declared.name, file)
    assert all(declared.specifier.contains(pin) for pin in pins(declared.name, file))


@pytest.mark.parametrize("file", LINES)
def test_requirements_are_exact_pins_and_nothing_else(file):
    for requirement in PINNED[file]:
        assert [spec.operator for spec in requirement.specifier] == ["=="], requirement
        assert requirement.url is None
    assert not [line for line in LINES[file] if "://" in line or line.lstrip().startswith("-")]


def test_tests_run_with_what_runs_have():
    for requirement in PINNED["requirements.txt"]:
        assert pins(requirement.name) == pins(requirement.name, "tests/requirements.txt")


def test_every_package_that_is_imported_is_declared():
    """By the syntax of every file; the package's own modules and helpers of tests are no packages."""
    files = [*ROOT.glob("workflow/**/*.py"), *ROOT.glob("report/*.py"), *ROOT.glob("tests/**/*.py")]
    own = {"bnstudy", *(path.stem for path in files), *(path.parent.name for path in files)}
    own |= {path.stem for path in ROOT.glob("benchmarks/*.py")}
    declared = {canonicalize_name(requirement.name) for requirement in RUNNING + TESTING}
    providers = packages_distributions()
    missing = {}
    for path in files:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and not node.level:
                names = [node.module]
            for name in {name.partition(".")[0] for name in names}:
                known = {canonicalize_name(provider) for provider in providers.get(name, [])}
                if not (name in sys.stdlib_module_names or name in own or known & declared):
                    missing[name] = str(path.relative_to(ROOT))
    assert missing == {}


def test_torch_and_torchvision_are_a_pair():
    """By what torchvision asks for, and by its compiled operators, which a wrong torch cannot load."""
    (needed,) = [r for r in map(Requirement, requires("torchvision")) if r.name == "torch"]
    assert all(needed.specifier.contains(pin) for pin in pins("torch"))
    for name in ("torch", "torchvision"):
        (declared,) = [r for r in RUNNING if r.name == name]
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
    assert not [line for line in (ROOT / "environment.yml").read_text().splitlines() if "://" in line]


@pytest.fixture
def planned(tmp_path):
    """What `make` would do in a checkout: planned(*arguments) returns its commands."""
    (tmp_path / "tests").mkdir()
    for name in ("Makefile", "requirements.txt", "pyproject.toml", "tests/requirements.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    environment = {"PATH": os.environ["PATH"]}  # nothing of a `make` that runs the tests

    def plan(*arguments: str) -> list[str]:
        command = ["make", "--dry-run", "--no-print-directory", *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()

    return plan


def installs(commands: list[str]) -> bool:
    return any("pip install" in command for command in commands)


@pytest.mark.parametrize(
    ("target", "last"),
    [
        ((), ".venv/bin/snakemake --cores all"),
        (("CORES=1", "full"), ".venv/bin/snakemake --cores 1 --configfile config/full.yaml"),
        (("test",), ".venv/bin/python -m pytest -n 2 --dist loadfile"),
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


def test_a_snakemake_without_the_package_says_what_to_do(tmp_path):
    """Another environment's snakemake, which knows nothing of `bnstudy`."""
    hidden = (
        "import importlib.util, sys\n"
        "find = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *a: None if name == 'bnstudy' else find(name, *a)\n"
        "from snakemake.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", hidden, "-n", "--snakefile", ROOT / "Snakefile"],
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    said = " ".join((done.stdout + done.stderr).split())
    assert done.returncode == 1
    assert "has no package bnstudy; run `make env`" in said
    assert "ModuleNotFoundError" not in said


def test_snakemake_s_linter_finds_nothing_else_than_that_no_rule_makes_its_environment():
    """All rules run in the one environment that snakemake itself is from."""
    command = [sys.executable, "-m", "snakemake", "--lint", "--snakefile", ROOT / "Snakefile"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    titles = set(re.findall(r"^    \* (.+?):?$", done.stdout + done.stderr, re.MULTILINE))
    assert titles == {"Specify a conda environment or container for each rule."}


def test_a_configuration_in_utf_16_is_named(tmp_path):
    """As Windows' editors may save it."""
    checkout = copy_checkout(tmp_path)
    config = checkout.root / "config/config.yaml"
    config.write_text(config.read_text(), encoding="utf-16")
    done = checkout.snakemake("-n")
    assert done.returncode == 1
    assert f"{config} is not UTF-8 text" in " ".join((done.stdout + done.stderr).split("\n"))


def test_a_wheel_holds_the_study(tmp_path):
    """Built, and installed into an environment that has the packages it needs and no checkout."""
    checkout = copy_checkout(tmp_path).root
    build = "from setuptools import build_meta; print(build_meta.build_wheel('.'))"
    built = subprocess.run([sys.executable, "-c", build], cwd=checkout, check=True, capture_output=True, text=True)
    wheel = checkout / built.stdout.split()[-1]
    place = tmp_path / "environment"
    venv.create(place, symlinks=True)
    (site,) = place.glob("lib/python*/site-packages")
    (site / "needed.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    python = place / "bin/python"
    install = ["-m", "uv", "pip", "install", "--quiet", "--offline", "--no-deps", "--python"]
    subprocess.run([sys.executable, *install, python, wheel], check=True)
    shutil.rmtree(checkout)

    def run(*command):
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        done = subprocess.run(command, check=False, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    held, bnstudy = site / "bnstudy_checkout", place / "bin/bnstudy"
    assert str(held) in run(python, "-c", "import bnstudy; print(bnstudy.__file__)")
    assert run(bnstudy, "--version") == f"bnstudy {PROJECT['version']}\n"
    run(bnstudy, "prepare", "digits", "--out", "digits.safetensors")
    run(bnstudy, "train", "digits.safetensors", "--epochs", "1", "--out", "run")
    assert json.loads((tmp_path / "run/run.json").read_text())["status"] == "ok"
    quick = ["--configfile", held / "config/quick.yaml", "--directory", tmp_path / "study", "-n"]
    said = run(python, "-m", "snakemake", "--snakefile", held / "Snakefile", *quick)
    assert re.search(r"render +1\b", said)
