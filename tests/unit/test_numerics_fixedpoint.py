# SPDX-License-Identifier: Apache-2.0
"""Shifts, saturation, slices and quantisation against exact rational arithmetic in plain Python."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2train.numerics import fixedpoint as fp
from e2train.numerics.exponent import DECAY, DelayedExponent

ACCUMULATORS = st.integers(-(2**47), 2**47)  # 48 bits, the widest of the contract
EDGES = [0, 1, -1, 2**31 - 1, -(2**31), 2**47 - 1, -(2**47)]
FLOATS = st.floats(1e-30, 1e30)


def half_up(value: Fraction) -> int:
    """Nearest integer, halves up, of an exact number."""
    return math.floor(value + Fraction(1, 2))


@given(st.lists(st.one_of(ACCUMULATORS, st.sampled_from(EDGES)), min_size=1), st.integers(-15, 47))
def test_round_shift_is_exact(values: list[int], shift: int) -> None:
    found = fp.round_shift(np.array(values, np.int64), shift)
    expected = [half_up(Fraction(value) / Fraction(2) ** shift) for value in values]
    assert found.dtype == np.int64
    assert found.tolist() == expected


@pytest.mark.parametrize(
    ("value", "shift", "expected"),
    [(1, 1, 1), (-1, 1, 0), (3, 1, 2), (-3, 1, -1), (-2, 2, 0), (2, 2, 1), (5, 0, 5), (5, -2, 20)],
)
def test_halves_round_up(value: int, shift: int, expected: int) -> None:
    assert fp.round_shift(np.array([value]), shift)[0] == expected


@given(st.lists(ACCUMULATORS, min_size=1), st.integers(2, 32))
def test_saturate(values: list[int], bits: int) -> None:
    low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
    assert fp.limits(bits) == (low, high)
    found = fp.saturate(np.array(values, np.int64), bits)
    assert found.tolist() == [min(max(value, low), high) for value in values]


@pytest.mark.parametrize(("bits", "dtype"), [(8, np.int8), (16, np.int16)])
def test_slices_of_every_value(bits: int, dtype: type) -> None:
    """All 256 or 65,536 operands, for every number of most significant bits."""
    operands = np.arange(-(2 ** (bits - 1)), 2 ** (bits - 1)).astype(dtype)
    for msb in range(2, bits):
        found = fp.slice_msb(operands, bits, msb)
        top = 2 ** (msb - 1) - 1
        step = 2 ** (bits - msb)
        expected = [max(-top, min(top, (int(v) + step // 2) // step)) for v in operands]
        assert found.dtype == dtype
        assert found.tolist() == expected


def test_slice_error_has_no_bias() -> None:
    """Rounding keeps what truncation would lose: on average half a step, here almost nothing."""
    g = np.random.default_rng(0).integers(-20_000, 20_000, 100_000).astype(np.int16)
    step = 1 << 6
    rounded = fp.slice_msb(g, 16, 10).astype(np.int64) * step - g
    truncated = (g.astype(np.int64) >> 6) * step - g
    assert abs(rounded.mean()) < 1.0
    assert truncated.mean() < -0.4 * step


@given(FLOATS, st.sampled_from([127, 32767, 1 << 20]))
def test_exponent_is_the_tightest(peak: float, limit: int) -> None:
    exponent = fp.exponent_for(peak, limit)
    # the quotient peak / limit is rounded to a double once; a power of two apart it is exact
    exact = Fraction(peak / limit)
    assert exact <= Fraction(2) ** exponent
    assert exact > Fraction(2) ** (exponent - 1)
    assert fp.exponent_for(2 * peak, limit) == exponent + 1


@pytest.mark.parametrize("peak", [0.0, -1.0, float("nan")])
def test_exponent_of_nothing_is_zero(peak: float) -> None:
    assert fp.exponent_for(peak, 127) == 0


@pytest.mark.parametrize("power", [-40, -1, 0, 1, 40])
def test_exponent_at_exact_powers(power: int) -> None:
    assert fp.exponent_for(127 * 2.0**power, 127) == power
    assert fp.exponent_for(np.nextafter(127 * 2.0**power, np.inf), 127) == power + 1


@given(
    hnp.arrays(np.float32, st.integers(1, 20), elements=st.floats(-(2.0**60), 2.0**60, width=32))
)
def test_quantised_weights(weights: np.ndarray) -> None:
    """Nearest representable value at the tightest exponent; -128 never appears."""
    mantissas, exponent = fp.quantise_weights(weights)
    assert mantissas.dtype == np.int8
    assert np.abs(mantissas.astype(int)).max() <= 127
    peak = max(abs(Fraction(float(w))) for w in weights)
    if peak > Fraction(2) ** -100:
        assert peak <= 127 * Fraction(2) ** exponent * (1 + Fraction(1, 2**50))
        assert peak > 127 * Fraction(2) ** (exponent - 1)
    for w, m in zip(weights, mantissas, strict=True):
        exact = half_up(Fraction(float(w)) / Fraction(2) ** exponent)
        assert int(m) == max(-127, min(127, exact))


def test_quantised_weights_of_zeros() -> None:
    mantissas, exponent = fp.quantise_weights(np.zeros((2, 3, 1, 1), np.float32))
    assert not mantissas.any() and exponent == 0


@given(st.floats(0.0, 1.0))
def test_beta_as_integer(beta: float) -> None:
    assert fp.quantise_beta(beta) == half_up(Fraction(beta) * 65536)


@given(st.floats(-(2.0**50), 2.0**50))
def test_round_half_up(value: float) -> None:
    if abs(value) < 2.0**51:
        found = int(fp.round_half_up(np.array([value]))[0])
        assert abs(found - Fraction(value)) <= Fraction(1, 2) + Fraction(abs(value)) / 2**52


class TestDelayedExponent:
    def test_unknown_until_a_peak_is_seen(self) -> None:
        track = DelayedExponent(16, 1.25)
        assert not track.known
        track.update(0.0)
        assert not track.known
        track.update(1e-9)
        assert track.known

    @given(FLOATS, st.sampled_from([8, 16]), st.sampled_from([1.0, 1.25, 2.0]))
    def test_holds_its_peak_with_headroom(self, peak: float, bits: int, headroom: float) -> None:
        track = DelayedExponent(bits, headroom)
        track.update(peak)
        limit = 2 ** (bits - 1) - 1
        assert peak * headroom <= limit * 2.0**track.exponent * (1 + 1e-15)
        assert peak * headroom > limit * 2.0 ** (track.exponent - 1) * (1 - 1e-15)

    def test_rises_at_once_and_falls_slowly(self) -> None:
        track = DelayedExponent(8, 1.0, initial_peak=127.0)
        assert track.exponent == 0
        track.update(1000.0)
        assert track.peak == 1000.0 and track.exponent == 3
        steps = 0
        while track.exponent > 0:
            track.update(1.0)
            steps += 1
        assert track.peak == pytest.approx(1000.0 * DECAY**steps)
        assert steps == math.ceil(math.log(127 / 1000) / math.log(DECAY))
