# SPDX-License-Identifier: Apache-2.0
"""Training that keeps fewer tensors: blocks run forwards once more before their backward pass.

Chen et al., "Training deep nets with sublinear memory cost", 2016: of every few blocks only the
first one's input stays in memory between the passes. This plans memory and counts the work; no
training does it yet.
"""

from __future__ import annotations

import numpy as np

from ..network.arithmetic import Gradients, Value
from ..network.integer import FixedArithmetic
from ..network.network import Network, Outcome, cross_entropy
from ..network.parameters import Parameters
from ..network.spec import Block, NetworkSpec


class RecomputingNetwork(Network):
    """Of every `every` blocks in a row, keeps the first one's input alone for the backward pass.

    For plans alone: the blocks' second pass would update the running statistics and the exponents
    once more, so that its integers are not those of training.
    """

    def __init__(
        self, spec: NetworkSpec, arithmetic: FixedArithmetic, parameters: Parameters, every: int
    ) -> None:
        super().__init__(spec, arithmetic, parameters)
        self._fixed = arithmetic
        blocks = spec.blocks
        self._segments = [blocks[at : at + every] for at in range(0, len(blocks), every)]

    def forward_backward(
        self, images: np.ndarray, labels: np.ndarray, iteration: int
    ) -> tuple[Outcome, Gradients]:
        self.arithmetic.begin(self.spec, self.parameters, len(images), training=True)
        self._passages.clear()
        stream, inputs = self.arithmetic.picture(images), []
        for segment in self._segments:
            inputs.append(stream)
            stream = self._through(segment, stream)
            if segment is not self._segments[-1]:
                self._drop(segment)
        outcome, g = cross_entropy(self.arithmetic.classify(stream), labels)
        del stream
        back, gradients = self.arithmetic.classify_backward(g, to_stream=True)
        for segment in reversed(self._segments):
            start = inputs.pop()
            if segment is not self._segments[-1]:
                self._through(segment, start)
            del start
            while self._passages:
                back = self._block_backward(self._passages.pop(), back, gradients)
        return outcome, gradients

    def _through(self, segment: tuple[Block, ...], stream: Value) -> Value:
        for block in segment:
            stream = self._block_forward(block, None, stream, training=True)
        return stream

    def _drop(self, segment: tuple[Block, ...]) -> None:
        self._passages.clear()
        for block in segment:
            self._fixed.forget(block.units)
