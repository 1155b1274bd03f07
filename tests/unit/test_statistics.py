"""Statistics against hand enumeration, textbook numbers and simulated studies."""

import itertools
import math
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ttest_1samp
from statsmodels.stats.multitest import multipletests

from bnstudy import statistics

# Student (1908), table of Cushny and Peebles: extra hours of sleep, drug 2 minus drug 1.
SLEEP = [1.2, 2.4, 1.3, 1.3, 0.0, 1.0, 1.8, 0.8, 4.6, 1.4]


def enumerated_p(d: list[Fraction]) -> float:
    """Two-sided sign-flip p by trying every sign vector in exact arithmetic."""
    observed = abs(sum(d))
    sums = [
        abs(sum(s * x for s, x in zip(signs, d, strict=True))) for signs in itertools.product((1, -1), repeat=len(d))
    ]
    return sum(total >= observed for total in sums) / len(sums)


@pytest.mark.parametrize("n", range(3, 11))
def test_sign_flip_is_the_enumeration(n):
    d = np.random.default_rng(n).normal(0.4, 1, n)
    assert statistics.sign_flip(d).p() == enumerated_p([Fraction(x) for x in d])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=8), st.sampled_from([0.1, 1 / 3, 1e-300, 1e300, 1 / 12_000]))
def test_ties_count_as_ties_at_any_scale(counts, unit):
    # Multiples of 0.1 or 1/12000 tie on paper but not in the last bits of their sums.
    assert statistics.sign_flip([c * unit for c in counts]).p() == enumerated_p([Fraction(c) for c in counts])


def test_accuracies_that_tie_only_on_paper():
    # Differences of counts out of 10, taken as a table of accuracies has them.
    baseline, norm = [1, 2, 3, 4, 7, 8], [4, 3, 5, 5, 8, 9]
    d = np.array(norm) / 10 - np.array(baseline) / 10
    assert len(set(d)) > 3  # 3, 1, 2, 1, 1, 1 on paper
    assert statistics.sign_flip(d).p() == enumerated_p([Fraction(k) for k in (3, 1, 2, 1, 1, 1)])


def test_sign_flip_known_values():
    assert statistics.sign_flip(np.arange(1.0, 11)).p() == 2 / 1024
    assert statistics.sign_flip(-np.arange(1.0, 11)).p() == 2 / 1024
    assert statistics.sign_flip([0.2] * 10).p() == 2 / 1024
    assert statistics.sign_flip([1, 1, 1, 1, 1]).p() == 0.0625
    assert statistics.sign_flip([0.0] * 7).p() == 1
    assert statistics.sign_flip([3.0]).p() == 1
    assert math.isnan(statistics.sign_flip([]).p())


def test_sign_flip_beyond_enumeration():
    d = np.random.default_rng(3).normal(0.35, 1, 20)
    p = statistics.sign_flip(d).p()
    assert p == statistics.sign_flip(d).p()  # drawn from a fixed seed
    assert p * 50_000 == pytest.approx(round(p * 50_000))
    # An independent exact p: the distribution of the sum, built up one seed at a time.
    sums = np.zeros(1)
    for x in d:
        sums = np.concatenate([sums + x, sums - x])
    exact = np.mean(np.abs(sums) >= abs(d.sum()) - 1e-9)
    assert p == pytest.approx(exact, abs=5 * math.sqrt(exact / 100_000))
    assert statistics.sign_flip(np.ones(40)).p() == statistics.smallest_p(40) == 2e-5


def test_random_signs_agree_with_all_of_them(monkeypatch):
    columns = np.random.default_rng(5).normal([0.0, 0.3, -0.5], 1, (18, 3)).T
    signs = np.array(list(itertools.product((1, -1), repeat=18)))
    sums = np.abs(signs @ columns.T)
    exact = (sums >= sums[0] - 1e-12).mean(axis=0)
    monkeypatch.setattr(statistics, "SIGNS_AT_ONCE", 18 * 7_000)  # the last block is a short one
    found = [test.p() for test in statistics.sign_flips(columns)]
    # Five standard errors of a share of 99,999 draws.
    assert np.all(np.abs(found - exact) < 5 * np.sqrt(exact * (1 - exact) / 99_999))


