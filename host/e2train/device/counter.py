# SPDX-License-Identifier: Apache-2.0
"""Exact counts of multiply-accumulates and of bytes moved, by pass and operand width.

Counts are Python integers, so a whole training run adds up without rounding. What a convolution
moves rests on the assumptions stated at `Counter.convolution` (docs/cost.md explains them).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping

from .geometry import Geometry
from .operations import Operation

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


class Counter:
    """Multiply-accumulates by pass and operand widths, and bytes moved by pass and memory level."""

    def __init__(self) -> None:
        self._macs: dict[str, dict[_Widths, int]] = {}
        self._bytes: dict[str, dict[str, int]] = {}
        self._operations: list[Operation] = []

    # ---- counting -------------------------------------------------------------------------------

    def record(self, operation: Operation) -> None:
        """Count an operation that was executed, and keep it for `take_operations`."""
        operation.count(self)
        self._operations.append(operation)

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
        positions = samples * geometry.out_height * geometry.out_width
        macs = weights * positions
        x, y = samples * geometry.input_size, samples * geometry.output_size
        per_group = geometry.filters // geometry.groups
        if pass_ in _WEIGHT_PASSES:
            a, b, out = x, y, weights
            a_reuse, b_reuse = per_group, geometry.weights // geometry.filters
        elif pass_ == "backward_input":
            a, b, out = y, weights, x
            a_reuse, b_reuse = geometry.channels // geometry.groups, positions
        else:
            a, b, out = x, weights, y
            a_reuse, b_reuse = per_group, positions
        dram = (a * _stored(a_bits) + b * _stored(b_bits) + out * _stored(out_bits)) // 8
        operands = _fetched(macs, a_reuse) * a_bits + _fetched(macs, b_reuse) * b_bits
        self.mac(pass_, a_bits, b_bits, macs)
        self.move("dram", dram, pass_)
        self.move("buffer", -(-operands // 8) + dram, pass_)

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

    # ---- arithmetic and storage -----------------------------------------------------------------

    def copy(self) -> Counter:
        """An independent copy."""
        return self.plus(Counter())

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
        self._macs, self._bytes = fresh._macs, fresh._bytes

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


def _fetched(macs: int, reuse: int) -> int:
    """Operands read from a buffer for `macs` products, each serving up to an array side of them."""
    return -(-macs // min(ARRAY_SIDE, reuse))
