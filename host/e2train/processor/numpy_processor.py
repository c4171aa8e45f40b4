# SPDX-License-Identifier: Apache-2.0
"""The processor's work in NumPy, where no compiler is: what `NativeProcessor` is held to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..data.batches import moved
from ..numerics import normalisation as bn
from ..numerics.fixedpoint import quantise_weights, saturate
from ..numerics.gate_cell import GateStep, GateWeights, gate_backward, gate_step
from ..numerics.normalisation import BackwardLine, Moments
from .base import Moves, Processor, Step


class NumpyProcessor(Processor):
    """One NumPy call a step of the arithmetic."""

    name = "NumPy"

    def quantise(self, weights: np.ndarray) -> tuple[np.ndarray, int]:
        return quantise_weights(weights)

    def centre(self, pictures: np.ndarray, mean: np.ndarray) -> np.ndarray:
        centred = pictures.astype(np.int16) - mean[:, None, None]
        return saturate(centred, 8).astype(np.int8)

    def move(self, pictures: np.ndarray, drawn: Moves, border: np.ndarray) -> np.ndarray:
        return moved(pictures, drawn.down, drawn.right, drawn.mirrored, drawn.shift, border)

    def steps(
        self, tensors: Sequence[Step], decays: np.ndarray, momentum: float, rates: np.ndarray
    ) -> None:
        for (value, velocity, gradient), decay, rate in zip(tensors, decays, rates, strict=True):
            velocity *= np.float32(momentum)
            velocity += gradient
            velocity += decay * value
            value -= rate * velocity

    def moments(self, total: np.ndarray, squares: np.ndarray, count: int, exponent: int) -> Moments:
        return bn.moments(total, squares, count, exponent)

    def follow(
        self,
        running_mean: np.ndarray,
        running_variance: np.ndarray,
        stats: Moments,
        count: int,
        share: float,
    ) -> None:
        unbiased = stats.variance * (count / (count - 1))
        running_mean += (share * (stats.mean - running_mean)).astype(np.float32)
        running_variance += (share * (unbiased - running_variance)).astype(np.float32)

    def forward(
        self,
        gamma: np.ndarray,
        beta: np.ndarray,
        scale: float,
        stats: Moments,
        y_exponent: int,
        out_exponent: int,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        gamma, beta = gamma * np.float32(scale), beta * np.float32(scale)
        return bn.forward_coefficients(gamma, beta, stats, y_exponent, out_exponent)

    def backward_line(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        gamma: np.ndarray,
        stats: Moments,
        sizes: tuple[int, int],
        exponents: tuple[int, int],
    ) -> tuple[BackwardLine, np.ndarray, np.ndarray]:
        count, batch = sizes
        real = bn.backward_sums(*sums, stats, *exponents)
        line = bn.backward_line(gamma, stats, real, count)
        return (
            line,
            (real.g_y_hat / batch).astype(np.float32),
            (real.g / batch).astype(np.float32),
        )

    def backward(
        self, line: BackwardLine, g_exponent: int, y_exponent: int, out_exponent: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        return bn.backward_coefficients(line, g_exponent, y_exponent, out_exponent)

    def gate_step(
        self,
        weights: GateWeights,
        features: np.ndarray,
        before: tuple[np.ndarray, np.ndarray],
        raised: float,
        offset: float,
    ) -> GateStep:
        return gate_step(weights, features, before, raised, offset)

    def gate_backward(
        self,
        weights: GateWeights,
        step: GateStep,
        gradients: GateWeights,
        g_probability: np.ndarray,
        behind: tuple[np.ndarray, np.ndarray],
    ) -> tuple[float, np.ndarray, np.ndarray]:
        return gate_backward(weights, step, gradients, g_probability, behind)