def test_several_tests_at_once_are_the_tests_one_at_a_time():
    for n in (1, 6, 40):
        columns = [*np.random.default_rng(n).normal(0.3, 1, (3, n)), np.zeros(n)]
        found = [test.p() for test in statistics.sign_flips(columns)]
        assert found == [statistics.sign_flip(d).p() for d in columns]
        assert found[-1] == 1
    assert math.isnan(statistics.sign_flips([[]])[0].p())
    assert statistics.sign_flips([]) == []


def test_effect_size_of_students_sleep_data():
    # R, t.test(extra ~ group, paired = TRUE): t = 4.0621, mean 1.58.
    assert statistics.mean(SLEEP) == pytest.approx(1.58)
    assert statistics.sign_flip(SLEEP).summary()["effect_size"] == pytest.approx(4.0621 / math.sqrt(10), abs=1e-5)


def test_against_another_effect_it_is_the_test_of_what_is_left():
    rng = np.random.default_rng(2)
    for n, effect in ((3, 0.25), (7, -0.5), (10, 0.75)):
        d = rng.integers(-4, 5, n) / 4  # exact in binary, with ties
        left = [Fraction(x) - Fraction(effect) for x in d]
        assert statistics.sign_flip(d).p(effect) == enumerated_p(left)
        # One side each: the share of sign vectors whose sum is at least, or at most, the observed.
        sums = [sum(s * x for s, x in zip(signs, left, strict=True)) for signs in itertools.product((1, -1), repeat=n)]
        shares = [np.mean([f(s, sum(left)) for s in sums]) for f in (Fraction.__ge__, Fraction.__le__)]
        assert statistics.sign_flips([d])[0].one_sided(effect) == pytest.approx(shares, abs=0)


@pytest.mark.parametrize("level", [0.2, 0.05, 0.01, 0.002])
def test_the_interval_holds_exactly_what_is_not_rejected(level):
    rng = np.random.default_rng(11)
    for d in rng.normal(0.5, 1, (20, 12)):
        low, high = statistics.sign_flip(d).interval(level)
        for end, outwards in ((low, -1), (high, 1)):
            near = 1e-6
            assert statistics.sign_flip(d).p(end + outwards * near) < level
            assert statistics.sign_flip(d).p(end - outwards * near) >= level


def test_the_interval_by_hand():
    # 1 to 6: sign vectors 2^6 = 64, so 0.05 leaves 1/64 at each side: the smallest and the largest mean
    # of a subset. At 0.1 it is 3/64 a side: 1, 1.5 (of 1 and 2) and 2 are the smallest means.
    d = [1, 2, 3, 4, 5, 6]
    assert statistics.sign_flip(d).interval() == (1, 6)
    assert statistics.sign_flip(d).interval(0.1) == (2, 5)
    assert all(math.isnan(end) for end in statistics.sign_flip(d[:5]).interval())


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    draws = rng.normal(0.3, 1, (2_000, 8))
    ends = [statistics.sign_flip(d).interval() for d in draws]
    covered = np.mean([low <= 0.3 <= high for low, high in ends])
    # The test is exact: 12/256 is the largest p below 0.05 that eight seeds can give.
    assert covered == pytest.approx(1 - 12 / 256, abs=3 * math.sqrt(0.05 / 2_000))


def test_equal_differences_have_no_spread():
    # 0.9 - 0.8 and 0.3 - 0.2 are both 0.1 on paper.
    d = [0.9 - 0.8, 0.3 - 0.2, 0.1, 0.4 - 0.3]
    assert len(set(d)) > 1
    assert statistics.standard_deviation(d) == 0
    assert statistics.sign_flip(d * 2).interval() == pytest.approx((0.1, 0.1))
    assert math.isnan(statistics.sign_flip(d).summary()["effect_size"])
    summary = statistics.sign_flip([0.0] * 6).summary()
    assert (summary["mean"], summary["ci_low"], summary["ci_high"]) == (0, 0, 0)
    assert (summary["p"], summary["share_of_seeds"]) == (1, 0)


