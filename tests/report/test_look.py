"""The common look of the figures: nothing but the data decides, and nothing gets lost."""

import math
import os
from dataclasses import replace
from itertools import combinations, pairwise, product

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import seaborn as sns
from scipy import stats

from bnstudy.report import look, marks, plots, reporting
from bnstudy.report.look import WIDTH, Drawing, looks_of, series, summary, t_interval
from bnstudy.report.panels import log_ticks, small_multiples
from bnstudy.report.rendering import DARK
from bnstudy.report.reporting import PNG_DPI, Report

SEEDS = range(4)


def frame(sizes=(32, 64), metrics=("loss", "accuracy")) -> pd.DataFrame:
    rows = [
        {"metric": metric, "size": size, "norm": norm, "seed": seed, "step": step}
        | {"value": 0.5 * (1 + seed) / step * (2 if norm == "none" else 1)}
        for metric in metrics
        for size in sizes
        for norm in ("none", "batch")
        for seed in SEEDS
        for step in (1, 10, 100)
    ]
    return pd.DataFrame(rows)


def curves(table=None, **options):
    looks = looks_of(["none", "batch"])
    settings = {"x": "step", "y": {"loss": "nats", "accuracy": "%"}, "sharey": "row"} | options
    panels = small_multiples(frame() if table is None else table, "metric", "size", **settings)
    for ax, part in panels:
        sns.lineplot(part, x="step", y="value", ax=ax, **series(looks, "norm"))
    panels.finish(looks)
    return panels


def drawing(**options) -> Drawing:
    return Drawing("x", "finding", "caption", frame(), lambda: curves(**options).figures)


def test_a_drawing_depends_on_its_data_alone_and_leaves_no_trace():
    first = drawing().pictures().svg
    changed = {"text.usetex": True, "font.size": 30, "axes.grid": False, "lines.linewidth": 9}
    with mpl.rc_context(changed):
        np.random.seed(5)
        state = np.random.get_state()[1].tolist()
        assert drawing().pictures().svg == first
        assert {key: mpl.rcParams[key] for key in changed} == changed
        assert np.random.get_state()[1].tolist() == state
    assert drawing().pictures(dpi=50).png.startswith(b"\x89PNG")
    assert drawing().pictures().svg == first
    assert plt.get_fignums() == []


def test_figures_drawn_ahead_are_the_same_also_where_a_process_ends_early(monkeypatch):
    monkeypatch.setattr(reporting, "PATIENCE", None)  # that a process is gone is noticed at once
    here = os.getpid()

    def only_here() -> list:
        return curves().figures if os.getpid() == here else os._exit(1)

    report = Report.__new__(Report)
    report.ahead = {}
    asked = [replace(drawing(), label=label) for label in "abcd"]
    asked.append(replace(drawing(), label="e", draw=only_here))
    report.draw_ahead(asked)
    expected = drawing().pictures(PNG_DPI)
    for one in (asked[0], *asked[2:]):  # the second is not asked for
        found = report.drawn(one)
        assert found.svgs == expected.svgs
        assert found.png == expected.png


def test_nine_levels_differ_in_colour_dash_and_marker_and_the_baseline_looks_the_same():
    rates = [0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8]
    looks = looks_of(rates, baseline=0.0, name="dropout {}".format)
    for cue in ("color", "dash", "marker"):
        assert len({getattr(one, cue) for one in looks.values()}) == len(rates)
    norms = looks_of(["none", "group", "layer", "batch"], name=str.upper)
    assert [norms[k].color for k in ("none", "batch", "layer")] == ["#de8f05", "#0173b2", "#029e73"]
    assert norms["group"].color not in {norms[k].color for k in ("none", "batch", "layer")}
    assert norms["group"].name == "GROUP"
    alike = [(one.color, one.dash, one.marker) for one in (looks[0.0], norms["none"])]
    assert alike[0] == alike[1]


def test_colours_stay_apart_on_a_dark_page():
    colours = {one.color for one in (look.BASELINE_LOOK, *look.LEVEL_LOOKS)}
    shown = [DARK.get(color, color) for color in (*colours, look.PAPER)]
    rgb = [mpl.colors.to_rgb(color) for color in shown]
    assert all(math.dist(a, b) > 0.19 for a, b in combinations(rgb, 2))


