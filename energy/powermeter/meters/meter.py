# SPDX-License-Identifier: Apache-2.0
"""What a driver is to the rest of the package, and what it needs below it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from powermeter.energy.accuracy import Accuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import BeyondRangeError, NoPacketError, PortClosedError
from powermeter.events import Malformed, OverRange, Sample

AVERAGE, INSTANTANEOUS = "average", "instantaneous"
_POLL_S = 0.05


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
    """Bytes to events, without an instrument: what a raw log is read again with.

    Everything that a recording states follows from `feed` alone, so what a decoder does may depend
    on nothing but the bytes, their host times and the `identity` that it was made with.
    """

    def feed(self, data: bytes, host_time_s: float) -> Sequence[NamedTuple]:
        """Events of the lines or packets that `data` completes; no bytes raise.

        `host_time_s` is when `data` had arrived: a meter without a clock has no other time, and a
        missing reply (nothing to decode) shows in the time between two of them. However the stream
        is cut into chunks of the same times, the events are the same. Memory is bounded.
        """
        ...

    @property
    def pending(self) -> int:
        """Bytes that were fed and belong to a line or packet that is not complete yet."""
        ...

    def state(self) -> dict[str, Any]:
        """JSON-able: all that decoding of the following whole lines or packets depends upon."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a line or packet boundary where `state()` was taken."""
        ...


def beyond_range(name: str, what: str) -> str:
    """What to tell the user of a meter that is in the wrong range."""
    return f"{name}: the {what} is beyond the meter's range; set a larger one if it has one"


class Meter(ABC):
    """An instrument on a transport. A driver subclasses it.

    A subclass adds `driver`, `reading`, `accuracy`, `period_s`, `resolution_w`, `latency_s`,
    `open()` and `identity()`, and may override the rest.

    A meter waits in `Transport.read` only, and reads time from its `clock` only: so a simulation
    can let time pass as it likes, and a stamp is never taken around a blocking call.
    """

    #: The driver's name.
    driver: str
    #: `average` over the interval that a reading ends, or `instantaneous`.
    reading: str
    #: Watt-hours of the last digit of the meter's own energy counter; None without one.
    counter_wh: float | None = None
    #: It is asked out of step with its own updates: a reading may be as old as a period.
    asynchronous: bool = False

    def __init__(
        self,
        transport: Transport,
        decoder: Decoder,
        *,
        provenance: str = "metered",
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        self.provenance = provenance
        #: What `open()` found that its user should know, each a sentence.
        self.notes: list[str] = []
        self._transport = transport
        self._decoder = decoder
        self._clock = clock
        self._backlog = b""  # bytes of open() that belong to the stream
        self._closed = False

    @property
    @abstractmethod
    def accuracy(self) -> Accuracy:
        """Limits of the readings as configured."""

    @property
    @abstractmethod
    def period_s(self) -> float:
        """Nominal seconds between two readings."""

    @property
    @abstractmethod
    def resolution_w(self) -> float:
        """Watts of the last digit of a reading (at the nominal voltage, where that matters)."""

    @property
    @abstractmethod
    def latency_s(self) -> float:
        """At most this long after a reading is complete its last byte has arrived."""

    @abstractmethod
    def open(self) -> None:
        """Identify the instrument, configure it and make it send readings; `MeterError`."""

    @abstractmethod
    def identity(self) -> dict[str, Any]:
        """JSON-able facts for the recording: model, firmware, settings; all a decoder needs."""

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes, those of `open()` first; b"" after `timeout_s`. Decodes nothing.

        Returns as soon as any bytes have come: the caller stamps them then. A polled meter sends
        its requests from in here, on a fixed schedule that does not drift. `PortClosedError`.
        """
        raw, self._backlog = self._backlog, b""
        return raw or self._read(timeout_s)

    def decode(self, raw: bytes, host_time_s: float) -> Sequence[NamedTuple]:
        """Events of the lines or packets that `raw`, the bytes just received, completes."""
        return self._decoder.feed(raw, host_time_s)

    def samples(
        self, other: Callable[[NamedTuple], None] = lambda event: None
    ) -> Iterator[tuple[float, Sample]]:
        """(host time, reading) as they come; `other` is called with every event that is none.

        An error after 5 s, or three periods, without any: `BeyondRangeError` where the meter said
        why, else `NoPacketError` with the last thing that could not be read.
        """
        silence_s = max(5.0, 3 * self.period_s)
        heard, beyond, unread = self._clock(), "", ""
        while True:
            raw = self.receive(_POLL_S)
            now = self._clock()
            for event in self.decode(raw, now) if raw else ():
                if isinstance(event, Sample):
                    heard, beyond, unread = now, "", ""
                    yield now, event
                    continue
                if isinstance(event, OverRange):
                    beyond = event.what
                elif isinstance(event, Malformed):
                    unread = f"; last came {event.line!r}: {event.reason}"
                other(event)
            if now - heard > silence_s:
                name = self._transport.name
                if beyond:
                    raise BeyondRangeError(beyond_range(name, beyond))
                raise NoPacketError(f"{name}: no reading for {silence_s:g} s{unread}")

    def close(self) -> None:
        """Release the port; harmless when repeated."""
        self._closed = True
        self._transport.close()

    def _read(self, timeout_s: float) -> bytes:
        if self._closed:
            raise PortClosedError(f"{self._transport.name}: closed")
        return self._transport.read(timeout_s)
