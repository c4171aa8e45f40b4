# SPDX-License-Identifier: Apache-2.0
"""A thread that writes down what a meter says, as it says it.

Three files grow in one folder: `raw.log` (every byte as received), `samples.csv` (one reading a
row) and `events.jsonl` (gaps, clock anchors, malformed lines, settings; `row` is the number of
readings written before). No value is ever held or repeated: what did not come is not there.
`samples.csv` can be derived again from `raw.log` (see `recording.rederive`).
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence
from io import FileIO
from pathlib import Path
from typing import Any, NamedTuple

from powermeter.errors import MeterError, RecordingError
from powermeter.events import ClockAnchor, OverRange, Sample
from powermeter.integrate import Limits, RunningIntegral, WindowResult
from powermeter.meter import Meter

RAW, SAMPLES, EVENTS, META = "raw.log", "samples.csv", "events.jsonl", "meter.json"
HEADER = b"device_time_s,power_w,voltage_v,current_a\n"
_FILES = (RAW, SAMPLES, EVENTS)
_POLL_S = 0.05


def csv_row(sample: Sample) -> str:
    """A row of `samples.csv`; `repr` keeps every bit of a float."""
    _, time_s, voltage, current, power = sample
    return f"{time_s!r},{power!r},{voltage!r},{current!r}\n"


class Recorder:
    """Record `meter` (already opened) into `folder` until `stop()`.

    A recording starts anew, replacing an older one, unless `resume` holds a `position()`: then the
    files are cut back to it and continued. With `wall_clock`, clock anchors get the host's time at
    which they were read (`host_time_s`, never early, late by transmission and polling), which
    bounds the offset between the two clocks.
    """

    def __init__(
        self,
        meter: Meter,
        folder: Path,
        *,
        resume: dict[str, Any] | None = None,
        wall_clock: Callable[[], float] | None = None,
    ) -> None:
        self._meter = meter
        self._wall_clock = wall_clock
        self._changed = threading.Condition()
        self._stopping = False
        self._failure: MeterError | None = None
        self._integral = RunningIntegral(meter.period_s)
        self._rows = 0
        self._received = 0  # bytes of this process, whatever the file held before
        self._heard_at = time.monotonic()
        self._sizes = dict.fromkeys(_FILES, 0)
        if resume is not None:
            self._integral.restore(resume["integral"])
            self._rows = resume["rows"]
            self._sizes = dict(resume["sizes"])
        self._rows_before = self._rows
        self._files = _open_files(folder, None if resume is None else self._sizes)
        if resume is None:
            self._sizes[SAMPLES] = len(HEADER)
        self._thread = threading.Thread(target=self._run, name="powermeter-recorder", daemon=True)

    def start(self) -> None:
        """Begin to read."""
        self._thread.start()

    def stop(self) -> None:
        """End reading and close the files; the meter stays open. Harmless when repeated."""
        self._stopping = True
        if self._thread.is_alive():
            self._thread.join()
        for file in self._files.values():
            file.close()

    def check(self) -> None:
        """Raise what ended the thread, if anything did."""
        if self._failure is not None:
            raise self._failure

    def mark_pause(self) -> None:
        """The time up to the next reading belongs to no run (a resumed recording's outage)."""
        with self._changed:
            self._integral.pause()
            self._event({"event": "pause"})

    def wait_for_bytes(self, count: int, timeout_s: float) -> None:
        """Until `count` bytes since `start()` are recorded; `MeterError` if they do not come."""
        self._wait(lambda: self._received >= count, timeout_s, f"{count} bytes")

    def wait_for_sample(self, timeout_s: float) -> None:
        """Until there is a reading since `start()`."""
        self._wait(lambda: self._rows > self._rows_before, timeout_s, "a reading")

    def silence_s(self) -> float:
        """Host seconds since the last reading came."""
        return time.monotonic() - self._heard_at

    def result(self, provenance: str, limits: Limits | None = None) -> WindowResult:
        """Energy of all readings so far."""
        self.check()
        with self._changed:
            return self._integral.result(self._meter.accuracy, provenance, limits)

    @property
    def rows(self) -> int:
        """Readings recorded so far."""
        return self._rows

    def position(self) -> dict[str, Any]:
        """JSON-able: what is safely on disk now, at a line boundary, and the states that go on."""
        self.check()
        with self._changed:
            sizes = dict(self._sizes)
            sizes[RAW] -= self._meter.pending()
            self._to_disk()
            return {
                "rows": self._rows,
                "sizes": sizes,
                "integral": self._integral.state(),
                "decoder": self._meter.state(),
            }

    def _to_disk(self) -> None:
        try:
            for file in self._files.values():
                os.fsync(file.fileno())
        except OSError as error:
            raise RecordingError(f"cannot write the recording: {error.strerror}") from error

    def _wait(self, done: Callable[[], bool], timeout_s: float, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: done() or self._failure is not None, timeout_s)
            self.check()
            if not done():
                raise MeterError(f"the recorder waited {timeout_s:g} s in vain for {what}")

    def _run(self) -> None:
        try:
            while not self._stopping:
                raw = self._meter.receive(_POLL_S)
                if raw:
                    # Decoding and writing are one step to position(): otherwise its state could
                    # include bytes that no file has yet.
                    with self._changed:
                        self._record(raw, self._meter.decode(raw))
        except MeterError as error:
            self._fail(error)
        except OSError as error:
            self._fail(RecordingError(f"cannot write the recording: {error.strerror}"))

    def _fail(self, error: MeterError) -> None:
        with self._changed:
            self._failure = error
            self._changed.notify_all()

    def _record(self, raw: bytes, events: Sequence[NamedTuple]) -> None:
        self._write(RAW, raw)
        rows: list[str] = []
        add = self._integral.add
        for event in events:
            if isinstance(event, Sample):
                rows.append(csv_row(event))
                add(event.device_time_s, event.power_w, event.voltage_v, event.current_a)
            else:
                self._note(event, self._rows + len(rows))
        if rows:
            self._write(SAMPLES, "".join(rows).encode())
            self._rows += len(rows)
            self._heard_at = time.monotonic()
        self._received += len(raw)
        self._changed.notify_all()

    def _note(self, event: NamedTuple, row: int) -> None:
        entry: dict[str, Any] = {"event": type(event).__name__, "row": row, **event._asdict()}
        if isinstance(event, ClockAnchor) and self._wall_clock is not None:
            entry["host_time_s"] = self._wall_clock()
        apply_event(self._integral, entry)
        self._event(entry)

    def _event(self, entry: dict[str, Any]) -> None:
        self._write(EVENTS, (json.dumps({"row": self._rows} | entry) + "\n").encode())

    def _write(self, name: str, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._files[name].write(view) or 0 :]
        self._sizes[name] += len(data)


def apply_event(integral: RunningIntegral, entry: dict[str, Any]) -> None:
    """What a line of `events.jsonl` means for an integral; used live and when read again."""
    kind = entry["event"]
    if kind == ClockAnchor.__name__:
        integral.anchor(entry["device_time_s"], entry["rtc_s"], entry["source"])
    elif kind == OverRange.__name__:
        integral.over_range()
    elif kind == "pause":
        integral.pause()
    elif "period_us" in entry:
        integral.set_period(entry["period_us"] * 1e-6)


def _open_files(folder: Path, sizes: dict[str, int] | None) -> dict[str, FileIO]:
    """Unbuffered, so that a killed process loses nothing that it has recorded."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sizes is None:
            files = {name: FileIO(folder / name, "w") for name in _FILES}
            files[SAMPLES].write(HEADER)
            return files
        return {name: _cut(folder / name, sizes[name]) for name in _FILES}
    except OSError as error:
        raise RecordingError(f"{folder}: cannot record there: {error.strerror}") from error


def _cut(path: Path, size: int) -> FileIO:
    held = path.stat().st_size
    if held < size:
        raise RecordingError(f"{path}: holds {held} bytes; the position to resume from is {size}")
    file = FileIO(path, "r+")
    file.truncate(size)
    file.seek(size)
    return file
