# SPDX-License-Identifier: Apache-2.0
"""Memory that host and accelerator share, given out in aligned blocks."""

from __future__ import annotations

import bisect

from . import generated as hw
from .limits import LaunchRefused


def _aligned(size: int) -> int:
    return -(-size // hw.LIMITS_ALIGNMENT) * hw.LIMITS_ALIGNMENT


class Arena:
    """First-fit allocator over the addresses base..base+size; never gives out address 0.

    Free ranges are kept sorted and merged with their neighbours as blocks return. `gap` leaves that
    many bytes after each block (tests look for stray writes there).
    """

    def __init__(self, base: int, size: int, gap: int = 0) -> None:
        first = _aligned(max(base, 1))
        self.base, self.size = base, size
        self.in_use = self.most_in_use = 0
        self._gap = gap
        self._starts = [first]
        self._ends = [base + size]
        self._blocks: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """Address of `size` bytes, aligned; LaunchRefused where no free range holds them."""
        wanted = _aligned(max(size, 1) + self._gap)
        for index, start in enumerate(self._starts):
            if self._ends[index] - start >= wanted:
                break
        else:
            raise LaunchRefused(
                f"device memory: {size} bytes wanted, but {self.in_use} of {self.size} are in use"
            )
        self._starts[index] = start + wanted
        if self._starts[index] == self._ends[index]:
            del self._starts[index], self._ends[index]
        self._blocks[start] = wanted
        self.in_use += wanted
        self.most_in_use = max(self.most_in_use, self.in_use)
        return start

    def free(self, address: int) -> None:
        """Take back a block; KeyError where there is none at the address."""
        size = self._blocks.pop(address)
        self.in_use -= size
        end = address + size
        index = bisect.bisect(self._starts, address)
        if index < len(self._starts) and self._starts[index] == end:
            end = self._ends[index]
            del self._starts[index], self._ends[index]
        if index and self._ends[index - 1] == address:
            self._ends[index - 1] = end
        else:
            self._starts.insert(index, address)
            self._ends.insert(index, end)
