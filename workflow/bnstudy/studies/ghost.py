"""Batch normalization over other groups of images than the batch of the gradient.

The functions below evaluate a trained network with other statistics than its running averages; they
work on copies.
"""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from bnstudy.networks.layers import GhostBatchNorm
from bnstudy.training.inputs import Split


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
