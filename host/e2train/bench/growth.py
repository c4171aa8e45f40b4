# SPDX-License-Identifier: Apache-2.0
"""How the emulator's time and memory grow with depth, batch, skip ratio and threads.

Every point is a process of its own, so that its memory is its own, too; the points are gone through
in several rounds, so that a machine that slows down for a while slows all of them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .child import Job, Outcome, run_child

NETWORK, BATCH = "resnet-20", 128
AXES: dict[str, tuple[float, ...]] = {
    "depth": (8, 14, 20, 38, 74),
    "batch": (16, 32, 64, 128, 256),
    "skip": (0.0, 0.2, 0.4, 0.6, 0.8),
    "threads": (1, 2),
}


@dataclass(frozen=True)
class Point:
    """One value of an axis: every iteration's seconds, and each round's bytes of memory.

    memory: what training added to the interpreter and its libraries. peak: of the whole process.
    """

    axis: str
    value: float
    processor: list[float]
    wall: list[float]
    memory: list[int]
    peak: list[int]

    @property
    def seconds(self) -> float:
        """Median processor seconds of an iteration."""
        return statistics.median(self.processor)

    @property
    def wall_seconds(self) -> float:
        """Median seconds of an iteration by the clock."""
        return statistics.median(self.wall)

    @property
    def bytes(self) -> float:
        """Median of `memory`."""
        return statistics.median(self.memory)

    @property
    def size(self) -> float:
        """What time is fitted against: the value, of the skip ratio the share that runs."""
        return 1.0 - self.value if self.axis == "skip" else self.value


@dataclass(frozen=True)
class Exponent:
    """Slope of log y over log x by least squares, and its standard error (NaN of two points)."""

    slope: float
    error: float

    def __str__(self) -> str:
        return f"{self.slope:.2f}" + ("" if math.isnan(self.error) else f" ± {self.error:.2f}")


def fitted(x: Sequence[float], y: Sequence[float]) -> Exponent:
    """The exponent of y's growth with x; both positive, at least two different x."""
    a, b = np.log(np.asarray(x, float)), np.log(np.asarray(y, float))
    a -= a.mean()
    b -= b.mean()
    squares = float(a @ a)
    slope = float(a @ b) / squares
    rest = b - slope * a
    freedom = len(a) - 2
    error = math.sqrt(float(rest @ rest) / freedom / squares) if freedom > 0 else math.nan
    return Exponent(slope, error)


def exponents(points: Sequence[Point]) -> dict[str, dict[str, Exponent]]:
    """Of each axis but threads: the exponents of time and of memory."""
    found = {}
    for axis in AXES:
        along = [point for point in points if point.axis == axis]
        if axis == "threads" or len(along) < 2:
            continue
        x = [point.size for point in along]
        found[axis] = {
            "time": fitted(x, [point.seconds for point in along]),
            "memory": fitted(x, [point.bytes for point in along]),
        }
    return found


def job_of(axis: str, value: float, base: Job) -> Job:
    """The base's job with this one value changed."""
    if axis == "depth":
        return replace(base, network=f"resnet-{int(value)}")
    if axis == "skip":
        return replace(base, skip=value)
    if axis == "batch":
        return replace(base, batch=int(value))
    return replace(base, threads=int(value))


def measure(
    axes: dict[str, tuple[float, ...]],
    base: Job,
    rounds: int,
    run: Callable[[Job], Outcome] = run_child,
) -> list[Point]:
    """Every point of the axes, `base.iterations` in each of so many rounds."""
    points = [Point(axis, v, [], [], [], []) for axis, values in axes.items() for v in values]
    for _ in range(rounds):
        for point in points:
            found = run(job_of(point.axis, point.value, base))
            point.processor.extend(found.processor)
            point.wall.extend(found.wall)
            point.memory.append(found.used)
            point.peak.append(found.peak)
    return points
