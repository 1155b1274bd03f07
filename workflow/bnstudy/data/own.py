"""Images of the user's own: a folder of class folders, an .npz or a .csv, declared under `datasets`.

`register` adds them to the registry when the workflow is planned. It reads what it must for that: names of files,
headers and labels, and a hash of all content, so that an edit is noticed. `read` decodes them. Without a test part, a
sixth of each class becomes one: the images whose content has the smallest hashes, so that an image stays on its side
whatever is added beside it.
"""

import hashlib
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bnstudy.data.formats import LOOKS, READERS, readable
from bnstudy.data.registry import DATASETS, Dataset
from bnstudy.data.splits import test_size
from bnstudy.errors import UserError
from bnstudy.provenance import file_sha256

KEYS = ("path", "title", "size", "grey", "label")  # of an entry in the configuration
LEAST = 5  # training images of a class
# What a spreadsheet takes for a formula, where it opens a table with the name of a class.
FORMULA = re.compile(r"[=@].|[-+].*[^\d.]")


@dataclass(frozen=True)
class Own:
    """Where images of the user's own are, and how they are read."""

    path: Path = field(repr=False)  # not shown: results do not depend on where the images lie
    kind: str  # "folder", ".npz" or ".csv"
    resized: bool  # whether images are resized to the shape of the entry, or must have it
    grey: bool | None  # whether colours are taken away or added; None: all images are of one kind
    label: str  # the column of the labels in a CSV
    split_off: bool  # whether the test images are a part of the training images
    sha256: str  # of all files


def register(declared: Mapping[str, dict]) -> None:
    """Add the datasets of a configuration to the registry, and to each what was found, as `found`.

    Where the files are gone, what was found before is believed: results can be read without them. What cannot be used
    is refused, a sentence a line that names the dataset and, where there is one, a file.
    """
    problems = []
    for name, entry in declared.items():
        path = Path(entry["path"]).expanduser()
        try:
            if name in DATASETS and DATASETS[name].own is None:
                raise UserError("there is a dataset of this name already; choose another")
            if path.exists() or not entry.get("found"):
                entry["found"] = look_at(path, entry)
            DATASETS[name] = describe(name, path, entry)
        except UserError as problem:
            problems.append(f"datasets.{name}: {problem}.")
    if problems:
        raise UserError("\n".join(problems))


def recorded(declared: Mapping[str, dict]) -> dict[str, dict]:
    """The declarations without places that only this machine has; what was found there is kept."""
    return {
        name: entry | {"path": path.name} if path.is_absolute() else entry
        for name, entry in declared.items()
        for path in [Path(entry["path"])]
    }


def describe(name: str, path: Path, entry: Mapping) -> Dataset:
    """The registry's entry of an own dataset, from what was `found`."""
    known = dict(entry["found"])
    try:
        facts = {key: known.pop(key) for key in ("n_train", "n_test")}
        facts |= {key: tuple(known.pop(key)) for key in ("shape", "classes")}
        title, own = entry.get("title", name), Own(path, **known)
    except (KeyError, TypeError):
        raise UserError(f"there is no {path}, and `found` is not what was found there") from None
    return Dataset(name=name, title=title, licence="not stated", url="", own=own, **facts)


def look_at(path: Path, entry: Mapping) -> dict:
    """What is `found` at a path, as plain values."""
    kind = "folder" if path.is_dir() else path.suffix.lower()
    if not path.exists():
        raise UserError(f"there is no {path}; name a folder, an .npz or a .csv file")
    if kind not in LOOKS:
        raise UserError(f"{path} is neither a folder nor an .npz or .csv file; name one")
    size, grey = entry.get("size"), entry.get("grey")
    look = LOOKS[kind](path, entry)
    classes, counts = classes_of(path, look.labels)
    split_off = "test" not in look.labels
    n_test = sum(map(test_size, counts["train"])) if split_off else sum(counts["test"])
    channels, *shape = look.shape
    if size is not None:
        shape = (size, size) if isinstance(size, int) else size
    digest = hashlib.sha256()  # of the content of files and of their places below the path
    for file in look.files:
        with readable(file):
            content = file_sha256(file)
        digest.update(f"{file.relative_to(path).as_posix()}\0{content}\n".encode())
    return {
        "kind": kind,
        "resized": size is not None,
        "grey": grey,
        "label": entry.get("label", "label"),
        "split_off": split_off,
        "sha256": digest.hexdigest(),
        "n_train": sum(counts["train"]) - n_test * split_off,
        "n_test": n_test,
        "shape": [channels if grey is None else 1 if grey else 3, *shape],
        "classes": classes,
    }


