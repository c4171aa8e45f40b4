# SPDX-License-Identifier: Apache-2.0
"""A simulated laboratory power supply with SCPI queries on a serial line.

Modelled: `MEASure` queries that read the last refresh of its display (the mean over `refresh_s`);
a gain error of power within `gain` and of voltage, drawn once from the seed; digits of 1 mV, 0.1 mA
and 1 mW; 9.9E+37 above `range_w`; an error queue with SCPI's negative codes; a restart with seconds
of silence. It has no clock to tell. Not modelled: noise, the output's regulation, its settings.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import Any

from powermeter.errors import SimulatorError
from powermeter.simulators.device import REBOOT, Segment
from powermeter.simulators.scpi_device import (
    CommandTable,
    ErrorQueue,
    Handler,
    Interval,
    IntervalClock,
    MessageParser,
    ScpiFault,
    Unit,
)

IDENTITY = "SIMULATED,PSU-3005,0001,1.0"
_UNDEFINED = ScpiFault(-113, "Undefined header")
_NO_ERROR = '0,"No error"'
_BOOT_S = 2.0
_VOLTAGE_GAIN = 5e-4
_OVERLOAD = "9.9E+37"


class SupplyDevice:
    """See `Device`. `bus_v` is the true voltage, `gain` the limit of power's error (a fraction).

    `has_power` False: an instrument without `MEASure:POWer?`.
    """

    frame = "8N1"

    def __init__(
        self,
        seed: int = 0,
        *,
        bus_v: float = 12.0,
        baud: int = 9600,
        gain: float = 0.01,
        refresh_s: float = 0.05,
        range_w: float = 60.0,
        has_power: bool = True,
    ) -> None:
        if not (bus_v > 0 and refresh_s > 0):
            raise SimulatorError("the bus voltage and the refresh time must be positive")
        uniform = random.Random(seed).uniform
        self.seed, self.bus_v, self.baud, self.range_w = seed, bus_v, baud, range_w
        self._voltage_gain = uniform(-1, 1) * _VOLTAGE_GAIN
        self._power_gain = uniform(-1, 1) * gain
        self._refresh_s = refresh_s
        self._time = IntervalClock(refresh_s)
        self._watts: float | None = None  # true mean of the last refresh
        self._parser, self._queue = MessageParser(), ErrorQueue((-350, "Queue overflow"))
        self._table = CommandTable(self._handlers(has_power), _UNDEFINED)
        self._boots_until_s = -math.inf

    @property
    def period_s(self) -> float:
        """True seconds between two refreshes."""
        return self._refresh_s

    def banner(self) -> bytes:
        """It says nothing when switched on."""
        return b""

    def command(self, data: bytes) -> bytes:
        """See `Device.command`."""
        if self._time.now_s < self._boots_until_s:
            return b""
        sent = b""
        for message in self._parser.feed(data):
            if message is None:
                self._queue.add(-363, "Input buffer overrun")
            else:
                sent += self._answer(message)
        return sent

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """See `Device.advance`; it never speaks unasked."""
        self._time.pass_segments(segments, self._refresh_s, self._refresh)
        return b""

    def fault(self, kind: str) -> bytes:
        """See `Device.fault`: a restart is all that can happen to it."""
        if kind != REBOOT:
            raise SimulatorError(f"a power supply has no fault {kind!r}")
        self._watts = None
        self._queue.clear()
        self._parser.clear()
        self._boots_until_s = self._time.now_s + _BOOT_S
        return b""

    def state(self) -> dict[str, Any]:
        """See `Device.state`."""
        return {
            "seed": self.seed,
            "time": self._time.state(),
            "watts": self._watts,
            "received": self._parser.state(),
            "errors": self._queue.state(),
            "boots_for_s": max(0.0, self._boots_until_s - self._time.now_s),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Device.restore`."""
        if state.get("seed") != self.seed:
            raise SimulatorError(f"the saved supply has seed {state.get('seed')}, not {self.seed}")
        self._time.restore(state["time"])
        self._watts = state["watts"]
        self._parser.restore(state["received"])
        self._queue.restore(state["errors"])
        self._boots_until_s = self._time.now_s + state["boots_for_s"]

    def _refresh(self, interval: Interval) -> None:
        self._watts = interval.joules / interval.seconds

    def _answer(self, message: list[Unit]) -> bytes:
        answers = []
        for unit in message:
            try:
                answer = self._table.run(unit)
            except ScpiFault as fault:
                self._queue.add(fault.code, fault.words)
                break
            if answer is not None:
                answers.append(answer)
        return ";".join(answers).encode("ascii") + b"\r\n" if answers else b""

    def _handlers(self, has_power: bool) -> dict[str, Handler]:
        table: dict[str, Handler] = {
            "*IDN?": lambda *_: IDENTITY,
            "*CLS": lambda *_: self._queue.clear(),
            "*OPC?": lambda *_: "1",
            ":SYSTem:ERRor[:NEXT]?": lambda *_: self._queue.take(_NO_ERROR),
            ":MEASure[:SCALar]:VOLTage[:DC]?": lambda *_: f"{self._volts():.3f}",
            ":MEASure[:SCALar]:CURRent[:DC]?": lambda *_: self._current(),
        }
        if has_power:
            table[":MEASure[:SCALar]:POWer[:DC]?"] = lambda *_: self._power()
        return table

    def _volts(self) -> float:
        return self.bus_v * (1 + self._voltage_gain)

    def _read_w(self) -> float:
        """Watts with this instrument's error; infinite beyond its range."""
        watts = self._watts or 0.0
        return math.inf if abs(watts) > self.range_w else watts * (1 + self._power_gain)

    def _current(self) -> str:
        watts = self._read_w()
        return _OVERLOAD if math.isinf(watts) else f"{watts / self._volts():.4f}"

    def _power(self) -> str:
        watts = self._read_w()
        return _OVERLOAD if math.isinf(watts) else f"{watts:.3f}"
