# SPDX-License-Identifier: Apache-2.0
"""The accelerator's driver without an accelerator: every buffer that training puts into memory.

The real network, driver and allocator run; only the kernel does nothing. So what is recorded here
is where the tensors of a training would lie on a board, and no second list of them can go stale.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device.accelerator import generated as hw
from ..device.accelerator.device import KernelDevice
from ..device.accelerator.memory import Arena
from ..device.accelerator.tile_plans import TilePlans
from ..device.counter import Counter
from ..device.operations import Convolution, Operation, Processor

BASE = 1 << 20
SIZE = (1 << 31) - (1 << 21)  # more than any board here has, and a length on 32-bit systems
PEAK = 1 << 12  # the largest value that every launch reports: an exponent is found, no sum matters
OPERATIONS = {code: name for name, code in hw.OPERATIONS.items()}
POINTERS = {name: at for name, at in hw.OFFSETS.items() if name.endswith("_address")}
WORD = 8
RAW = 1 << hw.OPTIONS["raw"]

# What a buffer is, by the register that its first launch has it in and by that launch's operation.
ROLES = {"rows_address": "weights", "result_address": "results", "scratch_address": "scratch"}
WRITTEN = {
    "convolve": "y",
    "input_gradient": "g",
    "weight_gradient": "weight gradient",
    "psg_gradient": "signs",
}
COMPUTED = {  # by the vector unit, as the counted operation is called
    "normalise": "z",
    "normalise_backward": "dy",
    "narrow": "x",
    "mask": "masked g",
    "shortcut": "shortcut",
    "spread": "spread g",
}


@dataclass
class Buffer:
    """A block of memory: launches `first` to `last` happen while it is there (None: to the end).

    born and died order it among all allocations and releases. layer and kind say what it is, by the
    first launch that uses it; size is in bytes, aligned.
    """

    address: int
    size: int
    first: int
    born: int
    last: int | None = None
    died: int | None = None
    layer: str = ""
    kind: str = ""

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.address + self.size


class RecordedArena(Arena):
    """Keeps every block that was ever given out; `highest` is the end of the farthest one."""

    def __init__(self, base: int, size: int) -> None:
        super().__init__(base, size)
        self.buffers: list[Buffer] = []
        self.live: dict[int, Buffer] = {}
        self.launches = self.events = 0
        self.highest = base

    def allocate(self, size: int) -> int:
        before = self.in_use
        address = super().allocate(size)
        self.events += 1
        buffer = Buffer(address, self.in_use - before, self.launches, self.events)
        self.buffers.append(buffer)
        self.live[address] = buffer
        self.highest = max(self.highest, buffer.end)
        return address

    def free(self, address: int) -> None:
        super().free(address)
        self.events += 1
        buffer = self.live.pop(address)
        buffer.last, buffer.died = self.launches, self.events


class _Zeros:
    """Memory that keeps nothing: all of it reads as zero, but for the peak that a launch left."""

    result = 0

    def __len__(self) -> int:
        return SIZE

    def __getitem__(self, part: slice) -> np.ndarray:
        found = np.zeros(part.stop - part.start, np.uint8)
        if part.start == self.result:
            found[: len(found) // WORD * WORD].view(np.int64)[hw.RESULT_PEAK] = PEAK
        return found


class _IdleTransport:
    """A kernel that reports success and a peak, and touches nothing."""

    name = "memory plan (no kernel)"
    base = BASE

    def __init__(self) -> None:
        self.memory: np.ndarray = _Zeros()  # type: ignore[assignment]
        self.registers: dict[int, int] = {hw.REGISTERS_ERROR: hw.ERRORS_OK}
        self.arena = RecordedArena(BASE, SIZE)
        self.unnamed: list[Buffer] = []

    def write_register(self, offset: int, value: int) -> None:
        self.registers[offset] = value

    def read_register(self, offset: int) -> int:
        return self.registers.get(offset, 0)

    def start(self) -> None:
        self.arena.launches += 1
        operation = OPERATIONS[self.registers[hw.OFFSETS["operation"]]]
        raw = self.registers[hw.OFFSETS["options"]] & RAW
        for name, at in POINTERS.items():
            buffer = self.arena.live.get(self.registers[at])
            if buffer is not None and not buffer.kind:
                buffer.kind = "sums" if raw and name == "out_address" else _kind(operation, name)
                self.unnamed.append(buffer)
        result = self.registers[POINTERS["result_address"]]
        self.memory.result = result - BASE  # type: ignore[attr-defined]

    def wait(self) -> None:
        """Nothing to wait for."""

    def flush(self, address: int, size: int) -> None:
        """Nothing is kept."""

    def invalidate(self, address: int, size: int) -> None:
        """Nothing is kept."""

    def close(self) -> None:
        """Nothing to release."""


def _kind(operation: str, register: str) -> str:
    if register == "rows_address" and operation == "move":
        return "table"
    if register == "rows_address" and operation == "map":
        return "coefficients"
    if register == "out_address":
        return WRITTEN.get(operation, "output")
    return ROLES.get(register, "operand")


class NamingCounter(Counter):
    """Gives the buffers of the launches before each counted operation that operation's name."""

    def __init__(self, transport: _IdleTransport) -> None:
        super().__init__()
        self._transport = transport

    def record(self, operation: Operation) -> None:
        super().record(operation)
        if isinstance(operation, Processor):
            return
        for buffer in self._transport.unnamed:
            buffer.layer = operation.layer
            if buffer.kind == "output" and not isinstance(operation, Convolution):
                buffer.kind = COMPUTED.get(operation.kind, operation.kind)
        self._transport.unnamed.clear()


@dataclass(frozen=True)
class Recorder:
    """A device to train on, the counter to train with, and what the arena saw."""

    device: KernelDevice
    counter: NamingCounter
    arena: RecordedArena


def open_recorder(tiles: TilePlans) -> Recorder:
    """A device that records and computes nothing, and takes its tile plans from `tiles`."""
    transport = _IdleTransport()
    device = KernelDevice(transport, tiles=tiles)
    device.driver.memory.arena = transport.arena
    return Recorder(device, NamingCounter(transport), transport.arena)
