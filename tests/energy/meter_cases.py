# SPDX-License-Identifier: Apache-2.0
"""Every meter that can be simulated, recorded in simulated time, and the truth about its trace."""

import json
import random
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from powermeter.energy.integrate import (
    ClockSurvey,
    Instrument,
    Limits,
    WindowIntegral,
    WindowResult,
)
from powermeter.meters import find_driver
from powermeter.record.recorder import Recorder
from powermeter.record.recording import META, meta_of, read_meta, replay, write_json, write_result
from powermeter.simulation.device import Segment, Trace
from powermeter.simulation.faults import Fault, FaultyDevice
from simulated_line import SimulatedLine

START_S = 1.7e9


@dataclass(frozen=True)
class Case:
    """A meter with a load that suits it. `seconds`: length of a recording of some windows."""

    driver: str
    low_w: float
    high_w: float
    seconds: float
    settings: dict = field(default_factory=dict)
    simulator: dict = field(default_factory=dict)


CASES = [
    Case("ina226-serial", 2.0, 8.0, 4.0),
    Case("wattsup", 60.0, 180.0, 150.0),
    Case("pzem-004t", 60.0, 180.0, 150.0),
    Case("pzem-017", 60.0, 180.0, 150.0),
    Case("wt310", 2.0, 8.0, 40.0),
    Case("scpi", 2.0, 8.0, 60.0),
]


def trace_of(case: Case, rng: random.Random, seconds: float, bursts: bool = True) -> list[Segment]:
    """Steps, ramps and bursts, each of a few seconds or a good many periods."""
    segments: list[Segment] = []
    passed = 0.0
    unit = seconds / 20

    def power() -> float:
        return rng.uniform(case.low_w, case.high_w)

    while passed < seconds:
        length, kind = rng.uniform(0.3, 2.0) * unit, rng.randrange(3 if bursts else 2)
        if kind == 0:
            piece = [(length, power())]
        elif kind == 1:
            piece = [(length / 40, watts) for watts in np.linspace(power(), power(), 40)]
        else:
            high, low = power(), power()
            piece = [
                (length / 8 * share, watts)
                for _ in range(8)
                for share, watts in ((0.3, high), (0.7, low))
            ]
        segments += [(duration, float(watts)) for duration, watts in piece]
        passed += length
    return segments


def joules_between(segments: list[Segment], begin: float, end: float) -> float:
    """The trace's energy, by its own sum."""
    durations, powers = np.array(segments).T
    edges = np.concatenate([[0.0], np.cumsum(durations)])
    lengths = np.minimum(edges[1:], end) - np.maximum(edges[:-1], begin)
    return float(np.maximum(lengths, 0.0) @ powers)


def record(
    case: Case,
    folder: Path,
    segments: list[Segment],
    seconds: float,
    seed: int = 0,
    faults: tuple[Fault, ...] = (),
    **simulator: object,
) -> FaultyDevice:
    """Record a simulated meter for `seconds` of simulated time; host time is START_S + seconds."""
    driver = find_driver(case.driver)
    device = FaultyDevice(driver.simulator(seed, **case.simulator, **simulator), faults, seed)
    line = SimulatedLine(device, Trace(segments, case.low_w), start_s=START_S)

    def open_meter():
        meter = driver.meter(
            line, provenance="simulated", settings=dict(case.settings), clock=line.clock
        )
        meter.open()
        return meter

    def reopen():
        line.reopen()
        return open_meter()

    meter = open_meter()
    meta = meta_of(meter)
    write_json(folder / META, meta)
    recorder = Recorder(meter, meta, folder, reopen=reopen, clock=line.clock, sleep=line.pass_time)
    try:
        while line.elapsed_s < seconds:
            recorder.step()
        write_result(folder, recorder.finish(), None)
    finally:
        recorder.stop()
    return device


class Windows:
    """The same as `integrate_folder`, but a recording is decoded once for many windows."""

    def __init__(self, folder: Path) -> None:
        meta = read_meta(folder)
        self.meter = Instrument.of(meta)
        self.events = []
        replay(folder, meta, lambda event, host_s: self.events.append((event, host_s)))
        survey = ClockSurvey(self.meter)
        for event in self.events:
            survey.take(*event)
        self.extent, self._lines = survey.extent(), survey.lines()

    def result(self, begin: float, end: float, limits: Limits | None = None) -> WindowResult:
        """Energy between two host times."""
        integral = WindowIntegral(self.meter, (begin, end), self._lines)
        for event in self.events:
            integral.take(*event)
        return integral.result(limits)


def identity_and_chunks(case: Case) -> tuple[dict, list[tuple[float, bytes]]]:
    """What a recording of a meter begins with: (arrival time, bytes), for tests of its decoder."""
    driver = find_driver(case.driver)
    line = SimulatedLine(driver.simulator(0, **case.simulator), Trace([], case.high_w))
    meter = driver.meter(line, provenance="simulated", clock=line.clock)
    meter.open()
    identity = json.loads(json.dumps(meter.identity()))
    chunks, until = [], line.elapsed_s + 12 * max(meter.period_s, 0.05)
    while line.elapsed_s < until:
        if raw := meter.receive(0.05):
            chunks.append((line.clock(), raw))
    return identity, chunks


def identity_and_stream(case: Case) -> tuple[dict, bytes]:
    """The same without the times."""
    identity, chunks = identity_and_chunks(case)
    return identity, b"".join(raw for _, raw in chunks)[:4000]


def held_bytes(thing: object, seen: set[int] | None = None) -> int:
    """Bytes in all buffers that an object holds, directly or in what it holds."""
    seen = set() if seen is None else seen
    if id(thing) in seen:
        return 0
    seen.add(id(thing))
    if isinstance(thing, bytes | bytearray | str):
        return len(thing)
    if isinstance(thing, dict):
        return sum(held_bytes(value, seen) for value in thing.values())
    if isinstance(thing, list | tuple | set):
        return sum(held_bytes(value, seen) for value in thing)
    return held_bytes(vars(thing), seen) if hasattr(thing, "__dict__") else 0
