# SPDX-License-Identifier: Apache-2.0
"""Readings of a generic SCPI instrument: one number a line, and a line that ends the poll.

A poll's answers are its quantities in order, then the answer to the closing query: an empty error
queue's (`0,"No error"`) or the instrument's identity. Whatever does not come out as exactly that is
no reading, so an answer that was lost, doubled or late cannot put a current in the place of a
voltage.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from powermeter.drivers.scpi_text import LineBuffer, parse_number, text
from powermeter.events import Gap, Malformed, OverRange, Sample

UNITS = {"voltage": b"V", "current": b"A", "power": b"W"}
_TIME_GAP = 1.5  # polls between two readings above which one is missing
_LINE_S = 0.5  # an answer takes less; what takes longer are pieces of two
_MOST_VALUES = 16


class ScpiDecoder:
    """Lines to events; see `Decoder`. A reading's time is that of its last value's line.

    `quantities` are those asked for, in order, of `voltage`, `current` and `power`; without power
    it is the product. `poll_s` is the time between polls. `ending` is the line that ends a poll.
    """

    def __init__(self, quantities: tuple[str, ...], poll_s: float, ending: str) -> None:
        self._quantities, self._poll_s = quantities, poll_s
        self._ending = ending.encode("ascii", "replace")
        self._lines = LineBuffer()
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
        before = self._lines.pending
        parts = data.split(b"\n")
        for place, line in enumerate(self._lines.feed(data)):
            self._bytes += len(parts[place]) + 1 + (before if place == 0 else 0)
            if place == 0 and before and host_time_s - self._begun_s > _LINE_S:
                self._bad = self._bad or "a line of two pieces"
            if line is None:
                self._bad = "a line without an end"
            elif line == self._ending:
                self._poll(line, events)
            elif line:
                self._value(line, host_time_s)
        if self._lines.pending and (len(parts) > 1 or not before):
            self._begun_s = host_time_s
        return events

    def state(self) -> dict[str, Any]:
        """See `Decoder.state`."""
        return {"seq": self._seq, "last_s": self._last_s}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Decoder.restore`."""
        self._lines.clear()
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
