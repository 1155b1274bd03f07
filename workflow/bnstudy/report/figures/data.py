"""Figures of the images: examples and shares of every class, and which are taken for which."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bnstudy.report.design import averaging
from bnstudy.report.look import DECLARED, GRID, MUTED, RULE, Drawing, Look, looks_of
from bnstudy.report.marks import Plot, heat
from bnstudy.report.measures import decimal, listed
from bnstudy.report.panels import small_multiples
from bnstudy.report.plots import declared, pictured
from bnstudy.report.results import Results

MOST_CLASSES, MOST_LEVELS = 12, 4  # of a confusion matrix; more would be too small to read
SHOWN = 20  # classes of which examples are drawn
NAMED = 10  # classes that an alternative text names one by one


def sample_images(data: object, label: str = "samples", per_class: int = 6) -> Drawing:
    """The first training images of every class, as they are stored: a row per class.

    `data` is a `bnstudy.data.prepared.PreparedData`.
    """
    labels, names = data.train_labels.numpy(), data.classes[:SHOWN]
    images = data.train_images.numpy()
    picks = [np.flatnonzero(labels == c)[:per_class] for c in range(len(names))]
    table = pd.DataFrame(
        [
            (name, int(index), round(float(images[index].mean()) / data.pixel_max, 4))
            for name, indices in zip(names, picks, strict=True)
            for index in indices
        ],
        columns=["class", "index in the training set", "mean brightness (0 to 1)"],
    )

    def draw() -> list[Figure]:
        cells = [[image_cell(images[i], data.pixel_max) for i in pick] for pick in picks]
        empty = np.zeros_like(next(cell for row in cells for cell in row))
        side = len(empty)
        rows = [row + [empty] * (per_class - len(row)) for row in cells]
        figure = Figure(figsize=(0.36 * per_class + 1, 0.36 * len(names) + 0.1))
        ax = figure.subplots()
        ax.imshow(np.vstack([np.hstack(row) for row in rows]), interpolation="none")
        ax.set_xticks([])
        ax.set_yticks((np.arange(len(names)) + 0.5) * side - 0.5, names)
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        return [figure]

    height, width = images.shape[-2:]
    n = len(data.classes)
    some = f"the first {SHOWN} of {n} classes"
    return pictured(
        "samples", label, table, draw, title=data.title, height=height, width=width,
        classes=some if n > SHOWN else f"the {n} classes", some=some if n > SHOWN else "each class",
        named=f", {listed(names)}" if n <= NAMED else "",
    )  # fmt: skip


def image_cell(image: np.ndarray, pixel_max: int) -> np.ndarray:
    """A stored image (C, H, W) as (H, W, 4) in [0, 1], with a transparent margin.

    Small images are enlarged a whole number of times, so that their pixels stay squares.
    """
    factor = max(1, 56 // image.shape[-1])
    channels = image.astype(float).repeat(factor, axis=1).repeat(factor, axis=2) / pixel_max
    colour = np.broadcast_to(channels, (3, *channels.shape[1:])) if len(channels) == 1 else channels
    cell = np.concatenate([colour, np.ones((1, *channels.shape[1:]))]).transpose(1, 2, 0)
    margin = max(1, cell.shape[1] // 28)
    return np.pad(cell, ((margin, margin), (margin, margin), (0, 0)))


def class_balance(data: object, label: str = "balance") -> Drawing:
    """The share of every class in the training and in the test set.

    `data` is a `bnstudy.data.prepared.PreparedData`.
    """
    n = len(data.classes)
    train, test = (
        np.bincount(labels.numpy(), minlength=n) for labels in (data.train_labels, data.test_labels)
    )
    shares, of_test = (100 * counts / counts.sum() for counts in (train, test))
    table = pd.DataFrame(
        {
            "class": data.classes,
            "training and validation images": train,
            "share of training and validation (%)": shares.round(2),
            "test images": test,
            "share of test (%)": of_test.round(2),
        }
    )

    def draw() -> list[Figure]:
        each, letters = (0.21, 8) if n <= 30 else (0.13, 6)
        panels = small_multiples(
            table, None, None, x="share of images (%)", y="class", yscale=None,
            height=each * n + 0.15,
        )  # fmt: skip
        ax, looks = panels.axes[None, None], Look("test", MUTED, marker="D")
        sns.barplot(x=shares, y=data.classes, color=GRID, saturation=1, width=0.62, ax=ax)
        ax.plot(of_test, range(n), **looks.point(4))
        ax.axvline(100 / n, **RULE)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0, labelsize=letters)
        bars = Patch(color=GRID, label="training and validation")
        return panels.finish([bars, looks.handle(ls="none")])

    least, most = int(shares.argmin()), int(shares.argmax())
    return pictured(
        "balance", label, table, draw, title=data.title, low=shares[least], high=shares[most],
        least=data.classes[least], most=data.classes[most], train=train.sum(), test=test.sum(),
        equal=100 / n,
    )  # fmt: skip


def confusion(results: Results, dataset: str) -> Drawing | None:
    """Wrong classes of the test images, a panel per level; None with many classes, or unrecorded."""
    names, axis, share = results.facts[dataset].classes, results.axis, "share of the class (%)"
    if results.confusion is None or len(names) > MOST_CLASSES or axis == "dataset":
        return None
    counts = results.select(results.confusion, dataset=dataset)
    counts = counts.groupby([axis, "true", "predicted"], as_index=False, sort=False)["count"].sum()
    if counts.empty:
        return None
    of_class = counts.groupby([axis, "true"])["count"].transform("sum")
    counts[share] = (100 * counts["count"] / of_class).round(3)
    levels = results.levels[:MOST_LEVELS]
    wrong = counts[(counts["true"] != counts["predicted"]) & counts[axis].isin(levels)]
    n, most = len(names), float(wrong[share].max()) or 1

    def mark(ax: Axes, part: pd.DataFrame, of: Plot) -> None:
        wide = part.pivot(index="true", columns="predicted", values="value")
        wide = wide.reindex(index=range(n), columns=range(n))
        text = wide.map(lambda x: f"{x:.0f}" if x >= 9.95 else f"{x:.1f}" if x >= 0.05 else "")
        heat(ax, wide, text, vmin=0, vmax=most)
        places = [i + 0.5 for i in range(n)]
        ax.set_xticks(places, names, rotation=90 * (max(map(len, names)) > 2))
        ax.set_yticks(places, names)

    worst = wrong.sort_values(share, ascending=False, kind="stable").drop_duplicates(axis)
    mistakes = [
        f"{results.arm(level)}, {decimal(row[share], 1)} percent of class {names[row['true']]} are "
        f"taken for {names[row['predicted']]}"
        for level in levels
        for row in worst[worst[axis] == level].to_dict("records")
    ]
    said = {i: names[i] for i in range(n)}
    found = {
        "mark": mark,
        "hue": axis,
        "looks": looks_of(levels, name=results.level_name),
        "col": axis,
        "cols": levels,
        "col_name": results.level_name,
        "height": 0.24 * n + 0.5,
        "data": counts.assign(**{key: counts[key].map(said) for key in ("true", "predicted")}),
        "mistakes": "; ".join(mistakes),
        "dataset": results.title(dataset),
        "averaging": averaging(results),
    }
    label, wrong = results.label("confusion", dataset), wrong.assign(value=wrong[share])
    return declared(label, DECLARED["pictures"]["confusion"], wrong, {}, found, empty=True)
