"""What the rules share: the checked configuration, wildcard constraints and helper functions."""

import atexit
import json
import logging
import os
import re
import shlex
import sys
from functools import cache
from math import ceil, prod
from pathlib import Path
from subprocess import CalledProcessError
from types import SimpleNamespace

from snakemake.common.configfile import load_configfile
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake.settings.types import RerunTrigger
from snakemake.utils import update_config

from bnstudy import grid, made, plugins, settings, watch
from bnstudy.claims.listed import problems as claim_problems
from bnstudy.config import check_config, has_nvidia_gpu, notebook_for, refuse, uses_cuda
from bnstudy.data import own
from bnstudy.data.download import CONFIGURED_VARIABLE
from bnstudy.data.registry import DATASETS
from bnstudy.documents import surprises
from bnstudy.errors import UserError
from bnstudy.files import RUN_FILES, SEALED
from bnstudy.provenance import environment, processor
from bnstudy.tables.archive import project_version
from bnstudy.tables.published import choose_cells, published_runs

if workflow.modifier.skip_configfile:
    # Imported as a module with a `config:` of its own, which is laid over the defaults as well.
    given, config = config, {}
    for name in ("studies", "config"):
        update_config(config, load_configfile(f"{ROOT}/config/{name}.yaml"))
    update_config(config, given)


def source(path):
    """A file of the checkout, relative to the working directory.

    Snakemake reruns a job when the path of an input changes: absolute paths would rerun a whole
    study because its folder was moved. It is in the checkout wherever the results are: `local` says so
    to executors without a shared file system.
    """
    return local(os.path.relpath(f"{ROOT}/{path}"))


def find_plugin(name):
    """A plug-in relative to the configuration file that names it, or to the working directory."""
    folders = [os.path.dirname(path) for path in reversed(workflow.configfiles)]
    found = (path for folder in folders if os.path.exists(path := os.path.join(folder, name)))
    return os.path.relpath(next(found, name))


def here():
    """The environment of the jobs; None where they are not on this machine or choose a GPU there."""
    device = config["training"]["device"]
    auto_is_cpu = sys.platform != "darwin" and not has_nvidia_gpu()
    is_cpu = device == "cpu" or (device == "auto" and auto_is_cpu)
    return environment(processor()) if workflow.local_exec and is_cpu else None


try:
    if given := config.pop("given", None):
        config.clear()
        config.update(made.unpack(given))
    else:
        files = {*map(Path, workflow.configfiles), Path(ROOT, "config/claims.yaml")}
        refuse(problem for path in sorted(files) for problem in surprises(path))
        config["plugins"] = [find_plugin(str(name)) for name in config.get("plugins") or []]
    check_config(config)
    refuse(claim_problems(config["claims"], config))
    RUNS = grid.runs(config)
except UserError as error:
    raise WorkflowError(f"the configuration cannot be used\n{error}") from None

KEYS = made.Keys(config, Path(ROOT), here())
if workflow.is_main_process and workflow.modifier.parent_modifier is None:  # no module of another
    # What another process of Snakemake, on a node of a cluster, is given instead of reading the files
    # again, which somebody may have edited by then.
    workflow.config_settings.config_args = [f"given={made.pack(config)}"]
STALE = {}  # why results that are there are made again
STUDIES = KEYS.studies
# `bnstudy` is found even where the environment that snakemake runs from is not activated.
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; ")
# On a full disk Snakemake's own log would print a traceback for every line it cannot keep.
logging.raiseExceptions = False
if config["data"]["source"] is not None:
    # Not an option of the command, for commands are printed and the address may hold a password.
    os.environ[CONFIGURED_VARIABLE] = config["data"]["source"]
if workflow.is_main_process:
    watch.remove_stale_locks()
if watch.disk_is_full("."):
    raise WorkflowError(f"the disk is full ({os.getcwd()}): make room, and start again")
# At the very end, for onerror is not called if Snakemake's own notes are what has no room.
atexit.register(watch.tell_of_disk, os.getcwd())
if workflow.dryrun:
    atexit.register(lambda: STALE and print(made.summary(STALE.values())))


wildcard_constraints:
    dataset="|".join(map(re.escape, DATASETS)),
    run=grid.RUN,


def note(*name):
    """The note of what a rule's results were made from, which its job writes last."""
    return f"results/made/{'/'.join(name)}.json"


def made_from(*name):
    """What its note will say, as options, asked for when a job of the rule is planned."""

    def options(wildcards):
        return [*plugin_options(), *KEYS.options("/".join(name).format(**wildcards))]

    return options


def unless_stale(path, reason):
    """Let a job run whose result was made from something else; returns no file.

    Asked while the jobs are planned, before Snakemake decides which of them to run. Content decides
    that, and never dates or Snakemake's own records, which may be gone.
    """
    if workflow.is_main_process:
        workflow.dag_settings.rerun_triggers = {RerunTrigger.MTIME}
        if reason:
            workflow.dag.forcefiles.add(path)
            STALE[path] = reason
    return []


