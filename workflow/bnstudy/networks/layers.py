"""Layers that PyTorch does not have: batch normalization over other images or taken apart, and RMS.

A layer that shares statistics between images keeps PyTorch's parameters and buffers, so that states can be exchanged.
Inputs are of shape (n, features) or (n, features, height, width).
"""

import copy
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm as BatchNorm
from torch.nn.utils.fusion import fuse_linear_bn_eval
from torch.nn.utils.parametrizations import weight_norm

if TYPE_CHECKING:
    from bnstudy.networks.norms import Site
    from bnstudy.training.inputs import Split


class AnyBatchNorm(BatchNorm):
    """PyTorch's batch normalization, of inputs with or without positions."""

    def _check_input_dim(self, inputs: Tensor) -> None:
        pass


def all_but_features(values: Tensor) -> list[int]:
    """The axes that a feature is normalized over: images and, of maps, positions."""
    return [axis for axis in range(values.dim()) if axis != 1]


class GhostBatchNorm(AnyBatchNorm):
    """Batch normalization over groups of `group_size`, 2 or more, consecutive images of the batch.

    Each group is normalized by its own mean and biased variance, the gradient flowing through both. Images that are
    left over form a last, shorter group, but a single one, which has no variance, joins the group before it. With one
    group, and in evaluation mode, this is PyTorch's batch normalization.

    The running statistics move once a step, towards the averages of the groups' means and of their unbiased variances,
    weighted by group length. Hoffer et al. (2017, algorithm 1) move them once a group, which would shorten their memory
    in images as groups get smaller.
    """

    def __init__(self, num_features: int, group_size: int, momentum: float | None = 0.1, eps: float = 1e-5):
        super().__init__(num_features, eps, momentum)
        if group_size < 2:
            raise ValueError(f"a group needs two images to have a variance, not {group_size}")
        self.group_size = group_size

    def forward(self, inputs: Tensor) -> Tensor:
        n, size = len(inputs), self.group_size
        lengths = group_lengths(n, size)
        if not self.training or len(lengths) == 1:
            return super().forward(inputs)
        # Groups of one length are normalized at once: the last one may differ.
        whole = n if lengths[-1] == size else n - lengths[-1]
        parts = [self.normalize_groups(inputs[:whole], size)]
        if whole < n:
            parts.append(self.normalize_groups(inputs[whole:], n - whole))
        with torch.no_grad():
            self.num_batches_tracked += 1
            # Without a momentum they are the average of all steps.
            momentum = self.momentum
            if momentum is None:
                momentum = 1 / float(self.num_batches_tracked)
            self.running_mean.lerp_(sum(mean for _, mean, _ in parts) / n, momentum)
            self.running_var.lerp_(sum(variance for _, _, variance in parts) / n, momentum)
        normalized = torch.cat([outputs for outputs, _, _ in parts])
        weight, bias = (per_channel(values, inputs) for values in (self.weight, self.bias))
        return torch.addcmul(bias, normalized, weight)

    def normalize_groups(self, inputs: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normalize groups of `size` images; also the sums over images of group means and variances."""
        n_groups, width, *positions = len(inputs) // size, *inputs.shape[1:]
        # A feature of a group becomes a feature of its own: one call normalizes all groups.
        columns = inputs.unflatten(0, (n_groups, size)).transpose(0, 1)
        columns = columns.reshape(size, -1, *positions)
        means, variances = inputs.new_zeros(2, n_groups * width)
        # With momentum 1 the call leaves the groups' means and unbiased variances behind.
        outputs = F.batch_norm(columns, means, variances, training=True, momentum=1.0, eps=self.eps)
        outputs = outputs.unflatten(1, (n_groups, width)).transpose(0, 1).reshape(inputs.shape)
        return outputs, *(v.view(n_groups, width).sum(0) * size for v in (means, variances))


def group_lengths(n: int, size: int) -> list[int]:
    """Lengths of the groups that n images are cut into, in order."""
    lengths, left = [size] * (n // size), n % size
    if left == 1 and lengths:
        lengths[-1] += 1
    elif left:
        lengths.append(left)
    return lengths


class PopulationBatchNorm(nn.BatchNorm1d):
    """Batch normalization by the statistics of the last `population_size` rows of its input.

    In training mode all rows are normalized by the mean and the biased variance of those rows, the gradient flowing
    through both; running statistics move towards that mean and the unbiased variance. `with_population` puts the
    training split there: the same function of the weights as batch normalization, without the noise of the batch. The
    variant that holds running statistics constant in the backward pass is unstable (Ioffe and Szegedy 2015, section 2).
    """

    population_size = 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Of shape (batch + population_size, features)."""
        if not self.training:
            return super().forward(inputs)
        if not self.population_size:
            raise RuntimeError("this layer trains inside `with_population` only")
        batch, population = inputs.tensor_split([len(inputs) - self.population_size])
        normalized = super().forward(population)
        variance, mean = torch.var_mean(population, 0, correction=0)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.cat([torch.addcmul(self.bias, batch - mean, scale), normalized])


def with_population(model: nn.Module, split: "Split") -> Callable[[Tensor], Tensor]:
    """What a training step calls: the network itself, unless a layer needs the whole training split.

    Then the split runs through the network behind the batch, at every step, and the logits of the batch alone are
    returned.
    """
    layers = [module for module in model.modules() if isinstance(module, PopulationBatchNorm)]
    if not layers:
        return model
    population = split.inputs
    for layer in layers:
        layer.population_size = len(population)
    return lambda inputs: model(torch.cat([inputs, population]))[: len(inputs)]


class ShiftingNoise(nn.Module):
    """Multiplies and shifts activations by noise whose distribution changes at every step.

    Training: each unit j draws mu_j ~ U(-0.5, 0.5) and sigma_j ~ U(1, 1.25) anew at every forward pass, each sample i
    then m_ij ~ U(mu_j - 0.1, mu_j + 0.1) and s_ij ~ N(sigma_j, 0.1), and a_ij becomes s_ij * a_ij + m_ij. Evaluation:
    nothing. Behind a convolution a unit is a channel and each position of each image is a sample, as for batch
    normalization.

    Draws come from PyTorch's global CPU generator, so they are the same on every device.

    Source: Santurkar et al. (2018), How does batch normalization help optimization?, algorithm 1; r_sigma = 0.1, of
    which the listing does not say what it is, is taken as a standard deviation.
    """

    shift_range, scale_range = 0.5, 0.25  # n_mu, and n_sigma - 1
    shift_jitter, scale_jitter = 0.1, 0.1  # r_mu, r_sigma

    def __init__(self, width: int):
        super().__init__()
        self.width = width

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return inputs
        shift = per_channel((2 * torch.rand(self.width) - 1) * self.shift_range, inputs)
        scale = per_channel(1 + torch.rand(self.width) * self.scale_range, inputs)
        shift = shift + (2 * torch.rand(inputs.shape) - 1) * self.shift_jitter
        scale = scale + torch.randn(inputs.shape) * self.scale_jitter
        return inputs * scale.to(inputs.device) + shift.to(inputs.device)


class DetachedBatchNorm(AnyBatchNorm):
    """Batch normalization whose backward pass takes the batch's mean and variance for constants.

    Source: the counterexample of Ioffe and Szegedy (2015), section 2.
    """

    def forward(self, inputs: Tensor) -> Tensor:
        if not self.training:
            return super().forward(inputs)
        axes = all_but_features(inputs)
        with torch.no_grad():
            super().forward(inputs)  # only for the running statistics
            mean, variance = inputs.mean(axes), inputs.var(axes, unbiased=False)
        # As in evaluation mode, but with these statistics: an affine map with constants.
        return F.batch_norm(inputs, mean, variance, self.weight, self.bias, eps=self.eps)


class RMSNorm(nn.Module):
    """Divides all features of an image by their root mean square; each channel has a scale.

    Source: Zhang and Sennrich (2019), eq. 4. Behind a convolution the mean runs over channels and positions, as in
    layer normalization; `nn.RMSNorm` has another scale for each position.
    """

    def __init__(self, num_features: int, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(num_features))
        self.eps = eps

    def forward(self, inputs: Tensor) -> Tensor:
        square = inputs.square().mean(tuple(range(1, inputs.dim())), keepdim=True)
        return inputs * torch.rsqrt(square + self.eps) * per_channel(self.weight, inputs)


def per_channel(values: Tensor, inputs: Tensor) -> Tensor:
    """Values of shape (features,) so that they broadcast over inputs of shape (n, features, ...)."""
    return values.view(-1, *(1,) * (inputs.dim() - 2))


def fuse(model: nn.Sequential) -> nn.Sequential:
    """A copy of a perceptron for inference, each batch normalization folded into the Linear before it.

    Source: Ioffe and Szegedy (2015), section 3.1: with fixed statistics the normalization is one linear transform.
    """
    layers: list[nn.Module] = []
    for module in copy.deepcopy(model).eval():
        if isinstance(module, BatchNorm):
            layers[-1] = fuse_linear_bn_eval(layers[-1], module)
        else:
            layers.append(module)
    return nn.Sequential(*layers).eval()


def batch(site: "Site", **options: object) -> nn.Module:
    kind = nn.BatchNorm1d if site.dimensions == 1 else nn.BatchNorm2d
    return kind(site.features, site.epsilon, site.momentum, **options)


# What makes the layer of each normalization of `networks.norms` for a `Site`, or changes the one before it.
MAKE: "dict[str, Callable[[Site | nn.Module], nn.Module]]" = {
    # Ioffe and Szegedy (2015): by mean and variance of a feature over the batch.
    "batch": batch,
    "batch_no_affine": lambda site: batch(site, affine=False),
    "batch_detached": lambda site: DetachedBatchNorm(site.features, site.epsilon, site.momentum),
    "ghost": lambda site: GhostBatchNorm(site.features, site.number, site.momentum, site.epsilon),
    "population": lambda site: PopulationBatchNorm(site.features, site.epsilon, site.momentum),
    # Wu and He (2018): by mean and variance of groups of channels of one image.
    "group": lambda site: nn.GroupNorm(site.number, site.features, site.epsilon),
    # Ba et al. (2016): by mean and variance of all features of one image. Behind a convolution all channels and
    # positions are one group, and each channel has a scale and a shift (Wu and He 2018, section 3.1).
    "layer": lambda site: (
        nn.LayerNorm(site.features, site.epsilon)
        if site.dimensions == 1
        else nn.GroupNorm(1, site.features, site.epsilon)
    ),
    # Ulyanov et al. (2016): by mean and variance of one channel of one image, with scale and shift.
    "instance": lambda site: nn.InstanceNorm2d(site.features, site.epsilon, affine=True),
    # Salimans and Kingma (2016): a length and a direction for the weights of each unit. The weights stay as they were,
    # up to rounding, and so do the directions, exactly.
    "weight": weight_norm,
    "rms": lambda site: RMSNorm(site.features, site.epsilon),
    "noisy_none": lambda site: ShiftingNoise(site.features),
    "noisy_batch": lambda site: nn.Sequential(batch(site), ShiftingNoise(site.features)),
}
