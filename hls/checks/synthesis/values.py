# SPDX-License-Identifier: Apache-2.0
"""What is known of a value: its bits, where a pointer comes from, how it moves in a loop."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from synthesis.module import INTEGER, WORDS, Function, Instruction, Module
from synthesis.structure import Loop

POINTER_BITS = 32  # addresses on this device
COUNTER_BITS = 32


def constant(operand: str) -> int | None:
    """The number that a constant operand is."""
    if operand in WORDS:
        return WORDS[operand]
    if INTEGER.match(operand):
        return int(operand)
    return 0 if operand in ("null", "zeroinitializer", "undef", "poison") else None


def type_bits(kind: str) -> int:
    if kind == "ptr":
        return POINTER_BITS
    found = re.fullmatch(r"i(\d+)", kind)
    return int(found.group(1)) if found else 64


class Widths:
    """Bits that a value needs in two's complement (a number that is never negative: one more than
    its magnitude has). A loop's variables count as wide as their type."""

    def __init__(self, function: Function) -> None:
        self.function = function
        self._known: dict[str, int] = {}
        self._wanted: dict[str, int] = {}

    def of(self, operand: str, kind: str) -> int:
        number = constant(operand)
        if number is not None:
            return (number if number >= 0 else ~number).bit_length() + 1
        one = self.function.values.get(operand)
        if one is None:
            return type_bits(kind)
        if operand not in self._known:
            # LLVM widens counters of 32 bits to those of a pointer of its own machine.
            widened = one.opcode == "phi" and operand.startswith("%indvars.iv")
            self._known[operand] = COUNTER_BITS if widened else type_bits(one.type)
            if widened:
                return COUNTER_BITS
            self._known[operand] = min(type_bits(one.type), self._computed(one))
        return self._known[operand]

    def _computed(self, one: Instruction) -> int:
        full = type_bits(one.type)
        inner = [self.of(operand, one.type) for operand in one.operands]
        if one.opcode == "zext":
            return min(type_bits(one.types[0]), self.of(one.operands[0], one.types[0])) + 1
        if one.opcode in ("sext", "trunc", "freeze"):
            return self.of(one.operands[0], one.types[0] if one.types else one.type)
        if one.opcode in ("add", "sub"):
            return max(inner) + 1
        if one.opcode == "mul":
            return sum(inner)
        if one.opcode == "and":
            masks = [constant(operand) for operand in one.operands]
            least = [mask.bit_length() + 1 for mask in masks if mask is not None and mask >= 0]
            return min([max(inner), *least])
        if one.opcode in ("or", "xor"):
            return max(inner)
        if one.opcode == "select":
            return max(inner[1:])
        if one.opcode == "phi":
            return max(inner)
        return self._shifted(one, inner, full)

    def _shifted(self, one: Instruction, inner: list[int], full: int) -> int:
        by = constant(one.operands[1]) if len(one.operands) > 1 else None
        if one.opcode == "shl" and by is not None:
            return inner[0] + by
        if one.opcode == "lshr":
            return full - by + 1 if by else full
        if one.opcode == "ashr":
            return max(inner[0] - (by or 0), 1)
        if one.opcode in ("sdiv", "srem", "udiv", "urem"):
            return inner[0]
        if one.opcode == "icmp":
            return 1
        return full

    def operator(self, one: Instruction) -> int:
        """Bits of an operator: of its result, or of what a comparison compares."""
        if one.opcode == "icmp":
            least = min(self.zeros(operand) for operand in one.operands)
            return max(self.of(operand, one.types[0]) for operand in one.operands) - least
        if not one.name:
            return type_bits(one.type)
        return min(self.of(one.name, one.type), self.wanted(one.name))

    def factors(self, one: Instruction) -> tuple[int, int]:
        """Bits of a product's operands: what is zero below or cut off above takes none."""
        wanted = self.wanted(one.name) + 1  # as a number that is never negative
        sizes = [
            min(self.of(operand, one.type) - self.zeros(operand), wanted)
            for operand in one.operands
        ]
        return max(sizes[0], 1), max(sizes[1], 1)

    def zeros(self, operand: str) -> int:
        """Bits at the bottom of a value that are known to be zero."""
        fixed = constant(operand)
        if fixed is not None:
            return (fixed & -fixed).bit_length() - 1 if fixed else type_bits("ptr")
        one = self.function.values.get(operand)
        if one is None or len(one.operands) > 2:
            return 0
        number = constant(one.operands[1]) if len(one.operands) > 1 else None
        if one.opcode == "and" and number:
            return max((number & -number).bit_length() - 1, self.zeros(one.operands[0]))
        if one.opcode == "shl" and number is not None:
            return number + self.zeros(one.operands[0])
        if one.opcode in ("sext", "zext"):
            return self.zeros(one.operands[0])
        if one.opcode in ("ashr", "lshr") and number is not None:
            return max(self.zeros(one.operands[0]) - number, 0)
        return 0

    @cached_property
    def _users(self) -> dict[str, list[Instruction]]:
        found: dict[str, list[Instruction]] = {}
        for block in self.function.blocks.values():
            for one in block.instructions:
                for operand in one.operands:
                    found.setdefault(operand, []).append(one)
        return found

    def wanted(self, name: str) -> int:
        """Low bits of a value that anything looks at."""
        full = type_bits(self.function.values[name].type)
        if name not in self._wanted:
            self._wanted[name] = full
            users = self._users.get(name, [])
            self._wanted[name] = min(
                full, max((self._taken(one, full) for one in users), default=0)
            )
        return self._wanted[name]

    def _taken(self, user: Instruction, full: int) -> int:
        number = constant(user.operands[-1]) if user.operands else None
        if user.opcode == "trunc":
            return min(type_bits(user.type), self.wanted(user.name))
        if user.opcode == "and" and number is not None and number >= 0:
            return min(number.bit_length(), self.wanted(user.name))
        if user.opcode == "shl" and number is not None:
            return max(self.wanted(user.name) - number, 0)
        if user.opcode in ("add", "sub", "mul"):
            return self.wanted(user.name)
        return full