def noted(*name):
    """As an input: looks whether the results with this note are what they should be."""

    def look(wildcards):
        full = "/".join(name).format(**wildcards)
        return unless_stale(note(full), KEYS.stale_note(full))

    return look


def recorded(wildcards):
    return unless_stale("results/run_config.yaml", KEYS.stale_config())


def tables_of(wildcards, output):
    """All output but the note."""
    return [path for path in output if path != output.made]


def plugin_options():
    """The user's plug-ins, as options of every command that needs what they register."""
    return ["--plugins", *config["plugins"]] if config["plugins"] else []


def raw_files(wildcards):
    """The folder of raw files, for datasets that have any."""
    embedded = DATASETS[wildcards.dataset].reader is None
    return [] if embedded else f"results/data/{wildcards.dataset}/raw"


def images_option(wildcards, input):
    """What a dataset is prepared from: raw files, images of the user's own, or nothing."""
    if input.raw:
        return ["--raw", input.raw]
    return own.options(config["datasets"].get(wildcards.dataset, {}))


def million_pixels(dataset):
    known = DATASETS[dataset]
    return (known.n_train + known.n_test) * prod(known.shape) // 10**6


def preparing_memory(wildcards):
    """Memory in MB: PyTorch itself, and the images as bytes and as floats."""
    return 1500 + 8 * million_pixels(wildcards.dataset)


def kept_files(folder, model=None):
    """The files of a run, by name; the model where it is kept."""
    files = {"metrics": "metrics.csv", "run": "run.json", "timing": "timing.json"}
    if config["training"]["keep_model"] if model is None else model:
        files["model"] = "model.safetensors"
    return {name: f"{folder}/{{run}}/{file}" for name, file in files.items()}


def dataset_of(wildcards):
    return dict(part.split("~") for part in Path(wildcards.run).parts)["dataset"]


def run_options(wildcards):
    return settings.options(RUNS[wildcards.run])


def observer_options():
    """What is observed in the runs of the grid."""
    return ["--observers", json.dumps(config["observers"])] if config["observers"] else []


def execution_options(wildcards, output):
    """How a run is done. Depends on `output`, as above: it must not train again."""
    training = config["training"]
    words = ["--checkpoint-every", training["checkpoint_every"], "--device", training["device"]]
    words += ["--jobs-per-gpu", training["jobs_per_gpu"]]
    return [str(word) for word in words] + ["--keep-model"] * training["keep_model"]


def study_job(wildcards):
    return KEYS.jobs[wildcards.study][wildcards.cell]


def study_rows(wildcards):
    return KEYS.inputs(f"merge_study/{wildcards.study}")


def settled(files, reason):
    """Files whose dates do not matter to a result, for what it was made from is in it.

    One that is stale needs them as they will be: Snakemake forces no job downstream of one that runs.
    """
    return files if reason else ancient(files)


def train_data(wildcards):
    reason = KEYS.stale("runs", wildcards.run)
    unless_stale(f"results/runs/{wildcards.run}/run.json", reason)
    return settled(f"results/data/{dataset_of(wildcards)}/prepared.safetensors", reason)


def study_data(wildcards):
    study, cell = wildcards.study, wildcards.cell
    reason = KEYS.stale(f"studies/{study}", cell)
    unless_stale(f"results/studies/{study}/{cell}/rows.csv", reason)
    return settled(f"results/data/{study_job(wildcards).dataset}/prepared.safetensors", reason)


def study_reuse(wildcards):
    """The runs of the grid that a cell reads instead of training them again."""
    reason = KEYS.stale(f"studies/{wildcards.study}", wildcards.cell)
    reuse = study_job(wildcards).reuse
    return settled([f"results/runs/{run}/{file}" for run in reuse for file in SEALED], reason)


def study_datasets(wildcards):
    """The datasets of all cells of a study, each once."""
    names = sorted({job.dataset for job in KEYS.jobs[wildcards.study].values()})
    return [f"results/data/{name}/prepared.safetensors" for name in names]


def study_threads(wildcards):
    """All cores for the timing study, though it uses one: it must be alone on the machine."""
    return workflow.cores if wildcards.study == "timing" else 1


def study_options(wildcards):
    """The cell, its part of the study, the seeds, and the runs to read, as options."""
    job, seeds = study_job(wildcards), str(STUDIES[wildcards.study]["seeds"])
    words = ["--cell", json.dumps(job.cell), "--declaration", job.declaration, "--seeds", seeds]
    folders = [f"results/runs/{run}" for run in job.reuse]
    return [*words, "--reuse", *folders] if folders else words


@cache
def verified_runs():
    """The published runs that `verify` trains again, whatever the grid of this study is.

    None where the published files cannot be read: `bnstudy verify` then says why.
    """
    try:
        return choose_cells(published_runs(Path(ROOT, "published")), config["verify"]["cells"])
    except UserError:
        return {}


def retrained_files(wildcards):
    return [f"results/verify/runs/{run}/{file}" for run in verified_runs() for file in RUN_FILES]


def retrain_data(wildcards):
    reason = KEYS.stale_retrained(wildcards.run)
    unless_stale(f"results/verify/runs/{wildcards.run}/run.json", reason)
    return f"results/data/{dataset_of(wildcards)}/prepared.safetensors"


