"""The training loop: pairing, weighting, determinism, and a second implementation to hold it to."""

import csv
import json
import math
import os
import shlex
import subprocess
import sys
import time
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from torchvision import transforms

from bnstudy.data.prepared import open_prepared
from bnstudy.errors import UserError
from bnstudy.networks import models
from bnstudy.settings import SETTINGS, Settings
from bnstudy.training import command, inputs
from bnstudy.training import loop as training
from bnstudy.training.inputs import Scaling, Split, make_splits
from bnstudy.training.observing import is_probe
from perceptrons import build_model

CPU = torch.device("cpu")
PROBE = ("probe", "accuracy")


THREADS = """
import bnstudy.__main__, numpy, scipy.linalg, threadpoolctl
print({one["num_threads"] for one in threadpoolctl.threadpool_info() if one["user_api"] == "blas"})
"""


def test_a_command_run_by_hand_sums_with_one_thread():
    """As a job of Snakemake does: the sharpness of a network differed in its last digits."""
    asked = {"OPENBLAS_NUM_THREADS": "4", "MKL_NUM_THREADS": "4", "VECLIB_MAXIMUM_THREADS": "4"}
    how = {"capture_output": True, "text": True, "env": os.environ | asked}
    done = subprocess.run([sys.executable, "-c", THREADS], check=True, **how)
    assert done.stdout == "{1}\n"


START = "from bnstudy.training.clock import seconds_since_process_start as s; print(s(), flush=True)"


def test_a_process_is_no_older_than_its_start():
    """The kernel tells when it booted in whole seconds; counted from there it was up to one second older."""
    for _ in range(3):
        before = time.monotonic()
        done = subprocess.run([sys.executable, "-c", START], check=True, capture_output=True, text=True)
        tick = 1 / os.sysconf("SC_CLK_TCK")
        assert 0 <= float(done.stdout) <= time.monotonic() - before + tick


@pytest.fixture(scope="module")
def data(digits_data):
    return open_prepared(digits_data)


def settings(**changes) -> Settings:
    # 1,150 training images: 18 batches, the last of 62.
    return Settings(**{"norm": "batch", "batch_size": 64, "seed": 0, "epochs": 2} | changes)


def run(data, asked: Settings, **how: bool) -> training.Run:
    splits = make_splits(data, asked, CPU)
    model = training.make_model(splits["train"].pixels.shape[1:], len(data.classes), asked)
    return training.train(model, splits, asked, **how)


@pytest.fixture
def watched(monkeypatch):
    """Record every network's initial weights and every training batch it is given."""
    seen = []

    def build(*args, **kwargs):
        model = training_build(*args, **kwargs)
        record = {
            "linear": [p.clone() for m in model if hasattr(m, "in_features") for p in m.parameters()],
            "batches": [],
        }
        model.register_forward_pre_hook(
            lambda module, inputs: record["batches"].append(inputs[0].clone()) if module.training else None
        )
        seen.append(record)
        return model

    training_build = models.build
    monkeypatch.setattr(models, "build", build)
    return seen


def test_arms_of_a_seed_share_split_weights_and_order(data, watched):
    for norm in ("none", "batch", "layer"):
        run(data, settings(norm=norm))
    first, *others = watched
    assert len(first["batches"]) == 2 * 18
    for other in others:
        for ours, theirs in zip(first["linear"], other["linear"], strict=True):
            assert torch.equal(ours, theirs)
        for ours, theirs in zip(first["batches"], other["batches"], strict=True):
            assert torch.equal(ours, theirs)


def test_another_seed_changes_split_weights_and_order(data, watched):
    for seed in (0, 1):
        run(data, settings(seed=seed, epochs=1))
    a, b = watched
    assert not torch.equal(a["linear"][0], b["linear"][0])
    assert not torch.equal(a["batches"][0], b["batches"][0])
    splits = [set(inputs.split_indices(100, 0.2, seed)[1].tolist()) for seed in (0, 1)]
    assert splits[0] != splits[1]


def test_batch_size_does_not_change_the_order_of_samples(data, watched):
    for batch_size in (32, 64):
        run(data, settings(batch_size=batch_size, epochs=1))
    assert torch.equal(*(torch.cat(record["batches"]) for record in watched))


def test_every_epoch_sees_each_training_image_once(data, watched):
    asked = settings()
    run(data, asked)
    inputs = make_splits(data, asked, CPU)["train"].inputs
    seen = torch.cat(watched[0]["batches"][:18])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, inputs.tolist()))
    assert not torch.equal(inputs, seen)


