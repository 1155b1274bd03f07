"""The figures of the comparison: `name(results, dataset)` gives a `look.Drawing`.

Series are the levels of the treatment, panels the combinations of the other axes, whatever they are.
"""
# ruff: noqa: F401 (the notebooks take them from here)

from bnstudy.report.figures.data import class_balance, confusion, sample_images
from bnstudy.report.figures.layer import computation, four_samples
from bnstudy.report.figures.networks import network_blocks, networks
from bnstudy.report.figures.runs import (
    accuracy_by_time,
    batch_size_effect,
    learning_curves,
    paired_differences,
    probe_curves,
    steps_to_target,
    train_against_validation,
)
