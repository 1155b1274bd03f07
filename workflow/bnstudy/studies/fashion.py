"""Does it hold beyond handwritten digits? (external validity of claims B3 and B18; study S13)

The core's comparison on Fashion-MNIST (Xiao, Rasul and Vollgraf 2017, arXiv:1708.07747), which has
MNIST's shape and is harder: a perceptron reaches 88 %, so the ceiling that hides differences on
MNIST is far away.

Metrics, per run: `steps_to_target`, the first step at which the median of the last three probe
accuracies reaches the target, and the test accuracy after the last epoch.
"""

from bnstudy.studies.plain import run

__all__ = ["run"]
