# SPDX-License-Identifier: Apache-2.0
"""Selective layer update (E2-Train, section 3.2, eq. 1): learned gates skip blocks per sample.

Training draws each decision from the gate's probability; a skipped sample's block is not computed
in either direction. The straight-through gradient <g, F(x) - x> exists only for samples that ran,
so it is weighted by 1/p (bounded), which keeps its expectation; the cost term alpha * C reaches
every gate, and alpha is steered to a target skip ratio (beyond which closing steps are projected
out). Evaluation draws nothing: it compares the probability with a fixed threshold a block,
spread evenly over (0, 1) (van der Corput), so that it skips as much as training did and depends on
the input alone (but for rounding to the mini-batch's peak, 1e-5 of a probability at most).
"""

from __future__ import annotations

import math

import numpy as np

from ..device.counter import Counter
from ..device.operations import GATE_MACS, Processor
from ..network.arithmetic import Arithmetic, Value
from ..network.spec import NetworkSpec
from ..numerics.portable import column_sums
from ..rng import raw_words
from .slu_gates import GRID_POINTS, GateCell, GateParameters, gate_macs, initial_gates

SMALLEST_PROBABILITY = 0.1  # bounds the weight 1/p
SKIP_DECAY = 0.8  # of the running skip ratio that steers alpha
INTEGRAL_GAIN = 0.02
PROPORTIONAL_GAIN = 5.0


def evaluation_thresholds(blocks: int) -> np.ndarray:
    """Van der Corput sequence (base 2), float64 [blocks] in (0, 1): 1/2, 1/4, 3/4, 1/8, ..."""
    values = []
    for index in range(1, blocks + 1):
        value, base = 0.0, 0.5
        while index:
            value += base * (index & 1)
            index >>= 1
            base /= 2
        values.append(value)
    return np.array(values)


class SkipController:
    """Steers the cost weight alpha (never below 0) so that the skip ratio meets its target."""

    def __init__(self, target: float) -> None:
        self.target = target
        self.skip = target
        self.integral = 0.0

    @property
    def alpha(self) -> float:
        """Weight of the cost term for the next mini-batch."""
        return max(0.0, self.integral + PROPORTIONAL_GAIN * (self.target - self.skip))

    def observe(self, skip: float) -> None:
        """Take in one mini-batch's skip ratio."""
        self.skip = SKIP_DECAY * self.skip + (1.0 - SKIP_DECAY) * skip
        self.integral = max(0.0, self.integral + INTEGRAL_GAIN * (self.target - self.skip))


class SluGates:
    """The skip policy of SLU: gates, their decisions and their gradients."""

    wants_products = True

    def __init__(self, spec: NetworkSpec, counter: Counter, target: float, seed: int) -> None:
        self.blocks = spec.skippable_blocks
        total = sum(block.macs for block in self.blocks)
        self.cost = np.array([block.macs / total for block in self.blocks])
        self.counter = counter
        self.seed = seed
        self.parameters: GateParameters = initial_gates(spec, 1.0 - target, seed)
        self.cell = GateCell(self.parameters)
        self.controller = SkipController(target)
        self.thresholds = evaluation_thresholds(len(self.blocks))
        self.ran = np.zeros((len(self.blocks), 0), bool)

    def begin(self, iteration: int, samples: int, training: bool) -> None:
        self.samples, self.training = samples, training
        self.cell.begin(samples)
        self.ran = np.ones((len(self.blocks), samples), bool)
        self.products: list[np.ndarray | None] = [None] * len(self.blocks)
        if training:
            words = raw_words(self.seed, "gate decisions", iteration, samples * len(self.blocks))
            self.draws = ((words >> np.uint64(11)) * 2.0**-53).reshape(len(self.blocks), samples)

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        block = self.blocks[index]
        geometry = block.units[0].geometry
        rows, columns = (-(-s // -(-s // GRID_POINTS)) for s in (geometry.height, geometry.width))
        features = arithmetic.gate_features(block, stream, GRID_POINTS) / (rows * columns)
        probability = self.cell.step(features)
        self.counter.record(Processor(GATE_MACS, self.samples * gate_macs(block)))
        threshold = self.draws[index] if self.training else self.thresholds[index]
        self.ran[index] = threshold < probability
        return self.ran[index]

    def scale(self, index: int) -> float:
        return 1.0

    def observe(self, index: int, products: np.ndarray) -> None:
        self.products[index] = products

    @property
    def skip_ratio(self) -> float:
        """Share of the skippable blocks' forward MACs that the last mini-batch skipped."""
        return float(self.cost @ (1.0 - self.ran.mean(axis=1)))

    def gradients(self) -> GateParameters:
        """Gradients of loss + alpha * C, averaged over the mini-batch; after the network's own.

        C is the expected share of the skippable blocks' MACs that run (eq. 1); steering follows.
        """
        alpha = self.controller.alpha
        g_probability = []
        for index, step in enumerate(self.cell.steps):
            g = np.full(self.samples, alpha * self.cost[index])
            products = self.products[index]
            if products is not None:
                ran = self.ran[index]
                g[ran] += products / np.maximum(step.probability[ran], SMALLEST_PROBABILITY)
            g_probability.append(g / self.samples)
        gradients = self._backward(g_probability)
        if self.controller.skip > self.controller.target:
            per_sample = self.cost / self.samples
            cost = self._backward([np.full(self.samples, share) for share in per_sample])
            gradients = without_closing(gradients, cost)
        self.controller.observe(self.skip_ratio)
        return gradients

    def _backward(self, g_probability: list[np.ndarray]) -> GateParameters:
        macs = 2 * self.samples * sum(map(gate_macs, self.blocks))
        self.counter.record(Processor(GATE_MACS, macs))
        return self.cell.backward(g_probability)


def without_closing(gradients: GateParameters, cost: GateParameters) -> GateParameters:
    """Gradient projection (Rosen 1960): take out the part whose descent would skip still more.

    Used beyond the target only. Early in training a block can hurt more than it helps; its gate
    would close, the block would see no samples and never learn, and since alpha is never negative
    nothing would open the gate again. `cost` is the gradient of C; steps that open gates, and
    those that leave C as it is, pass.
    """
    along = math.fsum(float(column_sums((gradients[n] * cost[n]).reshape(-1, 1))[0]) for n in cost)
    norm = math.fsum(float(column_sums((cost[n] * cost[n]).reshape(-1, 1))[0]) for n in cost)
    if along <= 0 or norm == 0:
        return gradients
    scale = np.float32(along / norm)
    return {name: gradient - scale * cost[name] for name, gradient in gradients.items()}
