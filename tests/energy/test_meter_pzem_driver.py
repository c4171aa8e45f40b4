# SPDX-License-Identifier: Apache-2.0
"""The PZEM driver: its conversation in exact bytes, and on the simulated modules."""

import json
from itertools import pairwise

import pytest

from meter_parts import Scripted, events_of, listen, with_crc
from powermeter.errors import (
    MeterError,
    NoAnswerError,
    NoPacketError,
    PortClosedError,
    WrongInstrumentError,
)
from powermeter.events import Gap, Sample
from powermeter.meters import find_driver
from powermeter.meters.pzem.meter import DRIVER_004T, DRIVER_017, Pzem
from powermeter.meters.pzem.models import PZEM_004T, PZEM_017
from powermeter.meters.pzem.protocol import ModbusError
from powermeter.meters.pzem.simulator import LATE, REFUSE, PzemDevice
from powermeter.simulation.device import REBOOT, SKIP, Trace
from simulated_line import SimulatedLine

READ_10 = bytes.fromhex("01 04 00 00 00 0A 70 0D")
REPLY_10 = bytes.fromhex(
    "01 04 14 08 C5 00 6C 00 00 00 F2 00 00 18 3D 00 00 01 F4 00 64 00 00 53 8E"
)
ERROR_READ = bytes.fromhex("01 84 02 C2 C1")
# Standard requests and replies, CRC from a table of the Modbus specification's algorithm.
READ_8 = bytes.fromhex("01 04 00 00 00 08 F1 CC")
HOLDING_4 = bytes.fromhex("01 03 00 00 00 04 44 09")


def meter_on(transport, model=PZEM_004T, **settings):
    return Pzem(model, transport, settings=settings, clock=transport.clock)


def on_line(model, trace, seed=3, settings=None, **device):
    line = SimulatedLine(PzemDevice(model, seed, **device), trace)
    meter = Pzem(model, line, provenance="simulated", settings=settings, clock=line.clock)
    return meter, line


def test_opening_reads_the_ten_registers_once():
    transport = Scripted({READ_10: REPLY_10})
    meter = meter_on(transport)
    meter.open()
    assert transport.sent == [READ_10]
    assert meter.identity() == {
        "model": "PZEM-004T",
        "address": 1,
        "range_a": 100,
        "period_s": 0.5,
    }


READ_10_GENERAL = with_crc(bytes.fromhex("F8 04 00 00 00 0A"))
REPLY_10_GENERAL = with_crc(b"\xf8" + REPLY_10[1:-2])


def test_a_module_of_unknown_address_is_asked_at_the_general_one():
    transport = Scripted({READ_10_GENERAL: REPLY_10_GENERAL})
    meter = meter_on(transport)
    meter.open()
    assert transport.sent == [READ_10, READ_10_GENERAL]
    assert meter.identity()["address"] == 0xF8
    assert "no answer at address 1; a PZEM-004T answered at the general address 0xF8" in str(
        meter.notes
    )
    transport.written.clear()
    transport.waiting = REPLY_10_GENERAL
    assert [type(event) for event in meter.decode(meter.receive(0.0), 1.0)] == [Sample]
    assert transport.sent[0][0] == 0xF8
    assert meter_on(Scripted({READ_10_GENERAL: b""}), address="0xF8").identity()["address"] == 0xF8


@pytest.mark.parametrize("model", [PZEM_004T, PZEM_017], ids=lambda model: model.name)
@pytest.mark.parametrize("address", [1, 2, 247])
def test_a_simulated_module_at_any_address_is_found(model, address):
    for settings, used in (({}, 1 if address == 1 else 0xF8), ({"address": address}, address)):
        meter, line = on_line(model, Trace([(40.0, 60.0)]), settings=settings, address=address)
        meter.open()
        assert meter.identity()["address"] == used
        assert bool(meter.notes) == (used == 0xF8)
        events = events_of(meter, listen(meter, line, 5))
        assert {type(event) for event in events} == {Sample}
    if address != 1:
        meter, _ = on_line(model, Trace(), settings={"address": 1}, address=address)
        with pytest.raises(NoAnswerError, match=r"at address 1$"):
            meter.open()


