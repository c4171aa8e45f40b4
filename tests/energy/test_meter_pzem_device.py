# SPDX-License-Identifier: Apache-2.0
"""The simulated PZEM modules against the manual's frames, another Modbus master and the truth."""

import json

import minimalmodbus
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.errors import SimulatorError
from powermeter.events import Sample
from powermeter.meters.pzem.models import PZEM_004T, PZEM_017
from powermeter.meters.pzem.simulator import REFUSE, PzemDevice
from powermeter.simulation.device import CLOCK_JUMP, REBOOT
from powermeter.simulation.pty import RealtimePty

READ_10 = bytes.fromhex("01 04 00 00 00 0A 70 0D")
RESET = bytes.fromhex("01 42 80 11")
ERROR_READ = bytes.fromhex("01 84 02 C2 C1")

segments = st.lists(
    st.tuples(st.floats(0, 5, allow_subnormal=False), st.floats(0, 500)), min_size=1, max_size=20
)


def prompt(model=PZEM_004T, seed=0, **options):
    """A module that takes no time to answer."""
    return PzemDevice(model, seed, reply_s=0.0, **options)


def power_w(device, count=10):
    request = READ_10 if count == 10 else bytes.fromhex("01 04 00 00 00 08 F1 CC")
    at = 9 if count == 10 else 7
    reply = device.command(request)
    low, high = reply[at : at + 2], reply[at + 2 : at + 4]
    return (int.from_bytes(low, "big") + 65536 * int.from_bytes(high, "big")) / 10


def test_the_manuals_reading_comes_out_of_its_load():
    # 224.5 V, 24.2 W at a power factor of 1: 0.108 A; 6205 Wh were counted before.
    device = prompt(volts=224.5, power_factor=1.0, rate=0.0)
    device.gain = 0.0
    device.restore(device.state() | {"watt_hours": 6205.0})
    device.advance([(3.0, 24.2)])
    assert device.command(READ_10) == bytes.fromhex(
        "01 04 14 08 C5 00 6C 00 00 00 F2 00 00 18 3D 00 00 01 F4 00 64 00 00 53 8E"
    )


def test_reset_is_echoed_and_sets_energy_to_zero():
    device = prompt()
    device.advance([(20.0, 2000.0)])
    energy = slice(13, 17)
    assert device.command(READ_10)[energy] != bytes(4)
    assert device.command(RESET) == RESET
    assert device.command(READ_10)[energy] == bytes(4)


def test_refusals_are_the_manuals_error_frames():
    eleven = bytes.fromhex("01 04 00 00 00 0B B1 CD")
    assert prompt().command(eleven) == ERROR_READ
    device = prompt()
    device.fault(REFUSE)
    assert device.command(READ_10)[:3] == bytes.fromhex("01 84 04")
    assert len(device.command(READ_10)) == 25


def test_a_function_that_it_lacks_is_refused():
    diagnostics = bytes.fromhex("01 08 00 00 12 34 ED 7C")
    assert prompt().command(diagnostics)[:3] == bytes.fromhex("01 88 01")


@pytest.mark.parametrize(
    "silent",
    [
        READ_10[:-1],
        READ_10[:-1] + b"\x00",
        bytes.fromhex("02 04 00 00 00 0A 70 3E"),  # for another module
        b"#V,R,0;",
    ],
)
def test_nothing_is_said_to_what_is_no_request_of_its_own(silent):
    device = prompt()
    assert device.command(silent) == b""
    device.advance([(1.0, 1.0)])
    assert len(device.command(READ_10)) == 25


def test_a_request_in_pieces_is_one_and_silence_ends_one():
    device = prompt()
    assert device.command(READ_10[:3]) == b""
    assert len(device.command(READ_10[3:])) == 25
    device.command(READ_10[:3])
    device.advance([(0.2, 5.0)])
    assert device.command(READ_10[3:]) == b""


def test_a_reply_takes_its_time():
    device = PzemDevice(reply_s=0.08)
    assert device.command(READ_10) == b""
    assert device.advance([(0.07, 5.0)]) == b""
    assert len(device.advance([(0.02, 5.0)])) == 25


def test_below_the_starting_power_it_reads_zero():
    device = prompt()
    device.advance([(3.0, 0.3)])
    assert power_w(device) == 0.0
    device.advance([(3.0, 0.5)])
    assert power_w(device) == 0.5