def options(entry: Mapping) -> list[str]:
    """A declaration as options of `bnstudy prepare`."""
    words = []
    for key in (key for key in KEYS if key in entry):
        value = entry[key]
        if key == "grey":
            words.append("--grey" if value else "--no-grey")
        else:
            words += [f"--{key}", *map(str, value if isinstance(value, list) else [value])]
    return words


def summary(dataset: Dataset) -> str:
    """What was found, in a line."""
    channels, height, width = dataset.shape
    kind = "grey" if channels == 1 else "in colour"
    split = ", split off" if dataset.own.split_off else ""
    return (
        f"{dataset.name}: {dataset.n_train} training and {dataset.n_test} test images{split}, "
        f"{height} x {width} pixels, {kind}; {len(dataset.classes)} classes: "
        f"{', '.join(dataset.classes)}"
    )


def source(dataset: Dataset) -> str:
    """What a dataset is prepared from: a hash of its files and of how they are read."""
    return hashlib.sha256(repr(dataset).encode()).hexdigest()


def classes_of(path: Path, labels: Mapping[str, list[str]]) -> tuple[list[str], dict[str, list[int]]]:
    """The classes, numbers before words, and how many images of each a part has."""
    counts = {part: Counter(names) for part, names in labels.items()}
    classes = sorted(counts["train"], key=lambda c: (int(c) if c.isdecimal() else math.inf, c))
    if strange := [name for name in classes if not name.isprintable()]:
        raise UserError(f"{path}: the class {strange[0]!a} has no printable name; rename it")
    if formulas := [name for name in classes if FORMULA.match(name)]:
        raise UserError(f"{path}: a spreadsheet would run the class {formulas[0]}; rename it")
    if len(classes) < 2:
        raise UserError(f"{path} has one class only, {''.join(classes)}; at least two are needed")
    for part, least in (("train", LEAST), ("test", 1)):
        if part not in counts:
            least, part = LEAST + test_size(LEAST + 1), "train"
        if rare := [name for name in classes if counts[part][name] < least]:
            n = counts[part][rare[0]]
            raise UserError(
                f"{path}: there are too few images of class {rare[0]} for the {part} part, {n}; "
                f"add some or remove the class ({least} are needed at least)"
            )
    if unknown := sorted(set(counts.get("test", ())) - set(classes)):
        raise UserError(f"{path}: there are test images of class {unknown[0]} but none to train on")
    return classes, {part: [counts[part][name] for name in classes] for part in counts}


def read(dataset: Dataset) -> dict:
    """Decode a dataset: what :func:`bnstudy.data.prepared.write_prepared` takes.

    A file that cannot be used is refused by name.
    """
    import numpy as np
    import torch

    own = dataset.own
    size = dataset.shape[1:] if own.resized else None
    look = LOOKS[own.kind](own.path, {"label": own.label, "size": size})
    images, pixel_max = READERS[own.kind](dataset, look)
    places = {name: i for i, name in enumerate(dataset.classes)}
    labels = {part: np.array([places[name] for name in look.labels[part]]) for part in images}
    if own.split_off:
        hashes = [hashlib.sha256(b"test" + one.tobytes()).digest() for one in images["train"]]
        tested = np.zeros(len(hashes), dtype=bool)
        for label in np.unique(labels["train"]):
            members = np.flatnonzero(labels["train"] == label)
            smallest = sorted(members, key=lambda i: (hashes[i], i))
            tested[smallest[: test_size(len(members))]] = True
        images = {"train": images["train"][~tested], "test": images["train"][tested]}
        labels = {"train": labels["train"][~tested], "test": labels["train"][tested]}
    fields = {f"{part}_images": torch.from_numpy(one.copy()) for part, one in images.items()}
    fields |= {f"{part}_labels": torch.from_numpy(one) for part, one in labels.items()}
    return fields | {"pixel_max": pixel_max, "split_off": own.split_off}
