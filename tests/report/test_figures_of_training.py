"""Figures of the studies of training: drawn from small made-up tables of the studies' columns."""

import math
from itertools import product

import numpy as np
import pandas as pd
import pytest
import yaml
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from bnstudy.report.figures import DECLARED, FIGURES, frames, overlays
from bnstudy.report.marks import heat
from bnstudy.report.plots import number
from bnstudy.studies.declaration import all_options
from bnstudy.studies.init_gradients import growth_in_theory
from conftest import ROOT

LIMIT = 120_000  # bytes of one SVG, for ten seeds
STUDIES = yaml.safe_load((ROOT / "config" / "studies.yaml").read_text(encoding="utf-8"))["studies"]
NORMS = ("none", "batch")


def options(study: str) -> dict:
    return all_options(STUDIES[study])


def run_row(rng: np.random.Generator, accuracy: float, n_steps: int = 375) -> dict:
    """What `studies.plain.outcome` says of a run; it diverged where the accuracy is NaN."""
    finite = not math.isnan(accuracy)
    noisy = float(np.clip(accuracy + rng.normal(0, 0.004), 0, 1)) if finite else None
    loss = -math.log(max(noisy, 0.05)) if finite else None
    return {"status": "ok" if finite else "diverged", "n_steps": n_steps, "n_classes": 10} | {
        f"{split}_{metric}": value
        for split, (metric, value) in product(("train", "val", "test"), (("loss", loss), ("accuracy", noisy)))
    }


def input_scaling(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "scaling": scaling, "seed": seed}
        | run_row(rng, 0.972 + 0.004 * (norm == "batch") + 0.002 * (scaling == "standardize"))
        | {
            "steps_to_target": 25.0
            * round(rng.normal(40 - 20 * (norm == "batch") - 8 * (scaling == "standardize"), 3)),
            "first_epoch_val_loss": 0.2,
        }
        for norm, scaling, seed in product(NORMS, ("symmetric", "standardize"), range(seeds))
    )


long_training = input_scaling