def test_the_streams_of_a_seed_are_independent():
    draws = {stream: torch.randn(5, generator=inputs.stream_generator(0, stream)).tolist() for stream in inputs.STREAMS}
    assert len({tuple(values) for values in draws.values()}) == len(inputs.STREAMS)
    assert inputs.STREAMS == ("split", "init", "order", "noise", "labels")
    with pytest.raises(ValueError, match="unknown random stream"):
        inputs.stream_generator(0, "weather")


def test_split_is_a_partition():
    train, validation = inputs.split_indices(1437, 0.2, seed=4)
    assert len(train) == 1150
    assert len(validation) == 287
    assert sorted(train.tolist() + validation.tolist()) == list(range(1437))


def second_implementation(data, asked: Settings) -> dict:
    """The same study written the plain way: index batches, unfused Adam, means taken at the end."""
    splits = make_splits(data, asked, CPU)
    x, y = splits["train"].inputs, splits["train"].labels
    model = models.build(asked, data.train_images.shape[1:], 10, inputs.stream_generator(asked.seed, "init"))
    rate, momentum = asked.learning_rate, asked.momentum
    if asked.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), lr=rate, fused=False)
    else:
        optimizer = torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, fused=False)
    n_steps = -(-len(x) // asked.batch_size) * asked.epochs
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, n_steps)
    order_generator = inputs.stream_generator(asked.seed, "order")
    epoch_losses = []
    for _ in range(asked.epochs):
        order = torch.randperm(len(x), generator=order_generator).tolist()
        total = 0.0
        model.train()
        while order:
            batch, order = order[: asked.batch_size], order[asked.batch_size :]
            loss = F.nll_loss(torch.log_softmax(model(x[batch]), 1), y[batch])
            model.zero_grad()
            loss.backward()
            optimizer.step()
            if asked.schedule == "cosine":
                schedule.step()
            total += loss.item() * len(batch)
        epoch_losses.append(total / len(x))
    model.eval()
    with torch.no_grad():
        p = torch.softmax(model(splits["validation"].inputs).double(), 1)
    truth = splits["validation"].labels
    return {
        "train": epoch_losses,
        "val_loss": -p[torch.arange(len(p)), truth].log().mean().item(),
        "val_accuracy": (p.argmax(1) == truth).double().mean().item(),
    }


MOMENTUM = {"optimizer": "sgd", "momentum": 0.9, "learning_rate": 0.05, "schedule": "cosine"}


@pytest.mark.parametrize(
    "changes", [{"norm": "none"}, {"norm": "batch"}, MOMENTUM, MOMENTUM | {"kind": "cnn", "norm": "group:4"}]
)
def test_loop_agrees_with_a_second_implementation(data, changes):
    asked = settings(**changes)
    result = run(data, asked)
    expected = second_implementation(data, asked)
    as_trained = [v for _, _, split, metric, v in result.metrics if (split, metric) == ("train", "loss")]
    assert as_trained == pytest.approx(expected["train"], rel=1e-4)
    assert result.last("validation", "loss") == pytest.approx(expected["val_loss"], rel=1e-3)
    assert result.last("validation", "accuracy") == pytest.approx(expected["val_accuracy"], abs=0.004)


@pytest.mark.parametrize(("shape", "chunk"), [((2,), "EVALUATION_CHUNK"), ((2, 1, 1), "MAPS_CHUNK")])
def test_evaluation_weights_chunks_by_their_length(monkeypatch, shape, chunk):
    monkeypatch.setattr(training, chunk, 4)
    pixels = torch.zeros(9, *shape, dtype=torch.uint8)
    pixels[8, 0] = 5  # alone in the last chunk
    labels = torch.zeros(9, dtype=torch.int64)
    labels[8] = 1
    loss, accuracy = training.evaluate(torch.nn.Flatten(), Split(pixels, labels, Scaling(1, mean=0.0, deviation=1.0)))
    ln2, lone = 0.6931471805599453, 5.006715348489118  # ln 2 and ln(1 + e^5)
    assert loss == pytest.approx((8 * ln2 + lone) / 9, rel=1e-6)
    assert accuracy == pytest.approx(8 / 9)


