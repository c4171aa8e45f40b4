# SPDX-License-Identifier: Apache-2.0
"""The vector unit alone, compiled by g++ and started on a memory of which every byte is watched.

E2TRAIN_TEST_SANITISE=1 builds it with ASan and UBSan (whose libraries must be preloaded).
"""

from __future__ import annotations

import ctypes
import importlib.util
import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from e2train.device.accelerator import generated as hw

ROOT = Path(__file__).resolve().parents[2]
SHIM = Path(__file__).with_name("cpp") / "vector_shim.cpp"
SANITISE = "E2TRAIN_TEST_SANITISE"
LANES, UNUSED, GAP, HEADER_WORDS = 16, 0xA5, 64, 16
ARGUMENTS = tuple(name for name in hw.OFFSETS if name not in hw.PORTS)
COUNTERS = tuple(name for name in hw.RESULT if name != "sums")


def _flags() -> list[str]:
    spec = importlib.util.find_spec("hls4ml")
    assert spec is not None and spec.submodule_search_locations, "hls4ml brings the ap_types"
    headers = Path(spec.submodule_search_locations[0]) / "templates/vivado/ap_types"
    flags = ["-O1", "-std=c++14", "-fPIC", "-w", f"-I{ROOT / 'hls/include'}"]
    flags += ["-isystem", str(headers)]
    if os.environ.get(SANITISE):
        flags += ["-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"]
        flags += ["-fno-sanitize=shift-base"]  # ap_private.h shifts negative numbers to the left
    return flags


@cache
def library() -> ctypes.CDLL:
    """The vector unit, compiled at the first call."""
    sources = sorted((ROOT / "hls/src").glob("vector_*.cpp"))
    assert sources
    with tempfile.TemporaryDirectory(prefix="e2train-vector-") as folder:
        target = Path(folder) / "vector.so"
        command = ["g++", *_flags(), "-shared", *map(str, sources), str(SHIM), "-o", str(target)]
        subprocess.run(command, check=True, timeout=300)
        built = ctypes.CDLL(str(target))
    assert built.vector_argument_count() == len(ARGUMENTS)
    return built


class Used(NamedTuple):
    """Memory that a launch may read or, where `written`, write."""

    register: str
    address: int
    size: int
    written: bool


