# SPDX-License-Identifier: Apache-2.0
"""The simulated Watts Up? PRO against the protocol and against the true energy."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from powermeter.errors import SimulatorError
from powermeter.events import OverRange, Sample
from powermeter.meters.wattsup.protocol import WattsUpDecoder
from powermeter.meters.wattsup.simulator import FIELDS, WattsUpDevice
from powermeter.simulation.cycle import Cycle
from powermeter.simulation.device import CLOCK_JUMP, REBOOT, SKIP

START = b"#L,W,3,E,,1;"
segments = st.lists(
    st.tuples(st.floats(0, 5, allow_subnormal=False), st.floats(0, 500)), min_size=1, max_size=20
)


def readings(device, trace, decoder=None):
    """Samples of a trace, dated by the true time at which each was sent (to 10 ms)."""
    decoder = decoder or WattsUpDecoder()
    decoder.feed(device.command(b"#H,R,0;"), 0.0)
    now, events = 0.0, []
    for duration, power in trace:
        steps = max(1, round(duration / 0.01))
        for _ in range(steps):
            now += duration / steps
            events += decoder.feed(device.advance([(duration / steps, power)]), now)
    return events


def test_commands_and_replies():
    device = WattsUpDevice()
    assert device.command(b"#V,R,0;").startswith(b"#v,-,8,1,")
    assert device.command(b"#H,R,0;") == f"#h,-,18,{','.join(FIELDS)};\r\n".encode()
    assert device.command(b"#H,R") + device.command(b",0;") != b""
    assert device.command(b"#L,R,0;").startswith(b"#l,-,")
    assert device.command(b"#X,R,0;") == b""
    assert device.advance([(5.0, 40.0)]) == b""


@pytest.mark.parametrize("reserved", [b"", b"0", b"1"])
def test_logging_takes_any_reserved_argument_an_empty_one_too(reserved):
    device = WattsUpDevice()
    assert device.command(b"#L,W,3,E," + reserved + b",2;") == b""
    assert device.advance([(20.0, 40.0)]).count(b"#d,-,18,") == 10


def test_0x18_forgets_a_command_begun_and_ends_the_stream():
    device = WattsUpDevice()
    device.command(START)
    assert device.advance([(2.0, 40.0)]) != b""
    assert device.command(b"#H,R\x18,0;") == b""
    assert device.advance([(5.0, 40.0)]) == b""


def test_fields_that_are_not_logged_are_an_underscore():
    device = WattsUpDevice(logged=("W", "V", "A"))
    device.command(START)
    packet = device.advance([(1.5, 40.0)])
    assert packet.rstrip(b"\r\n").endswith(b",_,_,_,_,_,_,_,_,_,_,_,_,_,_,_;")
    sample = readings(device, [(3.0, 40.0)])[-1]
    assert isinstance(sample, Sample)
    assert sample.energy_wh is None


@given(segments, st.integers(0, 20))
def test_readings_are_the_means_of_the_meters_own_seconds(trace, seed):
    device = WattsUpDevice(seed, power_factor=1.0)
    device.command(START)
    stream = device.advance(trace)
    counts = [int(packet.split(b",")[3]) for packet in stream.split(b"\r\n") if packet]
    edges = np.cumsum([0.0] + [duration for duration, _ in trace])
    joules = np.cumsum([0.0] + [duration * power for duration, power in trace])
    first = Cycle.state(WattsUpDevice(seed)._cycle)["ends_s"]
    ends = np.arange(first, edges[-1] + 1e-9, device.period_s)
    assert abs(len(counts) - len(ends)) <= 1
    ends = np.concatenate([[0.0], ends])[: len(counts) + 1]
    means = np.diff(np.interp(ends, edges, joules)) / np.diff(ends)
    # Compared with the true mean: gain, offset and the rounding of a count.
    for count, mean in zip(counts, means, strict=True):
        limit = abs(mean) * 0.015 + 0.3 + 0.05 + 1e-6
        assert abs(count / 10 - mean) <= limit


def test_instruments_differ_and_stay_within_the_accuracy():
    devices = [WattsUpDevice(seed) for seed in range(200)]
    for name, limit in (("gain", 0.015), ("offset_w", 0.3), ("rate", 100e-6)):
        values = np.array([getattr(device, name) for device in devices])
        assert np.abs(values).max() <= limit
        assert np.ptp(values) > 1.8 * limit


def test_the_stated_uncertainty_is_the_spread_of_the_instruments():
    from powermeter.meters.wattsup.meter import ACCURACY

    errors = []
    for seed in range(300):
        device = WattsUpDevice(seed)
        device.command(START)
        last = device.advance([(3.0, 40.0)]).split(b"\r\n")[-2]
        errors.append(int(last.split(b",")[3]) / 10 - 40.0)
    stated = ACCURACY.power_uncertainty_w(Sample(0, 0.0, None, None, 40.0))
    assert 0.85 < np.std(errors) / stated < 1.15


def test_energy_counter_and_power_cycles():
    device = WattsUpDevice(5)
    device.command(START)
    samples = [e for e in readings(device, [(60.0, 600.0)]) if isinstance(e, Sample)]
    gained = samples[-1].energy_wh - samples[0].energy_wh
    power = np.mean([sample.power_w for sample in samples])
    assert gained == pytest.approx(power * (len(samples) - 1) / 3600, abs=0.11)
    before = device.advance([(1.0, 600.0)])
    assert b"#" not in device.fault(REBOOT)
    assert device.advance([(5.0, 600.0)]) == b""
    device.command(START)
    after = device.advance([(1.0, 600.0)])
    assert int(after.split(b",")[18]) == int(before.split(b",")[18]) + 1


def test_a_clock_that_is_fast_shortens_the_interval():
    device = WattsUpDevice(rate=0.1)
    assert device.period_s == pytest.approx(1 / 1.1)
    device.command(START)
    assert device.advance([(110.0, 40.0)]).count(b"#d") in (120, 121)


def test_beyond_the_range_the_fields_are_full():
    device = WattsUpDevice(volts=120.0, power_factor=1.0)
    assert device.range_w == pytest.approx(2400.0)
    device.command(START)
    events = readings(device, [(3.0, 4800.0)])
    assert {event.what for event in events if isinstance(event, OverRange)} == {"current"}
    assert [type(event) for event in events[-2:]] == [OverRange, Sample]
    assert events[-1].power_w == pytest.approx(2400.0, abs=0.1)


def test_faults_that_it_can_have():
    device, other = WattsUpDevice(1), WattsUpDevice(1)
    for each in (device, other):
        each.command(START)
    device.fault(SKIP)
    assert device.advance([(3.0, 40.0)]).count(b"#d") + 1 == other.advance([(3.0, 40.0)]).count(
        b"#d"
    )
    with pytest.raises(SimulatorError, match="no fault 'clock-jump'"):
        device.fault(CLOCK_JUMP)


@given(segments, st.integers(0, 19), st.integers(0, 5))
def test_state_through_json_continues_with_identical_bytes(trace, cut, seed):
    straight, first, second = (WattsUpDevice(seed) for _ in range(3))
    for device in (straight, first):
        device.command(START)
    expected = [straight.advance([segment]) for segment in trace]
    head = [first.advance([segment]) for segment in trace[:cut]]
    second.restore(json.loads(json.dumps(first.state())))
    assert head + [second.advance([segment]) for segment in trace[cut:]] == expected
    assert second.state() == straight.state()


def test_another_instruments_state_is_refused():
    with pytest.raises(SimulatorError, match="another instrument"):
        WattsUpDevice(1).restore(WattsUpDevice(2).state())
    with pytest.raises(SimulatorError, match="another version"):
        WattsUpDevice(1).restore(WattsUpDevice(1).state() | {"future": 1})


@pytest.mark.parametrize("bad", [(-1.0, 2.0), (float("nan"), 2.0), (1.0, float("inf"))])
def test_impossible_segments_are_refused(bad):
    with pytest.raises(SimulatorError, match="segments must be finite"):
        WattsUpDevice().advance([bad])


@given(st.lists(st.binary(max_size=40), max_size=20))
def test_no_command_bytes_raise(chunks):
    device = WattsUpDevice()
    for chunk in chunks:
        assert isinstance(device.command(chunk), bytes)
