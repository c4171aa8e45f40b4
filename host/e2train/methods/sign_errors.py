# SPDX-License-Identifier: Apache-2.0
"""Wrong signs of PSG's predictor for many widths of its slices, ways to cut them and thresholds.

All are counted on the same exact integers of one layer and mini-batch, against the signs of the
full 8x16 gradient.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device.base import Device
from ..device.geometry import Geometry
from .sign_bound import Predictor, cut, decide


@dataclass(frozen=True)
class SignCount:
    """What one predictor did to one layer: weights, how many it decided, how many wrongly.

    A full gradient of zero counts as wrong where the predictor decided: it says plus or minus one.
    """

    predictor: Predictor
    weights: int
    predicted: int
    wrong: int

    def plus(self, other: SignCount) -> SignCount:
        """Both together; ValueError for counts of different predictors."""
        if other.predictor != self.predictor:
            raise ValueError(f"{other.predictor} given, expected {self.predictor}")
        return SignCount(
            self.predictor,
            self.weights + other.weights,
            self.predicted + other.predicted,
            self.wrong + other.wrong,
        )


@dataclass(frozen=True)
class Grid:
    """Which predictors to try: every width of x's slices with every width of g's, and so on."""

    x_msb_bits: Sequence[int] = (2, 3, 4, 5, 6)
    g_msb_bits: Sequence[int] = (6, 7, 8, 9, 10, 11, 12)
    truncate: Sequence[bool] = (False, True)
    betas: Sequence[float] = (0.01, 0.02, 0.05, 0.1, 0.2)


def sign_counts(
    device: Device, x: np.ndarray, g: np.ndarray, geometry: Geometry, grid: Grid
) -> Iterator[SignCount]:
    """Counts for each predictor of `grid`: x int8 [N,C,H,W], g int16 [N,K,P,Q] of one layer."""
    layer: dict[str, Any] = {
        "stride": geometry.stride,
        "padding": geometry.padding,
        "groups": geometry.groups,
    }
    full = np.sign(device.conv_backward_weight(x, g, geometry.kernel, **layer))
    for truncate in grid.truncate:
        for x_bits in grid.x_msb_bits:
            for g_bits in grid.g_msb_bits:
                slices = cut(x, g, Predictor(0.0, x_bits, g_bits, truncate))
                found = device.conv_backward_weight(*slices, geometry.kernel, **layer)
                for beta in grid.betas:
                    m, predicted = decide(found, beta)
                    wrong = int((predicted & (np.sign(m) != full)).sum())
                    predictor = Predictor(beta, x_bits, g_bits, truncate)
                    yield SignCount(predictor, predicted.size, int(predicted.sum()), wrong)
