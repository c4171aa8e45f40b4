# SPDX-License-Identifier: Apache-2.0
"""Readings of RAPL counters as lines: the microjoules of each zone, separated by blanks.

A counter runs to its zone's `max_energy_range_uj` and begins again at zero. A reading is the energy
since the one before over the time between the two, so it is an average and nothing is lost where a
poll comes late. Source: Linux kernel, Documentation/power/powercap/powercap.rst.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from powermeter.drivers.scpi_text import LineBuffer, text
from powermeter.events import Gap, Malformed, Sample

#: No package and no memory takes more: a counter that says so was reset, or ran round twice.
MOST_W = 2000.0
_COUNTS = re.compile(rb"\d{1,20}(?: \d{1,20})*")
_UJ_PER_WH = 3.6e9


class RaplDecoder:
    """Lines to events; see `Decoder`. `ranges_uj`: each zone's `max_energy_range_uj`."""

    def __init__(self, ranges_uj: tuple[int, ...]) -> None:
        self._ranges_uj = ranges_uj
        self._lines = LineBuffer()
        self._seq = 0
        self._last: tuple[float, tuple[int, ...]] | None = None
        self._total_uj = 0

    @property
    def pending(self) -> int:
        """Bytes of a line that is not complete yet."""
        return self._lines.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the lines that `data` completes."""
        events: list[NamedTuple] = []
        for line in self._lines.feed(data):
            if line is None or not _COUNTS.fullmatch(line):
                events.append(Malformed(text(line or b""), "no counters"))
                continue
            counts = tuple(int(field) for field in line.split())
            beyond = [c > r for c, r in zip(counts, self._ranges_uj, strict=False)]
            if len(counts) != len(self._ranges_uj) or any(beyond):
                events.append(Malformed(text(line), "other counters than at the beginning"))
                continue
            self._reading(counts, host_time_s, events)
        return events

    def state(self) -> dict[str, Any]:
        """See `Decoder.state`."""
        last = None if self._last is None else [self._last[0], list(self._last[1])]
        return {"seq": self._seq, "last": last, "total_uj": self._total_uj}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Decoder.restore`."""
        self._lines.clear()
        last = state["last"]
        self._last = None if last is None else (float(last[0]), tuple(last[1]))
        self._seq, self._total_uj = int(state["seq"]), int(state["total_uj"])

    def _reading(self, counts: tuple[int, ...], time_s: float, events: list[NamedTuple]) -> None:
        last, self._last = self._last, (time_s, counts)
        if last is None:
            return
        seconds = time_s - last[0]
        if seconds <= 0:
            events.append(Gap("restart", time_s, 0))
            return
        spent = [
            now - before if now >= before else now - before + most
            for now, before, most in zip(counts, last[1], self._ranges_uj, strict=True)
        ]
        # So slow a poll that a counter may have run round unseen, or so much that it was reset.
        unseen = any(seconds * MOST_W * 1e6 >= most for most in self._ranges_uj)
        if unseen or any(uj > seconds * MOST_W * 1e6 for uj in spent):
            events.append(Gap("restart", time_s, 0))
            return
        self._seq += 1
        self._total_uj += sum(spent)
        watts = sum(spent) * 1e-6 / seconds
        energy_wh = self._total_uj / _UJ_PER_WH
        events.append(Sample(self._seq, time_s, None, None, watts, energy_wh))