@dataclass(frozen=True)
class Linear:
    """`terms` (value, factor) + constant + step * iteration, in bytes for a pointer."""

    terms: tuple[tuple[str, int], ...] = ()
    constant: int = 0
    step: int = 0

    def plus(self, other: Linear, sign: int = 1) -> Linear:
        terms = dict(self.terms)
        for name, factor in other.terms:
            terms[name] = terms.get(name, 0) + sign * factor
        kept = tuple(sorted((name, factor) for name, factor in terms.items() if factor))
        return Linear(kept, self.constant + sign * other.constant, self.step + sign * other.step)

    def times(self, factor: int) -> Linear:
        terms = tuple((name, old * factor) for name, old in self.terms)
        return Linear(terms, self.constant * factor, self.step * factor)


class Affine:
    """How values move in one loop, as LLVM's scalar evolution would find: an extension of a sum
    that may wrap is not linear."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.module: Module = loop.function.module
        self._known: dict[str, Linear | None] = {}

    def of(self, operand: str) -> Linear | None:
        number = constant(operand)
        if number is not None:
            return Linear(constant=number)
        if operand not in self._known:
            self._known[operand] = None  # what depends on itself in any other way is not linear
            self._known[operand] = self._computed(operand)
        return self._known[operand]

    def _computed(self, operand: str) -> Linear | None:
        one = self.loop.function.values.get(operand)
        symbol = Linear(((operand, 1),))
        if one is None:
            return symbol
        if one in self.loop.phis:
            return self._recurrence(one)
        found = self._combined(one)
        if found is None and operand not in self.loop.defined:
            return symbol
        return found

    def _recurrence(self, phi: Instruction) -> Linear | None:
        carried = self.loop.carried(phi)
        begin = [value for value in phi.operands if value not in carried]
        if len(carried) != 1 or len(begin) != 1:
            return None
        self._known[phi.name] = Linear(((phi.name, 1),))
        inner = Affine(self.loop)
        inner._known = {phi.name: Linear(((phi.name, 1),))}
        after = inner.of(carried[0])
        first = self.of(begin[0])
        if after is None or first is None or after.terms != ((phi.name, 1),) or after.step:
            return None
        return Linear(first.terms, first.constant, after.constant)

    def _combined(self, one: Instruction) -> Linear | None:
        if one.opcode in ("add", "sub") or (one.opcode == "or" and " disjoint " in one.text):
            a, b = (self.of(operand) for operand in one.operands)
            return None if a is None or b is None else a.plus(b, -1 if one.opcode == "sub" else 1)
        if one.opcode in ("mul", "shl"):
            return self._scaled(one)
        if one.opcode in ("sext", "zext"):
            return self._extended(one)
        if one.opcode == "freeze":
            return self.of(one.operands[0])
        return self._element(one) if one.opcode == "getelementptr" else None

    def _scaled(self, one: Instruction) -> Linear | None:
        for value, factor in (one.operands, one.operands[::-1]):
            number, linear = constant(factor), self.of(value)
            if number is not None and linear is not None:
                return linear.times(number if one.opcode == "mul" else 1 << number)
            if one.opcode == "shl":
                break
        return None

    def _extended(self, one: Instruction) -> Linear | None:
        inner = self.of(one.operands[0])
        if inner is None or not inner.step:
            return None  # a symbol of its own where it does not move
        made = self.loop.function.values.get(one.operands[0])
        safe = made is not None and (
            " nsw " in made.text
            if one.opcode == "sext"
            else " nuw " in made.text or (" nneg " in one.text and " nsw " in made.text)
        )
        return inner if safe else None

    def _element(self, one: Instruction) -> Linear | None:
        total = self.of(one.operands[0])
        kind = one.detail
        for place, operand in enumerate(one.operands[1:]):
            if total is None:
                return None
            if place == 0:
                size = self.module.size(kind)
            else:
                array = re.fullmatch(r"\[(\d+) x (.*)\]", kind)
                if array is None:
                    offset, kind = self.module.field_offset(kind, constant(operand) or 0)
                    total = total.plus(Linear(constant=offset))
                    continue
                kind = array.group(2)
                size = self.module.size(kind)
            index = self.of(operand)
            total = None if index is None else total.plus(index.times(size))
        return total


def roots(function: Function, operand: str) -> set[str]:
    """The parameters, memories and globals that a pointer may point into."""
    found: set[str] = set()
    seen: set[str] = set()
    front = [operand]
    while front:
        at = front.pop()
        if at in seen:
            continue
        seen.add(at)
        one = function.values.get(at)
        if one is None or one.opcode not in ("getelementptr", "phi", "select", "freeze"):
            found.add(at)
        elif one.opcode == "select":
            front.extend(one.operands[1:])
        else:
            front.extend(one.operands if one.opcode == "phi" else one.operands[:1])
    return found
