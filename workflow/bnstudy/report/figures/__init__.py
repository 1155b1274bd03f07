"""The figures of the comparison and the pictures beside them, each a `look.Drawing`."""
# ruff: noqa: F401 (the notebooks take them from here)

from bnstudy.report.figures.pictures import (
    class_balance,
    computation,
    confusion,
    four_samples,
    network_blocks,
    networks,
    sample_images,
)
from bnstudy.report.figures.runs import (
    accuracy_by_time,
    batch_size_effect,
    explorer,
    learning_curves,
    paired_differences,
    probe_curves,
    steps_to_target,
    train_against_validation,
)
