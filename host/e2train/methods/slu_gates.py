# SPDX-License-Identifier: Apache-2.0
"""The gates of SLU: a shared LSTM that looks at each block's input (SkipNet, Wang et al. 2018).

Per block: channel sums over a small grid of positions, a linear map to 10 numbers (one map a
channel count), one LSTM cell of 10 units shared by all blocks, a linear map and a bias of the
block's own to the probability that it runs, which stays off 0 and 1 so that both sides are seen.
All on the PS, in host floats that are alike on every machine (numerics.portable).
"""

from __future__ import annotations

import math

import numpy as np

from ..network.spec import Block, NetworkSpec
from ..numerics.gate_cell import (
    HIDDEN,
    LEAST_PROBABILITY,
    MOST_PROBABILITY,
    GateStep,
    GateWeights,
)
from ..processor import processor
from ..rng import generator

GRID_POINTS = 4  # 4 x 4 positions: full pooling would cost more than the gate itself
GateParameters = dict[str, np.ndarray]


def gate_slope(opened: np.ndarray) -> np.ndarray:
    """Change of a gate's probability with its logit, from the logit's sigmoid."""
    return (MOST_PROBABILITY - LEAST_PROBABILITY) * opened * (1.0 - opened)


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


class GateCell:
    """Forward steps block after block, then back through them all."""

    def __init__(self, parameters: GateParameters) -> None:
        self.parameters = parameters
        self.processor = processor()
        self.steps: list[GateStep] = []

    def begin(self, samples: int, offset: float) -> None:
        """A new mini-batch: zero state; `offset` is added to every logit."""
        self.steps.clear()
        self._offset = offset
        self._state = np.zeros((samples, HIDDEN)), np.zeros((samples, HIDDEN))
        self._wide = {name: value.astype(np.float64) for name, value in self.parameters.items()}

    def step(self, features: np.ndarray) -> np.ndarray:
        """Channel means float64 [N, C] of a block's input -> probability of running it, [N]."""
        raised = float(self._wide["gate.block_bias"][len(self.steps)])
        weights = _of_channels(self._wide, features.shape[1])
        step = self.processor.gate_step(weights, features, self._state, raised, self._offset)
        self._state = step.hidden, step.cell
        self.steps.append(step)
        return step.probability

    def backward(self, g_probability: list[np.ndarray]) -> GateParameters:
        """Gradients of all gate parameters from those of each step's probabilities, [N] each."""
        gradients = {name: np.zeros_like(value) for name, value in self._wide.items()}
        behind = np.zeros_like(self._state[0]), np.zeros_like(self._state[1])
        for index in reversed(range(len(self.steps))):
            step = self.steps[index]
            channels = step.features.shape[1]
            raised, *before = self.processor.gate_backward(
                _of_channels(self._wide, channels),
                step,
                _of_channels(gradients, channels),
                g_probability[index],
                behind,
            )
            gradients["gate.block_bias"][index] = raised
            behind = before[0], before[1]
        return {name: value.astype(np.float32) for name, value in gradients.items()}


def _of_channels(parameters: GateParameters, channels: int) -> GateWeights:
    return GateWeights(
        parameters[f"gate.map{channels}"],
        parameters["gate.input"],
        parameters["gate.recurrent"],
        parameters["gate.bias"],
        parameters["gate.output"],
    )
