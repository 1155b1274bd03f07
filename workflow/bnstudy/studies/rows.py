"""From the metrics of a run to the rows of a study's table."""

from collections.abc import Callable, Sequence

from bnstudy.scoring import RESULTS, SERIES

Metrics = Sequence[tuple[int, int, str, str, float | None]]  # epoch, step, split, metric, value

OUTCOME = ("status", "n_classes", "n_steps", *RESULTS, "steps_to_target")


def head(outcome: dict) -> dict:
    """What every row of a run says, for its scoring."""
    return {"status": outcome["status"], "n_classes": outcome["n_classes"]}


def observed(metrics: Metrics) -> list[tuple[int, int, str, float | None]]:
    """What observers found: epoch, step, metric, value."""
    return [(e, step, m, value) for e, step, split, m, value in metrics if (split, m) not in SERIES]


def row_of_run(outcome: dict, metrics: Metrics) -> list[dict]:
    """One row: what became of the run, and the last value of everything that was observed."""
    return [outcome | {metric: value for _, _, metric, value in observed(metrics)}]


def rows_of_epochs(outcome: dict, metrics: Metrics) -> list[dict]:
    """A row per epoch with what was recorded at its end; empty from where a run broke off."""
    names = {series: name for name, series in RESULTS.items()}
    n_epochs = outcome["epochs"]
    columns = [*RESULTS, *dict.fromkeys(metric for _, _, metric, _ in observed(metrics))]
    found = {
        (epoch, names.get((split, metric), metric)): value
        for epoch, _, split, metric, value in metrics
        if (split, metric) in names or (split, metric) not in SERIES
    }
    return [
        head(outcome)
        | {"epoch": epoch, "step": epoch * outcome["n_steps"] // n_epochs}
        | {column: found.get((epoch, column)) for column in columns}
        for epoch in range(1, n_epochs + 1)
    ]


def rows_of_steps(outcome: dict, metrics: Metrics) -> list[dict]:
    """A row per probe: its accuracy and what was observed at that step."""
    accuracies = {s: v for _, s, split, m, v in metrics if (split, m) == ("probe", "accuracy")}
    found = {s: head(outcome) | {"step": s, "accuracy": v} for s, v in accuracies.items()}
    for _, step, metric, value in observed(metrics):
        found.get(step, {})[metric] = value
    return list(found.values())


def rows_of_parts(key: str, known: Callable = head) -> Callable[[dict, Metrics], list[dict]]:
    """A row per step and part, where metrics are named `metric:part`; the part's column is `key`.

    Each begins with what is `known` of a run's outcome.
    """

    def rows(outcome: dict, metrics: Metrics) -> list[dict]:
        found: dict[tuple[int, str], dict] = {}
        for _, step, metric, value in observed(metrics):
            name, _, part = metric.partition(":")
            row = found.setdefault((step, part), known(outcome) | {"step": step})
            row |= {key: int(part) if part.isdecimal() else part, name: value}
        return list(found.values())

    return rows


def rows_of_values(outcome: dict, metrics: Metrics) -> list[dict]:
    """A row per value: step, layer (where the metric is of one), metric, value."""
    return [
        head(outcome) | {"step": step, "layer": int(layer) if layer else None, "metric": name, "value": value}
        for _, step, metric, value in observed(metrics)
        for name, _, layer in [metric.partition(":")]
    ]


ROWS = {
    "run": row_of_run,
    "epoch": rows_of_epochs,
    "step": rows_of_steps,
    "layer": rows_of_parts("layer"),
    "statistics": rows_of_parts("statistics"),
    "images": rows_of_parts("images", dict),
    "value": rows_of_values,
}
