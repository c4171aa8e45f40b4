# SPDX-License-Identifier: Apache-2.0
"""Delayed exponents: this iteration's scale comes from the peaks of the iterations before.

A kernel needs the shift of its output before it has seen the output. The host tracks the largest
magnitude that each tensor had (kernels return it), lets it decay slowly, and picks the smallest
power of two that holds it with some headroom; what exceeds it saturates for one iteration.
"""

from __future__ import annotations

from .fixedpoint import exponent_for, limits

DECAY = 0.875


class DelayedExponent:
    """The exponent of one tensor, with `bits` bits and a relative `headroom` over the last peak."""

    def __init__(self, bits: int, headroom: float, initial_peak: float = 0.0) -> None:
        self.limit = limits(bits)[1]
        self.headroom = headroom
        self.peak = initial_peak

    @property
    def known(self) -> bool:
        """Whether any non-zero peak has been seen (or was given at the start)."""
        return self.peak > 0

    @property
    def exponent(self) -> int:
        """Smallest exponent that holds the tracked peak with its headroom."""
        return exponent_for(self.peak * self.headroom, self.limit)

    def update(self, peak: float) -> None:
        """Take in the largest real magnitude of this iteration's tensor."""
        self.peak = max(float(peak), self.peak * DECAY)
