# SPDX-License-Identifier: Apache-2.0
"""From a data sheet's limits to the standard uncertainty of a power or an energy."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Accuracy:
    """Limits (maxima, plus or minus) of a meter that reads voltage and current.

    A limit `a` without more knowledge is a rectangular distribution, standard uncertainty
    a/sqrt(3); one count of a rounded reading likewise spans ±lsb/2, hence lsb/sqrt(12) (GUM, JCGM
    100:2008, 4.3.7 and F.2.2.1). Gain and clock limits are fractions.
    """

    voltage_gain: float
    voltage_offset_v: float
    voltage_lsb_v: float
    current_gain: float
    current_offset_a: float
    current_lsb_a: float
    clock: float

    def power_uncertainty_w(self, voltage_v: float, current_a: float) -> float:
        """Standard uncertainty (k = 1) in watts of one reading; the clock has no part in it."""
        return self._combine(voltage_v * current_a, abs(voltage_v), abs(current_a), 0.0)

    def energy_uncertainty_j(
        self,
        joules: float,
        volt_seconds: float,
        ampere_seconds: float,
        clock: float | None = None,
    ) -> float:
        """Standard uncertainty (k = 1) in joules of an integral of readings.

        Every error is taken as constant over the window, so nothing is divided by the square root
        of the number of samples. That is exact for gain and offset, and for rounding the worst
        case, which a steady load comes near. `clock` replaces the clock's limit where it is known
        better.
        """
        limit = self.clock if clock is None else clock
        return self._combine(joules, abs(volt_seconds), abs(ampere_seconds), limit)

    def _combine(self, product: float, volts: float, amperes: float, clock: float) -> float:
        gain = math.hypot(self.voltage_gain, self.current_gain, clock) * abs(product)
        offset = math.hypot(self.current_offset_a * volts, self.voltage_offset_v * amperes)
        rounding = math.hypot(self.current_lsb_a * volts, self.voltage_lsb_v * amperes)
        return math.sqrt((gain * gain + offset * offset) / 3 + rounding * rounding / 12)

    def to_dict(self) -> dict[str, float]:
        """The fields as a JSON-able dict; `Accuracy(**d)` is the way back."""
        return asdict(self)
