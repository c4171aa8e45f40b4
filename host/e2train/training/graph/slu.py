# SPDX-License-Identifier: Apache-2.0
"""SLU's skip policy on tensors: decisions, learning and steering of `methods.slu`, bit for bit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch

from ...methods.sgd import Sgd
from ...methods.slu import INTEGRAL_GAIN, PROPORTIONAL_GAIN, SKIP_DECAY, SluGates
from ...methods.slu_gates import GRID_POINTS
from . import real
from .arithmetic import GraphArithmetic, Tensor, Tensors, Value
from .flat import Layout, load, store
from .gates import GateCell
from .policy import Table
from .step import descent

GateRate = Callable[[int], float | None]  # of an iteration; None where the gates do not learn yet


class GraphSlu:
    """Gates that decide, learn and are steered on one torch device; `host` keeps the record."""

    def __init__(
        self, host: SluGates, optimiser: Sgd, rate: GateRate, batch: int, where: torch.device
    ) -> None:
        self.host, self._optimiser, self._rate = host, optimiser, rate
        self._layout = Layout.of(host.parameters)
        self._values, self._velocity = self._layout.zeros(where), self._layout.zeros(where)
        self._cell = GateCell(self._layout.views(self._values))
        self._decay = torch.zeros((), device=where)  # the gates' weights have none
        self._skip = torch.zeros((), dtype=torch.float64, device=where)
        self._integral = torch.zeros_like(self._skip)
        self._target = torch.full_like(self._skip, host.controller.target)
        self._samples = batch
        self._batch = torch.full_like(self._skip, float(batch))  # divides exactly
        self._cost = torch.from_numpy(host.cost).to(where)
        gated = [index for index, has in enumerate(host.gated) if has]
        self._places = {index: place for place, index in enumerate(gated)}
        each = host.cost[gated, None] / batch
        self._cost_gradient = torch.from_numpy(np.repeat(each, batch, axis=1)).to(where)
        self._ran: dict[int, Tensor] = {}
        self._explored: dict[int, Tensor] = {}
        self._products: dict[int, Tensor] = {}

    # ---- what the host draws --------------------------------------------------------------------

    def drawn(self, iterations: Sequence[int]) -> Table:
        samples = self._samples
        rates = [self._rate(iteration) for iteration in iterations]
        return {
            "draws": np.array([self.host.draw(one, samples, True) for one in iterations]),
            "exploring": np.array([self.host.draw_explored(one, samples) for one in iterations]),
            "gate rate": np.array([rate or 0.0 for rate in rates], np.float32),
            "gates learn": np.array([rate is not None for rate in rates]),
        }

    def drawn_for_evaluation(self, number: int, samples: int) -> Table:
        return {"draws": self.host.draw(number, samples, False)}

    # ---- decisions ------------------------------------------------------------------------------

    def begin(self, row: Tensors, samples: int, training: bool) -> None:
        self._row, self._training = row, training
        for table in (self._ran, self._explored, self._products):
            table.clear()
        offset = self._integral + (self._skip - self._target) * PROPORTIONAL_GAIN
        self._cell.begin(samples, offset)

    def decide(self, index: int, arithmetic: GraphArithmetic, stream: Value) -> Tensor | None:
        if not self.host.gated[index]:
            return None
        block = self.host.blocks[index]
        geometry = block.units[0].geometry
        rows, columns = (-(-s // -(-s // GRID_POINTS)) for s in (geometry.height, geometry.width))
        sums = arithmetic.gate_features(block, stream, GRID_POINTS)
        probability = self._cell.step(sums / torch.full_like(self._skip, float(rows * columns)))
        ran = self._row["draws"][index] < probability
        self._ran[index] = ran
        if self._training:
            self._explored[index] = ~ran & self._row["exploring"][index] & ran.any()
        return ran

    def scale(self, index: int) -> float:
        return 1.0

    def wants_products(self, index: int) -> bool:
        return self.host.gated[index]

    def observe(self, index: int, products: Tensor) -> None:
        self._products[index] = products

    # ---- learning -------------------------------------------------------------------------------

    def learn(self) -> Tensors:
        loss = self._estimates() / self._batch
        both = self._cell.backward(torch.stack([loss, self._cost_gradient]))
        gradient, cost = (
            self._layout.gather({name: value[which] for name, value in both.items()})
            for which in (0, 1)
        )
        self._steer()
        self._descend(_at_equal_cost(gradient, cost))
        nothing = torch.zeros((), dtype=torch.int64, device=self._skip.device)
        explored = [
            self._explored[index].sum() if gated else nothing
            for index, gated in enumerate(self.host.gated)
        ]
        return {
            "explored": torch.stack(explored),
            "skip": self._skip.clone(),
            "integral": self._integral.clone(),
        }

    def _estimates(self) -> Tensor:
        """`SluGates.estimates`, float64 [gates, N]."""
        found = []
        for index, place in self._places.items():
            p, products = self._cell.steps[place].probability, self._products[index]
            ran = products / (p * 2.0)
            explored = products / ((1.0 - p) * 2.0 * self.host.explore)
            explored = torch.where(self._explored[index], explored, 0.0)
            found.append(torch.where(self._ran[index], ran, explored))
        return torch.stack(found)

    def _steer(self) -> None:
        """`SkipController.observe` of this mini-batch's skip ratio."""
        every = self._batch
        ran = [
            self._ran[index].sum().to(torch.float64) if gated else every
            for index, gated in enumerate(self.host.gated)
        ]
        skipped = torch.zeros_like(self._skip)
        for share in (self._cost * (1.0 - torch.stack(ran) / every)).unbind():
            skipped = skipped + share
        self._skip.copy_(self._skip * SKIP_DECAY + skipped * (1.0 - SKIP_DECAY))
        self._integral.copy_(self._integral + (self._skip - self._target) * INTEGRAL_GAIN)

    def _descend(self, gradient: Tensor) -> None:
        values, velocity = self._values, self._velocity
        stepped, moved = descent(
            values,
            velocity,
            gradient,
            self._row["gate rate"],
            float(self._optimiser.momentum),
            self._decay,
        )
        learns = self._row["gates learn"]
        velocity.copy_(torch.where(learns, moved, velocity))
        values.copy_(torch.where(learns, stepped, values))

    # ---- state ----------------------------------------------------------------------------------

    def tensors(self) -> list[Tensor]:
        return [self._values, self._velocity, self._skip, self._integral]

    def push(self) -> None:
        load(self._layout.views(self._values), self.host.parameters)
        load(self._layout.views(self._velocity), self._optimiser.velocity)
        self._skip.fill_(self.host.controller.skip)
        self._integral.fill_(self.host.controller.integral)

    def pull(self) -> None:
        store(self._layout, self._values, self.host.parameters)
        store(self._layout, self._velocity, self._optimiser.velocity)
        self.host.controller.skip = float(self._skip)
        self.host.controller.integral = float(self._integral)

    def take_note(self, row: Table) -> None:
        self.host.controller.skip = float(row["skip"])
        self.host.controller.integral = float(row["integral"])


def _at_equal_cost(gradient: Tensor, cost: Tensor) -> Tensor:
    """`methods.slu.at_equal_cost` of flat float32 gradients."""
    wide, costs = gradient.to(torch.float64), cost.to(torch.float64)
    along, norm = (real.column_sums((one * costs)[:, None])[0] for one in (wide, costs))
    scale = (along / norm).to(torch.float32)
    return torch.where(norm == 0, gradient, gradient - scale * cost)
