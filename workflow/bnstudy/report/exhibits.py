"""The tables of the report: what each one holds, how it is written, and its caption."""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from bnstudy import statistics
from bnstudy.report import findings
from bnstudy.report.results import (
    METRICS,
    NORM_NAMES,
    SPACE,
    Comparison,
    Kind,
    Metric,
    Results,
    counted,
    decimal,
    listed,
    p_text,
)

SHORT_UNITS: dict[Kind, str] = {
    "accuracy": f"{SPACE}pp",
    "loss": f"{SPACE}nats",
    "steps": "",
    "ratio": "",
}
KEY_METRICS = ("test_accuracy", "ln_steps_to_95", "test_loss", "val_loss", "train_loss")
MAIN_METRICS = ("test_accuracy", "test_loss", "ln_steps_to_95")
ARM_METRICS = ("test_accuracy", "test_loss", "val_accuracy", "val_loss", "train_loss")
INTERVAL = f"95{SPACE}% interval"
UNITS_NOTE = (
    "Differences of accuracy are in percentage points (pp), of losses in nats; steps are geometric "
    "means and their difference is a ratio"
)


@dataclass(frozen=True)
class Link:
    """A cell that leads to an anchor of the page."""

    text: str
    anchor: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Code:
    """A cell set as code, such as a hash."""

    text: str

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Exhibit:
    """A table as `reporting.Report.table` shows it.

    Attributes
    ----------
    label : str
        Its name in cross-references, `tab-<label>`.
    caption : str
        Plain text.
    frame : pandas.DataFrame
        The first column holds the headings of the rows; values may be `Link` or `Code`.
    formats : mapping of str to callable
        How the numbers of a column are written; they are sorted by value.
    words : sequence of str
        Columns of words, which are aligned left.
    overall : sequence of bool
        Rows over all batch sizes, set off from the others; empty for none.
    fold : str
        If given, the table is folded away behind this summary.
    """

    label: str
    caption: str
    frame: pd.DataFrame
    formats: Mapping[str, Callable] = field(default_factory=dict)
    words: Sequence[str] = ()
    overall: Sequence[bool] = ()
    fold: str = ""


def whole(x: float) -> str:
    return f"{x:,.0f}"


def arm_head(norm: str) -> str:
    """The name of an arm as the head of a column."""
    return NORM_NAMES.get(norm, norm)


def on(results: Results, dataset: str) -> str:
    return f"on {results.title(dataset)}"


def difference_cell(c: Comparison) -> str:
    return f"{c.of.difference(c.difference)}{SHORT_UNITS[c.of.kind]}"


def favour_cell(c: Comparison) -> str:
    return f"{c.seeds_in_favour}/{c.n}"


def over(results: Results) -> str:
    sizes = results.batch_sizes
    return f"batch size {sizes[0]}" if len(sizes) == 1 else f"batch sizes {listed(sizes)}"


def key_numbers(results: Results, dataset: str) -> Exhibit:
    """The first table of the page: the arms over all batch sizes, and their difference."""
    if not results.treatments:
        return arms(results, dataset, label="key-numbers")
    rows = []
    several = len(results.treatments) > 1
    for norm in results.treatments:
        for c in results.comparisons(dataset, norm, KEY_METRICS):
            anchor = "fig-steps" if c.of.kind == "ratio" else "fig-paired"
            name = f"{c.of.title}, {NORM_NAMES.get(norm, norm)}" if several else c.of.title
            head = "normalized" if several else arm_head(norm)
            rows.append(
                {
                    "measure": Link(name, anchor),
                    arm_head(c.baseline): c.of.value(c.mean_baseline),
                    head: c.of.value(c.mean_norm),
                    "difference": difference_cell(c),
                    INTERVAL: c.interval,
                    "Holm p": c.p_holm,
                    "seeds in favour": favour_cell(c),
                }
            )
    if not rows:  # a partial study
        return arms(results, dataset, label="key-numbers")
    return Exhibit(
        results.label("key-numbers", dataset),
        f"Key numbers {on(results, dataset)}, means over {results.n_seeds} at "
        f"{over(results)}. {UNITS_NOTE}. Each measure leads to its evidence.",
        pd.DataFrame(rows),
        {"Holm p": p_text},
    )


