# SPDX-License-Identifier: Apache-2.0
"""Multiplications that no single DSP takes inside pipelined loops, and dividers anywhere."""

from __future__ import annotations

from dataclasses import dataclass

from synthesis import delays
from synthesis.module import Function, Instruction, plain_name
from synthesis.structure import Loop
from synthesis.values import Widths, constant

DIVISIONS = ("sdiv", "udiv", "srem", "urem")


@dataclass(frozen=True)
class Operator:
    """A multiplication or division that costs more than it seems to."""

    kind: str  # "multiplication" or "divider"
    file: str
    line: int
    where: str  # loop or function
    text: str


def is_divider(one: Instruction) -> bool:
    if one.opcode not in DIVISIONS:
        return False
    number = constant(one.operands[1])
    return number is None or number <= 0 or number & (number - 1) != 0


def is_multiplier(one: Instruction) -> bool:
    """A product of two variables; one with a constant is shifts and additions."""
    return one.opcode == "mul" and all(constant(operand) is None for operand in one.operands)


def short_name(function: Function) -> str:
    """A function's name as its source has it, as far as a mangled name shows it."""
    return plain_name(function.name)


def operators(function: Function, pipelined: list[tuple[Loop, str]]) -> list[Operator]:
    """What a function holds; `pipelined`: its pipelined loops with their labels."""
    widths = Widths(function)
    found = []
    for block in function.blocks.values():
        label = next((name for loop, name in pipelined if block.name in loop.names), None)
        for one in block.instructions:
            place = function.module.location(one.debug) or ("", 0)
            if is_divider(one):
                where = label or short_name(function)
                found.append(Operator("divider", *place, where, f"{one.opcode} {one.type}"))
            elif label is not None and is_multiplier(one):
                a, b = widths.factors(one)
                if not delays.fits_dsp(a, b):
                    found.append(Operator("multiplication", *place, label, f"{a} x {b} bits"))
    return found
