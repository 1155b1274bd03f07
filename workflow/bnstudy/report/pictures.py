"""Pictures of their own making: the images and their classes, the layer, and the networks of the runs.

Their texts are declared in report/figures.yaml.
"""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.text import Text

from bnstudy import grid, settings
from bnstudy.networks import models
from bnstudy.report.design import averaging
from bnstudy.report.look import BLUE, DECLARED, GRID, INK, MUTED, RULE, WIDTH, Drawing, Look
from bnstudy.report.marks import Plot, category_axis, heat, note, threads
from bnstudy.report.measures import SPACE, counted, decimal, listed
from bnstudy.report.plots import declared, pictured
from bnstudy.report.results import Results

if TYPE_CHECKING:
    from bnstudy.networks.weights import Layer

PICTURES = DECLARED["pictures"]
MOST_CLASSES, MOST_LEVELS = 12, 4  # of a confusion matrix; more would be too small to read
SHOWN = 20  # classes of which examples are drawn
NAMED = 10  # classes that an alternative text names one by one
WEIGHTED, PLAIN = DECLARED["blocks"]["weighted"], DECLARED["blocks"]["plain"]
RESHAPING = ("Flatten", "MapMeans")
LINE, GAP = 0.17, 0.2  # inches of a line of text, and between two blocks
MOST = 4  # networks that are drawn
SAID = 5  # blocks that the alternative text names


def sample_images(data: object, label: str = "samples", per_class: int = 6) -> Drawing:
    """The first training images of every class of a `PreparedData`, as stored: a row per class."""
    labels, names = data.train_labels.numpy(), data.classes[:SHOWN]
    images = data.train_images.numpy()
    picks = [np.flatnonzero(labels == c)[:per_class] for c in range(len(names))]
    rows = [
        (name, int(i), round(float(images[i].mean()) / data.pixel_max, 4))
        for name, pick in zip(names, picks, strict=True)
        for i in pick
    ]
    columns = ["class", "index in the training set", "mean brightness (0 to 1)"]

    def draw() -> list[Figure]:
        cells = [[image_cell(images[i], data.pixel_max) for i in pick] for pick in picks]
        empty = np.zeros_like(next(cell for row in cells for cell in row))
        figure = Figure(figsize=(0.36 * per_class + 1, 0.36 * len(names) + 0.1))
        ax = figure.subplots()
        rows = [np.hstack(row + [empty] * (per_class - len(row))) for row in cells]
        ax.imshow(np.vstack(rows), interpolation="none")
        ax.set_xticks([])
        ax.set_yticks((np.arange(len(names)) + 0.5) * len(empty) - 0.5, names)
        ax.tick_params(length=0)
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        return [figure]

    n, some = len(data.classes), [f"the {len(data.classes)} classes", "each class"]
    some = some if n <= SHOWN else [f"the first {SHOWN} of {n} classes"] * 2
    named = f", {listed(names)}" if n <= NAMED else ""
    words = {"title": data.title, "size": images.shape[-2:], "some": some, "named": named}
    return pictured("samples", label, pd.DataFrame(rows, columns=columns), draw, **words)


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
    """The share of every class of a `PreparedData` in the training and in the test set."""
    n = len(data.classes)
    sets = (data.train_labels, data.test_labels)
    train, test = (np.bincount(labels.numpy(), minlength=n) for labels in sets)
    shares, of_test = (100 * counts / counts.sum() for counts in (train, test))
    table = pd.DataFrame({"class": data.classes})
    parts = {"training and validation": (train, shares), "test": (test, of_test)}
    for name, (counts, share) in parts.items():
        table[f"{name} images"], table[f"share of {name} (%)"] = counts, share.round(2)
    dots, (each, letters) = Look("test", MUTED, marker="D"), (0.21, 8) if n <= 30 else (0.13, 6)

    def mark(ax: Axes, part: pd.DataFrame, of: Plot) -> None:
        sns.barplot(x=shares, y=data.classes, color=GRID, saturation=1, width=0.62, ax=ax)
        ax.plot(of_test, range(n), **dots.point(4))
        ax.axvline(100 / n, **RULE)
        ax.grid(axis="y", visible=False)
        ax.tick_params(axis="y", length=0, labelsize=letters)

    bars = Patch(color=GRID, label="training and validation", lw=0.8)
    found = {"mark": mark, "height": each * n + 0.15, "data": table}
    found["legend"] = [bars, dots.handle(ls="none")]
    words = {"title": data.title, "train": train.sum(), "test": test.sum(), "equal": 100 / n}
    for end, i in (("least", shares.argmin()), ("most", shares.argmax())):
        words[end] = data.classes[i], shares[i]
    return declared(label, PICTURES["balance"], table.assign(value=shares), words, found)


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
    for key in ("true", "predicted"):
        counts[key] = counts[key].map(dict(enumerate(names)))
    levels = results.levels[:MOST_LEVELS]
    wrong = counts[(counts["true"] != counts["predicted"]) & counts[axis].isin(levels)]
    n, most = len(names), float(wrong[share].max()) or 1

    def mark(ax: Axes, part: pd.DataFrame, of: Plot) -> None:
        wide = part.pivot(index="true", columns="predicted", values="value")
        wide = wide.reindex(index=names, columns=names)
        text = wide.map(lambda x: f"{x:.0f}" if x >= 9.95 else f"{x:.1f}" if x >= 0.05 else "")
        heat(ax, wide, text, vmin=0, vmax=most)
        places = np.arange(n) + 0.5
        ax.set_xticks(places, names, rotation=90 * (max(map(len, names)) > 2))
        ax.set_yticks(places, names)

    worst = wrong.sort_values(share, ascending=False, kind="stable").drop_duplicates(axis)
    mistakes = [
        f"{results.arm(level)}, {decimal(row[share], 1)} percent of class {row['true']} are "
        f"taken for {row['predicted']}"
        for level in levels
        for row in worst[worst[axis] == level].to_dict("records")
    ]
    found = {"mark": mark, "hue": axis, "col": axis, "cols": levels, "data": counts}
    found |= {"col_name": results.level_name, "height": 0.24 * n + 0.5}
    words = {"dataset": results.title(dataset), "averaging": averaging(results)}
    words["mistakes"] = "; ".join(mistakes)
    label, wrong = results.label("confusion", dataset), wrong.assign(value=wrong[share])
    return declared(label, PICTURES["confusion"], wrong, words, found)