def retrained_options(wildcards):
    return settings.options(verified_runs()[wildcards.run])


def published_files(wildcards):
    paths = [source("published/summary.csv"), source("published/settings.yaml")]
    return [path for path in paths if os.path.exists(path)]


def verification_table():
    """The table that `verify` left, if it was ever run.

    It is the output of no rule, so that the report shows it without ever asking for it.
    """
    return [path for path in ["results/tables/verification.csv"] if os.path.exists(path)]


def archive_file():
    """Named like the report's notebook, with the version of the workflow."""
    version = project_version(Path(ROOT))
    return f"results/archive/{config['report']['name']}-{version}.zip"


def folder_of_tables(wildcards, input):
    return os.path.dirname(input.tables[0])


def recorded_config(wildcards):
    """The merged configuration; as a function, for a string would have its braces expanded."""
    return KEYS.text


def training_memory(wildcards):
    """Memory of a run in MB: PyTorch itself, and the images as bytes and three times as floats."""
    return 600 + 13 * million_pixels(dataset_of(wildcards))


# Minutes that an epoch of 50,000 images may take on one core, many times what it takes; others, 10.
EPOCH_MINUTES = {"mlp": 0.5, "cnn": 2}


def training_minutes(wildcards, attempt):
    """Minutes after which a scheduler may end a run, more at each new attempt."""
    run = RUNS[wildcards.run]
    epochs = run.epochs * DATASETS[run.dataset].n_train / 50_000
    return attempt * ceil(10 + epochs * EPOCH_MINUTES.get(run.kind, 10))


def success_message():
    if any(job.rule.name == "partial" for job in workflow.dag.jobs):
        return f"The report is {os.path.abspath('report/partial.html')}"
    for path, said in (("report/report.html", "The report is"), (archive_file(), "The archive is")):
        if path in MADE:
            return f"{said} {os.path.abspath(path)}"
    tables = MADE & set(rules.aggregate.output)
    return "The tables are in results/tables/" if tables else "Done."


def table(name):
    """A table of the results, registered for Snakemake's own report."""
    return report(
        f"results/tables/{name}.csv",
        caption=f"{ROOT}/report/captions/{name}.rst",
        category="Tables",
        labels={"table": name},
    )


def prepared_data(wildcards):
    """The datasets of the grid that are prepared already."""
    return [path for path in KEYS.grid_data if os.path.exists(path)]


PARTIAL = (
    "exec 2> {log} && mkdir -p results/partial"
    " && printf %s {params.config:q} > results/partial/run_config.yaml"
    " && bnstudy partial results/partial/run_config.yaml --claims {params.claims:q}"
    " --results results --out results/partial/tables"
    " && bnstudy report --config results/partial/run_config.yaml --tables results/partial/tables"
    " --claims {params.claims:q} --data {params.data} --notebook {params.notebook:q}"
    " --figures results/partial/figures --ipynb results/partial/report.ipynb"
    " --html report/partial.html"
)


def report_without(logs):
    """Report what there is where data could not be had: that costs the runs on them alone."""
    no_data = any({"download", "prepare"} & set(Path(log).parts) for log in logs)
    if not no_data or not prepared_data(None):
        return
    log = "results/logs/partial.log"
    params = SimpleNamespace(
        config=KEYS.text,
        claims=source("config/claims.yaml"),
        data=" ".join(prepared_data(None)),
        notebook=source(f"report/{notebook_for(config)}"),
    )
    try:
        shell(PARTIAL)
    except CalledProcessError:
        logger.error(f"No report could be made of the rest: {watch.last_words(Path(log))}")
    else:
        page = os.path.abspath("report/partial.html")
        logger.error(f"Data could not be had; a report of the rest is {page}")


def failed():
    """At the end of a start that did not do everything."""
    logs = FAILURES.logs() if FAILURES else []
    report_without(logs)
    logger.error(watch.failure_message(logs))


def check_device():
    """Refuse to start where every job would fail. On a cluster, the jobs run on other machines."""
    if config["training"]["device"] == "cuda" and workflow.local_exec and not has_nvidia_gpu():
        raise WorkflowError(
            "training.device: 'cuda' was asked for, but this machine has no NVIDIA GPU, or "
            "CUDA_VISIBLE_DEVICES hides it; write 'auto' or 'cpu', or run where the GPU is."
        )


def start():
    """Before the first job: look whether it can work, and follow what happens."""
    global FAILURES
    check_device()
    watch.lift_default_rate_limit(workflow)
    watch.cancel_all(workflow)
    watch.own_locks()
    jobs = list(workflow.dag.needrun_jobs())
    if STALE and workflow.touch:
        logger.info("Content decides what is made again: --touch leaves out of date what is so.")
    elif STALE:
        logger.info(made.summary(STALE.values()))
    MADE.update(str(path) for job in jobs for path in job.output)
    watch.date_inputs(jobs)
    FAILURES = watch.watch_jobs(jobs)


FAILURES = None
MADE = set()  # what this start of Snakemake makes
