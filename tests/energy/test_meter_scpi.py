# SPDX-License-Identifier: Apache-2.0
"""The generic SCPI driver: its conversation in exact bytes, its readings, its refusals."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.errors import MeterError, NoAnswerError, RefusedError, WrongInstrumentError
from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.scpi.conversation import is_name
from powermeter.meters.scpi.meter import DRIVER, Scpi
from powermeter.meters.scpi.protocol import LineBuffer, ScpiDecoder, parse_number, resolution
from powermeter.simulation.device import REBOOT, Trace
from powermeter.simulation.faults import CORRUPT, INTERLEAVE, REPEAT, TRUNCATE, Fault, FaultyDevice
from scpi_parts import Clock, ScriptedTransport, joules_between
from simulated_line import SimulatedLine

IDN = b"RIGOL TECHNOLOGIES,DP832,DP8C123456789,00.01.16\r\n"
NO_ERROR = b'0,"No error"\r\n'
ANSWERS = {
    b"*IDN?\r\n": [IDN],
    b"SYST:ERR?\r\n": [NO_ERROR],
    b"MEAS:VOLT?\r\n": [b"12.0010\r\n"],
    b"MEAS:CURR?\r\n": [b"0.2166\r\n"],
    b"MEAS:POW?\r\n": [b"2.599\r\n"],
}
ONE_ERROR = [NO_ERROR, NO_ERROR, b"-113,x\r\n", NO_ERROR]  # in answer to the fourth question
THREE = ("voltage", "current", "power")
ENDING = '0,"No error"'
POLL = b'12.0010\r\n0.2166\r\n2.599\r\n0,"No error"\r\n'


def meter_on(answers, settings=None):
    clock = Clock()
    transport = ScriptedTransport(answers, clock)
    return Scpi(transport, settings=settings, clock=clock), transport


def bytes_of(meter, seconds, step=0.01):
    """What the next `seconds` bring, as (time, bytes)."""
    clock, found = meter._clock, []
    until = clock() + seconds
    while clock() < until:
        if raw := meter.receive(step):
            found.append((clock(), raw))
    return found


def test_handshake_and_poll_in_exact_bytes():
    meter, transport = meter_on(ANSWERS)
    meter.open()
    assert transport.written == [
        b"*IDN?\r\n",
        b"SYST:ERR?\r\n",
        b"SYST:REM\r\n",
        b"SYST:ERR?\r\n",
        b"MEAS:VOLT?\r\n",
        b"MEAS:CURR?\r\n",
        b"MEAS:POW?\r\n",
    ]
    transport.written.clear()
    began = meter._clock()
    raw = b"".join(meter.receive(0.01) for _ in range(4))
    assert raw == POLL
    assert transport.written == [
        b"MEAS:VOLT?\r\n",
        b"MEAS:CURR?\r\n",
        b"MEAS:POW?\r\n",
        b"SYST:ERR?\r\n",
    ]
    assert meter.decode(raw, began) == [Sample(1, began, 12.001, 0.2166, 2.599)]
    assert (meter.resolution_w, meter.period_s, meter.reading) == (0.001, 0.25, "instantaneous")


def test_polls_keep_their_schedule_and_do_not_drift():
    meter, _ = meter_on(ANSWERS)
    meter.open()
    began = meter._clock()
    times = [time for time, raw in bytes_of(meter, 10.0, step=0.013) if b"No error" in raw]
    assert len(times) == 40
    for place, time in enumerate(times):
        assert began + 0.25 * place <= time < began + 0.25 * place + 0.02


def test_an_unanswered_query_ends_its_poll_and_the_next_one_is_on_time():
    meter, transport = meter_on(ANSWERS, {"poll_s": 0.5})
    meter.open()
    began = meter._clock()
    transport.answers[b"MEAS:CURR?\r\n"] = [b"", b"0.2166\r\n"]
    events = [e for time, raw in bytes_of(meter, 3.0) for e in meter.decode(raw, time)]
    # One second of waiting: the poll due then comes at once, the one in between is left out.
    short, first, *_ = events
    assert isinstance(short, Malformed)
    assert "4 values; 3 were asked for" in short.reason
    assert isinstance(first, Sample)
    assert first.device_time_s == pytest.approx(began + 1.5, abs=0.02)


def test_an_instrument_without_power_gets_the_product():
    refused = {
        b"MEAS:POW?\r\n": [b""],
        b"SYST:ERR?\r\n": ONE_ERROR,
    }
    meter, transport = meter_on(ANSWERS | refused)
    meter.open()
    assert meter.identity()["queries"] == {"voltage": "MEAS:VOLT?", "current": "MEAS:CURR?"}
    transport.written.clear()
    raw = b"".join(meter.receive(0.01) for _ in range(3))
    assert transport.written == [b"MEAS:VOLT?\r\n", b"MEAS:CURR?\r\n", b"SYST:ERR?\r\n"]
    (sample,) = meter.decode(raw, 5.0)
    assert sample.power_w == pytest.approx(12.001 * 0.2166)
    assert meter.resolution_w == pytest.approx(1e-4 * 12.001)
    assert DRIVER.decoder(meter.identity()).feed(raw, 5.0) == [sample]


def test_without_an_error_queue_the_identity_ends_a_poll():
    meter, transport = meter_on(ANSWERS | {b"SYST:ERR?\r\n": [b""]})
    meter.open()
    transport.written.clear()
    raw = b"".join(meter.receive(0.01) for _ in range(4))
    assert transport.written[-1] == b"*IDN?\r\n"
    assert raw.endswith(b"2.599\r\n" + IDN)
    decoder = DRIVER.decoder(meter.identity())
    assert decoder.feed(raw, 5.0) == [Sample(1, 5.0, 12.001, 0.2166, 2.599)]


def test_configured_queries_and_limits():
    settings = {
        "voltage": "",
        "current": "",
        "power": ":FETC:POW:DC?",
        "errors": ":STAT:QUE?",
        "reading": 0.002,
        "of_range": 0.001,
        "range_w": 100,
        "counts_w": 0.02,
    }
    answers = {
        b"*IDN?\r\n": [IDN],
        b":FETC:POW:DC?\r\n": [b"+2.6000E+00W\n"],
        b":STAT:QUE?\r\n": [b'+0,"No error"\n'],
    }
    meter, _ = meter_on(answers, settings)
    meter.open()
    raw = meter.receive(0.01) + meter.receive(0.01)
    (sample,) = meter.decode(raw, 5.0)
    assert sample == Sample(1, 5.0, None, None, 2.6)
    terms = [0.002 * 2.6, 0.001 * 100, 0.02, 1e-4 / 2]
    expected = math.sqrt(sum(term**2 for term in terms) / 3)
    assert meter.accuracy.power_uncertainty_w(sample) == pytest.approx(expected)
    assert meter.identity()["accuracy"] == "as set"


@pytest.mark.parametrize(
    ("answers", "settings", "error", "words"),
    [
        ({}, {}, NoAnswerError, r"no answer to \*IDN\?"),
        ({b"*IDN?\r\n": [b"#d,-,18,965\r\n"]}, {}, WrongInstrumentError, "answered '#d,-,18,965'"),
        (
            ANSWERS | {b"MEAS:VOLT?\r\n": [b""]},
            {},
            RefusedError,
            "DP832.* gives no number for 'MEAS:VOLT",
        ),
        (
            ANSWERS
            | {
                b"MEAS:POW?\r\n": [b""],
                b"SYST:ERR?\r\n": ONE_ERROR,
            },
            {"power": "MEAS:POW?"},
            RefusedError,
            "'MEAS:POW\\?' .no answer to .*; SYST:ERR\\? says -113,x",
        ),
        (ANSWERS, {"poll_s": 0}, MeterError, r"poll_s takes a number from 0\.02"),
        (ANSWERS, {"power": "MEAS\n"}, MeterError, "power takes one line of ASCII"),
        (ANSWERS, {"reading": "good"}, MeterError, "reading takes a number above 0"),
    ],
)
def test_failures(answers, settings, error, words):
    with pytest.raises(error, match=words) as caught:
        meter_on(answers, settings)[0].open()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (b"12.034", 12.034),
        (b"216.42E-03", 0.21642),
        (b"+2.6e0", 2.6),
        (b".5", 0.5),
        (b" 12.01V ", 12.01),
        (b"12 v", 12.0),
        (b"-3", -3.0),
        (b"9.9E37", math.inf),
        (b"-9.90000E+37", -math.inf),
        (b"-INF", -math.inf),
        (b"9.91E37", math.nan),
        (b"NaN", math.nan),
        (b"", None),
        (b"1.2.3", None),
        (b"1e", None),
        (b"0x10", None),
        (b"1_000", None),
        (b"12.01A", None),
        (b"\xff12", None),
    ],
)
def test_numbers_of_ieee_488_2(field, value):
    got = parse_number(field, b"V")
    assert got is None if value is None else got == pytest.approx(value, nan_ok=True)


@given(st.floats(-1e6, 1e6), st.integers(0, 6))
def test_numbers_come_back_as_they_were_written(value, digits):
    for text in (f"{value:.{digits}f}", f"{value:.{digits}E}"):
        assert parse_number(text.encode()) == float(text)
        assert resolution(text.encode()) == pytest.approx(
            10.0 ** (int(text.partition("E")[2] or 0) - digits)
        )


@given(st.binary(max_size=600), st.integers(1, 7))
def test_lines_are_the_same_however_they_are_cut(data, size):
    whole, cut = LineBuffer(64), LineBuffer(64)
    expected = whole.feed(data)
    assert [x for i in range(0, len(data), size) for x in cut.feed(data[i : i + size])] == expected
    assert whole.pending == cut.pending <= 64


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b'12.0010\r\n0.2166\r\n0,"No error"\r\n', "2 values; 3"),
        (b'12.0010\r\n0.2166\r\n0.2166\r\n2.599\r\n0,"No error"\r\n', "4 values; 3"),
        (b'12.0010\r\n0.21\xff6\r\n2.599\r\n0,"No error"\r\n', "no number"),
        (b'-410,"x"\r\n12.0010\r\n0.2166\r\n2.599\r\n0,"No error"\r\n', "no number: -410"),
        (b'110,"No error"\r\n.996\r\n0.2166\r\n2.599\r\n0,"No error"\r\n', "no number: 110"),
        (b"1" * 400 + b'\r\n0,"No error"\r\n', "without an end"),
    ],
)
def test_answers_that_do_not_fit_are_no_reading(raw, reason):
    (event,) = ScpiDecoder(THREE, 0.25, ENDING).feed(raw, 5.0)
    assert isinstance(event, Malformed)
    assert reason in event.reason
    assert isinstance(ScpiDecoder(THREE, 0.25, ENDING).feed(raw + POLL, 5.0)[1], Sample)


def test_pieces_of_two_answers_are_no_number():
    decoder = ScpiDecoder(("voltage", "current"), 0.25, ENDING)
    assert decoder.feed(b"1", 5.0) == []  # of 12.001; the rest was lost
    (event,) = decoder.feed(b'12.001\r\n0.2166\r\n0,"No error"\r\n', 6.25)
    assert isinstance(event, Malformed)
    assert "two pieces" in event.reason
    decoder.feed(b"1", 7.0)
    (event,) = decoder.feed(b'2.001\r\n0.2166\r\n0,"No error"\r\n', 7.1)
    assert event.voltage_v == 12.001
    assert event.power_w == pytest.approx(12.001 * 0.2166)


def test_overload_and_gap():
    decoder = ScpiDecoder(THREE, 0.25, ENDING)
    decoder.feed(POLL, 5.0)
    over = b'12.0010\r\n9.9E+37\r\n9.9E+37\r\n0,"No error"\r\n'
    assert decoder.feed(over, 5.25) == [OverRange(2, 5.25, "current, power")]
    gap, sample = decoder.feed(POLL, 6.25)
    assert (gap, sample.seq) == (Gap("time", 6.25, 3), 3)


@given(st.lists(st.sampled_from([POLL, POLL[:9], POLL[3:], b"\xff\x00\n", b"1" * 300, b"\r\n"])))
def test_any_bytes_are_decoded_alike_however_they_are_cut(pieces):
    whole = b"".join(pieces) + b'\n0,"No error"\r\n' + POLL
    once, bytewise = ScpiDecoder(THREE, 0.25, ENDING), ScpiDecoder(THREE, 0.25, ENDING)
    events = once.feed(whole, 1.0)
    assert [e for i in range(len(whole)) for e in bytewise.feed(whole[i : i + 1], 1.0)] == events
    assert isinstance(events[-1], Sample)
    assert once.pending == bytewise.pending == 0


def test_pending_counts_the_lines_of_an_unfinished_poll():
    decoder = ScpiDecoder(THREE, 0.25, ENDING)
    for end in range(1, len(POLL)):
        decoder = ScpiDecoder(THREE, 0.25, ENDING)
        decoder.feed(POLL[: end // 2], 1.0)
        decoder.feed(POLL[end // 2 : end], 1.0)
        assert decoder.pending == end
    decoder.feed(POLL[-1:], 1.0)
    assert decoder.pending == 0


def simulated(trace, faults=(), settings=None, **device):
    line = SimulatedLine(FaultyDevice(DRIVER.simulator(**device), faults, seed=1), Trace(trace))
    return DRIVER.meter(line, provenance="simulated", settings=settings, clock=line.clock), line


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("has_power", [True, False])
def test_energy_of_a_simulated_supply(seed, has_power):
    trace = [(10.0, 2.6), (5.0, 3.1), (5.0, 2.7), (20.0, 2.9), (60.0, 2.6)]
    meter, _ = simulated(trace, seed=seed, has_power=has_power)
    meter.open()
    samples = [e for t, raw in bytes_of(meter, 50, 0.05) for e in meter.decode(raw, t)]
    assert {type(event) for event in samples} == {Sample}
    measured = sum(
        (now.power_w + before.power_w) / 2 * (now.device_time_s - before.device_time_s)
        for before, now in itertools.pairwise(samples)
    )
    begin, end = samples[0].device_time_s - 1.7e9, samples[-1].device_time_s - 1.7e9
    true = joules_between(trace, begin, end)
    steps = 0.5 * (0.5 + 0.4 + 0.2 + 0.3) * 0.25  # each step misplaced by half a poll at most
    limit = meter.accuracy.reading * true + meter.resolution_w * (end - begin) + steps
    assert abs(measured - true) < limit


@pytest.mark.parametrize("has_power", [True, False])
@pytest.mark.parametrize("kind", [CORRUPT, TRUNCATE, INTERLEAVE, REPEAT, REBOOT])
def test_disturbed_answers_become_no_wrong_reading(kind, has_power):
    lasting = 2.0 if kind == REPEAT else 0.0
    faults = [Fault(kind, 3.0 + 2.3 * place, lasting) for place in range(20)]
    meter, _ = simulated([(200, 2.6)], faults, seed=4, has_power=has_power)
    meter.open()
    events = [e for t, raw in bytes_of(meter, 60, 0.05) for e in meter.decode(raw, t)]
    readings = [event for event in events if isinstance(event, Sample)]
    gaps = [event for event in events if isinstance(event, Gap)]
    assert all(s.power_w == pytest.approx(2.6, rel=0.011) for s in readings)
    assert len(gaps) >= 10
    assert len(readings) > 20


def test_what_waits_in_the_error_queue_is_taken_first():
    answers = ANSWERS | {b"SYST:ERR?\r\n": [b'-410,"Query INTERRUPTED"\r\n', NO_ERROR]}
    meter, _ = meter_on(answers)
    meter.open()
    assert meter.identity()["ending"] == ENDING


@pytest.mark.parametrize(
    ("line", "name"),
    [
        (b"YOKOGAWA,WT310E,C3UE12345E,F1.04", True),
        (b"KORADKA3005PV2.0", True),
        (b"D,1,280,9600,1200", False),  # an INA226's reading
        (b"T,280,12,S", False),
        (b"!ERR *IDN? unknown", False),
        (b"1.5E+00,NAN", False),
    ],
)
def test_what_may_be_a_name(line, name):
    assert is_name(line) is name
