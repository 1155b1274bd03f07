"""What is said around a run of Snakemake, from the events that its logger sends."""

import json
import logging
import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from snakemake.exceptions import WorkflowError
from snakemake_interface_logger_plugins.common import LogEvent

from bnstudy import watch


def record(event: LogEvent, **fields: object) -> logging.LogRecord:
    made = logging.makeLogRecord({"msg": "", "event": event})
    vars(made).update(fields)
    return made


def failure(job: int, log: str, *output: object) -> logging.LogRecord:
    return record(LogEvent.JOB_ERROR, jobid=job, log=[log], output=[str(path) for path in output])


def test_a_job_that_fails_and_then_succeeds_has_not_failed():
    failures = watch.Failures()
    failures.emit(failure(1, "a.log"))
    failures.emit(failure(2, "b.log"))
    failures.emit(record(LogEvent.JOB_FINISHED, job_id=1))
    assert failures.logs() == ["b.log"]


def test_a_finished_member_of_a_failed_group_has_not_failed(tmp_path):
    (tmp_path / "run.json").write_text("{}")
    failures = watch.Failures()
    failures.emit(failure(1, "a.log", tmp_path / "run.json"))
    failures.emit(failure(2, "b.log", tmp_path / "run.json", tmp_path / "missing"))
    assert failures.logs() == ["b.log"]


def test_the_failure_message_has_each_logs_own_words(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    log = Path("results/logs/train/x.log")
    log.parent.mkdir(parents=True)
    log.write_text("epoch 1\nbnstudy: the disk is full\nmore\n")
    said = watch.failure_message([str(log), "results/logs/render.log"])
    assert f"  {log}: bnstudy: the disk is full\n" in said
    assert "render.log: no message; it was killed" in said
    assert "`snakemake --cores 1 partial`" in said
    assert "partial" not in watch.failure_message(["results/logs/render.log"])
    assert "did not finish" not in watch.failure_message([])


def job(number: int, rule: str) -> SimpleNamespace:
    return SimpleNamespace(jobid=number, rule=SimpleNamespace(name=rule))


def test_the_time_left_counts_each_kind_of_job_as_long_as_its_like(monkeypatch):
    """Two runs of 10 s and one cell of 60 s done one after the other: 4 runs and 1 cell are left."""
    now = [0.0]
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])
    said = []
    monkeypatch.setattr(watch.logger, "info", said.append)
    rules = ["train"] * 6 + ["run_study"] * 2 + ["aggregate"]
    left = watch.TimeLeft(job(i, rule) for i, rule in enumerate(rules))
    for i, seconds in ((0, 10), (1, 10), (6, 60)):
        left.emit(record(LogEvent.JOB_INFO, jobid=i))
        now[0] += seconds
        left.emit(record(LogEvent.JOB_FINISHED, job_id=i))
    assert said == ["3 of 8 training jobs done, about 2 min left"]  # 4 x 10 s + 60 s


def test_what_a_cluster_says_of_a_submission_is_passed_on(tmp_path, monkeypatch):
    said = []
    monkeypatch.setattr(watch.logger, "error", said.append)
    log = tmp_path / "slurm.log"
    log.write_text("hello\nslurmstepd: error: *** JOB 7 CANCELLED DUE TO TIME LIMIT ***\n")
    logs = {"log": [], "aux_logs": [str(log), "nowhere.log"]}
    watch.Failures().emit(record(LogEvent.JOB_ERROR, **logs))
    assert said == [f"The submission failed: {log}\n{log.read_text().splitlines()[1]}"]


def owner(n=4, value=None):
    """Who the locks say they belong to: this process, but for one thing."""
    said = watch.who(os.getpid())
    return [*said[:n], value, *said[n + 1 :]] if n < 4 or value else said


@pytest.mark.fault("locks of a Snakemake that may be alive elsewhere")
@pytest.mark.parametrize(
    ("said", "stay"),
    [
        (lambda: owner(), True),  # alive
        (lambda: owner(3, 2**22 + 1), False),  # no such process
        (lambda: owner(4, 1.0), False),  # another process has its number
        (lambda: [*owner(0, "another machine")[:3], 2**22 + 1, 1.0], True),
        (lambda: [*owner(1, "before a boot, or with a copied name")[:3], 2**22 + 1, 1.0], True),
        (lambda: [*owner(2, "another container")[:3], 2**22 + 1, 1.0], True),
        (lambda: None, True),
        (dict, True),
    ],
)
def test_only_locks_of_a_snakemake_that_is_known_to_be_gone_are_removed(tmp_path, monkeypatch, said, stay):
    monkeypatch.chdir(tmp_path)
    locks = Path(".snakemake/locks")
    locks.mkdir(parents=True)
    watch.remove_stale_locks()  # nobody said anything
    assert locks.exists()
    watch.OWNER.write_text(json.dumps(said()))
    watch.remove_stale_locks()
    assert locks.exists() == stay


def test_results_that_cannot_be_written_stop_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("results").mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # as for anybody but root
    with pytest.raises(WorkflowError, match="cannot be written"):
        watch.watch_jobs([])
