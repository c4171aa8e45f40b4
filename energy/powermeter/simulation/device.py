# SPDX-License-Identifier: Apache-2.0
"""What a simulated instrument is: a pure state machine, without I/O and without real time."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

#: (duration in seconds, power in watts)
Segment = tuple[float, float]

#: What `Device.fault` may be asked for. Faults of the wire need no device: see `faults`.
REBOOT, CLOCK_JUMP, SKIP = "reboot", "clock-jump", "sequence-gap"


class Device(Protocol):
    """An instrument that sees a power trace and speaks its protocol.

    It has an own clock with offset and drift where the instrument has one, and an own set of errors
    (drawn once from its seed) within the instrument's accuracy.
    """

    @property
    def period_s(self) -> float:
        """True seconds between two readings."""
        ...

    #: The line that it is made for; `baud` None: not paced (USB without a serial line behind it).
    baud: int | None
    frame: str
    #: Watts beyond which a reading is an overload.
    range_w: float

    def command(self, data: bytes) -> bytes:
        """Take bytes as they arrive, cut anywhere; return the reply (b"" if none is due yet)."""
        ...

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """Let the segments pass; return what it sends unasked meanwhile."""
        ...

    def banner(self) -> bytes:
        """What it sends when it is switched on."""
        ...

    def fault(self, kind: str) -> bytes:
        """Let a fault (constants of this module) happen now; return what it sends on that.

        `SimulatorError` for one that this instrument cannot have (a clock jump without a clock).
        """
        ...

    def state(self) -> dict[str, Any]:
        """JSON-able; a device made alike continues from it bit for bit."""
        ...

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        ...


def split_segments(segments: Iterable[Segment], longest_s: float) -> Iterator[list[Segment]]:
    """Cut a trace into consecutive parts of at most `longest_s` seconds each."""
    part: list[Segment] = []
    room = longest_s
    for duration, power in segments:
        while duration > room:
            part.append((room, power))
            yield part
            duration, part, room = duration - room, [], longest_s
        part.append((duration, power))
        room -= duration
    if part:
        yield part


class Trace:
    """A power trace that time takes pieces off; when it runs out, power is `idle_w`."""

    def __init__(self, segments: Iterable[Segment] = (), idle_w: float = 2.6) -> None:
        self.idle_w = idle_w
        self._rest = list(reversed(list(segments)))

    def append(self, segments: Iterable[Segment]) -> None:
        """Add segments behind those that are left."""
        self._rest[:0] = reversed(list(segments))

    def take(self, seconds: float) -> list[Segment]:
        """The next `seconds` of the trace."""
        taken: list[Segment] = []
        while seconds > 0:
            duration, power = self._rest.pop() if self._rest else (seconds, self.idle_w)
            if duration > seconds:
                self._rest.append((duration - seconds, power))
                duration = seconds
            taken.append((duration, power))
            seconds -= duration
        return taken


#: Builds a simulated instrument from a seed and its own settings.
MakeDevice = Callable[..., Device]


def bits_per_byte(frame: str) -> int:
    """Bits that one byte takes on a line of `frame`, e.g. 10 for `8N1` and 11 for `8N2`."""
    return 1 + int(frame[0]) + (frame[1] != "N") + int(frame[2])
