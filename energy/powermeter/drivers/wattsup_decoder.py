# SPDX-License-Identifier: Apache-2.0
"""Packets of a Watts Up? PRO to events, from the bytes and their arrival times alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from powermeter.drivers.wattsup_packets import Header, Packet, PacketSplitter, Reading, interpret
from powermeter.events import Gap, Malformed, OverRange, Sample

_EARLY = 0.25  # of an interval: sooner after the last one no reading of its own can be due
_LATE = 1.5  # intervals; the meter's clock is far better than that, so one loss always shows
_STATE = ("seq", "malformed", "lost", "_last_s", "_watt_hours", "_power_cycles")


class WattsUpDecoder:
    """A pure decoder: the same bytes with the same arrival times give the same events.

    A packet has neither number nor time. The meter sends one each interval, so a reading is dated
    by its arrival. What arrives sooner than a quarter of an interval after the last reading is
    left out as `stale`: a copy, or a packet that waited for a busy host and belongs to an earlier
    interval. A restart shows in the meter's own counters: it counts power cycles, and its energy
    never decreases otherwise. No bytes raise, and at most one packet is held between calls.
    `interval_s` is the logging interval that the meter was told.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        self._splitter = PacketSplitter()
        self._interval_s = interval_s
        self._names: tuple[str, ...] = ()
        self._last_s: float | None = None
        self._watt_hours: int | None = None
        self._power_cycles: int | None = None
        self.seq = 0
        self.malformed = 0
        self.lost = 0

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not complete yet."""
        return self._splitter.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the packets that `data`, which was there at `host_time_s`, completes."""
        events: list[NamedTuple] = []
        for packet in self._splitter.feed(data):
            item = interpret(packet, self._names) if isinstance(packet, Packet) else packet
            if isinstance(item, Reading):
                self._reading(item, host_time_s, events)
                continue
            if isinstance(item, Header):
                self._names = item.names
            self.malformed += isinstance(item, Malformed)
            events.append(item)
        return events

    def state(self) -> dict[str, Any]:
        """JSON-able: all that decoding of the following whole packets depends upon."""
        return {"names": list(self._names)} | {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a packet boundary where `state()` was taken."""
        self._splitter.clear()
        self._names = tuple(state["names"])
        for name in _STATE:
            setattr(self, name, state[name])

    def _reading(self, reading: Reading, time_s: float, events: list[NamedTuple]) -> None:
        restarted = self._restarted(reading, time_s)
        elapsed = None if self._last_s is None else (time_s - self._last_s) / self._interval_s
        if restarted:
            events.append(Gap("restart", time_s, 0))
        elif elapsed is not None and elapsed < _EARLY:
            self.lost += 1
            events.append(Gap("stale", time_s, 1))
            return
        elif elapsed is not None and elapsed > _LATE:
            lost = max(1, round(elapsed) - 1)
            self.lost += lost
            events.append(Gap("time", time_s, lost))
        self._last_s = time_s
        self._watt_hours, self._power_cycles = reading.watt_hours, reading.power_cycles
        if what := reading.over_range:
            events.append(OverRange(self.seq, time_s, what))
        events.append(_sample(self.seq, time_s, reading))
        self.seq += 1

    def _restarted(self, reading: Reading, time_s: float) -> bool:
        """Whether a counter tells of a power cycle or a cleared memory, or host time went back."""
        if self._last_s is not None and time_s < self._last_s:
            return True
        before, after = self._power_cycles, reading.power_cycles
        if before is not None and after is not None and before != after:
            return True
        before, after = self._watt_hours, reading.watt_hours
        return before is not None and after is not None and after < before


def _sample(seq: int, time_s: float, reading: Reading) -> Sample:
    volts = None if reading.volts is None else reading.volts / 10
    amperes = None if reading.amperes is None else reading.amperes / 1000
    hours = None if reading.watt_hours is None else reading.watt_hours / 10
    return Sample(seq, time_s, volts, amperes, reading.watts / 10, hours)
