# SPDX-License-Identifier: Apache-2.0
"""Loops and functions of a source with their HLS pragmas, and the same source for Clang.

Clang knows no `#pragma HLS`. What decides how a loop becomes hardware is therefore written as
Clang's own pragma into the line of the loop, so that line numbers stay."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass, field
from pathlib import Path

FULL = '_Pragma("clang loop unroll(full)") '
ROLLED = '_Pragma("clang loop unroll(disable) vectorize(disable)") '


@dataclass(frozen=True)
class Pragma:
    """`#pragma HLS name key = value ...`; `words`: what stands without a value."""

    name: str
    values: dict[str, str]
    words: tuple[str, ...]

    def number(self, key: str) -> int | None:
        text = self.values.get(key, "")
        return int(text) if text.isdigit() else None


@dataclass
class Scope:
    """A loop or a function: where it begins, its braces, and the pragmas at its beginning."""

    file: Path
    line: int
    label: str  # of a loop, or the function's name
    loop: bool
    start: int  # offset of `for`, or of the function's brace
    body: int  # offset of the brace
    end: int
    pragmas: list[Pragma] = field(default_factory=list)

    def pragma(self, name: str) -> Pragma | None:
        return next((one for one in self.pragmas if one.name == name), None)

    def interval(self) -> int | None:
        """The claimed initiation interval; 0 where it is no plain number; None: not pipelined."""
        pragma = self.pragma("PIPELINE")
        if pragma is None or "off" in pragma.words:
            return None
        return pragma.number("II") or (0 if "II" in pragma.values else 1)


@dataclass
class Source:
    """A file's text and its scopes, in file order."""

    path: Path
    text: str
    scopes: list[Scope]

    def around(self, offset: int) -> list[Scope]:
        """Scopes that hold an offset, the outermost first."""
        return [one for one in self.scopes if one.body < offset < one.end]

    def offset_of(self, line: int) -> int:
        return sum(len(text) + 1 for text in self.text.split("\n")[: line - 1])


def blanked(text: str) -> str:
    """The text without comments, strings and preprocessor lines, all offsets as they were."""

    def blank(match: re.Match[str]) -> str:
        return re.sub(r"[^\n]", " ", match.group(0))

    pattern = (
        r"//[^\n]*|/\*.*?\*/|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])'|^[ \t]*#(?:\\\n|[^\n])*"
    )
    return re.sub(pattern, blank, text, flags=re.DOTALL | re.MULTILINE)


def _closing(code: str, at: int, pair: str) -> int:
    """Offset of the bracket that closes the one at `at`."""
    depth = 0
    for offset in range(at, len(code)):
        if code[offset] == pair[0]:
            depth += 1
        elif code[offset] == pair[1]:
            depth -= 1
            if depth == 0:
                return offset
    return len(code)


def parse_pragma(line: str) -> Pragma | None:
    found = re.match(r"\s*#\s*pragma\s+HLS\s+(\w+)(.*)", line)
    if found is None:
        return None
    rest = re.sub(r"\s*=\s*", "=", found.group(2)).split()
    values = dict(word.split("=", 1) for word in rest if "=" in word)
    words = tuple(word for word in rest if "=" not in word)
    return Pragma(
        found.group(1).upper(), {k.lower() if k != "II" else k: v for k, v in values.items()}, words
    )


def _leading_pragmas(text: str, code: str, begin: int, end: int) -> list[Pragma]:
    """Pragmas anywhere directly in a body, outside the braces within."""
    found = []
    depth = 0
    offset = begin
    for line in text[begin:end].splitlines(keepends=True):
        pragma = parse_pragma(line)
        if pragma is not None and depth == 0:
            found.append(pragma)
        part = code[offset : offset + len(line)]
        depth += part.count("{") - part.count("}")
        offset += len(line)
    return found


def scan(path: Path) -> Source:
    """Every `for` and every function of a source."""
    text = path.read_text(encoding="utf-8")
    code = blanked(text)
    starts = [0, *(match.end() for match in re.finditer("\n", code))]
    scopes = []
    for match in re.finditer(r"\bfor\s*\(", code):
        header = _closing(code, match.end() - 1, "()")
        brace = re.compile(r"\s*\{").match(code, header + 1)
        body = brace.end() - 1 if brace else header
        end = _closing(code, body, "{}") if brace else code.find(";", header)
        label = re.search(r"(\w+)\s*:\s*$", code[: match.start()])
        line = bisect_right(starts, match.start())
        name = label.group(1) if label else f"line {line}"
        scopes.append(Scope(path, line, name, True, match.start(), body, end))
    for match in re.finditer(r"(~?\w+)\s*\(", code):
        if match.group(1) in ("for", "if", "while", "switch", "return", "sizeof", "defined"):
            continue
        close = _closing(code, match.end() - 1, "()")
        brace = re.compile(r"\s*(?:const)?\s*(?::[^;{}]*)?\{").match(code, close + 1)
        if brace is None:
            continue
        body = brace.end() - 1
        line = bisect_right(starts, match.start())
        end = _closing(code, body, "{}")
        scopes.append(Scope(path, line, match.group(1), False, body, body, end))
    for scope in scopes:
        scope.pragmas = _leading_pragmas(text, code, scope.body + 1, scope.end)
    return Source(path, text, sorted(scopes, key=lambda one: one.start))


def for_clang(source: Source, called: set[str]) -> str:
    """The source with each loop told how it becomes hardware; `called`: functions that a pipelined
    loop calls, whose loops are unrolled as a tool does there."""
    pieces = []
    done = 0
    for scope in source.scopes:
        if not scope.loop:
            continue
        outside = source.around(scope.start)
        flat = any(one.interval() is not None for one in outside) or any(
            not one.loop and one.label in called for one in outside
        )
        unroll = scope.pragma("UNROLL")
        full = unroll is not None and "factor" not in unroll.values
        pieces.append(source.text[done : scope.start])
        pieces.append(FULL if full or (flat and scope.interval() is None) else ROLLED)
        done = scope.start
    return "".join([*pieces, source.text[done:]])


def called_when_pipelined(sources: list[Source]) -> set[str]:
    """Names of functions that pipelined loops or functions call, through others too."""
    bodies: dict[str, str] = {}
    front: set[str] = set()
    for source in sources:
        code = blanked(source.text)
        for scope in source.scopes:
            body = code[scope.body : scope.end]
            if not scope.loop:
                bodies[scope.label] = bodies.get(scope.label, "") + body
            if scope.interval() is not None:
                front.update(re.findall(r"\b(\w+)\s*\(", body))
    reached: set[str] = set()
    while front:
        name = front.pop()
        if name in bodies and name not in reached:
            reached.add(name)
            front.update(re.findall(r"\b(\w+)\s*\(", bodies[name]))
    return reached


def kept_apart(sources: list[Source]) -> set[str]:
    """Names of functions that are not to be inlined."""
    return {
        scope.label
        for source in sources
        for scope in source.scopes
        if not scope.loop
        and any(
            one.name == "INLINE" and "off" in map(str.lower, one.words) for one in scope.pragmas
        )
    }
