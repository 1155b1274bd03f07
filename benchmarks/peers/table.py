"""A table of a Hydra multirun: one row per job, with what the job returned."""

from pathlib import Path

import pandas as pd
from hydra.core.utils import JobReturn
from hydra.experimental.callback import Callback
from omegaconf import DictConfig


class Table(Callback):
    """Collects what the jobs return and writes it when the last one is done."""

    def __init__(self, path: str):
        self.path = Path(path).resolve()
        self.rows: list[dict] = []

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **_: object) -> None:
        cell = {"norm": config.norm, "batch_size": config.batch_size}
        self.rows.append(cell | {"val_accuracy": job_return.return_value})

    def on_multirun_end(self, config: DictConfig, **_: object) -> None:
        pd.DataFrame(self.rows).to_csv(self.path, index=False)
