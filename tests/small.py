"""Studies of config/studies.yaml, cut down to run on digits in a second."""

import tempfile
from pathlib import Path

import torch
import yaml

from bnstudy.studies import declaration
from bnstudy.studies.runner import Kept, run_grid

SHIPPED = Path(__file__).parents[1] / "config/studies.yaml"
CPU = torch.device("cpu")
INFERENCE_STATISTICS = {  # its options
    "hidden": [64, 64],
    "learning_rate": 0.001,
    "statistics_images": 300,
    "evaluation_images": 200,
    "staleness": {"batch_size": 128, "epochs": 1, "momenta": [0.1, None], "steps": [1, 2, 9]},
    "last_batch": {"batch_size": 64, "epochs": 2},
    "shift": {"batch_size": 64, "epochs": 1, "shifts": {"contrast": [1.0, 0.5], "brightness": [0.2], "noise": [0.2]}},
}


def all_shipped() -> dict[str, dict]:
    return yaml.safe_load(SHIPPED.read_text())["studies"]


def study(name: str, settings: dict | None = None, **changes: object) -> dict:
    """A study as it ships, with some keys replaced and some settings laid over its own.

    Seeds are from 1000 on, and images as many as there are.
    """
    shipped = all_shipped()[name]
    shipped.pop("first_seed", None)
    images = {"train_images": None, "validation_images": None}
    shipped["settings"] = shipped.get("settings", {}) | images | (settings or {})
    return shipped | changes


def rows(study: dict, data, seeds: int = 2, **cell: object) -> list[dict]:
    """What a job gives that runs through all axes but those of the cell."""
    loop = [axis for axis in declaration.axes(study) if axis not in cell]
    told = declaration.cell_part(study | {"loop": loop}, cell)
    with tempfile.TemporaryDirectory() as folder:
        return run_grid(told, data, seeds, CPU, Kept(Path(folder), {}, 1000), [])
