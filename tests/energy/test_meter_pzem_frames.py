# SPDX-License-Identifier: Apache-2.0
"""Modbus frames and readings of the PZEM modules, byte by byte, from the manual's examples."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter_parts import with_crc
from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.pzem.models import PZEM_004T, PZEM_017
from powermeter.meters.pzem.protocol import (
    READ_INPUT,
    ModbusError,
    OtherTraffic,
    PzemDecoder,
    Reply,
    ReplySplitter,
    read_holding,
    read_input,
    reset_energy,
)

REQUEST = bytes.fromhex("01 04 00 00 00 0A 70 0D")
REPLY = bytes.fromhex("01 04 14 08 C5 00 6C 00 00 00 F2 00 00 18 3D 00 00 01 F4 00 64 00 00 53 8E")
RESET = bytes.fromhex("01 42 80 11")
ERROR = bytes.fromhex("01 84 02 C2 C1")
REGISTERS = [2245, 108, 0, 242, 0, 6205, 0, 500, 100, 0]
READING = (pytest.approx(224.5), 0.108, pytest.approx(24.2), 6205.0)


def reply_of(registers, address=1, function=4):
    data = bytes([address, function, 2 * len(registers)])
    data += b"".join(word.to_bytes(2, "big") for word in registers)
    return with_crc(data)


OTHER = read_input(2, 10) + reply_of(REGISTERS, address=2)
TURNS = [REPLY, reply_of(REGISTERS[:9]), reply_of(REGISTERS[:8])]


def decoder_of(model=PZEM_004T, period_s=0.5, range_a=100):
    return PzemDecoder(model, 1, period_s, range_a)


def decode(*chunks, **options):
    """Chunks of bytes, or (bytes, host time); without a time, half a second after another."""
    decoder, events = decoder_of(**options), []
    for number, chunk in enumerate(chunks):
        data, time_s = chunk if isinstance(chunk, tuple) else (chunk, 0.5 * number)
        events += decoder.feed(data, time_s)
    return events


def test_requests_are_the_manuals_bytes():
    assert read_input(1, 10) == REQUEST
    assert reset_energy(1) == RESET
    head = bytes.fromhex("F7 03 00 00 00 04")
    assert read_holding(0xF7, 4) == with_crc(head)


def test_replies_are_read_as_in_the_manual():
    assert ReplySplitter(1).feed(REPLY + ERROR + RESET) == [
        Reply(4, REGISTERS),
        ModbusError(4, 2),
        Reply(0x42, []),
    ]


def test_a_reading_of_the_manual():
    assert decode((REPLY, 12.5)) == [
        Sample(0, 12.5, pytest.approx(224.5), 0.108, pytest.approx(24.2), 6205.0)
    ]


def test_low_words_come_first():
    registers = [2300, 0x86A0, 0x0001, 0x1170, 0x0001, 0x0001, 0x0002, 500, 100, 0]
    assert decode(reply_of(registers), range_a=1000) == [
        Sample(0, 0.0, 230.0, 100.0, pytest.approx(7000.0), 131073.0)
    ]


def test_a_reading_of_the_dc_module():
    registers = [1203, 246, 296, 1, 7, 1, 0, 0]  # 12.03 V, 2.46 A, 65832 x 0.1 W, 65543 Wh
    assert decode(reply_of(registers), model=PZEM_017) == [
        Sample(0, 0.0, pytest.approx(12.03), 2.46, pytest.approx(6583.2), 65543.0)
    ]


@pytest.mark.parametrize("place", range(len(REPLY)))
def test_no_spoilt_reply_becomes_a_reading_and_the_next_one_does(place):
    spoilt = bytearray(REPLY)
    spoilt[place] ^= 0x10
    events = decode(bytes(spoilt), (TURNS[1], 0.5))
    assert [type(event) for event in events if not isinstance(event, Malformed)] == [Sample]
    assert any(isinstance(event, Malformed) for event in events)


@pytest.mark.parametrize("length", range(1, len(REPLY)))
def test_the_reply_after_a_torn_one_is_read(length):
    events = decode(REPLY[:length], (REPLY, 0.5))
    assert [e for e in events if isinstance(e, Sample)] == [Sample(0, 0.5, *READING)]


def test_what_lies_between_replies_is_said_once():
    events = decode(b"\x00\xff" * 30 + REPLY + REQUEST + ERROR)
    assert [type(event) for event in events] == [Malformed, Sample, OtherTraffic, ModbusError]
    assert events[0].reason == "60 bytes that are no reply"
    assert events[2].line == REQUEST.hex(" ")
    broken = decode(REPLY + REQUEST[:-1] + b"\x00" + ERROR)
    assert broken[1] == Malformed(REQUEST[:-1].hex(" ") + " 00", "8 bytes that are no reply")


def test_a_wrong_crc_is_said_with_its_bytes():
    spoilt = REPLY[:-1] + b"\x00"
    bad, sample = decode(spoilt + REPLY)
    assert bad == Malformed(spoilt.hex(" "), "the CRC is wrong")
    assert isinstance(sample, Sample)


def test_another_modules_replies_are_none():
    assert decode(reply_of(REGISTERS, address=2), ERROR) == [
        OtherTraffic(reply_of(REGISTERS, address=2).hex(" ")),
        ModbusError(4, 2),
    ]


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_an_echo_and_another_module_on_the_line_are_told_once_and_harm_nothing(size):
    whole = b"".join(REQUEST + reply + OTHER for reply in TURNS)
    splitter = ReplySplitter(1)
    items = [i for at in range(0, len(whole), size) for i in splitter.feed(whole[at : at + size])]
    kinds = [type(item) for item in items]
    assert kinds == [OtherTraffic, Reply] * len(TURNS)
    events = decode(*((REQUEST + reply + OTHER, 0.5 * n) for n, reply in enumerate(TURNS)))
    assert [type(event) for event in events] == [OtherTraffic] + [Sample] * len(TURNS)


def test_a_reply_with_other_registers_is_no_reading():
    (event,) = decode(reply_of(REGISTERS[:7]))
    assert isinstance(event, Malformed)
    assert event.reason == "7 registers are no reading of a PZEM-004T"


def test_replies_of_all_three_lengths_hold_the_same_reading():
    events = decode(*TURNS, TURNS[0])
    assert events == [Sample(seq, 0.5 * seq, *READING) for seq in range(4)]


@pytest.mark.parametrize("copies", [1, 2, 3, 5, 6])
def test_a_reply_that_is_repeated_in_place_of_the_next_ones_is_found(copies):
    times = [0.5 * number for number in range(copies + 4)]
    replies = [REPLY] * (copies + 1) + [TURNS[n % 3] for n in range(copies + 1, copies + 4)]
    events = decode(*zip(replies, times, strict=True))
    first, *gaps = [event for event in events if isinstance(event, Gap)]
    assert first == Gap("stale", 0.5, 1)
    # All copies are left out, and one reply more: the first that does not follow a copy's turn.
    follows = copies % 3 == 0
    assert [gap.kind for gap in gaps] == ["stale"] * (copies - follows) + ["time"]
    read = [event.device_time_s for event in events if isinstance(event, Sample)]
    assert read == [0.0, *times[copies + 2 - follows :]]


def test_no_order_of_late_replies_shuts_the_following_ones_out():
    late = [(TURNS[1], 2.55), (TURNS[2], 2.58)]
    good = [(TURNS[number % 3], 0.5 * number) for number in range(6, 12)]
    events = decode((TURNS[0], 0.0), *late, *good)
    read = [event.device_time_s for event in events if isinstance(event, Sample)]
    assert read[-5:] == [3.5, 4.0, 4.5, 5.0, 5.5]


def test_a_missing_reply_is_a_gap():
    events = decode((REPLY, 1.0), (TURNS[1], 1.53), (ERROR, 2.0), (TURNS[1], 3.01))
    assert [event for event in events if isinstance(event, Gap)] == [Gap("time", 3.01, 2)]


def test_a_late_reply_is_a_gap_and_the_next_one_a_reading():
    # The reply of 1.5 s comes at 2.09 s, after that of 2 s.
    events = decode((REPLY, 1.0), (TURNS[2], 2.0), (TURNS[1], 2.09), (REPLY, 2.5))
    assert [type(event) for event in events] == [Sample, Gap, Sample, Gap, Sample]
    assert (events[1], events[3]) == (Gap("time", 2.0, 1), Gap("stale", 2.09, 1))


def test_a_copy_is_left_out_and_said():
    events = decode((REPLY, 1.0), (REPLY, 1.01), (TURNS[1], 1.5))
    assert [event for event in events if isinstance(event, Gap)] == [Gap("stale", 1.01, 1)]
    assert sum(isinstance(event, Sample) for event in events) == 2


def test_an_energy_counter_that_falls_was_reset():
    lower = reply_of([*REGISTERS[:5], 3, 0, *REGISTERS[7:]])
    events = decode((REPLY, 1.0), (lower, 1.5))
    assert [event for event in events if isinstance(event, Gap)] == [Gap("restart", 1.5, 0)]


@pytest.mark.parametrize(
    ("registers", "what"),
    [
        ([2300, 9_091, 0, 100, 0, 0, 0, 500, 100, 0], "current"),
        ([2601, 1000, 0, 100, 0, 0, 0, 500, 100, 0], "voltage"),
    ],
)
def test_beyond_the_range_is_said_before_the_reading(registers, what):
    over, sample = decode(reply_of(registers), range_a=10)
    assert over == OverRange(0, 0.0, what)
    assert isinstance(sample, Sample)


def test_state_through_json_continues_alike():
    full = [[*REGISTERS[:5], wh, 0, *REGISTERS[7:]] for wh in (1, 2, 2, 3, 1)]
    energies = [reply_of(words[: 10 - number % 3]) for number, words in enumerate(full)]
    chunks = [(data, 0.5 * number) for number, data in enumerate(energies)]
    straight, first, second = decoder_of(), decoder_of(), decoder_of()
    expected = [straight.feed(*chunk) for chunk in chunks]
    head = [first.feed(*chunk) for chunk in chunks[:2]]
    second.restore(json.loads(json.dumps(first.state())))
    assert head + [second.feed(*chunk) for chunk in chunks[2:]] == expected
    assert second.state() == straight.state()
    assert sum(isinstance(event, Sample) for events in expected for event in events) == 5


words = st.lists(st.integers(0, 0xFFFF), min_size=10, max_size=10)


@given(words)
def test_any_registers_are_read_as_their_definition_says(registers):
    (item,) = ReplySplitter(1).feed(reply_of(registers))
    assert item == Reply(READ_INPUT, registers)
    sample = decode(reply_of(registers), range_a=1e9)[-1]
    assert sample.power_w == pytest.approx((registers[3] + 65536 * registers[4]) / 10)
    assert sample.current_a == pytest.approx((registers[1] + 65536 * registers[2]) / 1000)
    assert sample.energy_wh == registers[5] + 65536 * registers[6]


@given(st.lists(st.sampled_from([REPLY, ERROR, RESET, REPLY[:9], b"\x01\x04", b"\x07"])), st.data())
def test_replies_do_not_depend_on_the_cuts(parts, data):
    stream = b"".join(parts)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    whole, cut = decoder_of(), decoder_of()
    events = [event for piece in pieces for event in cut.feed(piece, 1.0)]
    assert events == whole.feed(stream, 1.0)
    assert (cut.state(), cut.pending) == (whole.state(), whole.pending)


@given(st.lists(st.binary(max_size=200) | st.sampled_from([REPLY, REPLY[:20], b"\x01\x04\x14"])))
def test_no_bytes_raise_and_memory_is_bounded(chunks):
    decoder = decoder_of()
    for number, chunk in enumerate(chunks):
        decoder.feed(chunk, float(number))
        assert decoder.pending < len(REPLY)
