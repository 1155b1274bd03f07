"""The JSON Schema of the configuration, with what the definitions of the settings say of them.

`bnstudy document` writes that into workflow/schemas/config.schema.yaml, which has the other keys, and the tables of
config/README.md.
"""

from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import yaml

from bnstudy.cli import parser_of
from bnstudy.documents import read_yaml
from bnstudy.files import replacing
from bnstudy.settings import ALWAYS_NAMED, EXECUTION, SETTINGS, Setting, plain

ROOT = Path(__file__).parents[2]
SCHEMAS = ROOT / "workflow/schemas"
SECTIONS = ("data", "model", "training")


@cache
def written() -> dict:
    """The schema as it stands in its file."""
    return read_yaml(SCHEMAS / "config.schema.yaml")


def config_schema() -> dict:
    """The schema of a merged configuration, with the settings and the levels that there are now."""
    keys = written()["properties"]
    compare, source = (keys[name]["properties"] for name in ("compare", "data"))
    inside = {section: {} for section in SECTIONS}
    for name, one in (SETTINGS | EXECUTION).items():
        if name not in ALWAYS_NAMED:
            inside[one.section][name] = one.schema()
    inside["data"]["source"] = source["source"]
    inside["compare"] = compare | {"axis": compare["axis"] | {"enum": list(SETTINGS)}}
    inside["grid"] = {}
    for name, one in SETTINGS.items():
        items = {k: v for k, v in one.schema().items() if k not in ("description", "default")}
        many = {"type": "array", "minItems": 1, "uniqueItems": True, "items": items}
        inside["grid"][name] = {"description": one.text} | many
    found = {section: keys[section] | {"properties": names} for section, names in inside.items()}
    return written() | {"properties": keys | found}


def settings_table() -> str:
    """The manual's table of settings, in Markdown."""
    rows = []
    for name, one in (SETTINGS | EXECUTION).items():
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
    rows = []
    for name, study in read_yaml(ROOT / "config/studies.yaml")["studies"].items():
        usual = "yes" if study["enabled"] is None else ""
        rows.append((f"`{name}`", study["code"], usual, study["title"]))
    return markdown(("Study", "Code", "In `make`", "What it asks"), rows)


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def allowed(one: Setting) -> str:
    """The values of a setting in a few words."""
    if one.names is not None:
        return ", ".join(f"`{word}`" for word in one.words)
    if one.type is bool:
        return "`true`, `false`"
    bounds = one.bounds.replace(">=", "≥").replace("<=", "≤")
    kind = "whole numbers" if one.type is tuple else ""
    return " ".join(filter(None, [kind, bounds, "or null" if one.optional else ""]))


class PlainDumper(yaml.SafeDumper):
    """YAML that says a value again where it stands again, whatever shares its memory."""

    def ignore_aliases(self, data: object) -> bool:
        return True


def registered() -> str:
    """What config/claims.yaml takes for granted, whatever somebody's own config.yaml says by now."""
    config, studies = (read_yaml(ROOT / f"config/{name}.yaml") for name in ("config", "studies"))
    shipped = {key: config[key] for key in ("grid", *SECTIONS)}
    decide = ("seeds", "first_seed", "grid", "settings", "variants", "options")
    shipped["studies"] = {
        name: {key: study[key] for key in decide if key in study} for name, study in studies["studies"].items()
    }
    return yaml.dump(shipped, Dumper=PlainDumper, sort_keys=False, default_flow_style=None)


def documents() -> dict[Path, str]:
    """The files that are written from the definitions, and what they should hold."""
    from bnstudy.tables import dictionary

    schema = "# The settings in it are written by `bnstudy document`, from workflow/bnstudy/settings.yaml.\n"
    schema += yaml.dump(config_schema(), Dumper=PlainDumper, sort_keys=False, allow_unicode=True, width=100)
    manual = ROOT / "config/README.md"
    text = manual.read_text(encoding="utf-8")
    tables = {"keys": keys_table(), "settings": settings_table(), "studies": studies_table()}
    for name, table in tables.items():
        before, mark, rest = text.partition(f"<!-- {name} -->\n")
        text = f"{before}{mark}{table}\n{rest[rest.index(f'<!-- /{name} -->') :]}"
    shipped = "# Written by `bnstudy document` from config/config.yaml and studies.yaml.\n"
    return {
        SCHEMAS / "config.schema.yaml": schema,
        SCHEMAS / "registered.yaml": shipped + registered(),
        manual: text,
        ROOT / "docs/tables.md": dictionary.manual(),
    }


def main(argv: list[str]) -> None:
    parser_of("document").parse_args(argv)
    for path, content in documents().items():
        with replacing(path) as file:
            file.write(content)
