# SPDX-License-Identifier: Apache-2.0
"""Batch-norm statistics for averaged weights, which no training pass has seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from ..network.network import Network
from ..network.parameters import Parameters


def renew_statistics(
    network: Network, averaged: Parameters, pictures: Iterable[tuple[int, np.ndarray]]
) -> None:
    """Means over mini-batches as in training, into the running statistics of `averaged`.

    `pictures`: iterations and their mini-batches, uint8 [N,C,H,W]. The network keeps its own
    parameters; the exponents of integers follow what they see.
    """
    own, running = network.parameters, network.arithmetic.running
    network.parameters = averaged
    running.restart()
    try:
        for iteration, images in pictures:
            network.logits(images, iteration, training=True)
    finally:
        running.resume()
        network.parameters = own
