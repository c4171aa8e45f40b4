# SPDX-License-Identifier: Apache-2.0
"""The device's training operations (`device.base.Device`) on tensors with their channels last.

Shifts, coefficients and peaks are tensors too, so that nothing is read back. Integers are exact in
the widths taken: what is not proven to fit 32 bits is 64 bits wide. `ran` (bool [N] or None) says
which samples count: the others are computed too, but are in no sum and in no peak.
"""

from __future__ import annotations

import torch

from ...device.geometry import Geometry
from ...numerics.fixedpoint import BETA_FRACTION_BITS, limits
from . import products

Tensor = torch.Tensor


def peak_of(v: Tensor) -> Tensor:
    """Largest magnitude of integers, int64 []."""
    low, high = torch.aminmax(v)
    return torch.maximum(high.to(torch.int64), -low.to(torch.int64))


def only(v: Tensor, ran: Tensor | None) -> Tensor:
    """v [N, ...], zero where the sample did not run."""
    return v if ran is None else v * ran.view(-1, *([1] * (v.ndim - 1)))


def saturate(v: Tensor, bits: int) -> Tensor:
    """Clipped to `bits` bits, as int8 (8 bits) or int16."""
    low, high = limits(bits)
    return v.clamp(low, high).to(torch.int8 if bits == 8 else torch.int16)


def shift_right(v: Tensor, shift: Tensor) -> Tensor:
    """(v + half) >> shift for shift >= 0."""
    return (v + ((1 << shift) >> 1)) >> shift


def _open(output: Tensor, ceiling: Tensor | None) -> Tensor:
    positive = output > 0
    # in 64 bits: a ceiling may lie beyond what the output's type holds
    return positive if ceiling is None else positive & (output.to(torch.int64) < ceiling)


def narrow(stream: Tensor, shift: Tensor) -> Tensor:
    """int16 -> int8; shift 0 to 15."""
    return saturate(shift_right(stream.to(torch.int32), shift), 8)


def convolve(
    x: Tensor, w: Tensor, geometry: Geometry, shift: Tensor, ran: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """(y int16, peak of the accumulators int64 [], sums of y and y^2 int64 [2, K]); shift 0-30.

    |accumulator| < 2^30 (`products.check`) and a half of up to 2^29 fit 32 bits.
    """
    accumulator = products.convolve(x, w, geometry)
    y = saturate(shift_right(accumulator, shift), 16)
    counted = only(y, ran)
    return y, peak_of(only(accumulator, ran)), channel_sums(counted, counted)


def channel_sums(a: Tensor, b: Tensor) -> Tensor:
    """Sums of a and of a * b (int16 each) over samples and positions, int64 [2, K]."""
    square = a.to(torch.int32) * b  # at most 2^30
    axes = (0, 1, 2)
    return torch.stack((a.sum(axes, dtype=torch.int64), square.sum(axes, dtype=torch.int64)))


def normalise(
    y: Tensor,
    coefficients: tuple[Tensor, Tensor, Tensor],
    *,
    residual: Tensor | None,
    rectify: bool,
    ceiling: Tensor | None,
    bits: int,
    ran: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Batch norm, residual, activation; (z int8 or int16, peak before saturation)."""
    multiplier, offset, shift = coefficients
    v = shift_right(y.to(torch.int32) * multiplier + offset, shift)
    if residual is not None:
        v = v + residual
    if rectify:
        v = v.clamp(min=0)
    if ceiling is not None:
        v = torch.minimum(v, ceiling.to(torch.int32))
    return saturate(v, bits), peak_of(only(v, ran))


def mask(g: Tensor, output: Tensor, ceiling: Tensor | None) -> Tensor:
    """g where the activation was open, else 0."""
    return g * _open(output, ceiling)


def normalise_backward(
    g: Tensor, y: Tensor, coefficients: tuple[Tensor, Tensor, Tensor, Tensor], ran: Tensor | None
) -> tuple[Tensor, Tensor]:
    """(dy int16, peak before saturation), 0 where a sample did not run.

    |a|, |b| < 2^14 and |c| + half < 2^30: 32 bits.
    """
    a, b, c, shift = coefficients
    v = g.to(torch.int32) * a + y.to(torch.int32) * b + c
    v = only(shift_right(v, shift), ran)
    return saturate(v, 16), peak_of(v)


def input_gradient(
    g: Tensor,
    w: Tensor,
    geometry: Geometry,
    shift: Tensor,
    *,
    output: Tensor | None,
    ceiling: Tensor | None,
    residual: Tensor | None,
    bits: int,
) -> tuple[Tensor, Tensor]:
    """(v int16, peak before saturation); shift -15 to 47, g int16 taken in `bits` bits."""
    if bits == 8:
        g = saturate((g.to(torch.int32) + 128) >> 8, 8)
    v = products.input_gradient(g, w, geometry)
    v = shift_right(v << (-shift).clamp(min=0), shift.clamp(min=0))
    if output is not None:
        v = v * _open(output, ceiling)
    if residual is not None:
        v = v + residual
    return saturate(v, 16), peak_of(v)


def _slice(v: Tensor, bits: int, msb: int) -> Tensor:
    top, shift = (1 << (msb - 1)) - 1, bits - msb
    rounded = (v.to(torch.int32) + (1 << (shift - 1))) >> shift
    return rounded.clamp(-top, top).to(v.dtype)


def signs(
    x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, msb_bits: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """PSG's signs float32 [K,C/groups,R,S], and how many the predictor decided, int64 []."""
    x_msb, g_msb = msb_bits
    predictor = products.weight_gradient(_slice(x, 8, x_msb), _slice(g, 16, g_msb), geometry)
    full = products.weight_gradient(x, g, geometry)
    magnitude = predictor.abs()
    # as in numpy_emulator.decide_signs, which proves that 64 bits hold both sides
    sure = (predictor != 0) & ((magnitude << BETA_FRACTION_BITS) >= beta_q * magnitude.amax())
    sign = torch.where(sure, predictor.sign(), full.sign()).to(torch.float32)
    return sign, sure.sum()


def shortcut_pad(stream: Tensor, stride: int, channels: int) -> Tensor:
    """Every `stride`-th row and column, zero channels before and after."""
    kept = stream[:, ::stride, ::stride]
    before = (channels - kept.shape[3]) // 2
    return torch.nn.functional.pad(kept, (before, channels - kept.shape[3] - before))


def shortcut_pad_backward(g: Tensor, stride: int, channels: int, size: tuple[int, int]) -> Tensor:
    """Gradient of `shortcut_pad` to its input [N, *size, channels]."""
    before = (g.shape[3] - channels) // 2
    back = g.new_zeros((g.shape[0], *size, channels))
    back[:, ::stride, ::stride] = g[..., before : before + channels]
    return back


def gate_products(g: Tensor, after: Tensor, before: Tensor) -> Tensor:
    """Per-sample sums of g * (after - before), int64 [N]."""
    difference = after.to(torch.int64) - before
    return (g * difference).sum((1, 2, 3))
