"""Every wording a comparison can get, against numbers made for it."""

import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic

from bnstudy.networks.models import MODELS, build
from bnstudy.networks.weights import count_parameters, describe_layers
from bnstudy.report import design, exhibits, findings, verdicts
from bnstudy.report.exhibits import parameters, settings_table
from bnstudy.report.measures import METRICS, Comparison, Metric, arm, decimal, listed, p_value, short_name
from bnstudy.report.results import DatasetFacts, Results
from bnstudy.report.words import SENTENCES
from bnstudy.settings import Settings
from conftest import ROOT

NAN = math.nan
TEN = list(range(10))
STEPS = Metric("steps to 95 %", "ratio", "lower", "95 %")


def compared(of: str | Metric = "test_accuracy", **changes: object) -> Comparison:
    """A clear gain in accuracy over ten seeds, with the changes given."""
    values = {
        "dataset": "digits",
        "axis": "norm",
        "level": "batch",
        "baseline": "none",
        "cell": {},
        "of": METRICS[of] if isinstance(of, str) else of,
        "mean_baseline": 0.9758,
        "mean_level": 0.9779,
        "difference": 0.0021,
        "ci_low": 0.0015,
        "ci_high": 0.0027,
        "p": 0.00195,
        "p_holm": 0.0156,
        "effect_size": 2.1,
        "share_of_seeds": 1.0,
        "n": 10,
        "family": 8,
    }
    return Comparison(**values | changes)


def steps(**changes: object) -> Comparison:
    """A clear gain in speed: 200 against 400 steps."""
    values = {
        "mean_baseline": math.log(400),
        "mean_level": math.log(200),
        "runs": 10,
        "difference": math.log(0.5),
        "ci_low": math.log(0.4),
        "ci_high": math.log(0.6),
    }
    return compared(STEPS, **values | changes)


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_higher():
    assert plain(findings.brief(compared())) == (
        "test accuracy was 0.21 percentage points higher (95 % interval 0.15 to 0.27)"
    )
    assert compared().shown == "better"


def test_lower():
    worse = compared(difference=-0.0021, ci_low=-0.0027, ci_high=-0.0015, share_of_seeds=0.0)
    assert "0.21 percentage points lower (95 % interval 0.15 to 0.27)" in plain(findings.brief(worse))
    assert worse.shown == "worse"


def test_lower_loss_is_better():
    loss = compared("test_loss", difference=-0.01, ci_low=-0.02, ci_high=-0.005)
    assert loss.outcome == "lower"
    assert loss.shown == "better"
    assert findings.brief(loss).startswith("test loss was 0.0100 nats lower")


@pytest.mark.parametrize(
    "changes",
    [
        {"p_holm": 0.05},  # not below
        {"ci_low": -0.0001},
        {"ci_low": 0.0},
        {"p_holm": 0.3, "ci_low": -0.001},
    ],
)
def test_both_test_and_interval_are_needed(changes):
    unclear = compared(**changes)
    assert unclear.outcome == "unclear"
    assert unclear.shown is None
    assert findings.brief(unclear).startswith("no difference in test accuracy could be shown")


def test_interval_alone_is_explained():
    notes = findings.caveats(compared(p_holm=0.2))
    assert len(notes) == 1
    assert "corrected for the number of comparisons" in notes[0]


@pytest.mark.parametrize(("n", "possible"), [(3, False), (5, False), (8, False), (9, True)])
def test_too_few_seeds_are_said_to_be_too_few(n, possible):
    smallest = 2 / 2**n
    c = compared(n=n, p=smallest, p_holm=min(1, 8 * smallest) if not possible else 0.5, ci_low=-1)
    notes = plain(" ".join(findings.caveats(c)))
    assert ("no difference, however large, could have been shown" in notes) is not possible
    if not possible:
        assert f"With {n} seeds the smallest p that the test can give is {smallest:.3g}" in notes


