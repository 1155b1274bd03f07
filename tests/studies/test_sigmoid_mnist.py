"""The repetition of Ioffe and Szegedy's figure 1: its set-up, its readings, its endpoints."""

import copy

import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.mechanisms import sigmoid_mnist as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.settings import Settings
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model
from bnstudy.training.observers.activations import last_activations, mean_shift
from small import rows, study

CPU = torch.device("cpu")
SMALL = study("sigmoid_mnist", {"epochs": 2, "hidden": [12, 12, 12], "probe_every": 10})


@pytest.fixture(scope="module")
def data(digits_data):
    return open_prepared(digits_data)


def test_pixels_are_binary(data):
    splits = make_splits(data, Settings(scaling="binary"), CPU)
    assert set(splits["train"].inputs.unique().tolist()) == {0.0, 1.0}
    expected = (data.test_images.flatten(1) > 8).float()
    assert torch.equal(splits["test"].inputs, expected)


def test_weights_are_gaussian_and_the_same_in_both_arms():
    drawn = []
    for norm in ("none", "batch"):
        settings = Settings(norm=norm, hidden=(100,) * 3, initialization="normal", gain=0.05)
        model = make_model(784, 10, settings)
        drawn.append([m.weight for m in model if isinstance(m, torch.nn.Linear)])
        assert not model[0].bias.any()
    assert all(torch.equal(a, b) for a, b in zip(*drawn, strict=True))
    assert drawn[0][0].std().item() == pytest.approx(0.05, rel=0.01)


def test_inputs_of_the_last_sigmoid_and_nothing_else_changes():
    model = make_model(20, 10, Settings(norm="batch", hidden=(8, 8), activation="sigmoid"))
    model.train()
    inputs = torch.randn(50, 20, generator=torch.Generator().manual_seed(0))
    model(inputs)
    before = copy.deepcopy(model.state_dict())
    values = last_activations(model, inputs)["eval"]
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.eval()
    torch.testing.assert_close(model[-1](torch.sigmoid(values)), model(inputs))


def test_drift_is_the_shift_in_standard_deviations():
    generator = torch.Generator().manual_seed(0)
    before = torch.randn(10_000, 2, generator=generator, dtype=torch.float64)
    after = before * torch.tensor([1.0, 3.0]) + torch.tensor([0.5, -2.0])
    # Unit 0: shift 0.5 of sd 1. Unit 1: shift 2 of sd sqrt((1 + 9) / 2).
    expected = (0.5 + 2 / 5**0.5) / 2
    assert mean_shift(before, after) == pytest.approx(expected, rel=0.05)
    assert mean_shift(before, before) == 0
    constant = torch.ones(10, 2)
    assert mean_shift(constant, constant) is None


def test_rows_are_the_checkpoints(data):
    found = rows(SMALL, data, norm="batch", learning_rate=0.5)
    assert [row["step"] for row in found if row["seed"] == 1001] == [0, 10, 20, 30, 40]
    assert found[0]["drift"] is None
    assert all(r["percentile_15"] <= r["percentile_50"] <= r["percentile_85"] for r in found)
    assert found[-1]["accuracy"] > found[0]["accuracy"]
    assert found == rows(SMALL, data, norm="batch", learning_rate=0.5)


def curve(norm: str, accuracies: list[float | None], drifts: list[float | None], rate: float = 0.1) -> list[dict]:
    return [
        {
            "learning_rate": rate,
            "norm": norm,
            "seed": seed,
            "step": 100 * i,
            "n_classes": 10,
            "accuracy": accuracy,
            "drift": shift,
        }
        for seed in (0, 1)
        for i, (accuracy, shift) in enumerate(zip(accuracies, drifts, strict=True))
        if accuracy is not None
    ]


def test_endpoints_by_hand():
    batch = curve("batch", [0.1, 0.8, 0.9, 0.95], [None, 5.0, 0.1, 0.1])
    none = curve("none", [0.2, 0.5, 0.7, 0.85], [None, 0.5, 1.0, 1.0])
    found = endpoints(pd.DataFrame(batch + none), {})
    assert found["above_throughout"].holds  # the start does not count
    assert found["final_accuracy"].effect.tolist() == pytest.approx([10, 10])
    assert found["accuracy_along_the_way"].effect.tolist() == pytest.approx([20, 20])
    assert found["drift_decades"].effect.tolist() == pytest.approx([1, 1])


def test_one_checkpoint_below_is_enough_to_fail_and_a_diverged_run_guesses():
    batch = curve("batch", [0.1, 0.8, 0.9, None], [None, 5.0, 0.1, 0.1])
    none = curve("none", [0.2, 0.5, 0.7, 0.85], [None, 0.5, 1.0, 1.0])
    found = endpoints(pd.DataFrame(batch + none), {})
    assert not found["above_throughout"].holds
    assert found["above_throughout"].value == pytest.approx(1 / 3)
    assert found["final_accuracy"].effect.tolist() == pytest.approx([-75, -75])


def test_learning_rates_are_cells_and_each_must_hold():
    drifts = [None, 0.5, 0.1]
    slow = curve("batch", [0.1, 0.8, 0.9], drifts) + curve("none", [0.1, 0.5, 0.7], drifts)
    fast = curve("batch", [0.1, 0.9, 0.9], drifts, 0.5) + curve("none", [0.1, 0.8, 0.94], drifts, 0.5)
    found = endpoints(pd.DataFrame(slow + fast), {})
    assert found["final_accuracy"].cells["learning rate 0.1"].tolist() == pytest.approx([20, 20])
    assert found["final_accuracy"].effect.tolist() == pytest.approx([8, 8])
    assert not found["above_throughout"].holds
    assert found["above_throughout"].value == 1 / 4
    assert "learning rate 0.5 and step 200" in found["above_throughout"].note
