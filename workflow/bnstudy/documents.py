"""Reading YAML, and what it does behind one's back."""

import re
from collections.abc import Iterator
from pathlib import Path

import yaml

# That of libyaml where it is there: several times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

# What YAML takes for a number, and what anybody does.
NUMBER = re.compile(r"[-+]?[0-9][0-9_xXobBa-fA-F:.]*")
PLAIN = re.compile(r"[-+]?(0|[1-9][0-9]*)(\.[0-9]*)?([eE][-+]?[0-9]+)?")


def read_yaml(path: Path) -> object:
    """What a YAML file holds: plain values, never objects."""
    loader = LOADER(path.read_text(encoding="utf-8"))
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def surprises(path: Path) -> Iterator[str]:
    """Sentences about what YAML would make of a file without a word: a lost section, another number."""
    try:
        open_nodes = [yaml.compose(path.read_text(encoding="utf-8"), Loader=LOADER)]
    except (OSError, ValueError, yaml.YAMLError):
        return  # whoever reads it tells
    seen = set()
    while open_nodes:
        node = open_nodes.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        line = node.start_mark.line + 1
        if isinstance(node, yaml.MappingNode):
            lines: dict[str, int] = {}
            for key, value in node.value:
                at, name = key.start_mark.line + 1, str(key.value)
                if name in lines:
                    yield (
                        f"{path}: {name} stands in line {lines[name]} and again in line {at}, and the "
                        "first would be lost; write it once."
                    )
                lines[name] = at
                open_nodes.append(value)
        elif isinstance(node, yaml.SequenceNode):
            open_nodes += node.value
        elif not node.style and NUMBER.fullmatch(node.value) and not PLAIN.fullmatch(node.value):
            read = yaml.safe_load(node.value)
            if isinstance(read, int | float):
                yield f"{path}: YAML reads {node.value} in line {line} as {read}; write that."
