"""Reading YAML."""

from pathlib import Path

import yaml

# That of libyaml where it is there: several times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_yaml(path: Path) -> object:
    """What a YAML file holds: plain values, never objects."""
    loader = LOADER(path.read_text(encoding="utf-8"))
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()
