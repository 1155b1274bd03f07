"""Paired statistics for few seeds, and the rule that turns them into a verdict.

Throughout, `d` holds one difference per seed (shape (n,)), both arms of a pair sharing the seed. Test and interval are
one thing, the exact sign-flip test: the interval holds the effects that it does not reject. What they assume is that
differences scatter around the effect symmetrically and that seeds are independent, nothing else of the distribution.
Without an effect symmetry is certain, for then the names of the two arms are arbitrary; around another effect it is an
assumption, and bnstudy.studies.calibration shows what its failure costs.
"""

import math
from collections.abc import Iterator, Sequence
from functools import cache
from typing import NamedTuple

import numpy as np

from bnstudy.config import ALPHA

EXACT_UP_TO = 16  # seeds; 2^16 sign vectors take a hundredth of a second
MONTE_CARLO_SIGNS = 99_999  # sign vectors drawn beyond that, so p is a multiple of 1e-5
SIGNS_AT_ONCE = 1_000_000  # signs in memory: 8 MB
RELATIVE_TOLERANCE = 1e-9  # differences closer than this, relative to their size, are rounding

Differences = Sequence[float] | np.ndarray


class Question(NamedTuple):
    """A claim as the rule sees it."""

    d: Differences  # oriented so that above zero is as the claim says; empty if not measured
    delta: float  # the smallest effect that matters, in the unit of `d`
    p_support: float = 0.0  # p of what has to hold besides for the claim to be supported,
    p_decide: float = 0.0  # and to be decided at all
    bounded: bool = False  # whether d are lower bounds in size, so that small ones exclude nothing


class Verdict(NamedTuple):
    """The answer to a question: `level` is what Holm's method left for it, and so for its interval.

    `p_holm` is that of the test that decided; `equivalent` says that the effect is within +-delta.
    """

    verdict: str  # supported | refuted | not supported | inconclusive
    p_holm: float
    level: float
    equivalent: bool = False


def as_differences(d: Differences) -> np.ndarray:
    """Differences as float64 of shape (n,); a ValueError if that, or a finite value, is not what they are.

    A diverged run has to be scored before it comes here; dropping its seed would flatter the arm that diverged.
    """
    d = np.asarray(d, dtype=np.float64)
    if d.ndim != 1:
        raise ValueError(f"differences must have shape (n,), not {d.shape}")
    if not np.isfinite(d).all():
        raise ValueError("differences must be finite; score diverged runs first")
    return d


def mean(d: Differences) -> float:
    """Mean of the differences, correctly rounded whatever their order; NaN without any."""
    d = as_differences(d)
    return math.fsum(d) / len(d) if len(d) else math.nan


class SignFlip(NamedTuple):
    """The exact sign-flip test of n paired differences against any effect, and its interval.

    Without the differences' signs each of the 2^n sign vectors is equally likely. Flipping the signs of a subset makes
    the sum of the differences from an effect as large as observed exactly where the mean of the subset is at most that
    effect. So the one-sided p-value of "the effect is at most x" is the share of subsets, the empty one included, whose
    mean is at most x, and an end of the interval is the mean of a subset.

    Source: Fisher (1935), The Design of Experiments, section 21; Hartigan (1969), Using subsample values as typical
    values. Up to 16 differences all subsets are taken. Beyond that 99,999 are drawn, always the same; the empty one
    counts with them, which makes p valid and a multiple of 1e-5.
    """

    d: np.ndarray
    means: np.ndarray  # of the subsets but the empty one

    def one_sided(self, effect: float) -> tuple[float, float]:
        """p-values of "the effect is at most" and "at least" so large.

        Means within rounding of the effect count for both, so a tie never makes p too small.
        """
        total = len(self.means) + 1
        tolerance = RELATIVE_TOLERANCE * max(np.abs(self.d).max(initial=0), abs(effect))
        at_most = np.count_nonzero(self.means <= effect + tolerance)
        at_least = np.count_nonzero(self.means >= effect - tolerance)
        return float(1 + at_most) / total, float(1 + at_least) / total

    def p(self, effect: float = 0.0) -> float:
        """Two-sided p-value; at least 2 / 2^n, 1 for a single difference, NaN without any."""
        return min(1.0, 2 * min(self.one_sided(effect))) if len(self.d) else math.nan

    def interval(self, level: float = ALPHA) -> tuple[float, float]:
        """The effects that are not rejected at the level; NaN where n differences can reject none."""
        rank = math.ceil(level * (len(self.means) + 1) / 2 - RELATIVE_TOLERANCE) - 1
        if rank < 1:
            return math.nan, math.nan
        ends = np.partition(self.means, (rank - 1, len(self.means) - rank))
        return float(ends[rank - 1]), float(ends[-rank])

    def summary(self) -> dict[str, float]:
        """What the differences say; NaN where n is too small for the quantity to exist.

        The effect size is Cohen's d_z, mean over standard deviation; a ratio to no spread is no size.
        """
        (low, high), spread = self.interval(), standard_deviation(self.d)
        found = {"n": len(self.d), "mean": mean(self.d), "ci_low": low, "ci_high": high, "p": self.p()}
        found["effect_size"] = found["mean"] / spread if spread > 0 else math.nan
        return found | {"share_of_seeds": share_of_seeds(self.d)}


def sign_flips(columns: Sequence[Differences]) -> list[SignFlip]:
    """The tests of several sets of differences of one length, which share the subsets."""
    columns = [as_differences(d) for d in columns]
    if not columns:
        return []
    # Scaled, so that sums neither overflow nor vanish.
    scales = [np.abs(d).max(initial=0) or 1.0 for d in columns]
    scaled = np.stack([d / scale for d, scale in zip(columns, scales, strict=True)], axis=1)
    means = np.concatenate([chosen @ scaled / sizes for chosen, sizes in subsets(len(scaled))])
    return [SignFlip(d, scales[i] * means[:, i]) for i, d in enumerate(columns)]


