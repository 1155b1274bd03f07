"""Small batches and small groups, and the trend test that judges them."""

import itertools

import numpy as np
import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.base import page_test
from bnstudy.claims.endpoints.inference import small_batches as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.statistics import sign_flip
from bnstudy.training.loop import make_deterministic
from small import rows, study

OPTIONS = {"reference_group_size": 8}
SMALL = study("small_batches", observers=[{"statistics": {"statistics_images": 300}}])
SMALL["variants"]["design"] = {"groups": {"batch_size": 64, "epochs": 1}, "batches": {"train_images": 100, "epochs": 1}}
SMALL["grid"][0]["group_size"] = [2, 8, 64]
SMALL["grid"][2]["batch_size"] = [2, 16]
CPU = torch.device("cpu")


def test_page_against_every_permutation():
    doses = np.array([[1.0, 3, 2], [1, 2, 3], [4, 5, 6]])
    orders = list(itertools.permutations((1, 2, 3)))
    observed = sum(np.dot(row.argsort().argsort() + 1, (1, 2, 3)) for row in doses)
    sums = [sum(np.dot(ranks, (1, 2, 3)) for ranks in chosen) for chosen in itertools.product(orders, repeat=3)]
    exact = np.mean(np.array(sums) >= observed)
    table = pd.DataFrame(doses)
    assert page_test(table) == pytest.approx(2 * exact)
    assert page_test(table.iloc[:, ::-1]) == 1  # it goes the other way


def test_a_hump_is_no_trend():
    hump = np.random.default_rng(0).normal(0, 0.01, (10, 4)) + np.array([0.5, 2, 0, 1])
    assert sign_flip(hump[:, 3] - hump[:, 0]).p() < 0.01  # the ends differ
    assert page_test(pd.DataFrame(hump)) > 0.05


@pytest.fixture(scope="module")
def data(digits_data):
    make_deterministic(CPU)  # one thread, as in the workflow
    return open_prepared(digits_data)


@pytest.fixture(scope="module")
def table(data):
    return pd.DataFrame(rows(SMALL, data))


def test_rows(table):
    counts = table.groupby(["design", "norm"]).size().to_dict()
    assert counts == {
        ("groups", "ghost"): 2 * 3 * 3,  # seeds, group sizes, kinds of statistics
        ("groups", "layer"): 2,
        ("groups", "none"): 2,
        ("batches", "batch"): 2 * 2 * 3,
        ("batches", "layer"): 2 * 2,
        ("batches", "none"): 2 * 2,
    }
    assert table["val_accuracy"].between(0, 1).all()
    assert set(table["status"]) == {"ok"}


def test_same_rows_again(data):
    cell = {"norm": "ghost"}
    first, second = (rows(SMALL, data, seeds=1, **cell) for _ in range(2))
    assert first == second


def test_group_as_large_as_the_batch_is_batch_normalization(data):
    """The ghost arm at full size and PyTorch's own layer give the same network."""
    found = {}
    for name, norm in (("ghost", "ghost:64"), ("batch", "batch")):
        alone = SMALL | {"grid": {"norm": [norm]}, "variants": {}, "settings": {"epochs": 1}}
        found[name] = [{**row, "norm": ""} for row in rows(alone, data, seeds=1)]
    assert found["ghost"] == found["batch"]


def row(seed, norm, design, size, statistics, accuracy, status="ok"):
    groups = design == "groups"
    return {
        "norm": norm,
        "seed": seed,
        "design": design,
        "batch_size": 64 if groups else size,
        "group_size": size if norm in ("ghost", "batch") else None,
        "status": status,
        "n_classes": 10,
        "statistics": statistics,
        "val_loss": 1.0,
        "val_accuracy": accuracy,
    }


def test_endpoints_by_hand():
    made = []
    for seed in range(10):
        wobble = seed / 1000
        for size, accuracy in ((2, 0.90), (8, 0.95), (64, 0.97)):
            made += [
                row(seed, "ghost", "groups", size, "running", accuracy - wobble),
                row(seed, "ghost", "groups", size, "precise", accuracy + 0.01 - wobble),
                row(seed, "ghost", "groups", size, "batch", accuracy - 0.2 / size - wobble),
            ]
        for norm, small, large in (("batch", 0.80, 0.94), ("none", 0.90, 0.93), ("layer", 0.91, 0.95)):
            made += [row(seed, norm, "batches", 2, "running", small), row(seed, norm, "batches", 16, "running", large)]
    table = pd.DataFrame(made)
    found = endpoints(table, OPTIONS)
    assert found["small_groups"].effect.to_numpy() == pytest.approx([5.0] * 10)
    assert list(found["small_groups"].cells) == ["groups of 2"]
    assert found["small_groups"].conditions["trend"].p < 1e-3
    assert "+5.00 of the +5.00 points remain" in found["small_groups"].note
    assert found["evaluation_statistics"].effect.mean() == pytest.approx(1)
    # 14 points lost with batch normalization, 3 without, 4 with layer normalization.
    assert found["small_batches"].effect.mean() == pytest.approx(11)
    assert found["small_batches_layer"].effect.mean() == pytest.approx(10)

    diverged = table["norm"].eq("ghost") & table["seed"].eq(3) & table["group_size"].eq(2)
    table.loc[diverged, ["status", "val_accuracy"]] = ["diverged", None]
    effect = endpoints(table, OPTIONS)["small_groups"].effect
    assert effect[3] == pytest.approx(100 * (0.947 - 0.1))  # a guess among ten classes


def test_endpoints_of_a_run(table, tmp_path):
    table.to_csv(tmp_path / "rows.csv", index=False)  # as the workflow hands it over
    for endpoint in endpoints(pd.read_csv(tmp_path / "rows.csv"), OPTIONS).values():
        assert list(endpoint.effect.index) == [1000, 1001]
        assert endpoint.effect.notna().all()
