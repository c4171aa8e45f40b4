# SPDX-License-Identifier: Apache-2.0
"""The mutation check: its list fits the sources, and it tells caught faults from others.

`make mutate` runs the list itself; here a copying accelerator stands for the real one.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from test_testbench import COPY, copied

HLS = Path(__file__).resolve().parents[2] / "hls"
sys.path.insert(0, str(HLS / "checks"))

pytest.importorskip("hls4ml", reason="hls4ml is not installed: its wheel carries ap_int.h")

import mutate  # noqa: E402
from sources import ap_types  # noqa: E402

MUTANTS = mutate.load_mutants()
LEAST = 25


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_mutant_changes_its_file(mutant):
    text = (HLS / mutant.file).read_text(encoding="utf-8")
    assert mutate.mutated(mutant, HLS) != text
    assert mutant.what and len(mutant.what) < 100


def test_there_are_enough_in_all_parts():
    assert len(MUTANTS) >= LEAST
    sources = {path.stem.split("_")[0] for path in (HLS / "src").glob("*.cpp")}
    touched = {Path(mutant.file).stem.split("_")[0] for mutant in MUTANTS}
    assert sources - touched <= {"accelerator"}  # it only hands on


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder like hls/ whose accelerator copies bytes, built, and vectors that it passes."""
    root = tmp_path_factory.mktemp("mutation")
    for part in ("tb", "include"):
        shutil.copytree(HLS / part, root / "hls" / part)
    shutil.copy2(HLS / "Makefile", root / "hls")
    (root / "hls/src").mkdir()
    (root / "hls/src/copy.cpp").write_text(COPY, encoding="utf-8")
    (root / "vectors").mkdir()
    array = np.arange(-3, 9, dtype=np.int16)
    (root / "vectors/copy.e2gv").write_bytes(copied(array))
    target = "../build/mutant/bench"
    command = ["make", "-C", root / "hls", target, "BUILD=../build", f"AP_TYPES={ap_types()}"]
    subprocess.run(command, check=True, capture_output=True)
    return root


def outcome(folder, old, new, file="src/copy.cpp"):
    mutant = mutate.Mutant("sample", file, old, new, "a fault")
    (found,) = mutate.check([mutant], folder / "hls", folder / "build", folder / "vectors")
    return found


def test_a_wrong_integer_is_caught_and_the_vector_named(folder, capsys):
    found = outcome(folder, "COUNT / 4])", "COUNT / 4] - 1)")
    assert found.verdict == mutate.CAUGHT
    assert found.detail.startswith("by copy.e2gv: launch 1 (convolve): out[11]: expected 8")
    assert "caught   sample: a fault (src/copy.cpp)" in capsys.readouterr().out


def test_a_fault_in_a_header_reaches_what_includes_it(folder):
    define = "constexpr int REGISTERS_COUNT = "
    header = "include/e2train/generated/hardware.hpp"
    found = outcome(folder, define, f"{define}8 + ", header)
    assert found.verdict == mutate.CAUGHT and "out[0]: expected -3" in found.detail


def test_a_change_that_no_vector_sees_survives(folder):
    found = outcome(folder, "std::memcpy", "std::memmove")
    assert found.verdict == mutate.SURVIVED


def test_a_crash_is_caught(folder):
    found = outcome(folder, "return registers", "__builtin_trap(); return registers")
    assert found.verdict == mutate.CAUGHT and "signal" in found.detail


def test_a_fault_that_never_ends_is_caught(folder, monkeypatch):
    monkeypatch.setattr(mutate, "LEAST_SECONDS", 1.0)
    found = outcome(folder, "return registers", "while (registers[0] == 0) {} return registers")
    assert found.verdict == mutate.CAUGHT and "did not end within" in found.detail


@pytest.mark.parametrize(
    "old, new, text",
    [
        ("std::memcpy", "std::memcopy", "does not build: "),
        ("not there", "x", "src/copy.cpp has its text 0 times"),
        ("registers[", "registers [", "has its text 4 times"),
    ],
)
def test_a_fault_that_cannot_be_seeded_is_told_apart(folder, old, new, text):
    found = outcome(folder, old, new)
    assert found.verdict == mutate.BROKEN and text in found.detail


def test_a_file_that_is_not_there(folder):
    mutant = mutate.Mutant("sample", "src/none.cpp", "a", "b", "a fault")
    (found,) = mutate.check([mutant], folder / "hls", folder / "build", folder / "vectors")
    assert found.verdict == mutate.BROKEN and "src/none.cpp has its text 0 times" in found.detail


def test_sources_that_fail_by_themselves_are_no_measure(folder, tmp_path):
    array = np.arange(4, dtype=np.int16)
    (tmp_path / "wrong.e2gv").write_bytes(copied(array, array + 1))
    with pytest.raises(mutate.Unusable, match="without any fault the sources fail: by wrong"):
        mutate.check([], folder / "hls", folder / "build", tmp_path)
    with pytest.raises(mutate.Unusable, match="no golden vectors"):
        mutate.check([], folder / "hls", folder / "build", tmp_path / "none")


@pytest.mark.parametrize("extra", ['colour = "red"', 'name = "other"\n[[mutant]]\nname = "other"'])
def test_a_list_with_mistakes_is_refused(tmp_path, extra):
    path = tmp_path / "mutants.toml"
    rest = 'file = "f"\nold = "a"\nnew = "b"\nwhat = "w"\n'
    path.write_text(f"[[mutant]]\n{extra}\n{rest}", encoding="utf-8")
    with pytest.raises(mutate.Unusable):
        mutate.load_mutants(path)


def test_the_verdict_is_the_exit_status(folder, monkeypatch, capsys):
    monkeypatch.setattr(mutate, "HLS", folder / "hls")
    survivor = mutate.Mutant("kept", "src/copy.cpp", "std::memcpy", "std::memmove", "nothing")
    caught = mutate.Mutant("found", "src/copy.cpp", "COUNT / 4])", "COUNT / 4] - 2)", "too few")
    arguments = ["--build", str(folder / "build"), "--vectors", str(folder / "vectors")]
    for mutants, status in (([caught], 0), ([caught, survivor], 1)):
        monkeypatch.setattr(mutate, "load_mutants", lambda given=mutants: given)
        assert mutate.main(arguments) == status
    assert capsys.readouterr().out.splitlines()[-1] == "mutate: 1 of 2 mutants caught"
    assert mutate.main([*arguments, "found"]) == 0
