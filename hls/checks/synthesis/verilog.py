# SPDX-License-Identifier: Apache-2.0
"""Resources of the Verilog core by Yosys: `synth_xilinx -family xc7`, then its cells counted."""

from __future__ import annotations

import importlib
import importlib.util
import json
import tempfile
from pathlib import Path

from sources import HLS, Missing

from synthesis.resources import Resources

TOP = "mac_core"
FLIPFLOPS = ("FDRE", "FDSE", "FDCE", "FDPE")
LUTS = tuple(f"LUT{inputs}" for inputs in range(1, 7))
# What takes the place of LUTs in their slices: shift registers and memories.
MEMORY_LUTS = {"SRL16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2}


def core_sources(hls: Path = HLS) -> list[Path]:
    """The core's Verilog; empty where there is none."""
    found = sorted((hls / "rtl").glob("*.v"))
    return found if any(path.stem == TOP for path in found) else []


def synthesised(sources: list[Path], top: str = TOP) -> Resources:
    """Raises Missing without pyosys."""
    if importlib.util.find_spec("pyosys") is None:
        raise Missing("pyosys is not installed: pip install 'e2train[rtl]'")
    yosys = importlib.import_module("pyosys.libyosys")
    design = yosys.Design()
    folders = sorted(
        {str(path.parent) for path in sources}
        | {str(path.parent / "generated") for path in sources}
    )
    include = " ".join(f'-I"{folder}"' for folder in folders)
    with tempfile.TemporaryDirectory() as name:
        counted = Path(name) / "stat.json"
        log = Path(name) / "log"
        for command in (
            *(f'read_verilog {include} "{path}"' for path in sources),
            f"synth_xilinx -family xc7 -flatten -noiopad -top {top}",
        ):
            yosys.run_pass(f"tee -q -o {log} {command}", design)
        yosys.run_pass(f"tee -q -o {counted} stat -json", design)
        cells = json.loads(counted.read_text(encoding="utf-8"))["design"]["num_cells_by_type"]
    return counted_cells(cells)


def counted_cells(cells: dict[str, int]) -> Resources:
    """LUTs as a slice has them: before packing two small ones into one."""
    return Resources(
        luts=sum(cells.get(one, 0) for one in LUTS)
        + sum(cells.get(one, 0) * luts for one, luts in MEMORY_LUTS.items()),
        ffs=sum(cells.get(one, 0) for one in FLIPFLOPS),
        dsps=cells.get("DSP48E1", 0),
        blocks=cells.get("RAMB36E1", 0) + cells.get("RAMB18E1", 0) / 2,
    )