@cache
def all_subsets(n: int) -> tuple[np.ndarray, np.ndarray]:
    chosen = ((np.arange(1, 2**n)[:, None] >> np.arange(n)) & 1).astype(np.float64)
    return chosen, chosen.sum(axis=1, keepdims=True)


def subsets(n: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Subsets of n, all but the empty one or 99,999: blocks of rows of zeros and ones, and their sizes."""
    if n <= EXACT_UP_TO:
        yield all_subsets(n)
        return
    rng = np.random.default_rng(0)
    rows = max(1, SIGNS_AT_ONCE // n)  # those of thousands of differences would fill the memory
    for start in range(0, MONTE_CARLO_SIGNS, rows):
        size = (min(rows, MONTE_CARLO_SIGNS - start), -(-n // 8))
        bits = rng.integers(256, size=size, dtype=np.uint8)
        chosen = np.unpackbits(bits, axis=1, count=n)
        chosen[~chosen.any(axis=1), 0] = 1
        yield chosen.astype(np.float64), chosen.sum(axis=1, keepdims=True, dtype=np.float64)


def sign_flip(d: Differences) -> SignFlip:
    """The test of one set of differences."""
    return sign_flips([d])[0]


def smallest_p(n: int) -> float:
    """The smallest p that the test can give for n differences, which is 2 / 2^n or 1e-5."""
    return min(1.0, 2 / 2**n) if n <= EXACT_UP_TO else 2 / (MONTE_CARLO_SIGNS + 1)


def standard_deviation(d: Differences) -> float:
    """Sample standard deviation (n - 1); exactly 0 where differences are equal up to rounding."""
    d = as_differences(d)
    if len(d) < 2:
        return math.nan
    is_equal = np.ptp(d) <= RELATIVE_TOLERANCE * np.abs(d).max()
    return 0.0 if is_equal else float(np.std(d, ddof=1))


def share_of_seeds(d: Differences) -> float:
    """Share of differences above zero, a tie counting against; NaN without differences."""
    d = as_differences(d)
    return float((d > 0).mean()) if len(d) else math.nan


def holm(p: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given (Holm 1979).

    A NaN stands for a test that could not be made: it stays NaN and does not count in the family.
    """
    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(p.shape, math.nan)
    order = np.argsort(p, kind="stable")[: np.count_nonzero(~np.isnan(p))]
    steps = p[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1, np.maximum.accumulate(steps))
    return adjusted.tolist()


def holm_level(p: Sequence[float], alpha: float = ALPHA) -> float:
    """The level of each test where Holm's method stops: it rejects exactly the p-values below it."""
    rejected = sum(adjusted < alpha for adjusted in holm(p))
    return alpha / max(1, len(p) - rejected)


def verdicts(questions: Sequence[Question], alpha: float = ALPHA) -> list[Verdict]:
    """Judge a family of claims, each by an effect and the smallest effect that matters, delta.

    Every effect is tested against +delta and against -delta. Holm's method adjusts each of the two families of tests,
    and what it leaves as level gives the interval that shows the decision:

    - supported: the interval lies above +delta, and what the claim needs besides holds too.
    - refuted: it lies below -delta.
    - not supported: it lies below +delta; `equivalent` if above -delta too.
    - inconclusive: it reaches to both sides of +delta, or n differences cannot reject anything.

    So every verdict but the last is a rejected hypothesis, and the probability that one or more of a family is wrong is
    at most alpha. A wrong one is a rejection on the wrong side, which has half the level of a two-sided test; of two
    margins that makes the whole.

    Source: Murphy and Myors (1999), Testing the hypothesis that treatments have negligible effects (minimum-effect
    tests). Holm's method with a decision about the direction: Shaffer (1980), for independent tests; for others
    bnstudy.studies.calibration simulates it.
    """
    for delta in (one.delta for one in questions):
        if not (math.isfinite(delta) and delta > 0):
            raise ValueError(f"the smallest effect that matters must be above zero, not {delta}")
    tests = [sign_flip(one.d) if len(one.d) else None for one in questions]
    families = []
    for sign in (1, -1):
        found = [tested(one, test, sign) for one, test in zip(questions, tests, strict=True)]
        p = [value for value, _ in found]
        families.append((zip(found, holm(p), strict=True), holm_level(p, alpha)))
    (margin, level), (opposite, level_opposite) = families
    decided = []
    for ((p, above), p_holm), ((q, above_opposite), q_holm) in zip(margin, opposite, strict=True):
        if q < level_opposite and not above_opposite:
            decided.append(Verdict("refuted", q_holm, level_opposite))
        elif p < level:
            equivalent = not above and above_opposite and q < level_opposite
            word = "supported" if above else "not supported"
            decided.append(Verdict(word, p_holm, level, equivalent))
        else:
            decided.append(Verdict("inconclusive", p_holm, level))
    return decided


def tested(question: Question, test: SignFlip | None, sign: int) -> tuple[float, bool]:
    """Two-sided p against a margin, and whether the effect is above it; 1 where nothing may be decided."""
    if test is None:
        return 1.0, False
    margin = sign * question.delta
    at_most, at_least = test.one_sided(margin)
    above = at_most < at_least
    p = max(min(1.0, 2 * min(at_most, at_least)), question.p_decide)
    if sign > 0:
        p = max(p, question.p_support if above else float(question.bounded))
    return p, above
