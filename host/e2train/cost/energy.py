# SPDX-License-Identifier: Apache-2.0
"""Energy modelled from counted work: operations and bytes times published costs.

`EnergyModel.joules` is the sum of published costs alone (provenance `modelled`), of a chip in 45
nm; what this board draws is another question, and `board` answers it. docs/cost.md gives sources
and assumptions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ..device.counter import ELEMENTWISE, PASSES, Counter
from .table import CostTable, load_table

PICO = 1e-12
FLOAT32 = (32, 32)


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
        self._mac_pj = cache(self.mac_pj)

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
            n * self._mac_pj(a, b) for (a, b), n in sorted(counter.products(pass_).items())
        )
        moved = counter.bytes_of(pass_)
        return ModelledEnergy(
            compute * PICO,
            moved.get("dram", 0) * self._dram_byte_pj * PICO,
            moved.get("buffer", 0) * self._buffer_byte_pj * PICO,
        )

    def on_chip_joules(self, counter: Counter, passes: Iterable[str]) -> float:
        """Arithmetic and buffers of some passes at published cost."""
        parts = [self._of_pass(counter, pass_) for pass_ in passes]
        return math.fsum(part.compute + part.buffer for part in parts)

    def dram_joules(self, moved: int) -> float:
        """`moved` bytes of DRAM at published cost."""
        return moved * self._dram_byte_pj * PICO
