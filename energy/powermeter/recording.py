# SPDX-License-Identifier: Apache-2.0
"""Reading a recorded folder: its energy, and its samples derived again from the raw log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from powermeter.accuracy import Accuracy
from powermeter.drivers import find_driver
from powermeter.errors import RecordingError
from powermeter.events import Sample
from powermeter.integrate import Limits, RunningIntegral, WindowResult
from powermeter.meter import Meter
from powermeter.recorder import EVENTS, HEADER, META, RAW, SAMPLES, apply_event, csv_row

SCHEMA = 1
_CHUNK = 1 << 16


def write_meta(folder: Path, meter: Meter, extra: dict[str, Any]) -> None:
    """Write `meter.json`: driver, provenance, accuracy, period and identity, whole or not at all.

    `extra` is added as it is (e.g. the simulator's seed).
    """
    meta = {
        "schema": SCHEMA,
        "driver": meter.driver,
        "provenance": meter.provenance,
        "period_s": meter.period_s,
        "accuracy": meter.accuracy.to_dict(),
        "identity": meter.identity(),
    }
    part = folder / (META + ".part")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with open(part, "w") as stream:
            json.dump(meta | extra, stream, indent=2)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, folder / META)
    except OSError as error:
        raise RecordingError(f"{folder}: cannot record there: {error.strerror}") from error


def read_meta(folder: Path) -> dict[str, Any]:
    """`meter.json` of a recording; `RecordingError` if it is none or of another version."""
    try:
        meta: dict[str, Any] = json.loads((folder / META).read_text())
    except FileNotFoundError:
        raise RecordingError(f"{folder}: no recording there ({META} is missing)") from None
    except (OSError, ValueError) as error:
        raise RecordingError(f"{folder / META}: not readable ({error})") from error
    if not isinstance(meta, dict) or meta.get("schema") != SCHEMA:
        raise RecordingError(f"{folder / META}: not a recording of version {SCHEMA}")
    return meta


def integrate_folder(
    folder: Path,
    begin_s: float | None = None,
    end_s: float | None = None,
    limits: Limits | None = None,
) -> WindowResult:
    """Energy of a recording between two times of the meter's clock.

    Without either, of the whole recording: the same number as the live session's. With one, the
    other is the recording's first or last reading.
    """
    meta = read_meta(folder)
    window = None
    if begin_s is not None or end_s is not None:
        first, last = _extent(folder)
        window = (first if begin_s is None else begin_s, last if end_s is None else end_s)
    integral = RunningIntegral(meta["period_s"], window)
    events = list(_events(folder))
    upcoming = 0
    for row, sample in enumerate(read_samples(folder)):
        while upcoming < len(events) and events[upcoming]["row"] <= row:
            apply_event(integral, events[upcoming])
            upcoming += 1
        integral.add(*sample)
    for entry in events[upcoming:]:
        apply_event(integral, entry)
    return integral.result(Accuracy(**meta["accuracy"]), meta["provenance"], limits)


def read_samples(folder: Path) -> Iterator[tuple[float, float, float, float]]:
    """Rows of `samples.csv`: device_time_s, power_w, voltage_v, current_a.

    A last row that a killed recorder left without its end is not a reading and is left out.
    """
    path = folder / SAMPLES
    try:
        with open(path) as stream:
            if stream.readline() != HEADER.decode():
                raise RecordingError(f"{path}: does not begin with {HEADER.decode().strip()}")
            for number, line in enumerate(stream, 2):
                if line.endswith("\n"):
                    yield _row(path, number, line)
    except OSError as error:
        raise RecordingError(f"{path}: not readable ({error.strerror})") from error


def rederive(folder: Path) -> bytes:
    """`samples.csv` as decoding `raw.log` from its beginning gives it, byte for byte."""
    meta = read_meta(folder)
    decoder = find_driver(meta["driver"]).decoder(meta["identity"])
    rows = [HEADER.decode()]
    try:
        with open(folder / RAW, "rb") as stream:
            while chunk := stream.read(_CHUNK):
                events = decoder.feed(chunk)
                rows.extend(csv_row(event) for event in events if isinstance(event, Sample))
    except OSError as error:
        raise RecordingError(f"{folder / RAW}: not readable ({error.strerror})") from error
    return "".join(rows).encode()


def _row(path: Path, number: int, line: str) -> tuple[float, float, float, float]:
    try:
        time_s, power, voltage, current = map(float, line.split(","))
    except ValueError:
        raise RecordingError(f"{path}: line {number} is not four numbers") from None
    return time_s, power, voltage, current


def _events(folder: Path) -> Iterator[dict[str, Any]]:
    path = folder / EVENTS
    try:
        for number, line in enumerate(path.read_text().splitlines(keepends=True), 1):
            if line.endswith("\n"):
                try:
                    yield json.loads(line)
                except ValueError:
                    raise RecordingError(f"{path}: line {number} is not JSON") from None
    except OSError as error:
        raise RecordingError(f"{path}: not readable ({error.strerror})") from error


def _extent(folder: Path) -> tuple[float, float]:
    times = [row[0] for row in read_samples(folder)]
    if not times:
        raise RecordingError(f"{folder}: the recording holds no reading")
    return times[0], times[-1]
