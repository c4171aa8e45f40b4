# SPDX-License-Identifier: Apache-2.0
"""Batch norm's integer coefficients from exact integer sums: what the PS computes per channel.

All arithmetic is float64 with +, -, *, / and sqrt only, which IEEE-754 rounds alike everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .fixedpoint import round_half_up

EPSILON = 1e-5
MAX_SHIFT = 30
FORWARD_BITS = 15  # |multiplier| < 2^15: y * multiplier < 2^30
BACKWARD_BITS = 14  # |a|, |b| < 2^14: a*g + b*y < 2^30
OFFSET_BITS = 30  # |offset| + half < 2^30: every sum stays below 2^31


@dataclass(frozen=True)
class Moments:
    """Real-valued per-channel statistics, float64 [K]."""

    mean: np.ndarray
    variance: np.ndarray

    @property
    def inverse_deviation(self) -> np.ndarray:
        """1 / sqrt(variance + epsilon)."""
        return 1.0 / np.sqrt(self.variance + EPSILON)


def moments(total: np.ndarray, squares: np.ndarray, count: int, exponent: int) -> Moments:
    """Mean and biased variance from the exact sums of y and y^2 (int64 [K]), y * 2^exponent."""
    mean = total.astype(np.float64) / count
    variance = np.maximum(squares.astype(np.float64) / count - mean * mean, 0.0)
    return Moments(np.ldexp(mean, exponent), np.ldexp(variance, 2 * exponent))


def _largest_shift(groups: tuple[tuple[np.ndarray, int], ...]) -> int:
    shift = MAX_SHIFT
    for values, bits in groups:
        peak = float(np.abs(values).max(initial=0.0))
        # half = 2^(shift-1) shares the offset's range; bits - 1 leaves room for it and for rounding
        while shift > 1 and np.ldexp(peak, shift) > (1 << bits) - 2:
            shift -= 1
    return shift


def _integers(values: np.ndarray, shift: int, bits: int) -> np.ndarray:
    top = (1 << bits) - 1
    # clipped before it is an integer: what a cast makes of 2^63 and more depends on the machine
    return round_half_up(np.clip(np.ldexp(values, shift), -top, top)).astype(np.int32)


def forward_coefficients(
    gamma: np.ndarray, beta: np.ndarray, stats: Moments, y_exponent: int, out_exponent: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """(multiplier, offset, shift) of `Device.normalise` for gamma * (y - mean) / sigma + beta."""
    slope = gamma.astype(np.float64) * stats.inverse_deviation
    multiplier = np.ldexp(slope, y_exponent - out_exponent)
    offset = np.ldexp(beta.astype(np.float64) - slope * stats.mean, -out_exponent)
    shift = _largest_shift(((multiplier, FORWARD_BITS), (offset, OFFSET_BITS - 1)))
    return (
        _integers(multiplier, shift, FORWARD_BITS),
        _integers(offset, shift, OFFSET_BITS - 1),
        shift,
    )


@dataclass(frozen=True)
class BackwardSums:
    """Exact sums of one layer's backward pass in real units, float64 [K]."""

    g: np.ndarray  # sum of g: the gradient of beta
    g_y_hat: np.ndarray  # sum of g * y_hat: the gradient of gamma


def backward_sums(
    sum_g: np.ndarray, sum_g_y: np.ndarray, stats: Moments, g_exponent: int, y_exponent: int
) -> BackwardSums:
    """Sums of g and of g * y_hat from the exact integer sums of g and g * y."""
    g = np.ldexp(sum_g.astype(np.float64), g_exponent)
    g_y = np.ldexp(sum_g_y.astype(np.float64), g_exponent + y_exponent)
    return BackwardSums(g, (g_y - stats.mean * g) * stats.inverse_deviation)


@dataclass(frozen=True)
class BackwardLine:
    """dy = a*g + b*y + c in real units, float64 [K] each."""

    a: np.ndarray
    b: np.ndarray
    c: np.ndarray

    def bound(self, g_peak: float, y_peak: float) -> float:
        """No |dy| exceeds this for |g| <= g_peak and |y| <= y_peak."""
        worst = np.abs(self.a) * g_peak + np.abs(self.b) * y_peak + np.abs(self.c)
        return float(worst.max(initial=0.0))


def backward_line(
    gamma: np.ndarray, stats: Moments, sums: BackwardSums, count: int
) -> BackwardLine:
    """Batch norm's input gradient (Ioffe and Szegedy 2015, section 3) as a line in g and y."""
    slope = gamma.astype(np.float64) * stats.inverse_deviation
    b = -(slope * stats.inverse_deviation) * (sums.g_y_hat / count)
    return BackwardLine(slope, b, -slope * (sums.g / count) - b * stats.mean)


def backward_coefficients(
    line: BackwardLine, g_exponent: int, y_exponent: int, out_exponent: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    """(a, b, c, shift) of `Device.normalise_backward` for outputs in 2^out_exponent."""
    a = np.ldexp(line.a, g_exponent - out_exponent)
    b = np.ldexp(line.b, y_exponent - out_exponent)
    c = np.ldexp(line.c, -out_exponent)
    shift = _largest_shift(((a, BACKWARD_BITS), (b, BACKWARD_BITS), (c, OFFSET_BITS - 1)))
    return (
        _integers(a, shift, BACKWARD_BITS),
        _integers(b, shift, BACKWARD_BITS),
        _integers(c, shift, OFFSET_BITS - 1),
        shift,
    )