def test_three_seeds():
    note = plain(findings.out_of_reach(3, 8))
    assert "is 0.25, and 1 after Holm's correction for 8 tests" in note


def test_one_seed():
    single = compared(n=1, p=1.0, p_holm=1.0, ci_low=NAN, ci_high=NAN, effect_size=NAN)
    assert single.outcome == "untested"
    assert plain(findings.brief(single)) == (
        "test accuracy was 97.79 % against 97.58 % (one pair of runs, so without an interval)"
    )
    assert findings.caveats(single) == []


def test_equal_in_every_seed():
    same = compared(difference=0.0, ci_low=0.0, ci_high=0.0, p=1.0, p_holm=1.0, mean_level=0.9758)
    assert same.outcome == "equal"
    assert plain(findings.brief(same)) == "test accuracy was the same in all 10 seeds"


def test_missing():
    assert "could not be compared" in findings.brief(compared(difference=NAN))
    assert "could not be compared" in findings.brief(steps(difference=NAN))


def test_fewer_steps():
    assert plain(findings.brief(steps())) == "it took 50 % fewer steps to 95 % (ratio 0.40 to 0.60)"


@pytest.mark.parametrize(("ratio", "words"), [(1.2, "20 % more steps"), (3.0, "3.0 times the steps")])
def test_more_steps(ratio, words):
    more = steps(difference=math.log(ratio), ci_low=math.log(1.1), ci_high=math.log(4))
    assert words in plain(findings.brief(more))
    assert more.shown == "worse"


def test_steps_unclear_equal_and_untested():
    unclear = plain(findings.brief(steps(p_holm=0.5)))
    assert unclear.startswith("no difference in steps to 95 % could be shown (a ratio of 0.50")
    equal = steps(difference=0.0, ci_low=0.0, ci_high=0.0)
    assert "were the same in all" in findings.brief(equal)
    single = steps(n=1, ci_low=NAN, ci_high=NAN)
    assert "one pair of runs" in findings.brief(single)


@pytest.mark.parametrize(
    ("baseline", "norm", "words"), [(3, 0, "smaller still"), (0, 2, "larger still"), (3, 2, "larger or smaller")]
)
def test_runs_that_never_arrived_are_counted(baseline, norm, words):
    notes = findings.caveats(steps(censored_baseline=baseline, censored_level=norm))
    assert words in notes[-1]
    assert ("3 of 10 runs without normalization" in notes[-1]) == (baseline == 3)
    assert ("2 of 10 runs with batch normalization" in notes[-1]) == (norm == 2)


def test_nobody_arrived():
    none = steps(difference=0.0, ci_low=0.0, ci_high=0.0, censored_baseline=10, censored_level=10)
    assert none.outcome == "censored"
    assert "no run reached" in findings.brief(none)
    assert findings.caveats(none) == []


def test_every_sentence_is_said_somewhere():
    sources = [*(ROOT / "workflow/bnstudy/report").rglob("*.py"), *(ROOT / "report").glob("*.py")]
    text = "".join(path.read_text() for path in sources).replace("'", '"')
    for place, names in SENTENCES.items():
        assert {name for name in (place, *names) if f'"{name}"' not in text} == set()


def test_small_writing():
    assert decimal(-0.00001, 4, signed=True) == "0.0000"
    assert decimal(-1.5, 1) == "\N{MINUS SIGN}1.5"
    assert plain(p_value(0.0001)) == "p < 0.001"
    assert plain(p_value(1.0)) == "p = 1"
    assert p_value(NAN) == "p not available"
    assert listed("ab") == "a and b"
    assert listed("abc") == "a, b and c"
    assert listed(["a"]) == "a"
    assert p_value(0.016) == p_value(0.0159)
    # Two sums of the same numbers: one mean, written one way.
    assert decimal(97.21499999999999, 2) == decimal(97.21500000000001, 2)
    assert METRICS["test_accuracy"].value(NAN) == "n/a"