def agreement(checks: Mapping[str, tuple], tolerance: float) -> Exhibit:
    """Largest absolute difference between pairs of tensors, and whether it is within tolerance."""
    rows = []
    for name, (computed, expected) in checks.items():
        error = float((computed - expected).detach().abs().max())
        word = "agrees" if error <= tolerance else "does not agree"
        rows.append({"quantity": name, "largest difference": error, "verdict": word})
    return Exhibit(
        "check",
        "torch.nn.BatchNorm1d against the formulas, largest absolute difference over all elements, "
        f"in double precision. It agrees if the difference is at most {tolerance:.0e}.",
        pd.DataFrame(rows),
        {"largest difference": lambda x: f"{x:.1e}" if x else "0"},
        words=("verdict",),
    )


def splits(results: Results) -> Exhibit:
    """Numbers of images to train, validate and test on."""
    rows = []
    for dataset in results.datasets:
        n_train, n_validation = results.split_sizes(dataset)
        rows.append(
            {
                "dataset": results.title(dataset),
                "training": n_train,
                "validation": n_validation,
                "test": results.facts[dataset].n_test,
            }
        )
    return Exhibit(
        "splits",
        "Number of images in each split.",
        pd.DataFrame(rows),
        dict.fromkeys(("training", "validation", "test"), whole),
    )


def scaled_moments(data: object, config: dict) -> tuple[float, float, float, float]:
    """Smallest and largest value, mean and standard deviation of the scaled training images.

    `data` is a `bnstudy.data.prepared.PreparedData`; the images for validation are among them.
    """
    low, high, mean, deviation = raw_moments(data)
    if config["data"]["scaling"] == "symmetric":
        half = data.pixel_max / 2
        return low / half - 1, high / half - 1, mean / half - 1, deviation / half
    return (low - mean) / deviation, (high - mean) / deviation, 0.0, 1.0


def raw_moments(data: object) -> tuple[float, float, float, float]:
    """Smallest and largest value, mean and standard deviation of the pixels as stored."""
    counts = data.train_images.flatten().bincount(minlength=256).double()
    values = counts.new_tensor(range(len(counts)))
    present = values[counts > 0]
    mean = float((counts * values).sum() / counts.sum())
    variance = float((counts * (values - mean) ** 2).sum() / counts.sum())
    return float(present.min()), float(present.max()), mean, variance**0.5


def pixels(results: Results, data: Mapping[str, object]) -> Exhibit:
    """Range, mean and standard deviation of pixels before and after scaling."""
    rows = []
    for dataset in results.datasets:
        moments = (raw_moments(data[dataset]), scaled_moments(data[dataset], results.config))
        for stage, (low, high, mean, deviation) in zip(("stored", "scaled"), moments, strict=True):
            rows.append(
                {
                    "dataset": results.title(dataset),
                    "pixels": stage,
                    "smallest": low,
                    "largest": high,
                    "mean": mean,
                    "standard deviation": deviation,
                }
            )
    columns = ("smallest", "largest", "mean", "standard deviation")
    return Exhibit(
        "pixels",
        "Pixel values of the images for training and validation, as stored and as the networks see "
        "them (no unit).",
        pd.DataFrame(rows),
        dict.fromkeys(columns, lambda x: decimal(x, 3)),
        words=("pixels",),
    )


