# SPDX-License-Identifier: Apache-2.0
"""Early stopping: held-out pictures say when training no longer helps, and which state was best."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..data.dataset import Dataset, Images, Labels, test_part
from ..errors import UserError
from .evaluate import Accuracy


@dataclass(frozen=True)
class EarlyStopSettings:
    """[early_stop]: after how many evaluations without a gain to stop (0: never); how it is told.

    held_out: share of each class's training pictures that is kept for it; every: offered
    mini-batches between two evaluations on them.
    """

    patience: int = 0
    held_out: float = 0.1
    every: int = 50


def hold_out(dataset: Dataset, share: float, seed: int) -> tuple[Dataset, Images, Labels]:
    """Take about `share` of each class out of the training pictures, which is returned beside.

    UserError where a class has too few pictures for that.
    """
    held = test_part(dataset.train_labels, share, seed)
    kept = np.bincount(dataset.train_labels[held], minlength=dataset.classes)
    if not kept.all():
        few = dataset.names[int(np.argmin(kept))]
        raise UserError(
            f"early_stop.held_out = {share}: class {few!r} has fewer than 2 training pictures"
        )
    left = replace(
        dataset,
        train_images=dataset.train_images[~held],
        train_labels=dataset.train_labels[~held],
    )
    return left, dataset.train_images[held], dataset.train_labels[held]


@dataclass
class Best:
    """The best state so far by top-1 on the held-out pictures, of equals that of the least loss.

    `arrays`: copies by name; `besides`: JSON-able state that belongs to them; `worse`: evaluations
    since then; `iteration`: when it was, -1 for never.
    """

    patience: int
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    besides: dict[str, Any] = field(default_factory=dict)
    top1: float = -1.0
    loss: float = 0.0
    worse: int = 0
    iteration: int = -1

    def note(
        self,
        found: Accuracy,
        iteration: int,
        arrays: dict[str, np.ndarray],
        besides: dict[str, Any],
    ) -> None:
        """Compare an evaluation's state with the best one, and keep the better."""
        if (found.top1, -found.loss) > (self.top1, -self.loss) or self.iteration < 0:
            self.arrays = {name: array.copy() for name, array in arrays.items()}
            self.besides, self.worse = besides, 0
            self.top1, self.loss, self.iteration = found.top1, found.loss, iteration
        else:
            self.worse += 1

    @property
    def over(self) -> bool:
        """Whether training is to stop."""
        return self.worse >= self.patience

    def state(self) -> dict[str, Any]:
        """For a checkpoint, beside `arrays`."""
        names = ("besides", "top1", "loss", "worse", "iteration")
        return {name: getattr(self, name) for name in names}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up a checkpoint's state."""
        vars(self).update(state)
