"""Layers that take batch normalization apart: with noise after it, or blind in the backward pass.

Each is made for a width, so it can stand for `norm` in `build_model`.
"""

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_linear_bn_eval


class ShiftingNoise(nn.Module):
    """Multiplies and shifts activations by noise whose distribution changes at every step.

    Training: each unit j draws mu_j ~ U(-0.5, 0.5) and sigma_j ~ U(1, 1.25) anew at every forward
    pass, each sample i then m_ij ~ U(mu_j - 0.1, mu_j + 0.1) and s_ij ~ N(sigma_j, 0.1), and
    a_ij becomes s_ij * a_ij + m_ij. Evaluation: nothing.

    Draws come from PyTorch's global CPU generator, so they are the same on every device.

    Source: Santurkar et al. (2018), How does batch normalization help optimization?, algorithm 1.
    The listing does not say whether r_sigma = 0.1 is a variance; it is taken as a standard
    deviation.
    """

    shift_range, scale_range = 0.5, 0.25  # n_mu, and n_sigma - 1
    shift_jitter, scale_jitter = 0.1, 0.1  # r_mu, r_sigma

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        shift = (2 * torch.rand(self.width) - 1) * self.shift_range
        scale = 1 + torch.rand(self.width) * self.scale_range
        shift = shift + (2 * torch.rand(inputs.shape) - 1) * self.shift_jitter
        scale = scale + torch.randn(inputs.shape) * self.scale_jitter
        return inputs * scale.to(inputs.device) + shift.to(inputs.device)


class DetachedBatchNorm1d(nn.BatchNorm1d):
    """Batch normalization whose backward pass takes the batch's mean and variance for constants.

    The forward pass and the running statistics are those of `BatchNorm1d`.

    Source: the counterexample of Ioffe and Szegedy (2015), section 2.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        with torch.no_grad():
            super().forward(inputs)  # only for the running statistics
            mean, variance = inputs.mean(0), inputs.var(0, unbiased=False)
        # As in evaluation mode, but with these statistics: an affine map with constants.
        return F.batch_norm(inputs, mean, variance, self.weight, self.bias, eps=self.eps)


def noisy_batch_norm(width: int) -> nn.Sequential:
    """Batch normalization with `ShiftingNoise` after it."""
    return nn.Sequential(nn.BatchNorm1d(width), ShiftingNoise(width))


def batch_norm_without_affine(width: int) -> nn.BatchNorm1d:
    """Batch normalization without the learned scale and shift."""
    return nn.BatchNorm1d(width, affine=False)


def fuse(model: nn.Sequential) -> nn.Sequential:
    """A copy of a network for inference, each `BatchNorm1d` folded into the Linear before it.

    Source: Ioffe and Szegedy (2015), section 3.1: with fixed statistics the normalization is one
    linear transform.
    """
    layers: list[nn.Module] = []
    for module in copy.deepcopy(model).eval():
        if isinstance(module, nn.BatchNorm1d):
            layers[-1] = fuse_linear_bn_eval(layers[-1], module)
        else:
            layers.append(module)
    return nn.Sequential(*layers).eval()
