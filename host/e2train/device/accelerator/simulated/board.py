# SPDX-License-Identifier: Apache-2.0
"""The simulated board as pynq sees one: registers, buffers with a cache, an interrupt device."""

from __future__ import annotations

import contextlib
import mmap
import os
import pty
import threading
import tty
from typing import Any

import numpy as np
from pynq import Device
from pynq.buffer import PynqBuffer
from pynq.metadata.runtime_metadata_parser import RuntimeMetadataParser
from pynqmetadata.frontends import Metadata

from .client import Simulation, SimulationEnded

DDR_BASE = 0x1000_0000
WORD = 4
SLICE_CYCLES = 20_000  # that pass before the host's other requests get their turn


class InterruptDevice:
    """A UIO device: 4 bytes written to it unmask the line, 4 bytes read are a count of interrupts.

    path: for the driver to open. While the line is unmasked, a thread lets simulated time pass. As
    in Linux (uio_pdrv_genirq), an interrupt masks the line until it is unmasked again.
    """

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self._ours, self._theirs = pty.openpty()
        tty.setraw(self._theirs)
        self.path = os.ttyname(self._theirs)
        self._count = 0
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError, SimulationEnded):  # both mean that the board is closed
            while not self._closed.is_set():
                if int.from_bytes(os.read(self._ours, WORD), "little"):
                    self._wait()

    def _wait(self) -> None:
        while not self._closed.is_set():
            if self._simulation.run(SLICE_CYCLES):
                self._count += 1
                os.write(self._ours, self._count.to_bytes(WORD, "little"))
                return

    def close(self) -> None:
        """Ends the thread, which a write wakes."""
        self._closed.set()
        os.write(self._theirs, bytes(WORD))
        self._thread.join()
        os.close(self._ours)
        os.close(self._theirs)


class SimulatedDevice(Device):
    """pynq's device over a simulation; buffers have a cached copy, as on a Cortex-A9.

    What the host writes reaches the fabric by `flush` only, and the other way by `invalidate`.
    """

    def __init__(self, simulation: Simulation, pool_bytes: int) -> None:
        super().__init__("simulated-board")
        self.capabilities = {"REGISTER_RW": True}
        self.simulation = simulation
        self._pool_bytes = pool_bytes
        self.accesses: list[tuple[str, int, int]] = []
        """Every access to registers: "read" or "write", address, value."""

    def get_bitfile_metadata(self, bitfile_name: str, partial: bool = False) -> Any:
        handoff = os.path.splitext(bitfile_name)[0] + ".hwh"
        return RuntimeMetadataParser(Metadata(input=handoff))

    def read_registers(self, address: int, length: int) -> bytes:
        values = [self.simulation.read(address + at) for at in range(0, length, WORD)]
        self.accesses += [("read", address + WORD * i, value) for i, value in enumerate(values)]
        return b"".join(value.to_bytes(WORD, "little") for value in values)

    def write_registers(self, address: int, data: bytes) -> None:
        for at in range(0, len(data), WORD):
            value = int.from_bytes(bytes(data[at : at + WORD]), "little")
            self.accesses.append(("write", address + at, value))
            self.simulation.write(address + at, value)

    def allocate(self, shape: Any, dtype: Any, **kwargs: Any) -> PynqBuffer:
        """One contiguous buffer at the beginning of the DDR; RuntimeError, as XRT's, beyond it."""
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        if size > self._pool_bytes:
            raise RuntimeError("BO allocation failed: failed to allocate userptr bo")
        cached = mmap.mmap(-1, size)
        return PynqBuffer(
            shape,
            dtype,
            buffer=cached,
            bo=cached,
            device=self,
            device_address=self.simulation.base,
            coherent=not kwargs.get("cacheable", 0),
        )

    def flush(self, bo: Any, offset: int, ptr: int, size: int) -> None:
        cached = np.frombuffer(bo, np.uint8)
        self.simulation.memory[offset : offset + size] = cached[offset : offset + size]

    def invalidate(self, bo: Any, offset: int, ptr: int, size: int) -> None:
        cached = np.frombuffer(bo, np.uint8)
        cached[offset : offset + size] = self.simulation.memory[offset : offset + size]
