"""How the probabilities that a network gives fit what comes true."""

import torch
from torch import Tensor, nn

from bnstudy.training.inputs import Split
from bnstudy.training.loop import EVALUATION_CHUNK
from bnstudy.training.observing import Moment, Observer, Rows

BINS = 15  # as Guo et al. (2017)


class CalibrationError(Observer):
    """`calibration_error` and `overconfidence` at the end, on the validation images: see below."""

    def end(self, now: Moment) -> Rows:
        error, excess = None, None
        if now.status == "ok":
            error, excess = calibration(*confidences(now.model, now.splits["validation"]))
        yield now.step, "validation", "calibration_error", error
        yield now.step, "validation", "overconfidence", excess


@torch.inference_mode()
def confidences(model: nn.Module, split: Split) -> tuple[Tensor, Tensor]:
    """The largest probability of each image, of shape (n,), and whether its class is the right one.

    In evaluation mode; the model is left in the mode it came in.
    """
    was_training = model.training
    model.eval()
    found = [model(inputs).softmax(1).max(1) for inputs, _ in split.batches(EVALUATION_CHUNK)]
    model.train(was_training)
    largest, taken = map(torch.cat, zip(*found, strict=True))
    return largest, taken == split.labels


def calibration(confidence: Tensor, correct: Tensor) -> tuple[float, float]:
    """Expected calibration error, and mean confidence minus accuracy, both fractions.

    The error is the mean over images of |mean confidence - accuracy| of the image's bin, of 15 bins
    of equal width; a confidence on an edge belongs to the bin below.

    Source: Guo et al. (2017, arXiv:1706.04599), equations 2 and 3.
    """
    confidence, correct = confidence.double(), correct.double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float64, device=bins.device)
    gaps.index_add_(0, bins, confidence - correct)
    return (gaps.abs().sum() / len(bins)).item(), (confidence - correct).mean().item()
