# SPDX-License-Identifier: Apache-2.0
"""What host and simulation say to each other: requests and replies of fixed size.

Simulated time passes only while the simulation carries out a request.
"""

from __future__ import annotations

import struct
from enum import IntEnum

REQUEST = struct.Struct("<BIQ")  # what, and two numbers that it needs
REPLY = struct.Struct("<Q")
SOCKET = "E2TRAIN_BOARD_SOCKET"  # environment: descriptor of the simulation's end
BODY = "E2TRAIN_BOARD_BODY"  # environment: the library of C++
MEMORY = "E2TRAIN_BOARD_MEMORY"  # environment: file of the memory, base and size in bytes


class Request(IntEnum):
    """READ (address): a register. WRITE (address, value). RUN (-, cycles): until the interrupt line
    is high or so many cycles are over; replies with the line. SET (index of SIGNALS, value).
    UPSET (port | write << 8 | response << 16, bursts to let through). COUNTER (index).
    CYCLES: since the start. RESET: of the fabric. LINE: the interrupt line."""

    READ = 0
    WRITE = 1
    RUN = 2
    SET = 3
    UPSET = 4
    COUNTER = 5
    CYCLES = 6
    RESET = 7
    LINE = 8


SIGNALS = ("stall", "latency", "pressure")
COUNTERS = 21  # read bursts, write bursts, beats read, beats written (of 5 ports each), violations
NEVER = 0xFF  # a response that does not come
