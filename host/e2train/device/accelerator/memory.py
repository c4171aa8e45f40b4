# SPDX-License-Identifier: Apache-2.0
"""The memory that host and accelerator share: aligned blocks of an arena, tensors in them."""

from __future__ import annotations

import bisect
import math

import numpy as np
import numpy.typing as npt

from . import generated as hw
from . import layout
from .limits import LaunchRefused
from .transport import Transport


class MemoryBlock:
    """Bytes of shared memory; they return to the arena when the last reference is gone."""

    def __init__(self, arena: Arena, size: int) -> None:
        self.address = arena.allocate(size)
        self.size = size
        self._arena = arena

    def __del__(self) -> None:
        if hasattr(self, "address"):  # not where the allocation failed
            self._arena.free(self.address)


class KernelTensor:
    """A tensor [N,C,H,W] of int8 or int16 on the accelerator, sample-blocked (see `layout`)."""

    def __init__(self, block: MemoryBlock, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.block = block
        self.shape = shape
        self.dtype = np.dtype(dtype)

    @property
    def samples(self) -> int:
        """N."""
        return self.shape[0]

    def __repr__(self) -> str:
        return f"KernelTensor({self.dtype}, {self.shape}, 0x{self.block.address:08x})"


class SharedMemory:
    """Allocates in the transport's memory and copies arrays in and out of it."""

    def __init__(self, transport: Transport, gap: int = 0) -> None:
        self._transport = transport
        self.arena = Arena(transport.base, len(transport.memory), gap)

    def block(self, size: int) -> MemoryBlock:
        """`size` uninitialised bytes."""
        return MemoryBlock(self.arena, size)

    def tensor(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> KernelTensor:
        """An uninitialised tensor."""
        return KernelTensor(self.block(layout.blocked_bytes(shape, dtype)), shape, dtype)

    def _view(self, block: MemoryBlock, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
        start = block.address - self._transport.base
        size = math.prod(shape) * np.dtype(dtype).itemsize
        assert size <= block.size
        return self._transport.memory[start : start + size].view(dtype).reshape(shape)

    def upload(self, array: np.ndarray) -> MemoryBlock:
        """A block that holds the array, C order."""
        block = self.block(array.nbytes)
        self._view(block, array.dtype, array.shape)[...] = array
        self._transport.flush(block.address, array.nbytes)
        return block

    def put(self, array: np.ndarray) -> KernelTensor:
        """An int8 or int16 array [N,C,H,W] as a tensor."""
        tensor = self.tensor(array.shape, array.dtype)
        words = self._view(tensor.block, array.dtype, layout.blocked_shape(array.shape))
        layout.block(array, words)
        self._transport.flush(tensor.block.address, words.nbytes)
        return tensor

    def download(
        self, block: MemoryBlock, dtype: npt.DTypeLike, shape: tuple[int, ...]
    ) -> np.ndarray:
        """A copy of what the block holds from its first byte."""
        view = self._view(block, dtype, shape)
        self._transport.invalidate(block.address, view.nbytes)
        return view.copy()

    def get(self, tensor: KernelTensor) -> np.ndarray:
        """The tensor as an array [N,C,H,W]."""
        return self.unblocked(tensor.block, tensor.dtype, tensor.shape)

    def unblocked(
        self, block: MemoryBlock, dtype: npt.DTypeLike, shape: tuple[int, ...]
    ) -> np.ndarray:
        """The sample-blocked tensor [N,C,H,W] of any dtype that a block holds."""
        words = self._view(block, dtype, layout.blocked_shape(shape))
        self._transport.invalidate(block.address, words.nbytes)
        return layout.unblock(words, shape[0])


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
