# SPDX-License-Identifier: Apache-2.0
"""Which samples skip which block, in an iteration on tensors; the host draws, tensors decide."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch

from ...methods.stochastic_depth import StochasticDepth
from .arithmetic import GraphArithmetic, Tensor, Tensors, Value

Table = dict[str, np.ndarray]  # by name, one row an iteration


class GraphPolicy(Protocol):
    """The counterpart of `network.network.SkipPolicy` for an iteration on tensors."""

    @property
    def wants_products(self) -> bool:
        """Whether `observe` is to be called."""

    def drawn(self, iterations: Sequence[int]) -> Table:
        """What the host draws or works out for these iterations: always the same names."""

    def begin(self, row: Tensors | None, samples: int, where: torch.device) -> None:
        """A new mini-batch: its row of the table, or None in an evaluation."""

    def decide(self, index: int, arithmetic: GraphArithmetic, stream: Value) -> Tensor | None:
        """bool [N]: which samples run skippable block `index`; None: all, known beforehand."""

    def scale(self, index: int) -> float:
        """Factor on the block's residual branch."""

    def observe(self, index: int, products: Tensor) -> None:
        """<g, F(x) - x> at block `index`, float64 [N]."""

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
    """Stochastic depth: the host draws which blocks run, for a whole mini-batch."""

    wants_products = False

    def __init__(self, host: StochasticDepth) -> None:
        self.host = host
        self._alive: Tensor | None = None

    def drawn(self, iterations: Sequence[int]) -> Table:
        return {"alive": np.array([self.host.alive(iteration) for iteration in iterations])}

    def begin(self, row: Tensors | None, samples: int, where: torch.device) -> None:
        self._alive = None if row is None else row["alive"]
        self._samples = samples

    def decide(self, index: int, arithmetic: GraphArithmetic, stream: Value) -> Tensor | None:
        return None if self._alive is None else self._alive[index].expand(self._samples)

    def scale(self, index: int) -> float:
        return 1.0 if self._alive is not None else float(self.host.survival[index])

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
