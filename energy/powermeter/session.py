# SPDX-License-Identifier: Apache-2.0
"""Meter a program's run: one interface for simulated and real meters.

with open_session("simulated", folder=Path("run/energy")) as meter:
    meter.advance([(0.004, 2.9), (0.001, 2.6)])  # what the board would have done meanwhile
    print(meter.energy().joules)
    checkpoint["meter"] = meter.position()
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from powermeter.drivers import find_driver
from powermeter.drivers.ina226_serial import BAUD, Ina226Serial
from powermeter.errors import MeterError, RecordingError
from powermeter.integrate import Limits, WindowResult
from powermeter.meter import Meter
from powermeter.recorder import Recorder
from powermeter.recording import read_meta, write_meta
from powermeter.simulators.ina226 import LockstepIna226
from powermeter.simulators.ina226_device import Ina226Device, Segment
from powermeter.transport import SerialTransport

POSITION_SCHEMA = 1
SIMULATED = "simulated"
_PATIENCE_S = 30.0
_FIRST_READING_S = 20.0  # the slowest setting of the chip takes 17 s a reading
_STALE_S = 2.0


class MeterSession:
    """A recorded run on a real meter; time passes by itself. Use `open_session`."""

    def __init__(self, meter: Meter, recorder: Recorder, name: str, limits: Limits | None) -> None:
        self._meter, self._recorder = meter, recorder
        self._name, self._limits = name, limits
        self._closing = ExitStack()

    @property
    def provenance(self) -> str:
        """Where this session's joules come from."""
        return self._meter.provenance

    def advance(self, segments: Iterable[Segment]) -> None:
        """Nothing to do here: a real meter sees the board itself. Raises what ended it, if so."""
        self._recorder.check()

    def energy(self) -> WindowResult:
        """From the first reading of the run to the last so far; cheap.

        Not valid while the meter has been silent: an old value is no reading.
        """
        result = self._recorder.result(self.provenance, self._limits)
        silence = self._recorder.silence_s()
        if result.valid and silence > _STALE_S + 2 * self._meter.period_s:
            return replace(result, valid=False, reason=f"no reading for {silence:.1f} s")
        return result

    def position(self) -> dict[str, Any]:
        """JSON-able, for a checkpoint: `open_session(..., resume=position)` continues from here."""
        head = {"schema": POSITION_SCHEMA, "meter": self._name}
        return head | self._recorder.position()

    def close(self) -> None:
        """Stop recording and release the port."""
        self._closing.close()

    def __enter__(self) -> MeterSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SimulatedSession(MeterSession):
    """A recorded run on the simulated meter; time passes in `advance()` only."""

    def __init__(
        self,
        meter: Ina226Serial,
        recorder: Recorder,
        simulator: LockstepIna226,
        limits: Limits | None,
    ) -> None:
        super().__init__(meter, recorder, SIMULATED, limits)
        self._simulator = simulator
        self._discarded = meter.discarded

    def advance(self, segments: Iterable[Segment]) -> None:
        """Let (seconds, watts) pass on the board; return when every due reading is on record."""
        self._simulator.advance(segments, self._recorder.check)
        self._recorder.wait_for_bytes(self._simulator.sent - self._discarded, _PATIENCE_S)

    def energy(self) -> WindowResult:
        """From the start of the run to its last reading; the same segments give the same bits."""
        return self._recorder.result(self.provenance, self._limits)

    def position(self) -> dict[str, Any]:
        """See `MeterSession.position`; holds the simulator's state as well."""
        return super().position() | {"simulator": self._simulator.device.state()}


def open_session(
    spec: str,
    folder: Path,
    *,
    seed: int = 0,
    idle_w: float = 2.6,
    bus_v: float = 12.0,
    resume: dict[str, Any] | None = None,
    settings: dict[str, int] | None = None,
    limits: Limits | None = None,
) -> MeterSession:
    """Open a meter and record it into `folder`.

    `spec` is `simulated` or `DRIVER:PORT`, e.g. `ina226-serial:/dev/ttyUSB0`. `settings` may name
    `averages`, `vct_us`, `ict_us`. `seed` draws the simulated instrument's errors, `bus_v` is its
    supply, and `idle_w` the board's power up to the first `advance()`. `resume` is a `position()`:
    the recording is cut back to it and goes on. Without it a recording that is in `folder` is
    replaced. Raises `MeterError`.
    """
    _check_position(resume, spec)
    if spec == SIMULATED:
        return _open_simulated(folder, seed, idle_w, bus_v, resume, settings or {}, limits)
    driver, colon, port = spec.partition(":")
    if not (colon and port):
        raise MeterError(f"a meter is {SIMULATED!r} or DRIVER:PORT, got {spec!r}")
    return _open_real(driver, port, folder, resume, settings, limits)


def _open_simulated(
    folder: Path,
    seed: int,
    idle_w: float,
    bus_v: float,
    resume: dict[str, Any] | None,
    settings: dict[str, int],
    limits: Limits | None,
) -> MeterSession:
    with ExitStack() as undo:
        device = Ina226Device(seed, bus_v=bus_v, **settings)
        if resume is not None:
            device.restore(resume["simulator"])
        simulator = LockstepIna226(device)
        undo.callback(simulator.close)
        meter = Ina226Serial(SerialTransport(simulator.path, BAUD), provenance=SIMULATED)
        undo.callback(meter.close)
        if resume is None:
            meter.open()
            write_meta(folder, meter, {"seed": seed, "bus_v": bus_v, "idle_w": idle_w})
        else:
            # The restored device is in the midst of its stream: no handshake, no byte too many.
            meter.restore(resume["decoder"])
        recorder = Recorder(meter, folder, resume=resume)
        undo.callback(recorder.stop)
        recorder.start()
        session = SimulatedSession(meter, recorder, simulator, limits)
        if resume is None:
            # One idle conversion: its reading marks the start of the run on the meter's clock.
            session.advance([(device.period_s, idle_w)])
        session._closing = undo.pop_all()
        return session


def _open_real(
    driver: str,
    port: str,
    folder: Path,
    resume: dict[str, Any] | None,
    settings: dict[str, int] | None,
    limits: Limits | None,
) -> MeterSession:
    with ExitStack() as undo:
        meter = find_driver(driver).open_port(port, settings=settings)
        undo.callback(meter.close)
        meter.open()
        if resume is None:
            write_meta(folder, meter, {"port": port})
        else:
            if read_meta(folder)["provenance"] != meter.provenance:
                raise RecordingError(f"{folder}: holds joules of another provenance")
            meter.restore(resume["decoder"])
        recorder = Recorder(meter, folder, resume=resume, wall_clock=time.time)
        undo.callback(recorder.stop)
        if resume is not None:
            recorder.mark_pause()
        recorder.start()
        recorder.wait_for_sample(_FIRST_READING_S)
        session = MeterSession(meter, recorder, f"{driver}:{port}", limits)
        session._closing = undo.pop_all()
        return session


def _check_position(resume: dict[str, Any] | None, spec: str) -> None:
    if resume is None:
        return
    if resume.get("schema") != POSITION_SCHEMA:
        raise RecordingError(f"the meter's saved position is not of version {POSITION_SCHEMA}")
    # The port may have another number after a restart; the kind of meter may not change.
    saved, now = resume["meter"].partition(":")[0], spec.partition(":")[0]
    if saved != now:
        raise RecordingError(f"the run was metered with {saved!r} and cannot go on with {now!r}")
