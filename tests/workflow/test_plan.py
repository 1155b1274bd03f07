"""What Snakemake plans: how many jobs, and which of them after which change."""

import os
import re
import shlex
import shutil
import subprocess
import sys

import pytest
import yaml

from bnstudy.cli import COMMANDS, load
from bnstudy.config import has_nvidia_gpu
from bnstudy.settings import KNOWN, Execution, Settings
from bnstudy.studies import declaration
from checkouts import ROOT

SOURCE = "/usr/share/datasets/fashion-mnist"
REPORT = {"judge_claims": 1, "render": 1, "all": 1}
RUNS = {"train": 12, "aggregate": 1} | REPORT
STUDIES = {"run_study": 15, "merge_study": 4}


def test_default_study(checkout):
    plan = checkout.plan()
    assert plan.counts == {
        "download": 1,
        "prepare": 1,
        "train": 96,
        "record_config": 1,
        "aggregate": 1,
        "run_study": 15,
        "merge_study": 4,
        **REPORT,
    }
    assert len({tuple(run.items()) for run in plan.runs}) == 96


def test_targets(checkout):
    assert "render" not in checkout.plan("tables").counts
    assert checkout.plan("report").counts["render"] == 1


def test_every_dataset_is_prepared_and_digits_is_not_downloaded(checkout):
    checkout.configure("exploratory: true\ngrid: {dataset: [mnist, digits, cifar10], seed: [3], batch_size: [32]}")
    counts = checkout.plan("tables").counts
    assert (counts["download"], counts["prepare"], counts["train"]) == (2, 3, 6)


def test_the_full_study_runs_every_cell_of_every_study(checkout):
    plan = checkout.plan("--configfile", str(checkout.root / "config/full.yaml"))
    studies = yaml.safe_load((checkout.root / "config/studies.yaml").read_text())["studies"]
    cells = sum(len(declaration.cells(study)) for study in studies.values())
    assert plan.counts["run_study"] == cells
    assert plan.counts["merge_study"] == len(studies)
    assert plan.counts["download"] == 2  # Fashion-MNIST is a study of its own


@pytest.mark.parametrize(("device", "gpus"), [("cuda", 1), ("cpu", 0)])
def test_gpus_that_runs_ask_for(checkout, device, gpus):
    checkout.configure(f"training: {{device: {device}}}")
    text = checkout.plan().text
    assert text.count(f"gpu={gpus}") == 96 + 15
    assert text.count("gpu=") == 96 + 15


SPY = """
import builtins, runpy, sys
heavy = {"torch", "torchvision", "pandas", "sklearn", "matplotlib", "seaborn", "scipy"}
plain_import = builtins.__import__

def spy(name, scope=None, *rest, **named):
    importer = str((scope or {}).get("__name__")).partition(".")[0]
    # Snakemake loads every plugin that is installed, and the one of Slurm loads pandas.
    excused = heavy | {"importlib", "snakemake_executor_plugin_slurm"}
    if name.partition(".")[0] in heavy and importer not in excused:
        print("IMPORT", name, "by", importer, file=sys.stderr)
    return plain_import(name, scope, *rest, **named)

builtins.__import__ = spy
sys.argv = ["snakemake", "-n", "--quiet"]
runpy.run_module("snakemake", run_name="__main__")
"""


