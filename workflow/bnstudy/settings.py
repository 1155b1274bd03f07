"""Every setting of a run, once: its type, default, sentence, section and what is allowed.

The schema of the configuration, the options of `bnstudy train`, the names of runs, the manual's tables
and the report's table of settings come from here. To add a setting, add a field and use it. Nothing
here imports PyTorch, for every cluster job plans the workflow again.
"""

import argparse
import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from difflib import get_close_matches
from functools import partial
from typing import Any, get_args, get_origin, get_type_hints

from bnstudy.data.registry import DATASETS
from bnstudy.errors import UserError
from bnstudy.networks.models import MODELS
from bnstudy.networks.norms import NORMS

ALWAYS_NAMED = ("dataset", "norm", "batch_size", "seed")  # in the path of every run
SCALINGS = {
    "symmetric": "pixels in [-1, 1]",
    "standardize": "standardized pixels",
    "unit": "pixels in [0, 1]",
    "binary": "pixels 0 or 1",
}
ACTIVATIONS = {"relu": "ReLU", "tanh": "tanh", "sigmoid": "sigmoid"}
INITIALIZATIONS = {
    "default": "PyTorch's initialization",
    "he": "He's initialization",
    "xavier": "Glorot's initialization",
    "normal": "standard normal weights",
}
PLACES = {"after": "dropout after the activation", "before": "dropout before the normalization"}
LAYERS = {"all": "all layers scaled", "hidden": "hidden layers scaled"}
OPTIMIZERS = {"adam": "Adam", "sgd": "SGD"}
SCHEDULES = {
    "constant": "a constant rate",
    "cosine": "a cosine schedule",
    "step": "a step schedule",
}
TRAINED = {
    "all": "all parameters trained",
    "affine": "scale and shift alone trained",
    "random": "two random weights of each unit trained",
    "output": "the output layer alone trained",
}
DEVICES = {name: name for name in ("auto", "cpu", "cuda", "mps")}
BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}
COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


def setting(section: str, default: object, text: str, allowed: object = "", **prose: str) -> Any:
    """A field of `Settings` or `Execution`, with what `Setting` has of it."""
    names, bounds = (None, allowed) if isinstance(allowed, str) else (allowed, "")
    known = {"section": section, "text": text, "names": names, "bounds": bounds}
    return field(default=default, metadata={"label": "", "unsaid": ""} | known | prose)


data, model, training = (partial(setting, section) for section in ("data", "model", "training"))


