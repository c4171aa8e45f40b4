# SPDX-License-Identifier: Apache-2.0
"""Boards as data: each file is right; a mistake in one is a line that names file and key."""

import pytest

from e2train import cli
from e2train.board.boards import FOLDER, board_names, load_board, read_board
from e2train.cost.energy import EnergyModel
from e2train.device.accelerator import generated as hw
from e2train.errors import UserError

ZEDBOARD = (FOLDER / "zedboard.toml").read_text(encoding="utf-8")


def test_the_boards_are_there():
    assert board_names() == ["pynq-z1", "pynq-z2", "zedboard"]
    boards = {name: load_board(name) for name in board_names()}
    assert boards["zedboard"].part == hw.TARGET_PART == "xc7z020clg484-1"
    assert {boards[name].part for name in ("pynq-z1", "pynq-z2")} == {"xc7z020clg400-1"}
    for board in boards.values():
        assert board.memory.most == (512 - 100 - 16) << 20
        assert board.memory.room == (128 - 16) << 20


def test_the_energy_model_is_the_zedboards():
    assert EnergyModel.load().table.board.idle_w == load_board("zedboard").power.idle_w


@pytest.mark.parametrize(
    "old, new, says",
    [
        ("xc7z020clg484-1", "xc7z010clg400-1", "part: xc7z010clg400-1 given, expected the die"),
        ("xc7z020clg484-1", "xc7z020clg484-3", "part: xc7z020clg484-3 given, expected the die"),
        ("clock_mhz = 100", "clock_mhz = 101", "fabric.clock_mhz: 101 given, expected 1 to 100"),
        ("clock_mhz = 100", 'clock_mhz = "fast"', "fabric.clock_mhz = 'fast': expected int"),
        ("0x43C0_0000", "0x43C0_0100", "fabric.control_base: 0x43c00100 given, expected a multip"),
        ("0x43C0_0000", "0x8000_0000", "fabric.control_base: 0x80000000 given"),
        ("pool_mib = 128", "pool_mib = 413", "memory.pool_mib: 413 given, expected 17 to 412"),
        ("ddr_bus_bits = 32", "ddr_bus_bits = 64", "ps7.ddr_bus_bits: 64 given, expected 16 or 32"),
        ("idle_w = 2.6", "", "power.idle_w: idle_w and idle_source belong together"),
        ("crystal_mhz =", "crystal =", "unknown key 'ps7.crystal'"),
        ("ddr_mib = 512\n", "", "missing key memory.ddr_mib"),
        ('"digilentinc.com:zedboard:part0:1.1"', "1", "vivado.board_parts = [1, "),
        ("[image]", "[image", "not TOML"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_it(tmp_path, old, new, says):
    assert old in ZEDBOARD
    path = tmp_path / "mine.toml"
    path.write_text(ZEDBOARD.replace(old, new, 1), encoding="utf-8")
    with pytest.raises(UserError) as raised:
        read_board(path)
    assert str(raised.value).startswith(f"{path}: ") and says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_list_names_every_board(capsys):
    assert cli.run(["board", "list"]) == 0
    printed = capsys.readouterr().out
    for name in board_names():
        (line,) = [line for line in printed.splitlines() if f" {name} " in line]
        assert load_board(name).part in line and load_board(name).title in line


def test_a_board_is_shown_whole(capsys):
    assert cli.run(["board", "show", "pynq-z2"]) == 0
    printed = capsys.readouterr().out
    assert "tul.com.tw:pynq-z2:part0:1.0" in printed and "0x43c00000" in printed
    assert "unknown" in [
        line.split("│")[2].strip() for line in printed.splitlines() if "idle_w" in line
    ]


def test_an_unknown_board_is_one_line(capsys):
    assert cli.run(["board", "show", "zybo"]) == 2
    error = capsys.readouterr().err
    assert error == "e2train: unknown board 'zybo': expected one of pynq-z1, pynq-z2, zedboard\n"
