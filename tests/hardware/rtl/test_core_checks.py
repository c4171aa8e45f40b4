# SPDX-License-Identifier: Apache-2.0
"""The checks of the Verilog that are run by hand: mutations and the table of resources."""

import subprocess
import sys
from importlib.util import find_spec

import pytest

from e2train.device.accelerator.config import CHECKOUT

HLS = CHECKOUT / "hls"
sys.path.insert(0, str(HLS / "checks"))

import mutate  # noqa: E402
import rtl_resources  # noqa: E402

MUTANTS = mutate.load_mutants(HLS / "checks/mutants_rtl.toml")
# Not of the array itself: delays, constraints, checks, and modules that only connect others.
CONNECTING = {"mac_delay", "mac_constraints", "mac_contract", "mac_row"}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_its_file(mutant):
    text = (HLS / mutant.file).read_text(encoding="utf-8")
    assert mutate.mutated(mutant, HLS) != text and mutant.file.startswith("rtl/")


def test_there_are_enough_in_all_parts():
    assert len(MUTANTS) >= 20
    touched = {mutant.file.removeprefix("rtl/").removesuffix(".v") for mutant in MUTANTS}
    assert {path.stem for path in (HLS / "rtl").glob("*.v")} - touched <= CONNECTING


def test_a_part_is_synthesised():
    """The LUT half's product: adders of 15 and 13 bits, and what Yosys puts beside them."""
    if find_spec("pyosys") is None:
        pytest.skip("pyosys is not installed: pip install 'e2train[rtl]'")
    cells = rtl_resources.synthesise("mac_slice_cell")
    luts = sum(number for cell, number in cells.items() if cell.startswith("LUT"))
    assert 28 <= luts <= 45 and cells["CARRY4"] == 8
    assert rtl_resources.row("x", {"LUT6": 2, "RAM32M": 3, "FDRE": 5, "DSP48E1": 1}, 2).split() == [
        *("x", "28", "10", "2", "0")
    ]


def test_lint_finds_nothing():
    script = HLS / "checks/lint_rtl.py"
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    if "pip install" in done.stderr:
        pytest.skip(done.stderr)
    assert (done.returncode, done.stdout) == (0, "")
