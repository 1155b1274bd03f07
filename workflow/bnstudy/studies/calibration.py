"""Operating characteristic of the verdict rule: how often each verdict comes out, by simulation.

Whole families are simulated as large as that of claims.yaml and judged by the same function. In each, a share of the
claims has the effect that is looked at; the others have what claims have, from no effect to one that nobody could miss,
and they share their seeds: half of the variance of a seed is the same in all claims. A verdict is wrong if it is
supported at an effect of no more than the smallest that matters, refuted at one that is no further below zero than
that, or not supported at one that is larger.

Differences are drawn with mean `effect` and standard deviation `spread`, both in units of the smallest effect that
matters, from

- `normal`: the normal distribution;
- `skewed`: a gamma distribution with skewness 1, its long tail to the right or left with equal chance;
- `exponential`: the same with skewness 2;
- `outlier`: normal, but a seed of the twelve is four standard deviations off, to either side;
- `ties`: normal, rounded to whole standard deviations.
"""

from collections import Counter

import numpy as np
import torch

from bnstudy import statistics
from bnstudy.data.prepared import PreparedData

# Whether each verdict contradicts an effect, in units of the smallest that matters.
WRONG = {
    "supported": lambda effect: effect <= 1,
    "refuted": lambda effect: effect >= -1,
    "not supported": lambda effect: effect > 1,
    "inconclusive": lambda effect: False,
}
SKEWNESS = {"skewed": 1.0, "exponential": 2.0}
OTHERS = (-10, -2, 0, 0, 0.5, 1, 2, 5, 10, 20)  # effects of the other claims
SPREADS = (0.8, 1.5, 4)  # and their standard deviations


def run(data: PreparedData, cell: dict, options: dict, seed: int, device: torch.device) -> list[dict]:
    """A row per effect and spread with the shares of verdicts and `family_error`, that of families with
    one wrong verdict or more.

    `cell` has `distribution`; `options` has `n` (seeds), `studies` (families simulated), `family_size`, `looked_at`
    (how many claims have the effect), `effects` and `spreads`. Data and device are not used.
    """
    rows = []
    for effect in options["effects"]:
        for spread in options["spreads"]:
            rng, n = np.random.default_rng([seed, len(rows)]), options["studies"]
            found = [one_family(rng, cell, options, effect, spread) for _ in range(n)]
            counts = sum((counted for counted, _ in found), Counter())
            shares = {word: counts[word] / counts.total() for word in WRONG}
            error = {"family_error": sum(wrong for _, wrong in found) / n}
            rows.append({"effect": effect, "spread": spread, "studies": n} | shares | error)
    return rows


def one_family(
    rng: np.random.Generator, cell: dict, options: dict, effect: float, spread: float
) -> tuple[Counter, bool]:
    """The verdicts on the claims that are looked at, and whether any of the family is wrong."""
    size, looked_at = options["family_size"], options["looked_at"]
    effects = np.r_[np.full(looked_at, effect), rng.choice(OTHERS, size - looked_at)]
    spreads = np.r_[np.full(looked_at, spread), rng.choice(SPREADS, size - looked_at)]
    noise = draw(rng, cell["distribution"], size, options["n"])
    questions = [statistics.Question(d, 1.0) for d in effects[:, None] + spreads[:, None] * noise]
    words = [one.verdict for one in statistics.verdicts(questions)]
    wrong = any(WRONG[word](true) for word, true in zip(words, effects, strict=True))
    return Counter(words[:looked_at]), wrong


def draw(rng: np.random.Generator, distribution: str, size: int, n: int) -> np.ndarray:
    """Noise of mean 0 and variance 1 (more with outliers), a row per claim, a column per seed."""
    shared, own = rng.normal(size=n), rng.normal(size=(size, n))
    if skewness := SKEWNESS.get(distribution):
        shape = 4 / skewness**2
        sides = rng.choice([-1, 1], (size, 1))
        return sides * (rng.gamma(shape, size=(size, n)) - shape) / np.sqrt(shape)
    noise = (shared + own) / np.sqrt(2)
    if distribution == "ties":
        return np.round(noise)
    if distribution == "outlier":
        noise[np.arange(size), rng.integers(n, size=size)] += 4 * rng.choice([-1, 1], size)
    return noise
