"""Checking the configuration before anything runs, and the grid of runs it describes."""

import json
import math
import os
from collections.abc import Iterator
from difflib import get_close_matches
from functools import cache
from itertools import pairwise, product
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from bnstudy.data.datasets import DATASETS, insecure
from bnstudy.data.splits import split_sizes
from bnstudy.errors import UserError

SCHEMAS = Path(__file__).parents[1] / "schemas"
STUDIES = Path(__file__).parents[2] / "config" / "studies.yaml"

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "empty",
    "number": "a number",
    "object": "a section with keys below it",
    "string": "text",
}


def check_config(config: dict) -> None:
    """Check a merged configuration against the schema, then its values against each other.

    Raises
    ------
    UserError
        One sentence a line for everything found wrong, each beginning with the key it is about.
    """
    check_document(config, "config.schema.yaml")
    if problems := [*conflicts(config), *study_conflicts(config)]:
        raise UserError("\n".join(problems))


def check_document(document: object, schema: str) -> None:
    """Check a document against one of the schemas.

    Raises
    ------
    UserError
        One sentence a line for everything found wrong, each beginning with the key it is about.
    """
    errors = validator(schema).iter_errors(document)
    found = sorted(errors, key=lambda error: list(map(str, error.path)))
    if problems := [sentence for error in found for sentence in describe(error)]:
        raise UserError("\n".join(problems))


@cache
def default_studies() -> dict[str, dict]:
    """The studies there are, with their default settings."""
    return yaml.safe_load(STUDIES.read_text(encoding="utf-8"))["studies"]


def enabled_studies(config: dict) -> dict[str, dict]:
    """The studies that are switched on, in the order of their definition."""
    studies = ordered_like(config["studies"], default_studies())
    return {name: study for name, study in studies.items() if study["enabled"]}


def ordered_like(value: object, reference: object) -> object:
    """The same value with the keys of its sections in the order of a reference, at every depth.

    Snakemake puts the keys of a file that is laid over first, but the order of a study's axes names
    its cells. Keys that the reference does not have come last, sorted.
    """
    if not isinstance(value, dict):
        return value
    known = reference if isinstance(reference, dict) else {}
    keys = [*(key for key in known if key in value), *sorted(value.keys() - known.keys(), key=str)]
    return {key: ordered_like(value[key], known.get(key)) for key in keys}


def grid_cells(config: dict) -> list[dict]:
    """Every run of the grid, as a dict of dataset, norm, batch_size and seed, in config order."""
    axes = ("dataset", "norm", "batch_size", "seed")
    values = product(*(config["grid"][axis] for axis in axes))
    return [dict(zip(axes, cell, strict=True)) for cell in values]


@cache
def validator(name: str) -> Draft202012Validator:
    """A schema, with types stricter than JSON's: 128.0 is no integer, .nan and .inf no number.

    JSON Schema takes 128.0 for an integer, which would train a run named `batch_size~128.0`.
    """
    strict = Draft202012Validator.TYPE_CHECKER.redefine_many(
        {
            "integer": lambda _, value: type(value) is int,
            "number": lambda _, value: type(value) in (int, float) and math.isfinite(value),
        }
    )
    schema = yaml.safe_load((SCHEMAS / name).read_text(encoding="utf-8"))
    return extend(Draft202012Validator, type_checker=strict)(schema)


def describe(error: ValidationError) -> Iterator[str]:
    """Sentences that name the key of a schema violation, what is wrong and what to write."""
    key, value, rule = key_path(error.path), error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(error.schema["properties"])
            for name in sorted(set(map(str, value)) - set(known)):
                hint = closest(name, known) or f"; here there are {', '.join(known)}"
                yield f"{join(key, name)}: there is no such key{hint}."
        case "required":
            for name in (name for name in rule if name not in value):
                yield f"{join(key, name)}: this key is missing; config/config.yaml shows them all."
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            wanted = " or ".join(KINDS[kind] for kind in kinds)
            yield f"{key}: {show(value)} is not {wanted}{type_hint(value, kinds)}."
        case "enum":
            yield (
                f"{key}: {show(value)} is not one of {', '.join(rule)}"
                f"{switch_hint(value) or closest(str(value), rule)}."
            )
        case "minItems":
            yield f"{key}: the list is empty; write at least one value."
        case "uniqueItems":
            neighbours = pairwise(sorted(value, key=str))
            twice = next((a for a, b in neighbours if a == b), value[0])
            yield f"{key}: {show(twice)} is listed twice; each value may appear once."
        case "minimum":
            yield f"{key}: {show(value)} is too small; the least allowed is {rule}."
        case "exclusiveMinimum":
            yield f"{key}: {show(value)} is too small; it must be greater than {rule}."
        case "exclusiveMaximum":
            yield f"{key}: {show(value)} is too large; it must be less than {rule}."
        case "minLength":
            yield f"{key}: the text is empty; write something, or null where that is allowed."
        case "pattern":
            yield (
                f"{key}: {show(value)} cannot be a file name here; begin with a letter or digit "
                "and use letters, digits, '.', '_' and '-' only (no folders)."
            )
        case _:
            yield f"{key}: {error.message}."


