# SPDX-License-Identifier: Apache-2.0
"""Back-to-back measuring intervals of a simulated meter, and the mean power of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from powermeter.errors import SimulatorError
from powermeter.simulation.device import Segment


class Cycle:
    """Intervals of `period_s` true seconds without a pause between; the first ends at `first_s`.

    The mean of a piecewise constant power over each interval is exact, wherever the trace is cut.
    """

    def __init__(self, period_s: float, first_s: float) -> None:
        self.period_s = period_s
        self.now_s = 0.0
        self._began_s, self._ends_s = 0.0, first_s
        self._joules = 0.0  # since the running interval began

    def advance(self, segments: Sequence[Segment]) -> list[tuple[float, float]]:
        """Let the segments pass; (true end, mean watts) of each interval that ended meanwhile."""
        ended = []
        for duration, power in segments:
            if not (0 <= duration < math.inf and math.isfinite(power)):
                raise SimulatorError(
                    "segments must be finite, with durations of zero seconds or more"
                )
            stop = self.now_s + duration
            while self._ends_s <= stop:
                self._joules += power * (self._ends_s - self.now_s)
                ended.append((self._ends_s, self._joules / (self._ends_s - self._began_s)))
                self.now_s = self._began_s = self._ends_s
                self._ends_s += self.period_s
                self._joules = 0.0
            self._joules += power * (stop - self.now_s)
            self.now_s = stop
        return ended

    def restart(self, after_s: float) -> None:
        """Begin anew `after_s` seconds from now: the meter was off until then."""
        self._began_s = self.now_s
        self._ends_s = self.now_s + after_s
        self._joules = 0.0

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "now_s": self.now_s,
            "began_s": self._began_s,
            "ends_s": self._ends_s,
            "joules": self._joules,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.now_s, self._joules = state["now_s"], state["joules"]
        self._began_s, self._ends_s = state["began_s"], state["ends_s"]
