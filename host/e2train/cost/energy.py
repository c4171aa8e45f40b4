# SPDX-License-Identifier: Apache-2.0
"""Energy modelled from counted work: operations and bytes times published costs.

Two uses, never mixed: `EnergyModel.joules` is the sum of published costs alone (provenance
`modelled`); `EnergyModel.segments` is a power trace at a board's input that drives a simulated
meter, whose joules are `simulated`. docs/cost.md gives sources and assumptions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

from ..device.counter import ELEMENTWISE, PASSES, Counter
from .table import CostTable, load_table

PICO = 1e-12
FLOAT32 = (32, 32)
Segment = tuple[float, float]  # duration in s, power in W


@dataclass(frozen=True)
class ModelledEnergy:
    """Joules of counted work at published costs; nothing was measured."""

    compute: float
    dram: float
    buffer: float
    provenance: str = "modelled"

    @property
    def total(self) -> float:
        """All of it, in joules."""
        return self.compute + self.dram + self.buffer


class EnergyModel:
    """Costs of a table (`costs.toml` unless told otherwise) applied to a `Counter`."""

    def __init__(self, table: CostTable) -> None:
        self.table = table
        published = table.published
        self._product_exponent = math.log(
            published.int_multiply_32_pj / published.int_multiply_8_pj
        ) / math.log(32 * 32 / (8 * 8))
        low, high = published.dram_64bit_low_pj, published.dram_64bit_high_pj
        self._dram_byte_pj = (low + table.choice.dram_position * (high - low)) / 8
        self._buffer_byte_pj = published.sram_8kb_64bit_pj / 8

    @classmethod
    def load(cls, path: Path | None = None) -> EnergyModel:
        """The model of a cost table; UserError naming file and key if one is wrong."""
        return cls(load_table(path))

    # ---- published cost -------------------------------------------------------------------------

    def multiply_pj(self, a_bits: int, b_bits: int) -> float:
        """One multiplication. Our interpolation: a power of the product of the operand widths.

        It passes through both published points (8x8 and 32x32); its exponent is 0.989.
        """
        published = self.table.published
        if (a_bits, b_bits) == FLOAT32:
            return published.float_multiply_32_pj
        ratio = a_bits * b_bits / 64
        return float(published.int_multiply_8_pj * ratio**self._product_exponent)

    def add_pj(self, bits: int) -> float:
        """One integer addition. Our interpolation: the line through 8 and 32 bits."""
        published = self.table.published
        slope = (published.int_add_32_pj - published.int_add_8_pj) / (32 - 8)
        return published.int_add_8_pj + slope * (bits - 8)

    def mac_pj(self, a_bits: int, b_bits: int) -> float:
        """One multiply-accumulate; the accumulator is as wide as the numeric contract has it."""
        if (a_bits, b_bits) == FLOAT32:
            return self.multiply_pj(32, 32) + self.table.published.float_add_32_pj
        choice = self.table.choice
        narrow = a_bits + b_bits <= choice.narrow_product_bits
        accumulator = choice.narrow_accumulator_bits if narrow else choice.wide_accumulator_bits
        return self.multiply_pj(a_bits, b_bits) + self.add_pj(int(accumulator))

    def joules(self, counter: Counter) -> ModelledEnergy:
        """Operations and bytes of `counter` at published cost, provenance `modelled`."""
        passes = [self._of_pass(counter, pass_) for pass_ in (*PASSES, ELEMENTWISE)]
        return ModelledEnergy(
            math.fsum(part.compute for part in passes),
            math.fsum(part.dram for part in passes),
            math.fsum(part.buffer for part in passes),
        )

    def _of_pass(self, counter: Counter, pass_: str) -> ModelledEnergy:
        compute = math.fsum(
            n * self.mac_pj(a, b) for (a, b), n in sorted(counter.products(pass_).items())
        )
        moved = counter.bytes_by_pass().get(pass_, {})
        return ModelledEnergy(
            compute * PICO,
            moved.get("dram", 0) * self._dram_byte_pj * PICO,
            moved.get("buffer", 0) * self._buffer_byte_pj * PICO,
        )

    # ---- the board ------------------------------------------------------------------------------

    def segments(self, work: Counter) -> list[Segment]:
        """The power at the board's input while it does `work`: (duration s, power W), in order.

        One segment a pass that has work, in the order of `PASSES`, then the memory-bound rest.
        Duration: the slower of multiply-accumulates at the array's rate and bytes at the DRAM's.
        Power: idle, plus the pass's modelled energy over its duration, where energy on the chip
        counts `fabric_energy_ratio` times. Gates run on the processor at its own rate and power.
        A trace to drive a simulated meter with: deterministic, and no measurement.
        """
        trace = [self._segment(work, pass_) for pass_ in (*PASSES, ELEMENTWISE)]
        return [(duration, power) for duration, power in trace if duration > 0]

    def _segment(self, work: Counter, pass_: str) -> Segment:
        board = self.table.board
        if pass_ == "gate":
            seconds = sum(work.products(pass_).values()) / board.processor_macs_per_s
            return seconds, board.idle_w + board.processor_active_w
        energy = self._of_pass(work, pass_)
        dram_bytes = work.bytes_by_pass().get(pass_, {}).get("dram", 0)
        cycles = math.fsum(
            n / self.macs_per_cycle(a, b) for (a, b), n in sorted(work.products(pass_).items())
        )
        duration = max(cycles / board.clock_hz, dram_bytes / board.dram_bytes_per_s)
        if duration == 0:
            return 0.0, board.idle_w
        on_chip = board.fabric_energy_ratio * (energy.compute + energy.buffer)
        return duration, board.idle_w + (on_chip + energy.dram) / duration

    def macs_per_cycle(self, a_bits: int, b_bits: int) -> float:
        """Multiply-accumulates that the array completes a cycle, at the assumed efficiency."""
        board = self.table.board
        rates = self.table.macs_per_dsp
        rate = rates.get(f"{min(a_bits, b_bits)}x{max(a_bits, b_bits)}", rates["other"])
        return board.dsp_slices * board.efficiency * rate
