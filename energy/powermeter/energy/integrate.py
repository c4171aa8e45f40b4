# SPDX-License-Identifier: Apache-2.0
"""From readings to the energy of a window, with its uncertainty and whether to believe it.

Windows are given, and joules counted, in host time. The meter's clock is led to it by a line
(`clock`), one for each stretch of readings through which that clock ran undisturbed.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from powermeter.energy.accuracy import Accuracy, EnergySums, accuracy_from
from powermeter.energy.budget import Budget, MeterErrors, std_dev
from powermeter.energy.clock import ClockFit, ClockLine
from powermeter.energy.joules import COVERAGE_FACTOR, Joules
from powermeter.energy.sums import Sums, Window
from powermeter.errors import MeterError
from powermeter.events import End, Gap, Malformed, OverRange, Pause, Sample

_BREAKS = ("time", "restart", "unplugged")  # gaps after which the meter's clock is another one
_COUNTER_SHARE = 0.02  # by which a meter's own counter may differ, besides its last digit
_JOULES_PER_WH = 3600.0
_SILENCE_S, _SILENT_PERIODS = 2.0, 2.0
_LATE = 1.5  # periods and a latency after the last reading: by then there should be another
_CHANGED = "the recording changed while it was read"
# Shifts of a window, in standard uncertainties of the clocks' offset; their mean square is 1.
_SHIFTS = (-(1.75**0.5), -0.5, 0.5, 1.75**0.5)


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
class Instrument:
    """What an integral must know of the meter; see `Meter` for the fields."""

    period_s: float
    accuracy: Accuracy
    provenance: str
    instantaneous: bool = False
    latency_s: float = 0.0
    counter_wh: float | None = None
    asynchronous: bool = False

    @staticmethod
    def of(meta: dict[str, Any]) -> Instrument:
        """From a recording's `meter.json`."""
        return Instrument(
            meta["period_s"],
            accuracy_from(meta["accuracy"]),
            meta["provenance"],
            meta["reading"] == "instantaneous",
            meta["latency_s"],
            meta["counter_wh"],
            meta["asynchronous"],
        )

    def line(self, clock: ClockFit) -> ClockLine:
        """From the meter's clock to the host's."""
        return clock.line(self.accuracy.clock, self.latency_s)


def silence_limit_s(period_s: float) -> float:
    """Seconds without a reading after which the last one says nothing of now."""
    return _SILENCE_S + _SILENT_PERIODS * period_s


@dataclass(frozen=True)
class WindowResult:
    """Energy of a window.

    `joules` carries the expanded uncertainty (k = 2); `budget` the standard uncertainties (k = 1)
    that make it up. `mean_power_w` is None where no reading covers any of the window. `samples`
    readings count, wholly or in part. `coverage` is the share of the window that readings cover;
    the rest counts as 0 J and enters the uncertainty at mean power. `max_gap_s` is the longest
    stretch without. `counter_joules` is what the meter's own counter says of the time between its
    first and last reading in the window. `valid` is False with a `reason` where a limit is missed;
    the numbers are then as measured all the same.
    """

    joules: Joules
    mean_power_w: float | None
    samples: int
    coverage: float
    max_gap_s: float
    valid: bool
    reason: str
    seconds: float
    counter_joules: float | None
    budget: Budget

    @staticmethod
    def lost(provenance: str, reason: str) -> WindowResult:
        """The window of a run whose recording was lost: nothing in it is valid."""
        nothing = Joules(0.0, 0.0, provenance)
        return WindowResult(nothing, None, 0, 0.0, 0.0, False, reason, 0.0, None, Budget({}, {}))

    def to_dict(self) -> dict[str, Any]:
        """A flat JSON-able dict, energy first."""
        names = ("mean_power_w", "samples", "coverage", "max_gap_s", "valid", "reason")
        return {
            "joules": self.joules.value,
            "uncertainty_joules": self.joules.uncertainty,
            **{name: getattr(self, name) for name in names},
            "provenance": self.joules.provenance,
            "seconds": self.seconds,
            "counter_joules": self.counter_joules,
            "coverage_factor": COVERAGE_FACTOR,
            "budget_joules": self.budget.to_dict(),
        }


