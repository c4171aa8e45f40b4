# SPDX-License-Identifier: Apache-2.0
"""A simulated board that a process's tests share, and what they run on it."""

from __future__ import annotations

import atexit
from functools import cache

import numpy as np
import pytest

from e2train.device import Geometry
from e2train.device.accelerator.simulated.build import SimulationUnavailable
from e2train.device.accelerator.simulated.open import SimulatedBoard, Workbench

GEOMETRY = Geometry(3, 5, 6, 4, (3, 3), 1, 1, 1)
CALM = {"stall": 0, "latency": 4, "pressure": 0}
ROUGH = {"stall": 70, "latency": 9, "pressure": 60}


@cache
def workbench() -> Workbench:
    """Skips the test, with one line, where an extra that the simulation needs is not installed."""
    try:
        bench = Workbench()
    except SimulationUnavailable as error:
        if "pip install" in str(error):
            pytest.skip(str(error))
        raise
    atexit.register(bench.close)
    return bench


def convolution(board: SimulatedBoard) -> np.ndarray:
    """A convolution's output [2,4,5,6]; every operand has a value of its own."""
    x = np.arange(2 * 3 * 5 * 6, dtype=np.int8).reshape(2, 3, 5, 6)
    w = (np.arange(4 * 3 * 9) % 15 - 7).astype(np.int8).reshape(4, 3, 3, 3)
    return board.get(board.convolve(board.put(x), w, GEOMETRY, 3).y)
