# SPDX-License-Identifier: Apache-2.0
"""The Watts Up? PRO's driver: its conversation in exact bytes, and on the simulated meter."""

import json
from itertools import pairwise

import pytest

from meter_parts import Scripted, events_of, listen
from powermeter.errors import (
    MeterError,
    NoAnswerError,
    NoPacketError,
    PortClosedError,
    WrongInstrumentError,
)
from powermeter.events import Gap, Sample
from powermeter.meters import find_driver
from powermeter.meters.wattsup.meter import BAUD, DRIVER, WattsUp, probe
from powermeter.meters.wattsup.protocol import Header
from powermeter.meters.wattsup.simulator import FIELDS, WattsUpDevice
from powermeter.simulation.device import REBOOT, Trace
from simulated_line import SimulatedLine

VERSION = b"#v,-,8,1,32768,6,16,4,42,20071130093000,3A;\r\n"
HEADER = f"#h,-,18,{','.join(FIELDS)};\r\n".encode()
EXAMPLE = b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n"


def meter_on(transport, **settings):
    return WattsUp(transport, settings=settings, clock=transport.clock)


class Spied(SimulatedLine):
    """A simulated line that keeps what was written."""

    def write(self, data):
        self.__dict__.setdefault("written", []).append(data)
        super().write(data)


def on_line(trace, seed=3, **device):
    line = Spied(WattsUpDevice(seed, **device), trace)
    return WattsUp(line, provenance="simulated", clock=line.clock), line


def test_handshake_sends_exactly_these_bytes():
    transport = Scripted({b"#V,R,0;": VERSION, b"#H,R,0;": b"\x00" + HEADER}, waiting=EXAMPLE)
    meter = meter_on(transport)
    meter.open()
    assert transport.sent == [b"\x18#L,R,0;", b"#V,R,0;", b"#H,R,0;", b"#L,W,3,E,,1;"]
    assert meter.identity() == {
        "model": "PRO",
        "hardware": "6.16",
        "firmware": "4.42",
        "fields": list(FIELDS),
        "interval_s": 1,
    }
    # The stream begins with the header: what an older stream had left is no part of it.
    assert meter.receive(1.0) == HEADER
    assert meter.decode(HEADER, 12.0) == [Header(FIELDS)]
    transport.waiting = EXAMPLE
    assert meter.decode(meter.receive(1.0), 12.5) == [Sample(0, 12.5, 120.4, 0.792, 96.5, 0.1)]


def test_the_interval_is_sent_and_is_the_period():
    transport = Scripted({b"#V,R,0;": VERSION, b"#H,R,0;": HEADER})
    meter = meter_on(transport, interval_s=10)
    meter.open()
    assert transport.sent[-1] == b"#L,W,3,E,,10;"
    assert meter.period_s == 10.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"interval_s": 0}, "interval_s takes a whole number from 1 to 3600, in s; got 0"),
        ({"interval_s": 1.5}, "interval_s takes a whole number from 1 to 3600, in s; got 1.5"),
        ({"averages": 4}, "no setting 'averages'; there is: interval_s"),
    ],
)
def test_settings_that_it_does_not_have_are_refused(settings, message):
    with pytest.raises(MeterError, match=message):
        meter_on(Scripted({}), **settings)


@pytest.mark.parametrize(
    ("answers", "waiting", "kind", "message"),
    [
        ({}, b"", NoAnswerError, r"no answer to #V,R,0; in 3 s"),
        ({b"#V,R,0;": b"\xfe\x80\x01\x7f"}, b"", NoPacketError, "12 bytes came and no packet"),
        ({b"#V,R,0;": EXAMPLE}, b"", WrongInstrumentError, "3 packets and no answer to #V"),
        ({b"#V,R,0;": VERSION}, b"", NoAnswerError, r"no answer to #H,R,0; in 3 s"),
        (
            {b"#V,R,0;": VERSION, b"#H,R,0;": b"#h,-,2,V,A;"},
            b"",
            WrongInstrumentError,
            "no field W",
        ),
    ],
)
def test_what_can_be_wrong_with_the_port_is_one_line(answers, waiting, kind, message):
    with pytest.raises(kind, match=message) as caught:
        meter_on(Scripted(answers, waiting)).open()
    assert str(caught.value).startswith("/dev/scripted: ")
    assert "\n" not in str(caught.value)


