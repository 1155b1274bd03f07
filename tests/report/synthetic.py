"""Made-up results in the format of the real tables: what the report can be asked to show."""

import csv
import math
from collections.abc import Iterable
from dataclasses import asdict
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
import torch
import yaml

from bnstudy.claims import judge as claims
from bnstudy.claims import listed
from bnstudy.claims.endpoints.base import Endpoint, Exact
from bnstudy.data.prepared import open_prepared, write_prepared
from bnstudy.data.splits import split_sizes
from bnstudy.files import write_table
from bnstudy.grid import axes, table_value
from bnstudy.scoring import RESULTS
from bnstudy.tables.aggregate import JOB_COLUMNS, compare, comparison_columns

STUDIES = Path(__file__).parents[2] / "config" / "studies.yaml"
ALL_NORMS = ("none", "batch")
ANIMALS = ("airplane", "boat", "cat", "deer", "eagle", "frog", "goat", "horse", "ibis", "jay")
HASH = "0123456789abcdef" * 4


def config(axis: str = "norm", baseline: object = "none", **grid: list) -> dict:
    """The default study in small, with the treatment and the axes of the grid given."""
    always = {"dataset": ["digits"], "norm": list(ALL_NORMS), "batch_size": [32, 64]}
    return {
        "question": None,
        "compare": {"axis": axis, "baseline": baseline},
        "claims": [],
        "grid": always | {"seed": [0, 1, 2]} | grid,
        "data": {"source": None, "scaling": "symmetric", "validation_fraction": 0.2},
        "model": {"hidden": [128, 64], "activation": "relu", "dropout": 0.0, "initialization": "default"},
        "training": {
            "epochs": 3,
            "optimizer": "adam",
            "learning_rate": 0.001,
            "probe_every": 5,
            "target": 0.95,
            "checkpoint_every": 1000,
            "device": "auto",
            "jobs_per_gpu": 1,
        },
        "report": {"name": "12_July_BatchNormalization", "title": "A made-up study"},
        "studies": {
            name: study | {"enabled": study["enabled"] is not False}  # null: where it is asked
            for name, study in yaml.safe_load(STUDIES.read_text(encoding="utf-8"))["studies"].items()
        },
    }


