# SPDX-License-Identifier: Apache-2.0
"""Host floats as torch tensors, bit for bit those of `numerics.fixedpoint` and `numerics.portable`.

Every float operation here is one call of +, -, *, / or sqrt, which IEEE-754 rounds alike on every
device. Three things would break that, so nothing here does them: a compiler may fuse two calls
into a multiply-add, torch's own `exp` and `ldexp` differ between devices, and torch on CUDA
divides by a Python number (unlike by a tensor) as a product with its rounded inverse.
"""

from __future__ import annotations

import math

import torch

from ...numerics.fixedpoint import WEIGHT_LIMIT
from ...numerics.portable import PRODUCT_BITS, PRODUCT_TERMS

Tensor = torch.Tensor

_LN2_HIGH = 0.693147180369123816490  # as in numerics.portable
_LN2_LOW = 1.90821492927058770002e-10
_INVERSE_LN2 = 1.4426950408889634
_TAYLOR = tuple(1.0 / math.factorial(order) for order in range(13, -1, -1))

_MANTISSA_BITS = 52
_MANTISSA = (1 << _MANTISSA_BITS) - 1
_BIAS = 1023
_LARGEST = 2047  # biased exponent of infinity and nan


def power_of_two(exponent: Tensor) -> Tensor:
    """2^e as float64 from its bits; e int64 in [-1022, 1023]."""
    return ((exponent + _BIAS) << _MANTISSA_BITS).view(torch.float64)


def ldexp(values: Tensor, exponent: Tensor) -> Tensor:
    """values float64 x 2^exponent (int64, |e| <= 2044), rounded once as the C library's.

    Beyond the exponents of normal numbers in two steps, the second of which alone can round.
    """
    near = exponent.clamp(-1022, 1023)
    return values * power_of_two(exponent - near) * power_of_two(near)


def ceiling_exponent(values: Tensor) -> Tensor:
    """Smallest e with v <= 2^e, int64, for float64 v > 0; 0 for 0, infinity and nan.

    As `math.frexp` and `fixedpoint.exponent_for` have it; integer operations alone.
    """
    bits = values.view(torch.int64)
    biased, mantissa = (bits >> _MANTISSA_BITS) & _LARGEST, bits & _MANTISSA
    normal = biased - (_BIAS - 1) - (mantissa == 0).to(torch.int64)
    again = mantissa.to(torch.float64).view(torch.int64)  # exact: below 2^53
    below = ((again >> _MANTISSA_BITS) - (_BIAS - 1)) - ((again & _MANTISSA) == 0).to(torch.int64)
    exponent = torch.where(biased == 0, below - 1074, normal)
    nothing = (biased == _LARGEST) | (bits <= 0)  # also what is negative
    return torch.where(nothing, torch.zeros_like(exponent), exponent)


def exponent_for(peak: Tensor, limit: int | Tensor) -> Tensor:
    """Smallest e with `peak <= limit * 2^e`, int64; 0 for a peak of 0. peak float64, any shape."""
    if isinstance(limit, int):
        limit = torch.full_like(peak, float(limit))
    return ceiling_exponent(peak / limit)


def round_half_up(values: Tensor) -> Tensor:
    """Nearest integers of float64 values, halves up, still float64."""
    return torch.floor(values + 0.5)


def peak_of(values: Tensor) -> Tensor:
    """Largest magnitude, 0-dim; 0 of nothing."""
    if values.numel() == 0:
        return values.new_zeros(())
    return values.abs().amax()


def quantise_weights(weights: Tensor) -> tuple[Tensor, Tensor]:
    """Master weights float32 -> (int8 mantissas in [-127, 127], exponent int64 0-dim)."""
    wide = weights.to(torch.float64)
    exponent = exponent_for(peak_of(wide), WEIGHT_LIMIT)
    scaled = round_half_up(ldexp(wide, -exponent))
    return scaled.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8), exponent


def exp(x: Tensor) -> Tensor:
    """e^x, float64; x is clipped to [-700, 700]."""
    x = x.clamp(-700.0, 700.0)
    k = torch.floor(x * _INVERSE_LN2 + 0.5)
    r = (x - k * _LN2_HIGH) - k * _LN2_LOW
    value = torch.full_like(r, _TAYLOR[0])
    for coefficient in _TAYLOR[1:]:
        value = value * r + coefficient
    return value * power_of_two(k.to(torch.int64))


def sigmoid(x: Tensor) -> Tensor:
    """1 / (1 + e^-x), float64."""
    small = exp(-x.abs())
    return torch.where(x >= 0, torch.ones_like(small), small) / (1.0 + small)


def tanh(x: Tensor) -> Tensor:
    """Hyperbolic tangent, float64."""
    small = exp(-2.0 * x.abs())
    rest = 1.0 - small
    return torch.where(x >= 0, rest, -rest) / (1.0 + small)


def softmax(logits: Tensor) -> Tensor:
    """Row-wise softmax of [N, K] float64; the sum over K runs in index order."""
    powers = exp(logits - logits.amax(1, keepdim=True))
    total = powers[:, 0]
    for column in range(1, powers.shape[1]):
        total = total + powers[:, column]
    return powers / total[:, None]


def _grid(values: Tensor) -> tuple[Tensor, Tensor]:
    exponent = exponent_for(peak_of(values), 1 << PRODUCT_BITS)
    return round_half_up(ldexp(values, -exponent)), exponent


def product(a: Tensor, b: Tensor) -> Tensor:
    """Matrix product of float64 a [M, T] and b [T, N], each rounded to 20 bits below its peak.

    T is at most 8,192, so that every partial sum is an exact integer below 2^53, in any order and
    with or without multiply-adds.
    """
    if a.shape[1] > PRODUCT_TERMS:
        raise ValueError(f"product: {a.shape[1]} terms given, expected at most {PRODUCT_TERMS}")
    (left, left_exponent), (right, right_exponent) = _grid(a), _grid(b)
    return ldexp(left @ right, left_exponent + right_exponent)


def column_sums(a: Tensor) -> Tensor:
    """Sums over the rows of float64 a [M, N], each value rounded to 20 bits below the peak."""
    values, exponent = _grid(a)
    return ldexp(values.sum(0), exponent)
