"""Disks that are full or read-only, and a limit on the size of files."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from aftermath import dates, records
from background import start, wait_for

from bnstudy.data.download import download
from bnstudy.errors import UserError
from sources import RAW, tiny, write_files

DATA = "results/data/digits/prepared.safetensors"
RUN = "--norm batch --batch-size 32 --seed 0 --epochs 20 --probe-every 5"
# Each stage as a command; {out} is the folder that it writes to.
STAGES = {
    "preparation": "prepare digits --out {out}/prepared.safetensors",
    "training": f"train {DATA} {RUN} --out {{out}}",
    "aggregation": "aggregate results/run_config.yaml --results results --out {out}",
    "rendering": (
        "report --config results/run_config.yaml --tables results/tables"
        f" --claims ../config/claims.yaml --data {DATA} --notebook ../report/notebook.py"
        " --figures {out}/figures --ipynb {out}/a_report.ipynb --html {out}/report.html"
        " --failed-copy {out}/failed.ipynb"
    ),
}
LIMITED = (
    "import resource, sys; limit = int(sys.argv.pop(1));"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY));"
    "from bnstudy.__main__ import main; main()"
)


def mounted(*command: str) -> None:
    done = subprocess.run(["mount", *command], check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"nothing can be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 192 kB, made in memory."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    mounted("-t", "tmpfs", "-o", "size=192k", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """A file that takes all the room there is."""
    path = folder / "in the way"
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 4096)
        except OSError:
            return path


def run(study, stage, out, limit=None):
    """Run the command of a stage, with a limit on the size of files if there is one."""
    words = [word.format(out=out) for word in STAGES[stage].split()]
    if limit is None:
        return study.bnstudy(*words)
    return subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), *words],
        check=False,
        cwd=study.study,
        env=os.environ | {"PYTHONPATH": str(study.root / "workflow")},
        capture_output=True,
        text=True,
    )


def files(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def judge(recorder, done, told):
    """It failed with one line that names the reason."""
    recorder.wrong(done.returncode == 0, "it says that it succeeded")
    recorder.wrong("Traceback" in done.stderr, f"a traceback was shown: {done.stderr}")
    lines = [line for line in done.stderr.splitlines() if line.startswith("bnstudy: ")]
    recorder.wrong(len(lines) != 1, f"{len(lines)} lines for the user: {done.stderr}")
    recorder.wrong(told not in "".join(lines), f"'{told}' was not said: {done.stderr}")


@pytest.mark.parametrize("stage", STAGES)
def test_a_full_disk(finished, fault, small_disk, stage):
    full = fault(f"a full disk in {stage}")
    filler = fill(small_disk)
    full.tried()
    judge(full, run(finished, stage, small_disk), "the disk is full")
    left = [name for name in files(small_disk) if name != filler.name]
    full.wrong(len(left), f"files were left: {left}")
    if stage in ("training", "aggregation"):  # what the others write is larger than this disk
        filler.unlink()
        full.wrong(run(finished, stage, small_disk).returncode != 0, "it does not work afterwards")


@pytest.mark.parametrize("stage", STAGES)
def test_a_limit_on_the_size_of_files(finished, fault, tmp_path, stage):
    limited = fault(f"a limit on the size of files in {stage}")
    out = tmp_path / "out"
    out.mkdir()
    limited.tried()
    judge(limited, run(finished, stage, out, limit=1000), "larger than files may be")
    whole = {name for name in files(out) if name.endswith(("prepared.safetensors", ".html"))}
    limited.wrong(len(whole), f"there are files larger than can be: {whole}")
    limited.wrong(run(finished, stage, out).returncode != 0, "it does not work afterwards")


def test_a_full_disk_in_a_download(fault, small_disk, tmp_path):
    full = fault("a full disk in download")
    given = write_files(tmp_path / "given", RAW)
    filler = fill(small_disk)
    full.tried()
    with pytest.raises(UserError) as caught:
        download(tiny(), small_disk / "raw", str(given))
    full.wrong("the disk is full" not in str(caught.value), str(caught.value))
    full.wrong(files(small_disk) != [filler.name], "something stayed behind")
    filler.unlink()
    download(tiny(), small_disk / "raw", str(given))


@pytest.mark.parametrize("trained_before", [True, False])
def test_a_study_on_a_full_disk(finished, fault, aftermath, trained_before):
    """The whole working directory, with what Snakemake itself writes.

    Its records of runs that were trained before are written over; new ones need room.
    """
    full = fault("a full disk beneath Snakemake")
    for folder in ("results/runs", "results/tables"):
        shutil.rmtree(finished.study / folder)
    size = sum(path.stat().st_size + 8192 for path in finished.study.rglob("*"))
    disk = finished.root / "disk"  # as far from the sources as the study itself
    disk.mkdir()
    mounted("-t", "tmpfs", "-o", f"size={size + 2**20}", "tmpfs", str(disk))
    try:
        shutil.copytree(finished.study, disk, symlinks=True, dirs_exist_ok=True)
        study = type(finished)(finished.root, disk)
        for path in disk.glob("results/logs/train/**/*.log"):
            path.unlink()
        if not trained_before:
            for output, path in records(study, "metadata").items():
                if output.startswith("results/runs/"):
                    path.unlink()
        running = start(study, "tables")
        wait_for(lambda: list(disk.glob("results/logs/train/**/*.log")), running)
        filler = fill(disk)
        full.tried()
        said = running.communicate()[0]
        full.wrong(running.returncode == 0, "it says that it succeeded")
        aftermath.look(study, full, said, "the disk is full")
        full.tried()
        done = study.snakemake("--cores", "2", "tables")
        full.wrong(done.returncode == 0, "it says that it succeeded")
        filler.unlink()
        aftermath(study, full, done.stdout + done.stderr, "the disk is full")
    finally:
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


def test_read_only_results(finished, fault, aftermath):
    """With permission bits where they count, with a read-only mount for root, whom they do not."""
    read_only = fault("read-only results")
    folder = finished.study / "results"
    shutil.rmtree(folder / "runs/dataset~digits/norm~none")
    shutil.rmtree(folder / "tables")
    before = dates(finished)
    if os.geteuid() == 0:
        mounted("--bind", str(folder), str(folder))
        mounted("-o", "remount,ro,bind", str(folder))
    else:
        for path in (folder, *folder.rglob("*")):
            path.chmod(path.stat().st_mode & ~0o222)
    try:
        read_only.tried()
        done = finished.snakemake("--cores", "2", "tables")
    finally:
        if os.geteuid() == 0:
            subprocess.run(["umount", str(folder)], check=True)
        else:
            for path in (folder, *folder.rglob("*")):
                path.chmod(path.stat().st_mode | 0o200)
    read_only.wrong(done.returncode == 0, "it says that it succeeded")
    read_only.lost(dates(finished) != before, "something was changed")
    aftermath(finished, read_only, done.stdout + done.stderr, "results cannot be written")
