"""What the benchmarks share: whole processes timed from start to end, the machine, tables."""

import csv
import json
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from statistics import median

import yaml

HERE = Path(__file__).parent
ROOT = HERE.parent
RESULTS = HERE / "results"
BASELINE = HERE / "baseline.csv"
BNSTUDY = Path(sys.executable).with_name("bnstudy")
MNIST = ROOT / "results/data/mnist"
TOLERANCE = 1.15
BARE_IMPORT = "import time, torch, psutil; print(time.time() - psutil.Process().create_time())"


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


def measure(command: Sequence[object], log: Path, folder: Path | None = None) -> dict[str, float]:
    """Run a process to its end: wall and CPU seconds, peak memory in MB (10^6 bytes).

    CPU seconds include those of its own children, peak memory is that of the largest process. `load`
    is the machine's load average when it began; above zero, something else was running.

    Raises
    ------
    RuntimeError
        With the end of its output, if the process fails.
    """
    out = log.with_name(f"{log.name}.json").resolve()
    watched = [sys.executable, "-S", HERE / "stopwatch.py", out, *command]
    with open(log, "w") as output:
        done = subprocess.run(list(map(str, watched)), check=False, cwd=folder, stdout=output, stderr=subprocess.STDOUT)
    if done.returncode:
        failed = f"{' '.join(map(str, command))} failed:"
        raise RuntimeError(f"{failed}\n{log.read_text(errors='replace')[-3000:]}")
    return json.loads(out.read_text())


def bare_import() -> float:
    """Seconds from the start of a process until it has imported torch and nothing else."""
    command = [sys.executable, "-c", BARE_IMPORT]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


def write_grid(path: Path, **changes: dict) -> Path:
    """A file to lay over the default configuration: these changes, no studies, and no verdicts."""
    studies = yaml.safe_load((ROOT / "config/studies.yaml").read_text())["studies"]
    off = {name: {"enabled": False} for name in studies}
    path.write_text(yaml.safe_dump({**changes, "exploratory": True, "studies": off}))
    return path


def snakemake(folder: Path, *options: object, python: Path | str = sys.executable) -> list[object]:
    """The command that runs this checkout's workflow in a folder of its own."""
    command = [python, "-m", "snakemake", "--snakefile", ROOT / "Snakefile"]
    return [*command, "--directory", folder, *options]


def ensure_mnist() -> Path:
    """The folder of raw and prepared MNIST, fetched and prepared unless it is there."""
    raw, prepared = MNIST / "raw", MNIST / "prepared.safetensors"
    if not (raw / "MNIST/raw").is_dir():
        subprocess.run([BNSTUDY, "download", "mnist", "--out", raw], check=True)
    if not prepared.is_file():
        subprocess.run([BNSTUDY, "prepare", "mnist", "--raw", raw, "--out", prepared], check=True)
    return MNIST


def summary_row(
    quantity: str,
    values: Sequence[float],
    unit: str,
    *,
    norm: str = "",
    batch_size: int | str = "",
    at_least: float | None = None,
    at_most: float | None = None,
) -> dict[str, object]:
    """Median and range of a quantity over its rounds, and whether the median is as hoped for."""
    middle = median(values)
    target, reached = "", ""
    if at_least is not None:
        target, reached = f">= {at_least:g}", "yes" if middle >= at_least else "no"
    elif at_most is not None:
        target, reached = f"<= {at_most:g}", "yes" if middle <= at_most else "no"
    return {
        "quantity": quantity,
        "norm": norm,
        "batch_size": str(batch_size),
        "median": middle,
        "least": min(values),
        "most": max(values),
        "rounds": len(values),
        "unit": unit,
        "target": target,
        "reached": reached,
    }


def key(row: dict) -> tuple[str, str, str]:
    """What a row is about: its quantity, arm and batch size, the latter two empty if it has none."""
    return row["quantity"], row["norm"], row["batch_size"]


def verdict(row: dict, before: dict[str, str] | None) -> str:
    """What became of a quantity since the baseline; empty for all that are no ratios.

    All ratios are costs. One is slower if its median is above all rounds of the baseline and above
    its median by more than `TOLERANCE` allows.
    """
    if before is None or row["unit"] != "x":
        return ""
    limit = max(TOLERANCE * float(before["median"]), float(before["most"]))
    if row["median"] > limit:
        return "SLOWER"
    return "faster" if row["median"] < float(before["least"]) / TOLERANCE else "same"


def write_table(path: Path, rows: list[dict]) -> None:
    """Write rows as CSV, floats to six digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: f"{v:.6g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows)


def read_table(path: Path) -> list[dict[str, str]]:
    """The rows of a table, none if there is no such file."""
    if not path.is_file():
        return []
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def say(message: str) -> None:
    print(message, file=sys.stderr, flush=True)
