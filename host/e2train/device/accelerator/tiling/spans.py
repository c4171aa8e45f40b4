# SPDX-License-Identifier: Apache-2.0
"""Which input positions a tile of output positions needs, along one axis.

The arithmetic of the kernels' loop nest (hls/include/e2train/span.hpp), for planning tiles and for
the performance model.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache


@dataclass(frozen=True)
class Axis:
    """One axis of a convolution: planes read and produced, kernel, stride, padding.

    `transposed`: from output gradient to input gradient, so that the plane read is the output's.
    """

    read: int
    produced: int
    kernel: int
    stride: int
    padding: int
    transposed: bool

    def touched(self, begin: int, count: int) -> int:
        """Positions of the read plane that `count` produced ones from `begin` touch."""
        last = begin + count - 1
        if self.transposed:
            first = -(-max(begin + self.padding - self.kernel + 1, 0) // self.stride)
            end = (last + self.padding) // self.stride + 1
        else:
            first = begin * self.stride - self.padding
            end = last * self.stride - self.padding + self.kernel
        return max(min(end, self.read) - min(max(first, 0), self.read), 0)

    def most_touched(self, count: int) -> int:
        """The most positions that any `count` produced ones in a row touch: a buffer's need."""
        if self.transposed:
            most = (count + self.kernel - 2) // self.stride + 1
        else:
            most = (count - 1) * self.stride + self.kernel
        return min(most, self.read)

    def taps(self, position: int) -> int:
        """Taps that meet a produced position, those that fall on padding included."""
        if not self.transposed:
            return self.kernel
        first = (position + self.padding) % self.stride
        return max(-(-(self.kernel - first) // self.stride), 0)


@dataclass(frozen=True)
class Span:
    """A tile's extent along one axis: positions produced, touched, and (taps, positions) pairs."""

    count: int
    touched: int
    taps: tuple[tuple[int, int], ...]


@lru_cache(maxsize=4096)
def spans(axis: Axis, tile: int) -> tuple[tuple[Span, int], ...]:
    """The different tiles along an axis cut every `tile` positions, each with how often it occurs.

    In order of appearance; the last tile may be shorter.
    """
    found: Counter[Span] = Counter()
    for begin in range(0, axis.produced, tile):
        count = min(tile, axis.produced - begin)
        taps = Counter(axis.taps(position) for position in range(begin, begin + count))
        found[Span(count, axis.touched(begin, count), tuple(sorted(taps.items())))] += 1
    return tuple(found.items())
