# SPDX-License-Identifier: Apache-2.0
"""Device csim: the accelerator's HLS C++, compiled for this computer, behind its own registers."""

from __future__ import annotations

import mmap

import numpy as np

from . import generated as hw
from .csim_build import load
from .device import KernelDevice

MEMORY_BYTES = 512 << 20  # the ZedBoard's DDR3; pages that nobody touches cost nothing
DONE_AND_IDLE = 0b0110  # of the control register


class CsimTransport:
    """The register file and memory of the compiled kernel; `start` returns when it is done."""

    name = "csim (HLS C++)"
    base = 0
    _load = staticmethod(load)

    def __init__(self, memory_bytes: int = MEMORY_BYTES) -> None:
        """Raises CsimUnavailable where the kernel cannot be built."""
        self._library = self._load()
        self.memory = np.frombuffer(mmap.mmap(-1, memory_bytes), np.uint8)
        self._registers = np.zeros(hw.REGISTERS_WORDS, np.uint32)

    def write_register(self, offset: int, value: int) -> None:
        self._registers[offset // 4] = value

    def read_register(self, offset: int) -> int:
        return int(self._registers[offset // 4])

    def start(self) -> None:
        registers, memory = (
            array.__array_interface__["data"][0] for array in (self._registers, self.memory)
        )
        code = self._library.e2train_csim(registers, memory)
        self._registers[hw.REGISTERS_ERROR // 4] = code
        self._registers[hw.REGISTERS_CONTROL // 4] = DONE_AND_IDLE

    def wait(self) -> None:
        """Nothing to wait for."""

    def flush(self, address: int, size: int) -> None:
        """Host and kernel see the same bytes."""

    def invalidate(self, address: int, size: int) -> None:
        """Host and kernel see the same bytes."""

    def close(self) -> None:
        """The memory goes when the last tensor view does."""


def open_csim() -> KernelDevice:
    """The accelerator in C simulation. Raises CsimUnavailable where it cannot be built."""
    return KernelDevice(CsimTransport())
