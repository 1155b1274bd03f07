"""The tidy frames of the figures of the layer taken apart, and of the questions beyond (as `frames`)."""

import math

import numpy as np
import pandas as pd

from bnstudy.claims.endpoints.base import accuracy
from bnstudy.claims.endpoints.mechanisms import matched_gaps
from bnstudy.report import words
from bnstudy.report.amounts import small
from bnstudy.report.look import DECLARED, looks_of
from bnstudy.report.marks import SIGNS
from bnstudy.report.measures import SPACE, counted, decimal, listed
from bnstudy.report.study_figures.frames import Made, long, melted, scored
from bnstudy.scoring import chance

CHECKS = DECLARED["checks"]
PATHS = DECLARED["studies"]["regularization"]["overfitting"]["looks"]
PHASES = DECLARED["studies"]["timing"]["timing"]["col_name"]
SWEEPS = ("M4 in training", "M4 slope", "M7 with epsilon")  # have a figure of their own
LEAST = 1e-17  # an error of exactly zero is drawn here
FAR = 1.6  # times the largest median, or below the smallest, a block is drawn at the edge


def identity_errors(table: pd.DataFrame, options: dict) -> Made | None:
    """The error of every check that has a tolerance, in multiples of it; kept checks first."""
    rows = table[(table["tolerance"] > 0) & ~table["check"].isin(SWEEPS)]
    if rows.empty:
        return None
    error = (rows["value"] - rows["reference"]).abs()
    frame = rows[["seed", "check", "quantity", "tolerance", "holds"]].assign(
        error=error, value=error / rows["tolerance"]
    )
    passed = frame.groupby("check")["holds"].min()
    checks = sorted(passed.index, key=lambda name: (-passed[name], [*CHECKS, name].index(name)))
    kept, broken = checks[: int(passed.sum())], checks[int(passed.sum()) :]
    worst = frame.loc[frame["value"].where(frame["check"].isin(kept)).idxmax()] if kept else {}
    of_worst = kept and f"{small(worst['value'])} times its tolerance ({worst['check']})"
    zero = 10.0 ** (math.floor(math.log10(frame["value"].replace(0, 1e-3).min())) - 1)
    return frame.assign(value=frame["value"].clip(lower=zero)), {
        "kept": len(kept),
        "checks": len(checks),
        "worst": f", the largest error of them being {of_worst}" if kept else "",
        "broken": f"; in {listed(broken)} at least one part does not" if broken else "",
        "zero": zero,
        "looks": {c: {"name": f"{c}  {CHECKS[c]}" if c in CHECKS else c} for c in checks},
        "data": frame,
        "height": 0.3 * len(checks) + 0.1,
    }


def identity_sweeps(table: pd.DataFrame, options: dict) -> Made | None:
    """How an output depends on its batch, and on the scale of the weights before the layer."""
    output = table["quantity"].str.startswith("relative change of the output")
    parts = {
        "batch": table[table["check"] == "M4 in training"],
        "epsilon": table[table["check"] == "M7 with epsilon"],
        "no epsilon": table[(table["check"] == "M7") & output],
    }
    if parts["batch"].empty or parts["epsilon"].empty:
        return None
    frame = pd.concat(part.assign(sweep=sweep) for sweep, part in parts.items())
    of_batch = frame["sweep"] == "batch"
    frame["size"] = frame["quantity"].str.extract(r"([0-9.e+-]+)$")[0].astype(float)
    frame["panel"] = np.where(of_batch, "batch", "weights")
    frame["value"] = frame["value"].mask(of_batch, 100 * frame["value"]).clip(lower=LEAST)
    slope = table[table["check"] == "M4 slope"]["value"].mean()
    return frame, {"slope": decimal(slope, 2)}


def mechanism_drift(table: pd.DataFrame, options: dict) -> Made:
    frame = scored(table[table["drift"] > 0], options, "val_loss")
    return frame, {"data": frame[["network", "arm", "seed", "drift", "value"]]}


