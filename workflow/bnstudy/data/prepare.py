"""From raw files, or the user's own images, to the one file that every training run opens.

torchvision's dataset classes decode what they know (:mod:`bnstudy.data.prepared` has the format).
"""

import argparse
import json
from pathlib import Path

from bnstudy import plugins
from bnstudy.cli import parser_of
from bnstudy.data import own
from bnstudy.data.download import archives, known, matches, torchvision_class
from bnstudy.data.registry import DATASETS, Dataset
from bnstudy.errors import UserError
from bnstudy.logs import say


def prepare(dataset: Dataset, raw: str | Path | None, out: str | Path) -> str:
    """Decode a dataset once, into the file every run opens; returns its SHA-256.

    `raw` is the folder made by :func:`bnstudy.data.download.download`, None where nothing is fetched. What is missing,
    cannot be read, is not the right file, or not what the registry says, is refused.
    """
    from bnstudy.data.prepared import write_prepared

    fields = {"pixel_max": dataset.pixel_max}
    if dataset.own:
        say(own.summary(dataset))
        fields |= own.read(dataset) | {"source": own.source(dataset)}
    elif dataset.read:
        fields |= dataset.read()
    elif dataset.reader is None:
        raise UserError(f"{dataset.name} has no reader: its entry in the registry must name one")
    elif raw is None:
        raise UserError(f"{dataset.name} is prepared from its raw files: name them with --raw")
    else:
        _verify_raw(dataset, Path(raw))
        fields |= _read_with_torchvision(dataset, Path(raw))
    for part, n in (("train", dataset.n_train), ("test", dataset.n_test)):
        shapes = fields[f"{part}_images"].shape, (n, *dataset.shape)
        found, said = (" x ".join(map(str, shape)) for shape in shapes)
        if found != said:
            raise UserError(
                f"{dataset.name}: its {part} images are {found}, but the registry says {said}: mend the "
                "entry, or prepare the right files"
            )
    return write_prepared(out, name=dataset.name, title=dataset.title, classes=dataset.classes, **fields)


def _verify_raw(dataset: Dataset, raw: Path) -> None:
    """Check every raw file against the registry, or what was recorded when it was verified."""
    remedy = f"remove {raw} and run `bnstudy download {dataset.name} --out {raw}`"
    for archive in archives(dataset):
        for member, digest in archive.members.items():
            if not (raw / member).is_file():
                raise UserError(f"{raw / member} is missing: {remedy}")
            try:
                files = {} if digest else json.loads((raw / "source.json").read_text())["files"]
                digest = digest or f"sha256:{files[member]['sha256']}"
            except (OSError, ValueError, KeyError, TypeError) as error:
                raise UserError(f"{raw / 'source.json'} cannot be read: {remedy}") from error
            if not matches(digest, raw / member):
                raise UserError(f"{raw / member} is not the right file any more: {remedy}")


def _read_with_torchvision(dataset: Dataset, raw: Path) -> dict:
    import torch

    tensors = {}
    for split in ("train", "test"):
        decoded = torchvision_class(dataset)(raw, train=split == "train", download=False)
        images = torch.as_tensor(decoded.data)
        grey = images.ndim == 3
        tensors[f"{split}_images"] = images[:, None] if grey else images.permute(0, 3, 1, 2)
        tensors[f"{split}_labels"] = torch.as_tensor(decoded.targets, dtype=torch.int64)
    return tensors


def main(argv: list[str]) -> None:
    parser = parser_of("prepare")
    parser.add_argument("dataset", help=f"{', '.join(DATASETS)}, a plug-in's, or one of your own")
    parser.add_argument("--raw", type=Path, help="folder made by `bnstudy download`")
    parser.add_argument("--out", required=True, type=Path, help="file to write (.safetensors)")
    parser.add_argument("--plugins", type=Path, nargs="*", default=[], help="files of your own")
    mine = parser.add_argument_group("images of your own (config/README.md)")
    mine.add_argument("--path", help="a folder of class folders, an .npz or a .csv")
    mine.add_argument("--title", help="name for readers (default: the dataset's)")
    mine.add_argument("--size", type=int, nargs="+", help="height and width, or one number")
    mine.add_argument("--grey", action=argparse.BooleanOptionalAction, help="default: as found")
    mine.add_argument("--label", help="the label's column in a CSV (default: label)")
    arguments = parser.parse_args(argv)
    plugins.load(arguments.plugins)
    if arguments.path is not None:
        told = {key: value for key in own.KEYS if (value := getattr(arguments, key)) is not None}
        if len(told.get("size", (1, 1))) != 2:
            told["size"] *= 2
        own.register({arguments.dataset: told})
    prepare(known(arguments.dataset), arguments.raw, arguments.out)
