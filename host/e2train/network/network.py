# SPDX-License-Identifier: Apache-2.0
"""Explicit forward and backward over a network's blocks, skipping what a policy says to skip.

No autograd: what is computed, in which order, is what the hardware runs. A skipped sample's block
is left out of both directions; batch-norm statistics come from the samples that ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from ..device.operations import MERGE, TAKE, Vector
from ..errors import UserError
from ..numerics.portable import softmax
from .arithmetic import Arithmetic, Gradients, Value
from .parameters import Parameters
from .spec import Block, NetworkSpec, Unit


class SkipPolicy(Protocol):
    """Decides which samples run through a skippable block, and learns from what came of it."""

    ran: np.ndarray
    """bool [skippable blocks, N]: which samples of the last mini-batch ran each block."""

    @property
    def skip_ratio(self) -> float:
        """Share of the skippable blocks' forward MACs that the last mini-batch skipped."""

    def begin(self, iteration: int, samples: int, training: bool) -> None:
        """A new mini-batch."""

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        """bool [N]: which samples run skippable block `index`."""

    def explored(self, index: int) -> np.ndarray:
        """bool [N]: which of the skipped samples are computed forwards all the same, to learn."""

    def scale(self, index: int) -> float:
        """Factor on the block's residual branch (1 but for stochastic depth's evaluation)."""

    def wants_products(self, index: int) -> bool:
        """Whether `observe` is to be called for block `index`."""

    def observe(self, index: int, products: np.ndarray) -> None:
        """<g, F(x) - x> of the samples that ran block `index`, float64 [samples that ran]."""

    def observe_explored(self, index: int, products: np.ndarray) -> None:
        """The same of the explored samples, with g behind the block that they skipped."""


@dataclass
class _Explored:
    """Samples that skipped a block, what they kept, and what the block would have made of them."""

    samples: np.ndarray
    before: Value
    after: Value


@dataclass
class _Passage:
    """How a mini-batch went through one block."""

    block: Block
    index: int | None  # among the skippable blocks
    ran: np.ndarray | None  # sample indices; None: all
    before: Value  # shortcut of the samples that ran
    after: Value
    explored: _Explored | None = None


@dataclass
class Outcome:
    """Of one forward pass: mean loss, logits float64 [N, classes]."""

    loss: float
    logits: np.ndarray


