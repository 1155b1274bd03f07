"""Whatever was edited, moved, deleted or broken off: a plain `snakemake` ends as a build from scratch.

Random walks from a finished study. A step edits up to two things (settings, code, claims, images, the
notebook), each as often back as forth and with any date, does something to the folders (dates, moves,
deletions, edits of results, kills), and runs snakemake. Then all tables and the recorded configuration are
compared, byte for byte, with those that the commands make of the same files in an empty folder, and at
the end of a walk the report. Times cannot repeat and are left out: the other report shows the same ones.

`LONG=1` makes hundreds of steps of it. What is tried is printed; `ORACLE_SEED` chooses other steps.
"""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from background import start, stop
from snakemake.utils import update_config

from bnstudy import grid
from bnstudy.config import check_config, config_text, enabled_studies
from bnstudy.settings import options
from bnstudy.studies import declaration
from checkouts import Checkout, copy_checkout

LONG = bool(os.environ.get("LONG"))
SEED = int(os.environ.get("ORACLE_SEED", "17"))
WALKS, STEPS = (24, 12) if LONG else (8, 4)
TABLES = (*("runs", "metrics", "comparison", "classes", "confusion", "claims", "claim_effects"), "a_study")
DATA = "results/data/mine/prepared.safetensors"
CONFIG = """
exploratory: true
datasets: {{mine: {{path: "{place}"}}}}
grid: {{dataset: [mine], norm: [none, batch], batch_size: [32], seed: {seeds}}}
training: {{epochs: 1, device: cpu, learning_rate: {rate}}}
report: {{name: a_report, title: {title}}}
claims:
  - {{id: Q1, claim: It helps, study: a_study, metric: test_accuracy, direction: higher,
     smallest_effect: 0.33, prior: 0.5}}
studies:
  identities: {{enabled: false}}
  init_gradients: {{enabled: false}}
  input_scaling: {{enabled: false}}
  long_training: {{enabled: false}}
  a_study: {{enabled: true, code: X1, title: A study, text: Some of its runs are those of the grid.,
    seeds: 1, settings: {{batch_size: 32, epochs: 1}}, grid: {{norm: [none, batch]}}}}
"""
SETTINGS = {"seeds": ["[1000]", "[1000, 1001]"], "rate": ["0.001", "0.01"], "title": ["One title", "Another title"]}
# What is looked for in a file, and what it becomes.
EDITS = {
    "claims": ("config/claims.yaml", "converges faster", "gets there first"),
    "table": ("workflow/bnstudy/tables/aggregate.py", ': summary["mean"],', ': summary["mean"] + 0.25,'),
    "training": ("workflow/bnstudy/networks/mlp.py", "\n", "\n# edited\n"),
    "notebook": ("report/notebook.py", "# %% [markdown]\n", "# %% [markdown]\n# More words.\n#\n"),
}
CHOICES = SETTINGS | {name: [False, True] for name in (*EDITS, "images")}
YEAR = 365 * 86_400


