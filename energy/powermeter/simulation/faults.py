# SPDX-License-Identifier: Apache-2.0
"""Faults to order: any simulated instrument, with what can go wrong on it and on its wire.

`FaultyDevice` wraps a `Device`. Faults of the wire act on the bytes that it sends: they need to
know nothing of the protocol but the bytes that end a packet. Faults of the instrument are asked of
it (`Device.fault`). The port shows `connected`.
"""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from powermeter.errors import SimulatorError
from powermeter.simulation.device import CLOCK_JUMP, REBOOT, SKIP, Device, Segment

SILENCE, CORRUPT, TRUNCATE, INTERLEAVE = "silence", "bad-crc", "truncated", "interleaved"
REPEAT, UNPLUG, OVERLOAD = "repeat", "unplug", "overload"

#: Kind of fault, and for how many seconds it lasts if nothing else is said (0: it happens once).
KINDS: dict[str, float] = {
    SILENCE: 3.0,
    CORRUPT: 0.0,
    TRUNCATE: 0.0,
    INTERLEAVE: 0.0,
    REPEAT: 3.0,
    SKIP: 0.0,
    REBOOT: 0.0,
    UNPLUG: 3.0,
    OVERLOAD: 3.0,
    CLOCK_JUMP: 0.0,
}
#: Faults that the instrument itself has, or cannot have.
OF_THE_DEVICE = (REBOOT, CLOCK_JUMP, SKIP)
_ENDS = (b"\n", b";")  # of a packet, in the protocols of lines and of `#...;`
_BURST = (12, 40)  # bytes that a disturbance of the line spoils


@dataclass(frozen=True)
class Fault:
    """`kind` (a key of `KINDS`) from `at_s` on, in seconds since the simulation's start."""

    kind: str
    at_s: float
    lasting_s: float

    @staticmethod
    def parse(text: str) -> Fault:
        """`KIND@T` or `KIND@T+SECONDS`, e.g. `unplug@3.5` or `silence@10+2`; `SimulatorError`."""
        kind, at, when = text.partition("@")
        start, plus, lasting = when.partition("+")
        if kind not in KINDS or not at:
            raise SimulatorError(
                f"a fault is KIND@SECONDS or KIND@SECONDS+LASTING, got {text!r}; "
                f"the kinds are {', '.join(KINDS)}"
            )
        try:
            seconds, length = float(start), float(lasting) if plus else KINDS[kind]
        except ValueError:
            raise SimulatorError(f"a fault's times are seconds, got {text!r}") from None
        if not (seconds >= 0 and 0 <= length < float("inf")):
            raise SimulatorError(f"a fault's times are seconds from 0 on, got {text!r}")
        return Fault(kind, seconds, length)

    def active(self, now_s: float) -> bool:
        """Whether a lasting fault is on at `now_s`."""
        return self.at_s <= now_s < self.at_s + self.lasting_s


class FaultyDevice:
    """A `Device` around another, with `faults` happening at their times."""

    def __init__(self, device: Device, faults: Iterable[Fault] = (), seed: int = 0) -> None:
        self.device = device
        self.faults = sorted(faults, key=lambda fault: fault.at_s)
        self.baud, self.frame, self.range_w = device.baud, device.frame, device.range_w
        self.now_s = 0.0
        self._waiting = [fault for fault in self.faults if fault.lasting_s == 0]
        self._due: list[str] = []  # faults of the wire that hit the next packet
        self._before = b""
        self._repeated = b""
        self._random = random.Random(seed)

    @property
    def period_s(self) -> float:
        """See `Device.period_s`."""
        return self.device.period_s

    @property
    def connected(self) -> bool:
        """False while it is unplugged."""
        return not self._active(UNPLUG)

    def command(self, data: bytes) -> bytes:
        """See `Device.command`; nothing arrives there while it is unplugged."""
        return self._sent(self.device.command(data)) if self.connected else b""

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """See `Device.advance`; each fault happens at its time within the segments."""
        if not self.faults:
            return self.device.advance(segments)
        return b"".join(self._step(part) for part in self._cut(segments))

    def banner(self) -> bytes:
        """See `Device.banner`."""
        return self.device.banner()

    def fault(self, kind: str) -> bytes:
        """See `Device.fault`."""
        return self.device.fault(kind)

    def state(self) -> dict[str, Any]:
        """See `Device.state`. Faults that have happened are not part of it."""
        return self.device.state()

    def restore(self, state: dict[str, Any]) -> None:
        """See `Device.restore`."""
        self.device.restore(state)

    def _active(self, kind: str) -> bool:
        return any(fault.kind == kind and fault.active(self.now_s) for fault in self.faults)

    def _cut(self, segments: Sequence[Segment]) -> Iterable[Segment]:
        """The segments, cut where a fault begins or ends; `now_s` moves along."""
        edges = sorted(
            {fault.at_s for fault in self.faults}
            | {fault.at_s + fault.lasting_s for fault in self.faults}
        )
        for duration, power in segments:
            end = self.now_s + duration
            for edge in edges:
                if self.now_s < edge < end:
                    yield edge - self.now_s, power
                    self.now_s = edge
            yield end - self.now_s, power
            self.now_s = end

    def _step(self, segment: Segment) -> bytes:
        duration, power = segment
        sent = b""
        while self._waiting and self._waiting[0].at_s <= self.now_s:
            kind = self._waiting.pop(0).kind
            if kind in OF_THE_DEVICE:
                sent += self.device.fault(kind)
            else:
                self._due.append(kind)
        watts = 2 * self.device.range_w if self._active(OVERLOAD) else power
        return self._sent(sent + self.device.advance([(duration, watts)]))

    def _sent(self, data: bytes) -> bytes:
        """What of `data` reaches the host."""
        if not data:
            return b""
        if self._active(REPEAT):
            self._repeated = self._repeated or self._before or data
            return self._repeated
        self._repeated = b""
        if self._active(SILENCE) or not self.connected:
            return b""
        clean = data
        for kind in self._due:
            data = self._spoil(kind, data)
        self._due, self._before = [], clean
        return data

    def _spoil(self, kind: str, data: bytes) -> bytes:
        place = self._random.randrange(len(data))
        if kind == CORRUPT:
            count = min(self._random.randint(*_BURST), len(data) - place)
            noise = bytes(self._random.randrange(256) for _ in range(count))
            return data[:place] + noise + data[place + count :]
        if kind == TRUNCATE:
            ends = [data.find(end, place) + 1 for end in _ENDS if data.find(end, place) >= 0]
            return data[:place] + data[min(ends, default=len(data)) :]
        if kind == INTERLEAVE:
            other = self._before or data
            begin = self._random.randrange(len(other))
            return (
                data[:place] + other[begin : begin + self._random.randint(*_BURST)] + data[place:]
            )
        raise SimulatorError(f"no fault {kind!r} of the wire")
