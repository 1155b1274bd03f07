"""Batch normalization evaluated with other statistics than its running averages; on copies."""

import copy
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import product

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.networks.layers import BatchNorm, GhostBatchNorm, all_but_features
from bnstudy.training.inputs import Split, shift_images, stream_generator
from bnstudy.training.loop import MAPS_CHUNK, evaluate
from bnstudy.training.observing import Moment, Observer, Rows, watch

SHIFTS = {"contrast": 0.5, "brightness": 0.2, "noise": 0.4}  # see `shift_images`


class VarianceShift(Observer):
    """`variance_shift_<k>` at the end: how variances in evaluation differ from those of training.

    Mean over the units of the k-th BN layer of (variance of their inputs in evaluation mode, over the training images)
    / running variance: 1 where training and inference agree (Li et al. 2019, "Understanding the disharmony between
    dropout and batch normalization").
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

    `running` minus `precise` is the share of the evaluation statistics alone (Singh and Shrivastava 2019, EvalNorm);
    what is left of the error was lost in training.
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


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """The batch normalization layers of a network, in order."""
    return [module for module in model.modules() if isinstance(module, BatchNorm)]


@torch.no_grad()
def with_precise_statistics(model: nn.Module, split: Split) -> nn.Module:
    """A copy whose running statistics are those of a whole split under the current weights.

    The images of the split, two or more, pass as one batch through a network that is otherwise in evaluation mode, so
    each layer's statistics are those of its inputs at inference. Wu and Johnson (2021, section 3), for whom 1,000 to
    10,000 images suffice, average over batches instead.
    """
    one_group = partial(GhostBatchNorm, group_size=len(split), momentum=1.0)
    network = with_batch_norms(model, one_group)
    network(split.inputs)
    return network.eval()


@torch.no_grad()
def evaluate_with_batch_statistics(model: nn.Module, split: Split, group_size: int) -> tuple[float, float]:
    """Mean cross-entropy and accuracy when images are normalized in groups, in the order of the split.

    Nothing else is in training mode, and the model is left as it is.
    """
    logits = with_batch_norms(model, partial(GhostBatchNorm, group_size=group_size))(split.inputs)
    loss = F.cross_entropy(logits, split.labels).item()
    return loss, (logits.argmax(1) == split.labels).double().mean().item()


def with_batch_norms(model: nn.Module, make: Callable[..., nn.Module]) -> nn.Module:
    """A copy in evaluation mode, but for its new normalization layers, which are training.

    Each is made of a number of features and `eps`. They have the parameters and running statistics of the layers that
    they replace; a scale of one and a shift of zero where those have none.
    """
    network = copy.deepcopy(model).eval()
    for name, layer in list(network.named_modules()):
        if isinstance(layer, BatchNorm):
            new = make(layer.num_features, eps=layer.eps).to(layer.running_mean.device)
            new.load_state_dict(layer.state_dict(), strict=layer.affine)
            network.set_submodule(name, new.train())
    return network


def variance_shifts(model: nn.Module, split: Split) -> list[float | None]:
    """`VarianceShift` by layer; None for one whose units all have a running variance of zero."""
    model = copy.deepcopy(model).eval()
    layers = batch_norms(model)
    counts = [0] * len(layers)
    sums = [layer.running_var.new_zeros(2, layer.num_features).double() for layer in layers]
    for images, _ in split.batches(MAPS_CHUNK):  # the maps of all would not fit into memory
        for i, (inputs, _) in enumerate(watch(model, images, layers)):
            values, axes = inputs.double(), all_but_features(inputs)
            counts[i] += values.numel() // values.shape[1]
            sums[i] += torch.stack([values.sum(axes), values.square().sum(axes)])
    shifts: list[float | None] = []
    for layer, n, (total, squares) in zip(layers, counts, sums, strict=True):
        alive = layer.running_var > 0
        ratios = ((squares - total.square() / n) / (n - 1))[alive] / layer.running_var[alive]
        shifts.append(ratios.mean().item() if alive.any() else None)
    return shifts


class Adaptation(Observer):
    """`accuracy_<shift>:s` at the end: accuracy on shifted test images by the statistics s.

    `running` are the running averages; `n`, such as 64, the statistics of groups of n of the shifted images themselves,
    and `n+N` those blended with the running averages, which count as N images more (Schneider et al. 2020,
    arXiv:2006.16971). `accuracy_clean` is for images as they are.

    `shifts` has the level by name of a shift, see `shift_images`; `groups` are the sizes n, `prior` is N.
    """

    def __init__(self, shifts: Mapping[str, float] = SHIFTS, groups: Sequence[int] = (5, 50), prior: int = 16):
        self.shifts, self.groups, self.prior = shifts, groups, prior

    def end(self, now: Moment) -> Rows:
        ways = {"running": None}
        if batch_norms(now.model):
            pairs = product(self.groups, (0, self.prior))
            ways |= {f"{n}+{prior}" if prior else str(n): (n, prior) for n, prior in pairs}
        for shift, level in {"clean": None, **self.shifts}.items():
            images = now.splits["test"]
            if level is not None:
                generator = stream_generator(now.settings.seed, "noise")
                images = shift_images(images, shift, level, generator)
            for name, way in ways.items():
                model = now.model if way is None else adapted(now.model, *way)
                accuracy = evaluate(model, images)[1] if now.status == "ok" else None
                yield now.step, "test", f"accuracy_{shift}:{name}", accuracy


class AdaptedBatchNorm(nn.BatchNorm1d):
    """Normalizes each group of images, in either mode, by its own statistics and the running averages.

    The averages weigh as much as `prior` images. The last group may be shorter. Inputs are of shape (n, features) or
    (n, features, height, width).
    """

    def __init__(self, width: int, group: int, prior: int, eps: float = 1e-5):
        super().__init__(width, eps=eps)
        self.group, self.prior = group, prior

    def forward(self, inputs: Tensor) -> Tensor:
        axes, normalized = all_but_features(inputs), []
        for group in inputs.split(self.group):
            known = self.prior / (self.prior + len(group))
            mean = group.mean(axes).lerp(self.running_mean, known)
            variance = group.var(axes, unbiased=False).lerp(self.running_var, known)
            affine = (self.weight, self.bias)
            normalized.append(F.batch_norm(group, mean, variance, *affine, eps=self.eps))
        return torch.cat(normalized)


def adapted(model: nn.Module, group: int, prior: int) -> nn.Module:
    """A copy whose batch normalization adapts to the images it is given."""
    return with_batch_norms(model, partial(AdaptedBatchNorm, group=group, prior=prior)).eval()
