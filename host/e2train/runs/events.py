# SPDX-License-Identifier: Apache-2.0
"""The record of a run: events.jsonl, free of wall-clock time so that a resumed run repeats it."""

from __future__ import annotations

import json
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

SCHEMA = 1


class EventLog:
    """Append-only JSON lines; opened at a byte position, beyond which an earlier try is cut off."""

    def __init__(self, path: Path, position: int = 0) -> None:
        self._stream: BinaryIO = open(path, "ab")  # noqa: SIM115 - held for the run
        os.truncate(path, position)
        self._stream.seek(position)

    def write(self, kind: str, **facts: Any) -> None:
        """Append one event and hand it to the operating system."""
        line = json.dumps({"event": kind, **facts}, separators=(",", ":"))
        self._stream.write(line.encode() + b"\n")
        self._stream.flush()

    def sync(self) -> int:
        """Flush to disk; the position to give to a later log to continue from here."""
        self._stream.flush()
        os.fsync(self._stream.fileno())
        return self._stream.tell()

    def close(self) -> None:
        """Close the file."""
        self._stream.close()


class TimingLog(EventLog):
    """When things happened, on this machine's clock: what `events.jsonl` must not hold.

    `clock` of each line counts seconds from an arbitrary start, one for each `boot` of the machine,
    which stands in the line `began` of each process that worked on the run.
    """

    def begin(self, iteration: int) -> None:
        """The run begins, or goes on, at `iteration` in this process."""
        self.stamp("began", iteration=iteration, boot=boot_id())

    def stamp(self, kind: str, **facts: Any) -> None:
        """Append an event that happens now."""
        self.write(kind, **facts, clock=raw_clock_s())


def raw_clock_s() -> float:
    """Seconds of the machine's crystal, which nobody sets or slews (CLOCK_MONOTONIC_RAW)."""
    return time.clock_gettime(getattr(time, "CLOCK_MONOTONIC_RAW", time.CLOCK_MONOTONIC))


def boot_id() -> str:
    """What tells one start of this machine from the next; empty where the system does not say."""
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return ""
