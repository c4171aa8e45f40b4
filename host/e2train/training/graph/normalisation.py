# SPDX-License-Identifier: Apache-2.0
"""`numerics.normalisation` as tensors: batch norm's coefficients from exact integer sums.

Each float operation is one torch call (see `real`); exponents and counts are tensors. The bits of
every result are those of the host's functions of the same names.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch

from ...network.arithmetic import RUNNING_MOMENTUM
from ...numerics.normalisation import (
    BACKWARD_BITS,
    EPSILON,
    FORWARD_BITS,
    MAX_SHIFT,
    OFFSET_BITS,
)
from .real import ldexp, peak_of, round_half_up

Tensor = torch.Tensor


@dataclass(frozen=True)
class Moments:
    """Real-valued per-channel statistics, float64 [K]."""

    mean: Tensor
    variance: Tensor

    def inverse_deviation(self) -> Tensor:
        """1 / sqrt(variance + epsilon)."""
        deviation = torch.sqrt(self.variance + EPSILON)
        return torch.ones_like(deviation) / deviation


@dataclass(frozen=True)
class Count:
    """How much a batch statistic was taken over; float64 [] each but for `ran`.

    values: positions of the samples that ran, at least one sample's; ran: bool [] whether any
    sample did, None where all do.
    """

    values: Tensor
    samples: Tensor
    batch: Tensor
    ran: Tensor | None


@dataclass(frozen=True)
class Parameters:
    """Of one unit, float32 [K] each; the running statistics are changed in place."""

    gamma: Tensor
    beta: Tensor
    running_mean: Tensor
    running_variance: Tensor


def moments(sums: Tensor, count: Tensor, exponent: Tensor) -> Moments:
    """From the sums of y and y^2 (int64 [2, K]) over `count` (float64 []) values y * 2^exponent."""
    means = sums.to(torch.float64) / count
    variance = (means[1] - means[0] * means[0]).clamp(min=0.0)
    return Moments(ldexp(means[0], exponent), ldexp(variance, 2 * exponent))


@lru_cache(maxsize=8)
def _shift_table(bits: tuple[int, ...], where: torch.device) -> tuple[Tensor, Tensor]:
    """2^1 to 2^30 [30], and the largest value that a group's width leaves room for [groups, 1]."""
    powers = [2.0**shift for shift in range(1, MAX_SHIFT + 1)]
    tops = [[float((1 << width) - 2)] for width in bits]
    return (
        torch.tensor(powers, dtype=torch.float64, device=where),
        torch.tensor(tops, dtype=torch.float64, device=where),
    )


def _largest_shift(groups: tuple[tuple[Tensor, int], ...]) -> Tensor:
    """The host's search, over all shifts at once: a shift is too large for a group or it is not."""
    peaks = torch.stack([peak_of(values) for values, _ in groups])
    powers, tops = _shift_table(tuple(bits for _, bits in groups), peaks.device)
    too_large = peaks[:, None] * powers > tops
    return (MAX_SHIFT - too_large.any(0).sum()).clamp(min=1)


def _integers(values: Tensor, shift: Tensor, bits: int) -> Tensor:
    top = float((1 << bits) - 1)
    return round_half_up(ldexp(values, shift).clamp(-top, top)).to(torch.int32)


def forward_coefficients(
    gamma: Tensor, beta: Tensor, stats: Moments, y_exponent: Tensor, out_exponent: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """(multiplier, offset int32 [K], shift) of `steps.normalise`; gamma, beta float32 [K]."""
    slope = gamma.to(torch.float64) * stats.inverse_deviation()
    multiplier = ldexp(slope, y_exponent - out_exponent)
    offset = ldexp(beta.to(torch.float64) - slope * stats.mean, -out_exponent)
    shift = _largest_shift(((multiplier, FORWARD_BITS), (offset, OFFSET_BITS - 1)))
    return (
        _integers(multiplier, shift, FORWARD_BITS),
        _integers(offset, shift, OFFSET_BITS - 1),
        shift,
    )


def backward_sums(
    sums: Tensor, stats: Moments, g_exponent: Tensor, y_exponent: Tensor
) -> tuple[Tensor, Tensor]:
    """Sums of g and of g * y_hat in real units from those of g and g * y (int64 [2, K])."""
    wide = sums.to(torch.float64)
    g = ldexp(wide[0], g_exponent)
    g_y = ldexp(wide[1], g_exponent + y_exponent)
    return g, (g_y - stats.mean * g) * stats.inverse_deviation()


def backward_coefficients(
    gamma: Tensor,
    stats: Moments,
    sums: tuple[Tensor, Tensor],
    count: Tensor,
    exponents: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(a, b, c int32 [K], shift) of `steps.normalise_backward`; exponents of g, y and dy."""
    sum_g, sum_g_y_hat = sums
    g_exponent, y_exponent, out_exponent = exponents
    inverse = stats.inverse_deviation()
    slope = gamma.to(torch.float64) * inverse
    real_b = -(slope * inverse) * (sum_g_y_hat / count)
    real_c = -slope * (sum_g / count) - real_b * stats.mean
    a = ldexp(slope, g_exponent - out_exponent)
    b = ldexp(real_b, y_exponent - out_exponent)
    c = ldexp(real_c, -out_exponent)
    shift = _largest_shift(((a, BACKWARD_BITS), (b, BACKWARD_BITS), (c, OFFSET_BITS - 1)))
    return (
        _integers(a, shift, BACKWARD_BITS),
        _integers(b, shift, BACKWARD_BITS),
        _integers(c, shift, OFFSET_BITS - 1),
        shift,
    )


def _move_running(parameters: Parameters, stats: Moments, count: Count) -> None:
    """Running statistics move by the share of the samples that ran; not from one value."""
    share = count.samples * RUNNING_MOMENTUM / count.batch
    unbiased = stats.variance * (count.values / (count.values - 1.0))
    moves = count.values > 1.0
    if count.ran is not None:
        moves = moves & count.ran
    for running, target in (
        (parameters.running_mean, stats.mean),
        (parameters.running_variance, unbiased),
    ):
        step = (share * (target - running)).to(torch.float32)
        running.copy_(torch.where(moves, running + step, running))


def forward(
    sums: Tensor, exponents: tuple[Tensor, Tensor], parameters: Parameters, count: Count | None
) -> tuple[tuple[Tensor, Tensor, Tensor], Moments]:
    """`forward_coefficients` and the statistics: the batch's (sums int64 [2, K]), or the running.

    exponents of y and of the result; `count` None in an evaluation.
    """
    if count is None:
        mean, variance = parameters.running_mean, parameters.running_variance
        stats = Moments(mean.to(torch.float64), variance.to(torch.float64))
    else:
        stats = moments(sums, count.values, exponents[0])
        _move_running(parameters, stats, count)
    return forward_coefficients(parameters.gamma, parameters.beta, stats, *exponents), stats


def backward(
    sums: Tensor,
    stats: Moments,
    gamma: Tensor,
    count: Count,
    exponents: tuple[Tensor, Tensor, Tensor],
) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
    """`backward_coefficients` and the gradients of gamma and beta, float32 [K].

    sums of g and g * y, int64 [2, K]; exponents of g, y and dy.
    """
    real_sums = backward_sums(sums, stats, exponents[0], exponents[1])
    coefficients = backward_coefficients(gamma, stats, real_sums, count.values, exponents)
    sum_g, sum_g_y_hat = real_sums
    return (
        coefficients,
        (sum_g_y_hat / count.batch).to(torch.float32),
        (sum_g / count.batch).to(torch.float32),
    )
