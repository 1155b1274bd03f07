"""Where the time of a finished study went: `python benchmarks/by_study.py FOLDER`.

Reads what Snakemake noted of every job of `make full` (or another study) in FOLDER/results/benchmarks and
writes results/studies.csv: a row per study and one for the grid, the largest first. Each job has a core for
itself, and Snakemake samples processor time too rarely to see the end of one, so these are wall-clock seconds.
"""

import csv
import sys
from collections import defaultdict
from pathlib import Path

from processes import RESULTS, machine, write_table


def jobs(folder: Path) -> dict[str, list[float]]:
    """Seconds of every job, by study; `grid` are the runs, the rest has its rule's name."""
    found = defaultdict(list)
    root = folder / "results/benchmarks"
    for path in sorted(root.glob("**/*.tsv")):
        part, *rest = path.relative_to(root).with_suffix("").parts
        name = rest[0] if part == "studies" else "grid" if part == "train" else part
        with open(path, newline="") as file:
            (row,) = csv.DictReader(file, delimiter="\t")
        found[name].append(float(row["s"]))
    return found


def table(folder: Path) -> list[dict]:
    """Rows: part, jobs, seconds (of all), longest_seconds (of the longest job)."""
    rows = [
        {
            "part": name,
            "jobs": len(times),
            "seconds": round(sum(times), 1),
            "longest_seconds": round(max(times), 1),
        }
        for name, times in jobs(folder).items()
    ]
    return sorted(rows, key=lambda row: -row["seconds"])


if __name__ == "__main__":
    rows = table(Path(sys.argv[1]))
    write_table(RESULTS / "studies.csv", [row | machine() for row in rows])
    print(f"{sum(row['seconds'] for row in rows):.0f} seconds of jobs; see results/studies.csv")
