# SPDX-License-Identifier: Apache-2.0
"""One operation of training: what it multiplies and moves, and what its time follows from.

The engine records operations as it executes them (`Counter.record`); `cost.counts` works out the
same. Counts of multiply-accumulates and bytes, the board's seconds and its joules all derive from
them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from .geometry import Geometry

if TYPE_CHECKING:
    from .counter import Counter

FLOAT_BITS = 32
GATE_MACS, UNITS, WEIGHTS, LOGITS, PIXELS = "gate MACs", "units", "weights", "logits", "pixels"
TAKE, MERGE = "take", "merge"
VECTOR_KINDS = (
    "normalise",
    "normalise_backward",
    "mask",
    "narrow",
    "shortcut",
    TAKE,
    MERGE,
    "pool",
    "spread",
    "gate_features",
    "gate_products",
)
UNCOUNTED = ("narrow", TAKE, MERGE, "spread", "gate_features")
"""Kinds that only rearrange: they take time, but the reference array's bytes leave them out."""


@dataclass(frozen=True)
class Convolution:
    """One pass of a convolution (`forward`, `backward_input`, `backward_weight`).

    bits: operand widths, (x, w), (g, w) or (x, g); stored: width of a result's element; fused:
    widths of what the store of an input gradient reads besides (a mask, a residual); exact: the
    sums leave as they are. predictor: PSG's operand widths, where the predictor runs over all
    weights first and the pass over `unsure` of them only.
    """

    pass_: str
    layer: str
    geometry: Geometry
    samples: int
    bits: tuple[int, int]
    stored: int
    fused: tuple[int, ...] = ()
    exact: bool = False
    predictor: tuple[int, int] | None = None
    unsure: int = 0

    def count(self, counter: Counter) -> None:
        """Multiply-accumulates and bytes."""
        geometry, share = self.geometry, 1.0
        if self.predictor is not None:
            counter.convolution("predictor", geometry, self.samples, *self.predictor, self.stored)
            share = self.unsure / geometry.weights
        counter.convolution(self.pass_, geometry, self.samples, *self.bits, self.stored, share)
        for bits in self.fused:
            counter.elementwise(bits * self.samples * geometry.input_size, 0)


@dataclass(frozen=True)
class Vector:
    """Work on whole tensors that multiplies nothing in the array (`VECTOR_KINDS`).

    size: elements a sample that it writes, or sums up; channels: those with coefficients or sums
    of their own; read, written: bits an element, over all tensors read. source: of a shortcut and
    of a gate's grid, elements a sample that are read, rows as a whole; of take and merge, samples
    of the (other) tensor read. rows: of a grid, rows of all channels, if others lie between them.
    """

    kind: str
    layer: str
    samples: int
    size: int
    channels: int
    read: int
    written: int
    source: int = 0
    rows: int = 0

    def count(self, counter: Counter) -> None:
        """Bytes, where the reference array's count has them."""
        if self.kind not in UNCOUNTED:
            elements = self.samples * self.size
            counter.elementwise(elements * self.read, elements * self.written)


@dataclass(frozen=True)
class Processor:
    """Work of the processor: `amount` of a `unit` (gate MACs, units, weights, logits, pixels)."""

    unit: str
    amount: int

    def count(self, counter: Counter) -> None:
        """The gates' multiply-accumulates; nothing else is counted."""
        if self.unit == GATE_MACS:
            counter.mac("gate", FLOAT_BITS, FLOAT_BITS, self.amount)


Operation = Convolution | Vector | Processor
