# SPDX-License-Identifier: Apache-2.0
"""What Vitis HLS cannot turn into hardware, found in the accelerator's sources with libclang.

    python synthesisable.py [FILE.cpp...]     # default: everything that becomes hardware

Prints a line for each finding and ends with 1 if there is one.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from calls import CallGraph
from clang.cindex import Cursor, CursorKind, TranslationUnit
from loops import loop_findings
from parsing import Unreadable, arguments, parse, precompiled
from rules import Finding, cursor_findings
from sources import HLS, Missing, synthesised


def _makes_stream(cursor: Cursor) -> bool:
    """hls::stream's constructor takes a name for messages, which is no hardware."""
    made = cursor.type.get_canonical().spelling
    return cursor.kind == CursorKind.CALL_EXPR and made.startswith("hls::stream<")


def _below(cursor: Cursor) -> Iterator[Cursor]:
    """`cursor` and all below it."""
    yield cursor
    if not _makes_stream(cursor):
        for child in cursor.get_children():
            yield from _below(child)


def _declarations(unit: TranslationUnit, hls: Path, seen: set[str]) -> Iterator[Cursor]:
    """What the files in `hls` declare; those in `seen` have had their turn in another source."""
    own: dict[str, bool] = {}
    for declaration in unit.cursor.get_children():
        if declaration.location.file is None:
            continue
        name = declaration.location.file.name
        if name not in own:
            own[name] = name not in seen and hls in Path(name).resolve().parents
        if own[name]:
            yield declaration
    seen.update(name for name, is_own in own.items() if is_own)


def findings(paths: list[Path], hls: Path = HLS) -> list[Finding]:
    """Every finding in `paths` and in what they include from the folder `hls`, in file order.

    Raises Unreadable for a source that does not compile and Missing without g++ or hls4ml.
    """
    found: set[Finding] = set()
    graph = CallGraph()
    seen: set[str] = set()
    with tempfile.TemporaryDirectory() as folder:
        flags = arguments(hls)
        flags += precompiled(Path(folder), flags) if len(paths) > 1 else []
        for path in paths:
            unit = parse(path, flags)
            for declaration in _declarations(unit, hls.resolve(), seen):
                for cursor in _below(declaration):
                    graph.add(cursor)
                    found.update(cursor_findings(cursor))
                    found.update(loop_findings(cursor))
    found.update(graph.recursions())
    return sorted(found)


def main(names: list[str]) -> int:
    paths = [Path(name).resolve() for name in names] or synthesised()
    try:
        found = findings(paths)
    except (Unreadable, Missing) as error:
        print(f"synthesisable: {error}", file=sys.stderr)
        return 2
    for finding in found:
        print(finding)
    if found:
        return 1
    print(f"synthesisable: {len(paths)} sources and their headers, nothing that HLS cannot take")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
