"""The forms of images of the user's own: class folders, .npz and .csv, each looked at and then read.

A look reads names, headers and labels only. Pixels come as bytes, whatever they were stored as.
"""

import csv
import math
import struct
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bnstudy.errors import UserError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

    from bnstudy.data.registry import Dataset

SUFFIXES = (".png", ".jpg", ".jpeg")
GREY, COLOUR = ("1", "L", "LA"), ("P", "PA", "RGB", "RGBA", "CMYK", "YCbCr")


class Look(NamedTuple):
    """What is known without decoding: classes of the images by part, their channels and size."""

    labels: dict[str, list[str]]
    shape: tuple[int, int, int]
    files: Sequence[Path]


BROKEN = (OSError, EOFError, RuntimeError, SyntaxError, ValueError)  # that libraries raise of files
BROKEN += (csv.Error, struct.error, zipfile.BadZipFile, zlib.error)


@contextmanager
def readable(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Say of what is raised where a file is read which file it was."""
    try:
        yield
    except (*BROKEN, *more) as error:
        told = error.strerror if isinstance(error, OSError) and error.strerror else error
        told = " ".join(str(told).split())
        raise UserError(f"{path} cannot be read ({told}); repair or remove it") from None


def label_names(values: Iterable[object], place: str) -> list[str]:
    """Labels as texts: words, or whole numbers from 0."""
    words = [str(value).strip() for value in values]
    try:
        numbers = [float(word.replace("_", "x")) for word in words]
    except ValueError:
        numbers = []
    for i, word in enumerate(words):
        if not word or word.lower() == "nan":
            raise UserError(f"{place}: image {i + 1} has no label; give it one or remove it")
        if numbers and not (numbers[i] >= 0 and numbers[i].is_integer()):
            raise UserError(
                f"{place}: the label of image {i + 1}, {word}, is out of range; labels are words or "
                "whole numbers from 0"
            )
    return [str(int(number)) for number in numbers] or words


# A folder of class folders, each full of images.


def look_at_folder(path: Path, _: Mapping) -> Look:
    """Every image and its class, by part, sorted by class and name."""
    names = {folder.name for folder in visible(path) if folder.is_dir()}
    parts = {"train": path}
    if "train" in names and (names <= {"train", "test"} or any(f.is_dir() for f in visible(path / "train"))):
        if other := sorted(names - {"train", "test"}):
            raise UserError(
                f"{path / other[0]} lies beside a train folder and is neither train nor test; move "
                "its images below one of them"
            )
        parts = {name: path / name for name in sorted(names, reverse=True)}
    labels: dict[str, list[str]] = {part: [] for part in parts}
    files: list[Path] = []
    for part, root in parts.items():
        folders = [folder for folder in visible(root) if folder.is_dir()]
        if not folders:
            raise UserError(f"{root} has no class folders; make one for each class, with its images")
        for folder in folders:
            images = visible(folder)
            for file in images:
                if not file.is_file() or file.suffix.lower() not in SUFFIXES:
                    raise UserError(f"{file} is no PNG or JPEG image; convert it or remove it from its class")
            if not images:
                raise UserError(f"{folder} is empty; add images of the class or remove its folder")
            files += images
            labels[part] += [folder.name] * len(images)
    with readable(files[0]), opened(files[0]) as image:
        # Of a JPEG only, for the EXIF of a PNG may stand at its end.
        turned = image.format == "JPEG" and image.getexif().get(0x0112, 1) > 4  # by a quarter
        size = image.size if turned else image.size[::-1]
        shape = (1 if image.mode in GREY else 3, *size)
    return Look(labels, shape, files)


def visible(folder: Path) -> list[Path]:
    """What is in a folder, sorted, without what systems hide there."""
    with readable(folder):
        names = sorted(folder.iterdir()) if folder.is_dir() else []
    return [f for f in names if f.name[0] != "." and f.name not in ("Thumbs.db", "desktop.ini")]


def opened(path: Path) -> "Image":
    """An image whose header was read."""
    from PIL import Image, UnidentifiedImageError

    with readable(path, Image.DecompressionBombError):
        try:
            image = Image.open(path, formats=("PNG", "JPEG"))
        except UnidentifiedImageError:
            raise ValueError("it is no PNG or JPEG image") from None
    if image.mode not in GREY + COLOUR:
        raise UserError(f"{path} has pixels of kind {image.mode}; convert it to 8 bits, grey or RGB")
    return image


def read_folder(dataset: "Dataset", look: Look) -> tuple[dict, int]:
    import numpy as np

    files = iter(look.files)
    images = {
        part: np.stack([decode(next(files), dataset, look.files[0]) for _ in names])
        for part, names in look.labels.items()
    }
    return images, 255


def decode(path: Path, dataset: "Dataset", first: Path) -> "np.ndarray":
    """An image of the dataset's shape; `first` is one that has it, to say what is different."""
    from PIL import Image, ImageOps

    own, channels = dataset.own, dataset.shape[0]
    with opened(path) as image:
        with readable(path, Image.DecompressionBombError):
            image.load()
            if image.format == "JPEG":
                image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA" if image.mode in COLOUR else "LA")
            if image.getchannel("A").getextrema() != (255, 255):
                raise UserError(f"{path} is partly transparent; give it a background")
        found = 1 if image.mode in GREY else 3
        if own.grey is None and found != channels:
            kinds = {1: "grey", 3: "in colour"}
            raise UserError(
                f"{path} is {kinds[found]}, but {first} is {kinds[channels]}; say `grey: true` to make all grey"
            )
        return fit(image, dataset, f"{path}", f"{first}")


def fit(image: "Image", dataset: "Dataset", place: str, first: str) -> "np.ndarray":
    """The bytes of an image in the dataset's shape, (channels, height, width)."""
    import numpy as np
    from PIL import Image

    channels, height, width = dataset.shape
    image = image.convert("L" if channels == 1 else "RGB")
    if image.size != (width, height):
        if not dataset.own.resized:
            raise UserError(
                f"{place} has {image.size[0]} x {image.size[1]} pixels, but {first} {width} x "
                f"{height}; give a `size` to make them equal"
            )
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


# An .npz with x_train, y_train and perhaps x_test, y_test.


def array_in(packed: zipfile.ZipFile, name: str) -> "np.ndarray":
    from numpy.lib import format as npy

    with packed.open(f"{name}.npy") as file:
        return npy.read_array(file, allow_pickle=False)  # a pickle may run anything


def shape_in(packed: zipfile.ZipFile, name: str) -> tuple[int, ...]:
    from numpy.lib import format as npy

    with packed.open(f"{name}.npy") as file:
        first = npy.read_magic(file) == (1, 0)
        return (npy.read_array_header_1_0 if first else npy.read_array_header_2_0)(file)[0]


def look_at_npz(path: Path, _: Mapping) -> Look:
    with readable(path), zipfile.ZipFile(path) as packed:
        names = {name.removesuffix(".npy") for name in packed.namelist()}
        parts = ["train", "test"] if names & {"x_test", "y_test"} else ["train"]
        if missing := [f"{a}_{part}" for part in parts for a in "xy" if f"{a}_{part}" not in names]:
            raise UserError(f"{path} has no {missing[0]}; save it with the others")
        shapes = {part: shape_in(packed, f"x_{part}") for part in parts}
        labels = {part: array_in(packed, f"y_{part}") for part in parts}
    for part, array in labels.items():
        n = (shapes[part] or (0,))[0]
        if array.shape not in ((n,), (n, 1)) or array.dtype.kind not in "biufU":
            raise UserError(
                f"{path}, y_{part}: {array.dtype} of shape {array.shape} for {n} images; save a word "
                "or a whole number for each"
            )
    arranged = {part: layout(shape, f"{path}, x_{part}")[0] for part, shape in shapes.items()}
    if len(set(arranged.values())) > 1:
        raise UserError(f"{path}: the images of x_train and x_test differ in shape; make them equal")
    named = {part: label_names(y.ravel().tolist(), f"{path}, y_{part}") for part, y in labels.items()}
    return Look(named, arranged["train"], [path])


def layout(shape: tuple[int, ...], place: str) -> tuple[tuple[int, int, int], tuple[int, ...]]:
    """Shape of an image, channels first, and the order of axes that brings an array to it."""
    if len(shape) == 3:
        return (1, *shape[1:]), (0, 1, 2)
    if len(shape) == 4 and shape[3] in (1, 3):
        return (shape[3], *shape[1:3]), (0, 3, 1, 2)
    if len(shape) == 4 and shape[1] in (1, 3):
        return shape[1:], (0, 1, 2, 3)
    raise UserError(
        f"{place} has shape {shape}; it must be (images, height, width), grey, or have 1 or 3 channels besides"
    )


def read_npz(dataset: "Dataset", look: Look) -> tuple[dict, int]:
    path = dataset.own.path
    with readable(path), zipfile.ZipFile(path) as packed:
        arrays = {part: array_in(packed, f"x_{part}") for part in look.labels}
    for part, array in arrays.items():
        axes = layout(array.shape, f"{path}, x_{part}")[1]
        arrays[part] = array.transpose(axes).reshape(-1, *look.shape)
    return as_bytes(arrays, dataset)


def as_bytes(arrays: dict, dataset: "Dataset") -> tuple[dict, int]:
    """Pixels as bytes, in the dataset's shape, and the brightest value they can have.

    They are whole numbers from 0 to 255 (or to less, such as 16), or shares from 0 to 1.
    """
    import numpy as np
    from PIL import Image

    path = dataset.own.path

    def refuse(part: str, wrong: np.ndarray, rule: str) -> None:
        if wrong.any():
            at = tuple(np.argwhere(wrong)[0])
            pixel = f"{path}: {part} image {at[0] + 1} has a pixel of {arrays[part][at]}"
            raise UserError(f"{pixel}; {rule}")

    for part, array in arrays.items():
        if array.dtype.kind not in "biuf":
            raise UserError(f"{path}: the {part} pixels are {array.dtype}; save numbers")
        allowed = "pixels are whole numbers from 0 to 255, or shares from 0 to 1"
        refuse(part, ~((array >= 0) & (array <= 255)), allowed)  # NaN too
    top = max(float(array.max()) for array in arrays.values())
    if top == 0:
        raise UserError(f"{path}: all pixels are 0; save images that show something")
    factor = 255.0 if top <= 1 else 1.0
    for part, array in arrays.items():
        if factor == 1 and array.dtype.kind == "f":
            rule = "where pixels are larger than 1 they must be whole numbers"
            refuse(part, array % 1 != 0, rule)
    fitted = {part: np.rint(array * factor).astype(np.uint8) for part, array in arrays.items()}
    for part, images in fitted.items():
        if images.shape[1:] != dataset.shape:
            planes = images[:, 0] if images.shape[1] == 1 else images.transpose(0, 2, 3, 1)
            resized = (fit(Image.fromarray(one), dataset, "an image", "others") for one in planes)
            fitted[part] = np.stack([*resized])
    return fitted, int(top) if 1 < top < 128 else 255


# A CSV, an image in each line: its label in one column, its pixels in all others.


def look_at_csv(path: Path, entry: Mapping) -> Look:
    label, size = entry.get("label", "label"), entry.get("size")
    labels = []
    with readable(path), open(path, encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file), [])
        if label not in header:
            raise UserError(f"{path} has no column {label!r}; name the labels' column by `label`")
        column, n = header.index(label), len(header) - 1
        for number, line in enumerate(file, 2):
            cells = next(csv.reader([line])) if '"' in line else line.split(",", column + 1)
            if len(cells) != n + 1 if '"' in line else line.count(",") != n:
                if not line.strip():
                    continue
                raise UserError(
                    f"{path}, line {number}: there are not as many values as in the header, {n + 1}; mend or remove it"
                )
            labels.append(cells[column])
    return Look({"train": label_names(labels, str(path))}, shape_of(path, n, size), [path])