def test_means_and_intervals_by_hand():
    table = pd.DataFrame({"cell": "x", "seed": range(4), "value": [1.0, 2.0, 3.0, math.nan]})
    row = summary(table, ["cell"]).iloc[0]
    half = 4.302653 / math.sqrt(3)  # t of two degrees of freedom; the standard deviation is 1
    assert row[["mean", "ci_low", "ci_high", "n"]].tolist() == pytest.approx([2, 2 - half, 2 + half, 3])
    few = summary(table[:2], ["cell"]).iloc[0]
    assert few["mean"] == 1.5
    assert math.isnan(few["ci_low"])
    values = np.random.default_rng(0).normal(size=7)
    by_scipy = stats.t.interval(0.95, 6, values.mean(), stats.sem(values))
    assert t_interval([*values, math.inf]) == pytest.approx(by_scipy)
    assert all(map(math.isnan, t_interval([1.0, 2.0])))


def test_geometric_means_leave_out_what_has_no_logarithm():
    table = pd.DataFrame({"cell": "x", "seed": range(4), "value": [1.0, 10.0, 100.0, 0.0]})
    row = summary(table, ["cell"], geometric=True).iloc[0]
    assert row["mean"] == pytest.approx(10)
    assert row["n"] == 3
    assert row["ci_low"] * row["ci_high"] == pytest.approx(100)


@pytest.mark.parametrize(("scale", "mean"), [("log", 1.25), ("geometric", 0.5 * 24**0.25)])
def test_the_mean_on_a_logarithmic_axis_is_the_one_asked_for(scale, mean):
    panels = curves(yscale=scale)
    for ax in panels.axes.values():
        assert ax.get_yscale() == "log"
        assert ax.lines[1].get_ydata()[0] == pytest.approx(mean)


def test_panels_keep_their_places_and_parts():
    panels = curves()
    (picture,) = panels.figures
    assert picture.axes[0].get_subplotspec().get_gridspec().get_geometry() == (2, 2)
    assert panels.places[0, 1, 0] == ("accuracy", 32)
    part = panels.parts["accuracy", 32]
    assert set(part["metric"]) == {"accuracy"}
    assert set(part["size"]) == {32}
    shared = panels.axes["loss", 32].get_shared_y_axes()
    assert shared.joined(panels.axes["loss", 32], panels.axes["loss", 64])
    assert not shared.joined(panels.axes["loss", 32], panels.axes["accuracy", 32])
    assert [ax.get_title() for ax in panels.axes.values()] == ["32", "64", "", ""]


def test_five_cells_go_on_in_further_pictures_with_the_same_axes():
    panels = curves(frame(sizes=range(5)), yscale="log")
    assert [len(picture.axes) for picture in panels.figures] == [4, 4, 2]
    assert {picture.get_figwidth() for picture in panels.figures} == {WIDTH}
    for picture in panels.figures:
        picture.draw_without_rendering()
    heights = [picture.get_figheight() for picture in panels.figures]
    assert heights[0] == heights[1] > heights[2]  # the legend and what stands beside it
    assert len({ax.get_ylim() for (metric, _), ax in panels.axes.items() if metric == "loss"}) == 1
    tops = [picture.axes[0].get_position().y1 for picture in panels.figures]
    assert tops[0] == pytest.approx(tops[1], abs=0.01)
    for picture in panels.figures:
        assert all(label.get_visible() for label in picture.axes[0].get_yticklabels())


def test_inner_panels_repeat_neither_labels_nor_ticks():
    panels = curves(row_name={"loss": "the loss", "accuracy": "the accuracy"})
    panels.figures[0].draw_without_rendering()
    labels = {key: (ax.get_xlabel(), ax.get_ylabel()) for key, ax in panels.axes.items()}
    assert labels == {
        ("loss", 32): ("", "the loss\nnats"),
        ("loss", 64): ("", ""),
        ("accuracy", 32): ("step", "the accuracy\n%"),
        ("accuracy", 64): ("step", ""),
    }
    inner = panels.axes["loss", 64]
    assert not any(label.get_visible() for label in (*inner.get_xticklabels(), *inner.get_yticklabels()))


