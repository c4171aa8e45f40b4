# SPDX-License-Identifier: Apache-2.0
"""The procedure around a window: idle before and after, settling, a fixed range, repeats.

procedure = Procedure(session, folder, sleep=time.sleep)
procedure.idle("before")
with procedure.window("run"):
    ...  # what is to be measured
procedure.idle("after")
print(procedure.result().net)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from powermeter.energy.budget import MeterErrors, error_of, std_dev
from powermeter.energy.integrate import WindowResult
from powermeter.energy.joules import COVERAGE_FACTOR, Joules
from powermeter.errors import MeterError
from powermeter.record.recording import write_json

#: Of the largest reading of the ranging run, for the fixed range (MLPerf Power, "max amps x 1.1").
RANGE_HEADROOM = 1.1
# Two-sided 95 % quantiles of Student's t for 1 to 30 degrees of freedom (GUM table G.2).
_STUDENT_95 = (
    *(12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26, 2.23),
    *(2.20, 2.18, 2.16, 2.14, 2.13, 2.12, 2.11, 2.10, 2.09, 2.09),
    *(2.08, 2.07, 2.07, 2.06, 2.06, 2.06, 2.05, 2.05, 2.05, 2.04),
)
_NORMAL_95 = 1.96


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


@dataclass(frozen=True)
class Repeats:
    """Mean of repeats, half width of its 95 % confidence interval, and how many there were."""

    mean: float
    half_width: float
    count: int


def repeats(values: Sequence[float]) -> Repeats:
    """Student's interval of independent repeats (two at least): what varies between runs.

    It holds nothing of what is the same in all of them, such as the meter's gain.
    """
    count = len(values)
    if count < 2:
        raise MeterError("a confidence interval needs two repeats at least")
    mean = math.fsum(values) / count
    variance = math.fsum((value - mean) ** 2 for value in values) / (count - 1)
    quantile = _STUDENT_95[count - 2] if count - 2 < len(_STUDENT_95) else _NORMAL_95
    return Repeats(mean, quantile * math.sqrt(variance / count), count)


def fixed_range(ranges: Sequence[float], largest: float, headroom: float = RANGE_HEADROOM) -> float:
    """The smallest of `ranges` that holds `headroom` x the largest reading; `MeterError`."""
    for full_scale in sorted(ranges):
        if full_scale >= headroom * abs(largest):
            return full_scale
    raise MeterError(f"no range holds {headroom:g} x {largest:g}; the largest is {max(ranges):g}")


class Procedure:
    """Measures idle, run, idle on one session and writes the windows' times to `windows.json`.

    `settle_s` passes before each window (SPEC and MLPerf: 10 s), `idle_s` is an idle window's
    length. `session` is a `MeterSession`; `sleep(seconds)` lets time pass on its board, which a
    simulated session needs to be told.
    """

    def __init__(
        self,
        session: Any,
        folder: Path,
        *,
        sleep: Callable[[float], None],
        settle_s: float = 10.0,
        idle_s: float = 60.0,
    ) -> None:
        self._session, self._folder, self._sleep = session, folder, sleep
        self._settle_s, self._idle_s = settle_s, idle_s
        self.windows: dict[str, tuple[float, float]] = {}

    def idle(self, name: str) -> None:
        """Let the board settle, then measure it idle."""
        with self.window(f"idle {name}"):
            self._sleep(self._idle_s)

    @contextmanager
    def window(self, name: str) -> Iterator[None]:
        """Settle, then measure what happens inside."""
        self._sleep(self._settle_s)
        begin = self._session.host_time_s()
        yield
        self.windows[name] = (begin, self._session.host_time_s())

    def result(self) -> Net:
        """From the windows `idle before`, `run` and `idle after`; writes `windows.json`."""
        names = ("run", "idle before", "idle after")
        if missing := [name for name in names if name not in self.windows]:
            raise MeterError(f"not measured: {', '.join(missing)}")
        # The last reading of a window ends after it: let it come.
        self._sleep(self._settle_s)
        net = net_of(*(self._session.window(*self.windows[name]) for name in names))
        write_json(self._folder / "windows.json", {"windows": self.windows, **net.to_dict()})
        return net
