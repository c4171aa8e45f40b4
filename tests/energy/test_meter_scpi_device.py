# SPDX-License-Identifier: Apache-2.0
"""The simulated SCPI instruments by themselves: syntax, errors, registers, ranges, states."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.errors import SimulatorError
from powermeter.meters.scpi.protocol import parse_number
from powermeter.meters.scpi.simulator import SupplyDevice, header_pattern, nr3, units
from powermeter.meters.wt310.simulator import Wt310Device
from powermeter.simulation.device import CLOCK_JUMP, REBOOT, SKIP


def ask(device, message):
    return device.command(message.encode() + b"\r\n").decode()


def ready(device, update_s=0.25):
    for command in (
        ":COMM:HEAD OFF",
        f":RATE {update_s}",
        ":INP:VOLT:RANG 15",
        ":INP:CURR:RANG 0.5",
        ":STAT:FILT1 FALL",
    ):
        assert ask(device, command) == ""
    assert ask(device, ":STAT:ERR?") == '0,"No error"\r\n'
    return device


def test_headers_in_long_and_short_form():
    pattern = header_pattern(":[INPut:]VOLTage:RANGe?")
    for header in (":INPUT:VOLTAGE:RANGE?", ":INP:VOLT:RANG?", ":VOLT:RANGE?"):
        assert pattern.fullmatch(header)
    for header in (":INPU:VOLT:RANG?", ":VOLT:RANG", "VOLT:RANG?", ":VOLTA:RANG?"):
        assert not pattern.fullmatch(header)
    assert header_pattern(":NUMeric[:NORMal]:ITEM<x>").fullmatch(":NUM:ITEM12")[1] == "12"


def test_a_header_goes_on_from_the_path_before_it():
    found = units(":num:norm:num 3;item1 U,1; *CLS ;ITEM2 I,1;:RATE 0.5")
    assert [unit.header for unit in found] == [
        ":NUM:NORM:NUM",
        ":NUM:NORM:ITEM1",
        "*CLS",
        ":NUM:NORM:ITEM2",
        ":RATE",
    ]
    assert found[1].arguments == ["U", "1"]


@pytest.mark.parametrize(
    ("value", "digit", "text"),
    [
        (12.0131, 1e-3, "12.013E+00"),
        (0.216424, 1e-5, "216.42E-03"),
        (2.59964, 1e-4, "2.5996E+00"),
        (-0.0601, 1e-4, "-60.1E-03"),
        (0.0, 1e-3, "0.000E+00"),
        (0.005, 1e-7, "5.0000E-03"),
        (600.0, 1e-2, "600.00E+00"),
        (None, 1e-3, "NAN"),
        (float("inf"), 1e-3, "INF"),
    ],
)
def test_numbers_as_the_manual_shows_them(value, digit, text):
    assert nr3(value, digit) == text


@given(st.floats(-1000, 1000), st.integers(-7, 0))
def test_numbers_keep_all_their_digits(value, power):
    digit = 10.0**power
    read = parse_number(nr3(value, digit).encode())
    assert read == pytest.approx(round(value / digit) * digit, abs=digit / 1e6, rel=1e-12)


def test_several_queries_are_answered_in_one_line():
    device = ready(Wt310Device(1))
    assert ask(device, ":INP:VOLT:RANG?;:INP:CURR:RANG?") == "15.000E+00;500.00E-03\r\n"
    assert ask(device, ":INP:VOLT:RANG?;AUTO?") == "15.000E+00;0\r\n"


def test_headers_in_answers_until_they_are_switched_off():
    device = Wt310Device(1)
    assert ask(device, ":RATE?") == ":RATE 250.0E-03\r\n"
    assert ask(device, ":COMM:HEAD?") == ":COMMUNICATE:HEADER 1\r\n"
    assert ask(device, ":COMM:HEAD OFF;:RATE?") == "250.0E-03\r\n"


def test_the_error_queue_of_the_wt310():
    device = Wt310Device(1)
    for bad in (":VOLTS?", ":RATE 0.3", ":INP:VOLT:RANG 20", ":INP:MODE AC", ":RATE"):
        assert ask(device, bad) == ""
    device.command(b"\xff" * 20 + b"\n")
    codes = [ask(device, ":STAT:ERR?").partition(",")[0] for _ in range(7)]
    assert codes == ["113", "222", "222", "141", "109", "363", "0"]
    assert ask(device, ":BAD;:RATE?") == ""  # an error ends its message
    assert ask(device, "*CLS;:STAT:ERR?") == '0,"No error"\r\n'
    for _ in range(30):
        ask(device, ":BAD")
    answers = [ask(device, ":STAT:ERR?") for _ in range(17)]
    assert answers[15:] == ['350,"Queue overflow"\r\n', '0,"No error"\r\n']


def test_the_error_queue_of_the_supply():
    device = SupplyDevice(1, has_power=False)
    assert ask(device, "MEAS:POW?") == ""
    assert ask(device, "SYST:ERR?") == '-113,"Undefined header"\r\n'
    assert ask(device, "SYSTEM:ERROR:NEXT?") == '0,"No error"\r\n'


def test_commands_are_taken_in_pieces_and_with_either_line_end():
    device = SupplyDevice(1)
    assert device.command(b"*ID") == b""
    assert device.command(b"N?\n*IDN?\r\nME") == 2 * b"SIMULATED,PSU-3005,0001,1.0\r\n"


def test_a_wait_is_answered_at_the_update_and_again_only_at_the_next():
    device = ready(Wt310Device(1, clock=0.0))
    wait = ":COMM:WAIT 1;:STAT:EESR?;:NUM:NORM:VAL? 3"
    device.advance([(1.0, 2.6)])
    device.command(b":STAT:EESR?\r\n")
    assert ask(device, wait) == ""
    sent = [bool(device.advance([(0.01, 2.6)])) for _ in range(25)]
    assert sum(sent) == 1
    assert ask(device, wait) == ""  # nothing new since
    assert device.advance([(0.25, 2.6)]).count(b"\n") == 1
    device.advance([(0.25, 2.6)])
    assert ask(device, wait).startswith("1;")  # an update is there already


def test_an_update_is_the_mean_of_its_interval():
    device = ready(Wt310Device(3, clock=0.0), 0.5)
    for item in (":NUM:NORM:NUM 1", ":NUM:NORM:ITEM1 P,1"):
        ask(device, item)
    device.advance([(0.2, 2.0), (0.3, 3.0)])
    gain, offset = device.input.errors[2]
    true = (0.2 * 2.0 + 0.3 * 3.0) / 0.5
    expected = true * (1 + 0.001 * gain) + 0.002 * 7.5 * offset
    assert parse_number(ask(device, ":NUM:VAL?").encode()) == pytest.approx(expected, abs=6e-5)


def test_errors_are_within_the_data_sheet_and_differ():
    errors = [Wt310Device(seed).input.errors[2] for seed in range(200)]
    reading, of_range = zip(*errors, strict=True)
    for values in (reading, of_range):
        assert -1 <= min(values) < -0.9
        assert 0.9 < max(values) <= 1
    assert {Wt310Device(4).clock_error} == {Wt310Device(4).clock_error}
    assert max(abs(Wt310Device(seed).clock_error) for seed in range(100)) < 1e-4


def test_integration_counts_and_locks_the_settings():
    device = ready(Wt310Device(1, clock=0.0))
    ask(device, ":NUM:NUM 1;:NUM:NORM:ITEM1 WH,1")
    assert ask(device, ":NUM:VAL?") == "NAN\r\n"
    ask(device, ":INTEG:MODE NORM;:INTEG:TIM 0,0,0;:INTEG:STAR")
    device.advance([(3600.0, 2.0)])
    assert parse_number(ask(device, ":NUM:VAL?").encode()) == pytest.approx(2.0, abs=0.018)
    for command in (":RATE 1", ":INP:VOLT:RANG 30", ":INP:CURR:AUTO ON", ":INP:MODE DC"):
        ask(device, command)
        assert ask(device, ":STAT:ERR?") == '221,"Setting conflict"\r\n'
    assert ask(device, ":INTEG:STAT?;:INTEG:STOP;:INTEG:STAT?") == "STAR;STOP\r\n"
    counted = ask(device, ":NUM:VAL?")
    device.advance([(10.0, 2.0)])
    assert ask(device, ":NUM:VAL?") == counted


def test_auto_range_follows_the_load_and_fixed_ranges_do_not():
    device = Wt310Device(1)
    ask(device, ":COMM:HEAD OFF")
    device.advance([(5.0, 2.6)])
    assert ask(device, ":VOLT:RANG?;:CURR:RANG?") == "15.000E+00;200.00E-03\r\n"
    device.advance([(5.0, 12.0)])
    assert ask(device, ":CURR:RANG?") == "1.0000E+00\r\n"
    ask(device, ":CURR:RANG 500MA")
    device.advance([(5.0, 12.0)])
    assert ask(device, ":CURR:RANG?") == "500.00E-03\r\n"
    assert ask(device, ":NUM:VAL?").count("INF") == 2
    assert int(ask(device, ":STAT:COND?")) & (1 << 6 | 1 << 8) == 1 << 6
    device.advance([(0.01, 30.0), (5.0, 2.6)])
    assert int(ask(device, ":STAT:COND?")) == 0


def test_a_short_peak_is_seen_where_the_mean_is_in_range():
    device = ready(Wt310Device(1, clock=0.0))
    device.advance([(0.2, 2.6), (0.01, 20.0), (0.04, 2.6)])
    assert int(ask(device, ":STAT:COND?")) == 1 << 8
    assert "INF" not in ask(device, ":NUM:VAL?")
    device.advance([(0.25, 2.6)])
    assert ask(device, ":STAT:COND?;:STAT:EESR?") == f"0;{1 | 1 << 8}\r\n"


def test_a_restart_is_silent_and_forgets_what_a_restart_forgets():
    device = ready(Wt310Device(1))
    ask(device, ":INTEG:STAR")
    assert device.fault(REBOOT) == b""
    assert ask(device, "*IDN?") == ""
    device.advance([(3.1, 2.6)])
    assert ask(device, ":RATE?") == ":RATE 250.0E-03\r\n"
    assert ask(device, ":INTEG:STAT?") == "RES\r\n"
    assert ask(device, ":COMM:HEAD OFF;:CURR:RANG?") == "500.00E-03\r\n"


def test_faults_that_an_instrument_cannot_have():
    for device, kinds in ((Wt310Device(), (CLOCK_JUMP, "x")), (SupplyDevice(), (SKIP, CLOCK_JUMP))):
        for kind in kinds:
            with pytest.raises(SimulatorError, match="no fault"):
                device.fault(kind)


@pytest.mark.parametrize("make", [Wt310Device, SupplyDevice])
@pytest.mark.parametrize("seed", range(5))
def test_a_saved_instrument_goes_on_bit_for_bit(make, seed):
    draw = random.Random(seed)
    messages = [
        b":COMM:WAIT 1;:STAT:EESR?;:NUM:NORM:VAL?\r\n",
        b":INTEG:STAR\r\n",
        b":BAD\n:COMM:HEAD OFF\n",
        b"MEAS:VOLT?;:MEAS:POW?\r\nSYST:ERR?\r\n",
        b":CURR:RANG 2",
        b"\r\n:STAT:ERR?\r\n",
    ]

    def live(device, steps):
        sent = b""
        for _ in range(steps):
            sent += device.command(draw.choice(messages))
            sent += device.advance([(draw.uniform(0, 0.4), draw.uniform(0, 9))])
        return sent

    device = make(7)
    live(device, 20)
    saved = json.loads(json.dumps(device.state()))
    draw_state = draw.getstate()
    expected = live(device, 60)
    assert expected
    twin = make(7)
    twin.restore(saved)
    draw.setstate(draw_state)
    assert live(twin, 60) == expected
    with pytest.raises(SimulatorError, match="seed"):
        make(8).restore(saved)


@given(st.lists(st.binary(max_size=60), max_size=10))
def test_no_bytes_upset_an_instrument(pieces):
    for device in (Wt310Device(1), SupplyDevice(1)):
        for piece in pieces:
            device.command(piece)
            device.advance([(0.1, 2.6)])
        device.command(b"\n*CLS\n")
        assert device.command(b"*IDN?\n").count(b"\n") >= 1


def test_a_long_trace_at_once_equals_its_pieces():
    whole, pieces = (ready(Wt310Device(2)) for _ in range(2))
    whole.advance([(7.3, 2.6), (5.1, 3.0)])
    for _ in range(73):
        pieces.advance([(0.1, 2.6)])
    for _ in range(51):
        pieces.advance([(0.1, 3.0)])
    assert ask(whole, ":NUM:VAL?") == ask(pieces, ":NUM:VAL?")
