# SPDX-License-Identifier: Apache-2.0
"""Faults at random moments, in 504 short recordings: every gap found, no wrong joule valid."""

import json
import random

import pytest

from meter_cases import CASES, START_S, Windows, joules_between, record, trace_of
from powermeter.energy.integrate import Limits
from powermeter.errors import SimulatorError
from powermeter.meters import find_driver
from powermeter.record.audit import audit
from powermeter.record.recording import EVENTS, integrate_folder, read_meta, read_samples
from powermeter.simulation.faults import KINDS, OF_THE_DEVICE, OVERLOAD, REPEAT, Fault, FaultyDevice

RECORDINGS = 84  # a meter
LASTING = {"ina226-serial": 7.0, "wt310": 30.0, "scpi": 60.0}
LOOSE = Limits(max_gap_s=2.0, min_samples=20)
# Of these meters no reading says that it is a new one: a repeated reply is a reply.
UNNUMBERED = ("wattsup", "pzem-004t", "pzem-017", "wt310", "scpi")
COUNTER_SHARE = 0.02
OVERLOAD_S = 3.0


def kinds_of(case):
    """The faults that this meter can have."""
    for kind in KINDS:
        try:
            find_driver(case.driver).simulator(0, **case.simulator).fault(kind)
        except SimulatorError:
            if kind in OF_THE_DEVICE:  # e.g. a clock jump without a clock
                continue
        yield kind


def blind_j(case, fault, meta, joules):
    """What a repeated reading of an unnumbered meter may be wrong by without being noticed."""
    if fault.kind != REPEAT or case.driver not in UNNUMBERED:
        return 0.0
    most = (fault.lasting_s + 2 * meta["period_s"]) * (case.high_w - case.low_w)
    if meta["counter_wh"] is None:
        return most
    return min(most, 2 * (3600 * meta["counter_wh"] + COUNTER_SHARE * joules))


def holes(folder, period):
    """Rows of readings before which there was none for more than a period and some patience."""
    rows = [row[4] for row in read_samples(folder)]
    limit = max(1.8 * period, period + 0.03)
    return [n for n in range(1, len(rows)) if rows[n] - rows[n - 1] > limit]


def check_recording(case, folder, fault, segments, seconds, rng):
    meta = read_meta(folder)
    events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
    told = {e["row"] for e in events if e["event"] in ("Gap", "OverRange")}
    assert told.issuperset(holes(folder, meta["period_s"])), "a hole that no event tells of"
    if fault.kind == OVERLOAD:
        assert any(e["event"] == "OverRange" for e in events), fault
    recording = Windows(folder)
    for _ in range(4):
        length = rng.uniform(0.3, 0.8) * seconds
        begin = rng.uniform(0.02 * seconds, 0.95 * seconds - length)
        host = START_S + begin
        result = recording.result(host, host + length, LOOSE)
        if not result.valid:
            assert result.reason
            continue
        if fault.kind == OVERLOAD:
            # A second's average at the edges of the overload may still lie within the range.
            assert not begin < fault.at_s < begin + length - OVERLOAD_S, "an overload is valid"
            continue
        true = joules_between(segments, begin, begin + length)
        allowed = 1.5 * result.joules.uncertainty + blind_j(case, fault, meta, true)
        assert abs(result.joules.value - true) <= allowed, f"{fault}: {result}, true {true}"


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_no_crash_no_silent_gap_no_wrong_joule(case, tmp_path):
    kinds = list(kinds_of(case))
    seconds = LASTING.get(case.driver, 80.0)
    for seed in range(RECORDINGS):
        rng = random.Random(seed)
        kind = kinds[seed % len(kinds)]
        lasting = min(KINDS[kind], 0.1 * seconds) * rng.uniform(0.5, 1.0)
        if kind == OVERLOAD:
            lasting = OVERLOAD_S  # which holds a whole reading of each meter
        fault = Fault(kind, rng.uniform(0.15, 0.8) * seconds, lasting)
        # Bursts at the pace of an instantaneous meter are a fault of their own: aliasing.
        segments = trace_of(case, rng, seconds, bursts=case.driver != "scpi")
        folder = tmp_path / str(seed)
        record(case, folder, segments, seconds, seed, (fault,))
        check_recording(case, folder, fault, segments, seconds, rng)
        if seed % 8 == 0:
            assert audit(folder).passed


@pytest.mark.parametrize("kind", ["silence", "unplug", "reboot"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.driver)
def test_a_window_over_an_outage_is_invalid_and_says_why(case, kind, tmp_path):
    seconds = LASTING.get(case.driver, 80.0)
    fault = Fault(kind, seconds / 2, min(KINDS[kind], 5.0))
    record(case, tmp_path, [(seconds, case.high_w)], seconds, 1, (fault,))
    result = integrate_folder(tmp_path, START_S + seconds / 5, START_S + 0.9 * seconds)
    assert not result.valid
    assert any(word in result.reason for word in ("cover", "without a reading", "restarted"))


def test_readings_go_on_after_the_port_came_back(tmp_path):
    case = CASES[0]
    record(case, tmp_path, [(20.0, 3.0)], 20.0, 1, (Fault("unplug", 5.0, 3.0),))
    after = integrate_folder(tmp_path, START_S + 12.0, START_S + 19.0)
    assert after.valid, after.reason
    assert after.mean_power_w == pytest.approx(3.0, rel=0.02)
    (gap,) = [
        event
        for event in map(json.loads, (tmp_path / EVENTS).read_text().splitlines())
        if event["event"] == "Gap"
    ]
    assert gap["kind"] == "unplugged"


@pytest.mark.parametrize(
    "text", ["silence", "silence@", "silence@x", "silence@-1", "fire@3", "silence@1+inf", "@3"]
)
def test_faults_that_cannot_be_ordered(text):
    with pytest.raises(SimulatorError, match="fault"):
        Fault.parse(text)


def test_faults_to_order():
    assert Fault.parse("unplug@3.5") == Fault("unplug", 3.5, KINDS["unplug"])
    assert Fault.parse("silence@10+2") == Fault("silence", 10.0, 2.0)


def test_without_faults_the_device_is_as_it_was():
    plain = find_driver("ina226-serial").simulator(3)
    faulty = FaultyDevice(find_driver("ina226-serial").simulator(3), [], 3)
    assert plain.command(b"MODE RAW\n") == faulty.command(b"MODE RAW\n")
    assert plain.advance([(1.0, 3.0)]) == faulty.advance([(1.0, 3.0)])
