# SPDX-License-Identifier: Apache-2.0
"""What every driver tells the recorder, whatever the instrument.

Events are named tuples, not data classes: tens of thousands a second are made in a catch-up.
A driver adds event types of its own protocol; the recorder keeps those as they are.
"""

from __future__ import annotations

from datetime import datetime, timezone
from typing import NamedTuple

_LATEST_RUN_S = 1e8  # host times below count from a simulation's start, not from 1970


class Sample(NamedTuple):
    """One reading, complete at `device_time_s`.

    Whether it is the average over the interval that ended then or an instantaneous value is the
    meter's property (`Meter.reading`). `seq` counts readings, by the meter's own numbers where it
    has them. `device_time_s` counts seconds on the meter's clock; a meter without one gets the
    host time at which the reading's last byte had arrived. Power may be negative (current flowing
    backwards) and is passed on as it is. None stands for what the meter does not give; `energy_wh`
    is the meter's own counter.
    """

    seq: int
    device_time_s: float
    voltage_v: float | None
    current_a: float | None
    power_w: float
    energy_wh: float | None = None


class ClockAnchor(NamedTuple):
    """The meter's real-time clock turned to `rtc_s` at `device_time_s`.

    `source` is `S` (edge captured by interrupt, microseconds) or `P` (polled, milliseconds).
    """

    device_time_s: float
    rtc_s: int
    source: str


class Gap(NamedTuple):
    """Readings are missing before the sample that follows, or its clock cannot be trusted.

    `kind`: `sequence` (`lost` numbers were left out), `time` (`lost` periods passed without a
    reading), `restart` (counter or clock went back: `lost` is unknown and 0), `stale` (the meter
    says or shows that it repeats an old reading; `lost` of them were left out) or `unplugged` (the
    port went away and came back, or the meter had to be asked again; made by the recorder, with
    the time of the sample before). `device_time_s` else is the time of the sample that follows.
    """

    kind: str
    device_time_s: float
    lost: int


class OverRange(NamedTuple):
    """The reading due at `device_time_s` lies beyond a range of the meter.

    A sample may follow (at the end of its range) or not (where the meter gives no number); no
    window that touches this reading is valid. `what` names the quantity.
    """

    seq: int
    device_time_s: float
    what: str


class Malformed(NamedTuple):
    """A line or packet that fits no rule of the protocol: its beginning, and which rule."""

    line: str
    reason: str


class Pause(NamedTuple):
    """The recording was interrupted on purpose: the time up to the next reading is no gap."""

    host_time_s: float


class End(NamedTuple):
    """The recorder ended: as it was told (`died` is empty), or because of what `died` says."""

    host_time_s: float
    died: str

    @property
    def reason(self) -> str:
        """Why no window that reaches beyond the last reading is valid; empty if it did not die."""
        return f"the recorder died at {moment(self.host_time_s)}: {self.died}" if self.died else ""


def moment(host_time_s: float) -> str:
    """A host time for people: UTC, or seconds where it is a simulation's."""
    if abs(host_time_s) < _LATEST_RUN_S:
        return f"{host_time_s:.3f} s"
    try:
        return f"{datetime.fromtimestamp(host_time_s, timezone.utc):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, OSError, ValueError):  # a time that no calendar has
        return f"{host_time_s:g} s"
