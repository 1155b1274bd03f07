"""Every normalization against formulas written out, in training and evaluation, flat and for maps."""

import subprocess
import sys

import pytest
import torch
from torch import Tensor, nn

from bnstudy.networks.layers import GhostBatchNorm, RMSNorm
from bnstudy.networks.models import MODELS, build, problem
from bnstudy.networks.norms import NORMS, Norm, make_norm, parse
from bnstudy.settings import SETTINGS, Settings, level_name, run_name

torch.set_num_threads(1)  # as training does: faster for what is small
MOMENTUM, EPSILON = 0.3, 1e-3
FLAT, MAPS = (10, 6), (10, 6, 5, 4)
SHAPES = pytest.mark.parametrize("shape", [FLAT, MAPS], ids=["flat", "maps"])


def both(names: list[str]) -> pytest.MarkDecorator:
    """Names with each shape, but for what is refused."""
    pairs = [(n, shape) for n in names for shape in (FLAT, MAPS) if (n, shape) != ("instance", FLAT)]
    return pytest.mark.parametrize(("name", "shape"), pairs)


PER_IMAGE = ["layer", "group:3", "instance", "rms"]
BATCH = ["batch", "ghost:4", "ghost:5", "batch_no_affine", "batch_detached"]


def layer_for(name: str, shape: tuple[int, ...]) -> nn.Module:
    """The layer of a normalization in double precision, its parameters as after some training."""
    before = nn.Linear(3, shape[1]) if len(shape) == 2 else nn.Conv2d(3, shape[1], 1)
    layer = make_norm(before, name, MOMENTUM, EPSILON).double()
    for i, parameter in enumerate(layer.parameters()):
        nn.init.normal_(parameter, 1 - i, 0.5, generator=torch.Generator().manual_seed(i))
    return layer


def inputs_of(shape: tuple[int, ...], seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64) * 2 + 1


def standard(x: Tensor, axes: list[int], constant: bool = False) -> Tensor:
    """(x - mean) / sqrt(variance + epsilon) over some axes."""
    mean = x.mean(axes, keepdim=True)
    variance = ((x - mean) ** 2).mean(axes, keepdim=True)
    if constant:
        mean, variance = mean.detach(), variance.detach()
    return (x - mean) / (variance + EPSILON).sqrt()


def reference(name: str, x: Tensor) -> Tensor:
    """What a normalization does in training, before scale and shift."""
    kind, _, number = name.partition(":")
    rest, over_images = list(range(1, x.dim())), [0, *range(2, x.dim())]
    if kind == "layer":
        return standard(x, rest)
    if kind == "instance":
        return standard(x, rest[1:])
    if kind == "group":
        return torch.cat([standard(part, rest) for part in x.chunk(int(number), 1)], 1)
    if kind == "rms":
        return x / ((x**2).mean(rest, keepdim=True) + EPSILON).sqrt()
    if kind == "ghost":
        return torch.cat([standard(part, over_images) for part in x.split(int(number))])
    return standard(x, over_images, constant=kind == "batch_detached")


def affine(layer: nn.Module, x: Tensor) -> Tensor:
    """Times the scale and plus the shift of a layer, as far as it has them."""
    for name, combine in (("weight", torch.mul), ("bias", torch.add)):
        values = getattr(layer, name, None)
        if values is not None:
            x = combine(x, values[:, *(None,) * (x.dim() - 2)])
    return x


@both(PER_IMAGE + BATCH)
def test_training_forward_and_backward(name, shape):
    layer, x = layer_for(name, shape), inputs_of(shape).requires_grad_()
    leaves = [x, *layer.parameters()]
    expected = affine(layer, reference(name, x))
    upstream = inputs_of(shape, 1)
    theirs = torch.autograd.grad(expected, leaves, upstream)
    outputs = layer(x)
    torch.testing.assert_close(outputs, expected)
    for ours, other in zip(torch.autograd.grad(outputs, leaves, upstream), theirs, strict=True):
        torch.testing.assert_close(ours, other)


