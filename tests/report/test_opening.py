"""What the first screen says of made-up studies."""

import csv
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import synthetic

from bnstudy.report.exhibits import PARTS
from bnstudy.report.figures import explorer, gaps
from bnstudy.report.findings import Opening, first_screen
from bnstudy.report.results import DatasetFacts, Results
from bnstudy.report.verdicts import strip

TWELVE = list(range(12))
FACTS = {"digits": DatasetFacts("Digits", 10, 400, 100)}


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.fixture
def screen(tmp_path, images):
    """The first screen of a study with the grid and the options given."""

    def show(axis: str = "norm", baseline: object = "none", **options: object) -> Opening:
        grid = {k: options.pop(k) for k in [*options] if k in ("norm", "dropout", "seed")}
        settings = synthetic.config(axis, baseline, **({"seed": TWELVE} | grid))
        synthetic.write_study(tmp_path, settings, [images], **options)
        return first_screen(load(tmp_path), "A question")

    return show


def load(folder: Path) -> Results:
    tables = folder / "results"
    return Results.load(tables / "run_config.yaml", tables / "tables", FACTS)


def write_remaining(folder: Path, study: str, gains: dict[str, float]) -> None:
    """A table of a study by the scaling of the input: both arms, with this mean gain."""
    tables = folder / "results" / "tables"
    tables.mkdir(parents=True)
    with (tables / f"{study}.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        run = ["status", "n_classes", "val_accuracy", "test_accuracy", "steps_to_target", "n_steps"]
        writer.writerow(["norm", "scaling", "seed", *run])
        for scaling, gain in gains.items():
            for seed in TWELVE:
                base = 0.9 + 0.001 * seed
                writer.writerow(["none", scaling, seed, "ok", 10, base, base, "", 100])
                better = base + gain + 0.0001 * (seed % 2 - 0.5)
                writer.writerow(["batch", scaling, seed, "ok", 10, better, better, 50, 100])


def test_a_gain_in_both_is_the_title(screen):
    found = screen(speedup=4.0, gain=0.014, floor=0.03)
    assert plain(found.title).startswith("Batch normalization reaches 95 % in a ")
    assert found.title.endswith("points more accurate")
    assert [plain(one.label) for one in found.tiles] == [
        *("the steps to 95 % accuracy", "of test accuracy after 3 epochs", "the time of an epoch")
    ]
    assert "48 networks learned Digits" in plain(found.sentences)
    assert plain(found.sentences).endswith("All 12 seeds agree.")
    assert plain(found.tiles[2].value) == "\N{MULTIPLICATION SIGN} 1.30"


def test_a_loss_is_called_one(screen):
    found = screen(speedup=0.8, gain=-0.004, floor=0.03)
    assert "less accurate" in found.title
    assert "more steps" in plain(found.title)


def test_nothing_shown_is_no_finding(screen):
    found = screen(speedup=1.0001, gain=0.0, floor=0.03)
    assert found.title.startswith("No difference between batch normalization")


def test_one_seed_is_too_few(screen):
    found = screen(seed=[0])
    assert "too few to tell" in found.title
    assert "(n/a" not in "".join(one.detail for one in found.tiles)


def test_several_levels_speak_of_the_most_accurate(screen):
    found = screen("dropout", 0.0, norm=["batch"], dropout=[0.0, 0.2, 0.5], gain=0.01, floor=0.03)
    assert found.title.startswith("Dropout 0.2")
    assert found.title.endswith("than dropout 0")
    assert "all but the dropout" in found.sentences


def test_no_baseline_asks_the_question(screen):
    found = screen(norm=["batch"])
    assert (found.title, found.tiles) == ("A question", [])
    assert "baseline" in found.sentences


def test_what_remains_comes_from_the_studies_that_were_run(screen, tmp_path):
    write_remaining(tmp_path, "long_training", {"symmetric": 0.006, "standardize": 0.001})
    found = screen(speedup=4.0, gain=0.014, floor=0.03)
    assert len(found.tiles) == 4
    assert plain(found.tiles[3].value) == "+0.10 points"
    assert plain(found.tiles[3].label) == "of test accuracy with centred input and long training"
    assert plain(found.tiles[3].detail) == "long training: +0.60 points"
    assert found.sentences.endswith("Most of the lead in accuracy is gone with centred input and long training.")


def test_the_page_shows_a_title_with_markup_as_text(screen):
    found = screen(norm=["batch"])
    hostile = Opening("<b>", "<script>alert(1)</script>", "<i>", found.tiles)
    shown = str(PARTS.opening(hostile))
    assert "<script>" not in shown
    assert "<i>" not in shown
    assert "<b>" not in shown


def test_only_judged_claims_get_a_mark(screen, tmp_path):
    screen()
    tables = tmp_path / "results" / "tables"
    with (tables / "claims.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "claim", "verdict"])
        writer.writerows([["X1", "It <helps>", "supported"], ["X2", "It hurts", "not run"]])
    rows = pd.read_csv(tables / "claims.csv")
    assert strip(rows, {"X2": "here"}) == ""
    marks = strip(rows, {"X1": "there", "X2": "here"})
    assert marks.count("<li>") == 1
    assert 'href="#there"' in marks
    assert "It &lt;helps&gt;: supported" in marks
    assert "1 supported" in plain(marks)


def test_gaps_add_up_to_the_values():
    values = [5, 3, None, 8, 8, None]
    assert gaps(values) == [5, -2, None, 5, 0]
    assert gaps([None]) == []


def test_the_curves_are_those_of_the_table(screen, tmp_path):
    screen("dropout", 0.0, norm=["batch"], dropout=[0.0, 0.5], diverged=[(0.5, 32, 3)])
    results = load(tmp_path)
    data = explorer(results, "digits")
    rows = synthetic.read_rows(tmp_path / "results" / "tables" / "metrics.csv")
    assert [level["name"] for level in data["levels"]] == ["dropout 0", "dropout 0.5"]
    assert [(axis["label"], axis["values"]) for axis in data["axes"]] == [("batch size", ["32", "64"])]
    seen = 0
    for measure, arms in zip(data["measures"], data["series"], strict=True):
        split, metric = measure["name"].split()
        for level, cells in zip(("0.0", "0.5"), arms, strict=True):
            for size, (grid, seeds) in zip(("32", "64"), cells, strict=True):
                steps = np.cumsum(data["grids"][grid])
                for seed, run in zip(TWELVE, seeds, strict=True):
                    wanted = {
                        int(row["step"]): float(row["value"])
                        for row in rows
                        if (row["split"], row["metric"]) == (split, metric)
                        and (float(row["dropout"]), row["batch_size"]) == (float(level), size)
                        and row["seed"] == str(seed)
                    }
                    values = np.cumsum(run) / 10.0 ** measure["decimals"]
                    assert len(values) == len(wanted)
                    for step, value in zip(steps, values, strict=False):
                        assert value == pytest.approx(wanted[step], abs=0.51 / 10 ** measure["decimals"])
                        seen += 1
    assert seen > 1000
