# SPDX-License-Identifier: Apache-2.0
"""What the processor (PS) computes between the device's operations: C++, or NumPy to the same bits.

Per channel, per weight or per picture: batch-norm coefficients, quantising, the optimiser's step.
"""

from __future__ import annotations

from functools import cache

from .base import Moves, Processor
from .library import NativeUnavailable
from .native import NativeProcessor
from .numpy_processor import NumpyProcessor

__all__ = [
    "Moves",
    "NativeProcessor",
    "NativeUnavailable",
    "NumpyProcessor",
    "Processor",
    "processor",
]


@cache
def processor() -> Processor:
    """The quicker one that this computer can build."""
    try:
        return NativeProcessor()
    except NativeUnavailable:
        return NumpyProcessor()
