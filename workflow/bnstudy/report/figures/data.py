"""Figures of the images: examples of every class, and the shares of the classes."""

from itertools import zip_longest

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from bnstudy.report.look import GRID, MUTED, RULE, Drawing, Layout, Look
from bnstudy.report.measures import SPACE, listed
from bnstudy.report.panels import small_multiples

SIDE_BY_SIDE, SHOWN = 10, 20  # classes in a row of examples on a page, and in the whole figure


def sample_images(data: object, label: str = "samples", per_class: int = 6) -> Drawing:
    """The first training images of every class, as they are stored.

    `data` is a `bnstudy.data.prepared.PreparedData`.
    """
    labels, names = data.train_labels.numpy(), data.classes[:SHOWN]
    picks = [np.flatnonzero(labels == c)[:per_class] for c in range(len(names))]
    images = data.train_images.numpy()
    table = pd.DataFrame(
        [
            (name, int(index), round(float(images[index].mean()) / data.pixel_max, 4))
            for name, indices in zip(names, picks, strict=True)
            for index in indices
        ],
        columns=["class", "index in the training set", "mean brightness (0 to 1)"],
    )

    def draw(layout: Layout) -> Figure:
        step = len(names) if layout.narrow else SIDE_BY_SIDE
        count, blocks = (4 if layout.narrow else per_class), range(0, len(names), step)
        width = 0.62 * layout.width if layout.narrow else layout.width
        crowded = not layout.narrow and max(map(len, names)) > 7
        figure = Figure()
        axes = figure.subplots(len(blocks), squeeze=False)[:, 0]
        height = 0.0
        for ax, start in zip(axes, blocks, strict=True):
            chosen = [*picks[start : start + step]]
            chosen += [picks[0][:0]] * (
                0 if layout.narrow or len(blocks) == 1 else step - len(chosen)
            )
            cells = [[image_cell(images[i], data.pixel_max) for i in p[:count]] for p in chosen]
            mosaic = tiled(cells if layout.narrow else list(map(list, zip_longest(*cells))))
            height += (
                0.94 * width * mosaic.shape[0] / mosaic.shape[1] + 0.05 + 0.25 * (not layout.narrow)
            )
            side = mosaic.shape[0 if layout.narrow else 1] / len(chosen)
            words = names[start : start + step]
            places = (np.arange(len(words)) + 0.5) * side - 0.5
            ax.imshow(mosaic, interpolation="none")
            ax.set(xticks=[], yticks=[])
            (ax.set_yticks if layout.narrow else ax.set_xticks)(places, words)
            ax.tick_params(length=0, labelrotation=35 if crowded else 0)
            ax.xaxis.tick_top()
            ax.grid(visible=False)
            ax.spines[:].set_visible(False)
        figure.set_size_inches(width, height)
        return figure

    height, width = images.shape[-2:]
    n = len(data.classes)
    said = f", {listed(names)}" if n <= SIDE_BY_SIDE else ""
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


def tiled(grid: list[list[np.ndarray | None]]) -> np.ndarray:
    """Images of one shape in rows and columns; a missing one leaves its place empty."""
    empty = np.zeros_like(next(cell for row in grid for cell in row if cell is not None))
    rows = zip_longest(*zip_longest(*grid))  # rows of equal length
    return np.concatenate(
        [np.concatenate([empty if c is None else c for c in row], axis=1) for row in rows], axis=0
    )


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

    def draw(layout: Layout) -> Figure:
        each, letters = (0.21, 8) if n <= 3 * SIDE_BY_SIDE else (0.13, 6)
        panels = small_multiples(
            table, None, None, layout, x="share of images (%)", y="class", yscale=None,
            height=each * n + 0.15, width=5.6,
        )  # fmt: skip
        ax, looks = panels.axes[None, None], Look("test", MUTED, marker="D", filled=False)
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