def test_a_legend_keeps_all_entries_within_the_figure():
    names = ["batch norm., running averages", "batch norm., precise statistics", "none", "layer"]
    panels = small_multiples(frame(sizes=[32]), None, "size")
    (figure,) = panels.finish(looks_of(range(4), 0, names.__getitem__))
    figure.draw_without_rendering()
    (legend,) = figure.legends
    assert [text.get_text() for text in legend.get_texts()] == names
    for text in legend.get_texts():
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.x1 <= figure.bbox.width


def test_a_panel_without_rows_says_so():
    panels = curves(cols=[32, 64, 128])
    assert [t.get_text() for t in panels.axes["loss", 128].texts] == ["nothing was measured"]
    assert not panels.axes["loss", 32].texts


@pytest.mark.parametrize("limits", [(1, 3), (0.02, 0.05), (25, 9400), (1, 1e9), (1e-12, 4), (7, 7.01)])
@pytest.mark.parametrize("inches", [0.9, 1.4, 3])
def test_logarithmic_ticks_are_few_and_do_not_touch(limits, inches):
    with mpl.style.context(look.THEME, after_reset=True):
        figure = mpl.figure.Figure(figsize=(inches + 1, 2), layout="none")
        ax = figure.add_axes((0.5 / (inches + 1), 0.3, inches / (inches + 1), 0.6))
        ax.set(xscale="log", xlim=limits)
        log_ticks(ax, "x", inches)
        figure.draw_without_rendering()
    labels = [t for t in ax.get_xticklabels() if limits[0] <= t.get_position()[0] <= limits[1]]
    assert 2 <= len(labels) <= 7
    boxes = [label.get_window_extent() for label in labels]
    assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_a_strip_joins_the_runs_of_a_seed_and_opens_those_that_are_bounds():
    table = frame().query("metric == 'loss' and step == 1")
    table = table.assign(missed=table["seed"] == 3)
    looks = looks_of(["none", "batch"])
    panels = small_multiples(table, None, None, xscale=None, yscale="geometric")
    ((ax, part),) = list(panels)
    names = {32: "32", 64: "64"}
    marks.strips(ax, part, marks.Plot(x="size", looks=looks, names=names, missed="missed"))
    thread = ax.lines[0].get_xydata().reshape(-1, 3, 2)
    assert len(thread) == 2 * len(SEEDS)
    assert thread[0, :2, 1].tolist() == [1.0, 0.5]  # seed 0 at size 32, both norms
    assert (thread[:, 0, 0] < thread[:, 1, 0]).all()
    shown = [patch for patch in ax.patches if not patch.get_gid()]
    assert [len(patch.get_path().vertices) for patch in shown] == [12, 12]
    triangles = [line for line in ax.lines if line.get_marker() == "^"]
    assert [line.get_ydata().tolist() for line in triangles] == [[4.0, 4.0], [2.0, 2.0]]
    assert [label.get_text() for label in ax.get_xticklabels()] == ["32", "64"]


def test_thinned_curves_keep_their_ends():
    table = pd.DataFrame({"arm": np.repeat(["a", "b"], 1000), "step": [*range(1, 1001)] * 2})
    kept = look.thinned(table, "step", ["arm"], points=50)
    assert kept.groupby("arm")["step"].agg(["min", "max"]).to_numpy().tolist() == [[1, 1000]] * 2
    assert len(kept) <= 100
    assert look.thinned(table, "step", points=2000) is table


def test_curves_have_a_band_where_there_are_seeds_for_it():
    looks = {"a": look.Look("a"), "b": look.Look("b", look.ORANGE)}
    table = pd.DataFrame({"x": [1, 1, 1, 2, 2, 2], "seed": [0, 1, 2] * 2, "level": "a"})
    table = pd.concat([table.assign(value=[1.0, 2, 6, 4, 4, 4]), table.head(2).assign(value=7.0, level="b")])
    ax = mpl.figure.Figure().subplots()
    marks.curves(ax, table, marks.Plot(x="x", looks=looks, hue="level"))
    assert ax.lines[0].get_ydata().tolist() == [3, 4]
    assert ax.lines[0].get_color() == look.BLUE
    (low, high), *_ = [path.get_extents().intervaly for path in ax.collections[0].get_paths()]
    assert (low, high) == pytest.approx(t_interval([1, 2, 6]))
    assert len(ax.patches[0].get_path().vertices) == 2 * 6  # every seed is a dot
    assert not np.isfinite(
        np.concatenate([path.vertices for band in ax.collections[1:] for path in band.get_paths()] or [[np.nan]])
    ).any()


