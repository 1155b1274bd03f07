"""The figures of the studies, declared in report/figures.yaml.

A figure is a tidy frame that steps of `frames` make of the study's table, a kind of `report.plots`, and what
`overlays` draws into its panels. Nothing is drawn for an arm, a depth or a rate that the table does not have,
and runs are scored as the claims score them.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from bnstudy import settings
from bnstudy.report.look import DECLARED, Drawing
from bnstudy.report.plots import declared
from bnstudy.report.study_figures import frames, overlays
from bnstudy.report.words import Words, failures, seeds_in
from bnstudy.scoring import failed, fails_below


def drawing(label: str, said: dict, table: pd.DataFrame, options: dict) -> Drawing | None:
    """A figure as declared, of the table and the options of its study.

    None where a reduced grid has left nothing to draw.
    """
    said, frame, found = dict(said), table, {}
    runs, told = said.pop("runs", None), said.pop("told", {})
    chosen = options | {"looks": [*said.get("looks", ())]}
    for name, given in Words().filled(said.pop("frame"), options).items():
        made = getattr(frames, name)(frame, chosen, *([given] if given else []))
        frame, more = made if isinstance(made, tuple) else (made, {})
        if frame is None or frame.empty:
            return None
        found |= more
    if (looks := found.get("looks", said.get("looks"))) is not None:
        frame = frame[frame[said.get("hue", "norm")].isin(looks)]
        if frame.empty:
            return None
    words = options | {name: table.eval(expression) for name, expression in told.items()}
    if "seed" in table:
        words["seeds"] = seeds_in(frame if "seed" in frame else table)
    if "n_classes" in table:
        words["floor"] = fails_below(table["n_classes"].max())
    if "dataset" in table:
        names = table["dataset"].unique()
        words["datasets"] = [settings.level_name("dataset", name) for name in names]
    if runs:
        words["guessing"] = failures("guessing", table[failed(table)], runs)
    said |= {key: getattr(overlays, said[key]) for key in ("mark", "then") if said.get(key)}
    return declared(label, said, frame, words, found)


FIGURES: dict[str, dict[str, Callable[[pd.DataFrame, dict], Drawing | None]]] = {
    study: {label: partial(drawing, label, said) for label, said in figures.items()}
    for study, figures in DECLARED["studies"].items()
}
