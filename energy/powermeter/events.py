# SPDX-License-Identifier: Apache-2.0
"""What every driver tells the recorder, whatever the instrument.

Events are named tuples, not data classes: tens of thousands a second are made in a catch-up.
A driver adds event types of its own protocol; the recorder keeps those as they are.
"""

from __future__ import annotations

from typing import NamedTuple


class Sample(NamedTuple):
    """One reading: the *average* over the interval that ended at `device_time_s`.

    `seq` is the meter's own counter of readings; `device_time_s` counts seconds on the meter's
    clock. Power may be negative (current flowing backwards) and is passed on as it is.
    """

    seq: int
    device_time_s: float
    voltage_v: float
    current_a: float
    power_w: float


class ClockAnchor(NamedTuple):
    """The meter's real-time clock turned to `rtc_s` at `device_time_s`.

    `source` is `S` (edge captured by interrupt, microseconds) or `P` (polled, milliseconds).
    """

    device_time_s: float
    rtc_s: int
    source: str


class Gap(NamedTuple):
    """Readings are missing before the sample that follows.

    `kind`: `sequence` (`lost` numbers were left out), `time` (`lost` periods passed between two
    consecutive numbers) or `restart` (counter or clock went back: `lost` is unknown and 0).
    """

    kind: str
    device_time_s: float
    lost: int


class OverRange(NamedTuple):
    """The sample that follows stands at the end of its range: the true value is beyond it."""

    seq: int
    device_time_s: float
    what: str


class Malformed(NamedTuple):
    """A line that fits no rule of the protocol: its first characters, and which rule."""

    line: str
    reason: str