@pytest.mark.parametrize(
    ("axis", "level", "words", "short"),
    [
        ("norm", "none", "without normalization", "no normalization"),
        ("norm", "batch", "with batch normalization", "batch normalization"),
        ("dropout", 0.0, "with dropout 0", "0"),
        ("dropout", 0.5, "with dropout 0.5", "0.5"),
        ("optimizer", "sgd", "with SGD", "SGD"),
        ("learning_rate", 0.01, "with learning rate 0.01", "0.01"),
        ("train_images", math.inf, "with all training images", "all"),
        ("hidden", "128-64", "with hidden widths 128-64", "128-64"),
    ],
)
def test_levels_have_names(axis, level, words, short):
    assert arm(level, axis) == words
    assert short_name(axis, level) == short


def test_an_arm_that_never_arrives_has_no_ratio():
    lost = steps(censored_level=10, censored_baseline=3, difference=0.0, ci_low=0.0, ci_high=0.0)
    words = "none of 10 runs with batch normalization reached 95 % validation accuracy, which 7 of "
    assert plain(findings.brief(lost)).startswith(words)
    assert findings.caveats(lost) == []


def test_an_observed_number_is_neither_better_nor_worse():
    norm = Metric("weight norm", "number")
    more = compared(norm, mean_baseline=10.25, mean_level=12.5, difference=2.25)
    assert more.outcome == "higher"
    assert more.shown is None
    assert "weight norm was 2.25 higher" in findings.brief(more)
    assert "better" not in findings.brief(more)


@pytest.fixture
def study(tmp_path, images):
    """Load made-up results: `study(seed=[0], speedup=2)` sets axes and effects."""

    def load(axis: str = "norm", baseline: object = "none", **options: object) -> Results:
        keywords = ("speedup", "gain", "floor", "diverged", "lacking")
        effects = {key: options.pop(key) for key in keywords if key in options}
        settings = synthetic.config(axis, baseline, **options)
        synthetic.write_study(tmp_path, settings, [images], **effects)
        facts = {"digits": DatasetFacts("Digits", 10, 400, 100, tuple("0123456789"))}
        folder = tmp_path / "results"
        return Results.load(folder / "run_config.yaml", folder / "tables", facts)

    return load


DROPOUT = {"norm": ["none"], "dropout": [0.0, 0.2, 0.5], "batch_size": [64]}


def test_headline_holds_the_numbers_of_the_table(study, tmp_path):
    results = study(seed=list(range(10)))
    answer, _ = findings.headline(results, "digits")
    rows = synthetic.read_rows(tmp_path / "results" / "tables" / "comparison.csv")
    row = next(r for r in rows if (r["scope"], r["metric"]) == ("all", "test_accuracy"))
    for column in ("difference", "ci_low", "ci_high"):
        assert f"{100 * float(row[column]):.2f}" in answer
    row = next(r for r in rows if (r["scope"], r["metric"]) == ("all", "ln_steps_to_target"))
    for column in ("ci_low", "ci_high"):
        assert f"{math.exp(float(row[column])):.2f}" in answer
    assert f"{100 - 100 * math.exp(float(row['difference'])):.0f} % fewer steps" in plain(answer)
    assert answer.endswith(".")


def test_a_headline_speaks_of_every_level(study):
    results = study("dropout", 0.0, seed=TEN, **DROPOUT)
    answer, _ = findings.headline(results, "digits")
    answer = plain(answer)
    assert answer.startswith("On Digits, at batch size 64: with dropout 0.2 instead of dropout 0, ")
    assert "With dropout 0.5 instead of dropout 0, " in answer
    for level in (0.2, 0.5):
        c = results.compare("digits", level, "test_accuracy")
        assert f"{100 * c.difference:.2f} percentage points higher" in answer
    assert "normalization" not in answer


