"""What a network predicts: how its probabilities fit what comes true, and what disturbances do to it."""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bnstudy.training.inputs import Split, stream_generator
from bnstudy.training.loop import EVALUATION_CHUNK, MAPS_CHUNK
from bnstudy.training.observing import Moment, Observer, Rows

BINS = 15  # as Guo et al. (2017)
Doses = Sequence[float]


class CalibrationError(Observer):
    """`calibration_error` and `overconfidence` at the end, on the validation images: see below."""

    def end(self, now: Moment) -> Rows:
        found = confidences(now.model, now.splits["validation"])
        error, excess = calibration(*found) if now.status == "ok" else (None, None)
        yield now.step, "validation", "calibration_error", error
        yield now.step, "validation", "overconfidence", excess


@torch.inference_mode()
def confidences(model: nn.Module, split: Split) -> tuple[Tensor, Tensor]:
    """The largest probability of each image in evaluation mode, (n,), and whether its class is right."""
    twin = copy.deepcopy(model).eval()
    found = [twin(inputs).softmax(1).max(1) for inputs, _ in split.batches(EVALUATION_CHUNK)]
    largest, taken = map(torch.cat, zip(*found, strict=True))
    return largest, taken == split.labels


def calibration(confidence: Tensor, correct: Tensor) -> tuple[float, float]:
    """Expected calibration error, and mean confidence minus accuracy, both fractions.

    The error is the mean over images of |mean confidence - accuracy| of the image's bin, of 15 bins of equal width, a
    confidence on an edge being in the bin below (Guo et al. 2017, equations 2 and 3).
    """
    confidence, correct = confidence.double(), correct.double()
    bins = (confidence * BINS).ceil().long().clamp(1, BINS) - 1
    gaps = torch.zeros(BINS, dtype=torch.float64, device=bins.device)
    gaps.index_add_(0, bins, confidence - correct)
    return (gaps.abs().sum() / len(bins)).item(), (confidence - correct).mean().item()


class Robustness(Observer):
    """`test_accuracy:d` at the end, of test images under a disturbance d, in evaluation mode.

    Sizes are in units of the full range of pixels, and pixels stay in that range:

    - `fgsm_e`: every pixel moves by e the way that raises the loss, x + e sign(dL/dx) (Goodfellow et
      al. 2015, section 4), the gradient being the network's own.
    - `sign_e`: the same with signs drawn at random, to tell the attack from a disturbance of its size.
    - `noise_s`: Gaussian noise with standard deviation s.
    - `contrast_c`: c x + (1 - c) mean(x), the mean being the image's, as torchvision's adjust_contrast.

    The random draws of a seed are the same in all arms.
    """

    def __init__(self, fgsm: Doses = (0.1,), noise: Doses = (0.3,), contrast: Doses = (0.5,)):
        doses = {"fgsm": fgsm, "sign": fgsm, "noise": noise, "contrast": contrast}
        self.doses = [(kind, dose) for kind, all_doses in doses.items() for dose in all_doses]

    def end(self, now: Moment) -> Rows:
        found = accuracies_under(self.doses, now.model, now.splits["test"], now.settings.seed)
        for (kind, dose), accuracy in found.items():
            value = accuracy if now.status == "ok" else None
            yield now.step, "test", f"test_accuracy:{kind}_{dose:g}", value


def accuracies_under(
    doses: Sequence[tuple[str, float]], model: nn.Module, split: Split, seed: int
) -> dict[tuple[str, float], float]:
    """The accuracy of a network on a split under each (kind, dose)."""
    model = copy.deepcopy(model).eval()
    generator = stream_generator(seed, "noise")
    mean, deviation = split.scaling.mean, split.scaling.deviation
    correct = dict.fromkeys(doses, 0)
    for inputs, labels in split.batches(MAPS_CHUNK):
        inputs.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(model(inputs), labels), inputs)
        draws = torch.randn(inputs.shape, generator=generator).to(inputs.device)
        with torch.no_grad():
            pixels = inputs * deviation + mean
            for kind, dose in doses:
                disturbed = disturb(kind, dose, pixels, gradient, draws).clamp(0, 1)
                predicted = model((disturbed - mean) / deviation).argmax(1)
                correct[kind, dose] += (predicted == labels).sum().item()
    return {key: n / len(split) for key, n in correct.items()}


def disturb(kind: str, dose: float, pixels: Tensor, gradient: Tensor, draws: Tensor) -> Tensor:
    """Pixels in [0, 1] under a disturbance; all tensors have their shape, images first."""
    if kind == "contrast":
        means = pixels.flatten(1).mean(1).view(-1, *(1,) * (pixels.dim() - 1))
        return dose * pixels + (1 - dose) * means
    return pixels + dose * {"fgsm": gradient.sign(), "sign": draws.sign(), "noise": draws}[kind]
