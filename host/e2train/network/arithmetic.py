# SPDX-License-Identifier: Apache-2.0
"""What a network asks of its arithmetic; `fixed` (the integer contract) and `float32` implement it.

A `Value` is a full tensor in the arithmetic's own form. The *stream* is the residual stream that
runs from block to block; a block works on `block_input(stream)`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np

from ..device.counter import Counter
from ..device.operations import Vector, vector_once
from .parameters import Parameters
from .spec import Block, NetworkSpec, Unit

Value = Any
# Parameter name -> gradient, float32, averaged over the batch; of PSG the signs, int8.
Gradients = dict[str, np.ndarray]


RUNNING_MOMENTUM = 0.1


class RunningShare:
    """By how much a mini-batch moves the running batch-norm statistics.

    In training by RUNNING_MOMENTUM, times the share of the samples that ran. After `restart` by
    what makes them the mean over all samples since: no trace is left of earlier statistics.
    """

    def __init__(self) -> None:
        self._seen: dict[str, int] | None = None

    def restart(self) -> None:
        """Forget all earlier mini-batches and weigh those to come alike, until `resume`."""
        self._seen = {}

    def resume(self) -> None:
        """Back to a running mean."""
        self._seen = None

    def of(self, unit: str, samples: int, batch: int) -> float:
        """The weight of the `samples` of a mini-batch of `batch` that ran the unit."""
        if self._seen is None:
            return RUNNING_MOMENTUM * samples / batch
        self._seen[unit] = self._seen.get(unit, 0) + samples
        return samples / self._seen[unit]


class Arithmetic(ABC):
    """Forward and explicit backward of the parts of a network, with exact counting of the work."""

    counter: Counter
    running: RunningShare
    stream_bits: int
    """Bits in memory of an element of the stream, and of its gradient."""

    @abstractmethod
    def begin(self, spec: NetworkSpec, parameters: Parameters, batch: int, training: bool) -> None:
        """Start an iteration (or an evaluation) with these parameters; forget the last one's."""

    @abstractmethod
    def picture(self, images: np.ndarray) -> Value:
        """uint8 images [N,C,H,W], normalised as the arithmetic needs them."""

    @abstractmethod
    def samples(self, value: Value) -> int:
        """Number of samples in a value."""

    @abstractmethod
    def take(self, value: Value, samples: np.ndarray) -> Value:
        """Some samples of a value."""

    @abstractmethod
    def merge(self, base: Value, samples: np.ndarray, part: Value) -> Value:
        """`base` with some samples replaced."""

    @abstractmethod
    def shortcut(self, block: Block, stream: Value) -> Value:
        """What the block's shortcut makes of the stream."""

    @abstractmethod
    def block_input(self, block: Block, stream: Value) -> Value:
        """The operand of the block's first convolution."""

    @abstractmethod
    def unit_forward(
        self, unit: Unit, x: Value, *, last: bool, residual: Value | None, scale: float = 1.0
    ) -> Value:
        """Convolution, batch norm (times `scale`), residual add, activation.

        `last`: the result is the stream.
        """

    @abstractmethod
    def explore(self, block: Block, stream: Value, residual: Value) -> Value:
        """The block's result for other samples than those of its last forward pass.

        With that pass's batch statistics and exponents; nothing is kept for a backward pass.
        """

    @abstractmethod
    def classify(self, stream: Value) -> np.ndarray:
        """Average pooling and the linear layer: logits float64 [N, classes]."""

    @abstractmethod
    def classify_backward(self, g: np.ndarray, *, to_stream: bool) -> tuple[Value, Gradients]:
        """From the loss gradient [N, classes] of each sample to the stream's gradient."""

    @abstractmethod
    def output_mask(self, unit: Unit, g: Value) -> Value:
        """The gradient through the last unit's activation."""

    @abstractmethod
    def unit_backward(
        self, unit: Unit, g: Value, *, previous: Unit | None, residual: Value | None, stem: bool
    ) -> tuple[Value, Gradients]:
        """Backward of `unit_forward` from its batch norm's output gradient `g`.

        The result is the gradient at `previous`'s batch norm, or (`previous` None) the stream's
        gradient with `residual` added; with `stem` nothing, as the picture needs no gradient.
        """

    @abstractmethod
    def shortcut_backward(self, block: Block, g: Value) -> Value:
        """The stream's gradient through the block's shortcut."""

    @abstractmethod
    def gate_features(self, block: Block, stream: Value, points: int) -> np.ndarray:
        """Channel sums over a grid of positions of the block's input, float64 [N, C]."""

    @abstractmethod
    def gate_products(self, block: Block, g: Value, after: Value, before: Value) -> np.ndarray:
        """Per-sample <g, after - before> in real units, float64 [N]."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """JSON-able state that a checkpoint needs besides the parameters."""

    @abstractmethod
    def restore(self, state: dict[str, Any]) -> None:
        """Take up the state of a checkpoint."""


def shortcut_work(block: Block, samples: int, size: int, bits: int) -> Vector:
    """A parameter-free shortcut, forward or back: `size` elements a sample written."""
    first, last = block.units[0].geometry, block.units[-1].geometry
    rows, row = first.channels * last.out_height, last.out_width
    strided = size == last.output_size and first.stride > 1
    if strided:  # rows are read from the first element that is kept to the last
        row = (row - 1) * first.stride + 1
    return vector_once(
        *("shortcut", block.name, samples, size, first.channels, bits, bits),
        source=rows * row,
        rows=rows if strided else 0,
    )


def grid_work(block: Block, samples: int, points: int, bits: int) -> Vector:
    """What a gate looks at: sums over a grid of about `points` x `points` positions a channel."""
    geometry = block.units[0].geometry
    row_step, column_step = (-(-size // points) for size in (geometry.height, geometry.width))
    rows = geometry.channels * -(-geometry.height // row_step)
    columns = -(-geometry.width // column_step)
    whole = (columns - 1) * column_step + 1
    return vector_once(
        *("gate_features", block.name, samples, rows * columns, geometry.channels, bits, 0),
        source=rows * whole,
        rows=rows if row_step > 1 or whole < geometry.width else 0,
    )
