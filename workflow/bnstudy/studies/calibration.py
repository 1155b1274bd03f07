"""Operating characteristic of the verdict rule: how often each verdict comes out, by simulation.

Differences of n seeds are drawn from a normal distribution whose mean is a multiple of the smallest
effect that matters and whose standard deviation is a multiple of it too. The p-value is adjusted as
the first of `family_size`, Holm's strictest step.
"""

from collections import Counter

import numpy as np
import torch

from bnstudy import statistics
from bnstudy.data.prepared import PreparedData

VERDICTS = ("supported", "refuted", "not supported", "inconclusive")


def run(
    data: PreparedData, cell: dict, options: dict, seeds: list[int], device: torch.device
) -> list[dict]:
    """A row with the share of each verdict; `cell` has `effect`, in units of the smallest effect.

    `options` has `n` (seeds a study), `studies` (how many are simulated), `deviation` (in units of
    the smallest effect) and `family_size`. Neither data nor device are used.
    """
    size = options["family_size"]
    rows = []
    for seed in seeds:
        rng = np.random.default_rng([seed, round(1000 * cell["effect"])])
        counts: Counter[str] = Counter()
        for _ in range(options["studies"]):
            d = rng.normal(cell["effect"], options["deviation"], options["n"])
            p_holm = min(1.0, size * statistics.sign_flip_test(d))
            counts[statistics.verdict(d, 1.0, p_holm, family_size=size).verdict] += 1
        shares = {verdict: counts[verdict] / options["studies"] for verdict in VERDICTS}
        rows.append({"seed": seed, "studies": options["studies"], **shares})
    return rows