def learning_rates(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for norm, seed, rate in product(NORMS, range(seeds), STUDIES["learning_rates"]["grid"]["learning_rate"]):
        best = 0.3 if norm == "none" else 1.0
        too_high = rate > best * (2 if norm == "none" else 20)
        accuracy = 0.97 - 0.05 * math.log10(rate / best) ** 2 + rng.normal(0, 0.005)
        accuracy = math.nan if too_high else max(accuracy, 0.1)
        step = 10.0 * round(3 + 8 * abs(math.log10(rate / best)))
        row = {"norm": norm, "seed": seed, "learning_rate": rate} | run_row(rng, accuracy)
        missed = too_high or accuracy < 0.85
        rows.append(row | {f"steps_to_{p}": None if missed else step for p in (85, 90, 95)})
    return pd.DataFrame(rows)


def init_gains(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    gains = STUDIES["init_gains"]["grid"]["gain"]
    cells = product(NORMS, ("sgd", "adam"), range(seeds), gains)
    return pd.DataFrame(
        {"norm": norm, "optimizer": optimizer, "seed": seed, "gain": gain}
        | run_row(
            rng, 0.12 if norm == "none" and gain < 0.1 else 0.97 - 0.03 * (1 + (norm == "none")) * abs(math.log10(gain))
        )
        for norm, optimizer, seed, gain in cells
    )


def depth(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for norm, activation, init, seed in product(NORMS, ("relu", "tanh", "sigmoid"), ("default", "he"), range(seeds)):
        for layers in (2, 5, 20) if activation == "relu" else (2, 5):
            fails = norm == "none" and init == "default" and layers > 5
            fails |= norm == "none" and activation == "sigmoid" and layers == 5
            accuracy = 0.11 if fails else 0.97 - 0.002 * layers - 0.02 * (activation == "sigmoid")
            if norm == "none" and layers == 20 and init == "he" and seed == 0:
                accuracy = math.nan
            gradient = 0.04 * layers if norm == "batch" else 0.3 * layers * (init == "default")
            row = {"norm": norm, "activation": activation, "initialization": init, "seed": seed}
            row |= {"depth": layers} | run_row(rng, accuracy)
            rows.append(
                row
                | {
                    "gradient_range_initial": gradient + abs(rng.normal(0.3, 0.05)),
                    "gradient_range": gradient + abs(rng.normal(0.2, 0.05)),
                    "soft_rank_initial": 40,
                    "soft_rank": None if math.isnan(accuracy) else rng.integers(20, 60),
                }
            )
    return pd.DataFrame(rows)


def gradient_paths(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    grid = options("gradient_paths")
    layers = range(1, len(grid["hidden"]) + 1)
    cells = product(NORMS, ("default", "he"), range(seeds), grid["steps"], layers)
    return pd.DataFrame(
        {"norm": norm, "initialization": init, "seed": seed, "step": step, "layer": layer}
        | {
            "gradient_norm": math.exp(rng.normal(0, 0.2))
            * (1.2**-layer if norm == "batch" else 2.4**layer if init == "default" else 1.0)
            if (seed, step, layer) != (1, 8, 3)
            else None
        }
        for norm, init, seed, step, layer in cells
    )


def init_gradients(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for network, seed, size, layers in product(
        DECLARED["studies"]["init_gradients"]["gradient-norms"]["looks"],
        range(seeds),
        options("init_gradients")["batch_sizes"],
        (20, 30),
    ):
        theory = growth_in_theory(network, size)
        growth = theory * np.exp(rng.normal(0, 0.02, layers))
        squared = np.cumprod(growth[::-1])[::-1]
        rows += [
            {
                "network": network,
                "seed": seed,
                "batch_size": size,
                "depth": layers,
                "layer": i + 1,
                "gradient": 0.1 * math.sqrt(squared[i]),
                "weight_gradient": math.sqrt(squared[i]),
                "growth": growth[i] if i + 1 < layers else None,
                "theory": theory,
            }
            for i in range(layers)
        ]
    return pd.DataFrame(rows)


LANDSCAPE = {
    "loss_range": 0.5,
    "gradient_change_min": 0.1,
    "gradient_change_max": 2.0,
    "beta": 8.0,
    "relative_change": 1.0,
    "cosine": 0.7,
    "drift": 0.2,
    "drift_eval": 0.3,
    "drift_raw": 0.4,
    "wasserstein": 0.2,
    "wasserstein_eval": 0.4,
}


def landscape(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    depths = {"relu2": 2, "relu5": 5, "sigmoid3": 3}
    rows = []
    for norm, network, seed, step in product(NORMS, depths, range(seeds), range(0, 375, 50)):
        values = [
            (None, metric, value * (1 + (norm == "none")) * math.exp(rng.normal(0, 0.3)))
            for metric, value in LANDSCAPE.items()
        ]
        values += [
            (layer, "ics_cosine", min(1.0, 0.9 - 0.05 * layer + rng.normal(0, 0.03)))
            for layer in range(2, depths[network] + 2)
        ]
        key = {"norm": norm, "network": network, "seed": seed, "step": step}
        rows += [key | {"layer": layer, "metric": metric, "value": value} for layer, metric, value in values]
    return pd.DataFrame(rows)


def sigmoid_mnist(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    rows = []
    for norm, rate, seed in product(NORMS, (0.1, 0.5), range(seeds)):
        for step in range(0, 1601, 100):
            speed = rate * (6 if norm == "batch" else 1)
            middle = -0.5 + 0.1 * rng.normal()
            rows.append(
                {"norm": norm, "learning_rate": rate, "seed": seed, "step": step}
                | {"accuracy": 0.1 + 0.87 * (1 - math.exp(-speed * step / 400))}
                | {"percentile_15": middle - 1, "percentile_50": middle}
                | {"percentile_85": middle + 1}
                | {"drift": None if step == 0 else math.exp(-step / 2000 + rng.normal(0, 0.2))}
            )
    return pd.DataFrame(rows)


def fashion(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"dataset": "fashion_mnist", "norm": norm, "batch_size": size, "seed": seed}
        | run_row(rng, 0.87 + 0.01 * (norm == "batch"))
        | {"steps_to_target": None if norm == "none" and seed == 0 else 600.0 - size, "first_epoch_val_loss": 0.4}
        for norm, size, seed in product(NORMS, (128,), range(seeds))
    )


def stability(seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    return pd.DataFrame(
        {"norm": norm, "batch_size": size, "seed": seed}
        | run_row(rng, 0.975)
        | {"window_steps": 100, "fluctuation": None if seed == 1 else 0.5}
        | {"spikes": 0.05 + 0.01 * rng.random(), "spikes_all": 0.06 + 0.01 * rng.random()}
        for norm, size, seed in product(NORMS, (64,), range(seeds))
    )


TABLES = {
    study: globals()[study]
    for study in (
        *("input_scaling", "long_training", "learning_rates", "init_gains", "depth", "gradient_paths"),
        *("init_gradients", "landscape", "sigmoid_mnist", "fashion", "stability"),
    )
}
ALL = [(study, figure) for study in TABLES for figure in FIGURES[study].values()]


def table_of(study: str, seeds: int) -> pd.DataFrame:
    """Through CSV and back, as the report has it."""
    from io import StringIO

    frame = TABLES[study](seeds, np.random.default_rng(0))
    return pd.read_csv(StringIO(frame.to_csv(index=False)))


@pytest.mark.parametrize(("study", "figure"), ALL)
def test_figure_is_drawn_for_page_and_phone(study, figure):
    drawing = figure(table_of(study, 10), options(study))
    assert drawing.finding.strip()
    assert len(drawing.finding.split()) <= 60
    assert "nan" not in drawing.finding + drawing.caption
    assert len(drawing.data)
    svg = drawing.pictures().svg
    assert svg.startswith("<svg")
    assert len(svg) < LIMIT


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize(("study", "figure"), ALL)
def test_a_single_run_of_a_single_arm_is_drawn(study, figure, norm):
    table = table_of(study, 1)
    if "norm" in table:
        table = table[table["norm"] == norm]
    elif norm == "batch":
        table = table[table["network"] == "batch_relu"]
    drawing = figure(table, options(study))
    assert "interval" not in drawing.caption
    if norm == "batch":
        assert drawing.pictures().svg.startswith("<svg")


def test_labels_are_unique_and_every_study_has_figures():
    labels = [figure(table_of(study, 2), options(study)).label for study, figure in ALL]
    assert len(set(labels)) == len(labels)
    assert set(FIGURES) == set(STUDIES)


@pytest.mark.parametrize("study", ["learning_rates", "init_gains", "depth", "input_scaling"])
def test_runs_that_all_diverged_are_drawn(study):
    table = table_of(study, 2)
    results = [c for c in table if c.endswith(("_accuracy", "_loss")) or c.startswith("steps_to")]
    table = table.assign(status="diverged", **dict.fromkeys(results, math.nan))
    for figure in FIGURES[study].values():
        drawing = figure(table, options(study))
        assert drawing.pictures().svg.startswith("<svg")


def test_findings_name_the_numbers_of_the_table():
    table = pd.DataFrame(
        {
            "dataset": "fashion_mnist",
            "norm": ["none", "batch"],
            "batch_size": 64,
            "seed": 0,
            "status": "ok",
            "n_steps": 900,
            "n_classes": 10,
            "val_accuracy": 0.8,
            "test_accuracy": [0.8712, 0.8834],
            "steps_to_target": [400.0, None],
        }
    )
    drawing = FIGURES["fashion"]["fashion"](table, options("fashion"))
    assert "no normalization 87.1 and batch normalization 88.3" in drawing.finding
    assert "no normalization 400 and batch normalization 900" in drawing.finding
    assert "points gained: batch normalization 1.22" in drawing.finding
    by_measure = drawing.data.groupby("measure", sort=False)["value"].apply(list)
    assert by_measure["steps_gain"] == pytest.approx([400 / 900])
    assert drawing.data["not reached"].tolist() == [False, True, *[False] * 4]


def test_differences_are_paired_by_seed_and_leave_out_incomplete_pairs():
    frame = pd.DataFrame(
        {
            "level": "x",
            "seed": [0, 0, 1, 1, 2],
            "norm": ["none", "batch", "none", "batch", "none"],
            "value": [1.0, 3.0, 2.0, 7.0, 5.0],
        }
    )
    assert frames.differences(frame, ["level"])["value"].tolist() == [2.0, 5.0]
    assert frames.differences(frame[frame["norm"] == "none"], ["level"]).empty


def test_gradient_paths_are_geometric_means_by_layer_and_step():
    cells = product((0, 1), (0, 5), (1, 2))
    table = pd.DataFrame(
        {"norm": "batch", "initialization": "he", "seed": seed, "step": step, "layer": layer}
        | {"gradient_norm": (100.0 if seed else 1.0) * (8 if layer == 1 else 2) * (step + 1)}
        for seed, step, layer in cells
    )
    table.loc[table.index[-1], "gradient_norm"] = None  # seed 1, step 5, layer 2
    drawing = FIGURES["gradient_paths"]["gradient-paths"](table, options("gradient_paths"))
    means = drawing.data.set_index(["step", "layer"])["log10 gradient norm, mean"]
    assert means[0, 1] == pytest.approx(math.log10(80))
    assert means[5, 2] == pytest.approx(math.log10(12))
    assert "at step 5: He init: 40." in drawing.finding
    assert "Not finite, and left out: 1\N{NO-BREAK SPACE}reading." in drawing.caption


def test_text_on_a_heat_map_contrasts_with_its_cell():
    """At least 4.5 to 1, WCAG 2 level AA, by its formula."""

    def luminance(color):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in color[:3]]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    values = pd.DataFrame([[*range(0, 101, 4), math.nan]])
    ax = Figure().add_subplot()
    heat(ax, values, values.astype(str), vmin=0, vmax=100)
    cells = ax.collections[0].get_facecolors()[:-1]
    assert len(ax.texts) == len(cells) == 26
    for text, cell in zip(ax.texts, cells, strict=True):
        one, other = sorted([luminance(to_rgb(text.get_color())), luminance(cell)])
        assert (other + 0.05) / (one + 0.05) >= 4.5


def test_growth_is_not_drawn_where_no_network_has_the_depth_of_theory():
    table = table_of("init_gradients", 2)
    shallow = table[table["depth"] < options("init_gradients")["theory_depth"]]
    assert FIGURES["init_gradients"]["gradient-growth"](shallow, options("init_gradients")) is None


def test_usable_band_is_the_median_of_the_seeds_bands():
    frame = pd.DataFrame(
        {
            "seed": [0] * 4 + [1] * 4,
            "rate": [0.01, 0.1, 1, 10] * 2,
            "value": [90, 97, 97.5, 10, 96.9, 97.2, 96, 10],
            "did not train": [False, False, False, True] * 2,
        }
    )
    low, high = overlays.usable(frame, "rate")
    # Bands 0.1 to 1 and 0.01 to 0.1; the median of two is their geometric mean.
    assert low == pytest.approx(10**-1.5)
    assert high == pytest.approx(10**-0.5)
    assert overlays.usable(frame.assign(**{"did not train": True}), "rate") is None


def test_theory_line_has_the_slope_of_theory_and_the_level_of_the_middle_layers():
    layers = np.arange(1, 11)
    curve = pd.DataFrame({"layer": layers, "mean": 5.0 * 1.5 ** (-(layers - 1) / 2)})
    x, line = overlays.theory_line(curve, 1.5, 3, 7)
    assert x.tolist() == [3, 4, 5, 6, 7]
    assert line == pytest.approx(curve["mean"].to_numpy()[2:7])


def test_targets_not_reached_stand_at_the_last_step():
    table = pd.DataFrame(
        {
            "status": ["ok", "ok", "diverged"],
            "val_accuracy": [0.9, 0.9, None],
            "n_steps": 300,
            "n_classes": 10,
            "steps_to_target": [0.0, None, 20.0],
        }
    )
    frame = frames.scored(table, {}, "steps_to_target")
    assert frame["value"].tolist() == [1, 300, 300]  # a logarithm needs at least one step
    assert frame["not reached"].tolist() == [False, True, True]


@pytest.mark.parametrize(("x", "text"), [(0.518, "0.518"), (2469.6, "2,470"), (5.1e-12, "5.1e-12"), (math.nan, "n/a")])
def test_numbers_have_three_digits(x, text):
    assert number(x) == text
