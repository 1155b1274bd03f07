"""S6: internal covariate shift (B1a, B1b) and the smoothness of the loss (B9) during training.

Plain SGD for one epoch. Every `probe_every` steps, on the batch of that step and before its update:

- the landscape along the gradient and the internal covariate shift of each layer, as defined in
  `probes.landscape` and `probes.covariate_shift` (Santurkar et al. 2018, section 3.2 and
  definition 2.1; metrics `ics_shift`, `ics_relative_shift` and `ics_cosine`);
- on the first 1,000 training images, how far the inputs of the last nonlinearity move in the next
  `drift_steps` steps: `drift` and `wasserstein` (see `probes`) of what the nonlinearity gets in
  training mode, `drift_eval` and `wasserstein_eval` in evaluation mode, `drift_raw` of the output
  of the Linear layer;
- `percentile_15`, `_50` and `_85` of the input of one unit's nonlinearity, the first's, as in
  Ioffe and Szegedy (2015), figure 1b.
"""

import math

import torch
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.settings import Settings
from bnstudy.studies import probes
from bnstudy.studies.probes import NETWORKS, PERCENTILES, Activations
from bnstudy.training.inputs import make_splits
from bnstudy.training.loop import make_model, train

PROBE_IMAGES = 1_000
STEP_SIZES = 8
SMALLEST_STEP, LARGEST_STEP = 0.5, 4.0  # in units of the learning rate; the paper's end is 4


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """One row per learning rate, seed, step, layer and metric; no layer for the whole network.

    `cell` has `norm` and `network` (a key of `probes.NETWORKS`); `options` has `batch_size`,
    `learning_rates`, `probe_every` and `drift_steps`. A value that is not finite is None.
    """
    hidden, activation = NETWORKS[cell["network"]]
    rows = []
    for learning_rate in options["learning_rates"]:
        for seed in seeds:
            settings = Settings(
                norm=cell["norm"],
                batch_size=options["batch_size"],
                seed=seed,
                hidden=hidden,
                activation=activation,
                epochs=1,
                optimizer="sgd",
                learning_rate=learning_rate,
                probe_every=100,
            )
            for step, layer, metric, value in observed_run(data, settings, options, device):
                rows.append(
                    {
                        "learning_rate": learning_rate,
                        "seed": seed,
                        "step": step,
                        "layer": layer,
                        "metric": metric,
                        "value": value if math.isfinite(value) else None,
                    }
                )
    return rows


def observed_run(
    data: PreparedData, settings: Settings, options: dict, device: torch.device
) -> list[tuple[int, int | None, str, float]]:
    """Train once and return (step, layer, metric, value) of every probe."""
    splits = make_splits(data, settings, device)
    model = make_model(splits["train"].pixels.shape[1], len(data.classes), settings).to(device)
    images = splits["train"].first(PROBE_IMAGES).inputs
    every, ahead = options["probe_every"], options["drift_steps"]
    spacing = (LARGEST_STEP / SMALLEST_STEP) ** (1 / (STEP_SIZES - 1))
    step_sizes = [settings.learning_rate * SMALLEST_STEP * spacing**i for i in range(STEP_SIZES)]
    found: list[tuple[int, int | None, str, float]] = []
    waiting: dict[int, Activations] = {}  # probes whose activations are compared later, by step
    last_hidden = len(settings.hidden)

    def observe(step: int, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        if step - ahead in waiting:
            start = step - ahead
            before, after = waiting.pop(start), probes.last_activations(model, images)
            for metric, value in drifts(before, after).items():
                found.append((start, last_hidden, metric, value))
        if step % every == 0:
            for metric, value in probes.landscape(model, inputs, labels, step_sizes).items():
                found.append((step, None, metric, value))
            for row in probes.covariate_shift(model, inputs, labels, settings.learning_rate):
                layer = row.pop("layer")
                found.extend((step, layer, f"ics_{metric}", v) for metric, v in row.items())
            waiting[step] = probes.last_activations(model, images)
            for percentile in PERCENTILES:
                value = waiting[step].train[:, 0].quantile(percentile / 100).item()
                found.append((step, last_hidden, f"percentile_{percentile}", value))

    train(model, splits, settings, observe=observe)
    return found


def drifts(before: Activations, after: Activations) -> dict[str, float]:
    """The measures of drift between two moments of training."""
    return {
        "drift": probes.drift(before.train, after.train),
        "drift_eval": probes.drift(before.eval, after.eval),
        "drift_raw": probes.drift(before.raw, after.raw),
        "wasserstein": probes.wasserstein(before.train, after.train),
        "wasserstein_eval": probes.wasserstein(before.eval, after.eval),
    }
