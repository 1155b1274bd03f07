"""The same eight cells the way people train them today, and by this pipeline: `make bench-peers`.

A notebook's loop, a script for each run under GNU parallel, PyTorch Lightning swept by a Hydra multirun,
and Snakemake with `bnstudy train`: the same network, optimizer, split sizes, batch sizes and epochs, each
from the start of its process to its table. They take turns, in another order each time, and ratios are taken within a turn, so
that a slow minute slows all of them. Turn by turn the seed is another one.
"""

import argparse
import csv
import shutil
import tempfile
from collections import defaultdict
from importlib.metadata import distributions
from pathlib import Path
from statistics import mean, median

import pandas as pd
from processes import (
    HERE,
    RESULTS,
    ROOT,
    ensure_mnist,
    machine,
    measure,
    read_table,
    say,
    snakemake,
    summary_row,
    write_grid,
    write_table,
)

from bnstudy.report.look import INK, Drawing
from bnstudy.report.panels import small_multiples

NORMS = ("none", "batch")
BATCH_SIZES = (32, 64, 128, 256)
OURS = "this pipeline"
WAYS = ("notebook", "scripts + parallel", "Lightning + Hydra", OURS)
PYTHON = ROOT / ".venv-peers/bin/python"
PACKAGES = ("lightning", "hydra-core")


def run_notebook(mnist: Path, folder: Path, epochs: int, seed: int) -> dict:
    command = [PYTHON, HERE / "peers/notebook_way.py", mnist / "raw", "--epochs", epochs]
    command += ["--norms", *NORMS, "--batch-sizes", *BATCH_SIZES]
    return measure([*command, "--seed", seed, "--out", "table.csv"], folder / "log", folder)


def run_scripts(mnist: Path, folder: Path, epochs: int, seed: int) -> dict:
    """The notebook's code as a script that trains one network, as many at once as there are cores."""
    command = ["env", "OMP_NUM_THREADS=1", "parallel", "--jobs", "100%", "--halt", "now,fail=1"]
    command += [PYTHON, HERE / "peers/notebook_way.py", mnist / "raw", "--epochs", epochs]
    command += ["--norms", "{1}", "--batch-sizes", "{2}", "--seed", seed, "--out", "{1}-{2}.csv"]
    measured = measure([*command, ":::", *NORMS, ":::", *BATCH_SIZES], folder / "log", folder)
    tables = [pd.read_csv(path) for path in sorted(folder.glob("*-*.csv"))]
    pd.concat(tables).to_csv(folder / "table.csv", index=False)
    return measured


def run_lightning(mnist: Path, folder: Path, epochs: int, seed: int) -> dict:
    command = [PYTHON, HERE / "peers/lightning_way.py", "--multirun", f"root={mnist / 'raw'}"]
    command += [f"norm={','.join(NORMS)}", f"batch_size={','.join(map(str, BATCH_SIZES))}"]
    return measure([*command, f"epochs={epochs}", f"seed={seed}"], folder / "log", folder)


def run_pipeline(mnist: Path, folder: Path, epochs: int, seed: int) -> dict:
    """All of the workflow but the report, from raw files: preparing, training, tables, verdicts."""
    shutil.copytree(mnist / "raw", folder / "results/data/mnist/raw")
    config = write_grid(
        folder / "peers.yaml",
        grid={"norm": list(NORMS), "batch_size": list(BATCH_SIZES), "seed": [seed]},
        training={"epochs": epochs, "device": "cpu"},
    )
    command = snakemake(folder, "--configfile", config, "--cores", "all", "--", "tables")
    measured = measure(command, folder / "log", folder)
    shutil.copy(folder / "results/tables/runs.csv", folder / "table.csv")
    return measured


RUNS = dict(zip(WAYS, (run_notebook, run_scripts, run_lightning, run_pipeline), strict=True))


def read_accuracies(path: Path) -> dict[tuple[str, int], float]:
    """Validation accuracy after the last epoch, by cell.

    Raises
    ------
    ValueError
        If the cells of the table are not those that were asked for.
    """
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    found = {(row["norm"], int(row["batch_size"])): float(row["val_accuracy"]) for row in rows}
    if len(rows) != len(found) or set(found) != {(n, b) for n in NORMS for b in BATCH_SIZES}:
        raise ValueError(f"{path} has other cells: {sorted(found)}")
    return found


def peer_versions() -> dict[str, str]:
    """Versions of what only the peers use, from their own environment."""
    site = next((ROOT / ".venv-peers/lib").glob("python*/site-packages"))
    return {d.name: d.version for d in distributions(path=[str(site)]) if d.name in PACKAGES}


