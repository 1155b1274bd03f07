"""Checking the configuration before anything runs."""

import json
import math
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache
from itertools import count, pairwise
from pathlib import Path

import yaml
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend

from bnstudy import grid, plugins
from bnstudy.checks import run_problem
from bnstudy.data import own
from bnstudy.data.registry import DATASETS
from bnstudy.data.sources import insecure
from bnstudy.documents import read_yaml
from bnstudy.errors import UserError
from bnstudy.schema import ROOT, PlainDumper, config_schema, written
from bnstudy.scoring import METRICS
from bnstudy.settings import ALWAYS_NAMED, EXECUTION, SETTINGS, Settings, closest, show, type_hint
from bnstudy.studies import declaration
from bnstudy.studies.declaration import CODE_STUDIES
from bnstudy.training import observers

STUDIES = ROOT / "config/studies.yaml"
ALPHA = 0.05

KINDS = {
    "array": "a list",
    "boolean": "true or false",
    "integer": "a whole number",
    "null": "empty",
    "number": "a number",
    "object": "a section with keys below it",
    "string": "text",
}
SENTENCES = {  # by the rule of the schema that is broken
    "minItems": "the list is empty; write at least one value",
    "minimum": "{value} is too small; the least allowed is {rule}",
    "exclusiveMinimum": "{value} is too small; it must be greater than {rule}",
    "minLength": "the text is empty; write something, or null where that is allowed",
    "pattern": "{value} cannot be a file name here; begin with a letter or digit and use letters, "
    "digits, '.', '_' and '-' only (no folders)",
}
PLAIN = {bool: "boolean", int: "integer", float: "number", str: "string", type(None): "null"}
DEFAULTS = {name: key["default"] for name, key in written()["properties"].items() if "default" in key}


def check_config(config: dict) -> None:
    """Complete a merged configuration in place, and check it: values alone, then against each other.

    What is wrong with it is refused all at once, a sentence a line that begins with the key.
    """
    for key, value in DEFAULTS.items():
        config.setdefault(key, value)
    execution = [(one.section, name, one.default) for name, one in EXECUTION.items()]
    for section, key, value in [("data", "source", None), *execution]:
        if isinstance(config.get(section), dict):
            config[section].setdefault(key, value)
    if isinstance(config["plugins"], list):
        plugins.load(map(str, config["plugins"]))
    # First, for the schema knows the names of the datasets.
    datasets = {"datasets": written()["properties"]["datasets"]}
    refuse(violations({"datasets": config["datasets"]}, {"properties": datasets}))
    own.register(config["datasets"])
    refuse(violations(config, config_schema()))
    refuse(conflicts(config))
    settle_studies(config)
    refuse(study_conflicts(config))


def refuse(problems: Iterable[str]) -> None:
    if problems := list(dict.fromkeys(map(printable, problems))):
        raise UserError("\n".join(problems))


def printable(sentence: str) -> str:
    """A sentence with escapes for what of somebody's words would break its line or steer a terminal."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in sentence)


def violations(document: object, schema: dict) -> Iterator[str]:
    """Sentences about what of a document its schema does not allow."""
    known = SETTINGS | EXECUTION
    found = strict(schema).iter_errors(document)
    for error in sorted(found, key=lambda error: list(map(str, error.path))):
        match list(error.path):
            # Of an item of a value that is a list, its own error says more.
            case ["grid", name, _] | ["data" | "model" | "training", name] if name in known:
                if problem := known[name].problem(error.instance):
                    yield f"{key_path(error.path)}: {problem}."
                    continue
        yield from describe(error)


@cache
def default_studies() -> dict[str, dict]:
    """The studies there are, with their default settings."""
    return read_yaml(STUDIES)["studies"]


def settle_studies(config: dict) -> None:
    """Switch those studies for which it is left open on where the default question is asked, if they can run."""
    axis, baseline = DEFAULTS["compare"].values()
    levels, dataset = config["grid"].get(axis, []), config["grid"]["dataset"][0]
    asked = notebook_for(config) == "notebook.py" and baseline in levels and len(levels) > 1
    for name, study in config["studies"].items():
        if study["enabled"] is None:
            # One that is declared wrongly is not left out: it is refused.
            wrong = name not in CODE_STUDIES and any(declaration.problems(study))
            study["enabled"] = asked and (wrong or not any(impossible(name, study, dataset)))


def enabled_studies(config: dict) -> dict[str, dict]:
    """The studies that are switched on, in order; their `options` are all that they say of their runs."""
    studies = ordered_like(config["studies"], default_studies())
    return {
        name: study | {"options": declaration.all_options(study)} for name, study in studies.items() if study["enabled"]
    }


def ordered_like(value: object, reference: object) -> object:
    """The same value with the keys of its sections in the order of a reference, at every depth.

    Snakemake puts the keys of a file that is laid over first, but the order of a study's axes names its cells. Keys
    that the reference does not have come last, sorted.
    """
    if not isinstance(value, dict):
        return value
    known = reference if isinstance(reference, dict) else {}
    keys = [*(key for key in known if key in value), *sorted(value.keys() - known.keys(), key=str)]
    return {key: ordered_like(value[key], known.get(key)) for key in keys}


def strict(schema: dict) -> Draft202012Validator:
    """A schema, with types stricter than JSON's: 128.0 is no integer, .nan and .inf no number."""
    kinds = {"integer": lambda _, value: type(value) is int}  # 128.0 would name another run
    kinds["number"] = lambda _, value: type(value) in (int, float) and math.isfinite(value)
    types = Draft202012Validator.TYPE_CHECKER.redefine_many(kinds)
    return extend(Draft202012Validator, type_checker=types)(schema)


