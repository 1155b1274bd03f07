"""S21 to S26: initialization, sharpness, confidence, test-time statistics, the fair race; by hand."""

import math
from functools import partial

import numpy as np
import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from bnstudy.claims.endpoints.inference import test_time as adapted_endpoints
from bnstudy.claims.endpoints.initialization import rank, residual_init, skip_in_theory
from bnstudy.data.prepared import open_prepared
from bnstudy.networks.cnn import Residual
from bnstudy.networks.layers import GhostBatchNorm
from bnstudy.networks.weights import new_layer
from bnstudy.settings import Settings
from bnstudy.studies import random_networks
from bnstudy.training.inputs import make_splits, noisy
from bnstudy.training.observers.inference import AdaptedBatchNorm, adapted
from bnstudy.training.observers.landscape import sharpness
from bnstudy.training.observers.predictions import calibration
from perceptrons import build_model
from small import all_shipped, rows, study

CPU = torch.device("cpu")


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


# S21 and S23: random networks


def test_effective_rank_by_hand():
    assert random_networks.effective_rank(torch.eye(4)) == pytest.approx(4)
    assert random_networks.effective_rank(torch.outer(torch.ones(5), torch.arange(3.0))) == (pytest.approx(1))
    assert random_networks.effective_rank(torch.diag(torch.tensor([2.0, 1.0]))) == pytest.approx(25 / 17)
    assert random_networks.effective_rank(torch.zeros(3, 2)) == 0


def test_a_block_whose_branch_doubles_its_input():
    """skip / branch is 1/4 in every block, and the skip path grows by the factor 3 squared."""
    settings, new = Settings(kind="resnet"), partial(new_layer, "he", generator())
    made = [Residual(settings, new, 2, 2, 1) for _ in range(3)]
    for block in made:
        block.body = nn.Conv2d(2, 2, 1, bias=False)
        block.body.weight.data.copy_(2 * torch.eye(2)[:, :, None, None])
    widening = Residual(settings, new, 2, 4, 2)
    found = list(random_networks.blocks(nn.Sequential(*made, widening), torch.ones(3, 2, 4, 4)))
    assert [row["block"] for row in found] == [1, 2, 3]
    assert [row["skip"] for row in found] == pytest.approx([1, 9, 81])
    assert [row["branch"] for row in found] == pytest.approx([4, 36, 324])


def test_the_reflected_walk_by_simulation():
    draws = np.random.default_rng(0).normal(size=(6, 400_000))
    walk = np.zeros(400_000)
    for block, z in enumerate(draws, start=1):
        walk = np.maximum(0, walk + z)
        assert skip_in_theory(block) == pytest.approx((walk**2).mean(), rel=0.02)


def residual_table(growth_none: float, growth_batch: float) -> pd.DataFrame:
    return pd.DataFrame(
        {"seed": seed, "norm": norm, "block": block, "branch": 1.0, "skip": growth ** (block - 1)}
        for seed in range(3)
        for norm, growth in (("none", growth_none), ("batch", growth_batch))
        for block in (1, 2, 3)
    )


@pytest.mark.parametrize(("none", "batch", "effect"), [(1.0, 2.0, 2.0), (2.0, 1.0, -2.0)])
def test_growth_of_the_identity_comes_out_either_way(none, batch, effect):
    found = residual_init(residual_table(none, batch), {})
    assert found["identity"].effect.tolist() == pytest.approx([effect] * 3)
    assert found["explosion"].effect.tolist() == pytest.approx([-effect] * 3)


def test_the_random_walk_is_held_against_theory():
    table = residual_table(1.0, 1.0)
    theory = table["block"].map(skip_in_theory)
    assert residual_init(table.assign(skip=1.1 * theory), {})["random_walk"].holds
    for wrong in (table["block"], 0.5, 2.0 ** table["block"]):
        assert not residual_init(table.assign(skip=wrong), {})["random_walk"].holds


def rank_table(none: tuple, batch: tuple) -> pd.DataFrame:
    """Ranks in the first and the last layer; with batch normalization in the last by width."""
    return pd.DataFrame(
        {"seed": seed, "norm": norm, "width": width, "layer": layer, "rank": value}
        for seed in range(2)
        for width, last in zip((64, 256), batch, strict=True)
        for norm, values in (("none", none), ("batch", (8.0, last)))
        for layer, value in zip((1, 50), values, strict=True)
    )