def test_scores_agree_with_the_comparison_table(study):
    """The report's scoring of failed and unfinished runs, against the table of another module."""
    results = study(floor=0.04, diverged=[("none", 32, 1), ("batch", 64, 0)])
    for metric in ("test_accuracy", "test_loss", "ln_steps_to_target", "steps_to_target"):
        runs = results.scored(metric)
        for cell in results.cells:
            c = results.compare("digits", "batch", metric, cell)
            for level, mean in (("none", c.mean_baseline), ("batch", c.mean_level)):
                values = results.at(runs, "digits", level, **cell)["value"]
                assert values.mean() == pytest.approx(mean, rel=1e-12)


@pytest.mark.parametrize(
    ("axis", "baseline", "grid", "cells"),
    [
        ("dropout", 0.0, DROPOUT, [{}]),
        ("norm", "none", {}, [{"batch_size": 32}, {"batch_size": 64}]),
        (
            "optimizer",
            "adam",
            {"norm": ["none"], "optimizer": ["sgd", "adam"], "learning_rate": [0.1, 0.001], "batch_size": [64]},
            [{"learning_rate": 0.1}, {"learning_rate": 0.001}],
        ),
        (
            "scaling",
            "symmetric",
            {"scaling": ["symmetric", "unit"], "batch_size": [64]},
            [{"norm": "none"}, {"norm": "batch"}],
        ),
        ("batch_size", 64, {"norm": ["none"], "batch_size": [32, 64, 128]}, [{}]),
        (
            "hidden",
            [64],
            {"norm": ["none"], "hidden": [[64], [32, 16]], "train_images": [None, 100]},
            [{"train_images": t, "batch_size": b} for t in (math.inf, 100) for b in (32, 64)],
        ),
    ],
)
def test_any_axis_is_the_treatment(study, axis, baseline, grid, cells):
    """Every table has the numbers of its rows, found by hand in runs.csv."""
    results = study(axis, baseline, seed=TEN, **grid)
    assert results.cells == cells
    assert results.levels[0] == results.baseline
    runs = results.runs.set_index([results.axis, *results.cell_axes, "seed"]).sort_index()["test_loss"]
    for level in results.treatments:
        differences = []
        for cell in cells:
            one, other = (runs.loc[(a, *cell.values())] for a in (level, results.baseline))
            c = results.compare("digits", level, "test_loss", cell)
            assert c.n == 10
            assert c.difference == pytest.approx((one - other).mean(), rel=1e-9)
            differences.append(one - other)
        whole = results.compare("digits", level, "test_loss")
        assert whole.difference == pytest.approx(np.mean(differences), rel=1e-9)
        frame = exhibits.comparison(results, "digits", level).frame
        assert len(frame) == 3 * (len(cells) + (len(cells) > 1))
        assert {results.level_name(level), results.level_name(results.baseline)} < set(frame)
    for table in (exhibits.arms, exhibits.times):
        assert len(table(results, "digits").frame) == len(cells) * len(results.levels)


def test_settings_are_told_in_words(study):
    results = study("dropout", 0.0, **DROPOUT | {"norm": ["batch"]})
    frame = settings_table(results).frame.set_index("setting")
    assert list(frame["role"])[:2] == ["compared", "swept"]
    assert frame.loc["dropout", "value"] == "0, 0.2, 0.5"
    assert frame.loc["normalization", "value"] == "batch normalization"
    assert frame.loc["normalization", "role"] == "not the default"
    assert frame.loc["optimizer", ["value", "role"]].tolist() == ["Adam", ""]
    told = plain(" ".join(design.design(results)))
    assert "**Compared:** dropout 0, dropout 0.2 and dropout 0.5." in told
    assert "**The same everywhere:** batch normalization." in told