def describe(error: ValidationError) -> Iterator[str]:
    """Sentences that name the key of a schema violation, what is wrong and what to write."""
    key, value, rule = key_path(error.path), error.instance, error.validator_value
    match error.validator:
        case "additionalProperties":
            known = list(error.schema["properties"])
            for name in sorted(set(map(str, value)) - set(known)):
                hint = closest(name, known, "here there are")
                yield f"{join(key, name)}: there is no such key{hint}."
        case "required":
            section = re.match("claims|studies|", key)[0]
            for name in (name for name in rule if name not in value):
                file = f"config/{section or 'config'}.yaml"
                yield f"{join(key, name)}: this key is missing; {file} shows them all."
        case "type":
            kinds = [rule] if isinstance(rule, str) else rule
            wanted = " or ".join(KINDS[kind] for kind in kinds)
            yield f"{key}: {show(value)} is not {wanted}{type_hint(value, kinds)}."
        case "enum":
            yield f"{key}: {show(value)} is not one of {', '.join(rule)}{closest(value, rule)}."
        case "uniqueItems":
            neighbours = pairwise(sorted(value, key=str))
            twice = next((a for a, b in neighbours if a == b), value[0])
            yield f"{key}: {show(twice)} is listed twice; each value may appear once."
        case rule_name if rule_name in SENTENCES:
            yield f"{key}: {SENTENCES[rule_name].format(value=show(value), rule=rule)}."
        case _:
            yield f"{key}: {error.message}."


def conflicts(config: dict) -> Iterator[str]:
    """Sentences about values that are fine alone but not together."""
    if insecure(config["data"]["source"] or ""):
        yield (
            "data.source: plain http is refused, since anybody on the way could answer; write "
            "https://, or the path of a folder."
        )
    yield from observers.problems(config["observers"])
    for settings in dict.fromkeys(replace(one, seed=0) for one in grid.runs(config).values()):
        if found := run_problem(settings, DATASETS[settings.dataset], config["observers"]):
            yield f"{place(config, settings, found[0])}: {found[1]}."
    yield from comparison_conflicts(config)


def place(config: dict, settings: Settings, name: str) -> str:
    """Where the configuration says a setting of a run: grid.batch_size[1], or model.dropout."""
    if name not in config["grid"]:
        return f"{SETTINGS[name].section}.{name}"
    values = [SETTINGS[name].value(value) for value in config["grid"][name]]
    return f"grid.{name}[{values.index(getattr(settings, name))}]"


def comparison_conflicts(config: dict) -> Iterator[str]:
    """Sentences about a treatment that is not in the grid, or that the seeds are too few to show."""
    axis, baseline = config["compare"]["axis"], config["compare"]["baseline"]
    levels = config["grid"].get(axis, [])
    if axis == "seed":
        yield "compare.axis: runs are paired by the seed, so it cannot be what is compared."
        return
    if problem := SETTINGS[axis].problem(baseline):
        yield f"compare.baseline: {problem}."
    elif config["compare"] != DEFAULTS["compare"] and baseline not in levels:
        yield (
            f"compare.baseline: {show(baseline)} is not among the values of grid.{axis} "
            f"({show(levels)}); add it there, or name one of them."
        )
    elif baseline in levels and len(levels) > 1 and not config["exploratory"]:
        seeds, needed = len(config["grid"]["seed"]), seeds_needed(len(METRICS))
        if seeds < needed:
            yield (
                f"grid.seed: with {seeds} seed{'s' * (seeds != 1)} no difference can ever be shown (the "
                f"smallest p that {len(METRICS)} tests of one comparison can reach is not below "
                f"{ALPHA:g}); take {needed}, or write `exploratory: true` to run it all the same."
            )


def seeds_needed(tests: int) -> int:
    """The fewest seeds whose sign-flip test can reach 0.05 after Holm's correction for so many tests."""
    return next(n for n in count(2) if tests * 2 / 2**n < ALPHA)


