# SPDX-License-Identifier: Apache-2.0
"""Proofs by Yosys, for all operands: ports of the DSPs, lanes taken apart, products in LUTs."""

import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from e2train.device.accelerator.config import CHECKOUT
from e2train.device.accelerator.verilator import RTL

if find_spec("pyosys") is None:
    pytest.skip("pyosys is not installed: pip install 'e2train[rtl]'", allow_module_level=True)

RTL_PATH = CHECKOUT / RTL
PROPERTIES = Path(__file__).resolve().parent / "formal/properties.v"
MODULES = re.findall(r"^module (\w+)", PROPERTIES.read_text(encoding="utf-8"), re.MULTILINE)
USED = ("along_port", "across_port", "unpack", "across_unpack", "slice_multiples", "slice_cell")
RUN = """\
import sys
from pyosys import libyosys
design = libyosys.Design()
for line in sys.stdin.read().splitlines():
    libyosys.run_pass(line, design)
"""


def yosys(script):
    """Run a script in a process of its own; returns its output and whether it ended well."""
    done = subprocess.run(
        [sys.executable, "-c", RUN], input=script, capture_output=True, text=True, timeout=240
    )
    return done.stdout + done.stderr, done.returncode == 0


def read(*names, options="", folder=RTL_PATH):
    files = " ".join(f"{folder / f'mac_{name}.v'}" for name in names)
    return f"read_verilog {options} -I{RTL_PATH} -I{RTL_PATH / 'generated'} {files}\n"


def prove(module, folder=RTL_PATH):
    script = read(*USED, folder=folder) + f"read_verilog {PROPERTIES}\n"
    script += f"hierarchy -top {module}\nproc\nflatten\nopt -full\n"
    return yosys(f"{script}sat -prove holds 1 -verify -show-inputs {module}\n")


@pytest.mark.parametrize("module", MODULES)
def test_it_holds_for_all_operands(module):
    shown, well = prove(module)
    assert well and "SAT proof finished - no model found: SUCCESS!" in shown, shown[-2000:]


@pytest.mark.parametrize(
    ("file", "old", "new", "module"),
    [
        ("across_port", "(negative & ~pair[0])", "(negative & pair[0])", "across_port_holds"),
        ("unpack", "packed_pair & sum[16]", "packed_pair & sum[15]", "unpack_holds"),
        ("slice_cell", "{minus, 1'b0}", "{1'b0, minus}", "slice_cell_holds"),
    ],
)
def test_a_fault_is_found(tmp_path, file, old, new, module):
    for name in USED:
        text = (RTL_PATH / f"mac_{name}.v").read_text(encoding="utf-8")
        if name == file:
            assert text.count(old) == 1
            text = text.replace(old, new)
        (tmp_path / f"mac_{name}.v").write_text(text, encoding="utf-8")
    shown, well = prove(module, tmp_path)
    assert not well and "SAT proof finished - model found: FAIL!" in shown


def test_the_dsp_is_the_vendors():
    """mac_dsp as it is simulated against the DSP48E1 that it becomes, in Yosys' model of that.

    Registers are paired by name; each pair's next states are then proven equal from equal states
    and inputs, the multiplication as one and the same function of equal operands.
    """
    pairs = {
        "a_in": "Ar2", "d_in": "Dr", "b_in": "Br1", "b_next": "Br2", "inmode": "INMODEr",
        "operand": "ADr", "opmode": "OPMODEr", "product": "Mr", "total": "P",
    }  # fmt: skip
    script = read("dsp", options="-formal") + "rename mac_dsp gold\n"
    script += read("dsp") + "rename mac_dsp gate\n"
    script += "read_verilog +/xilinx/cells_sim.v\nhierarchy -check\n"
    script += "proc\nflatten gate\n"
    script += "cd gate\n"
    script += "".join(f"rename dsp.{its} {own}\n" for own, its in pairs.items())
    script += "cd ..\nattrmap -remove init\nopt -full\nopt_clean\ndffunmap\nopt_clean\n"
    script += (
        "equiv_make gold gate equiv\ncd equiv\nequiv_struct\nequiv_simple\nequiv_status -assert\n"
    )
    shown, well = yosys(script)
    assert well and "Equivalence successfully proven!" in shown, shown[-3000:]
