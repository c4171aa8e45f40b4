# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a board: one line each, that says what, where and what is suspected."""

import time
from dataclasses import replace

import numpy as np
import pytest
from board_parts import convolution

from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.driver import KernelError
from e2train.device.accelerator.launch import Launch
from e2train.device.accelerator.simulated.client import DECERR, SLVERR
from e2train.device.accelerator.simulated.handoff import CONTROL_BASE
from e2train.device.accelerator.zynq.diagnosis import hang, responses_text
from e2train.errors import UserError

MIB = 1 << 20


def refused(says, action):
    with pytest.raises(UserError, match=says) as raised:
        action()
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize(
    ("port", "write", "response", "says"),
    [
        (0, False, SLVERR, r"columns_port \(gmem0\) met SLVERR on a read: the memory controller"),
        (1, False, DECERR, r"rows_port \(gmem1\) met DECERR on a read: no memory answers"),
        (4, True, SLVERR, r"output_port \(gmem4\) met SLVERR on a write"),
        (4, True, DECERR, r"output_port \(gmem4\) met DECERR on a write"),
    ],
    ids=["columns", "rows", "output-slverr", "output-decerr"],
)
def test_a_response_error(board, port, write, response, says):
    expected = convolution(board)
    board.simulation.upset(port, write=write, response=response, skip=1)
    text = refused(says, lambda: convolution(board))
    assert text.startswith("zynq: convolve (samples 2, channels 3, height 5, width 6, filters 4")
    # the watch is clear again, and so is the device
    assert np.array_equal(convolution(board), expected)


def test_an_address_without_memory(board):
    """The kernel is told of memory that is not there, past the driver's checks."""
    transport = board.driver.transport
    stream = board.put(np.ones((1, 1, 1, 1), np.int16))
    board.narrow(stream, 1)
    transport.write_register(hw.OFFSETS["a_address"], 0x0800_0000)
    transport.start()
    refused(r"columns_port .* DECERR on a read: no memory answers", transport.wait)


def test_a_launch_that_the_kernel_refuses(board):
    """Its error register is read, past the driver's own checks."""
    with pytest.raises(KernelError, match=r"^pool: the accelerator reports error 2 \(geometry\)$"):
        board.driver.run(Launch("pool"))


def test_a_hang_names_registers_launch_and_cause(bench):
    with bench.open(seconds=1.0) as board:
        expected = convolution(board)
        bench.simulation.upset(0, write=False, skip=2)
        began = time.monotonic()
        text = refused("did not end within 1 s", lambda: convolution(board))
        assert 1.0 <= time.monotonic() - began < 30
        assert "convolve (samples 2" in text and "control 0x1," in text
        assert text.endswith("is every port at an HP interface that is enabled?")
    with bench.open() as board:  # loading the overlay again brings it back
        assert np.array_equal(convolution(board), expected)


def test_a_lost_interrupt(bench):
    with bench.open(seconds=1.0) as board:
        convolution(board)
        bench.simulation.write(CONTROL_BASE + hw.REGISTERS_GLOBAL_INTERRUPT, 0)
        text = refused("did not end within 1 s", lambda: convolution(board))
        assert "the kernel is done, but its interrupt did not arrive" in text


@pytest.mark.parametrize(
    ("control", "status", "seen", "says"),
    [
        (0xFFFFFFFF, 0xFFFFFFFF, None, "the fabric has no clock"),
        (4, 0, 0, "the kernel is idle and was not started"),
        (1, 0, 1 << 13, "second_port (gmem3) met DECERR on a read"),
    ],
)
def test_other_causes(control, status, seen, says):
    registers = {"control": control, "interrupt status": status}
    assert says in str(hang("map", 2.0, registers, seen))


def test_every_bit_of_the_watch_has_words():
    for bit in range(20):
        text = responses_text(1 << bit)
        assert f"(gmem{bit // 4})" in text
        assert ("write" in text) == (bit % 4 >= 2) and ("DECERR" in text) == (bit % 2 == 1)


def test_an_interrupt_that_is_not_the_end_is_waited_past(board):
    """Another source of the line, or one left from before: the launch is not taken for done."""
    expected, line = convolution(board), board.driver.transport._interrupt
    whole, early = line.wait, []

    def wait(seconds):
        if not early:
            early.append(True)
            return True
        return whole(seconds)

    line.wait = wait
    assert np.array_equal(convolution(board), expected) and early


def test_ctrl_c_lets_the_launch_end(board):
    expected, line = convolution(board), board.driver.transport._interrupt
    whole = line.wait

    def wait(seconds):
        line.wait = whole
        raise KeyboardInterrupt

    line.wait = wait
    with pytest.raises(KeyboardInterrupt):
        convolution(board)
    control = board.simulation.read(CONTROL_BASE)
    assert control & 4, "the kernel is idle: nothing writes to memory that is given back"
    assert np.array_equal(convolution(board), expected)


def test_a_second_one_is_refused(bench):
    with bench.open():
        refused("another process uses the accelerator", bench.open)
    bench.open().close()


def test_too_little_contiguous_memory(bench):
    text = refused("of contiguous memory", lambda: bench.open(memory_bytes=512 * MIB))
    assert text.startswith("512 MiB of contiguous memory are not to be had")
    assert "cma=256M" in text
    bench.open().close()  # what was taken until then has been given back


@pytest.mark.parametrize(
    ("name", "says"),
    [("ABI_VERSION", "its ABI version is 1, this program's is 2: build the overlay"),
     ("CONFIGURATION_HASH", "its configuration hash is .*, this program's is")],
)  # fmt: skip
def test_an_overlay_of_another_configuration(bench, monkeypatch, name, says):
    monkeypatch.setattr(hw, name, getattr(hw, name) + 1)
    refused(says, bench.open)


def test_a_kernel_of_another_abi_is_not_started_twice(bench, monkeypatch):
    """Its registers may mean something else: a version that is known already is enough."""
    place = replace(bench.place)
    with bench.open() as board:
        convolution(board)
        board.driver.transport._cleanup.close()  # the lock
        monkeypatch.setattr(hw, "ABI_VERSION", 2)
        monkeypatch.setattr(bench.simulation, "reset", lambda: None)
        bench.board.accesses.clear()
        refused("ABI version is 1", lambda: bench.open(place=place))
        assert ("write", CONTROL_BASE + hw.REGISTERS_CONTROL, 1) not in bench.board.accesses


def test_no_interrupt_device(bench):
    place = replace(bench.place, find_uio=lambda number: None)
    refused("interrupt 61 has no UIO device", lambda: bench.open(place=place))
    place = replace(bench.place, find_uio=lambda number: "/nowhere/uio0")
    refused("/nowhere/uio0: the interrupt cannot be used", lambda: bench.open(place=place))


def test_a_simulator_that_dies_is_a_line():
    from e2train.device.accelerator.simulated.open import Workbench

    own = Workbench(MIB)
    try:
        board = own.open()
        own.simulation._process.kill()
        own.simulation._process.wait()
        refused("the simulated board has ended", lambda: convolution(board))
    finally:
        own.close()
