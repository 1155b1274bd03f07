"""Figures and theme as report/figures.yaml declares them: its texts filled in, its looks and kinds found."""

from collections.abc import Callable, Mapping

import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from bnstudy.report import look, plots
from bnstudy.report.look import DECLARED, Drawing, Look
from bnstudy.report.words import Words

NORMS = look.looks_of(("none", "batch", "layer"), name=plots.name_of("norm"))
THEORY = {"color": look.INK, "lw": 1.1, "ls": (0, look.DASHED), "zorder": 4}
BAR = {"lw": 3.2, "solid_capstyle": "butt"}
LEGEND = {
    "theory": lambda label: Line2D([], [], label=label, **THEORY),
    "bar": lambda label: Line2D([], [], label=label, color=look.MUTED, **BAR),
    "area": lambda label: Patch(color=look.GRID, label=label),
}


def look_of(said: str | Look | Mapping[str, str]) -> Look:
    """A look as declared: that of a norm, or its name, colour, dash and marker."""
    if isinstance(said, Look):
        return said
    if isinstance(said, str):
        return NORMS[said]
    named = {key: getattr(look, said[key]) for key in ("color", "dash") if key in said}
    return Look(**said | named)


def declared(
    label: str,
    said: Mapping[str, object],
    frame: pd.DataFrame,
    words: Mapping[str, object],
    options: Mapping[str, object],
    functions: Mapping[str, Callable] | None = None,
    *,
    empty: bool = False,
) -> Drawing | None:
    """A figure of a frame with further options; `empty` draws it without rows too, else that is None.

    `functions` are those that its `mark` and `then` name.
    """
    said = Words().filled(said, words) | options | {"words": words}
    if "looks" in said:
        said["looks"] = {level: look_of(one) for level, one in said["looks"].items()}
        frame = frame[frame[said.get("hue", "norm")].isin(said["looks"])]
    for key in ("mark", "then"):
        if isinstance(said.get(key), str):
            said[key] = functions[said[key]]
    if "legend" in said:
        said["legend"] = [LEGEND[kind](text) for text, kind in said["legend"].items()]
    if frame.empty and not empty:
        return None
    return plots.plot(said.pop("kind"), label, frame, said.pop("caption"), **said)


def texts(name: str, **words: object) -> tuple[str, str]:
    """Alternative text and caption of a picture."""
    said = {key: DECLARED["pictures"][name][key] for key in ("finding", "caption")}
    return tuple(Words().filled(said, words).values())
