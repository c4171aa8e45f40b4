# SPDX-License-Identifier: Apache-2.0
"""An estimate of what the HLS parts take, from their operators.

No tool has placed this. LUTs are operators of the optimised IR times their bits (delays.toml,
[area]); nothing is shared but multiplications, within a pipelined loop of interval n by n, and
within a function to its ALLOCATION limit. Flip-flops are values that live over a clock boundary
when every operator starts as early as it can; in code that is not pipelined, values that leave
their block. DSPs are products by their bits."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from synthesis import delays
from synthesis.debugtypes import DebugTypes
from synthesis.module import Function, Instruction
from synthesis.operators import is_divider, is_multiplier
from synthesis.pragmas import Scope, Source
from synthesis.recurrences import Timing
from synthesis.structure import Loop
from synthesis.values import Widths, constant, type_bits

AREA = delays.TABLE["area"]
LONGEST = 2  # stages of flip-flops; what waits longer goes through a LUT's shift register
SHIFT_STAGES = 16


@dataclass
class Resources:
    """What a part takes; `blocks` in RAMB36E1."""

    luts: float = 0.0
    ffs: float = 0.0
    dsps: float = 0.0
    blocks: float = 0.0

    def add(self, other: Resources) -> None:
        self.luts += other.luts
        self.ffs += other.ffs
        self.dsps += other.dsps
        self.blocks += other.blocks


def operator_luts(one: Instruction, widths: Widths) -> float:
    """LUTs of one operator; products are counted elsewhere."""
    code = one.opcode
    operands = one.operands
    fixed = [constant(operand) for operand in operands]
    if code in ("add", "sub"):
        return float(AREA["add"]) * widths.operator(one)
    if code == "icmp":
        return float(AREA["compare"]) * widths.operator(one)
    if code in ("and", "or", "xor"):
        plain = any(number is not None for number in fixed) or " disjoint " in one.text
        return 0.0 if plain else float(AREA["logic"]) * widths.operator(one)
    if code == "select":
        return float(AREA["select"]) * widths.operator(one)
    if code == "phi":
        return float(AREA["select"]) * widths.operator(one) * (len(set(operands)) - 1)
    if code in ("shl", "lshr", "ashr") and fixed[1] is None:
        bits = widths.operator(one)
        return float(AREA["shift_level"]) * bits * (max(bits, 2) - 1).bit_length()
    if code == "call" and any(part in one.detail for part in ("max", "min", "abs")):
        return (AREA["compare"] + AREA["select"]) * widths.operator(one)
    if is_divider(one):
        return 6.0 * type_bits(one.type)
    return 0.0


def _dsps(a: int, b: int) -> int:
    wide, narrow = max(a, b), min(a, b)
    if wide < AREA["least_dsp_bits"]:
        return 0
    plain = ceil(wide / (delays.DSP_WIDE - 1)) * ceil(narrow / (delays.DSP_NARROW - 1))
    turned = ceil(wide / (delays.DSP_NARROW - 1)) * ceil(narrow / (delays.DSP_WIDE - 1))
    return 1 if delays.fits_dsp(a, b) else min(plain, turned)


class Estimate:
    """Resources of functions. `scopes`: of every source, to find ALLOCATION limits."""

    def __init__(self, types: DebugTypes, sources: list[Source]) -> None:
        self.types = types
        self.pragmas = [
            one for source in sources for scope in source.scopes for one in scope.pragmas
        ]
        self.functions = [
            (str(source.path), scope, source.text.count("\n", 0, scope.end) + 1)
            for source in sources
            for scope in source.scopes
            if not scope.loop
        ]

    def _limit(self, place: tuple[str, int]) -> tuple[str, int | None]:
        """The function around a line, and its limit of multipliers."""
        inside = [
            (end - scope.line, scope)
            for file, scope, end in self.functions
            if file == place[0] and scope.line <= place[1] <= end
        ]
        if not inside:
            return "", None
        scope = min(inside, key=lambda one: one[0])[1]
        for pragma in scope.pragmas:
            if pragma.name == "ALLOCATION" and "mul" in (
                *pragma.words,
                *pragma.values.get("instances", "").split(),
            ):
                return scope.label, pragma.number("limit")
        return scope.label, None

    def _products(self, function: Function, intervals: dict[str, int]) -> Resources:
        widths = Widths(function)
        groups: dict[tuple[str, int | None, int], list[tuple[int, float]]] = {}
        for block in function.blocks.values():
            for one in block.instructions:
                if not is_multiplier(one):
                    continue
                a, b = widths.factors(one)
                label, limit = self._limit(function.module.location(one.debug) or ("", 0))
                share = intervals.get(block.name, 1)
                luts = 0.0 if _dsps(a, b) else AREA["small_product"] * a * b
                groups.setdefault((label, limit, share), []).append((_dsps(a, b), luts))
        total = Resources()
        for (_, limit, share), listed in groups.items():
            units = min(ceil(len(listed) / share), limit or len(listed))
            each = sorted(listed, reverse=True)[:units]
            total.dsps += sum(dsps for dsps, _ in each)
            total.luts += sum(luts for _, luts in each)
        return total

    def of(self, function: Function, pipelined: list[tuple[Loop, Scope]]) -> Resources:
        """Of one function and all that is inlined in it."""
        intervals = {
            name: scope.interval() or 1 for loop, scope in pipelined for name in loop.names
        }
        total = self._products(function, intervals)
        widths = Widths(function)
        for block in function.blocks.values():
            total.luts += sum(operator_luts(one, widths) for one in block.instructions)
        total.luts += AREA["state"] * (1 + len(pipelined))
        for loop, _ in pipelined:
            total.add(self._pipeline(loop))
        total.ffs += self._held(function, set(intervals), widths)
        return total

    def _held(self, function: Function, within: set[str], widths: Widths) -> float:
        """Registers of code that is not pipelined: values that another block takes."""
        homes = {name: one.block.name for name, one in function.values.items()}
        leaving: set[str] = set()
        for block in function.blocks.values():
            for one in block.instructions:
                leaving.update(
                    name for name in one.operands if name in homes and homes[name] != block.name
                )
        return float(
            sum(
                widths.operator(function.values[name])
                for name in leaving
                if homes[name] not in within
                and function.values[name].opcode not in delays.FREE
                and function.values[name].opcode != "getelementptr"
            )
        )

    def _pipeline(self, loop: Loop) -> Resources:
        """Registers of a pipelined loop: its variables, and values on their way."""
        timing = Timing(loop, self.types, self.pragmas, everything=True)
        ready = {name: float(np.max(arrival)) for name, arrival in timing.arrival.items()}
        last: dict[str, float] = {}
        for one, done in timing.done.items():
            begins = float(np.max(done)) - timing.delay(one)
            for operand in one.operands:
                last[operand] = max(last.get(operand, 0.0), begins)
        total = Resources(ffs=sum(timing.widths.operator(phi) for phi in loop.phis))
        for access in timing.accesses.found.values():
            if access.register and access.ways > 1 and not access.stores:
                total.luts += AREA["way"] * access.ways * type_bits(access.instruction.type)
        for name, until in last.items():
            made = loop.defined.get(name)
            if made is None or made.opcode in delays.FREE or made in loop.phis:
                continue
            crossed = int(until // delays.BUDGET) - int(ready[name] // delays.BUDGET)
            width = timing.widths.operator(made)
            total.ffs += width * min(max(crossed, 0), LONGEST)
            total.luts += width * ceil(max(crossed - LONGEST, 0) / SHIFT_STAGES)
        return total
