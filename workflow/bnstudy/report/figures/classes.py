"""Which classes are taken for which."""

from matplotlib.figure import Figure

from bnstudy.report.design import averaging
from bnstudy.report.look import Drawing
from bnstudy.report.marks import heat
from bnstudy.report.measures import decimal
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import Results

MOST_CLASSES, MOST_LEVELS = 12, 4  # more would be too small to read


def confusion(results: Results, dataset: str) -> Drawing | None:
    """Wrong classes of the test images, a panel per level; None with many classes, or unrecorded."""
    names, axis = results.facts[dataset].classes, results.axis
    if results.confusion is None or len(names) > MOST_CLASSES or axis == "dataset":
        return None
    counts = results.select(results.confusion, dataset=dataset)
    counts = counts.groupby([axis, "true", "predicted"], as_index=False, sort=False)["count"].sum()
    if counts.empty:
        return None
    of_class = counts.groupby([axis, "true"])["count"].transform("sum")
    counts["share of the class (%)"] = (100 * counts["count"] / of_class).round(3)
    levels = results.levels[:MOST_LEVELS]
    wrong = counts[(counts["true"] != counts["predicted"]) & counts[axis].isin(levels)]
    most = float(wrong["share of the class (%)"].max())
    n = len(names)

    def draw() -> list[Figure]:
        panels = small_multiples(
            wrong, None, axis, cols=levels, col_name=results.level_name, xscale=None,
            yscale=None, x="taken for", y="class", wrap=1, height=0.24 * n + 0.5,
        )  # fmt: skip
        for ax, part in panels:
            wide = part.pivot(index="true", columns="predicted", values="share of the class (%)")
            wide = wide.reindex(index=range(n), columns=range(n))
            text = wide.map(lambda x: f"{x:.0f}" if x >= 9.95 else f"{x:.1f}" if x >= 0.05 else "")
            heat(ax, wide, text, vmin=0, vmax=most or 1)
            ax.set_xticks(
                [i + 0.5 for i in range(n)], names, rotation=90 * (max(map(len, names)) > 2)
            )
            ax.set_yticks([i + 0.5 for i in range(n)], names)
        return panels.finish()

    def worst(level: object) -> str:
        row = wrong[wrong[axis] == level].nlargest(1, "share of the class (%)").iloc[0]
        share = decimal(row["share of the class (%)"], 1)
        return (
            f"{results.arm(level)}, {share} percent of class {names[int(row['true'])]} are taken for "
            f"{names[int(row['predicted'])]}"
        )

    return Drawing(
        results.label("confusion", dataset),
        f"The most frequent mistake: {'; '.join(worst(level) for level in levels if len(wrong[wrong[axis] == level]))}.",
        f"What the test images of {results.title(dataset)} were taken for where it was wrong, in "
        f"percent of their class (rows), {averaging(results)}over all seeds; runs that diverged are "
        "left out.",
        counts.assign(
            true=[names[i] for i in counts["true"]],
            predicted=[names[i] for i in counts["predicted"]],
        ),
        draw,
    )
