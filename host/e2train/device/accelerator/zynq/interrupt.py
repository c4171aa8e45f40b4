# SPDX-License-Identifier: Apache-2.0
"""The accelerator's interrupt line, as Linux hands it to programs: a UIO device."""

from __future__ import annotations

import os
import select
import struct
import time

from ....errors import UserError

WORD = struct.Struct("=I")


class InterruptLine:
    """Waits at a UIO device. pynq's own `Interrupt` needs an interrupt controller in the fabric and
    an event loop that nobody else runs; a line at IRQ_F2P and a notebook have neither."""

    def __init__(self, path: str) -> None:
        """Raises UserError where the device cannot be opened."""
        try:
            self._file = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        except OSError as error:
            raise UserError(f"{path}: the interrupt cannot be used: {error.strerror}") from error

    def arm(self) -> None:
        """Unmask the line; what arrived before does not count."""
        while select.select([self._file], [], [], 0)[0]:
            os.read(self._file, WORD.size)
        os.write(self._file, WORD.pack(1))

    def wait(self, seconds: float) -> bool:
        """Whether an interrupt came in time. It masks the line: `arm` unmasks it."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            if select.select([self._file], [], [], left)[0]:
                os.read(self._file, WORD.size)
                return True
        return False

    def close(self) -> None:
        """Give the device back."""
        os.close(self._file)
