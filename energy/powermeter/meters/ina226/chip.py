# SPDX-License-Identifier: Apache-2.0
"""Numbers of the INA226 (Texas Instruments data sheet SBOS547B), for its driver and its simulator.

All limits are the "Electrical Characteristics" table's maxima at 25 °C (typical values in
brackets). Temperature drift (gain 50 ppm/°C, shunt offset 0.1 uV/°C) is left to the user.
"""

from __future__ import annotations

from powermeter.energy.accuracy import VoltageCurrentAccuracy
from powermeter.errors import MeterError

BUS_LSB_V = 1.25e-3  # "1 LSB step size, bus voltage"
SHUNT_LSB_V = 2.5e-6  # "1 LSB step size, shunt voltage"
BUS_RAW_MAX = 0x7FFF  # register 02h: 15 bits, full scale 40.96 V
SHUNT_RAW_MIN, SHUNT_RAW_MAX = -0x8000, 0x7FFF  # register 01h: ±81.92 mV

SHUNT_GAIN_LIMIT = 1e-3  # 0.1 % (0.02 %)
BUS_GAIN_LIMIT = 1e-3  # 0.1 % (0.02 %)
SHUNT_OFFSET_LIMIT_V = 10e-6  # ±10 uV (±2.5 uV)
BUS_OFFSET_LIMIT_V = 7.5e-3  # ±7.5 mV (±1.25 mV)
CONVERSION_TIME_LIMIT = 0.10  # e.g. 1.1 ms typical, 1.21 ms maximum

AVERAGES = (1, 4, 16, 64, 128, 256, 512, 1024)  # register 00h, AVG bits
CONVERSION_TIMES_US = (140, 204, 332, 588, 1100, 2116, 4156, 8244)  # VBUSCT and VSHCT bits

DEFAULT_AVERAGES = 4
DEFAULT_CONVERSION_US = 1100
DEFAULT_SHUNT_OHM = 0.01  # ZedBoard J21, and the meter's own
SHUNT_LEAST_OHM, SHUNT_MOST_OHM = 1e-5, 100.0  # beyond, a current-sense resistor is a typing error
SHUNT_TOLERANCE = 0.01  # the common 1 % class of current-sense resistors; calibrate to do better
CRYSTAL_LIMIT = 50e-6  # the meter's microsecond clock: an ordinary 40 MHz crystal
RTC_LIMIT = 2e-6  # DS3231 data sheet: ±2 ppm from 0 to 40 °C
LATENCY_LIMIT_S = 0.02  # a line's 3 ms and the 16 ms for which USB serial chips hold bytes back


def period_s(averages: int, vct_us: int, ict_us: int) -> float:
    """Nominal seconds between two readings: each of `averages` rounds converts bus and shunt.

    Raises `MeterError` for values that the chip does not have.
    """
    if averages not in AVERAGES:
        raise MeterError(f"INA226 averages must be one of {_listed(AVERAGES)}, got {averages}")
    for name, value in (("vct", vct_us), ("ict", ict_us)):
        if value not in CONVERSION_TIMES_US:
            times = _listed(CONVERSION_TIMES_US)
            raise MeterError(f"INA226 {name} must be one of {times} us, got {value}")
    return averages * (vct_us + ict_us) * 1e-6


def accuracy(shunt_ohm: float, shunt_tolerance: float = SHUNT_TOLERANCE) -> VoltageCurrentAccuracy:
    """The chip's limits behind a shunt of `shunt_ohm`, known to `shunt_tolerance` (a fraction).

    At 10 mOhm and 12 V one count is 3 mW and the offset limit 12 mW (0.46 % of an idle ZedBoard).
    """
    # The resistor and the chip's gain are independent rectangles: their joint limit in the sense
    # of accuracy.py (standard uncertainty times sqrt(3)) is the root of the sum of squares.
    current_gain = (SHUNT_GAIN_LIMIT**2 + shunt_tolerance**2) ** 0.5
    return VoltageCurrentAccuracy(
        voltage_gain=BUS_GAIN_LIMIT,
        voltage_offset_v=BUS_OFFSET_LIMIT_V,
        voltage_lsb_v=BUS_LSB_V,
        current_gain=current_gain,
        current_offset_a=SHUNT_OFFSET_LIMIT_V / shunt_ohm,
        current_lsb_a=SHUNT_LSB_V / shunt_ohm,
        clock=CRYSTAL_LIMIT,
    )


def _listed(values: tuple[int, ...]) -> str:
    return ", ".join(map(str, values))
