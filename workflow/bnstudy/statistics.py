"""Paired statistics for few seeds, and the rule that turns them into a verdict.

Throughout, `d` holds one difference per seed (shape (n,)), both arms of a pair sharing the seed.
The decisions rest on an exact test that assumes no distribution; the intervals are Student's t.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

EXACT_UP_TO = 16  # seeds; 2^16 sign vectors take a third of a second
MONTE_CARLO_SIGNS = 99_999  # sign vectors drawn beyond that, so p is a multiple of 1e-5
SIGNS_AT_ONCE = 1_000_000  # signs in memory: 8 MB
RELATIVE_TOLERANCE = 1e-9  # differences closer than this, relative to their size, are rounding

Differences = Sequence[float] | np.ndarray


@dataclass(frozen=True)
class PairedSummary:
    """What n paired differences say; NaN where n is too small for the quantity to exist."""

    n: int
    mean: float
    ci_low: float  # of the 95 % t-interval of the mean
    ci_high: float
    p: float  # exact two-sided sign-flip test
    effect_size: float  # d_z
    share_of_seeds: float  # share of differences above zero


@dataclass(frozen=True)
class Verdict:
    """The answer to a claim, and why; `equivalent` says that the effect is within +-delta."""

    verdict: str  # supported | refuted | not supported | inconclusive
    reason: str
    equivalent: bool


def as_differences(d: Differences) -> np.ndarray:
    """Check differences and return them as float64 of shape (n,).

    Raises
    ------
    ValueError
        If `d` is not one-dimensional or holds a value that is not finite. A diverged run has to be
        scored before it comes here; dropping its seed would flatter the arm that diverged.
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


def sign_flip_test(d: Differences, seed: int = 0) -> float:
    """Two-sided p-value of the paired sign-flip test for a mean difference of zero.

    Without an effect the names of the two arms of a pair are arbitrary, so each of the 2^n sign
    vectors was equally likely; p is the share of them whose absolute mean is at least as large as
    the one observed. Up to 16 differences all of them are tried. Beyond that 99,999 are drawn from
    `seed` and the observed one is counted among them, which makes p valid and a multiple of 1e-5.

    Parameters
    ----------
    d : array of float, shape (n,)
    seed : int
        Of the random sign vectors; not used where all are tried.

    Returns
    -------
    float
        At least 2 / 2^n; 1 for a single difference or for differences that are all zero; NaN
        without differences.

    Raises
    ------
    ValueError
        If a difference is not finite.

    Notes
    -----
    Fisher (1935), The Design of Experiments, section 21. Sign vectors whose means are equal on
    paper can differ in the last bits as sums; those within rounding of the observed one count as
    equal, so a tie never makes p too small.
    """
    return sign_flip_tests([d], seed)[0]


def sign_flip_tests(columns: Sequence[Differences], seed: int = 0) -> list[float]:
    """`sign_flip_test` of several sets of differences of one length, which share the sign vectors.

    The same p-values as one at a time; with many seeds, drawing the signs is most of the work.
    """
    columns = [as_differences(d) for d in columns]
    p = [math.nan if len(d) == 0 else 1.0 for d in columns]
    tested = [i for i, d in enumerate(columns) if len(d) > 1 and d.any()]
    # Scaled, so that sums neither overflow nor vanish.
    scaled = [columns[i] / np.abs(columns[i]).max() for i in tested]
    if tested and len(scaled[0]) > EXACT_UP_TO:
        found = monte_carlo_tests(np.stack(scaled, axis=1), seed)
    else:
        found = [exact_test(d) for d in scaled]
    for i, value in zip(tested, found, strict=True):
        p[i] = value
    return p


def exact_test(d: np.ndarray) -> float:
    """The share of all 2^n sign vectors whose sum is as extreme as that of `d`, of shape (n,)."""
    result = stats.permutation_test(
        (d,),
        absolute_sum,
        permutation_type="samples",
        n_resamples=np.inf,
        alternative="greater",
        vectorized=True,
    )
    tolerance = RELATIVE_TOLERANCE * len(d)
    extreme = int((result.null_distribution >= result.statistic - tolerance).sum())
    return extreme / len(result.null_distribution)


