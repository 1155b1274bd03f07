"""S7: which part of batch normalization does the work (B2, M3b, M10).

Arms, all with the same initial weights and the same order of images:

- `none`, `batch`, `layer`: no normalization, batch and layer normalization;
- `noisy_batch`, `noisy_none`: batch normalization, or nothing, followed by noise that shifts the
  distribution of each activation anew at every step (`ShiftingNoise`);
- `batch_no_affine`: without the learned scale and shift;
- `batch_detached`: gradients do not flow through the batch's mean and variance.

Each run records its final losses and accuracy in evaluation mode; `bias_start` and `bias_end`, the
norm of all hidden Linear biases; and `drift`: `probes.drift` of the inputs of the last nonlinearity
over `drift_steps` steps in training mode, noise included, geometric mean over probes.
"""

import math

import torch
from torch import Tensor, nn

from bnstudy.data.prepared import PreparedData
from bnstudy.networks.mlp import build_model
from bnstudy.settings import Settings
from bnstudy.studies import probes
from bnstudy.studies.probes import NETWORKS
from bnstudy.training.inputs import make_splits, stream_generator
from bnstudy.training.loop import train

PROBE_IMAGES = 1_000


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """One row per network and seed.

    `cell` has `arm` (a name of `NORMS`); `options` has `networks` (keys of `probes.NETWORKS`),
    `batch_size`, `epochs`, `learning_rate` (of SGD), `probe_every` and `drift_steps`.
    """
    rows = []
    for network in options["networks"]:
        hidden, activation = NETWORKS[network]
        for seed in seeds:
            settings = Settings(
                norm=cell["arm"],
                batch_size=options["batch_size"],
                seed=seed,
                hidden=hidden,
                activation=activation,
                epochs=options["epochs"],
                optimizer="sgd",
                learning_rate=options["learning_rate"],
                probe_every=100,
            )
            rows.append(
                {"network": network, "seed": seed} | train_arm(data, settings, options, device)
            )
    return rows


def train_arm(
    data: PreparedData, settings: Settings, options: dict, device: torch.device
) -> dict[str, object]:
    """Train one arm and describe the run; what a diverged run has not is None."""
    splits = make_splits(data, settings, device)
    model = build_model(
        splits["train"].pixels.shape[1],
        len(data.classes),
        hidden=settings.hidden,
        norm=settings.norm,
        activation=settings.activation,
        generator=stream_generator(settings.seed, "init"),
    ).to(device)
    images = splits["train"].first(PROBE_IMAGES).inputs
    every, ahead = options["probe_every"], options["drift_steps"]
    waiting: dict[int, Tensor] = {}  # activations at a probe, by step
    log_drifts: list[float] = []

    def observe(step: int, model: nn.Module, inputs: Tensor, labels: Tensor) -> None:
        due = step - ahead in waiting
        if not due and step % every:
            return
        with probes.private_noise(settings.seed, step):
            now = probes.last_activations(model, images).train
        if due:
            drift = probes.drift(waiting.pop(step - ahead), now)
            if math.isfinite(drift) and drift > 0:
                log_drifts.append(math.log(drift))
        if step % every == 0:
            waiting[step] = now

    bias_start = bias_norm(model)
    outcome = train(model, splits, settings, observe=observe)
    bias_end = bias_norm(model)
    return {
        "status": outcome.status,
        "train_loss": outcome.last("train_subset", "loss"),
        "val_loss": outcome.last("validation", "loss"),
        "val_accuracy": outcome.last("validation", "accuracy"),
        "drift": math.exp(sum(log_drifts) / len(log_drifts)) if log_drifts else None,
        "bias_start": bias_start,
        "bias_end": bias_end if math.isfinite(bias_end) else None,
    }


def bias_norm(model: nn.Sequential) -> float:
    """Norm of the biases of the hidden Linear layers, all together."""
    linear = [module for module in model if isinstance(module, nn.Linear)]
    return probes.norm(probes.as_vector([layer.bias.detach() for layer in linear[:-1]]))
