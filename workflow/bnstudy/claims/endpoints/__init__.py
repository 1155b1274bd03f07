"""From the tables of the studies to one effect per seed for each claim."""

from bnstudy.claims.endpoints import inference, initialization, mechanisms, practice

# What is no metric of runs, by study: functions that give endpoints by name, of the study's table and options; of the
# grid's runs, metrics and timings.
_STUDIES = (
    *(inference.inference_statistics, inference.small_batches, inference.test_time),
    *(initialization.depth, initialization.init_gains, initialization.init_gradients),
    *(initialization.rank, initialization.residual_init),
    *(mechanisms.landscape, mechanisms.mechanisms, mechanisms.regularization),
    *(mechanisms.sigmoid_mnist, practice.controls, practice.convolutional, practice.core),
    *(practice.identities, practice.learning_rates, practice.stability, practice.timing),
)
ENDPOINTS = {function.__name__: function for function in _STUDIES}