def conflicts(config: dict) -> Iterator[str]:
    """Sentences about values that are fine alone but not together."""
    fraction, grid = config["data"]["validation_fraction"], config["grid"]
    if insecure(config["data"]["source"] or ""):
        yield (
            "data.source: plain http is refused, since anybody on the way could answer; write "
            "https://, or the path of a folder."
        )
    for dataset in grid["dataset"]:
        total = DATASETS[dataset].n_train
        n_train, n_validation = split_sizes(total, fraction)
        if min(n_train, n_validation) < 1:
            yield (
                f"data.validation_fraction: {fraction} splits the {total} training images of "
                f"{dataset} into {n_train} for training and {n_validation} for validation; "
                "both need at least one."
            )
            continue
        for i, size in enumerate(grid["batch_size"]):
            yield from batch_conflicts(
                f"grid.batch_size[{i}]", size, dataset, n_train, grid["norm"]
            )


def study_conflicts(config: dict) -> Iterator[str]:
    """Sentences about settings of studies that their definition in studies.yaml does not have."""
    known = default_studies()
    for name in known.keys() - config["studies"].keys():
        yield f"studies.{name}: this study is missing; config/studies.yaml shows them all."
    for name, study in config["studies"].items():
        if name not in known:
            hint = closest(name, list(known)) or f"; there are {', '.join(known)}"
            yield f"{join('studies', name)}: there is no such study{hint}."
            continue
        for section in ("grid", "options"):
            place = f"studies.{name}.{section}"
            yield from departures(place, study[section], known[name][section])


def departures(place: str, value: object, default: object) -> Iterator[str]:
    """Sentences about what a study's setting has that its default does not lead to expect.

    Sections have the same keys (any number, where those of the default are numbers); lists are not
    empty, and their items are like some item of the default.
    """
    if not isinstance(default, dict | list) or type(value) is not type(default) or not value:
        if value != default and not alike(place, value, default):
            yield f"{place}: {show(value)} {unlike(place, value, [default])}."
    elif isinstance(default, list):
        for i, item in enumerate(value):
            if not any(alike(place, item, one) for one in default):
                yield f"{place}[{i}]: {show(item)} {unlike(place, item, default)}."
    else:
        numbered = all(key.isdecimal() for key in default)
        for key, item in value.items():
            if key in default:
                yield from departures(join(place, key), item, default[key])
            elif numbered and str(key).isdecimal() and isinstance(key, str):
                yield from departures(join(place, key), item, next(iter(default.values())))
            else:
                hint = closest(key, list(default)) or f"; here there are {', '.join(default)}"
                yield f"{join(place, key)}: there is no such key{hint}."
        for key in default.keys() - value.keys() if not numbered else ():
            yield f"{join(place, key)}: this key is missing; config/studies.yaml shows them all."


def alike(place: str, value: object, default: object) -> bool:
    """Whether a value can stand where the default does: a number of its kind, a word like it."""
    if type(default) is float:
        return type(value) in (int, float) and math.isfinite(value) and value > 0
    if type(default) is int:
        return type(value) is int and value >= min(default, 1)
    if isinstance(default, str):
        return isinstance(value, str) and value in (default, *words(place))
    return type(value) is type(default) and not isinstance(value, dict | list)


def words(place: str) -> list[str]:
    """The values of the key of the same name elsewhere in the configuration, such as `norm`."""
    name = place.rpartition(".")[2]
    for section in validator("config.schema.yaml").schema["properties"].values():
        schema = section.get("properties", {}).get(name, {})
        if choices := schema.get("items", schema).get("enum"):
            return choices
    return []


def unlike(place: str, value: object, defaults: list) -> str:
    """What a setting should have been, to end a sentence with."""
    if all(isinstance(default, str) for default in defaults):
        choices = list(dict.fromkeys([*defaults, *words(place)]))
        return f"is not one of {', '.join(choices)}{closest(value, choices)}"
    shown = show(defaults[0] if len(defaults) == 1 else defaults)
    return f"is not of the kind of {shown}, which config/studies.yaml has"