class RunningIntegral:
    """The energy from the first reading to the last so far; state is JSON-able and small."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._period_s = instrument.period_s
        self._total = self._fresh()
        self._now = self._fresh()
        self._clock = ClockFit()
        self._last_host_s: float | None = None
        self._clock_j = 0.0
        self._restarts = self._over_range = 0
        self._end: End | None = None
        self._beyond = ""  # what lay beyond the range last

    def take(self, event: NamedTuple, host_s: float) -> None:
        """One event of the recording, in order; `host_s` is when it had arrived."""
        if isinstance(event, Sample):
            self._sample(event, host_s)
        elif isinstance(event, Gap) and event.kind in _BREAKS:
            self._restarts += event.kind == "restart"
            self._close_stretch()
        elif isinstance(event, OverRange):
            self._over_range += 1
            self._beyond = event.what
        elif isinstance(event, Malformed):
            self._now.doubt()
        elif isinstance(event, Pause):
            self._close_stretch()
            self._last_host_s = None
        elif isinstance(event, End):
            self._end = event
        elif (micros := getattr(event, "period_us", None)) is not None:
            self._period_s = micros * 1e-6
            self._now.period_s = self._period_s

    def state(self) -> dict[str, Any]:
        """JSON-able; `restore` continues with identical results."""
        return {
            "period_s": self._period_s,
            "total": self._total.state(),
            "now": self._now.state(),
            "clock": self._clock.state(),
            "last_host_s": self._last_host_s,
            "clock_j": self._clock_j,
            "restarts": self._restarts,
            "over_range": self._over_range,
            "beyond": self._beyond,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take up from `state()`."""
        self._period_s = state["period_s"]
        self._total, self._now = Sums(**state["total"]), Sums(**state["now"])
        self._clock = ClockFit(**state["clock"])
        self._last_host_s, self._clock_j = state["last_host_s"], state["clock_j"]
        self._restarts, self._over_range = state["restarts"], state["over_range"]
        self._beyond = state.get("beyond", "")

    def result(self, limits: Limits | None = None) -> WindowResult:
        """The run so far. Negative energies stay negative."""
        sums, clock_j = Sums(**self._total.state()), self._clock_j
        if self._clock.latest:
            line = self._instrument.line(self._clock)
            sums.append(self._now, line.rate)
            clock_j += abs(self._now.joules) * line.rate * line.rate_u
        findings = _Findings(
            sums.span_s,
            sums.max_gap_s,
            clock_j,
            0.0,
            self._restarts,
            self._over_range,
            "" if self._end is None else self._end.reason,
            self._silence(),
            self._beyond,
        )
        return _evaluate(sums, findings, self._instrument, limits or Limits())

    def _silence(self) -> str:
        """That the recording went on without readings until it was ended, or nothing."""
        if self._end is None or self._last_host_s is None:
            return ""
        silence = self._end.host_time_s - self._last_host_s
        if silence <= silence_limit_s(self._instrument.period_s):
            return ""
        return f"no reading in the last {silence:.1f} s of the recording"

    def _fresh(self) -> Sums:
        return Sums(self._period_s, self._instrument.instantaneous)

    def _sample(self, sample: Sample, host_s: float) -> None:
        if self._now.last is None and self._last_host_s is not None:
            hole = host_s - self._last_host_s
            self._total.span_s += hole
            self._total.max_gap_s = max(self._total.max_gap_s, hole)
        self._now.add(sample.device_time_s, sample)
        self._clock.add(sample.device_time_s, host_s)
        self._last_host_s = host_s

    def _close_stretch(self) -> None:
        if self._clock.latest:
            line = self._instrument.line(self._clock)
            self._total.append(self._now, line.rate)
            self._clock_j += abs(self._now.joules) * line.rate * line.rate_u
        self._now, self._clock = self._fresh(), ClockFit()


class ClockSurvey:
    """First of two passes over a recording: the line of each of its stretches."""

    def __init__(self, instrument: Instrument) -> None:
        self._instrument = instrument
        self._clocks = [ClockFit()]

    def take(self, event: NamedTuple, host_s: float) -> None:
        """See `RunningIntegral.take`."""
        if isinstance(event, Sample):
            self._clocks[-1].add(event.device_time_s, host_s)
        elif _breaks(event):
            self._clocks.append(ClockFit())

    def lines(self) -> list[ClockLine | None]:
        """One for each stretch, None for one without a reading."""
        return [self._instrument.line(fit) if fit.latest else None for fit in self._clocks]

    def extent(self) -> Window | None:
        """Host times of the first and the last reading; None if there is none."""
        pairs = zip(self._clocks, self.lines(), strict=True)
        stretches = [(fit, line) for fit, line in pairs if line is not None]
        if not stretches:
            return None
        (first, begin), (last, end) = stretches[0], stretches[-1]
        return begin.host(first.first[0]), end.host(last.latest[0])


