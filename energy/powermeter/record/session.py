# SPDX-License-Identifier: Apache-2.0
"""Meter a program's run: one interface for simulated and real meters.

with open_session("simulated", folder=Path("run/energy")) as meter:
    meter.advance([(0.004, 2.9), (0.001, 2.6)])  # what the board would have done meanwhile
    print(meter.energy().joules)
    checkpoint["meter"] = meter.position()
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from powermeter.energy.clock import host_time_s
from powermeter.energy.integrate import Limits, WindowResult
from powermeter.errors import MeterError, RecordingError, described
from powermeter.events import moment
from powermeter.meters.ina226.meter import BAUD, Ina226Serial
from powermeter.meters.spec import parse_spec
from powermeter.meters.transport import SerialTransport
from powermeter.record.process import RecorderProcess
from powermeter.record.recorder import Recorder
from powermeter.record.recording import (
    META,
    RESULT,
    integrate_folder,
    meta_of,
    read_meta,
    write_json,
    write_result,
)

if TYPE_CHECKING:
    from powermeter.simulation.device import Segment
    from powermeter.simulation.pty import LockstepPty

POSITION_SCHEMA = 2
SIMULATED = "simulated"
_PATIENCE_S = 30.0
_PART_S = 1.0  # of simulated time: a reading's host stamp is at most that late


class _Recorder(Protocol):
    def check(self) -> None: ...
    def result(self, limits: Limits | None = None) -> WindowResult: ...
    def result_now(self, limits: Limits | None = None) -> WindowResult: ...
    def position(self) -> dict[str, Any]: ...
    def finish(self, limits: Limits | None = None) -> WindowResult: ...
    def stop(self) -> None: ...
    def die(self, error: BaseException) -> MeterError: ...


class MeterSession:
    """A recorded run on a real meter; time passes by itself. Use `open_session`.

    Where the recorder has died, of whatever it was, every method raises a `MeterError` that says
    what of and when; only `window` still answers, and no window is valid that ends after the last
    reading. A failure of the session itself ends the recording likewise.
    """

    def __init__(
        self, recorder: _Recorder, folder: Path, provenance: str, name: str, limits: Limits | None
    ) -> None:
        self._recorder, self._folder = recorder, folder
        self._name, self._limits = name, limits
        #: Where this session's joules come from.
        self.provenance = provenance
        self._open = True
        self._failure: MeterError | None = None
        self._result: WindowResult | None = None

    def advance(self, segments: Iterable[Segment]) -> None:
        """Nothing to do here: a real meter sees the board itself. Raises what ended it, if so."""
        with self._guarded():
            self._recorder.check()

    def energy(self) -> WindowResult:
        """From the first reading of the run to the last so far; cheap.

        Not valid while the meter has been silent: an old value is no reading.
        """
        with self._guarded():
            return self._recorder.result_now(self._limits)

    def host_time_s(self) -> float:
        """The time in which windows are given."""
        return host_time_s()

    def window(self, begin_s: float, end_s: float) -> WindowResult:
        """Energy between two times of `host_time_s()`; decodes the recording from its start.

        The reading that ends the window comes after it: ask a period and a latency later.
        """
        died = self._died()
        try:
            return integrate_folder(self._folder, begin_s, end_s, self._limits, died)
        except MeterError:
            raise
        except Exception as error:
            raise RecordingError(f"{self._folder}: {described(error)}") from error

    def position(self) -> dict[str, Any]:
        """JSON-able, for a checkpoint: `open_session(..., resume=position)` continues from here."""
        head = {"schema": POSITION_SCHEMA, "meter": self._name}
        with self._guarded():
            return head | self._recorder.position()

    def fail(self, error: Exception) -> MeterError:
        """End the recording as failed, because of what its program met; what is raised then on."""
        if self._failure is None:
            when = moment(host_time_s())
            self._failure = RecordingError(f"recording failed at {when}: {described(error)}")
            if isinstance(error, MeterError):
                self._failure = error
            with suppress(Exception):  # it may have failed at this very thing
                self._recorder.die(error)
        return self._failure

    def finish(self) -> WindowResult:
        """As `close`; the energy of the whole recording. The same when repeated."""
        self.close()
        if self._result is None:
            raise self._failure or RecordingError(f"{self._folder}: the recording has no result")
        return self._result

    def close(self) -> None:
        """Stop recording, release the port, write `result.json`. Harmless when repeated."""
        if not self._open:
            return
        self._open = False
        try:
            with self._guarded(fatal=True):
                result = self._recorder.finish(self._limits)
        finally:
            self._stop()
        with self._guarded(fatal=True):
            write_result(self._folder, result, self._limits)
            self._result = result

    def _stop(self) -> None:
        try:
            self._recorder.stop()
        except Exception as error:
            raise self.fail(error) from error

    @contextmanager
    def _guarded(self, fatal: bool = False) -> Iterator[None]:
        """What fails in here and is no `MeterError` is a defect: there are no joules from then on.

        Where `fatal`, a `MeterError` is too: the recording then lacks something.
        """
        if self._failure is not None:
            raise self._failure
        try:
            yield
        except Exception as error:
            if isinstance(error, MeterError) and not fatal:
                raise
            raise self.fail(error) from error

    def _died(self) -> str:
        """What the recorder, or this session, died of; empty while it lives or after its end."""
        if self._failure is None and self._open:
            try:
                with self._guarded():
                    self._recorder.check()
            except MeterError as error:
                return str(error)
        return "" if self._failure is None else str(self._failure)

    def __enter__(self) -> MeterSession:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class SimulatedSession(MeterSession):
    """A recorded run on the simulated meter; time passes in `advance()` only."""

    def __init__(
        self,
        recorder: Recorder,
        folder: Path,
        limits: Limits | None,
        simulator: LockstepPty,
        discarded: int,
    ) -> None:
        super().__init__(recorder, folder, SIMULATED, SIMULATED, limits)
        self._simulated, self._simulator, self._discarded = recorder, simulator, discarded

    def advance(self, segments: Iterable[Segment]) -> None:
        """Let (seconds, watts) pass on the board; return when every due reading is on record."""
        from powermeter.simulation.device import split_segments

        with self._guarded(fatal=True):  # of the trace, something is not on record
            for part in split_segments(segments, _PART_S):
                self._simulator.advance(part, self._recorder.check)
                self.settle()

    def settle(self) -> None:
        """Return when all that the simulator sent is on record."""
        self._simulated.wait_for_bytes(self._simulator.sent - self._discarded, _PATIENCE_S)

    def energy(self) -> WindowResult:
        """From the start of the run to its last reading; the same segments give the same bits."""
        with self._guarded():
            return self._recorder.result(self._limits)

    def host_time_s(self) -> float:
        """Simulated seconds since the start of the run."""
        return self._simulated.clock()

    def position(self) -> dict[str, Any]:
        """See `MeterSession.position`; holds the simulator's state as well."""
        with self._guarded():
            return super().position() | {"simulator": self._simulator.device.state()}

    def _stop(self) -> None:
        try:
            super()._stop()
        finally:
            self._simulator.close()


