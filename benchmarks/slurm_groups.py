"""What grouping saves on a cluster: runs of no length on a throw-away Slurm, by the size of a group.

`python benchmarks/slurm_groups.py --results results` after `make`, where slurmctld, slurmd,
slurm-client and munge are installed. A stand-in for `bnstudy` copies the files of a run, so that what
is measured is submitting: each submission starts Snakemake twice on its node. The states of jobs are
asked for every half second, as nobody would on a real cluster, or the waiting would hide the rest.
"""

import argparse
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

from processes import RESULTS, ROOT, machine, measure, say, write_grid, write_table
from scale import environment_with_stub, grid_of

sys.path.insert(0, str(ROOT / "tests/cluster"))
from throwaway_slurm import ThrowawaySlurm, missing_packages

RUNS = 40
GROUPS = (1, 10, 20)
AT_A_TIME = 2  # submissions
POLLING = ROOT / "tests/cluster/polling.py"


def measure_groups(python: Path, folder: Path, size: int) -> dict:
    """All runs through the shipped profile, `size` in a submission."""
    folder.mkdir()
    config = write_grid(folder / "runs.yaml", grid=grid_of(RUNS))
    cluster = ThrowawaySlurm(nodes=1, gpus=1, cpus=AT_A_TIME)
    try:
        command = ["env", *(f"{k}={v}" for k, v in cluster.environment.items()), python, POLLING]
        command += ["--snakefile", ROOT / "Snakefile", "--directory", folder]
        command += ["--configfile", config, "--cores", "all"]
        command += ["--profile", ROOT / "profiles/slurm", "--slurm-status-command", "squeue"]
        command += ["--slurm-init-seconds-before-status-checks", "1", "--latency-wait", "20"]
        command += ["--max-status-checks-per-second", "10", "--group-components", f"train={size}"]
        return measure([*command, "--until", "train", "--", "tables"], folder / "log")
    finally:
        cluster.stop()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "results", help="a finished study")
    parser.add_argument("--out", type=Path, default=RESULTS, help="folder for the table")
    options = parser.parse_args()
    if missing := missing_packages():
        sys.exit(f"a throw-away Slurm needs {', '.join(missing)}; install them first")
    rows = []
    # Nodes see this folder, for they are this machine.
    with tempfile.TemporaryDirectory() as scratch:
        templates = options.results.resolve() / "runs/dataset~mnist"
        python = environment_with_stub(Path(scratch, "environment"), templates)
        for size in GROUPS:
            measured = measure_groups(python, Path(scratch, f"groups-{size}"), size)
            say(f"groups of {size}: {measured['wall_seconds']:.0f} s")
            row = {"group": size, "runs": RUNS, "at_a_time": AT_A_TIME, **measured}
            rows.append(row | machine() | {"snakemake": version("snakemake")})
    write_table(options.out / "slurm_groups.csv", rows)


if __name__ == "__main__":
    main()