def four_samples(table: pd.DataFrame) -> Drawing:
    """The steps of batch normalization on a small batch, as points on number lines.

    The table has a row per sample; its columns are the successive values, whose names label the lines.
    """
    frame = table.melt(var_name="line", value_name="value")

    def mark(ax: Axes, part: pd.DataFrame, plot: Plot) -> None:
        threads(ax, table.to_numpy(float), np.broadcast_to(range(len(table.columns)), table.shape))
        for y, line in enumerate(table):
            values = np.sort(table[line].to_numpy(float))
            ax.plot(values.mean(), y, marker="|", color=INK, ms=17, mew=1.2, zorder=1)
            ax.plot(values, [y] * len(values), ls="none", marker="o", color=BLUE)
            for rank, value in enumerate(values):
                text, offset = decimal(value, 2).removesuffix(".00"), 6 if rank % 2 else -13
                note(ax, text, (value, y), (0, offset), ha="center")
        category_axis(ax, "y", list(table))

    means, spreads = table.mean().round(9) + 0, table.std(ddof=0)  # + 0: zero has no sign
    found = {"mark": mark, "looks": {line: Look(line) for line in table}, "data": table}
    found |= {"means": [*means], "spreads": [*spreads], "height": 0.72 * len(means) - 0.25}
    return declared("four-samples", PICTURES["four-samples"], frame, {}, found)


def arrow(ax: Axes, start: tuple, end: tuple, **look: object) -> None:
    look = {"arrowstyle": "-|>", "lw": 1.1, "shrinkA": 0, "shrinkB": 0} | look
    ax.annotate("", end, start, arrowprops=look)