def test_planning_imports_neither_pytorch_nor_pandas(checkout):
    planned = subprocess.run(
        [sys.executable, "-c", SPY],
        cwd=checkout.root,
        env=os.environ | {"PYTHONPATH": str(checkout.root / "workflow")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert re.findall("IMPORT .*", planned.stderr) == []


def test_a_finished_study_has_nothing_to_do_even_after_it_was_moved(finished):
    assert "Nothing to be done" in finished.plan().text
    assert "Nothing to be done" in finished.run()


def test_one_more_seed_trains_the_new_runs_only(finished):
    finished.configure("grid: {seed: [0, 1, 2, 7]}")
    plan = finished.plan()
    assert plan.counts == RUNS | {"train": 4, "record_config": 1}
    new = {(run["norm"], run["batch_size"], run["seed"]) for run in plan.runs}
    assert new == {(norm, size, "7") for norm in ("none", "batch") for size in ("32", "64")}


def test_one_seed_less_trains_nothing(finished):
    finished.configure("grid: {seed: [0, 1]}")
    assert finished.plan().counts == {"record_config": 1, "aggregate": 1} | REPORT


@pytest.mark.parametrize(
    "change",
    [
        "training: {learning_rate: 0.01}",
        "training: {epochs: 3}",
        "model: {hidden: [64, 128]}",
        "model: {dropout: 0.1}",
        "data: {scaling: standardize}",
        "grid: {dropout: [0.1]}",
    ],
)
def test_a_changed_setting_trains_every_run(finished, change):
    finished.configure(change)
    assert finished.plan().counts == RUNS | {"record_config": 1}


def test_one_more_value_of_a_new_axis_trains_the_new_cells_only(finished):
    finished.configure("grid: {dropout: [0.0, 0.25]}")
    plan = finished.plan()
    assert plan.counts == RUNS | {"record_config": 1}
    assert {run["dropout"] for run in plan.runs} == {"0.25"}


def test_a_setting_that_was_there_before_needs_no_training(finished):
    """What was trained with other settings is kept, in a folder of its own."""
    finished.configure("training: {epochs: 1}")
    finished.run("results/tables/runs.csv")
    finished.configure("training: {epochs: 2}")
    assert finished.plan().counts == {"record_config": 1, "aggregate": 1} | REPORT


def test_keeping_the_models_trains_those_that_lack_one(finished):
    finished.configure("training: {keep_model: true}\ngrid: {seed: [0]}")
    assert finished.plan("tables").counts["train"] == 4
    finished.run("results/tables/runs.csv")
    assert len(list(finished.study.glob("results/runs/**/model.safetensors"))) == 4


def test_how_many_jobs_share_a_gpu_trains_nothing(finished):
    finished.configure("training: {jobs_per_gpu: 3}")
    plan = finished.plan("--forcerun", "aggregate")
    assert plan.counts == {"record_config": 1, "aggregate": 1} | REPORT
    assert "--jobs-per-gpu 3" in finished.plan("-p", "--forcerun", "train").text


@pytest.mark.skipif(has_nvidia_gpu(), reason="this machine has an NVIDIA GPU")
def test_cuda_without_a_gpu_is_refused_before_any_job(checkout):
    checkout.configure("training: {device: cuda}\ngrid: {dataset: [digits]}")
    done = checkout.snakemake("--cores", "1", "tables")
    assert done.returncode == 1
    assert "training.device: 'cuda' was asked for" in done.stdout + done.stderr
    assert not (checkout.root / "results").exists()


def test_a_changed_title_trains_nothing(finished):
    finished.configure("report: {title: \"{braces}, 'quotes' and $HOME\"}")
    assert finished.plan().counts == {"record_config": 1, "aggregate": 1} | REPORT


@pytest.mark.parametrize(
    ("file", "counts"),
    [
        ("workflow/bnstudy/networks/mlp.py", RUNS | STUDIES),
        ("workflow/bnstudy/training/loop.py", RUNS | STUDIES),
        # Runs stay, for they are held against the data: data that came out otherwise are refused.
        ("workflow/bnstudy/data/registry.py", {"prepare": 1, "aggregate": 1, "merge_study": 4} | REPORT),
        ("workflow/bnstudy/tables/aggregate.py", {"aggregate": 1} | REPORT),
        ("workflow/bnstudy/studies/identities.py", {"run_study": 1, "merge_study": 1} | REPORT),
        ("workflow/bnstudy/claims/endpoints/practice.py", REPORT),
        ("config/claims.yaml", REPORT),
        ("workflow/bnstudy/report/look.py", {"render": 1, "all": 1}),
        ("report/notebook.py", {"render": 1, "all": 1}),
        # What only prints, parses or waits trains nothing.
        ("workflow/bnstudy/settings.py", {"aggregate": 1} | REPORT),
        ("workflow/bnstudy/settings.yaml", {"aggregate": 1} | REPORT),
        ("workflow/bnstudy/training/progress.py", {"render": 1, "all": 1}),
        ("workflow/bnstudy/training/command.py", {"render": 1, "all": 1}),
        ("config/README.md", {}),
    ],
)
def test_an_edit_reruns_what_it_touches(finished, file, counts):
    finished.edit(file)
    assert finished.plan().counts == counts


def test_touching_a_file_without_changing_it_reruns_nothing(finished):
    os.utime(finished.root / "workflow/bnstudy/networks/mlp.py")
    assert finished.plan().counts == {}


def test_touch_makes_nothing_pass_for_up_to_date(finished):
    """Snakemake's --touch gives all results the date of today."""
    finished.edit("workflow/bnstudy/tables/aggregate.py")
    said = finished.run("--touch", cores=1)
    assert "--touch leaves out of date what is so" in " ".join(said.split())
    assert finished.plan().counts == {"aggregate": 1} | REPORT


@pytest.mark.skipif(not os.path.isdir(SOURCE), reason="needs Debian's dataset-fashion-mnist")
def test_another_source_of_the_data_neither_downloads_nor_trains_again(checkout):
    grid = "grid: {dataset: [fashion_mnist], norm: [none], batch_size: [256], seed: [0]}"
    checkout.configure(f"{grid}\ntraining: {{epochs: 1}}\ndata: {{source: {SOURCE}}}")
    checkout.run("tables")
    copied = checkout.root / "other source"
    shutil.copytree(SOURCE, copied)
    checkout.configure(f"data: {{source: {copied}}}")
    assert checkout.plan("tables").counts == {}
    # Nor does it hide a change that does train.
    checkout.configure("training: {epochs: 2}")
    assert checkout.plan("tables").counts["train"] == 1


PLACES = ("*.md", "config/*.md", "profiles/**/*.*", "report/*.py", "benchmarks/*.md", "Snakefile")
TEXTS = [
    path.read_text(encoding="utf-8")
    for pattern in (*PLACES, "workflow/**/*.py", "workflow/**/*.smk", "config/*.yaml")
    for path in sorted(ROOT.glob(pattern))
]
SNAKEMAKE = r"`(snakemake\b[^`\n{]*)`|^[# ]*(snakemake --[^\n]*)$"
BNSTUDY = r"`(bnstudy [a-z][^`\n{]*)`|^(bnstudy [^\n]*)$"


def printed(pattern):
    """Every command that a document, a comment or a message prints."""
    found = [re.findall(pattern, text, re.MULTILINE) for text in TEXTS]
    return sorted({"".join(words) for each in found for words in each})


@pytest.mark.fault("a command as it is printed")
def test_every_snakemake_that_is_printed_is_one(checkout):
    """As printed, but planned only. The one that is run shows that `--cores` may be left out."""
    for name in ("my_study.yaml", "my_question.yaml"):
        shutil.copy(checkout.root / "config/examples/dropout.yaml", checkout.root / name)
    commands = printed(SNAKEMAKE)
    assert {"snakemake", "snakemake tables", "snakemake --cores 1 partial"} <= set(commands)
    for command in commands:
        words = shlex.split(command)[1:]
        if "--report" in words or "profiles/generic" in words:  # see their own tests
            continue
        done = checkout.snakemake(*words, "-n")
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert checkout.snakemake("results/run_config.yaml").returncode == 0


def test_help_says_every_setting_in_its_words(capsys):
    with pytest.raises(SystemExit):
        load("train")(["--help"])
    said = re.sub(r"-?\s+", "", capsys.readouterr().out)  # lines are broken at hyphens too
    for setting in (*KNOWN[Settings].values(), *KNOWN[Execution].values()):
        if setting.name != "dataset":
            assert re.sub(r"-?\s+", "", setting.text) in said, setting.name


@pytest.mark.fault("a command as it is printed")
def test_every_bnstudy_that_is_printed_is_one(capsys):
    commands = printed(BNSTUDY)
    assert len(commands) > 10
    for command in commands:
        _, name, *words = shlex.split(command)
        assert name in COMMANDS, command
        with pytest.raises(SystemExit):
            load(name)(["--help"])
        known = capsys.readouterr().out
        assert [word for word in words if word.startswith("--") and word not in known] == [], command
