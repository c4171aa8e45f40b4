# SPDX-License-Identifier: Apache-2.0
"""The gates of SLU: a shared LSTM that looks at each block's input (SkipNet, Wang et al. 2018).

Per block: channel sums over a small grid of positions, a linear map to 10 numbers (one map a
channel count), one LSTM cell of 10 units shared by all blocks, a linear map and a bias of the
block's own to the probability that it runs, which stays off 0 and 1 so that both sides are seen.
All on the PS, in host floats that are alike on every machine (numerics.portable).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ..network.spec import Block, NetworkSpec
from ..numerics.portable import column_sums, product, sigmoid, tanh
from ..rng import generator

HIDDEN = 10
GRID_POINTS = 4  # 4 x 4 positions: full pooling would cost more than the gate itself
LEAST_PROBABILITY, MOST_PROBABILITY = 0.02, 0.98  # of running a block
GateParameters = dict[str, np.ndarray]


def logit(probability: float) -> float:
    """The logit of a gate that runs its block with `probability`, between the bounds."""
    share = (probability - LEAST_PROBABILITY) / (MOST_PROBABILITY - LEAST_PROBABILITY)
    share = min(max(share, 1e-3), 1.0 - 1e-3)
    return math.log(share / (1.0 - share))


def gate_macs(block: Block) -> int:
    """Multiply-accumulates of one sample's gate at this block."""
    channels = block.units[0].geometry.channels
    return channels * HIDDEN + 2 * HIDDEN * 4 * HIDDEN + HIDDEN


