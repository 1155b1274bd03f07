"""What every study's endpoints come down to: one effect per seed, or one worst error."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Endpoint:
    """The measured side of a statistical claim."""

    # One difference per seed (index: seed), oriented so that above zero is as the claim says.
    effect: pd.Series
    # The same for each cell that `effect` averages over (a batch size, a depth); exploratory.
    cells: dict[str, pd.Series]
    unit: str  # of `effect` and of the claim's smallest effect ("percentage points", "decades")
    censored: int = 0  # measured values that stand at the budget because the event never came
    bounded: bool = False  # whether so many do that a small effect excludes no larger one
    # Further endpoints that must hold as well for the claim to hold.
    conditions: dict[str, "Endpoint"] = field(default_factory=dict)
    # What must hold, above zero, for the experiment to decide the claim in either direction.
    validity: dict[str, "Endpoint"] = field(default_factory=dict)
    p: float | None = None  # of a condition that has a test of its own (Page's trend test)
    note: str = ""  # one computed sentence on what else matters


@dataclass(frozen=True)
class Exact:
    """The measured side of an exact claim: `value` is the worst error, held to `tolerance`."""

    holds: bool
    value: float
    tolerance: float
    note: str = ""
