# SPDX-License-Identifier: Apache-2.0
"""The driver's conversation with the instrument, in exact bytes, over a scripted transport."""

import errno
import json
import os

import pytest
import serial

from powermeter.energy.accuracy import EnergySums, PowerAccuracy, accuracy_from
from powermeter.errors import (
    MeterError,
    NoAnswerError,
    NoPacketError,
    NoPortError,
    PortBusyError,
    PortClosedError,
    PortPermissionError,
    RecordingError,
    RefusedError,
    WrongInstrumentError,
)
from powermeter.events import Sample
from powermeter.meters.ina226 import chip
from powermeter.meters.ina226.meter import Ina226Serial
from powermeter.meters.transport import SerialTransport, is_pseudo_terminal

HELLO = b"!HELLO,EdgePowerMeter,2.0.0,2\n"
CFG = b"!CFG,avg=4,vct=1100,ict=1100,shunt=0.01,oled=1,stream=1,mode=CSV,sqw=1,period_us=8800\n"
ANSWERS = {
    b"HELLO\n": [HELLO],
    b"GET\n": [CFG],
    b"MODE RAW\n": [b"!OK MODE\nT,2000000,1790000000,S\n"],
    b"SET STREAM 0\n": [b"!OK SET\n"],
    b"SET STREAM 1\n": [b"!OK SET\n"],
}
PAUSE, START = b"SET STREAM 0\n", [b"GET\n", b"MODE RAW\n", b"SET STREAM 1\n"]


class ScriptedTransport:
    """Answers each command with the bytes of `answers`, once for each time that it is sent."""

    name = "/dev/scripted"

    def __init__(self, answers, waiting=b""):
        self.answers = {command: list(replies) for command, replies in answers.items()}
        self.written, self.waiting, self.closed = [], [waiting] if waiting else [], False

    def read(self, timeout_s):
        return self.waiting.pop(0) if self.waiting else b""

    def write(self, data):
        self.written.append(data)
        replies = self.answers.get(data)
        if replies:
            self.waiting.append(replies.pop(0))

    def close(self):
        self.closed = True