def test_evaluation_changes_neither_buffers_nor_mode(data):
    asked = settings()
    splits = make_splits(data, asked, CPU)
    model = build_model(64, 10, norm="batch")
    model.train()
    model(splits["train"].inputs[:64])
    before = {name: value.clone() for name, value in model.state_dict().items()}
    training.evaluate(model, splits["validation"])
    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_probing_more_often_changes_nothing_but_the_probes(data):
    often, seldom = (run(data, settings(probe_every=every, dropout=0.3)) for every in (1, 10_000))

    def rest(result):
        return [row for row in result.metrics if row[2] != "probe"]

    assert rest(often) == rest(seldom)
    assert len(often.metrics) > len(seldom.metrics)


def test_fewer_evaluations_change_nothing_but_the_epochs_that_are_recorded(data):
    asked = settings(dropout=0.3, epochs=3)
    every, last = run(data, asked), run(data, asked, each_epoch=False)
    for name, value in every.model.state_dict().items():
        assert torch.equal(value, last.model.state_dict()[name])
    at_ends = {"train_subset", "validation"}
    fewer = [row for row in every.metrics if row[2] not in at_ends or row[0] == 3]
    assert last.metrics == fewer != every.metrics


def test_probes_are_spaced_in_proportion_to_the_step(data):
    steps = [step for step in range(7_501) if is_probe(step, None)]
    assert steps[:26] == [*range(0, 126, 5)]  # 5 is 4 % of 125
    growth = [b / a for a, b in pairwise(steps[25:])]
    assert min(growth) > 1.033  # whole steps around exp(1 / 25) = 1.0408
    assert max(growth) < 1.05
    assert len(steps) == 26 + math.floor(25 * math.log(7_500 / 125))
    result = run(data, settings(batch_size=8, epochs=3))
    probed = [step for _, step, split, name, _ in result.metrics if (split, name) == PROBE]
    assert probed == [step for step in steps if step <= result.n_steps]
    equal = run(data, settings(probe_every=7))
    probed = [step for _, step, split, name, _ in equal.metrics if (split, name) == PROBE]
    assert probed == [0, 7, 14, 21, 28, 35]


def test_running_statistics_count_training_batches_only(data):
    result = run(data, settings(probe_every=1))
    assert result.model[1].num_batches_tracked.item() == 2 * 18


@pytest.mark.parametrize(
    ("accuracies", "step"),
    [
        ([0.1, 0.96, 0.97], 50),  # medians: 0.1, 0.53, 0.96
        ([0.1, 0.2, 0.96, 0.5, 0.97, 0.94, 0.98], 100),  # a lucky probe is not arrival
        ([0.96], 0),
        ([0.94, 0.94, 0.94], None),
        ([0.1, 0.95, 0.95], 50),
    ],
)
def test_first_step_reaching(accuracies, step):
    probes = [(25 * i, accuracy) for i, accuracy in enumerate(accuracies)]
    assert training.first_step_reaching(probes, 0.95) == step


def test_symmetric_scaling_is_that_of_torchvision():
    torch.manual_seed(0)
    images = torch.randint(0, 256, (3, 1, 28, 28), dtype=torch.uint8)
    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.5,))])
    expected = torch.stack([transform(image[0].numpy()) for image in images])
    assert torch.equal(Scaling(255)(images), expected)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_standardize_uses_the_training_split_only(data, kind):
    asked = settings(scaling="standardize", kind=kind)
    splits = make_splits(data, asked, CPU)
    train = splits["train"].inputs.double()
    assert train.mean().item() == pytest.approx(0, abs=1e-6)
    assert train.std(correction=0).item() == pytest.approx(1, rel=1e-6)
    assert abs(splits["validation"].inputs.double().mean().item()) > 1e-4


@pytest.mark.parametrize("scaling", ["symmetric", "standardize"])
def test_rows_and_images_hold_the_same(scaling):
    """Of coloured images, whose channels are scaled apart."""
    images = torch.randint(0, 100, (40, 3, 4, 5), dtype=torch.uint8)
    images[:, 1] *= 2
    labels = torch.arange(40) % 2
    data = SimpleNamespace(
        train_images=images, train_labels=labels, test_images=images, test_labels=labels, pixel_max=255
    )
    rows, maps = (make_splits(data, settings(kind=kind, scaling=scaling), CPU) for kind in ("mlp", "cnn"))
    for name, split in rows.items():
        assert maps[name].pixels.shape[1:] == (3, 4, 5)
        assert torch.equal(split.inputs, maps[name].inputs.flatten(1))


