"""Fluctuations of the loss from step to step (B16)."""

import torch
from torch import Tensor

from bnstudy.training.observing import Moment, Observer, Rows

MEDIAN_STEPS = 51
LEVEL = (0.15, 0.25)  # nats
SPIKE = 2.0  # times the running median
WINDOW_AT_LEAST = 20  # steps


class LossFluctuation(Observer):
    """How the loss l_t of step t, on its own batch and as trained, moves around its running median m_t.

    m_t is over 51 steps (fewer at the ends). The *window* is the steps at which m_t lies between 0.15
    and 0.25, so that both arms are compared at the same level of the loss: batch normalization gets
    there sooner, and a smaller loss fluctuates more in proportion.

    - `fluctuation`: coefficient of variation around the median, sqrt(mean(((l_t - m_t) / m_t)^2)) over
      the window.
    - `spikes`: share of the window's steps with l_t > 2 m_t.
    - `spikes_all`: the same over all steps of the run, whatever the level.

    The first two are None where the window has fewer than `WINDOW_AT_LEAST` steps.
    """

    def __init__(self):
        self.losses: list[Tensor] = []

    def observe(self, now: Moment) -> Rows:
        self.losses.append(now.loss.detach())
        return ()

    def end(self, now: Moment) -> Rows:
        for metric, value in describe(torch.stack(self.losses).cpu().double()).items():
            yield now.step, "train", metric, value

    def state_dict(self) -> dict[str, object]:
        return {"losses": torch.stack(self.losses).cpu()}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        self.losses = list(state["losses"])


def describe(losses: Tensor) -> dict[str, float | int | None]:
    """The metrics of the losses of all steps, shape (steps,), around their running median."""
    median = running_median(losses, MEDIAN_STEPS)
    window = (median >= LEVEL[0]) & (median <= LEVEL[1])
    deviation = (losses / median - 1)[window]
    spikes = losses > SPIKE * median
    enough = int(window.sum()) >= WINDOW_AT_LEAST
    return {
        "window_steps": int(window.sum()),
        "fluctuation": deviation.square().mean().sqrt().item() if enough else None,
        "spikes": spikes[window].double().mean().item() if enough else None,
        "spikes_all": spikes.double().mean().item(),
    }


def running_median(values: Tensor, width: int) -> Tensor:
    """Centred running median over `width` (odd) values of shape (n,); fewer at the two ends."""
    half = width // 2
    padding = torch.full((half,), torch.nan, dtype=values.dtype)
    windows = torch.cat([padding, values, padding]).unfold(0, width, 1)
    return torch.nanquantile(windows, 0.5, dim=1)
