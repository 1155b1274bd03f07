"""The tables of the comparison and of what it was made from: what each one holds, and how it is written.

Captions, columns and formats are declared in report/tables.yaml.
"""

import math
import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from itertools import chain, product, zip_longest
from typing import NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader

from bnstudy import settings, statistics
from bnstudy.config import ROOT
from bnstudy.documents import read_yaml
from bnstudy.report import measures
from bnstudy.report.design import averaging
from bnstudy.report.measures import METRICS, SPACE, counted, decimal, level_name, listed, short_name
from bnstudy.report.pictures import WEIGHTED, Network
from bnstudy.report.results import Level, Results, as_level
from bnstudy.report.words import INTERVAL, Words, effect_cell, interval, small

DECLARED = read_yaml(ROOT / "report/tables.yaml")
SHORT_UNITS = {"accuracy": f"{SPACE}pp", "loss": f"{SPACE}nats"}
DRAWN = DECLARED["key measures"]  # and the figures that draw them
ARM_METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "train_loss")
TIMES = DECLARED["times of runs"]
ROLES = ("compared", "swept", "not the default", "")  # of settings, in the order of their table
MOST_CLASSES = 30  # that a table lists
WRITERS: dict[str, Callable[[float], str]] = {
    "p": measures.p_text,
    "small": small,
    "plain": "{:g}".format,
    "whole": "{:,.0f}".format,
    "power": "{:.1e}".format,
    "three digits": lambda x: decimal(x, 3),
    "two digits": lambda x: decimal(x, 2),
    "signed": lambda x: decimal(x, 2, signed=True),
}
TEMPLATES = Environment(loader=FileSystemLoader(ROOT / "report/templates"), autoescape=True)
PARTS = TEMPLATES.get_template("parts.html.j2").module


class Cell(NamedTuple):
    """A cell that leads to an anchor of the page, or without one is set as code, such as a hash."""

    text: str
    anchor: str = ""


class Exhibit(NamedTuple):
    """A table as `reporting.Report.table` shows it.

    `label` is its name in cross-references, `tab-<label>`. The first column holds the headings of the rows; numbers are
    written by `formats` and sorted by value, columns of `words` aligned left, rows `overall` cells set off from the
    others. With `fold` the table is folded away behind this summary.
    """

    label: str
    caption: str
    frame: pd.DataFrame
    formats: Mapping[str, Callable]
    words: Sequence[str]
    overall: Sequence[bool]
    fold: str


def exhibit(
    name: str,
    rows: Iterable[Mapping[str, object] | Sequence] | pd.DataFrame,
    *,
    label: str = "",
    overall: Sequence[bool] = (),
    text: Sequence[str] = (),
    **words: object,
) -> Exhibit | None:
    """A table as declared, of these rows, with `words` filled into its texts; None without a row.

    `label` is its own where the name is not; `text` are columns of words beside those declared.
    """
    frame = pd.DataFrame(rows, columns=DECLARED[name].get("columns"))
    if frame.empty:
        return None
    said = Words().filled(DECLARED[name], {"interval": INTERVAL, "count": len(frame)} | words)
    numbers = [c for c in frame if frame[c].map(lambda value: isinstance(value, int | float)).all()]
    patterns = said.get("formats", {}).items()
    formats = {c: WRITERS[kind] for c in numbers for like, kind in patterns if fnmatchcase(c, like)}
    text, fold = [*text, *said.get("words", ())], said.get("fold", "")
    return Exhibit(label or name, said["caption"], frame, formats, text, overall, fold)


def table_html(exhibit: Exhibit, number: int) -> str:
    """A `<table>` with scoped headers and the values that its rows are sorted by."""

    def cell(column: str, value: object) -> tuple[str, object, str]:
        if isinstance(value, float) and math.isnan(value):
            return column, value, "n/a"
        text = value.text if isinstance(value, Cell) else value
        return column, value, exhibit.formats.get(column, str)(text)

    columns = list(exhibit.frame)
    rows = [list(map(cell, columns, row)) for row in exhibit.frame.itertuples(index=False)]
    words = {columns[0], *exhibit.words}
    return str(PARTS.table(exhibit, number, words, list(zip_longest(rows, exhibit.overall))))


