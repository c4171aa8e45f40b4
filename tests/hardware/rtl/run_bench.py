# SPDX-License-Identifier: Apache-2.0
"""Runs a bench of the Verilated core: python run_bench.py LIBRARY; exit 1 and a line on a fault."""

import ctypes
import sys

from core_bench import suite

try:
    print(f"{suite(ctypes.CDLL(sys.argv[1]), seed=7)} cycles")
except AssertionError as error:
    print(error)
    sys.exit(1)
