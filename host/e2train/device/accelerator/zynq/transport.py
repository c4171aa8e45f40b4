# SPDX-License-Identifier: Apache-2.0
"""Registers, shared memory, start and done of an accelerator on a Zynq-7000."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import generated as hw
from .diagnosis import DONE, IDLE, START, BoardError, bus_error, hang, launch_text
from .interrupt import InterruptLine

LINE_BYTES = 64  # two cache lines of a Cortex-A9: buffers begin and end at such a multiple
SETTLE_SECONDS = 10.0
CONTROL, STATUS = hw.REGISTERS_CONTROL, hw.REGISTERS_INTERRUPT_STATUS
DONE_INTERRUPT = 1

Sync = Callable[[int, int], None]  # offset in the buffer and bytes


def exact_syncs(buffer: Any) -> tuple[Sync, Sync]:
    """Flush and invalidate of a part of a pynq buffer.

    pynq 3.1.2 hands every flush of a part to XRT as one of the whole buffer, which takes
    milliseconds for an arena; XRT itself can do parts.
    """
    try:
        from pyxrt import xclBOSyncDirection as directions
    except ImportError:
        device, bo, start = buffer.device, buffer.bo, buffer.virtual_address
        return (
            lambda offset, size: device.flush(bo, offset, start + offset, size),
            lambda offset, size: device.invalidate(bo, offset, start + offset, size),
        )
    bo, to, back = (
        buffer.bo,
        directions.XCL_BO_SYNC_BO_TO_DEVICE,
        directions.XCL_BO_SYNC_BO_FROM_DEVICE,
    )
    return (
        lambda offset, size: bo.sync(to, size, offset),
        lambda offset, size: bo.sync(back, size, offset),
    )


class ZynqTransport:
    """The `Transport` over pynq: `ip` and `watch` its drivers, `arena` its one buffer.

    watched: whether the overlay has a bus watch. `wait` raises BoardError for a launch that does
    not end within `seconds`, and for a response of the memory other than OKAY where there is a
    watch. Ctrl-C lets the launch end first.
    """

    def __init__(
        self,
        name: str,
        ip: Any,
        watch: Any | None,
        interrupt: InterruptLine,
        seconds: float,
    ) -> None:
        self.name = name
        self.base = 0
        self.memory = np.empty(0, np.uint8)
        self.ip, self._watch, self._interrupt = ip, watch, interrupt
        self.watched = watch is not None
        self._seconds = seconds
        self._arena: Any = None
        self._told: dict[int, int] = {}
        self._cleanup = contextlib.ExitStack()
        self.ip.write(hw.REGISTERS_GLOBAL_INTERRUPT, 1)
        self.ip.write(hw.REGISTERS_INTERRUPT_ENABLE, DONE_INTERRUPT)
        self._acknowledge()

    def attach(self, arena: Any) -> None:
        """Use a pynq buffer (uint8, cacheable) as the shared memory."""
        self._arena = arena
        self._flush, self._invalidate = exact_syncs(arena)
        self.base = int(arena.device_address)
        self.memory = np.asarray(arena)

    def on_close(self, callback: Callable[[], None]) -> None:
        """Called, the last one first, when the transport has closed."""
        self._cleanup.callback(callback)

    # ---- registers ------------------------------------------------------------------------------

    def write_register(self, offset: int, value: int) -> None:
        self._told[offset] = value
        self.ip.write(offset, value)

    def read_register(self, offset: int) -> int:
        return int(self.ip.read(offset))

    def _acknowledge(self) -> None:
        """Bring the line down: a bit of the status that is written as 1 toggles."""
        status = self.ip.read(STATUS)
        if status:
            self.ip.write(STATUS, status)

    # ---- launches -------------------------------------------------------------------------------

    def start(self) -> None:
        self._interrupt.arm()
        self.ip.write(CONTROL, START)

    def wait(self) -> None:
        try:
            self._wait()
        except KeyboardInterrupt:
            self._settle()
            raise
        seen = self._watch.taken() if self._watch is not None else 0
        if seen:
            raise bus_error(launch_text(self._told), seen)

    def _wait(self) -> None:
        deadline = time.monotonic() + self._seconds
        while self._interrupt.wait(deadline - time.monotonic()):
            self._acknowledge()
            if self.ip.read(CONTROL) & DONE:
                return
            self._interrupt.arm()  # somebody else's: the line is shared or was high before
        raise self._hang()

    def _hang(self) -> BoardError:
        registers = {
            "control": self.ip.read(CONTROL),
            "interrupt status": self.ip.read(STATUS),
            "interrupt enable": self.ip.read(hw.REGISTERS_INTERRUPT_ENABLE),
            "error": self.ip.read(hw.REGISTERS_ERROR),
        }
        seen = self._watch.taken() if self._watch is not None else None
        return hang(launch_text(self._told), self._seconds, registers, seen)

    def _settle(self) -> bool:
        """Let a launch end, so that it writes to no memory that is given back."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while not self.ip.read(CONTROL) & IDLE:
            if time.monotonic() > deadline:
                return False
            self._interrupt.wait(0.01)
        self._acknowledge()
        return True

    # ---- memory ---------------------------------------------------------------------------------

    def _lines(self, address: int, size: int) -> tuple[int, int]:
        """Offset and bytes of whole cache lines around a range."""
        begin = (address - self.base) // LINE_BYTES * LINE_BYTES
        end = -(-(address - self.base + size) // LINE_BYTES) * LINE_BYTES
        return begin, min(end, len(self.memory)) - begin

    def flush(self, address: int, size: int) -> None:
        self._flush(*self._lines(address, size))

    def invalidate(self, address: int, size: int) -> None:
        self._invalidate(*self._lines(address, size))

    def close(self) -> None:
        """Let a launch end, switch the interrupt off, give memory and overlay back."""
        with self._cleanup:
            if not self._settle():
                print(
                    "warning: zynq: the kernel is still busy; load the overlay anew before use",
                    file=sys.stderr,
                )
            self.ip.write(hw.REGISTERS_INTERRUPT_ENABLE, 0)
            self.ip.write(hw.REGISTERS_GLOBAL_INTERRUPT, 0)
            self._interrupt.close()
            self._arena = None
            self.memory = np.empty(0, np.uint8)