def test_pixel_statistics_per_channel_by_hand():
    images = torch.tensor([[[[0, 10]], [[4, 4]]], [[[0, 10]], [[4, 4]]]], dtype=torch.uint8)
    mean, deviation = inputs.pixel_statistics(images, 10)
    torch.testing.assert_close(mean, torch.tensor([0.5, 0.4], dtype=torch.float64))
    torch.testing.assert_close(deviation, torch.tensor([0.5, 0.0], dtype=torch.float64))


def test_dropout_noise_is_paired_and_reproducible(data):
    results = [run(data, settings(dropout=0.5, seed=seed)) for seed in (0, 0, 1)]
    assert results[0].metrics == results[1].metrics
    assert results[0].metrics != results[2].metrics


def train_by_command(digits_data, out, *options):
    defaults = shlex.split("--norm batch --batch-size 64 --seed 0 --epochs 1 --device cpu")
    command.main([str(digits_data), "--out", str(out), *defaults, *options])
    return json.loads((out / "run.json").read_text())


def test_command_writes_three_files_and_repeats_bit_for_bit(digits_data, tmp_path):
    for name in ("a", "b"):
        row = train_by_command(digits_data, tmp_path / name)
    for name in ("run.json", "metrics.csv"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == ["metrics.csv", "run.json", "timing.json"]
    assert row["run"] == "dataset~digits/norm~batch/epochs~1/batch_size~64/seed~0"
    assert (row["n_train"], row["n_validation"], row["n_steps"]) == (1150, 287, 18)
    with open(tmp_path / "a" / "metrics.csv") as file:
        rows = list(csv.DictReader(file))
    test_loss = next(r["value"] for r in rows if (r["split"], r["metric"]) == ("test", "loss"))
    assert float(test_loss) == row["test_loss"]
    timing = json.loads((tmp_path / "a" / "timing.json").read_text())
    assert timing["threads"] == 1
    assert 0 < timing["training_seconds"] < timing["wall_seconds"]
    assert timing["peak_memory_mb"] > 0


def test_divergence_is_recorded_not_dropped(digits_data, tmp_path):
    row = train_by_command(digits_data, tmp_path, *shlex.split("--norm none --optimizer sgd --learning-rate 1e30"))
    assert row["status"] == "diverged"
    assert row["test_accuracy"] is row["train_loss"] is row["steps_to_target"] is None
    assert row["steps_done"] <= row["n_steps"] == 18
    assert "nan" not in (tmp_path / "metrics.csv").read_text()


@pytest.mark.parametrize("batch_size", [1, 1149, 1151])
def test_batches_that_cannot_be_normalized_are_refused(digits_data, tmp_path, batch_size):
    # 1,149 leaves one of 1,150 training images for the last batch.
    with pytest.raises(UserError, match="--batch-size"):
        train_by_command(digits_data, tmp_path, "--batch-size", str(batch_size))
    assert not any(tmp_path.iterdir())


WRONG = {
    "--learning-rate -1": "must be > 0",
    "--learning-rate nan": "not a finite number",
    "--learning-rate inf": "not a finite number",
    "--learning-rate fast": "not a number",
    "--epochs 0": "must be >= 1",
    "--epochs 1.5": "not a whole number",
    "--dropout 1": "must be < 1",
    "--validation-fraction 0.9999": "both need at least one",
    "--train-images 1151": "1150 or less",
    "--norm bacth": "closest is batch",
    "--seed -1": "must be >= 0",
    "--jobs-per-gpu 0": "must be >= 1",
    "--checkpoint-every 0": "must be >= 1",
    "--norm group:7": "not a multiple of 7 groups",
    "--norm instance": "one value an image",
    "--batch-size 1 --norm batch_detached": "one sample has no variance",
    "--depth 9 --kind resnet": "the nearest is 8",
    "--device gpu": "not one of auto",
}


@pytest.mark.fault("settings that cannot be, given to bnstudy train")
@pytest.mark.parametrize("words", WRONG)
def test_what_the_configuration_refuses_the_command_line_refuses_too(digits_data, tmp_path, words):
    with pytest.raises(UserError) as caught:
        train_by_command(digits_data, tmp_path, *shlex.split(words))
    assert str(caught.value).startswith(words.split()[0] + ": ")
    assert WRONG[words] in str(caught.value)
    assert not any(tmp_path.iterdir())


def test_the_run_tells_its_settings_and_what_the_test_images_were_taken_for(digits_data, tmp_path):
    row = train_by_command(digits_data, tmp_path, "--learning-rate", "0.01")
    assert row["run"] == "dataset~digits/norm~batch/epochs~1/learning_rate~0.01/batch_size~64/seed~0"
    assert set(row["settings"]) == set(SETTINGS)
    counts = torch.tensor(row["confusion"])
    labels = open_prepared(digits_data).test_labels
    assert counts.sum(1).tolist() == torch.bincount(labels, minlength=10).tolist()
    assert counts.trace().item() / len(labels) == row["test_accuracy"]


def test_predictions_are_those_of_each_image(data):
    asked = settings(epochs=1)
    result = run(data, asked)
    with torch.no_grad():
        expected = result.model.eval()(make_splits(data, asked, CPU)["test"].inputs).argmax(1)
    assert torch.equal(result.predictions, expected)


def test_the_model_that_is_kept_predicts_as_the_run_did(digits_data, tmp_path):
    from safetensors.torch import load_file

    row = train_by_command(digits_data, tmp_path, "--keep-model")
    asked = settings(epochs=1)
    data = open_prepared(digits_data)
    model = training.make_model(64, len(data.classes), asked)
    model.load_state_dict(load_file(tmp_path / "model.safetensors"))
    test = make_splits(data, asked, CPU)["test"]
    assert training.evaluate(model, test) == (row["test_loss"], row["test_accuracy"])


def test_fewer_training_images_are_the_first_of_the_split(data):
    whole = make_splits(data, settings(), CPU)
    few = make_splits(data, settings(train_images=100), CPU)
    assert torch.equal(few["train"].pixels, whole["train"].pixels[:100])
    for name in ("validation", "test"):
        assert torch.equal(few[name].pixels, whole[name].pixels)


def test_unequal_classes_by_hand():
    """Sizes 4, 4, 3 and a factor of 4: of the largest class 4, then 4 / 2, then 4 / 4 are kept."""
    labels = torch.tensor([0, 1, 1, 2, 0, 2, 1, 0, 2, 0, 1])
    kept = inputs.imbalanced(labels, 4.0)
    assert kept.tolist() == [0, 1, 2, 3, 4, 7, 9]
    assert torch.bincount(labels[kept]).tolist() == [4, 2, 1]
    assert inputs.imbalanced(labels, 1.0).tolist() == list(range(11))


def test_unequal_classes_of_a_run(data):
    splits = make_splits(data, settings(class_balance=20.0), CPU)
    whole = make_splits(data, settings(), CPU)
    counts = torch.bincount(splits["train"].labels)
    largest = torch.bincount(whole["train"].labels).max().item()
    assert counts[9].item() == round(largest / 20)
    assert torch.equal(splits["validation"].pixels, whole["validation"].pixels)
    assert run(data, settings(class_balance=20.0)).status == "ok"


def test_unit_scaling_is_that_of_torchvision():
    images = torch.randint(0, 256, (2, 1, 5, 5), dtype=torch.uint8)
    expected = torch.stack([transforms.ToTensor()(image[0].numpy()) for image in images])
    assert torch.equal(Scaling(255, 0.0, 1.0)(images), expected)


def test_a_missing_gpu_is_an_error_before_training(digits_data, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(UserError, match="'cuda'"):
        train_by_command(digits_data, tmp_path, "--device", "cuda")


def test_a_job_imports_nothing_that_it_does_not_use(digits_data, tmp_path):
    """Every run is a process: what it imports, it pays for."""
    options = shlex.split("--norm batch --batch-size 64 --seed 0 --epochs 1 --device cpu")
    command = ["bnstudy", "train", str(digits_data), "--out", str(tmp_path), *options]
    code = f"import gc, sys, bnstudy.cli; sys.argv = {command}; bnstudy.cli.main()"
    code += "; assert gc.isenabled() and gc.get_freeze_count(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = {name.partition(".")[0] for name in done.stdout.split()}
    assert "torch" in loaded
    heavy = {"pandas", "torchvision", "matplotlib", "sklearn", "scipy", "seaborn", "requests"}
    assert not loaded & (heavy | {"IPython", "snakemake", "statsmodels"})


def test_shuffled_images_are_those_of_the_order_whatever_the_memory_held(data):
    split = make_splits(data, settings(), CPU)["train"]
    memory = torch.full_like(split.pixels, 255)
    order = torch.randperm(len(split))[:700]
    taken = split.take(order, memory)
    assert torch.equal(taken.pixels, split.pixels[order])
    assert torch.equal(taken.labels, split.labels[order])
    assert taken.pixels.data_ptr() == memory.data_ptr()
    assert torch.equal(split.take(order).pixels, split.pixels[order])
