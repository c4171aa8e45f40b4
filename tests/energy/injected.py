# SPDX-License-Identifier: Apache-2.0
"""Exceptions put into any function of the recorder, its session and a driver, in simulated time.

`powermeter record` runs in this process on an instrument on a line in memory: its waiting lets the
simulation pass, round by round of the recorder, as the recorder's thread would do it.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, NamedTuple

import pytest
from typer.testing import CliRunner

import powermeter.cli.recordings
import powermeter.meters
from meter_cases import START_S, Case
from powermeter.cli.commands import app
from powermeter.energy.integrate import Limits, WindowResult
from powermeter.errors import MeterError
from powermeter.meters import find_driver
from powermeter.record.recorder import Recorder
from powermeter.record.recording import META, meta_of, write_json
from powermeter.record.session import MeterSession
from powermeter.simulation.device import Trace
from simulated_line import SimulatedLine

LIMITS = Limits(min_samples=10)
COMMON = (
    *(f"powermeter.record.{name}" for name in ("recorder", "rawlog", "recording", "session")),
    "powermeter.record.stream",
    *(f"powermeter.energy.{name}" for name in ("accuracy", "budget", "clock", "integrate")),
    *("powermeter.energy.joules", "powermeter.energy.sums", "powermeter.meters.meter"),
)


class Target(NamedTuple):
    """A function: where it is defined, the class that it belongs to (or none), and its name."""

    module: str
    owner: str
    name: str

    def __str__(self) -> str:
        return ".".join(filter(None, (self.module.removeprefix("powermeter."), *self[1:])))


def targets_of(driver: str) -> list[Target]:
    """Every function and method of recorder, session, integration and this driver."""
    meter = find_driver(driver).meter
    package = getattr(meter, "func", meter).__module__.rpartition(".")[0]
    own = [
        f"{package}.{found.name}" for found in pkgutil.iter_modules(sys.modules[package].__path__)
    ]
    names = [*COMMON, *(name for name in own if not name.endswith((".simulator", ".visa")))]
    return [target for name in names for target in _functions(importlib.import_module(name))]


def _functions(module: ModuleType) -> list[Target]:
    found = []
    for name, thing in vars(module).items():
        if getattr(thing, "__module__", None) != module.__name__:
            continue
        if inspect.isfunction(thing):
            found.append(Target(module.__name__, "", name))
        elif inspect.isclass(thing) and not getattr(thing, "_is_protocol", False):
            for attribute, member in vars(thing).items():
                if isinstance(member, property) or inspect.isfunction(member):
                    found.append(Target(module.__name__, name, attribute))
    return found


class Fault:
    """Raises `error` from `target` from `at_s` of simulated time on: once, or every time.

    Without an `error` it only counts how often it would have.
    """

    def __init__(
        self,
        target: Target,
        error: Callable[[], BaseException] | None,
        at_s: float,
        lasting: bool = True,
    ) -> None:
        self.target, self.error, self.at_s, self.lasting = target, error, at_s, lasting
        self.fired = 0
        self.line: SimulatedLine | None = None

    def install(self, patch: pytest.MonkeyPatch, line: SimulatedLine) -> None:
        """Into every module that has imported the function."""
        self.line = line
        module = sys.modules[self.target.module]
        if self.target.owner:
            owner = getattr(module, self.target.owner)
            member = vars(owner)[self.target.name]
            if isinstance(member, property):
                patch.setattr(owner, self.target.name, property(self._raising(member.fget)))
            else:
                patch.setattr(owner, self.target.name, self._raising(member))
            return
        function = getattr(module, self.target.name)
        for name, other in list(sys.modules.items()):
            if name.startswith("powermeter") and vars(other).get(self.target.name) is function:
                patch.setattr(other, self.target.name, self._raising(function))

    def _raising(self, function: Any) -> Any:
        @functools.wraps(function)
        def wrapped(*arguments: Any, **named: Any) -> Any:
            due = self.line is not None and self.line.elapsed_s >= self.at_s
            if due and (self.lasting or not self.fired):
                self.fired += 1
                if self.error is not None:
                    raise self.error()
            return function(*arguments, **named)

        return wrapped

    def __str__(self) -> str:
        error = self.error and self.error()
        return f"{self.target} raises {error!r} at {self.at_s:.1f} s, lasting {self.lasting}"


class Outcome(NamedTuple):
    """`answers`: (begin, end, result) in seconds of the run, asked while the fault was there."""

    code: int
    errors: str
    fired: int  # by the recording, not by the questions to it
    answers: list[tuple[float, float, WindowResult]]
    line: SimulatedLine
    opened_s: float


def called(case: Case, folder: Path, seconds: float) -> list[Target]:
    """Those of the driver's targets that a recording does call in its second half."""
    watched = [Fault(target, None, 0.6 * seconds) for target in targets_of(case.driver)]
    record_with(watched, case, folder, seconds, [])
    return [fault.target for fault in watched if fault.fired]