def parameters(results: Results, dataset: str, networks: Mapping[str, object]) -> Exhibit:
    """Trainable parameters by layer, a column per arm.

    `networks` maps the arms to `torch.nn.Sequential` models.
    """
    counts = {norm: layer_parameters(network) for norm, network in networks.items()}
    longest = max(counts.values(), key=len)
    frame = pd.DataFrame({"layer": list(longest)})
    for norm, layers in counts.items():
        frame[arm_head(norm)] = [layers.get(layer, 0) for layer in longest]
    total = {"layer": "all layers"} | {column: frame[column].sum() for column in frame.columns[1:]}
    frame = pd.concat([frame, pd.DataFrame([total])], ignore_index=True)
    return Exhibit(
        results.label("parameters", dataset),
        f"Trainable parameters of the networks for {results.title(dataset)}, by layer.",
        frame,
        dict.fromkeys(frame.columns[1:], whole),
        overall=[False] * (len(frame) - 1) + [True],
    )


def layer_parameters(network: object) -> dict[str, int]:
    """Trainable parameters of every layer that has some, by a name that tells its place and "
    "size."""
    layers: dict[str, int] = {}
    block = 1
    for layer in network:
        count = sum(p.numel() for p in layer.parameters() if p.requires_grad)
        if hasattr(layer, "in_features"):
            name = f"{block}. linear, {layer.in_features} to {layer.out_features}"
            block += 1
        else:
            name = f"{block - 1}. normalization of {count // 2} features"
        if count:
            layers[name] = count
    return layers


SETTINGS = (
    ("model", "hidden", "hidden layers", "units per layer"),
    ("model", "activation", "activation function", ""),
    ("model", "dropout", "dropout", "probability"),
    ("model", "initialization", "initial weights", ""),
    ("data", "scaling", "input scaling", ""),
    ("data", "validation_fraction", "validation images", "share of the training set"),
    ("training", "optimizer", "optimizer", ""),
    ("training", "learning_rate", "learning rate", "constant"),
    ("training", "epochs", "epochs", "passes over the training images"),
    ("grid", "batch_size", "batch sizes", "images per step"),
    ("training", "probe_every", "validation probe", "steps between measurements"),
    ("grid", "seed", "seeds", ""),
)


def settings(config: dict) -> Exhibit:
    """The settings of all runs in words; the full config stands under Provenance."""

    def written(value: object) -> str:
        if not isinstance(value, list):
            return str(value)
        return ", ".join(map(str, value))

    rows = [
        {"setting": name, "value": written(config[part][key]), "unit or meaning": unit}
        for part, key, name, unit in SETTINGS
    ]
    return Exhibit(
        "settings",
        "Settings shared by all runs, and the axes of the grid.",
        pd.DataFrame(rows),
        words=("value", "unit or meaning"),
    )


def steps(results: Results, dataset: str) -> Exhibit:
    """Steps to the target by batch size and arm, with the number of runs that never came there."""
    rows = []
    log_runs = results.select(results.scored("ln_steps_to_95"), dataset=dataset)
    runs = results.select(results.scored("steps_to_95"), dataset=dataset)
    for size in results.batch_sizes:
        for norm in results.norms:
            cell = results.select(runs, batch_size=size, norm=norm)
            mean = METRICS["ln_steps_to_95"].value(
                results.select(log_runs, batch_size=size, norm=norm)["value"].mean()
            )
            rows.append(
                {
                    "batch size": size,
                    "normalization": norm,
                    "geometric mean": mean,
                    "fewest": cell["value"].min(),
                    "most": cell["value"].max(),
                    "images seen": float(mean.replace(",", "")) * size if len(cell) else math.nan,
                    "never reached": f"{int(cell['steps_to_95'].isna().sum())} of {len(cell)}",
                }
            )
    return Exhibit(
        results.label("steps", dataset),
        f"Optimizer steps to 95{SPACE}% accuracy on the validation probe {on(results, dataset)}, "
        f"over {results.n_seeds}. Images seen are the geometric mean times the "
        "batch size.",
        pd.DataFrame(rows),
        dict.fromkeys(("fewest", "most", "images seen"), whole),
        words=("normalization",),
    )


