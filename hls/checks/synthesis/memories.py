# SPDX-License-Identifier: Apache-2.0
"""Memories on the chip in the shapes of block RAMs.

A memory is an array that the optimised code still addresses. Its word is the array's element, or
all of it where AGGREGATE says so; its banks are what ARRAY_PARTITION makes of it; a memory between
two processes of a DATAFLOW region exists twice."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, prod

from synthesis.debugtypes import DebugTypes
from synthesis.module import Module
from synthesis.pragmas import Pragma, Source, blanked
from synthesis.processes import Region

LOOKUP_BITS = 1024  # a memory below this becomes LUTs, and a FIFO shift registers
LUT_MEMORY_BITS = 64  # of a LUT as memory; as a shift register it has 32 stages
SHAPES = ((16384, 1), (8192, 2), (4096, 4), (2048, 9), (1024, 18), (512, 36))  # RAMB18E1


@dataclass(frozen=True)
class Memory:
    """`copies`: two for the halves of a ping-pong buffer."""

    name: str
    depth: int
    width: int
    banks: int
    copies: int

    @property
    def in_luts(self) -> bool:
        return self.depth * self.width <= LOOKUP_BITS

    @property
    def blocks(self) -> float:
        """RAMB36E1; halves are RAMB18E1."""
        if self.in_luts:
            return 0.0
        one = min(ceil(self.width / w) * ceil(self.depth / d) for d, w in SHAPES)
        return one * self.banks * self.copies / 2

    @property
    def luts(self) -> int:
        if not self.in_luts:
            return 0
        return self.width * ceil(self.depth / LUT_MEMORY_BITS) * self.banks * self.copies


def _arrays(types: DebugTypes, path: str, number: str, packed: set[str]) -> Iterator[
    tuple[str, tuple[int, ...], int]
]:  # fmt: skip
    """Arrays within a type: path, extents, bits of an element."""
    number = types.resolved(number)
    array = types.array(number)
    if array is not None:
        extents, element = array
        if types.is_integer(element) or path in packed:
            yield path, extents, types.bits(element)
            return
        for name, inner in types.fields(element):
            for found, below, bits in _arrays(types, f"{path}.{name}", inner, packed):
                yield found, extents + below, bits
            if types.array(inner) is None and types.is_integer(inner):
                yield f"{path}.{name}", extents, types.bits(inner)
    elif not types.is_integer(number):
        for name, inner in types.fields(number):
            yield from _arrays(types, f"{path}.{name}" if name else path, inner, packed)


def _named(pragmas: list[Pragma], name: str) -> dict[str, list[Pragma]]:
    found: dict[str, list[Pragma]] = {}
    for one in pragmas:
        if one.name == name and "variable" in one.values:
            found.setdefault(one.values["variable"], []).append(one)
    return found


def _shape(extents: tuple[int, ...], partitions: list[Pragma]) -> tuple[int, int]:
    """Depth of a bank and number of banks."""
    left = list(extents)
    banks = 1
    for one in partitions:
        dim = one.number("dim")
        dim = 1 if dim is None else dim
        factor = one.number("factor")
        for place in range(len(left)) if dim == 0 else [dim - 1]:
            cut = (
                factor if factor and "cyclic" in (*one.words, one.values.get("type", "")) else None
            )
            cut = cut or left[place]
            banks *= cut
            left[place] = ceil(left[place] / cut)
    return prod(left), banks


def memories(
    module: Module, types: DebugTypes, pragmas: list[Pragma], regions: list[Region]
) -> list[Memory]:
    """Every memory that is declared in a function or static, once."""
    packed = set(_named(pragmas, "AGGREGATE"))
    partitions = _named(pragmas, "ARRAY_PARTITION")
    twice = {
        channel.name
        for region in regions
        for channel in region.channels
        if channel.kind == "memory" and channel.readers and channel.writers
    }
    found: dict[tuple[str, str], list[Memory]] = {}
    for function in module.functions.values():
        for root in [*function.declared, *module.globals]:
            known = types.of_root(function, root)
            if known is None or not root.startswith(("%", "@")):
                continue
            owner = function.name if root.startswith("%") else ""
            listed = []
            for path, extents, bits in _arrays(types, known[0], known[1], packed):
                depth, banks = _shape(extents, partitions.get(path, []))
                copies = 2 if path.split(".")[0] in twice and owner else 1
                if depth > 1:
                    listed.append(Memory(path, depth, bits, banks, copies))
            found[(owner, known[0])] = listed
    return [one for listed in found.values() for one in listed]


def fifos(sources: list[Source], types: DebugTypes, module: Module) -> list[Memory]:
    """Streams with their depths."""
    sizes = {
        name: number
        for number, text in module.metadata.items()
        if (name := _type_name(text)) and "DW_TAG_structure" in text
    }
    found = []
    for source in sources:
        code = blanked(source.text)
        for match in re.finditer(r"\bhls::stream<(\w+)>\s+(\w+)\s*[(;]", code):
            scope = source.around(match.start())
            depths = [
                one.number("depth") or 2
                for outside in scope
                for one in outside.pragmas
                if one.name == "STREAM" and one.values.get("variable") == match.group(2)
            ]
            number = sizes.get(match.group(1))
            width = types.bits(number) if number else 32
            found.append(Memory(match.group(2), max([2, *depths]), width, 1, 1))
    return found


def _type_name(text: str) -> str:
    found = re.search(r'DICompositeType\(.*?\bname: "(\w+)"', text)
    return found.group(1) if found else ""
