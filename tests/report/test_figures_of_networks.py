"""Networks as blocks and confusion matrices: what is drawn is what was built and counted."""

import pandas as pd
import pytest
import synthetic
import torch

from bnstudy.data.prepared import PreparedData
from bnstudy.networks import models
from bnstudy.networks.weights import count_parameters
from bnstudy.report import exhibits, pictures
from bnstudy.report.look import WIDTH
from bnstudy.report.pictures import blocks_of, words_of
from bnstudy.report.results import DatasetFacts, Results
from bnstudy.settings import Settings

FACTS = {"digits": DatasetFacts("Digits", 3, 400, 100, ("a", "b", "c"))}
NOTHING = pd.DataFrame()


@pytest.fixture(scope="module")
def data():
    images, labels = torch.zeros(4, 1, 8, 8, dtype=torch.uint8), torch.zeros(4, dtype=torch.int64)
    return PreparedData("digits", "Digits", ("a", "b", "c"), 16, images, labels, images, labels, "0")


def results_of(config, **tables):
    runs = pd.DataFrame({"dataset": ["digits"]})
    return Results(config, FACTS, runs, NOTHING, NOTHING, NOTHING, **tables)


def blocks(data, **axes):
    config = synthetic.config(**axes)
    return [
        [(b.times, [words_of(layer) for layer in b.layers]) for b in blocks_of(network.layers)]
        for network in pictures.networks(config, data)
    ]


def test_blocks_are_those_of_the_model(data):
    assert blocks(data, kind=["mlp"], norm=["batch"], hidden=[[5]]) == [
        [(1, ["linear, 5 units", "batch normalization", "ReLU"]), (1, ["linear, 3 units"])]
    ]
    assert blocks(data, kind=["cnn"], norm=["group:2"], channels=[[4]], activation=["tanh"]) == [
        [
            (1, ["convolution, 4 channels", "max pooling", "group normalization", "tanh"]),
            (1, ["maps in a row", "linear, 3 units"]),
        ]
    ]
    (resnet,) = blocks(data, kind=["resnet"], norm=["none"], depth=[14])
    two = ["convolution, {} channels", "ReLU"] * 2
    assert resnet == [
        (1, ["convolution, 16 channels", "ReLU"]),
        *((2, [word.format(width) for word in two]) for width in (16, 32, 64)),
        (1, ["mean of each map", "linear, 3 units"]),
    ]


def test_every_different_network_of_the_grid_is_shown_once_with_its_parameters(data):
    config = synthetic.config(kind=["mlp", "cnn"], norm=["none", "batch"], learning_rate=[0.1, 1])
    found = pictures.networks(config, data)
    assert [network.title for network in found] == [
        "no normalization, multilayer perceptron",
        "no normalization, convolutional network",
        "batch normalization, multilayer perceptron",
        "batch normalization, convolutional network",
    ]
    table = exhibits.parameters(results_of(config), "digits", found).frame
    for network, kind, norm in zip(found, ["mlp", "cnn"] * 2, ["none"] * 2 + ["batch"] * 2, strict=True):
        model = models.build(Settings(kind=kind, norm=norm), (1, 8, 8), 3)
        assert table[network.title].iat[-1] == count_parameters(model)
    drawing = pictures.network_blocks(results_of(config), "digits", found)
    assert drawing.data["parameters"].sum() == sum(table[one.title].iat[-1] for one in found)
    assert "max pooling, batch normalization and ReLU" in drawing.finding
    assert [picture.get_figwidth() for picture in drawing.draw()] == [WIDTH] * len(found)
    assert drawing.pictures().svg.startswith("<svg")


def test_a_confusion_matrix_by_hand():
    rows = [
        {"dataset": "digits", "norm": norm, "batch_size": size, "true": i, "predicted": j, "count": n}
        for size in (32, 64)
        for norm, counts in (("none", [[8, 2, 0], [0, 10, 0], [5, 0, 5]]), ("batch", [[9, 1, 0], [0, 10, 0], [0, 0, 10]]))
        for i, row in enumerate(counts)
        for j, n in enumerate(row)
    ]  # fmt: skip
    config = synthetic.config(norm=["none", "batch"], batch_size=[32, 64])
    runs = pd.DataFrame(rows)[["dataset", "norm", "batch_size"]].drop_duplicates().assign(seed=0)
    results = Results(config, FACTS, runs, NOTHING, NOTHING, NOTHING, confusion=pd.DataFrame(rows))
    drawing = pictures.confusion(results, "digits")
    assert "without normalization, 50.0 percent of class c are taken for a" in drawing.finding
    assert "with batch normalization, 10.0 percent of class a are taken for b" in drawing.finding
    data = drawing.data.set_index(["norm", "true", "predicted"])
    assert data.loc[("none", "a", "b"), "count"] == 4  # over both batch sizes
    assert data.loc[("none", "a", "b"), "share of the class (%)"] == 20
    letters = {text.get_text() for picture in drawing.draw() for ax in picture.axes for text in ax.texts}
    assert letters == {"20", "50", "10", ""}  # what was right is not there
    many = {"digits": DatasetFacts("Digits", 40, 400, 100, tuple(map(str, range(40))))}
    assert (
        pictures.confusion(
            Results(config, many, runs, NOTHING, NOTHING, NOTHING, confusion=pd.DataFrame(rows)), "digits"
        )
        is None
    )
