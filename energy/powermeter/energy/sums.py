# SPDX-License-Identifier: Apache-2.0
"""Running sums over readings: what a window's energy and its belief depend upon.

A meter that averages gives right rectangles: a reading is the mean over the interval that it ends,
so it counts for exactly that interval, and a window's edges take their share of the interval that
they cut. Instantaneous samples are joined by a trapezoid, which would smear every step of an
averaging meter's power by half an interval.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from powermeter.events import Sample

_HOLE = 1.5  # periods between two readings above which something is missing

Window = tuple[float, float]


@dataclass
class Sums:
    """JSON-able. Times are seconds of one clock, the one that `add` is given."""

    period_s: float
    instantaneous: bool = False
    last: list[float] | None = None  # time stamp, power, voltage and current of the last reading
    interval_s: float | None = None  # length of the last unbroken interval
    covered_to_s: float | None = None
    joules: float = 0.0
    volt_s: float = 0.0
    ampere_s: float = 0.0
    covered_s: float = 0.0
    span_s: float = 0.0
    max_gap_s: float = 0.0
    samples: int = 0
    # Of the differences of successive readings: the last, the sum of their squares, and of their
    # products with the next.
    step_w: float = 0.0
    steps_w2: float = 0.0
    turns_w2: float = 0.0
    # By how many joules the last reading differs from what the one before would have given; the
    # squares of those that are in doubt; and whether the next one is.
    change_j: float = 0.0
    doubted_j2: float = 0.0
    doubtful: bool = False
    # Of each interval that an edge of the window cuts at fraction f: f (1-f) of it in seconds, the
    # least and the most of the readings before, in and after it; and whether the latter is missing.
    edges: list[list[float]] = field(default_factory=list)
    edge_open: bool = False
    counter: list[float] = field(default_factory=list)  # Wh, joules: of the first and the last

    def add(self, time_s: float, sample: Sample, window: Window | None = None) -> None:
        """One reading, stamped `time_s`; what lies in `window` (or all of it) is summed."""
        now = [time_s, sample.power_w, sample.voltage_v or 0.0, sample.current_a or 0.0]
        before, self.last = self.last, now
        if self.edge_open:
            self._widen(now[1])
            self.edge_open = False
        self.change_j = 0.0
        if before is not None and time_s > before[0]:
            elapsed = time_s - before[0]
            self.span_s += elapsed
            whole = elapsed <= _HOLE * self.period_s
            if whole:
                self.interval_s = elapsed
            if self.instantaneous:
                self._trapezoid(before, now, elapsed if whole else 0.0, window)
            else:
                # A meter measures back to back: after a hole a reading covers one interval, as
                # long as the last unbroken one. Where none is known it covers nothing.
                self._rectangle(before, now, elapsed if whole else self.interval_s or 0.0, window)
        if self.doubtful:
            self.doubted_j2 += self.change_j**2
            self.doubtful = False
        if sample.energy_wh is not None and (window is None or window[0] <= time_s <= window[1]):
            self.counter = (self.counter or [sample.energy_wh, self.joules])[:2]
            self.counter += [sample.energy_wh, self.joules]

    def lose_track(self) -> None:
        """The next reading follows none: it only marks a time."""
        self.last, self.edge_open, self.step_w = None, False, 0.0

    def doubt(self) -> None:
        """Something unreadable came: the readings beside it may be damaged and still look whole."""
        self.doubted_j2 += self.change_j**2
        self.doubtful = True

    def append(self, other: Sums, rate: float) -> None:
        """Take in sums of another clock, of which one second is `rate` of ours."""
        before = self.joules
        for name in ("joules", "volt_s", "ampere_s", "covered_s", "span_s"):
            setattr(self, name, getattr(self, name) + rate * getattr(other, name))
        self.max_gap_s = max(self.max_gap_s, rate * other.max_gap_s)
        self.samples += other.samples
        self.steps_w2 += other.steps_w2
        self.turns_w2 += other.turns_w2
        self.doubted_j2 += rate * rate * other.doubted_j2
        if other.counter:
            first, last = other.counter[:2], other.counter[2:]
            self.counter = (self.counter or [first[0], before + rate * first[1]])[:2]
            self.counter += [last[0], before + rate * last[1]]

    def edges_j(self) -> float:
        """Standard uncertainty from cut intervals.

        One step of power in an interval that is cut at fraction f misplaces at most f (1-f) of the
        interval times the step, which the neighbouring readings show.
        """
        return math.hypot(*(share * (most - least) for share, least, most in self.edges)) / 3**0.5

    def polling_j(self) -> float:
        """Standard uncertainty from asking out of step with a meter's own updates.

        A change is then dated late by anything up to a period; how much on average belongs to the
        clocks' offset, the rest is rectangular and independent from change to change.
        """
        return self.period_s * math.sqrt(self.steps_w2 / 12)

    def sampling_j(self) -> float:
        """Standard uncertainty from not knowing what power did between two instants.

        A lone step lies anywhere in its period: off by up to half of period times step,
        rectangular, hence step²/12; and a lone spike, two steps, by twice that. Power that changes
        faster than it is sampled turns up and down from sample to sample: a sum of n independent
        samples of variance v is off by period x sqrt(n v), while their steps' squares sum to 2 n v
        and the products of neighbours to -n v, so that 5/6 of these are lacking. Samples do not
        tell spikes from such power: half of it is added.
        """
        return self.period_s * math.sqrt(self.steps_w2 / 12 + max(0.0, -self.turns_w2) * 5 / 12)

    def state(self) -> dict[str, Any]:
        """`Sums(**state)` continues with identical results."""
        return asdict(self)

    def _rectangle(
        self, before: list[float], now: list[float], length: float, window: Window | None
    ) -> None:
        inside = self._cover(before[0], now[0], length, window)
        if inside > 0:
            self.joules += now[1] * inside
            self.volt_s += now[2] * inside
            self.ampere_s += now[3] * inside
            self._step(now[1] - before[1], inside)
            if inside < length:
                share = inside * (1 - inside / length)
                self.edges.append([share, min(before[1], now[1]), max(before[1], now[1])])
                self.edge_open = True

    def _trapezoid(
        self, before: list[float], now: list[float], length: float, window: Window | None
    ) -> None:
        inside = self._cover(before[0], now[0], length, window)
        if inside > 0:
            stop = now[0] if window is None else min(now[0], window[1])
            middle = (stop - inside / 2 - before[0]) / length
            pairs = zip(before[1:], now[1:], strict=True)
            power, volts, amperes = (a + middle * (b - a) for a, b in pairs)
            self.joules += power * inside
            self.volt_s += volts * inside
            self.ampere_s += amperes * inside
            self._step(now[1] - before[1], inside)

    def _cover(self, last_s: float, time_s: float, length: float, window: Window | None) -> float:
        """Note that `length` seconds up to `time_s` are covered; return what lies in the window."""
        start, stop, begin = time_s - length, time_s, last_s
        inside = length
        if window is not None:
            begin, end = window
            if start < begin or stop > end:
                start, stop = max(start, begin), min(stop, end)
                inside = stop - start
        if inside <= 0:
            return 0.0
        since = begin if self.covered_to_s is None else self.covered_to_s
        self.max_gap_s = max(self.max_gap_s, start - since)
        self.covered_to_s = stop
        self.covered_s += inside
        self.samples += 1
        return inside

    def _step(self, watts: float, seconds: float) -> None:
        self.change_j = watts * seconds
        self.steps_w2 += watts * watts
        self.turns_w2 += watts * self.step_w
        self.step_w = watts

    def _widen(self, power_w: float) -> None:
        edge = self.edges[-1]
        edge[1], edge[2] = min(edge[1], power_w), max(edge[2], power_w)