def of_results(
    name: str, results: Results, dataset: str, rows: object, level: Level | None = None, **more: object
) -> Exhibit | None:
    """A table of a dataset as declared, or of one level in it."""
    words = {"results": results, "dataset": results.title(dataset), "over": averaging(results)}
    words |= {"treatment": settings.label(results.axis), "label": results.label(name, dataset, level)}
    words |= {} if level is None else {"level": results.level_name(level)}
    return exhibit(name, rows, **words | {"units": DECLARED["units of measures"]} | more)


def cell_columns(cell: dict[str, Level]) -> dict[str, object]:
    """The columns that say which cell a row is of: numbers stay numbers, to be sorted."""
    return {
        settings.label(axis): value if not isinstance(value, str) else level_name(axis, value)
        for axis, value in cell.items()
    }


def places(results: Results) -> Iterator[tuple[dict[str, Level], Level, dict[str, object]]]:
    """Every cell and level, with the columns that name them in a row."""
    for cell, level in product(results.cells, results.levels):
        name = {settings.label(results.axis): short_name(results.axis, level)}
        yield cell, level, cell_columns(cell) | name


def key_numbers(results: Results, dataset: str) -> Exhibit:
    """The first table of the page: the levels over all cells, and their difference."""
    rows = []
    several = len(results.treatments) > 1
    for metric, level in product(DRAWN, results.treatments):
        if c := results.compare(dataset, level, metric):
            row: dict[str, object] = {"measure": Cell(c.of.title, DRAWN[metric])}
            if several:
                row[settings.label(results.axis)] = short_name(results.axis, level)
            row[results.level_name(c.baseline)] = c.of.value(c.mean_baseline)
            row["mean" if several else results.level_name(level)] = c.of.value(c.mean_level)
            ends = "" if math.isnan(c.ci_low) else f" ({c.interval})"
            difference = f"{c.of.difference(c.difference)}{SHORT_UNITS.get(c.of.kind, '')}"
            rows.append(row | {f"difference ({INTERVAL})": difference + ends})
    # Without a baseline, or of a partial study, there is none.
    label = results.label("key-numbers", dataset)
    return of_results("key-numbers", results, dataset, rows) or arms(results, dataset)._replace(label=label)


def arms(results: Results, dataset: str) -> Exhibit:
    """Mean and standard deviation over seeds in every cell of the grid."""
    scored = {METRICS[name]: results.scored(name) for name in ARM_METRICS}
    rows = []
    for cell, level, row in places(results):
        for of, runs in scored.items():
            values = results.at(runs, dataset, level, **cell)["value"]
            row["n"] = len(values)
            mean = of.value(statistics.mean(values) if len(values) else math.nan)
            spread = f" ± {of.difference(values.std(), signed=False)}" if len(values) > 1 else ""
            unit = "%" if of.kind == "accuracy" else "nats"
            row[f"{of.title} ({unit})"] = mean.removesuffix(f"{SPACE}%") + spread
        rows.append(row)
    spread = " ± standard deviation over the seeds" if len(results.seeds) > 1 else ""
    return of_results("arms", results, dataset, rows, spread=spread)


