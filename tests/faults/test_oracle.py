"""Whatever was edited, moved, deleted or broken off: a plain `snakemake` ends as a build from scratch.

A walk of random steps. Each edits one to three things (settings, code, claims, images, and back), and
does one of what happens to folders (dates, moves, deletions, edits of results, kills); then come a
plain snakemake and the comparison, byte for byte, of all tables, and now and then of the report, with
those that the commands make of the same files in an empty folder. Times cannot repeat and are left out.

`LONG=1` makes hundreds of steps of it; the seed is printed and `ORACLE_SEED` chooses another.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import yaml
from background import start, stop

from bnstudy import grid
from bnstudy.config import check_config, notebook_for
from bnstudy.settings import options
from checkouts import Checkout, copy_checkout

LONG = bool(os.environ.get("LONG"))
SEED = int(os.environ.get("ORACLE_SEED", "17"))
WALKS, STEPS = (12, 25) if LONG else (3, 8)
TABLES = ("runs", "metrics", "comparison", "classes", "confusion", "claims", "claim_effects")
CONFIG = """
exploratory: true
datasets: {{mine: {{path: ../mine.npz}}}}
grid: {{dataset: [mine], norm: [none, batch], batch_size: [32], seed: {seeds}}}
training: {{epochs: 1, device: cpu, learning_rate: {rate}}}
report: {{title: {title}}}
studies: {{identities: {{enabled: false}}, init_gradients: {{enabled: false}},
  input_scaling: {{enabled: false}}, long_training: {{enabled: false}}}}
