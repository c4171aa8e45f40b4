# SPDX-License-Identifier: Apache-2.0
"""Stochastic weight averaging (Yang et al. 2019, SWALP; used by the paper whenever PSG is).

The mean of the weights over the iterations from `start` on; batch-norm statistics are estimated
anew for the averaged weights before they are evaluated.
"""

from __future__ import annotations

import numpy as np

from ..network.parameters import Parameters, trainable


class WeightAverage:
    """Running mean (float64) of the trainable parameters."""

    def __init__(self) -> None:
        self.count = 0
        self.mean: dict[str, np.ndarray] = {}

    def add(self, parameters: Parameters) -> None:
        """Take in the parameters as they are now."""
        self.count += 1
        for name, value in parameters.items():
            if not trainable(name):
                continue
            if name not in self.mean:
                self.mean[name] = value.astype(np.float64)
            else:
                self.mean[name] += (value - self.mean[name]) / self.count

    def parameters(self, current: Parameters) -> Parameters:
        """Averaged parameters; running statistics are copies of the current ones."""
        return {
            name: self.mean[name].astype(np.float32) if name in self.mean else value.copy()
            for name, value in current.items()
        }