def test_accuracy_by_class(study, tmp_path):
    results = study("dropout", 0.0, seed=TEN, diverged=[(0.5, 64, 3)], **DROPOUT)
    frame = exhibits.classes(results, "digits").frame
    rows = synthetic.read_rows(tmp_path / "results" / "tables" / "classes.csv")
    mine = [r for r in rows if r["class"] == "7" and r["seed"] != "3"]
    for level in ("0.0", "0.2", "0.5"):
        accuracy = np.mean([float(r["accuracy"]) for r in mine if r["dropout"] == level])
        head = f"dropout {level.removesuffix('.0')} (%)"
        assert frame[head].iloc[7] == pytest.approx(100 * accuracy, rel=1e-9)
    assert list(frame["class"]) == list("0123456789")


def test_claims_are_shown_with_their_effects():
    rows = [
        {"id": "D1", "claim": "Better", "verdict": "supported", "effect": 0.5, "ci_low": 0.25,
         "ci_high": 0.75, "unit": "percentage points", "prior": 0.4, "reason": "clear"},
        {"id": "D2", "claim": "Faster", "verdict": "not run", "effect": NAN, "ci_low": NAN,
         "ci_high": NAN, "unit": "ln ratio", "prior": 0.4, "reason": "what it compares was not run"},
        {"id": "D3", "claim": "Quick", "verdict": "refuted", "effect": math.log(0.5),
         "ci_low": math.log(0.4), "ci_high": math.log(0.6), "unit": "ln ratio", "prior": 0.4,
         "reason": "clear"},
    ]  # fmt: skip
    frame = exhibits.claims(pd.DataFrame(rows)).frame
    effects = [plain(text) for text in frame["effect (95 % interval)".replace(" %", "\xa0%")]]
    assert effects == ["+0.50 pp (+0.25 to +0.75)", "n/a", "\N{MULTIPLICATION SIGN}0.50 (0.40 to 0.60)"]
    assert exhibits.claims(pd.DataFrame(rows).head(0)) is None


def test_divergence_is_told(study):
    results = study(diverged=[("none", 32, 1), ("none", 64, 2), ("batch", 64, 0)])
    told = plain(" ".join(findings.divergence(results, "digits")))
    assert "2 of the 6 runs without normalization diverged and count as guessing" in told
    assert "1 of the 6 runs with batch normalization diverged and counts as guessing" in told
    assert "accuracy 1/10" in told


def sides(results: Results) -> dict[str, dict[str, str]]:
    """The advantages and limitations of the page, by measure."""
    table = findings.balance(results, judged(results), "digits", "batch")
    return {} if table is None else table.frame.set_index("measure").to_dict()


def judged(results: Results) -> verdicts.Claims:
    """Claims of which none was run."""
    return verdicts.Claims.load(ROOT / "config" / "claims.yaml", Path("nowhere"), results.config)


def test_advantages_and_limitations_follow_the_numbers(study):
    found = sides(study(seed=TEN, gain=0.01))
    assert "fewer steps" in found["advantage"]["steps to 95 %".replace(" %", "\xa0%")]
    assert found["advantage"]["test accuracy"].startswith("Test accuracy was")
    assert found["limitation"]["test accuracy"] == ""
    assert "trainable parameters" in found["limitation"]["parameters"]
    worse = study(seed=TEN, gain=-0.03, speedup=0.5)
    found = sides(worse)
    assert "lower" in found["limitation"]["test accuracy"]
    assert found["advantage"]["test accuracy"] == ""
    assert "were worse" in " ".join(findings.conclusion(worse, "digits", "batch"))


def test_conclusion_of_too_few_seeds_claims_nothing(study):
    results = study(seed=[0, 1, 2], gain=0.01)
    text = " ".join(findings.conclusion(results, "digits", "batch"))
    assert "nothing can be said for or against" in text
    assert "test accuracy" not in sides(results)["advantage"]


