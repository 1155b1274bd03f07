"""Figures of the images: examples of every class, and the shares of the classes."""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bnstudy.report.look import GRID, MUTED, RULE, Drawing, Look
from bnstudy.report.measures import SPACE, listed
from bnstudy.report.panels import small_multiples

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
    said = f", {listed(names)}" if n <= NAMED else ""
    some = f"the first {SHOWN} of {n} classes" if n > SHOWN else "each class"
    return Drawing(
        label,
        f"Training images of {some.replace('each class', f'the {n} classes')} of {data.title}{said}: "
        "examples of one class differ visibly in shape and brightness.",
        f"The first training images of {some} of {data.title}, {height} by {width} pixels, in "
        "the order of the file and as stored (black is 0).",
        table,
        draw,
    )


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
    return Drawing(
        label,
        f"Class shares of {data.title} lie between {shares[least]:.1f} percent (class "
        f"{data.classes[least]}) and {shares[most]:.1f} percent (class {data.classes[most]}) of "
        "the training and validation images.",
        f"Share of each class in the {train.sum():,} images for training and validation and in the "
        f"{test.sum():,} test images of {data.title}. The vertical line is an equal share, "
        f"{100 / n:.3g}{SPACE}%.",
        table,
        draw,
    )
