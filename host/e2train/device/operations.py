# SPDX-License-Identifier: Apache-2.0
"""One operation of training: what it multiplies and moves, and what its time follows from.

The engine records operations as it executes them (`Counter.record`); `cost.counts` works out the
same. Counts of multiply-accumulates and bytes, the board's seconds and its joules all derive from
them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Generic, TypeGuard, TypeVar

from .geometry import Geometry, hash_once

if TYPE_CHECKING:
    from .counter import Counter

_Answer = TypeVar("_Answer")
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

    __hash__ = hash_once

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

    __hash__ = hash_once

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

# The engine records the same operations iteration after iteration: one object each.
convolution_once = lru_cache(maxsize=1 << 16)(Convolution)
vector_once = lru_cache(maxsize=1 << 16)(Vector)
processor_once = lru_cache(maxsize=1 << 16)(Processor)


def changes(operation: Operation) -> TypeGuard[Convolution]:
    """Whether this may never be recorded again: PSG's pass, whose unsure weights vary."""
    return type(operation) is Convolution and operation.predictor is not None


class ByIdentity(Generic[_Answer]):
    """What `find` makes of an operation, remembered for the object: quicker than by its value."""

    MOST = 1 << 16

    def __init__(self, find: Callable[[Any], _Answer]) -> None:
        self._find = find
        self._known: dict[int, tuple[Operation, _Answer]] = {}

    def __call__(self, operation: Operation) -> _Answer:
        known = self._known.get(id(operation))
        if known is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            # the operation is held, so that no other object can have its identity
            known = self._known[id(operation)] = (operation, self._find(operation))
        return known[1]


class Repeated(Generic[_Answer]):
    """What `find` makes of those operations of a list that do not change (`changes`).

    Iterations repeat them in the same order, so that the list is known by its objects' identities.
    """

    MOST = 256

    def __init__(self, find: Callable[[list[Any]], _Answer]) -> None:
        self._find = find
        self._known: dict[tuple[int, ...], tuple[list[Operation], _Answer]] = {}

    def split(self, operations: Sequence[Operation]) -> tuple[_Answer, list[Convolution]]:
        """The answer for those that do not change, and those that do."""
        changing: list[Convolution] = []
        same: list[Operation] = []
        for one in operations:
            if type(one) is Convolution and one.predictor is not None:
                changing.append(one)
            else:
                same.append(one)
        key = tuple(map(id, same))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= self.MOST:
                self._known.clear()
            known = self._known[key] = (same, self._find(same))
        return known[1], changing
