"""Statistics of inference: what is kept, what is shifted, and how far averages are off."""

import copy
import math

import pandas as pd
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torchvision.transforms.v2.functional import adjust_contrast

from bnstudy.claims.endpoints.inference import inference_statistics as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.networks.optimizers import Adam
from bnstudy.settings import Settings
from bnstudy.studies import inference_statistics
from bnstudy.studies.inference_statistics import average_over_epoch, distance, make_network, train_and_keep
from bnstudy.training.inputs import Scaling, Split, make_splits, shift_images, stream_generator
from bnstudy.training.loop import make_deterministic, train
from small import INFERENCE_STATISTICS as OPTIONS

CPU = torch.device("cpu")
PARTS = ("staleness", "last_batch", "shift")
SETTINGS = Settings(norm="batch", batch_size=128, seed=0, epochs=1)


@pytest.fixture(scope="module")
def data(digits_data):
    make_deterministic(CPU)  # one thread, as in the workflow
    return open_prepared(digits_data)


@pytest.fixture(scope="module")
def splits(data):
    return make_splits(data, SETTINGS, CPU)


@pytest.fixture(scope="module")
def table(data):
    rows = [
        {"part": part, "seed": seed} | row
        for part in PARTS
        for seed in (0, 1)
        for row in inference_statistics.run(data, {"part": part}, OPTIONS, seed, CPU)
    ]
    return pd.DataFrame(rows)


def test_kept_networks_against_a_plain_loop(data, splits):
    steps = [0, 1, 3, 9]
    _, kept = train_and_keep(make_network(data, SETTINGS, CPU), splits, SETTINGS, steps)
    assert list(kept) == steps
    model = make_network(data, SETTINGS, CPU).train()
    optimizer = Adam(model.parameters(), SETTINGS)
    order = torch.randperm(len(splits["train"]), generator=stream_generator(0, "order"))
    states = [copy.deepcopy(model.state_dict())]
    for inputs, labels in splits["train"].take(order).batches(128):
        model.zero_grad()
        F.cross_entropy(model(inputs), labels).backward()
        optimizer.step()
        states.append(copy.deepcopy(model.state_dict()))
    for step in steps:
        for name, value in kept[step].state_dict().items():
            torch.testing.assert_close(value, states[step][name], msg=f"{name} at step {step}")
        assert kept[step][1].num_batches_tracked == step


def test_keeping_does_not_change_training(data, splits):
    watched, alone = (make_network(data, SETTINGS, CPU) for _ in range(2))
    first, _ = train_and_keep(watched, splits, SETTINGS, range(10))
    second = train(alone, splits, SETTINGS)
    assert first.metrics == second.metrics
    for name, value in watched.state_dict().items():
        assert torch.equal(value, alone.state_dict()[name])


def test_distance_by_hand():
    def network(mean, variance):
        layer = nn.BatchNorm1d(2, eps=0.0)
        layer.running_mean.copy_(torch.tensor(mean))
        layer.running_var.copy_(torch.tensor(variance))
        return nn.Sequential(layer)

    found = distance(network([1.0, 5.0], [4.0, 1.0]), network([3.0, 5.0], [4.0, math.e**2]))
    # Units: one standard deviation of 2 off and none; ln of equal deviations and of 1/e.
    assert found["mean_error"] == pytest.approx(math.sqrt((1 + 0) / 2))
    assert found["deviation_error"] == pytest.approx(math.sqrt((0 + 1) / 2), rel=1e-6)


def test_cumulative_average_is_the_mean_of_an_epoch(splits):
    model = nn.Sequential(nn.BatchNorm1d(64, momentum=None))
    model(splits["train"].first(7).inputs)  # forgotten
    before = copy.deepcopy(model.state_dict())
    images = splits["train"].first(512)
    averaged = average_over_epoch(model, images, 128)
    torch.testing.assert_close(averaged[0].running_mean, images.inputs.mean(0))
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize("level", [1.0, 0.5, 0.25])
def test_contrast_against_torchvision(level):
    pixels = torch.randint(0, 256, (5, 49), dtype=torch.uint8, generator=torch.manual_seed(0))
    shifted = shift_images(Split(pixels, torch.zeros(5), Scaling(255)), "contrast", level, torch.Generator())
    expected = adjust_contrast(pixels.view(5, 1, 7, 7).float() / 255, level).flatten(1)
    torch.testing.assert_close(shifted.pixels.float() / 255, expected, atol=0.51 / 255, rtol=0)


