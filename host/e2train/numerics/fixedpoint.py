# SPDX-License-Identifier: Apache-2.0
"""Rounding shifts, saturation, predictor slices and quantisation (docs/numerics.md)."""

from __future__ import annotations

import math

import numpy as np

ACTIVATION_BITS = 8
WEIGHT_BITS = 8
GRADIENT_BITS = 16
CONVOLUTION_BITS = 16  # convolution output before batch norm
WEIGHT_LIMIT = 127  # narrow: -128 is refused so that two products share one DSP48E1
BETA_FRACTION_BITS = 16


def limits(bits: int) -> tuple[int, int]:
    """Smallest and largest signed integer of `bits` bits."""
    return -(1 << (bits - 1)), (1 << (bits - 1)) - 1


def round_shift(values: np.ndarray, shift: int) -> np.ndarray:
    """`(v + half) >> shift`, rounding half up; a negative shift multiplies by 2^-shift.

    `values` int64 (any shape); the result is int64 and exact.
    """
    if shift <= 0:
        return values << -shift
    return (values + (1 << (shift - 1))) >> shift


def saturate(values: np.ndarray, bits: int) -> np.ndarray:
    """Clip to the signed range of `bits` bits (dtype unchanged)."""
    low, high = limits(bits)
    return np.clip(values, low, high)


def slice_msb(values: np.ndarray, bits: int, msb: int) -> np.ndarray:
    """The `msb` most significant of `bits` bits, rounded half up: the predictor's operand.

    `clip((v + 2^(bits-msb-1)) >> (bits-msb), +-(2^(msb-1)-1))`. Rounding matters: truncation of
    the output gradient biases every sum, because activations after ReLU have a positive mean.
    """
    shift = bits - msb
    rounded = round_shift(values.astype(np.int64), shift)
    top = (1 << (msb - 1)) - 1
    return np.clip(rounded, -top, top).astype(values.dtype)


def round_half_up(values: np.ndarray) -> np.ndarray:
    """Nearest integers of float64 `values`, halves up, as int64."""
    return np.floor(np.asarray(values, np.float64) + 0.5).astype(np.int64)


def exponent_for(peak: float, limit: int) -> int:
    """Smallest e with `peak <= limit * 2^e`; 0 for a peak of 0."""
    if not peak > 0:
        return 0
    mantissa, exponent = math.frexp(peak / limit)  # peak / limit = mantissa * 2^exponent
    return exponent - 1 if mantissa == 0.5 else exponent


def quantise_weights(weights: np.ndarray) -> tuple[np.ndarray, int]:
    """Master weights float32 -> (int8 mantissas in [-127, 127], exponent)."""
    exponent = exponent_for(float(np.max(np.abs(weights), initial=0.0)), WEIGHT_LIMIT)
    scaled = round_half_up(np.ldexp(weights.astype(np.float64), -exponent))
    return np.clip(scaled, -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8), exponent


def quantise_beta(beta: float) -> int:
    """The threshold ratio as the integer that every device compares with: round(beta * 2^16)."""
    return math.floor(beta * (1 << BETA_FRACTION_BITS) + 0.5)


def mean_by_shift(positions: int) -> tuple[int, float]:
    """By which shift a sum over so many positions is divided, and what is left to multiply with.

    The processor multiplies the logits with it, and their gradient: 1 for powers of two.
    """
    shift = (positions - 1).bit_length()
    return shift, (1 << shift) / positions