def gate_additions(block: Block) -> int:
    """Additions of one sample's grid sums at this block."""
    geometry = block.units[0].geometry
    rows = -(-geometry.height // -(-geometry.height // GRID_POINTS))
    columns = -(-geometry.width // -(-geometry.width // GRID_POINTS))
    return geometry.channels * (rows * columns - 1)


def gate_share(spec: NetworkSpec) -> float:
    """FLOPs of all gates over the network's forward FLOPs (a multiply-accumulate is two)."""
    gates = sum(2 * gate_macs(b) + gate_additions(b) for b in spec.skippable_blocks)
    return gates / (2 * spec.forward_macs)


def initial_gates(blocks: tuple[Block, ...], seed: int) -> GateParameters:
    """Of the gated blocks: small random maps, and biases of 0."""
    parameters: GateParameters = {}
    for channels in sorted({b.units[0].geometry.channels for b in blocks}):
        normal = generator(seed, f"gate map of {channels} channels").standard_normal(
            (channels, HIDDEN)
        )
        parameters[f"gate.map{channels}"] = normal / np.sqrt(channels)
    for name, rows in (("gate.input", HIDDEN), ("gate.recurrent", HIDDEN)):
        normal = generator(seed, name).standard_normal((rows, 4 * HIDDEN))
        parameters[name] = normal / np.sqrt(rows)
    parameters["gate.bias"] = np.zeros(4 * HIDDEN)
    normal = generator(seed, "gate.output").standard_normal((HIDDEN, 1))
    parameters["gate.output"] = normal / np.sqrt(HIDDEN)
    parameters["gate.block_bias"] = np.zeros(len(blocks))
    return {name: value.astype(np.float32) for name, value in parameters.items()}


@dataclass
class _Step:
    """What the backward pass needs of one block's step; arrays float64 [N, ...]."""

    map_name: str
    features: np.ndarray
    embedded: np.ndarray
    hidden_before: np.ndarray
    cell_before: np.ndarray
    gates: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]  # input, forget, candidate, output
    cell: np.ndarray
    hidden: np.ndarray
    open: np.ndarray  # sigmoid of the logit
    probability: np.ndarray


class GateCell:
    """Forward steps block after block, then back through them all."""

    def __init__(self, parameters: GateParameters) -> None:
        self.parameters = parameters
        self.steps: list[_Step] = []

    def begin(self, samples: int, offset: float) -> None:
        """A new mini-batch: zero state; `offset` is added to every logit."""
        self.steps.clear()
        self._offset = offset
        self._hidden = np.zeros((samples, HIDDEN))
        self._cell = np.zeros((samples, HIDDEN))

    def step(self, features: np.ndarray) -> np.ndarray:
        """Channel means float64 [N, C] of a block's input -> probability of running it, [N]."""
        weights = {name: value.astype(np.float64) for name, value in self.parameters.items()}
        map_name = f"gate.map{features.shape[1]}"
        embedded = np.maximum(product(features, weights[map_name]), 0.0)
        sums = (
            product(embedded, weights["gate.input"])
            + product(self._hidden, weights["gate.recurrent"])
            + weights["gate.bias"]
        )
        i, f, c, o = (sums[:, k * HIDDEN : (k + 1) * HIDDEN] for k in range(4))
        gates = (sigmoid(i), sigmoid(f + 1.0), tanh(c), sigmoid(o))  # +1: remember at first
        cell = gates[1] * self._cell + gates[0] * gates[2]
        hidden = gates[3] * tanh(cell)
        bias = weights["gate.block_bias"][len(self.steps)]
        logits = product(hidden, weights["gate.output"])[:, 0] + bias + self._offset
        opened = sigmoid(logits)
        step = _Step(
            map_name,
            features,
            embedded,
            self._hidden,
            self._cell,
            gates,
            cell,
            hidden,
            opened,
            LEAST_PROBABILITY + (MOST_PROBABILITY - LEAST_PROBABILITY) * opened,
        )
        self._hidden, self._cell = hidden, cell
        self.steps.append(step)
        return step.probability

    def backward(self, g_probability: list[np.ndarray]) -> GateParameters:
        """Gradients of all gate parameters from those of each step's probabilities, [N] each.

        The gradient stops at the pooled features: the gates do not train the network's activations.
        """
        weights = {name: value.astype(np.float64) for name, value in self.parameters.items()}
        gradients = {name: np.zeros_like(value) for name, value in weights.items()}
        g_hidden = np.zeros_like(self._hidden)
        g_cell = np.zeros_like(self._cell)
        slope = MOST_PROBABILITY - LEAST_PROBABILITY
        for index in reversed(range(len(self.steps))):
            step = self.steps[index]
            g_logit = (g_probability[index] * slope * step.open * (1.0 - step.open))[:, None]
            gradients["gate.output"] += product(step.hidden.T, g_logit)
            gradients["gate.block_bias"][index] = column_sums(g_logit)[0]
            g_hidden = g_hidden + product(g_logit, weights["gate.output"].T)
            g_sums, g_cell = _cell_backward(step, g_hidden, g_cell)
            gradients["gate.bias"] += column_sums(g_sums)
            gradients["gate.input"] += product(step.embedded.T, g_sums)
            gradients["gate.recurrent"] += product(step.hidden_before.T, g_sums)
            g_embedded = product(g_sums, weights["gate.input"].T) * (step.embedded > 0)
            gradients[step.map_name] += product(step.features.T, g_embedded)
            g_hidden = product(g_sums, weights["gate.recurrent"].T)
        return {name: value.astype(np.float32) for name, value in gradients.items()}


def _cell_backward(
    step: _Step, g_hidden: np.ndarray, g_cell: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Gradients of the cell's four sums [N, 4*HIDDEN] and of the cell state before it."""
    i, f, c, o = step.gates
    squashed = tanh(step.cell)
    g_cell = g_cell + g_hidden * o * (1.0 - squashed * squashed)
    g_sums = np.concatenate(
        [
            g_cell * c * i * (1.0 - i),
            g_cell * step.cell_before * f * (1.0 - f),
            g_cell * i * (1.0 - c * c),
            g_hidden * squashed * o * (1.0 - o),
        ],
        axis=1,
    )
    return g_sums, g_cell * f
