# SPDX-License-Identifier: Apache-2.0
"""The checks of the Verilog that are run by hand: mutations and the table of resources."""

import dataclasses
import subprocess
import sys
from importlib.util import find_spec

import pytest

from e2train.device.accelerator.config import CHECKOUT

HLS = CHECKOUT / "hls"
sys.path.insert(0, str(HLS / "checks"))

import mutate_rtl  # noqa: E402
import rtl_resources  # noqa: E402

MUTANTS = mutate_rtl.load_rtl_mutants()
# Delays, constraints, checks, and modules that only connect others.
CONNECTING = {"mac_delay", "mac_constraints", "mac_contract", "mac_row"}


def test_all_faults_fit_one_copy_of_the_verilog():
    """Verilator takes it, and where no fault is chosen nothing else than the port is new."""
    texts = mutate_rtl.seeded(MUTANTS)
    for number, mutant in enumerate(MUTANTS, 1):
        assert mutant.what and len(mutant.what) < 100
        choice = f"mac_core.mutant == 8'd{number} ? {mutant.new} : "
        assert texts[mutant.file].count(choice) == 1
        texts[mutant.file] = texts[mutant.file].replace(choice, "")
    for file, text in texts.items():
        original = (HLS / file).read_text(encoding="utf-8")
        for mutant in (one for one in MUTANTS if one.file == file):
            text = text.replace(mutant.at.replace("@", f"({mutant.old})"), mutant.found)
        assert text == original


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"old": "not there"}, "has its text 0 times, not once"),
        ({"file": "rtl/mac_flags.v", "old": "advance"}, "times, not once"),
    ],
)
def test_a_fault_without_its_place_is_refused(changes, says):
    with pytest.raises(mutate_rtl.Unusable, match=says):
        mutate_rtl.seeded([dataclasses.replace(MUTANTS[0], **changes)])


def test_there_are_enough_in_all_parts():
    assert len(MUTANTS) >= 20
    touched = {mutant.file.removeprefix("rtl/").removesuffix(".v") for mutant in MUTANTS}
    assert {path.stem for path in (HLS / "rtl").glob("mac_*.v")} - touched <= CONNECTING


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
