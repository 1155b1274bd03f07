"""The study on a real Slurm, through the shipped profile: results, GPUs, and what may go wrong."""

import re
import subprocess
import sys
import time
from collections import Counter, defaultdict
from itertools import pairwise
from pathlib import Path

import pytest
import yaml

from conftest import QUICK, ROOT, RUNS, Study, Writers, check_same_tables, on_slurm, targets

SLURM = ROOT / "profiles/slurm/config.yaml"


@pytest.mark.timeout(2000)  # minutes on an idle machine; the limit is for one that hangs
def test_quick_study_gives_the_same_tables_on_a_gpu_each(slurm, quick_study, tmp_path):
    """Submitted as README.md says; a GPU for each job though it computes on the CPU.

    The runs ask for it and for their nodes as the profile says for sites with ways of their own.
    """
    before = len(slurm.tasks())
    study = Study(tmp_path, QUICK, slurm.environment)
    (site,) = re.findall(r"^#   (train: .*gres.*)$", SLURM.read_text(), re.MULTILINE)
    asked = [f"train:{name}={value}" for name, value in yaml.safe_load(site)["train"].items()]
    overrides = on_slurm(
        *("--set-resources", *asked, "train:qos=normal", "train:runtime=5"),
        *("run_study:gpu=1", "run_study:gpu_model=fake", "--group-components", "train=2"),
    )
    status, output = study.run(*command_in_readme(), *overrides)
    assert status == 0, output
    check_same_tables(quick_study, tmp_path)

    check_gpus(slurm.tasks()[before:], jobs=6 + 15)
    columns = "Comment:40,TimeLimit,Account,Partition,Feature"
    submitted = slurm.call("squeue", "--states=all", "-h", "-O", columns).splitlines()
    assert [line.split()[1:] for line in submitted if "rule_train" in line] == [["10:00", "physics", "gpu", "a100"]] * 6
    rest = {line.split()[-2] for line in submitted if "rule_train" not in line}
    assert rest == {"debug"}


def command_in_readme() -> list[str]:
    """What README.md tells a user of Slurm to type, for this cluster."""
    section = (ROOT / "README.md").read_text().partition("## Run it on your cluster")[2]
    line = re.search(r"^snakemake (.+)$", section, re.MULTILINE)[1]
    named = line.replace("slurm_partition=NAME", "slurm_partition=debug")
    return named.replace("slurm_account=NAME", "slurm_account=physics").split()


def check_gpus(tasks: list[list[str]], jobs: int) -> None:
    """Each of these jobs had one GPU of a node to itself from its first task to its last."""
    stamps, places = defaultdict(list), defaultdict(set)
    for stamp, _, task, node, devices in tasks:
        if devices != "none":
            job = task.partition(".")[0]
            stamps[job].append(float(stamp))
            places[job].add((node, devices))
    assert len(stamps) == jobs
    users = defaultdict(list)
    for job, (place,) in places.items():
        assert place[1] in {"0", "1"}  # and not both
        users[place].append((min(stamps[job]), max(stamps[job])))
    for times in users.values():
        for (_, end), (begin, _) in pairwise(sorted(times)):
            assert end <= begin


@pytest.mark.timeout(2000)
def test_snakemake_itself_as_a_job(study, slurm, undisturbed):
    """Where login hosts end long processes: profiles/slurm/head.sh submits it, and it submits the runs."""
    (study.folder / ".venv").symlink_to(sys.prefix)
    (study.folder / "profiles").symlink_to(ROOT / "profiles")
    options = on_slurm("--snakefile", str(ROOT / "Snakefile"), "--configfile", study.configfile)
    submitted = subprocess.run(
        ["sbatch", "--parsable", "profiles/slurm/head.sh", *options[2:], *targets(RUNS)],
        cwd=study.folder,
        env=slurm.environment | {"PYTHONPATH": str(ROOT / "workflow")},
        check=True,
        capture_output=True,
        text=True,
    )
    job = submitted.stdout.strip()
    end = time.monotonic() + 1200
    while slurm.call("squeue", "-h", "--jobs", job, "--states=PENDING,RUNNING,COMPLETING"):
        assert time.monotonic() < end
        time.sleep(0.5)
    said = (study.folder / f"snakemake-{job}.log").read_text()
    assert [study.result(run) for run in RUNS] == [undisturbed.result(run) for run in RUNS], said