class Ticks:
    """A clock that moves 50 ms each time it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 0.05
        return self.now


def meter_on(answers, waiting=b"", **options):
    transport = ScriptedTransport(answers, waiting)
    return Ina226Serial(transport, clock=Ticks(), **options), transport


def test_handshake_sends_exactly_these_bytes():
    meter, transport = meter_on(ANSWERS)
    meter.open()
    assert transport.written == [b"HELLO\n", PAUSE, *START]
    assert meter.period_s == pytest.approx(0.0088)
    assert meter.hello.firmware == "2.0.0"


def test_settings_are_sent_before_they_are_read_back():
    answers = ANSWERS | {
        b"SET AVG 16\n": [b"!OK SET\n"],
        b"SET VCT 332\n": [b"!OK SET\n"],
        b"SET ICT 588\n": [b"!OK SET\n"],
        b"GET\n": [CFG.replace(b"8800", b"14720")],
    }
    meter, transport = meter_on(answers, settings={"averages": 16, "vct_us": 332, "ict_us": 588})
    meter.open()
    sets = [b"SET AVG 16\n", b"SET VCT 332\n", b"SET ICT 588\n"]
    assert transport.written == [b"HELLO\n", PAUSE, *sets, *START]
    assert meter.period_s == pytest.approx(0.01472)


def test_hello_is_repeated_for_a_meter_that_boots():
    meter, transport = meter_on(ANSWERS | {b"HELLO\n": [b"# booting\n", HELLO]})
    meter.open()
    assert transport.written == [b"HELLO\n", b"HELLO\n", PAUSE, *START]


def test_stream_starts_with_the_answers_and_without_what_was_waiting():
    answers = ANSWERS | {PAUSE: [b"D,5,1000,9600,800\n!OK SET\n"]}
    meter, transport = meter_on(answers, waiting=b"0,9600,800\nD,4,1000,9600,800\n")
    meter.open()
    transport.waiting.append(b"D,6,9800,9600,800\n")
    begin = meter.receive(0)
    assert begin == CFG + b"!OK MODE\nT,2000000,1790000000,S\n!OK SET\n"
    meter.decode(begin, 1.0)
    (sample,) = meter.decode(meter.receive(0), 1.0)
    assert (sample.seq, sample.power_w) == (6, pytest.approx(12.0 * 0.2))


@pytest.mark.parametrize(
    ("answers", "error", "words"),
    [
        ({}, NoAnswerError, "no answer to HELLO"),
        ({b"HELLO\n": [b"\x00\xff\x13garbled\n"]}, NoPacketError, "baud rate"),
        ({b"HELLO\n": [b"!HELLO,OtherMeter,1.0,2\n"]}, WrongInstrumentError, "'OtherMeter'"),
        ({b"HELLO\n": [HELLO.replace(b",2\n", b",3\n")]}, WrongInstrumentError, "protocol 3"),
        (ANSWERS | {b"GET\n": []}, NoAnswerError, "no answer to GET"),
        (ANSWERS | {b"MODE RAW\n": [b"!ERR MODE invalid_value\n"]}, RefusedError, "invalid_value"),
    ],
)
def test_failures_of_the_handshake(answers, error, words):
    meter, _ = meter_on(answers)
    with pytest.raises(error, match=words) as caught:
        meter.open()
    assert isinstance(caught.value, MeterError)
    assert "\n" not in str(caught.value)


def test_silence_after_the_handshake_is_an_error():
    meter, _ = meter_on(ANSWERS)
    meter.open()
    with pytest.raises(NoPacketError, match="no reading for 5 s"):
        next(meter.samples())


def test_a_closed_meter_says_so():
    meter, transport = meter_on(ANSWERS)
    meter.close()
    assert transport.closed
    with pytest.raises(PortClosedError, match="closed"):
        meter.receive(0)


def test_accuracy_of_the_data_sheet():
    accuracy = chip.accuracy(0.01, shunt_tolerance=0.0)
    amperes = 2.6 / 12
    # Offset: 10 uV / 10 mOhm = 1 mA, 12 mW, 0.46 % of 2.6 W. Count: 0.25 mA, 3 mW.
    assert accuracy.current_offset_a * 12 == pytest.approx(0.012)
    assert accuracy.current_lsb_a * 12 == pytest.approx(0.003)
    terms = [0.001 * 2.6, 0.001 * 2.6, 0.012, 0.0075 * amperes]
    expected = sum(t * t for t in terms) / 3 + (0.003**2 + (1.25e-3 * amperes) ** 2) / 12
    sample = Sample(1, 0.0, 12.0, amperes, 2.6)
    assert accuracy.power_uncertainty_w(sample) == pytest.approx(expected**0.5)
    # A steady power for ten seconds: ten times as many joules of uncertainty.
    energy = accuracy.energy_uncertainty_j(EnergySums(26.0, 10.0, 120.0, 10 * amperes))
    assert energy == pytest.approx(10 * expected**0.5)
    assert accuracy_from(json.loads(json.dumps(accuracy.to_dict()))) == accuracy


def test_accuracy_of_a_power_meter():
    # ±(1.5 % + 3 counts of 0.1 W) of 100 W, and half a count of rounding.
    accuracy = PowerAccuracy(reading=0.015, counts_w=0.3, lsb_w=0.1)
    expected = (1.5**2 + 0.3**2) / 3 + 0.1**2 / 12
    assert accuracy.power_uncertainty_w(Sample(1, 0.0, None, None, 100.0)) ** 2 == pytest.approx(
        expected
    )
    assert accuracy.power_uncertainty_w(Sample(1, 0.0, None, None, -100.0)) ** 2 == pytest.approx(
        expected
    )
    assert accuracy_from(accuracy.to_dict()) == accuracy
    with pytest.raises(RecordingError, match="kind 'magic'"):
        accuracy_from({"kind": "magic"})


def test_periods_of_the_chip():
    assert chip.period_s(4, 1100, 1100) == pytest.approx(0.0088)
    assert chip.period_s(1024, 8244, 8244) == pytest.approx(16.884, abs=1e-3)
    with pytest.raises(MeterError, match="averages must be one of 1, 4, 16"):
        chip.period_s(5, 1100, 1100)
    with pytest.raises(MeterError, match="ict must be one of 140"):
        chip.period_s(4, 1100, 1000)


def test_no_such_port():
    with pytest.raises(NoPortError, match="no such port"):
        SerialTransport("/dev/there-is-no-such-port", 115200)


def test_a_plain_file_is_no_port(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NoPortError, match="not a usable serial port"):
        SerialTransport(str(tmp_path / "file"), 115200)


def test_missing_permission_names_the_group(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise serial.SerialException(errno.EACCES, "could not open port")

    monkeypatch.setattr(serial, "Serial", refuse)
    port = tmp_path / "ttyUSB0"
    port.write_text("")
    import grp

    group = grp.getgrgid(os.stat(port).st_gid).gr_name
    with pytest.raises(PortPermissionError, match=f"usermod -aG {group} "):
        SerialTransport(str(port), 115200)


def test_a_port_is_opened_once_and_its_loss_is_noticed():
    master, slave = os.openpty()
    try:
        path = os.ttyname(slave)
        assert is_pseudo_terminal(path)
        transport = SerialTransport(path, 115200)
        with pytest.raises(PortBusyError, match="in use"):
            SerialTransport(path, 115200)
        assert transport.read(0.0) == b""
        os.write(master, b"D,1\n")
        assert transport.read(1.0) == b"D,1\n"
    finally:
        os.close(master)
        os.close(slave)
    with pytest.raises(PortClosedError, match="went away"):
        transport.read(0.1)
    transport.close()
    with pytest.raises(PortClosedError):
        transport.write(b"HELLO\n")
