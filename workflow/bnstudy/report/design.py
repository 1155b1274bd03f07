"""What was trained and how it was measured, in sentences made from the config."""

from itertools import product

import pandas as pd

from bnstudy import provenance, settings, statistics
from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.networks.models import MODELS
from bnstudy.report.measures import ALPHA, counted, decimal, level_name, listed, short_name
from bnstudy.report.results import Results, as_level
from bnstudy.report.words import say
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
    return [
        axis
        for axis, known in settings.SETTINGS.items()
        if axis != "dataset"
        and len(values := results.values(axis)) == 1
        and values[0] != as_level(known.default)
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


def averaging(results: Results) -> str:
    """`averaged over the batch sizes 32 and 64, `, `with SGD at batch size 64, `."""
    fixed = [  # what the grid holds at one value and a reader has to know
        f"{'at' if axis == 'batch_size' else 'with'} {said(results, axis)}"
        for axis in results.config["grid"]
        if axis not in ("dataset", "seed", results.axis, *results.cell_axes)
        and axis in [*departures(results), "batch_size"]
    ]
    over = [
        ("" if settings.SETTINGS[axis].names is not None else "the ") + said(results, axis)
        for axis in results.cell_axes
    ]
    parts = [" ".join(fixed), f"averaged over {listed(over)}" if over else ""]
    return "".join(f"{part}, " for part in parts if part)


def why_no_comparison(results: Results) -> str:
    """Why this study compares nothing, or an empty string where it compares."""
    if results.treatments:
        return ""
    words = {"arms": map(results.arm, results.levels), "baseline": results.arm(results.baseline)}
    return say(
        "limits", "baseline only" if results.baseline in results.levels else "no baseline", **words
    )


def subtitle(results: Results) -> str:
    """What was run, in one line."""
    axes = [counted(len(results.datasets), "dataset")] if len(results.datasets) > 1 else []
    axes.append(counted(len(results.levels), "arm"))
    axes += [counted(len(results.values(a)), settings.label(a), plural(a)) for a in varied(results)]
    titles = listed(results.title(dataset) for dataset in results.datasets)
    runs = counted(len(results.runs), "training run")
    if lacking := len(missing_runs(results)):
        runs = f"{len(results.runs):,} of {counted(len(results.runs) + lacking, 'training run')}"
    each = f", {counted(results.epochs, 'epoch')} each"
    each = "" if "epochs" in results.config["grid"] else each
    return f"*{runs} on {titles}: {TIMES.join([*axes, results.n_seeds])}{each}.*"


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
    lacking = {"run{} of the grid": runs, "cell{} of the studies": len(results.missing) - runs}
    lacking = [counted(n, w.format(""), w.format("s")) for w, n in lacking.items() if n]
    return say("design", "unfinished" if lacking else "complete", lacking=lacking)


def design(results: Results) -> list[str]:
    """What was trained, as a list of Markdown items."""

    def item(name: str, **words: object) -> str:
        return say("design", name, results=results, **words)

    changed = departures(results)
    subset = [said(results, axis) for axis in ("train_images", "class_balance") if axis in changed]
    datasets = "; ".join(
        item("dataset", sizes=results.split_sizes(name), facts=results.facts[name])
        for name in results.datasets
    )
    items = [
        item("data", datasets=datasets, subset=item("subset", parts=subset) if subset else ""),
        item("networks", networks=network(results)),
        item("compared", levels=map(results.level_name, results.levels)),
    ]
    for axis in varied(results):
        values = [short_name(axis, value) for value in results.values(axis)]
        name = plural(axis) if len(values) > 1 else settings.label(axis)
        unit = " images" if axis == "batch_size" else ""
        items.append(item("axis", axis=name, values=values, unit=unit))
    if apart := [said(results, axis) for axis in changed if axis not in TOLD]:
        items.append(item("same", settings=apart))
    several = len(results.values("epochs")) > 1
    epochs = said(results, "epochs") if several else counted(results.epochs, "epoch")
    words = {"optimizer": said(results, "optimizer"), "rate": said(results, "learning_rate")}
    return [*items, item("seeds"), item("training", epochs=epochs, runs=len(results.runs), **words)]


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


def dataset_sentence(data: object, *, in_a_row: bool = False) -> str:
    """What a prepared dataset (`PreparedData`) holds, and what of it a perceptron sees."""
    channels, height, width = data.train_images.shape[1:]
    more = say("design", "split off") if data.split_off else ""
    more += say("design", "in a row", n=data.train_images[0].numel()) if in_a_row else ""
    return say(
        "design", "dataset holds", data=data, train=len(data.train_images), test=len(data.test_images),
        height=height, width=width, channels=channels, classes=len(data.classes), more=more,
    )  # fmt: skip


def scaling_sentence(results: Results) -> str:
    """What preprocessing does to a pixel."""
    scalings = results.values("scaling")
    titles = {name: level_name("scaling", name) for name in scalings}
    titles = titles if len(titles) > 1 else dict.fromkeys(titles, "scaling")
    return " ".join(say("scaling", name, title=title) for name, title in titles.items())


def centring_sentence(title: str, mean: float, deviation: float) -> str:
    """Whether scaled inputs are centred, as batch normalization would make them."""
    numbers = f"mean {decimal(mean, 2)} and standard deviation {decimal(deviation, 2)}"
    centred = abs(mean) < 0.05 and abs(deviation - 1) < 0.05
    return say("design", "centred" if centred else "not centred", title=title, numbers=numbers)


def scope(results: Results) -> list[str]:
    """What a reader must not conclude, as far as the design says it."""
    n, floor = len(results.seeds), statistics.smallest_p(len(results.seeds))
    able = "so it can" if floor < ALPHA else "so by itself it can never"
    one_rate = len(results.values("learning_rate")) == 1
    rates = "one learning rate" if one_rate else said(results, "learning_rate")
    datasets = [results.title(name) for name in results.datasets]
    return [
        say("scope", "seeds" if n > 1 else "one seed", n=n, floor=floor, able=able, alpha=ALPHA),
        say("scope", "networks", datasets=datasets, network=network(results)),
        say("scope", "rates", rates=rates, epochs=results.epochs),
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
    commits = [f"`{commit[:12]}`" for commit in sorted(set(results.runs["git_commit"]))]
    return say("design", "citation", version=project_version(ROOT), commits=commits)