@dataclass(frozen=True)
class Settings:
    """Everything that decides the result of a run, apart from the data, the code and the device."""

    dataset: str = data("mnist", "The images.", DATASETS)
    norm: str = model(
        "none",
        "What stands between each hidden layer and its activation.",
        NORMS,
        label="normalization",
    )
    scaling: str = data(
        "symmetric",
        "`symmetric` maps pixels to [-1, 1], `unit` to [0, 1], `standardize` to mean 0 and "
        "variance 1 of the training split; `binary` makes them 0 or 1, above half of the "
        "brightest or not.",
        SCALINGS,
        label="input scaling",
    )
    validation_fraction: float = data(
        0.2, "Share of the training images held out for validation.", "> 0, < 1"
    )
    train_images: int | None = data(
        None, "Train on the first so many of the split.", ">= 1", label="training images"
    )
    validation_images: int | None = data(
        None, "Validate on the first so many of the split.", ">= 1"
    )
    class_balance: float = data(
        1.0,
        "Factor between the most frequent and the rarest class of the training split; those "
        "between are spaced evenly on a log scale (Cui et al. 2019, section 5.1).",
        ">= 1",
        label="class imbalance",
    )
    label_noise: float = data(
        0.0, "Share of the training images that get another class, drawn at random.", ">= 0, < 1"
    )
    kind: str = model("mlp", "The family of networks.", MODELS, label="network")
    hidden: tuple[int, ...] = model(
        (128, 64), "Widths of the perceptron's hidden layers.", ">= 1", label="hidden widths"
    )
    channels: tuple[int, ...] = model(
        (8, 16),
        "Channels of the convolutional network's blocks; each block halves the image.",
        ">= 1",
    )
    depth: int = model(20, "Layers of the residual network, 6n + 2.", ">= 8")
    activation: str = model("relu", "Activation after each hidden layer.", ACTIVATIONS)
    dropout: float = model(0.0, "Probability of dropping a hidden unit in training.", ">= 0, < 1")
    dropout_place: str = model(
        "after",
        "Where units are dropped: `after` the activation, or `before` the normalization.",
        PLACES,
        label="place of dropout",
    )
    initialization: str = model(
        "default",
        "Initial weights; `default` is PyTorch's, `he` He et al. (2015), `xavier` Glorot and "
        "Bengio (2010), `normal` draws from N(0, 1), which `gain` scales.",
        INITIALIZATIONS,
    )
    gain: float = model(1.0, "Factor on the initial weights.", "> 0")
    gain_layers: str = model(
        "all", "Which layers' weights `gain` multiplies.", LAYERS, label="scaled layers"
    )
    norm_momentum: float = model(
        0.1,
        "Weight of the newest batch in the running statistics.",
        "> 0, <= 1",
        label="momentum of the statistics",
    )
    norm_epsilon: float = model(
        1e-05, "What a normalization adds to the variance under the root.", "> 0", label="epsilon"
    )
    epochs: int = training(5, "Passes over the training split.", ">= 1")
    optimizer: str = training(
        "adam", "Optimizer, with PyTorch's defaults where nothing is said here.", OPTIMIZERS
    )
    learning_rate: float = training(0.001, "Step size of the optimizer.", "> 0")
    momentum: float = training(0.0, "Momentum of SGD.", ">= 0, < 1")
    weight_decay: float = training(
        0.0,
        "Decay of all parameters: decoupled for Adam (Loshchilov and Hutter 2019), in the "
        "gradient for SGD.",
        ">= 0",
    )
    trained: str = training(
        "all",
        "Which parameters are trained, the others staying as they are drawn: `all`; `affine`, those of "
        "the normalization; `random`, two weights of each hidden unit or channel; `output`, the last "
        "layer.",
        TRAINED,
        label="trained parameters",
    )
    schedule: str = training(
        "constant",
        "How the learning rate goes: `cosine` to zero, `step` to a tenth at half and again at "
        "three quarters of the steps.",
        SCHEDULES,
    )
    warmup_steps: int = training(
        0, "Steps in which the learning rate rises linearly to its value.", ">= 0"
    )
    probe_every: int | None = training(
        None,
        "Optimizer steps between two measurements on 2,000 validation images; where nothing is said, "
        "every 5 at first and then each 4 % later than the last.",
        ">= 1",
        label="steps between probes",
        unsaid="probes in proportion to the step",
    )
    target: float = training(
        0.95,
        "Validation accuracy to which steps are counted.",
        "> 0, <= 1",
        label="target accuracy",
    )
    # These two stay the last: they end the name of a run.
    batch_size: int = training(64, "Images of an optimizer step.", ">= 1")
    seed: int = training(
        0,
        "Fixes the split, the initial weights, the order of images and the noise; runs are paired "
        "by it.",
        ">= 0",
    )


@dataclass(frozen=True)
class Execution:
    """How a run is done: nothing here changes its result."""

    checkpoint_every: int = training(
        1000,
        "Optimizer steps between two checkpoints within an epoch; each epoch ends with one.",
        ">= 1",
        label="steps between checkpoints",
    )
    device: str = training(
        "auto", "Where to train; `auto` takes CUDA, else Apple's MPS, else the CPU.", DEVICES
    )
    jobs_per_gpu: int = training(
        1, "Jobs that may share a GPU at a time.", ">= 1", label="jobs per GPU"
    )
    keep_model: bool = training(
        False,
        "Keep each run's final weights as `model.safetensors` in its folder.",
        label="keep the model",
    )


