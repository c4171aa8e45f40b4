# SPDX-License-Identifier: Apache-2.0
"""Resources of the Verilog core as Yosys synthesises it (rtl_resources.py beside this folder)."""

from __future__ import annotations

import importlib
from pathlib import Path

from sources import HLS, Missing

from synthesis.resources import Resources

TOP = "mac_core"
LUTS = tuple(f"LUT{inputs}" for inputs in range(1, 7))
# What takes the place of LUTs in their slices: shift registers and memories.
MEMORY_LUTS = {"SRL16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2}


def core(hls: Path = HLS) -> Resources | None:
    """The core's; None where it is C++ only. Raises Missing without Yosys, or for what it says."""
    if not (hls / "rtl" / f"{TOP}.v").is_file():
        return None
    try:
        return counted_cells(importlib.import_module("rtl_resources").synthesise(TOP, hls))
    except RuntimeError as error:
        raise Missing(str(error)) from error


def counted_cells(cells: dict[str, int]) -> Resources:
    """LUTs before packing two small ones into one."""
    return Resources(
        luts=sum(cells.get(one, 0) for one in LUTS)
        + sum(cells.get(one, 0) * luts for one, luts in MEMORY_LUTS.items()),
        ffs=sum(number for cell, number in cells.items() if cell.startswith("FD")),
        dsps=cells.get("DSP48E1", 0),
        blocks=cells.get("RAMB36E1", 0) + cells.get("RAMB18E1", 0) / 2,
    )
