# SPDX-License-Identifier: Apache-2.0
"""Top-1 and top-5 accuracy on a test set, with the work it took, counted apart from training's.

Gates draw in evaluation as they do in training, from a seed and the picture's place, so that it
skips as much and comes out alike each time.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from ..device.counter import Counter
from ..network.network import Network, cross_entropy
from ..network.parameters import Parameters

BATCH = 250


def _nothing() -> np.ndarray:
    return np.empty(0)


@dataclass(frozen=True)
class Accuracy:
    """Percent correct among the best one and the best five answers, the mean loss, and the work.

    skip: share of the residual blocks' multiply-accumulates that was skipped, in percent (None
    where nothing can be); macs: multiply-accumulates a picture, the gates' included; predicted:
    each picture's best answer, int64 [N]; own: the probability of its true class, float64 [N].
    """

    top1: float
    top5: float
    loss: float
    skip: float | None
    macs: float
    predicted: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)
    own: np.ndarray = field(default_factory=_nothing, compare=False, repr=False)


@dataclass(frozen=True)
class Answers:
    """To a batch of pictures: logits float64 [n, classes] and the work that they took.

    skip: share of the residual blocks' multiply-accumulates, None where nothing can be skipped.
    """

    logits: np.ndarray
    skip: float | None
    macs: int


def evaluate(
    network: Network, images: np.ndarray, labels: np.ndarray, parameters: Parameters | None = None
) -> Accuracy:
    """Evaluate with running batch-norm statistics, all pictures counted (a last part too).

    `parameters` stand in for the network's own, such as averaged weights.
    """
    own, counters = network.parameters, _swap_counters(network, None)
    network.parameters = own if parameters is None else parameters

    def answers(part: np.ndarray, number: int) -> Answers:
        before = network.arithmetic.counter.macs
        logits = network.logits(part, number, training=False)
        skip = None if network.policy is None else network.policy.skip_ratio
        return Answers(logits, skip, network.arithmetic.counter.macs - before)

    try:
        return score(answers, images, labels)
    finally:
        network.parameters = own
        _swap_counters(network, counters)


def score(
    answers: Callable[[np.ndarray, int], Answers], images: np.ndarray, labels: np.ndarray
) -> Accuracy:
    """Accuracy of what answers batch number `n` of up to BATCH uint8 images [N,C,H,W]."""
    first = five = macs = 0
    loss = skipped = 0.0
    skips = False
    predicted, sure = [], []
    for start in range(0, len(labels), BATCH):
        wanted = labels[start : start + BATCH]
        found = answers(images[start : start + BATCH], start // BATCH)
        logits, macs = found.logits, macs + found.macs
        if found.skip is not None:
            skipped, skips = skipped + found.skip * len(wanted), True
        # the loss's gradient p - onehot at the true class tells its probability
        outcome, g = cross_entropy(logits, wanted)
        loss += outcome.loss * len(wanted)
        sure.append(1.0 + g[np.arange(len(wanted)), wanted])
        predicted.append(np.where(np.isnan(logits), -np.inf, logits).argmax(axis=1))
        own = logits[np.arange(len(wanted)), wanted][:, None]
        # of equal answers the lower class comes first, and what is no number never does
        lower = np.arange(logits.shape[1]) < wanted[:, None]
        better = (~(logits <= own) | ((logits == own) & lower)).sum(axis=1)
        first += int((better < 1).sum())
        five += int((better < 5).sum())
    total = len(labels)
    return Accuracy(
        100.0 * first / total,
        100.0 * five / total,
        loss / total,
        100.0 * skipped / total if skips else None,
        macs / total,
        np.concatenate(predicted),
        np.concatenate(sure),
    )


def _swap_counters(network: Network, counter: Counter | None) -> Counter:
    """Give the network (and its gates) another counter; returns the one it had."""
    had: Counter = network.arithmetic.counter
    fresh = Counter() if counter is None else counter
    network.arithmetic.counter = fresh
    if network.policy is not None and hasattr(network.policy, "counter"):
        network.policy.counter = fresh
    return had