class WindowIntegral:
    """Second pass: the energy between two host times."""

    def __init__(
        self, instrument: Instrument, window: Window, lines: Sequence[ClockLine | None]
    ) -> None:
        begin, end = window
        if not begin < end:
            raise MeterError(f"a window must end after it begins, got {begin:g} to {end:g} s")
        self._instrument, self._window, self._lines = instrument, window, lines
        self._stretch = 0
        shift = max((line.offset_u for line in lines if line is not None), default=0.0)
        windows = [window, *((begin + n * shift, end + n * shift) for n in _SHIFTS)]
        self._runs = [
            (Sums(instrument.period_s, instrument.instantaneous), edges) for edges in windows
        ]
        self._last_s: float | None = None
        self._restarted = False
        self._clock_j = 0.0
        self._restarts = self._over_range = 0
        self._died = ""
        self._beyond = ""  # what lay beyond the range last

    def take(self, event: NamedTuple, host_s: float) -> None:
        """See `RunningIntegral.take`."""
        if isinstance(event, Sample):
            self._sample(event)
        elif isinstance(event, OverRange):
            line = self._line
            time_s = host_s if line is None else line.host(event.device_time_s)
            if self._touches(time_s - self._period_s, time_s):
                self._over_range += 1
                self._beyond = event.what
        elif isinstance(event, Malformed):
            for sums, _ in self._runs:
                sums.doubt()
        elif _breaks(event):
            self._stretch += 1
            self._restarted |= isinstance(event, Gap) and event.kind == "restart"
            for sums, _ in self._runs:
                sums.lose_track()
        elif isinstance(event, End):
            self._died = event.reason
        elif (micros := getattr(event, "period_us", None)) is not None:
            for sums, _ in self._runs:
                sums.period_s = micros * 1e-6

    def result(self, limits: Limits | None = None, died: str = "") -> WindowResult:
        """The window's energy. Negative energies stay negative.

        `died` is what is known of the recorder's death where the recording does not tell.
        """
        (sums, (begin, end)), *shifted = self._runs
        covered_to = begin if sums.covered_to_s is None else sums.covered_to_s
        # What a window loses by lying beyond the recording is no error of the clocks.
        whole = sums.covered_s * (1 - 1e-9)
        moved = [s.joules - sums.joules for s, _ in shifted if s.covered_s >= whole]
        offset_j = math.hypot(*moved) / math.sqrt(max(1, len(moved)))
        findings = _Findings(
            end - begin,
            max(sums.max_gap_s, end - covered_to),
            self._clock_j,
            offset_j,
            self._restarts,
            self._over_range,
            (self._died or died) if self._beyond_s > 0 else "",
            self._short(),
            self._beyond,
        )
        return _evaluate(sums, findings, self._instrument, limits or Limits())

    @property
    def _beyond_s(self) -> float:
        """Seconds of the window that come after the last reading of the recording."""
        return math.inf if self._last_s is None else self._window[1] - self._last_s

    def _short(self) -> str:
        """That the recording does not reach to the end of the window, or nothing."""
        if self._beyond_s <= _LATE * self._period_s + self._instrument.latency_s:
            return ""
        return f"the last reading comes {self._beyond_s:.3g} s before the window's end"

    @property
    def _line(self) -> ClockLine | None:
        if self._stretch >= len(self._lines):
            raise MeterError(_CHANGED)
        return self._lines[self._stretch]

    @property
    def _period_s(self) -> float:
        return self._runs[0][0].period_s

    def _sample(self, sample: Sample) -> None:
        line = self._line
        if line is None:
            raise MeterError(_CHANGED)
        time_s = line.host(sample.device_time_s)
        before = self._runs[0][0].joules
        for sums, window in self._runs:
            sums.add(time_s, sample, window)
        self._clock_j += abs(self._runs[0][0].joules - before) * line.rate_u
        if self._restarted:
            since = time_s if self._last_s is None else self._last_s
            self._restarts += self._touches(min(since, time_s), max(since, time_s))
            self._restarted = False
        self._last_s = time_s

    def _touches(self, since_s: float, until_s: float) -> bool:
        begin, end = self._window
        return until_s > begin and since_s < end


