# SPDX-License-Identifier: Apache-2.0
"""The accelerator's sources through libclang, whose wheel is a whole Clang front end."""

from __future__ import annotations

from pathlib import Path

from clang.cindex import Diagnostic, Index, TranslationUnit
from sources import HLS, ap_types, system_includes

VENDOR = ("ap_int.h", "hls_stream.h")


class Unreadable(Exception):
    """A source that does not compile; the text is the compiler's first error."""


def arguments(hls: Path = HLS) -> list[str]:
    """Clang's flags. Raises Missing without g++ (for the C++ library's headers) or hls4ml."""
    system = [str(ap_types()), *system_includes()]
    include = ["-nostdinc", "-nostdinc++", f"-I{hls / 'include'}"]
    for folder in system:
        include += ["-isystem", folder]
    return ["-x", "c++", "-std=c++14", "-Wno-unknown-pragmas", *include]


def _said(message: Diagnostic) -> str:
    return f"{message.location.file}:{message.location.line}: {message.spelling}"


def parse(path: Path, flags: list[str]) -> TranslationUnit:
    """A source's syntax tree. Raises Unreadable for one that does not compile."""
    unit = Index.create().parse(str(path), args=flags)
    for message in unit.diagnostics:
        if message.severity >= Diagnostic.Error:
            raise Unreadable(_said(message))
    return unit


def warnings(path: Path, flags: list[str]) -> list[str]:
    """What Clang warns of in a source, a line each. Raises Unreadable as `parse` does."""
    found = parse(path, flags).diagnostics
    return [f"{_said(one)} [{one.option}]" for one in found if one.severity == Diagnostic.Warning]


def precompiled(folder: Path, flags: list[str]) -> list[str]:
    """Flags for the vendor's headers, read once: every source includes them, in a second each."""
    header = folder / "vendor.hpp"
    header.write_text("".join(f'#include "{name}"\n' for name in VENDOR), encoding="utf-8")
    unit = Index.create().parse(str(header), args=[*flags, "-xc++-header"])
    unit.save(str(header.with_suffix(".pch")))
    return ["-include-pch", str(header.with_suffix(".pch"))]
