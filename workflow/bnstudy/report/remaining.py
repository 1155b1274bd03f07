"""What is left of an effect under other conditions: the studies that repeat the main comparison."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bnstudy.report.measures import Comparison, counted, level_name, paired
from bnstudy.report.reading import read_table
from bnstudy.report.results import Level, Results

CONTROLS = ("input_scaling", "long_training")


@dataclass(frozen=True)
class Remaining:
    """The main comparison in a study with centred input, long training or both.

    `effects` are those on the steps to the target and on the test accuracy.
    """

    study: str
    scaling: str
    epochs: int
    effects: tuple[Comparison, Comparison]

    @property
    def condition(self) -> str:
        """`standardized pixels, 25 epochs`."""
        return f"{level_name('scaling', self.scaling)}, {counted(self.epochs, 'epoch')}"


def remaining(results: Results, level: Level) -> Iterator[Remaining]:
    """A level against the baseline, paired by seed, in each study and scaling that was run whole."""
    lacking = set() if results.missing is None else set(results.missing["part"])
    for study in CONTROLS:
        path, said = results.tables / f"{study}.csv", results.config["studies"].get(study, {})
        if not said.get("enabled") or study in lacking or not path.exists():
            continue
        runs = read_table(path, results.config)
        if results.axis not in runs:
            continue
        steps = runs["steps_to_target"].fillna(runs["n_steps"])
        runs["ln_steps_to_target"] = np.log(steps.astype(float))
        names = {"axis": results.axis, "level": level, "baseline": results.baseline}
        epochs = said["settings"].get("epochs", results.config["training"]["epochs"])
        for scaling, part in runs.groupby("scaling", sort=False):
            wide = part.pivot(index="seed", columns=results.axis)
            if not {level, results.baseline} <= set(part[results.axis]):
                continue
            pairs = (
                (name, wide[name][[level, results.baseline]].dropna())
                for name in ("ln_steps_to_target", "test_accuracy")
            )
            effects = tuple(
                paired(results.metric(name), pair[level], pair[results.baseline], **names)
                for name, pair in pairs
            )
            yield Remaining(study, scaling, epochs, effects)