def batch_conflicts(
    key: str, size: int, dataset: str, n_train: int, norms: list[str]
) -> Iterator[str]:
    """Why a batch size cannot be trained with, and the nearest one that can."""
    batch_norm = "batch" in norms
    if size > n_train:
        reason = f"is larger than the {n_train} training images of {dataset}"
    elif batch_norm and size == 1:
        reason = "cannot be used with batch normalization: one sample has no variance"
    elif batch_norm and n_train % size == 1:
        reason = (
            f"leaves a last batch of one sample out of the {n_train} training images of {dataset}, "
            "and batch normalization cannot train on one sample"
        )
    else:
        return
    fits = [
        other
        for other in range(1, n_train + 1)
        if not batch_norm or (other > 1 and n_train % other != 1)
    ]
    if fits:
        choice = f"the nearest valid choice is {min(fits, key=lambda other: abs(other - size))}"
    else:
        choice = "there are too few images for any batch size"
    yield f"{key}: {size} {reason}; {choice}."


def key_path(parts: Iterator[str | int]) -> str:
    """Dotted path of a key as a reader of the YAML file would write it: grid.batch_size[1]."""
    path = ""
    for part in parts:
        path = f"{path}[{part}]" if isinstance(part, int) else join(path, part)
    return path or "config"


def join(path: str, name: object) -> str:
    """A key below a path; one that would break a line or steer a terminal is written escaped."""
    text = str(name) if str(name).isprintable() else json.dumps(str(name))
    return text if path in ("", "config") else f"{path}.{text}"


def show(value: object) -> str:
    """A value as YAML would show it, cut short."""
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."


def closest(word: object, known: list[str]) -> str:
    """A suggestion to append to a sentence, empty if nothing known is like the word."""
    near = get_close_matches(str(word).lower(), known, n=1, cutoff=0.5)
    return f"; the closest is {near[0]}" if near else ""


def switch_hint(value: object) -> str:
    """Says why a word has become a truth value."""
    if isinstance(value, bool):
        return " (YAML reads yes, no, on and off as true and false)"
    return ""


def type_hint(value: object, kinds: list[str]) -> str:
    """What to write instead of a value of the wrong type, empty if nothing is sure."""
    number = as_number(value) if "integer" in kinds or "number" in kinds else None
    if number is not None and ("number" in kinds or number == int(number)):
        number = int(number) if "integer" in kinds else number
        if isinstance(value, str) and "e" in value.lower():
            return f"; write {number} (YAML takes 1e-3 for text, 1.0e-3 for a number)"
        quoted = " without quotes, in a file (--config makes text of lists and sections)"
        return f"; write {number}" + (quoted if isinstance(value, str) else "")
    if "array" in kinds and not isinstance(value, dict | None):
        return f"; write [{value if isinstance(value, str) else show(value)}]"
    if "string" in kinds and not isinstance(value, dict | list | None):
        return switch_hint(value) or f"; write it in quotes, '{value}'"
    return switch_hint(value)


def as_number(value: object) -> float | None:
    """The finite number that a float or a text stands for, None for anything else."""
    if not isinstance(value, float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def config_text(config: dict) -> str:
    """A checked configuration as YAML, its keys in the order of the schema.

    The same configuration gives the same text, whichever files and options it was merged from.
    `data.source` is left out: it is a place on somebody's machine or network, the text is shown in
    the report, and since every file is verified the place decides nothing.
    """
    config = config | {"data": config["data"] | {"source": None}}
    sections = validator("config.schema.yaml").schema["properties"]
    ordered = {
        section: ordered_like(config[section], schema.get("properties", default_studies()))
        for section, schema in sections.items()
        if section in config
    }
    return yaml.safe_dump(ordered, sort_keys=False, default_flow_style=None, allow_unicode=True)


def uses_cuda(config: dict) -> bool:
    """Whether runs started on this machine will ask for an NVIDIA GPU; PyTorch is not asked."""
    device = config["training"]["device"]
    return device == "cuda" or (device == "auto" and has_nvidia_gpu())


def has_nvidia_gpu() -> bool:
    """Whether there is the device file of a GPU that may be used; on Windows' Linux, /dev/dxg."""
    # Slurm names the GPUs that a job was given: without a name it has none, whatever the node has.
    none = "" if "SLURM_JOB_ID" in os.environ else "all"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", none) in ("", "-1")
    return not hidden and any(
        path for name in ("nvidia[0-9]*", "dxg") for path in Path("/dev").glob(name)
    )
