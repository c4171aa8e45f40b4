# SPDX-License-Identifier: Apache-2.0
"""Which mini-batches are worth training on: those whose loss is above its running quantile.

E2-Train (section 3.1) drops mini-batches at random and leaves open whether a choice with little
overhead would do better. Here every offered mini-batch runs forwards, and only those with a high
loss run backwards and change the weights. The quantile follows the loss as it falls: after each
mini-batch the threshold moves up or down by steps in such a proportion that in the long run the
wanted share is dropped, whatever the losses are (stochastic approximation of a quantile, Robbins
and Monro 1951).
"""

from __future__ import annotations

import math

# Of the threshold's logarithm. By how many mini-batches the dropped share is missed in the end is
# the logarithm of the threshold's whole fall, divided by this.
STEP = 0.2
LEAST_LOSS = 1e-12


class LossChoice:
    """Compares each loss with a threshold below which the share `drop` of them falls."""

    def __init__(self, drop: float, threshold: float | None = None) -> None:
        """`threshold`: of a checkpoint; None before the first loss, which becomes it."""
        self.drop, self.threshold = drop, threshold

    def trains(self, loss: float) -> bool:
        """Whether the mini-batch of this loss is to be trained on; moves the threshold."""
        if self.threshold is None:
            self.threshold = max(loss, LEAST_LOSS)
            return True
        chosen = loss > self.threshold
        step = STEP * (self.drop if chosen else self.drop - 1.0)
        self.threshold = max(self.threshold * math.exp(step), LEAST_LOSS)
        return chosen
