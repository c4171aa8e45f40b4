# SPDX-License-Identifier: Apache-2.0
"""Packets and readings of the Watts Up? PRO, byte by byte, from the protocol's examples."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.wattsup.protocol import (
    MAX_PACKET,
    Header,
    Packet,
    PacketSplitter,
    Reading,
    Version,
    WattsUpDecoder,
    contradiction,
    interpret,
)

NAMES = (
    *("W", "V", "A", "WH", "Cost", "WH/Mo", "Cost/Mo", "Wmax", "Vmax", "Amax"),
    *("Wmin", "Vmin", "Amin", "PF", "DC", "PC", "Hz", "VA"),
)
HEADER = b"#h,-,18,W,V,A,WH,Cost,WH/Mo,Cost/Mo,Wmax,Vmax,Amax,Wmin,Vmin,Amin,PF,DC,PC,Hz,VA;\r\n"
EXAMPLE = b"#d,-,18,965,1204,792,1,0,69384,5550,965,1205,833,965,1203,779,100,0,0,500,965;\r\n"
# Packets of meters in the field: 230 V with a power factor of 0.95; only some fields logged.
FIELD_230 = b"#d,-,18,972,2277,433,5,0,70035,5602,973,2280,435,972,2274,432,95,0,0,500,1020;"
FIELD_SOME = b"#d,-,18,610,1186,545,45,_,_,_,610,_,_,_,_,_,94,_,_,_,_;"
FIELD_THREE = b"#d,-,18,356,2300,186,_,_,_,_,_,_,_,_,_,_,_,_,_,_,_;"


def packet_of(watts, hours=1, cycles=0):
    fields = dict.fromkeys(NAMES, "_") | {"W": watts, "WH": hours, "PC": cycles}
    return f"#d,-,18,{','.join(str(fields[name]) for name in NAMES)};".encode()


def decode(*chunks, interval_s=1.0):
    """Chunks of bytes, or (bytes, host time); without a time, one second after another."""
    decoder, events = WattsUpDecoder(interval_s), []
    for number, chunk in enumerate(chunks):
        data, time_s = chunk if isinstance(chunk, tuple) else (chunk, float(number))
        events += decoder.feed(data, time_s)
    return events


def samples(events):
    return [event for event in events if isinstance(event, Sample)]


def test_the_protocols_example():
    header, sample = decode(HEADER, (EXAMPLE, 7.25))
    assert header == Header(NAMES)
    assert sample == Sample(0, 7.25, 120.4, 0.792, 96.5, pytest.approx(0.1))


def test_packets_of_meters_in_the_field():
    events = decode(HEADER, FIELD_230, FIELD_SOME, (FIELD_THREE, 3.0))
    assert samples(events) == [
        Sample(0, 1.0, 227.7, 0.433, 97.2, 0.5),
        Sample(1, 2.0, 118.6, 0.545, 61.0, 4.5),
        Sample(2, 3.0, 230.0, 0.186, 35.6, None),
    ]
    assert len(events) == 4


def test_fields_are_found_by_name_wherever_they_stand():
    events = decode(b"#h,-,4,Hz,A,W,V;", b"#d,-,4,600,833,965,1204;")
    assert events[1] == Sample(0, 1.0, 120.4, 0.833, 96.5, None)


def test_version():
    packets = PacketSplitter().feed(b"\x00#v,-,8,1,32768,6,16,4,42,20071130093000,3A;\r\n")
    assert [interpret(packet, ()) for packet in packets] == [Version("1", "6.16", "4.42")]


def test_what_lies_between_packets_is_ignored():
    stream = b"965;\x00\xff Watts up? PRO\r\n" + HEADER + b";;,d,-\x00" + EXAMPLE
    assert [type(event) for event in decode(stream)] == [Header, Sample]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (EXAMPLE.replace(b",965;", b";"), "number of arguments"),
        (EXAMPLE.replace(b"18,", b"19,"), "number of arguments"),
        (EXAMPLE.replace(b"18,", b"1\xb2,"), "no packet of the protocol"),
        (EXAMPLE.replace(b"#d,-,18", b"#d,-,x"), "no packet of the protocol"),
        (EXAMPLE.replace(b"1204", b"-204"), "neither a count nor _"),
        (EXAMPLE.replace(b"1204", b""), "neither a count nor _"),
        (EXAMPLE.replace(b"1204", b"12.4"), "neither a count nor _"),
        (EXAMPLE.replace(b"1204", b"99999999999"), "neither a count nor _"),
        (EXAMPLE.replace(b"1204", b"65536"), "beyond its width"),
        (EXAMPLE.replace(b"#d,-,18,965", b"#d,-,18,_"), "does not log W"),
        (EXAMPLE.replace(b"#d,-,18,965", b"#d,-,18,165"), "W is not between"),
        (EXAMPLE.replace(b"0,500,965;", b"0,500,465;"), "W is more than VA"),
        (EXAMPLE.replace(b",100,0,0", b",10,0,0"), "PF is not W/VA"),
        (b"#d,-,2,965,1204;", "2 fields, the header has 18"),
        (b"#d,-;", "no packet of the protocol"),
        (b"#;", "no packet of the protocol"),
        (b"#v,-,2,1,32768;", "too few arguments"),
        (EXAMPLE[:40] + EXAMPLE, "cut off by the next packet"),
        (b"#d" + b"9" * MAX_PACKET + b";", "longer than"),
    ],
)
def test_what_fits_no_rule_is_reported_and_no_reading(data, reason):
    bad = decode(HEADER, data)[1]
    assert isinstance(bad, Malformed)
    assert reason in bad.reason
    assert len(bad.line) <= 4 * 60


def test_no_reading_without_the_names_of_its_fields():
    (event,) = decode(EXAMPLE)
    assert isinstance(event, Malformed)
    assert "before the header" in event.reason


def test_the_reading_after_a_torn_packet_is_read():
    events = decode(HEADER, EXAMPLE[:40], EXAMPLE)
    assert [type(event) for event in events] == [Header, Malformed, Sample]


@pytest.mark.parametrize(
    ("name", "value", "what"),
    [("A", 18_182, "current"), ("W", 50_000, "power"), ("V", 2_801, "voltage")],
)
def test_the_end_of_a_range_is_said_before_the_reading(name, value, what):
    body = b"#h,-,1,W;" if name == "W" else f"#h,-,2,W,{name};".encode()
    data = b"#d,-,1,50000;" if name == "W" else f"#d,-,2,100,{value};".encode()
    _, over, sample = decode(body, data)
    assert over == OverRange(0, 1.0, what)
    assert isinstance(sample, Sample)


def test_a_missing_packet_is_a_gap_with_the_number_of_lost_readings():
    events = decode(
        HEADER, (packet_of(10), 1.0), (packet_of(11), 2.02), (packet_of(12), 5.01), interval_s=1
    )
    assert [e for e in events if isinstance(e, Gap)] == [Gap("time", 5.01, 2)]
    assert [sample.seq for sample in samples(events)] == [0, 1, 2]


def test_a_copy_is_left_out_and_said():
    events = decode(HEADER, (packet_of(10), 1.0), (packet_of(10), 1.01), (packet_of(10), 2.0))
    assert [e for e in events if isinstance(e, Gap)] == [Gap("stale", 1.01, 1)]
    assert [sample.device_time_s for sample in samples(events)] == [1.0, 2.0]


def test_packets_that_waited_for_a_busy_host_are_a_gap_and_no_wrong_times():
    burst = packet_of(10) + packet_of(20) + packet_of(30)
    events = decode(HEADER, (packet_of(5), 1.0), (burst, 4.4), (packet_of(40), 5.0))
    gaps = [event for event in events if isinstance(event, Gap)]
    assert gaps == [Gap("time", 4.4, 2), Gap("stale", 4.4, 1), Gap("stale", 4.4, 1)]
    assert [sample.power_w for sample in samples(events)] == [0.5, 1.0, 4.0]


@pytest.mark.parametrize(("hours", "cycles"), [(9, 0), (10, 1), (0, 1)])
def test_a_restart_shows_in_the_meters_counters(hours, cycles):
    events = decode(
        HEADER, (packet_of(10, hours=10), 1.0), (packet_of(10, hours, cycles), 2.0), interval_s=1
    )
    assert [e for e in events if isinstance(e, Gap)] == [Gap("restart", 2.0, 0)]


def test_a_host_clock_that_goes_back_is_a_restart():
    events = decode(HEADER, (packet_of(10), 100.0), (packet_of(10), 40.0), (packet_of(10), 41.0))
    assert [e for e in events if isinstance(e, Gap)] == [Gap("restart", 40.0, 0)]
    assert len(samples(events)) == 3


def test_a_longer_interval_has_its_own_gaps():
    events = decode(HEADER, (packet_of(10), 0.0), (packet_of(10), 5.0), interval_s=5)
    assert not [e for e in events if isinstance(e, Gap)]


def test_state_through_json_continues_alike():
    chunks = [(HEADER, 0.0), *((packet_of(n, hours=n), float(n)) for n in range(1, 6))]
    straight, first, second = WattsUpDecoder(), WattsUpDecoder(), WattsUpDecoder()
    expected = [straight.feed(*chunk) for chunk in chunks]
    head = [first.feed(*chunk) for chunk in chunks[:3]]
    second.restore(json.loads(json.dumps(first.state())))
    assert head + [second.feed(*chunk) for chunk in chunks[3:]] == expected
    assert second.state() == straight.state()


def test_extremes_and_apparent_power_agree_in_true_packets():
    for packet in (EXAMPLE, FIELD_230, FIELD_SOME, FIELD_THREE):
        values = packet.strip(b"#;\r\n").decode().split(",")[3:]
        fields = {n: None if v == "_" else int(v) for n, v in zip(NAMES, values, strict=True)}
        assert contradiction(fields) is None


@given(st.lists(st.sampled_from([HEADER, EXAMPLE, FIELD_SOME, b"\x00#d,", b";", b"x"])), st.data())
def test_packets_do_not_depend_on_the_cuts(parts, data):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = WattsUpDecoder(), WattsUpDecoder()
    events = [event for piece in pieces for event in cut.feed(piece, 1.0)]
    assert events == whole.feed(stream, 1.0)
    assert cut.state() == whole.state()


@given(st.lists(st.binary(max_size=300) | st.sampled_from([HEADER, EXAMPLE, b"#d,-,18,"])))
def test_no_bytes_raise_and_memory_is_bounded(chunks):
    decoder = WattsUpDecoder()
    for number, chunk in enumerate(chunks):
        for event in decoder.feed(chunk, float(number)):
            assert isinstance(event, tuple)
        assert decoder.pending <= MAX_PACKET


@given(st.integers(0, len(EXAMPLE) - 3), st.integers(0, 255))
def test_one_spoilt_byte_never_moves_power_by_more_than_ten_percent(place, byte):
    """No checksum guards a packet, but its fields guard each other."""
    spoilt = bytearray(EXAMPLE)
    spoilt[place] = byte
    for sample in samples(decode(HEADER, bytes(spoilt))):
        assert sample.power_w == pytest.approx(96.5, rel=0.1)


def test_readings_and_packets_are_what_they_say():
    (packet,) = PacketSplitter().feed(EXAMPLE)
    assert isinstance(packet, Packet)
    assert packet.command == "d"
    reading = interpret(packet, NAMES)
    assert isinstance(reading, Reading)
    assert (reading.watts, reading.volts, reading.amperes) == (965, 1204, 792)
    assert (reading.watt_hours, reading.power_cycles, reading.over_range) == (1, 0, None)