def test_a_request_that_was_lost_is_sent_again():
    class Deaf(Scripted):
        def write(self, data):
            if data in self.sent:
                self.answers[data] = {b"#V,R,0;": VERSION, b"#H,R,0;": HEADER}[data]
            super().write(data)

    transport = Deaf({})
    meter_on(transport).open()
    assert transport.sent.count(b"#V,R,0;") == transport.sent.count(b"#H,R,0;") == 2


def test_probe_asks_for_the_version_alone():
    transport = Scripted({b"#V,R,0;": VERSION}, waiting=b"junk;")
    assert probe(transport) == "Watts Up? PRO, firmware 4.42"
    assert transport.sent == [b"#V,R,0;"]
    assert probe(Scripted({b"#V,R,0;": b"\x01\x02;!ERR V unknown_command\n"})) is None
    assert probe(Scripted({})) is None


def test_readings_come_once_a_second_with_the_power_of_the_second_before():
    meter, line = on_line(Trace([(30.0, 40.0)]))
    meter.open()
    events = events_of(meter, listen(meter, line, 20))
    samples = [event for event in events if isinstance(event, Sample)]
    assert 19 <= len(samples) <= 20
    assert not [event for event in events if isinstance(event, Gap)]
    for before, after in pairwise(samples):
        assert after.device_time_s - before.device_time_s == pytest.approx(
            1.0, abs=0.06
        )  # a step of the line
    for sample in samples[1:]:
        assert sample.power_w == pytest.approx(40.0, abs=40 * 0.015 + 0.3 + 0.05)
        assert sample.voltage_v == 230.0
        assert sample.current_a == pytest.approx(sample.power_w / 230 / 0.9, abs=1e-3)


def test_every_reading_follows_again_from_bytes_and_times():
    meter, line = on_line(Trace([(5.0, 40.0), (5.0, 80.0), (60.0, 20.0)]))
    meter.open()
    chunks = listen(meter, line, 30)
    live = events_of(meter, chunks)
    decoder = find_driver("wattsup").decoder(json.loads(json.dumps(meter.identity())))
    assert [event for time_s, raw in chunks for event in decoder.feed(raw, time_s)] == live
    assert sum(isinstance(event, Sample) for event in live) >= 28


def test_a_meter_that_was_switched_off_and_on_is_started_again():
    meter, line = on_line(Trace([(100.0, 40.0)]))
    meter.open()
    chunks = listen(meter, line, 10)
    line.device.fault(REBOOT)
    chunks += listen(meter, line, 30)
    events = events_of(meter, chunks)
    gaps = [event for event in events if isinstance(event, Gap)]
    assert [gap.kind for gap in gaps] == ["restart"]
    assert line.written[-2:] == [b"#H,R,0;", b"#L,W,3,E,,1;"]
    after = [e for e in events if isinstance(e, Sample) and e.device_time_s > gaps[0].device_time_s]
    assert len(after) >= 20


def test_a_closed_meter_reads_no_more():
    meter, _ = on_line(Trace())
    meter.open()
    meter.receive(0.05)
    meter.close()
    with pytest.raises(PortClosedError, match="closed"):
        meter.receive(0.05)


def test_what_the_driver_states():
    assert (DRIVER.name, DRIVER.baud, DRIVER.frame) == ("wattsup", BAUD, "8N1")
    meter, _ = on_line(Trace())
    assert (meter.reading, meter.resolution_w, meter.period_s) == ("average", 0.1, 1.0)
    # "for example 100 W load is +/- 1.8 W": the two limits of the formula add up to that.
    accuracy = meter.accuracy
    assert accuracy.reading * 100 + accuracy.counts_w == pytest.approx(1.8)
    uncertainty = accuracy.power_uncertainty_w(Sample(0, 0.0, 120.0, 1.0, 100.0))
    assert uncertainty == pytest.approx((1.5**2 / 3 + 0.3**2 / 3) ** 0.5)
