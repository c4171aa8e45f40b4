# SPDX-License-Identifier: Apache-2.0
"""The accelerator in C simulation with its memory watched: no launch writes where it should not."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest

from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.csim import CsimTransport
from e2train.device.accelerator.csim_build import CsimUnavailable
from e2train.device.accelerator.device import KernelDevice
from recording_device import RecordingDevice, same_calls
from reference_device import ReferenceDevice

PATTERN = 0xA5
GUARD = 64  # bytes between buffers
SLACK = 1 << 16  # and behind the last that was written


def decoded(transport: Any) -> dict[str, int]:
    """The argument registers by name, as signed integers (addresses unsigned)."""
    found = {}
    for name, offset in hw.OFFSETS.items():
        value = transport.read_register(offset)
        signed = value >= 1 << 31 and not name.endswith("_address")
        found[name] = value - (1 << 32) if signed else value
    return found


def written(r: dict[str, int]) -> list[tuple[int, int]]:
    """(address, bytes) of all that a launch writes, from the operations' descriptions."""
    groups = -(-r["samples"] // 16)
    plane_in = groups * r["channels"] * r["height"] * r["width"]
    plane_out = groups * r["filters"] * r["out_height"] * r["out_width"]
    raw = r["options"] >> hw.OPTIONS["raw"] & 1
    weights = r["filters"] * (1 if r["depthwise"] else r["channels"])
    weights *= r["kernel_h"] * r["kernel_w"]
    item = 8 if raw else 2
    operation = {code: name for name, code in hw.OPERATIONS.items()}.get(r["operation"])
    if operation is None:
        return []
    sizes = {
        "convolve": (plane_out * 16 * item, 0 if raw else 2 * r["filters"]),
        "input_gradient": (plane_in * 16 * item, 0),
        "weight_gradient": (weights * 8, 0),
        "psg_gradient": ((weights + 7) // 8 * 8, 0),
        "map": (plane_in * (16 if r["bits"] == 8 else 32), 0),
        "channel_sums": (0, 2 * r["channels"]),
        "sample_products": (0, groups * 16),
        "pool": (0, groups * r["channels"] * 16),
        "resample": (plane_out * 32, 0),
        "move": (plane_in * 2 * r["bits"], 0),
    }
    out, sums = sizes[operation]
    ranges = [(r["out_address"], out), (r["result_address"], (16 + sums) * 8)]
    if operation == "psg_gradient":
        ranges.append((r["scratch_address"], 40 * weights))
    return [(address, size) for address, size in ranges if size]


_written = written  # what the watch goes by; its own test gives it less


class WatchedTransport(CsimTransport):
    """Compares all memory around what a launch may write with what was there before."""

    def __init__(self, memory_bytes: int) -> None:
        super().__init__(memory_bytes)
        self.memory[:] = PATTERN
        self._top = SLACK

    def start(self) -> None:
        ranges = _written(decoded(self))
        ends = [address + size for address, size in ranges]
        self._top = min(max([self._top, *(end + SLACK for end in ends)]), len(self.memory))
        before = self.memory[: self._top].copy()
        super().start()
        changed = self.memory[: self._top] != before
        if self.read_register(hw.REGISTERS_ERROR) == hw.ERRORS_OK:
            for address, size in ranges:
                changed[address : address + size] = False
        stray = np.flatnonzero(changed)
        assert not len(stray), f"{len(stray)} bytes written outside, first at 0x{stray[0]:x}"


def watched_transport(memory_bytes: int = 4 << 20) -> WatchedTransport:
    """Skips the test where csim cannot be built for lack of its headers."""
    try:
        return WatchedTransport(memory_bytes)
    except CsimUnavailable as error:
        if "hls4ml" in str(error):
            pytest.skip(str(error))
        raise


@cache
def csim(memory_bytes: int = 32 << 20) -> KernelDevice:
    """The watched device, with unused bytes between buffers."""
    return KernelDevice(watched_transport(memory_bytes), gap=GUARD)


def expect_same(steps: Any) -> None:
    """Run the same operations on csim and on the int64 reference; every integer must be equal."""
    calls = []
    for inner in (csim(), ReferenceDevice()):
        recorded = RecordingDevice(inner)
        steps(recorded)
        calls.append(recorded.calls)
    same_calls(*calls)
