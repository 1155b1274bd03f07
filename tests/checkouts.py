"""A copy of the checkout, to run and to edit."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]
SOURCES = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["bnstudy"]["checkout"]


def quick_run(norm: str, batch_size: int, seed: int | str) -> str:
    """The name of a run of the quick study, which departs from the defaults in two settings."""
    return f"dataset~digits/norm~{norm}/epochs~2/probe_every~5/batch_size~{batch_size}/seed~{seed}"


@dataclass
class Plan:
    """What a dry run says: how often each rule would run, and with which wildcards."""

    counts: Counter
    wildcards: list[dict[str, str]]
    text: str

    @property
    def runs(self) -> list[dict[str, str]]:
        """What the names of the planned runs say."""
        names = [wildcards["run"] for wildcards in self.wildcards if "run" in wildcards]
        return [dict(part.split("~") for part in name.split("/")) for name in names]


@dataclass
class Checkout:
    """A copy of the workflow's sources, and a study in a folder below it."""

    root: Path
    study: Path

    def snakemake(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
        """Run the copied workflow, and the copied package with it, in the study's folder."""
        paths = ["--snakefile", self.root / "Snakefile", "--directory", self.study]
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *paths, *arguments],
            check=False,
            cwd=self.root,
            env=os.environ | {"PYTHONPATH": str(self.root / "workflow")} | environment,
            capture_output=True,
            text=True,
        )

    def bnstudy(self, *arguments: object, **environment: str) -> subprocess.CompletedProcess:
        """Run one command of the copied package in the study's folder."""
        return subprocess.run(
            [sys.executable, "-m", "bnstudy", *map(str, arguments)],
            check=False,
            cwd=self.study,
            env=os.environ | {"PYTHONPATH": str(self.root / "workflow")} | environment,
            capture_output=True,
            text=True,
        )

    def run(self, *arguments: str, cores: int = 2, **environment: str) -> str:
        """Run, which must succeed; returns what was printed."""
        done = self.snakemake("--cores", str(cores), *arguments, **environment)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def plan(self, *arguments: str, **environment: str) -> Plan:
        """Do a dry run, without the profile: its logger tells less."""
        done = self.snakemake("-n", "--workflow-profile", "none", *arguments, **environment)
        text = done.stdout + done.stderr
        assert done.returncode == 0, text
        stats = text.rpartition("Job stats:")[2]
        counts = Counter({rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)})
        del counts["total"]
        found = re.findall(r"^    wildcards: (.+)$", text, re.MULTILINE)
        wildcards = [dict(pair.split("=") for pair in line.split(", ")) for line in found]
        return Plan(counts, wildcards, text)

    def configure(self, text: str) -> None:
        """Lay YAML over the copied default configuration."""
        path = self.root / "config/config.yaml"
        config = yaml.safe_load(path.read_text())
        for section, keys in yaml.safe_load(text).items():
            merges = isinstance(keys, dict) and section != "compare"
            config[section] = config.get(section, {}) | keys if merges else keys
        path.write_text(yaml.safe_dump(config))

    def edit(self, file: str) -> None:
        """Change a source file, harmlessly."""
        with open(self.root / file, "a", encoding="utf-8") as lines:
            lines.write("\n# edited\n")


def copy_checkout(folder: Path) -> Checkout:
    """Copy the sources to a folder with a space in its name, as many a user has one."""
    root = folder / "my checkout"
    root.mkdir()
    skipped = shutil.ignore_patterns("__pycache__", "*.ipynb", "report.html", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, root / name, ignore=skipped)
        else:
            shutil.copy2(ROOT / name, root / name)
    return Checkout(root, root)