def test_a_line_across_is_the_mean_with_its_interval():
    ax = mpl.figure.Figure().subplots()
    marks.across(ax, pd.Series([1.0, 2.0]), look.Look("few"))
    assert not ax.patches
    marks.across(ax, pd.Series([1.0, 2.0, 6.0]), look.Look("enough"))
    assert [line.get_ydata()[0] for line in ax.lines] == [1.5, 3]
    assert ax.patches[0].get_extents().transformed(ax.transData.inverted()).intervaly == (
        pytest.approx(t_interval([1, 2, 6]))
    )


@pytest.mark.parametrize("long", [True, False])
def test_names_of_rows_stand_above_them_where_one_is_long(long):
    names = ["one", "two that is too long to stand beside it" if long else "two"]
    ax = mpl.figure.Figure(figsize=(WIDTH, 2)).subplots()
    marks.row_names(ax, names, bold=[True, False])
    assert [label.get_text() for label in ax.get_yticklabels()] == (["", ""] if long else names)
    letters = ax.texts if long else ax.get_yticklabels()
    assert [text.get_text() for text in letters] == names
    assert [text.get_fontweight() for text in letters] == ["bold", "normal"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]  # the first row is above


def runs(levels=("none", "batch"), sizes=(32, 64)) -> pd.DataFrame:
    cells = product(levels, sizes, range(4))
    return pd.DataFrame(
        {"norm": level, "batch_size": size, "seed": seed, "value": size + 10 * levels.index(level) + seed}
        for level, size, seed in cells
    )


def test_an_alternative_text_tells_the_means_of_the_frame():
    table = runs()
    drawn = plots.plot("strips", "x", table, "Said.", x="batch_size", value="accuracy (%)")
    assert drawn.finding == (
        "Accuracy (%) against batch size. Means at batch size 64: no normalization 65.5 and batch normalization 75.5."
    )
    assert drawn.caption.startswith("Said. Small marks are single runs (4\N{NO-BREAK SPACE}seeds)")
    panels = plots.plot("curves", "x", table, "", x="seed", col="batch_size", value="loss", scale="geometric")
    geometric = math.exp(np.log([32, 64]).mean())
    assert "batch size 32: no normalization 35 and batch normalization 45;" in panels.finding
    pooled = plots.plot("rows", "x", table, "", hue="norm", value="loss", scale="geometric").finding
    mean = math.exp(np.log(table[table["norm"] == "none"]["value"]).mean())
    assert f"no normalization {mean:.3g}" in pooled
    assert mean != pytest.approx(geometric)


def test_alternative_texts_have_at_most_sixty_words_and_name_the_extremes_of_many_levels():
    many = ("none", "batch", "layer", "instance", "rms", "group")
    table = runs(levels=many, sizes=range(1, 41))
    drawn = plots.plot("curves", "x", table, "", x="seed", col="batch_size", value="loss").finding
    assert 40 < len(drawn.split()) <= 60
    assert "batch size 1: no normalization 4 and" in drawn
    assert "layer" not in drawn
    nothing = plots.plot("curves", "x", table.head(0), "", x="seed", value="loss").finding
    assert nothing == "Loss against seed: nothing was measured."


def test_a_figure_of_a_study_takes_a_few_lines():
    table = runs().assign(missed=lambda rows: rows["value"] > 60)
    drawings = [
        plots.plot("strips", "a", table, "A.", x="batch_size", value="y", missed="missed", rule=40),
        plots.plot("strips", "b", table, "B.", col="batch_size", value="y", scale="zero"),
        plots.plot("curves", "c", table, "C.", x="batch_size", value="y", ticks=True, dodge=1.1),
        plots.plot("curves", "d", table, "D.", x="batch_size", value="y", estimator="median"),
        plots.plot("rows", "e", table, "E.", hue="norm", col="batch_size", value="y", rule={32: 35}),
    ]
    for drawing in drawings:
        assert len(drawing.data) == len(table)
        assert drawing.pictures().svg.startswith("<svg")
