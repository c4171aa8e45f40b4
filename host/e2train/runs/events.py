# SPDX-License-Identifier: Apache-2.0
"""The record of a run: events.jsonl, free of wall-clock time so that a resumed run repeats it."""

from __future__ import annotations

import json
import os
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
