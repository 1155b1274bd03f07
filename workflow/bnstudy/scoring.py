"""What a run counts for in a comparison: one definition for tables, claims and the report.

Divergence is a result. A run whose loss was not finite, or that hardly does better than guessing at its end, counts as
one that guesses, and a target that was never reached as reached with the last step, a lower bound. No run is left out,
which would flatter the arm that failed.
"""

import math

import numpy as np

# The results of a run, and the last value of which (split, metric) of metrics.csv each one is.
RESULTS = {
    "train_loss": ("train_subset", "loss"),
    "train_accuracy": ("train_subset", "accuracy"),
    "val_loss": ("validation", "loss"),
    "val_accuracy": ("validation", "accuracy"),
    "test_loss": ("test", "loss"),
    "test_accuracy": ("test", "accuracy"),
}
# What every run records; the rest of metrics.csv was observed.
SERIES = {
    (split, metric)
    for split in ("train", "train_subset", "validation", "probe", "test")
    for metric in ("loss", "accuracy")
}
STEPS, LN_STEPS = "steps_to_target", "ln_steps_to_target"
METRICS = (*RESULTS, STEPS, LN_STEPS)


def chance(n_classes):
    """Accuracy of guessing, 1/C for C classes; of a number or an array of them."""
    return 1 / n_classes


def fails_below(n_classes):
    """Final validation accuracy below which a run counts as failed: twice chance, at most chance + 0.1."""
    return chance(n_classes) + np.minimum(chance(n_classes), 0.1)


def failed(runs):
    """Whether a run (a row or a dict) or each run (a table) failed: diverged, or ended near guessing.

    Needs `status`, `val_accuracy` and `n_classes`.
    """
    diverged = runs["status"] == "diverged"
    if isinstance(diverged, bool | np.bool_):
        return bool(diverged or runs["val_accuracy"] < fails_below(runs["n_classes"]))
    return diverged | (runs["val_accuracy"].astype(float) < fails_below(runs["n_classes"]))


def guess(metric: str, n_classes: int, n_steps: int) -> float | None:
    """What a failed run scores in a metric; None for one that guessing says nothing about."""
    if metric.endswith("accuracy"):
        return chance(n_classes)
    if metric.endswith("loss"):
        return math.log(n_classes)
    return {STEPS: float(n_steps), LN_STEPS: math.log(n_steps)}.get(metric)


def score(run: dict) -> dict[str, float | None]:
    """The scores of a run in `METRICS` and in whatever else was observed. 0 steps count as 1 in ln."""
    observed = run.get("observed", {})
    if failed(run):
        return {m: guess(m, run["n_classes"], run["n_steps"]) for m in METRICS} | observed
    steps = run["n_steps"] if run[STEPS] is None else run[STEPS]
    scores = {key: run[key] for key in RESULTS} | observed
    return scores | {STEPS: float(steps), LN_STEPS: math.log(max(steps, 1))}
