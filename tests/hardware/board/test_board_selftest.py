# SPDX-License-Identifier: Apache-2.0
"""`e2train board selftest`: a line a finding on a sound board, and where to look on another."""

from contextlib import nullcontext

import numpy as np
import pytest
from board_parts import ROUGH

from e2train import cli, device
from e2train.board.selftest import CYCLES_OVER, Line, _judged, run_board_selftest

NAMES = [
    "memory round trip",
    "forward pass",
    "backward pass to the input",
    "backward pass to the weights",
    "PSG's two phases",
    "vector unit",
    "training step",
    "smallest launch",
    "bandwidth",
    "convolution 16 to 16, 32x32",
]


def test_a_sound_board(board, monkeypatch, capsys):
    board.simulation.configure(**ROUGH)
    monkeypatch.setattr(device, "open_device", lambda name, overlay: nullcontext(board))
    command = ["board", "selftest", "--device", "simulated-board", "--quick"]
    assert cli.run(command) == 0
    first, *lines = capsys.readouterr().out.splitlines()
    assert first.startswith("zynq (simulated-board.bit): files, configuration hash")
    assert [line[7:].partition(":")[0] for line in lines] == NAMES
    assert [line[:7] for line in lines] == ["ok     "] * 7 + ["       "] * 3


@pytest.mark.parametrize(
    ("name", "spoiled"),
    [
        ("convolve", "training step"),
        ("pool", "vector unit"),
        ("take", "memory round trip"),
        ("_forward", "forward pass"),
    ],
)
def test_a_fault_is_told_with_where_to_look(board, monkeypatch, name, spoiled):
    whole = getattr(board, name)

    def wrong(*words, **more):
        found = whole(*words, **more)
        if name == "take":
            return board.put(board.get(found) ^ np.int8(1))
        return found._replace(total=found.total + 1) if name == "convolve" else found + 1

    monkeypatch.setattr(board, name, wrong)
    for line in run_board_selftest(board, board.simulation.cycles, judged=False, quick=True):
        assert line.right is not (line.name == spoiled), line
        if line.name == spoiled:
            assert "differ" in line.found or "wrong: pool" in line.found
            assert line.look
            return
    pytest.fail(f"no line {spoiled}")


def test_speed_is_judged_by_the_model():
    assert _judged("bandwidth", 100, 100 / CYCLES_OVER, True, "").right is True
    slow = _judged("bandwidth", 101, 100 / CYCLES_OVER, True, "9 MB/s, ")
    assert isinstance(slow, Line) and slow.right is False and "HP ports" in slow.look
    assert slow.found == "9 MB/s, 101 cycles, the model says 50"


def test_another_device_is_refused(capsys):
    assert cli.run(["board", "selftest", "--device", "csim"]) == 2
    assert "expected zynq or simulated-board" in capsys.readouterr().err
