"""The arms that take batch normalization apart: runs on digits, and endpoints."""

import math

import pandas as pd
import pytest

from bnstudy.claims.endpoints.mechanisms import mechanisms as endpoints
from bnstudy.data.prepared import open_prepared
from small import rows, study


def small(drift_every=20):
    cut = study("mechanisms", {"batch_size": 32, "epochs": 2})
    cut["observers"] = [{"drift": {"drift_every": drift_every, "drift_steps": 5}}, "bias_norm"]
    cut["grid"]["network"] = ["relu2"]
    return cut


def test_run_on_digits(digits_data):
    found = rows(small(), open_prepared(digits_data), seeds=1)
    row = {row["arm"]: row for row in found}
    assert all(r["status"] == "ok" for r in row.values())
    assert len({r["bias_start"] for r in row.values()}) == 1  # equal initial weights
    # Only rounding moves a bias in front of batch normalization; detached, it grows.
    assert row["batch"]["bias_end"] == pytest.approx(row["batch"]["bias_start"], rel=1e-5)
    assert row["batch_detached"]["bias_end"] > 1.01 * row["batch_detached"]["bias_start"]
    assert row["batch"]["drift"] < row["none"]["drift"]
    assert row["noisy_batch"]["drift"] > 10 * row["batch"]["drift"]
    assert len({r["val_loss"] for r in row.values()}) == len(row)


def test_noisy_run_is_repeatable_and_not_disturbed_by_probes(digits_data):
    data = open_prepared(digits_data)
    found = [rows(small(every), data, seeds=1, arm="noisy_batch") for every in (7, 20, 20)]
    losses = {row["val_loss"] for (row,) in found}
    assert len(losses) == 1


def arm(name, loss, drift=1.0, accuracy=0.9, status="ok", bias_end=1.0):
    return {
        "arm": name,
        "network": "relu5",
        "seed": 0,
        "status": status,
        "n_classes": 10,
        "val_loss": loss,
        "val_accuracy": accuracy,
        "drift": drift,
        "bias_start": 1.0,
        "bias_end": bias_end,
    }


def test_endpoints_by_hand():
    table = pd.DataFrame(
        [
            arm("none", 0.4, drift=0.1),
            arm("batch", 0.1, drift=0.001),
            arm("layer", 0.2),
            arm("noisy_batch", 0.2, drift=1.0),
            arm("noisy_none", None, accuracy=None, status="diverged"),
            arm("batch_no_affine", 0.1),
            arm("batch_detached", 2.3, accuracy=0.11, bias_end=3.0),
        ]
    )
    found = endpoints(table, {})
    # 0.2 is just in the middle between 0.1 and 0.4.
    assert found["causal"].effect[0] == pytest.approx(0)
    assert found["causal"].validity["benefit"].effect[0] == pytest.approx(math.log(4))
    assert found["causal"].validity["shift"].effect[0] == pytest.approx(1)
    alone = math.log(math.log(10) / 0.4)
    noise_alone = found["causal"].conditions["noise_alone"].effect[0]
    assert noise_alone == pytest.approx(math.log(4) / 2 - alone)
    assert "50% (5 ReLU layers)" in found["causal"].note
    assert found["affine"].effect[0] == 0
    # 11 % accuracy and a loss that is not finite count as guessing among ten classes.
    assert found["statistics_gradient"].effect[0] == pytest.approx(math.log(math.log(10) / 0.1))
    assert found["noise_without_batch"].effect[0] == pytest.approx(math.log(math.log(10) / 0.4))
    assert "3.00" in found["statistics_gradient"].note
