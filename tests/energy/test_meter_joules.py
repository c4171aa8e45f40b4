# SPDX-License-Identifier: Apache-2.0
"""Joules keep their provenance and their uncertainty through arithmetic."""

import dataclasses
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter import PROVENANCES, Joules

values = st.floats(-1e6, 1e6)
uncertainties = st.floats(0, 1e3)


@given(values, uncertainties, values, uncertainties, st.sampled_from(PROVENANCES))
def test_sum_and_difference_combine_in_quadrature(a, ua, b, ub, provenance):
    one, other = Joules(a, ua, provenance), Joules(b, ub, provenance)
    for combined, value in ((one + other, a + b), (one - other, a - b)):
        assert combined.value == value
        assert combined.uncertainty == pytest.approx(math.sqrt(ua**2 + ub**2))
        assert combined.provenance == provenance


@pytest.mark.parametrize("operation", [Joules.__add__, Joules.__sub__])
def test_provenances_never_mix(operation):
    with pytest.raises(ValueError, match="metered with simulated"):
        operation(Joules(1, 0.1, "metered"), Joules(2, 0.1, "simulated"))


@pytest.mark.parametrize(
    "arguments",
    [
        (1.0, 0.1, "measured"),
        (1.0, -0.1, "metered"),
        (math.nan, 0, "metered"),
        (1, math.inf, "metered"),
    ],
)
def test_impossible_joules_are_refused(arguments):
    with pytest.raises(ValueError):
        Joules(*arguments)


def test_text_names_the_provenance_and_the_value_is_fixed():
    joules = Joules(12.345678, 0.0567, "on-chip")
    assert str(joules) == "12.3457 ± 0.057 J (on-chip)"
    with pytest.raises(dataclasses.FrozenInstanceError):
        joules.value = 3.0
