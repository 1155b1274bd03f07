"""What the rules share: the checked configuration, wildcard constraints and helper functions."""

import atexit
import csv
import fcntl
import json
import logging
import os
import shlex
import shutil
import socket
import sys
import time
from contextlib import suppress
from functools import cache
from itertools import product
from pathlib import Path

from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from bnstudy.tables.archive import project_version, source_files
from bnstudy.config import check_config, config_text, enabled_studies, has_nvidia_gpu, uses_cuda
from bnstudy.data.datasets import DATASETS
from bnstudy.errors import UserError
from bnstudy.logs import last_words
from bnstudy.provenance import TRAINING_CODE, code_sha256, imported_code
from bnstudy.tables.published import choose_cells, read_settings, read_summary, training_options
from bnstudy.studies import cell_name

try:
    check_config(config)
except UserError as error:
    raise WorkflowError(f"the configuration cannot be used\n{error}") from None

STUDIES = enabled_studies(config)
TRAINING_SHA256 = code_sha256()
TRAINING_RULES = {"train", "run_study", "retrain"}

# `bnstudy` is found even where the environment that snakemake runs from is not activated.
shell.prefix(f"export PATH={shlex.quote(os.path.dirname(sys.executable))}:$PATH; ")


def remove_stale_locks():
    """Remove the locks of a Snakemake that was killed here, so that the next one continues.

    Snakemake's own locks do not tell whether who made them is still alive. A lock of the system
    does: it ends with the process. Each Snakemake shares it, so whoever gets it alone is alone. In
    a folder that was last used from another machine, where that is not sure, everything stays.
    """
    try:
        Path(".snakemake").mkdir(exist_ok=True)
        file = open(".snakemake/alive", "a+")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            pass
        else:
            file.seek(0)
            if file.read() == socket.gethostname():
                shutil.rmtree(".snakemake/locks", ignore_errors=True)
            file.truncate(0)
            file.write(socket.gethostname())
            file.flush()
        fcntl.flock(file, fcntl.LOCK_SH)
    except OSError:
        return None  # a disk that cannot be written, or has no such locks: Snakemake will tell
    return file


ALIVE = remove_stale_locks()

# On a full disk Snakemake's own log would print a traceback for every line it cannot keep.
logging.raiseExceptions = False


def disk_is_full(folder):
    return shutil.disk_usage(folder).free < 2**20


if disk_is_full("."):
    raise WorkflowError(f"the disk is full ({os.getcwd()}): make room, and start again")


def tell_of_full_disk(folder):
    with suppress(OSError):  # the folder may be gone
        if disk_is_full(folder):
            print(f"the disk is full ({folder}): make room first", file=sys.stderr)


# At the very end, for onerror is not called if Snakemake's own notes are what has no room.
atexit.register(tell_of_full_disk, os.getcwd())


wildcard_constraints:
    dataset="|".join(DATASETS),
    norm="[a-z]+",
    batch_size=r"[1-9]\d*",
    seed=r"\d+",


def source(path):
    """A file of the checkout, relative to the working directory.

    Snakemake reruns a job when the path of an input changes: absolute paths would rerun a whole
    study because its folder was moved. It is in the checkout wherever the results are: `local` says so
    to executors without a shared file system.
    """
    return local(os.path.relpath(f"{workflow.basedir}/{path}"))


def code(*modules):
    """Modules of the package, as inputs: Snakemake does not see what a command imports."""
    return [source(f"workflow/bnstudy/{module}") for module in modules]


def package_code():
    """All modules of the package: the report shows some, and its notebook imports others."""
    package = Path(workflow.basedir, "workflow/bnstudy")
    return code(*sorted(path.relative_to(package) for path in package.rglob("*.py")))


def report_sources():
    """Everything the report is made from; what is rendered lies in the same folder."""
    folder = Path(workflow.basedir, "report")
    kinds = {".css", ".html", ".j2", ".js", ".json", ".md", ".py", ".svg", ".txt"}
    return [
        source(path.relative_to(workflow.basedir))
        for path in sorted(folder.rglob("*"))
        if path.suffix in kinds and path.name not in ("report.html", "partial.html")
    ]


def raw_files(wildcards):
    """The folder of raw files, for datasets that have any."""
    embedded = DATASETS[wildcards.dataset].reader is None
    return [] if embedded else f"results/data/{wildcards.dataset}/raw"


def raw_option(wildcards, input):
    return f"--raw {input.raw}" if input.raw else ""


def source_option(wildcards, output):
    """The option that names the user's own source.

    Snakemake does not track params that depend on `output`. That is wanted here: the content is
    verified whatever the source, so another source must not download and train again.
    """
    location = config["data"]["source"]
    return [] if location is None else ["--source", location]


def checkpoint_every(wildcards, output):
    """Depends on `output`, as above: how often a run is saved must not train it again."""
    return config["training"]["checkpoint_every"]


