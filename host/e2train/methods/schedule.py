# SPDX-License-Identifier: Apache-2.0
"""Learning-rate schedule and iteration budgets (E2-Train, sections 4.1 and 4.2).

The paper drops the rate in steps. Falling linearly, or by half a cosine, to nothing at the end
suits sign updates better. All are functions of the fraction of the offered iterations, so a run
with fewer iterations scales its schedule with it, and a larger learning rate is the same schedule
from another start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SCHEDULES = ("steps", "linear", "cosine")


@dataclass(frozen=True)
class Schedule:
    """The learning rate over `iterations`, from `lr` on.

    "steps": times `factor` from each fraction in `drops` onwards; "linear": lr (1 - t), "cosine":
    lr (1 + cos(pi t)) / 2, with t the fraction of the iterations that have passed. The latter two
    fall to `held` times lr at the fraction `hold` of the iterations and stay there, so that weights
    can be averaged while they still move (Izmailov et al. 2018).
    """

    lr: float
    iterations: int
    drops: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1
    kind: str = "steps"
    hold: float = 1.0
    held: float = 0.0

    def rate(self, iteration: int) -> float:
        """Learning rate of the mini-batch offered at `iteration` (from 0)."""
        fraction = iteration / self.iterations
        if self.kind != "steps":
            t = fraction / self.hold if fraction < self.hold else 1.0
            left = 1.0 - t if self.kind == "linear" else 0.5 * (1.0 + math.cos(math.pi * t))
            return self.lr * (self.held + (1.0 - self.held) * left)
        passed = sum(iteration >= drop * self.iterations for drop in self.drops)
        rate = self.lr
        for _ in range(passed):
            rate *= self.factor
        return rate


def offered_iterations(base: int, energy_ratio: float, drop_probability: float) -> int:
    """Mini-batches to offer so that about `energy_ratio * base` of them are run.

    The paper's energy ratio 1 is SMB with 64,000 or SMD with 128,000 iterations (section 4.2).
    """
    return round(base * energy_ratio / (1.0 - drop_probability))
