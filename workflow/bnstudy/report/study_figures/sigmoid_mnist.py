"""Figures of Ioffe and Szegedy's first experiment (S12)."""

import pandas as pd
from matplotlib.figure import Figure

from bnstudy.report.look import Drawing, Layout, summary
from bnstudy.report.panels import small_multiples
from bnstudy.report.results import counted, decimal
from bnstudy.report.study_figures.landscape import lines
from bnstudy.report.study_figures.tables import arms
from bnstudy.report.words import average, in_order, interval_phrase, per_level

SMALLEST_ERROR = 0.05  # percent: one of the 2,000 probe images
PERCENTILES = ["percentile_15", "percentile_50", "percentile_85"]


def rate_name(rate: float) -> str:
    return f"learning rate {rate:g}"


def sigmoid_training(table: pd.DataFrame, options: dict) -> Drawing:
    """Error rate and drift over the steps of training, a column per learning rate."""
    keys = ["learning_rate", "norm", "step"]
    error = (100 - 100 * table["accuracy"].astype(float)).clip(lower=SMALLEST_ERROR)
    frame = table.assign(error=error).melt([*keys, "seed"], ["error", "drift"], "measure")
    frame = frame[frame["value"] > 0].astype({"value": float})
    looks = arms(table)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "measure", "learning_rate", layout, x="step", yscale="geometric", sharey="row",
            y={"error": "error (%)", "drift": "drift"}, col_name=rate_name, height=(1.6, 1.3),
            turn=False,
        )  # fmt: skip
        for ax, part in panels:
            lines(ax, part, looks)
        return panels.finish(looks)

    final = table[table["step"] == table["step"].max()]
    parts = "; ".join(
        f"{rate_name(rate)}, "
        + per_level(
            one, "norm", looks, lambda runs: f"{average(100 * runs['accuracy'], 1)} percent"
        )
        for rate, one in final.groupby("learning_rate", sort=False)
    )
    return Drawing(
        "sigmoid-mnist",
        "Error and drift over training with sigmoids, for both arms. Mean accuracy at the last "
        f"checkpoint: {parts or 'no run reached it'}.",
        f"Ioffe and Szegedy's (2015) first experiment, {len(options['hidden'])} layers of "
        f"{options['hidden'][0]} sigmoid units, batches of {options['batch_size']}, plain SGD. "
        "Above, the error rate on the validation probe; below, how far the inputs of the last "
        "sigmoids moved since the checkpoint before, in standard deviations of a unit (logarithmic "
        f"scales, evaluation mode). Thin lines are single runs "
        f"({counted(table['seed'].nunique(), 'seed')}), bold ones geometric means"
        f"{interval_phrase(table, ', bands their pointwise ')}.",
        summary(frame, ["measure", *keys], geometric=True),
        draw,
    )


def sigmoid_percentiles(table: pd.DataFrame, options: dict) -> Drawing:
    """15th, 50th and 85th percentile of one sigmoid's input over training, for one seed."""
    seed = table["seed"].min()
    frame = table[table["seed"] == seed].astype(dict.fromkeys(PERCENTILES, float))
    looks = arms(frame)

    def draw(layout: Layout) -> Figure:
        panels = small_multiples(
            frame, "learning_rate", "norm", layout, cols=list(looks), x="step",
            y="input of the sigmoid", yscale=None, row_name=rate_name, height=1.6, turn=False,
            col_name={norm: look.name for norm, look in looks.items()},
        )  # fmt: skip
        for ax, part in panels:
            look, (low, middle, high) = looks[part["norm"].iat[0]], part[PERCENTILES].T.to_numpy()
            ax.fill_between(part["step"], low, high, color=look.color, alpha=0.2, lw=0)
            for edge in (low, high):
                ax.plot(part["step"], edge, color=look.color, lw=0.9)
            ax.plot(part["step"], middle, **look.line(lw=1.8))
        return panels.finish()

    def moved(one: pd.DataFrame) -> str:
        median = one.sort_values("step")["percentile_50"]
        return f"{decimal(median.iloc[0], 2)} to {decimal(median.iloc[-1], 2)}"

    parts = "; ".join(
        f"{rate_name(rate)}, "
        + per_level(frame[frame["learning_rate"] == rate], "norm", looks, moved)
        for rate in in_order(frame["learning_rate"])
    )
    return Drawing(
        "sigmoid-percentiles",
        "Bands of the input of one sigmoid over training. Its median moves from the first "
        f"checkpoint to the last from {parts}.",
        "The input of one sigmoid of the last hidden layer over the steps of training: median "
        "(bold), 15th and 85th percentile over the images of the validation probe, in evaluation "
        f"mode. One unit of one network per arm (seed {seed}), as in the paper's figure 1; the "
        "other seeds are in the table of the study.",
        frame[["learning_rate", "norm", "seed", "step", *PERCENTILES]],
        draw,
    )