def small_batches(table: pd.DataFrame, options: dict) -> Made:
    """Validation error by the images that are normalized together, of designs with any."""
    size = table["group_size"].where(table["design"] == "groups", table["batch_size"])
    line = table["norm"].where(table["norm"].isin(("none", "layer")), table["statistics"])
    frame = table.assign(value=100 - accuracy(table), line=line, size=size)
    normalized = frame["design"][frame["norm"].isin(("ghost", "batch"))]
    return frame[frame["design"].isin(normalized)]


def part_of(table: pd.DataFrame, part: str, keys: list[str]) -> tuple[pd.DataFrame, dict]:
    """The rows of a part of the study that did not diverge, and a sentence on those that did."""
    table = table[table["part"] == part]
    return table[table["status"] == "ok"], {"left_out": words.left_out(table, keys)}


def momenta(found: pd.DataFrame) -> tuple[pd.DataFrame, dict]:
    """The rows with momentum as a word, and the looks of the momenta."""

    def name(momentum: str) -> str:
        return "cumulative average" if momentum == "cumulative" else f"momentum {momentum}"

    found = found.assign(momentum=found["momentum"].astype(str))
    levels = looks_of(sorted(found["momentum"].unique()), name=name)
    return found, levels


def staleness(table: pd.DataFrame, options: dict) -> Made:
    """Running against precise statistics over the first steps of training."""
    found, left_out = part_of(table, "staleness", ["momentum", "seed"])
    found, looks = momenta(found)
    # All momenta see the same weights, so any of them has the precise statistics of all.
    precise = (found["statistics"] == "precise") & (found["momentum"] == next(iter(looks), ""))
    found = found.assign(momentum=found["momentum"].mask(precise, "precise"))
    frame = melted(
        found[precise | (found["statistics"] == "running")], ["loss", "mean_error"], "measure"
    )
    looks["precise"] = {"name": "precise statistics", "color": "INK", "marker": "d"}
    frame = frame.sort_values("momentum", key=lambda m: m.map(list(looks).index), kind="stable")
    return frame, left_out | {"looks": looks}


def staleness_at_rest(table: pd.DataFrame, options: dict) -> Made:
    """What is left of the distance once the weights stand still."""
    found, left_out = part_of(table, "staleness", ["momentum", "seed"])
    found, looks = momenta(found[found["statistics"] == "frozen"])
    return found.assign(value=found["mean_error"]), left_out | {"looks": looks}


def last_batch(table: pd.DataFrame, options: dict) -> Made:
    """What a last batch of two images does to the loss at the end of each epoch."""
    found, left_out = part_of(table, "last_batch", ["seed"])
    found = found.assign(epoch=found["step"].rank(method="dense").astype(int))
    wide = found.pivot(index=["seed", "epoch"], columns="statistics", values="loss")
    if wide.empty:
        return wide
    return long(wide.div(wide.pop("precise"), axis=0), "statistics"), left_out


def shifted_images(table: pd.DataFrame, options: dict) -> Made:
    """Test accuracy on shifted images, each kind from the images as they are."""
    table = table[table["part"] == "shift"]
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
    return frame, {"failed": words.guessing(broken, ["norm", "seed"])}


def overfitting_path(table: pd.DataFrame, options: dict) -> Made:
    """Training and validation loss after every epoch."""
    losses = ["train_loss", "val_loss"]
    table = table[table["arm"].isin(PATHS)]
    found = table[(table["status"] == "ok") & (table[losses] > 0).all(axis=1)]
    data = found.groupby(["arm", "epoch"])[losses].agg(words.geometric_mean).reset_index()
    left_out = words.left_out(table, ["arm", "seed"])
    return found.assign(value=found["val_loss"]), {"left_out": left_out, "data": data}


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
    outcomes = {
        "matched": long(matched.rename_axis(index="seed"), "arm"),
        "end": last.assign(value=end),
        "test": last.assign(value=accuracy(last, "test_accuracy")),
    }
    frame = pd.concat(part.assign(outcome=outcome) for outcome, part in outcomes.items())
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
    shifts = {c: f"variance, layer {c[-1]}" for c in last if c.startswith("variance_shift_")}
    titles = {"test_accuracy": "test accuracy (%)"} | shifts
    scored_last = last.assign(test_accuracy=accuracy(last, "test_accuracy"))
    frame = melted(scored_last, [*titles], "panel")
    normalized = ~frame["arm"].str.startswith("none") | (frame["panel"] == "test_accuracy")
    return frame[normalized], {
        "col_name": titles,
        "value": dict.fromkeys(shifts, "inference over running") | {"test_accuracy": "percent"},
        "scale": dict.fromkeys(shifts, "geometric") | {"test_accuracy": "linear"},
        "rule": dict.fromkeys(shifts, 1),
    }


