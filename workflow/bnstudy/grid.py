"""From a configuration to its runs: every combination of the axes, each with all its settings."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import product

from bnstudy.settings import ALWAYS_NAMED, SETTINGS, Settings, make, run_name, text

RUN = r"dataset~[^/]+/norm~.+/seed~\d+"  # the form of the name of a run, a regular expression


def axes(config: Mapping) -> list[str]:
    """What identifies a run in every table: the axes of the grid, those of all studies first and last."""
    return ordered(config["grid"])


def ordered(names: Iterable[str]) -> list[str]:
    """Axes in the order of the settings: dataset and norm first, batch size and seed last."""
    further = [name for name in SETTINGS if name in set(names) and name not in ALWAYS_NAMED]
    return ["dataset", "norm", *further, "batch_size", "seed"]


def swept(config: Mapping) -> list[str]:
    """The axes that the treatment is compared in each value of: neither dataset nor seed nor itself."""
    out = {"dataset", "seed", config["compare"]["axis"]}
    return [name for name in axes(config) if name not in out]


def base(config: Mapping) -> dict[str, object]:
    """What the sections of the configuration say of the settings that are not swept."""
    said = {name: config.get(one.section, {}).get(name, one.default) for name, one in SETTINGS.items()}
    return {name: value for name, value in said.items() if name not in config["grid"]}


def runs(config: Mapping) -> dict[str, Settings]:
    """Every run of the grid by its name, in the order of the configuration, the first axis slowest."""
    grid, shared = config["grid"], make(base(config))
    names = [name for name in ordered(grid) if name in grid]
    axes = [[getattr(make({name: value}), name) for value in grid[name]] for name in names]
    found = (replace(shared, **dict(zip(names, values, strict=True))) for values in product(*axes))
    return {run_name(one): one for one in found}


def cell(settings: Settings, names: Sequence[str]) -> dict[str, object]:
    """The values of some axes of a run, as tables have them."""
    return {name: table_value(getattr(settings, name)) for name in names}


def table_value(value: object) -> object:
    """A value of a setting as tables have it."""
    return text(value) if isinstance(value, list | tuple) or value is None else value


def order(values: Iterable[object]) -> list[tuple]:
    """A key that sorts by values, numbers first and words after them."""
    return [(isinstance(value, str), value) for value in values]
