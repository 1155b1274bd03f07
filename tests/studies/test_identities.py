"""The exact checks on digits: what holds, what does not, and how rows become endpoints."""

import numpy as np
import pandas as pd
import pytest
import torch

from bnstudy.claims.endpoints.practice import identities as endpoints
from bnstudy.data.prepared import open_prepared
from bnstudy.studies import identities

OPTIONS = {"batch_size": 64, "epochs": 2}
HOLD = {"M1", "M2", "M3a", "M4", "M4 slope", "M6", "M7", "M8", "M9", "S4.1", "L3", "E20"}
DO_NOT = {"M5", "L5", "E4", "E5", "E6", "E7", "E8", "E10", "E18", "M7 with epsilon"}


@pytest.fixture(scope="module")
def rows(digits_data):
    return identities.run(open_prepared(digits_data), {}, OPTIONS, 0, torch.device("cpu"))


def test_what_holds(rows):
    found = endpoints(pd.DataFrame(rows), {})
    assert set(found) >= HOLD | DO_NOT
    for name in HOLD:
        assert found[name].holds, found[name]
    for name in DO_NOT:
        assert not found[name].holds, found[name]


def test_values_known_in_advance(rows):
    value = {row["quantity"]: row["value"] for row in rows}
    assert value["batches that the running mean averages, of an epoch's 750"] == pytest.approx(19)
    assert value["variance of a unit with variance epsilon after normalization"] == pytest.approx(0.5, abs=1e-6)
    assert value["more parameters"] == 384


def test_formula_by_hand():
    """Two samples, 1 and 3: mean 2, variance 1, so they become -1 and +1."""
    x = np.array([[1.0], [3.0]])
    one = np.ones(1)
    np.testing.assert_allclose(identities.batch_norm(x, 2 * one, 5 * one, 0.0), [[3.0], [7.0]])
    # With epsilon = 3 the deviation is 2.
    np.testing.assert_allclose(identities.batch_norm(x, one, 0 * one, 3.0), [[-0.5], [0.5]])
    # Two samples always end at -1 and +1, so no input has an influence.
    dx, dgamma, dbeta = identities.batch_norm_backward(x, one, 0.0, np.array([[1.0], [4.0]]))
    np.testing.assert_allclose(dx, 0, atol=1e-12)
    assert (dgamma.item(), dbeta.item()) == (3.0, 5.0)


def test_finite_differences():
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    np.testing.assert_allclose(identities.finite_differences(lambda v: float((v**2).sum()), x), 2 * x, rtol=1e-8)


def test_worst_row_is_reported(monkeypatch):
    def row(value, tolerance, reference=0.0):
        known = {"check": "X", "quantity": "{name} is it", "tolerance": tolerance}
        monkeypatch.setitem(identities.CHECKS, "x", known | {"reference": reference})
        made = identities.check("x", value, name=f"{value:g}")
        assert made["quantity"] == f"{value:g} is it"
        return made

    def found(*rows):
        return endpoints(pd.DataFrame(rows), {})["X"]

    fine = found(row(1e-9, 1e-6), row(1e-14, 1e-12), row(0, 0))
    assert fine.holds
    assert (fine.value, fine.tolerance) == (1e-14, 1e-12)
    broken = found(row(1e-9, 1e-6), row(1, 0, reference=3))
    assert not broken.holds
    assert broken.value == 2
