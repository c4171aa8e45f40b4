# SPDX-License-Identifier: Apache-2.0
"""The Yokogawa WT310, WT310E, WT310HC and WT310EH: ranges, limits, and lines to readings.

A reading is the line `<EESR>;<COND>;<U>,<I>,<P>,<WH>`, the answer to `READ`, one message with three
queries (IEEE 488.2 joins their answers by semicolons). `NAN` stands for no data and `INF` for over
range (display "--OL-"; some firmware says `NAN` there too).

Sources: user's manuals IM WT310E-01EN (ranges), IM WT310E-02EN and IM WT310-02EN (7.3.2 "Active
power accuracy", 12 months, 23 ± 5 °C) and IM WT310E-17EN (7.4 registers; numeric data format). Not
included: temperature after a change of range (0.02 % of the voltage range and 5 uA or 500 uA a
degree) and self-heating.
"""

from __future__ import annotations

import math
import re
from typing import Any, NamedTuple

from powermeter.errors import MeterError
from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.scpi.protocol import LineBuffer, parse_number, resolution, text

UPDATE_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
MODES = ("DC", "RMS")
OVER_RANGE = 1.4  # of the range: the reading becomes INF
VOLTAGE_RANGES_V = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
CURRENT_RANGES_A = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
HIGH_CURRENT_RANGES_A = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
ALL_CURRENT_RANGES_A = (*CURRENT_RANGES_A, HIGH_CURRENT_RANGES_A[-1])
PEAK_FACTOR = 3.0  # crest factor 3: peaks up to three times the range are measured
DIGITS = 5  # ":SYSTem:RESolution 5": the range's value has five digits
TIMER_LIMIT = 2e-4  # integration timer ±0.02 %

#: Bits of the condition register and, of its changes, of the extended event register.
UPDATED, OVER, PEAK_VOLTAGE, PEAK_CURRENT = 1 << 0, 1 << 6, 1 << 7, 1 << 8
#: Waits until the measured values are renewed; takes the events since the last time; the values.
READ = ":COMM:WAIT 1;:STAT:EESR?;:STAT:COND?;:NUM:NORM:VAL?"
ITEMS = ("U", "I", "P", "WH")

_LINE = re.compile(rb"(\d{1,5});(\d{1,5});([^;]+)")
_TIME_GAP = 1.5  # periods between two readings above which one is missing
_PRODUCT, _PRODUCT_OF_RANGE = 0.05, 0.01  # far above the limits of all three together
_CERTAIN_DIGITS = 2  # digits by which a counter must have moved before it is called stuck
_BACK = 20  # intervals at the present power by which no counter runs back between two readings
_OVER_BITS = ((PEAK_VOLTAGE, "voltage peak"), (PEAK_CURRENT, "current peak"), (OVER, "range"))


def current_ranges(model: str) -> tuple[float, ...]:
    """The direct current input's ranges of a model, crest factor 3."""
    return HIGH_CURRENT_RANGES_A if _high_current(model) else CURRENT_RANGES_A


def limits(model: str, mode: str) -> tuple[float, float]:
    """Limits of active power as fractions (of the reading, of the range).

    DC ±(0.1 % + 0.2 %), for WT310HC and WT310EH ±(0.3 % + 0.2 %); RMS at 45 to 66 Hz and power
    factor 1 ±(0.1 % + 0.05 %) for the E models and ±(0.1 % + 0.1 %) for the older ones.
    """
    if mode == "DC":
        return (0.003 if _high_current(model) else 0.001), 0.002
    return 0.001, (0.0005 if "E" in model.upper() else 0.001)


def smallest_range(ranges: tuple[float, ...], value: float, what: str) -> float:
    """The smallest of `ranges` that holds `value`; `MeterError` beyond the largest."""
    for candidate in ranges:
        if abs(value) <= candidate:
            return candidate
    raise MeterError(f"WT310: {abs(value):g} {what} is beyond its largest range, {ranges[-1]:g}")


def step(range_value: float) -> float:
    """The last digit's weight in a range: 1 mV at 15 V, 10 uA at 0.2 A, 0.1 mW at 3 W."""
    whole, power = range_value, 0
    while whole >= 10:
        whole, power = whole / 10, power + 1
    while whole < 1 - 1e-12:
        whole, power = whole * 10, power - 1
    return float(10.0 ** (power - DIGITS + 1))


def _high_current(model: str) -> bool:
    return model.upper().endswith(("HC", "EH"))


