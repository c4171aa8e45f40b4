# SPDX-License-Identifier: Apache-2.0
"""A serial port through pyserial, with its failures in plain words."""

from __future__ import annotations

import errno
import os
from contextlib import suppress

import serial

from powermeter.errors import (
    MeterError,
    NoPortError,
    PortBusyError,
    PortClosedError,
    PortPermissionError,
)


class SerialTransport:
    """An exclusively locked port; `read` returns whatever has arrived."""

    def __init__(self, port: str, baud: int, frame: str = "8N1") -> None:
        """Open `port`; raises `NoPortError`, `PortPermissionError`, `PortBusyError`.

        `frame` is data bits, parity (N, E, O) and stop bits, e.g. `8N2`.
        """
        self.name = port
        line = {"bytesize": int(frame[0]), "parity": frame[1], "stopbits": int(frame[2])}
        try:
            self._serial = serial.Serial(
                port, baud, timeout=0, write_timeout=5, exclusive=True, **line
            )
        except (serial.SerialException, OSError, ValueError) as error:
            raise _open_error(port, error) from error

    def read(self, timeout_s: float) -> bytes:
        """See `Transport.read`; raises `PortClosedError` when the port went away."""
        try:
            self._serial.timeout = timeout_s
            first = bytes(self._serial.read(1))
            return first + bytes(self._serial.read(self._serial.in_waiting)) if first else b""
        except (serial.SerialException, OSError, TypeError) as error:
            # pyserial raises TypeError where another thread closed the port during a read.
            raise PortClosedError(f"{self.name}: the port went away (unplugged?)") from error

    def write(self, data: bytes) -> None:
        """See `Transport.write`; raises `PortClosedError` when the port went away."""
        try:
            self._serial.write(data)
        except (serial.SerialException, OSError) as error:
            raise PortClosedError(f"{self.name}: the port takes no bytes (unplugged?)") from error

    def close(self) -> None:
        """Release the port."""
        with suppress(OSError):  # an unplugged port may fail to close, and is closed all the same
            self._serial.close()


def is_pseudo_terminal(port: str) -> bool:
    """True for a pseudo-terminal: a program answers there, so its joules are not metered."""
    return os.path.realpath(port).startswith("/dev/pts/")


def _open_error(port: str, error: Exception) -> MeterError:
    code = getattr(error, "errno", None)
    if code == errno.ENOENT:
        return NoPortError(f"{port}: no such port (is the meter plugged in?)")
    if code == errno.EACCES:
        group = _group(port)
        return PortPermissionError(
            f"{port}: no permission; add yourself to group {group!r} "
            f"(sudo usermod -aG {group} $USER) and log in again"
        )
    if code in (errno.EBUSY, errno.EAGAIN):
        return PortBusyError(f"{port}: in use by another program")
    reason = str(error).replace("\n", " ")
    return NoPortError(f"{port}: not a usable serial port ({reason})")


def _group(port: str) -> str:
    import grp

    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
