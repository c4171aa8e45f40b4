# SPDX-License-Identifier: Apache-2.0
"""How the host reaches an accelerator: a register file, shared memory, start and done."""

from __future__ import annotations

from typing import Protocol

import numpy as np


class Transport(Protocol):
    """Moves bytes and starts the kernel, nothing else: csim, RTL and board differ here alone.

    name: for people, such as "csim (HLS C++)". memory: uint8, the region that host and accelerator
    share; base: the accelerator's byte address of memory[0].
    """

    name: str
    memory: np.ndarray
    base: int

    def write_register(self, offset: int, value: int) -> None:
        """Write a 32-bit register (value 0 to 2^32 - 1) at a byte offset."""

    def read_register(self, offset: int) -> int:
        """Read a 32-bit register."""
        ...

    def start(self) -> None:
        """Start the kernel with the registers as they are."""

    def wait(self) -> None:
        """Return when the kernel is done; a UserError where it does not get there."""

    def flush(self, address: int, size: int) -> None:
        """Make the host's writes to these bytes visible to the accelerator."""

    def invalidate(self, address: int, size: int) -> None:
        """Make the accelerator's writes to these bytes visible to the host."""

    def close(self) -> None:
        """Release registers and memory."""
