# SPDX-License-Identifier: Apache-2.0
"""`real`'s longer chains of float64 operations as one Triton kernel each, with the same bits.

Launched with `enable_fp_fusion=False`: Triton then emits `mul.rn.f64`, `add.rn.f64` and so on, each
rounded to nearest on its own, which no later stage may contract into a multiply-add.
"""

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl

Tensor = torch.Tensor

BLOCK = 256


@triton.jit
def power_of_two(exponent):
    return ((exponent + 1023) << 52).to(tl.float64, bitcast=True)


@triton.jit
def scaled(value, exponent):
    """real.ldexp."""
    near = tl.minimum(tl.maximum(exponent, -1022), 1023)
    rest = tl.minimum(tl.maximum(exponent - near, -1022), 1021)
    return value * power_of_two(rest) * power_of_two(near)


@triton.jit
def exponent_above(value):
    """real.ceiling_exponent."""
    bits = value.to(tl.int64, bitcast=True)
    biased = (bits >> 52) & 2047
    mantissa = bits & 4503599627370495
    normal = biased - 1022 - (mantissa == 0).to(tl.int64)
    again = mantissa.to(tl.float64).to(tl.int64, bitcast=True)
    below = ((again >> 52) - 1022) - ((again & 4503599627370495) == 0).to(tl.int64) - 1074
    exponent = tl.where(biased == 0, below, normal)
    return tl.where((biased == 2047) | (bits <= 0), 0, exponent)


@triton.jit
def _ldexp(values, exponent, out, size, ONE: tl.constexpr, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    if ONE:
        e = i.to(tl.int64) * 0 + tl.load(exponent)
    else:
        e = tl.load(exponent + i, mask=i < size, other=0)
    tl.store(out + i, scaled(tl.load(values + i, mask=i < size, other=0.0), e), mask=i < size)


@triton.jit
def _ceiling_exponent(values, out, size, BLOCK: tl.constexpr):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    v = tl.load(values + i, mask=i < size, other=0.0)
    tl.store(out + i, exponent_above(v), mask=i < size)


@triton.jit
def _exp(
    values, out, size, INVERSE_LN2: tl.constexpr, LN2_HIGH: tl.constexpr, LN2_LOW: tl.constexpr,
    TAYLOR: tl.constexpr, TERMS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    given = tl.load(values + i, mask=i < size, other=0.0)
    x = tl.minimum(tl.maximum(given, -700.0), 700.0)
    k = tl.floor(x * INVERSE_LN2 + 0.5)
    r = (x - k * LN2_HIGH) - k * LN2_LOW
    value = r * 0.0 + TAYLOR[0]
    for order in tl.static_range(1, TERMS):
        value = value * r + TAYLOR[order]
    value = value * power_of_two(k.to(tl.int64))
    # the bounds above make a number of what is none
    tl.store(out + i, tl.where(given == given, value, given), mask=i < size)


def _launch(kernel: Any, like: Tensor, *arguments: Any, **options: Any) -> None:
    size = like.numel()
    if size:
        grid = (triton.cdiv(size, BLOCK),)
        kernel[grid](*arguments, size, BLOCK=BLOCK, enable_fp_fusion=False, **options)


def ldexp(values: Tensor, exponent: Tensor) -> Tensor:
    """As `real.ldexp`."""
    one = exponent.numel() == 1 and exponent.ndim <= values.ndim
    if one:
        values = values.contiguous()
    else:
        values, exponent = (t.contiguous() for t in torch.broadcast_tensors(values, exponent))
    out = torch.empty_like(values)
    _launch(_ldexp, values, values, exponent, out, ONE=one)
    return out


def ceiling_exponent(values: Tensor) -> Tensor:
    """As `real.ceiling_exponent`."""
    values = values.contiguous()
    out = torch.empty_like(values, dtype=torch.int64)
    _launch(_ceiling_exponent, values, values, out)
    return out


def exp(
    x: Tensor, inverse_ln2: float, ln2: tuple[float, float], taylor: tuple[float, ...]
) -> Tensor:
    """As `real.exp`, with its constants."""
    x = x.contiguous()
    out = torch.empty_like(x)
    _launch(
        _exp, x, x, out, INVERSE_LN2=inverse_ln2, LN2_HIGH=ln2[0], LN2_LOW=ln2[1], TAYLOR=taylor,
        TERMS=len(taylor),
    )  # fmt: skip
    return out
