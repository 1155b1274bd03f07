"""S17 to S20 and S27: disturbed images, angles of steps, scale of weights, what is trained; by hand."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from bnstudy.claims.endpoints.base import metric_endpoint
from bnstudy.claims.endpoints.practice import convolutional
from bnstudy.claims.listed import complete, read
from bnstudy.data.prepared import open_prepared
from bnstudy.networks import models
from bnstudy.networks.weights import count_parameters
from bnstudy.settings import Settings
from bnstudy.studies import declaration
from bnstudy.training.inputs import Scaling, Split, stream_generator
from bnstudy.training.observers.angles import angle, equilibrium
from bnstudy.training.observers.predictions import accuracies_under, disturb
from perceptrons import build_model
from small import rows, study

ROOT = Path(__file__).parents[2]

# S17: robustness


def test_disturbances_by_hand():
    pixels, gradient = torch.tensor([[0.2, 0.6]]), torch.tensor([[3.0, -0.1]])
    draws = torch.tensor([[-2.0, 0.5]])
    found = {
        kind: disturb(kind, 0.1, pixels, gradient, draws).tolist()[0] for kind in ("fgsm", "sign", "noise", "contrast")
    }
    assert found["fgsm"] == pytest.approx([0.3, 0.5])
    assert found["sign"] == pytest.approx([0.1, 0.7])
    assert found["noise"] == pytest.approx([0.0, 0.65])
    assert found["contrast"] == pytest.approx([0.38, 0.42])  # the mean is 0.4


def test_an_attack_reaches_what_lies_within_its_size_of_the_border():
    """One linear layer tells two classes by the sign of x1 + x2 - 1; FGSM moves the sum by 2 eps.

    Sums are 1.1, 1.3 (class 1) and 0.9, 0.5 (class 0): steps of 0.06 change 0.12, of 0.2 change 0.4,
    whatever the scaling of the input is.
    """
    pixels = torch.tensor([[140, 140], [166, 165], [115, 115], [64, 63]], dtype=torch.uint8)
    labels = torch.tensor([1, 1, 0, 0])
    for scaling in (Scaling(255), Scaling(255, 0.0, 1.0)):
        model = nn.Sequential(nn.Linear(2, 2))
        with torch.no_grad():
            toward = torch.tensor(float(scaling.deviation))
            model[0].weight.copy_(torch.stack([-toward, toward])[:, None].expand(2, 2))
            offset = 2 * scaling.mean - 1
            model[0].bias.copy_(torch.tensor([-offset, offset]))
        doses = [("fgsm", 0.001), ("fgsm", 0.06), ("fgsm", 0.2), ("fgsm", 0.3), ("contrast", 1.0)]
        found = accuracies_under(doses, model, Split(pixels, labels, scaling), seed=0)
        assert list(found.values()) == [1.0, 0.5, 0.25, 0.0, 1.0]


def test_rows_of_disturbed_images(digits_data):
    cut = study("robustness", {"epochs": 1, "batch_size": 32}, grid={"norm": ["none", "batch"]})
    table = pd.DataFrame(rows(cut, open_prepared(digits_data)))
    kinds = table.pivot_table(index="norm", columns="images", values="test_accuracy")
    assert len(kinds.columns) == 4 + 4 + 3 + 3
    assert (kinds["fgsm_0.2"] < kinds["sign_0.2"]).all()
    assert (kinds["contrast_0.75"] > 0.5).all()


# S18: weight decay as a learning rate


def test_angles_by_hand():
    assert angle(torch.tensor([1.0, 0.0]), torch.tensor([0.0, 3.0])) == pytest.approx(math.pi / 2)
    assert angle(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 1e-4])) == pytest.approx(1e-4)
    assert angle(torch.ones(2), -torch.ones(2)) == pytest.approx(math.pi, rel=1e-3)
    assert equilibrium(0.1, 0.02) == pytest.approx(math.sqrt(0.004))
    assert equilibrium(0.1, 0.02, momentum=0.9) == pytest.approx(math.sqrt(0.004 / 1.9))


def test_orthogonal_gradients_of_one_size_lead_to_the_equilibrium():
    """Weights on a circle, pushed at a right angle by a gradient c / |w|, as scale invariance makes it."""
    rate, decay, w = 0.1, 0.01, torch.tensor([5.0, 0.0], dtype=torch.float64)
    for _ in range(20_000):
        before = w
        g = torch.stack([-w[1], w[0]]) / w.norm() ** 2
        w = w - rate * (g + decay * w)
    assert angle(before, w) == pytest.approx(equilibrium(rate, decay), rel=0.01)


def test_a_run_of_the_study_and_what_batch_normalization_changes(digits_data):
    settings = {"batch_size": 32, "epochs": 8, "train_images": 640}
    cut = study("weight_decay", settings, grid={"norm": ["none", "batch"], "weight_decay": [0.02]})
    table = pd.DataFrame(rows(cut, open_prepared(digits_data))).set_index("norm")
    assert (table.loc["batch", "trajectory_difference"] < -7).all()
    assert (table.loc["none", "trajectory_difference"] > -2).all()
    assert (table["unscaled_difference"] > -2).all()
    assert table["angular_update:1"].between(0.001, 0.2).all()


def test_a_resumed_observer_goes_on(digits_data, tmp_path):
    from bnstudy.training.observers import make_observers

    (observer,) = make_observers(["angular_update"])
    observer.previous, observer.squares, observer.steps = [torch.ones(2)], [0.5], 3
    (again,) = make_observers(["angular_update"])
    again.load_state_dict(observer.state_dict())
    assert (again.squares, again.steps) == ([0.5], 3)
    assert torch.equal(again.previous[0], torch.ones(2))


# S20: what is trained


@pytest.mark.parametrize(
    ("trained", "count"),
    [("all", 6 * 5 + 5 + 5 * 4 + 4 + 4 * 3 + 3 + 2 * 9), ("affine", 18), ("random", 18), ("output", 15)],
)
def test_only_what_is_chosen_moves(trained, count):
    settings = Settings(hidden=(5, 4), norm="batch", trained=trained)
    model = models.build(settings, (1, 2, 3), 3, stream_generator(0, "init"))
    plain = build_model(6, 3, hidden=(5, 4), norm="batch", generator=stream_generator(0, "init"))
    assert count_parameters(model) == count
    inputs = torch.randn(8, 6, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model(inputs), plain(inputs))  # they start alike
    before = [layer.weight.detach().clone() for layer in (model[0], model[3], model[6])]
    model(inputs).square().sum().backward()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.requires_grad:
                parameter.sub_(parameter.grad + 1)
    layers = zip(before, (model[0], model[3], model[6]), strict=True)
    changed = [int((old != layer.weight).sum()) for old, layer in layers]
    assert changed == {"all": [30, 20, 12], "affine": [0, 0, 0], "random": [10, 8, 0], "output": [0, 0, 12]}[trained]


@pytest.mark.parametrize(("norm", "trained"), [("none", "affine"), ("weight", "random")])
def test_nothing_to_train_is_said_before_a_run(norm, trained):
    found = models.problem(Settings(norm=norm, trained=trained), (1, 8, 8))
    assert found[0] == "trained"
    with pytest.raises(ValueError, match="trained: affine leaves nothing"):
        models.build(Settings(norm="batch_no_affine", trained="affine"), (1, 8, 8), 10)


# Claims about a metric, and declarations


NEW = ("robustness", "weight_decay", "large_batches", "affine_only", "convolutional")
CLAIMS = [one for one in read(ROOT / "config/claims.yaml")["claims"] if one.get("study") in NEW and "metric" in one]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim["id"])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_claim_comes_out_both_ways(claim, sign):
    """A world in which the level is better, or worse, by three smallest effects at every seed."""
    shipped = study(claim["study"])
    full = complete(claim, {"studies": {claim["study"]: shipped}})
    better = sign * (1 if full["direction"] == "higher" else -1) * 3 * full["smallest_effect"]
    images = ("fgsm_0.1", "sign_0.1", "noise_0.2")
    made = []
    for levels, _ in declaration.runs(shipped, "mnist", 12):
        for one in images if claim["study"] == "robustness" else ("",):
            row = levels | {"images": one, "status": "ok", "n_classes": 10, "val_accuracy": 0.5}
            is_level = str(row[full["axis"]]) == str(full["level"])
            value = 0.5 + is_level * better / 100 if "accuracy" in full["metric"] else is_level * better
            made.append(row | {full["metric"]: math.exp(value) if full["scale"] == "ratio" else value})
    axes = declaration.axes(shipped)
    effect = metric_endpoint(full, pd.DataFrame(made), axes).effect
    assert len(effect) == 12
    assert effect.tolist() == pytest.approx([sign * 3 * full["smallest_effect"]] * 12)


def test_variants_of_two_axes_lie_on_top(digits_data):
    told = {
        "grid": {"norm": ["none", "batch"], "batch_size": [8, 16]},
        "variants": {"norm,batch_size": {"batch,8": {"learning_rate": 0.5}}},
    }
    rates = {(one.norm, one.batch_size): one.learning_rate for _, one in declaration.runs(told, "digits", 1)}
    assert rates == {("none", 8): 0.001, ("none", 16): 0.001, ("batch", 8): 0.5, ("batch", 16): 0.001}
    part = declaration.cell_part(told, {"norm": "batch", "batch_size": 8})
    assert [s.learning_rate for _, s in declaration.runs(part, "digits", 1)] == [0.5]
    other = declaration.cell_part(told, {"norm": "none", "batch_size": 8})
    assert other["variants"] == {}


# S27: convolution


@pytest.mark.parametrize("sign", [1, -1])
def test_what_small_batches_cost_comes_out_either_way(sign):
    """Batch falls by 5 points to the small batch, or gains them, and group by 2; few images count not."""
    accuracies = {("batch", 128): 0.85, ("batch", 8): 0.85 - 0.05 * sign}
    accuracies |= {("group:4", 128): 0.83, ("group:4", 8): 0.83 - 0.02 * sign, ("none", 8): 0.1}
    made = [
        {"norm": norm, "batch_size": size, "train_images": images, "seed": seed, "status": "ok"}
        | {"n_classes": 10, "val_accuracy": 0.8, "test_accuracy": accuracy if images > 600 else 0.3}
        for (norm, size), accuracy in accuracies.items()
        for images in ((600, 6000) if (norm, size) == ("batch", 128) else (6000,))
        for seed in (1000, 1001)
    ]
    effect = convolutional(pd.DataFrame(made), {})["small_batches"].effect
    assert effect.tolist() == pytest.approx([3 * sign] * 2)


def test_every_arm_of_the_convolutional_study_has_its_rate():
    shipped = study("convolutional")
    runs = declaration.runs(shipped, "fashion_mnist", 1)
    rates = {(one.norm, one.batch_size): one.learning_rate for _, one in runs}
    said = shipped["variants"]["norm,batch_size"]
    assert rates == {
        (norm, int(size)): one["learning_rate"] for key, one in said.items() for norm, size in [key.split(",")]
    }
    assert len(rates) == 6
