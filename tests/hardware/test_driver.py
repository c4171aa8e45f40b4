# SPDX-License-Identifier: Apache-2.0
"""What the driver writes, in which order, and what it refuses before it writes anything."""

import gc

import numpy as np
import pytest

from e2train.device import Geometry
from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.device import KernelDevice
from e2train.device.accelerator.driver import Driver, KernelError
from e2train.device.accelerator.launch import Launch
from e2train.device.accelerator.limits import Buffer, LaunchRefused, check_buffers
from e2train.device.accelerator.memory import MemoryBlock
from e2train.errors import UserError
from fake_transport import FakeTransport

BASE = 0x1000_0000
GEOMETRY = Geometry(3, 5, 6, 4, (3, 3), 1, 1, 1)


def opened(**options):
    transport = FakeTransport(**options)
    return transport, KernelDevice(transport)


def test_the_registers_of_a_convolution_in_order():
    transport, device = opened()
    x = device.put(np.ones((2, 3, 5, 6), np.int8))
    transport.log.clear()
    device.convolve(x, np.ones((4, 3, 3, 3), np.int8), GEOMETRY, 5)
    log = transport.log
    # x: 3*5*6 words of 16 bytes; weights: 3*3*3 words; y: 4*5*6 words of 32; 16 + 2*4 sums
    weights, y, result = BASE + 1472, BASE + 1920, BASE + 1920 + 3840
    tiles = [
        transport.registers[hw.OFFSETS[f"tile_{name}"]] for name in ("outer", "inner", "h", "w")
    ]
    expected = [
        0,
        0,
        0,
        0,
        0,
        1,
        0,
        2,
        3,
        5,
        6,
        4,
        5,
        6,
        3,
        3,
        1,
        1,
        0,
        *tiles,
        0,
        0,
        5,
        0,
        0,
        0,
        0,
        0,
    ]
    expected += [BASE, 0, weights, 0, 0, 0, y, 0, result]
    assert tiles[0] == 16 and tiles[1] == 3 and 1 <= tiles[2] <= 5 and 1 <= tiles[3] <= 6
    writes = [("write", 0x38 + 8 * i, value) for i, value in enumerate(expected)]
    assert log[0] == ("flush", weights, 432)
    assert log[1:] == [
        *writes,
        ("start",),
        ("wait",),
        ("read", 0x10),
        ("invalidate", result, (16 + 8) * 8),
    ]


def test_negative_and_optional_registers():
    transport, device = opened()
    g = device.put(np.ones((2, 4, 5, 6), np.int16))
    stream = device.put(np.ones((2, 3, 5, 6), np.int16))
    output = device.put(np.ones((2, 3, 5, 6), np.int8))
    w = np.ones((4, 3, 3, 3), np.int8)
    device.input_gradient(g, w, GEOMETRY, -3, output=output, ceiling=0, residual=stream, g_bits=8)
    told = {name: transport.registers[offset] for name, offset in hw.OFFSETS.items()}
    assert told["operation"] == 2 and told["shift"] == 2**32 - 3
    assert told["options"] == 1 << 2 | 1 << 3 | 1 << 7  # residual, mask8, narrow_gradient
    assert told["count"] == 1  # a ceiling of 0 lets as little through as one of 1
    assert told["mask_address"] == output.block.address
    assert told["residual_address"] == stream.block.address
    device.shortcut_pad_backward(device.put(np.ones((1, 7, 2, 2), np.int16)), 2, 2, 3, 4)
    assert transport.registers[hw.OFFSETS["inner_begin"]] == 2**32 - 2
    assert transport.registers[hw.OFFSETS["mask_address"]] == 0  # nothing of the last launch


def test_a_long_reduction_is_carried_through_several_launches():
    geometry = Geometry(2048, 1, 1, 16, (7, 7), 1, 3, 1)
    transport, device = opened()
    x = device.put(np.ones((1, 2048, 1, 1), np.int8))
    launches = []
    start = transport.start
    transport.start = lambda: launches.append(dict(transport.registers)) or start()
    device.convolve(x, np.ones(geometry.weight_shape, np.int8), geometry, 0)
    assert len(launches) > 1
    told = [{name: one[offset] for name, offset in hw.OFFSETS.items()} for one in launches]
    ranges = [(one["inner_begin"], one["inner_begin"] + one["tile_inner"]) for one in told]
    assert ranges[0][0] == 0 and ranges[-1][1] == 2048
    raw, carry = 1 << hw.OPTIONS_RAW, 1 << hw.OPTIONS_CARRY
    for index, one in enumerate(told):
        first, last = index == 0, index == len(told) - 1
        assert one["options"] == (0 if first else carry) | (0 if last else raw)
        if not first:
            assert ranges[index][0] == ranges[index - 1][1]
            assert one["carry_address"] == told[index - 1]["out_address"]
            assert one["carry_address"] != one["out_address"]


@pytest.mark.parametrize("code", [*hw.ERRORS.values(), 99])
def test_error_codes(code):
    _, device = opened(error=code)
    stream = device.put(np.ones((1, 1, 1, 1), np.int16))
    if code == hw.ERRORS_OK:
        device.narrow(stream, 1)
        return
    name = {value: key for key, value in hw.ERRORS.items()}.get(code, "unknown")
    with pytest.raises(KernelError, match=rf"^map: .* error {code} \({name}\)$") as raised:
        device.narrow(stream, 1)
    assert raised.value.code == code