def comparison(results: Results, dataset: str, level: Level, *, others: bool = False) -> Exhibit | None:
    """The comparison with the baseline by cell, in the main measures; None without a pair.

    The `others` are in a table that is folded away.
    """
    axes, rows, overall = results.cell_axes, [], []
    known = dict.fromkeys([*METRICS, *results.comparison["metric"]])
    metrics = [name for name in known if name not in measures.MAIN] if others else measures.MAIN
    for metric, cell in product(metrics, [*results.cells, None] if axes else [None]):
        c = results.compare(dataset, level, metric, cell)
        if c is None:
            continue
        overall.append(cell is None and bool(axes))
        where = dict.fromkeys(map(settings.label, axes), "all")
        arithmetic = " (arithmetic)" if metric == "steps_to_target" else ""
        row = {"measure": c.of.title + arithmetic} | (cell_columns(cell) if cell else where)
        row[results.level_name(c.baseline)] = c.of.value(c.mean_baseline)
        row[results.level_name(c.level)] = c.of.value(c.mean_level)
        row |= {"difference": c.of.difference(c.difference), INTERVAL: c.interval}
        row |= {"p": c.p if c.n > 1 else math.nan, "d_z": c.effect_size}
        rows.append(row | {"seeds": f"{c.seeds_in_favour}/{c.n}"})
    text = [settings.label(axis) for axis in axes if isinstance(results.values(axis)[0], str)]
    name = "all-measures" if others else "comparison"
    words = {"baseline": results.level_name(results.baseline), "overall": overall, "text": text}
    return of_results(name, results, dataset, rows, level, **words)


def classes(results: Results, dataset: str) -> Exhibit | None:
    """Accuracy on the test images of every class by level; None where it was not recorded."""
    if results.classes is None:
        return None
    table, rows = results.select(results.classes, dataset=dataset), []
    for index, images in table.dropna(subset="accuracy").groupby("class"):
        by = results.by_seed(images, dataset, "accuracy", results.levels)
        name = results.facts[dataset].classes[index]
        row: dict[str, object] = {"class": name, "images": int(images["n"].iloc[0])}
        for level, values in by.items():
            mean = 100 * statistics.mean(values) if len(values) else math.nan
            row[f"{results.level_name(level)} (%)"] = mean
        if len(results.treatments) == 1:
            differences = by[results.treatments[0]] - by[results.baseline]
            row["difference (pp)"] = 100 * statistics.mean(differences)
            row[INTERVAL] = METRICS["test_accuracy"].interval(*statistics.sign_flip(differences).interval())
        rows.append(row)
    cut = f" The {MOST_CLASSES} rarest of {len(rows)} classes." if len(rows) > MOST_CLASSES else ""
    rows = sorted(rows, key=lambda row: row["images"])[:MOST_CLASSES] if cut else rows
    return of_results("classes", results, dataset, rows, cut=cut)


def claims(judged: pd.DataFrame) -> Exhibit | None:
    """Claims with their verdicts, as rows of claims.csv; None without any."""
    rows = []
    for row in judged.fillna({"unit": "", "reason": ""}).to_dict("records"):
        ends = interval(row["ci_low"], row["ci_high"], row["unit"])
        found = f"{effect_cell(row['effect'], row['unit'])} ({ends})"
        said = {"claim": row["id"], "what is claimed": row["claim"], "prior": row["prior"]}
        said["verdict"] = row["verdict"]
        said[f"effect ({INTERVAL})"] = "n/a" if pd.isna(row["effect"]) else found
        rows.append(said | {"why": row["reason"]})
    return exhibit("claims", rows)


def times(results: Results, dataset: str) -> Exhibit:
    """Median seconds and memory of the runs of every cell."""
    table = results.select(results.timings, dataset=dataset)
    rows = [
        row | dict(results.at(table, dataset, level, **cell)[[*TIMES]].median().rename(TIMES))
        for cell, level, row in places(results)
    ]
    words = {"runs": len(table), "minutes": table["wall_seconds"].sum() / 60}
    return of_results("times", results, dataset, rows, **words)


# What the runs were made from


def splits(results: Results) -> Exhibit:
    """Numbers of images to train, validate and test on."""
    rows = [
        [results.title(dataset), *results.split_sizes(dataset), results.facts[dataset].n_test]
        for dataset in results.values("dataset")
    ]
    return exhibit("splits", rows)


def parameters(results: Results, dataset: str, networks: Sequence[Network]) -> Exhibit:
    """Trainable parameters by layer, a column per network."""
    counts = {network.title: named_layers(network) for network in networks}
    names = dict.fromkeys(chain(*sorted(counts.values(), key=len, reverse=True)))
    frame = pd.DataFrame(counts, list(names)).fillna(0).astype(int)
    frame.loc["all layers"] = frame.sum()
    words = {"label": results.label("parameters", dataset), "dataset": results.title(dataset)}
    words["overall"] = frame.index == "all layers"
    return exhibit("parameters", frame.rename_axis("layer").reset_index(), **words)


