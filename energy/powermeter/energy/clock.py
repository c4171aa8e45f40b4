# SPDX-License-Identifier: Apache-2.0
"""Host time, and the line that leads from a meter's clock to it.

A reading's host stamp is its true time plus a delay that is never negative and rarely at its
minimum. So the line host = offset + rate x device that leads from one clock to the other lies below
all stamps, as close as can be: the linear programme of Moon, Skelly and Towsley ("Estimation and
removal of clock skew from network delay measurements", INFOCOM 1999), whose solution is the edge of
the stamps' lower convex hull above their mean device time (Zhang, Liu and Xia, "Clock
synchronization algorithms for network measurements", INFOCOM 2002). Least squares would follow
every burst of delays instead.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

#: Limit of the host's own clock rate: an ordinary crystal, not disciplined.
HOST_CLOCK_LIMIT = 50e-6
_epoch_s = time.time() - time.monotonic()
_MOST_VERTICES = 256
_CLASH = 4.0  # standard uncertainties beyond the data sheet's limit


def host_time_s() -> float:
    """Seconds since 1970 as of this process's start, steady since: no clock adjustment shows."""
    return _epoch_s + time.monotonic()


def host_epoch_s() -> float:
    """Where this process's host time begins: for a process that is to count as this one does."""
    return _epoch_s


def count_from(epoch_s: float) -> None:
    """Count host time as the process does whose `host_epoch_s()` is given, on the same machine.

    Each process reads the system's clock once. Where that was set in between, two of them would
    disagree.
    """
    global _epoch_s
    _epoch_s = epoch_s


class ClockLine(NamedTuple):
    """host = `host_s` + `rate` x (device - `device_s`), with standard uncertainties (k = 1).

    `rate` is host seconds per device second, `rate_u` its uncertainty (relative), `offset_u` that
    of `host_s` in seconds, transmission included.
    """

    device_s: float
    host_s: float
    rate: float
    rate_u: float
    offset_u: float

    def host(self, device_s: float) -> float:
        """Host time of a device time."""
        return self.host_s + self.rate * (device_s - self.device_s)


@dataclass
class ClockFit:
    """Feed it (device time, host stamp) of readings in order; `line()` is cheap at any time.

    JSON-able by `state()`; memory is bounded. Of several readings with one stamp only the last is
    of use: the others waited for it.
    """

    count: int = 0
    device_sum: float = 0.0  # of the times since the first point
    host_sum: float = 0.0
    first: list[float] = field(default_factory=list)
    latest: list[float] = field(default_factory=list)  # may still be replaced
    hull: list[list[float]] = field(default_factory=list)

    def add(self, device_s: float, host_s: float) -> None:
        """One reading; device times must rise."""
        if self.latest and self.latest[1] == host_s:
            self.latest[0] = device_s
            return
        if self.latest:
            self._commit()
        else:
            self.first = [device_s, host_s]
        self.latest = [device_s, host_s]

    def state(self) -> dict[str, Any]:
        """JSON-able; `ClockFit(**state)` continues with identical results."""
        return asdict(self)

    def line(self, limit: float, latency_s: float) -> ClockLine:
        """The line through all points so far; there must be one.

        `limit` is the data sheet's for the meter's clock rate (a fraction). Within it the fit and
        the data sheet are averaged by their uncertainties, so a short recording relies on the data
        sheet and a long one on the host. A clock that is certainly outside is taken as fitted. A
        reading reached the host between 0 and `latency_s` after its time, at best.
        """
        fit = ClockFit(**self.state())
        fit.hull = [list(point) for point in self.hull]
        fit._commit()
        mean = fit.device_sum / fit.count
        left, right = _edge_above(fit.hull, mean)
        length = right[0] - left[0]
        slope = (right[1] - left[1]) / length if length > 0 else 1.0
        floor = left[1] + slope * (mean - left[0])
        # The floor is touched by chance: the delays' mean shrinks with the number of chances.
        error = 2 * max(0.0, fit.host_sum / fit.count - floor) / math.sqrt(fit.count)
        slope_u = math.sqrt(2) * error / length if length > 0 else math.inf
        rate, rate_u = _combined(slope, slope_u, limit)
        anchor_d, anchor_h = (left[0] + right[0]) / 2, (left[1] + right[1]) / 2
        return ClockLine(
            self.first[0] + anchor_d,
            self.first[1] + anchor_h - latency_s / 2,
            rate,
            math.hypot(rate_u, HOST_CLOCK_LIMIT / math.sqrt(3)),
            math.hypot(error, latency_s / math.sqrt(12)),
        )

    def _commit(self) -> None:
        """Take the latest point into the sums and the hull (Andrew's monotone chain)."""
        point = [self.latest[0] - self.first[0], self.latest[1] - self.first[1]]
        self.count += 1
        self.device_sum += point[0]
        self.host_sum += point[1]
        hull = self.hull
        while len(hull) >= 2 and _turn(hull[-2], hull[-1], point) <= 0:
            hull.pop()
        hull.append(point)
        if len(hull) > _MOST_VERTICES:
            hull[1:-1] = hull[1:-1:2]


def _turn(a: list[float], b: list[float], c: list[float]) -> float:
    """Positive where the path a, b, c turns to the left."""
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])


def _edge_above(hull: list[list[float]], mean: float) -> tuple[list[float], list[float]]:
    """The edge of the hull whose device times enclose `mean`."""
    for left, right in pairwise(hull):
        if right[0] >= mean:
            return left, right
    return hull[-1], hull[-1]


def _combined(slope: float, slope_u: float, limit: float) -> tuple[float, float]:
    """Fit and data sheet (1, limit/sqrt(3)) by inverse variances, or the fit where they clash."""
    sheet_u = limit / math.sqrt(3)
    if slope_u == 0 or sheet_u == 0:
        return (slope, slope_u) if slope_u <= sheet_u else (1.0, sheet_u)
    if abs(slope - 1) > limit + _CLASH * slope_u:
        return slope, slope_u
    weight, sheet = slope_u**-2, sheet_u**-2
    total = weight + sheet
    return (slope * weight + sheet) / total, math.sqrt(1 / total)
