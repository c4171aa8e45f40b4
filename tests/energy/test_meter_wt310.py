# SPDX-License-Identifier: Apache-2.0
"""The WT310's driver: its conversation in exact bytes, its readings, its refusals."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.errors import (
    MeterError,
    NoAnswerError,
    NoPacketError,
    PortClosedError,
    RefusedError,
    WrongInstrumentError,
)
from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.wt310 import protocol as ranges
from powermeter.meters.wt310.meter import DRIVER, Wt310
from powermeter.meters.wt310.protocol import READ, Wt310Decoder
from powermeter.simulation.device import REBOOT, SKIP, Trace
from powermeter.simulation.faults import REPEAT, Fault, FaultyDevice
from scpi_parts import Clock, ScriptedTransport, joules_between
from simulated_line import SimulatedLine

IDN = b"YOKOGAWA,WT310E,C3SG12034E,F1.04\r\n"
NO_ERROR = b'0,"No error"\r\n'
READ_BYTES = b":COMM:WAIT 1;:STAT:EESR?;:STAT:COND?;:NUM:NORM:VAL?\r\n"
VALUES = b"1;0;12.013E+00,216.42E-03,2.5996E+00,1.23456E-03\r\n"
ANSWERS = {
    b"*IDN?\r\n": [IDN],
    b":STAT:ERR?\r\n": [NO_ERROR],
    b":INTEG:STAT?\r\n": [b"RES\r\n"],
    b":INP:VOLT:AUTO?\r\n": [b"0\r\n"],
    b":INP:CURR:AUTO?\r\n": [b"0\r\n"],
    b":INP:VOLT:RANG?\r\n": [b"15.000E+00\r\n"],
    b":INP:CURR:RANG?\r\n": [b"200.00E-03\r\n"],
    b":STAT:EESR?\r\n": [b"1\r\n"],
    READ_BYTES: [VALUES],
}
SET_UP = """:INTEG:RES|:HOLD OFF|:RATE 0.25|:INP:MODE DC|:INP:SYNC OFF|:MEAS:AVER:STAT OFF
:NUM:FORM ASCII|:NUM:NORM:NUM 4|:NUM:NORM:ITEM1 U,1|:NUM:NORM:ITEM2 I,1|:NUM:NORM:ITEM3 P,1
:NUM:NORM:ITEM4 WH,1|:STAT:FILT1 FALL""".replace("\n", "|").split("|")


def meter_on(answers, settings=None, waiting=b""):
    clock = Clock()
    transport = ScriptedTransport(answers, clock, waiting)
    return Wt310(transport, settings=settings, clock=clock), transport


def checked(*commands):
    """Each setting, and the question whether it was taken."""
    return [part for each in commands for part in (each.encode() + b"\r\n", b":STAT:ERR?\r\n")]


def simulated(trace, settings=None, faults=(), **device):
    line = SimulatedLine(FaultyDevice(DRIVER.simulator(**device), faults), Trace(trace))
    return DRIVER.meter(line, provenance="simulated", settings=settings, clock=line.clock), line


def events_of(meter, line, seconds):
    """(host time since the start, event) of the next `seconds`."""
    events, until = [], line.clock() + seconds
    while line.clock() < until:
        if raw := meter.receive(0.05):
            now = line.clock()
            events += [(now - 1.7e9, event) for event in meter.decode(raw, now)]
    return events


def test_handshake_in_exact_bytes():
    meter, transport = meter_on(ANSWERS)
    meter.open()
    assert transport.written == [
        b"*IDN?\r\n",
        b"*CLS\r\n",
        b":COMM:REM ON\r\n",
        b":COMM:HEAD OFF\r\n",
        b":INTEG:STAT?\r\n",
        *checked(*SET_UP),
        b":INP:VOLT:AUTO?\r\n",
        b":INP:CURR:AUTO?\r\n",
        *checked(":INP:VOLT:AUTO OFF", ":INP:CURR:AUTO OFF"),
        b":INP:VOLT:RANG?\r\n",
        b":INP:CURR:RANG?\r\n",
        *checked(":INTEG:MODE NORM", ":INTEG:TIM 0,0,0", ":INTEG:STAR"),
        b":STAT:EESR?\r\n",
        READ_BYTES,
        READ_BYTES,
    ]
    assert READ.encode() + b"\r\n" == READ_BYTES
    assert meter.identity() == {
        "idn": IDN.strip().decode(),
        "update_s": 0.25,
        "mode": "DC",
        "voltage_range_v": 15.0,
        "current_range_a": 0.2,
        "baud": 9600,
    }


def test_given_ranges_and_interval_are_sent():
    settings = {"voltage_range_v": 30, "current_range_a": 0.5, "update_s": 1}
    meter, transport = meter_on(ANSWERS | {b":INP:CURR:AUTO?\r\n": [b"1\r\n"]}, settings)
    meter.open()
    for command in (":RATE 1", ":INP:VOLT:RANG 30", ":INP:CURR:RANG 0.5"):
        assert command.encode() + b"\r\n" in transport.written
    assert b":INP:CURR:AUTO ON\r\n" not in transport.written


def test_a_running_integration_is_ended_first():
    meter, transport = meter_on(ANSWERS | {b":INTEG:STAT?\r\n": [b"STAR\r\n"]})
    meter.open()
    stop = transport.written.index(b":INTEG:STOP\r\n")
    assert stop < transport.written.index(b":INTEG:RES\r\n")


def test_a_reading_in_exact_bytes_and_its_time():
    meter, transport = meter_on(ANSWERS)
    meter.open()
    transport.written.clear()
    raw = meter.receive(1.0)
    assert (raw, transport.written) == (VALUES, [READ_BYTES])
    assert meter.decode(raw, 1234.5) == [
        Sample(1, 1234.5, 12.013, 0.21642, 2.5996, 1.23456e-3),
    ]
    assert meter.receive(1.0) == VALUES  # asked for as soon as the one before was there
    assert transport.written == [READ_BYTES, READ_BYTES]


def test_a_slow_answer_is_waited_for_and_a_lost_one_asked_for_again():
    meter, transport = meter_on(ANSWERS)
    meter.open()
    transport.written.clear()
    transport.answers[READ_BYTES] = [b""]
    assert meter.receive(0.5) == b""
    assert meter.receive(1.0) == b""
    assert transport.written == [READ_BYTES]
    assert meter.receive(0.6) == b""  # two seconds are over
    assert transport.written == [READ_BYTES, READ_BYTES]
    transport.waiting = VALUES
    assert meter.receive(0.1) == VALUES


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ({}, NoAnswerError, r"no answer to \*IDN\?"),
        ({b"*IDN?\r\n": [b"\xf8\x00\x86\x1e"]}, NoPacketError, "4 bytes came.*baud"),
        ({b"*IDN?\r\n": [b"RIGOL,DP832,DP8C1,00.01\r\n"]}, WrongInstrumentError, "RIGOL,DP832"),
        ({b"*IDN?\r\n": [b"YOKOGAWA,WT210,0,F1\r\n"]}, WrongInstrumentError, "WT210"),
        ({b"*IDN?\r\n": [b"!ERR *IDN? unknown\r\n"]}, WrongInstrumentError, "no SCPI identity"),
        ({b":STAT:ERR?\r\n": [b'113,"Undefined Header"\r\n']}, RefusedError, "INTEG:RES.*113"),
        ({b":INP:VOLT:RANG?\r\n": [b"what\r\n"]}, RefusedError, "'what' to :INP:VOLT:RANG"),
        (
            {READ_BYTES: [b"65;64;12.01E+00,INF,INF,0.0E+00\r\n"]},
            MeterError,
            "over range.*choose larger ranges",
        ),
    ],
)
def test_failures_of_the_handshake(answers, error, words):
    whole = {} if not answers else ANSWERS | answers
    meter, _ = meter_on(whole)
    with pytest.raises(error, match=words) as caught:
        meter.open()
    assert isinstance(caught.value, MeterError)
    assert "\n" not in str(caught.value)


def test_half_a_command_that_stands_in_the_meter_is_ended():
    meter, transport = meter_on(ANSWERS | {b"*IDN?\r\n": [b"", IDN]})
    meter.open()
    assert transport.written[:3] == [b"*IDN?\r\n", b"*IDN?\r\n", b"*CLS\r\n"]


def test_what_an_earlier_program_asked_is_not_taken_for_the_name():
    # The reading that was waited for, then the two names that were asked for.
    answers = ANSWERS | {b"*IDN?\r\n": [VALUES + IDN, IDN]}
    meter, transport = meter_on(answers, waiting=b"3E+00,1\r\n" + VALUES)
    meter.open()
    assert meter.identity()["idn"] == IDN.strip().decode()
    assert transport.written[:2] == [b"*IDN?\r\n", b"*IDN?\r\n"]


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"update_s": 0.3}, r"update_s takes one of 0\.1, 0\.25.*, in s; got 0\.3"),
        ({"update_s": "often"}, "update_s takes one of .*; got 'often'"),
        ({"update_s": 0.1}, "9600 baud are too few"),
        ({"mode": "AC"}, "mode takes one of DC, RMS; got 'AC'"),
        ({"range": 1}, "no setting 'range'; there is: update_s"),
    ],
)
def test_settings_that_do_not_exist(settings, words):
    with pytest.raises(MeterError, match=words):
        meter_on({}, settings)


def test_a_closed_meter_says_so():
    meter, transport = meter_on(ANSWERS)
    meter.open()
    meter.close()
    assert transport.closed
    with pytest.raises(PortClosedError, match="closed"):
        meter.receive(0.1)


def test_accuracy_of_the_data_sheet():
    meter, _ = meter_on(ANSWERS)
    meter.open()
    assert (meter.reading, meter.period_s, meter.resolution_w) == ("average", 0.25, 1e-4)
    # 15 V x 0.2 A = 3 W: ±(0.1 % of 2.5996 W + 0.2 % of 3 W), each rectangular.
    expected = math.hypot(0.001 * 2.5996, 0.002 * 3.0) / math.sqrt(3)
    sample = Sample(1, 0.0, 12.013, 0.21642, 2.5996)
    assert meter.accuracy.power_uncertainty_w(sample) == pytest.approx(expected, rel=1e-3)


def test_limits_and_ranges_of_the_models():
    assert ranges.limits("WT310", "DC") == ranges.limits("WT310E", "DC") == (0.001, 0.002)
    assert ranges.limits("WT310EH", "DC") == (0.003, 0.002)
    assert ranges.limits("WT310E", "RMS") == (0.001, 0.0005)
    assert ranges.limits("WT310", "RMS") == (0.001, 0.001)
    assert ranges.current_ranges("WT310EH")[-1] == 40.0
    assert ranges.smallest_range(ranges.CURRENT_RANGES_A, 0.21, "A") == 0.5
    with pytest.raises(MeterError, match="700 V is beyond"):
        ranges.smallest_range(ranges.VOLTAGE_RANGES_V, 700, "V")


@pytest.mark.parametrize(
    ("line", "what"),
    [
        (b"65;64;12.013E+00,INF,INF,1.2E-03\r\n", "range, I, P"),
        (b"65;0;12.013E+00,nan,nan,1.2E-03\r\n", "range, I, P"),
        (b"1;0;NAN,NAN,NAN,NAN\r\n", "U, I, P"),
        (b"257;256;12.013E+00,0.2E+00,2.4E+00,1.2E-03\r\n", "current peak"),
        (b"1;128;12.013E+00,0.2E+00,2.4E+00,1.2E-03\r\n", "voltage peak"),
    ],
)
def test_over_range_by_bits_and_by_values(line, what):
    first, *rest = Wt310Decoder(0.25).feed(line, 5.0)
    assert first == OverRange(1, 5.0, what)
    # Peaks leave a number, which stands at the end of its range; NAN and INF leave none.
    assert [type(event) for event in rest] == ([Sample] if "peak" in what else [])


def test_a_line_made_up_of_two_is_no_reading():
    line = b"1;0;12.013E+00,216.42E-03,2E+00,1.23456E-03\r\n"
    assert isinstance(Wt310Decoder(0.25).feed(line, 5.0)[0], Sample)
    (event,) = Wt310Decoder(0.25, range_w=3.0).feed(line, 5.0)
    assert isinstance(event, Malformed)
    assert isinstance(Wt310Decoder(0.25, range_w=3.0).feed(VALUES, 5.0)[0], Sample)


def test_alternating_current_may_have_less_power_than_the_product_but_not_more():
    decoder = Wt310Decoder(0.25, range_w=300.0, dc=False)
    for watts, kind in ((b"150", Sample), (b"-150", Sample), (b"260", Malformed)):
        line = b"1;0;230.0E+00,1.0000E+00," + watts + b".00E+00,1.0E-03\r\n"
        assert isinstance(decoder.feed(line, 5.0)[0], kind)


def test_negative_power_and_a_missing_counter():
    line = b"1;0;12.013E+00,-5.00E-03,-60.1E-03,NAN\r\n"
    assert Wt310Decoder(0.25).feed(line, 5.0) == [Sample(1, 5.0, 12.013, -0.005, -0.0601, None)]


def reading(watts, wh):
    return f"1;0;12.000E+00,{watts / 12:.5f}E+00,{watts:.4f}E+00,{wh:.8f}E+00\r\n".encode()


def test_a_time_gap_counts_what_is_missing():
    decoder = Wt310Decoder(0.25)
    decoder.feed(reading(2.6, 0.001), 10.0)
    assert decoder.feed(reading(2.6, 0.0012), 10.3)[0].seq == 2
    gap, sample = decoder.feed(reading(2.6, 0.0018), 11.3)
    assert (gap, sample.seq) == (Gap("time", 11.3, 3), 3)


@pytest.mark.parametrize("counter", [b"NAN", b"0.0000E+00"])
def test_a_counter_that_begins_anew_is_a_restart(counter):
    decoder = Wt310Decoder(0.25)
    for step in range(100):
        decoder.feed(reading(2.6, 2.6 * 0.25 / 3600 * (step + 1)), 10 + 0.25 * step)
    events = decoder.feed(b"1;0;12.0E+00,0.2E+00,2.4E+00," + counter + b"\r\n", 35.0)
    assert events[0] == Gap("restart", 35.0, 0)


def test_power_that_flows_back_is_no_restart():
    decoder, wh = Wt310Decoder(0.25), 0.0
    events = []
    for step in range(400):
        watts = 3.0 if step < 100 else -2.0
        wh += watts * 0.25 / 3600
        events += decoder.feed(reading(watts, wh), 10 + 0.25 * step)
    assert {type(event) for event in events} == {Sample}


def test_a_repeated_reading_is_stale_and_no_sample():
    decoder = Wt310Decoder(0.25)
    decoder.feed(reading(2.6, 0.0010), 10.0)
    assert decoder.feed(reading(2.6, 0.0010), 10.25) == []
    assert decoder.feed(reading(2.6, 0.0010), 10.50) == []
    gap, sample = decoder.feed(reading(2.6, 0.0016), 10.75)
    assert (gap, sample.power_w) == (Gap("stale", 10.75, 2), 2.6)


@given(st.lists(st.binary(max_size=80), max_size=8), st.binary(max_size=300))
def test_any_bytes_are_decoded_alike_however_they_are_cut(pieces, junk):
    whole = b"".join(pieces) + junk + b"\n" + VALUES + junk
    once = Wt310Decoder(0.25)
    events = once.feed(whole, 1.0)
    bytewise = Wt310Decoder(0.25)
    again = [event for i in range(len(whole)) for event in bytewise.feed(whole[i : i + 1], 1.0)]
    assert repr(again) == repr(events)
    assert any(isinstance(event, Sample) for event in events)
    assert once.pending == bytewise.pending <= 256


@given(st.lists(st.sampled_from([VALUES, reading(2.6, 0.1), b"1;0;NAN\r\n", VALUES[:20]])))
def test_decoding_goes_on_from_a_saved_state(lines):
    straight, first = Wt310Decoder(0.25), Wt310Decoder(0.25)
    for place, line in enumerate(lines):
        straight.feed(line, 0.25 * place)
        first.feed(line, 0.25 * place)
    if first.pending:
        return
    second = Wt310Decoder(0.25)
    second.restore(first.state())
    tail = reading(2.7, 0.2)
    assert second.feed(tail, 99.0) == straight.feed(tail, 99.0)


def test_a_line_without_an_end_is_given_up():
    decoder = Wt310Decoder(0.25)
    assert decoder.feed(b"1" * 100_000, 1.0) == []
    assert decoder.pending == 0
    first, second = decoder.feed(b"\r\n" + VALUES, 1.0)
    assert isinstance(first, Malformed)
    assert isinstance(second, Sample)


def test_open_ranges_and_fixes_the_ranges_of_a_simulated_meter():
    meter, line = simulated([], seed=5)
    meter.open()
    identity = meter.identity()
    # 2.6 W at 12 V: 13.2 V with headroom fits 15 V; 0.217 A x 1.1 = 0.238 A needs 0.5 A.
    assert (identity["voltage_range_v"], identity["current_range_a"]) == (15.0, 0.5)
    assert line.device.device.input.auto_a is False


def test_auto_range_sees_the_load_s_maximum():
    meter, _ = simulated([(10, 2.6), (2, 9.0), (100, 2.6)], {"ranging_s": 20}, seed=5)
    meter.open()
    # 9 W at 12 V: 0.75 A x 1.1 = 0.825 A needs 1 A.
    assert meter.identity()["current_range_a"] == 1.0


@pytest.mark.parametrize("seed", range(8))
def test_energy_of_a_simulated_meter_is_right_within_its_uncertainty(seed):
    trace = [(30.3, 2.6), (1.1, 3.0), (0.7, 2.7), (6.05, 2.9), (0.13, 3.3), (60.0, 2.65)]
    settings = {"voltage_range_v": 15, "current_range_a": 0.5}
    meter, line = simulated(trace, settings, seed=seed)
    meter.open()
    samples = [e for _, e in events_of(meter, line, 60) if isinstance(e, Sample)]
    begin, end = samples[0].device_time_s - 1.7e9, samples[-1].device_time_s - 1.7e9
    measured = sum(
        now.power_w * (now.device_time_s - before.device_time_s)
        for before, now in itertools.pairwise(samples)
    )
    # What has arrived at `begin` was complete up to `latency_s` earlier, and so at the end.
    late = [joules_between(trace, begin - x, end - x) for x in (0.0, meter.latency_s)]
    uncertainty = meter.accuracy.power_uncertainty_w(samples[0]) * (end - begin)
    assert min(late) - 3 * uncertainty < measured < max(late) + 3 * uncertainty
    counted = 3600 * (samples[-1].energy_wh - samples[0].energy_wh)
    assert counted == pytest.approx(measured, rel=1e-3)
    assert len(samples) == pytest.approx(60 / 0.25, abs=2)


@pytest.mark.parametrize("clock", [-0.1, 0.1])
def test_a_meter_whose_clock_is_ten_per_cent_off(clock):
    settings = {"voltage_range_v": 15, "current_range_a": 0.5}
    meter, line = simulated([(200, 2.6)], settings, seed=1, clock=clock)
    meter.open()
    events = [event for _, event in events_of(meter, line, 60)]
    assert {type(event) for event in events} == {Sample}
    joules = sum(
        now.power_w * (now.device_time_s - before.device_time_s)
        for before, now in itertools.pairwise(events)
    )
    span = events[-1].device_time_s - events[0].device_time_s
    assert joules == pytest.approx(2.6 * span, rel=0.001 + 0.002 * 7.5 / 2.6)


def test_faults_of_the_instrument_are_found():
    settings = {"voltage_range_v": 15, "current_range_a": 0.5}
    faults = [Fault(SKIP, 10.0, 0.0), Fault(REPEAT, 15.0, 2.0), Fault(REBOOT, 25.0, 0.0)]
    meter, line = simulated([(100, 2.6)], settings, faults, seed=2)
    meter.open()
    found = [(t, e) for t, e in events_of(meter, line, 40) if isinstance(e, Gap)]
    assert [event.kind for _, event in found] == ["time", "stale", "restart", "time"]
    times = [time for time, _ in found]
    assert 10 < times[0] < 11
    assert 17 < times[1] < 18
    assert 28 < times[2] < 31


def test_an_overload_is_no_sample():
    settings = {"voltage_range_v": 15, "current_range_a": 0.2}
    meter, line = simulated([(10, 2.0), (2, 6.0), (10, 2.0)], settings, seed=2)
    meter.open()
    events = [event for _, event in events_of(meter, line, 15)]
    over = [event for event in events if isinstance(event, OverRange)]
    assert 7 <= len(over) <= 9  # two seconds of quarters; those at the edges are means
    assert all("range" in event.what for event in over)
    assert max(e.power_w for e in events if isinstance(e, Sample)) < 1.4 * 0.2 * 12 + 0.1
    assert all(math.isfinite(e.power_w) for e in events if isinstance(e, Sample))
