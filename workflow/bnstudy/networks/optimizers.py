"""Adam and SGD as PyTorch's own fused kernels, called without the `torch.optim.Optimizer` class.

The class imports PyTorch's compiler at its first step: about one second and 150 MB of every job,
for nothing a small network uses. The functions under it are the same and need none of that.
"""

from collections.abc import Iterable

import torch
from torch import Tensor
from torch.optim.adam import adam
from torch.optim.sgd import sgd


class Optimizer:
    """Holds the parameters; a subclass updates them from their gradients."""

    memory: tuple[str, ...] = ()  # lists of tensors that a step reads and writes

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float):
        self.parameters = [p for p in parameters if p.requires_grad]
        self.learning_rate = learning_rate

    def zero_grad(self) -> None:
        """Forget the gradients."""
        for parameter in self.parameters:
            parameter.grad = None

    def state_dict(self) -> dict[str, list[Tensor]]:
        """What it remembers of earlier steps, not copied."""
        return {name: getattr(self, name) for name in self.memory}

    def load_state_dict(self, state: dict[str, list[Tensor]]) -> None:
        """Go on from the `state_dict` of an optimizer of the same parameters."""
        for name in self.memory:
            for mine, saved in zip(getattr(self, name), state[name], strict=True):
                mine.copy_(saved)


class Adam(Optimizer):
    """Adam (Kingma and Ba 2015, algorithm 1) with betas 0.9 and 0.999 and epsilon 1e-8.

    Every parameter must have a gradient at every step.
    """

    memory = ("means", "squares", "steps")

    def __init__(self, parameters: Iterable[Tensor], learning_rate: float):
        super().__init__(parameters, learning_rate)
        self.means = [torch.zeros_like(p) for p in self.parameters]
        self.squares = [torch.zeros_like(p) for p in self.parameters]
        self.steps = [torch.zeros((), device=p.device) for p in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        """One update of all parameters, in place."""
        adam(
            self.parameters,
            [p.grad for p in self.parameters],
            self.means,
            self.squares,
            max_exp_avg_sqs=[],
            state_steps=self.steps,
            fused=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.999,
            lr=self.learning_rate,
            weight_decay=0.0,
            eps=1e-8,
            maximize=False,
        )


class SGD(Optimizer):
    """Stochastic gradient descent without momentum.

    Every parameter must have a gradient at every step.
    """

    @torch.no_grad()
    def step(self) -> None:
        """One update of all parameters, in place."""
        sgd(
            self.parameters,
            [p.grad for p in self.parameters],
            [None] * len(self.parameters),
            fused=True,
            weight_decay=0.0,
            momentum=0.0,
            lr=self.learning_rate,
            dampening=0.0,
            nesterov=False,
            maximize=False,
        )


OPTIMIZERS = {"adam": Adam, "sgd": SGD}
