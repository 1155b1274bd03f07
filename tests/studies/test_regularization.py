"""Regularization: gaps at the same training loss, dropout, and shifted variances."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from bnstudy.claims.endpoints.mechanisms import matched_gap
from bnstudy.claims.endpoints.mechanisms import regularization as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.studies import declaration
from bnstudy.training.inputs import Scaling, Split
from bnstudy.training.loop import make_deterministic, make_model
from bnstudy.training.observers.inference import variance_shifts
from small import rows, study

CPU = torch.device("cpu")
ARMS = (
    *("none", "batch", "ghost_4", "ghost_10", "ghost_25", "population"),
    *("none_dropout", "batch_dropout", "dropout_before"),
)
OPTIONS = {"matched_train_loss": 0.1}
EPOCHS = 2
SMALL = study("regularization", {"train_images": 100, "validation_images": 100, "epochs": EPOCHS})


@pytest.fixture(scope="module")
def data(digits_data):
    make_deterministic(CPU)  # one thread, as in the workflow
    return open_prepared(digits_data)


@pytest.fixture(scope="module")
def table(data):
    return pd.DataFrame(rows(SMALL, data))


def test_matched_gap_by_hand():
    # From 0.4 to 0.025 the logarithm is halfway at 0.1, where validation is between 0.6 and 0.8.
    train, validation = np.array([1.0, 0.4, 0.025]), np.array([1.2, 0.6, 0.8])
    gap, reached = matched_gap(train, validation, 0.1)
    assert reached
    assert gap == pytest.approx(0.7 - 0.1)


def test_matched_gap_at_the_edges():
    validation = np.array([0.5, 0.6, 0.7])
    assert matched_gap(np.array([0.05, 0.04, 0.03]), validation, 0.1) == (0.45, True)
    gap, reached = matched_gap(np.array([0.4, 0.3, 0.2]), validation, 0.1)
    assert (gap, reached) == (pytest.approx(0.5), False)
    # Exactly there, and the first of several crossings counts.
    exact = matched_gap(np.array([0.4, 0.1, 0.2, 0.01]), np.array([0.5, 0.6, 0.7, 0.9]), 0.1)
    assert exact == (pytest.approx(0.5), True)


def network(arm):
    told = declaration.cell_part(SMALL | {"loop": []}, {"arm": arm})
    ((_, settings),) = declaration.runs(told, "digits", 1)
    return make_model(64, 10, settings)


def test_arms_start_alike():
    """All arms share the weights of their Linear layers, and those of BN are ones and zeros."""

    def weights(arm):
        return [m.weight for m in network(arm).modules() if isinstance(m, nn.Linear)]

    for arm in ARMS[1:]:
        for ours, theirs in zip(weights(arm), weights("none"), strict=True):
            assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ("arm", "order"),
    [
        ("batch_dropout", ["Linear", "BatchNorm1d", "ReLU", "Dropout"]),
        ("dropout_before", ["Linear", "Dropout", "BatchNorm1d", "ReLU"]),
        ("none_dropout", ["Linear", "ReLU", "Dropout"]),
        ("ghost_10", ["Linear", "GhostBatchNorm", "ReLU"]),
    ],
)
def test_order_of_layers(arm, order):
    modules = network(arm).modules()
    names = [type(m).__name__ for m in modules if not isinstance(m, nn.Sequential)]
    assert names == [*order * 2, "Linear"]


def centred_split() -> Split:
    """Pixels whose mean is exactly zero after scaling."""
    pixels = torch.tensor([[0, 200], [200, 0]] * 200, dtype=torch.uint8)
    return Split(pixels, torch.zeros(400, dtype=torch.int64), Scaling(200))


def test_variance_shift_of_dropout_is_its_keep_probability():
    """E[x] = 0: dropout with p multiplies the variance by 1 / (1 - p) in training only."""
    split = centred_split()
    torch.manual_seed(0)
    norm = nn.BatchNorm1d(2, momentum=None)
    network = nn.Sequential(nn.Dropout(0.5), norm).train()
    for _ in range(200):
        network(split.inputs)
    before = norm.running_var.clone()
    assert variance_shifts(network, split) == [pytest.approx(0.5, rel=0.02)]
    assert network.training
    assert torch.equal(norm.running_var, before)


def test_variance_shift_is_one_without_dropout():
    split = centred_split()
    norm = nn.BatchNorm1d(2, momentum=1.0)
    network = nn.Sequential(norm).train()
    network(split.inputs)
    assert variance_shifts(network, split) == [pytest.approx(1)]
    norm.running_var.zero_()
    assert variance_shifts(network, split) == [None]


def test_rows(table):
    assert table.groupby("arm").size().to_dict() == dict.fromkeys(ARMS, 2 * EPOCHS)
    assert table["step"].unique().tolist() == [2, 4]
    last = table["epoch"] == EPOCHS
    assert table.loc[last, "test_accuracy"].notna().all()
    assert table.loc[~last, "test_accuracy"].isna().all()
    shifted = table["variance_shift_1"].notna()
    assert (shifted == (last & ~table["arm"].str.startswith("none"))).all()


def test_same_rows_again(data):
    cell = {"arm": "dropout_before"}
    first, second = (rows(SMALL, data, seeds=1, **cell) for _ in range(2))
    assert first == second


# By arm: the gap at a training loss of 0.1, and the final test accuracy.
MADE = {
    "none": (0.40, 0.80),
    "batch": (0.30, 0.84),
    "ghost_4": (0.10, 0.70),
    "ghost_10": (0.15, 0.80),
    "ghost_25": (0.20, 0.82),
    "population": (0.40, 0.83),
    "none_dropout": (0.35, 0.86),
    "batch_dropout": (0.25, 0.87),
    "dropout_before": (0.25, 0.81),
}


def hand_made() -> pd.DataFrame:
    made = []
    for seed in range(10):
        for arm, (gap, accuracy) in MADE.items():
            shift = 0.5 if arm == "dropout_before" else 1.0
            common = {"arm": arm, "seed": seed, "status": "ok", "val_accuracy": accuracy, "n_classes": 10}
            made += [
                common | {"epoch": 1, "train_loss": 0.1, "val_loss": 0.1 + gap},
                common
                | {"epoch": 2, "train_loss": 0.01, "val_loss": 0.01 + 2 * gap}
                | {"test_accuracy": accuracy + seed / 1000}
                | {"variance_shift_1": shift, "variance_shift_2": 1 / shift},
            ]
    return pd.DataFrame(made)


def test_endpoints_by_hand():
    found = endpoints(hand_made(), OPTIONS)
    assert found["gap"].effect.to_numpy() == pytest.approx([0.1 / 0.5] * 10)
    assert found["gap"].cells["end of training"].mean() == pytest.approx(0.2 / 0.81)
    assert found["noise"].effect.to_numpy() == pytest.approx([0.2 / 0.4] * 10)
    assert found["noise"].conditions["trend"].p < 1e-3
    assert found["noise"].cells["groups of 25"].mean() == pytest.approx(0.1 / 0.4)
    no_noise = found["noise"].conditions["no_noise"]
    assert no_noise.effect.to_numpy() == pytest.approx([0.1 / 0.5] * 10)
    # Dropout gains 6 points without and 3 with batch normalization.
    assert found["dropout_need"].effect.to_numpy() == pytest.approx([3] * 10)
    assert found["alongside_dropout"].effect.to_numpy() == pytest.approx([1] * 10)
    cells = found["alongside_dropout"].cells
    assert cells["the comparison with batch normalization alone"].mean() == pytest.approx(3)
    assert cells["the comparison with dropout alone"].mean() == pytest.approx(1)
    assert found["dropout_order"].effect.mean() == pytest.approx(6)
    assert found["variance_shift"].effect.to_numpy() == pytest.approx([math.log(2)] * 10)


def test_population_as_good_as_the_batch_speaks_against_noise():
    table = hand_made()
    population, batch = (table.index[table["arm"] == arm] for arm in ("population", "batch"))
    table.loc[population, "val_loss"] = table.loc[batch, "val_loss"].to_numpy()
    no_noise = endpoints(table, OPTIONS)["noise"].conditions["no_noise"]
    assert no_noise.effect.to_numpy() == pytest.approx([0] * 10)


def test_diverged_and_slow_runs_count():
    table = hand_made()
    diverged = (table["arm"] == "batch") & (table["seed"] == 2)
    table.loc[diverged, ["train_loss", "val_loss", "val_accuracy", "test_accuracy"]] = None
    table.loc[diverged, "status"] = "diverged"
    slow = (table["arm"] == "ghost_4") & (table["seed"] == 1)
    table.loc[slow, "train_loss"] = 0.2
    found = endpoints(table, OPTIONS)
    # It guesses: a validation loss of ln 10.
    assert found["gap"].effect[2] == pytest.approx((0.4 - (math.log(10) - 0.1)) / 0.5)
    assert found["dropout_need"].effect[2] == pytest.approx(6 - (87.2 - 10))


def test_endpoints_of_a_run(table, tmp_path):
    table.to_csv(tmp_path / "rows.csv", index=False)  # as the workflow hands it over
    for endpoint in endpoints(pd.read_csv(tmp_path / "rows.csv"), OPTIONS).values():
        assert list(endpoint.effect.index) == [1000, 1001]
        assert endpoint.effect.notna().all()
