# SPDX-License-Identifier: Apache-2.0
"""Exact counts of multiply-accumulates and of bytes moved, by pass and operand width.

Counts are Python integers, so a whole training run adds up without rounding. What a convolution
moves rests on the assumptions stated at `Counter.convolution` (docs/cost.md explains them).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from .geometry import Geometry
from .operations import ByIdentity, Convolution, Operation, Repeated

PASSES = (
    "forward",
    "backward_input",
    "predictor",
    "backward_weight",
    "gate",
)
ELEMENTWISE = "elementwise"  # bytes that belong to no multiply-accumulate pass
LEVELS = ("dram", "buffer")
ARRAY_SIDE = 16  # the reference array is 16 x 16: an operand that is read serves up to 16 products

_WEIGHT_PASSES = ("predictor", "backward_weight")
_Widths = tuple[int, int]
Entries = tuple[tuple[str, str, Any, int], ...]


@dataclass(frozen=True)
class _Traffic:
    """What one pass of a convolution multiplies and moves, by how many of its weights it is for.

    positions: products a weight; operand_bits, result_bits: of both operands in memory, and of a
    result's element (of `results`, or one a weight where that is None).
    """

    positions: int
    operand_bits: int
    result_bits: int
    results: int | None
    reads: tuple[tuple[int, int], tuple[int, int]]  # of a and b: (reuse, bits)

    def of(self, weights: int) -> tuple[int, int, int]:
        """(multiply-accumulates, DRAM bytes, buffer bytes)."""
        macs = weights * self.positions
        out = weights if self.results is None else self.results
        dram = (self.operand_bits + out * self.result_bits) // 8
        (a_reuse, a_bits), (b_reuse, b_bits) = self.reads
        operands = -(-macs // a_reuse) * a_bits - (-macs // b_reuse) * b_bits
        return macs, dram, -(-operands // 8) + dram


@lru_cache(maxsize=1 << 16)
def _traffic(
    pass_: str, geometry: Geometry, samples: int, a_bits: int, b_bits: int, out_bits: int
) -> _Traffic:
    positions = samples * geometry.out_height * geometry.out_width
    x, y = samples * geometry.input_size, samples * geometry.output_size
    per_group = geometry.filters // geometry.groups
    results: int | None
    if pass_ in _WEIGHT_PASSES:
        a, b, results = x, y, None
        a_reuse, b_reuse = per_group, geometry.weights // geometry.filters
    elif pass_ == "backward_input":
        a, b, results = y, geometry.weights, x
        a_reuse, b_reuse = geometry.channels // geometry.groups, positions
    else:
        a, b, results = x, geometry.weights, y
        a_reuse, b_reuse = per_group, positions
    # an operand read from a buffer serves up to an array side of products
    reads = ((min(ARRAY_SIDE, a_reuse), a_bits), (min(ARRAY_SIDE, b_reuse), b_bits))
    operand_bits = a * _stored(a_bits) + b * _stored(b_bits)
    return _Traffic(positions, operand_bits, _stored(out_bits), results, reads)


class Counter:
    """Multiply-accumulates by pass and operand widths, and bytes moved by pass and memory level."""

    def __init__(self) -> None:
        self._counted_macs: dict[str, dict[_Widths, int]] = {}
        self._counted_bytes: dict[str, dict[str, int]] = {}
        self._operations: list[Operation] = []
        self._uncounted: list[Operation] = []

    # ---- counting -------------------------------------------------------------------------------

    def record(self, operation: Operation) -> None:
        """Count an operation that was executed, and keep it for `take_operations`."""
        self._operations.append(operation)
        self._uncounted.append(operation)

    def _count(self) -> None:
        """Take in what was recorded since it was last asked for."""
        operations, self._uncounted = self._uncounted, []
        entries, changing = _repeated.split(operations)
        self._add(entries)
        for operation in changing:
            self._add(_changing(operation))

    def _add(self, entries: Entries) -> None:
        macs, moved = self._counted_macs, self._counted_bytes
        for table, pass_, key, n in entries:
            counts: dict = macs if table == "macs" else moved
            inner = counts.setdefault(pass_, {})
            inner[key] = inner.get(key, 0) + n

    @property
    def _macs(self) -> dict[str, dict[_Widths, int]]:
        if self._uncounted:
            self._count()
        return self._counted_macs

    @property
    def _bytes(self) -> dict[str, dict[str, int]]:
        if self._uncounted:
            self._count()
        return self._counted_bytes

    def take_operations(self) -> list[Operation]:
        """The operations recorded since the last call, in order; they belong to no state."""
        taken, self._operations = self._operations, []
        return taken

    def mac(self, pass_: str, a_bits: int, b_bits: int, count: int) -> None:
        """Add `count` multiply-accumulates of `a_bits` x `b_bits` operands; 32 x 32 is float32.

        `pass_` is one of `PASSES`. Raises ValueError for another pass, a width below 1 or a
        negative count.
        """
        if pass_ not in PASSES:
            raise ValueError(f"pass_: {pass_!r} given, expected one of {', '.join(PASSES)}")
        if a_bits < 1 or b_bits < 1:
            raise ValueError(f"a_bits, b_bits: {a_bits}, {b_bits} given, expected at least 1")
        _add(self._macs, pass_, (operator.index(a_bits), operator.index(b_bits)), count)

    def move(self, level: str, count: int, pass_: str = ELEMENTWISE) -> None:
        """Add `count` bytes read or written at `level` (`dram` or `buffer`) for `pass_`."""
        if level not in LEVELS:
            raise ValueError(f"level: {level!r} given, expected one of {', '.join(LEVELS)}")
        if pass_ != ELEMENTWISE and pass_ not in PASSES:
            raise ValueError(f"pass_: {pass_!r} given, expected one of {', '.join(PASSES)}")
        _add(self._bytes, pass_, level, count)

    def convolution(
        self,
        pass_: str,
        geometry: Geometry,
        samples: int,
        a_bits: int,
        b_bits: int,
        out_bits: int,
        share: float = 1.0,
    ) -> None:
        """Count one pass of a convolution over `samples` samples, as executed.

        Operands in order (a, b): forward and gate (x, w); backward_input (g, w);
        predictor and backward_weight (x, g). `share` below 1 is PSG's full-precision pass over
        that share of the weights (rounded to whole weights) only; a share that rounds to no weight
        costs nothing.

        MACs: geometry.macs a sample, products with zero padding included, as the array runs them.
        DRAM: each operand and the result cross once a pass, at the width they are stored with
        (8, 16, 32 or 64 bits: predictor slices are cut on the chip, so 4 and 10 bits travel as 8
        and 16). With share < 1 the operands cross in full again, the result for the share only.
        Buffer: on a 16 x 16 array an operand read serves up to 16 products (fewer when the layer
        is narrower, one for the activations of a depthwise layer); what crosses DRAM also enters
        or leaves a buffer once.
        """
        if not 0.0 <= share <= 1.0:
            raise ValueError(f"share: {share} given, expected 0 to 1")
        samples = operator.index(samples)
        weights = geometry.weights if share == 1.0 else int(share * geometry.weights + 0.5)
        if samples <= 0 or weights == 0:
            return
        traffic = _traffic(pass_, geometry, samples, a_bits, b_bits, out_bits)
        macs, dram, buffer = traffic.of(weights)
        self.mac(pass_, a_bits, b_bits, macs)
        self.move("dram", dram, pass_)
        self.move("buffer", buffer, pass_)

    def elementwise(self, read_bits: int, written_bits: int) -> None:
        """Count tensor-wide work that multiplies nothing (batch norm, activation, add).

        `read_bits` and `written_bits` are totals over the tensors; they cross DRAM, and a buffer,
        once each.
        """
        moved = -(-read_bits // 8) + -(-written_bits // 8)
        self.move("dram", moved)
        self.move("buffer", moved)

    # ---- totals ---------------------------------------------------------------------------------

    @property
    def macs(self) -> int:
        """All multiply-accumulates, of any width and pass."""
        return sum(n for widths in self._macs.values() for n in widths.values())

    @property
    def bit_operations(self) -> int:
        """Multiply-accumulates times both operand widths, summed."""
        return sum(n * a * b for widths in self._macs.values() for (a, b), n in widths.items())

    @property
    def bytes(self) -> int:
        """Bytes that crossed DRAM (`moved("buffer")` tells those on the chip)."""
        return self.moved("dram")

    def moved(self, level: str) -> int:
        """Bytes moved at one level, over all passes."""
        return sum(levels.get(level, 0) for levels in self._bytes.values())

    def by_pass(self) -> dict[str, dict[str, int]]:
        """Multiply-accumulates as `{"forward": {"8x8": n, ...}, ...}`."""
        return {
            pass_: {f"{a}x{b}": n for (a, b), n in sorted(widths.items())}
            for pass_, widths in sorted(self._macs.items())
        }

    def bytes_by_pass(self) -> dict[str, dict[str, int]]:
        """Bytes as `{"forward": {"buffer": n, "dram": n}, ..., "elementwise": {...}}`."""
        return {p: dict(sorted(levels.items())) for p, levels in sorted(self._bytes.items())}

    def products(self, pass_: str) -> dict[_Widths, int]:
        """Multiply-accumulates of one pass by (a_bits, b_bits)."""
        return dict(self._macs.get(pass_, {}))

    def bytes_of(self, pass_: str) -> dict[str, int]:
        """Bytes of one pass by memory level."""
        return dict(self._bytes.get(pass_, {}))

    # ---- arithmetic and storage -----------------------------------------------------------------

    def copy(self) -> Counter:
        """An independent copy."""
        return self.plus(Counter())

    def entries(self) -> Entries:
        """Everything counted: ("macs", pass, (a_bits, b_bits), n) and ("bytes", pass, level, n)."""
        return tuple(
            (table, pass_, key, n)
            for table, counts in (("macs", self._macs), ("bytes", self._bytes))
            for pass_, inner in counts.items()
            for key, n in inner.items()
        )

    def plus(self, other: Counter) -> Counter:
        """The sum of two counters, as a new one."""
        return self._combine(other, operator.add)

    def minus(self, other: Counter) -> Counter:
        """What was counted since `other`, an earlier copy; ValueError if `other` holds more."""
        return self._combine(other, operator.sub)

    def times(self, factor: int) -> Counter:
        """`factor` repetitions of this work, as a new counter."""
        result = Counter()
        for pass_, widths in self._macs.items():
            for key, n in widths.items():
                _add(result._macs, pass_, key, n * factor)
        for pass_, levels in self._bytes.items():
            for level, n in levels.items():
                _add(result._bytes, pass_, level, n * factor)
        return result

    def state(self) -> dict[str, dict[str, dict[str, int]]]:
        """Everything counted, fit for JSON, for `restore`."""
        return {"macs": self.by_pass(), "bytes": self.bytes_by_pass()}

    def restore(self, state: Mapping[str, Mapping[str, Mapping[str, int]]]) -> None:
        """Replace the counts by those of a `state()`; ValueError, and no change, if it is none."""
        fresh = Counter()
        try:
            for pass_, widths in state["macs"].items():
                for label, n in widths.items():
                    a, b = label.split("x")
                    fresh.mac(pass_, int(a), int(b), n)
            for pass_, levels in state["bytes"].items():
                for level, n in levels.items():
                    fresh.move(level, n, pass_)
        except (KeyError, AttributeError, TypeError) as error:
            raise ValueError(f"not a counter's state: {error!r}") from error
        self._uncounted = []
        self._counted_macs, self._counted_bytes = fresh._macs, fresh._bytes

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Counter) and self.state() == other.state()

    __hash__ = None  # type: ignore[assignment]  # mutable

    def __repr__(self) -> str:
        return (
            f"Counter(macs={self.macs}, bit_operations={self.bit_operations}, bytes={self.bytes})"
        )

    def _combine(self, other: Counter, combine: Callable[[int, int], int]) -> Counter:
        result = Counter()
        for mine, theirs, target in (
            (self._macs, other._macs, result._macs),
            (self._bytes, other._bytes, result._bytes),
        ):
            _merge(mine, theirs, target, combine)
        return result


def _entries(operation: Operation) -> Entries:
    counter = Counter()
    operation.count(counter)
    return counter.entries()


_known = ByIdentity(_entries)


def _of_all(operations: list[Operation]) -> Entries:
    counter = Counter()
    for operation in operations:
        counter._add(_known(operation))
    return counter.entries()


_repeated = Repeated(_of_all)


@lru_cache(maxsize=1 << 16)
def _full_predictor(geometry: Geometry, samples: int, bits: _Widths, stored: int) -> Entries:
    counter = Counter()
    counter.convolution("predictor", geometry, samples, *bits, stored)
    return counter.entries()


def _changing(operation: Convolution) -> Entries:
    """PSG's pass: the predictor over all weights, full precision over those left unsure."""
    one, bits = operation, operation.predictor
    if bits is None or not one.unsure or one.samples <= 0:
        return _entries(one)
    macs, dram, buffer = _traffic(one.pass_, one.geometry, one.samples, *one.bits, one.stored).of(
        one.unsure
    )
    return (
        *_full_predictor(one.geometry, one.samples, bits, one.stored),
        ("macs", one.pass_, one.bits, macs),
        ("bytes", one.pass_, "dram", dram),
        ("bytes", one.pass_, "buffer", buffer),
    )


def _merge(mine: dict, theirs: dict, target: dict, combine: Callable[[int, int], int]) -> None:
    for pass_ in {**mine, **theirs}:
        left, right = mine.get(pass_, {}), theirs.get(pass_, {})
        for key in {**left, **right}:
            n = combine(left.get(key, 0), right.get(key, 0))
            if n:
                _add(target, pass_, key, n)


def _add(table: dict, pass_: str, key: object, count: int) -> None:
    count = operator.index(count)
    if count < 0:
        raise ValueError(f"count: {count} given for {pass_}, expected 0 or more")
    if count:
        inner = table.setdefault(pass_, {})
        inner[key] = inner.get(key, 0) + count


def _stored(bits: int) -> int:
    """The width in memory of a `bits`-bit operand: the next of 8, 16, 32 and 64."""
    for width in (8, 16, 32, 64):
        if bits <= width:
            return width
    raise ValueError(f"bits: {bits} given, expected at most 64")
