"""Fluctuations of the loss (B16).

Metrics, per run. l_t is the loss of step t on its own batch, as trained; m_t its centred running
median over 51 steps (fewer at the ends). The *window* is the steps at which m_t lies between 0.15
and 0.25, so that both arms are compared at the same level of the loss: batch normalization gets
there sooner, and a smaller loss fluctuates more in proportion.

- `fluctuation`: coefficient of variation around the median, sqrt(mean(((l_t - m_t) / m_t)^2)) over
  the window.
- `spikes`: share of the window's steps with l_t > 2 m_t.
- `spikes_all`: the same over all steps of the run, whatever the level.
- `val_loss_<epoch>`: validation loss at the end of each epoch, whose standard deviation between
  seeds is the third endpoint.

The first two are None where the window has fewer than `WINDOW_AT_LEAST` steps.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.studies.plain import (
    make_network,
    make_settings,
    outcome,
    validation_loss_of_epoch,
)
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import train

MEDIAN_STEPS = 51
LEVEL = (0.15, 0.25)  # nats
SPIKE = 2.0  # times the running median
WINDOW_AT_LEAST = 20  # steps


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train once for each seed and describe the loss of its steps.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm`, `batch_size`.
    options : dict
        Settings of a training run.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed.
    """
    rows = []
    for seed in seeds:
        settings = make_settings(seed, options, cell)
        splits = make_splits(data, settings, device)
        model = make_network(data, settings, device)
        recorder = LossRecorder(model)
        result = train(model, splits, settings, observe=recorder.observe)
        recorder.close()
        rows.append(
            {
                "seed": seed,
                **outcome(result),
                **describe(torch.stack(recorder.losses).cpu().double()),
                **{
                    f"val_loss_{epoch}": validation_loss_of_epoch(result, epoch)
                    for epoch in range(1, settings.epochs + 1)
                },
            }
        )
    return rows


class LossRecorder:
    """Keeps the loss of every training step from the logits of the step's own forward pass.

    A second forward pass would update the running statistics of batch normalization twice.
    """

    def __init__(self, model: nn.Module):
        self.losses: list[Tensor] = []
        self.hook = model.register_forward_hook(self.keep)

    def keep(self, model: nn.Module, inputs: tuple[Tensor], logits: Tensor) -> None:
        if model.training:
            self.logits = logits.detach()

    def observe(self, step: int, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        self.losses.append(F.cross_entropy(self.logits, labels))

    def close(self) -> None:
        self.hook.remove()


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
