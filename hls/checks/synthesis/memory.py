# SPDX-License-Identifier: Apache-2.0
"""Loads and stores of a loop that go to memories on the chip, and which may meet across
iterations."""

from __future__ import annotations

from dataclasses import dataclass

from synthesis.debugtypes import DebugTypes, Member
from synthesis.module import Function, Instruction
from synthesis.pragmas import Pragma
from synthesis.structure import Loop
from synthesis.values import Affine, Linear, roots

LOOKUP_BITS = 1024  # a memory below this becomes LUTs


@dataclass(frozen=True)
class Access:
    """One load or store. `key`: the memory, or the register, that it goes to."""

    instruction: Instruction
    key: tuple[str, int, int]
    name: str
    address: Linear | None
    register: bool
    ways: int  # of the multiplexer before a register array
    lookup: bool
    stores: bool


def pointer_of(one: Instruction) -> str | None:
    if one.opcode == "load":
        return one.operands[0]
    if one.opcode == "store":
        return one.operands[1]
    if one.opcode == "call" and one.detail.startswith(("llvm.memset", "llvm.memcpy")):
        return one.operands[0]
    return None


def port_of(types: DebugTypes, function: Function, one: Instruction) -> list[str]:
    """The ports that an instruction may go to; empty for a memory on the chip."""
    pointer = pointer_of(one)
    if pointer is None:
        return []
    return sorted(root for root in roots(function, pointer) if types.is_port(function, root))


def _partition(pragmas: list[Pragma], member: Member) -> Pragma | None:
    for pragma in pragmas:
        variable = pragma.values.get("variable", "")
        if pragma.name == "ARRAY_PARTITION" and (
            member.path == variable or member.path.endswith("." + variable.split(".", 1)[-1])
        ):
            return pragma
    return None


class Accesses:
    """Accesses of one loop. `pragmas`: of every function of the design."""

    def __init__(self, loop: Loop, types: DebugTypes, pragmas: list[Pragma]) -> None:
        self.loop = loop
        self.types = types
        self.pragmas = pragmas
        self.affine = Affine(loop)
        self.found: dict[Instruction, Access] = {}
        for one in loop.instructions:
            pointer = pointer_of(one)
            if pointer is not None and not port_of(types, loop.function, one):
                self.found[one] = self._access(one, pointer)

    def _access(self, one: Instruction, pointer: str) -> Access:
        function = self.loop.function
        origins = sorted(roots(function, pointer))
        address = self.affine.of(pointer)
        stores = one.opcode != "load"
        root = origins[0] if len(origins) == 1 else "+".join(origins)
        known = self.types.of_root(function, origins[0]) if len(origins) == 1 else None
        constant = address is not None and not address.step and dict(address.terms) == {root: 1}
        if known is None or (address is None and not self._offset(pointer)):
            offset = address.constant if address is not None and constant else 0
            return Access(one, (root, offset, 0), root[1:], address, constant, 1, False, stores)
        offset = address.constant if address is not None else self._offset(pointer)[0]
        many = self.types.is_array(function, root)
        offset = offset % max(self.types.size(known[1]), 1) if many else offset
        member = self.types.member(*known, offset)
        pragma = _partition(self.pragmas, member)
        whole = (pragma is not None and pragma.values.get("dim", "1") in ("0",)) or (
            pragma is not None and len(member.extents) == 1
        )
        register = not many and (not member.extents or constant or whole)
        bank = 0
        if constant:
            bank = address.constant - member.begin  # type: ignore[union-attr]
        elif pragma is not None and len(member.extents) > 1 and address is not None:
            bank = (address.constant - member.begin) // (member.bytes // member.extents[0])
        banks = member.extents[0] if pragma and member.extents else 1
        lookup = not many and 8 * member.bytes // banks <= LOOKUP_BITS
        ways = member.elements if whole and not constant else 1
        key = (root, member.begin, bank)
        return Access(one, key, member.path, address, register, ways, lookup, stores)

    def _offset(self, pointer: str) -> list[int]:
        """Constant part of a pointer whose moving part is not linear: that of its first step."""
        function = self.loop.function
        total = 0
        at = pointer
        while True:
            one = function.values.get(at)
            if one is None or one.opcode != "getelementptr":
                return [total]
            step = self.affine.of(at)
            if step is not None:
                return [total + step.constant]
            indices = [self.affine.of(operand) for operand in one.operands[1:]]
            if all(index is not None and not index.terms for index in indices):
                total += sum(index.constant for index in indices if index is not None)
            at = one.operands[0]

    def distance(self, store: Access, load: Access, free: set[str]) -> int | None:
        """Iterations after which `load` may meet what `store` wrote; None: never.

        `free`: memories of which a pragma says that iterations do not meet."""
        whole, last = store.name.partition(".")[0], store.name.rpartition(".")[2]
        if store.key != load.key or free & {store.name, whole, last}:
            return None
        a, b = store.address, load.address
        if a is None or b is None or a.terms != b.terms or a.step != b.step:
            return 1
        apart = a.constant - b.constant
        if not a.step:
            return 1 if apart == 0 else None
        if apart % a.step or apart // a.step <= 0:
            return None
        return apart // a.step