class Launch:
    """One start: registers by name, buffers placed behind each other with gaps between them."""

    def __init__(self, operation: str, options: tuple[str, ...] = (), **registers: int) -> None:
        self.registers = dict.fromkeys(ARGUMENTS, 0) | registers
        self.registers["operation"] = hw.OPERATIONS[operation]
        self.registers["options"] = sum(1 << hw.OPTIONS[name] for name in options)
        self.used: list[Used] = []
        self._contents: list[tuple[int, bytes]] = []
        self._next = GAP  # address 0 is null
        self.counters = dict.fromkeys(COUNTERS, 0)

    def _place(self, register: str, size: int, written: bool) -> int:
        address = self._next
        self._next = -(-(address + size) // 64) * 64 + GAP
        self.registers[register] = address
        self.used.append(Used(register, address, size, written))
        return address

    def reads(self, register: str, data: np.ndarray) -> Launch:
        address = self._place(register, data.nbytes, False)
        self._contents.append((address, data.tobytes()))
        return self

    def reads_tensor(self, register: str, tensor: np.ndarray) -> Launch:
        return self.reads(register, blocked(tensor))

    def writes(self, register: str, size: int) -> Launch:
        self._place(register, size, True)
        return self

    def results(self, sums: int = 0) -> Launch:
        return self.writes("result_address", (HEADER_WORDS + sums) * 8)

    def run(self) -> int:
        """The error code; afterwards `bytes_of` has what was written, and nothing else was."""
        arguments = np.array([self.registers[name] for name in ARGUMENTS], np.int64)
        arguments = arguments.astype(np.uint32)
        before = np.full(self._next, UNUSED, np.uint8)
        for address, data in self._contents:
            before[address : address + len(data)] = np.frombuffer(data, np.uint8)
        self.memory = before.copy()
        counters = np.zeros(len(COUNTERS), np.uint64)
        pointers = (a.ctypes.data_as(ctypes.c_void_p) for a in (arguments, self.memory, counters))
        code = int(library().vector_launch(*pointers))
        self.counters = dict(zip(COUNTERS, map(int, counters), strict=True))
        changed = self.memory != before
        for used in self.used if code == 0 else ():
            header = HEADER_WORDS * 8 if used.register == "result_address" else 0
            if used.written:
                changed[used.address + header : used.address + used.size] = False
        assert not changed.any(), f"written outside: byte {int(np.argmax(changed))}"
        if code == 0:
            assert sorted(self.ranges()) == sorted(used[1:] for used in self.used)
        return code

    def ranges(self) -> list[tuple[int, int, bool]]:
        """Begin, bytes and whether written, as the kernel's check is told."""
        arguments = np.array([self.registers[name] for name in ARGUMENTS], np.int64)
        arguments = arguments.astype(np.uint32)
        rows = np.zeros((8, 3), np.uint64)
        pointers = (a.ctypes.data_as(ctypes.c_void_p) for a in (arguments, rows))
        count = library().vector_memory_ranges(*pointers)
        return [(int(begin), int(size), bool(written)) for begin, size, written in rows[:count]]

    def bytes_of(self, register: str) -> np.ndarray:
        used = next(used for used in self.used if used.register == register)
        return self.memory[used.address : used.address + used.size]

    def sums(self) -> np.ndarray:
        """What follows the result block's header, int64."""
        return self.bytes_of("result_address").view(np.int64)[HEADER_WORDS:]

    def tensor(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """The tensor at out_address; lanes without a sample must be zero."""
        n, *plane = shape
        words = self.bytes_of("out_address").view(dtype).reshape(-1, *plane, LANES)
        samples = np.moveaxis(words, -1, 1).reshape(-1, *plane)
        assert not samples[n:].any(), "lanes without a sample must stay zero"
        return samples[:n]


def groups(samples: int) -> int:
    return -(-samples // LANES)


def blocked(tensor: np.ndarray) -> np.ndarray:
    """[N,C,H,W] as it lies in memory: [groups,C,H,W,16], missing samples zero."""
    n, *plane = tensor.shape
    padded = np.zeros((groups(n) * LANES, *plane), tensor.dtype)
    padded[:n] = tensor
    return np.ascontiguousarray(np.moveaxis(padded.reshape(-1, LANES, *plane), 1, -1))


def shape_registers(tensor: np.ndarray) -> dict[str, int]:
    return dict(zip(("samples", "channels", "height", "width"), tensor.shape, strict=True))


def blocked_size(shape: tuple[int, ...], dtype: Any) -> int:
    n, c, h, w = shape
    return groups(n) * c * h * w * LANES * np.dtype(dtype).itemsize


def move_table(origins: list[tuple[bool, int]]) -> np.ndarray:
    """Entries of 24 bytes for a result whose sample i is sample origins[i][1] of b or of a."""
    entries: list[np.ndarray] = []
    for group in range(groups(len(origins))):
        lines: dict[tuple[bool, int], np.ndarray] = {}
        for lane, (from_b, sample) in enumerate(origins[16 * group : 16 * group + 16]):
            line = lines.setdefault((from_b, sample // 16), np.full(16, 0x80, np.uint8))
            line[lane] = sample % 16
        for index, ((from_b, source), line) in enumerate(lines.items()):
            head = group | source << 16 | int(from_b) << 32 | int(index == 0) << 33
            entries.append(np.frombuffer(head.to_bytes(8, "little") + line.tobytes(), np.uint8))
    return np.stack(entries)


def move_launch(
    a: np.ndarray, b: np.ndarray | None, table: np.ndarray, shape: tuple[int, ...]
) -> Launch:
    sizes = dict(zip(("samples", "channels", "height", "width"), shape, strict=True))
    launch = Launch(
        "move",
        () if b is None else ("second",),
        **sizes,
        bits=8 * a.dtype.itemsize,
        count=len(table),
        tile_outer=len(a),
        tile_inner=0 if b is None else len(b),
    )
    launch.reads_tensor("a_address", a).reads("rows_address", table)
    if b is not None:
        launch.reads_tensor("b_address", b)
    return launch.writes("out_address", blocked_size(shape, a.dtype)).results()
