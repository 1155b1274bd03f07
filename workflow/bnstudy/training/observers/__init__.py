"""What can be observed in a run: a registry of names, for the grid and for studies alike.

A plug-in adds an entry, `OBSERVERS["mine"] = mine`: a subclass of `bnstudy.training.observing.Observer`, or a
function(model, inputs, labels) that is called at every probe, after the backward pass, and gives values by metric.
"""

import pkgutil
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

from bnstudy.errors import UserError
from bnstudy.networks.norms import parse
from bnstudy.provenance import NEUTRAL_CODE, TRAINING_CODE, imported_code

if TYPE_CHECKING:
    from bnstudy.training.observing import Observer

# Those that ship are named by their place, so that nothing imports PyTorch to know their names, and a run depends on
# the code of its own observers only.
OBSERVERS: dict[str, str | Callable] = {
    "gradient_norms": "gradients:GradientNorms",
    "gradient_range": "gradients:GradientRange",
    "weight_norms": "gradients:weight_norms",
    "bias_norm": "gradients:BiasNorm",
    "dead_units": "activations:DeadUnits",
    "soft_rank": "activations:SoftRank",
    "drift": "activations:Drift",
    "last_inputs": "activations:LastInputs",
    "landscape": "landscape:Landscape",
    "calibration_error": "predictions:CalibrationError",
    "sharpness": "landscape:Sharpness",
    "loss_fluctuation": "gradients:LossFluctuation",
    "variance_shift": "inference:VarianceShift",
    "test_time": "inference:Adaptation",
    "statistics": "inference:Statistics",
    "robustness": "predictions:Robustness",
    "angular_update": "angles:AngularUpdate",
    "scale_invariance": "angles:ScaleInvariance",
}


OF_GRADIENTS = {"gradient_norms", "gradient_range", "landscape"}  # of weights


def name_and_options(entry: str | dict) -> tuple[str, dict]:
    """An observer as YAML names it, `name` or `{name: {option: value}}`."""
    return (entry, {}) if isinstance(entry, str) else next(iter(entry.items()))


def make_observers(entries: Sequence[str | dict]) -> "list[Observer]":
    """The observers of one run; a UserError says that there is no such one, or no such option of it."""
    from bnstudy.training.observing import AtProbes

    if wrong := list(problems(entries)):
        raise UserError("\n".join(wrong))
    made = []
    for name, options in map(name_and_options, entries):
        kind = OBSERVERS[name]
        if isinstance(kind, str):
            kind = pkgutil.resolve_name(f"{__name__}.{kind}")
        try:
            made.append(kind(**options) if isinstance(kind, type) else AtProbes(kind, **options))
        except TypeError as error:
            raise UserError(f"observers: {name} cannot have {options} ({error}).") from error
    return made


def problems(entries: Sequence[str | dict]) -> Iterator[str]:
    """Sentences about observers that do not exist."""
    for name, _ in map(name_and_options, entries):
        if name not in OBSERVERS:
            yield f"observers: there is no observer {name}; there are {', '.join(OBSERVERS)}."


def refused(entries: Sequence[str | dict], norm: str) -> str | None:
    """Why networks with this normalization cannot be observed so, as the end of a sentence, or None."""
    names = sorted({name for name, _ in map(name_and_options, entries)} & OF_GRADIENTS)
    if not names or parse(norm)[0].wrap is None:
        return None
    return (
        f"{norm} cannot be observed by {names[0]}, since its weights are made of other parameters "
        "and have no gradient of their own; leave one of the two out"
    )


def asked_of_run(settings: dict, entries: Sequence[str | dict]) -> dict[str, object]:
    """What a run of the grid was asked for, as it is hashed."""
    return settings | ({"observers": list(entries)} if entries else {})


def observed_code(entries: Sequence[str | dict]) -> tuple[str, ...]:
    """Files of the package that decide the result of a run observed so; plug-ins count by themselves."""
    places = [OBSERVERS[name] for name, _ in map(name_and_options, entries)]
    modules = {place.split(":")[0] for place in places if isinstance(place, str)}
    files = {file for one in modules for file in imported_code(f"training.observers.{one}")}
    files -= NEUTRAL_CODE | {"training/observers/__init__.py"}
    return tuple(sorted({*TRAINING_CODE, *files}))