class Walk:
    """A study that things happen to."""

    def __init__(self, study: Checkout, seed: int):
        self.study, self.chance = study, random.Random(seed)
        self.chosen = {name: values[0] for name, values in CHOICES.items()}
        self.log: list[str] = []
        paths = ["config/config.yaml", *(file for file, _, _ in EDITS.values())]
        self.sound = {path: (study.root / path).read_text() for path in paths}

    @property
    def config(self) -> dict:
        """The configuration, merged by hand."""
        text = CONFIG.format(place=self.study.root / "mine.npz", **self.chosen)
        config = yaml.safe_load(self.sound["config/config.yaml"])
        update_config(config, yaml.safe_load(text))
        return config

    def write(self) -> None:
        """Make the files what is chosen."""
        files = {"config/config.yaml": yaml.safe_dump(self.config)}
        for name, (path, old, new) in EDITS.items():
            text = self.sound[path]
            assert old in text
            files[path] = text.replace(old, new, 1) if self.chosen[name] else text
        for name, text in files.items():
            path = self.study.root / name
            if path.read_text() != text:
                path.write_text(text)
                self.date(path)
        labels = np.arange(300) % 3
        drawn = np.random.default_rng(self.chosen["images"]).integers(0, 200, (300, 6, 6))
        images = (drawn + 20 * labels[:, None, None]).astype(np.uint8)
        np.savez(self.study.root / "mine.npz", x_train=images, y_train=labels)
        self.date(self.study.root / "mine.npz")

    def date(self, path: Path) -> None:
        when = time.time() + self.chance.choice([0, -3 * YEAR, self.chance.uniform(-YEAR, YEAR)])
        os.utime(path, (when, when))

    def choose(self, name: str) -> None:
        self.chosen[name] = next(v for v in CHOICES[name] if v != self.chosen[name])
        self.log.append(f"{name}: {self.chosen[name]}")
        self.write()

    def step(self) -> None:
        """Edits, and something that happens to the folders."""
        self.log = []
        for name in self.chance.sample(sorted(CHOICES), self.chance.randint(0, 2)):
            self.choose(name)
        happens = (self.dates, self.forget, self.move, self.copy, self.delete, self.edit, self.kill)
        self.chance.choice(happens)()

    def results(self) -> list[Path]:
        """Files and folders of results; logs and measured times are none."""
        found = [p for top in ("results", "report") for p in (self.study.study / top).rglob("*")]
        return sorted(p for p in found if not {"logs", "benchmarks"} & set(p.parts))

    def dates(self) -> None:
        self.log.append("other dates")
        for path in (*self.results(), *self.study.root.glob("workflow/**/*.py")):
            self.date(path)

    def forget(self) -> None:
        self.log.append("rm -r .snakemake")
        shutil.rmtree(self.study.study / ".snakemake", ignore_errors=True)

    def move(self) -> None:
        names = "/".join(self.chance.choices("abc", k=self.chance.randint(1, 3)))
        place = self.study.root / "elsewhere" / f"{names}{time.time_ns()}"
        self.log.append(f"mv study elsewhere/{names}...")
        place.parent.mkdir(parents=True, exist_ok=True)
        self.study.study = self.study.study.rename(place)

    def copy(self) -> None:
        """As somebody copies what is visible, without dates."""
        self.log.append("cp -r study/*")
        old = self.study.study.rename(self.study.root / "old")
        hidden = shutil.ignore_patterns(".*")
        shutil.copytree(old, self.study.study, copy_function=shutil.copyfile, ignore=hidden)
        shutil.rmtree(old)

    def delete(self) -> None:
        if found := self.results():
            path = self.chance.choice(found)
            self.log.append(f"rm -r {path.relative_to(self.study.study)}")
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def edit(self) -> None:
        """A digit in the middle of a result, by hand, with a date that tells nothing."""
        files = {p: p.read_bytes() for p in self.results() if p.is_file()}
        digits = {p: [i for i, c in enumerate(text) if 48 <= c < 57] for p, text in files.items()}
        if found := [path for path in files if digits[path]]:
            path = self.chance.choice(found)
            text, status = bytearray(files[path]), path.stat()
            text[self.chance.choice(digits[path])] += 1
            path.write_bytes(text)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
            self.log.append(f"a digit of {path.relative_to(self.study.study)}")

    def kill(self) -> None:
        how = self.chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        seconds = self.chance.uniform(1, 8)
        self.log.append(f"{how.name} after {seconds:.1f} s")
        running = start(self.study, "tables")
        try:
            running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            stop(running, how)


class Scratch:
    """Builds in empty folders, by the commands alone; what is made of the same is made once."""

    def __init__(self, folder: Path):
        self.folder = folder

    def tables(self, walk: Walk) -> Path:
        """The folder of a build of what a walk has chosen."""
        folder = self.folder / sha256(repr(walk.chosen).encode()).hexdigest()
        if folder.exists():
            return folder
        study = Checkout(walk.study.root, folder)
        config: dict = {}
        for name in ("studies", "config"):
            update_config(config, yaml.safe_load((study.root / f"config/{name}.yaml").read_text()))
        check_config(config)
        (folder / "results").mkdir(parents=True)
        (folder / "results/run_config.yaml").write_text(config_text(config))
        done(study, "prepare", "mine", "--path", study.root / "mine.npz", "--out", DATA)
        runs = grid.runs(config)
        jobs = [
            (("train", DATA, *options(settings)), folder / f"results/runs/{name}", "")
            for name, settings in runs.items()
        ]
        for name, declared in enabled_studies(config).items():
            for cell, job in declaration.jobs(name, declared, config, runs).items():
                words = ("--cell", json.dumps(job.cell), "--declaration", job.declaration)
                words = ("study", name, DATA, *words, "--seeds", declared["seeds"])
                jobs.append((words, folder / f"results/studies/{name}/{cell}", "rows.csv"))
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda job: self.train(walk, study, *job), jobs))
        rows = sorted((folder / "results/studies").rglob("rows.csv"), reverse=True)  # none, batch
        done(study, "merge", *rows, "--data", DATA, "--out", "results/tables/a_study.csv")
        recorded = ("--config", "results/run_config.yaml", "--tables", "results/tables")
        done(study, "aggregate", recorded[1], "--results", "results", "--data", DATA)
        claims = study.root / "config/claims.yaml"
        done(study, "claims", claims, *recorded, "--out", "results/tables")
        return folder

    def train(self, walk: Walk, study: Checkout, words: tuple, folder: Path, file: str) -> None:
        made_of = [words, walk.chosen["training"], walk.chosen["images"]]
        kept = self.folder / sha256(repr(made_of).encode()).hexdigest()
        if not kept.exists():
            done(study, *words, "--device", "cpu", "--out", kept / file)
        shutil.copytree(kept, folder)

    def report(self, walk: Walk) -> bytes:
        """The report of the same, with the times that the study has."""
        study = Checkout(walk.study.root, self.tables(walk))
        shutil.copy(walk.study.study / "results/tables/timings.csv", study.study / "results/tables")
        done(
            *(study, "report", "--config", "results/run_config.yaml"),
            *("--tables", "results/tables", "--claims", study.root / "config/claims.yaml"),
            *("--data", DATA, "--notebook", study.root / "report/notebook.py"),
            *("--figures", "results/figures", "--ipynb", "report/r.ipynb"),
            *("--html", "report/report.html", "--failed-copy", "failed.ipynb"),
        )
        return (study.study / "report/report.html").read_bytes()