def jobs_per_gpu(wildcards, output):
    """Depends on `output`, as above: who shares a GPU must not train again."""
    return config["training"]["jobs_per_gpu"]


@cache
def study_cells(study):
    """The cells of a study by name: every combination of its grid."""
    axes = STUDIES[study]["grid"]
    cells = (dict(zip(axes, values)) for values in product(*axes.values()))
    return {cell_name(cell): cell for cell in cells}


def study_rows(wildcards):
    return [
        f"results/studies/{wildcards.study}/{cell}/rows.csv"
        for cell in study_cells(wildcards.study)
    ]


def cell_data(cell):
    """The dataset a cell names, or the first of the grid."""
    dataset = cell.get("dataset", config["grid"]["dataset"][0])
    return f"results/data/{dataset}/prepared.safetensors"


def unless_outdated(path, made_by, code):
    """A prepared dataset as an input that does not run a job again, unless other code made its result.

    Finished results stay if a dataset is changed or made again: what it holds is verified when it is
    opened, and aggregation refuses runs of other data. But where the dataset has to be made again,
    Snakemake does not look whether the jobs behind an `ancient` input are outdated themselves (its
    issue 4166); an edit of what both run would leave results of the old code until the next start.
    """
    return ancient(path) if made_by in (None, code) else path


def train_data(wildcards):
    folder = Path("results/runs/dataset~{dataset}/norm~{norm}".format(**wildcards))
    run = folder / "batch_size~{batch_size}/seed~{seed}/run.json".format(**wildcards)
    try:
        made_by = json.loads(run.read_text())["code_sha256"]
    except (OSError, ValueError, KeyError):
        made_by = None
    path = f"results/data/{wildcards.dataset}/prepared.safetensors"
    return unless_outdated(path, made_by, TRAINING_SHA256)


def study_data(wildcards):
    try:
        with open(f"results/studies/{wildcards.study}/{wildcards.cell}/rows.csv") as file:
            made_by = next(csv.DictReader(file))["code_sha256"]
    except (OSError, ValueError, KeyError, StopIteration):
        made_by = None
    path = cell_data(study_cells(wildcards.study)[wildcards.cell])
    return unless_outdated(path, made_by, study_code_sha256(wildcards))


def study_datasets(wildcards):
    """The datasets of all cells of a study, each once."""
    return sorted({cell_data(cell) for cell in study_cells(wildcards.study).values()})


def study_code(wildcards):
    """What a study runs; edits of other studies leave it alone."""
    return code("cli.py", *imported_code(f"studies.{wildcards.study}"))


def study_code_sha256(wildcards):
    return hash_of_study(wildcards.study)


@cache  # asked for every cell, and by Snakemake again whenever it chooses what runs next
def hash_of_study(study):
    return code_sha256(("cli.py", *imported_code(f"studies.{study}")))


def study_threads(wildcards):
    """All cores for the timing study, though it uses one: it must be alone on the machine."""
    return workflow.cores if wildcards.study == "timing" else 1


def lookup_cell(wildcards):
    return json.dumps(study_cells(wildcards.study)[wildcards.cell])


def study_options(wildcards):
    return json.dumps(STUDIES[wildcards.study]["options"])


def study_seeds(wildcards):
    return STUDIES[wildcards.study]["seeds"]


def claims_code():
    modules = ["claims.judge", *(f"claims.endpoints.{study}" for study in ["core", *STUDIES])]
    return code("cli.py", *sorted({file for name in modules for file in imported_code(name)}))


def verified_runs(wildcards):
    """The published runs that `verify` trains again, whatever the grid of this study is.

    None where the published files cannot be read: `bnstudy verify` then says why.
    """
    published = Path(workflow.basedir, "published")
    try:
        rows, _ = read_summary(published), read_settings(published)
    except UserError:
        return []
    return [row["run"] for row in choose_cells(rows, config["verify"]["cells"])]


def retrained_files(wildcards):
    return expand(
        "results/verify/runs/{run}/{file}",
        run=verified_runs(wildcards),
        file=["metrics.csv", "run.json", "timing.json"],
    )


def published_options(wildcards):
    """How the published runs were trained, as options of `bnstudy train`."""
    return training_options(read_settings(Path(workflow.basedir, "published")))


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
    version = project_version(Path(workflow.basedir))
    return f"results/archive/{config['report']['name']}-{version}.zip"


def folder_of_tables(wildcards, input):
    return os.path.dirname(input.tables[0])


def recorded_config(wildcards):
    """The merged configuration; as a function, for a string would have its braces expanded."""
    return config_text(config)


def training_memory(wildcards):
    """Memory of a run in MB: PyTorch itself, and the images as bytes and three times as floats."""
    dataset = DATASETS[wildcards.dataset]
    channels, height, width = dataset.shape
    pixels = (dataset.n_train + dataset.n_test) * channels * height * width
    return 600 + 13 * pixels // 10**6


def success_message():
    partial = any(job.rule.name == "partial" for job in workflow.dag.jobs)
    html = os.path.abspath(f"report/{'partial' if partial else 'report'}.html")
    return f"The report is {html}" if os.path.exists(html) else "The tables are in results/tables/"


