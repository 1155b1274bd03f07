"""The JSON Schema of the configuration, built from the definitions of the settings.

`bnstudy document` writes it to workflow/schemas, for editors, and the tables of config/README.md.
"""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import yaml

from bnstudy.documents import read_yaml
from bnstudy.files import replacing
from bnstudy.settings import ALWAYS_NAMED, EXECUTION, SETTINGS, Setting, plain

ROOT = Path(__file__).parents[2]
SECTIONS = {
    "data": "Where the images come from and how they enter the network.",
    "model": "The network that the runs share.",
    "training": "How each run is trained.",
}
WORD = {"type": "string", "minLength": 1}
COUNT = {"type": "integer", "minimum": 1}
FILE_NAME = "^[A-Za-z0-9][A-Za-z0-9._-]*$"
NAMES = {"type": "array", "uniqueItems": True, "items": WORD}
# A name, or a name with options: {drift: {drift_steps: 10}}.
OBSERVED = {
    "type": "array",
    "items": {"type": ["string", "object"], "maxProperties": 1, "minProperties": 1},
}


def closed(description: str, properties: dict, required: tuple[str, ...] = ()) -> dict:
    """An object with these keys and no others."""
    found = {"description": description, "type": "object", "additionalProperties": False}
    return found | ({"required": list(required)} if required else {}) | {"properties": properties}


def described(description: str, schema: dict) -> dict:
    return {"description": description} | schema


def values_of(one: Setting) -> dict:
    """An axis: a list of values of a setting."""
    return {
        "description": one.text,
        "type": "array",
        "minItems": 1,
        "uniqueItems": True,
        "items": {k: v for k, v in one.schema().items() if k not in ("description", "default")},
    }


def config_schema() -> dict:
    """The schema of a merged configuration."""
    axes = {name: values_of(one) for name, one in SETTINGS.items()}
    sections = {
        section: closed(
            sentence,
            {
                name: one.schema()
                for name, one in {**SETTINGS, **EXECUTION}.items()
                if one.section == section and name not in ALWAYS_NAMED
            },
        )
        for section, sentence in SECTIONS.items()
    }
    sections["data"]["properties"]["source"] = described(
        "A folder or URL with the raw files, tried before the public mirrors; null for the mirrors "
        "alone.",
        {"type": ["string", "null"], "minLength": 1},
    )
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Configuration of a study",
    } | closed(
        "What is asked, what is trained on what and how, and what the report is called.",
        {
            "question": described(
                "The question in one sentence: the title of the report.",
                {"type": ["string", "null"], "minLength": 1},
            ),
            "compare": closed(
                "The treatment: each level of an axis is compared with its baseline.",
                {
                    "axis": described("The setting that is compared.", {"enum": list(SETTINGS)}),
                    "baseline": described("The level that the others are compared with.", {}),
                },
                ("axis", "baseline"),
            ),
            "exploratory": described(
                "Whether to run though the seeds are too few for any difference to be shown.",
                {"type": "boolean"},
            ),
            "grid": closed(
                "The swept axes. Every combination of their values is one training run.",
                axes,
                ALWAYS_NAMED,
            ),
            **sections,
            "datasets": dataset_schema(),
            "observers": described("What is looked at while a run trains, besides.", OBSERVED),
            "plugins": described(
                "Python files, relative to this one, that add norms, models, datasets, observers.",
                NAMES,
            ),
            "claims": described(
                "Claims about this grid, judged by the rule of config/claims.yaml.",
                {"type": "array", "items": {"type": "object"}},
            ),
            "verify": closed(
                "What `snakemake verify` trains again to compare with the published runs.",
                {
                    "cells": described(
                        "Number of published runs, chosen over the whole grid and always the same.",
                        COUNT,
                    )
                },
                ("cells",),
            ),
            "report": closed(
                "The rendered report.",
                {
                    "name": described(
                        "File name of the executed notebook in report/, without its extension.",
                        {"type": "string", "pattern": FILE_NAME},
                    ),
                    "title": described("Title of the report, where there is no question.", WORD),
                },
                ("name", "title"),
            ),
            "studies": described(
                "The studies behind the claims, by name; config/studies.yaml defines them.",
                {"type": "object", "additionalProperties": study_schema(axes)},
            ),
        },
        ("grid", "data", "model", "training", "report", "studies"),
    )


def dataset_schema() -> dict:
    """The user's own datasets."""
    size = {
        "type": ["integer", "array"],
        "minimum": 1,
        "minItems": 2,
        "maxItems": 2,
        "items": COUNT,
    }
    one = closed(
        "Images of your own.",
        {
            "path": described(
                "A folder of class folders with PNG or JPEG images (perhaps below train and test), an "
                ".npz with x_train, y_train, x_test and y_test, or a .csv with a line for each image; "
                "relative to the working directory.",
                WORD,
            ),
            "title": described("Its name for readers.", WORD),
            "size": described(
                "Height and width, or one number, to which images are resized; else all are equal.",
                size,
            ),
            "grey": described(
                "Whether images are made grey, or given colours; else all are of one kind.",
                {"type": "boolean"},
            ),
            "label": described("The column of the labels in a .csv, where not `label`.", WORD),
            "found": described(
                "What was found there; the workflow writes it into results/run_config.yaml.",
                {"type": "object"},
            ),
        },
        ("path",),
    )
    known = {"type": "object", "propertyNames": {"pattern": FILE_NAME}, "additionalProperties": one}
    return described("Images of your own, by name.", known)