def test_rank_endpoints_by_hand():
    found = rank(rank_table((4.0, 1.0), (8.0, 16.0)), {})
    assert found["kept"].cells["width 64"].tolist() == pytest.approx([math.log(8)] * 2)
    assert found["kept"].effect.tolist() == pytest.approx([math.log(8 * 16) / 2] * 2)
    assert found["width"].effect.tolist() == pytest.approx([math.log(2)] * 2)
    assert found["collapse"].effect.tolist() == pytest.approx([math.log(4)] * 2)
    other = rank(rank_table((4.0, 16.0), (8.0, 4.0)), {})
    assert all(one.effect.max() < 0 for one in other.values())


@pytest.mark.parametrize("name", ["residual_init", "rank"])
def test_random_networks_on_real_images(digits_data, name):
    """The branch of a normalized block has mean square 1, and rank survives with normalization alone."""
    data = open_prepared(digits_data)
    options = all_shipped()[name]["options"] | {"depth": 14, "images": 100}
    cell = {"width": 32} if name == "rank" else {}
    none, batch = (random_networks.run(data, {"norm": norm, **cell}, options, 0, CPU) for norm in ("none", "batch"))
    if name == "rank":
        assert [row["layer"] for row in none] == list(range(1, 15))
        assert none[-1]["rank"] < 2 < batch[-1]["rank"]
    else:
        assert [row["block"] for row in none] == [1, 2]
        assert [row["branch"] for row in batch] == pytest.approx([1, 1], rel=1e-3)