def table(name):
    """A table of the results, registered for Snakemake's own report."""
    return report(
        f"results/tables/{name}.csv",
        caption=f"{workflow.basedir}/report/captions/{name}.rst",
        category="Tables",
        labels={"table": name},
    )


def prepared_data(wildcards):
    """The datasets of the grid that are prepared already."""
    paths = [f"results/data/{name}/prepared.safetensors" for name in config["grid"]["dataset"]]
    return [path for path in paths if os.path.exists(path)]


def failure_message():
    """Which jobs failed with what their logs say, and what to do."""
    lines = []
    if logs := FAILURES.logs():
        lines.append("These jobs did not finish (log, and what it says):")
        silence = "no message; it was killed, or could not be started"
        lines += [f"  {log}: {last_words(Path(log)) or silence}" for log in logs]
    lines.append("What is finished is kept; the same command does the rest.")
    if any({"train", "studies"} & set(Path(log).parts) for log in logs):
        lines.append("`snakemake partial` reports what there is and lists what is missing.")
    return "\n".join(lines)


class Failures(logging.Handler):
    """Remembers failed jobs, unless they succeed when they are tried again."""

    def __init__(self):
        super().__init__()
        self.jobs = {}

    def emit(self, record):
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR and record.log:
            self.jobs[record.jobid] = record.log[0], record.output
        elif event == LogEvent.JOB_FINISHED:
            self.jobs.pop(record.job_id, None)

    def logs(self):
        """The logs of the failed jobs.

        When a group of jobs fails, Snakemake calls its finished members failed too: they left outputs.
        """
        failed = self.jobs.values()
        return [log for log, out in failed if not (out and all(map(os.path.isfile, out)))]


FAILURES = Failures()


class SubmissionLogs(logging.Handler):
    """Names the log that a cluster keeps of a failed submission, and what it says of its end.

    Neither Snakemake nor the logs of the rules tell that a job was cancelled or out of its limits.
    """

    def emit(self, record):
        if getattr(record, "event", None) in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            for path in filter(os.path.exists, getattr(record, "aux_logs", None) or []):
                lines = Path(path).read_text(errors="replace").splitlines()
                why = [line for line in lines if line.startswith(("slurmstepd", "srun: error"))]
                logger.error("\n".join([f"The submission failed: {path}", *why[-3:]]))


class TimeLeft(logging.Handler):
    """Says every half minute how many training jobs are done and how long the others will take.

    Runs of the grid take seconds and cells of studies minutes, so each counts as long as its like did.
    """

    def __init__(self, jobs):
        super().__init__()
        self.rules = {job.jobid: job.rule.name for job in jobs if job.rule.name in TRAINING_RULES}
        self.started, self.seconds = {}, {}
        self.last_said = time.monotonic()

    def emit(self, record):
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.JOB_INFO and record.jobid in self.rules:
            self.started[record.jobid] = now
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.started:
            self.seconds[record.job_id] = now - self.started[record.job_id]
            if now - self.last_said > 30 and len(self.seconds) < len(self.rules):
                self.last_said = now
                logger.info(self.message(now))

    def message(self, now):
        said = f"{len(self.seconds)} of {len(self.rules)} training jobs done"
        left = 0
        for kind in set(self.rules.values()):
            of_kind = {job for job, name in self.rules.items() if name == kind}
            done = [self.seconds[job] for job in of_kind & self.seconds.keys()]
            if not done:
                return said
            left += sum(done) / len(done) * len(of_kind - self.seconds.keys())
        left /= sum(self.seconds.values()) / (now - min(self.started.values()))  # jobs at a time
        return f"{said}, about " + (
            f"{left / 60:.0f} min left" if left > 90 else f"{left:.0f} s left"
        )


def check_device():
    """Refuse to start where every job would fail. On a cluster, the jobs run on other machines."""
    if config["training"]["device"] == "cuda" and workflow.local_exec and not has_nvidia_gpu():
        raise WorkflowError(
            "training.device: 'cuda' was asked for, but this machine has no NVIDIA GPU, or "
            "CUDA_VISIBLE_DEVICES hides it; write 'auto' or 'cpu', or run where the GPU is."
        )


def lift_default_rate_limit():
    """Take away Snakemake's own limit of 100 jobs a second; one that somebody asked for stays.

    The limit makes the scheduler wake up once a second more for every job that has ended: after some
    hundred jobs it would keep a core busy (measured with Snakemake 9.27).
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def watch_jobs():
    if os.path.isdir("results") and not os.access("results", os.W_OK):
        folder = os.path.abspath("results")
        raise WorkflowError(
            f"{folder} cannot be written: make it writable, or use another --directory"
        )
    logger.addHandler(FAILURES)
    logger.addHandler(TimeLeft(workflow.dag.needrun_jobs()))
    logger.addHandler(SubmissionLogs())
