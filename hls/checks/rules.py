# SPDX-License-Identifier: Apache-2.0
"""Constructs that Vitis HLS does not synthesise (UG1399, "Unsupported C/C++ Constructs") or that
this project keeps out of the datapath, each recognised from one libclang cursor."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from clang.cindex import Cursor, CursorKind, Type, TypeKind


class Finding(NamedTuple):
    """A construct that must not be there."""

    file: str
    line: int
    rule: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.rule}: {self.text}"


def finding(cursor: Cursor, rule: str, text: str) -> Finding:
    return Finding(str(Path(cursor.location.file.name)), cursor.location.line, rule, text)


HEAP_CALLS = {"malloc", "calloc", "realloc", "free", "aligned_alloc", "alloca", "posix_memalign"}

BY_KIND = {
    CursorKind.CXX_NEW_EXPR: ("heap", "new"),
    CursorKind.CXX_DELETE_EXPR: ("heap", "delete"),
    CursorKind.CXX_THROW_EXPR: ("exception", "throw"),
    CursorKind.CXX_TRY_STMT: ("exception", "try"),
    CursorKind.CXX_DYNAMIC_CAST_EXPR: ("run-time type", "dynamic_cast"),
    CursorKind.CXX_TYPEID_EXPR: ("run-time type", "typeid"),
    CursorKind.CXX_REINTERPRET_CAST_EXPR: ("pointer cast", "reinterpret_cast"),
    CursorKind.FLOATING_LITERAL: ("floating point", "a literal"),
    CursorKind.GOTO_STMT: ("jump", "goto"),
    CursorKind.INDIRECT_GOTO_STMT: ("jump", "goto *"),
    CursorKind.ASM_STMT: ("assembly", "asm"),
    CursorKind.MS_ASM_STMT: ("assembly", "asm"),
}

FLOATS = {
    TypeKind.HALF,
    TypeKind.FLOAT,
    TypeKind.DOUBLE,
    TypeKind.LONGDOUBLE,
    TypeKind.FLOAT128,
}
ARRAYS = {
    TypeKind.CONSTANTARRAY,
    TypeKind.INCOMPLETEARRAY,
    TypeKind.VARIABLEARRAY,
    TypeKind.DEPENDENTSIZEDARRAY,
}
REFERENCES = {TypeKind.LVALUEREFERENCE, TypeKind.RVALUEREFERENCE}
FUNCTIONS = {TypeKind.FUNCTIONPROTO, TypeKind.FUNCTIONNOPROTO}
DECLARATIONS = {
    CursorKind.VAR_DECL,
    CursorKind.PARM_DECL,
    CursorKind.FIELD_DECL,
    CursorKind.TYPEDEF_DECL,
    CursorKind.TYPE_ALIAS_DECL,
}
METHODS = {CursorKind.CXX_METHOD, CursorKind.DESTRUCTOR}
CALLABLES = {
    CursorKind.FUNCTION_DECL,
    CursorKind.FUNCTION_TEMPLATE,
    CursorKind.CXX_METHOD,
    CursorKind.CONVERSION_FUNCTION,
    CursorKind.CONSTRUCTOR,
}


def _in_std(declaration: Cursor) -> bool:
    parent = declaration.semantic_parent
    while parent is not None and parent.kind != CursorKind.TRANSLATION_UNIT:
        if parent.kind == CursorKind.NAMESPACE and parent.spelling == "std":
            return True
        parent = parent.semantic_parent
    return False


def _stripped(kind: Type) -> Type:
    """The canonical type behind references and arrays."""
    kind = kind.get_canonical()
    while kind.kind in REFERENCES or kind.kind in ARRAYS:
        inner = kind.get_pointee() if kind.kind in REFERENCES else kind.element_type
        kind = inner.get_canonical()
    return kind


def _type_findings(cursor: Cursor, kind: Type) -> Iterator[Finding]:
    what = f"{cursor.spelling or 'a value'} is {kind.spelling}"
    if kind.get_canonical().kind == TypeKind.VARIABLEARRAY:
        yield finding(cursor, "array size", f"{what}, its size known at run time only")
    inner = _stripped(kind)
    if inner.kind == TypeKind.POINTER:
        pointee = _stripped(inner.get_pointee())
        if pointee.kind == TypeKind.POINTER:
            yield finding(cursor, "pointer to pointer", what)
        if pointee.kind in FUNCTIONS:
            yield finding(cursor, "function pointer", what)
        inner = pointee
    if inner.kind in FLOATS:
        yield finding(cursor, "floating point", what)
    if inner.kind == TypeKind.RECORD and _in_std(inner.get_declaration()):
        yield finding(cursor, "standard class", what)


def _call_findings(cursor: Cursor) -> Iterator[Finding]:
    callee = cursor.referenced
    if callee is None or callee.location.file is None:
        return
    name = callee.spelling
    if name in HEAP_CALLS or name.startswith(("operator new", "operator delete")):
        yield finding(cursor, "heap", name)
    elif callee.kind in CALLABLES and (_in_std(callee) or _in_c_library(callee)):
        yield finding(cursor, "library call", f"{name} is not part of the design")


def _in_c_library(callee: Cursor) -> bool:
    """C's functions are declared outside all namespaces by the system's headers."""
    vendor = "ap_types" in Path(callee.location.file.name).parts
    outside = callee.semantic_parent.kind != CursorKind.NAMESPACE
    return callee.location.is_in_system_header and outside and not vendor


def cursor_findings(cursor: Cursor) -> Iterator[Finding]:
    """What is wrong with this cursor by itself, without those below it."""
    if cursor.kind in BY_KIND:
        yield finding(cursor, *BY_KIND[cursor.kind])
    if cursor.kind in METHODS and cursor.is_virtual_method():
        yield finding(cursor, "virtual", f"{cursor.spelling}()")
    if cursor.kind == CursorKind.CXX_BASE_SPECIFIER and _in_std(cursor.type.get_declaration()):
        yield finding(cursor, "standard class", f"base {cursor.type.spelling}")
    if cursor.kind in DECLARATIONS:
        declared = cursor.type
        if cursor.kind in (CursorKind.TYPEDEF_DECL, CursorKind.TYPE_ALIAS_DECL):
            declared = cursor.underlying_typedef_type
        yield from _type_findings(cursor, declared)
    if cursor.kind in CALLABLES:
        yield from _type_findings(cursor, cursor.result_type)
    if cursor.kind == CursorKind.CALL_EXPR:
        yield from _call_findings(cursor)
        yield from _type_findings(cursor, cursor.type)
