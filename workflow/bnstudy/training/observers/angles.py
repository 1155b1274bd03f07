"""How far the weights turn in a step, and whether their scale matters (W1 to W3)."""

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from bnstudy.networks.weights import weighted_layers
from bnstudy.training.observing import Moment, Observer, Rows


class AngularUpdate(Observer):
    """`angular_update:l`, by how much the weights of hidden layer l turn in a step, in radians.

    The root mean square over the second half of training of the angle between the weights of a layer before and after a
    step, all weights of a layer being one vector. Where the loss does not depend on their length, as before batch
    normalization, the gradient g is orthogonal to the weights w, and an update by SGD with learning rate eta and weight
    decay lambda keeps their length if eta^2 |g|^2 = 2 eta lambda |w|^2, to first order; the angle is then
    `equilibrium`.

    `angle_error` is the mean over the layers of |ln(angle / equilibrium)|; none without weight decay.
    """

    state = ("previous", "squares", "steps")
    previous: Sequence[Tensor] = ()
    squares: Sequence[float] = ()
    steps = 0

    @torch.no_grad()
    def observe(self, now: Moment) -> Rows:
        weights = [layer.weight.cpu().clone() for layer in weighted_layers(now.model)[:-1]]
        n_batches = math.ceil(len(now.splits["train"]) / now.settings.batch_size)
        if now.step > now.settings.epochs * n_batches / 2:
            squares = [angle(*pair) ** 2 for pair in zip(self.previous, weights, strict=True)]
            so_far = self.squares or [0.0] * len(squares)
            self.squares = [*map(sum, zip(so_far, squares, strict=True))]
            self.steps += 1
        self.previous = weights
        return ()

    def end(self, now: Moment) -> Rows:
        angles = [math.sqrt(square / self.steps) for square in self.squares]
        for layer, value in enumerate(angles, start=1):
            yield now.step, "train", f"angular_update:{layer}", value
        one = now.settings
        expected = equilibrium(one.learning_rate, one.weight_decay, one.momentum)
        errors = [abs(math.log(value / expected)) for value in angles if value and expected]
        yield now.step, "train", "angle_error", sum(errors) / len(errors) if errors else None


def equilibrium(learning_rate: float, weight_decay: float, momentum: float = 0.0) -> float:
    """The angle of a step, in radians, at which SGD keeps the length of weights whose scale does not matter.

    Source: van Laarhoven (2017), section 3; Wan et al. (2021), theorem 1.
    """
    return math.sqrt(2 * learning_rate * weight_decay / (1 + momentum))


def angle(a: Tensor, b: Tensor) -> float:
    """Angle between two tensors taken as vectors; from the chord, which is exact for small ones too."""
    chord = (a / a.norm() - b / b.norm()).norm().item()
    return 2 * math.asin(min(1.0, chord / 2))


class ScaleInvariance(Observer):
    """`trajectory_difference`: log10 of how much a network differs after training it from longer weights.

    Before the run, a copy is trained for some steps of plain SGD, and so is one whose hidden weights are `factor` times
    as long and have factor^2 times the learning rate and 1 / factor^2 times the weight decay. Where the loss does not
    depend on their scale both are the same network at every step (van Laarhoven 2017, section 2), up to the epsilon of
    the normalization. The difference is that of the logits of the next batch in training mode, relative to their norm,
    in double precision.

    `unscaled_difference` is the same with the learning rate and the weight decay left as they are.
    """

    def __init__(self, steps: int = 20, factor: float = 4.0):
        self.steps, self.factor = steps, factor

    def start(self, now: Moment) -> Rows:
        logits = logits_after(now, self.steps, 1.0, 1.0)
        for metric, rate in (("trajectory", self.factor**2), ("unscaled", 1.0)):
            other = logits_after(now, self.steps, self.factor, rate)
            difference = ((other - logits).norm() / logits.norm()).item()
            yield 0, "train", f"{metric}_difference", math.log10(max(difference, 1e-16))


def logits_after(now: Moment, steps: int, factor: float, rate: float) -> Tensor:
    """Logits of a copy with hidden weights `factor` times as long, trained at `rate` times their rate."""
    model = copy.deepcopy(now.model).double().train()
    hidden = {layer.weight for layer in weighted_layers(model)[:-1]}
    with torch.no_grad():
        for weight in hidden:
            weight.mul_(factor)
    settings = now.settings
    images = now.splits["train"].first((steps + 1) * settings.batch_size)
    *batches, (last, _) = images.batches(settings.batch_size)
    for inputs, labels in batches:
        loss = F.cross_entropy(model(inputs.double()), labels)
        parameters = list(model.parameters())
        gradients = torch.autograd.grad(loss, parameters)
        with torch.no_grad():
            for parameter, gradient in zip(parameters, gradients, strict=True):
                scale = rate if parameter in hidden else 1.0
                decay = settings.weight_decay / scale * parameter
                parameter.sub_(scale * settings.learning_rate * (gradient + decay))
    return model(last.double()).detach()