def test_cancelled_job_recovers_on_rerun(study, slurm, undisturbed):
    """The first member of the group is done and stays; the second was cut off and goes on."""
    arguments = on_slurm("--retries", "0", *targets(RUNS))
    process = study.start(*arguments)
    study.wait_until(lambda: any(study.result(run) for run in RUNS), process)
    (first,) = (run for run in RUNS if study.result(run))
    (second,) = (run for run in RUNS if run != first)
    study.wait_until_trains([second], process)
    (job,) = slurm.jobs()
    slurm.call("scancel", job)
    assert process.wait(100) == 1
    assert "CANCELLED" in study.output()
    assert not study.result(second)
    stamp = (study.folder / f"results/runs/{first}/run.json").stat().st_mtime_ns

    status, output = study.run(*arguments)
    assert status == 0, output
    assert (study.folder / f"results/runs/{first}/run.json").stat().st_mtime_ns == stamp
    assert "resumed after step" in study.log(second)
    assert [study.result(run) for run in RUNS] == [undisturbed.result(run) for run in RUNS]


def test_job_of_a_crashed_node_is_submitted_again_elsewhere(study, slurm, undisturbed):
    process = study.start(*on_slurm(*targets(RUNS[:1])))
    study.wait_until_trains(RUNS[:1], process)
    node = slurm.call("squeue", "-h", "-o", "%N").strip()
    (lost,) = slurm.jobs()
    slurm.crash_node(node)
    try:
        assert process.wait(300) == 0, study.output()
    finally:
        slurm.repair_node(node)
    assert slurm.call("squeue", "--states=all", "-h", "-j", lost, "-o", "%T").strip() == "NODE_FAIL"
    assert study.output().count("has been submitted with SLURM jobid") == 2
    assert "resumed after step" in study.log(RUNS[0])
    assert study.result(RUNS[0]) == undisturbed.result(RUNS[0])


def test_killed_submitter_leaves_no_second_copy(study, slurm, undisturbed):
    """Its jobs know nothing of its end. The first new job ends them before it touches a file."""
    arguments = on_slurm("--group-components", "train=1", *targets(RUNS))
    first = study.start(*arguments)
    study.wait_until_trains(RUNS, first)
    old = slurm.jobs()
    assert len(old) == 2
    for job in old:
        slurm.call("scontrol", "suspend", job)  # or they might be done before the second begins
    with Writers(study.folder) as writers:
        first.kill()
        first.wait()
        status, output = study.run(*arguments)  # its locks do not hold, for it is known to be gone
        assert status == 0, output
    states = slurm.call("squeue", "--states=all", "-h", "-j", ",".join(old), "-o", "%T").split()
    assert states == ["CANCELLED"] * 2
    assert writers.most == Counter(dict.fromkeys(RUNS, 1))
    assert all("resumed after step" in study.log(run) for run in RUNS)
    assert [study.result(run) for run in RUNS] == [undisturbed.result(run) for run in RUNS]


def test_failing_job_is_reported_with_its_log(study):
    data = study.folder / "results/data/digits/prepared.safetensors"
    data.write_bytes(b"not what prepare wrote")
    status, output = study.run(*on_slurm("--retries", "0", *targets(RUNS[:1])))
    assert status == 1
    (path,) = set(re.findall(r"The submission failed: (\S+/results/logs/slurm/\S+\.log)", output))
    assert RUNS[0] in Path(path).read_text()
    message = study.log(RUNS[0]).strip()
    assert "prepared.safetensors" in message
    assert "Traceback" not in message
    assert message.splitlines()[-1] in output