def test_a_wider_gap_is_a_limitation(study):
    results = study(seed=TEN)
    gaps = results.runs["norm"].eq("batch") * 0.05 + results.runs["seed"] * 1e-4
    results.runs["val_loss"] = results.runs["train_loss"] + 0.1 + gaps
    sentence = findings.gap_sentence(results.gap("digits", "batch"))
    assert plain(sentence).startswith(
        "The gap between validation and training loss was 0.0500 nats wider with batch normalization"
    )
    assert "0.1505 against 0.1004 nats" in sentence or "0.1505 against 0.1005 nats" in sentence
    assert sides(results)["limitation"]["generalization gap"] == sentence.rstrip(".")
    results.runs["val_loss"] = results.runs["train_loss"] + 0.1 - gaps
    assert "narrower" in sides(results)["advantage"]["generalization gap"]


def test_what_remains_under_other_conditions(study, tmp_path):
    """The differences of the control studies, by hand."""
    results = study()
    rows = [
        {"norm": norm, "scaling": scaling, "seed": seed, "n_steps": 1000,
         "status": "ok", "val_accuracy": 0.9, "n_classes": 10,
         "steps_to_target": steps * (1 + 0.1 * seed), "test_accuracy": accuracy + 0.001 * seed}
        for scaling, at in (("symmetric", (400, 0.96, 100, 0.98)), ("standardize", (200, 0.97, 100, 0.975)))
        for norm, steps, accuracy in (("none", *at[:2]), ("batch", *at[2:]))
        for seed in range(3)
    ]  # fmt: skip
    pd.DataFrame(rows).to_csv(tmp_path / "input_scaling.csv", index=False)
    results.config["studies"]["input_scaling"]["enabled"] = True
    results = replace(results, tables=tmp_path)
    found = list(results.remaining("batch"))
    assert [one.scaling for one in found] == ["symmetric", "standardize"]
    assert [math.exp(one.effects[0].difference) for one in found] == pytest.approx([0.25, 0.5])
    assert [one.effects[1].difference for one in found] == pytest.approx([0.02, 0.005])
    assert [c.n for one in found for c in one.effects] == [3, 3, 3, 3]
    assert "+0.50 points with standardized pixels" in plain(findings.remains(results, "batch"))
    table = findings.remaining_table(results, "batch").frame
    assert list(table["ratio of steps"]) == ["0.25", "0.50"]
    # A run that diverged counts as guessing after all its steps.
    gone = {"status": "diverged", "steps_to_target": None, "val_accuracy": None, "test_accuracy": None}
    pd.DataFrame([row | gone if row["norm"] == "none" else row for row in rows]).to_csv(
        tmp_path / "input_scaling.csv", index=False
    )
    steps, accuracies = next(results.remaining("batch")).effects
    assert math.exp(steps.difference) == pytest.approx(
        math.prod(100 * (1 + 0.1 * s) for s in range(3)) ** (1 / 3) / 1000
    )
    assert accuracies.difference == pytest.approx(0.981 - 0.1)
    results.config["studies"]["input_scaling"]["enabled"] = False
    assert findings.remaining_table(results, "batch") is None


@pytest.mark.parametrize(
    ("n", "words"), [(1, "one pair of runs"), (2, "2\N{NO-BREAK SPACE}seeds, too few for an interval")]
)
def test_one_and_two_seeds_decide_nothing(study, n, words):
    results = study("dropout", 0.0, seed=TEN[:n], **DROPOUT)
    answer, _ = findings.headline(results, "digits")
    assert answer.count(words) >= 2


def test_all_diverged(study):
    every = [(level, 64, seed) for level in (0.0, 0.2, 0.5) for seed in range(3)]
    results = study("dropout", 0.0, diverged=every, **DROPOUT)
    answer, limits = findings.headline(results, "digits")
    assert "no run reached 95" in answer
    assert "too few for an interval" in answer
    assert limits.count("3 of the 3") == 3
    assert exhibits.classes(results, "digits") is None


