# SPDX-License-Identifier: Apache-2.0
"""The list of faults that `make faults` seeds fits the sources; the command itself runs it."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "hls/checks"))

import faults  # noqa: E402
import mutate  # noqa: E402

LISTED = mutate.load_mutants(faults.LIST)
LEAST = 30


@pytest.mark.parametrize("fault", LISTED, ids=lambda fault: fault.name)
def test_a_fault_changes_its_file(fault):
    assert mutate.mutated(fault, ROOT) != (ROOT / fault.file).read_text(encoding="utf-8")
    assert fault.what and len(fault.what) < 100


def test_there_are_enough_on_both_sides():
    assert len(LISTED) >= LEAST
    shell = [fault for fault in LISTED if fault.file.startswith("hls/")]
    assert len(shell) >= 10 and len(LISTED) - len(shell) >= 15


@pytest.mark.parametrize(
    ("body", "verdict", "detail"),
    [
        ("assert True", mutate.SURVIVED, "every test passes"),
        ("assert False", mutate.CAUGHT, "by test_one"),
        ("import pytest; pytest.skip()", mutate.BROKEN, "are skipped here"),
    ],
)
def test_verdicts(tmp_path, body, verdict, detail):
    folder = tmp_path / "tests/hardware/board"
    folder.mkdir(parents=True)
    (tmp_path / "pyproject.toml").write_text('[tool.pytest.ini_options]\naddopts = "-rfEs"\n')
    for name in faults.TESTS:
        (folder / f"test_board_{name}.py").write_text(f"def test_one():\n    {body}\n")
    found = faults.run_tests(tmp_path)
    assert found[0] == verdict and detail in found[1]