def computation() -> Drawing:
    """The layer as a diagram: what is computed in training and what in evaluation mode."""

    def draw() -> list[Figure]:
        drawn = Figure(figsize=(WIDTH, 4.3))
        ax = drawn.subplots()
        middle = {"ha": "center", "va": "center"}

        def at(step: float, mode: float) -> tuple[float, float]:
            return 1.75 * mode, -1.05 * step

        def leads(start: Text, end: Text, color: str, bend: float = 0, dash: str = "-") -> None:
            """An arrow from box to box: matplotlib ends it at their edges."""
            look = {"color": color, "lw": 1.3, "ls": dash, "connectionstyle": f"arc3,rad={bend}"}
            look |= {"patchA": start.get_bbox_patch(), "patchB": end.get_bbox_patch()}
            arrow(ax, start.get_position(), end.get_position(), **look)

        boxes = {}
        for mode, (name, formulas) in enumerate(PICTURES["formulas"].items()):
            color = INK if mode else BLUE
            for step, formula in enumerate(formulas):
                edge = {"boxstyle": "square,pad=0.7", "fc": "none", "ec": color, "lw": 1.3}
                edge |= {"ls": "--"} if step == mode == 1 else {}
                boxes[step, mode] = ax.text(*at(step, mode), formula, bbox=edge, **middle)
            ax.text(*at(-0.5, mode), f"{name} mode", weight="bold", **middle)
            for step in (1, 2) if mode else (0, 1, 2):
                leads(boxes[step, mode], boxes[step + 1, mode], color)
            # The values themselves go past the statistics.
            leads(boxes[0, mode], boxes[2, mode], color, -0.45 if mode else 0.45)
        leads(boxes[1, 0], boxes[1, 1], MUTED, dash="--")
        ax.text(*at(0.9, 0.5), r"$\alpha$", ha="center", color=MUTED, fontsize=7.5)
        ax.set(xlim=(-1.05, 2.8), ylim=(-3.6, 0.75))
        ax.set_axis_off()
        return [drawn]

    return pictured("computation", "computation", pd.DataFrame(PICTURES["steps"]), draw)


class Network(NamedTuple):
    """A network of the grid: what tells it from the others, what it is given, and its layers."""

    title: str
    shape: tuple[int, ...]
    layers: "tuple[Layer, ...]"


class Block(NamedTuple):
    """A layer with weights and what stands behind it, or a residual block; `times` in a row."""

    layers: "list[Layer]"
    residual: bool
    times: int = 1


def networks(config: Mapping, data: object) -> list[Network]:
    """The networks that the grid builds for a dataset, a `PreparedData`; equal ones once."""
    from bnstudy.networks.weights import describe_layers

    names = [name for name, one in settings.SETTINGS.items() if one.section == "model"]
    shape = tuple(data.train_images.shape[1:])
    runs = (run for run in grid.runs(config).values() if run.dataset == data.name)
    chosen = {tuple(getattr(run, name) for name in names): run for run in reversed([*runs])}
    varied = [name for i, name in enumerate(names) if len({key[i] for key in chosen}) > 1]
    found: dict[tuple, list[str]] = {}
    for run in reversed(chosen.values()):
        given = models.MODELS[run.kind].input_shape(shape)
        layers = describe_layers(models.build(run, shape, len(data.classes)), given)
        title = ", ".join(settings.level_name(name, getattr(run, name)) for name in varied)
        found.setdefault((given, tuple(layers)), []).append(title or models.MODELS[run.kind].title)
    return [Network(listed(titles), *key) for key, titles in found.items()]


def words_of(layer: "Layer") -> str:
    """A layer in words; what is neither weights nor known otherwise normalizes."""
    if layer.kind in WEIGHTED:
        return WEIGHTED[layer.kind].format(layer.shape[0])
    name = layer.kind.removesuffix("1d").removesuffix("2d").replace("Norm", " norm")
    name = f"{name.lower()}alization" if name.endswith("norm") else layer.kind
    return PLAIN.get(layer.kind, name)