def step_times(table: pd.DataFrame, options: dict) -> Made | None:
    """Ratios of step times with and without batch normalization, by phase and batch size."""
    wide = table.pivot(index=["batch_size", "seed", "phase"], columns="arm", values="milliseconds")
    if "none" not in wide:
        return None
    data = long(wide.div(wide.pop("none"), axis=0), "arm").rename(columns={"value": "ratio"})
    data = data.assign(kind=data["phase"] + ", " + data["arm"])
    data = data[data["kind"].isin(PHASES)]
    if data.empty:
        return None
    # A block that was disturbed can be far off; it is drawn at the edge instead of far out.
    medians = data.groupby(["kind", "batch_size"])["ratio"].median()
    low, high = min(1.0, medians.min()) / FAR, max(1.0, medians.max()) * FAR
    outside = int((~data["ratio"].between(low, high)).sum())
    n = data["seed"].nunique()
    return data.assign(value=data["ratio"].clip(low, high)), {
        "blocks": n,
        "intervals": f" with 95{SPACE}% intervals from order statistics" if n >= SIGNS else "",
        "outside": f" Drawn at the edge: {counted(outside, 'circle')}." if outside else "",
        "looks": {s: {"name": f"batch size {s}"} for s in sorted(data["batch_size"].unique())},
        "data": data.drop(columns="kind"),
    }


def controls(table: pd.DataFrame, options: dict) -> Made | None:
    """Differences that must be nothing, and differences that must be something."""
    runs = table.assign(value=accuracy(table, "test_accuracy"))
    values = runs.pivot(index="seed", columns="learning_rate", values="value")
    rates, half = sorted(values.columns), len(values) // 2
    if half == 0:
        return None
    usual = values[rates[-1]]
    first, second = usual.iloc[:half], usual.iloc[half : 2 * half]
    found = {"same settings, other seeds": first - second.set_axis(first.index)}
    if len(rates) > 1:
        low, high = words.unrounded(rates[0]), words.unrounded(rates[-1])
        found[f"learning rate {high} or {low}"] = first - values[rates[0]].iloc[:half]
    frame = long(pd.DataFrame(found).rename_axis(index="seed"), "control").assign(norm="none")
    return frame.sort_values("control", key=lambda c: c.map([*found].index), kind="stable")


def verdict_shares(table: pd.DataFrame, options: dict) -> Made:
    """How often each verdict comes out against the true effect, by simulation; normal differences."""
    normal = table[table["distribution"] == "normal"]
    verdicts = ["supported", "not supported", "inconclusive", "refuted"]
    shares = 100 * normal.groupby(["spread", "effect"])[verdicts].mean()
    return long(shares, "verdict"), {"studies": int(table["studies"].min())}


def test_groups(table: pd.DataFrame, options: dict) -> Made | None:
    """Test accuracy by the number of test images that are normalized together."""
    said = table["statistics"].astype(str)
    group = pd.to_numeric(said.str.partition("+")[0], errors="coerce")
    if group.isna().all():
        return None
    way = said.mask(group.notna(), "batch").mask(said.str.contains("+", regex=False), "blended")
    shifts = [column for column in table if column.startswith("accuracy_")]
    filled = {
        s: 100 * table[s].astype(float).fillna(chance(table["n_classes"].max())) for s in shifts
    }
    frame = table.assign(way=way.mask(table["norm"] == "none", "none"), group=group, **filled)
    frame = melted(frame, shifts, "shift")
    frame["shift"] = frame["shift"].str.removeprefix("accuracy_")
    names = {kind: f"{kind} {size:g}" for kind, size in options["shifts"].items()}
    return frame, {"col_name": {"clean": "images as they are"} | names}
