"""Measure the pipeline: against the notebook way, and against what the machine can do.

`make bench` runs this. Whole processes are timed from start to end, the two ways in turn, and
compared repeat by repeat, so that a machine busy with other things slows both sides of a ratio.
"""

import argparse
import csv
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

HERE = Path(__file__).parent
ROOT = HERE.parent
BNSTUDY = Path(sys.executable).with_name("bnstudy")
NORMS = ("none", "batch")
STUDY_EPOCHS = 5
WHOLE_RUN_BATCH_SIZE = 256

# At least this many times less wall time per epoch than the notebook way, by batch size.
PEER_TARGETS = {32: 6.0, 256: 12.0}
WHOLE_RUN_TARGET = 3.0  # at most this many times its matrix products and updates
MEMORY_TARGET = 1_000.0  # MB


def machine() -> dict[str, object]:
    """What the numbers depend on besides the code; nothing that identifies the machine."""
    processor = platform.processor() or platform.machine()
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next(line.split(":", 1)[1].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        pass
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": processor,
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "torch": version("torch"),
        "torchvision": version("torchvision"),
    }


def measure(command: list[object], log: Path) -> dict[str, float]:
    """Run a process to its end: wall and CPU seconds, peak memory in MB (10^6 bytes).

    `load` is the machine's load average when it began; above zero, something else was running.

    Raises
    ------
    SystemExit
        With the end of its output, if the process fails.
    """
    load = os.getloadavg()[0]
    with open(log, "w") as output:
        start = time.perf_counter()
        process = subprocess.Popen(list(map(str, command)), stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(map(str, command))} failed:\n{log.read_text()[-3000:]}")
    unit = 1 if sys.platform == "darwin" else 1024
    return {
        "wall_seconds": wall,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "peak_memory_mb": usage.ru_maxrss * unit / 1e6,
        "load": load,
    }


def ensure_data(data: Path, raw: Path) -> None:
    """Fetch and prepare MNIST unless both the raw and the prepared files are there."""
    if not (raw / "MNIST" / "raw").is_dir():
        subprocess.run([BNSTUDY, "download", "mnist", "--out", raw], check=True)
    if not data.is_file():
        data.parent.mkdir(parents=True, exist_ok=True)
        subprocess.run([BNSTUDY, "prepare", "mnist", "--raw", raw, "--out", data], check=True)


def run_pipeline(options: argparse.Namespace, scratch: Path, cell: dict, epochs: int) -> dict:
    """One `bnstudy train` job, with all its evaluations and probes."""
    out = scratch / "run"
    command = [BNSTUDY, "train", options.data, "--out", out, "--seed", 0, "--device", "cpu"]
    command += ["--norm", cell["norm"], "--batch-size", cell["batch_size"], "--epochs", epochs]
    measured = measure(command, scratch / "log")
    run = json.loads((out / "run.json").read_text())
    timing = json.loads((out / "timing.json").read_text())
    phases = ("start_seconds", "data_seconds", "training_seconds", "evaluation_seconds")
    return (
        measured
        | {phase: timing[phase] for phase in phases}
        | {key: run[key] for key in ("val_loss", "val_accuracy")}
        | {"steps": run["steps_done"], "threads": timing["threads"]}
    )


def run_notebook(options: argparse.Namespace, scratch: Path, cell: dict, epochs: int) -> dict:
    """The same training the way a notebook does it."""
    out = scratch / "notebook.json"
    command = [sys.executable, HERE / "notebook_way.py", options.raw, "--out", out]
    command += ["--norm", cell["norm"], "--batch-size", cell["batch_size"], "--epochs", epochs]
    return measure(command, scratch / "log") | json.loads(out.read_text())


def run_floor(options: argparse.Namespace, scratch: Path, cell: dict) -> dict[str, float]:
    """Milliseconds of a step, of its matrix products and of its update."""
    out = scratch / "floor.json"
    command = [sys.executable, HERE / "step_floor.py", options.data, "--out", out]
    command += ["--norm", cell["norm"], "--batch-size", cell["batch_size"]]
    measure([*command, "--blocks", options.blocks], scratch / "log")
    return json.loads(out.read_text())


def cells(options: argparse.Namespace) -> list[dict]:
    return [{"norm": n, "batch_size": b} for b in options.batch_sizes for n in NORMS]


