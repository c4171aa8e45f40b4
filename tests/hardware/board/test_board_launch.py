# SPDX-License-Identifier: Apache-2.0
"""A launch through pynq: which registers in which order, which bytes of the cache, which bursts."""

import numpy as np
from board_parts import CALM, GEOMETRY, ROUGH, convolution

from e2train.device import open_device
from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.simulated.board import DDR_BASE
from e2train.device.accelerator.simulated.handoff import CONTROL_BASE, WATCH_BASE
from e2train.device.selftest import run_selftest


def expected_convolution():
    with open_device("emulator", backend="numpy") as emulator:
        return convolution(emulator)


def test_the_accesses_of_a_launch_in_order(board, monkeypatch):
    x = board.put(np.ones((2, 3, 5, 6), np.int8))
    w = np.ones((4, 3, 3, 3), np.int8)
    kept = board.convolve(x, w, GEOMETRY, 5)
    transport, synced = board.driver.transport, []
    for name in ("flush", "invalidate"):
        whole = getattr(transport, f"_{name}")

        def recorded(offset, size, name=name, whole=whole):
            synced.append((name, DDR_BASE + offset, size))
            whole(offset, size)

        monkeypatch.setattr(transport, f"_{name}", recorded)
    accesses = board.board.accesses
    accesses.clear()
    y = board.convolve(x, w, GEOMETRY, 5).y
    told = dict.fromkeys(hw.OFFSETS, 0)
    for kind, address, value in accesses:
        if kind == "write" and address - CONTROL_BASE in hw.OFFSETS.values():
            told[next(n for n, at in hw.OFFSETS.items() if at == address - CONTROL_BASE)] = value
    assert told["operation"] == hw.OPERATIONS_CONVOLVE and told["shift"] == 5
    assert told["a_address"] == x.block.address and told["out_address"] == y.block.address
    arguments = [("write", CONTROL_BASE + at, told[name]) for name, at in hw.OFFSETS.items()]
    assert accesses == [
        *arguments,
        ("write", CONTROL_BASE + hw.REGISTERS_CONTROL, 1),
        # the interrupt came: take the line down, see that it was the end, look at the bus
        ("read", CONTROL_BASE + hw.REGISTERS_INTERRUPT_STATUS, 1),
        ("write", CONTROL_BASE + hw.REGISTERS_INTERRUPT_STATUS, 1),
        ("read", CONTROL_BASE + hw.REGISTERS_CONTROL, 0b1110),
        ("read", WATCH_BASE, 0),
        ("read", CONTROL_BASE + hw.REGISTERS_ERROR, hw.ERRORS_OK),
    ]
    # weights went to memory (27 words of 16 bytes: 432, in whole lines of 64), the result block
    # came back (16 + 2*4 sums); x and y stayed where they are
    assert synced == [
        ("flush", told["rows_address"], 448),
        ("invalidate", told["result_address"], 192),
    ]
    del kept


def test_opening_asks_the_kernel_what_it_is(bench):
    with bench.open():
        accesses = list(bench.board.accesses)
    assert accesses[0] == ("read", WATCH_BASE + 4, 0x45325731)
    version = ("read", CONTROL_BASE + hw.REGISTERS_ABI_VERSION)
    found = [value for kind, address, value in accesses if (kind, address) == version]
    assert found == [0, hw.ABI_VERSION]  # before the launch that is refused, and after it
    started = accesses.index(("write", CONTROL_BASE, 1))
    assert ("write", CONTROL_BASE + hw.OFFSETS["operation"], 0) in accesses[:started]
    assert accesses[started - 1] == ("write", CONTROL_BASE + hw.OFFSETS["result_address"], 0)
    # closing leaves no interrupt behind
    ended = bench.board.accesses[-2:]
    assert ended == [
        ("write", CONTROL_BASE + hw.REGISTERS_INTERRUPT_ENABLE, 0),
        ("write", CONTROL_BASE + hw.REGISTERS_GLOBAL_INTERRUPT, 0),
    ]


def test_the_kernels_beats_are_the_buses(board):
    """Operand for operand: what the kernel counts is what went over its ports."""
    expected, took = expected_convolution(), []
    for memory in (CALM, ROUGH):
        board.simulation.configure(**memory)
        before, cycles = board.simulation.counters(), board.simulation.cycles()
        board.driver.totals.clear()
        assert np.array_equal(convolution(board), expected)
        after = board.simulation.counters()
        took.append(board.simulation.cycles() - cycles)
        totals = board.driver.totals["convolve"]
        read = np.subtract(after["beats_read"], before["beats_read"])
        written = np.subtract(after["beats_written"], before["beats_written"])
        counted = [totals[f"{port}_beats"] for port in ("column", "row", "extra")]
        assert list(read) == [*counted, 0, 0] and counted[0] > 0 < counted[1]
        assert list(written) == [0, 0, 0, 0, totals["output_beats"]]
        bursts = np.subtract(after["read_bursts"], before["read_bursts"])
        assert bursts[1] <= -(-read[1] // 16) + 1, "weights come in long bursts"
        assert after["violations"] == [0]
    assert took[1] > 1.3 * took[0] > read.sum() / 5


def test_operations_are_exact_under_stalls(board):
    """Every fourth case of the self-test: each operation at each extreme of its operands."""
    board.simulation.configure(**ROUGH)
    checks = []
    for check in run_selftest(board):
        checks.append(check)
        if len(checks) == 32:  # of the first two geometries
            break
    assert {check.operation for check in checks} >= {"conv_forward", "psg_backward_weight"}
    assert [check for check in checks if check.wrong] == []
    assert board.simulation.counters()["violations"] == [0]


def test_what_is_not_flushed_does_not_reach_the_fabric(board):
    """The model of the cache itself: without the driver's flush the kernel reads what was there."""
    block = board.driver.memory.block(64)
    transport = board.driver.transport
    start = block.address - transport.base
    board.simulation.memory[start : start + 64] = 7
    transport.memory[start : start + 64] = 9
    assert board.simulation.memory[start] == 7
    transport.flush(block.address, 64)
    assert board.simulation.memory[start] == 9
    board.simulation.memory[start : start + 64] = 5
    assert transport.memory[start] == 9
    transport.invalidate(block.address, 64)
    assert transport.memory[start] == 5
