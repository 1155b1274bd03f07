"""What the runs were made from, as tables: images, networks, settings, code, software, machine.

How they are written is declared in report/tables.yaml.
"""

import platform
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

import pandas as pd

from bnstudy import settings
from bnstudy.report.measures import counted, listed, short_name
from bnstudy.report.results import Results, as_level
from bnstudy.report.tables import Code, Exhibit, exhibit

if TYPE_CHECKING:
    from bnstudy.networks.weights import Layer
    from bnstudy.report.figures.networks import Network


def splits(results: Results) -> Exhibit:
    """Numbers of images to train, validate and test on."""
    rows = [
        [results.title(dataset), *results.split_sizes(dataset), results.facts[dataset].n_test]
        for dataset in results.values("dataset")
    ]
    columns = ["dataset", "training", "validation", "test"]
    return exhibit("splits", pd.DataFrame(rows, columns=columns))


def parameters(results: Results, dataset: str, networks: "Sequence[Network]") -> Exhibit:
    """Trainable parameters by layer, a column per network."""
    counts = {network.title: named_layers(network.layers) for network in networks}
    names = dict.fromkeys(chain(*sorted(counts.values(), key=len, reverse=True)))
    frame = pd.DataFrame(counts).reindex(list(names)).fillna(0).astype(int)
    frame.loc["all layers"] = frame.sum()
    words = {"label": results.label("parameters", dataset), "dataset": results.title(dataset)}
    overall = list(frame.index == "all layers")
    return exhibit("parameters", frame.rename_axis("layer").reset_index(), overall=overall, **words)


def named_layers(layers: "Sequence[Layer]") -> dict[str, int]:
    """Parameters of the layers that have some, by a name that tells place and size."""
    kinds = {"Linear": "linear, {} units", "Conv2d": "convolution, {} channels"}
    named: dict[str, int] = {}
    block = 0
    for layer in layers:
        block += layer.kind in kinds
        if layer.n_parameters:
            name = kinds.get(layer.kind, "normalization of {} features").format(layer.shape[0])
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
    rows.sort(key=lambda row: ["compared", "swept", "not the default", ""].index(row[2]))
    return exhibit("settings", pd.DataFrame(rows, columns=["setting", "value", "role", "meaning"]))


def missing(results: Results) -> Exhibit | None:
    """What an unfinished study lacks, why, and where the log of the job lies."""
    if results.missing is None or results.missing.empty:
        return None
    part = results.missing["part"]
    columns = {
        "missing": results.missing["cell"].str.replace("/", ", ").str.replace("~", " "),
        "part of": part.where(part != "core", "the grid").str.replace("_", " "),
        "reason": results.missing["reason"],
        "log": results.missing["log"].map(Code),
    }
    return exhibit("missing", pd.DataFrame(columns))


def origin(results: Results, data: Mapping[str, object]) -> Exhibit:
    """Commit, code, settings and data of the runs, and the data this page was made from."""
    runs = results.runs
    rows = {
        "commit of the runs": Code(every(runs["git_commit"])),
        "SHA-256 of the training code": Code(every(runs["code_sha256"])),
        "different settings": f"{runs['config_sha256'].nunique():,}",
        "runs": f"{len(runs):,}, of which {(runs['status'] == 'diverged').sum()} diverged",
    }
    for dataset in results.values("dataset"):
        title, shown = results.title(dataset), data[dataset].sha256
        used = results.select(runs, dataset=dataset)["data_sha256"]
        rows[f"SHA-256 of {title}"] = Code(every(used))
        if set(used) != {shown}:
            rows[f"SHA-256 of the {title} shown here"] = Code(shown)
    return exhibit("origin", pd.DataFrame(rows.items(), columns=["item", "value"]))


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
    return exhibit("versions", pd.DataFrame(rows, columns=["item", "training", "this page"]))