def measure_peers(options: argparse.Namespace, scratch: Path) -> list[dict]:
    """Time both ways for every cell, in turn, the order swapped from repeat to repeat."""
    ways = [("pipeline", run_pipeline), ("notebook", run_notebook)]
    rows = []
    for repeat in range(options.repeats):
        for cell in cells(options):
            for way, run in ways if repeat % 2 == 0 else reversed(ways):
                measured = run(options, scratch, cell, options.epochs)
                row = {"repeat": repeat, "way": way, **cell, "epochs": options.epochs}
                keys = ("wall_seconds", "cpu_seconds", "training_seconds", "peak_memory_mb")
                row |= {key: measured[key] for key in keys}
                row |= {key: measured[key] for key in ("val_loss", "val_accuracy", "threads")}
                rows.append(row | {"load": measured["load"]})
                say(f"{way}, {name(cell)}: {measured['wall_seconds']:.1f} s")
    return rows


def measure_floor(options: argparse.Namespace, scratch: Path) -> tuple[list[dict], list[dict]]:
    """Time steps against their floor, and whole runs right beside the floor of their steps."""
    steps, runs = [], []
    for repeat in range(options.repeats):
        for cell in cells(options):
            floor = run_floor(options, scratch, cell)
            steps.append({"repeat": repeat, **cell, **floor})
            say(f"step, {name(cell)}: {floor['step_ms']:.2f} ms")
            if cell["batch_size"] != WHOLE_RUN_BATCH_SIZE:
                continue
            run = run_pipeline(options, scratch, cell, options.run_epochs)
            floor_seconds = run["steps"] * (floor["products_ms"] + floor["update_ms"]) / 1e3
            row = {"repeat": repeat, **cell, "epochs": options.run_epochs, "steps": run["steps"]}
            row |= {key: run[key] for key in run if key.endswith("_seconds")}
            row |= {"floor_seconds": floor_seconds, "peak_memory_mb": run["peak_memory_mb"]}
            runs.append(row | {"load": run["load"]})
            say(f"whole run, {name(cell)}: {run['wall_seconds']:.1f} s")
    return steps, runs


def name(cell: dict) -> str:
    return f"{cell['norm']}, batch size {cell['batch_size']}"


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)


def summary_row(
    quantity: str,
    cell: dict,
    values: list[float],
    unit: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
) -> dict:
    """Median and range of a quantity over the repeats, and whether the median is as hoped for."""
    middle = median(values)
    target, reached = "", ""
    if at_least is not None:
        target, reached = f">= {at_least:g}", "yes" if middle >= at_least else "no"
    elif at_most is not None:
        target, reached = f"<= {at_most:g}", "yes" if middle <= at_most else "no"
    return {
        "quantity": quantity,
        **cell,
        "median": middle,
        "least": min(values),
        "most": max(values),
        "unit": unit,
        "target": target,
        "reached": reached,
    }


def of_cell(rows: list[dict], cell: dict, **also: object) -> list[dict]:
    """The rows of a cell, in order of repeats."""
    wanted = cell | also
    return [row for row in rows if all(row[key] == value for key, value in wanted.items())]