"""
# What can be edited, and what it can be: each is put back as often as it is changed.
CHOICES = {
    "seeds": ["[0]", "[0, 1]"],
    "rate": ["0.001", "0.01"],
    "title": ["One title", "Another title"],
    "claims": ["", "\n# edited\n", "reworded"],
    "aggregate.py": ["", "\n# edited\n"],
    "mlp.py": ["", "\n# edited\n"],
    "images": ["0", "1"],
}
FILES = {
    "claims": "config/claims.yaml",
    "aggregate.py": "workflow/bnstudy/tables/aggregate.py",
    "mlp.py": "workflow/bnstudy/networks/mlp.py",
}
YEAR = 365 * 86_400


class Walk:
    """A study that things happen to, and what it should be."""

    def __init__(self, folder: Path, chance: random.Random, cache: Path):
        self.chance, self.cache = chance, cache
        self.study = copy_checkout(folder)
        self.study.study = self.study.root / "study"
        self.sound = {name: (self.study.root / file).read_text() for name, file in FILES.items()}
        self.is_ = {name: values[0] for name, values in CHOICES.items()}
        self.log: list[str] = []
        self.write()

    def write(self) -> None:
        """Make the files what is chosen, with whatever date."""
        root = self.study.root
        self.study.study.mkdir(exist_ok=True)
        config = yaml.safe_load((root / "config/config.yaml").read_text())
        for key in ("question", "datasets"):
            config.pop(key, None)
        (root / "config/config.yaml").write_text(yaml.safe_dump(config))
        self.study.configure(CONFIG.format(**self.is_))
        for name, file in FILES.items():
            text = self.sound[name]
            edited = self.is_[name]
            changed = (
                text.replace("converges faster", "gets there first")
                if edited == "reworded"
                else text + edited
            )
            if (root / file).read_text() != changed:
                (root / file).write_text(changed)
                self.date(root / file)
        chosen = np.random.default_rng(int(self.is_["images"]))
        labels = np.arange(300) % 3
        images = chosen.integers(0, 200, (300, 6, 6), dtype=np.uint8) + (
            20 * labels[:, None, None]
        ).astype(np.uint8)
        np.savez(root / "mine.npz", x_train=images, y_train=labels)
        self.date(root / "mine.npz")

    def date(self, path: Path) -> None:
        when = time.time() + self.chance.choice([0, -3 * YEAR, self.chance.uniform(-YEAR, YEAR)])
        os.utime(path, (when, when))

    def step(self) -> None:
        """Edits, and something that happens to the folders."""
        for name in self.chance.sample(sorted(CHOICES), self.chance.randint(0, 3)):
            self.is_[name] = self.chance.choice([v for v in CHOICES[name] if v != self.is_[name]])
            self.log.append(f"{name} = {self.is_[name].strip() or 'as it was'}")
        self.write()
        happening = self.chance.choice(
            [
                self.dates,
                self.records,
                self.move,
                self.copy,
                self.delete,
                self.edit,
                self.kill,
                None,
            ]
        )
        if happening is not None:
            happening()

    def results(self) -> list[Path]:
        found = [
            *(self.study.study / "results").rglob("*"),
            *(self.study.study / "report").rglob("*"),
        ]
        skipped = {"logs", "benchmarks"}
        return sorted(p for p in found if not skipped & set(p.parts))

    def dates(self) -> None:
        self.log.append("other dates")
        for path in [*self.results(), *self.study.root.glob("workflow/**/*.py")]:
            self.date(path)

    def records(self) -> None:
        self.log.append("rm -r .snakemake")
        shutil.rmtree(self.study.study / ".snakemake", ignore_errors=True)

    def move(self) -> None:
        place = self.study.root / "/".join(self.chance.choices("abc", k=self.chance.randint(1, 3)))
        if place.exists():
            return
        self.log.append(f"mv {self.study.study.name} {place.relative_to(self.study.root)}")
        place.parent.mkdir(parents=True, exist_ok=True)
        # The images are named relative to the study.
        shutil.move(self.study.study, place)
        self.study.study.parent.mkdir(parents=True, exist_ok=True)
        self.study.study = self.study.root / "study"
        shutil.move(place, self.study.study)

    def copy(self) -> None:
        """As somebody copies what is visible, without dates."""
        self.log.append("cp -r study/*")
        old = self.study.study.rename(self.study.root / "old")
        shutil.copytree(
            old,
            self.study.study,
            copy_function=shutil.copyfile,
            ignore=shutil.ignore_patterns(".*"),
        )
        shutil.rmtree(old)

    def delete(self) -> None:
        if found := self.results():
            path = self.chance.choice(found)
            self.log.append(f"rm -r {path.relative_to(self.study.study)}")
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    def edit(self) -> None:
        """By hand, in the middle of a file of results, with a date that tells nothing."""
        found = [
            p
            for p in self.results()
            if p.is_file() and p.name != "timing.json" and p.stat().st_size
        ]
        if not found:
            return
        path = self.chance.choice(found)
        text = bytearray(path.read_bytes())
        place = self.chance.choice([i for i, c in enumerate(text) if 48 <= c < 57] or [0])
        text[place] += 1
        status = path.stat()
        path.write_bytes(text)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self.log.append(f"a digit of {path.relative_to(self.study.study)}")

    def kill(self) -> None:
        how = self.chance.choice([signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
        running = start(self.study, "tables")
        seconds = self.chance.uniform(1, 8)
        self.log.append(f"{how.name} after {seconds:.1f} s")
        try:
            running.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            stop(running, how)

    def scratch(self, report: bool) -> dict[str, bytes]:
        """The tables, and the report, that the commands make in an empty folder."""
        folder = self.study.root / "scratch"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        study = Checkout(self.study.root, folder)

        def bnstudy(*words: object) -> None:
            done = study.bnstudy(*words)
            assert done.returncode == 0, done.stderr

        recorded = self.study.study / "results/run_config.yaml"
        (folder / "results").mkdir()
        shutil.copy(recorded, folder / "results")
        config = yaml.safe_load(recorded.read_text())
        data = "results/data/mine/prepared.safetensors"
        bnstudy("prepare", "mine", "--path", "../mine.npz", "--out", data)
        check_config(config)
        for name, settings in grid.runs(config).items():
            made_of = [name, self.is_["mlp.py"], self.is_["images"]]
            kept = self.cache / sha256(repr(made_of).encode()).hexdigest()
            if not kept.exists():
                bnstudy("train", data, *options(settings), "--device", "cpu", "--out", kept)
            shutil.copytree(kept, folder / "results/runs" / name)
        bnstudy("aggregate", "results/run_config.yaml", "--results", "results", "--data", data)
        tables = "results/tables"
        claims = self.study.root / "config/claims.yaml"
        bnstudy(
            "claims",
            claims,
            "--config",
            "results/run_config.yaml",
            "--tables",
            tables,
            "--out",
            tables,
        )
        found = {name: (folder / tables / f"{name}.csv").read_bytes() for name in TABLES}
        if report:
            shutil.copy(self.study.study / tables / "timings.csv", folder / tables)
            notebook = self.study.root / "report" / notebook_for(config)
            bnstudy(
                *("report", "--config", "results/run_config.yaml", "--tables", tables),
                *("--claims", claims, "--data", data, "--notebook", notebook),
                *("--figures", "results/figures", "--ipynb", "report/r.ipynb"),
                *("--html", "report/report.html", "--failed-copy", "failed.ipynb"),
            )
            found["report"] = (folder / "report/report.html").read_bytes()
        return found

    def there(self, report: bool) -> dict[str, bytes]:
        folder = self.study.study
        found = {name: (folder / f"results/tables/{name}.csv").read_bytes() for name in TABLES}
        return found | ({"report": (folder / "report/report.html").read_bytes()} if report else {})


@pytest.fixture(scope="module")
def cache(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("runs")


@pytest.mark.parametrize("number", range(WALKS))
def test_a_walk(number, fault, tmp_path, cache, capsys):
    oracle = fault("random edits, moves, deletions and kills, compared with a build from scratch")
    chance = random.Random(SEED + number)
    walk = Walk(tmp_path, chance, cache)
    for i in range(STEPS):
        walk.log = []
        if i:
            walk.step()
        oracle.tried()
        report = i == STEPS - 1
        done = walk.study.snakemake("--cores", "2", *([] if report else ["tables"]))
        said = done.stdout + done.stderr
        tried = f"seed {SEED + number}, step {i}: {'; '.join(walk.log) or 'nothing'}"
        with capsys.disabled():
            print(f"\n{tried}", file=sys.stderr)
        if done.returncode != 0:
            oracle.wrong(1, f"{tried}: it failed: {said}")
            break
        wanted, found = walk.scratch(report), walk.there(report)
        differ = [name for name in wanted if wanted[name] != found[name]]
        oracle.wrong(len(differ), f"{tried}: {', '.join(differ)} differ from a build from scratch")
        if i % 4 == 1:
            planned = walk.study.plan("tables").counts
            oracle.lost(planned != {}, f"{tried}: it would run again {dict(planned)}")
        if differ:
            break
