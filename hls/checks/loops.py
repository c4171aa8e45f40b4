# SPDX-License-Identifier: Apache-2.0
"""Loops without a bound that a synthesis tool can schedule and a reader can see."""

from __future__ import annotations

from collections.abc import Iterator

from clang.cindex import Cursor, CursorKind
from rules import Finding, finding

COMPARISONS = {"<", "<=", ">", ">=", "!="}
LOOPS = {
    CursorKind.FOR_STMT: "for",
    CursorKind.WHILE_STMT: "while",
    CursorKind.DO_STMT: "do",
    CursorKind.CXX_FOR_RANGE_STMT: "range for",
}


def _texts(cursor: Cursor) -> list[str]:
    return [token.spelling for token in cursor.get_tokens()]


def _header(loop: Cursor) -> list[list[str]]:
    """The tokens between a for's parentheses, split at its two semicolons."""
    parts: list[list[str]] = [[]]
    depth = 0
    for text in _texts(loop)[1:]:
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(text, 0)
        if depth == 0:
            break
        if text == ";" and depth == 1:
            parts.append([])
        else:
            parts[-1].append(text)
    return parts


def _declares(initial: list[str]) -> str | None:
    """`i` of `int i = 0`."""
    if "=" not in initial:
        return None
    return initial[initial.index("=") - 1]


def _bounded_for(loop: Cursor) -> bool:
    """`for (T i = a; i < b; ++i)`: a variable of its own, compared, and moved."""
    parts = _header(loop)
    if len(parts) != 3:
        return False
    initial, condition, step = parts
    name = _declares(initial)
    return name in condition and name in step and bool(COMPARISONS & set(condition))


def _constant_bound(loop: Cursor) -> bool:
    """Whether the condition holds only the loop's variable, literals and constants."""
    condition = list(loop.get_children())[1]
    name = _declares(_header(loop)[0])
    for inner in condition.walk_preorder():
        if inner.kind != CursorKind.DECL_REF_EXPR or inner.spelling == name:
            continue
        declared = inner.referenced
        if declared is None or "constexpr" not in _texts(declared):
            if declared is not None and declared.kind == CursorKind.TEMPLATE_NON_TYPE_PARAMETER:
                continue
            return False
    return True


def _has_tripcount(loop: Cursor) -> bool:
    """A `#pragma HLS LOOP_TRIPCOUNT` before the first statement of the body."""
    texts = _texts(list(loop.get_children())[-1])
    for text in texts[1:]:
        if text == "LOOP_TRIPCOUNT":
            return True
        if text in ("{", ";"):
            return False
    return False


def loop_findings(cursor: Cursor) -> Iterator[Finding]:
    """A loop that is not a counted `for`, or a counted one whose extent nothing tells."""
    if cursor.kind not in LOOPS:
        return
    kind = LOOPS[cursor.kind]
    if cursor.kind != CursorKind.FOR_STMT or not _bounded_for(cursor):
        yield finding(cursor, "unbounded loop", f"{kind} without a counter and its bound")
    elif not _constant_bound(cursor) and not _has_tripcount(cursor):
        yield finding(cursor, "loop extent", "variable bound without LOOP_TRIPCOUNT")
