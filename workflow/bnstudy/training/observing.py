"""What looks at a run while it trains, besides the losses and accuracies that every run records."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from bnstudy.settings import Settings
    from bnstudy.training.inputs import Split

Rows = Iterable[tuple[int, str, str, float | None]]  # step, split, metric, value
FIRST_SPACING = 5  # steps
PROBES_A_FACTOR_E = 25  # so that each is exp(1 / 25), 4.1 %, later than the last


def is_probe(step: int, every: int | None) -> bool:
    """Whether the validation probe is measured after so many steps.

    `every` spaces probes equally. Without it the spacing grows in proportion to the step, so that a number of steps is
    known to the same relative precision in every arm; up to step 125 it is 5.
    """
    equal_until = FIRST_SPACING * PROBES_A_FACTOR_E
    if every is not None or step <= equal_until:
        return step % (every or FIRST_SPACING) == 0
    before, number = (PROBES_A_FACTOR_E * math.log(s / equal_until) for s in (step - 1, step))
    return math.floor(number) > math.floor(before)


@dataclass
class Moment:
    """A moment of a run: its start, a step between its backward pass and its update, or its end."""

    settings: "Settings"
    splits: "dict[str, Split]"
    model: nn.Module
    step: int = 0  # updates done so far
    inputs: Tensor | None = None  # the batch of a step
    labels: Tensor | None = None
    loss: Tensor | None = None  # of that batch
    status: str | None = None  # at the end: "ok" or "diverged"

    @property
    def at_probe(self) -> bool:
        """Whether the validation probe is measured after so many updates."""
        return is_probe(self.step, self.settings.probe_every)


class Observer:
    """Looks at a run and adds rows to its metrics; the options of the configuration make it.

    It leaves the network as it is: weights, gradients, running statistics and mode. A metric of several parts is named
    `name:part`, such as `gradient_norm:2`. `state` names the attributes that a resumed run needs: plain values, tensors
    on the CPU.
    """

    state: tuple[str, ...] = ()

    def start(self, now: Moment) -> Rows:
        """Before the first step. A resumed run calls it again, with initial weights, for its setup."""
        return ()

    def observe(self, now: Moment) -> Rows:
        """At every step: the gradients of the batch are there, its update is not."""
        return ()

    def end(self, now: Moment) -> Rows:
        """After the last step."""
        return ()

    def state_dict(self) -> dict[str, object]:
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: dict[str, object]) -> None:
        vars(self).update(state)


@torch.no_grad()
def watch(model: nn.Module, images: Tensor, layers: Sequence[nn.Module]) -> list[list[Tensor]]:
    """What each of these layers gets and gives when images pass a network, in the mode it is in."""
    seen: dict[nn.Module, list[Tensor]] = {}
    hooks = [
        layer.register_forward_hook(lambda layer, got, gives: seen.update({layer: [*got, gives]})) for layer in layers
    ]
    model(images)
    for hook in hooks:
        hook.remove()
    return [seen[layer] for layer in layers]


class AtProbes(Observer):
    """Calls a function(model, inputs, labels) at every probe, which gives values by metric."""

    def __init__(self, function: Callable[[nn.Module, Tensor, Tensor], dict[str, float]]):
        self.function = function

    def observe(self, now: Moment) -> Rows:
        if now.at_probe:
            for metric, value in self.function(now.model, now.inputs, now.labels).items():
                yield now.step, "train", metric, value
