# SPDX-License-Identifier: Apache-2.0
"""A simulated instrument on a line in memory, in simulated time: a driver's transport and clock.

Time passes in `read()` only, as long as that waits, so a minute of a slow meter takes milliseconds
and the same simulation always gives the same bytes at the same times.
"""

from __future__ import annotations

from powermeter.errors import PortClosedError
from powermeter.simulation.device import Device, Trace, bits_per_byte
from powermeter.simulation.faults import FaultyDevice

_STEPS_S = (0.01, 0.05)  # shortest and longest
_STEPS_A_PERIOD = 20


class SimulatedLine:
    """A `Transport` to `device`, which sees `trace`; `clock` is the host's time meanwhile.

    Bytes take their time on the line (`device.baud`). While a `FaultyDevice` is unplugged, `read`
    and `write` raise `PortClosedError`, as a port does, and `reopen()` fails alike.
    """

    def __init__(
        self, device: Device | FaultyDevice, trace: Trace, *, start_s: float = 1.7e9
    ) -> None:
        self.name = "/dev/simulated"
        self.device = device if isinstance(device, FaultyDevice) else FaultyDevice(device)
        self._trace = trace
        self._start_s = start_s
        self._elapsed_s = 0.0
        self._byte_s = bits_per_byte(device.frame) / device.baud if device.baud else 0.0
        # What the device sends unasked arrives up to a step late, as on a computer that is busy.
        self._step_s = min(max(device.period_s / _STEPS_A_PERIOD, _STEPS_S[0]), _STEPS_S[1])
        self._free_s = 0.0  # when the line has sent what was put on it
        self._queue = bytearray(device.banner())
        self._unplugged = False

    def clock(self) -> float:
        """The host's time."""
        return self._start_s + self._elapsed_s

    @property
    def elapsed_s(self) -> float:
        """Since the start."""
        return self._elapsed_s

    def read(self, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        self._check()
        until = self._elapsed_s + timeout_s
        while not (arrived := self._arrived()) and self._elapsed_s < until:
            step = min(self._step_s, until - self._elapsed_s)
            if self._queue:  # on the way: until the last byte has arrived
                step = min(step, max(self._free_s - self._elapsed_s, self._byte_s))
            self.pass_time(step)
            self._check()
        return arrived

    def write(self, data: bytes) -> None:
        """See `Transport.write`."""
        self._check()
        self._put(self.device.command(data))

    def close(self) -> None:
        """Nothing is held."""

    def reopen(self) -> None:
        """Plug in again; `PortClosedError` while the device is away."""
        if not self.device.connected:
            raise PortClosedError(f"{self.name}: no such port")
        self._unplugged = False
        self._queue.clear()

    def pass_time(self, seconds: float) -> None:
        """Let time pass without reading."""
        self._elapsed_s += seconds
        self._put(self.device.advance(self._trace.take(seconds)))

    def _put(self, data: bytes) -> None:
        if data:
            self._free_s = max(self._free_s, self._elapsed_s) + len(data) * self._byte_s
            self._queue += data

    def _arrived(self) -> bytes:
        on_the_way = 0
        if self._byte_s and self._free_s > self._elapsed_s:
            on_the_way = int((self._free_s - self._elapsed_s) / self._byte_s) + 1
        count = max(0, len(self._queue) - on_the_way)
        arrived = bytes(self._queue[:count])
        del self._queue[:count]
        return arrived

    def _check(self) -> None:
        if not self.device.connected:
            self._unplugged = True
        if self._unplugged:
            raise PortClosedError(f"{self.name}: the port went away (unplugged?)")
