# SPDX-License-Identifier: Apache-2.0
"""A recorded folder: what it says about its meter, its readings, and the energy of its windows.

raw.log, raw.times   every byte and when it had arrived: all else can be derived from these two
meter.json           driver, provenance, accuracy, period, identity
samples.csv          one reading a row, as it came
events.jsonl         gaps, overloads, malformed lines, settings, pauses, clock anchors
result.json          energy of the whole recording, and the digests of the raw files
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from powermeter.energy.integrate import (
    ClockSurvey,
    EnergyCurve,
    Instrument,
    Limits,
    RunningIntegral,
    WindowIntegral,
    WindowResult,
)
from powermeter.energy.sums import Window
from powermeter.errors import MeterError, RecordingError, described
from powermeter.events import End, Sample
from powermeter.meters.meter import Meter
from powermeter.record.rawlog import DIED, RAW, TIMES, read_raw
from powermeter.record.stream import EventStream

SCHEMA = 2
SAMPLES, EVENTS, META, RESULT = "samples.csv", "events.jsonl", "meter.json", "result.json"
#: The files whose digests stand in `result.json`.
DIGESTED = (RAW, TIMES, META)
HEADER = "device_time_s,power_w,voltage_v,current_a,host_time_s,energy_wh\n"


def csv_row(sample: Sample, host_s: float) -> str:
    """A row of `samples.csv`; `repr` keeps every bit of a float, nothing stands for None."""
    _, time_s, voltage, current, power, energy = sample
    cells = (time_s, power, voltage, current, host_s, energy)
    return ",".join("" if cell is None else repr(cell) for cell in cells) + "\n"


def event_line(event: NamedTuple, row: int, host_s: float) -> str:
    """A line of `events.jsonl`; `row` readings came before."""
    head = {"event": type(event).__name__, "row": row, "host_time_s": host_s}
    return json.dumps(head | event._asdict(), default=_text) + "\n"


def _text(thing: object) -> str:
    """A driver's event may hold anything: what JSON lacks is written as text."""
    return thing.decode("ascii", "backslashreplace") if isinstance(thing, bytes) else repr(thing)


def meta_of(meter: Meter, extra: dict[str, Any] | None = None) -> dict[str, Any]:
    """What `meter.json` says of an opened meter; `extra` is added as it is."""
    return {
        "schema": SCHEMA,
        "driver": meter.driver,
        "provenance": meter.provenance,
        "reading": meter.reading,
        "period_s": meter.period_s,
        "resolution_w": meter.resolution_w,
        "latency_s": meter.latency_s,
        "counter_wh": meter.counter_wh,
        "asynchronous": meter.asynchronous,
        "accuracy": meter.accuracy.to_dict(),
        "identity": meter.identity(),
    } | (extra or {})


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write a file whole or not at all; its folder is made."""
    part = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(part, "w") as stream:
            json.dump(content, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    except OSError as error:
        raise RecordingError(f"{path.parent}: cannot record there: {error.strerror}") from error
    finally:
        with suppress(OSError):  # there is none, unless writing failed
            part.unlink()


def read_meta(folder: Path) -> dict[str, Any]:
    """`meter.json` of a recording; `RecordingError` if it is none or of another version."""
    meta = _read_json(folder / META, f"{folder}: no recording there ({META} is missing)")
    if meta.get("schema") != SCHEMA:
        raise RecordingError(f"{folder / META}: not a recording of version {SCHEMA}")
    return meta


def read_result(folder: Path) -> dict[str, Any]:
    """`result.json` of a recording; `RecordingError` if there is none."""
    return _read_json(folder / RESULT, f"{folder}: no stored result ({RESULT} is missing)")


def integrate_folder(
    folder: Path,
    begin_s: float | None = None,
    end_s: float | None = None,
    limits: Limits | None = None,
    died: str = "",
) -> WindowResult:
    """Energy of a recording between two host times, from its raw bytes.

    Without either, of the whole recording: the same number as the live session's. With one, the
    other is the recording's first or last reading. `died` says what is known of the recorder's
    death where the recording does not: no window beyond its last reading is then valid.
    """
    meta = read_meta(folder)
    if begin_s is None and end_s is None:
        whole = RunningIntegral(Instrument.of(meta))
        replay(folder, meta, whole.take)
        return whole.result(limits)
    survey, (first, last) = _survey(folder, meta)
    window = (first if begin_s is None else begin_s, last if end_s is None else end_s)
    return _integrate(folder, meta, survey, [window], limits, died)[0]


def integrate_windows(
    folder: Path,
    windows: Sequence[Window],
    limits: Limits | None = None,
    died: str = "",
) -> list[WindowResult]:
    """As `integrate_folder`, of several windows (begin, end) of host time; reads everything twice.

    `MeterError` for a window that does not end after it begins.
    """
    meta = read_meta(folder)
    survey, _ = _survey(folder, meta)
    return _integrate(folder, meta, survey, windows, limits, died)


def energy_until(
    folder: Path, begin_s: float, ends: Sequence[float], limits: Limits | None = None
) -> list[WindowResult]:
    """The energy from `begin_s` up to each of `ends` (host times, ascending): a run's curve.

    Of whole readings only, as a session's `energy()` is. Reads the recording twice.
    """
    meta = read_meta(folder)
    survey, _ = _survey(folder, meta)
    curve = EnergyCurve(Instrument.of(meta), begin_s, ends, survey.lines(), limits)
    replay(folder, meta, curve.take)
    return curve.results()


def _survey(folder: Path, meta: dict[str, Any]) -> tuple[ClockSurvey, Window]:
    """The clock's lines of a recording, and the host times of its first and last reading."""
    survey = ClockSurvey(Instrument.of(meta))
    replay(folder, meta, survey.take)
    extent = survey.extent()
    if extent is None:
        raise RecordingError(f"{folder}: the recording holds no reading")
    return survey, extent