@both(PER_IMAGE)
def test_an_image_is_normalized_alone_and_the_same_in_evaluation(name, shape):
    layer, x = layer_for(name, shape), inputs_of(shape)
    torch.testing.assert_close(layer(x)[3:4], layer(x[3:4]))
    torch.testing.assert_close(layer.eval()(x), layer.train()(x))


@SHAPES
@pytest.mark.parametrize("name", BATCH)
def test_evaluation_by_running_statistics(name, shape):
    layer = layer_for(name, shape)
    groups = int(name.partition(":")[2] or len(inputs_of(shape)))
    mean, variance = torch.zeros(6).double(), torch.ones(6).double()
    for seed in range(3):
        x = inputs_of(shape, seed)
        layer(x)
        parts = [part.transpose(0, 1).flatten(1) for part in x.split(groups)]
        share = [part.shape[1] / (x.numel() / 6) for part in parts]
        batch_mean = sum(s * part.mean(1) for s, part in zip(share, parts, strict=True))
        batch_variance = sum(s * part.var(1) for s, part in zip(share, parts, strict=True))
        mean = (1 - MOMENTUM) * mean + MOMENTUM * batch_mean
        variance = (1 - MOMENTUM) * variance + MOMENTUM * batch_variance
    torch.testing.assert_close(layer.running_mean, mean)
    torch.testing.assert_close(layer.running_var, variance)
    x = inputs_of(shape, 9)
    over = (slice(None), *(None,) * (x.dim() - 2))
    expected = (x - mean[over]) / (variance[over] + EPSILON).sqrt()
    torch.testing.assert_close(layer.eval()(x), affine(layer, expected))


