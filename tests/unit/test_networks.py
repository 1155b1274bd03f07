"""The families of networks: layers counted by hand, equal weights in all arms, gains, layers described."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from bnstudy.networks.cnn import Residual
from bnstudy.networks.models import MODELS, Model, build, problem
from bnstudy.networks.norms import NORMS
from bnstudy.networks.weights import count_parameters, describe_layers, initialize, new_layer
from bnstudy.settings import SETTINGS, Settings, level_name

torch.set_num_threads(1)  # as training does: faster for what is small
GREY, COLOUR = (1, 28, 28), (3, 32, 32)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def weighted(model: nn.Module) -> list[nn.Module]:
    return [m for m in model.modules() if isinstance(m, nn.Linear | nn.Conv2d)]


def drawn(layer: nn.Module) -> torch.Tensor:
    """The weights as they were drawn; weight normalization keeps them as directions."""
    if hasattr(layer, "parametrizations"):
        return layer.parametrizations.weight.original1
    return layer.weight


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("initialization", ["default", "he", "xavier", "normal"])
def test_arms_start_from_equal_weights(kind, initialization):
    """Tensor by tensor, for every normalization that the network can have."""
    asked = {"kind": kind, "depth": 8, "initialization": initialization}
    plain = weighted(build(Settings(**asked), COLOUR, 10, generator(3)))
    arms = 0
    for name, norm in NORMS.items():
        settings = Settings(**asked, norm=f"{name}:4" if norm.takes_number else name)
        if problem(settings, COLOUR):
            continue
        arms += 1
        state = torch.get_rng_state()
        layers = weighted(build(settings, COLOUR, 10, generator(3)))
        assert torch.equal(state, torch.get_rng_state())
        for layer, other in zip(layers, plain, strict=True):
            assert torch.equal(drawn(layer), other.weight)
            assert torch.equal(layer.bias, other.bias)
            torch.testing.assert_close(layer.weight, other.weight, rtol=1e-6, atol=0)
    assert arms == len(NORMS) - 1  # instance for the perceptron, population for the others


def test_parameters_of_the_cnn_by_hand():
    plain = (9 * 1 * 8 + 8) + (9 * 8 * 16 + 16) + (16 * 7 * 7 * 10 + 10)
    for norm, extra in {"none": 0, "batch": 2 * 24, "rms": 24, "weight": 24}.items():
        model = build(Settings(kind="cnn", norm=norm), GREY, 10)
        assert count_parameters(model) == plain + extra


def test_parameters_of_resnet_20_by_hand():
    """He et al. (2016), table 6: 0.27 million. Theirs have no biases, which are 688 here."""
    stage = {16: 6 * 9 * 16 * 16, 32: 9 * 16 * 32 + 5 * 9 * 32 * 32, 64: 9 * 32 * 64 + 5 * 9 * 64 * 64}
    weights = 9 * 3 * 16 + sum(stage.values()) + 64 * 10 + 10
    channels = 7 * 16 + 6 * 32 + 6 * 64
    model = build(Settings(kind="resnet", norm="batch"), COLOUR, 10)
    assert weights + 2 * channels == 269_722
    assert count_parameters(model) == 269_722 + channels == 270_410
    assert len(weighted(model)) == 20
    assert len(weighted(build(Settings(kind="resnet", depth=32), COLOUR, 10))) == 32


def test_layers_of_the_cnn_by_hand():
    model = build(Settings(kind="cnn", norm="group:4", dropout=0.5), COLOUR, 10)
    rows = [(layer.kind, layer.shape, layer.n_parameters) for layer in describe_layers(model, COLOUR)]
    assert rows == [
        ("Conv2d", (8, 32, 32), 9 * 3 * 8 + 8),
        ("MaxPool2d", (8, 16, 16), 0),
        ("GroupNorm", (8, 16, 16), 16),
        ("ReLU", (8, 16, 16), 0),
        ("Dropout", (8, 16, 16), 0),
        ("Conv2d", (16, 16, 16), 9 * 8 * 16 + 16),
        ("MaxPool2d", (16, 8, 8), 0),
        ("GroupNorm", (16, 8, 8), 32),
        ("ReLU", (16, 8, 8), 0),
        ("Dropout", (16, 8, 8), 0),
        ("Flatten", (1024,), 0),
        ("Linear", (10,), 10_250),
    ]


@pytest.mark.parametrize("kind", MODELS)
@pytest.mark.parametrize("norm", ["batch", "weight", "noisy_batch"])
def test_described_layers_have_all_parameters_and_the_network_stays(kind, norm):
    model = build(Settings(kind=kind, norm=norm, depth=8), COLOUR, 10)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    shape = (math.prod(COLOUR),) if MODELS[kind].is_flat else COLOUR
    rows = describe_layers(model, shape)
    assert sum(row.n_parameters for row in rows) == count_parameters(model)
    assert [row.name for row in rows if row.n_parameters][-1].isdecimal()
    assert model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name])


@pytest.mark.parametrize("shape", [(1, 28, 28), (3, 32, 32), (1, 9, 13)])
@pytest.mark.parametrize("kind", ["cnn", "resnet"])
def test_places_of_the_normalizations_are_those_that_are_checked(kind, shape):
    settings = Settings(kind=kind, norm="batch")
    rows = describe_layers(build(settings, shape, 10), shape)
    found = [(r.shape[0], r.shape[1] * r.shape[2]) for r in rows if r.kind == "BatchNorm2d"]
    assert list(dict.fromkeys(found)) == MODELS[kind].sites(settings, shape)


def test_residual_block_by_hand():
    new = partial(new_layer, "default", generator(0))
    block = Residual(Settings(kind="resnet"), new, 2, 5, 2).double()
    first, second = weighted(block)
    images = torch.randn(3, 2, 7, 7, dtype=torch.float64, generator=generator(1))
    shortcut = torch.zeros(3, 5, 4, 4, dtype=torch.float64)
    shortcut[:, :2] = images[:, :, ::2, ::2]
    conv = nn.functional.conv2d
    hidden = conv(images, first.weight, first.bias, stride=2, padding=1).clamp(min=0)
    expected = (conv(hidden, second.weight, second.bias, padding=1) + shortcut).clamp(min=0)
    torch.testing.assert_close(block(images), expected)


def test_convolutions_are_initialized_as_by_pytorch():
    torch.manual_seed(5)
    theirs = nn.Conv2d(3, 7, 3)
    ours = nn.Conv2d(3, 7, 3)
    initialize(ours, "default", generator(5))
    torch.testing.assert_close(ours.weight, theirs.weight)
    torch.testing.assert_close(ours.bias, theirs.bias)


@pytest.mark.parametrize(
    ("initialization", "variance"), [("he", 2 / 450), ("xavier", 2 / 1350), ("default", 1 / 1350), ("normal", 1)]
)
def test_variance_of_convolution_weights(initialization, variance):
    """A unit has 9 * 50 inputs, and each input goes to 9 * 100 outputs."""
    layer = new_layer(initialization, generator(0), nn.Conv2d, 50, 100, 3, padding=1)
    assert layer.weight.var().item() == pytest.approx(variance, rel=0.02)
    assert layer.bias.any() == (initialization == "default")


@pytest.mark.parametrize("kind", MODELS)
def test_gain_multiplies_what_was_drawn(kind):
    def weights(norm="none", **changes):
        settings = Settings(kind=kind, depth=8, norm=norm, **changes)
        return [layer.weight for layer in weighted(build(settings, COLOUR, 10, generator(0)))]

    plain, scaled = weights(), weights(gain=0.1)
    hidden = weights(gain=0.1, gain_layers="hidden")
    lengths = weights("weight", gain=0.1)
    for i, weight in enumerate(plain):
        with torch.no_grad():
            expected = weight.clone().mul_(0.1)
        assert torch.equal(scaled[i], expected)
        assert torch.equal(hidden[i], weight if i == len(plain) - 1 else expected)
        torch.testing.assert_close(lengths[i], expected, rtol=1e-6, atol=0)


@pytest.mark.parametrize("kind", MODELS)
def test_momentum_epsilon_activation_and_dropout_reach_the_layers(kind):
    settings = Settings(kind=kind, depth=8, norm="batch", norm_momentum=0.3, norm_epsilon=0.01, activation="tanh")
    modules = list(build(settings, COLOUR, 10).modules())
    layers = [m for m in modules if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d)]
    assert {(m.momentum, m.eps) for m in layers} == {(0.3, 0.01)}
    assert sum(isinstance(m, nn.Tanh) for m in modules) == len(layers)
    assert not any(isinstance(m, nn.Dropout | nn.ReLU) for m in modules)


@pytest.mark.parametrize("kind", ["mlp", "cnn"])
def test_places_of_dropout(kind):
    for place, expected in {"after": "NADNAD", "before": "DNADNA"}.items():
        settings = Settings(kind=kind, norm="batch", dropout=0.5, dropout_place=place)
        letters = {"BatchNorm": "N", "ReLU": "A", "Dropout": "D"}
        names = [type(m).__name__[:9] for m in build(settings, GREY, 10)]
        assert "".join(letters.get(name, "") for name in names) == expected


def test_weights_lie_with_channels_last():
    model = build(Settings(kind="cnn", norm="batch"), COLOUR, 10)
    outputs = model[0](torch.zeros(2, *COLOUR))
    assert outputs.is_contiguous(memory_format=torch.channels_last)


def test_sentences():
    asked = {"hidden": (30, 20, 10), "channels": (4,), "depth": 14}
    said = {kind: MODELS[kind].sentence(Settings(kind=kind, **asked)) for kind in MODELS}
    assert "30, 20 and 10 units" in said["mlp"]
    assert "with 4 channels" in said["cnn"]
    assert "14 layers" in said["resnet"]


def test_an_entry_is_all_that_a_new_network_needs(monkeypatch):
    mine = Model(
        "network of mine",
        lambda settings, shape, n_classes, generator: nn.Sequential(
            nn.Flatten(), nn.Linear(math.prod(shape), n_classes)
        ),
        lambda settings: "a linear map",
        lambda settings, shape: [],
        (),
    )
    monkeypatch.setitem(MODELS, "mine", mine)
    assert SETTINGS["kind"].problem("mine") is None
    assert level_name("kind", "mine") == "network of mine"
    assert problem(Settings(kind="mine"), GREY) is None
    assert build(Settings(kind="mine"), GREY, 4)(torch.zeros(2, *GREY)).shape == (2, 4)
