"""What looks at a run while it trains, besides the losses and accuracies that every run records."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from torch import Tensor, nn

if TYPE_CHECKING:
    from bnstudy.settings import Settings
    from bnstudy.training.inputs import Split

Rows = Iterable[tuple[int, str, str, float | None]]  # step, split, metric, value


@dataclass
class Moment:
    """A moment of a run: its start, a step between its backward pass and its update, or its end.

    Attributes
    ----------
    step : int
        Updates done so far.
    inputs, labels, loss : Tensor
        The batch of a step and its loss.
    status : str
        At the end: "ok" or "diverged".
    """

    settings: "Settings"
    splits: "dict[str, Split]"
    model: nn.Module
    step: int = 0
    inputs: Tensor | None = None
    labels: Tensor | None = None
    loss: Tensor | None = None
    status: str | None = None


class Observer:
    """Looks at a run and adds rows to its metrics; the options of the configuration make it.

    It leaves the network as it is: weights, gradients, running statistics and mode. A metric of several parts is named `name:part`, such as `gradient_norm:2`.
    """

    state: tuple[
        str, ...
    ] = ()  # attributes that a resumed run needs: plain values, tensors on the CPU

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
        """What it needs to go on."""
        return {name: getattr(self, name) for name in self.state}

    def load_state_dict(self, state: dict[str, object]) -> None:
        """Go on from a `state_dict`."""
        vars(self).update(state)


class AtProbes(Observer):
    """Calls a function(model, inputs, labels) at every probe, which gives values by metric."""

    def __init__(self, function: Callable[[nn.Module, Tensor, Tensor], dict[str, float]]):
        self.function = function

    def observe(self, now: Moment) -> Rows:
        if now.step % now.settings.probe_every == 0:
            for metric, value in self.function(now.model, now.inputs, now.labels).items():
                yield now.step, "train", metric, value