def open_session(
    spec: str,
    folder: Path,
    *,
    seed: int = 0,
    idle_w: float = 2.6,
    bus_v: float = 12.0,
    resume: dict[str, Any] | None = None,
    settings: dict[str, Any] | None = None,
    limits: Limits | None = None,
) -> MeterSession:
    """Open a meter and record it into `folder`.

    `spec` is `simulated` or `DRIVER:PORT`, e.g. `ina226-serial:/dev/ttyUSB0`, with settings of the
    driver behind it or not, e.g. `pzem-004t:/dev/ttyUSB0,address=2`; `settings` are more of these.
    `seed` draws the simulated instrument's errors,
    `bus_v` is its supply, and `idle_w` the board's power up to the first `advance()`. `resume` is a
    `position()`: the recording is cut back to it and goes on. Without it a recording that is in
    `folder` is replaced. Raises `MeterError`.
    """
    _check_position(resume, spec)
    meant = None if spec == SIMULATED else parse_spec(spec, settings)
    with suppress(NotADirectoryError):  # which those say who write there
        (folder / RESULT).unlink(missing_ok=True)
    if meant is None:
        return _open_simulated(folder, seed, idle_w, bus_v, resume, settings or {}, limits)
    process = RecorderProcess(meant.driver, meant.port, folder, meant.settings, resume)
    return MeterSession(process, folder, process.meta["provenance"], spec, limits)


def _open_simulated(
    folder: Path,
    seed: int,
    idle_w: float,
    bus_v: float,
    resume: dict[str, Any] | None,
    settings: dict[str, Any],
    limits: Limits | None,
) -> MeterSession:
    from powermeter.meters.ina226.simulator import Ina226Device
    from powermeter.simulation.pty import LockstepPty

    with ExitStack() as undo:
        device = Ina226Device(seed, bus_v=bus_v, **settings)
        if resume is not None:
            device.restore(resume["simulator"])
        simulator = LockstepPty(device)
        undo.callback(simulator.close)
        meter = Ina226Serial(SerialTransport(simulator.path, BAUD), provenance=SIMULATED)
        undo.callback(meter.close)
        if resume is None:
            meter.open()
            known = {"seed": seed, "bus_v": bus_v, "idle_w": idle_w}
            # Simulated time stands still while bytes are on their way.
            meta = meta_of(meter, known) | {"latency_s": 0.0}
            write_json(folder / META, meta)
        else:
            # The restored device is in the midst of its stream: no handshake, no byte too many.
            meta = read_meta(folder)
        recorder = Recorder(meter, meta, folder, resume=resume, clock=lambda: device.now_s)
        undo.callback(recorder.stop)
        recorder.start()
        session = SimulatedSession(recorder, folder, limits, simulator, meter.discarded)
        session.settle()
        if resume is None:
            # One idle conversion: its reading marks the start of the run on the meter's clock.
            session.advance([(device.period_s, idle_w)])
        undo.pop_all()
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
