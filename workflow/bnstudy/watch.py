"""What stands around a run of Snakemake: locks, full disks, progress, and what is said at its end."""

import atexit
import json
import logging
import os
import shutil
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from snakemake.exceptions import WorkflowError
from snakemake.logging import logger
from snakemake_interface_logger_plugins.common import LogEvent

from bnstudy.logs import last_words, say

TRAINING_RULES = {"train", "run_study", "retrain"}
OWNER = Path(".snakemake/owner.json")


def who(pid: int) -> list | None:
    """A process that no other one is taken for: machine, boot, name space, number and start."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    try:
        place = [boot.read_text().strip(), os.readlink(space)] if boot.exists() else ["", ""]
        return [socket.gethostname(), *place, pid, psutil.Process(pid).create_time()]
    except (OSError, psutil.Error):
        return None


def remove_stale_locks() -> None:
    """Remove the locks of a Snakemake that is known to be gone, so that the next one continues.

    Who holds them says so beside them (`own_locks`). Only where its process would be seen can it be known to be gone;
    on another machine or in another container it may live, and its locks stay.
    """
    with suppress(OSError, ValueError, TypeError, IndexError):
        owner, here = json.loads(OWNER.read_text()), who(os.getpid())
        if here and owner[:3] == here[:3] and who(owner[3]) != owner:
            OWNER.unlink()  # first: whoever locks next says so anew
            shutil.rmtree(".snakemake/locks", ignore_errors=True)


def own_locks() -> None:
    """Say until this process ends that it holds the locks."""
    with suppress(OSError):  # then they stay where it is killed, and Snakemake tells what to do
        OWNER.write_text(json.dumps(who(os.getpid())))
        atexit.register(OWNER.unlink, missing_ok=True)


def disk_is_full(folder: str) -> bool:
    return shutil.disk_usage(folder).free < 2**20


def is_read_only(folder: str) -> bool:
    """Whether there are results in a working directory that cannot be written."""
    results = os.path.join(folder, "results")
    return os.path.isdir(results) and not os.access(results, os.W_OK)


def tell_of_disk(folder: str) -> None:
    """Say at the end that a disk is full or read-only: Snakemake may have stopped with less."""
    with suppress(OSError):  # the folder may be gone
        if disk_is_full(folder):
            say(f"the disk is full ({folder}): make room first")
        if is_read_only(folder):
            say(f"{folder}/results cannot be written: make it writable, or use another --directory")


def failure_message(logs: Iterable[str]) -> str:
    """Which jobs failed with what their logs say, and what to do."""
    logs = list(logs)
    silence = "no message; it was killed (out of memory?), or could not be started"
    lines = ["These jobs did not finish (log, and what it says):"] if logs else []
    lines += [f"  {log}: {last_words(Path(log)) or silence}" for log in logs]
    lines.append("What is finished is kept; the same command does the rest.")
    if any({"train", "studies"} & set(Path(log).parts) for log in logs):
        report = "`snakemake --cores 1 partial` reports what there is and lists what is missing."
        lines.append(report)
    return "\n".join(lines)


class Failures(logging.Handler):
    """Remembers failed jobs, unless they succeed when they are tried again.

    It also names the log that a cluster keeps of a failed submission, and what that says of its end: neither Snakemake
    nor the logs of the rules tell that a job was cancelled or out of its limits.
    """

    def __init__(self) -> None:
        super().__init__()
        self.jobs = {}

    def emit(self, record: logging.LogRecord) -> None:
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_ERROR and record.log:
            self.jobs[record.jobid] = record.log[0], record.output
        elif event == LogEvent.JOB_FINISHED:
            self.jobs.pop(record.job_id, None)
        if event in (LogEvent.JOB_ERROR, LogEvent.GROUP_ERROR):
            for path in filter(os.path.exists, getattr(record, "aux_logs", None) or []):
                lines = Path(path).read_text(errors="replace").splitlines()
                why = [line for line in lines if line.startswith(("slurmstepd", "srun: error"))]
                logger.error("\n".join([f"The submission failed: {path}", *why[-3:]]))

    def logs(self) -> list[str]:
        """The logs of the failed jobs."""
        # When a group of jobs fails, Snakemake calls its finished members failed too: they left outputs.
        failed = self.jobs.values()
        return [log for log, out in failed if not (out and all(map(os.path.isfile, out)))]


class TimeLeft(logging.Handler):
    """Says every half minute how many training jobs are done and how long the others will take.

    Runs of the grid take seconds and cells of studies minutes, so each counts as long as its like did.
    """

    def __init__(self, jobs: Iterable) -> None:
        super().__init__()
        self.rules = {job.jobid: job.rule.name for job in jobs if job.rule.name in TRAINING_RULES}
        self.started, self.seconds = {}, {}
        self.last_said = time.monotonic()

    def emit(self, record: logging.LogRecord) -> None:
        event, now = getattr(record, "event", None), time.monotonic()
        if event == LogEvent.JOB_INFO and record.jobid in self.rules:
            self.started[record.jobid] = now
        elif event == LogEvent.JOB_FINISHED and record.job_id in self.started:
            self.seconds[record.job_id] = now - self.started[record.job_id]
            if now - self.last_said > 30 and len(self.seconds) < len(self.rules):
                self.last_said = now
                logger.info(self.message(now))

    def message(self, now: float) -> str:
        """How far it is, and how long the rest will take."""
        said = f"{len(self.seconds)} of {len(self.rules)} training jobs done"
        left = 0
        for kind in set(self.rules.values()):
            of_kind = {job for job, name in self.rules.items() if name == kind}
            done = [self.seconds[job] for job in of_kind & self.seconds.keys()]
            if not done:
                return said
            left += sum(done) / len(done) * len(of_kind - self.seconds.keys())
        left /= sum(self.seconds.values()) / (now - min(self.started.values()))  # jobs at a time
        return f"{said}, about {f'{left / 60:.0f} min' if left > 90 else f'{left:.0f} s'} left"


def lift_default_rate_limit(workflow) -> None:
    """Take away Snakemake's own limit of 100 jobs a second; one that somebody asked for stays.

    The limit makes the scheduler wake up once a second more for every job that has ended: after some hundred jobs it
    would keep a core busy (measured with Snakemake 9.27).
    """
    limit = workflow.scheduling_settings.max_jobs_per_timespan
    if limit and (limit.max_jobs, limit.timespan) == (100, 1):
        workflow.scheduler.job_rate_limiter = None


def cancel_all(workflow) -> None:
    """Let Ctrl-C cancel every job that was submitted, also those whose state is just being asked for.

    While it asks, an executor has them on no list that it cancels (Snakemake's interface for executors 9.4), and with
    the second that a batch system is given for each answer it asks most of the time.
    """
    executor = workflow.scheduler._executor
    if not hasattr(executor, "check_active_jobs"):
        return
    check, cancel, asked = executor.check_active_jobs, executor.cancel_jobs, []

    async def check_active_jobs(jobs):
        asked[:] = jobs
        async for job in check(jobs):
            yield job

    def cancel_jobs(jobs):
        cancel(list({job.external_jobid: job for job in [*jobs, *asked]}.values()))

    executor.check_active_jobs, executor.cancel_jobs = check_active_jobs, cancel_jobs


def date_inputs(jobs: Iterable) -> None:
    """Date what the jobs read no later than now, for Snakemake fails a job whose input is from the future.

    Such dates come with files from a machine whose clock was ahead. No result depends on them.
    """
    now = time.time()
    for file in {str(file) for job in jobs for file in job.input}:
        for path in (file, os.path.join(file, ".snakemake_timestamp")):  # a folder's date is in it
            with suppress(OSError):
                if max(os.stat(path).st_mtime, os.lstat(path).st_mtime) > now:
                    os.utime(path)
                    os.utime(path, follow_symlinks=False)


def watch_jobs(jobs: Iterable) -> Failures:
    """Follow the jobs of this start, if results can be written; returns what remembers the failed ones."""
    if is_read_only("."):
        raise WorkflowError("no job was started, for results cannot be written")
    failures = Failures()
    logger.addHandler(failures)
    logger.addHandler(TimeLeft(jobs))
    return failures
