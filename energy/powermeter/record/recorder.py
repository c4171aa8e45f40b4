# SPDX-License-Identifier: Apache-2.0
"""Writes down what a meter says, as it says it, and integrates it.

Every byte goes to the raw log before anything is made of it (`rawlog`); readings and events are
written beside it for people and plots (`recording`). No value is ever held or repeated: what did
not come is not there. When the port goes away, or no reading comes, the recorder opens the meter
again as often as it takes, and leaves a gap. Of anything else that goes wrong it dies: it records
nothing more, the recording says what of and when, and so does every later question to it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from powermeter.energy.clock import host_time_s
from powermeter.energy.integrate import (
    Instrument,
    Limits,
    RunningIntegral,
    WindowResult,
    silence_limit_s,
)
from powermeter.errors import (
    BeyondRangeError,
    MeterError,
    NoReadingError,
    PortClosedError,
    RecordingError,
    WrongInstrumentError,
    described,
)
from powermeter.events import End, OverRange, Sample
from powermeter.meters.meter import Meter, beyond_range
from powermeter.record.rawlog import (
    ENDED,
    OPENED,
    PAUSED,
    Chunk,
    RawLog,
    mark_death,
    open_files,
    write_all,
)
from powermeter.record.recording import EVENTS, HEADER, SAMPLES, csv_row, event_line
from powermeter.record.stream import EventStream

_POLL_S = 0.05
_RETRY_S = 0.5
_HANG_S = 30.0  # a round takes less, even where a meter is opened again in it
_LOCK_S = 1.0
_SILENCE_S, _SILENT_PERIODS = 3.0, 4.0  # the longer of both without a reading: ask the meter anew


class Recorder:
    """Record `meter` (already opened, described by `meta`) into `folder`.

    `step()` does one round; `start()` a thread that does them until `stop()`. A recording starts
    anew, replacing an older one, unless `resume` holds a `position()`: then the files are cut back
    to it and continued. `reopen` makes and opens the meter again after the port went away; without
    it that is the end. `clock` is the host's time, `sleep` passes it.
    """

    def __init__(
        self,
        meter: Meter,
        meta: dict[str, Any],
        folder: Path,
        *,
        resume: dict[str, Any] | None = None,
        reopen: Callable[[], Meter] | None = None,
        clock: Callable[[], float] = host_time_s,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self._meter, self._meta, self._reopen = meter, meta, reopen
        self._folder = folder
        #: The host's time.
        self.clock = clock
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._sleep = sleep or self._stopping.wait
        self._failure: MeterError | None = None
        self._away = ""  # why there is no meter now
        self._beyond = ""  # what lay beyond the range last
        self._integral = RunningIntegral(Instrument.of(meta))
        self._stream = EventStream(meta)
        self._rows = 0
        self._received = 0  # bytes of this process, whatever the file held before
        saved = resume or {}
        sizes = saved.get("sizes")
        if resume is not None:
            self._integral.restore(resume["integral"])
            self._stream.restore(resume["stream"])
            self._rows = resume["rows"]
        self._raw = RawLog(folder, sizes, saved.get("stamp_s"))
        names = (SAMPLES, EVENTS)
        self._files = open_files(folder, names, sizes)
        self._sizes = {name: 0 if sizes is None else sizes[name] for name in names}
        if resume is None:
            self._write(SAMPLES, HEADER)
        self._rows_before = self._rows
        self._read_s = self._heard_s = clock()  # of the last reading, and sign of life
        self._stopped = False
        self._returned = False  # whether the thread ended because it was told
        self._thread = threading.Thread(target=self._run, name="powermeter-recorder", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End reading, close the files, then the meter. Harmless when repeated.

        `RecordingError` where any of it fails: then the recording may lack its end.
        """
        self._stopping.set()
        with self._fatal(), ExitStack() as closing:
            closing.callback(self._meter.close)  # the last
            for file in self._files.values():
                closing.callback(file.close)
            closing.callback(self._raw.close)
            if self._thread.is_alive():
                self._thread.join(_HANG_S if self._failure is None else _LOCK_S)
                if self._thread.is_alive():
                    raise RecordingError(f"it has hung for {_HANG_S:g} s")
            if not self._stopped and self._failure is None:
                self._stopped = True
                with self._locked():
                    self._record(Chunk(ENDED, b"", self.clock()))

    def finish(self, limits: Limits | None = None) -> WindowResult:
        """Stop; the energy of all that was recorded."""
        self.stop()
        return self.result(limits)

    def step(self) -> None:
        """Wait shortly for bytes and record them; where that cannot go on, see `die`."""
        with self._fatal():
            try:
                raw = self._meter.receive(_POLL_S)
            except PortClosedError as error:
                if self._reopen is None:
                    raise
                self._find_again(str(error))
                return
            now = self.clock()
            if raw:
                # One step to position(): else its state could include bytes that no file has.
                with self._changed:
                    self._record(Chunk("", raw, now))
            if self._reopen is not None and now - self._heard_s > self._patience_s:
                self._find_again(f"no reading for {now - self._heard_s:.1f} s")

    def check(self) -> None:
        """Raise a `RecordingError` that says what the recorder died of, if it did."""
        if self._failure is not None:
            raise self._failure
        started = self._thread.ident is not None
        if started and not self._thread.is_alive() and not self._returned:
            raise self.die(RecordingError("its thread has ended"))

    def die(self, error: BaseException) -> MeterError:
        """Record nothing from now on, and say in the recording what of; what `check` raises.

        Where not even that can be written, the recording just stops there.
        """
        if self._failure is None:
            try:
                now = self.clock()
            except Exception:  # the clock may be what it dies of
                now = self._read_s
            end = End(now, described(error))
            self._failure = RecordingError(end.reason)
            self._stopping.set()
            with suppress(Exception):
                mark_death(self._folder, end.host_time_s, end.died)
            if self._changed.acquire(timeout=_LOCK_S):
                self._changed.notify_all()
                self._changed.release()
        return self._failure

    def mark_pause(self) -> None:
        """The time up to the next reading belongs to no run (a resumed recording's outage)."""
        with self._locked():
            self._record(Chunk(PAUSED, b"", self.clock()))

    def wait_for_bytes(self, count: int, timeout_s: float) -> None:
        """Until `count` bytes since `start()` are recorded; `MeterError` if they do not come."""
        self._wait(lambda: self._received >= count, timeout_s, f"{count} bytes")

    def wait_for_sample(self, timeout_s: float) -> None:
        """Until there is a reading since `start()`; `BeyondRangeError` where that is why not."""
        try:
            self._wait(lambda: self._rows > self._rows_before, timeout_s, "a reading")
        except NoReadingError:
            if self._beyond:
                raise BeyondRangeError(beyond_range(self._meta["driver"], self._beyond)) from None
            raise

    def result(self, limits: Limits | None = None) -> WindowResult:
        """Energy of all readings so far."""
        with self._locked():
            self.check()
            return self._integral.result(limits)

    def result_now(self, limits: Limits | None = None) -> WindowResult:
        """The same, but not valid while the meter is silent: an old value is no reading."""
        result = self.result(limits)
        silence = self.clock() - self._read_s
        if not result.valid or silence <= silence_limit_s(self._meta["period_s"]):
            return result
        reason = f"no reading for {silence:.1f} s" + (f" ({self._away})" if self._away else "")
        return replace(result, valid=False, reason=reason)

    def position(self) -> dict[str, Any]:
        """JSON-able: what is safely on disk now, and the states that go on from there."""
        with self._locked():
            self.check()
            self._raw.sync()
            return {
                "rows": self._rows,
                "sizes": self._raw.sizes | self._sizes,
                "stamp_s": self._raw.stamp_s,
                "integral": self._integral.state(),
                "stream": self._stream.state(),
            }

    @property
    def _patience_s(self) -> float:
        return max(_SILENCE_S, _SILENT_PERIODS * float(self._meta["period_s"]))

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._locked():
            self._changed.wait_for(lambda: done() or self._failure is not None, timeout_s)
            self.check()
            if not done():
                raise NoReadingError(f"the recorder waited {timeout_s:g} s in vain for {what}")

    def _run(self) -> None:
        with suppress(BaseException), self._fatal():  # check() says what it was
            while not self._stopping.is_set():
                self.step()
            self._returned = True

    @contextmanager
    def _fatal(self) -> Iterator[None]:
        """Whatever is raised in here, the recorder dies of it."""
        try:
            yield
        except Exception as error:
            raise self.die(error) from error
        except BaseException as error:
            self.die(error)
            raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Between two rounds of the recorder."""
        if not self._changed.acquire(timeout=_HANG_S):
            raise self.die(RecordingError(f"it has hung for {_HANG_S:g} s"))
        try:
            yield
        finally:
            self._changed.release()

    def _find_again(self, why: str) -> None:
        """Open the meter again; one attempt. Its silence counts from here."""
        self._away = why
        self._meter.close()
        try:
            self._meter = self._reopen() if self._reopen is not None else self._meter
            if self._meter.identity() != self._meta["identity"]:
                self._meter.close()
                raise WrongInstrumentError("another meter, or other settings, came back")
        except MeterError as error:
            self._away = str(error)
            self._sleep(_RETRY_S)
            return
        self._away = ""
        self._heard_s = self.clock()
        with self._changed:
            self._record(Chunk(OPENED, b"", self._heard_s))

    def _record(self, chunk: Chunk) -> None:
        """Under the lock, which is not left before a failure is known: sums may be half done."""
        with self._fatal():
            self.check()
            self._write_down(chunk)

    def _write_down(self, chunk: Chunk) -> None:
        if chunk.mark:
            self._raw.mark(chunk.mark, chunk.host_time_s)
        else:
            self._raw.append(chunk.data, chunk.host_time_s)
        rows: list[str] = []
        notes: list[str] = []
        for event in self._stream.feed(chunk):
            self._integral.take(event, chunk.host_time_s)
            if isinstance(event, Sample):
                rows.append(csv_row(event, chunk.host_time_s))
            else:
                if isinstance(event, OverRange):
                    self._beyond = event.what
                notes.append(event_line(event, self._rows + len(rows), chunk.host_time_s))
        self._write(SAMPLES, "".join(rows))
        self._write(EVENTS, "".join(notes))
        self._rows += len(rows)
        if rows:
            self._read_s = self._heard_s = chunk.host_time_s
        self._received += len(chunk.data)
        self._changed.notify_all()

    def _write(self, name: str, text: str) -> None:
        data = text.encode()
        if data:
            write_all(self._files[name], data)
            self._sizes[name] += len(data)
