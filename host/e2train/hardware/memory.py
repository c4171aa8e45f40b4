# SPDX-License-Identifier: Apache-2.0
"""Blocks and tensors in the memory that host and accelerator share."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from . import layout
from .arena import Arena
from .transport import Transport


class Block:
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

    def __init__(self, block: Block, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
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

    def block(self, size: int) -> Block:
        """`size` uninitialised bytes."""
        return Block(self.arena, size)

    def tensor(self, shape: tuple[int, ...], dtype: npt.DTypeLike) -> KernelTensor:
        """An uninitialised tensor."""
        return KernelTensor(self.block(layout.blocked_bytes(shape, dtype)), shape, dtype)

    def _view(self, block: Block, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
        start = block.address - self._transport.base
        size = math.prod(shape) * np.dtype(dtype).itemsize
        assert size <= block.size
        return self._transport.memory[start : start + size].view(dtype).reshape(shape)

    def upload(self, array: np.ndarray) -> Block:
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

    def download(self, block: Block, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
        """A copy of what the block holds from its first byte."""
        view = self._view(block, dtype, shape)
        self._transport.invalidate(block.address, view.nbytes)
        return view.copy()

    def get(self, tensor: KernelTensor) -> np.ndarray:
        """The tensor as an array [N,C,H,W]."""
        return self.unblocked(tensor.block, tensor.dtype, tensor.shape)

    def unblocked(self, block: Block, dtype: npt.DTypeLike, shape: tuple[int, ...]) -> np.ndarray:
        """The sample-blocked tensor [N,C,H,W] of any dtype that a block holds."""
        words = self._view(block, dtype, layout.blocked_shape(shape))
        self._transport.invalidate(block.address, words.nbytes)
        return layout.unblock(words, shape[0])
