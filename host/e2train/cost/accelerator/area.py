# SPDX-License-Identifier: Apache-2.0
"""DSP slices and block RAM of the accelerator: an estimate from the configuration.

Nothing was synthesised. Memories are counted in RAMB18 by the shapes that a 7-series block RAM
offers (AMD UG473); two of them are one BRAM36. Small arrays are assumed to be registers or LUTs.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...device.accelerator import generated as hw

RAMB18_SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))
LIMITS = {"DSP48E1": 200, "BRAM36": 130}
CHIP = {"DSP48E1": 220, "BRAM36": 140}  # XC7Z020

# HLS makes one instance of a function a call site and one memory a declaration (and copy).
CORE_CALLS = 1
TILE_BUFFERS = 1  # declarations of the row and of the column buffer
BURSTS = 6  # directions of the five ports: four read, one reads and writes
FIFO_RAMB18 = 2  # assumption: of each of them
# Products of addresses on the chip are bound to LUTs (times_on_chip). Those of addresses in memory
# (times, 24 by 17 bits) stand outside the pipelined loops, so a function's share one multiplier.
ADDRESS_DSP = 16  # assumption: functions that have some
CHECK_DSP = 10  # assumption: 64-bit sizes of the checks before a launch
VECTOR_DSP = 8 + 4 + 4 + 4  # map, channel sums, sample products, squares of a store
THRESHOLD_DSP = 3  # beta_q times M, 17 by 48 bits


@dataclass(frozen=True)
class Memory:
    """`banks` memories of `depth` words of `width` bits, `copies` of each (two: ping-pong).

    `halves`: both copies are halves of one memory.
    """

    name: str
    depth: int
    width: int
    copies: int = 1
    banks: int = 1
    halves: bool = False

    @property
    def bram36(self) -> float:
        """BRAM36 that it takes."""
        if self.halves:
            return self.banks * ramb18(self.copies * self.depth, self.width) / 2
        return self.banks * self.copies * ramb18(self.depth, self.width) / 2


def ramb18(depth: int, width: int) -> int:
    """RAMB18 of one memory of `depth` words of `width` bits, in the shape that needs fewest."""
    return min(-(-depth // words) * -(-width // bits) for words, bits in RAMB18_SHAPES)


def memories() -> list[Memory]:
    """Every memory of the kernels that is large enough for block RAM."""
    lanes, rows = hw.ARRAY_COLUMNS, hw.ARRAY_ROWS
    half_word = lanes * hw.WIDTHS_GRADIENT
    nibbles = lanes * hw.WIDTHS_ACTIVATION // 2
    beat, slot, head = hw.WIDTHS_BEAT, 16, 32
    visits = hw.BUFFERS_WEIGHT_SUMS // rows
    queue = hw.BUFFERS_SCHEDULE_DEPTH
    banks = 2 * hw.BUFFERS_ROW_BANKS  # low and high nibbles
    return [
        Memory("row buffer", hw.BUFFERS_ROW_DEPTH, nibbles, 2, banks, halves=True),
        Memory("column buffer", hw.BUFFERS_COLUMN_DEPTH, half_word, 2),
        Memory("tile sums", hw.BUFFERS_TILE_SUMS, lanes * hw.WIDTHS_TILE_SUM, 2),
        Memory("weight sums", hw.BUFFERS_WEIGHT_SUMS // lanes, rows * hw.WIDTHS_SUM, banks=2),
        Memory("visits' slots", visits, beat, banks=2),
        Memory("visits' heads", visits, head),
        Memory("queues", queue, slot, banks=rows),
        Memory("codes", queue, 3, banks=rows),
        Memory("line of signs", rows * queue // 2 // 8, beat),
        Memory("channel table", hw.LIMITS_CHANNELS, 2 * 64),
        # The group that is kept, and the result's between its passes.
        Memory("move chunk", hw.BUFFERS_CHUNK, half_word, copies=2),
        Memory("bursts' FIFOs", 512, 36, copies=FIFO_RAMB18 * BURSTS),
    ]


@dataclass(frozen=True)
class Area:
    """An estimate of one resource, the aim, and what the chip has."""

    resource: str
    estimate: float
    limit: int
    chip: int


def area() -> list[Area]:
    """DSP slices and BRAM36."""
    array = CORE_CALLS * hw.ARRAY_ROWS * hw.ARRAY_COLUMNS
    found = {
        "DSP48E1": float(array + VECTOR_DSP + THRESHOLD_DSP + ADDRESS_DSP + CHECK_DSP),
        "BRAM36": sum(one.bram36 for one in memories()),
    }
    return [Area(name, estimate, LIMITS[name], CHIP[name]) for name, estimate in found.items()]