@pytest.mark.parametrize(
    ("grid", "words"),
    [
        ({"norm": ["none"]}, "nothing to compare"),
        ({"norm": ["batch"]}, "no baseline"),
        ({"norm": ["batch", "layer"]}, "no baseline"),
    ],
)
def test_studies_without_a_comparison(study, grid, words):
    results = study(**grid)
    assert words in findings.headline(results, "digits")[0]
    assert results.treatments == []


def test_what_the_batch_size_does_to_the_effect(study):
    results = study(seed=TEN)
    told = plain(" ".join(findings.sentences_on(results, "digits", "batch", "Batch size")))
    means = results.scored("test_loss").groupby(["norm", "batch_size"])["value"].mean()
    for size in (32, 64):
        pair = f"({means['batch', size]:.4f} against {means['none', size]:.4f})"
        assert f"nats at {size} {pair}" in told
    assert "on steps to 95 % depends on the batch size could not be shown" in told
    (one, *_) = findings.sentences_on(study(seed=[0]), "digits", "batch", "Batch size")
    assert one.endswith("one seed, so without a test.")
    assert findings.sentences_on(study(batch_size=[32]), "digits", "batch", "Batch size") == [
        "Only batch size 32 was trained, so the effect of the batch size cannot be seen."
    ]


def test_whether_an_effect_depends_on_another_axis(study):
    """The contrast of a treatment between two norms, recomputed by hand."""
    results = study("scaling", "symmetric", seed=TEN, scaling=["symmetric", "unit"])
    (first, *_) = findings.contrasts(results, "digits", "norm")
    runs = results.runs.groupby(["scaling", "norm", "seed"])["test_accuracy"].mean()
    effect = runs.loc["unit"] - runs.loc["symmetric"]
    means = [100 * effect.loc[norm].mean() for norm in ("none", "batch")]
    assert f"{means[0]:+.2f} percentage points without normalization (" in first
    assert f"{means[1]:+.2f} percentage points with batch normalization (" in first
    assert "pixels in [0, 1] on test accuracy" in first


@pytest.mark.parametrize(
    ("factor", "shown", "words"),
    [(1.3, "worse", "1.30 times as long"), (0.7, "better", "less time"), (1.0, None, "about as long")],
)
def test_time_cost(study, factor, shown, words):
    results = study()
    normalized = results.timings["norm"] == "batch"
    results.timings["seconds_per_epoch"] = np.where(normalized, factor, 1.0)
    verdict, sentence = findings.time_cost(results, "digits", "batch")
    assert verdict == shown
    assert words in sentence
    found = sides(results)
    told = {side: words in found[side].get("time of an epoch", "") for side in found}
    assert told == {"advantage": shown == "better", "limitation": shown == "worse"}


@pytest.mark.parametrize("kind", ["mlp", "cnn", "resnet"])
def test_parameters_add_up(study, kind):
    results = study(norm=["none", "batch", "weight"])
    shape = MODELS[kind].input_shape((1, 8, 8))
    asked = {n: Settings(kind=kind, hidden=(32, 32), norm=n, depth=8) for n in results.levels}
    networks = {n: build(settings, (1, 8, 8), 10) for n, settings in asked.items()}
    layers = {n: describe_layers(network, shape) for n, network in networks.items()}
    drawn = [SimpleNamespace(title=n, layers=found) for n, found in layers.items()]
    frame = parameters(results, "digits", drawn).frame
    if kind == "mlp":
        assert list(frame["layer"]) == [
            *("1. linear, 32 units", "1. normalization of 32 features"),
            *("2. linear, 32 units", "2. normalization of 32 features"),
            *("3. linear, 10 units", "all layers"),
        ]
    for norm, column in zip(networks, frame.columns[1:], strict=True):
        assert frame[column].iloc[-1] == count_parameters(networks[norm])
        assert frame[column].iloc[:-1].sum() == count_parameters(networks[norm])
