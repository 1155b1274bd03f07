"""The tidy frames of the studies' figures.

A function takes the table of a study, its options and what the declaration gives it, and returns the
frame with the column `value`, or that and a mapping of the words that it adds to the texts and of the
options of `plots.plot` that follow from the table; None where a reduced grid has left nothing.
"""

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import accuracy, steps
from bnstudy.claims.endpoints.initialization import BEYOND
from bnstudy.data.registry import DATASETS
from bnstudy.report.look import DECLARED, summary
from bnstudy.report.marks import Plot
from bnstudy.report.measures import counted, decimal, listed, percent
from bnstudy.report.plots import alternative, arms
from bnstudy.report.words import say
from bnstudy.scoring import failed

BASELINE = "none"
MISSED, UNTRAINED = "not reached", "did not train"
NETWORKS = DECLARED["studies"]["init_gradients"]["gradient-norms"]["looks"]
INITS = DECLARED["inits"]
SMALLEST_GRADIENT = 1e-12  # what is smaller, or zero, is drawn as this
SMALLEST_ERROR = 0.05  # percent: one of the 2,000 probe images


Made = pd.DataFrame | tuple[pd.DataFrame, dict]


def val_losses(table: pd.DataFrame) -> pd.Series:
    """Validation loss of each run, that of guessing, ln C, where it failed."""
    return table["val_loss"].astype(float).mask(failed(table), np.log(table["n_classes"]))


def targets(table: pd.DataFrame, column: str = "steps_to_target") -> pd.DataFrame:
    """Runs with the steps to a target as `value`, and whether it was not reached."""
    value = steps(table, column).clip(lower=1).astype(float)
    return table.assign(value=value, **{MISSED: table[column].isna() | failed(table)})


