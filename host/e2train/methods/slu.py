# SPDX-License-Identifier: Apache-2.0
"""Selective layer update (E2-Train, section 3.2, eq. 1): learned gates skip blocks per sample.

Training draws each decision from the gate's probability p; a skipped sample's block is not computed
in either direction, but for a small random share q of the skipped samples, whose block is computed
forwards only, to learn what skipping cost. What running the block changes in a sample's loss is
taken by the trapezoidal rule along the step from x to F(x): the mean of <g, F(x) - x> with g at
F(x), known where the sample ran, and with g at x, known where it was skipped and explored. Weighted
by 1/p and 1/((1 - p) q) both keep their expectation. (A first-order estimate from the samples that
ran alone takes g behind the step only; the loss being convex there, it makes every block look
harmful and closes all gates.)

How much is skipped is not the gradient's business: one offset, added to all gates' logits, is
steered so that the skip ratio meets its target. Of each gradient the part that would change the
cost C of eq. 1 is projected out (Rosen 1960): it moves the skipping to where it costs least.
Evaluation draws as training does, from a fixed seed, and so skips as much.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device.counter import Counter
from ..device.operations import GATE_MACS, processor_once
from ..errors import UserError
from ..network.arithmetic import Arithmetic, Value
from ..network.spec import NetworkSpec
from ..numerics.gate_cell import LEAST_PROBABILITY
from ..numerics.portable import column_sums, dot
from ..rng import raw_words
from .slu_gates import (
    GRID_POINTS,
    GateCell,
    GateParameters,
    gate_macs,
    gate_slope,
    initial_gates,
    logit,
)

GATED = ("identity", "all")
SKIP_DECAY = 0.9  # of the running skip ratio that steers the offset
INTEGRAL_GAIN = 0.5
PROPORTIONAL_GAIN = 4.0
LONGEST_BURST = 8.0


def exploring_burst(explore: float) -> float:
    """A block explores in one of so many mini-batches, and then so many times `explore`.

    A few samples cost the accelerator as much as a group of them, so exploring is done seldom and
    with many at once; each skipped sample's chance is `explore` all the same.
    """
    return min(LONGEST_BURST, 1.0 / explore) if explore else LONGEST_BURST


def gated_blocks(spec: NetworkSpec, gated: str) -> tuple[bool, ...]:
    """Which of the skippable blocks have a gate, bool [skippable blocks].

    "all"; or "identity": those whose shortcut is the identity, but for the one right behind the
    stem. A transition's shortcut pads with zeros and so cannot stand for the block, and the first
    block makes of the stem's edges the features that all others refine; skipping either costs many
    times what skipping an identity block does (the authors' code never skips the first one).
    """
    behind_stem = spec.blocks[1].name
    return tuple(
        gated == "all" or (block.shortcut == "identity" and block.name != behind_stem)
        for block in spec.skippable_blocks
    )


def gated_names(spec: NetworkSpec, gated: str) -> frozenset[str]:
    """The names of the blocks that have a gate."""
    has = gated_blocks(spec, gated)
    return frozenset(b.name for b, gate in zip(spec.skippable_blocks, has, strict=True) if gate)


def reach(spec: NetworkSpec, gated: str) -> float:
    """The largest skip ratio that the gated blocks allow."""
    share = float(spec.block_shares()[np.array(gated_blocks(spec, gated))].sum())
    return share * (1.0 - LEAST_PROBABILITY)


def first_probability(spec: NetworkSpec, target: float, gated: str) -> float:
    """The probability of running a gated block that skips `target` of all skippable blocks' MACs.

    Raises UserError where the gated blocks are too few for it.
    """
    most = reach(spec, gated)
    share = most / (1.0 - LEAST_PROBABILITY)
    if target > most:
        deeper = "take a deeper network or slu.gated = 'all'"
        advice = deeper if gated == "identity" else "take less"
        raise UserError(
            f"slu.skip = {target}: the gated blocks of {spec.name} (slu.gated = {gated!r}) have "
            f"{share:.0%} of the residual blocks' work and can skip {most:.0%} at most: {advice}"
        )
    return 1.0 - target / share


class SkipController:
    """Steers the offset of all gates' logits so that the skip ratio meets its target."""

    def __init__(self, target: float, probability: float) -> None:
        self.target = target
        self.skip = target
        self.integral = logit(probability)

    @property
    def offset(self) -> float:
        """What the next mini-batch's logits are raised by."""
        return self.integral + PROPORTIONAL_GAIN * (self.skip - self.target)

    def observe(self, skip: float) -> None:
        """Take in one mini-batch's skip ratio."""
        self.skip = SKIP_DECAY * self.skip + (1.0 - SKIP_DECAY) * skip
        self.integral += INTEGRAL_GAIN * (self.skip - self.target)


@dataclass
class _Seen:
    """What a mini-batch has shown of one block: <g, F(x) - x> of samples, float64."""

    ran: np.ndarray | None = None
    explored: np.ndarray | None = None


class SluGates:
    """The skip policy of SLU: gates, their decisions and their gradients."""

    def __init__(
        self,
        spec: NetworkSpec,
        counter: Counter,
        target: float,
        seed: int,
        *,
        gated: str = "identity",
        explore: float = 0.1,
    ) -> None:
        self.blocks = spec.skippable_blocks
        self.cost = spec.block_shares()
        self.gated = gated_blocks(spec, gated)
        self.explore = explore
        self.counter = counter
        self.seed = seed
        self.controller = SkipController(target, first_probability(spec, target, gated))
        chosen = tuple(b for b, has in zip(self.blocks, self.gated, strict=True) if has)
        self.parameters: GateParameters = initial_gates(chosen, seed)
        self.cell = GateCell(self.parameters)
        self._gate_macs = sum(map(gate_macs, chosen))
        self.ran = np.zeros((len(self.blocks), 0), bool)

    def begin(self, iteration: int, samples: int, training: bool) -> None:
        self.samples, self.training = samples, training
        self.cell.begin(samples, self.controller.offset)
        size = (len(self.blocks), samples)
        self.ran, self.chosen = np.ones(size, bool), np.zeros(size, bool)
        self.seen = [_Seen() for _ in self.blocks]
        self.draws = self.draw(iteration, samples, training)
        self.exploring = self.draw_explored(iteration, samples)

    def draw(self, iteration: int, samples: int, training: bool) -> np.ndarray:
        """What the gates' probabilities are compared with, float64 [blocks, samples] in [0, 1)."""
        kind = "gate decisions" if training else "gate decisions in evaluation"
        return self._uniform(kind, iteration, samples)

    def draw_explored(self, iteration: int, samples: int) -> np.ndarray:
        """bool [blocks, samples]: which samples are explored where they are skipped."""
        burst = exploring_burst(self.explore)
        some = self._uniform("gate exploration", iteration, samples) < self.explore * burst
        return some & (self._uniform("gate exploration's blocks", iteration, 1) < 1.0 / burst)

    def _uniform(self, kind: str, iteration: int, samples: int) -> np.ndarray:
        words = raw_words(self.seed, kind, iteration, samples * len(self.blocks))
        return ((words >> np.uint64(11)) * 2.0**-53).reshape(len(self.blocks), samples)

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        if not self.gated[index]:
            return self.ran[index]
        block = self.blocks[index]
        geometry = block.units[0].geometry
        rows, columns = (-(-s // -(-s // GRID_POINTS)) for s in (geometry.height, geometry.width))
        features = arithmetic.gate_features(block, stream, GRID_POINTS) / (rows * columns)
        probability = self.cell.step(features)
        self.counter.record(processor_once(GATE_MACS, self.samples * gate_macs(block)))
        self.ran[index] = self.draws[index] < probability
        if self.training and self.ran[index].any():  # else no batch statistics to explore with
            self.chosen[index] = ~self.ran[index] & self.exploring[index]
        return self.ran[index]

    def explored(self, index: int) -> np.ndarray:
        return self.chosen[index]

    def scale(self, index: int) -> float:
        return 1.0

    def wants_products(self, index: int) -> bool:
        return self.gated[index]

    def observe(self, index: int, products: np.ndarray) -> None:
        self.seen[index].ran = products

    def observe_explored(self, index: int, products: np.ndarray) -> None:
        self.seen[index].explored = products

    @property
    def skip_ratio(self) -> float:
        """Share of the skippable blocks' forward MACs that the last mini-batch skipped."""
        return dot(self.cost, 1.0 - self.ran.mean(axis=1))

    def estimates(self) -> np.ndarray:
        """Estimates of what running each gated block adds to the loss, float64 [gates, N].

        0 for samples that were skipped and not explored; the mean over draws is the estimate.
        """
        found = np.zeros((len(self.cell.steps), self.samples))
        gated = [index for index, has in enumerate(self.gated) if has]
        for estimate, step, index in zip(found, self.cell.steps, gated, strict=True):
            p, seen = step.probability, self.seen[index]
            ran, chosen = self.ran[index], self.chosen[index]
            if seen.ran is not None:
                estimate[ran] = seen.ran / (2.0 * p[ran])
            if seen.explored is not None:
                estimate[chosen] = seen.explored / (2.0 * (1.0 - p[chosen]) * self.explore)
        return found

    def gradients(self) -> GateParameters:
        """Gradients of the loss averaged over the mini-batch, without what would change the cost.

        Steering follows, so this is asked for once a mini-batch.
        """
        slopes = np.array([gate_slope(step.open) for step in self.cell.steps])
        changes = at_equal_cost(self.estimates(), slopes, self.cost[np.array(self.gated)])
        self.counter.record(processor_once(GATE_MACS, 2 * self.samples * self._gate_macs))
        self.controller.observe(self.skip_ratio)
        return self.cell.backward(list(changes / self.samples))


def at_equal_cost(estimates: np.ndarray, slopes: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """Estimates from which the part that would change the cost C (eq. 1) is taken out.

    Gradient projection (Rosen 1960) in the gates' logits: of the gradient estimates * slopes what
    lies along the cost's, cost * slopes. estimates, slopes (of the probabilities over the logits)
    float64 [gates, N], cost [gates].
    """
    along = cost[:, None] * slopes * slopes
    products = estimates * along, cost[:, None] * along
    have, whole = (float(column_sums(one.reshape(-1, 1))[0]) for one in products)
    return estimates - (have / whole) * cost[:, None] if whole else estimates
