"""Statistics against hand enumeration, textbook numbers and simulated studies."""

import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats as scipy_stats

from bnstudy import statistics

# Student (1908), table of Cushny and Peebles: extra hours of sleep, drug 2 minus drug 1.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


def enumerated_p(d: list[Fraction]) -> float:
    """Two-sided sign-flip p by trying every sign vector in exact arithmetic."""
    observed = abs(sum(d))
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(d))
    ]
    return sum(total >= observed for total in sums) / len(sums)


@pytest.mark.parametrize("n", range(3, 11))
def test_sign_flip_is_the_enumeration(n):
    d = np.random.default_rng(n).normal(0.4, 1, n)
    assert statistics.sign_flip_test(d) == enumerated_p([Fraction(x) for x in d])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-4, 4), min_size=1, max_size=8),
    st.sampled_from([0.1, 1 / 3, 1e-300, 1e300, 1 / 12_000]),
)
def test_ties_count_as_ties_at_any_scale(counts, unit):
    # Multiples of 0.1 or 1/12000 tie on paper but not in the last bits of their sums.
    assert statistics.sign_flip_test([c * unit for c in counts]) == enumerated_p(
        [Fraction(c) for c in counts]
    )


def test_accuracies_that_tie_only_on_paper():
    # Differences of counts out of 10, taken as a table of accuracies has them.
    baseline, norm = [1, 2, 3, 4, 7, 8], [4, 3, 5, 5, 8, 9]
    d = np.array(norm) / 10 - np.array(baseline) / 10
    assert len(set(d)) > 3  # 3, 1, 2, 1, 1, 1 on paper
    assert statistics.sign_flip_test(d) == enumerated_p([Fraction(k) for k in (3, 1, 2, 1, 1, 1)])


def test_sign_flip_known_values():
    assert statistics.sign_flip_test(np.arange(1.0, 11)) == 2 / 1024
    assert statistics.sign_flip_test(-np.arange(1.0, 11)) == 2 / 1024
    assert statistics.sign_flip_test([0.2] * 10) == 2 / 1024
    assert statistics.sign_flip_test([1, 1, 1, 1, 1]) == 0.0625
    assert statistics.sign_flip_test([0.0] * 7) == 1
    assert statistics.sign_flip_test([3.0]) == 1
    assert math.isnan(statistics.sign_flip_test([]))


def test_sign_flip_beyond_enumeration():
    d = np.random.default_rng(3).normal(0.35, 1, 20)
    p = statistics.sign_flip_test(d)
    assert p == statistics.sign_flip_test(d)  # drawn from a fixed seed
    assert p * 100_000 == pytest.approx(round(p * 100_000))
    # An independent exact p: the distribution of the sum, built up one seed at a time.
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    exact = np.mean(np.abs(sums) >= abs(d.sum()) - 1e-9)
    assert p == pytest.approx(exact, abs=5 * math.sqrt(exact / 100_000))
    assert statistics.sign_flip_test(np.ones(40)) == statistics.smallest_p(40) == 1e-5


def test_random_signs_agree_with_all_of_them(monkeypatch):
    columns = np.random.default_rng(5).normal([0.0, 0.3, -0.5], 1, (18, 3)).T
    signs = np.array(list(itertools.product((1, -1), repeat=18)))
    sums = np.abs(signs @ columns.T)
    exact = (sums >= sums[0] - 1e-12).mean(axis=0)
    monkeypatch.setattr(statistics, "SIGNS_AT_ONCE", 18 * 7_000)  # the last block is a short one
    found = statistics.sign_flip_tests(columns)
    # Five standard errors of a share of 99,999 draws.
    assert np.all(np.abs(found - exact) < 5 * np.sqrt(exact * (1 - exact) / 99_999))


def test_several_tests_at_once_are_the_tests_one_at_a_time():
    for n in (1, 6, 40):
        columns = [*np.random.default_rng(n).normal(0.3, 1, (3, n)), np.zeros(n)]
        found = statistics.sign_flip_tests(columns)
        assert found == [statistics.sign_flip_test(d) for d in columns]
        assert found[-1] == 1
    assert math.isnan(statistics.sign_flip_tests([[]])[0])
    assert statistics.sign_flip_tests([]) == []


