# SPDX-License-Identifier: Apache-2.0
"""SLU's gates on tensors: `methods.slu_gates`, bit for bit, in few and large operations.

The recurrence alone goes block by block. What does not depend on it, the products that make
gradients of the parameters, is taken of all blocks at once; they are added up in the host's order.
Two sets of gradients (of the loss, and of the cost) share one pass.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...numerics.gate_cell import HIDDEN, LEAST_PROBABILITY, MOST_PROBABILITY
from ...numerics.portable import PRODUCT_BITS
from . import real
from .arithmetic import Tensor, Tensors

SLOPE = MOST_PROBABILITY - LEAST_PROBABILITY
_LEAST_PEAK = 2.0**-900  # a matrix with a smaller peak, which no gate has, is taken for 0
_MANTISSA, _EXPONENT = (1 << 52) - 1, 2047 << 52  # bits of a float64
_Grid = tuple[Tensor, Tensor]  # integers, and the power of two at or above their peak [..., 1, 1]


def _grid(values: Tensor) -> _Grid:
    """Matrices float64 [..., M, N], each rounded to PRODUCT_BITS below its own peak.

    Scaling by powers of two is exact, so few operations do what the host's exponents do.
    """
    peak = values.abs().amax((-2, -1), keepdim=True).clamp(min=_LEAST_PEAK)
    above = ((peak.view(torch.int64) + _MANTISSA) & _EXPONENT).view(torch.float64)
    return real.round_half_up(values / above * 2.0**PRODUCT_BITS), above


def _multiplied(left: _Grid, right: _Grid) -> Tensor:
    """`numerics.portable.product` of matrices on their grids."""
    return (left[0] @ right[0]) * (left[1] * right[1] * 4.0**-PRODUCT_BITS)


def _turned(grid: _Grid) -> _Grid:
    return grid[0].transpose(-2, -1), grid[1]


def _columns(grid: _Grid) -> Tensor:
    """`numerics.portable.column_sums`: [..., N]."""
    return grid[0].sum(-2) * (grid[1][..., 0] * 2.0**-PRODUCT_BITS)


@dataclass
class _Step:
    """What the backward pass needs of one block's step; float64 [N, ...]."""

    map_name: str
    features: _Grid
    embedded: Tensor
    embedded_grid: _Grid
    hidden_before: _Grid
    cell_before: Tensor
    gates: tuple[Tensor, Tensor, Tensor, Tensor]  # input, forget, candidate, output
    squashed: Tensor  # tanh of the cell
    hidden: _Grid
    open: Tensor
    probability: Tensor