class Network:
    """A network's blocks on an arithmetic, with master parameters on the host."""

    def __init__(
        self,
        spec: NetworkSpec,
        arithmetic: Arithmetic,
        parameters: Parameters,
        policy: SkipPolicy | None = None,
    ) -> None:
        self.spec = spec
        self.arithmetic = arithmetic
        self.parameters = parameters
        self.policy = policy
        self._passages: list[_Passage] = []

    # ---- forward --------------------------------------------------------------------------------

    def logits(self, images: np.ndarray, iteration: int, training: bool) -> np.ndarray:
        """Forward pass of uint8 images [N,C,H,W]: logits float64 [N, classes]."""
        first = next(self.spec.units()).geometry
        expected = (first.channels, first.height, first.width)
        if images.shape[1:] != expected:
            raise UserError(
                f"pictures of {images.shape[1:]}, but {self.spec.name} takes {expected}"
            )
        self.arithmetic.begin(self.spec, self.parameters, len(images), training)
        if self.policy is not None:
            self.policy.begin(iteration, len(images), training)
        self._passages.clear()
        stream = self.arithmetic.picture(images)
        skippable = 0
        for block in self.spec.blocks:
            index = skippable if block.skippable else None
            skippable += block.skippable
            stream = self._block_forward(block, index, stream, training)
        return self.arithmetic.classify(stream)

    def _block_forward(
        self, block: Block, index: int | None, stream: Value, training: bool
    ) -> Value:
        arithmetic, ran, scale = self.arithmetic, None, 1.0
        if self.policy is not None and index is not None:
            chosen = self.policy.decide(index, arithmetic, stream)
            scale = self.policy.scale(index)
            if not chosen.all():
                ran = np.flatnonzero(chosen)
        carried = arithmetic.shortcut(block, stream) if block.skippable else None
        if ran is not None and len(ran) == 0:
            if training:
                self._passages.append(_Passage(block, index, ran, None, None))
            return carried
        x = stream if ran is None else self._take(block.units[0].geometry.input_size, stream, ran)
        size = block.units[-1].geometry.output_size
        residual = self._residual(block, x, carried, ran)
        h = arithmetic.block_input(block, x)
        for unit in block.units[:-1]:
            h = arithmetic.unit_forward(unit, h, last=False, residual=None)
        after = arithmetic.unit_forward(
            block.units[-1], h, last=True, residual=residual, scale=scale
        )
        if training:
            explored = None if ran is None else self._explore(block, index, stream, carried)
            self._passages.append(_Passage(block, index, ran, residual, after, explored))
        return after if ran is None else self._merge(size, carried, ran, after)

    def _residual(self, block: Block, x: Value, carried: Value, ran: np.ndarray | None) -> Value:
        """The shortcut of the samples that run; the identity's is the block's input itself."""
        if ran is None:
            return carried
        if block.shortcut == "identity":
            return x
        return self._take(block.units[-1].geometry.output_size, carried, ran)

    def _explore(
        self, block: Block, index: int | None, stream: Value, carried: Value
    ) -> _Explored | None:
        """Skipped samples through the block, forwards, with the statistics of those that ran."""
        if self.policy is None or index is None:
            return None
        samples = np.flatnonzero(self.policy.explored(index))
        if not len(samples):
            return None
        x = self._take(block.units[0].geometry.input_size, stream, samples)
        before = self._residual(block, x, carried, samples)
        return _Explored(samples, before, self.arithmetic.explore(block, x, before))

    def _take(self, size: int, value: Value, ran: np.ndarray) -> Value:
        """The samples that run, of a tensor of `size` elements a sample."""
        bits, source = self.arithmetic.stream_bits, self.arithmetic.samples(value)
        operation = Vector(TAKE, TAKE, len(ran), size, 0, bits, bits, source)
        self.arithmetic.counter.record(operation)
        return self.arithmetic.take(value, ran)

    def _merge(self, size: int, base: Value, ran: np.ndarray, part: Value) -> Value:
        """`base` with what ran put back."""
        bits, samples = self.arithmetic.stream_bits, self.arithmetic.samples(base)
        operation = Vector(MERGE, MERGE, samples, size, 0, bits, bits, len(ran))
        self.arithmetic.counter.record(operation)
        return self.arithmetic.merge(base, ran, part)

    # ---- backward -------------------------------------------------------------------------------

    def forward_backward(
        self, images: np.ndarray, labels: np.ndarray, iteration: int
    ) -> tuple[Outcome, Gradients]:
        """One mini-batch: loss, and gradients of its mean (or PSG's signs) by parameter name."""
        outcome, g = self.forward(images, labels, iteration)
        return outcome, self.backward(g)

    def forward(
        self, images: np.ndarray, labels: np.ndarray, iteration: int
    ) -> tuple[Outcome, np.ndarray]:
        """The first half of `forward_backward`: loss, and each sample's gradient at the logits."""
        return cross_entropy(self.logits(images, iteration, training=True), labels)

    def backward(self, g: np.ndarray) -> Gradients:
        """The second half, for the mini-batch of the last `forward`."""
        stream, gradients = self.arithmetic.classify_backward(g, to_stream=True)
        while self._passages:
            stream = self._block_backward(self._passages.pop(), stream, gradients)
        return gradients

    def classifier_only(
        self, images: np.ndarray, labels: np.ndarray, iteration: int
    ) -> tuple[Outcome, Gradients]:
        """Gradients of the linear layer alone, the rest frozen (running batch-norm statistics)."""
        outcome, g = cross_entropy(self.logits(images, iteration, training=False), labels)
        return outcome, self.arithmetic.classify_backward(g, to_stream=False)[1]

    def _block_backward(self, passage: _Passage, stream: Value, gradients: Gradients) -> Value:
        arithmetic, block, ran = self.arithmetic, passage.block, passage.ran
        if ran is not None and len(ran) == 0:
            return arithmetic.shortcut_backward(block, stream)
        size = block.units[-1].geometry.output_size
        g = stream if ran is None else self._take(size, stream, ran)
        policy, index = self.policy, passage.index
        if policy is not None and index is not None and policy.wants_products(index):
            products = arithmetic.gate_products(block, g, passage.after, passage.before)
            policy.observe(index, products)
            self._observe_explored(passage, stream)
        g = arithmetic.output_mask(block.units[-1], g)
        residual = arithmetic.shortcut_backward(block, g) if block.skippable else None
        back = self._units_backward(block.units, g, residual, block.name == "stem", gradients)
        if ran is None:
            return back
        carried = arithmetic.shortcut_backward(block, stream)
        return self._merge(block.units[0].geometry.input_size, carried, ran, back)

    def _observe_explored(self, passage: _Passage, stream: Value) -> None:
        explored, block = passage.explored, passage.block
        if explored is None or self.policy is None or passage.index is None:
            return
        g = self._take(block.units[-1].geometry.output_size, stream, explored.samples)
        products = self.arithmetic.gate_products(block, g, explored.after, explored.before)
        self.policy.observe_explored(passage.index, products)

    def _units_backward(
        self,
        units: tuple[Unit, ...],
        g: Value,
        residual: Value | None,
        stem: bool,
        gradients: Gradients,
    ) -> Value:
        for position in reversed(range(len(units))):
            first = position == 0
            g, found = self.arithmetic.unit_backward(
                units[position],
                g,
                previous=None if first else units[position - 1],
                residual=residual if first else None,
                stem=stem and first,
            )
            gradients.update(found)
        return g


def cross_entropy(logits: np.ndarray, labels: np.ndarray) -> tuple[Outcome, np.ndarray]:
    """Softmax cross-entropy: mean loss, and each sample's own gradient p - onehot."""
    p = softmax(logits)
    rows = np.arange(len(labels))
    with np.errstate(divide="ignore", invalid="ignore"):
        loss = float(-np.log(p[rows, labels]).mean())
    p[rows, labels] -= 1.0
    return Outcome(loss, logits), p
