# SPDX-License-Identifier: Apache-2.0
"""Top-1 and top-5 accuracy on a test set, with the work it took, counted apart from training's.

Gates draw in evaluation as they do in training, from a seed and the picture's place, so that it
skips as much and comes out alike each time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device.counter import Counter
from ..network.network import Network, cross_entropy
from ..network.parameters import Parameters

BATCH = 250


@dataclass(frozen=True)
class Accuracy:
    """Percent correct among the best one and the best five answers, the mean loss, and the work.

    skip: share of the residual blocks' multiply-accumulates that was skipped, in percent (None
    where nothing can be); macs: multiply-accumulates a picture, the gates' included.
    """

    top1: float
    top5: float
    loss: float
    skip: float | None
    macs: float


def evaluate(
    network: Network, images: np.ndarray, labels: np.ndarray, parameters: Parameters | None = None
) -> Accuracy:
    """Evaluate with running batch-norm statistics, all pictures counted (a last part too).

    `parameters` stand in for the network's own, such as averaged weights.
    """
    own, counters = network.parameters, _swap_counters(network, None)
    network.parameters = own if parameters is None else parameters
    first = five = 0
    loss = skipped = 0.0
    try:
        for start in range(0, len(labels), BATCH):
            wanted = labels[start : start + BATCH]
            part = images[start : start + BATCH]
            logits = network.logits(part, start // BATCH, training=False)
            if network.policy is not None:
                skipped += network.policy.skip_ratio * len(wanted)
            loss += cross_entropy(logits, wanted)[0].loss * len(wanted)
            score = logits[np.arange(len(wanted)), wanted][:, None]
            # of equal answers the lower class comes first, and what is no number never does
            lower = np.arange(logits.shape[1]) < wanted[:, None]
            better = (~(logits <= score) | ((logits == score) & lower)).sum(axis=1)
            first += int((better < 1).sum())
            five += int((better < 5).sum())
    finally:
        network.parameters = own
        work = _swap_counters(network, counters)
    total = len(labels)
    return Accuracy(
        100.0 * first / total,
        100.0 * five / total,
        loss / total,
        None if network.policy is None else 100.0 * skipped / total,
        work.macs / total,
    )


def _swap_counters(network: Network, counter: Counter | None) -> Counter:
    """Give the network (and its gates) another counter; returns the one it had."""
    had: Counter = network.arithmetic.counter
    fresh = Counter() if counter is None else counter
    network.arithmetic.counter = fresh
    if network.policy is not None and hasattr(network.policy, "counter"):
        network.policy.counter = fresh
    return had
