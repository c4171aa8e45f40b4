# SPDX-License-Identifier: Apache-2.0
"""Which samples skip which block, in an iteration on tensors; the host draws, tensors decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np

from ...methods.stochastic_depth import StochasticDepth
from .arithmetic import GraphArithmetic, Tensor, Tensors, Value

Table = dict[str, np.ndarray]  # by name, one row an iteration


class GraphPolicy(Protocol):
    """The counterpart of `network.network.SkipPolicy` for an iteration on tensors."""

    def drawn(self, iterations: Sequence[int]) -> Table:
        """What the host draws or works out for these iterations: always the same names."""

    def drawn_for_evaluation(self, number: int, samples: int) -> Table:
        """What it draws for a batch of an evaluation, samples in the last dimension."""

    def begin(self, row: Tensors, samples: int, training: bool) -> None:
        """A new mini-batch, and what was drawn for it."""

    def decide(self, index: int, arithmetic: GraphArithmetic, stream: Value) -> Tensor | None:
        """bool [N]: which samples run skippable block `index`; None: all, known beforehand."""

    def scale(self, index: int) -> float:
        """Factor on the block's residual branch."""

    def wants_products(self, index: int) -> bool:
        """Whether `observe` is to be called for this block."""

    def observe(self, index: int, products: Tensor) -> None:
        """<g, F(x) - x> at block `index`, float64 [N], with g behind the block."""

    def learn(self) -> Tensors:
        """Once the network's gradients are known; returns what the record needs of it, by name."""

    def tensors(self) -> list[Tensor]:
        """Whatever a training iteration changes."""

    def push(self) -> None:
        """Take over the host's state."""

    def pull(self) -> None:
        """Give the host's state back (reads values back)."""

    def take_note(self, row: Table) -> None:
        """What `learn` returned in one iteration, for the host's record."""


class GraphDepth:
    """Stochastic depth: the host draws which blocks run."""

    def __init__(self, host: StochasticDepth, batch: int) -> None:
        self.host, self._batch = host, batch
        self._alive: Tensor | None = None

    def drawn(self, iterations: Sequence[int]) -> Table:
        return {"alive": np.array([self.host.alive(i, self._batch) for i in iterations])}

    def drawn_for_evaluation(self, number: int, samples: int) -> Table:
        return {}

    def begin(self, row: Tensors, samples: int, training: bool) -> None:
        self._alive = row["alive"] if training else None

    def decide(self, index: int, arithmetic: GraphArithmetic, stream: Value) -> Tensor | None:
        return None if self._alive is None else self._alive[index]

    def scale(self, index: int) -> float:
        return 1.0 if self._alive is not None else float(self.host.survival[index])

    def wants_products(self, index: int) -> bool:
        return False

    def observe(self, index: int, products: Tensor) -> None:
        raise AssertionError("stochastic depth learns nothing from products")

    def learn(self) -> Tensors:
        return {}

    def tensors(self) -> list[Tensor]:
        return []

    def push(self) -> None:
        return

    def pull(self) -> None:
        return

    def take_note(self, row: Table) -> None:
        return