def done(study: Checkout, *words: object) -> None:
    result = study.bnstudy(*words)
    assert result.returncode == 0, result.stderr


def differing(walk: Walk, scratch: Scratch, report: bool = False) -> list[str]:
    """The tables, and the report, that are not those of a build from scratch."""
    names = ["results/run_config.yaml", *(f"results/tables/{table}.csv" for table in TABLES)]
    here, there = walk.study.study, scratch.tables(walk)
    found = [name for name in names if (here / name).read_bytes() != (there / name).read_bytes()]
    if report and (here / "report/report.html").read_bytes() != scratch.report(walk):
        found.append("report/report.html")
    return found


@pytest.fixture(scope="module")
def scratch(tmp_path_factory) -> Scratch:
    return Scratch(tmp_path_factory.mktemp("scratch"))


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Checkout:
    """A finished study, of the first of all choices."""
    study = copy_checkout(tmp_path_factory.mktemp("built"))
    study.study = study.root / "study"
    study.study.mkdir()
    config = yaml.safe_load((study.root / "config/config.yaml").read_text())
    (study.root / "config/config.yaml").write_text(yaml.safe_dump(config))
    Walk(study, 0).write()
    study.run("tables")
    return study


@pytest.fixture
def begin(built, tmp_path):
    """Starts a walk in a copy of the finished study."""

    def copied(seed: int) -> Walk:
        root = tmp_path / "checkout"
        shutil.copytree(built.root, root, symlinks=True)
        walk = Walk(Checkout(root, root / "study"), seed)
        walk.write()
        return walk

    return copied


@pytest.mark.timeout(300 * STEPS)  # many times what it takes
@pytest.mark.parametrize("number", range(WALKS))
def test_a_walk(number, fault, begin, scratch, capsys):
    oracle = fault("random edits, moves, deletions and kills against a build from scratch")
    walk = begin(SEED + number)
    for i in range(STEPS):
        walk.step()
        last = i == STEPS - 1
        report = last and (LONG or number == 0)
        tried = f"seed {SEED + number}, step {i}: {'; '.join(walk.log)}"
        with capsys.disabled():
            print(f"\n{tried}", file=sys.stderr, flush=True)
        oracle.tried()
        ended = walk.study.snakemake("--cores", "2", *([] if report else ["tables"]))
        if ended.returncode != 0:
            oracle.wrong(1, f"{tried}: it failed: {ended.stdout + ended.stderr}")
            break
        if differ := differing(walk, scratch, report):
            oracle.wrong(len(differ), f"{tried}: {', '.join(differ)} are not as from scratch")
            break
        if last:
            planned = walk.study.plan("all" if report else "tables").counts
            oracle.lost(planned != {}, f"{tried}: it would run again {dict(planned)}")


# Something that is no longer looked at, an edit that is then not seen, and where that shows.
PLANTED = {
    "code and claims": (
        "return digest(code, {name: provenance.file_sha256(root / name) for name in names})",
        'return "0" * 64',
        *("claims", "claims.csv"),
    ),
    "runs": ("[*wanted, self.environment(table)]", "found", "training", "runs.csv"),
    "settings": ("if differs else None", "if False else None", "title", "run_config.yaml"),
}


@pytest.mark.parametrize("what", list(PLANTED)[: None if LONG else 1])
def test_planted_staleness_is_seen(what, begin, scratch):
    old, new, edit, shown = PLANTED[what]
    walk = begin(0)
    module = walk.study.root / "workflow/bnstudy/made.py"
    text = module.read_text()
    assert text.count(old) == 1
    module.write_text(text.replace(old, new))
    walk.study.run("tables")
    assert differing(walk, scratch) == []
    walk.choose(edit)
    os.utime(walk.study.root / "config/claims.yaml", (0, 0))
    walk.study.run("tables")
    assert any(name.endswith(shown) for name in differing(walk, scratch))
