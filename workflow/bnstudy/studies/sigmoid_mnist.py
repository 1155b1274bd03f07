"""The first experiment of batch normalization, repeated (H6; study S12).

Ioffe and Szegedy (2015), section 4.1 and figure 1: binary 28 x 28 images, three hidden layers of
100 sigmoid units, small Gaussian initial weights, batches of 60, plain gradient descent. They give
neither the learning rate (two are tried) nor the scale of the initial weights nor a number for the
accuracy; the published result is figure 1: the normalized network is above the other throughout (a), and the
distribution of the inputs of a sigmoid stays stable (b, c).

Metrics, at each checkpoint of a run (a row):

- `accuracy`: on the 2,000 images of the validation probe, in evaluation mode (figure 1a).
- `percentile_15`, `percentile_50`, `percentile_85`: of the input of one sigmoid of the last hidden
  layer, over the probe images (figures 1b and 1c). The unit is the first; none is more typical.
- `drift`: how far the inputs of the last hidden layer's sigmoids moved since the last checkpoint,
  mean over units j of |mean_j(t) - mean_j(t')| / s_j with s_j the pooled standard deviation of the
  two moments (None at the first checkpoint, and where a unit never varies).
"""

from dataclasses import replace

import torch
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.settings import Settings
from bnstudy.studies.plain import make_settings
from bnstudy.training.inputs import Scaling, Split, make_splits, stream_generator
from bnstudy.training.loop import PROBE_SIZE, make_model, train

QUANTILES = (0.15, 0.50, 0.85)
PERCENTILES = ("percentile_15", "percentile_50", "percentile_85")
UNIT = 0


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """Train once for each seed and look at the network at each checkpoint.

    Parameters
    ----------
    data : PreparedData
    cell : dict
        `norm`, `learning_rate`.
    options : dict
        `weight_deviation`: standard deviation of the initial weights. `probe_every`: steps between
        two checkpoints. Further settings of a training run.
    seeds : list of int
    device : torch.device

    Returns
    -------
    list of dict
        A row per seed and checkpoint, step 0 among them; a run that diverged stops early.
    """
    return [
        row
        for seed in seeds
        for row in run_seed(data, make_settings(seed, options, cell), options, device)
    ]


def run_seed(
    data: PreparedData, settings: Settings, options: dict, device: torch.device
) -> list[dict]:
    """The rows of one seed."""
    splits = binary_splits(data, settings, device)
    model = make_model(splits["train"].pixels.shape[1], len(data.classes), settings)
    draw_gaussian(model, options["weight_deviation"], settings.seed)
    model.to(device)
    probe = splits["validation"].first(PROBE_SIZE).inputs
    inputs_of_sigmoids: dict[int, Tensor] = {}

    def observe(step: int, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        if step % settings.probe_every == 0:
            inputs_of_sigmoids[step] = last_sigmoid_inputs(model, probe)

    result = train(model, splits, settings, observe=observe)
    if result.status == "ok" and result.n_steps % settings.probe_every == 0:
        inputs_of_sigmoids[result.n_steps] = last_sigmoid_inputs(model, probe)
    accuracies = {
        step: value
        for _, step, split, metric, value in result.metrics
        if (split, metric) == ("probe", "accuracy")
    }
    rows, before = [], None
    # A run that diverged can end between looking at its activations and at its accuracy.
    for step in sorted(accuracies.keys() & inputs_of_sigmoids.keys()):
        values = inputs_of_sigmoids[step]
        percentiles = torch.quantile(values[:, UNIT], torch.tensor(QUANTILES).to(values)).tolist()
        rows.append(
            {
                "seed": settings.seed,
                "step": step,
                "accuracy": accuracies[step],
                **dict(zip(PERCENTILES, percentiles, strict=True)),
                "drift": None if before is None else drift(before, values),
            }
        )
        before = values
    return rows


def binary_splits(data: PreparedData, settings: Settings, device: torch.device) -> dict[str, Split]:
    """The splits with every pixel 0 or 1: above half of the brightest value or not."""
    half = data.pixel_max / 2
    binary = replace(
        data,
        train_images=(data.train_images > half).to(torch.uint8),
        test_images=(data.test_images > half).to(torch.uint8),
    )
    unscaled = Scaling(pixel_max=1, mean=0.0, deviation=1.0)
    return {
        name: replace(split, scaling=unscaled)
        for name, split in make_splits(binary, settings, device).items()
    }


@torch.no_grad()
def draw_gaussian(model: nn.Module, deviation: float, seed: int) -> None:
    """Draw all weights from N(0, deviation^2) and set the biases of linear layers to zero."""
    generator = stream_generator(seed, "init")
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            layer.weight.normal_(0, deviation, generator=generator)
            layer.bias.zero_()


@torch.no_grad()
def last_sigmoid_inputs(model: nn.Sequential, inputs: Tensor) -> Tensor:
    """What enters the last hidden layer's sigmoids, shape (images, units), in evaluation mode.

    With batch statistics the mean and the variance of a normalized unit would be stable by
    construction; the running statistics leave that open. They are read, not updated.
    """
    was_training = model.training
    model.eval()
    values = model[:-2](inputs)
    model.train(was_training)
    return values


def drift(before: Tensor, after: Tensor) -> float | None:
    """Mean shift of the units' means in units of their pooled standard deviation.

    Parameters
    ----------
    before, after : Tensor of shape (images, units)

    Returns
    -------
    float or None
        None if there is a unit that varies in neither.
    """
    pooled = ((before.var(0) + after.var(0)) / 2).sqrt()
    if not (pooled > 0).all():
        return None
    return ((after.mean(0) - before.mean(0)).abs() / pooled).mean().item()
