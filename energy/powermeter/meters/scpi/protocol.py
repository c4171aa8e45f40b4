# SPDX-License-Identifier: Apache-2.0
"""Answers of SCPI instruments: bytes to lines to numbers, and the readings of a generic one.

An answer ends as `ENDINGS` has it. Numbers are NR1, NR2 or NR3 of IEEE 488.2; some power supplies
append the unit, with a prefix or without. "Not a number" and "infinity" come as words (Yokogawa) or
as 9.91E+37 and 9.9E+37 (SCPI-1999, volume 1, 7.2.1.4 and 7.2.1.5).

A poll's answers are its quantities in order, one number a line, then the answer to the closing
query: an empty error queue's (`0,"No error"`) or the instrument's identity. Whatever does not come
out as exactly that is no reading, so an answer that was lost, doubled or late cannot put a current
in the place of a voltage.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from powermeter.events import Gap, Malformed, OverRange, Sample

_NUMBER = re.compile(rb"[+-]?(?:\d{1,20}(?:\.(\d{0,20}))?|\.(\d{1,20}))(?:[Ee]([+-]?\d{1,3}))?")
_WORDS = {b"NAN": math.nan, b"INF": math.inf, b"INFINITY": math.inf}
_SCPI_INFINITY, _SCPI_NAN = 9.9e37, 9.91e37
_PREFIXES = {b"M": -3, b"U": -6, b"K": 3}  # of a unit, as powers of ten; SCPI knows no case
LONGEST = 256  # characters of a line
CRLF = b"\r\n"
#: How answers end, by name; `none`: with nothing, so that a pause has to tell.
ENDINGS = {"lf": b"\n", "cr": b"\r", "crlf": CRLF, "none": b""}
NONE = "none"
#: A pause that ends an answer without an end: 50 characters at 9600 baud, and three times as long
#: as a USB adapter holds bytes back.
PAUSE_S = 0.05
UNITS = {"voltage": b"V", "current": b"A", "power": b"W"}
_PAUSE_SEEN_S = 0.9 * PAUSE_S  # between two stamps, which are rounded
_TIME_GAP = 1.5  # polls between two readings above which one is missing
_LINE_S = 0.5  # an answer takes less; what takes longer are pieces of two
_MOST_VALUES = 16


def ending_of(answer: bytes) -> str:
    """The name of how an answer's first line ends."""
    match = re.search(rb"\r\n|\r|\n", answer.lstrip())
    end = match[0] if match else b""
    return next(name for name, known in ENDINGS.items() if known == end)


def terminator(ending: str | None) -> bytes:
    """The last character of a line that ends so; LF where that is not known, or nothing."""
    return ENDINGS[ending or "lf"][-1:] or b"\n"


class LineBuffer:
    """Cuts a stream into lines; what grows longer than `longest` without an end is given up."""

    def __init__(self, longest: int = LONGEST, end: bytes = b"\n") -> None:
        self._rest = b""
        self._longest, self._end = longest, end
        self._skipping = False

    @property
    def pending(self) -> int:
        """Bytes of a line that has not ended yet."""
        return len(self._rest)

    def feed(self, data: bytes) -> list[bytes | None]:
        """Lines without their ends; None stands for one that was too long."""
        *ended, rest = (self._rest + data).split(self._end)
        lines: list[bytes | None] = []
        for line in ended:
            lines.append(None if self._skipping or len(line) > self._longest else line.strip())
            self._skipping = False
        if len(rest) > self._longest:
            self._skipping, rest = True, b""
        self._rest = rest
        return lines

    @property
    def rest(self) -> bytes:
        """The line that has not ended yet."""
        return self._rest

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
    text, power = _without_unit(field, unit)
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
    return value * 10.0**power if power >= 0 else value / 10.0**-power


def resolution(field: bytes, unit: bytes = b"") -> float | None:
    """The weight of a number's last digit: 0.001 for `12.034`, 1e-5 for `216.42E-03`."""
    text, power = _without_unit(field, unit)
    match = _NUMBER.search(text)
    if match is None:
        return None
    decimals = len(match[1] or match[2] or b"")
    return float(10.0 ** (int(match[3] or 0) + power - decimals))


def _without_unit(field: bytes, unit: bytes) -> tuple[bytes, int]:
    """A field without its unit, and the power of ten that the unit's prefix stands for."""
    text = field.strip()
    if not unit or not text.upper().endswith(unit):
        return text, 0
    text = text[: -len(unit)].rstrip()
    power = _PREFIXES.get(text[-1:].upper(), 0)
    return (text[:-1].rstrip() if power else text), power


