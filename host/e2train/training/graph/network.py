# SPDX-License-Identifier: Apache-2.0
"""Forward and backward over a network's blocks on tensors: the walk of `network.network`.

All samples go through all blocks; a mask says which of them count. What comes out equals what the
host's walk makes of the samples that ran alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ...network.spec import Block, NetworkSpec
from . import real
from .arithmetic import GraphArithmetic, Tensor, Tensors, Value
from .policy import GraphPolicy


@dataclass
class _Passage:
    """How a mini-batch went through one block."""

    block: Block
    index: int | None  # among the skippable blocks
    ran: Tensor | None  # bool [N]; None: all
    before: Value
    after: Value


@dataclass
class Passed:
    """Of one mini-batch: each sample's probability of its label, float64 [N], and gradients."""

    picked: Tensor
    gradients: Tensors


class GraphNetwork:
    """A network's blocks on an arithmetic; `where` is the torch device of all tensors."""

    def __init__(
        self,
        spec: NetworkSpec,
        arithmetic: GraphArithmetic,
        policy: GraphPolicy | None,
        where: torch.device,
    ) -> None:
        self.spec, self.arithmetic, self.policy = spec, arithmetic, policy
        #: Of the last mini-batch: bool [N] for each skippable block, None where all ran.
        self.ran: list[Tensor | None] = []
        self._classes = torch.arange(spec.classifier.filters, device=where)
        self._passages: list[_Passage] = []

    def logits(self, images: Tensor, row: Tensors, training: bool) -> Tensor:
        """uint8 images [N,C,H,W] to logits float64 [N, classes]; `row`: what the policy draws."""
        self.arithmetic.begin(training)
        if self.policy is not None:
            self.policy.begin(row, images.shape[0], training)
        self._passages.clear()
        self.ran.clear()
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
            ran = self.policy.decide(index, arithmetic, stream)
            scale = self.policy.scale(index)
        if index is not None:
            self.ran.append(ran)
        carried = arithmetic.shortcut(block, stream) if block.skippable else None
        h = arithmetic.block_input(block, stream, ran)
        for unit in block.units:
            last = unit is block.units[-1]
            h = arithmetic.unit_forward(
                unit,
                h,
                last=last,
                residual=carried if last else None,
                scale=scale if last else 1.0,
                ran=ran,
            )
        if training:
            self._passages.append(_Passage(block, index, ran, carried, h))
        return h if ran is None else arithmetic.merge(carried, ran, h)

    def ran_counts(self, samples: int) -> Tensor:
        """int64 [skippable blocks]: samples of the last mini-batch that ran each."""
        every = torch.full((), samples, dtype=torch.int64, device=self._classes.device)
        return torch.stack([every if ran is None else ran.sum() for ran in self.ran])

    def forward_backward(self, images: Tensor, labels: Tensor, row: Tensors) -> Passed:
        """One mini-batch, labels int64 [N]: gradients of its mean loss (or PSG's signs)."""
        picked, g = self._cross_entropy(self.logits(images, row, True), labels)
        stream, gradients = self.arithmetic.classify_backward(g)
        while self._passages:
            stream = self._block_backward(self._passages.pop(), stream, gradients)
        return Passed(picked, gradients)

    def _cross_entropy(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Softmax: each sample's probability of its label, and its own gradient p - onehot."""
        p = real.softmax(logits)
        picked = p.gather(1, labels[:, None])[:, 0]
        return picked, torch.where(labels[:, None] == self._classes, p - 1.0, p)

    def _block_backward(self, passage: _Passage, stream: Value, gradients: Tensors) -> Value:
        arithmetic, block, ran = self.arithmetic, passage.block, passage.ran
        policy, index = self.policy, passage.index
        if policy is not None and index is not None and policy.wants_products(index):
            products = arithmetic.gate_products(block, stream, passage.after, passage.before)
            policy.observe(index, products)
        g = arithmetic.output_mask(block.units[-1], stream)
        residual = arithmetic.shortcut_backward(block, g) if block.skippable else None
        for position in reversed(range(len(block.units))):
            first = position == 0
            g, found = arithmetic.unit_backward(
                block.units[position],
                g,
                previous=None if first else block.units[position - 1],
                residual=residual if first else None,
                stem=block.name == "stem" and first,
                ran=ran,
            )
            gradients.update(found)
        if ran is None:
            return g
        return arithmetic.merge(arithmetic.shortcut_backward(block, stream), ran, g)
