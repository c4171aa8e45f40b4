# SPDX-License-Identifier: Apache-2.0
"""The record itself: every byte that a meter sent, and when it had arrived.

`raw.log` holds the bytes. `raw.times` is a table of `offset,host_time_s,mark`: the bytes from
`offset` on had arrived at `host_time_s`. A mark says what happened to the stream there: `open`ed
again after the port went away, a `pause` of the recording, its `end`, or what the recorder `died`
of. Each row is written before its bytes, unbuffered: a process killed at any point leaves both
files readable, with no byte without a time.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from powermeter.errors import RecordingError

RAW, TIMES = "raw.log", "raw.times"
OPENED, PAUSED, ENDED = "open", "pause", "end"
DIED = "died "  # what it died of follows, to the end of the row
TIMES_HEADER = b"offset,host_time_s,mark\n"
_CHUNK = 1 << 16
_TAIL = 1 << 12  # longer than any row


class Chunk(NamedTuple):
    """Bytes that had arrived at `host_time_s`, after what `mark` says (or nothing)."""

    mark: str
    data: bytes
    host_time_s: float


class RawLog:
    """Writes both files; `sizes` cuts existing ones back to a length in bytes and goes on."""

    def __init__(self, folder: Path, sizes: dict[str, int] | None, stamp_s: float | None) -> None:
        self._files = open_files(folder, (RAW, TIMES), sizes)
        self.sizes = {name: 0 if sizes is None else sizes[name] for name in (RAW, TIMES)}
        self.stamp_s = stamp_s  # of the last row: more bytes of the same time need no other
        if sizes is None:
            self._write(TIMES, TIMES_HEADER)

    def append(self, data: bytes, host_s: float) -> None:
        """Write bytes that have just arrived."""
        if host_s != self.stamp_s:
            self._row(host_s, "")
        self._write(RAW, data)

    def mark(self, kind: str, host_s: float) -> None:
        """Note that the stream begins anew here."""
        self._row(host_s, kind)

    def sync(self) -> None:
        """Return when all is on the disk itself."""
        for file in self._files.values():
            os.fsync(file.fileno())

    def close(self) -> None:
        """Close both files."""
        for file in self._files.values():
            file.close()

    def _row(self, host_s: float, mark: str) -> None:
        self.stamp_s = host_s
        self._write(TIMES, f"{self.sizes[RAW]},{host_s!r},{mark}\n".encode())

    def _write(self, name: str, data: bytes) -> None:
        write_all(self._files[name], data)
        self.sizes[name] += len(data)


def mark_death(folder: Path, host_s: float, what: str) -> None:
    """Note in a recording that nobody writes any more what its recorder died of; `OSError`.

    A row that was cut off goes. A recording that says already how it ended is left as it is.
    """
    with open(folder / TIMES, "r+b") as stream:
        start = max(0, stream.seek(0, os.SEEK_END) - _TAIL)
        stream.seek(start)
        tail = stream.read()
        whole = tail.rfind(b"\n") + 1
        last = tail[:whole].decode(errors="replace").rstrip("\n").rpartition("\n")[2]
        if not whole or last.split(",", 2)[-1].startswith((ENDED, DIED)):
            return
        row = f"{(folder / RAW).stat().st_size},{host_s!r},{DIED}{' '.join(what.split())}\n"
        stream.seek(start + whole)
        stream.write(row.encode(errors="backslashreplace"))
        stream.truncate()


def read_raw(folder: Path) -> Iterator[Chunk]:
    """The recording again, in pieces of bounded size; `RecordingError` if it is damaged."""
    try:
        with open(folder / RAW, "rb") as raw:
            rows = _rows(folder / TIMES)
            row = next(rows, None)
            while row is not None:
                offset, host_s, mark = row
                row = next(rows, None)
                end = math.inf if row is None else row[0]
                yield from _chunks(raw, offset, end, host_s, mark)
    except OSError as error:
        raise RecordingError(f"{error.filename}: not readable ({error.strerror})") from error


def open_files(
    folder: Path, names: tuple[str, ...], sizes: dict[str, int] | None
) -> dict[str, FileIO]:
    """Unbuffered, so that a killed process loses nothing that it has recorded."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if sizes is None:
            return {name: FileIO(folder / name, "w") for name in names}
        return {name: _cut(folder / name, sizes[name]) for name in names}
    except OSError as error:
        raise RecordingError(f"{folder}: cannot record there: {error.strerror}") from error


def write_all(file: FileIO, data: bytes) -> None:
    """Write all of `data`, however the system splits it."""
    view = memoryview(data)
    while view:
        view = view[file.write(view) or 0 :]


def _cut(path: Path, size: int) -> FileIO:
    held = path.stat().st_size
    if held < size:
        raise RecordingError(f"{path}: holds {held} bytes; the position to resume from is {size}")
    file = FileIO(path, "r+")
    file.truncate(size)
    file.seek(size)
    return file


def _chunks(raw: BinaryIO, offset: int, end: float, host_s: float, mark: str) -> Iterator[Chunk]:
    position = offset
    raw.seek(position)
    if mark:
        yield Chunk(mark, b"", host_s)
    while position < end:
        data = raw.read(int(min(_CHUNK, end - position)))
        if not data:
            return
        position += len(data)
        yield Chunk("", data, host_s)


def _rows(path: Path) -> Iterator[tuple[int, float, str]]:
    """Rows of `raw.times`; a last one without its end (killed while writing) is left out."""
    with open(path, "rb") as stream:
        if stream.readline() != TIMES_HEADER:
            raise RecordingError(f"{path}: does not begin with {TIMES_HEADER.decode().strip()}")
        before = 0
        for number, line in enumerate(stream, 2):
            if not line.endswith(b"\n"):
                return
            try:
                offset, host, mark = line.decode().rstrip("\n").split(",", 2)
                row = int(offset), float(host), mark
            except ValueError:
                raise RecordingError(f"{path}: line {number} is no row of the table") from None
            known = mark in ("", OPENED, PAUSED, ENDED) or mark.startswith(DIED)
            if row[0] < before or not math.isfinite(row[1]) or not known:
                raise RecordingError(f"{path}: line {number} does not follow from those before")
            before = row[0]
            yield row
