# SPDX-License-Identifier: Apache-2.0
"""Answers of SCPI instruments as text: lines with bounded memory, and numbers of IEEE 488.2.

An answer ends with LF, with a CR before it or not. Numbers are NR1, NR2 or NR3; some power supplies
append the unit. "Not a number" and "infinity" come as words (Yokogawa) or as 9.91E+37 and 9.9E+37
(SCPI-1999, volume 1, 7.2.1.4 and 7.2.1.5).
"""

from __future__ import annotations

import math
import re

_NUMBER = re.compile(rb"[+-]?(?:\d{1,20}(?:\.(\d{0,20}))?|\.(\d{1,20}))(?:[Ee]([+-]?\d{1,3}))?")
_WORDS = {b"NAN": math.nan, b"INF": math.inf, b"INFINITY": math.inf}
_SCPI_INFINITY, _SCPI_NAN = 9.9e37, 9.91e37
_LONGEST = 256


class LineBuffer:
    """Cuts a stream into lines; what grows longer than `longest` without an end is given up."""

    def __init__(self, longest: int = _LONGEST) -> None:
        self._rest = b""
        self._longest = longest
        self._skipping = False

    @property
    def pending(self) -> int:
        """Bytes of a line that has not ended yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes | None]:
        """Lines without their ends; None stands for one that was too long."""
        *ended, rest = (self._rest + data).split(b"\n")
        lines: list[bytes | None] = []
        for line in ended:
            lines.append(None if self._skipping or len(line) > self._longest else line.strip())
            self._skipping = False
        if len(rest) > self._longest:
            self._skipping, rest = True, b""
        self._rest = rest
        return lines

    def clear(self) -> None:
        """Forget an unfinished line."""
        self._rest, self._skipping = b"", False

    def take(self) -> bytes:
        """The unfinished line, which is then forgotten."""
        rest = self._rest
        self.clear()
        return rest


def parse_number(field: bytes, unit: bytes = b"") -> float | None:
    """A number, with or without `unit` behind it; NaN or infinite as told; None for no number."""
    text = field.strip()
    if unit and text.upper().endswith(unit):
        text = text[: -len(unit)].rstrip()
    sign = -1.0 if text.startswith(b"-") else 1.0
    word = _WORDS.get(text.upper().lstrip(b"+-"))
    if word is not None:
        return sign * word
    if not _NUMBER.fullmatch(text):
        return None
    value = float(text)
    if abs(value) >= _SCPI_INFINITY:
        # Both constants are sent with few digits, so the two are told apart half way between them.
        return math.nan if abs(value) > (_SCPI_INFINITY + _SCPI_NAN) / 2 else sign * math.inf
    return value


def resolution(field: bytes) -> float | None:
    """The weight of a number's last digit: 0.001 for `12.034`, 1e-5 for `216.42E-03`."""
    match = _NUMBER.search(field)
    if match is None:
        return None
    decimals = len(match[1] or match[2] or b"")
    return float(10.0 ** (int(match[3] or 0) - decimals))


def text(raw: bytes, longest: int = 60) -> str:
    """The first characters of `raw` as printable text, for a message."""
    return raw[:longest].decode("ascii", "backslashreplace").replace("\r", "").replace("\n", " ")