def study_conflicts(config: dict) -> Iterator[str]:
    """Sentences about studies: their axes and settings, and the options of those that are code."""
    known = {name: shipped(name, study) for name, study in default_studies().items()}
    schema = {"required": list(known), "properties": known}
    yield from violations(config, {"properties": {"studies": schema}})
    for name, study in config["studies"].items():
        where = join("studies", name)
        if name == "init_gradients" and study["enabled"] and study["seeds"] < 2:
            yield f"{where}.seeds: its theory is held to the spread between seeds; give it 2 or more."
        wrong = () if name in CODE_STUDIES else dict.fromkeys(declaration.problems(study))
        yield from (f"{where}.{problem}" for problem in wrong)
        if study["enabled"] and not wrong:
            yield from impossible(name, study, config["grid"]["dataset"][0])


def shipped(name: str, study: dict) -> dict:
    """The schema of a study of config/studies.yaml: its options, and the grid of one that is code."""
    sections = ("grid", "options") if name in CODE_STUDIES else ("options",)
    properties = {key: like(key, study.get(key, {})) for key in sections}
    return {"required": [key for key in sections if study.get(key)], "properties": properties}


def like(name: str, default: object) -> dict:
    """The schema of what may stand for a default: the same keys, numbers of its kind, or its words.

    Of words, a setting of the same name has more. A list may be longer, its items like some of the default.
    """
    if isinstance(default, dict):
        keys = {key: like(key, one) for key, one in default.items()}
        found = {"type": "object", "required": list(keys), "properties": keys}
        return found | {"additionalProperties": False}
    several = default if isinstance(default, list) else [default]
    kinds = {PLAIN[type(one)] for one in several}
    if "number" in kinds:
        kinds -= {"integer"}  # which is one
    one = {"type": sorted(kinds, reverse=True), "minimum": 0}
    if "string" in kinds:
        more = SETTINGS[name].names if name in SETTINGS else None
        one = {"enum": list(dict.fromkeys([*several, *(more or ())]))}
    return {"type": "array", "minItems": 1, "items": one} if several is default else one


def impossible(name: str, study: dict, dataset: str) -> Iterator[str]:
    """Sentences about what is fine alone but not together in a run of a study."""
    if name in CODE_STUDIES:
        yield from impossible_training(join("studies", name), study, dataset)
        return
    for _, one in declaration.runs(study, dataset, 1):
        if found := run_problem(one, DATASETS[one.dataset], study.get("observers", [])):
            yield f"{join('studies', name)}, {found[0]}: {found[1]}."


def impossible_training(where: str, study: dict, dataset: str) -> Iterator[str]:
    """Sentences about batches that the networks of a study that is code cannot be trained on."""
    for name, inner in study.items():
        if isinstance(inner, dict):
            yield from impossible_training(f"{where}.{name}", inner, dataset)
    size = study.get("batch_size")
    if not isinstance(size, int) or "epochs" not in study:
        return
    if found := run_problem(Settings(norm="batch", batch_size=size), DATASETS[dataset]):
        yield f"{where}.{found[0]}: {found[1]}."


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


def config_text(config: dict) -> str:
    """A checked configuration as YAML, its keys in the order of the schema.

    The same configuration gives the same text, whichever files and options it was merged from. `data.source` is left
    out: it is a place on somebody's machine or network, the text is shown in the report, and since every file is
    verified the place decides nothing. So is the place of a dataset that is no folder of the study's.
    """
    config = config | {"data": config["data"] | {"source": None}}
    if config.get("datasets"):
        config["datasets"] = own.recorded(config["datasets"])
    sections = config_schema()["properties"]
    ordered = {
        section: ordered_like(config[section], schema.get("properties", default_studies()))
        for section, schema in sections.items()
        if section in config
    }
    how = {"sort_keys": False, "default_flow_style": None, "allow_unicode": True}
    return yaml.dump(ordered, Dumper=PlainDumper, **how)


def notebook_for(config: dict) -> str:
    """The notebook that answers the question of a configuration, a file in report/.

    The textbook of batch normalization is about perceptrons with and without it, and batch sizes; everything else has
    the short report of any treatment.
    """
    swept = {axis for axis, values in config["grid"].items() if len(values) > 1}
    default = config["compare"] == DEFAULTS["compare"]
    perceptron = grid.base(config).get("kind", "mlp") == "mlp"
    told = default and perceptron and swept <= set(ALWAYS_NAMED)
    return "notebook.py" if told else "question.py"


def uses_cuda(config: dict) -> bool:
    """Whether runs started on this machine will ask for an NVIDIA GPU; PyTorch is not asked."""
    device = config["training"]["device"]
    return device == "cuda" or (device == "auto" and has_nvidia_gpu())


def has_nvidia_gpu() -> bool:
    """Whether there is the device file of a GPU that may be used; on Windows' Linux, /dev/dxg."""
    # Slurm names the GPUs that a job was given: without a name it has none, whatever the node has.
    none = "" if "SLURM_JOB_ID" in os.environ else "all"
    hidden = os.environ.get("CUDA_VISIBLE_DEVICES", none) in ("", "-1")
    return not hidden and any(path for name in ("nvidia[0-9]*", "dxg") for path in Path("/dev").glob(name))
