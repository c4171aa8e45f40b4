# SPDX-License-Identifier: Apache-2.0
"""Power traces for plotting: long logs become an envelope in which no peak is lost."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from e2train.errors import UserError

# A break this many times the usual distance between two samples is drawn as a break.
GAP = 4.0


@dataclass(frozen=True)
class PowerTrace:
    """Points to draw, float64 arrays of one length: seconds, and watts as minimum, mean, maximum.

    NaN marks a gap in the log. Where the log is short, the three are the samples themselves.
    """

    seconds: NDArray[np.float64]
    low: NDArray[np.float64]
    mean: NDArray[np.float64]
    high: NDArray[np.float64]
    samples: int
    decimated: bool


def read_trace(file: Path, bins: int = 700) -> PowerTrace | None:
    """Read a meter's samples.csv; None where it holds no sample.

    A last line without a line end (the recorder was killed) is left out. Raises UserError that
    names the file for a header without `device_time_s` and `power_w`, a row that is no row of
    numbers, or time that runs backwards.
    """
    try:
        with open(file, encoding="utf-8") as stream:
            header = stream.readline().strip().split(",")
            if "device_time_s" not in header or "power_w" not in header:
                raise UserError(f"{file}: its first line lacks device_time_s or power_w")
            columns = (header.index("device_time_s"), header.index("power_w"))
            lines = (line for line in stream if line.endswith("\n") and line.strip())
            first = next(lines, None)
            if first is None:
                return None
            table = np.loadtxt(
                chain([first], lines), delimiter=",", usecols=columns, ndmin=2, comments=None
            )
    except OSError as error:
        raise UserError(f"{file}: cannot be read ({error.strerror})") from None
    except ValueError as error:
        raise UserError(f"{file}: not a table of samples ({error})".replace("\n", " ")) from None
    table = table[np.isfinite(table).all(axis=1)]
    if not len(table):
        return None
    seconds, watts = table[:, 0], table[:, 1]
    backwards = np.flatnonzero(np.diff(seconds) < 0)
    if len(backwards):
        raise UserError(f"{file}: time runs backwards after {seconds[backwards[0]]:g} s")
    return decimate(seconds, watts, bins)


def decimate(seconds: NDArray[np.float64], watts: NDArray[np.float64], bins: int) -> PowerTrace:
    """Reduce samples (sorted by time, at least one) to about `bins` points.

    More than two samples a bin: minimum, mean and maximum of each of `bins` equal spans of time,
    NaN for a span without a sample. Fewer: the samples as they are, with a NaN in each gap.
    """
    if len(seconds) <= 2 * bins or seconds[0] == seconds[-1]:
        return _with_gaps(seconds, watts)
    edges = np.linspace(seconds[0], seconds[-1], bins + 1)
    span = np.clip(np.searchsorted(edges, seconds, side="right") - 1, 0, bins - 1)
    present, first = np.unique(span, return_index=True)
    count = np.diff(np.append(first, len(watts)))
    low, mean, high = (np.full(bins, np.nan) for _ in range(3))
    low[present] = np.minimum.reduceat(watts, first)
    high[present] = np.maximum.reduceat(watts, first)
    mean[present] = np.add.reduceat(watts, first) / count
    return PowerTrace((edges[:-1] + edges[1:]) / 2, low, mean, high, len(watts), True)


def _with_gaps(seconds: NDArray[np.float64], watts: NDArray[np.float64]) -> PowerTrace:
    steps = np.diff(seconds)
    typical = float(np.median(steps)) if len(steps) else 0.0
    breaks = np.flatnonzero(steps > GAP * typical) + 1 if typical > 0 else np.array([], dtype=int)
    drawn = np.insert(watts, breaks, np.nan)
    times = np.insert(seconds, breaks, seconds[breaks - 1] if len(breaks) else 0.0)
    return PowerTrace(times, drawn, drawn, drawn, len(watts), False)
