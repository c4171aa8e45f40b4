# SPDX-License-Identifier: Apache-2.0
"""DATAFLOW regions: how many processes read and write each thing that is no scalar."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from synthesis.pragmas import Source, blanked

CALL = re.compile(r"\b(\w+)\s*\(")
WORDS = {"if", "for", "while", "switch", "return", "sizeof"}


@dataclass
class Channel:
    """A variable of a region, with the processes that take it."""

    name: str
    kind: str  # "stream", "memory" or "port"
    readers: list[str] = field(default_factory=list)
    writers: list[str] = field(default_factory=list)

    @property
    def fault(self) -> str | None:
        if self.kind == "stream":
            users = len(self.readers) + len(self.writers)
            return None if users == 2 else f"a stream of {users} processes"
        if len(self.readers) > 1:
            return f"read by {len(self.readers)} processes"
        return f"written by {len(self.writers)} processes" if len(self.writers) > 1 else None


@dataclass
class Region:
    """A DATAFLOW region."""

    file: str
    line: int
    label: str
    channels: list[Channel]


def _parts(text: str) -> list[str]:
    parts, depth, last = [], 0, 0
    for at, char in enumerate(text):
        depth += {"(": 1, "[": 1, "<": 1, "{": 1, ")": -1, "]": -1, ">": -1, "}": -1}.get(char, 0)
        if char == "," and depth == 0:
            parts.append(text[last:at])
            last = at + 1
    return [*parts, text[last:]] if text.strip() else []


def _inside(code: str, at: int) -> tuple[str, int]:
    """Text of the parentheses that open at `at`, and where they close."""
    depth = 0
    for end in range(at, len(code)):
        depth += {"(": 1, ")": -1}.get(code[end], 0)
        if depth == 0:
            return code[at + 1 : end], end
    return code[at + 1 :], len(code)


def signatures(sources: list[Source]) -> dict[str, list[str]]:
    """Parameter declarations of every function that is defined or declared."""
    found: dict[str, list[str]] = {}
    for source in sources:
        code = blanked(source.text)
        for match in CALL.finditer(code):
            before = code[: match.start()].rstrip()
            if match.group(1) in WORDS or not re.search(r"[\w>&*]$", before):
                continue
            inner, end = _inside(code, match.end() - 1)
            if re.match(r"\s*(?:const\s*)?[{;]", code[end + 1 :]):
                parameters = [" ".join(part.split()) for part in _parts(inner)]
                if all(re.search(r"[\w>][ &*]+\w+(\[.*\])?$", part) for part in parameters):
                    found.setdefault(match.group(1), parameters)
    return found


def _add(channels: dict[str, Channel], argument: str, parameter: str, process: str) -> None:
    path = re.match(r"&?\s*([\w.\[\]]+)$", argument.strip())
    if path is None or not re.search(r"[&*\[]", parameter):
        return
    stream = "stream<" in parameter
    port = bool(re.search(r"\bBeat\s*\*", parameter))
    kind = "stream" if stream else "port" if port else "memory"
    channel = channels.setdefault(path.group(1), Channel(path.group(1), kind))
    reads = parameter.startswith("const ") and not stream
    (channel.readers if reads else channel.writers).append(process)


def regions(sources: list[Source]) -> list[Region]:
    """Every region of the sources."""
    known = signatures(sources)
    found = []
    for source in sources:
        code = blanked(source.text)
        for scope in source.scopes:
            if scope.pragma("DATAFLOW") is None:
                continue
            channels: dict[str, Channel] = {}
            at = scope.body
            while (match := CALL.search(code, at, scope.end)) is not None:
                inner, at = _inside(code, match.end() - 1)
                parameters = known.get(match.group(1), [])
                for argument, parameter in zip(_parts(inner), parameters, strict=False):
                    _add(channels, argument, parameter, match.group(1))
            found.append(Region(str(source.path), scope.line, scope.label, list(channels.values())))
    return found