def arms(results: Results, dataset: str, label: str = "arms") -> Exhibit:
    """Mean and standard deviation over seeds in every cell of the grid."""
    scored = {name: results.scored(name) for name in ARM_METRICS}
    rows = []
    for size in results.batch_sizes:
        for norm in results.norms:
            row: dict[str, object] = {"batch size": size, "normalization": norm}
            for name, runs in scored.items():
                cell = results.select(runs, dataset=dataset, batch_size=size, norm=norm)["value"]
                row["n"] = len(cell)
                unit = "%" if METRICS[name].kind == "accuracy" else "nats"
                row[f"{METRICS[name].title} ({unit})"] = mean_and_spread(METRICS[name], cell)
            rows.append(row)
    spread = " ± standard deviation over the seeds" if len(results.seeds) > 1 else ""
    return Exhibit(
        results.label(label, dataset),
        f"Every arm {on(results, dataset)} after {counted(results.epochs, 'epoch')}: mean{spread}, "
        f"{results.n_seeds}. A diverged run counts as guessing.",
        pd.DataFrame(rows),
        words=("normalization",),
    )


def mean_and_spread(metric: Metric, values: pd.Series) -> str:
    """`97.58 ± 0.12`, without its unit; without a spread for a single run."""
    # Summed as in the comparison: where a mean ends in 5, the last digit shown must be the same.
    exact = statistics.mean(values) if len(values) else math.nan
    mean = metric.value(exact).removesuffix(f"{SPACE}%")
    if len(values) < 2:
        return mean
    accuracy = metric.kind == "accuracy"
    return f"{mean} ± {100 * values.std():.2f}" if accuracy else f"{mean} ± {values.std():.4f}"


def comparison(results: Results, dataset: str, norm: str) -> Exhibit | None:
    """The comparison with the baseline by batch size, in the main measures; None without a pair."""
    label = "comparison" if norm == results.treatments[0] else f"comparison-{norm}"
    return comparison_of(results, dataset, norm, MAIN_METRICS, label)


def full_comparison(results: Results, dataset: str, norm: str) -> Exhibit | None:
    """As `comparison`, of the measures that it leaves out; folded away."""
    label = "all-measures" if norm == results.treatments[0] else f"all-measures-{norm}"
    others = [name for name in METRICS if name not in MAIN_METRICS]
    return comparison_of(results, dataset, norm, others, label, fold="The other measures")


def comparison_of(
    results: Results, dataset: str, norm: str, metrics: Sequence[str], label: str, fold: str = ""
) -> Exhibit | None:
    rows, overall = [], []
    levels: list[int | str] = [*results.batch_sizes]
    if len(levels) > 1:
        levels.append("all")
    for metric in metrics:
        for level in levels:
            c = results.compare(dataset, norm, metric, level)
            if c is None:
                continue
            overall.append(level == "all")
            rows.append(
                {
                    "measure": f"{c.of.title} (arithmetic)"
                    if metric == "steps_to_95"
                    else c.of.title,
                    "batch size": level,
                    c.baseline: c.of.value(c.mean_baseline),
                    norm: c.of.value(c.mean_norm),
                    "difference": c.of.difference(c.difference),
                    INTERVAL: c.interval,
                    "p": c.p if c.n > 1 else float("nan"),
                    "Holm p": c.p_holm if c.n > 1 else float("nan"),
                    "d_z": c.effect_size,
                    "seeds": favour_cell(c),
                }
            )
    if not rows:
        return None
    return Exhibit(
        results.label(label, dataset),
        f"{arm_head(norm).capitalize()} against {arm_head('none')} {on(results, dataset)}, paired "
        f"by seed. {UNITS_NOTE}. p is of the exact sign-flip test; d_z is the mean difference over "
        "its standard deviation; the last column counts the seeds that were better.",
        pd.DataFrame(rows),
        {
            "p": p_text,
            "Holm p": p_text,
            "d_z": lambda x: decimal(x, 2, signed=True),
        },
        overall=overall,
        fold=fold,
    )