class GateCell:
    """Forward steps block after block, then back through them all."""

    def __init__(self, parameters: Tensors) -> None:
        where = parameters["gate.bias"].device
        self.parameters = parameters
        self.steps: list[_Step] = []
        part = torch.arange(4 * HIDDEN, device=where) // HIDDEN  # input, forget, candidate, output
        self._shift = (part == 1).to(torch.float64)  # the forget gate remembers at first
        self._is_tanh = part == 2
        self._factor = torch.where(self._is_tanh, -2.0, -1.0).to(torch.float64)

    def begin(self, samples: int, offset: Tensor) -> None:
        """A new mini-batch: zero state; `offset` float64 [] is added to every logit."""
        self.steps.clear()
        self._offset = offset
        self._wide = {name: value.to(torch.float64) for name, value in self.parameters.items()}
        self._weights = {
            name: _grid(value) for name, value in self._wide.items() if value.dim() == 2
        }
        self._cell = offset.new_zeros((samples, HIDDEN))
        self._hidden = _grid(self._cell)

    def step(self, features: Tensor) -> Tensor:
        """Channel means float64 [N, C] of a block's input -> probability of running it, [N]."""
        map_name = f"gate.map{features.shape[1]}"
        seen = _grid(features)
        embedded = _multiplied(seen, self._weights[map_name]).clamp(min=0.0)
        looked = _grid(embedded)
        sums = (
            _multiplied(looked, self._weights["gate.input"])
            + _multiplied(self._hidden, self._weights["gate.recurrent"])
            + self._wide["gate.bias"]
        )
        i, f, c, o = self._squashed(sums).split(HIDDEN, dim=1)
        cell = f * self._cell + i * c
        squashed = real.tanh(cell)
        hidden = o * squashed
        hidden_grid = _grid(hidden)
        bias = self._wide["gate.block_bias"][len(self.steps)]
        product = _multiplied(hidden_grid, self._weights["gate.output"])[:, 0]
        opened = real.sigmoid(product + bias + self._offset)
        probability = LEAST_PROBABILITY + SLOPE * opened
        self.steps.append(
            _Step(
                map_name,
                seen,
                embedded,
                looked,
                self._hidden,
                self._cell,
                (i, f, c, o),
                squashed,
                hidden_grid,
                opened,
                probability,
            )
        )
        self._hidden, self._cell = hidden_grid, cell
        return probability

    def _squashed(self, sums: Tensor) -> Tensor:
        """Sigmoid, and the candidate's tanh, of the cell's four sums [N, 4*HIDDEN]."""
        x = sums + self._shift
        small = real.exp(x.abs() * self._factor)
        positive = x >= 0
        ones = torch.ones_like(small)
        rest = ones - small
        upper = torch.where(
            self._is_tanh, torch.where(positive, rest, -rest), torch.where(positive, ones, small)
        )
        return upper / (1.0 + small)

    def backward(self, g_probability: Tensor) -> Tensors:
        """Gradients float32 [sets, ...] of all parameters from float64 [sets, blocks, N].

        The gradient stops at the pooled features: the gates do not train the network's activations.
        """
        opened = torch.stack([step.open for step in self.steps])
        g_logit = (g_probability * SLOPE * opened * (1.0 - opened))[..., None]
        logit_grid = _grid(g_logit)  # [sets, blocks, N, 1]
        g_output = _multiplied(logit_grid, _turned(self._weights["gate.output"]))
        g_sums = self._through_time(g_output)
        return self._parameter_gradients(logit_grid, g_sums)

    def _through_time(self, g_output: Tensor) -> Tensor:
        """Gradients of the cell's four sums, [sets, blocks, N, 4*HIDDEN]."""
        recurrent = _turned(self._weights["gate.recurrent"])
        g_hidden = torch.zeros_like(g_output[:, 0])
        g_cell = torch.zeros_like(g_hidden)
        found: list[Tensor] = []
        for index in reversed(range(len(self.steps))):
            g_hidden = g_hidden + g_output[:, index]
            g_sums, g_cell = _cell_backward(self.steps[index], g_hidden, g_cell)
            found.insert(0, g_sums)
            if index:
                g_hidden = _multiplied(_grid(g_sums), recurrent)
        return torch.stack(found, dim=1)

    def _parameter_gradients(self, logit_grid: _Grid, g_sums: Tensor) -> Tensors:
        steps = self.steps
        sums_grid = _grid(g_sums)
        hidden = _stacked([step.hidden for step in steps])
        embedded = _stacked([step.embedded_grid for step in steps])
        before = _stacked([step.hidden_before for step in steps])
        g_embedded = _multiplied(sums_grid, _turned(self._weights["gate.input"]))
        open_ = torch.stack([step.embedded for step in steps]) > 0
        g_embedded = torch.where(open_, g_embedded, 0.0)
        embedded_grid = _grid(g_embedded)
        gradients = {
            "gate.output": _added(_multiplied(_turned(hidden), logit_grid)),
            "gate.block_bias": _columns(logit_grid)[..., 0],
            "gate.bias": _added(_columns(sums_grid)),
            "gate.input": _added(_multiplied(_turned(embedded), sums_grid)),
            "gate.recurrent": _added(_multiplied(_turned(before), sums_grid)),
        }
        for name in self.parameters:
            own = [index for index, step in enumerate(steps) if step.map_name == name]
            if own:
                first, last = own[0], own[-1] + 1  # channels never become fewer: in a row
                part = embedded_grid[0][:, first:last], embedded_grid[1][:, first:last]
                features = _stacked([step.features for step in steps[first:last]])
                gradients[name] = _added(_multiplied(_turned(features), part))
        return {name: value.to(torch.float32) for name, value in gradients.items()}


def _stacked(grids: list[_Grid]) -> _Grid:
    return torch.stack([one[0] for one in grids]), torch.stack([one[1] for one in grids])


def _added(values: Tensor) -> Tensor:
    """Sum of [sets, blocks, ...] over the blocks, from the last to the first as the host adds."""
    total = torch.zeros_like(values[:, 0])
    for index in reversed(range(values.shape[1])):
        total = total + values[:, index]
    return total


def _cell_backward(step: _Step, g_hidden: Tensor, g_cell: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the cell's four sums [sets, N, 4*HIDDEN] and of the cell state before it."""
    i, f, c, o = step.gates
    squashed = step.squashed
    g_cell = g_cell + g_hidden * o * (1.0 - squashed * squashed)
    g_sums = torch.cat(
        [
            g_cell * c * i * (1.0 - i),
            g_cell * step.cell_before * f * (1.0 - f),
            g_cell * i * (1.0 - c * c),
            g_hidden * squashed * o * (1.0 - o),
        ],
        dim=-1,
    )
    return g_sums, g_cell * f
