"""Every wording a comparison can get, against numbers made for it."""

import math

import numpy as np
import pytest
import synthetic

from bnstudy.networks.mlp import build_model
from bnstudy.networks.weights import count_parameters
from bnstudy.report import findings
from bnstudy.report.exhibits import parameters
from bnstudy.report.results import (
    METRICS,
    Comparison,
    DatasetFacts,
    Results,
    arm,
    decimal,
    listed,
    p_value,
)

NAN = math.nan


def compared(metric: str = "test_accuracy", **changes: object) -> Comparison:
    """A clear gain in accuracy over ten seeds, with the changes given."""
    values = {
        "dataset": "digits",
        "norm": "batch",
        "baseline": "none",
        "batch_size": "all",
        "metric": metric,
        "mean_baseline": 0.9758,
        "mean_norm": 0.9779,
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
        "mean_norm": math.log(200),
        "runs": 10,
        "difference": math.log(0.5),
        "ci_low": math.log(0.4),
        "ci_high": math.log(0.6),
    }
    return compared("ln_steps_to_95", **values | changes)


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def test_higher():
    text = plain(findings.sentence(compared()))
    assert text == (
        "Test accuracy was higher with batch normalization: 97.79 % against 97.58 % without "
        "normalization, a difference of +0.21 percentage points (95 % interval +0.15 to +0.27; "
        "Holm p = 0.016; better in 10 of 10 seeds)."
    )
    assert compared().shown == "better"


def test_lower():
    worse = compared(difference=-0.0021, ci_low=-0.0027, ci_high=-0.0015, share_of_seeds=0.0)
    assert "was lower with batch normalization" in findings.clause(worse)
    assert "better in 0 of 10" in plain(findings.clause(worse))
    assert worse.shown == "worse"


def test_lower_loss_is_better():
    loss = compared("test_loss", difference=-0.01, ci_low=-0.02, ci_high=-0.005)
    assert loss.outcome == "lower"
    assert loss.shown == "better"
    assert "\N{MINUS SIGN}0.0100 nats" in findings.clause(loss)


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
    assert findings.clause(unclear).startswith("no difference in test accuracy could be shown")


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
    assert "allows neither an interval nor a test" in findings.clause(single)
    assert "p =" not in plain(findings.clause(single))
    assert findings.caveats(single) == []


def test_equal_in_every_seed():
    same = compared(difference=0.0, ci_low=0.0, ci_high=0.0, p=1.0, p_holm=1.0, mean_norm=0.9758)
    assert same.outcome == "equal"
    assert "the same in all 10 seeds" in plain(findings.clause(same))


def test_missing():
    assert "could not be compared" in findings.clause(compared(difference=NAN))
    assert "could not be compared" in findings.clause(steps(difference=NAN))


def test_fewer_steps():
    text = plain(findings.sentence(steps()))
    assert text.startswith("It took 50 % fewer steps with batch normalization to reach 95 %")
    assert "200 against 400 steps, a ratio of 0.50 (95 % interval 0.40 to 0.60" in text


@pytest.mark.parametrize(
    ("ratio", "words"), [(1.2, "20 % more steps"), (3.0, "3.0 times the steps")]
)
def test_more_steps(ratio, words):
    more = steps(difference=math.log(ratio), ci_low=math.log(1.1), ci_high=math.log(4))
    assert words in plain(findings.clause(more))
    assert more.shown == "worse"


def test_steps_unclear_equal_and_untested():
    assert "no difference in the number of steps" in findings.clause(steps(p_holm=0.5))
    equal = steps(difference=0.0, ci_low=0.0, ci_high=0.0)
    assert "was the same in all" in findings.clause(equal)
    single = steps(n=1, ci_low=NAN, ci_high=NAN)
    assert "neither an interval nor a test" in findings.clause(single)


@pytest.mark.parametrize(
    ("baseline", "norm", "words"),
    [(3, 0, "smaller still"), (0, 2, "larger still"), (3, 2, "larger or smaller")],
)
def test_runs_that_never_arrived_are_counted(baseline, norm, words):
    notes = findings.caveats(steps(censored_baseline=baseline, censored_norm=norm))
    assert words in notes[-1]
    assert ("3 of 10 runs without normalization" in notes[-1]) == (baseline == 3)
    assert ("2 of 10 runs with batch normalization" in notes[-1]) == (norm == 2)


def test_nobody_arrived():
    none = steps(difference=0.0, ci_low=0.0, ci_high=0.0, censored_baseline=10, censored_norm=10)
    assert none.outcome == "censored"
    assert "no run reached" in findings.clause(none)
    assert findings.caveats(none) == []


def test_small_writing():
    assert decimal(-0.00001, 4, signed=True) == "0.0000"
    assert decimal(-1.5, 1) == "\N{MINUS SIGN}1.5"
    assert plain(p_value(0.0001)) == "p < 0.001"
    assert plain(p_value(1.0)) == "p = 1"
    assert p_value(NAN) == "p not available"
    assert listed("ab") == "a and b"
    assert listed("abc") == "a, b and c"
    assert listed(["a"]) == "a"
    assert arm("none") == "without normalization"
    assert arm("group") == "with group normalization"
    assert METRICS["test_accuracy"].value(NAN) == "n/a"