@pytest.mark.parametrize("driver", [DRIVER_004T, DRIVER_017], ids=lambda driver: driver.name)
def test_a_scan_finds_the_module_s_own_address(driver):
    line = SimulatedLine(driver.simulator(address=37), Trace())
    found = list(driver.scan(line))
    assert len(found) == 247
    assert [n for n, answer in enumerate(found, 1) if answer] == [37]
    assert found[36] == f"{driver.name.upper()} at address 37"
    assert line.elapsed_s < 80
    assert driver.probe(line) == f"{driver.name.upper()} at the general address 0xF8"


def test_an_adapter_that_echoes_and_a_module_that_does_not_answer():
    with pytest.raises(NoAnswerError, match="only an echo of the requests came"):
        meter_on(Scripted({READ_10: READ_10, READ_10_GENERAL: READ_10_GENERAL})).open()
    transport = Scripted({READ_10: READ_10 + REPLY_10})
    meter = meter_on(transport)
    meter.open()
    assert meter.identity()["address"] == 1


def test_requests_go_out_on_a_fixed_grid_however_late_the_calls_come():
    transport = Scripted({READ_10: REPLY_10})
    meter = meter_on(transport, period_s=1.0)
    meter.open()
    transport.written.clear()
    began, due = transport.now, []
    for wait in (0.3, 0.3, 0.9, 0.05, 3.4, 0.05, 0.2, 1.0, 1.0):
        before = len(transport.written)
        meter.receive(0.0)
        due += [time_s - began for time_s, _ in transport.written[before:]]
        meter.receive(0.0)
        transport.now += wait
    assert due == pytest.approx([0.0, 1.5, 4.95, 5.0, 6.2], abs=1e-9)
    # Turn after turn asks for another length, and a turn that was missed counts: 1 to 7 were due.
    lengths = [data[5] for data in transport.sent]
    assert lengths == [(10, 9, 8)[turn % 3] for turn in (1, 2, 5, 6, 7)]


def test_the_dc_module_is_asked_for_its_current_range():
    holding = bytes.fromhex("01 03 08 75 30 02 BC 00 01 00 01")
    zeros = bytes.fromhex("01 04 10") + bytes(16)
    transport = Scripted({HOLDING_4: with_crc(holding), READ_8: with_crc(zeros)})
    meter = meter_on(transport, PZEM_017)
    meter.open()
    assert transport.sent == [HOLDING_4, READ_8]
    assert meter.identity()["range_a"] == 50
    with pytest.raises(MeterError, match="in its 50 A range, not 300 A"):
        meter_on(transport, PZEM_017, range_a=300).open()


@pytest.mark.parametrize(
    ("model", "answers", "kind", "message"),
    [
        (
            PZEM_004T,
            {},
            NoAnswerError,
            "PZEM-004T at address 1 or the general address",
        ),
        (PZEM_004T, {READ_10: b"\xfe\x80"}, NoPacketError, "6 bytes came and no reply"),
        (PZEM_004T, {READ_10: ERROR_READ}, WrongInstrumentError, r"error 2\); is it a PZEM-017"),
        (PZEM_017, {HOLDING_4: with_crc(b"\x01\x83\x02")}, WrongInstrumentError, "PZEM-004T?"),
        (
            PZEM_017,
            {HOLDING_4: with_crc(bytes.fromhex("01 03 08 75 30 02 BC 00 01 00 09"))},
            WrongInstrumentError,
            "no current range 9",
        ),
    ],
)
def test_what_can_be_wrong_with_the_port_is_one_line(model, answers, kind, message):
    with pytest.raises(kind, match=message) as caught:
        meter_on(Scripted(answers), model).open()
    assert str(caught.value).startswith("/dev/scripted: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"address": 0}, "address takes auto or a whole number from 1 to 248; got 0"),
        ({"period_s": 0.1}, r"period_s takes a number from 0\.2 to 60, in s; got 0\.1"),
        ({"range_a": 50}, "range_a takes one of 10, 100, in A; got 50"),
        ({"averages": 4}, "no setting 'averages'; there is: address, period_s, range_a"),
    ],
)
def test_settings_that_it_does_not_have_are_refused(settings, message):
    with pytest.raises(MeterError, match=message):
        meter_on(Scripted({}), **settings)