def test_t_interval_of_students_sleep_data():
    # R, t.test(extra ~ group, paired = TRUE): t = 4.0621, df = 9, p = 0.002833,
    # 95 percent confidence interval 0.7001142 to 2.4598858, mean 1.58.
    assert statistics.mean(SLEEP) == pytest.approx(1.58)
    assert statistics.t_interval(SLEEP) == pytest.approx((0.7001142, 2.4598858), abs=5e-8)
    assert statistics.effect_size(SLEEP) == pytest.approx(4.0621 / math.sqrt(10), abs=1e-5)


@pytest.mark.parametrize("confidence", [0.5, 0.9, 0.95, 0.99])
def test_t_interval_is_scipys(confidence):
    d = np.random.default_rng(0).normal(size=10)
    expected = scipy_stats.ttest_1samp(d, 0).confidence_interval(confidence)
    assert statistics.t_interval(d, confidence) == pytest.approx(tuple(expected), rel=1e-12)


def test_t_interval_by_the_table():
    # t(0.975, 4) = 2.776: mean 3, sd sqrt(2.5), n 5.
    low, high = statistics.t_interval([1, 2, 3, 4, 5])
    assert (high - low) / 2 == pytest.approx(2.776 * math.sqrt(2.5 / 5), abs=1e-3)
    assert (high + low) / 2 == pytest.approx(3)


def test_equal_differences_have_no_spread():
    # 0.9 - 0.8 and 0.3 - 0.2 are both 0.1 on paper.
    d = [0.9 - 0.8, 0.3 - 0.2, 0.1, 0.4 - 0.3]
    assert len(set(d)) > 1
    assert statistics.standard_deviation(d) == 0
    assert statistics.t_interval(d) == pytest.approx((0.1, 0.1))
    assert math.isnan(statistics.effect_size(d))
    summary = statistics.paired_summary([0.0] * 5)
    assert (summary.mean, summary.ci_low, summary.ci_high) == (0, 0, 0)
    assert (summary.p, summary.share_of_seeds) == (1, 0)


def test_summary_of_too_few():
    empty = statistics.paired_summary([])
    assert empty.n == 0
    assert all(math.isnan(value) for name, value in vars(empty).items() if name != "n")
    single = statistics.paired_summary([0.5])
    assert (single.n, single.mean, single.p, single.share_of_seeds) == (1, 0.5, 1, 1)
    assert all(math.isnan(x) for x in (single.ci_low, single.ci_high, single.effect_size))


def test_share_counts_ties_against():
    assert statistics.share_of_seeds([1, 2, 0, -1]) == 0.5


@pytest.mark.parametrize("bad", [[1.0, math.nan], [math.inf, 1.0], [[1.0, 2.0]]])
@pytest.mark.parametrize(
    "function",
    [
        statistics.sign_flip_test,
        statistics.t_interval,
        statistics.effect_size,
        statistics.share_of_seeds,
        statistics.paired_summary,
    ],
)
def test_what_is_no_difference_is_refused(function, bad):
    with pytest.raises(ValueError, match="differences must"):
        function(bad)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, made monotone: 0.04, 0.06, 0.06, 0.06.
    assert statistics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1, 1]
    assert statistics.holm([0.2]) == [0.2]
    assert statistics.holm([]) == []


def test_holm_leaves_out_tests_that_were_not_made():
    adjusted = statistics.holm([0.02, math.nan, 0.01])
    assert adjusted[0] == 0.02
    assert adjusted[2] == 0.02
    assert math.isnan(adjusted[1])
    assert all(math.isnan(p) for p in statistics.holm([math.nan, math.nan]))


def test_equivalence_agrees_with_the_interval():
    rng = np.random.default_rng(5)
    for _ in range(50):
        d = rng.normal(rng.uniform(-1, 1), 0.5, 10)
        low, high = statistics.t_interval(d, 0.90)
        assert (statistics.equivalence_test(d, 0.6) < 0.05) == (low > -0.6 and high < 0.6)


def test_equivalence_by_hand():
    # The larger of the two one-sided p: mean 0.1, sd 1, n 4, against +0.5: t = -0.8 with 3 df.
    d = np.array([-1, -1, 1, 1]) * math.sqrt(3) / 2 + 0.1
    assert statistics.equivalence_test(d, 0.5) == pytest.approx(scipy_stats.t.cdf(-0.8, 3))
    assert statistics.equivalence_test([0.1] * 5, 0.5) == 0
    assert statistics.equivalence_test([0.7] * 5, 0.5) == 1
    assert math.isnan(statistics.equivalence_test([0.1], 0.5))
    with pytest.raises(ValueError, match="above zero"):
        statistics.equivalence_test([0.1, 0.2], 0)