def _integrate(
    folder: Path,
    meta: dict[str, Any],
    survey: ClockSurvey,
    windows: Sequence[Window],
    limits: Limits | None,
    died: str,
) -> list[WindowResult]:
    instrument, lines = Instrument.of(meta), survey.lines()
    integrals = [WindowIntegral(instrument, window, lines) for window in windows]

    def take(event: NamedTuple, host_s: float) -> None:
        for integral in integrals:
            integral.take(event, host_s)

    replay(folder, meta, take)
    return [integral.result(limits, died) for integral in integrals]


def replay(folder: Path, meta: dict[str, Any], take: Callable[[NamedTuple, float], None]) -> None:
    """Hand every event of a recording, decoded from its raw bytes, to `take(event, host_s)`."""
    try:
        stream = EventStream(meta)
        for chunk in read_raw(folder):
            for event in stream.feed(chunk):
                take(event, chunk.host_time_s)
    except MeterError:
        raise
    except Exception as error:  # what a recorder died of comes again when its bytes are read again
        raise RecordingError(f"{folder}: cannot be decoded ({described(error)})") from error


def death_of(folder: Path) -> str:
    """What the recorder died of and when, or nothing."""
    marks = [(chunk.host_time_s, chunk.mark) for chunk in read_raw(folder) if chunk.mark]
    host_s, mark = marks[-1] if marks else (0.0, "")
    return End(host_s, mark.removeprefix(DIED)).reason if mark.startswith(DIED) else ""


def write_result(folder: Path, result: WindowResult, limits: Limits | None) -> None:
    """Write `result.json`: a whole recording's energy with the digests of its raw files."""
    most = limits or Limits()
    checked = {name: getattr(most, name) for name in ("min_coverage", "max_gap_s", "min_samples")}
    digests = {name: digest(folder / name) for name in DIGESTED}
    content = {"schema": SCHEMA, **result.to_dict(), "limits": checked, "sha256": digests}
    write_json(folder / RESULT, content)


def digest(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal."""
    try:
        with open(path, "rb") as stream:
            checksum = hashlib.sha256()
            while block := stream.read(1 << 20):
                checksum.update(block)
            return checksum.hexdigest()
    except OSError as error:
        raise RecordingError(f"{path}: not readable ({error.strerror})") from error


def read_samples(folder: Path) -> Iterator[tuple[float | None, ...]]:
    """Rows of `samples.csv` as numbers, in the order of its header; None for an empty cell.

    A last row that a killed recorder left without its end is not a reading and is left out.
    """
    path = folder / SAMPLES
    try:
        with open(path) as stream:
            if stream.readline() != HEADER:
                raise RecordingError(f"{path}: does not begin with {HEADER.strip()}")
            for number, line in enumerate(stream, 2):
                if line.endswith("\n"):
                    yield _row(path, number, line)
    except OSError as error:
        raise RecordingError(f"{path}: not readable ({error.strerror})") from error


def rederive(folder: Path) -> bytes:
    """`samples.csv` as decoding the raw bytes from their beginning gives it, byte for byte."""
    rows = [HEADER]

    def take(event: NamedTuple, host_s: float) -> None:
        if isinstance(event, Sample):
            rows.append(csv_row(event, host_s))

    replay(folder, read_meta(folder), take)
    return "".join(rows).encode()


def _row(path: Path, number: int, line: str) -> tuple[float | None, ...]:
    try:
        row = tuple(float(cell) if cell else None for cell in line.rstrip("\n").split(","))
    except ValueError:
        raise RecordingError(f"{path}: line {number} is not a row of numbers") from None
    if len(row) != HEADER.count(",") + 1:
        raise RecordingError(f"{path}: line {number} has {len(row)} cells")
    return row


def _read_json(path: Path, missing: str) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        raise RecordingError(missing) from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{path}: not readable ({error})") from error
    if not isinstance(content, dict):
        raise RecordingError(f"{path}: not a JSON object")
    return content