@pytest.mark.parametrize("driver", [DRIVER_004T, DRIVER_017], ids=lambda driver: driver.name)
def test_probe_tells_the_two_models_apart(driver):
    own = SimulatedLine(driver.simulator(), Trace())
    assert driver.probe(own).startswith(driver.name.upper())
    other = DRIVER_017 if driver is DRIVER_004T else DRIVER_004T
    assert driver.probe(SimulatedLine(other.simulator(), Trace())) is None
    assert driver.probe(Scripted({})) is None


@pytest.mark.parametrize(
    ("model", "volts"), [(PZEM_004T, 230.0), (PZEM_017, 12.0)], ids=["004t", "017"]
)
def test_readings_follow_the_power_within_the_accuracy(model, volts):
    meter, line = on_line(model, Trace([(40.0, 60.0)]))
    meter.open()
    listen(meter, line, 3)
    events = events_of(meter, listen(meter, line, 20))
    samples = [event for event in events if isinstance(event, Sample)]
    assert samples == events
    assert 39 <= len(samples) <= 41
    for before, after in pairwise(samples):
        assert after.device_time_s - before.device_time_s == pytest.approx(
            0.5, abs=0.06
        )  # a step of the line
    limit = 60 * model.accuracy.reading + 0.05
    for sample in samples:
        assert sample.power_w == pytest.approx(60.0, abs=limit)
        assert sample.voltage_v == pytest.approx(volts)


@pytest.mark.parametrize("name", ["pzem-004t", "pzem-017"])
def test_every_reading_follows_again_from_bytes_and_times(name):
    model = {"pzem-004t": PZEM_004T, "pzem-017": PZEM_017}[name]
    meter, line = on_line(model, Trace([(5.0, 40.0), (5.0, 80.0), (60.0, 20.0)]))
    meter.open()
    chunks = listen(meter, line, 30)
    decoder = find_driver(name).decoder(json.loads(json.dumps(meter.identity())))
    again = [event for time_s, raw in chunks for event in decoder.feed(raw, time_s)]
    assert again == events_of(meter, chunks)
    assert sum(isinstance(event, Sample) for event in again) >= 58


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (SKIP, ["time"]),
        (REFUSE, ["time"]),
        (LATE, ["time", "stale"]),  # it comes together with the next reply, and is left out
        (REBOOT, ["time"]),
    ],
)
def test_every_fault_of_the_module_is_a_gap(kind, expected):
    meter, line = on_line(PZEM_004T, Trace([(100.0, 40.0)]))
    meter.open()
    chunks = listen(meter, line, 5)
    line.device.fault(kind)
    events = events_of(meter, chunks + listen(meter, line, 10))
    gaps = [event for event in events if isinstance(event, Gap)]
    assert [gap.kind for gap in gaps] == expected
    assert any(isinstance(event, ModbusError) for event in events) == (kind == REFUSE)
    assert isinstance(events[-1], Sample)


def test_the_energy_counter_is_reset_on_request_only():
    reset = bytes.fromhex("01 42 80 11")
    transport = Scripted({READ_10: REPLY_10, reset: reset})
    meter = meter_on(transport)
    meter.open()
    meter.reset_energy()
    assert transport.sent == [READ_10, reset]


def test_a_closed_meter_reads_no_more():
    meter, _ = on_line(PZEM_004T, Trace())
    meter.open()
    meter.close()
    with pytest.raises(PortClosedError, match="closed"):
        meter.receive(0.05)


def test_what_the_drivers_state():
    assert (DRIVER_004T.name, DRIVER_004T.baud, DRIVER_004T.frame) == ("pzem-004t", 9600, "8N1")
    assert (DRIVER_017.name, DRIVER_017.baud, DRIVER_017.frame) == ("pzem-017", 9600, "8N2")
    meter = meter_on(Scripted({}))
    assert (meter.driver, meter.reading, meter.resolution_w) == ("pzem-004t", "average", 0.1)
    assert meter.accuracy.reading == 0.005
    assert meter_on(Scripted({}), PZEM_017).accuracy.reading == 0.01