def summarize(peers: list[dict], steps: list[dict], runs: list[dict]) -> list[dict]:
    """Every quantity of interest, cell by cell; ratios are taken within a repeat."""
    found = []
    for cell in unique_cells(peers):
        ours, theirs = (of_cell(peers, cell, way=way) for way in ("pipeline", "notebook"))
        pairs = list(zip(ours, theirs, strict=True))
        for way, rows in (("pipeline", ours), ("notebook", theirs)):
            for column in ("wall_seconds", "training_seconds"):
                values = [row[column] / row["epochs"] for row in rows]
                found.append(summary_row(f"{way}: {column} per epoch", cell, values, "s"))
            values = [row["val_accuracy"] for row in rows]
            found.append(summary_row(f"{way}: validation accuracy", cell, values, ""))
        for column, target in (
            ("wall_seconds", PEER_TARGETS.get(cell["batch_size"])),
            ("training_seconds", None),
        ):
            values = [b[column] / a[column] for a, b in pairs]
            quantity = f"notebook / pipeline: {column} per epoch"
            found.append(summary_row(quantity, cell, values, "x", at_least=target))
    for cell in unique_cells(steps):
        rows = of_cell(steps, cell)
        for column in ("step_ms", "products_ms", "update_ms"):
            found.append(summary_row(column, cell, [row[column] for row in rows], "ms"))
        values = [row["step_ms"] / (row["products_ms"] + row["update_ms"]) for row in rows]
        found.append(summary_row("step / (products + update)", cell, values, "x"))
    for cell in unique_cells(runs):
        rows = of_cell(runs, cell)
        found.append(
            summary_row("whole run: wall", cell, [row["wall_seconds"] for row in rows], "s")
        )
        floors = [row["floor_seconds"] for row in rows]
        found.append(summary_row("whole run: products and updates", cell, floors, "s"))
        values = [row["wall_seconds"] / row["floor_seconds"] for row in rows]
        found.append(
            summary_row(
                "whole run / (products and updates)", cell, values, "x", at_most=WHOLE_RUN_TARGET
            )
        )
    jobs = [row for row in peers if row["way"] == "pipeline"] + runs
    for cell in unique_cells(jobs):
        values = [row["peak_memory_mb"] for row in of_cell(jobs, cell)]
        found.append(summary_row("peak memory of a job", cell, values, "MB", at_most=MEMORY_TARGET))
    return found


def unique_cells(rows: list[dict]) -> list[dict]:
    keys = dict.fromkeys((row["norm"], row["batch_size"]) for row in rows)
    return [{"norm": norm, "batch_size": batch_size} for norm, batch_size in keys]


def write_table(path: Path, rows: list[dict]) -> None:
    """Write rows with the machine's columns at their end, or leave an older table if there are none."""
    if not rows:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    rows = [row | machine() for row in rows]
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


def print_summary(summary: list[dict]) -> None:
    """Print the summary as a table, quantity by quantity."""
    about = machine()
    print(", ".join(f"{key} {value}" for key, value in about.items()))
    head = ("quantity", "norm", "batch size", "median", "range", "target", "reached")
    order = list(dict.fromkeys(row["quantity"] for row in summary))
    lines = [
        (
            row["quantity"],
            row["norm"],
            str(row["batch_size"]),
            f"{row['median']:.3g} {row['unit']}".strip(),
            f"{row['least']:.3g} to {row['most']:.3g}",
            row["target"],
            row["reached"],
        )
        for row in sorted(summary, key=lambda row: order.index(row["quantity"]))
    ]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(len(head))]
    for line in [head, *lines]:
        print(
            "  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip()
        )


def parse_arguments(argv: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    data = ROOT / "results" / "data" / "mnist"
    parser.add_argument("--data", type=Path, default=data / "prepared.safetensors")
    parser.add_argument("--raw", type=Path, default=data / "raw", help="holds MNIST/raw")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder for tables")
    parser.add_argument(
        "--sections", nargs="+", choices=("peers", "floor"), default=["peers", "floor"]
    )
    parser.add_argument("--repeats", type=int, default=3, help="processes of each kind")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--epochs", type=int, default=3, help="epochs of a process, for the peers")
    parser.add_argument("--run-epochs", type=int, default=STUDY_EPOCHS, help="of a whole run")
    parser.add_argument("--blocks", type=int, default=15, help="blocks of steps in a process")
    parser.add_argument(
        "--short", action="store_true", help="one repeat of the largest batch size: does it work?"
    )
    options = parser.parse_args(argv)
    if options.short:
        options.repeats, options.blocks = 1, 3
        options.batch_sizes = [max(options.batch_sizes)]
    return options


def main() -> None:
    options = parse_arguments()
    ensure_data(options.data, options.raw)
    peers, steps, runs = [], [], []
    with tempfile.TemporaryDirectory() as scratch:
        if "floor" in options.sections:
            steps, runs = measure_floor(options, Path(scratch))
        if "peers" in options.sections:
            peers = measure_peers(options, Path(scratch))
    summary = summarize(peers, steps, runs)
    for table, rows in (("peers", peers), ("steps", steps), ("runs", runs), ("summary", summary)):
        write_table(options.out / f"{table}.csv", rows)
    print_summary(summary)


if __name__ == "__main__":
    main()
