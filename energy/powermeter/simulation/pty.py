# SPDX-License-Identifier: Apache-2.0
"""Any simulated instrument on a pseudo-terminal, in lockstep with a program or in real time.

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
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

from powermeter.errors import SimulatorError
from powermeter.simulation.device import Device, Segment, Trace, bits_per_byte
from powermeter.simulation.faults import FaultyDevice

_STALL_S = 30.0
_TICK_S = 0.01
_STEP_S = 0.004  # the fastest meter sends 420 bytes meanwhile
_GRACE_S = 0.02
_DEVICE_BUFFER = 1024  # bytes that wait in the instrument; what finds no room there is lost
_PORT_BUFFER = 4096  # bytes that wait unread in the port


class _Pty(ABC):
    """The two ends of a pseudo-terminal and the thread that serves commands on it."""

    def __init__(self, link: Path | None = None) -> None:
        self._link = link
        self._plug()
        self._lock = threading.Lock()
        self._stop_reader, self._stop_writer = os.pipe()
        self._thread = threading.Thread(target=self._serve, name="powermeter-pty", daemon=True)
        self._closed = False

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Unplug for good: clients read an error from now on. Harmless when repeated."""
        if self._closed:
            return
        self._closed = True
        os.write(self._stop_writer, b"x")
        if self._thread.is_alive():
            self._thread.join()
        self._unplug()
        for descriptor in (self._stop_reader, self._stop_writer):
            os.close(descriptor)

    def _plug(self) -> None:
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path = os.ttyname(self._slave)
        if self._link is not None:
            part = self._link.with_name(self._link.name + ".part")
            part.unlink(missing_ok=True)
            part.symlink_to(self.path)
            os.replace(part, self._link)
            self.path = str(self._link)
        self._plugged = True

    def _unplug(self) -> None:
        if self._plugged:
            self._plugged = False
            if self._link is not None:
                self._link.unlink(missing_ok=True)
            os.close(self._master)
            os.close(self._slave)

    def _serve(self) -> None:
        while True:
            ends = [self._stop_reader, *([self._master] if self._plugged else [])]
            ready, _, _ = select.select(ends, [], [], self._tick_s())
            if self._stop_reader in ready:
                return
            with self._lock:
                self._tick()
                if self._plugged and self._master in ready:
                    self._receive(os.read(self._master, 4096))

    def _tick_s(self) -> float | None:
        """Seconds until `_tick` is called if no command comes; None for never."""
        return None

    def _tick(self) -> None:  # noqa: B027 - lockstep has nothing to do
        """Let time pass, where it passes by itself."""

    @abstractmethod
    def _receive(self, data: bytes) -> None:
        """Answer what the client sent."""


class LockstepPty(_Pty):
    """Time passes only in `advance()`, exactly as told, as fast as the reader takes the bytes."""

    def __init__(self, device: Device) -> None:
        super().__init__()
        self.device = device
        self.sent = 0
        self.start()

    def advance(self, segments: Iterable[Segment], check: Callable[[], None] | None = None) -> None:
        """Let `segments` pass and send everything that falls due.

        While the reader is slow, `check` is called from time to time; it may raise. Raises
        `SimulatorError` when nobody reads for half a minute.
        """
        with self._lock:
            self._send(self.device.advance(list(segments)), check)

    def _receive(self, data: bytes) -> None:
        self._send(self.device.command(data), None)

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


class RealtimePty(_Pty):
    """Time passes by itself, bytes leave at the line's pace, and what finds no room is lost.

    Power is `idle_w`, and while segments given to `play()` last, theirs. With a `FaultyDevice` its
    faults happen; an unplugged port is gone (clients read EIO) and comes back under another number,
    so give a `link` (a path for a symbolic link) that stays the same. `lost` counts bytes that
    found no room.
    """

    def __init__(
        self, device: Device | FaultyDevice, *, idle_w: float = 2.6, link: Path | None = None
    ) -> None:
        super().__init__(link)
        self.device = device if isinstance(device, FaultyDevice) else FaultyDevice(device)
        self._trace = Trace(idle_w=idle_w)
        self._rate = device.baud / bits_per_byte(device.frame) if device.baud else float("inf")
        self._queue = bytearray(device.banner())
        self._then = time.monotonic()
        self._allowance = 0.0
        self.lost = 0
        self.start()

    def play(self, segments: Iterable[Segment]) -> None:
        """Append segments to what the board will do from now on."""
        with self._lock:
            self._trace.append(segments)

    def _receive(self, data: bytes) -> None:
        self._queue += self.device.command(data)

    def _tick_s(self) -> float | None:
        return min(_TICK_S, max(self.device.period_s, 1e-3))

    def _tick(self) -> None:
        now = time.monotonic()
        behind, self._then = now - self._then, now
        while behind > 0:
            step = min(behind, _STEP_S)
            self._pass(step)
            behind -= step
            if behind > 0:
                self._catch_up()

    def _pass(self, seconds: float) -> None:
        sent = self.device.advance(self._trace.take(seconds))
        if self.device.connected != self._plugged:
            self._queue.clear()
            (self._plug if self.device.connected else self._unplug)()
        if not self._plugged:
            return
        for piece in sent.splitlines(keepends=True):
            if len(self._queue) + len(piece) <= _DEVICE_BUFFER:
                self._queue += piece
            else:
                self.lost += len(piece)
        self._allowance = min(self._allowance + seconds * self._rate, float(_DEVICE_BUFFER))
        count = min(len(self._queue), _PORT_BUFFER - self._unread())
        if self._allowance < count:
            count = int(self._allowance)
        if count > 0:
            with suppress(BlockingIOError):  # full after all: the bytes stay queued
                written = os.write(self._master, self._queue[:count])
                del self._queue[:written]
                self._allowance -= written

    def _catch_up(self) -> None:
        """This thread woke late and sends in a burst what would have left in good time.

        So the client gets some time to take it: to be tried is its delay, not ours.
        """
        until = time.monotonic() + _GRACE_S
        while self._plugged and self._unread() > _PORT_BUFFER // 2 and time.monotonic() < until:
            time.sleep(_STEP_S / 8)

    def _unread(self) -> int:
        answer = fcntl.ioctl(self._slave, termios.FIONREAD, struct.pack("i", 0))
        return int(struct.unpack("i", answer)[0])
