"""The prepared dataset: one memory-mapped file of ``uint8`` images that every run opens.

The file is in safetensors format. What the tensors mean (name, title, classes, pixel range) is one
JSON text in its header, beside the SHA-256 that :func:`open_prepared` checks.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from bnstudy.errors import UserError, refusal
from bnstudy.files import replacing

TENSORS = {
    "train_images": torch.uint8,
    "train_labels": torch.int64,
    "test_images": torch.uint8,
    "test_labels": torch.int64,
}
"""Names and types of the tensors, in the order in which they are hashed."""
FIELDS = {"name": str, "title": str, "classes": list, "pixel_max": int}
"""What the header tells besides, with its type; none of it is empty or 0."""


@dataclass(frozen=True)
class PreparedData:
    """An opened dataset.

    Attributes
    ----------
    name, title : str
        Key in the registry of datasets, and the name for readers.
    classes : tuple of str
        Class names; a label is an index into it.
    pixel_max : int
        The brightest value a pixel can take (255; 16 for digits).
    train_images, test_images : torch.Tensor
        ``uint8``, shape (N, C, H, W), mapped from the file: pages are read when touched.
    train_labels, test_labels : torch.Tensor
        ``int64``, shape (N,).
    sha256 : str
        Hash of the description and of all tensors: their types, shapes and bytes.
    split_off : bool
        Whether the test images were split off images that came without any.
    """

    name: str
    title: str
    classes: tuple[str, ...]
    pixel_max: int
    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor
    sha256: str
    split_off: bool = False


def write_prepared(
    path: str | Path,
    *,
    name: str,
    title: str,
    classes: tuple[str, ...],
    pixel_max: int,
    train_images: torch.Tensor,
    train_labels: torch.Tensor,
    test_images: torch.Tensor,
    test_labels: torch.Tensor,
    split_off: bool = False,
    source: str | None = None,
) -> str:
    """Write a prepared dataset atomically; the same data give the same bytes.

    Parameters are the attributes of :class:`PreparedData`, and `source`, which says what the user's
    own images were prepared from.

    Returns
    -------
    str
        The SHA-256 stored in the header.

    Raises
    ------
    ValueError
        If a tensor has the wrong type or shape, or a label or pixel is out of range.
    UserError
        If the file cannot be written; nothing stays behind then.
    """
    tensors = {
        "train_images": train_images.contiguous(),
        "train_labels": train_labels.contiguous(),
        "test_images": test_images.contiguous(),
        "test_labels": test_labels.contiguous(),
    }
    fields = {"name": name, "title": title, "classes": list(classes), "pixel_max": pixel_max}
    fields |= {"split_off": True} if split_off else {}
    _check_fields(fields)
    _check_types(tensors)
    _check_values(tensors, n_classes=len(classes), pixel_max=pixel_max)
    description = json.dumps(fields)
    sha256 = _sha256(description, tensors)
    header = {"sha256": sha256, "description": description} | ({"source": source} if source else {})
    # One key in the header: safetensors does not promise an order for several.
    metadata = {"bnstudy": json.dumps(header)}

    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path, binary=True) as file:
            # Not save_file: it makes a file that only its owner can read.
            file.write(save(tensors, metadata))
    except OSError as error:
        raise UserError(refusal(error) or f"cannot write {path}: {error}") from error
    return sha256


def open_prepared(path: str | Path) -> PreparedData:
    """Map a prepared dataset into memory and check every byte of it against its SHA-256.

    What it says and holds is checked too: whoever makes such a file can give it a right hash.

    Raises
    ------
    UserError
        If the file is missing, is not a prepared dataset, or was changed since it was written.
    """
    remedy = "make it again with `snakemake --forcerun prepare` or `bnstudy prepare`"
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["bnstudy"])
            if set(file.keys()) != set(TENSORS):
                raise ValueError("it has other tensors")
            tensors = {key: file.get_tensor(key) for key in TENSORS}
        sha256, description = header["sha256"], header["description"]
        fields = json.loads(description)
        _check_fields(fields)
        _check_types(tensors)
        if _sha256(description, tensors) != sha256:
            raise UserError(f"{path} was changed after it was written (wrong SHA-256): {remedy}")
        _check_values(tensors, len(fields["classes"]), fields["pixel_max"])
    except OSError as error:
        raise UserError(f"cannot open the prepared dataset {path} ({error}): {remedy}") from error
    except _Nonsense as error:
        raise UserError(
            f"{path} is damaged or not a prepared dataset ({error}): {remedy}"
        ) from error
    except (SafetensorError, KeyError, TypeError, ValueError, RecursionError) as error:
        raise UserError(f"{path} is damaged or not a prepared dataset: {remedy}") from error
    fields["classes"] = tuple(fields["classes"])
    return PreparedData(**fields, **tensors, sha256=sha256)


class _Nonsense(ValueError):
    """What cannot be images with classes, as the end of a sentence."""


def _check_fields(fields: dict) -> None:
    if not isinstance(fields, dict) or fields.keys() - {"split_off"} != FIELDS.keys():
        raise _Nonsense(f"it must tell {', '.join(FIELDS)} and nothing else")
    for key, kind in FIELDS.items():
        if type(fields[key]) is not kind or not fields[key]:
            raise _Nonsense(f"its {key} is {fields[key]!r}")
    classes, pixel_max = fields["classes"], fields["pixel_max"]
    if not all(isinstance(one, str) and one for one in classes):
        raise _Nonsense("a class has no name")
    if len(classes) != len(set(classes)) or len(classes) < 2:
        raise _Nonsense("it must have two classes or more, each with a name of its own")
    if not 0 < pixel_max < 256:
        raise _Nonsense(f"its brightest pixel is {pixel_max}, not from 1 to 255")
    if type(fields.get("split_off", True)) is not bool:
        raise _Nonsense("its split_off is neither true nor false")


def _check_types(tensors: dict[str, torch.Tensor]) -> None:
    for key, dtype in TENSORS.items():
        if tensors[key].dtype != dtype:
            raise _Nonsense(f"{key} is {tensors[key].dtype}, expected {dtype}")
    for split in ("train", "test"):
        images, labels = tensors[f"{split}_images"], tensors[f"{split}_labels"]
        if images.ndim != 4 or labels.shape != images.shape[:1] or images.numel() == 0:
            raise _Nonsense(
                f"{split}: images must be (N, C, H, W) and labels (N,) with N > 0,"
                f" got {tuple(images.shape)} and {tuple(labels.shape)}"
            )
    shapes = [tuple(tensors[f"{split}_images"].shape[1:]) for split in ("train", "test")]
    if shapes[0] != shapes[1]:
        raise _Nonsense(f"training images are {shapes[0]}, test images {shapes[1]}")


def _check_values(tensors: dict[str, torch.Tensor], n_classes: int, pixel_max: int) -> None:
    for split in ("train", "test"):
        # In NumPy: PyTorch would first start its threads.
        images, labels = (tensors[f"{split}_{kind}"].numpy() for kind in ("images", "labels"))
        if pixel_max < 255 and images.max() > pixel_max:
            raise _Nonsense(f"{split}: a pixel is brighter than {pixel_max}")
        if labels.min() < 0 or labels.max() >= n_classes:
            raise _Nonsense(f"{split}: a label is outside 0..{n_classes - 1}")


def _sha256(description: str, tensors: dict[str, torch.Tensor]) -> str:
    """Hash the description and the tensors, in the order of ``TENSORS``, without copying them."""
    digest = hashlib.sha256(description.encode())
    for key in TENSORS:
        tensor = tensors[key]
        digest.update(f"{key} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.numpy())
    return digest.hexdigest()
