"""The figures of the studies, declared in report/figures.yaml.

A figure is a tidy frame that `frames` makes of the study's table, a kind of `report.plots`, and what
`overlays` draws into its panels. Nothing is drawn for an arm, a depth or a rate that the table does not
have, and runs are scored as the claims score them.
"""

from collections.abc import Callable
from functools import partial

import pandas as pd

from bnstudy.report.look import DECLARED, Drawing
from bnstudy.report.plots import declared
from bnstudy.report.study_figures import frames, frames_of_the_layer, overlays
from bnstudy.report.words import guessing, seeds_in
from bnstudy.scoring import failed, fails_below

FRAMES = vars(frames) | vars(frames_of_the_layer)


def drawing(label: str, said: dict, table: pd.DataFrame, options: dict) -> Drawing | None:
    """A figure as declared, of the table and the options of its study.

    None where a reduced grid has left nothing to draw.
    """
    said = dict(said)
    frame, runs = said.pop("frame"), said.pop("runs", None)
    name, *given = next(iter(frame.items())) if isinstance(frame, dict) else (frame,)
    made = FRAMES[name](table, options, *given)
    frame, found = made if isinstance(made, tuple) else (made, {})
    if frame is None or frame.empty:
        return None
    words = dict(options)
    if "seed" in table:
        words["seeds"] = seeds_in(frame if "seed" in frame else table)
    if "n_classes" in table:
        words["floor"] = fails_below(table["n_classes"].max())
    if runs:
        words["guessing"] = guessing(table[failed(table)], runs)
    return declared(label, said, frame, words, found, vars(overlays))


FIGURES: dict[str, dict[str, Callable[[pd.DataFrame, dict], Drawing | None]]] = {
    study: {label: partial(drawing, label, said) for label, said in figures.items()}
    for study, figures in DECLARED["studies"].items()
}
