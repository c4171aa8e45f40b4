# SPDX-License-Identifier: Apache-2.0
"""The simulated INA226 meter on a pseudo-terminal, in lockstep with a program or in real time.

Pseudo-terminals are no serial ports. Heeded here: the slave side stays open (else the master reads
EIO whenever no client is there); the line discipline is raw (no echo, no CR); nothing paces bytes
to the baud rate, so real time is paced here; pyserial discards waiting input when it opens a port,
so in lockstep nothing is sent before it is asked for.
"""

from __future__ import annotations

import fcntl
import os
import select
import struct
import termios
import threading
import time
import tty
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress

from powermeter.errors import SimulatorError
from powermeter.simulators.ina226_device import BANNER, CSV_HEADER, Ina226Device, Segment

_BLOCK_READINGS = 20_000  # bounds memory: longer stretches are sent in parts
_STALL_S = 30.0
_TICK_S = 0.01
_BUFFER = 1024  # bytes that may wait unread, as in a small device


class _Pty(ABC):
    """The two ends of a pseudo-terminal and the thread that serves commands on it."""

    def __init__(self, device: Ina226Device) -> None:
        self.device = device
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        self._lock = threading.Lock()
        self._stop_reader, self._stop_writer = os.pipe()
        self._commands = b""
        self._thread = threading.Thread(target=self._serve, name="powermeter-ina226", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Unplug: clients read an error from now on. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        os.write(self._stop_writer, b"x")
        if self._thread.is_alive():
            self._thread.join()
        for descriptor in (self._master, self._slave, self._stop_reader, self._stop_writer):
            os.close(descriptor)

    def _serve(self) -> None:
        while True:
            ready, _, _ = select.select([self._master, self._stop_reader], [], [], self._tick_s())
            if self._stop_reader in ready:
                return
            with self._lock:
                if self._master in ready:
                    self._receive(os.read(self._master, 4096))
                self._tick()

    def _receive(self, data: bytes) -> None:
        *lines, rest = (self._commands + data).split(b"\n")
        self._commands = rest[:256]
        for line in lines:
            self._reply(self.device.command(line.rstrip(b"\r")))

    def _tick_s(self) -> float | None:
        """Seconds until `_tick` is called if no command comes; None for never."""
        return None

    def _tick(self) -> None:  # noqa: B027 - lockstep has nothing to do
        """Let time pass, where it passes by itself."""

    @abstractmethod
    def _reply(self, data: bytes) -> None:
        """Send an answer to the reader."""


class LockstepIna226(_Pty):
    """Time passes only in `advance()`, exactly as told, as fast as the reader takes the lines."""

    def __init__(self, device: Ina226Device) -> None:
        super().__init__(device)
        self.sent = 0
        self.start()

    def advance(self, segments: Iterable[Segment], check: Callable[[], None] | None = None) -> None:
        """Let `segments` pass and send every line that falls due.

        While the reader is slow, `check` is called from time to time; it may raise. Raises
        `SimulatorError` when nobody reads for half a minute.
        """
        for part in split_segments(segments, _BLOCK_READINGS * self.device.period_s):
            with self._lock:
                self._send(self.device.advance(part), check)

    def _reply(self, data: bytes) -> None:
        self._send(data, None)

    def _send(self, data: bytes, check: Callable[[], None] | None) -> None:
        rest = memoryview(data)
        moved = time.monotonic()
        while rest:
            _, writable, _ = select.select([], [self._master], [], 0.2)
            try:
                count = os.write(self._master, rest) if writable else 0
            except BlockingIOError:
                count = 0
            if count:
                rest, moved = rest[count:], time.monotonic()
            elif check is not None:
                check()
            if time.monotonic() - moved > _STALL_S:
                raise SimulatorError(f"nobody reads {self.path}: {len(rest)} bytes wait")
        self.sent += len(data)


class RealtimeIna226(_Pty):
    """Time passes by itself, bytes leave at the baud rate, and lines that find no room are lost.

    Power is `idle_w`, and while segments given to `play()` last, theirs.
    """

    def __init__(self, device: Ina226Device, *, idle_w: float = 2.6, baud: int = 115200) -> None:
        super().__init__(device)
        self.idle_w = idle_w
        self._bytes_per_s = baud / 10  # 8N1: ten bits a byte
        self._segments: deque[Segment] = deque()
        self._queue = bytearray(BANNER + CSV_HEADER)
        self._then = time.monotonic()
        self._allowance = 0.0
        self.start()

    def play(self, segments: Iterable[Segment]) -> None:
        """Append segments to what the board will do from now on."""
        with self._lock:
            self._segments.extend(segments)

    def _reply(self, data: bytes) -> None:
        self._queue += data

    def _tick_s(self) -> float | None:
        return _TICK_S

    def _tick(self) -> None:
        now = time.monotonic()
        elapsed, self._then = now - self._then, now
        for line in self.device.advance(self._passing(elapsed)).splitlines(keepends=True):
            if len(self._queue) + len(line) <= _BUFFER:
                self._queue += line
        self._allowance = min(self._allowance + elapsed * self._bytes_per_s, _BUFFER)
        count = min(int(self._allowance), len(self._queue), _BUFFER - self._unread())
        if count > 0:
            with suppress(BlockingIOError):  # full after all: the bytes stay queued
                sent = os.write(self._master, self._queue[:count])
                del self._queue[:sent]
                self._allowance -= sent

    def _unread(self) -> int:
        answer = fcntl.ioctl(self._slave, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])

    def _passing(self, elapsed: float) -> Sequence[Segment]:
        """Take `elapsed` seconds off the segments, idling when they run out."""
        passing: list[Segment] = []
        while elapsed > 0:
            duration, power = self._segments.popleft() if self._segments else (elapsed, self.idle_w)
            if duration > elapsed:
                self._segments.appendleft((duration - elapsed, power))
                duration = elapsed
            passing.append((duration, power))
            elapsed -= duration
        return passing


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