def record_with(
    faults: list[Fault],
    case: Case,
    folder: Path,
    seconds: float,
    windows: list[tuple[float, float]],
) -> Outcome:
    """`powermeter record` of a steady load of `case.high_w`, and what the session says of it."""
    driver = find_driver(case.driver)
    line = SimulatedLine(driver.simulator(0, **case.simulator), Trace([], case.high_w))
    meter = driver.meter(
        line, provenance="simulated", settings=dict(case.settings), clock=line.clock
    )
    meter.open()
    opened_s = line.elapsed_s
    meta = meta_of(meter)
    recorder = Recorder(meter, meta, folder, clock=line.clock, sleep=line.pass_time)
    session = MeterSession(recorder, folder, "simulated", case.driver, LIMITS)
    answers: list[tuple[float, float, WindowResult]] = []
    fired = 0

    def pass_time(_: float) -> None:
        nonlocal fired
        until = line.elapsed_s + seconds / 8
        while line.elapsed_s < until:
            try:
                with recorder._fatal():
                    recorder.step()
            except BaseException:  # so its thread ends
                break
        line.pass_time(max(0.0, until - line.elapsed_s))
        if line.elapsed_s >= opened_s + 0.99 * seconds and not answers:
            before = sum(fault.fired for fault in faults)
            answers.extend(_answers(session, windows, (opened_s, line.elapsed_s)))
            fired -= sum(fault.fired for fault in faults) - before

    def opened(*_: object, **__: object) -> MeterSession:
        write_json(folder / META, meta)
        for fault in faults:
            fault.install(patch, line)
        return session

    with pytest.MonkeyPatch.context() as patch:
        time = SimpleNamespace(monotonic=lambda: line.elapsed_s, sleep=pass_time)
        patch.setattr(powermeter.cli.recordings, "time", time)
        patch.setattr("os.fsync", lambda _: None)  # hundreds of waits for the disk
        patch.setattr(powermeter.cli.recordings, "open_session", opened)
        arguments = ["record", "--driver", case.driver, "--port", "memory", "--json"]
        done = CliRunner().invoke(
            app, [*arguments, "--seconds", str(seconds), "--out", str(folder)]
        )
    fired += sum(fault.fired for fault in faults)
    return Outcome(done.exit_code, done.stderr, fired, answers, line, opened_s)


def _answers(
    session: MeterSession, windows: list[tuple[float, float]], whole: tuple[float, float]
) -> list[tuple[float, float, WindowResult]]:
    found = []
    for begin, end in windows:
        try:
            found.append((begin, end, session.window(START_S + begin, START_S + end)))
        except MeterError:
            continue
        except Exception as error:  # a fault in `window` itself reaches who asks
            assert "injected" in str(error), error
    try:
        found.append((*whole, session.energy()))
    except Exception:
        return found
    return found
