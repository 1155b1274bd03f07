"""The tidy frames of the studies' figures: the steps that their declarations name.

A step takes the rows so far, at first the table of the study, the options of the study and what the declaration gives
it. It returns rows, or those and a mapping of the words that it adds to the texts and of the options of `plots.plot`
that follow from them; None where a reduced grid has left nothing. The last rows have the column `value`.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from scipy.stats import gmean

from bnstudy.claims.endpoints import base, practice
from bnstudy.claims.endpoints.base import accuracy
from bnstudy.claims.endpoints.initialization import BEYOND
from bnstudy.claims.endpoints.mechanisms import matched_gaps
from bnstudy.claims.listed import is_steps, result
from bnstudy.report import words
from bnstudy.report.look import DECLARED, looks_of, summary
from bnstudy.report.marks import SIGNS, Plot
from bnstudy.report.measures import SPACE, counted, decimal, level_name, listed
from bnstudy.report.plots import alternative, arms
from bnstudy.scoring import chance, failed

BASELINE = "none"
MISSED, UNTRAINED = "not reached", "did not train"
INITS, CHECKS = DECLARED["inits"], DECLARED["checks"]
PHASES = DECLARED["studies"]["timing"]["timing"]["col_name"]
SWEEPS = ("M4 in training", "M4 slope", "M7 with epsilon")  # have a figure of their own
SMALLEST_GRADIENT = 1e-12  # what is smaller, or zero, is drawn as this
LEAST = 1e-17  # an error of exactly zero is drawn here
FAR = 1.6  # times the largest median, or below the smallest, a block is drawn at the edge

Made = pd.DataFrame | tuple[pd.DataFrame, dict]


def differences(frame: pd.DataFrame, by: list[str]) -> pd.DataFrame:
    """`value` with batch normalization minus without, a row per seed and cell with both."""
    wide = frame.pivot(index=[*by, "seed"], columns="norm", values="value")
    wide = wide.reindex(columns=[BASELINE, "batch"]).astype(float)
    return (wide["batch"] - wide[BASELINE]).dropna().rename("value").reset_index()


def long(wide: pd.DataFrame | pd.Series, name: str) -> pd.DataFrame:
    """A table of values by its index and, under this name, its columns, as rows."""
    return wide.rename_axis(columns=name).stack().rename("value").reset_index()


def melted(table: pd.DataFrame, columns: Sequence[str], name: str) -> pd.DataFrame:
    numbers = table.astype(dict.fromkeys(columns, float))
    others = [column for column in table if column not in columns]
    return numbers.melt(others, columns, name).dropna(subset="value")


def mean(frame: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    return frame.groupby(keys, sort=False)["value"].mean().reset_index()


# Steps that several figures take.


def where(rows: pd.DataFrame, options: dict, said: str) -> Made:
    """The rows of which an expression of pandas is true; @name is an option, @looks the levels drawn."""
    return rows.query(said, local_dict=options)


def scored(rows: pd.DataFrame, options: dict, score: str) -> Made:
    """A column as the claims score it, or what an expression of pandas makes of the columns.

    Beside it stands which values are only a bound, for a target was not reached, and which runs failed.
    """
    if score not in rows:
        return rows.assign(value=rows.eval(score), **{MISSED: False})
    broken = failed(rows) if is_steps(score) or result(score) else False
    bound = rows[score].isna() | broken if is_steps(score) else False
    return rows.assign(value=base.scored(rows, score), **{MISSED: bound, UNTRAINED: broken})


def measures(rows: pd.DataFrame, options: dict, said: Mapping[str, str]) -> Made:
    """Several columns or expressions as `scored`, told apart by `measure`."""
    parts = [scored(rows, options, score).assign(measure=name) for name, score in said.items()]
    return pd.concat(parts, ignore_index=True).dropna(subset="value")


def columns(rows: pd.DataFrame, options: dict, said: list[str]) -> Made:
    """The columns whose names start so, and the number that each ends with, under a name of its own.

    An expression of pandas says what is made of their values.
    """
    prefix, name, value = said
    frame = melted(rows, [column for column in rows if column.startswith(prefix)], name)
    number = frame[name].str.removeprefix(prefix).astype(int)
    return frame.assign(**{name: number, "value": frame.eval(value)})


# Speed and accuracy.


def gains(rows: pd.DataFrame, options: dict, axis: str) -> Made:
    """Measures, and below them what each pair of runs gains by batch normalization, of steps a ratio."""
    rows = rows[["measure", axis, "norm", "seed", "value", MISSED]]
    logs = rows["value"].mask(rows["measure"] == "steps", -np.log(rows["value"]))
    gain = differences(rows.assign(value=logs), ["measure", axis])
    ratios = gain["value"].mask(gain["measure"] == "steps", np.exp(gain["value"]))
    gain = gain.assign(value=ratios, measure=gain["measure"] + "_gain", norm="batch")
    return pd.concat([rows, gain.assign(**{MISSED: False})], ignore_index=True)


def deviation(rows: pd.DataFrame, options: dict) -> Made:
    """The final validation loss less the mean of its arm."""
    loss = base.scored(rows, "val_loss")
    mean = loss.groupby([rows["norm"], rows["batch_size"]]).transform("mean")
    return rows.assign(deviation=(loss - mean).round(12))


def robustness(table: pd.DataFrame, options: dict) -> Made:
    """The kind and the size of a disturbance, and the arm with its weight decay."""
    said = table["images"].str.partition("_")
    arm = table["norm"].where(table["weight_decay"] == 0, table["norm"] + " decayed")
    return table.assign(kind=said[0], size=said[2].astype(float), arm=arm)


# Sweeps and depth.


def steps_between(rows: pd.DataFrame, options: dict) -> Made:
    return scored(rows, options, f"steps_to_{round(100 * options['target_between'])}")


def relu_or_first(table: pd.DataFrame, options: dict) -> Made:
    """The rows of the ReLU networks, or of whatever activation was run, with weights of a usual scale."""
    table = table[table["initialization"] != BEYOND]
    kinds = table["activation"].unique()
    return table[table["activation"] == ("relu" if "relu" in kinds else kinds[0])]


def shared_depths(table: pd.DataFrame, options: dict) -> Made:
    """The depths that all activations share, or the first two."""
    kinds = table.groupby("depth")["activation"].nunique()
    depths = [*kinds.index[kinds == table["activation"].nunique()]] or [*kinds.index[:2]]
    return table[table["depth"].isin(depths)].sort_values("depth", kind="stable")


def depth_map(frame: pd.DataFrame, options: dict) -> Made:
    """Mean accuracy by depth and initialization of each arm, and the paired differences, with words."""
    keys, looks, activation = ["initialization", "depth"], arms(frame), frame["activation"].iat[0]
    groups = frame.assign(trained=~frame[UNTRAINED]).groupby(["norm", *keys], as_index=False)
    cells = groups.agg(value=("value", "mean"), trained=("trained", "sum"), runs=("seed", "size"))
    counts = cells["trained"].astype(str) + "/" + cells["runs"].astype(str)
    cells["text"] = cells["value"].map(lambda value: decimal(value, 1)) + "\n" + counts
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
    said = {"activation": level_name("activation", activation), "initializations": names}
    said |= {"width": next(iter(options["depth"].values()))["hidden"][0]}
    said |= {"below": below if half.notna().any() else "", "reach": gain["value"].abs().max() or 1}
    data = frame[["norm", *keys, "seed", "value", UNTRAINED]]
    drawn = {"height": 0.46 * len(names) + 0.5, "finding": alternative(frame, of), "data": data}
    drawn["col_name"] = titles | {"difference": "difference (points)"}
    return pd.concat([cells, gain.assign(norm="difference")]), said | drawn


def gradient_paths(table: pd.DataFrame, options: dict) -> Made:
    """Geometric means over seeds of the gradient of every layer at every step read, as logarithms."""
    frame = table.dropna(subset="gradient_norm")
    frame = frame.assign(value=np.log10(frame["gradient_norm"].clip(lower=SMALLEST_GRADIENT)))
    means = mean(frame, ["initialization", "norm", "layer", "step"])
    layers, read = (sorted(means[key].unique()) for key in ("layer", "step"))
    broken, looks = len(table) - len(frame), arms(means)
    ends = means.pivot(index=["initialization", "norm", "step"], columns="layer", values="value")
    ratio = np.power(10, ends[layers[0]] - ends[layers[-1]]).rename("value").reset_index()
    what = f"gradient of layer {layers[0]} over that of layer {layers[-1]}"
    of = Plot(what, row="initialization", x="step", looks=looks, panels={"row_name": INITS})
    said = {"layers": layers, "read": read, "broken": ""}
    said["limits"] = {"vmin": means["value"].min(), "vmax": means["value"].max()}
    if broken:
        said["broken"] = f" Not finite, and left out: {counted(broken, 'reading')}."
    data = means.rename(columns={"value": "log10 gradient norm, mean"})
    return means, said | {"cols": [*looks], "finding": alternative(ratio, of), "data": data}


def gradient_norms(table: pd.DataFrame, options: dict) -> Made:
    depth, size = options["theory_depth"], int(table["batch_size"].max())
    depth = depth if depth in set(table["depth"]) else int(table["depth"].max())
    frame = table[(table["depth"] == depth) & (table["batch_size"] == size)]
    growth = frame.groupby("network")["theory"].first()
    middle = [min(layer, depth) for layer in options["middle"]]
    words = {"depth": depth, "size": size, "growth": growth, "middle": middle}
    return frame.assign(value=frame["gradient"]), words


def gradient_growth(table: pd.DataFrame, options: dict) -> Made:
    """Measured growth of the squared gradient per layer, geometric mean over the middle layers."""
    within = table["layer"].between(*options["middle"])
    middle = table[(table["depth"] == options["theory_depth"]) & within]
    middle = middle.assign(value=np.log(middle["growth"]))
    logs = middle.groupby(["network", "batch_size", "seed"])["value"].mean()
    return np.exp(logs).reset_index(), {"sizes": sorted(middle["batch_size"].unique())}


# Smoothness and shift.


def trajectories(rows: pd.DataFrame, options: dict, metrics: list[str]) -> Made:
    """Metrics over the steps of training, means over layers."""
    rows = rows[rows["metric"].isin(metrics)].dropna(subset="value")
    frame = mean(rows, ["metric", "network", "norm", "step", "seed"])
    return frame[(frame["metric"] == "cosine") | (frame["value"] > 0)]


def covariate_shift(rows: pd.DataFrame, options: dict) -> Made:
    """Internal covariate shift over steps, mean over layers, and by layer, mean over steps."""
    rows = rows[(rows["metric"] == "ics_cosine") & rows["value"].notna()]
    parts = (rows.assign(place=rows[by], by=by) for by in ("step", "layer"))
    return pd.concat(mean(part, ["network", "norm", "seed", "place", "by"]) for part in parts)


# The layer taken apart.


def identity_errors(table: pd.DataFrame, options: dict) -> Made | None:
    """The error of every check that has a tolerance, in multiples of it; kept checks first."""
    rows = table[(table["tolerance"] > 0) & ~table["check"].isin(SWEEPS)]
    if rows.empty:
        return None
    frame = rows[["seed", "check", "quantity", "tolerance", "holds"]].copy()
    frame["error"] = (rows["value"] - rows["reference"]).abs()
    frame["value"] = frame["error"] / frame["tolerance"]
    passed = frame.groupby("check")["holds"].min()
    checks = sorted(passed.index, key=lambda name: (-passed[name], [*CHECKS, name].index(name)))
    kept, broken, worst = checks[: int(passed.sum())], checks[int(passed.sum()) :], ""
    if kept:
        of = frame.loc[frame["value"].where(frame["check"].isin(kept)).idxmax()]
        worst = f"{words.small(of['value'])} times its tolerance ({of['check']})"
        worst = f", the largest error of them being {worst}"
    zero = 10.0 ** (math.floor(math.log10(frame["value"].replace(0, 1e-3).min())) - 1)
    said = {"kept": len(kept), "checks": len(checks), "worst": worst, "zero": zero}
    said["broken"] = f"; in {listed(broken)} at least one part does not" if broken else ""
    looks = {c: {"name": f"{c}  {CHECKS[c]}" if c in CHECKS else c} for c in checks}
    drawn = {"looks": looks, "data": frame, "height": 0.3 * len(checks) + 0.1}
    return frame.assign(value=frame["value"].clip(lower=zero)), said | drawn


def identity_sweeps(table: pd.DataFrame, options: dict) -> Made | None:
    """How an output depends on its batch, and on the scale of the weights before the layer."""
    output = table["quantity"].str.startswith("relative change of the output")
    sweep = table["check"].map({"M4 in training": "batch", "M7 with epsilon": "epsilon"})
    sweep = sweep.mask((table["check"] == "M7") & output, "no epsilon")
    if not {"batch", "epsilon"} <= set(sweep):
        return None
    frame = table.assign(sweep=sweep).dropna(subset="sweep").sort_values("sweep", kind="stable")
    of_batch = frame["sweep"] == "batch"
    frame["size"] = frame["quantity"].str.extract(r"([0-9.e+-]+)$")[0].astype(float)
    frame["panel"] = np.where(of_batch, "batch", "weights")
    frame["value"] = frame["value"].mask(of_batch, 100 * frame["value"]).clip(lower=LEAST)
    slope = table[table["check"] == "M4 slope"]["value"].mean()
    return frame, {"slope": decimal(slope, 2)}


def small_batches(table: pd.DataFrame, options: dict) -> Made:
    """Validation error by the images that are normalized together, of designs with any."""
    size = table["group_size"].where(table["design"] == "groups", table["batch_size"])
    line = table["norm"].where(table["norm"].isin(("none", "layer")), table["statistics"])
    frame = table.assign(value=100 - accuracy(table), line=line, size=size)
    normalized = frame["design"][frame["norm"].isin(("ghost", "batch"))]
    return frame[frame["design"].isin(normalized)]


def whole(table: pd.DataFrame, options: dict, keys: list[str]) -> Made:
    """The rows of runs, told apart by these columns, that did not diverge; a sentence on the others."""
    diverged = table[table["status"] == "diverged"]
    return table[table["status"] == "ok"], {"left_out": words.failures("left out", diverged, keys)}


def momenta(rows: pd.DataFrame, options: dict) -> Made:
    """The rows with momentum as a word, and the looks of the momenta."""
    rows = rows.assign(momentum=rows["momentum"].astype(str))
    levels = sorted(rows["momentum"].unique())
    names = {m: "cumulative average" if m == "cumulative" else f"momentum {m}" for m in levels}
    return rows, {"looks": looks_of(levels, name=names.get)}


def staleness(rows: pd.DataFrame, options: dict) -> Made:
    """Running against precise statistics over the first steps of training."""
    rows, found = momenta(rows, options)
    # All momenta see the same weights, so any of them has the precise statistics of all.
    first, *_ = found["looks"]
    precise = (rows["statistics"] == "precise") & (rows["momentum"] == first)
    rows = rows.assign(momentum=rows["momentum"].mask(precise, "precise"))
    found["looks"]["precise"] = {"name": "precise statistics", "color": "INK", "marker": "d"}
    kept = rows[precise | (rows["statistics"] == "running")]
    frame = melted(kept, ["loss", "mean_error"], "measure")
    order = [*found["looks"]].index
    return frame.sort_values("momentum", key=lambda m: m.map(order), kind="stable"), found


def last_batch(rows: pd.DataFrame, options: dict) -> Made:
    """What a last batch of two images does to the loss at the end of each epoch."""
    rows = rows.assign(epoch=rows["step"].rank(method="dense").astype(int))
    wide = rows.pivot(index=["seed", "epoch"], columns="statistics", values="loss")
    return wide if wide.empty else long(wide.div(wide.pop("precise"), axis=0), "statistics")


def shifted_images(table: pd.DataFrame, options: dict) -> Made:
    """Test accuracy on shifted images, each kind from the images as they are."""
    found = table[table["shift"].notna()]
    places = ["norm", "statistics", "shift", "level"]
    frame = found[["seed", *places]].assign(value=100 * found["accuracy"])
    # A diverged run guesses, whatever the shift.
    broken = table[table["status"] == "diverged"]
    cells = frame[places].drop_duplicates().merge(broken[["norm", "seed"]], on="norm")
    frame = pd.concat([frame, cells.assign(value=100 * chance(table["n_classes"].max()))])
    # Contrast 1 leaves the images as they are; the other shifts start there, too.
    clean = frame[(frame["shift"] == "contrast") & (frame["level"] == 1)]
    started = {"contrast", *frame[frame["level"] == 0]["shift"]}
    starts = (clean.assign(shift=s, level=0.0) for s in frame["shift"].unique() if s not in started)
    frame = pd.concat([frame, *starts], ignore_index=True)
    frame["arm"] = frame["norm"] + " " + frame["statistics"]
    return frame, {"failed": words.failures("guessing", broken, ["norm", "seed"])}


def test_groups(table: pd.DataFrame, options: dict) -> Made | None:
    """Test accuracy by the number of test images that are normalized together."""
    said = table["statistics"].astype(str)
    group = pd.to_numeric(said.str.partition("+")[0], errors="coerce")
    if group.isna().all():
        return None
    way = said.mask(group.notna(), "batch").mask(said.str.contains("+", regex=False), "blended")
    shifts = [column for column in table if column.startswith("accuracy_")]
    frame = table.assign(way=way.mask(table["norm"] == "none", "none"), group=group)
    frame[shifts] = 100 * table[shifts].astype(float).fillna(chance(table["n_classes"].max()))
    frame = melted(frame, shifts, "shift")
    frame["shift"] = frame["shift"].str.removeprefix("accuracy_")
    names = {kind: f"{kind} {size:g}" for kind, size in options["shifts"].items()}
    return frame, {"col_name": {"clean": "images as they are"} | names}


def overfitting_path(table: pd.DataFrame, options: dict) -> Made:
    """Training and validation loss after every epoch."""
    losses = ["train_loss", "val_loss"]
    found = table[(table[losses] > 0).all(axis=1)]
    data = found.groupby(["arm", "epoch"])[losses].agg(gmean).reset_index()
    return found.assign(value=found["val_loss"]), {"data": data}


def noise_doses(table: pd.DataFrame, options: dict) -> Made | None:
    """Gap and accuracy against how many images are normalized together."""
    sizes = {arm: int(arm.removeprefix("ghost_")) for arm in table["arm"] if "ghost_" in arm}
    sizes |= {"batch": options["batch_size"], "population": options["train_images"]}
    shown = table[table["arm"].isin([*sizes, "none"])]
    if not shown["arm"].isin(sizes).any():
        return None
    matched, reached = matched_gaps(shown, options["matched_train_loss"])
    last = shown[shown["epoch"] == shown["epoch"].max()]
    end = last["val_loss"].fillna(np.log(last["n_classes"])) - last["train_loss"].fillna(0)
    frame = measures(last.assign(gap=end), options, {"end": "gap", "test": "test_accuracy"})
    matched = long(matched.rename_axis(index="seed"), "arm").assign(measure="matched")
    frame = pd.concat([matched, frame]).rename(columns={"measure": "outcome"})
    norm = frame["arm"].where(frame["arm"] == "none", "batch")
    missed = int((~reached.astype(bool)).to_numpy().sum())
    late = f" Never that low, and counted with the last gap: {counted(missed, 'run')}."
    frame = frame.assign(norm=norm, group_size=frame["arm"].map(sizes))
    return frame, {"late": late if missed else ""}


def dropout(table: pd.DataFrame, options: dict) -> Made | None:
    """Test accuracy and shift of the variance of every layer, at the end."""
    last = table[table["epoch"] == table["epoch"].max()]
    if not last["arm"].str.contains("dropout").any():
        return None
    titles = {c: f"variance, layer {c[-1]}" for c in last if c.startswith("variance_shift_")}
    titles = {"test_accuracy": "test accuracy (%)"} | titles
    last = last.assign(test_accuracy=accuracy(last, "test_accuracy"))
    frame = melted(last, [*titles], "panel")
    normalized = ~frame["arm"].str.startswith("none") | (frame["panel"] == "test_accuracy")
    return frame[normalized], {"col_name": titles}


def step_times(table: pd.DataFrame, options: dict) -> Made | None:
    """Ratios of step times with and without batch normalization, by phase and batch size."""
    wide = table.pivot(index=["batch_size", "seed", "phase"], columns="arm", values="milliseconds")
    if "none" not in wide:
        return None
    data = long(wide.div(wide.pop("none"), axis=0), "arm").rename(columns={"value": "ratio"})
    data = data.assign(kind=data["phase"] + ", " + data["arm"]).query("kind in @PHASES")
    if data.empty:
        return None
    # A process that was disturbed can be far off; it is drawn at the edge instead of far out.
    medians = data.groupby(["kind", "batch_size"])["ratio"].median()
    low, high = min(1.0, medians.min()) / FAR, max(1.0, medians.max()) * FAR
    outside = int((~data["ratio"].between(low, high)).sum())
    n = data["seed"].nunique()
    intervals = f" with 95{SPACE}% intervals from order statistics" if n >= SIGNS else ""
    said = {"processes": n, "intervals": intervals}
    said["outside"] = f" Drawn at the edge: {counted(outside, 'circle')}." if outside else ""
    looks = {s: {"name": f"batch size {s}"} for s in sorted(data["batch_size"].unique())}
    drawn = {"looks": looks, "data": data.drop(columns="kind")}
    return data.assign(value=data["ratio"].clip(low, high)), said | drawn


def controls(table: pd.DataFrame, options: dict) -> Made | None:
    """Differences that must be nothing, and differences that must be something."""
    same = practice.controls(table, options)["same"].effect
    if same.empty:
        return None
    found = {"same settings, other seeds": same}
    values = base.wide(table, accuracy(table, "test_accuracy"), "learning_rate")
    if len(rates := values.columns) > 1:
        low, high = (np.format_float_positional(x, trim="-") for x in (rates[0], rates[-1]))
        found[f"learning rate {high} or {low}"] = (values[rates[-1]] - values[rates[0]])[same.index]
    return pd.concat(found, names=["control"]).rename("value").reset_index().assign(norm="none")


def verdict_shares(rows: pd.DataFrame, options: dict) -> Made:
    """How often each verdict comes out against the true effect, by simulation."""
    verdicts = ["supported", "not supported", "inconclusive", "refuted"]
    return long(100 * rows.groupby(["spread", "effect"])[verdicts].mean(), "verdict")