def differences(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`value` with batch normalization minus without, a row per seed and cell with both."""
    wide = frame.pivot(index=[*by, "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=[BASELINE, "batch"]).astype(float)
    return (wide["batch"] - wide[BASELINE]).dropna().rename("value").reset_index()


def long(wide: pd.DataFrame | pd.Series, name: str = "") -> pd.DataFrame:
    """A table of values by its index and, under this name, its columns, as rows."""
    stacked = wide.rename_axis(columns=name).stack() if name else wide
    return stacked.rename("value").reset_index()


def melted(table: pd.DataFrame, columns: Sequence[str], name: str) -> pd.DataFrame:
    others = [c for c in table if c not in columns]
    return (
        table.astype(dict.fromkeys(columns, float))
        .melt(others, columns, name)
        .dropna(subset="value")
    )


# Frames that several figures take.


def scored(table: pd.DataFrame, options: dict, score: str) -> Made:
    """Runs with an accuracy in percent or the validation loss, as the claims score them."""
    loss = score == "val_loss"
    return table.assign(value=val_losses(table) if loss else accuracy(table, score))


def computed(table: pd.DataFrame, options: dict, said: str) -> Made:
    """What an expression of pandas makes of the columns."""
    return table.assign(value=table.eval(said))


def columns(table: pd.DataFrame, options: dict, said: list[str]) -> Made:
    """The columns whose names start so, and the number that each ends with, under a name of its own.

    An expression of pandas says what is made of their values.
    """
    prefix, name, value = said
    frame = melted(table, [column for column in table if column.startswith(prefix)], name)
    number = frame[name].str.removeprefix(prefix).astype(int)
    return frame.assign(**{name: number, "value": frame.eval(value)})


def at_rate(table: pd.DataFrame, options: dict) -> tuple[pd.DataFrame, float]:
    """The rows of the claims' learning rate, or of the one nearest to it that was run."""
    rates = table["learning_rate"].unique()
    rate = min(rates, key=lambda r: abs(math.log(r / options["learning_rate"])))
    return table[table["learning_rate"] == rate], float(rate)


def trajectories(table: pd.DataFrame, options: dict, metrics: list[str]) -> Made:
    """Metrics over the steps of training, means over layers."""
    rows, rate = at_rate(table, options)
    keys = ["metric", "network", "norm", "step", "seed"]
    rows = rows[rows["metric"].isin(metrics)].dropna(subset="value")
    frame = rows.groupby(keys, sort=False)["value"].mean().reset_index()
    drawn = (frame["metric"] == "cosine") | (frame["value"] > 0)
    return frame[drawn], {"rate": rate}


# Speed and accuracy.


def speed_and_accuracy(table: pd.DataFrame, options: dict) -> Made:
    """Steps to the target, where there is one, and test accuracy, and what each pair gains."""
    axis = "scaling" if "scaling" in table else "batch_size"
    if axis == "scaling":
        where = say("figures", "scaled", **options)
    else:
        names = table["dataset"].unique()
        where = f" on {listed(DATASETS[d].title if d in DATASETS else str(d) for d in names)}"
    measures = {"steps": targets(table)} if "target" in options else {}
    measures["accuracy"] = table.assign(value=accuracy(table, "test_accuracy"), **{MISSED: False})
    frame = pd.concat(runs.assign(measure=measure) for measure, runs in measures.items())
    frame = frame[["measure", axis, "norm", "seed", "value", MISSED]]
    logs = frame["value"].mask(frame["measure"] == "steps", -np.log(frame["value"]))
    gains = differences(frame.assign(value=logs), ["measure", axis])
    ratios = gains["value"].mask(gains["measure"] == "steps", np.exp(gains["value"]))
    gains = gains.assign(value=ratios, measure=gains["measure"] + "_gain", norm="batch")
    frame = pd.concat([frame, gains.assign(**{MISSED: False})], ignore_index=True)
    return frame, {"where": where, "x": axis}


def stability(table: pd.DataFrame, options: dict) -> Made:
    loss = val_losses(table)
    mean = loss.groupby([table["norm"], table["batch_size"]]).transform("mean")
    spikes = 100 * table[["spikes", "spikes_all"]].astype(float)
    measures = ["fluctuation", "spikes", "spikes_all", "deviation"]
    frame = melted(table.assign(deviation=loss - mean, **spikes), measures, "measure")
    short = table["fluctuation"].isna().sum()
    return frame.round({"value": 12}), {"short": short}


def fair_race(table: pd.DataFrame, options: dict) -> Made:
    """Steps and test accuracy of both arms, each at its own rate."""
    table = table[table["norm"].isin(["none", "batch"])]
    reached = targets(table).assign(measure=f"steps to {percent(options['target'])}")
    tested = table.assign(value=accuracy(table, "test_accuracy"), **{MISSED: False})
    return pd.concat([reached, tested.assign(measure="test accuracy (%)")])


def confidence(table: pd.DataFrame, options: dict) -> Made:
    measures = {
        "expected calibration error": 100 * table["calibration_error"].astype(float),
        "test accuracy": accuracy(table, "test_accuracy"),
        "training accuracy, labels as given": accuracy(table, "train_accuracy"),
    }
    keys = ["label_noise", "norm", "seed"]
    return pd.concat(table[keys].assign(measure=m, value=v) for m, v in measures.items())


def all_images(table: pd.DataFrame, options: dict) -> Made:
    whole = table[table["train_images"] == table["train_images"].max()]
    return scored(whole, options, "test_accuracy")


def robustness(table: pd.DataFrame, options: dict) -> Made:
    """Test accuracy by the size of a disturbance, told at the largest."""
    said = table["images"].str.partition("_")
    arm = table["norm"].where(table["weight_decay"] == 0, table["norm"] + " decayed")
    frame = table.assign(kind=said[0], size=said[2].astype(float), arm=arm)
    return scored(frame, options, "test_accuracy")


# Sweeps and depth.


def swept(table: pd.DataFrame, options: dict, row: str) -> Made:
    """Runs with their final validation accuracy, and whether they failed, the largest row first."""
    frame = table.assign(value=accuracy(table), **{UNTRAINED: failed(table)})
    return frame.sort_values(row, ascending=False, kind="stable") if row else frame


def steps_between(table: pd.DataFrame, options: dict) -> Made:
    frame = targets(table, f"steps_to_{round(100 * options['target_between'])}")
    return frame.sort_values("batch_size", ascending=False, kind="stable")


def relu_or_first(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the ReLU networks, or of whatever activation was run, with weights of a usual scale."""
    table = table[table["initialization"] != BEYOND]
    kinds = table["activation"].unique()
    return table[table["activation"] == ("relu" if "relu" in kinds else kinds[0])]


def depth_map(table: pd.DataFrame, options: dict) -> Made:
    """Mean accuracy by depth and initialization of each arm, and the paired differences, with words."""
    frame, keys = swept(relu_or_first(table), options, ""), ["initialization", "depth"]
    looks, activation = arms(frame), frame["activation"].iat[0]
    cells = frame.groupby(["norm", *keys], as_index=False).agg(
        value=("value", "mean"), lost=(UNTRAINED, "sum"), runs=("seed", "size")
    )
    cells["text"] = [
        f"{decimal(value, 1)}\n{runs - lost}/{runs}"
        for value, lost, runs in cells[["value", "lost", "runs"]].itertuples(index=False)
    ]
    gain = summary(differences(frame, keys), keys).rename(columns={"mean": "value"})
    half = gain["ci_high"] - gain["value"]
    gain["text"] = [
        decimal(mean, 1, signed=True) + ("" if math.isnan(h) else f"\n± {decimal(h, 1)}")
        for mean, h in zip(gain["value"], half, strict=True)
    ]
    names = {init: INITS.get(init, init) for init in frame["initialization"].unique()}
    of = Plot("accuracy (%)", row=keys[0], x=keys[1], looks=looks, panels={"row_name": INITS})
    titles = {norm: look.name for norm, look in looks.items()}
    below = " Below a difference stands half the width of its 95 % interval."
    return pd.concat([cells, gain.assign(norm="difference")]), {
        "activation": {"relu": "ReLU"}.get(activation, activation),
        "width": next(iter(options["depth"].values()))["hidden"][0],
        "initializations": names,
        "reach": gain["value"].abs().max() or 1,
        "below": below if half.notna().any() else "",
        "col_name": titles | {"difference": "difference (points)"},
        "height": 0.46 * len(names) + 0.5,
        "finding": alternative(frame, of),
        "data": frame[["norm", *keys, "seed", "value", UNTRAINED]],
    }


def activations(table: pd.DataFrame, options: dict) -> Made:
    """Accuracy by activation at the depths that all activations share."""
    shared = table.groupby("depth")["activation"].nunique()
    depths = sorted(shared.index[shared == table["activation"].nunique()])
    depths = depths or sorted(table["depth"].unique())[:2]
    return swept(
        table[table["depth"].isin(depths)].sort_values("depth", kind="stable"), options, ""
    )


def depth_gradients(table: pd.DataFrame, options: dict) -> Made:
    chosen = relu_or_first(table)
    # The activations of a run that broke off are of no use: its rank counts as zero.
    chosen = chosen.assign(soft_rank=chosen["soft_rank"].fillna(0))
    measures = ["gradient_range_initial", "gradient_range", "soft_rank"]
    return melted(chosen, measures, "measure")


def gradient_paths(table: pd.DataFrame, options: dict) -> Made:
    """Geometric means over seeds of the gradient of every layer at every step read, as logarithms."""
    frame = table.dropna(subset="gradient_norm")
    frame = frame.assign(value=np.log10(frame["gradient_norm"].clip(lower=SMALLEST_GRADIENT)))
    keys = ["initialization", "norm", "layer", "step"]
    means = frame.groupby(keys, sort=False)["value"].mean().reset_index()
    layers, read = (sorted(means[key].unique()) for key in ("layer", "step"))
    broken, looks = len(table) - len(frame), arms(means)
    ends = means.pivot(index=["initialization", "norm", "step"], columns="layer", values="value")
    ratio = np.power(10, ends[layers[0]] - ends[layers[-1]]).rename("value").reset_index()
    what = f"gradient of layer {layers[0]} over that of layer {layers[-1]}"
    of = Plot(what, row=keys[0], x="step", looks=looks, panels={"row_name": INITS})
    return means, {
        "depth": table["layer"].nunique(),
        "steps": table["step"].nunique(),
        "layers": layers,
        "read": read,
        "limits": {"vmin": means["value"].min(), "vmax": means["value"].max()},
        "broken": f" Not finite, and left out: {counted(broken, 'reading')}." if broken else "",
        "cols": [*looks],
        "finding": alternative(ratio, of),
        "data": means.rename(columns={"value": "log10 gradient norm, mean"}),
    }


def gradient_norms(table: pd.DataFrame, options: dict) -> Made:
    table = table[table["network"].isin(NETWORKS)]
    depth, size = options["theory_depth"], int(table["batch_size"].max())
    depth = depth if depth in set(table["depth"]) else int(table["depth"].max())
    frame = table[(table["depth"] == depth) & (table["batch_size"] == size)]
    growth = frame.groupby("network")["theory"].first()
    middle = [min(layer, depth) for layer in options["middle"]]
    words = {"depth": depth, "size": size, "growth": growth, "middle": middle}
    return frame.assign(value=frame["gradient"]), words


def gradient_growth(table: pd.DataFrame, options: dict) -> Made:
    """Measured growth of the squared gradient per layer, geometric mean over the middle layers."""
    within = table["layer"].between(*options["middle"]) & table["network"].isin(NETWORKS)
    middle = table[(table["depth"] == options["theory_depth"]) & within]
    middle = middle.assign(value=np.log(middle["growth"]))
    logs = middle.groupby(["network", "batch_size", "seed"])["value"].mean()
    return np.exp(logs).reset_index(), {"sizes": sorted(middle["batch_size"].unique())}


# Smoothness and shift.


def smoothness_by_rate(table: pd.DataFrame, options: dict) -> Made:
    """Ratio of effective beta between the arms at every learning rate."""
    positive = table[(table["metric"] == "beta") & (table["value"] > 0)]
    keys = ["network", "learning_rate", "seed", "norm"]
    logs = np.log(positive["value"]).groupby([positive[key] for key in keys], sort=False).mean()
    gains = differences(logs.reset_index(), keys[:2])
    return gains.assign(value=np.exp(-gains["value"]), norm="batch")


def covariate_shift(table: pd.DataFrame, options: dict) -> Made:
    """Internal covariate shift over steps, mean over layers, and by layer, mean over steps."""
    rows, rate = at_rate(table, options)
    rows = rows[(rows["metric"] == "ics_cosine") & rows["value"].notna()]
    parts = (
        rows.assign(place=rows[by], by=by)
        .groupby(["network", "norm", "seed", "place", "by"], sort=False)["value"]
        .mean()
        .reset_index()
        for by in ("step", "layer")
    )
    return pd.concat(parts), {"rate": rate}


def sigmoid_training(table: pd.DataFrame, options: dict) -> Made:
    error = (100 - 100 * table["accuracy"].astype(float)).clip(lower=SMALLEST_ERROR)
    frame = melted(table.assign(error=error), ["error", "drift"], "measure")
    return frame[frame["value"] > 0]


def sigmoid_percentiles(table: pd.DataFrame, options: dict) -> Made:
    seed = table["seed"].min()
    shares = ["percentile_15", "percentile_50", "percentile_85"]
    frame = table[table["seed"] == seed][["learning_rate", "norm", "seed", "step", *shares]]
    return frame.assign(value=frame["percentile_50"]), {"seed": seed, "data": frame}