def study_schema(axes: dict) -> dict:
    """A study: a grid of runs, or code with options of its own."""
    axes_of = {"additionalProperties": {"type": "array", "minItems": 1}}
    grid = {"type": ["object", "array"], "minItems": 1} | axes_of
    grid["items"] = {"type": "object"} | axes_of
    return closed(
        "A study of its own: a grid of runs, or a module with options.",
        {
            "enabled": described(
                "Whether the study is run; empty: where the default study's question is asked.",
                {"type": ["boolean", "null"]},
            ),
            "code": described("Its short name in the report.", WORD),
            "title": described("Its question or topic.", WORD),
            "text": described("What it is about, as a paragraph of the report.", WORD),
            "seeds": described("Number of seeds, counted from 1000.", COUNT),
            "grid": described(
                "Its axes, or a list of grids. Every combination of their values is trained.",
                grid,
            ),
            "loop": described("Axes that one job runs through, besides the seeds.", NAMES),
            "settings": described(
                "Settings of all its runs; what is not said has its default.", {"type": "object"}
            ),
            "variants": described(
                "By axis and level: the settings that the level stands for.",
                {
                    "type": "object",
                    "additionalProperties": {
                        "type": "object",
                        "additionalProperties": {"type": "object"},
                    },
                },
            ),
            "observers": described("What is looked at while its runs train, besides.", OBSERVED),
            "targets": described(
                "Accuracies to which steps are counted, besides the target.",
                {"type": "array", "items": {"type": "number"}},
            ),
            "rows": described("What a row of its table is: a run, unless this says else.", WORD),
            "options": described(
                "For its endpoints, the report, and its module.", {"type": "object"}
            ),
        },
        ("code", "title", "enabled", "seeds", "grid"),
    )


def settings_table() -> str:
    """The manual's table of settings, in Markdown."""
    rows = []
    for name, one in {**SETTINGS, **EXECUTION}.items():
        section = "grid" if name in ALWAYS_NAMED else one.section
        default = yaml.safe_dump(plain(one.default), default_flow_style=True).split("\n")[0]
        rows.append((f"`{section}.{name}`", f"`{default}`", allowed(one), one.text))
    return markdown(("Key", "Default", "Allowed", "What it is"), rows)


def keys_table() -> str:
    """The manual's table of the keys that are no settings."""
    settings = {"grid", *SECTIONS, "studies"}
    rows = []
    for name, schema in config_schema()["properties"].items():
        if name not in settings:
            inner = schema.get("properties", {})
            found = {f"{name}.{key}": one for key, one in inner.items()} or {name: schema}
            rows += [(f"`{key}`", one["description"]) for key, one in found.items()]
    return markdown(("Key", "What it is"), rows)


def studies_table() -> str:
    """The manual's table of the studies."""
    studies = read_yaml(ROOT / "config/studies.yaml")["studies"]
    rows = [
        (
            f"`{name}`",
            study.get("code", ""),
            "yes" if study["enabled"] is None else "",
            study.get("title", ""),
        )
        for name, study in studies.items()
    ]
    return markdown(("Study", "Code", "In `make`", "What it asks"), rows)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def allowed(one: Setting) -> str:
    """The values of a setting in a few words."""
    if one.names is not None:
        return ", ".join(
            f"`{n}:N`" if getattr(entry, "takes_number", False) else f"`{n}`"
            for n, entry in one.names.items()
        )
    if one.type is bool:
        return "`true`, `false`"
    bounds = one.bounds.replace(">=", "≥").replace("<=", "≤")
    kind = "whole numbers" if one.type is tuple else ""
    return " ".join(filter(None, [kind, bounds, "or null" if one.optional else ""]))


class PlainDumper(yaml.SafeDumper):
    """YAML that says a value again where it stands again, whatever shares its memory."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def registered(root: Path) -> str:
    """What config/claims.yaml takes for granted, whatever somebody's own config.yaml says by now."""
    files = [root / "config/config.yaml", root / "config/studies.yaml"]
    config, studies = map(read_yaml, files)
    shipped = {key: config[key] for key in ("grid", *SECTIONS)}
    decide = ("seeds", "grid", "settings", "variants", "options")
    shipped["studies"] = {
        name: {key: study[key] for key in decide if key in study}
        for name, study in studies["studies"].items()
    }
    return yaml.dump(shipped, Dumper=PlainDumper, sort_keys=False, default_flow_style=None)


def documents(root: Path = ROOT) -> dict[Path, str]:
    """The files that are written from the definitions, and what they should hold."""
    from bnstudy.tables import dictionary

    schema = "# Written by `bnstudy document` from workflow/bnstudy/settings.py and schema.py.\n"
    schema += yaml.safe_dump(config_schema(), sort_keys=False, allow_unicode=True, width=100)
    manual = root / "config/README.md"
    text = manual.read_text(encoding="utf-8")
    for name, table in (
        ("keys", keys_table),
        ("settings", settings_table),
        ("studies", studies_table),
    ):
        marks = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = text.partition(marks[0])
        text = f"{before}{marks[0]}\n{table()}\n{marks[1]}{rest.partition(marks[1])[2]}"
    shipped = "# Written by `bnstudy document` from config/config.yaml and studies.yaml.\n"
    schemas = root / "workflow/schemas"
    return {
        schemas / "config.schema.yaml": schema,
        schemas / "registered.yaml": shipped + registered(root),
        manual: text,
        root / "docs/tables.md": dictionary.manual(),
    }


def main(argv: list[str]) -> None:
    """Run `bnstudy document`."""
    parser = argparse.ArgumentParser(
        prog="bnstudy document",
        description="Write the schema and the manual's tables from the definitions.",
    )
    parser.parse_args(argv)
    for path, content in documents().items():
        path.parent.mkdir(exist_ok=True)
        with replacing(path) as file:
            file.write(content)
