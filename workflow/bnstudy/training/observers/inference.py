"""Batch normalization evaluated with other statistics than its running averages; on copies."""

import copy
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.networks.layers import GhostBatchNorm
from bnstudy.training.inputs import Split
from bnstudy.training.loop import evaluate
from bnstudy.training.observing import Moment, Observer, Rows


class VarianceShift(Observer):
    """`variance_shift_<k>` at the end: how variances in evaluation differ from those of training.

    Mean over the units of the k-th BN layer of (variance of their inputs in evaluation mode, over the
    training images) / running variance: 1 where training and inference agree (Li et al. 2019,
    "Understanding the disharmony between dropout and batch normalization").
    """

    def end(self, now: Moment) -> Rows:
        if now.status == "ok" and batch_norms(now.model):
            for k, shift in enumerate(variance_shifts(now.model, now.splits["train"]), start=1):
                yield now.step, "train", f"variance_shift_{k}", shift


class Statistics(Observer):
    """`val_loss:s` and `val_accuracy:s` at the end, by the statistics s that BN is evaluated with.

    - `running`: PyTorch's running averages, the ordinary evaluation mode; for networks without batch
      normalization, ordinary evaluation.
    - `precise`: mean and variance over training images under the final weights (Wu and Johnson 2021).
    - `batch`: the statistics of groups of validation images as large as in training.

    `running` minus `precise` is the share of the evaluation statistics alone (Singh and Shrivastava
    2019, EvalNorm); what is left of the error was lost in training.
    """

    def __init__(self, statistics_images: int = 10_000):
        self.n = statistics_images

    def end(self, now: Moment) -> Rows:
        validation, images = now.splits["validation"], now.splits["train"].first(self.n)
        found = {"running": evaluate(now.model, validation)}
        if batch_norms(now.model):
            group = getattr(batch_norms(now.model)[0], "group_size", now.settings.batch_size)
            found["precise"] = evaluate(with_precise_statistics(now.model, images), validation)
            found["batch"] = evaluate_with_batch_statistics(now.model, validation, group)
        for kind, results in found.items():
            loss, accuracy = results if now.status == "ok" else (None, None)
            yield now.step, "validation", f"val_loss:{kind}", loss
            yield now.step, "validation", f"val_accuracy:{kind}", accuracy


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


def variance_shifts(model: nn.Module, split: Split) -> list[float | None]:
    """Mean over units of (variance of the input in evaluation mode) / running variance, by layer.

    None for a layer whose units all have a running variance of zero.
    """
    inputs_of: dict[nn.Module, Tensor] = {}
    layers = batch_norms(model)
    hooks = [
        layer.register_forward_pre_hook(lambda layer, inputs: inputs_of.update({layer: inputs[0]}))
        for layer in layers
    ]
    was_training = model.training
    with torch.no_grad():
        model.eval()(split.inputs)
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    shifts: list[float | None] = []
    for layer in layers:
        alive = layer.running_var > 0
        ratios = inputs_of[layer].var(0)[alive] / layer.running_var[alive]
        shifts.append(ratios.double().mean().item() if alive.any() else None)
    return shifts
