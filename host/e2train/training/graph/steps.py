# SPDX-License-Identifier: Apache-2.0
"""The device's training operations (`device.base.Device`) on tensors with their channels last.

Shifts, coefficients and peaks are tensors too, so that nothing is read back. Integers are exact in
the widths taken: what is not proven to fit 32 bits is 64 bits wide. `ran` (bool [N] or None) says
which samples count: the others are computed too, but are in no sum and in no peak.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import torch

from ...device.geometry import Geometry
from ...numerics.exponent import DECAY
from ...numerics.fixedpoint import BETA_FRACTION_BITS, limits
from . import products
from .normalisation import backward as batch_norm_backward  # noqa: F401
from .normalisation import forward as batch_norm_forward  # noqa: F401
from .real import exponent_for, ldexp

Tensor = torch.Tensor


@dataclass(frozen=True)
class Track:
    """One delayed exponent: float64 [] each, `peak` changed in place."""

    peak: Tensor
    headroom: Tensor
    limit: Tensor


class Convolved(NamedTuple):
    """y int16 and its exponent; the accumulators' peak and exponent; sums int64 [2, K]."""

    y: Tensor
    exponent: Tensor
    peak: Tensor
    peak_exponent: Tensor
    sums: Tensor


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


def begin(training: bool) -> None:
    """A new mini-batch."""


def follow(
    track: Track, peak: Tensor, exponent: Tensor, ran: Tensor | None, training: bool
) -> Tensor:
    """The track's exponent after it took in peak x 2^exponent, int64 [] each; ran bool []."""
    after = track.peak
    if training:
        seen = ldexp(peak.to(torch.float64), exponent)
        after = torch.maximum(seen, track.peak * DECAY)
        if ran is not None:
            after = torch.where(ran, after, track.peak)
        track.peak.copy_(after)
    return exponent_for(after * track.headroom, track.limit)


def narrow(stream: Tensor, exponent: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    """int16 x 2^exponent -> (int8, its exponent, as near to the target as 0 to 15 shifts reach)."""
    shift = (target - exponent).clamp(0, 15)
    return saturate(shift_right(stream.to(torch.int32), shift), 8), exponent + shift


def convolve(
    x: Tensor,
    w: Tensor,
    geometry: Geometry,
    exponents: tuple[Tensor, Tensor, Tensor],
    ran: Tensor | None,
) -> Convolved:
    """Forward, requantised to 16 bits; exponents of x, of w, and the one aimed at for y.

    |accumulator| < 2^30 (`products.check`) and a half of up to 2^29 fit 32 bits.
    """
    x_exponent, w_exponent, target = exponents
    at = x_exponent + w_exponent
    shift = (target - at).clamp(0, 30)
    accumulator = products.convolve(x, w, geometry)
    y = saturate(shift_right(accumulator, shift), 16)
    sums = channel_sums(y, y, ran)
    return Convolved(y, at + shift, peak_of(only(accumulator, ran)), at, sums)


def channel_sums(a: Tensor, b: Tensor, ran: Tensor | None) -> Tensor:
    """Sums of a and of a * b (int16 each) over samples and positions, int64 [2, K]."""
    a = only(a, ran)
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
    """(dy int16, peak before saturation); 0 where a sample did not run.

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
    exponents: tuple[Tensor, Tensor, Tensor],
    *,
    output: Tensor | None,
    ceiling: Tensor | None,
    residual: Tensor | None,
    ran: Tensor | None,
    bits: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """(v int16, its exponent, peak before saturation) of g int16 taken in `bits` bits.

    exponents of g, of w, and the one aimed at; -15 to 47 shifts are done.
    """
    g_exponent, w_exponent, target = exponents
    at = g_exponent + w_exponent + (16 - bits)
    shift = (target - at).clamp(-15, 47)
    if bits == 8:
        g = saturate((g.to(torch.int32) + 128) >> 8, 8)
    v = products.input_gradient(g, w, geometry)
    v = shift_right(v << (-shift).clamp(min=0), shift.clamp(min=0))
    if output is not None:
        v = v * _open(output, ceiling)
    if residual is not None:
        v = v + only(residual, ran)
    return saturate(v, 16), at + shift, peak_of(v)


def full_gradient(
    x: Tensor, g: Tensor, geometry: Geometry, exponents: tuple[Tensor, Tensor], batch: Tensor
) -> Tensor:
    """The weights' gradient in real units over `batch`, float32 [K,C/groups,R,S]."""
    exact = products.weight_gradient(x, g, geometry).to(torch.float64)
    return (ldexp(exact, exponents[0] + exponents[1]) / batch).to(torch.float32)


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
