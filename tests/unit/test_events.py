"""Event files for TensorBoard, read back by TensorBoard, of a run that trains and that is done."""

import csv
import subprocess
import sys
import time

import numpy as np
import pytest

from bnstudy import cli
from bnstudy.logs import why_missing
from bnstudy.tables.events import export, read_metrics
from bnstudy.training.checkpoints import NAME

RUN = "dataset~digits/norm~batch/batch_size~16/seed~0"


def read_events(folder):
    """What TensorBoard's own reader finds: (step, split, metric) and the value in single precision."""
    reader = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = reader.EventAccumulator(str(folder), size_guidance={reader.SCALARS: 0})
    events.Reload()
    return {
        (one.step, *reversed(tag.split("/"))): np.float32(one.value)
        for tag in events.Tags()["scalars"]
        for one in events.Scalars(tag)
    }


def expected(folder):
    return {tuple(row[1:4]): np.float32(row[4]) for row in read_metrics(folder)}


def test_a_run_is_seen_while_it_trains_and_whole_when_it_is_done(digits_data, tmp_path):
    pytest.importorskip("tensorboard")
    runs, out = tmp_path / "results/runs", tmp_path / "events"
    command = [sys.executable, "-m", "bnstudy", "train", digits_data, "--out", runs / RUN]
    command += ["--norm=batch", "--batch-size=16", "--epochs=2000", "--checkpoint-every=10"]
    written = {}
    log = tmp_path / "log"
    with open(log, "w") as errors:
        process = subprocess.Popen([*command, "--seed=0", "--device=cpu"], stderr=errors)
    try:
        while not (runs / RUN / NAME).exists() and process.poll() is None:
            time.sleep(0.05)
        assert export(runs, out, written) == 1
        first = read_events(out / RUN)
        assert (0, "probe", "accuracy") in first
        while len(read_metrics(runs / RUN)) <= len(first) and process.poll() is None:
            time.sleep(0.05)
        assert why_missing(log, runs / RUN).startswith("running now, its log says: ")
    finally:
        process.terminate()
        process.wait()
    assert not (runs / RUN / "metrics.csv").exists()
    assert why_missing(log, runs / RUN).startswith("begun and not finished, its log says: ")
    export(runs, out, written)
    later = read_events(out / RUN)
    assert later.items() >= first.items()
    assert len(later) > len(first)
    assert later == expected(runs / RUN)


def test_a_run_that_is_done(digits_data, tmp_path):
    pytest.importorskip("tensorboard")
    folder = tmp_path / "results/runs" / RUN
    options = ["--norm", "batch", "--batch-size", "64", "--epochs", "1", "--device", "cpu"]
    cli.load("train")([str(digits_data), "--out", str(folder), *options])
    for _ in range(2):  # written again, nothing is there twice
        cli.load("tensorboard")([str(tmp_path / "results"), "--out", str(tmp_path / "events")])
        with open(folder / "metrics.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        found = read_events(tmp_path / "events" / RUN)
        assert len(found) == len(rows)
        for row in rows:
            place = int(row["step"]), row["split"], row["metric"]
            assert found[place] == np.float32(row["value"])


def test_without_tensorboard_a_sentence_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.compat.proto.event_pb2", None)
    with pytest.raises(cli.UserError, match="pip install tensorboard"):
        cli.load("tensorboard")([str(tmp_path), "--out", str(tmp_path / "events")])