def named_layers(network: Network) -> dict[str, int]:
    """Parameters of the layers that have some, by a name that tells place and size."""
    named, block = {}, 0
    for layer in network.layers:
        block += layer.kind in WEIGHTED
        if layer.n_parameters:
            name = WEIGHTED.get(layer.kind, "normalization of {} features").format(layer.shape[0])
            named[f"{block}. {name}"] = layer.n_parameters
    return named


def settings_table(results: Results) -> Exhibit:
    """Every setting of the runs with its values, those that were swept first."""
    rows = []
    for name, known in settings.SETTINGS.items():
        values = results.values(name)
        usual = "" if values == [as_level(known.default)] else "not the default"
        role = "compared" if name == results.axis else "swept" if len(values) > 1 else usual
        written = ", ".join(short_name(name, value) for value in values)
        rows.append([known.label, written, role, known.text.replace("`", "")])
    rows.sort(key=lambda row: ROLES.index(row[2]))
    return exhibit("settings", rows)


def missing(results: Results) -> Exhibit | None:
    """What an unfinished study lacks, why, and where the log of the job lies."""
    if results.missing is None or results.missing.empty:
        return None
    part = results.missing["part"]
    columns = {
        "missing": results.missing["cell"].str.replace("/", ", ").str.replace("~", " "),
        "part of": part.where(part != "core", "the grid").str.replace("_", " "),
        "reason": results.missing["reason"],
        "log": results.missing["log"].map(Cell),
    }
    return exhibit("missing", pd.DataFrame(columns))


def origin(results: Results, data: Mapping[str, object]) -> Exhibit:
    """Commit, code, settings and data of the runs, and the data this page was made from."""
    runs = results.runs
    rows = {
        "commit of the runs": Cell(every(runs["git_commit"])),
        "SHA-256 of the training code": Cell(every(runs["code_sha256"])),
        "different settings": f"{runs['config_sha256'].nunique():,}",
        "runs": f"{len(runs):,}, of which {(runs['status'] == 'diverged').sum()} diverged",
    }
    for dataset in results.values("dataset"):
        title, shown = results.title(dataset), data[dataset].sha256
        used = results.select(runs, dataset=dataset)["data_sha256"]
        rows[f"SHA-256 of {title}"] = Cell(every(used))
        if set(used) != {shown}:
            rows[f"SHA-256 of the {title} shown here"] = Cell(shown)
    return exhibit("origin", rows.items())


def every(values: pd.Series) -> str:
    return listed(sorted(set(values.astype(str))))


def verification(compared: pd.DataFrame) -> Exhibit:
    """What `snakemake verify` found: published runs against the same trained again."""
    run = "{norm}, batch size {batch_size}, seed {seed}"
    machine = "{device_%s}, {device_name_%s}; Python {python_%s}, PyTorch {torch_%s}"
    rows = [
        {
            "run": run.format_map(row),
            "outcome": row["outcome"] + ("" if pd.isna(row["note"]) else f" ({row['note']})"),
            "here (%)": 100 * row["test_accuracy_here"],
            "published (%)": 100 * row["test_accuracy_published"],
            "trained here on": machine.replace("%s", "here").format_map(row),
            "published from": machine.replace("%s", "published").format_map(row),
        }
        for row in compared.to_dict("records")
    ]
    return exhibit("verification", rows)


def versions(results: Results, installed: Mapping[str, str]) -> Exhibit:
    """Software of the runs and of this page, and the kind of machine."""
    runs, times = results.runs, results.timings
    rows = [[n, every(runs[n]) if n in runs else "", here] for n, here in installed.items()]
    machines = counted(times["host"].nunique(), "machine")
    rows.append(["device", f"{every(runs['device'])}, {machines}", "cpu"])
    rows.append(["processor", every(times["device_name"]), ""])
    rows.append(["system", "", f"{platform.system()} {platform.machine()}"])
    return exhibit("versions", rows)
