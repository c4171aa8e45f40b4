# SPDX-License-Identifier: Apache-2.0
"""Ranges, update intervals and limits of the Yokogawa WT310, WT310E, WT310HC and WT310EH.

Sources: user's manuals IM WT310E-01EN (ranges) and IM WT310E-02EN or IM WT310-02EN (7.3.2 "Active
power accuracy", 12 months, 23 ± 5 °C). Not included: temperature after a change of range (0.02 % of
the voltage range and 5 uA or 500 uA a degree) and self-heating.
"""

from __future__ import annotations

from powermeter.errors import MeterError

UPDATE_S = (0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
MODES = ("DC", "RMS")
OVER_RANGE = 1.4  # of the range: the reading becomes INF
VOLTAGE_RANGES_V = (15.0, 30.0, 60.0, 150.0, 300.0, 600.0)
CURRENT_RANGES_A = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
HIGH_CURRENT_RANGES_A = (1.0, 2.0, 5.0, 10.0, 20.0, 40.0)
PEAK_FACTOR = 3.0  # crest factor 3: peaks up to three times the range are measured
DIGITS = 5  # ":SYSTem:RESolution 5": the range's value has five digits
TIMER_LIMIT = 2e-4  # integration timer ±0.02 %


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


def check_one_of(name: str, value: float, values: tuple[float, ...]) -> float:
    """`value` if the meter has it; else `MeterError` with those it has."""
    if value not in values:
        listed = ", ".join(f"{each:g}" for each in values)
        raise MeterError(f"WT310 {name} must be one of {listed}; got {value:g}")
    return value


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
