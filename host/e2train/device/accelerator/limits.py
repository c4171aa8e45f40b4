# SPDX-License-Identifier: Apache-2.0
"""Launches that the host refuses, and why: sizes beyond the hardware's limits, bad buffers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...errors import UserError
from . import generated as hw

_LIMITS = {
    "samples": hw.LIMITS_SAMPLES,
    "channels": hw.LIMITS_CHANNELS,
    "filters": hw.LIMITS_CHANNELS,
    "height": hw.LIMITS_SIZE,
    "width": hw.LIMITS_SIZE,
    "out_height": hw.LIMITS_SIZE,
    "out_width": hw.LIMITS_SIZE,
}
MEMORY_LIMIT = 1 << 32


class LaunchRefused(UserError, ValueError):
    """A launch that the accelerator cannot do; the text names the register or buffer and limit."""


@dataclass(frozen=True)
class Buffer:
    """Bytes that a launch reads or writes, and the register that tells their address."""

    register: str
    address: int
    size: int
    written: bool = False

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.address + self.size


def check_sizes(registers: Mapping[str, int]) -> None:
    """Raise LaunchRefused where a size register exceeds what the hardware counts to."""
    for name, limit in _LIMITS.items():
        if registers.get(name, 0) > limit:
            raise LaunchRefused(f"{name}: {registers[name]} given, the accelerator takes {limit}")


def check_buffers(buffers: Sequence[Buffer], base: int, size: int) -> None:
    """Raise LaunchRefused for a null or misaligned buffer, one outside memory, or an overlap.

    Memory is `size` bytes from `base`. Overlap matters where one of the two is written.
    """
    for buffer in buffers:
        where = f"{buffer.register}: 0x{buffer.address:08x}"
        if buffer.address == 0:
            raise LaunchRefused(f"{where} is null")
        if buffer.address % hw.LIMITS_ALIGNMENT:
            raise LaunchRefused(f"{where} is not aligned to {hw.LIMITS_ALIGNMENT} bytes")
        if buffer.address < base or buffer.end > min(base + size, MEMORY_LIMIT):
            raise LaunchRefused(
                f"{where} and {buffer.size} bytes exceed the device's memory "
                f"0x{base:08x} to 0x{base + size:08x}"
            )
    in_order = sorted(buffers, key=lambda buffer: buffer.address)
    for index, lower in enumerate(in_order):
        for upper in in_order[index + 1 :]:
            if upper.address >= lower.end:
                break
            if lower.written or upper.written:
                raise LaunchRefused(
                    f"{upper.register}: 0x{upper.address:08x} overlaps {lower.register}, "
                    f"which ends at 0x{lower.end:08x}"
                )
