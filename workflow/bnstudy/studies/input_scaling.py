"""Does batch normalization merely repair the input? (control of claims B3 and B18; study S1b)

Scaling pixels to [-1, 1] leaves MNIST off centre, at mean -0.74 and standard deviation 0.62. The
core's comparison is repeated with the input standardised by the training split's mean and standard
deviation, and beside it with the assignment's scaling: what batch normalization gains in the second
but not in the first, it gained by centring the input.

Metrics, per run: `steps_to_target`, the first step at which the median of the last three probe
accuracies reaches the target (B3), and the test accuracy after the last epoch (B18).
"""

from bnstudy.studies.plain import run

__all__ = ["run"]
