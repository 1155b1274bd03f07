"""The figures of the studies: declarations of `report.plots`; `tables` is what they share.

`FIGURES` maps a study to functions of its table and its options. Each returns a `Drawing`, or None
where a reduced grid has left it nothing to draw. Nothing is drawn for an arm, a depth or a rate that
the table does not have, and runs are scored as the claims score them.
"""

from collections.abc import Callable

import pandas as pd

from bnstudy.report.look import Drawing
from bnstudy.report.study_figures import (
    depth,
    identities,
    inference_statistics,
    init_gradients,
    landscape,
    layers,
    practice,
    questions,
    regularization,
    speed,
    sweeps,
)

FIGURES: dict[str, list[Callable[[pd.DataFrame, dict], Drawing | None]]] = {
    "input_scaling": [speed.input_scaling],
    "long_training": [speed.long_training],
    "learning_rates": [sweeps.learning_rates, sweeps.learning_rate_speed],
    "init_gains": [sweeps.init_gains],
    "depth": [depth.depth_map, depth.activations, depth.depth_gradients],
    "gradient_paths": [depth.gradient_paths],
    "init_gradients": [init_gradients.gradient_norms, init_gradients.gradient_growth],
    "landscape": [
        landscape.landscape,
        landscape.landscape_scale_free,
        landscape.smoothness_by_rate,
        landscape.covariate_shift,
        landscape.landscape_drift,
    ],
    "sigmoid_mnist": [landscape.sigmoid_training, landscape.sigmoid_percentiles],
    "fashion": [speed.fashion],
    "stability": [speed.stability],
    "identities": [identities.identity_errors, identities.identity_sweeps],
    "mechanisms": [layers.mechanism_arms, layers.mechanism_drift],
    "small_batches": [layers.small_batches],
    "inference_statistics": [
        inference_statistics.staleness,
        inference_statistics.staleness_at_rest,
        inference_statistics.last_batch,
        inference_statistics.shifted_images,
    ],
    "regularization": [
        regularization.overfitting_path,
        regularization.noise_doses,
        regularization.dropout,
    ],
    "timing": [layers.step_times],
    "controls": [layers.controls],
    "calibration": [layers.verdict_shares],
    "robustness": [practice.robustness],
    "weight_decay": [practice.weight_decay],
    "large_batches": [practice.large_batches],
    "affine_only": [practice.affine_only],
    "convolutional": [practice.convolutional],
    "residual_init": [questions.residual_init],
    "edge_of_stability": [questions.edge_of_stability],
    "rank": [questions.rank],
    "confidence": [questions.confidence],
    "test_time": [questions.test_time],
    "fair_race": [questions.fair_race],
}
