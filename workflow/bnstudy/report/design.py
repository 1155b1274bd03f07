"""What was trained and how it was measured, in sentences made from the config."""

from itertools import product

import pandas as pd

from bnstudy import provenance, settings, statistics
from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.networks.models import MODELS
from bnstudy.report.measures import (
    ALPHA,
    capitalized,
    counted,
    decimal,
    level_name,
    listed,
    short_name,
)
from bnstudy.report.results import Results, as_level
from bnstudy.tables.archive import project_version

TIMES = " \N{MULTIPLICATION SIGN} "
# Settings that `design` tells in other words than their own.
TOLD = (
    "kind",
    *(name for model in MODELS.values() for name in model.settings),
    *("train_images", "class_balance", "validation_fraction"),
    *("epochs", "optimizer", "learning_rate", "batch_size", "probe_every", "target"),
)


def departures(results: Results) -> list[str]:
    """The settings that were not swept and differ from the code's defaults."""
    unswept = {axis: results.values(axis) for axis in settings.SETTINGS if axis != "dataset"}
    return [
        axis
        for axis, values in unswept.items()
        if len(values) == 1 and values[0] != as_level(settings.SETTINGS[axis].default)
    ]


def plural(axis: str) -> str:
    label = settings.label(axis)
    return label if label.endswith("s") else f"{label}s"


def said(results: Results, axis: str) -> str:
    """The values of a setting: `batch sizes 32 and 64`, `learning rate 0.001`, `Adam and SGD`."""
    values = results.values(axis)
    if len(values) == 1 or settings.SETTINGS[axis].names is not None:
        return listed(level_name(axis, value) for value in values)
    return f"{plural(axis)} {listed(short_name(axis, value) for value in values)}"


def fixed(results: Results) -> str:
    """What the grid holds at one value and a reader has to know: `with SGD at batch size 64`."""
    found = []
    for axis in results.config["grid"]:
        if axis in ("dataset", "seed", results.axis, *results.cell_axes):
            continue
        if axis in departures(results) or axis == "batch_size":
            word = "at" if axis == "batch_size" else "with"
            found.append(f"{word} {said(results, axis)}")
    return " ".join(found)


def averaging(results: Results) -> str:
    """`averaged over the batch sizes 32 and 64, `, `with SGD at batch size 64, `."""
    over = [
        ("" if settings.SETTINGS[axis].names is not None else "the ") + said(results, axis)
        for axis in results.cell_axes
    ]
    parts = [fixed(results)] + ([f"averaged over {listed(over)}"] if over else [])
    return "".join(f"{part}, " for part in parts if part)


def why_no_comparison(results: Results) -> str:
    """Why this study compares nothing, or an empty string where it compares."""
    baseline = results.arm(results.baseline)
    if not results.has_baseline:
        return (
            f"This study trained networks {listed(map(results.arm, results.levels))} but none "
            f"{baseline}, so there is no baseline to compare with."
        )
    if not results.treatments:
        return (
            f"This study trained networks {baseline} only, so there is nothing to compare them "
            "with."
        )
    return ""


def subtitle(results: Results) -> str:
    """What was run, in one line."""
    compared = counted(len(results.levels), "arm")
    further = [
        counted(len(results.values(a)), settings.label(a), plural(a)) for a in varied(results)
    ]
    axes = [compared, *further, results.n_seeds]
    if len(results.datasets) > 1:
        axes.insert(0, counted(len(results.datasets), "dataset"))
    titles = listed(results.title(dataset) for dataset in results.datasets)
    runs = counted(len(results.runs), "training run")
    if lacking := len(missing_runs(results)):
        runs = f"{len(results.runs):,} of {counted(len(results.runs) + lacking, 'training run')}"
    epochs = listed(results.values("epochs"))
    each = "" if "epochs" in results.config["grid"] else f", {counted(int(epochs), 'epoch')} each"
    return f"*{runs} on {titles}: {TIMES.join(axes)}{each}.*"


def varied(results: Results) -> list[str]:
    """The cell axes, or the batch size alone."""
    return results.cell_axes or [axis for axis in ["batch_size"] if axis != results.axis]


def missing_runs(results: Results) -> pd.DataFrame:
    """The runs of the grid that an unfinished study lacks."""
    if results.missing is None:
        return pd.DataFrame()
    return results.select(results.missing, part="core")


def unfinished(results: Results) -> str:
    """That this is not the whole study, and what that means; empty for a finished one."""
    if results.missing is None:
        return ""
    runs = len(missing_runs(results))
    cells = len(results.missing) - runs
    lacking = listed(
        counted(n, noun, plural)
        for n, noun, plural in (
            (runs, "run of the grid", "runs of the grid"),
            (cells, "cell of the studies", "cells of the studies"),
        )
        if n
    )
    if not lacking:
        return "> **This is a partial report, but nothing is missing: `snakemake` makes the full one.**"
    return (
        f"> **This report is partial: {lacking} are missing or cannot be used; "
        "[table](#tab-missing) lists them. Comparisons count the seeds that have all their runs, "
        "and claims whose study is incomplete have no verdict.**"
    )


