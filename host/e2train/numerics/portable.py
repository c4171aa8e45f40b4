# SPDX-License-Identifier: Apache-2.0
"""Host floats that come out bit for bit the same on every IEEE-754 machine.

Two things differ between a laptop and the board: the C library's `exp`, and the order in which a
BLAS adds. Here `exp` is a fixed sequence of float64 additions and multiplications (each correctly
rounded by IEEE-754, and NumPy never fuses two calls), and matrix products are taken of integers
small enough for every partial sum to be exact in any order.
"""

from __future__ import annotations

import math

import numpy as np

from .fixedpoint import exponent_for

_LN2_HIGH = 0.693147180369123816490  # fdlibm's split: the high part has 21 trailing zero bits
_LN2_LOW = 1.90821492927058770002e-10
_INVERSE_LN2 = 1.4426950408889634
_TAYLOR = tuple(1.0 / math.factorial(order) for order in range(13, -1, -1))

PRODUCT_BITS = 20
PRODUCT_TERMS = 1 << (53 - 2 * PRODUCT_BITS)


def exp(x: np.ndarray) -> np.ndarray:
    """e^x, float64, relative error below 1e-14; x is clipped to [-700, 700]."""
    x = np.clip(np.asarray(x, np.float64), -700.0, 700.0)
    k = np.floor(x * _INVERSE_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    value = np.full_like(r, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        value = value * r + coefficient
    return np.ldexp(value, k.astype(np.int64))


def sigmoid(x: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-x), float64."""
    small = exp(-np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, small) / (1.0 + small)


def tanh(x: np.ndarray) -> np.ndarray:
    """Hyperbolic tangent, float64."""
    small = exp(-2.0 * np.abs(x))
    return np.where(np.asarray(x) >= 0, 1.0, -1.0) * (1.0 - small) / (1.0 + small)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax of [N, K] float64; the sum over K runs in index order."""
    powers = exp(logits - logits.max(axis=1, keepdims=True))
    total = np.zeros(len(powers))
    for column in powers.T:
        total = total + column
    return powers / total[:, None]


def _grid(values: np.ndarray) -> tuple[np.ndarray, int]:
    exponent = exponent_for(float(np.abs(values).max(initial=0.0)), 1 << PRODUCT_BITS)
    return np.floor(np.ldexp(values, -exponent) + 0.5), exponent


def product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Matrix product of float64 a [M, T] and b [T, N], each rounded to 20 bits below its peak.

    T is at most 8,192, so that every partial sum is an exact integer below 2^53.
    """
    if a.shape[1] > PRODUCT_TERMS:
        raise ValueError(f"product: {a.shape[1]} terms given, expected at most {PRODUCT_TERMS}")
    (left, left_exponent), (right, right_exponent) = _grid(a), _grid(b)
    return np.ldexp(left @ right, left_exponent + right_exponent)


def column_sums(a: np.ndarray) -> np.ndarray:
    """Sums over the rows of float64 a [M, N], each value rounded to 20 bits below the peak."""
    values, exponent = _grid(a)
    return np.ldexp(values.sum(axis=0), exponent)


def dot(a: np.ndarray, b: np.ndarray) -> float:
    """Sum of products of float64 a [T] and b [T], in index order, each step rounded."""
    total = 0.0
    for product_ in (a * b).tolist():
        total += product_
    return total
