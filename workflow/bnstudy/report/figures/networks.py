"""The networks as blocks, read off the models that the runs built."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from bnstudy import grid, settings
from bnstudy.networks import models
from bnstudy.report.look import BLUE, DECLARED, INK, MUTED, WIDTH, Drawing
from bnstudy.report.measures import SPACE, counted, listed
from bnstudy.report.plots import pictured
from bnstudy.report.results import Results

if TYPE_CHECKING:
    from bnstudy.networks.weights import Layer

WEIGHTED, PLAIN = DECLARED["blocks"]["weighted"], DECLARED["blocks"]["plain"]
RESHAPING = ("Flatten", "MapMeans")
LINE, GAP = 0.17, 0.2  # inches of a line of text, and between two blocks
MOST = 4  # networks that are drawn
SAID = 5  # blocks that the alternative text names


class Network(NamedTuple):
    """A network of the grid: what tells it from the others, its layers, and what it is given."""

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
    return PLAIN.get(
        layer.kind, f"{name.lower()}alization" if name.endswith("norm") else layer.kind
    )


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
    table = pd.DataFrame(
        {
            "network": network.title,
            "block": number,
            "times": block.times,
            "layer": words_of(layer),
            "shape": sizes(layer.shape),
            "parameters": layer.n_parameters,
        }
        for network in shown
        for number, block in enumerate(blocks_of(network.layers), start=1)
        for layer in block.layers
    )
    said = [phrase(block) for block in blocks_of(shown[-1].layers)]
    if len(said) > SAID:
        said[2:-2] = [f"{len(said) - 4} blocks more"]
    return pictured(
        "networks", results.label("networks", dataset), table,
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

    def arrow(start: float, shape: Sequence[int]) -> None:
        look = {"arrowstyle": "-|>", "color": MUTED, "lw": 1.1, "shrinkA": 0, "shrinkB": 0}
        ax.annotate("", (middle, start + GAP), (middle, start), arrowprops=look)
        where = {"ha": "right", "va": "center"}
        ax.text(middle - 0.12, start + GAP / 2, sizes(shape), **where, color=MUTED, fontsize=7.5)

    arrow(top, network.shape)
    y = top + GAP
    for block in blocks:
        height = LINE * len(block.layers) + 0.1
        box = {"fc": "none", "ec": INK, "lw": 1.1}
        ax.add_patch(Rectangle((left, y), right - left, height, **box))
        for i, layer in enumerate(block.layers):
            normalizes = layer.kind not in PLAIN and layer.kind not in WEIGHTED
            style = {"color": BLUE, "weight": "bold"} if normalizes else {"color": INK}
            place = y + 0.05 + LINE * (i + 0.5)
            ax.text(middle, place, words_of(layer), ha="center", va="center", **style)
        beside = [f"{SPACE}\N{MULTIPLICATION SIGN}{SPACE}{block.times}"] if block.times > 1 else []
        if block.residual:
            ends = y - GAP / 2, y + height - LINE
            ax.plot([middle, right + 0.15, right + 0.15, right], [ends[0], ends[0], ends[1], ends[1]],
                    color=MUTED, lw=1.1)  # fmt: skip
            beside.insert(0, "+ shortcut")
        ax.text(right + 0.2, y + height / 2, "\n".join(beside), va="center", fontsize=7.5)
        y += height
        arrow(y, block.layers[-1].shape)
        y += GAP
    return figure