def design(results: Results) -> list[str]:
    """What was trained, as a list of Markdown items."""
    datasets = []
    for dataset in results.datasets:
        n_train, n_validation = results.split_sizes(dataset)
        datasets.append(
            f"{results.title(dataset)}, {n_train:,} images to learn from and {n_validation:,} to "
            f"validate on, besides the {results.facts[dataset].n_test:,} for the final test"
        )
    changed = departures(results)
    subset = [said(results, axis) for axis in ("train_images", "class_balance") if axis in changed]
    items = [
        f"**Data:** {'; '.join(datasets)}."
        + (f" Training saw a part of them: {listed(subset)}." if subset else ""),
        f"**Networks:** {network(results)}.",
        f"**Compared:** {listed(map(results.level_name, results.levels))}.",
    ]
    for axis in varied(results):
        values = listed(short_name(axis, value) for value in results.values(axis))
        unit = " images" if axis == "batch_size" else ""
        name = plural(axis) if len(results.values(axis)) > 1 else settings.label(axis)
        items.append(f"**{capitalized(name)}:** {values}{unit}.")
    if apart := [said(results, axis) for axis in changed if axis not in TOLD]:
        items.append(f"**The same everywhere:** {listed(apart)}.")
    several = len(results.values("epochs")) > 1
    epochs = said(results, "epochs") if several else counted(results.epochs, "epoch")
    return [
        *items,
        (
            f"**Seeds:** {results.n_seeds}. A seed fixes the division of the images, the initial "
            "weights, the order of the samples and the noise, each on its own; runs that share a "
            "seed are a pair."
        ),
        (
            f"**Training:** {epochs} with {said(results, 'optimizer')} at "
            f"{said(results, 'learning_rate')}; {counted(len(results.runs), 'run')} in all."
        ),
    ]


def network(results: Results) -> str:
    """The families of networks and their sizes."""
    found = []
    for kind in results.values("kind"):
        names = MODELS[kind].settings
        sizes = ([settings.SETTINGS[n].read(str(v)) for v in results.values(n)] for n in names)
        for values in product(*sizes):
            chosen = settings.Settings(kind=kind, **dict(zip(names, values, strict=True)))
            found.append(MODELS[kind].sentence(chosen))
    return " or ".join(found)


def dataset_sentence(data: object) -> str:
    """What a prepared dataset (`PreparedData`) holds."""
    channels, height, width = data.train_images.shape[1:]
    kind = "grey" if channels == 1 else "colour"
    return (
        f"{data.title} has {len(data.train_images):,} images for training and validation and "
        f"{len(data.test_images):,} for the test, each of {height} by {width} pixels in {kind}, in "
        f"{len(data.classes)} classes."
        + " They came without test images: a sixth of each class was set apart."
        * data.split_off
    )


def scaling_sentence(results: Results) -> str:
    """What preprocessing does to a pixel."""
    known = {
        "symmetric": (
            "Pixels are mapped linearly from 0 to their largest value to the range from \u22121 to "
            "1. That bounds the inputs but does not centre them."
        ),
        "unit": "Pixels are mapped linearly to the range from 0 to 1.",
        "standardize": (
            "From every pixel the mean is subtracted and the result divided by the standard "
            "deviation, both per channel and from the training split of the run alone, so that "
            "nothing of the validation images leaks into training."
        ),
    }
    scalings = results.values("scaling")
    if len(scalings) == 1:
        return f"**Scaling.** {known[scalings[0]]}"
    return " ".join(f"**{capitalized(level_name('scaling', s))}.** {known[s]}" for s in scalings)


def centring_sentence(title: str, mean: float, deviation: float) -> str:
    """Whether scaled inputs are centred, as batch normalization would make them."""
    numbers = f"mean {decimal(mean, 2)} and standard deviation {decimal(deviation, 2)}"
    if abs(mean) < 0.05 and abs(deviation - 1) < 0.05:
        return (
            f"The inputs made from {title} have {numbers}: the first layer gets centred values in "
            "both arms."
        )
    return (
        f"The inputs made from {title} have {numbers}, not 0 and 1. A part of what a normalization "
        "layer gains may therefore be that it repairs the inputs, which standardized inputs would "
        "not need."
    )


def scope(results: Results) -> list[str]:
    """What a reader must not conclude, as far as the design says it."""
    n = len(results.seeds)
    floor = statistics.smallest_p(n)
    if n < 2:
        seeds = "One seed: differences are single observations, without interval or test."
    else:
        able = "so it can" if floor < ALPHA else "so by itself it can never"
        seeds = (
            f"{counted(n, 'seed')} per cell. The smallest p of the sign-flip test with so many is "
            f"{floor:.3g}, {able} fall below {ALPHA:g}."
        )
    one_rate = len(results.values("learning_rate")) == 1
    rates = "One learning rate" if one_rate else capitalized(said(results, "learning_rate"))
    return [
        seeds,
        (
            f"Small images only, of {listed(results.title(name) for name in results.datasets)}, "
            f"and one small network, {network(results)}. Other and larger networks may behave "
            "differently."
        ),
        (
            f"{rates} and {counted(results.epochs, 'epoch')} for everything. No arm was tuned; at "
            "its own best learning rate, or trained for longer, any could do better."
        ),
    ]


def byline(results: Results) -> str:
    """Who made the study, when its code was written, and where it lies, as far as that is known."""
    said = read_yaml(ROOT / "CITATION.cff")
    people = (
        one.get("name") or f"{one.get('given-names', '')} {one.get('family-names', '')}".strip()
        for one in said["authors"]
    )
    commits = sorted(set(results.runs["git_commit"]))
    date = provenance.git("show", "--no-patch", "--format=%cs", commits[-1])[1].strip()
    address = said.get("repository-code") or said.get("url") or ""
    return ", ".join(filter(None, [listed(people), date, address]))


def citation(results: Results) -> str:
    """How to cite the study, with the version and commit that made the runs."""
    commits = listed(f"`{commit[:12]}`" for commit in sorted(set(results.runs["git_commit"])))
    return (
        f"To cite this page, name the question, `bnstudy` version {project_version(ROOT)} and the "
        f"commit of its runs, {commits}. The file `CITATION.cff` of the repository holds the rest in "
        "machine-readable form."
    )
