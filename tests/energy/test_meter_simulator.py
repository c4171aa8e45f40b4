# SPDX-License-Identifier: Apache-2.0
"""The simulated meter against the energy of its trace, its bytes against the protocol."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from powermeter.energy.clock import ClockLine
from powermeter.energy.integrate import Instrument, Limits, RunningIntegral, WindowIntegral
from powermeter.errors import SimulatorError
from powermeter.events import ClockAnchor, Gap, Malformed, Sample
from powermeter.meters.ina226 import chip
from powermeter.meters.ina226.protocol import Config, LineDecoder
from powermeter.meters.ina226.simulator import Ina226Device
from powermeter.simulation.device import split_segments

INSTRUMENT = Instrument(0.0088, chip.accuracy(0.01), "simulated")
DEVICE_TIME = ClockLine(0.0, 0.0, 1.0, 0.0, 0.0)
segments = st.lists(st.tuples(st.floats(0.0, 0.2), st.floats(0.5, 20.0)), min_size=1, max_size=30)


def ask(device, line: bytes) -> bytes:
    return device.command(line + b"\n")


def streaming(seed=0, **options) -> Ina226Device:
    device = Ina226Device(seed, **options)
    assert ask(device, b"MODE RAW").startswith(b"!OK MODE\nT,")
    return device


def analytic_joules(trace, begin, end):
    edges = np.concatenate([[0.0], np.cumsum([duration for duration, _ in trace])])
    lengths = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
    return float(np.maximum(lengths, 0.0) @ [power for _, power in trace])


def test_replies_of_the_protocol():
    device = Ina226Device()
    assert ask(device, b"HELLO") == b"!HELLO,EdgePowerMeter,2.0.0,2\n"
    assert ask(device, b"get") == (
        b"!CFG,avg=4,vct=1100,ict=1100,shunt=0.01,oled=1,stream=1,mode=CSV,sqw=1,period_us=8800\n"
    )
    assert ask(device, b"SET AVG 16") == b"!OK SET\n"
    (config,) = LineDecoder().feed(ask(device, b"GET"))
    assert isinstance(config, Config)
    assert (config.averages, config.period_us) == (16, 35200)
    assert ask(device, b"SAVE") == b"!OK SAVE\n"
    assert ask(device, b"MODE CSV").startswith(b"!OK MODE\nTimestamp,")
    assert ask(device, b"") == b""


@pytest.mark.parametrize(
    ("command", "reply"),
    [
        (b"FOO bar", b"!ERR FOO unknown_command\n"),
        (b"MODE", b"!ERR MODE missing_argument\n"),
        (b"MODE FAST", b"!ERR MODE invalid_value\n"),
        (b"SET AVG", b"!ERR SET missing_argument\n"),
        (b"SET AVG 5", b"!ERR SET invalid_value\n"),
        (b"SET VCT soon", b"!ERR SET invalid_value\n"),
        (b"SET STREAM 2", b"!ERR SET invalid_value\n"),
        (b"SET SHUNT nan", b"!ERR SET invalid_value\n"),
        (b"SET COLOUR 1", b"!ERR SET unknown_parameter\n"),
        (b"SYNC 2026-01-01 00:00:00", b"!ERR SYNC rtc_unavailable\n"),
        (b"X" * 96, b"!ERR ? line_too_long\n"),
    ],
)
def test_refusals_of_the_protocol(command, reply):
    device = Ina226Device()
    before = device.state()
    assert ask(device, command) == reply
    assert device.state() == before


# Plateaus of two periods and more: the estimate for cut intervals assumes one step in each.
plateaus = st.lists(
    st.tuples(st.just(0.0) | st.floats(0.02, 0.2), st.floats(0.5, 20.0)), min_size=1, max_size=30
)


@settings(deadline=None)
@given(plateaus, st.integers(0, 1000), st.floats(0, 1), st.floats(0, 1))
def test_energy_of_any_window_is_within_the_stated_uncertainty(trace, seed, a, b):
    trace = [*trace, (0.05, 3.0)]
    device = streaming(seed)
    stream = device.advance([(device.period_s, 3.0)]) + device.advance(trace)
    length = sum(duration for duration, _ in trace) - device.period_s
    begin, end = sorted((a * length, b * length))
    if end - begin < 0.01:
        return
    window = (device.device_time_s(begin), device.device_time_s(end))
    integral = WindowIntegral(INSTRUMENT, window, [DEVICE_TIME])
    for event in LineDecoder().feed(stream):
        assert not isinstance(event, Gap | Malformed)
        integral.take(event, 0.0)
    result = integral.result(Limits(min_samples=1))
    assert result.valid, result.reason
    error = result.joules.value - analytic_joules(trace, begin, end)
    # Time stamps are cut to microseconds.
    slack = 2e-6 * 20.0
    assert abs(error) <= 1.5 * result.joules.uncertainty + slack  # three standard uncertainties


def test_stated_uncertainty_is_neither_too_small_nor_too_large():
    ratios = []
    for seed in range(150):
        device = streaming(seed)
        integral = RunningIntegral(INSTRUMENT)
        stream = device.advance([(device.period_s, 2.6)]) + device.advance([(1.0, 2.9), (1.0, 2.6)])
        for event in LineDecoder().feed(stream):
            integral.take(event, getattr(event, "device_time_s", 0.0))
        result = integral.result()
        true = analytic_joules([(1.0, 2.9), (1.0, 2.6)], 0.0, result.samples * device.period_s)
        ratios.append((result.joules.value - true) / (result.joules.uncertainty / 2))
    # Root mean square of 150 draws of unit variance: 1 within about 6 %.
    assert 0.8 < np.sqrt(np.mean(np.square(ratios))) < 1.2
    assert abs(np.mean(ratios)) < 0.3


def test_instruments_differ_and_stay_within_the_data_sheet():
    drawn = [Ina226Device(seed).errors for seed in range(200)]
    limits = {
        "shunt_gain": 1e-3,
        "bus_gain": 1e-3,
        "shunt_offset_v": 10e-6,
        "bus_offset_v": 7.5e-3,
        "conversion_clock": 0.1,
        "crystal": 50e-6,
    }
    for name, limit in limits.items():
        values = np.array([getattr(errors, name) for errors in drawn])
        assert np.abs(values).max() <= limit
        assert np.ptp(values) > 1.8 * limit
    assert Ina226Device(7).errors == Ina226Device(7).errors


@settings(deadline=None)
@given(segments, st.integers(0, 29), st.integers(0, 5))
def test_state_through_json_continues_with_identical_bytes(trace, cut, seed):
    straight, first, second = streaming(seed), streaming(seed), Ina226Device(seed)
    expected = [straight.advance([segment]) for segment in trace]
    head = [first.advance([segment]) for segment in trace[:cut]]
    second.restore(json.loads(json.dumps(first.state())))
    assert head + [second.advance([segment]) for segment in trace[cut:]] == expected
    assert second.state() == straight.state()


def test_readings_fall_due_later_when_time_moves_in_tiny_steps():
    device, whole = streaming(2), streaming(2)
    steps = 4096
    width = 2.0**-10  # exactly representable, so that both ways sum to the same times
    assert device.advance([(width, 3.0)]) in (b"", whole.advance([(width, 3.0)]))
    small = b"".join(device.advance([(width, 3.0)]) for _ in range(steps - 1))
    once = whole.advance([(width, 3.0)] * (steps - 1))
    assert small.count(b"D,") == once.count(b"D,") > 400
    assert [line.split(b",")[:3] for line in small.split()] == [
        line.split(b",")[:3] for line in once.split()
    ]


def test_another_instruments_state_is_refused():
    with pytest.raises(SimulatorError, match="seed and bus voltage"):
        Ina226Device(1).restore(Ina226Device(2).state())
    with pytest.raises(SimulatorError, match="another version"):
        Ina226Device(1).restore({"seed": 1, "bus_v": 12.0, "future": True})


@pytest.mark.parametrize("bad", [(-1.0, 2.0), (float("nan"), 2.0), (1.0, float("inf"))])
def test_impossible_segments_are_refused(bad):
    with pytest.raises(SimulatorError, match="segments must be finite"):
        Ina226Device().advance([bad])


def test_lost_lines_and_a_paused_stream_leave_gaps_in_the_sequence():
    device, decoder = streaming(), LineDecoder()
    decoder.feed(ask(device, b"GET") + device.advance([(0.1, 3.0)]))
    device.drop_next(3)
    gaps = [e for e in decoder.feed(device.advance([(0.1, 3.0)])) if isinstance(e, Gap)]
    assert [(gap.kind, gap.lost) for gap in gaps] == [("sequence", 3)]
    ask(device, b"SET STREAM 0")
    assert device.advance([(0.1, 3.0)]) == b""
    ask(device, b"SET STREAM 1")
    gaps = [e for e in decoder.feed(device.advance([(0.1, 3.0)])) if isinstance(e, Gap)]
    assert gaps[0].kind == "sequence"
    assert gaps[0].lost in (10, 11, 12)


def test_anchors_once_a_second_in_order_with_the_readings():
    device = streaming(4)
    events = LineDecoder().feed(device.advance([(30.25, 3.0)]))
    times = [event.device_time_s for event in events if isinstance(event, Sample | ClockAnchor)]
    assert times == sorted(times)
    anchors = [event for event in events if isinstance(event, ClockAnchor)]
    assert [a.rtc_s - anchors[0].rtc_s for a in anchors] == list(range(30))
    elapsed = anchors[-1].device_time_s - anchors[0].device_time_s
    expected = 29 * (1 + device.errors.crystal) / (1 + device.errors.rtc)
    assert elapsed == pytest.approx(expected, abs=2e-6)


def test_sequence_wraps_and_the_registers_saturate():
    device = streaming(vct_us=140, ict_us=140, averages=1)
    device.restore(device.state() | {"seq": 0xFFFFFFFE})
    lines = device.advance([(0.002, 500.0)]).split()
    assert [line.split(b",")[1] for line in lines[:3]] == [b"4294967295", b"0", b"1"]
    assert all(line.endswith(b",32767") for line in lines)


@given(segments, st.floats(0.01, 1.0))
def test_splitting_a_trace_changes_nothing_but_the_cuts(trace, longest):
    parts = list(split_segments(trace, longest))
    flat = [segment for part in parts for segment in part]
    assert sum(d for d, _ in flat) == pytest.approx(sum(d for d, _ in trace))
    assert sum(d * p for d, p in flat) == pytest.approx(sum(d * p for d, p in trace))
    assert all(sum(d for d, _ in part) <= longest * (1 + 1e-9) for part in parts)
