"""What is left of an effect under other conditions: the studies that repeat the main comparison."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from bnstudy.report.measures import Comparison, Level, counted, level_name, paired
from bnstudy.report.results import Results, read_table

CONTROLS = ("input_scaling", "long_training")


class Remaining(NamedTuple):
    """The main comparison in a study with centred input, long training or both."""

    study: str
    scaling: str
    condition: str  # `standardized pixels, 25 epochs`
    effects: list[Comparison]  # on the steps to the target and on the test accuracy


def remaining(results: Results, level: Level) -> Iterator[Remaining]:
    """A level against the baseline, paired by seed, in each study and scaling that was run whole."""
    lacking = set() if results.missing is None else set(results.missing["part"])
    names = {"axis": results.axis, "level": level, "baseline": results.baseline}
    for study in CONTROLS:
        path, said = results.tables / f"{study}.csv", results.config["studies"].get(study, {})
        if not said.get("enabled") or study in lacking or not path.exists():
            continue
        runs = read_table(path, results.config)
        steps = runs["steps_to_target"].fillna(runs["n_steps"])
        runs["ln_steps_to_target"] = np.log(steps.astype(float))
        epochs = said["settings"].get("epochs", results.config["training"]["epochs"])
        for scaling, part in runs.groupby("scaling", sort=False):
            if not {level, results.baseline} <= set(part.get(results.axis, ())):
                continue
            wide, effects = part.pivot(index="seed", columns=results.axis), []
            for name in ("ln_steps_to_target", "test_accuracy"):
                pair = wide[name][[level, results.baseline]].dropna()
                after, before = pair[level], pair[results.baseline]
                effects.append(paired(results.metric(name), after, before, **names))
            condition = f"{level_name('scaling', scaling)}, {counted(epochs, 'epoch')}"
            yield Remaining(study, scaling, condition, effects)