def batch_size_changes(results: Results, dataset: str) -> Exhibit | None:
    """How every arm changes from the smallest to the largest batch size."""
    small, large = results.batch_sizes[0], results.batch_sizes[-1]
    changes = findings.batch_size_changes(
        results, dataset, findings.effect_metrics(results, dataset)
    )
    rows = [
        {
            "measure": c.metric.title,
            "arm": c.what,
            f"at {small}": c.metric.value(c.mean_small),
            f"at {large}": c.metric.value(c.mean_large),
            "change": f"{c.metric.difference(c.difference)}{SHORT_UNITS[c.metric.kind]}",
            INTERVAL: c.interval,
            "Holm p": c.p_holm,
            "verdict": c.verb,
        }
        for c in changes
    ]
    if not rows:
        return None
    return Exhibit(
        results.label("changes", dataset),
        f"From batch size {small} to {large} {on(results, dataset)}, paired by seed "
        f"({results.n_seeds}). {UNITS_NOTE}. Holm's correction spans the rows "
        "of this table.",
        pd.DataFrame(rows),
        {"Holm p": p_text},
        words=("arm", "verdict"),
    )


def times(results: Results, dataset: str) -> Exhibit:
    """Median seconds and memory of the runs of every cell."""
    columns = {
        "seconds_per_epoch": "seconds per epoch",
        "training_seconds": "training (s)",
        "wall_seconds": "whole run (s)",
        "cpu_seconds": "CPU time (s)",
        "peak_memory_mb": "peak memory (MB)",
    }
    rows = []
    table = results.select(results.timings, dataset=dataset)
    for size in results.batch_sizes:
        for norm in results.norms:
            cell = results.select(table, batch_size=size, norm=norm)[list(columns)].median()
            rows.append(
                {"batch size": size, "normalization": norm}
                | {name: float(cell[column]) for column, name in columns.items()}
            )
    total = table["wall_seconds"].sum() / 60
    return Exhibit(
        results.label("times", dataset),
        f"Run times {on(results, dataset)}, medians over {results.n_seeds}; "
        f"all {counted(len(table), 'run')} took {total:.1f} minutes one after another. Runs that "
        "shared the machine slowed each other down.",
        pd.DataFrame(rows),
        {name: (lambda x: decimal(x, 2)) for name in columns.values()}
        | {"peak memory (MB)": whole},
        words=("normalization",),
    )


def missing(results: Results) -> Exhibit | None:
    """What an unfinished study lacks, why, and where the log of the job lies."""
    if results.missing is None or results.missing.empty:
        return None
    part = results.missing["part"]
    return Exhibit(
        "missing",
        "Runs of the grid and cells of the studies that are missing here or cannot be used. A job "
        "that is still running looks like one that broke off. Logs lie in the folder of the study.",
        pd.DataFrame(
            {
                "missing": results.missing["cell"].str.replace("/", ", ").str.replace("~", " "),
                "part of": part.where(part != "core", "the grid").str.replace("_", " "),
                "reason": results.missing["reason"],
                "log": [Code(path) for path in results.missing["log"]],
            }
        ),
        words=("part of", "reason", "log"),
    )


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
    return Exhibit(
        "origin",
        "What the runs were made from.",
        pd.DataFrame(rows, columns=["item", "value"]),
        words=("value",),
    )


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
    return Exhibit(
        "verification",
        "Runs of the published study trained again, with test accuracies. Bitwise: every recorded "
        "number is the same. Within interval: all final metrics are as near to the published ones "
        "as two seeds are to each other.",
        pd.DataFrame(rows),
        {name: (lambda x: decimal(x, 2)) for name in ("here (%)", "published (%)")},
        words=("outcome", "trained here on", "published from"),
    )


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
    return Exhibit(
        "versions",
        "Versions of the software and kind of machine; training records Python, PyTorch and "
        "device.",
        pd.DataFrame(rows),
        words=("training", "this page"),
    )
