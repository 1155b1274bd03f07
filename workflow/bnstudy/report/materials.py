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
    rows = []
    for dataset in results.datasets:
        n_train, n_validation = results.split_sizes(dataset)
        sizes = {"training": n_train, "validation": n_validation}
        rows.append(
            {"dataset": results.title(dataset)} | sizes | {"test": results.facts[dataset].n_test}
        )
    return exhibit("splits", rows)


def parameters(results: Results, dataset: str, networks: "Sequence[Network]") -> Exhibit:
    """Trainable parameters by layer, a column per network."""
    counts = {network.title: named_layers(network.layers) for network in networks}
    names = dict.fromkeys(chain(*sorted(counts.values(), key=len, reverse=True)))
    frame = pd.DataFrame({"layer": list(names)})
    for title, found in counts.items():
        frame[title] = [found.get(name, 0) for name in names]
    total = {"layer": "all layers"} | {column: frame[column].sum() for column in frame.columns[1:]}
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)
    overall = [False] * (len(frame) - 1) + [True]
    label = results.label("parameters", dataset)
    return exhibit(
        "parameters", frame, label=label, overall=overall, dataset=results.title(dataset)
    )


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
        usual = values == [as_level(known.default)]
        role = "compared" if name == results.axis else "swept" if len(values) > 1 else ""
        rows.append(
            {
                "setting": known.label,
                "value": ", ".join(short_name(name, value) for value in values),
                "role": role or ("" if usual else "not the default"),
                "meaning": known.text.replace("`", ""),
            }
        )
    order = {"compared": 0, "swept": 1, "not the default": 2, "": 3}
    return exhibit("settings", sorted(rows, key=lambda row: order[row["role"]]))


def missing(results: Results) -> Exhibit | None:
    """What an unfinished study lacks, why, and where the log of the job lies."""
    if results.missing is None or results.missing.empty:
        return None
    part = results.missing["part"]
    columns = {
        "missing": results.missing["cell"].str.replace("/", ", ").str.replace("~", " "),
        "part of": part.where(part != "core", "the grid").str.replace("_", " "),
        "reason": results.missing["reason"],
        "log": [Code(path) for path in results.missing["log"]],
    }
    return exhibit("missing", pd.DataFrame(columns))


def origin(results: Results, data: Mapping[str, object]) -> Exhibit:
    """Commit, code, settings and data of the runs, and the data this page was made from."""
    runs = results.runs
    rows: list[tuple[str, object]] = [
        ("commit of the runs", Code(listed(sorted(set(runs["git_commit"]))))),
        ("SHA-256 of the training code", Code(listed(sorted(set(runs["code_sha256"]))))),
        ("different settings", f"{runs['config_sha256'].nunique():,}"),
        ("runs", f"{len(runs):,}, of which {(runs['status'] == 'diverged').sum()} diverged"),
    ]
    for dataset in results.datasets:
        used = sorted(set(results.select(runs, dataset=dataset)["data_sha256"]))
        rows.append((f"SHA-256 of {results.title(dataset)}", Code(listed(used))))
        if used != [data[dataset].sha256]:
            shown = Code(data[dataset].sha256)
            rows.append((f"SHA-256 of the {results.title(dataset)} shown here", shown))
    return exhibit("origin", pd.DataFrame(rows, columns=["item", "value"]))


def verification(compared: pd.DataFrame) -> Exhibit:
    """What `snakemake verify` found: published runs against the same trained again."""

    def machine(row: pd.Series, where: str) -> str:
        named = f"{row[f'device_{where}']}, {row[f'device_name_{where}']}"
        return f"{named}; Python {row[f'python_{where}']}, PyTorch {row[f'torch_{where}']}"

    rows = [
        {
            "run": f"{row['norm']}, batch size {row['batch_size']}, seed {row['seed']}",
            "outcome": row["outcome"] + ("" if pd.isna(row["note"]) else f" ({row['note']})"),
            "here (%)": 100 * row["test_accuracy_here"],
            "published (%)": 100 * row["test_accuracy_published"],
            "trained here on": machine(row, "here"),
            "published from": machine(row, "published"),
        }
        for _, row in compared.iterrows()
    ]
    return exhibit("verification", rows)


def versions(results: Results, installed: Mapping[str, str]) -> Exhibit:
    """Software of the runs and of this page, and the kind of machine."""
    runs, hosts = results.runs, results.timings["host"].nunique()
    rows = [
        {
            "item": name,
            "training": listed(sorted(set(runs[name].astype(str)))) if name in runs else "",
            "this page": version,
        }
        for name, version in installed.items()
    ]
    rows += [
        {
            "item": "device",
            "training": f"{listed(sorted(set(runs['device'])))}, {counted(hosts, 'machine')}",
            "this page": "cpu",
        },
        {
            "item": "processor",
            "training": listed(sorted(set(results.timings["device_name"].astype(str)))),
            "this page": "",
        },
        {
            "item": "system",
            "training": "",
            "this page": f"{platform.system()} {platform.machine()}",
        },
    ]
    return exhibit("versions", rows)