@given(segments, st.integers(0, 20))
def test_registers_hold_the_mean_of_its_own_last_second(trace, seed):
    device = prompt(seed=seed)
    first = device.state()["cycle"]["ends_s"]
    device.advance(trace)
    end = sum(duration for duration, _ in trace)
    edges = np.cumsum([0.0] + [duration for duration, _ in trace])
    joules = np.cumsum([0.0] + [duration * power for duration, power in trace])
    ended = int(np.floor((end - first) / device.period_s))
    if end < first:
        assert power_w(device) == 0.0
        return
    stop = first + ended * device.period_s
    start = max(0.0, stop - device.period_s) if ended else 0.0
    mean = np.diff(np.interp([start, stop], edges, joules))[0] / (stop - start)
    expected = mean if mean * (1 + device.gain) >= 0.4 else 0.0
    if abs(end - stop) > 1e-6 and abs(mean - 0.4) > 0.01:
        assert power_w(device) == pytest.approx(expected, abs=expected * 0.005 + 0.051)


@pytest.mark.parametrize("model", [PZEM_004T, PZEM_017], ids=["004t", "017"])
def test_the_stated_uncertainty_is_the_spread_of_the_instruments(model):
    errors = []
    for seed in range(300):
        device = prompt(model, seed)
        power = 30.0 + seed / 97  # so that the last digit takes all values
        device.advance([(3.0, power)])
        errors.append(power_w(device, model.registers) - power)
    stated = model.accuracy.power_uncertainty_w(Sample(0, 0.0, None, None, 31.5))
    assert 0.85 < np.std(errors) / stated < 1.15


def test_faults_that_it_can_have():
    device = prompt()
    device.advance([(3.0, 100.0)])
    assert device.fault(REBOOT) == b""
    assert device.command(READ_10) == b""
    device.advance([(1.6, 100.0)])
    assert power_w(device) == 0.0
    device.advance([(1.2, 100.0)])
    assert power_w(device) == pytest.approx(100.0, abs=0.6)
    with pytest.raises(SimulatorError, match="no fault 'clock-jump'"):
        device.fault(CLOCK_JUMP)


@given(segments, st.integers(0, 19), st.integers(0, 5))
def test_state_through_json_continues_with_identical_bytes(trace, cut, seed):
    def play(device, parts):
        return [device.advance([part]) + device.command(READ_10) for part in parts]

    straight, first, second = (PzemDevice(seed=seed) for _ in range(3))
    expected = play(straight, trace)
    head = play(first, trace[:cut])
    second.restore(json.loads(json.dumps(first.state())))
    assert head + play(second, trace[cut:]) == expected
    assert second.state() == straight.state()


def test_another_instruments_state_is_refused():
    with pytest.raises(SimulatorError, match="another instrument"):
        prompt(seed=1).restore(prompt(seed=2).state())
    with pytest.raises(SimulatorError, match="another instrument"):
        prompt(PZEM_017).restore(prompt(PZEM_004T).state())
    with pytest.raises(SimulatorError, match="another version"):
        prompt().restore(prompt().state() | {"future": 1})


def test_options_that_no_module_has_are_refused():
    with pytest.raises(SimulatorError, match="none of this module's"):
        PzemDevice(PZEM_017, range_a=10)


@given(st.lists(st.binary(max_size=40) | st.sampled_from([READ_10, RESET]), max_size=20))
def test_no_request_bytes_raise(chunks):
    device = prompt()
    for chunk in chunks:
        assert isinstance(device.command(chunk), bytes)


def test_another_master_reads_and_sets_it_over_a_pty():
    """minimalmodbus knows nothing of this project: its framing and CRC are its own."""
    device = PzemDevice(PZEM_017, 7, volts=12.0, range_a=50)
    line = RealtimePty(device, idle_w=24.0)
    try:
        master = minimalmodbus.Instrument(line.path, 1)
        master.serial.baudrate, master.serial.timeout = 9600, 1.0
        assert master.read_registers(0, 4, functioncode=3) == [30_000, 700, 1, 1]
        line.play([(60.0, 24.0)])
        registers = _wait_for_power(master)
        assert registers[0] == 1200
        assert registers[1] == pytest.approx(200, abs=3)
        assert registers[2] + 65536 * registers[3] == pytest.approx(240, abs=240 * 0.01 + 1)
        master.write_register(0, 1100, functioncode=6)
        assert master.read_register(0, functioncode=3) == 1100
        with pytest.raises(minimalmodbus.IllegalRequestError):
            master.read_registers(5, 4, functioncode=4)
    finally:
        line.close()


def _wait_for_power(master):
    for _ in range(20):
        registers = master.read_registers(0, 8, functioncode=4)
        if registers[2]:
            break
    return registers