def monte_carlo_tests(d: np.ndarray, seed: int) -> list[float]:
    """The p-value of each column of `d`, of shape (n, k), from sign vectors drawn from `seed`.

    Own code, because SciPy's test takes about two seconds and 0.9 GB for each 100 differences.
    """
    n = len(d)
    rng = np.random.default_rng(seed)
    total = d.sum(axis=0)
    least = np.abs(total) - RELATIVE_TOLERANCE * n
    extreme = np.ones(d.shape[1], dtype=int)  # the observed signs
    rows = max(1, SIGNS_AT_ONCE // n)
    for start in range(0, MONTE_CARLO_SIGNS, rows):
        size = (min(rows, MONTE_CARLO_SIGNS - start), -(-n // 8))
        # A bit that is set flips a sign, which takes twice the difference off the sum.
        flips = np.unpackbits(rng.integers(256, size=size, dtype=np.uint8), axis=1, count=n)
        extreme += (np.abs(total - 2 * (flips.astype(np.float64) @ d)) >= least).sum(axis=0)
    return (extreme / (MONTE_CARLO_SIGNS + 1)).tolist()


def absolute_sum(d: np.ndarray, axis: int) -> np.ndarray:
    return np.abs(d.sum(axis=axis))


def smallest_p(n: int) -> float:
    """The smallest p that `sign_flip_test` can give for n differences, which is 2 / 2^n or 1e-5."""
    if n <= EXACT_UP_TO:
        return min(1.0, 2 / 2**n)
    return 1 / (MONTE_CARLO_SIGNS + 1)


def t_interval(d: Differences, confidence: float = 0.95) -> tuple[float, float]:
    """Student's t-interval of the mean difference.

    Returns
    -------
    tuple of float
        Lower and upper end; NaN for fewer than two differences, the mean twice where all
        differences are equal.

    Raises
    ------
    ValueError
        If a difference is not finite.
    """
    d = as_differences(d)
    if len(d) < 2:
        return math.nan, math.nan
    centre, spread = mean(d), standard_deviation(d)
    half = stats.t.ppf((1 + confidence) / 2, len(d) - 1) * spread / math.sqrt(len(d))
    return float(centre - half), float(centre + half)


def standard_deviation(d: Differences) -> float:
    """Sample standard deviation (n - 1); exactly 0 where differences are equal up to rounding."""
    d = as_differences(d)
    if len(d) < 2:
        return math.nan
    if np.ptp(d) <= RELATIVE_TOLERANCE * np.abs(d).max():
        return 0.0
    return float(np.std(d, ddof=1))


def effect_size(d: Differences) -> float:
    """Cohen's d_z, the mean difference over its standard deviation across seeds.

    NaN for fewer than two differences and where all are equal: a ratio to no spread is no size.
    """
    spread = standard_deviation(d)
    return mean(d) / spread if spread > 0 else math.nan


def share_of_seeds(d: Differences) -> float:
    """Share of differences above zero, a tie counting against; NaN without differences."""
    d = as_differences(d)
    return float((d > 0).mean()) if len(d) else math.nan


def holm(p: Sequence[float]) -> list[float]:
    """Holm-adjusted p-values, in the order given.

    A NaN stands for a test that could not be made: it stays NaN and does not count in the family.

    Source: Holm (1979), A simple sequentially rejective multiple test procedure.
    """
    from statsmodels.stats.multitest import multipletests  # slow to import

    p = np.asarray(p, dtype=np.float64)
    adjusted = np.full(p.shape, math.nan)
    made = ~np.isnan(p)
    if made.any():
        adjusted[made] = multipletests(p[made], method="holm")[1]
    return adjusted.tolist()


def paired_summary(d: Differences) -> PairedSummary:
    """Mean, 95 % t-interval, exact p, d_z and share of seeds of n paired differences."""
    return paired_summaries([d])[0]


def paired_summaries(columns: Sequence[Differences]) -> list[PairedSummary]:
    """`paired_summary` of several sets of differences of one length."""
    columns = [as_differences(d) for d in columns]
    summaries = []
    for d, p in zip(columns, sign_flip_tests(columns), strict=True):
        low, high = t_interval(d)
        summaries.append(
            PairedSummary(
                n=len(d),
                mean=mean(d),
                ci_low=low,
                ci_high=high,
                p=p,
                effect_size=effect_size(d),
                share_of_seeds=share_of_seeds(d),
            )
        )
    return summaries


def equivalence_test(d: Differences, delta: float) -> float:
    """p-value of the two one-sided t-tests that the mean difference lies within +-delta.

    p < 0.05 says the same as a 90 % t-interval inside (-delta, delta).

    Parameters
    ----------
    d : array of float, shape (n,)
    delta : float
        The smallest effect that matters, in the unit of `d`.

    Returns
    -------
    float
        NaN for fewer than two differences; 0 or 1 where all differences are equal.

    Raises
    ------
    ValueError
        If `delta` is not positive or a difference is not finite.

    Notes
    -----
    Schuirmann (1987), A comparison of the two one-sided tests procedure and the power approach.
    """
    from statsmodels.stats.weightstats import DescrStatsW  # slow to import

    d = as_differences(d)
    check_delta(delta)
    if len(d) < 2:
        return math.nan
    if standard_deviation(d) == 0:
        return 0.0 if abs(mean(d)) < delta else 1.0
    return float(DescrStatsW(d).ttost_mean(-delta, delta)[0])


def check_delta(delta: float) -> None:
    if not (math.isfinite(delta) and delta > 0):
        raise ValueError(f"the smallest effect that matters must be above zero, not {delta}")


def verdict(
    d: Differences, delta: float, p_holm: float, *, family_size: int = 1, alpha: float = 0.05
) -> Verdict:
    """Judge one claim by its primary endpoint.

    - supported: p_holm < alpha and the mean is at least +delta.
    - refuted: p_holm < alpha and the mean is at most -delta.
    - not supported: neither, and the 90 % t-interval lies below +delta, so an effect as large as
      the claim needs is excluded. `equivalent` is set where the interval lies above -delta too.
    - inconclusive: everything else, and every claim for which n is too small: where even n
      differences of one sign could not bring p below alpha after adjustment at Holm's first step.
      (A claim that is significant nevertheless was tested at a later step; it is judged.)

    Parameters
    ----------
    d : array of float, shape (n,)
        Differences per seed, oriented so that above zero is as the claim says.
    delta : float
        The smallest effect that matters, in the unit of `d`.
    p_holm : float
        Sign-flip p of `d`, Holm-adjusted over the primary endpoints; NaN if there is none.
    family_size : int
        Number of primary endpoints that `p_holm` is adjusted for.
    alpha : float
        Level of the family of tests.

    Raises
    ------
    ValueError
        If `delta` is not positive, a difference is not finite, or `p_holm` is smaller than any p
        that n differences can give, and so belongs to something else.
    """
    d = as_differences(d)
    check_delta(delta)
    n = len(d)
    if p_holm < smallest_p(n) * (1 - RELATIVE_TOLERANCE):
        raise ValueError(
            f"p_holm {p_holm} cannot come from {n} differences, whose least is {smallest_p(n)}"
        )
    significant = p_holm < alpha
    if n < 2 or math.isnan(p_holm):
        return Verdict("inconclusive", f"n = {n} seeds allow no test", False)
    if not significant and (attainable := family_size * smallest_p(n)) >= alpha:
        return Verdict(
            "inconclusive",
            f"n = {n} seeds cannot carry the claim: the smallest p they can give among "
            f"{family_size} is {min(attainable, 1):.3g}, not below {alpha:g}",
            False,
        )
    centre = mean(d)
    low, high = t_interval(d, 0.90)
    equivalent = -delta < low and high < delta
    if significant and abs(centre) >= delta:
        word = "supported" if centre > 0 else "refuted"
        return Verdict(word, f"Holm p {p_holm:.3g}, mean {centre:+.3g}", False)
    if high < delta:
        reason = f"the 90 % interval ends at {high:+.3g}, below the smallest effect {delta:g}"
        if equivalent:
            reason = f"equivalent: the 90 % interval lies within +-{delta:g}"
        return Verdict("not supported", reason, equivalent)
    return Verdict(
        "inconclusive",
        f"Holm p {p_holm:.3g}; the 90 % interval {low:+.3g} to {high:+.3g} leaves it open",
        False,
    )