@SHAPES
def test_noise_behind_batch_normalization(shape):
    """Scale and shift of a unit are drawn once, their jitter for every value."""
    noisy, batch = layer_for("noisy_batch", shape), layer_for("batch", shape)
    x = inputs_of(shape)
    torch.manual_seed(4)
    outputs = noisy(x)
    torch.manual_seed(4)
    unit = (slice(None), *(None,) * (x.dim() - 2))
    shift, scale = torch.rand(6)[unit] - 0.5, 1 + torch.rand(6)[unit] / 4
    shift = shift + (torch.rand(shape) - 0.5) * 0.2
    scale = scale + torch.randn(shape) * 0.1
    torch.testing.assert_close(outputs, batch(x) * scale + shift, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(noisy.eval()(x), batch.eval()(x))
    alone = layer_for("noisy_none", shape)
    torch.manual_seed(4)
    torch.testing.assert_close(alone(x), x * scale + shift, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("layer", [nn.Linear(5, 4), nn.Conv2d(3, 4, 3)], ids=["flat", "maps"])
def test_weight_normalization(layer):
    """w = g v / |v|, a length for every unit; the gradient of v is orthogonal to it."""
    weight = layer.weight.detach().clone()
    assert make_norm(layer, "weight") is None
    torch.testing.assert_close(layer.weight, weight, rtol=1e-6, atol=0)
    length, direction = (layer.parametrizations.weight.original0, layer.parametrizations.weight.original1)
    torch.testing.assert_close(length.flatten(), weight.flatten(1).norm(dim=1))
    with torch.no_grad():
        length.mul_(3)
        direction.mul_(7)
    torch.testing.assert_close(layer.weight, 3 * weight)
    upstream = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
    d_length, d_direction = torch.autograd.grad(layer.weight, [length, direction], upstream)
    unit = direction.detach() / direction.detach().flatten(1).norm(dim=1).view_as(length)
    along = (upstream * unit).flatten(1).sum(1).view_as(length)  # Salimans and Kingma, eq. 3
    torch.testing.assert_close(d_length, along)
    norm = direction.detach().flatten(1).norm(dim=1).view_as(length)
    expected = length.detach() / norm * (upstream - along * unit)
    torch.testing.assert_close(d_direction, expected)


def test_maps_against_pytorch_s_layers():
    x = inputs_of(MAPS)
    flat = nn.RMSNorm(6, eps=EPSILON).double()
    torch.testing.assert_close(RMSNorm(6, EPSILON).double()(x[:, :, 0, 0]), flat(x[:, :, 0, 0]))
    maps = nn.RMSNorm(MAPS[1:], eps=EPSILON).double()
    torch.testing.assert_close(RMSNorm(6, EPSILON).double()(x), maps(x))
    layer = make_norm(nn.Conv2d(1, 6, 1), "layer", epsilon=EPSILON).double()
    torch.testing.assert_close(layer(x), nn.LayerNorm(MAPS[1:], eps=EPSILON).double()(x))
    ghost, batch = GhostBatchNorm(6, 10).double(), nn.BatchNorm2d(6).double()
    assert torch.equal(ghost(x), batch(x))


def test_no_normalization_is_no_layer():
    layer = nn.Linear(2, 2)
    assert make_norm(layer, "none") is None
    assert type(layer) is nn.Linear


@pytest.mark.parametrize(
    ("changes", "shape", "where", "reason"),
    [
        ({"norm": "instance"}, (1, 8, 8), "norm", "one value an image"),
        ({"norm": "group:5"}, (1, 8, 8), "norm", "128 features are not a multiple of 5 groups"),
        ({"norm": "group:128", "hidden": (128,)}, (1, 8, 8), "norm", "always normalized to zero"),
        ({"norm": "layer", "hidden": (1,)}, (1, 8, 8), "norm", "always normalized to zero"),
        ({"norm": "ghost:1"}, (1, 8, 8), "norm", "two images"),
        ({"norm": "population", "kind": "cnn"}, (1, 8, 8), "norm", "kind mlp"),
        ({"norm": "group:16", "kind": "cnn"}, (3, 32, 32), "norm", "8 features are not"),
        ({"norm": "instance", "kind": "cnn"}, (1, 4, 4), "norm", "one value an image"),
        ({"kind": "cnn", "channels": (4,) * 4}, (1, 8, 8), "channels", "write 3 widths"),
        ({"kind": "resnet", "depth": 18}, (3, 32, 32), "depth", "the nearest is 20"),
        ({"kind": "resnet", "norm": "group:32"}, (3, 32, 32), "norm", "16 features are not"),
    ],
)
def test_refusals(changes, shape, where, reason):
    found = problem(Settings(**changes), shape)
    assert found is not None
    assert found[0] == where
    assert reason in found[1]


@pytest.mark.parametrize("kind", MODELS)
def test_what_is_not_refused_can_be_trained(kind):
    """One step on eight images, for every normalization on grey and on coloured images."""
    for shape in ((1, 8, 8), (3, 12, 9)):
        for name, norm in NORMS.items():
            chosen = f"{name}:4" if norm.takes_number else name
            settings = Settings(kind=kind, norm=chosen, depth=8)
            if problem(settings, shape) or name == "population":
                continue
            model = build(settings, shape, 4, torch.Generator().manual_seed(0))
            images = torch.randn(8, *shape)
            logits = model(images.flatten(1) if MODELS[kind].is_flat else images)
            assert logits.shape == (8, 4)
            logits.square().sum().backward()
            assert all(torch.isfinite(p.grad).all() for p in model.parameters())


def test_the_registries_import_no_torch():
    code = (
        "import sys; from bnstudy import settings, checks, grid; from bnstudy.networks import models, norms;"
        "models.problem(settings.Settings(norm='group:8', kind='cnn'), (1, 28, 28));"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_an_entry_is_all_that_a_new_normalization_needs(monkeypatch):
    mine = Norm("half of it", lambda site: nn.Threshold(site.features, site.number), takes_number=True)
    monkeypatch.setitem(NORMS, "half", mine)
    assert SETTINGS["norm"].problem("half:3") is None
    assert "half:N" in SETTINGS["norm"].problem("half")
    assert level_name("norm", "half:3") == "half of it (3)"
    assert "/norm~half-3/" in run_name(Settings(norm="half:3"))
    assert parse("half:3") == (mine, 3)
    model = build(Settings(norm="half:3", hidden=(7,)), (1, 2, 2), 2)
    assert (model[1].threshold, model[1].value) == (7, 3)
    assert problem(Settings(norm="half:3"), (1, 2, 2)) is None