def judge(d, delta, **options):
    return statistics.verdict(d, delta, statistics.sign_flip_test(d), **options)


def test_the_four_verdicts():
    noise = np.array([0.3, -0.2, 0.1, -0.1, 0.2, -0.3, 0.05, -0.05, 0.15, -0.15])
    assert judge(1 + noise, 0.5).verdict == "supported"
    assert judge(-1 + noise, 0.5).verdict == "refuted"
    small = judge(0.3 + noise, 0.6)  # significant, but smaller than matters
    assert (small.verdict, small.equivalent) == ("not supported", True)
    backwards = judge(-0.3 + noise, 0.6)  # significant the wrong way, smaller than matters
    assert (backwards.verdict, backwards.equivalent) == ("not supported", True)
    lopsided = judge(5 * noise - 0.9, 1)  # wide, yet +1 is excluded; -1 is not
    assert (lopsided.verdict, lopsided.equivalent) == ("not supported", False)
    assert judge(10 * noise, 0.5).verdict == "inconclusive"


def test_a_significant_effect_around_the_threshold_is_inconclusive():
    d = [0.4, 0.5, 0.45, 0.55, 0.5, 0.4, 0.6, 0.45, 0.5, 0.5]
    assert judge(d, 0.49).verdict == "inconclusive"


@pytest.mark.parametrize(("n", "family", "carries"), [(5, 1, False), (6, 1, True), (10, 25, True)])
def test_n_has_to_carry_the_claim(n, family, carries):
    d = np.linspace(1, 1.1, n)
    p_holm = min(1, family * 2 / 2**n)
    outcome = statistics.verdict(d, 0.5, p_holm, family_size=family)
    assert outcome.verdict == ("supported" if carries else "inconclusive")
    assert ("cannot carry" in outcome.reason) != carries


def test_too_few_seeds_say_nothing_against_a_claim_either():
    assert judge([0.0] * 5, 0.5).verdict == "inconclusive"
    assert judge([0.0] * 10, 0.5, family_size=26).verdict == "inconclusive"
    assert judge([0.0] * 10, 0.5, family_size=25).equivalent


def test_a_late_step_of_holm_may_carry_what_the_first_would_not():
    d = np.linspace(1, 1.1, 8)
    adjusted = statistics.holm([statistics.sign_flip_test(d)] + [1e-5] * 24)[0]
    assert statistics.verdict(d, 0.5, adjusted, family_size=25).verdict == "supported"


def test_verdict_without_a_test_and_with_a_wrong_p():
    assert statistics.verdict([], 0.5, math.nan).verdict == "inconclusive"
    assert statistics.verdict([1.0], 0.5, 1.0).verdict == "inconclusive"
    with pytest.raises(ValueError, match="cannot come from"):
        statistics.verdict([1.0, 1.1, 1.2], 0.5, 0.01)
    with pytest.raises(ValueError, match="above zero"):
        statistics.verdict([1.0] * 10, -1, 0.5)


def test_no_effect_is_rarely_called_one():
    rng = np.random.default_rng(2015)
    verdicts = []
    below = 0
    for d in rng.normal(size=(2_000, 8)):
        p = statistics.sign_flip_test(d)
        below += p < 0.05
        verdicts.append(statistics.verdict(d, 0.1, p).verdict)
    # The test is exact: 12/256 is the largest p below 0.05 that eight seeds can give.
    assert below / 2_000 == pytest.approx(12 / 256, abs=3 * math.sqrt(0.05 / 2_000))
    assert verdicts.count("supported") <= 0.05 * 2_000
    assert verdicts.count("refuted") <= 0.05 * 2_000


def test_controls_get_their_verdicts():
    rng = np.random.default_rng(7)
    tally = {
        effect: [judge(rng.normal(effect, 0.5, 8), 1.0).verdict for _ in range(300)]
        for effect in (0.0, 2.0, -2.0)
    }
    assert tally[0.0].count("not supported") >= 0.9 * 300
    assert tally[2.0].count("supported") >= 0.98 * 300
    assert tally[-2.0].count("refuted") >= 0.98 * 300
