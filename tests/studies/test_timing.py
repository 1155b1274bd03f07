"""Timing: sizes that can be counted, and endpoints; times themselves are not tested."""

import math

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.practice import timing as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.studies import timing
from perceptrons import build_model


def test_run_on_digits(digits_data):
    data, options = open_prepared(digits_data), {"batch_sizes": [32, 64], "blocks": 3, "steps": 2}
    rows = [{"seed": seed} | row for seed in (0, 1) for row in timing.run(data, {}, options, seed, torch.device("cpu"))]
    assert len(rows) == 2 * 2 * 5
    assert all(row["milliseconds"] > 0 for row in rows)
    found = endpoints(pd.DataFrame(rows), {})["training"]
    assert len(found.effect) == 2
    assert list(found.cells) == ["batch size 32", "batch size 64"]


def test_sizes():
    n, hidden = 16, 128 + 64
    inputs, labels = torch.randn(n, 784), torch.zeros(n, dtype=torch.int64)
    none, batch = (timing.size(build_model(784, 10, norm=norm), inputs, labels) for norm in ("none", "batch"))
    assert none["parameters"] == 109_386
    assert batch["parameters"] == 109_386 + 384
    assert (none["buffers"], batch["buffers"]) == (0, 2 * hidden + 2)
    # Without: the outputs of the two ReLUs, the log-probabilities and a few scalars.
    assert none["saved_bytes"] == pytest.approx(4 * n * (hidden + 10), abs=100)
    # With: the normalized layers' inputs too, and some statistics per unit.
    more = batch["saved_bytes"] - none["saved_bytes"] - 4 * n * hidden
    assert 0 < more <= 6 * 4 * hidden


def test_endpoints_by_hand():
    times = {
        ("training", "none"): 1.0, ("training", "batch"): 1.5,
        ("inference", "none"): 0.2, ("inference", "batch"): 0.3, ("inference", "fused"): 0.2,
    }  # fmt: skip
    table = pd.DataFrame(
        {"batch_size": size, "seed": block, "phase": phase, "arm": arm,
         "milliseconds": value * size * (1 + block), "parameters": 10 + (arm == "batch"),
         "buffers": 4 * (arm == "batch"), "saved_bytes": 100}
        for (phase, arm), value in times.items()
        for size in (32, 64)
        for block in (0, 1, 2)
    )  # fmt: skip
    found = endpoints(table, {})
    assert found["training"].effect.tolist() == pytest.approx([math.log(1.5)] * 3)
    assert found["training"].conditions["inference"].effect.mean() == pytest.approx(math.log(1.5))
    assert found["inference_fused"].effect.tolist() == pytest.approx([0.0] * 3)
    assert found["training"].cells["batch size 64"].tolist() == pytest.approx([math.log(1.5)] * 3)
    assert "1.50 times" in found["training"].note
    assert "1 more parameters and 4 buffer values" in found["training"].note
