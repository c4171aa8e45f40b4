# SPDX-License-Identifier: Apache-2.0
"""A transport without a kernel: it writes down what a driver does."""

from __future__ import annotations

import numpy as np

from e2train.device.accelerator import generated as hw


class FakeTransport:
    """`log` holds every call in order; `error` is the code that the kernel reports."""

    name = "fake"

    def __init__(self, size: int = 1 << 22, base: int = 0x1000_0000, error: int = 0) -> None:
        self.memory = np.full(size, 0xA5, np.uint8)
        self.base = base
        self.error = error
        self.log: list[tuple] = []
        self.registers: dict[int, int] = {}

    def write_register(self, offset: int, value: int) -> None:
        assert type(value) is int and 0 <= value < 1 << 32
        self.registers[offset] = value
        self.log.append(("write", offset, value))

    def read_register(self, offset: int) -> int:
        self.log.append(("read", offset))
        return self.error if offset == hw.REGISTERS_ERROR else 0

    def start(self) -> None:
        self.log.append(("start",))

    def wait(self) -> None:
        self.log.append(("wait",))

    def flush(self, address: int, size: int) -> None:
        self.log.append(("flush", address, size))

    def invalidate(self, address: int, size: int) -> None:
        self.log.append(("invalidate", address, size))

    def close(self) -> None:
        self.log.append(("close",))

    def at(self, address: int, size: int) -> bytes:
        """Bytes of memory at an address of the accelerator."""
        start = address - self.base
        return self.memory[start : start + size].tobytes()
