"""What was trained and how it was measured, in sentences made from the config."""

from itertools import product

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
TOLD = {"kind", "train_images", "class_balance", "validation_fraction", "epochs", "optimizer"}
TOLD |= {"learning_rate", "batch_size", "probe_every", "target"}
TOLD |= {name for model in MODELS.values() for name in model.settings}


def departures(results: Results) -> list[str]:
    """The settings that were not swept and differ from the code's defaults."""
    values = {axis: results.values(axis) for axis in settings.SETTINGS if axis != "dataset"}
    usual = {axis: [as_level(known.default)] for axis, known in settings.SETTINGS.items()}
    return [axis for axis, one in values.items() if len(one) == 1 and one != usual[axis]]


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
    told = {"dataset", "seed", results.axis, *results.cell_axes}
    fixed = [  # what the grid holds at one value and a reader has to know
        f"{'at' if axis == 'batch_size' else 'with'} {said(results, axis)}"
        for axis in results.config["grid"]
        if axis not in told and axis in [*departures(results), "batch_size"]
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
    kind = "baseline only" if results.baseline in results.levels else "no baseline"
    return say("limits", kind, **words)


def subtitle(results: Results) -> str:
    """What was run, in one line."""
    axes = [counted(len(results.datasets), "dataset")] if len(results.datasets) > 1 else []
    axes.append(counted(len(results.levels), "arm"))
    axes += [counted(len(results.values(a)), settings.label(a), plural(a)) for a in varied(results)]
    titles = listed(results.title(dataset) for dataset in results.datasets)
    lacking = missing_runs(results)
    runs = counted(len(results.runs) + lacking, "training run")
    runs = f"{len(results.runs):,} of {runs}" if lacking else runs
    swept = "epochs" in results.config["grid"]
    each = "" if swept else f", {counted(results.epochs, 'epoch')} each"
    return f"*{runs} on {titles}: {TIMES.join([*axes, results.n_seeds])}{each}.*"


def varied(results: Results) -> list[str]:
    """The cell axes, or the batch size alone."""
    return results.cell_axes or [axis for axis in ["batch_size"] if axis != results.axis]


def missing_runs(results: Results) -> int:
    """How many runs of the grid an unfinished study lacks."""
    return 0 if results.missing is None else sum(results.missing["part"] == "core")


def unfinished(results: Results) -> str:
    """That this is not the whole study, and what that means; empty for a finished one."""
    if results.missing is None:
        return ""
    runs = missing_runs(results)
    cells = len(results.missing) - runs
    lacking = [counted(runs, "run of the grid", "runs of the grid")] if runs else []
    lacking += [counted(cells, "cell of the studies", "cells of the studies")] if cells else []
    return say("design", "unfinished" if lacking else "complete", lacking=lacking)


def design(results: Results) -> list[str]:
    """What was trained, as a list of Markdown items."""

    def item(name: str, **words: object) -> str:
        return say("design", name, results=results, **words)

    changed = departures(results)
    subset = [said(results, axis) for axis in ("train_images", "class_balance") if axis in changed]
    subset = item("subset", parts=subset) if subset else ""
    datasets = "; ".join(
        item("dataset", sizes=results.split_sizes(name), facts=results.facts[name]) for name in results.datasets
    )
    items = [item("data", datasets=datasets, subset=subset)]
    items.append(item("networks", networks=network(results)))
    items.append(item("compared", levels=map(results.level_name, results.levels)))
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
    more = say("design", "split off") if data.split_off else ""
    more += say("design", "in a row", n=data.train_images[0].numel()) if in_a_row else ""
    words = {"train": data.train_images.shape, "test": data.test_images.shape, "more": more}
    return say("design", "dataset holds", data=data, classes=len(data.classes), **words)


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
