"""What is fine alone but not together in a run: one definition for the configuration and `bnstudy train`."""

from collections.abc import Sequence

from bnstudy.data.registry import Dataset
from bnstudy.data.splits import split_sizes
from bnstudy.errors import UserError
from bnstudy.networks import models, norms
from bnstudy.settings import Settings
from bnstudy.training import observers


def run_problem(settings: Settings, data: Dataset, observed: Sequence[str | dict] = ()) -> tuple[str, str] | None:
    """The setting that makes a run impossible and why, as the end of a sentence; None if nothing does."""
    fraction = settings.validation_fraction
    n_train, n_validation = split_sizes(data.n_train, fraction)
    if min(n_train, n_validation) < 1:
        return "validation_fraction", (
            f"{fraction} splits the {data.n_train} training images of {data.name} into {n_train} "
            f"for training and {n_validation} for validation; both need at least one"
        )
    if settings.train_images is not None:
        if settings.train_images > n_train:
            return "train_images", (
                f"{settings.train_images} is more than the {n_train} training images of "
                f"{data.name}; write {n_train} or less"
            )
        n_train = settings.train_images
    if found := models.problem(settings, data.shape):
        return found
    if reason := observers.refused(observed, settings.norm):
        return "norm", reason
    if reason := batch_problem(settings.batch_size, settings.norm, n_train, data.name):
        sizes = range(1, n_train + 1)
        fits = (n for n in sizes if not batch_problem(n, settings.norm, n_train, ""))
        nearest = min(fits, key=lambda n: abs(n - settings.batch_size), default=None)
        choice = f"the nearest valid choice is {nearest}" if nearest else "there are too few images"
        return "batch_size", f"{settings.batch_size} {reason}; {choice}"
    return None


def batch_problem(size: int, norm: str, n_train: int, dataset: str) -> str | None:
    """Why a batch size cannot be trained with."""
    if size > n_train:
        return f"is larger than the {n_train} training images of {dataset}"
    found, _ = norms.parse(norm)
    if size < found.least_images:
        return f"cannot be used with {found.title}: one sample has no variance"
    if 0 < n_train % size < found.least_images:
        return (
            f"leaves a last batch of one sample out of the {n_train} training images of {dataset}, "
            f"and {found.title} cannot train on one sample"
        )
    return None


def check_batches(n_train: int, settings: Settings) -> None:
    """Refuse batches larger than the training split, or that leave one sample, which has no variance."""
    if reason := batch_problem(settings.batch_size, settings.norm, n_train, "the study"):
        raise UserError(f"batch_size: {settings.batch_size} {reason}; choose another.")
