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
from clang.cindex import Cursor, CursorKind, Diagnostic, Index, TranslationUnit
from loops import loop_findings
from rules import Finding, cursor_findings
from sources import HLS, Missing, ap_types, synthesised, system_includes

VENDOR = ("ap_int.h", "hls_stream.h")


class Unreadable(Exception):
    """A source that does not compile; the text is the compiler's first error."""


def _arguments(hls: Path) -> list[str]:
    system = [str(ap_types()), *system_includes()]
    include = ["-nostdinc", "-nostdinc++", f"-I{hls / 'include'}"]
    for folder in system:
        include += ["-isystem", folder]
    return ["-x", "c++", "-std=c++14", "-Wno-unknown-pragmas", *include]


def _parse(path: Path, arguments: list[str]) -> TranslationUnit:
    unit = Index.create().parse(str(path), args=arguments)
    for message in unit.diagnostics:
        if message.severity >= Diagnostic.Error:
            raise Unreadable(f"{message.location.file}:{message.location.line}: {message.spelling}")
    return unit


def _precompiled(folder: Path, arguments: list[str]) -> list[str]:
    """Flags for the vendor's headers, read once: every source includes them, in a second each."""
    header = folder / "vendor.hpp"
    header.write_text("".join(f'#include "{name}"\n' for name in VENDOR), encoding="utf-8")
    unit = Index.create().parse(str(header), args=[*arguments, "-xc++-header"])
    unit.save(str(header.with_suffix(".pch")))
    return ["-include-pch", str(header.with_suffix(".pch"))]


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
        arguments = _arguments(hls)
        arguments += _precompiled(Path(folder), arguments) if len(paths) > 1 else []
        for path in paths:
            unit = _parse(path, arguments)
            for declaration in _declarations(unit, hls.resolve(), seen):
                for cursor in _below(declaration):
                    graph.add(cursor)
                    found.update(cursor_findings(cursor))
                    found.update(loop_findings(cursor))
    found.update(graph.recursions())
    return sorted(found)


def main(arguments: list[str]) -> int:
    paths = [Path(name).resolve() for name in arguments] or synthesised()
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
