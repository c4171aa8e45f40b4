# SPDX-License-Identifier: Apache-2.0
"""Stochastic depth (Huang et al., ECCV 2016) at a given skip ratio: SLU's random counterpart.

Survival falls linearly with depth to p_L; p_L is chosen so that the mean skip ratio is the one
asked for (E2-Train, section 4.3). A block is dropped for the whole mini-batch, or (to compare) for
each sample by itself; evaluation runs every block with its residual branch scaled by its survival
probability.
"""

from __future__ import annotations

import numpy as np

from ..errors import UserError
from ..network.arithmetic import Arithmetic, Value
from ..network.spec import NetworkSpec
from ..numerics.portable import dot
from ..rng import raw_words

MINI_BATCH, SAMPLE = "mini-batch", "sample"
PER = (MINI_BATCH, SAMPLE)


def survival_probabilities(blocks: int, skip_ratio: float) -> np.ndarray:
    """p_l = 1 - (l / L)(1 - p_L) for l = 1..L, with mean 1 - skip_ratio: float64 [blocks]."""
    loss_at_end = 2.0 * blocks * skip_ratio / (blocks + 1)
    if not 0.0 <= loss_at_end <= 1.0:
        most = (blocks + 1) / (2 * blocks)
        raise UserError(
            f"stochastic depth of {blocks} blocks cannot skip {skip_ratio:.0%}: "
            f"linear decay reaches {most:.0%} at most"
        )
    return 1.0 - np.arange(1, blocks + 1) / blocks * loss_at_end


class StochasticDepth:
    """A skip policy without inputs: the same random blocks for a whole mini-batch, or a sample."""

    def __init__(
        self, spec: NetworkSpec, skip_ratio: float, seed: int, *, per: str = MINI_BATCH
    ) -> None:
        blocks = len(spec.skippable_blocks)
        self.survival = survival_probabilities(blocks, skip_ratio)
        self.cost = spec.block_shares()
        self.seed, self.per = seed, per
        self.ran = np.zeros((blocks, 0), bool)

    @property
    def skip_ratio(self) -> float:
        """Share of the skippable blocks' forward MACs that the last mini-batch skipped."""
        return dot(self.cost, 1.0 - self.ran.mean(axis=1))

    def alive(self, iteration: int, samples: int) -> np.ndarray:
        """bool [blocks, samples]: which blocks each sample of a training iteration runs."""
        draws = samples if self.per == SAMPLE else 1
        words = raw_words(self.seed, "stochastic depth", iteration, len(self.survival) * draws)
        uniform = ((words >> np.uint64(11)) * 2.0**-53).reshape(len(self.survival), draws)
        return np.repeat(uniform < self.survival[:, None], samples // draws, axis=1)

    def begin(self, iteration: int, samples: int, training: bool) -> None:
        self.training = training
        every = np.ones((len(self.survival), samples), bool)
        self.ran = self.alive(iteration, samples) if training else every

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        return self.ran[index]

    def scale(self, index: int) -> float:
        return 1.0 if self.training else float(self.survival[index])

    def explored(self, index: int) -> np.ndarray:
        return np.zeros_like(self.ran[index])

    def wants_products(self, index: int) -> bool:
        return False

    def observe(self, index: int, products: np.ndarray) -> None:
        raise AssertionError("stochastic depth learns nothing from products")

    observe_explored = observe
