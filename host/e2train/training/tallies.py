# SPDX-License-Identifier: Apache-2.0
"""What a run adds up besides cost: losses, skipped samples, predicted weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..network.integer import PredictorTally
from ..network.spec import NetworkSpec


class Tallies:
    """Sums over a run and since the last progress event; JSON-able by `state`."""

    def __init__(self, spec: NetworkSpec) -> None:
        self.blocks = [block.name for block in spec.skippable_blocks]
        macs = np.array([block.macs for block in spec.skippable_blocks], np.float64)
        self._share = macs / macs.sum()
        self.skipped = [0] * len(self.blocks)
        self.samples = 0
        self.loss_sum = 0.0
        self.loss_count = 0
        self.predicted: dict[str, list[int]] = {}  # layer -> [predicted, weights], whole run
        self._recent: dict[str, list[int]] = {}

    def add_loss(self, loss: float) -> None:
        """One mini-batch's mean loss."""
        self.loss_sum += loss
        self.loss_count += 1

    def add_decisions(self, ran: np.ndarray) -> None:
        """bool [skippable blocks, N] of one mini-batch."""
        self.add_skipped((~ran).sum(axis=1).tolist(), ran.shape[1])

    def add_skipped(self, skipped: list[int], samples: int) -> None:
        """How many of a mini-batch's samples skipped each block."""
        for index, count in enumerate(skipped):
            self.skipped[index] += count
        self.samples += samples

    def add_predictions(self, tally: dict[str, PredictorTally]) -> None:
        """Take over (and empty) what the arithmetic has counted."""
        for name, counted in tally.items():
            for table in (self.predicted, self._recent):
                entry = table.setdefault(name, [0, 0])
                entry[0] += counted.predicted
                entry[1] += counted.weights
        tally.clear()

    @property
    def block_skip(self) -> dict[str, float]:
        """Percent of samples that skipped each block so far; empty where nothing can be skipped."""
        if not self.samples:
            return {}
        pairs = zip(self.blocks, self.skipped, strict=True)
        return {name: 100.0 * count / self.samples for name, count in pairs}

    @property
    def skip_ratio(self) -> float | None:
        """Percent of the skippable blocks' MACs that was skipped; None where nothing can be."""
        if not self.samples:
            return None
        return float(100.0 * (self._share @ np.array(self.skipped)) / self.samples)

    @property
    def predictor_share(self) -> float | None:
        """Percent of all weights' signs that the predictor decided; None without a predictor."""
        weights = sum(entry[1] for entry in self.predicted.values())
        return 100.0 * sum(e[0] for e in self.predicted.values()) / weights if weights else None

    @property
    def share_by_layer(self) -> dict[str, float]:
        """Percent of each layer's signs that the predictor decided, over the run."""
        return _percent(self.predicted)

    def recent(self) -> tuple[float | None, dict[str, float]]:
        """Mean loss and predictor shares since the last call, which start anew."""
        loss = self.loss_sum / self.loss_count if self.loss_count else None
        shares = _percent(self._recent)
        self.loss_sum, self.loss_count, self._recent = 0.0, 0, {}
        return loss, shares

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        return {name: value for name, value in vars(self).items() if name not in _DERIVED}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's sums."""
        vars(self).update(state)


_DERIVED = ("blocks", "_share")


def _percent(table: dict[str, list[int]]) -> dict[str, float]:
    return {name: 100.0 * counted / weights for name, (counted, weights) in table.items()}