# S22: sharpness


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_sharpness_is_the_largest_eigenvalue_of_the_full_hessian(norm):
    model = build_model(4, 3, hidden=(5,), norm=norm, activation="tanh", generator=generator())
    inputs = torch.randn(12, 4, generator=generator(1))
    labels = torch.arange(12) % 3
    names, values = zip(*model.named_parameters(), strict=True)
    buffers = dict(model.named_buffers())
    before = {name: value.clone() for name, value in model.state_dict().items()}

    def loss(vector):
        parts = vector.split([value.numel() for value in values])
        shaped = {n: p.view_as(v) for n, p, v in zip(names, parts, values, strict=True)}
        own = {name: buffer.clone() for name, buffer in buffers.items()}
        return F.cross_entropy(torch.func.functional_call(model, shaped | own, (inputs,)), labels)

    start = torch.cat([value.detach().flatten() for value in values])
    hessian = torch.autograd.functional.hessian(loss, start)
    expected = torch.linalg.eigvalsh(hessian.double())[-1].item()
    assert sharpness(model, inputs, labels) == pytest.approx(expected, rel=2e-3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


def test_sharpness_of_a_run_is_the_median_of_its_last_third(digits_data):
    settings = {"dataset": "digits", "train_images": 64, "validation_images": 64, "batch_size": 64}
    small = study("edge_of_stability", settings | {"epochs": 60, "hidden": [16]})
    run, *_ = rows(small, open_prepared(digits_data), 1, norm="none", learning_rate=0.05)
    assert run["sharpness"] == pytest.approx(np.median([run["sharpness:40"], run["sharpness:50"]]))
    assert "sharpness:60" not in run


# S24: confidence and wrong labels


def test_calibration_by_hand():
    confidence = torch.tensor([0.95, 0.95, 0.95, 0.95, 0.55, 0.55])
    error, over = calibration(confidence, torch.tensor([1, 1, 1, 0, 1, 0], dtype=torch.bool))
    assert error == pytest.approx(4 / 6 * 0.2 + 2 / 6 * 0.05)
    assert over == pytest.approx(error)
    error, over = calibration(confidence, torch.tensor([1, 1, 1, 1, 0, 0], dtype=torch.bool))
    assert error == pytest.approx(4 / 6 * 0.05 + 2 / 6 * 0.55)
    assert over == pytest.approx(2 / 6 * 0.55 - 4 / 6 * 0.05)
    assert calibration(torch.ones(3), torch.ones(3, dtype=torch.bool)) == (0, 0)


def test_wrong_labels_are_other_classes_and_hit_training_alone(digits_data):
    labels = torch.arange(10_000) % 10
    changed = noisy(labels, 0.4, 10, seed=3)
    wrong = changed != labels
    assert wrong.double().mean().item() == pytest.approx(0.4, abs=0.02)
    distance = (changed - labels)[wrong] % 10
    assert torch.bincount(distance, minlength=10)[1:].min() > 0.8 * wrong.sum() / 9
    assert torch.equal(changed, noisy(labels, 0.4, 10, seed=3))
    data = open_prepared(digits_data)
    clean, with_noise = (make_splits(data, Settings(dataset="digits", label_noise=share), CPU) for share in (0, 0.4))
    assert not torch.equal(clean["train"].labels, with_noise["train"].labels)
    assert torch.equal(clean["train"].pixels, with_noise["train"].pixels)
    for name in ("validation", "test"):
        assert torch.equal(clean[name].labels, with_noise[name].labels)


# S25: statistics of the test images


@torch.no_grad()
def test_adapted_statistics_between_both_ends():
    """No weight on the averages is what a group sees in training, all weight ordinary evaluation."""
    model = build_model(6, 3, hidden=(4,), norm="batch", generator=generator()).train()
    images = torch.randn(20, 6, generator=generator(1))
    model(images + 1)  # moves the running averages
    ordinary = model.eval()(images)
    assert torch.allclose(adapted(model, 5, 10**9)(images), ordinary, atol=1e-5)
    assert not torch.allclose(adapted(model, 5, 0)(images), ordinary, atol=1e-2)
    ghost = GhostBatchNorm(4, 5).train()
    ghost.load_state_dict(model[1].state_dict())
    hidden = torch.randn(20, 4, generator=generator(2))
    own = AdaptedBatchNorm(4, 5, 0)
    own.load_state_dict(model[1].state_dict())
    assert torch.allclose(own(hidden), ghost(hidden), atol=1e-6)


def test_a_blend_by_hand():
    """Two images 1 and 3, averages 0 and 1 with the weight of two: mean 1, variance 1."""
    layer = AdaptedBatchNorm(1, 2, 2)
    layer.eps = 0.0
    assert layer(torch.tensor([[1.0], [3.0]])).flatten().tolist() == pytest.approx([0, 2])


def test_test_time_endpoints_by_hand():
    accuracies = {  # clean, contrast, noise
        ("none", "running"): (0.9, 0.8, 0.7),
        ("batch", "running"): (0.95, 0.5, 0.3),
        ("batch", "5"): (0.8, 0.6, 0.5),
        ("batch", "5+16"): (0.9, 0.62, 0.44),
        ("batch", "50"): (0.94, 0.85, 0.75),
    }
    table = pd.DataFrame(
        {"norm": norm, "statistics": statistics, "seed": seed, "n_classes": 10}
        | dict(zip(("accuracy_clean", "accuracy_contrast", "accuracy_noise"), values, strict=True))
        for seed in range(2)
        for (norm, statistics), values in accuracies.items()
    )
    options = {"claim_group": 50, "groups": [5, 50], "prior": 16}
    found = adapted_endpoints(table, options)
    effects = {name: one.effect.tolist()[0] for name, one in found.items()}
    expected = {"adapted": 40, "prior": -2, "against_none": 5, "shift": 15, "price": 1}
    assert effects == pytest.approx(expected)
    assert found["adapted"].cells["noise"].tolist() == pytest.approx([45] * 2)
    lost = (table["norm"] == "batch") & (table["seed"] == 1)
    table.loc[lost, "accuracy_clean":"accuracy_noise"] = None  # diverged: it guesses
    assert adapted_endpoints(table, options)["against_none"].effect[1] == pytest.approx(-65)


def test_test_time_statistics_of_a_run(digits_data):
    small = study("test_time", {"dataset": "digits", "epochs": 2, "hidden": [16]})
    found = pd.DataFrame(rows(small, open_prepared(digits_data), 1)).astype({"statistics": str})
    batch = found[found["norm"] == "batch"].set_index("statistics")
    assert set(batch.index) == {"running", "5", "5+16", "50", "50+16", "500", "500+16"}
    assert found[found["norm"] == "none"]["statistics"].tolist() == ["running"]
    assert batch.filter(like="accuracy_").notna().all(axis=None)
