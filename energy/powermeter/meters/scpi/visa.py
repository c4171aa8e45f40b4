# SPDX-License-Identifier: Apache-2.0
"""A serial port through PyVISA with the pyvisa-py back end, as a `Transport`.

The port is opened as `ASRL<path>::INSTR`, which takes any path, a pseudo-terminal's included.
PyVISA is used for the bytes alone: reading by message, as VISA has it, would hide when bytes
arrived and throw away those of an answer that was cut short.

pyvisa-py does not lock its ports, and opening one flushes what waits there for another program. So
the port is locked first through a descriptor of its own, in the way (`flock`) of pyserial's
`exclusive`, and that descriptor also tells what is wrong with a port, which VISA's codes do not.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import suppress
from typing import Any

from powermeter.errors import (
    MeterError,
    MissingPackageError,
    NoPortError,
    PortBusyError,
    PortClosedError,
    PortPermissionError,
)

_REST_MS = 1000


class VisaTransport:
    """An exclusively locked 8N1 port; see `Transport`."""

    def __init__(self, port: str, baud: int) -> None:
        """Open `port`; `NoPortError`, `PortPermissionError`, `PortBusyError`."""
        self.name = port
        self._lock = _locked(port)
        try:
            self._resource = _open(port, baud)
        except BaseException:
            os.close(self._lock)
            raise
        self._closed = False

    def read(self, timeout_s: float) -> bytes:
        """See `Transport.read`; raises `PortClosedError` when the port went away."""
        import pyvisa

        try:
            self._resource.timeout = 1000.0 * timeout_s
            first = self._resource.read_bytes(1)
            rest = self._resource.bytes_in_buffer
            if not rest:
                return bytes(first)
            # They are there already, but PyVISA throws all away where time ends between two bytes.
            self._resource.timeout = _REST_MS
            return bytes(first + self._resource.read_bytes(rest))
        except pyvisa.VisaIOError as error:
            if error.error_code == pyvisa.constants.StatusCode.error_timeout:
                return b""
            raise self._gone() from error
        except (pyvisa.Error, OSError, TypeError) as error:
            # pyserial's SerialException is an OSError; its TypeError is a port closed under a read.
            raise self._gone() from error

    def write(self, data: bytes) -> None:
        """See `Transport.write`; raises `PortClosedError` when the port went away."""
        import pyvisa

        try:
            self._resource.timeout = 5000
            self._resource.write_raw(data)
        except (pyvisa.Error, OSError, TypeError) as error:
            raise self._gone() from error

    def close(self) -> None:
        """Release the port."""
        if self._closed:
            return
        self._closed = True
        with suppress(OSError):  # an unplugged port may fail to close, and is closed all the same
            self._resource.close()
        os.close(self._lock)

    def _gone(self) -> MeterError:
        return PortClosedError(f"{self.name}: the port went away (unplugged?)")


def _open(port: str, baud: int) -> Any:
    try:
        import pyvisa
    except ImportError:
        raise MissingPackageError(
            "SCPI instruments need PyVISA and pyvisa-py: pip install 'e2train[scpi]'"
        ) from None
    try:
        resource: Any = pyvisa.ResourceManager("@py").open_resource(
            f"ASRL{port}::INSTR", baud_rate=baud, read_termination=None, write_termination=None
        )
        # Bytes as they are: neither does a line end finish a read nor is one added to a write.
        resource.end_input = pyvisa.constants.SerialTermination.none
        resource.end_output = pyvisa.constants.SerialTermination.none
    except (pyvisa.Error, OSError, ValueError) as error:
        reason = str(error).replace("\n", " ")
        raise NoPortError(f"{port}: not a usable serial port ({reason})") from error
    return resource


def _locked(port: str) -> int:
    try:
        descriptor = os.open(port, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise _open_error(port, error) from error
    try:
        if not os.isatty(descriptor):
            raise NoPortError(f"{port}: not a usable serial port (no terminal device)")
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise _open_error(port, error) from error
    except MeterError:
        os.close(descriptor)
        raise
    return descriptor


def _open_error(port: str, error: OSError) -> MeterError:
    if error.errno in (errno.ENOENT, errno.ENODEV, errno.ENXIO):
        return NoPortError(f"{port}: no such port (is the meter plugged in?)")
    if error.errno == errno.EACCES:
        group = _group(port)
        return PortPermissionError(
            f"{port}: no permission; add yourself to group {group!r} "
            f"(sudo usermod -aG {group} $USER) and log in again"
        )
    if error.errno in (errno.EBUSY, errno.EAGAIN):
        return PortBusyError(f"{port}: in use by another program")
    return NoPortError(f"{port}: not a usable serial port ({error.strerror})")


def _group(port: str) -> str:
    import grp

    try:
        return grp.getgrgid(os.stat(port).st_gid).gr_name
    except (OSError, KeyError):
        return "dialout"