@pytest.fixture
def study(tmp_path, images):
    """Load made-up results: `study(seed=[0], speedup=2)` sets axes and effects."""

    def load(**options: object) -> Results:
        grid = {k: options.pop(k) for k in ("norm", "batch_size", "seed") if k in options}
        settings = synthetic.config(**grid)
        synthetic.write_study(tmp_path, settings, [images], **options)
        facts = {"digits": DatasetFacts("Digits", 10, 400, 100)}
        folder = tmp_path / "results"
        return Results.load(folder / "run_config.yaml", folder / "tables", facts)

    return load


def test_headline_holds_the_numbers_of_the_table(study, tmp_path):
    results = study(seed=list(range(10)))
    answer, _ = findings.headline(results, "digits")
    rows = synthetic.read_rows(tmp_path / "results" / "tables" / "comparison.csv")
    row = next(r for r in rows if (r["batch_size"], r["metric"]) == ("all", "test_accuracy"))
    for column in ("mean_norm", "mean_baseline"):
        assert f"{100 * float(row[column]):.2f} %" in plain(answer)
    row = next(r for r in rows if (r["batch_size"], r["metric"]) == ("all", "ln_steps_to_95"))
    for column in ("ci_low", "ci_high", "difference"):
        assert f"{math.exp(float(row[column])):.2f}" in answer
    assert answer.count(". ") == 1
    assert answer.endswith(".")


def test_scores_agree_with_the_comparison_table(study):
    """The report's own scoring of diverged and unfinished runs, against the table of another "
    "module."""
    results = study(floor=0.04, diverged=[("none", 32, 1), ("batch", 64, 0)])
    for metric in ("test_accuracy", "test_loss", "ln_steps_to_95", "steps_to_95"):
        runs = results.scored(metric)
        for size in (32, 64):
            c = results.compare("digits", "batch", metric, size)
            for norm, mean in (("none", c.mean_baseline), ("batch", c.mean_norm)):
                cell = runs[(runs["norm"] == norm) & (runs["batch_size"] == size)]
                assert cell["value"].mean() == pytest.approx(mean, rel=1e-12)


def test_divergence_is_told(study):
    results = study(diverged=[("none", 32, 1), ("none", 64, 2), ("batch", 64, 0)])
    told = plain(" ".join(findings.divergence(results, "digits")))
    assert "2 of the 6 runs without normalization diverged and count as guessing" in told
    assert "1 of the 6 runs with batch normalization diverged and counts as guessing" in told
    assert "accuracy 1/10" in told


def test_advantages_and_limitations_follow_the_numbers(study):
    better = study(seed=list(range(10)), gain=0.01)
    assert any("fewer steps" in s for s in findings.advantages(better, "digits", "batch"))
    assert not any("was lower" in s for s in findings.limitations(better, "digits", "batch"))
    worse = study(seed=list(range(10)), gain=-0.03, speedup=0.5)
    assert findings.advantages(worse, "digits", "batch") == []
    limits = " ".join(findings.limitations(worse, "digits", "batch"))
    assert "Test accuracy was lower" in limits
    assert "more steps" in limits or "times the steps" in limits
    assert "were worse" in " ".join(findings.conclusion(worse, "digits", "batch"))


def test_conclusion_of_too_few_seeds_claims_nothing(study):
    results = study(seed=[0, 1, 2], gain=0.01)
    text = " ".join(findings.conclusion(results, "digits", "batch"))
    assert "nothing can be said for or against" in text
    assert findings.advantages(results, "digits", "batch") == []


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


def test_change_with_batch_size(study):
    results = study(seed=list(range(10)))
    sentences = plain(" ".join(findings.batch_size_sentences(results, "digits")))
    assert "The number of steps to 95 % without normalization fell from batch size 32 to 64" in (
        sentences
    )
    few = plain(" ".join(findings.batch_size_sentences(study(seed=[0, 1, 2]), "digits")))
    assert "No change from batch size 32 to 64 could be shown" in few
    assert "is 0.25" in few
    one = findings.batch_size_sentences(study(batch_size=[32]), "digits")
    assert one == ["Only batch size 32 was trained, so its effect cannot be seen."]


@pytest.mark.parametrize(
    ("factor", "shown", "words"),
    [
        (1.3, "worse", "1.30 times as long"),
        (0.7, "better", "less time"),
        (1.0, None, "about as long"),
    ],
)
def test_time_cost(study, factor, shown, words):
    results = study()
    normalized = results.timings["norm"] == "batch"
    results.timings["seconds_per_epoch"] = np.where(normalized, factor, 1.0)
    verdict, sentence = findings.time_cost(results, "digits", "batch")
    assert verdict == shown
    assert words in sentence
    lists = findings.sorted_verdicts(results, "digits", "batch").values()
    assert [any(words in text for text in texts) for texts in lists] == [
        *(shown == "better", shown == "worse", shown is None),
    ]


def test_parameters_add_up(study):
    results = study(norm=["none", "batch", "layer"])
    networks = {norm: build_model(64, 10, hidden=(32, 32), norm=norm) for norm in results.norms}
    frame = parameters(results, "digits", networks).frame
    for norm, column in zip(networks, frame.columns[1:], strict=True):
        assert frame[column].iloc[-1] == count_parameters(networks[norm])
        assert frame[column].iloc[:-1].sum() == count_parameters(networks[norm])
