# SPDX-License-Identifier: Apache-2.0
"""Reused memory for arrays: a training step allocates the same sizes again and again.

Fresh pages from the system cost as much as an element-wise pass over them (a fault and a clearing
for each), so the memory of an array that dies goes back to a free list instead.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

SMALLEST = 1 << 16  # below this the allocator is quick enough


def _size_class(size: int) -> int:
    """`size` rounded up to one of eight steps an octave: close sizes share a free list."""
    step = 1 << max(size.bit_length() - 4, 0)
    return -(-size // step) * step


class _Lease:
    """Memory on loan to one array, which keeps it as its base; goes back when the array dies."""

    def __init__(
        self, memory: np.ndarray, free: list[np.ndarray], interface: dict[str, Any]
    ) -> None:
        self._memory, self._free = memory, free
        self.__array_interface__ = interface

    def __del__(self) -> None:
        self._free.append(self._memory)


class MemoryPool:
    """Free lists by size class. What was in use at once is kept until `clear`."""

    def __init__(self) -> None:
        self._free: dict[int, list[np.ndarray]] = {}

    def empty(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> np.ndarray:
        """An uninitialised C-contiguous array, as `numpy.empty`."""
        kind = np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if size < SMALLEST:
            return np.empty(shape, kind)
        size = _size_class(size)
        free = self._free.setdefault(size, [])
        memory = free.pop() if free else np.empty(size, np.uint8)
        interface = {
            "version": 3,
            "shape": shape,
            "typestr": kind.str,
            "data": (memory.ctypes.data, False),
        }
        return np.asarray(_Lease(memory, free, interface))

    def clear(self) -> None:
        """Give free memory back to the system."""
        self._free.clear()