def take_turns(options: argparse.Namespace) -> tuple[list[dict], list[dict]]:
    """Wall times and accuracies of every way, turn by turn."""
    mnist = ensure_mnist()
    about = machine() | peer_versions()
    times, accuracies = [], []
    for turn in range(options.turns):
        for way in WAYS[turn % len(WAYS) :] + WAYS[: turn % len(WAYS)]:
            with tempfile.TemporaryDirectory() as scratch:
                measured = RUNS[way](mnist, Path(scratch), options.epochs, turn)
                found = read_accuracies(Path(scratch, "table.csv"))
            say(f"turn {turn + 1}, {way}: {measured['wall_seconds']:.0f} s")
            row = {"turn": turn, "way": way, "epochs": options.epochs}
            times.append(row | measured | about)
            accuracies += [
                row | {"norm": norm, "batch_size": size, "val_accuracy": accuracy}
                for (norm, size), accuracy in found.items()
            ]
    return times, accuracies


def ratios_of(times: list[dict]) -> dict[str, list[float]]:
    """How many times as long as this pipeline the others take, turn by turn."""
    wall = {(int(row["turn"]), row["way"]): float(row["wall_seconds"]) for row in times}
    turns = sorted({turn for turn, _ in wall})
    return {way: [wall[t, way] / wall[t, OURS] for t in turns] for way in WAYS if way != OURS}


def differences_of(accuracies: list[dict]) -> dict[str, list[float]]:
    """How much better the others are in percentage points: the mean over the cells, turn by turn.

    The cells of a turn share their seed and so their validation images: they are no pairs that one
    could count as independent.
    """
    found = defaultdict(list)
    for row in accuracies:
        found[int(row["turn"]), row["way"]].append(100 * float(row["val_accuracy"]))
    turns = sorted({turn for turn, _ in found})
    return {way: [mean(found[turn, way]) - mean(found[turn, OURS]) for turn in turns] for way in WAYS if way != OURS}


def summarize(times: list[dict], accuracies: list[dict]) -> list[dict]:
    """Median and range over the turns of the ratios and of the differences of the accuracies."""
    differences = differences_of(accuracies)
    rows = []
    for way, ratios in ratios_of(times).items():
        rows.append(summary_row(f"{way} / {OURS}: wall", ratios, "x"))
        what = f"{way} - {OURS}: mean validation accuracy"
        rows.append(summary_row(what, differences[way], "points"))
    columns = ("quantity", "median", "least", "most", "rounds", "unit")
    return [{key: row[key] for key in columns} for row in rows]


def draw(times: list[dict]) -> str:
    """Wall time of each way, every turn a dot, as SVG."""

    def figure():
        options = {"x": "seconds from start to table", "yscale": None, "height": 1.9}
        panels = small_multiples(pd.DataFrame(), None, None, **options)
        ax = panels.axes[None, None]
        for place, way in enumerate(WAYS):
            seconds = [float(row["wall_seconds"]) for row in times if row["way"] == way]
            color = "#0173b2" if way == OURS else "#8a9099"
            ax.barh(place, median(seconds), color=color, height=0.6)
            ax.plot(seconds, [place] * len(seconds), "o", color=INK, markersize=3)
            ax.annotate(
                f"{median(seconds):.0f} s",
                (max(seconds), place),
                xytext=(6, 0),
                textcoords="offset points",
                va="center",
            )
        ax.set_yticks(range(len(WAYS)), WAYS)
        ax.invert_yaxis()
        ax.set_title(f"Eight networks, {times[0]['epochs']} epochs each")
        ax.margins(x=0.12)
        ax.set_xlim(left=0)
        return panels.finish()

    return Drawing("peers", "", "", None, figure).pictures().svg


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the tables")
    return parser.parse_args(argv)


def main() -> None:
    options = parse_arguments()
    times, accuracies = take_turns(options)
    summary = summarize(times, accuracies)
    earlier = read_table(options.out / "peers_summary.csv")
    session = {"session": 1 + max((int(row["session"]) for row in earlier), default=0)}
    session["date"] = times[-1]["date"]
    for name, rows in (
        ("peers", times),
        ("peers_accuracy", accuracies),
        ("peers_summary", earlier + [session | row for row in summary]),
    ):
        write_table(options.out / f"{name}.csv", rows)
    (options.out / "peers.svg").write_text(draw(read_table(options.out / "peers.csv")))
    for row in summary:
        print("{quantity}: {median:.3g} {unit} ({least:.3g} to {most:.3g})".format(**row))


if __name__ == "__main__":
    main()
