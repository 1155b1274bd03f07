"""What every study's endpoints come down to: one effect per seed, or one worst error."""

from dataclasses import dataclass, field

import pandas as pd


@dataclass(frozen=True)
class Endpoint:
    """The measured side of a statistical claim.

    Attributes
    ----------
    effect : pd.Series
        One difference per seed (index: seed), oriented so that above zero is as the claim says.
    cells : dict of str to pd.Series
        The same for each cell that `effect` averages over (a batch size, a depth); exploratory.
    unit : str
        Unit of `effect` and of the claim's smallest effect ("percentage points", "decades").
    censored : int
        Measured values that stand at the budget because the event never came.
    bounded : bool
        Whether so many do that a small effect excludes no larger one.
    conditions : dict of str to Endpoint
        Further endpoints that must hold as well for the claim to hold.
    validity : dict of str to Endpoint
        What must hold, above zero, for the experiment to decide the claim in either direction.
    p : float, optional
        Of a condition that is tested otherwise than by the sign-flip test (Page's trend test).
    note : str
        One computed sentence on what else matters.
    """

    effect: pd.Series
    cells: dict[str, pd.Series]
    unit: str
    censored: int = 0
    bounded: bool = False
    conditions: dict[str, "Endpoint"] = field(default_factory=dict)
    validity: dict[str, "Endpoint"] = field(default_factory=dict)
    p: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Exact:
    """The measured side of an exact claim: `value` is the worst error, held to `tolerance`."""

    holds: bool
    value: float
    tolerance: float
    note: str = ""
