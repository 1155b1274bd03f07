"""Where the time of a step and of a whole run goes, drawn next to what they cannot do without."""

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.report.look import Drawing
from bnstudy.report.panels import small_multiples

# From seaborn's colour-blind-safe palette; the floor is grey.
COLORS = ("#de8f05", "#0173b2", "#029e73", "#cc78bc", "#949494")
FLOOR = "#c4c9cf"
BARS = {
    "A training step (ms)": ("step: ", ("gather", "forward", "backward", "update")),
    "A whole run of five epochs (s)": ("run: ", ("start", "data", "training", "evaluation", "everything else")),
}


def draw(rows: list[dict[str, str]]) -> str:
    """Stacked bars by phase, above each the time of its matrix products and updates, as SVG."""
    medians = {(row["quantity"], row["norm"], row["batch_size"]): float(row["median"]) for row in rows}
    cells = [(norm, size) for size in ("32", "256") for norm in ("none", "batch")]

    def floor(prefix: str, cell: tuple[str, str]) -> float:
        if prefix == "run: ":
            ratio = medians.get(("run / (products + updates)", *cell))
            return medians.get(("run: wall", *cell), 0.0) / ratio if ratio else 0.0
        parts = ("step: its matrix products alone", "step: its update alone")
        return sum(medians.get((part, *cell), 0.0) for part in parts)

    def figure() -> list[Figure]:
        titles = pd.DataFrame({"title": list(BARS)})
        options = {"yscale": None, "sharex": False, "sharey": False, "height": 2.9, "wrap": 1}
        panels = small_multiples(titles, None, "title", **options)
        for (_, title), ax in panels.axes.items():
            prefix, phases = BARS[title]
            for place, cell in enumerate(cells):
                ax.barh(place - 0.24, floor(prefix, cell), height=0.2, color=FLOOR)
                left = 0.0
                for phase, color in zip(phases, COLORS, strict=False):
                    width = medians.get((f"{prefix}{phase}", *cell), 0.0)
                    ax.barh(place + 0.12, width, left=left, height=0.46, color=color)
                    left += width
            handles = [ax.barh(0, 0, color=color, label=phase) for phase, color in zip(phases, COLORS, strict=False)]
            handles.append(ax.barh(0, 0, color=FLOOR, label="products and updates alone"))
            ax.set_yticks(range(len(cells)), [f"{norm}, {size}" for norm, size in cells])
            ax.invert_yaxis()
            ax.set_xlim(left=0)
            ax.legend(handles=handles, loc="upper center", bbox_to_anchor=(0.5, -0.1), ncols=2, frameon=False)
        return panels.finish()

    return Drawing("speed", "", "", None, figure).pictures().svg
