"""Batch normalization over other groups of images than the batch of the gradient.

Two layers separate what a change of the batch size mixes up. `GhostBatchNorm` normalizes groups
smaller than the batch (Hoffer et al. 2017), `PopulationBatchNorm` the batch by the statistics of
the whole training set, the limit in which they carry no noise. The gradient is averaged over the
same batch in all of them. The functions below evaluate a trained network with other statistics than
its running averages; they work on copies.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.training.inputs import Split


class GhostBatchNorm(nn.BatchNorm1d):
    """Batch normalization over groups of `group_size` consecutive rows of the batch.

    Each group is normalized by its own mean and biased variance, the gradient flowing through both.
    Images that are left over form a last, shorter group, but a single one joins the group before
    it, since one image has no variance. With one group this is `nn.BatchNorm1d`.

    The running statistics move once a step, towards the averages of the groups' means and of their
    unbiased variances, weighted by group length. Hoffer et al. (2017, algorithm 1) move them once a
    group, which would shorten their memory in images as groups get smaller; here it stays the same,
    so the group size changes the normalization and nothing else. Evaluation mode normalizes by the
    running statistics, as `nn.BatchNorm1d` does.

    Parameters
    ----------
    num_features : int
    group_size : int
        At least 2.
    momentum : float or None
        As in `nn.BatchNorm1d`.
    """

    def __init__(self, num_features: int, group_size: int, momentum: float | None = 0.1):
        super().__init__(num_features, momentum=momentum)
        if group_size < 2:
            raise ValueError(f"a group needs two images to have a variance, not {group_size}")
        self.group_size = group_size

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize inputs of shape (batch, features)."""
        lengths = group_lengths(len(inputs), self.group_size)
        if not self.training or len(lengths) == 1:
            return super().forward(inputs)
        # Groups of one length are normalized at once: the last one may differ.
        whole = (len(lengths) - 1) * self.group_size
        if lengths[-1] == self.group_size:
            whole = len(inputs)
        parts = [self.normalize_groups(inputs[:whole], self.group_size)]
        if whole < len(inputs):
            parts.append(self.normalize_groups(inputs[whole:], len(inputs) - whole))
        self.update_running_statistics(parts, len(inputs))
        normalized = torch.cat([outputs for outputs, _, _ in parts])
        return torch.addcmul(self.bias, normalized, self.weight)

    def normalize_groups(self, inputs: Tensor, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Normalize groups of `size` rows; also the sums over rows of group means and variances."""
        n_groups, width = len(inputs) // size, inputs.shape[1]
        # A feature of a group becomes a feature of its own: one call normalizes all groups.
        columns = inputs.view(n_groups, size, width).transpose(0, 1).reshape(size, -1)
        means, variances = inputs.new_zeros(2, n_groups * width).unbind()
        # With momentum 1 the call leaves the groups' means and unbiased variances behind.
        outputs = F.batch_norm(columns, means, variances, training=True, momentum=1.0, eps=self.eps)
        outputs = outputs.view(size, n_groups, width).transpose(0, 1).reshape(len(inputs), width)
        return (
            outputs,
            means.view(n_groups, width).sum(0) * size,
            variances.view(n_groups, width).sum(0) * size,
        )

    @torch.no_grad()
    def update_running_statistics(self, parts: list[tuple[Tensor, Tensor, Tensor]], n: int) -> None:
        self.num_batches_tracked += 1
        momentum = self.momentum
        if momentum is None:  # the average of all steps
            momentum = 1 / float(self.num_batches_tracked)
        self.running_mean.lerp_(sum(mean for _, mean, _ in parts) / n, momentum)
        self.running_var.lerp_(sum(variance for _, _, variance in parts) / n, momentum)


def group_lengths(n: int, size: int) -> list[int]:
    """Lengths of the groups that n images are cut into, in order."""
    lengths = [size] * (n // size)
    if left := n % size:
        if left == 1 and lengths:
            lengths[-1] += 1
        else:
            lengths.append(left)
    return lengths


class PopulationBatchNorm(nn.BatchNorm1d):
    """Batch normalization by the statistics of the last `population_size` rows of its input.

    In training mode all rows are normalized by the mean and the biased variance of those rows, the
    gradient flowing through both; running statistics move towards that mean and the unbiased
    variance. `PopulationNormalized` puts the training set there. This is the limit of
    `GhostBatchNorm` in which a group is the whole training set: the same function of the weights
    without the noise of the batch. It is not the variant that holds running statistics constant in
    the backward pass, which is unstable (Ioffe and Szegedy 2015, section 2).
    """

    def __init__(self, num_features: int, population_size: int, momentum: float | None = 0.1):
        super().__init__(num_features, momentum=momentum)
        self.population_size = population_size

    def forward(self, inputs: Tensor) -> Tensor:
        """Normalize inputs of shape (batch + population_size, features)."""
        if not self.training:
            return super().forward(inputs)
        batch, population = inputs.tensor_split([len(inputs) - self.population_size])
        normalized = super().forward(population)
        variance, mean = torch.var_mean(population, 0, correction=0)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return torch.cat([torch.addcmul(self.bias, batch - mean, scale), normalized])


class PopulationNormalized(nn.Module):
    """A network of `PopulationBatchNorm` layers that sees the whole training set at every step.

    In training mode the population runs through the network with the batch, and the logits of the
    batch alone are returned; in evaluation mode this is the network itself.

    Parameters
    ----------
    network : nn.Module
        Maps (n, features) to logits, its normalization layers with `population_size` equal to
        the rows of `population`.
    population : Tensor
        Inputs of shape (population_size, features).
    """

    def __init__(self, network: nn.Module, population: Tensor):
        super().__init__()
        self.network = network
        self.population = population

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of shape (batch, classes)."""
        if not self.training:
            return self.network(inputs)
        return self.network(torch.cat([inputs, self.population]))[: len(inputs)]


def batch_norms(model: nn.Module) -> list[nn.BatchNorm1d]:
    """The batch normalization layers of a network, in order."""
    return [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]


@torch.no_grad()
def with_precise_statistics(model: nn.Module, split: Split) -> nn.Module:
    """A copy whose running statistics are those of a whole split under the current weights.

    The images of the split pass as one batch through a network that is otherwise in evaluation
    mode, so each layer's statistics are those of its inputs at inference. Wu and Johnson (2021,
    section 3) average over batches instead; for one batch that is the same.

    Parameters
    ----------
    model : nn.Module
        Left as it is; any mix of the layers above and `nn.BatchNorm1d`.
    split : Split
        At least two images; 1,000 to 10,000 suffice (Wu and Johnson 2021).
    """
    network = with_batch_norms(model, lambda width: nn.BatchNorm1d(width, momentum=1.0))
    network(split.inputs)
    return network.eval()


@torch.no_grad()
def evaluate_with_batch_statistics(
    model: nn.Module, split: Split, group_size: int
) -> tuple[float, float]:
    """Mean cross-entropy and accuracy when groups of images are normalized as in training.

    The images are grouped in the order of the split, `group_size` at a time; nothing else is in
    training mode, and the model is left as it is.
    """
    network = with_batch_norms(model, lambda width: GhostBatchNorm(width, group_size))
    logits = network(split.inputs)
    loss = F.cross_entropy(logits, split.labels).item()
    return loss, (logits.argmax(1) == split.labels).double().mean().item()


def with_batch_norms(model: nn.Module, make: Callable[[int], nn.BatchNorm1d]) -> nn.Module:
    """A copy in evaluation mode, but for its new normalization layers, which are training.

    They have the parameters and running statistics of the layers that they replace.
    """
    network = copy.deepcopy(model).eval()
    for name, layer in list(network.named_modules()):
        if isinstance(layer, nn.BatchNorm1d):
            new = make(layer.num_features).to(layer.weight.device)
            new.load_state_dict(layer.state_dict())
            network.set_submodule(name, new.train())
    return network
