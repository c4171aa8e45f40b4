# SPDX-License-Identifier: Apache-2.0
"""Every decoder against any bytes: no exception, no hang, bounded memory, any chunking alike."""

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from meter_cases import CASES, held_bytes, identity_and_chunks, identity_and_stream
from powermeter.events import Sample
from powermeter.meters import find_driver

STREAMS = {case.driver: identity_and_stream(case) for case in CASES}
each_meter = pytest.mark.parametrize("name", STREAMS)


@st.composite
def damaged(draw, stream):
    """Pieces of a real stream and noise, in any order, and a way to cut it all into chunks."""
    places = st.integers(0, len(stream))
    piece = st.tuples(places, st.integers(0, 80)).map(lambda p: stream[p[0] : p[0] + p[1]])
    whole = b"".join(draw(st.lists(piece | st.binary(max_size=30), max_size=12)))
    cuts = sorted(draw(st.lists(st.integers(0, len(whole)), max_size=6)))
    return [whole[a:b] for a, b in pairwise([0, *cuts, len(whole)])]


@each_meter
@given(data=st.data())
def test_damaged_streams_raise_nothing_and_chunks_do_not_matter(name, data):
    identity, stream = STREAMS[name]
    chunks = data.draw(damaged(stream))
    cut, whole = (find_driver(name).decoder(identity) for _ in range(2))
    events = [event for chunk in chunks for event in cut.feed(chunk, 5.0)]
    # Of one arrival time, for that is what a chunk is to a meter without a clock.
    assert events == list(whole.feed(b"".join(chunks), 5.0))
    json.dumps(cut.state())
    for event in events:
        if isinstance(event, Sample):
            assert event.power_w == event.power_w and abs(event.power_w) < float("inf")


@each_meter
@given(st.binary(max_size=4000), st.integers(1, 50))
def test_noise_is_held_in_bounded_memory(name, noise, times):
    identity, _ = STREAMS[name]
    decoder = find_driver(name).decoder(identity)
    for n in range(times):
        decoder.feed(noise, float(n))
    assert decoder.pending >= 0
    assert held_bytes(decoder) < 20_000


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_the_real_stream_holds_readings(case):
    identity, chunks = identity_and_chunks(case)
    decoder = find_driver(case.driver).decoder(identity)
    events = [event for time_s, raw in chunks for event in decoder.feed(raw, time_s)]
    assert sum(isinstance(event, Sample) for event in events) >= 5
