# SPDX-License-Identifier: Apache-2.0
"""What a driver is to the rest of the package, and what it needs below it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from powermeter.accuracy import Accuracy
from powermeter.events import Sample


class Transport(Protocol):
    """A stream of bytes to and from an instrument."""

    #: What the user calls it, e.g. `/dev/ttyUSB0`; for messages.
    name: str

    def read(self, timeout_s: float) -> bytes:
        """The bytes that are there, waiting up to `timeout_s` for the first; b"" if none came."""
        ...

    def write(self, data: bytes) -> None:
        """Send all of `data`."""
        ...

    def close(self) -> None:
        """Release the port; harmless when repeated."""
        ...


class Decoder(Protocol):
    """Bytes to events, without an instrument: what a raw log is read again with."""

    def feed(self, data: bytes) -> Sequence[NamedTuple]:
        """Events of the lines or packets that `data` completes."""
        ...


class Meter(Protocol):
    """An instrument whose readings are averages over the interval before their time stamp."""

    driver: str
    provenance: str

    @property
    def accuracy(self) -> Accuracy:
        """Limits of the readings."""
        ...

    @property
    def period_s(self) -> float:
        """Nominal seconds between two readings."""
        ...

    def open(self) -> None:
        """Identify the instrument, configure it and make it send readings; `MeterError`."""
        ...

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes, those of `open()` first; b"" after `timeout_s`. Changes no state."""
        ...

    def decode(self, raw: bytes) -> Sequence[NamedTuple]:
        """Events that `raw`, the bytes just received, completes."""
        ...

    def samples(self) -> Iterator[Sample]:
        """Readings as they come; `MeterError` when none came for seconds."""
        ...

    def identity(self) -> dict[str, Any]:
        """JSON-able facts for the recording: model, firmware, settings."""
        ...

    def pending(self) -> int:
        """Bytes that were read and belong to a line that is not complete yet."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON-able decoding state at the last line boundary."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Go on decoding from `state`."""
        ...

    def close(self) -> None:
        """Release the transport; harmless when repeated."""
        ...
