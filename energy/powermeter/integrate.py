# SPDX-License-Identifier: Apache-2.0
"""From readings to the energy of a window, with its uncertainty and whether to believe it.

Right rectangles: a reading is the average over the interval that it ends, so it counts for exactly
that interval, and a window's edges take their share of the interval that they cut. (A trapezoid
would smear every step of power by half an interval; it is for instantaneous samples.)
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from powermeter.accuracy import Accuracy
from powermeter.errors import MeterError
from powermeter.joules import Joules

_HOLE = 1.5  # periods between two readings above which something is missing
_ANCHOR_SPAN_S = 10.0  # an edge is known to microseconds, so this gives the rate to about 1e-6
_ANCHOR_CLOCK = 1e-5  # limit of the corrected clock: the real-time clock's 2 ppm and some ageing
_PLAUSIBLE_RATE = 1e-3  # two quartz clocks never differ by more: the real-time clock was set anew


@dataclass(frozen=True)
class Limits:
    """What a window must reach to be valid.

    The defaults follow the rules of trusted measurement (SPEC power methodology, MLPerf power):
    at most 0.1 % of the time lost, a reading at least once a second, at least 60 readings.
    """

    min_coverage: float = 0.999
    max_gap_s: float = 1.0
    min_samples: int = 60


@dataclass(frozen=True)
class WindowResult:
    """Energy of a window.

    `mean_power_w` is None where no reading covers any of it. `samples` readings count, wholly or
    in part. `coverage` is the share of the window that readings cover; the rest counts as 0 J and
    enters the uncertainty at mean power. `max_gap_s` is the longest stretch without. `valid` is
    False with a `reason` where a limit is missed; the numbers are then as measured all the same.
    """

    joules: Joules
    mean_power_w: float | None
    samples: int
    coverage: float
    max_gap_s: float
    valid: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """A flat JSON-able dict, energy first."""
        rest = asdict(self)
        rest.pop("joules")
        energy = {"joules": self.joules.value, "uncertainty_joules": self.joules.uncertainty}
        return energy | rest | {"provenance": self.joules.provenance}


@dataclass
class _Sums:
    """Running sums in device seconds; JSON-able, and everything that a result depends on."""

    period_s: float
    last_s: float | None = None  # time stamp of the previous reading
    interval_s: float | None = None  # length of the last unbroken interval
    covered_to_s: float | None = None
    joules: float = 0.0
    volt_s: float = 0.0
    ampere_s: float = 0.0
    covered_s: float = 0.0
    span_s: float = 0.0
    max_gap_s: float = 0.0
    samples: int = 0
    last_w: float = 0.0
    least_w: float | None = None  # of the readings in the window and one beyond each edge
    most_w: float | None = None
    complete: bool = False  # a reading beyond the window's end has been seen
    edge_s2: float = 0.0
    saturated: bool = False  # the next reading stands at the end of its range
    over_range: int = 0
    went_back: int = 0
    first_anchor: list[float] | None = None
    last_anchor: list[float] | None = None


class RunningIntegral:
    """Feed it readings in order; `result()` is cheap at any time.

    `window` is (begin, end) in seconds of the meter's clock. Without one the window starts at the
    first reading, which then only marks that time, and ends at the last one so far. Where clock
    anchors span ten seconds, the energy is converted to seconds of the meter's real-time clock.
    """

    def __init__(self, period_s: float, window: tuple[float, float] | None = None) -> None:
        if window is not None and not window[0] < window[1]:
            begin, end = window
            raise MeterError(f"a window must end after it begins, got {begin:g} to {end:g} s")
        self._window = window
        self._sums = _Sums(period_s)

    def add(self, time_s: float, power_w: float, voltage_v: float, current_a: float) -> None:
        """One reading: the averages over the interval that ended at `time_s`."""
        sums = self._sums
        last, sums.last_s = sums.last_s, time_s
        before_w, sums.last_w = sums.last_w, power_w
        saturated, sums.saturated = sums.saturated, False
        if last is None:
            return
        elapsed = time_s - last
        if elapsed <= 0:
            sums.went_back += 1
            return
        length = elapsed
        if elapsed <= _HOLE * sums.period_s:
            sums.interval_s = elapsed
        else:
            # The chip converts back to back: after a hole a reading covers one period, which is as
            # long as the last unbroken one. Where none is known it covers nothing.
            length = sums.interval_s or 0.0
        sums.span_s += elapsed
        inside = self._cover(last, time_s, length)
        if inside > 0:
            sums.joules += power_w * inside
            sums.volt_s += voltage_v * inside
            sums.ampere_s += current_a * inside
            sums.over_range += saturated
            self._spread(power_w)
            if sums.samples == 1:
                self._spread(before_w)
        elif sums.samples and not sums.complete:
            sums.complete = True
            self._spread(power_w)

    def anchor(self, time_s: float, rtc_s: float, source: str) -> None:
        """The meter's real-time clock turned to `rtc_s` at `time_s`; polled ones are too coarse."""
        if source != "S":
            return
        sums = self._sums
        if sums.first_anchor is not None:
            elapsed, passed = time_s - sums.first_anchor[0], rtc_s - sums.first_anchor[1]
            if abs(elapsed - passed) <= _PLAUSIBLE_RATE * max(elapsed, 1.0):
                sums.last_anchor = [time_s, rtc_s]
                return
        sums.first_anchor, sums.last_anchor = [time_s, rtc_s], None

    def over_range(self) -> None:
        """The next reading stands at the end of its range."""
        self._sums.saturated = True

    def pause(self) -> None:
        """The recording was interrupted on purpose: the time up to the next reading is no gap."""
        sums = self._sums
        sums.last_s = sums.first_anchor = sums.last_anchor = None
        if self._window is None:
            sums.covered_to_s = None

    def set_period(self, period_s: float) -> None:
        """The meter was configured to another nominal period."""
        if period_s != self._sums.period_s:
            self._sums.period_s, self._sums.interval_s = period_s, None

    def state(self) -> dict[str, Any]:
        """JSON-able; `restore` continues with identical results."""
        return asdict(self._sums)

    def restore(self, state: dict[str, Any]) -> None:
        """Take up from `state()`."""
        self._sums = _Sums(**state)

    def result(
        self, accuracy: Accuracy, provenance: str, limits: Limits | None = None
    ) -> WindowResult:
        """The window so far. Negative energies stay negative."""
        sums = self._sums
        rate, clock = self._clock_rate(accuracy)
        window, max_gap = self._extent()
        coverage = min(1.0, sums.covered_s / window) if window > 0 else 0.0
        value = sums.joules * rate
        mean = sums.joules / sums.covered_s if sums.covered_s > 0 else None
        meter = accuracy.energy_uncertainty_j(
            value, sums.volt_s * rate, sums.ampere_s * rate, clock
        )
        missing = max(0.0, window - sums.covered_s) * abs(mean or 0.0)
        # Within an interval that an edge cuts at fraction f, one step of power misplaces at most
        # f (1 - f) of it times the step; the step is taken as the spread of all readings.
        spread = (sums.most_w or 0.0) - (sums.least_w or 0.0)
        edges = math.sqrt(sums.edge_s2 / 3) * spread
        reason = self._objection(coverage, max_gap, limits or Limits())
        joules = Joules(value, math.hypot(meter, missing, edges), provenance)
        return WindowResult(joules, mean, sums.samples, coverage, max_gap, not reason, reason)

    def _cover(self, last: float, time_s: float, length: float) -> float:
        """Note that `length` seconds up to `time_s` are covered; return what lies in the window."""
        sums = self._sums
        start, stop, inside, begin = time_s - length, time_s, length, last
        if self._window is not None:
            begin, end = self._window
            if start < begin or stop > end:
                start, stop = max(start, begin), min(stop, end)
                inside = stop - start
        if inside <= 0:
            return 0.0
        since = begin if sums.covered_to_s is None else sums.covered_to_s
        sums.max_gap_s = max(sums.max_gap_s, start - since)
        sums.covered_to_s = stop
        sums.covered_s += inside
        sums.samples += 1
        sums.edge_s2 += (inside * (1 - inside / length)) ** 2
        return inside

    def _spread(self, power_w: float) -> None:
        sums = self._sums
        sums.least_w = power_w if sums.least_w is None else min(sums.least_w, power_w)
        sums.most_w = power_w if sums.most_w is None else max(sums.most_w, power_w)

    def _extent(self) -> tuple[float, float]:
        """Length of the window and its longest uncovered stretch, edges included."""
        sums = self._sums
        if self._window is None:
            return sums.span_s, sums.max_gap_s
        begin, end = self._window
        covered_to = begin if sums.covered_to_s is None else sums.covered_to_s
        return end - begin, max(sums.max_gap_s, end - covered_to)

    def _clock_rate(self, accuracy: Accuracy) -> tuple[float, float]:
        """Real seconds per device second, and the limit of that rate's error."""
        first, last = self._sums.first_anchor, self._sums.last_anchor
        if first is None or last is None or last[0] - first[0] < _ANCHOR_SPAN_S:
            return 1.0, accuracy.clock
        return (last[1] - first[1]) / (last[0] - first[0]), _ANCHOR_CLOCK

    def _objection(self, coverage: float, max_gap: float, limits: Limits) -> str:
        sums = self._sums
        if sums.samples == 0:
            return "no reading covers any of the window"
        if sums.went_back:
            return "the meter's clock went back: it restarted"
        if sums.over_range:
            return f"{sums.over_range} readings at the end of the meter's range"
        if coverage < limits.min_coverage:
            return f"readings cover {coverage:.4%} of the window; {limits.min_coverage:.4%} needed"
        if max_gap > limits.max_gap_s:
            return f"{max_gap:.3g} s without a reading; at most {limits.max_gap_s:g} s allowed"
        if sums.samples < limits.min_samples:
            return f"only {sums.samples} readings; {limits.min_samples} needed"
        return ""
