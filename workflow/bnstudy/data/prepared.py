"""The prepared dataset: one memory-mapped file of ``uint8`` images that every run opens.

The file is in safetensors format. What the tensors mean (name, title, classes, pixel range) is one JSON text in its
header, beside the SHA-256 that :func:`open_prepared` checks.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bnstudy.errors import UserError, refusal
from bnstudy.files import replacing

# Names and types of the tensors, in the order in which they are hashed.
TENSORS = {
    "train_images": torch.uint8,
    "train_labels": torch.int64,
    "test_images": torch.uint8,
    "test_labels": torch.int64,
}
# What the header tells besides, with its type; none of it is empty or 0.
FIELDS = {"name": str, "title": str, "classes": list, "pixel_max": int}


@dataclass(frozen=True)
class PreparedData:
    """An opened dataset, its tensors mapped from the file: pages are read when touched."""

    name: str  # key in the registry of datasets
    title: str  # for readers
    classes: tuple[str, ...]  # a label is an index into it
    pixel_max: int  # the brightest value a pixel can take (255; 16 for digits)
    train_images: torch.Tensor  # uint8, shape (N, C, H, W)
    train_labels: torch.Tensor  # int64, shape (N,)
    test_images: torch.Tensor
    test_labels: torch.Tensor
    sha256: str  # of the description and of all tensors: their types, shapes and bytes
    split_off: bool = False  # whether the test images were split off images that came without any


def write_prepared(path: str | Path, *, split_off: bool = False, source: str | None = None, **data: object) -> str:
    """Write a prepared dataset atomically, and return its SHA-256; the same data give the same bytes.

    Parameters are the attributes of :class:`PreparedData`, and `source`, which says what the user's own images were
    prepared from. A tensor of the wrong type or shape is a ValueError, and so is a label or pixel out of range; where
    the file cannot be written, that is refused and nothing stays behind.
    """
    given = PreparedData(**data, split_off=split_off, sha256="")  # a TypeError of other attributes
    tensors = {key: getattr(given, key).contiguous() for key in TENSORS}
    fields = {key: getattr(given, key) for key in FIELDS} | {"classes": list(given.classes)}
    fields |= {"split_off": True} if split_off else {}
    _check(fields, tensors)
    description = json.dumps(fields)
    sha256 = _sha256(description, tensors)
    header = {"sha256": sha256, "description": description} | ({"source": source} if source else {})
    path = Path(path)
    try:
        with replacing(path, binary=True) as file:
            # One key in the header: safetensors does not promise an order for several. And not save_file: it makes a
            # file that only its owner can read.
            file.write(save(tensors, {"bnstudy": json.dumps(header)}))
    except OSError as error:
        raise UserError(refusal(error) or f"cannot write {path}: {error}") from error
    return sha256


def open_prepared(path: str | Path) -> PreparedData:
    """Map a prepared dataset into memory and check every byte of it against its SHA-256.

    What it says and holds is checked too: whoever makes such a file can give it a right hash. A file that is missing,
    is not a prepared dataset, or was changed since it was written, is refused.
    """
    remedy = "make it again with `snakemake --forcerun prepare` or `bnstudy prepare`"
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["bnstudy"])
            if set(file.keys()) != set(TENSORS):
                raise ValueError("it has other tensors")
            tensors = {key: file.get_tensor(key) for key in TENSORS}
        fields = json.loads(header["description"])
        _check(fields, tensors)
        if _sha256(header["description"], tensors) != header["sha256"]:
            raise UserError(f"{path} was changed after it was written (wrong SHA-256): {remedy}")
    except OSError as error:
        raise UserError(f"cannot open the prepared dataset {path} ({error}): {remedy}") from error
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        told = f" ({error})" if isinstance(error, _Nonsense) else ""
        raise UserError(f"{path} is damaged or not a prepared dataset{told}: {remedy}") from error
    fields["classes"] = tuple(fields["classes"])
    return PreparedData(**fields, **tensors, sha256=header["sha256"])


class _Nonsense(ValueError):
    """What cannot be images with classes, as the end of a sentence."""


def _check(fields: dict, tensors: dict[str, torch.Tensor]) -> None:
    if wrong := next(_problems(fields, tensors), None):
        raise _Nonsense(wrong)


def _problems(fields: dict, tensors: dict[str, torch.Tensor]) -> Iterator[str]:
    """What is wrong; what comes later may only be asked where nothing is."""
    if not isinstance(fields, dict) or fields.keys() - {"split_off"} != FIELDS.keys():
        yield f"it must tell {', '.join(FIELDS)} and nothing else"
    for key, kind in FIELDS.items():
        if type(fields[key]) is not kind or not fields[key]:
            yield f"its {key} is {fields[key]!r}"
    classes, pixel_max = fields["classes"], fields["pixel_max"]
    if not all(isinstance(one, str) and one for one in classes):
        yield "a class has no name"
    if len(classes) != len(set(classes)) or len(classes) < 2:
        yield "it must have two classes or more, each with a name of its own"
    if not 0 < pixel_max < 256:
        yield f"its brightest pixel is {pixel_max}, not from 1 to 255"
    if type(fields.get("split_off", True)) is not bool:
        yield "its split_off is neither true nor false"
    for key, dtype in TENSORS.items():
        if tensors[key].dtype != dtype:
            yield f"{key} is {tensors[key].dtype}, expected {dtype}"
    for split in ("train", "test"):
        images, labels = tensors[f"{split}_images"], tensors[f"{split}_labels"]
        if images.ndim != 4 or labels.shape != images.shape[:1] or images.numel() == 0:
            yield (
                f"{split}: images must be (N, C, H, W) and labels (N,) with N > 0,"
                f" got {tuple(images.shape)} and {tuple(labels.shape)}"
            )
        # In NumPy: PyTorch would first start its threads.
        if pixel_max < 255 and images.numpy().max() > pixel_max:
            yield f"{split}: a pixel is brighter than {pixel_max}"
        if labels.numpy().min() < 0 or labels.numpy().max() >= len(classes):
            yield f"{split}: a label is outside 0..{len(classes) - 1}"
    shapes = [tuple(tensors[f"{split}_images"].shape[1:]) for split in ("train", "test")]
    if shapes[0] != shapes[1]:
        yield f"training images are {shapes[0]}, test images {shapes[1]}"


def _sha256(description: str, tensors: dict[str, torch.Tensor]) -> str:
    """Hash the description and the tensors, in the order of ``TENSORS``, without copying them."""
    digest = hashlib.sha256(description.encode())
    for key in TENSORS:
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy())
    return digest.hexdigest()
