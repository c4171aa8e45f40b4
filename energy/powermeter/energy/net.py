# SPDX-License-Identifier: Apache-2.0
"""What a run used above the idle board: the idle windows before and after it subtracted.

And what it used in several windows together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from powermeter.energy.budget import Budget, MeterErrors, error_of, std_dev
from powermeter.energy.integrate import WindowResult
from powermeter.energy.joules import COVERAGE_FACTOR, Joules
from powermeter.errors import MeterError


@dataclass(frozen=True)
class Net:
    """A run's energy with and without what the idle board would have used in its time.

    `idle_w` is the mean of the idle windows; `drift_w` how much the later one lay above the
    earlier. The net energy may be negative. `valid` only where all windows are.
    """

    total: Joules
    net: Joules
    idle_w: float
    drift_w: float
    seconds: float
    valid: bool
    reason: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "joules": self.total.value,
            "uncertainty_joules": self.total.uncertainty,
            "net_joules": self.net.value,
            "net_uncertainty_joules": self.net.uncertainty,
            "provenance": self.net.provenance,
            "idle_w": self.idle_w,
            "drift_w": self.drift_w,
            "seconds": self.seconds,
            "valid": self.valid,
            "reason": self.reason,
        }


def sum_of(windows: Sequence[WindowResult]) -> WindowResult:
    """The energy of a run that one meter measured in several windows, one after the other.

    The meter's own errors are the same in each and add up; what else is uncertain does so in
    quadrature. Valid only where all are. `MeterError` where provenances differ or there is none.
    """
    if len({window.joules.provenance for window in windows}) != 1:
        raise MeterError("only windows of one provenance have a sum")
    if len(windows) == 1:
        return windows[0]
    seconds = sum(window.seconds for window in windows)
    covered_s = sum(window.coverage * window.seconds for window in windows)
    value = sum(window.joules.value for window in windows)
    counters = [window.counter_joules for window in windows]
    budget = Budget(
        _added(sum, [window.budget.of_meter for window in windows]),
        _added(lambda sigmas: math.hypot(*sigmas), [window.budget.of_window for window in windows]),
    )
    sigma = math.hypot(*budget.of_meter.values(), *budget.of_window.values())
    reason = "; ".join(dict.fromkeys(window.reason for window in windows if not window.valid))
    return WindowResult(
        joules=Joules(value, COVERAGE_FACTOR * sigma, windows[0].joules.provenance),
        mean_power_w=value / covered_s if covered_s else None,
        samples=sum(window.samples for window in windows),
        coverage=covered_s / seconds if seconds else 0.0,
        max_gap_s=max(window.max_gap_s for window in windows),
        valid=all(window.valid for window in windows),
        reason=reason,
        seconds=seconds,
        counter_joules=None if None in counters else sum(filter(None, counters)),
        budget=budget,
    )


def _added(
    add: Callable[[list[float]], float], tables: Sequence[dict[str, float]]
) -> dict[str, float]:
    names = dict.fromkeys(name for table in tables for name in table)
    return {name: add([table.get(name, 0.0) for table in tables]) for name in names}


def net_of(run: WindowResult, before: WindowResult, after: WindowResult) -> Net:
    """Subtract idle power x the run's time, with the meter's common errors cancelling.

    Idle power during the run lies between the two idle windows': rectangular, half their
    difference. `MeterError` where provenances differ or a window holds no reading.
    """
    windows = {"run": run, "idle before": before, "idle after": after}
    if len({window.joules.provenance for window in windows.values()}) > 1:
        raise MeterError("windows of different provenance have no difference")
    for name, window in windows.items():
        if window.mean_power_w is None:
            raise MeterError(f"{name}: no reading covers any of the window")
    errors = MeterErrors()
    total = errors.energy(run.joules.value, run.budget)
    idles = [
        errors.energy(idle.joules.value, idle.budget) / (idle.coverage * idle.seconds)
        for idle in (before, after)
    ]
    first_w, last_w = before.mean_power_w or 0.0, after.mean_power_w or 0.0
    drift = last_w - first_w
    idle_w = (idles[0] + idles[1]) / 2 + error_of(abs(drift) / 2 / math.sqrt(3), "idle drift")
    net = total - idle_w * run.seconds
    mean = (first_w + last_w) / 2
    reason = "; ".join(f"{name}: {w.reason}" for name, w in windows.items() if not w.valid)
    value = run.joules.value - mean * run.seconds
    return Net(
        run.joules,
        Joules(value, COVERAGE_FACTOR * std_dev(net), run.joules.provenance),
        mean,
        drift,
        run.seconds,
        not reason,
        reason,
    )
