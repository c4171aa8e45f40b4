# SPDX-License-Identifier: Apache-2.0
"""What can go wrong with a meter, each as one line that its user can act upon."""

from __future__ import annotations


class MeterError(Exception):
    """Any failure of a meter, a port or a recording; the message is one line."""


class NoPortError(MeterError):
    """There is no such port."""


class PortPermissionError(MeterError):
    """The port exists and this user may not open it."""


class PortBusyError(MeterError):
    """Another program holds the port."""


class NoAnswerError(MeterError):
    """The port opened and stayed silent."""


class NoPacketError(MeterError):
    """Bytes came, but nothing that the driver could read (often a wrong baud rate)."""


class WrongInstrumentError(MeterError):
    """The instrument answered and is another one, or speaks another protocol version."""


class MissingPackageError(MeterError):
    """The driver needs a package that is not installed."""


class RefusedError(MeterError):
    """The instrument understood a command and refused it."""


class NoReadingError(MeterError):
    """The recorder waited in vain."""


class BeyondRangeError(MeterError):
    """The meter reads, and what it would read lies beyond the range that it is in."""


class PortClosedError(MeterError):
    """The port went away while in use: unplugged, or closed."""


class SimulatorError(MeterError):
    """A simulated meter was used in a way that it cannot follow."""


class RecordingError(MeterError):
    """A recording is missing, damaged, cannot be written, or does not fit what was asked of it."""


_LONGEST = 300


def described(error: BaseException) -> str:
    """Any exception in one line of bounded length: a `MeterError`'s message, else its type too."""
    text = " ".join(str(error).split())
    if not isinstance(error, MeterError):
        text = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return text[:_LONGEST]
