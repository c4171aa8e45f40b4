# SPDX-License-Identifier: Apache-2.0
"""The work that every device leaves to the processor, as `NumpyProcessor` defines it bit for bit.

All of it is float64 or float32 with +, -, *, / and sqrt only, each rounded once (IEEE-754), so
that a laptop and the board agree.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..numerics.gate_cell import GateStep, GateWeights
from ..numerics.normalisation import BackwardLine, Moments

Step = tuple[np.ndarray, np.ndarray, np.ndarray]  # value, velocity, gradient


@dataclass(frozen=True)
class Moves:
    """How a mini-batch's pictures are augmented: int64 [N] in [0, 2 shift], and bool [N]."""

    down: np.ndarray
    right: np.ndarray
    mirrored: np.ndarray
    shift: int


class Processor(ABC):
    """Per-channel, per-weight and per-picture arithmetic."""

    name: str

    @abstractmethod
    def quantise(self, weights: np.ndarray) -> tuple[np.ndarray, int]:
        """Master weights float32 -> (int8 mantissas in [-127, 127], exponent)."""

    @abstractmethod
    def centre(self, pictures: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """uint8 pictures [N,C,H,W] less the int16 mean [C] of each channel, saturated to int8."""

    @abstractmethod
    def move(self, pictures: np.ndarray, drawn: Moves, border: np.ndarray) -> np.ndarray:
        """uint8 pictures [N,C,H,W] moved and mirrored as drawn; uint8 `border` [C] fills in."""

    @abstractmethod
    def steps(
        self, tensors: Sequence[Step], decays: np.ndarray, momentum: float, rates: np.ndarray
    ) -> None:
        """v <- momentum v + g + decay w; w <- w - rate v, in place, for each (w, v, g), float32.

        g may be int8, too: signs. decays, rates: float32 [tensors].
        """

    @abstractmethod
    def moments(self, total: np.ndarray, squares: np.ndarray, count: int, exponent: int) -> Moments:
        """Mean and biased variance from the sums of y and y^2, int64 [K], y * 2^exponent."""

    @abstractmethod
    def follow(
        self,
        running_mean: np.ndarray,
        running_variance: np.ndarray,
        stats: Moments,
        count: int,
        share: float,
    ) -> None:
        """Move the running statistics, float32 [K], by `share` towards those of `count` > 1 values.

        The running variance follows the unbiased one.
        """

    @abstractmethod
    def forward(
        self,
        gamma: np.ndarray,
        beta: np.ndarray,
        scale: float,
        stats: Moments,
        y_exponent: int,
        out_exponent: int,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        """(multiplier, offset, shift) of `Device.normalise`; gamma and beta times `scale`."""

    @abstractmethod
    def backward_line(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        gamma: np.ndarray,
        stats: Moments,
        sizes: tuple[int, int],
        exponents: tuple[int, int],
    ) -> tuple[BackwardLine, np.ndarray, np.ndarray]:
        """Batch norm's backward line, and the gradients of gamma and beta, float32 [K].

        sums: exact ones of g and of g*y, int64 [K]; sizes: values a channel, samples of the
        mini-batch; exponents: of g, of y.
        """

    @abstractmethod
    def backward(
        self, line: BackwardLine, g_exponent: int, y_exponent: int, out_exponent: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        """(a, b, c, shift) of `Device.normalise_backward` for outputs in 2^out_exponent."""

    @abstractmethod
    def gate_step(
        self,
        weights: GateWeights,
        features: np.ndarray,
        before: tuple[np.ndarray, np.ndarray],
        raised: float,
        offset: float,
    ) -> GateStep:
        """One block's gate (`numerics.gate_cell.gate_step`)."""

    @abstractmethod
    def gate_backward(
        self,
        weights: GateWeights,
        step: GateStep,
        gradients: GateWeights,
        g_probability: np.ndarray,
        behind: tuple[np.ndarray, np.ndarray],
    ) -> tuple[float, np.ndarray, np.ndarray]:
        """Back through one block's gate (`numerics.gate_cell.gate_backward`)."""

    def train_forward(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        count: int,
        share: float,
        running: tuple[np.ndarray, np.ndarray],
        affine: tuple[np.ndarray, np.ndarray],
        scale: float,
        exponents: tuple[int, int],
    ) -> tuple[Moments, tuple[np.ndarray, np.ndarray, int]]:
        """`moments`, `follow` (but for a share of 0) and `forward` of one unit.

        sums: of y and y^2; affine: gamma and beta; exponents: of y and of what comes out. What
        is returned may be written over by the next call with the same gamma, forward or back.
        """
        stats = self.moments(*sums, count, exponents[0])
        if share:
            self.follow(*running, stats, count, share)
        return stats, self.forward(*affine, scale, stats, *exponents)

    def train_backward(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        gamma: np.ndarray,
        stats: Moments,
        sizes: tuple[int, int],
        exponents: tuple[int, int],
        out_exponent: int,
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray, np.ndarray]:
        """`backward_line` and `backward` of one unit: (a, b, c, shift), and both gradients."""
        line, g_gamma, g_beta = self.backward_line(sums, gamma, stats, sizes, exponents)
        return self.backward(line, *exponents, out_exponent), g_gamma, g_beta
