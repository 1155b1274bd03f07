"""The layers that take batch normalization apart."""

import pytest
import torch
from torch import nn

from bnstudy.networks.layers import DetachedBatchNorm, ShiftingNoise, fuse
from bnstudy.networks.norms import make_norm
from perceptrons import build_model


def test_detached_statistics():
    torch.manual_seed(0)
    x = (3 * torch.randn(16, 5, dtype=torch.float64) + 1).requires_grad_()
    plain, detached = (kind(5, dtype=torch.float64) for kind in (nn.BatchNorm1d, DetachedBatchNorm))
    with torch.no_grad():
        for layer in (plain, detached):
            layer.weight.copy_(torch.arange(1, 6))
    torch.testing.assert_close(detached(x), plain(x))
    torch.testing.assert_close(dict(detached.named_buffers()), dict(plain.named_buffers()))
    dy = torch.randn_like(x)
    (gradient,) = torch.autograd.grad(detached(x), x, dy)
    constant = plain.weight / (x.var(0, unbiased=False) + plain.eps).sqrt()
    torch.testing.assert_close(gradient, (dy * constant).detach())
    plain(x)  # the other has seen two batches already
    torch.testing.assert_close(detached.eval()(x), plain.eval()(x))


def test_noise_follows_the_algorithm():
    torch.manual_seed(0)
    n, width = 20_000, 40
    noise = ShiftingNoise(width)
    zero, one = noise(torch.zeros(n, width)), noise(torch.ones(n, width) * 1e6) / 1e6
    # At zero only the shift is left: m_ij ~ U(mu_j - 0.1, mu_j + 0.1), mu_j ~ U(-0.5, 0.5).
    half_ranges = (zero.max(0).values - zero.min(0).values) / 2
    torch.testing.assert_close(half_ranges, torch.full((width,), 0.1), atol=1e-3, rtol=0)
    means = zero.mean(0)
    assert means.abs().max() < 0.51
    assert means.std() == pytest.approx(1 / 12**0.5, rel=0.25)
    # Far from zero only the scale is: s_ij ~ N(sigma_j, 0.1), sigma_j ~ U(1, 1.25).
    torch.testing.assert_close(one.std(0), torch.full((width,), 0.1), atol=4e-3, rtol=0)
    assert one.mean(0).min() > 0.99
    assert one.mean(0).max() < 1.26
    assert not torch.equal(noise(torch.zeros(n, width)), zero)  # drawn anew at every step
    x = torch.randn(3, width)
    assert torch.equal(noise.eval()(x), x)


def test_without_affine():
    layer = make_norm(nn.Linear(3, 4), "batch_no_affine")
    assert list(layer.parameters()) == []
    x = torch.randn(16, 4, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(layer(x), nn.BatchNorm1d(4)(x))


def test_fused_network_is_the_same():
    torch.manual_seed(0)
    model = build_model(6, 3, hidden=(5, 4), norm="batch")
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
    for _ in range(20):
        model(2 * torch.randn(16, 6) + 1)
    x = torch.randn(50, 6)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    fused = fuse(model)
    torch.testing.assert_close(fused(x), model.eval()(x))
    assert not any(isinstance(module, nn.BatchNorm1d) for module in fused)
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())


def test_noise_is_paired():
    """With and without batch normalization the noise of a seed is the same."""
    x = torch.zeros(8, 4)
    outputs = []
    for norm in ("noisy_none", "noisy_batch"):
        layer = make_norm(nn.Linear(3, 4), norm)
        torch.manual_seed(3)
        outputs.append(layer(x))
    assert torch.equal(*outputs)
