# SPDX-License-Identifier: Apache-2.0
"""Recursion, across all sources: a function that calls itself, directly or through others."""

from __future__ import annotations

from clang.cindex import Cursor, CursorKind, conf
from rules import CALLABLES, Finding, finding

DEFINES = CALLABLES | {CursorKind.DESTRUCTOR}


class CallGraph:
    """Who calls whom, by USR (libclang's name of an entity that holds in every source)."""

    def __init__(self) -> None:
        self._calls: dict[str, set[str]] = {}
        self._defined: dict[str, Finding] = {}

    def add(self, cursor: Cursor) -> None:
        """Take in `cursor` if it defines a function, with every call inside."""
        if cursor.kind not in DEFINES or not cursor.is_definition():
            return
        usr = cursor.get_usr()
        self._defined[usr] = finding(cursor, "recursion", f"{cursor.spelling} can reach itself")
        called = self._calls.setdefault(usr, set())
        for inner in cursor.walk_preorder():
            if inner.kind == CursorKind.CALL_EXPR and inner.referenced is not None:
                called.add(_generic(inner.referenced).get_usr())
            elif inner.kind == CursorKind.OVERLOADED_DECL_REF and inner.spelling == cursor.spelling:
                called.add(usr)  # in a template: which one is meant is open, itself among them

    def recursions(self) -> list[Finding]:
        return [self._defined[usr] for usr in self._defined if usr in self._reached(usr)]

    def _reached(self, usr: str) -> set[str]:
        reached: set[str] = set()
        front = [usr]
        while front:
            for callee in self._calls.get(front.pop(), ()):
                if callee not in reached:
                    reached.add(callee)
                    front.append(callee)
        return reached


def _generic(callee: Cursor) -> Cursor:
    """The template that a called instance comes from, or the function itself."""
    return conf.lib.clang_getSpecializedCursorTemplate(callee) or callee
