"""Adam and SGD as PyTorch's own fused kernels, called without the `torch.optim.Optimizer` class.

The class imports PyTorch's compiler at its first step: about one second and 150 MB of every job, for nothing a small
network uses. The functions under it are the same and need none of that.
"""

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd

if TYPE_CHECKING:
    from bnstudy.settings import Settings


class Optimizer:
    """Holds the parameters; a subclass updates them from their gradients, which all must have.

    `learning_rate` may be set anew before every step. `memory` is what it remembers of earlier steps.
    """

    def __init__(self, parameters: Iterable[Tensor], settings: "Settings"):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.settings, self.learning_rate = settings, settings.learning_rate
        self.memory = self.empty_memory()

    def zeros(self) -> list[Tensor]:
        return [torch.zeros_like(p) for p in self.parameters]

    def zero_grad(self) -> None:
        for parameter in self.parameters:  # the module's own method looks for them in every step
            parameter.grad = None

    def remember(self, memory: dict[str, list[Tensor]]) -> None:
        """Go on from the `memory` of an optimizer of the same parameters."""
        for name, tensors in self.memory.items():
            for mine, saved in zip(tensors, memory[name], strict=True):
                mine.copy_(saved)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1) with betas 0.9 and 0.999 and epsilon 1e-8.

    Weight decay is decoupled from the gradient (Loshchilov and Hutter 2019, algorithm 2): before its update a parameter
    is multiplied by 1 - learning_rate * weight_decay. This is PyTorch's `AdamW`. It has no use for `momentum`.
    """

    def empty_memory(self) -> dict[str, list[Tensor]]:
        steps = [torch.zeros((), device=p.device) for p in self.parameters]
        return {"means": self.zeros(), "squares": self.zeros(), "steps": steps}

    @torch.no_grad()
    def step(self) -> None:
        adam(
            self.parameters,
            [p.grad for p in self.parameters],
            self.memory["means"],
            self.memory["squares"],
            max_exp_avg_sqs=[],
            state_steps=self.memory["steps"],
            fused=True,
            decoupled_weight_decay=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=self.settings.weight_decay,
            eps=1e-8,
            maximize=False,
        )


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if that is not 0.

    As in PyTorch the velocity is the momentum times itself plus the gradient, and the learning rate multiplies it.
    Weight decay is added to the gradient, weight_decay times the parameter.
    """

    def empty_memory(self) -> dict[str, list[Tensor]]:
        return {"velocities": self.zeros() if self.settings.momentum else []}

    @torch.no_grad()
    def step(self) -> None:
        sgd(
            self.parameters,
            [p.grad for p in self.parameters],
            self.memory["velocities"] or [None] * len(self.parameters),
            fused=True,
            weight_decay=self.settings.weight_decay,
            momentum=self.settings.momentum,
            lr=self.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


OPTIMIZERS = {"adam": Adam, "sgd": SGD}


def make_optimizer(parameters: Iterable[Tensor], settings: "Settings") -> Optimizer:
    return OPTIMIZERS[settings.optimizer](parameters, settings)


def learning_rate_at(step: int, n_steps: int, settings: "Settings") -> float:
    """The learning rate of a step, counted from 0, of a run of `n_steps`.

    It rises linearly over the first w = `warmup_steps`, step t having (t + 1) / w of the learning rate (Goyal et al.
    2017, section 2.2). Then it is, times the learning rate:

    - `constant`: 1;
    - `cosine`: (1 + cos(pi (t - w) / (n_steps - w))) / 2 (Loshchilov and Hutter 2017, eq. 5);
    - `step`: 1, from half of all steps on 1/10, from three quarters on 1/100 (He et al. 2016, section
      4.2, where it is 32,000 and 48,000 of 64,000).
    """
    rate, warmup = settings.learning_rate, settings.warmup_steps
    if step < warmup:
        return rate * (step + 1) / warmup
    if settings.schedule == "cosine":
        return rate * (1 + math.cos(math.pi * (step - warmup) / (n_steps - warmup))) / 2
    if settings.schedule == "step":
        return rate / 10 ** ((2 * step >= n_steps) + (4 * step >= 3 * n_steps))
    return rate