def test_buffers_return_when_tensors_die():
    _, device = opened()
    arena = device.driver.memory.arena
    for _ in range(3):
        x = device.put(np.ones((2, 3, 5, 6), np.int8))
        w = np.ones((4, 3, 3, 3), np.int8)
        y = device.convolve(x, w, GEOMETRY, 5).y
        assert arena.in_use == 1472 + 3840
        del x, y
        gc.collect()
        assert arena.in_use == 0


# ---- refusals -----------------------------------------------------------------------------------


def refused(device, transport, operation, says):
    transport.log.clear()
    with pytest.raises(LaunchRefused, match=says) as raised:
        operation()
    assert isinstance(raised.value, UserError) and isinstance(raised.value, ValueError)
    assert "\n" not in str(raised.value)
    kinds = {entry[0] for entry in transport.log}
    assert kinds <= {"flush"}, "nothing is told to the kernel"


def test_sizes_beyond_the_limits():
    transport, device = opened()
    cases = [
        ((4097, 1, 1, 1), "samples: 4097 given, the accelerator takes 4096"),
        ((1, 2049, 1, 1), "channels: 2049 given, the accelerator takes 2048"),
        ((1, 1, 4096, 1), "height: 4096 given, the accelerator takes 4095"),
        ((1, 1, 1, 4096), "width: 4096 given, the accelerator takes 4095"),
    ]
    for shape, says in cases:
        stream = device.put(np.zeros(shape, np.int16))
        refused(device, transport, lambda stream=stream: device.narrow(stream, 1), says)
        refused(device, transport, lambda stream=stream: device.pool(stream), says)


def test_geometry_that_fits_no_tile():
    transport, device = opened()
    geometry = Geometry(2048, 3, 3, 2, (7, 7), 1, 6, 1)
    x = device.put(np.zeros((1, 2048, 3, 3), np.int8))
    g = device.put(np.zeros((1, 2, 9, 9), np.int16))
    says = r"there are \d+"
    refused(device, transport, lambda: device.psg_gradient(x, g, geometry, 1, 4, 10), says)


def test_memory_that_is_full():
    transport, device = opened(size=1 << 16)
    says = r"device memory: \d+ bytes wanted, but \d+ of 65536 are in use"
    with pytest.raises(UserError, match=says):
        device.put(np.zeros((1, 64, 32, 32), np.int16))
    stream = device.put(np.zeros((16, 10, 10, 10), np.int16))
    refused(device, transport, lambda: device.add(stream, stream), says)


@pytest.mark.parametrize(
    ("buffers", "says"),
    [
        ([("a_address", 0, 8, False)], "a_address: 0x00000000 is null"),
        ([("a_address", BASE + 32, 8, False)], "a_address: 0x10000020 is not aligned to 64"),
        ([("out_address", BASE - 64, 8, True)], "exceed the device's memory 0x10000000"),
        ([("out_address", BASE + 4032, 65, True)], "exceed the device's memory"),
        (
            [("a_address", BASE + 64, 65, False), ("out_address", BASE + 128, 8, True)],
            "out_address: 0x10000080 overlaps a_address, which ends at 0x10000081",
        ),
        (
            [("b_address", BASE + 64, 8, True), ("a_address", BASE, 4096, False)],
            "b_address: 0x10000040 overlaps a_address",
        ),
        (
            [
                ("a_address", BASE, 1024, False),
                ("b_address", BASE + 64, 8, False),
                ("out_address", BASE + 512, 8, True),
            ],
            "out_address: 0x10000200 overlaps a_address",
        ),
    ],
)
def test_bad_buffers(buffers, says):
    with pytest.raises(LaunchRefused, match=says):
        check_buffers([Buffer(*buffer) for buffer in buffers], BASE, 4096)


def test_good_buffers():
    shared = [("a_address", BASE, 128, False), ("b_address", BASE + 64, 64, False)]
    touching = [("out_address", BASE + 128, 64, True), ("mask_address", BASE + 192, 1, False)]
    check_buffers([Buffer(*buffer) for buffer in (*shared, *touching)], BASE, 4096)


def test_a_driver_refuses_before_it_starts():
    transport = FakeTransport()
    driver = Driver(transport)
    launch = Launch("pool")
    block = MemoryBlock(driver.memory.arena, 64)
    launch.read("a_address", block, 64)
    launch.write("out_address", block, 64)
    with pytest.raises(LaunchRefused, match="overlaps"):
        driver.run(launch)
    with pytest.raises(LaunchRefused, match="65 bytes used of a buffer of 64"):
        launch.read("b_address", block, 65)
    assert transport.log == []


def test_tensors_of_the_wrong_kind():
    transport, device = opened()
    wide = device.put(np.zeros((1, 3, 5, 6), np.int16))
    w = np.zeros((4, 3, 3, 3), np.int8)
    with pytest.raises(ValueError, match=r"^x: int16 \(1, 3, 5, 6\) given, expected int8"):
        device.convolve(wide, w, GEOMETRY, 1)
    with pytest.raises(ValueError, match=r"^g: .* expected int16 \(1, 4, 5, 6\)"):
        device.input_gradient(wide, w, GEOMETRY, 1)
    with pytest.raises(ValueError, match=r"^g_bits: 5 given, the accelerator takes 8 or 16"):
        device.input_gradient(wide, w, GEOMETRY, 1, g_bits=5)
    assert ("start",) not in transport.log
