# SPDX-License-Identifier: Apache-2.0
"""Types of parameters and memories from debug information: names and places of their members."""

from __future__ import annotations

import re
from dataclasses import dataclass

from synthesis.module import Function, Module

ALIASES = ("DW_TAG_typedef", "DW_TAG_const_type", "DW_TAG_volatile_type")
POINTERS = ("DW_TAG_pointer_type", "DW_TAG_reference_type", "DW_TAG_rvalue_reference_type")
PORT_TYPE = "Beat"  # what a pointer to a memory port points to


@dataclass(frozen=True)
class Member:
    """A scalar or an array within a memory: `path` as the source names it, place in bytes."""

    path: str
    begin: int
    bytes: int
    extents: tuple[int, ...]  # of an array; () for a scalar

    @property
    def elements(self) -> int:
        count = 1
        for extent in self.extents:
            count *= extent
        return count


class DebugTypes:
    """Looks up types by their metadata numbers."""

    def __init__(self, module: Module) -> None:
        self.data = module.metadata
        self.module = module

    def _text(self, number: str) -> str:
        return self.data.get(number, "")

    def _reference(self, text: str, key: str) -> str:
        found = re.search(rf"\b{key}: (!\d+)", text)
        return found.group(1) if found else ""

    def _number(self, text: str, key: str) -> int:
        found = re.search(rf"\b{key}: (\d+)", text)
        return int(found.group(1)) if found else 0

    def _name(self, text: str) -> str:
        found = re.search(r'\bname: "([^"]*)"', text)
        return found.group(1) if found else ""

    def _items(self, number: str) -> list[str]:
        return re.findall(r"(?:!\d+|null)", self._text(number))

    def resolved(self, number: str) -> str:
        """The type behind typedefs and qualifiers."""
        while any(alias in self._text(number) for alias in ALIASES):
            number = self._reference(self._text(number), "baseType")
        return number

    def pointee(self, number: str) -> str | None:
        text = self._text(self.resolved(number))
        if any(pointer in text for pointer in POINTERS):
            return self._reference(text, "baseType")
        return None

    def parameters(self, function: Function) -> dict[str, str]:
        """Types of a function's parameters by the names of their values."""
        signature = self._reference(self._text(function.debug), "type")
        listed = self._items(self._reference(self._text(signature), "types"))[1:]
        return dict(zip(function.parameters[function.hidden :], listed, strict=False))

    def is_port(self, function: Function, root: str) -> bool:
        """Whether a value is a parameter that points to a memory port."""
        number = self.parameters(function).get(root)
        if number is None or "DW_TAG_pointer_type" not in self._text(self.resolved(number)):
            return False
        number = self._reference(self._text(self.resolved(number)), "baseType")
        while number:
            text = self._text(number)
            if self._name(text) == PORT_TYPE:
                return True
            number = self._reference(text, "baseType") if any(a in text for a in ALIASES) else ""
        return False

    def is_array(self, function: Function, root: str) -> bool:
        """Whether a value is a parameter that points to the first of many elements."""
        number = self.parameters(function).get(root, "")
        return "DW_TAG_pointer_type" in self._text(self.resolved(number))

    def of_root(self, function: Function, root: str) -> tuple[str, str] | None:
        """Name and type of a memory: a parameter's, a local variable's or a static one's; of an
        array's parameter the type of an element."""
        listed = self.parameters(function)
        if root in listed:
            inner = self.pointee(listed[root])
            return None if inner is None else (root[1:].split(".")[0], inner)
        variable = function.declared.get(root) or self._reference(
            self._text(self.module.globals.get(root, "")), "var"
        )
        if not variable:
            return None
        text = self._text(variable)
        return self._name(text), self._reference(text, "type")

    def size(self, number: str) -> int:
        """Bytes of a type."""
        text = self._text(self.resolved(number))
        return self._number(text, "size") // 8

    def member(self, name: str, number: str, offset: int) -> Member:
        """What lies at a byte offset of a memory of this name and type."""
        return self._member(name, self.resolved(number), offset, 0)

    def _member(self, path: str, number: str, offset: int, begin: int) -> Member:
        text = self._text(number)
        if "DW_TAG_array_type" in text:
            ranges = self._items(self._reference(text, "elements"))
            extents = tuple(self._number(self._text(one), "count") for one in ranges)
            return Member(path, begin, self._number(text, "size") // 8, extents)
        if "DICompositeType" in text:
            for item in self._items(self._reference(text, "elements")):
                field = self._text(item)
                if "DW_TAG_member" not in field and "DW_TAG_inheritance" not in field:
                    continue
                place = self._number(field, "offset") // 8
                inner = self.resolved(self._reference(field, "baseType"))
                size = self.size(inner)
                if place <= offset < place + size and "DIFlagStaticMember" not in field:
                    named = self._name(field)
                    below = f"{path}.{named}" if named else path
                    return self._member(below, inner, offset - place, begin + place)
        return Member(path, begin, self._number(text, "size") // 8, ())

    def bits(self, number: str) -> int:
        """Bits of a type's scalars, without what pads them in a computer's memory."""
        number = self.resolved(number)
        text = self._text(number)
        exact = re.search(r'name: "ap_(?:u?int|int_base)<(\d+)', text)
        if exact:
            return int(exact.group(1))
        if "DW_TAG_array_type" in text:
            count = 1
            for item in self._items(self._reference(text, "elements")):
                count *= self._number(self._text(item), "count")
            return count * self.bits(self._reference(text, "baseType"))
        if "DICompositeType" in text and "DW_TAG_structure" in text:
            return sum(self.bits(inner) for _, inner in self.fields(number))
        return 1 if "DW_ATE_boolean" in text else self._number(text, "size")

    def fields(self, number: str) -> list[tuple[str, str]]:
        """Names and types of a struct's members, base classes included."""
        text = self._text(self.resolved(number))
        found = []
        for item in self._items(self._reference(text, "elements")):
            one = self._text(item)
            if "DW_TAG_inheritance" in one or (
                "DW_TAG_member" in one and "DIFlagStaticMember" not in one
            ):
                found.append((self._name(one), self._reference(one, "baseType")))
        return found

    def array(self, number: str) -> tuple[tuple[int, ...], str] | None:
        """Extents and element type of an array."""
        text = self._text(self.resolved(number))
        if "DW_TAG_array_type" not in text:
            return None
        ranges = self._items(self._reference(text, "elements"))
        extents = tuple(self._number(self._text(one), "count") for one in ranges)
        return extents, self.resolved(self._reference(text, "baseType"))

    def is_integer(self, number: str) -> bool:
        """A scalar, the vendor's integers among them."""
        text = self._text(self.resolved(number))
        return "DICompositeType" not in text or bool(re.search(r'name: "ap_u?int', text))
