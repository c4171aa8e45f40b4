# SPDX-License-Identifier: Apache-2.0
"""The measuring part of a simulated WT310E: from a power trace to shown values and registers."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from powermeter.drivers import wt310_ranges as ranges
from powermeter.drivers.wt310_lines import OVER, PEAK_CURRENT, PEAK_VOLTAGE, UPDATED
from powermeter.simulators.scpi_device import Interval

CLOCK_LIMIT = 1e-4
_RAISE, _LOWER, _NEXT = 1.3, 0.3, 1.25  # auto range: shares of a range at which it changes

STOPPED, RUNNING, RESET = "STOP", "START", "RESET"


class Registers:
    """Condition register, and the event register that its edges enter through filters."""

    def __init__(self) -> None:
        self.condition = 0
        self.events = 0
        self.filters: dict[int, str] = {}  # by bit number + 1, as in the command; RISE without

    def change(self, condition: int) -> None:
        """Set the condition."""
        for bit in range(16):
            before, now = self.condition >> bit & 1, condition >> bit & 1
            kind = self.filters.get(bit + 1, "RISE")
            rose, fell = now > before, now < before
            if (rose and kind in ("RISE", "BOTH")) or (fell and kind in ("FALL", "BOTH")):
                self.events |= 1 << bit
        self.condition = condition

    def take_events(self) -> int:
        """The events since the last time."""
        events, self.events = self.events, 0
        return events

    def state(self) -> list[Any]:
        """JSON-able."""
        return [self.condition, self.events, {str(bit): kind for bit, kind in self.filters.items()}]

    def restore(self, state: Sequence[Any]) -> None:
        """Continue from `state()`."""
        self.condition, self.events = state[0], state[1]
        self.filters = {int(bit): kind for bit, kind in state[2].items()}


class Wt310Input:
    """Ranges, values and the integrator; `bus_v` is the true voltage.

    Errors are shares of the data sheet's limits, of the reading and of the range, for voltage,
    current and power each; drawn once.
    """

    def __init__(self, random_: random.Random, bus_v: float) -> None:
        self.bus_v = bus_v
        self.update_s = 0.25
        self.range_v, self.range_a = ranges.VOLTAGE_RANGES_V[-1], ranges.CURRENT_RANGES_A[-1]
        self.auto_v = self.auto_a = True
        self.errors = [(random_.uniform(-1, 1), random_.uniform(-1, 1)) for _ in range(3)]
        self.registers = Registers()
        self.values: list[float | None] = [None] * 3  # U, I, P as shown; None: no data
        self.integration, self.counted_wh = RESET, 0.0

    @property
    def overload_w(self) -> float:
        """Watts above which the current range is exceeded."""
        return ranges.OVER_RANGE * self.range_a * self.bus_v

    @property
    def scales(self) -> tuple[float, float, float]:
        """Full scale of voltage, current and power."""
        return self.range_v, self.range_a, self.range_v * self.range_a

    def update(self, interval: Interval) -> None:
        """New values are complete: the bit "updating" falls."""
        watts = interval.joules / interval.seconds
        true = (self.bus_v, watts / self.bus_v, watts)
        over = [abs(true[i]) > ranges.OVER_RANGE * self.scales[i] for i in (0, 1)]
        over.append(any(over))
        shown = self._shown(true)
        if self.integration == RUNNING and not over[2]:
            self.counted_wh += shown[2] * self.update_s / 3600
        self.values = [
            math.inf if beyond else value for value, beyond in zip(shown, over, strict=True)
        ]
        bits = (OVER if over[2] else 0) | self._peaks(interval.peak_w)
        self.registers.change(self.registers.condition | UPDATED)  # it rose when the update began
        self.registers.change(bits)
        if self.integration != RUNNING:  # ranges stay while integrating
            self._choose_ranges(true)

    def restart(self) -> None:
        """Power off and on: settings stay, values and integrals do not."""
        self.values, self.registers = [None] * 3, Registers()
        self.integration, self.counted_wh = RESET, 0.0

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "update_s": self.update_s,
            "ranges": [self.range_v, self.range_a, self.auto_v, self.auto_a],
            "values": list(self.values),
            "registers": self.registers.state(),
            "integration": [self.integration, self.counted_wh],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.update_s = state["update_s"]
        self.range_v, self.range_a, self.auto_v, self.auto_a = state["ranges"]
        self.values = list(state["values"])
        self.registers.restore(state["registers"])
        self.integration, self.counted_wh = state["integration"]

    def _shown(self, true: Sequence[float]) -> list[float]:
        """True values with this instrument's errors, rounded to the ranges' digits."""
        gain, share = ranges.limits("WT310E", "DC")
        shown = []
        for value, scale, (of_reading, of_range) in zip(
            true, self.scales, self.errors, strict=True
        ):
            wrong = value + of_reading * gain * value + of_range * share * scale
            digit = ranges.step(scale)
            shown.append(round(wrong / digit) * digit)
        return shown

    def _peaks(self, peak_w: float) -> int:
        volts, amperes = self.bus_v, peak_w / self.bus_v
        bits = PEAK_VOLTAGE if volts > ranges.PEAK_FACTOR * self.range_v else 0
        return bits | (PEAK_CURRENT if amperes > ranges.PEAK_FACTOR * self.range_a else 0)

    def _choose_ranges(self, true: Sequence[float]) -> None:
        if self.auto_v:
            self.range_v = _chosen(ranges.VOLTAGE_RANGES_V, self.range_v, abs(true[0]))
        if self.auto_a:
            self.range_a = _chosen(ranges.CURRENT_RANGES_A, self.range_a, abs(true[1]))


def _chosen(available: tuple[float, ...], present: float, value: float) -> float:
    """Auto range (IM WT310E-01EN, 2-7): one range up above 130 %, down below 30 %."""
    place = available.index(present)
    if value > _RAISE * present:
        return available[min(place + 1, len(available) - 1)]
    if value <= _LOWER * present:
        return min(present, next(each for each in available if value <= _NEXT * each))
    return present
