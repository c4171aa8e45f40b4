# SPDX-License-Identifier: Apache-2.0
"""Stochastic mini-batch dropping (E2-Train, section 3.1): each mini-batch is left out at random.

A dropped mini-batch is not read, computed or metered, and leaves weights, momentum and running
statistics as they are. The learning-rate schedule counts offered mini-batches.
"""

from __future__ import annotations

from ..rng import raw_words

DEFAULT_PROBABILITY = 0.5


def dropped(seed: int, iteration: int, probability: float) -> bool:
    """Whether the mini-batch offered at `iteration` is dropped (stateless, reproducible)."""
    word = int(raw_words(seed, "mini-batch dropping", iteration, 1)[0])
    return word < int(probability * (1 << 64))