class EnergyCurve:
    """Second pass: the energy from one host time up to each of several later ones."""

    def __init__(
        self,
        instrument: Instrument,
        begin_s: float,
        ends: Sequence[float],
        lines: Sequence[ClockLine | None],
        limits: Limits | None,
    ) -> None:
        self._begin_s, self._ends, self._lines = begin_s, list(ends), lines
        self._limits = limits
        self._stretch = 0
        self._integral = RunningIntegral(instrument)
        self._found: list[WindowResult] = []

    def take(self, event: NamedTuple, host_s: float) -> None:
        """See `RunningIntegral.take`."""
        if isinstance(event, Sample):
            line = self._lines[self._stretch] if self._stretch < len(self._lines) else None
            if line is None:
                raise MeterError(_CHANGED)
            time_s = line.host(event.device_time_s)
            self._settle(time_s)
            if time_s < self._begin_s:
                return
        elif _breaks(event):
            self._stretch += 1
        self._integral.take(event, host_s)

    def results(self) -> list[WindowResult]:
        """One for each end, in their order."""
        self._settle(math.inf)
        return self._found

    def _settle(self, time_s: float) -> None:
        """No more readings come for the ends before `time_s`."""
        while len(self._found) < len(self._ends) and self._ends[len(self._found)] < time_s:
            self._found.append(self._integral.result(self._limits))


class _Findings(NamedTuple):
    """What else a result depends upon: lengths in seconds, uncertainties in joules, counts."""

    window_s: float
    max_gap_s: float
    clock_j: float
    offset_j: float
    restarts: int
    over_range: int
    died: str  # of what the recorder died before the window's end, or nothing
    short: str  # that readings stop before the window's end, or nothing
    beyond: str


def _breaks(event: NamedTuple) -> bool:
    return isinstance(event, Pause) or (isinstance(event, Gap) and event.kind in _BREAKS)


def _evaluate(
    sums: Sums, findings: _Findings, instrument: Instrument, limits: Limits
) -> WindowResult:
    window_s = findings.window_s
    coverage = min(1.0, sums.covered_s / window_s) if window_s > 0 else 0.0
    mean = sums.joules / sums.covered_s if sums.covered_s > 0 else None
    totals = EnergySums(sums.joules, sums.covered_s, sums.volt_s, sums.ampere_s)
    own = {
        "clock rate": findings.clock_j,
        "clock offset": findings.offset_j,
        "missing time": max(0.0, window_s - sums.covered_s) * abs(mean or 0.0),
        "cut intervals": sums.edges_j(),
        "damaged readings": math.sqrt(sums.doubted_j2),
        "between readings": _between(sums, instrument),
    }
    budget = Budget(instrument.accuracy.contributions(totals), own)
    uncertainty = COVERAGE_FACTOR * std_dev(MeterErrors().energy(sums.joules, budget))
    counter = None
    if sums.counter:
        counter = (sums.counter[2] - sums.counter[0]) * _JOULES_PER_WH
    reason = _objection(sums, findings, coverage, limits) or _counter_objection(
        sums, counter, instrument
    )
    return WindowResult(
        Joules(sums.joules, uncertainty, instrument.provenance),
        mean,
        sums.samples,
        coverage,
        findings.max_gap_s,
        not reason,
        reason,
        window_s,
        counter,
        budget,
    )


def _between(sums: Sums, instrument: Instrument) -> float:
    """Standard uncertainty in joules from what readings do not show."""
    if instrument.instantaneous:
        return sums.sampling_j()
    return sums.polling_j() if instrument.asynchronous else 0.0


def _objection(sums: Sums, findings: _Findings, coverage: float, limits: Limits) -> str:
    """Why a window cannot be believed, or nothing."""
    if findings.died:
        return findings.died
    if findings.over_range:
        return (
            f"{findings.over_range} readings at or beyond the end of the meter's range "
            f"({findings.beyond})"
        )
    if sums.samples == 0:
        return "no reading covers any of the window"
    if findings.restarts:
        return "the meter's clock went back: it restarted"
    if coverage < limits.min_coverage:
        return f"readings cover {coverage:.4%} of the window; {limits.min_coverage:.4%} needed"
    if findings.max_gap_s > limits.max_gap_s:
        gap, most = findings.max_gap_s, limits.max_gap_s
        return f"{gap:.3g} s without a reading; at most {most:g} s allowed"
    if sums.samples < limits.min_samples:
        return f"only {sums.samples} readings; {limits.min_samples} needed"
    return findings.short


def _counter_objection(sums: Sums, counter_j: float | None, instrument: Instrument) -> str:
    """Why the meter's own counter contradicts its readings, or nothing."""
    if counter_j is None or instrument.counter_wh is None or counter_j < 0:
        return ""  # a counter that went back was reset
    readings_j = sums.counter[3] - sums.counter[1]
    digit_j = instrument.counter_wh * _JOULES_PER_WH
    if abs(counter_j - readings_j) <= digit_j + _COUNTER_SHARE * abs(readings_j):
        return ""
    return (
        f"the meter's own counter says {counter_j:.6g} J where its readings say {readings_j:.6g} J"
    )
