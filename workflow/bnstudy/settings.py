"""The settings of a run: those of settings.yaml, which says what each of them is.

`Settings` and `Execution` hold values of them. Nothing here imports PyTorch, for every cluster job plans the workflow
again.
"""

import argparse
import json
import math
import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, make_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bnstudy.data.registry import DATASETS
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.networks.models import MODELS
from bnstudy.networks.norms import NORMS

ALWAYS_NAMED = ("dataset", "norm", "batch_size", "seed")  # in the path of every run
TYPES = {"str": str, "int": int, "float": float, "bool": bool, "ints": tuple}
REGISTRIES = {"datasets": DATASETS, "norms": NORMS, "models": MODELS}
BOUNDS = {">=": "minimum", ">": "exclusiveMinimum", "<=": "maximum", "<": "exclusiveMaximum"}
COMPARE = {">=": operator.ge, ">": operator.gt, "<=": operator.le, "<": operator.lt}


@dataclass(frozen=True)
class Setting:
    """What is known of a setting."""

    name: str
    type: type  # str, int, float, bool, or tuple (of int)
    default: Any
    names: Mapping[str, object] | None  # the words allowed: a registry, to which a plug-in may add
    label: str  # in prose
    section: str  # of the configuration
    text: str  # a sentence
    optional: bool = False  # whether it may be empty
    bounds: str = ""  # of its numbers, such as ">= 0, < 1"
    unsaid: str = ""  # in prose where it is empty

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


def setting(name: str, *, type: str, default: object, words: object = None, **known: Any) -> Setting:
    """The setting that an entry of settings.yaml defines."""
    own = default if default is None else TYPES[type](default)
    names = REGISTRIES[words] if isinstance(words, str) else words
    return Setting(name, TYPES[type], own, names, **{"label": name.replace("_", " ")} | known)


def read(name: str, about: str) -> tuple[Any, dict[str, Setting]]:
    """The settings below this key of settings.yaml, and the frozen dataclass that holds a value of each."""
    known = {key: setting(key, **entry) for key, entry in LISTED[name].items()}
    members = []
    for one in known.values():
        kind = tuple[int, ...] if one.type is tuple else one.type
        members.append((one.name, kind | None if one.optional else kind, one.default))
    own = {"__doc__": about, "__module__": __name__}
    return make_dataclass(name, members, frozen=True, namespace=own), known


LISTED = read_yaml(Path(__file__).with_suffix(".yaml"))
Settings, SETTINGS = read("Settings", "All that decides a run's result but data, code and device.")
Execution, EXECUTION = read("Execution", "How a run is done: nothing here changes its result.")
KNOWN = {Settings: SETTINGS, Execution: EXECUTION}


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
        name: value for name, value in vars(settings).items() if name in ALWAYS_NAMED or value != SETTINGS[name].default
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
    """A value as YAML would show it, cut short; with escapes where it would break a line or steer a terminal."""
    shown = json.dumps(value, ensure_ascii=False, default=str)
    if not shown.isprintable():
        shown = json.dumps(value, default=str)
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
        plainly = isinstance(value, str) and value.isprintable()
        return f"; write [{value if plainly else show(value)}]"
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
