# SPDX-License-Identifier: Apache-2.0
"""Golden vectors: launches as the host packs them, with the integers that a reference expects.

A `GoldenDevice` starts nothing. It keeps each launch with the memory that it reads; what memory
must hold afterwards is told to it (`expect`), and `golden` is the file that hls/tb reads.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable

import numpy as np

from e2train.device.accelerator import generated as hw
from e2train.device.accelerator import layout
from e2train.device.accelerator.device import KernelDevice
from e2train.device.accelerator.driver import Driver
from e2train.device.accelerator.launch import Launch, LaunchResult
from e2train.device.accelerator.limits import Buffer, check_buffers, check_sizes
from e2train.device.accelerator.vector_unit import VectorUnit
from fake_transport import FakeTransport

MAGIC = b"E2GV0001"
DIMENSIONS = 6
WORD = 8
HEADER = hw.RESULT_SUMS * WORD
GUARD = 256  # bytes behind the last buffer


def blocked(array: np.ndarray) -> np.ndarray:
    """[N,C,H,W] as it lies in memory, [ceil(N/16),C,H,W,16]."""
    words = np.empty(layout.blocked_shape(array.shape), array.dtype)
    layout.block(array, words)
    return words


class Recorder(Driver):
    """Keeps launches instead of starting them. `change` may alter one before it is kept."""

    def __init__(
        self, transport: FakeTransport, gap: int, change: Callable[[Launch], None]
    ) -> None:
        super().__init__(transport, gap)
        self.launches: list[Launch] = []
        self.regions: dict[int, bytes] = {}
        self._change = change
        # What one launch wrote stays where it is until the vectors are written.
        self.memory.arena.free = lambda address: None

    def run(self, launch: Launch) -> LaunchResult:
        words = hw.RESULT_SUMS + launch.results
        block = self.memory.block(words * WORD)
        launch.write("result_address", block, words * WORD)
        self._change(launch)
        check_sizes(launch.registers)
        check_buffers(launch.buffers, self.transport.base, len(self.transport.memory))
        written = {buffer.address for earlier in self.launches for buffer in earlier.buffers}
        for buffer in launch.buffers:
            if not buffer.written and buffer.address not in written:
                content = self.transport.memory[buffer.address : buffer.end]
                self.regions[buffer.address] = content.tobytes()
        self.launches.append(launch)
        return LaunchResult(dict.fromkeys(hw.RESULT, 0), np.zeros(launch.results, np.int64))


def as_they_are(launch: Launch) -> None:
    """Leave a launch as the host plans it."""


class GoldenDevice(KernelDevice):
    """A device whose launches become golden vectors; operations return no results."""

    def __init__(
        self,
        memory: int = 1 << 24,
        gap: int = 0,
        change: Callable[[Launch], None] = as_they_are,
    ) -> None:
        self.name = "golden"
        self.driver = Recorder(FakeTransport(memory, base=0), gap, change)
        self._vectors = VectorUnit(self.driver)
        self._expected: list[tuple[str, int, np.ndarray]] = []

    @property
    def last(self) -> Launch:
        """The launch recorded last."""
        return self.driver.launches[-1]

    def expect(self, name: str, register: str, array: np.ndarray, offset: int = 0) -> None:
        """The last launch's buffer at `register` must hold `array`, `offset` bytes in."""
        self._expected.append((name, self.last.registers[register] + offset, array))

    def expect_tensor(self, array: np.ndarray) -> None:
        """The last launch must write this tensor [N,C,H,W], with zeros in lanes without samples."""
        self.expect("out", "out_address", blocked(array))

    def expect_counters(self, **counters: int) -> None:
        """Words of the last launch's result header, by name."""
        for name, value in counters.items():
            word = np.array([value], np.int64)
            self.expect(name, "result_address", word, hw.RESULT[name] * WORD)

    def expect_sums(self, *sums: np.ndarray) -> None:
        """Sums behind the last launch's result header."""
        whole = np.concatenate([np.asarray(one, np.int64).reshape(-1) for one in sums])
        self.expect("sums", "result_address", whole, HEADER)

    def _scratch(self) -> list[Buffer]:
        """Written bytes that no reference tells: the cost counters, and what is passed on."""
        free = []
        for launch in self.driver.launches:
            for buffer in launch.buffers:
                told = buffer.register == "out_address" and self._told(buffer)
                if buffer.register == "result_address":
                    free.append(Buffer(buffer.register, buffer.address, HEADER, True))
                elif buffer.written and not told:
                    free.append(buffer)
        return free

    def _told(self, buffer: Buffer) -> bool:
        return any(address == buffer.address for _, address, _ in self._expected)

    def golden(self) -> bytes:
        """The file: every launch must return ERRORS_OK."""
        buffers = [buffer for launch in self.driver.launches for buffer in launch.buffers]
        memory = max(buffer.end for buffer in buffers) + GUARD
        memory = -(-memory // hw.LIMITS_ALIGNMENT) * hw.LIMITS_ALIGNMENT
        launches = [_packed(launch, hw.ERRORS_OK) for launch in self.driver.launches]
        regions = [
            struct.pack("<II", address, len(content)) + content
            for address, content in sorted(self.driver.regions.items())
        ]
        expected = [_expectation(*one) for one in self._expected]
        ranges = [struct.pack("<II", one.address, one.size) for one in self._scratch()]
        head = MAGIC + _listed(launches) + struct.pack("<I", memory)
        return head + _listed(regions) + _listed(expected) + _listed(ranges)


def _listed(parts: list[bytes]) -> bytes:
    return struct.pack("<I", len(parts)) + b"".join(parts)


def _packed(launch: Launch, error: int) -> bytes:
    registers = np.zeros(hw.REGISTERS_WORDS, np.uint32)
    for name, value in launch.registers.items():
        registers[hw.OFFSETS[name] // 4] = value & 0xFFFFFFFF
    return struct.pack("<I", len(registers)) + registers.tobytes() + struct.pack("<I", error)


def _expectation(name: str, address: int, array: np.ndarray) -> bytes:
    dims = [*array.shape, *[0] * (DIMENSIONS - array.ndim)]
    head = struct.pack("<24sIII6I", name.encode(), address, array.itemsize, array.ndim, *dims)
    return head + np.ascontiguousarray(array).tobytes()


def refused(launches: Iterable[tuple[dict[str, int], int]], memory: int) -> bytes:
    """A file of launches, (registers by name, error code), each of which changes no byte."""
    packed = []
    for registers, error in launches:
        launch = Launch("convolve")
        launch.set(**registers)
        packed.append(_packed(launch, error))
    empty = _listed([])
    return MAGIC + _listed(packed) + struct.pack("<I", memory) + 3 * empty