def text(raw: bytes, longest: int = 60) -> str:
    """The first characters of `raw` as printable text, for a message."""
    return raw[:longest].decode("ascii", "backslashreplace").replace("\r", "").replace("\n", " ")


class ScpiDecoder:
    """Lines to events; see `Decoder`. A reading's time is that of its last value's line.

    `quantities` are those asked for, in order, of `voltage`, `current` and `power`; without power
    it is the product. `poll_s` is the time between polls. `closing` is the line that ends a poll;
    `ending` is how lines end, a name of `ENDINGS`.
    """

    def __init__(
        self, quantities: tuple[str, ...], poll_s: float, closing: str, ending: str = "crlf"
    ) -> None:
        self._quantities, self._poll_s = quantities, poll_s
        self._closing = closing.encode("ascii", "replace")
        self._end, self._pauses = terminator(ending), ending == NONE
        self._lines = LineBuffer(end=self._end)
        self._fed_s = -math.inf  # when the bytes before came
        self._values: list[float] = []
        self._bad = ""
        self._bytes = 0  # of the complete lines of the unfinished poll
        self._begun_s = 0.0  # when the unfinished line's first byte came
        self._value_s = 0.0
        self._seq = 0
        self._last_s: float | None = None

    @property
    def pending(self) -> int:
        """Bytes of a poll whose ending has not come yet."""
        return self._bytes + self._lines.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the polls that `data` completes."""
        events: list[NamedTuple] = []
        if self._pauses and self._lines.pending and host_time_s - self._fed_s >= _PAUSE_SEEN_S:
            self._end_by_pause(self._fed_s, events)
        self._fed_s = host_time_s
        before = self._lines.pending
        parts = data.split(self._end)
        for place, line in enumerate(self._lines.feed(data)):
            self._bytes += len(parts[place]) + 1 + (before if place == 0 else 0)
            if place == 0 and before and host_time_s - self._begun_s > _LINE_S:
                self._bad = self._bad or "a line of two pieces"
            self._line(line, host_time_s, events)
        if self._lines.pending and (len(parts) > 1 or not before):
            self._begun_s = host_time_s
        if self._pauses and self._lines.rest == self._closing:
            self._end_by_pause(host_time_s, events)  # no pause is needed to know this one
        return events

    def _line(self, line: bytes | None, time_s: float, events: list[NamedTuple]) -> None:
        if line is None:
            self._bad = "a line without an end"
        elif line == self._closing:
            self._poll(line, events)
        elif line:
            self._value(line, time_s)

    def _end_by_pause(self, time_s: float, events: list[NamedTuple]) -> None:
        """The unfinished line is a whole one, which was there at `time_s`."""
        self._bytes += self._lines.pending
        self._line(self._lines.take().strip(), time_s, events)

    def state(self) -> dict[str, Any]:
        """See `Decoder.state`."""
        return {"seq": self._seq, "last_s": self._last_s}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Decoder.restore`."""
        self._lines.clear()
        self._fed_s = -math.inf
        self._forget()
        self._seq, self._last_s = int(state["seq"]), state["last_s"]

    def _value(self, line: bytes, time_s: float) -> None:
        place = len(self._values)
        unit = UNITS[self._quantities[place]] if place < len(self._quantities) else b""
        value = parse_number(line, unit)
        if value is None:
            self._bad = self._bad or f"no number: {text(line, 30)}"
        elif place >= _MOST_VALUES:
            self._bad = self._bad or "values without an end"
        else:
            self._values.append(value)
            self._value_s = time_s

    def _poll(self, line: bytes, events: list[NamedTuple]) -> None:
        values, bad, time_s = self._values, self._bad, self._value_s
        self._forget()
        if bad or len(values) != len(self._quantities):
            reason = bad or f"{len(values)} values; {len(self._quantities)} were asked for"
            events.append(Malformed(text(line), reason))
            return
        found = dict(zip(self._quantities, values, strict=True))
        volts, amperes, watts = (found.get(name) for name in UNITS)
        beyond = [name for name, value in found.items() if not math.isfinite(value)]
        if watts is None and volts is not None and amperes is not None:
            watts = volts * amperes
        self._late(time_s, events)
        self._seq += 1
        if beyond:
            events.append(OverRange(self._seq, time_s, ", ".join(beyond)))
        elif watts is not None:
            events.append(Sample(self._seq, time_s, volts, amperes, watts))

    def _late(self, time_s: float, events: list[NamedTuple]) -> None:
        last, self._last_s = self._last_s, time_s
        if last is not None and time_s - last > _TIME_GAP * self._poll_s:
            lost = max(1, round((time_s - last) / self._poll_s) - 1)
            events.append(Gap("time", time_s, lost))

    def _forget(self) -> None:
        self._values, self._bad, self._bytes = [], "", 0