def test_summary_of_too_few():
    empty = statistics.sign_flip([]).summary()
    assert empty["n"] == 0
    assert all(math.isnan(value) for name, value in empty.items() if name != "n")
    single = statistics.sign_flip([0.5]).summary()
    nothing = [single.pop(name) for name in ("ci_low", "ci_high", "effect_size")]
    assert all(map(math.isnan, nothing))
    assert single == {"n": 1, "mean": 0.5, "p": 1, "share_of_seeds": 1}


def test_share_counts_ties_against():
    assert statistics.share_of_seeds([1, 2, 0, -1]) == 0.5


@pytest.mark.parametrize("bad", [[1.0, math.nan], [math.inf, 1.0], [[1.0, 2.0]]])
@pytest.mark.parametrize("function", [statistics.sign_flip, statistics.standard_deviation, statistics.share_of_seeds])
def test_what_is_no_difference_is_refused(function, bad):
    with pytest.raises(ValueError, match="differences must"):
        function(bad)


def test_holm_by_hand():
    # Sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1, made monotone: 0.04, 0.06, 0.06, 0.06.
    assert statistics.holm([0.03, 0.01, 0.04, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert statistics.holm([0.5, 0.9]) == [1, 1]
    assert statistics.holm([0.2]) == [0.2]
    assert statistics.holm([]) == []


def test_holm_is_statsmodels():
    rng = np.random.default_rng(4)
    for size in (1, 2, 7, 40):
        p = np.round(rng.random(size) ** 3, 2)  # with ties
        assert statistics.holm(p) == pytest.approx(multipletests(p, method="holm")[1])
        below = p < statistics.holm_level(p)
        assert below.tolist() == multipletests(p, 0.05, "holm")[0].tolist()


def test_holm_leaves_out_tests_that_were_not_made():
    adjusted = statistics.holm([0.02, math.nan, 0.01])
    assert adjusted[0] == 0.02
    assert adjusted[2] == 0.02
    assert math.isnan(adjusted[1])
    assert all(math.isnan(p) for p in statistics.holm([math.nan, math.nan]))


def ask(d, delta=0.5, **more):
    return statistics.Question(np.asarray(d, dtype=float), delta, **more)


def judge(d, delta=0.5, **more):
    return statistics.verdicts([ask(d, delta, **more)])[0]


NOISE = np.array([0.3, -0.2, 0.1, -0.1, 0.2, -0.3, 0.05, -0.05, 0.15, -0.15])


def test_the_four_verdicts():
    assert judge(1 + NOISE).verdict == "supported"
    assert judge(-1 + NOISE).verdict == "refuted"
    small = judge(0.3 + NOISE)  # there is an effect, but smaller than matters
    assert (small.verdict, small.equivalent) == ("not supported", True)
    backwards = judge(-0.3 + NOISE)
    assert (backwards.verdict, backwards.equivalent) == ("not supported", True)
    lopsided = judge(5 * NOISE - 0.9, 1)  # wide, yet +1 is excluded; -1 is not
    assert (lopsided.verdict, lopsided.equivalent) == ("not supported", False)
    assert judge(10 * NOISE).verdict == "inconclusive"
    assert judge([]).verdict == judge([1.0]).verdict == "inconclusive"
    with pytest.raises(ValueError, match="above zero"):
        judge(NOISE, -1)


def test_an_effect_at_the_threshold_decides_nothing():
    assert judge(0.5 + NOISE).verdict == "inconclusive"
    assert judge([0.5] * 12).verdict == "inconclusive"  # a tie counts for both sides
    assert judge([0.51] * 12).verdict == "supported"


@pytest.mark.parametrize(("n", "family"), [(5, 1), (6, 1), (9, 12), (9, 13), (12, 102), (12, 103)])
def test_n_has_to_carry_the_family(n, family):
    carries = family * 2 / 2**n < 0.05
    asked = [ask(np.linspace(1, 1.1, n))] + [ask([])] * (family - 1)
    assert statistics.verdicts(asked)[0].verdict == ("supported" if carries else "inconclusive")
    against = [ask(np.zeros(n))] + [ask([])] * (family - 1)
    found = statistics.verdicts(against)[0]
    assert found.verdict == ("not supported" if carries else "inconclusive")
    assert found.equivalent == carries


def by_definition(questions):
    """The rule in words, one claim at a time: a second implementation, by trying every sign vector."""

    def two_sided(d, effect):
        return enumerated_p([Fraction(x) - Fraction(effect) for x in d])

    def rejected(p):
        out, order = set(), sorted(range(len(p)), key=p.__getitem__)
        for step, i in enumerate(order):
            if p[i] * (len(p) - step) >= 0.05:
                break
            out.add(i)
        return out

    ups = rejected([two_sided(d, delta) for d, delta in questions])
    downs = rejected([two_sided(d, -delta) for d, delta in questions])
    words = []
    for i, (d, delta) in enumerate(questions):
        if i in downs and np.mean(d) < -delta:
            words.append("refuted")
        elif i in ups:
            words.append("supported" if np.mean(d) > delta else "not supported")
        else:
            words.append("inconclusive")
    return words


def test_the_rule_is_its_definition():
    rng = np.random.default_rng(1)
    seen = set()
    for _ in range(6):
        centres = rng.choice([-4, -0.8, 0, 0.3, 1.2, 5], 12)
        families = [(rng.normal(c, rng.choice([0.2, 0.5]), 9), 0.5) for c in centres]
        expected = by_definition(families)
        found = statistics.verdicts([ask(*one) for one in families])
        assert [one.verdict for one in found] == expected
        seen |= set(expected)
        for (d, delta), one in zip(families, found, strict=True):  # the interval shows the decision
            low, high = statistics.sign_flip(d).interval(one.level)
            where = {"supported": low > delta, "refuted": high < -delta, "not supported": high < delta}
            assert where.get(one.verdict, low <= delta <= high)
    assert seen == {"supported", "refuted", "not supported", "inconclusive"}


def test_what_a_claim_needs_besides():
    assert judge(1 + NOISE, p_support=0.2).verdict == "inconclusive"
    assert judge(-1 + NOISE, p_support=0.2).verdict == "refuted"  # it need not hold for that
    assert judge(0.1 * NOISE, p_support=0.2).verdict == "not supported"
    for d in (1 + NOISE, -1 + NOISE, 0.1 * NOISE):
        assert judge(d, p_decide=0.2).verdict == "inconclusive"
    assert judge(0.1 * NOISE, bounded=True).verdict == "inconclusive"
    assert judge(1 + NOISE, bounded=True).verdict == "supported"


def test_conditions_are_tested_at_the_level_of_the_claim():
    asked = [ask(1 + NOISE, p_support=0.01)] + [ask([])] * 19
    assert statistics.verdicts(asked)[0].verdict == "inconclusive"  # 20 * 0.01


@pytest.mark.parametrize("effect", [-0.5, 0.0, 0.5])
def test_a_family_at_its_margins_is_rarely_wrong(effect):
    """All claims just where a verdict becomes wrong, which is the worst that can happen."""
    rng = np.random.default_rng(2015)
    wrong = 0
    for d in rng.normal(effect, 1, (300, 8, 10)):
        words = [one.verdict for one in statistics.verdicts([ask(x) for x in d])]
        wrong += "refuted" in words or "supported" in words or (effect == 0.5 and "not supported" in words)
    assert wrong / 300 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)


def test_controls_get_their_verdicts():
    rng = np.random.default_rng(7)
    tally = {
        effect: [judge(rng.normal(effect, 0.5, 12), 1.0).verdict for _ in range(300)] for effect in (0.0, 2.0, -2.0)
    }
    assert tally[0.0].count("not supported") >= 0.9 * 300
    assert tally[2.0].count("supported") >= 0.98 * 300
    assert tally[-2.0].count("refuted") >= 0.98 * 300


def test_thousands_of_seeds_fit_into_memory():
    """All subsets that are drawn of 2,000 differences would take 1.6 GB."""
    differences = np.random.default_rng(0).normal(0.1, 1.0, 2_000)
    tracemalloc.start()
    p = statistics.sign_flip(differences).p()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert p == pytest.approx(ttest_1samp(differences, 0).pvalue, abs=1e-3)
    assert peak < 100e6
