"""From the tables of the studies to one effect per seed for each claim."""

from bnstudy.claims.endpoints import inference, initialization, mechanisms, practice

# What is no metric of runs, by study: functions that give endpoints by name, of the study's table and
# options; of the grid's runs, metrics and timings.
ENDPOINTS = {
    "controls": practice.controls,
    "convolutional": practice.convolutional,
    "core": practice.core,
    "depth": initialization.depth,
    "identities": practice.identities,
    "inference_statistics": inference.inference_statistics,
    "init_gains": initialization.init_gains,
    "init_gradients": initialization.init_gradients,
    "landscape": mechanisms.landscape,
    "learning_rates": practice.learning_rates,
    "mechanisms": mechanisms.mechanisms,
    "rank": initialization.rank,
    "regularization": mechanisms.regularization,
    "residual_init": initialization.residual_init,
    "sigmoid_mnist": mechanisms.sigmoid_mnist,
    "small_batches": inference.small_batches,
    "stability": practice.stability,
    "test_time": inference.test_time,
    "timing": practice.timing,
}