def write_images(path: Path, name: str = "digits", colour: bool = False, classes: Iterable[str] = ()) -> Path:
    """A small prepared dataset of bright squares on noise."""
    rng = np.random.default_rng(7)
    shape = (3, 12, 12) if colour else (1, 8, 8)

    def images(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        labels = np.arange(n) % 10
        pixels = rng.integers(0, 5, (n, *shape))
        for image, label in zip(pixels, labels, strict=True):
            image[:, label // 4 : label // 4 + 3, label % 4 : label % 4 + 3] += 10
        return torch.tensor(pixels, dtype=torch.uint8), torch.tensor(labels, dtype=torch.int64)

    train, test = images(400), images(100)
    write_prepared(
        path,
        name=name,
        title=name.capitalize(),
        classes=tuple(classes) or (ANIMALS if colour else tuple("0123456789")),
        pixel_max=16,
        train_images=train[0],
        train_labels=train[1],
        test_images=test[0],
        test_labels=test[1],
    )
    return path


def write_study(
    folder: Path,
    settings: dict,
    data: Iterable[Path],
    *,
    speedup: float = 1.6,
    gain: float = 0.004,
    floor: float = 0.02,
    diverged: Iterable[tuple] = (),
    lacking: Iterable[tuple] = (),
) -> None:
    """Write run_config.yaml and the tables of a study that never took place.

    Every level but the baseline helps, the first of them most. Where runs are lacking, missing.csv
    lists them.

    Parameters
    ----------
    speedup : float
        How many times fewer steps the first level after the baseline needs.
    gain : float
        Accuracy that it adds.
    floor : float
        Error that remains at the end; above 0.05 no run reaches the target.
    diverged, lacking : iterable of (level, batch_size, seed)
    """
    broken, absent = set(diverged), set(lacking)
    runs, metrics, timings, classes = [], [], [], []
    names = axes(settings)
    axis, baseline = settings["compare"]["axis"], table_value(settings["compare"]["baseline"])
    others = [level for level in map(table_value, settings["grid"][axis]) if level != baseline]
    for path in data:
        opened = open_prepared(path)
        values = settings["grid"] | {"dataset": [opened.name]}
        for combination in product(*(values[name] for name in names)):
            cell = dict(zip(names, map(table_value, combination), strict=True))
            place = (cell[axis], cell["batch_size"], cell["seed"])
            if place in absent:
                continue
            share = 0 if cell[axis] == baseline else 0.5 ** others.index(cell[axis])
            run, rows, times = one_run(
                opened, cell, settings,
                rate=speedup**share, gain=gain * share, floor=floor, diverges=place in broken,
            )  # fmt: skip
            runs.append(run)
            metrics += rows
            timings.append(times)
            for index in range(len(opened.classes)):
                right = run["test_accuracy"]
                accuracy = None if right is None else min(1, right + 0.002 * (index - 4.5))
                classes.append(cell | {"class": index, "n": 10, "accuracy": accuracy})
    out = folder / "results" / "tables"
    out.mkdir(parents=True, exist_ok=True)
    write_table(out / "runs.csv", list(dict.fromkeys(["run", *names, *runs[0]])), runs)
    write_table(out / "metrics.csv", list(metrics[0]), metrics)
    write_table(out / "timings.csv", list(timings[0]), timings)
    write_table(out / "classes.csv", list(classes[0]), classes)
    write_table(out / "comparison.csv", comparison_columns(settings), compare(runs, settings))
    if absent:
        rows = [
            {
                "part": "core",
                "cell": f"dataset~digits/{axis}~{level}/batch_size~{size}/seed~{seed}",
                "reason": "not started",
                "log": "a.log",
            }
            for level, size, seed in sorted(absent)
        ]
        write_table(out / "missing.csv", list(rows[0]), rows)
    recorded = yaml.safe_dump(settings, sort_keys=False)
    (folder / "results" / "run_config.yaml").write_text(recorded)


def one_run(
    data: object, cell: dict, settings: dict, *, rate: float, gain: float, floor: float, diverges: bool
) -> tuple[dict, list[dict], dict]:
    """The rows of a run whose error decays exponentially with the steps."""
    seed, size = cell["seed"], cell["batch_size"]
    others = "".join(str(value) for name, value in cell.items() if name not in ("dataset", "seed"))
    rng = np.random.default_rng([seed, *others.encode(), len(data.name)])
    shared = np.random.default_rng([seed, 99]).normal()  # both arms of a pair
    changed = rate != 1 or gain != 0
    training = settings["training"]
    epochs, every = training["epochs"], training["probe_every"]
    n_train, _ = split_sizes(len(data.train_images), settings["data"]["validation_fraction"])
    per_epoch = math.ceil(n_train / size)
    scale = 0.6 * per_epoch * (size / 32) ** 0.5 / rate
    rest = max(floor - gain + 0.002 * shared + 0.001 * rng.normal(), 0.002)

    def error(step: int) -> float:
        noise = 1 + 0.02 * rng.normal()
        return float(min(0.9, (rest + 0.88 * math.exp(-step / scale)) * noise))

    rows: list[dict] = []
    series: list[tuple[int, float]] = []

    def record(epoch: int, step: int, split: str, wrong: float, *, accuracy: bool = True) -> None:
        row = cell | {"epoch": epoch, "step": step, "split": split}
        if accuracy:
            rows.append(row | {"metric": "accuracy", "value": 1 - wrong})
        rows.append(row | {"metric": "loss", "value": 3.3 * wrong})

    last = per_epoch * (1 if diverges else epochs)
    for step in range(last + 1):
        if step % every == 0:
            wrong = error(step)
            series.append((step, 1 - wrong))
            record(math.ceil(step / per_epoch), step, "probe", wrong)
        if step and step % per_epoch == 0 and not diverges:
            epoch = step // per_epoch
            record(epoch, step, "train", error(step - per_epoch // 2), accuracy=False)
            record(epoch, step, "train_subset", 0.8 * error(step))
            record(epoch, step, "validation", error(step))
    if not diverges:
        record(epochs, last, "test", error(last))
    end = {(r["split"], r["metric"]): r["value"] for r in rows}
    names = {name: None if diverges else end[key] for name, key in RESULTS.items()}
    reached = next((s for s, a in series if a >= training["target"]), None)
    run = cell | {
        "run": "/".join(f"{key}~{value}" for key, value in cell.items()),
        "status": "diverged" if diverges else "ok",
        "n_parameters": 17_610 if changed else 17_226,
        "n_steps": per_epoch * epochs,
        "n_classes": len(data.classes),
        "steps_to_target": None if diverges else reached,
        **names,
        "device": "cpu",
        "python": "3.12.1",
        "torch": "2.15.0",
        "git_commit": HASH[:40],
        "code_sha256": HASH,
        "config_sha256": HASH,
        "data_sha256": data.sha256,
        "environment": "Python 3.12, PyTorch 2.15.0, NumPy 2.4.0 on cpu GenuineIntel avx2",
    }
    pace = (1.3 if changed else 1.0) * 0.2 * (1 + 0.03 * abs(rng.normal()))
    times = cell | {
        "run": run["run"],
        "start_seconds": 2.0,
        "data_seconds": 0.1,
        "training_seconds": pace * epochs,
        "evaluation_seconds": 0.3,
        "wall_seconds": pace * epochs + 2.4,
        "cpu_seconds": pace * epochs + 2.2,
        "seconds_per_epoch": pace,
        "peak_memory_mb": 410.0,
        "resumptions": 0,
        **dict.fromkeys(JOB_COLUMNS),
        "host": "machine",
        "device_name": "a processor",
    }
    return run, rows, times


def write_claims(folder: Path, path: Path, n_seeds: int = 12) -> None:
    """Write claims.csv and claim_effects.csv with made-up effects for a list of claims.

    Verdicts of all kinds come up; every ninth claim was not run.
    """
    rng = np.random.default_rng(5)
    entries = listed.judged_claims(path, {})
    measured: dict[str, Endpoint | Exact] = {}
    for i, entry in enumerate(entries):
        if i % 9 == 4:
            continue
        if entry["kind"] == "exact":
            holds = entry["prior"] > 0.5
            measured[entry["id"]] = Exact(holds, 1e-15 if holds else 3.0, 1e-12, "made up: -1e-15")
            continue
        scale = entry["smallest_effect"] * (3, -2, 0.2, 1.2, 300, -0.1, 12)[i % 7]

        def effects(times: float, scale: float = scale) -> pd.Series:
            return pd.Series(scale * (times + 0.2 * rng.normal(size=n_seeds)))

        cells = {"batch size 32": effects(1), "batch size 64": effects(-1 if i % 3 else 1)} if i % 2 else {}
        measured[entry["id"]] = Endpoint(effects(1), entry["unit"], cells)
    out = folder / "results" / "tables"
    rows = [asdict(row) for row in claims.judge(entries, measured)]
    write_table(out / "claims.csv", list(rows[0]), rows)
    columns = ("id", "cell", "seed", "effect")
    write_table(out / "claim_effects.csv", columns, list(claims.effect_rows(measured)))


def read_rows(path: Path) -> list[dict[str, str]]:
    """A table as text, read without the code under test."""
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
