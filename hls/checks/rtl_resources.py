# SPDX-License-Identifier: Apache-2.0
"""What the MAC core takes of the chip: Yosys synthesis of the whole and of its parts.

    python rtl_resources.py [--parts] [--without-lut-half]

Cells after `synth_xilinx -family xc7 -flatten -noiopad`: synthesis only, no place and route, so no
slices and no clock. LUTs are counted before two small ones are packed into one.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

from sources import HLS, Missing

TOP = "mac_core"
PARTS = {  # modules of the core, and how many of each it has
    "mac_control": 1,
    "mac_flags": 1,
    "mac_sequence": 1,
    "mac_operands": 1,
    "mac_row": 8,
    "mac_drain": 4,
    "mac_slices": 1,
}
# LUTs that a slice's memories and shift registers take.
MEMORIES = {"SRL16E": 1, "SRLC32E": 1, "RAM32M": 4, "RAM64M": 4, "RAM32X1D": 2, "RAM64X1D": 2}
RUN = """\
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""
SECONDS = 3600


def synthesise(top: str, hls: Path = HLS, lut_half: bool = True) -> dict[str, int]:
    """Cells by type of the module `top`. Raises Missing without pyosys, RuntimeError from Yosys."""
    if find_spec("pyosys") is None:
        raise Missing("pyosys is not installed: pip install 'e2train[rtl]'")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        header = (hls / "rtl/generated/e2train_hardware.vh").read_text(encoding="utf-8")
        chosen = re.sub(r"(CORE_LUT_HALF =) \d+;", rf"\1 {int(lut_half)};", header)
        (folder / "e2train_hardware.vh").write_text(chosen, encoding="utf-8")
        # Copied, since Yosys takes no folder whose name has spaces.
        for path in sorted((hls / "rtl").glob("*.v*")):
            shutil.copy2(path, folder)
        files = " ".join(sorted(path.name for path in folder.glob("*.v")))
        script = [
            f"read_verilog -I. {files}",
            f"synth_xilinx -family xc7 -flatten -noiopad -top {top}",
            "tee -q -o stat.json stat -json",
        ]
        done = subprocess.run(
            [sys.executable, "-c", RUN],
            cwd=folder,
            input="\n".join(script),
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        if done.returncode:
            errors = [line for line in done.stderr.splitlines() if "ERROR" in line] or ["failed"]
            raise RuntimeError(f"yosys: {errors[0]}")
        counted = json.loads((folder / "stat.json").read_text(encoding="utf-8"))
    return counted["design"]["num_cells_by_type"]


def row(name: str, cells: dict[str, int], times: int = 1) -> str:
    """A line of the table: LUT, FF, DSP48E1 and RAMB36 of so many of a module."""
    luts = sum(number for cell, number in cells.items() if re.fullmatch(r"LUT[1-6]", cell))
    luts += sum(each * cells.get(cell, 0) for cell, each in MEMORIES.items())
    registers = sum(number for cell, number in cells.items() if cell.startswith("FD"))
    blocks = cells.get("RAMB36E1", 0) + cells.get("RAMB18E1", 0) / 2
    counts = (luts, registers, cells.get("DSP48E1", 0), blocks)
    return f"{name:26}" + "".join(f"{times * count:9,.0f}" for count in counts)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="rtl_resources", description=__doc__.splitlines()[0])
    parser.add_argument("--parts", action="store_true", help="each part by itself as well")
    parser.add_argument("--without-lut-half", action="store_true", help="the core of DSPs alone")
    given = parser.parse_args(arguments)
    try:
        print("Yosys synth_xilinx -family xc7, synthesis only")
        print(f"{'':26}{'LUT':>9}{'FF':>9}{'DSP48E1':>9}{'RAMB36':>9}")
        for name, times in PARTS.items() if given.parts else ():
            print(row(f"{name} x {times}", synthesise(name), times), flush=True)
        name = f"{TOP}, no LUT half" if given.without_lut_half else TOP
        print(row(name, synthesise(TOP, lut_half=not given.without_lut_half)), flush=True)
    except (Missing, RuntimeError) as error:
        print(f"rtl_resources: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