class Wt310Decoder:
    """Lines to events; see `Decoder`. A reading's time is that at which its line was complete.

    `update_s` is the meter's update interval. `range_w` (power range) bounds how far power may be
    from voltage times current, so that a line made up of two is no reading; with `dc` False power
    may be below. The Wh counter runs from the start of the polling: where it starts again, or is
    not there any more, the meter was restarted.
    """

    def __init__(self, update_s: float, range_w: float = math.inf, dc: bool = True) -> None:
        self._update_s, self._range_w, self._dc = update_s, range_w, dc
        self._lines = LineBuffer()
        self._seq = 0
        self._last_s: float | None = None
        self._counted_wh: float | None = None
        self._watts = 0.0
        self._line = b""
        self._repeats = 0

    @property
    def pending(self) -> int:
        """Bytes of a line that is not complete yet."""
        return self._lines.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the lines that `data` completes."""
        events: list[NamedTuple] = []
        for line in self._lines.feed(data):
            if line is None:
                events.append(Malformed("", "a line without an end"))
            elif line:
                self._reading(line, host_time_s, events)
        return events

    def state(self) -> dict[str, Any]:
        """See `Decoder.state`."""
        return {
            "seq": self._seq,
            "last_s": self._last_s,
            "counted_wh": self._counted_wh,
            "watts": self._watts,
            "line": self._line.decode("latin-1"),
            "repeats": self._repeats,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Decoder.restore`."""
        self._lines.clear()
        self._seq, self._last_s = int(state["seq"]), state["last_s"]
        self._counted_wh, self._watts = state["counted_wh"], state["watts"]
        self._line, self._repeats = state["line"].encode("latin-1"), state["repeats"]

    def _reading(self, line: bytes, time_s: float, events: list[NamedTuple]) -> None:
        match = _LINE.fullmatch(line)
        values = [parse_number(field) for field in match[3].split(b",")] if match else []
        numbers = [value for value in values if value is not None]
        if match is None or len(numbers) != len(values) or len(values) != len(ITEMS):
            events.append(Malformed(text(line), "no reading of the WT310"))
            return
        if self._contradicts(*numbers[:3]):
            events.append(Malformed(text(line), "power is not voltage times current"))
            return
        if self._repeated(line, match[3], numbers):
            self._repeats += 1
            return
        self._restarted(numbers, time_s, events)
        self._late(time_s, events)
        self._seq += 1
        bits = int(match[1]) | int(match[2])
        if what := _over_range(bits, numbers[:3]):
            events.append(OverRange(self._seq, time_s, what))
        if all(map(math.isfinite, numbers[:3])):
            volts, amperes, watts = numbers[:3]
            energy = numbers[3] if math.isfinite(numbers[3]) else None
            events.append(Sample(self._seq, time_s, volts, amperes, watts, energy))

    def _contradicts(self, volts: float, amperes: float, watts: float) -> bool:
        product = volts * amperes
        if not (math.isfinite(product) and math.isfinite(watts)):
            return False
        room = _PRODUCT * abs(product) + _PRODUCT_OF_RANGE * self._range_w
        return abs(watts - product) > room if self._dc else abs(watts) > abs(product) + room

    def _repeated(self, line: bytes, values: bytes, numbers: list[float]) -> bool:
        """Whether it is the last reading once more: its counter did not count what it shows."""
        same, self._line = line == self._line, line
        digit = resolution(values.rsplit(b",", 1)[-1])
        if not same or digit is None or not math.isfinite(numbers[2]):
            return False
        return abs(numbers[2]) * self._update_s / 3600 > _CERTAIN_DIGITS * digit

    def _late(self, time_s: float, events: list[NamedTuple]) -> None:
        last, self._last_s = self._last_s, time_s
        stale, self._repeats = self._repeats, 0
        if stale:
            events.append(Gap("stale", time_s, stale))
            return
        if last is not None and time_s - last > _TIME_GAP * self._update_s:
            lost = max(1, round((time_s - last) / self._update_s) - 1)
            events.append(Gap("time", time_s, lost))

    def _restarted(self, numbers: list[float], time_s: float, events: list[NamedTuple]) -> None:
        """Whether the counter is gone, or fell by more than readings of this size can take back."""
        before, watts_before = self._counted_wh, self._watts
        watts, counted_wh = abs(numbers[2]), numbers[3]
        self._counted_wh = counted_wh if math.isfinite(counted_wh) else None
        self._watts = watts if math.isfinite(watts) else watts_before
        if before is None:
            return
        an_interval_wh = max(self._watts, watts_before) * self._update_s / 3600
        if self._counted_wh is None or before - counted_wh > _BACK * an_interval_wh + 1e-6:
            events.append(Gap("restart", time_s, 0))


def _over_range(bits: int, numbers: list[float]) -> str:
    """What is beyond its range, by the registers and by the readings themselves; "" for nothing."""
    what = [name for bit, name in _OVER_BITS if bits & bit]
    what += [name for name, value in zip(ITEMS, numbers, strict=False) if not math.isfinite(value)]
    return ", ".join(what)