def blocks_of(layers: "Sequence[Layer]") -> list[Block]:
    """Layers in blocks, equal residual blocks in a row as one.

    A block begins with weights, or the change of shape before them, or a part of the network.
    """
    blocks: list[Block] = []
    place = None  # the part of the network that the last layer is in
    for layer in layers:
        part, residual = layer.name.partition(".")[0], ".body." in f".{layer.name}"
        last = blocks[-1] if blocks else Block([], residual=True)
        begins = residual or last.residual or layer.kind in RESHAPING
        begins = begins or (layer.kind in WEIGHTED and last.layers[-1].kind not in RESHAPING)
        if begins and part != place:
            blocks.append(Block([], residual))
        blocks[-1].layers.append(layer)
        place = part

    def alike(block: Block) -> object:
        kinds = [(layer.kind, layer.shape) for layer in block.layers]
        return kinds if block.residual else id(block)

    rows = (list(same) for _, same in groupby(blocks, alike))
    return [Block(first.layers, first.residual, 1 + len(more)) for first, *more in rows]


def sizes(shape: Sequence[int]) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, shape))


def network_blocks(results: Results, dataset: str, found: Sequence[Network]) -> Drawing:
    """The networks as blocks, from the image to the logits; of many, the first ones."""
    shown = found[:MOST]
    columns = ["network", "block", "times", "layer", "shape", "parameters"]
    rows = [
        (network.title, n, times, words_of(layer), sizes(layer.shape), layer.n_parameters)
        for network in shown
        for n, (layers, _, times) in enumerate(blocks_of(network.layers), start=1)
        for layer in layers
    ]
    said = list(map(phrase, blocks_of(shown[-1].layers)))
    if len(said) > SAID:
        said[2:-2] = [f"{len(said) - 4} blocks more"]
    return pictured(
        "networks", results.label("networks", dataset), pd.DataFrame(rows, columns=columns),
        lambda: [picture(network) for network in shown],
        title=shown[-1].title, blocks=", then ".join(said), dataset=results.title(dataset),
        rest=f" Drawn beside it: {len(shown) - 1} more." if len(shown) > 1 else "",
        more=f" The first {MOST} of {len(found)} networks." if len(found) > MOST else "",
    )  # fmt: skip


def phrase(block: Block) -> str:
    if block.residual:
        return f"{counted(block.times, 'residual block')} of {words_of(block.layers[0])}"
    return listed([words_of(layer) for layer in block.layers])


def picture(network: Network) -> Figure:
    """Boxes from top to bottom with arrows between them, in inches."""
    title, blocks = textwrap.wrap(network.title, 40), blocks_of(network.layers)
    inside = 0.4 + GAP + sum(LINE * len(block.layers) + 0.1 + GAP for block in blocks)
    top, tall = LINE * len(title) + 0.15, LINE * len(title) + inside + 0.1
    figure = Figure(figsize=(WIDTH, tall), layout="none")
    ax = figure.add_axes((0, 0, 1, 1), xlim=(0, WIDTH), ylim=(tall, 0))
    ax.set_axis_off()
    ax.text(0.15, 0.06, "\n".join(title), va="top", weight="bold")
    left, right = 0.15, WIDTH - 0.95
    middle = (left + right) / 2

    def passes(start: float, shape: Sequence[int]) -> None:
        arrow(ax, (middle, start), (middle, start + GAP), color=MUTED)
        where = {"ha": "right", "va": "center"}
        ax.text(middle - 0.12, start + GAP / 2, sizes(shape), **where, color=MUTED, fontsize=7.5)

    passes(top, network.shape)
    y = top + GAP
    for block in blocks:
        height = LINE * len(block.layers) + 0.1
        ax.add_patch(Rectangle((left, y), right - left, height, fc="none", ec=INK, lw=1.1))
        for i, layer in enumerate(block.layers):
            normalizes = layer.kind not in PLAIN and layer.kind not in WEIGHTED
            style = {"color": BLUE, "weight": "bold"} if normalizes else {"color": INK}
            place = y + 0.05 + LINE * (i + 0.5)
            ax.text(middle, place, words_of(layer), ha="center", va="center", **style)
        beside = [f"{SPACE}\N{MULTIPLICATION SIGN}{SPACE}{block.times}"] if block.times > 1 else []
        if block.residual:
            way = np.repeat([y - GAP / 2, y + height - LINE], 2)
            ax.plot([middle, right + 0.15, right + 0.15, right], way, color=MUTED, lw=1.1)
            beside.insert(0, "+ shortcut")
        ax.text(right + 0.2, y + height / 2, "\n".join(beside), va="center", fontsize=7.5)
        y += height
        passes(y, block.layers[-1].shape)
        y += GAP
    return figure