@dataclass(frozen=True)
class Setting:
    """What is known of a setting."""

    name: str
    type: type  # str, int, float, bool, or tuple (of int)
    default: Any
    optional: bool  # whether it may be empty
    section: str  # of the configuration
    label: str  # in prose
    text: str  # a sentence
    names: Mapping[str, object] | None  # the words allowed: a registry, to which a plug-in may add
    bounds: str  # of its numbers, such as ">= 0, < 1"
    unsaid: str  # in prose where it is empty

    @property
    def option(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def words(self) -> list[str]:
        """The words allowed, `group:N` for one to which a number belongs."""
        takes = {n: getattr(entry, "takes_number", False) for n, entry in self.names.items()}
        return [f"{name}:N" if number else name for name, number in takes.items()]

    def problem(self, value: object) -> str | None:
        """What is wrong with a value, as the end of a sentence; None if nothing is."""
        if self.optional and value is None:
            return None
        if self.type is tuple:
            if value == []:
                return "the list is empty; write at least one value"
            if not isinstance(value, list | tuple):
                return f"{show(value)} is not a list of whole numbers; write for example [128, 64]"
            return next(filter(None, map(self.number_problem, value)), None)
        if self.type is bool:
            return None if isinstance(value, bool) else f"{show(value)} is not true or false"
        if self.names is None:
            return self.number_problem(value)
        word, colon, number = value.partition(":") if isinstance(value, str) else ("", "", "")
        takes_number = getattr(self.names.get(word), "takes_number", False)
        right_number = not colon or (number.isdecimal() and not number.startswith("0"))
        if word in self.names and bool(colon) == takes_number and right_number:
            return None
        return f"{show(value)} is not one of {', '.join(self.words)}{closest(value, self.words)}"

    def number_problem(self, value: object) -> str | None:
        """As `problem`, of a number. JSON's 128.0 is no whole number: it would name another run."""
        whole = self.type is not float
        if type(value) is not int and (whole or type(value) is not float):
            return f"{show(value)} is not a {'whole ' if whole else ''}number{number_hint(value, whole)}"
        if not math.isfinite(value):
            return f"{value} is not a finite number"
        for sign, bound in self.limits():
            if not COMPARE[sign](value, bound):
                size = "small" if sign[0] == ">" else "large"
                return f"{value} is too {size}; it must be {sign} {text(bound)}"
        return None

    def limits(self) -> list[tuple[str, float]]:
        """The bounds of its numbers, each a sign and a number."""
        parts = (part.split() for part in self.bounds.split(",") if part)
        return [(sign, number_or_text(number)) for sign, number in parts]

    def schema(self) -> dict[str, object]:
        """JSON Schema of a value."""
        found = {"description": self.text, "default": plain(self.default)}
        if self.names is not None:
            words = [name for name in self.names if name in self.words]
            numbered = [name for name in self.names if name not in words]
            if not numbered:
                return found | {"enum": words}
            pattern = {"pattern": f"^({'|'.join(numbered)}):[1-9][0-9]*$", "type": "string"}
            return found | {"anyOf": [{"enum": words}, pattern]}
        bounds = {BOUNDS[sign]: bound for sign, bound in self.limits()}
        if self.type is tuple:
            return found | {"type": "array", "minItems": 1, "items": {"type": "integer"} | bounds}
        kind = {int: "integer", float: "number", bool: "boolean"}[self.type]
        return found | {"type": [kind, "null"] if self.optional else kind} | bounds

    def value(self, given: object) -> Any:
        """A value that passed `problem`, in the setting's own type."""
        if given is None:
            return None
        return float(given) if self.type is float else tuple(given) if self.type is tuple else given

    def read(self, written: str) -> Any:
        """The value that stands in a table as `text` wrote it."""
        if self.type is tuple:
            return tuple(map(int, written.split("-")))
        if written == "" and self.optional:
            return None
        return self.value(written if self.names is not None else number_or_text(written))

    def named(self, value: object) -> str:
        """A value in prose: the name it has, or label and number ("dropout 0.5")."""
        if self.names is not None and isinstance(value, str):
            word, _, number = value.partition(":")
            entry = self.names.get(word, word)
            title = entry if isinstance(entry, str) else entry.title
            return f"{title} ({number})" if number else title
        if value is None:
            return self.unsaid or f"all {self.label}"
        return f"{self.label} {text(value)}"


def describe(kind: type) -> dict[str, Setting]:
    """The settings of a dataclass by name."""
    found, hints = {}, get_type_hints(kind)
    for one in fields(kind):
        hint = hints[one.name]
        optional = type(None) in get_args(hint)
        own_type = get_args(hint)[0] if optional else get_origin(hint) or hint
        known = one.metadata | {"label": one.metadata["label"] or one.name.replace("_", " ")}
        found[one.name] = Setting(one.name, own_type, one.default, optional, **known)
    return found


KNOWN = {kind: describe(kind) for kind in (Settings, Execution)}
SETTINGS, EXECUTION = KNOWN.values()


def label(name: str) -> str:
    """A setting in prose, such as "learning rate"."""
    return SETTINGS[name].label


def level_name(axis: str, level: object) -> str:
    """A value of a setting in prose: "batch normalization", "SGD", "dropout 0.5"."""
    return SETTINGS[axis].named(level)


def text(value: object) -> str:
    """A value as it stands in paths and tables; the same number is always written the same."""
    if isinstance(value, tuple | list):
        return "-".join(map(text, value))
    if isinstance(value, float):
        return repr(value).removesuffix(".0")
    return "" if value is None else str(value)


def plain(value: object) -> object:
    """A value as JSON and YAML have it."""
    return list(value) if isinstance(value, tuple) else value


def as_dict(settings: Settings) -> dict[str, object]:
    """The settings as JSON has them."""
    return {name: plain(value) for name, value in vars(settings).items()}


def make(values: Mapping[str, object], kind: type = Settings, *, are_options: bool = False) -> Any:
    """A `Settings` or an `Execution` from values; what is not said has its default.

    Values that are not allowed are refused, a sentence a line that names the setting or its option.
    """
    known = KNOWN[kind]
    wrong = [
        f"{known[name].option if are_options else name}: {problem}."
        for name, value in values.items()
        if (problem := known[name].problem(value))
    ]
    if wrong:
        raise UserError("\n".join(wrong))
    return kind(**{name: known[name].value(value) for name, value in values.items()})


def departures(settings: Settings) -> dict[str, object]:
    """The settings that always name a run, and those that differ from the code's defaults."""
    return {
        name: value
        for name, value in vars(settings).items()
        if name in ALWAYS_NAMED or value != SETTINGS[name].default
    }


def run_name(settings: Settings) -> str:
    """The folder of a run below results/runs: what `departures` gives, `key~value` each."""
    found = departures(settings).items()
    return "/".join(f"{name}~{text(value).replace(':', '-')}" for name, value in found)


def options(settings: Settings) -> list[str]:
    """`departures` as options of `bnstudy train`, the dataset left out: its file says it."""
    words: list[str] = []
    for name, value in departures(settings).items():
        if name != "dataset":
            values = value if isinstance(value, tuple) else [value]
            words += [SETTINGS[name].option, *map(text, values)]
    return words


def add_options(parser: argparse.ArgumentParser, kind: type = Settings) -> None:
    """An option for every setting but the dataset."""
    for one in KNOWN[kind].values():
        if one.name == "dataset":
            continue
        allowed = f" ({', '.join(one.names)})" if one.names else ""
        said = (one.text + allowed).replace("%", "%%")  # argparse formats it
        if one.type is bool:
            how = {"action": "store_true"}
        elif one.names is not None:
            how = {"metavar": "NAME"}
        else:
            many = "+" if one.type is tuple else None
            how = {"type": number_or_text, "nargs": many, "metavar": one.name.upper()}
        parser.add_argument(one.option, default=one.default, help=said, **how)


def chosen(arguments: argparse.Namespace, kind: type = Settings, **given: object) -> Any:
    """What `make` gives of the values that were given as options, and of others."""
    values = {name: getattr(arguments, name) for name in KNOWN[kind] if name not in given}
    return make(values | given, kind, are_options=True)


def number_or_text(word: str) -> object:
    """The number that a word of the command line is, or the word."""
    for kind in (int, float):
        try:
            return kind(word)
        except ValueError:
            continue
    return word


def show(value: object) -> str:
    """A value as YAML would show it, cut short."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def as_number(value: object) -> float | None:
    """The finite number that a float or a text stands for, None for anything else."""
    try:
        number = float(value) if isinstance(value, float | str) else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def closest(word: object, known: Iterable[str], otherwise: str = "") -> str:
    """A suggestion to append to a sentence: what is known and like the word, or what `otherwise` is known.

    Of a truth value, how a word has become one.
    """
    if isinstance(word, bool):
        return " (YAML reads yes, no, on and off as true and false)"
    if near := get_close_matches(str(word).lower(), known, n=1, cutoff=0.5):
        return f"; the closest is {near[0]}"
    return f"; {otherwise} {', '.join(known)}" if otherwise else ""


def type_hint(value: object, kinds: list[str]) -> str:
    """What to write instead of a value that is of none of these types of JSON, empty if nothing is sure."""
    whole = "integer" in kinds
    if (whole or "number" in kinds) and (hint := number_hint(value, whole)):
        return hint
    if "array" in kinds and not isinstance(value, dict | None):
        return f"; write [{value if isinstance(value, str) else show(value)}]"
    if isinstance(value, bool):
        return closest(value, ())
    quoted = "string" in kinds and not isinstance(value, dict | list | None)
    return f"; write it in quotes, '{value}'" if quoted else ""


def number_hint(value: object, whole: bool) -> str:
    """What to write instead of something that only looks like a number; empty if that is not sure."""
    number = as_number(value)
    if number is None or (whole and number != int(number)):
        return ""
    number = int(number) if whole else number
    if isinstance(value, str) and "e" in value.lower():
        return f"; write {number} (YAML takes 1e-3 for text, 1.0e-3 for a number)"
    quoted = " without quotes, in a file (--config makes text of lists and sections)"
    return f"; write {number}" + (quoted if isinstance(value, str) else "")