def test_brightness_and_noise():
    pixels = torch.full((2_000, 10), 128, dtype=torch.uint8)
    pixels[:, 0] = 250
    split = Split(pixels, torch.zeros(2_000), Scaling(255))
    brighter = shift_images(split, "brightness", 0.2, torch.Generator())
    assert brighter.pixels[:, 0].unique().tolist() == [255]
    assert brighter.pixels[:, 1:].unique().tolist() == [179]  # 128 + 0.2 * 255
    noisy, again = (shift_images(split, "noise", 0.1, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(noisy.pixels, again.pixels)
    values = noisy.pixels[:, 1:].float()
    assert values.mean().item() == pytest.approx(128, abs=1)
    assert values.std().item() == pytest.approx(25.5, rel=0.02)
    with pytest.raises(ValueError, match="unknown shift 'fog'"):
        shift_images(split, "fog", 1, torch.Generator())


def test_momentum_does_not_touch_training(table):
    precise = table[(table["part"] == "staleness") & (table["statistics"] == "precise")]
    losses = precise.pivot(index=["seed", "step"], columns="momentum", values="loss")
    assert losses["0.1"].to_numpy() == pytest.approx(losses["cumulative"].to_numpy(), abs=0)


def test_running_statistics_at_the_first_step(data, splits):
    """After one step they are nine parts of the start, mean 0 and variance 1, and one of a batch."""
    _, kept = train_and_keep(make_network(data, SETTINGS, CPU), splits, SETTINGS, [1])
    order = torch.randperm(len(splits["train"]), generator=stream_generator(0, "order"))
    values = make_network(data, SETTINGS, CPU)[0](splits["train"].take(order).first(128).inputs)
    torch.testing.assert_close(kept[1][1].running_mean, 0.1 * values.mean(0))
    torch.testing.assert_close(kept[1][1].running_var, 0.9 + 0.1 * values.var(0))


def test_last_batch_rows(table):
    rows = table[(table["part"] == "last_batch") & (table["seed"] == 0)]
    assert rows["statistics"].tolist() == [
        *("kept", "statistics_dropped", "dropped", "precise"),
    ] * 2  # fmt: skip
    # 1,150 training images: 17 batches of 64 leave 62, of which two are kept.
    assert rows["step"].unique().tolist() == [18, 36]


def test_same_rows_again(data, table):
    again = inference_statistics.run(data, {"part": "shift"}, OPTIONS, 1, CPU)
    first = table[(table["part"] == "shift") & (table["seed"] == 1)]
    assert pd.DataFrame(again)["loss"].tolist() == first["loss"].tolist()


def shift_row(seed, norm, statistics, shift, level, accuracy):
    names = inference_statistics.COLUMNS
    return {"part": "shift"} | dict.fromkeys(names) | {
        "seed": seed,
        "norm": norm,
        "status": "ok",
        "n_classes": 10,
        "statistics": statistics,
        "shift": shift,
        "level": level,
        "accuracy": accuracy,
    }  # fmt: skip


def part_row(part, seed, statistics, step, loss=None, momentum="0.1", error=None):
    names = inference_statistics.COLUMNS
    return {"part": part} | dict.fromkeys(names) | {
        "seed": seed,
        "norm": "batch",
        "momentum": momentum,
        "status": "ok",
        "n_classes": 10,
        "step": step,
        "statistics": statistics,
        "loss": loss,
        "mean_error": error,
    }  # fmt: skip


def hand_made() -> pd.DataFrame:
    rows = []
    for seed in (0, 1):
        rows += [
            shift_row(seed, "none", "running", "contrast", 1.0, 0.95),
            shift_row(seed, "none", "running", "contrast", 0.5, 0.92),
            shift_row(seed, "none", "running", "noise", 0.2, 0.90),
            shift_row(seed, "batch", "running", "contrast", 1.0, 0.97),
            shift_row(seed, "batch", "running", "contrast", 0.5, 0.87),
            shift_row(seed, "batch", "running", "noise", 0.2, 0.95),
            shift_row(seed, "batch", "reestimated", "contrast", 1.0, 0.97),
            shift_row(seed, "batch", "reestimated", "contrast", 0.5, 0.96),
            shift_row(seed, "batch", "reestimated", "noise", 0.2, 0.95),
            part_row("staleness", seed, "running", 2, math.e**2),
            part_row("staleness", seed, "running", 10, math.e),
            part_row("staleness", seed, "precise", 2, 1.0),
            part_row("staleness", seed, "precise", 10, 1.0),
            part_row("staleness", seed, "frozen", 10, error=0.02 - seed / 100),
            part_row("staleness", seed, "frozen", 10, momentum="cumulative", error=1e-7),
            part_row("last_batch", seed, "kept", 5, math.e**0.5),
            part_row("last_batch", seed, "kept", 10, math.e**0.1),
            part_row("last_batch", seed, "statistics_dropped", 5, 1.0),
            part_row("last_batch", seed, "statistics_dropped", 10, 1.0),
        ]
    return pd.DataFrame(rows)


def test_endpoints_by_hand():
    found = endpoints(hand_made(), OPTIONS)
    # 10 points lost with batch normalization and 3 without; with noise 2 and 5.
    assert found["contrast"].effect.to_numpy() == pytest.approx([7, 7])
    assert found["contrast"].cells["noise 0.2"].to_numpy() == pytest.approx([-3, -3])
    assert list(found["contrast"].cells) == ["contrast 0.5", "noise 0.2"]
    assert found["reestimated"].effect.to_numpy() == pytest.approx([9, 9])
    assert found["staleness"].effect.to_numpy() == pytest.approx([1, 1])
    assert found["staleness"].cells["step 2"].to_numpy() == pytest.approx([2, 2])
    assert found["last_batch"].effect.to_numpy() == pytest.approx([0.3, 0.3])
    exact = found["entire_training_set"]
    assert (exact.holds, exact.value) == (False, 0.02)
    assert "cumulative" in exact.note


def test_diverged_runs_count(tmp_path):
    table = hand_made()
    keep = ~((table["seed"] == 1) & (table["norm"] == "batch") & (table["part"] == "shift"))
    row = shift_row(1, "batch", None, None, None, None) | {"status": "diverged"}
    pd.DataFrame([*table[keep].to_dict("records"), row]).to_csv(tmp_path / "rows.csv", index=False)
    found = endpoints(pd.read_csv(tmp_path / "rows.csv"), OPTIONS)
    # It guesses whatever the contrast, while the other network loses 3 points.
    assert found["contrast"].effect.to_numpy() == pytest.approx([7, -3])


def test_endpoints_of_a_run(table, tmp_path):
    # As the workflow hands it over.
    table.assign(n_classes=10).to_csv(tmp_path / "rows.csv", index=False)
    found = endpoints(pd.read_csv(tmp_path / "rows.csv"), OPTIONS)
    exact = found.pop("entire_training_set")
    assert not exact.holds
    for endpoint in found.values():
        assert list(endpoint.effect.index) == [0, 1]
        assert endpoint.effect.notna().all()