def shape_of(path: Path, n: int, size: object) -> tuple[int, int, int]:
    """Channels, height and width of an image of so many pixels: that of `size`, or a square."""
    height, width = (size, size) if isinstance(size, int) else size or (0, 0)
    sizes = [(height, width)] * 2 + [(math.isqrt(n // channels),) * 2 for channels in (1, 3)]
    for channels, (height, width) in zip((1, 3, 1, 3), sizes, strict=True):
        if n == channels * height * width > 0:
            return channels, height, width
    raise UserError(
        f"{path} has {n} columns of pixels, which make no square, grey or colour; give `size` as [height, width]"
    )


def read_csv(dataset: "Dataset", look: Look) -> tuple[dict, int]:
    import numpy as np

    own = dataset.own
    with readable(own.path), open(own.path, encoding="utf-8-sig", newline="") as file:
        header = next(csv.reader(file))
        columns = [i for i, name in enumerate(header) if i != header.index(own.label)]
        how = {"delimiter": ",", "quotechar": '"', "comments": None, "ndmin": 2}
        pixels = np.loadtxt(file, usecols=columns, dtype=np.float32, **how)
    channels, *shape = look.shape
    # In colour, as image files have it: red, green and blue of a pixel side by side.
    return as_bytes({"train": pixels.reshape(-1, *shape, channels).transpose(0, 3, 1, 2)}, dataset)


LOOKS = {"folder": look_at_folder, ".npz": look_at_npz, ".csv": look_at_csv}
READERS = {"folder": read_folder, ".npz": read_npz, ".csv": read_csv}
