# SPDX-License-Identifier: Apache-2.0
"""The line protocol, byte by byte: examples of the firmware's protocol description."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.events import ClockAnchor, Gap, Malformed, OverRange, Sample
from powermeter.meters.ina226.protocol import MAX_LINE, Config, Err, Hello, LineDecoder, Ok


def decode(*chunks: bytes) -> list:
    decoder = LineDecoder()
    return [event for chunk in chunks for event in decoder.feed(chunk)]


def test_readings_at_ten_milliohms():
    assert decode(b"D,1,5000000,3200,400\nD,2,5001000,3200,-400\r\n") == [
        Sample(1, 5.0, pytest.approx(4.0), pytest.approx(0.1), pytest.approx(0.4)),
        Sample(2, 5.001, pytest.approx(4.0), pytest.approx(-0.1), pytest.approx(-0.4)),
    ]


def test_replies():
    stream = (
        b"!HELLO,EdgePowerMeter,2.0.0,2\n"
        b"!CFG,avg=4,vct=1100,ict=1100,shunt=0.01,oled=1,stream=1,mode=RAW,sqw=1,period_us=8800\n"
        b"!OK MODE\n!ERR SET invalid_value\n!ERR ? line_too_long\n"
        b"T,2000000,1790000000,S\nT,3000123,1790000001,P\n"
    )
    assert decode(stream) == [
        Hello("EdgePowerMeter", "2.0.0", 2),
        Config(4, 1100, 1100, 0.01, "RAW", 8800),
        Ok("MODE"),
        Err("SET", "invalid_value"),
        Err("?", "line_too_long"),
        ClockAnchor(2.0, 1790000000, "S"),
        ClockAnchor(3.000123, 1790000001, "P"),
    ]


def test_shunt_of_the_configuration_scales_the_current_unless_fixed():
    stream = b"!CFG,avg=1,vct=140,ict=140,shunt=0.02,period_us=280\nD,1,0,3200,400\n"
    assert decode(stream)[-1].current_a == pytest.approx(0.05)
    assert LineDecoder(shunt_ohm=0.1).feed(stream)[-1].current_a == pytest.approx(0.01)


def test_period_follows_from_averages_and_conversion_times():
    (config,) = decode(b"!CFG,avg=16,vct=332,ict=588,sqw=1\n")
    assert config.period_us == 14720


def test_older_and_informational_lines_are_ignored():
    decoder = LineDecoder()
    stream = (
        b"# EdgePowerMeter v2.0.0 ready (protocol 2)\n[INFO] old style\n=== start ===\n\n"
        b"Timestamp,Voltage[V],Current[A],Power[W]\n2026-10-08 12:34:56.123,12.3450,0.1234,1.5234\n"
    )
    assert decoder.feed(stream) == []
    assert (decoder.ignored, decoder.malformed) == (6, 0)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"D,x,1,2,3", "no line"),
        (b"D,1,2,3", "no line"),
        (b"D,1,2,3,4,5", "no line"),
        (b"D, 1,2,3,4", "no line"),
        (b"\xff\xfe garbage", "no line"),
        (b"23,456,9600,8667", "no line"),
        (b"D,4294967296,1,2,3", "width"),
        (b"D,1,2,65536,3", "width"),
        (b"D,1,2,3,32768", "width"),
        (b"D,1,9999999999999999999,3,4", "width"),
        (b"!CFG,avg=4,vct=fast,ict=1", "lacks a number"),
        (b"!CFG,avg=4,vct=140,ict=140,shunt=nan", "impossible"),
        (b"!WHAT", "no reply"),
        (b"D" * 300, "longer than"),
    ],
)
def test_malformed_lines_are_reported_and_never_guessed(line, reason):
    decoder = LineDecoder()
    (event,) = decoder.feed(line + b"\n")
    assert isinstance(event, Malformed)
    assert reason in event.reason
    assert (decoder.malformed, decoder.samples) == (1, 0)


def test_sequence_gap_is_counted_across_the_wrap():
    decoder = LineDecoder()
    events = decoder.feed(b"D,4294967294,0,1,1\nD,1,3000,1,1\n")  # ...95 and 0 are missing
    assert events[1] == Gap("sequence", 0.003, 2)
    assert decoder.lost == 2


def test_sequence_wrap_alone_is_no_gap():
    events = decode(b"D,4294967295,0,1,1\nD,0,1000,1,1\n")
    assert [type(event) for event in events] == [Sample, Sample]


def test_time_gap_where_the_sequence_goes_on():
    events = decode(
        b"!CFG,avg=1,vct=140,ict=140,period_us=1000\nD,1,0,1,1\nD,2,4000,1,1\nD,3,5100,1,1\n"
    )
    assert [event for event in events if isinstance(event, Gap)] == [Gap("time", 0.004, 3)]


def test_a_repeated_number_is_not_counted_twice():
    events = decode(b"D,7,0,1,1\nD,7,0,1,1\n")
    assert isinstance(events[0], Sample)
    assert events[1].reason == "sequence number repeated"


def test_restart_is_reported():
    events = decode(b"D,500,9000000,1,1\nD,1,2000000,1,1\nD,2,2008800,1,1\n")
    assert [event for event in events if isinstance(event, Gap)] == [Gap("restart", 2.0, 0)]


def test_a_32_bit_clock_is_unwrapped_for_readings_and_anchors():
    last = (1 << 32) - 5000
    stream = b"D,1,%d,1,1\nT,1000,1790000000,S\nD,2,3800,1,1\nT,4000,1790000001,S\nD,3,12600,1,1\n"
    first, anchor, second, late, third = decode(stream % last)
    assert anchor.device_time_s == ((1 << 32) + 1000) / 1e6
    assert late.device_time_s == ((1 << 32) + 4000) / 1e6
    assert second.device_time_s - first.device_time_s == pytest.approx(0.0088)
    assert third.device_time_s - second.device_time_s == pytest.approx(0.0088)


def test_a_wide_clock_is_taken_as_it_is():
    assert decode(b"D,1,%d,1,1\n" % (1 << 40))[0].device_time_s == (1 << 40) / 1e6


@pytest.mark.parametrize("shunt", [32767, -32768])
def test_the_end_of_the_range_is_announced(shunt):
    over, sample = decode(b"D,1,0,9600,%d\n" % shunt)
    assert over == OverRange(1, 0.0, "shunt")
    assert isinstance(sample, Sample)


GOOD = [
    b"D,1,1000,9600,800\n",
    b"D,2,9800,9600,800\n",
    b"D,9,71400,9600,-12\r\n",
    b"T,5000,1790000000,S\n",
    b"!OK MODE\n",
    b"!CFG,avg=4,vct=1100,ict=1100,shunt=0.01,period_us=8800\n",
    b"# note\n",
    b"x" * 700 + b"\n",
    b"D,1,10",
    b"\n",
]


@st.composite
def chunked(draw):
    """A stream of good lines, garbage and both cut short, and some way to cut it into chunks."""
    stream = b"".join(draw(st.lists(st.sampled_from(GOOD) | st.binary(max_size=40), max_size=20)))
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=12)))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[a:b] for a, b in pairwise(edges)]


@given(chunked())
def test_any_chunking_gives_the_same_events_and_state(case):
    stream, chunks = case
    whole, cut = LineDecoder(), LineDecoder()
    at_once = whole.feed(stream)
    assert [event for chunk in chunks for event in cut.feed(chunk)] == at_once
    assert cut.state() == whole.state()
    assert cut.pending == whole.pending == len(stream) - (stream.rfind(b"\n") + 1)


@given(st.binary(max_size=3000))
def test_garbage_never_raises_and_memory_is_bounded(garbage):
    decoder = LineDecoder()
    decoder.feed(garbage)
    decoder.feed(b"z" * 10_000)
    assert len(decoder._pending) <= MAX_LINE + 1


@given(chunked(), st.integers(0, 19))
def test_state_continues_at_any_line_boundary(case, boundary):
    stream, _ = case
    lines = stream.split(b"\n")
    head = b"".join(line + b"\n" for line in lines[: min(boundary, len(lines) - 1)])
    straight, first, second = LineDecoder(), LineDecoder(), LineDecoder()
    expected = straight.feed(stream)
    events = first.feed(head)
    second.restore(first.state())
    assert events + second.feed(stream[len(head) :]) == expected
