# SPDX-License-Identifier: Apache-2.0
"""Driver of the PZEM-004T v3 (mains, 9600 8N1) and PZEM-017 (DC, 9600 8N2), Modbus RTU.

*Rate*: registers change about once a second; they are read twice as often, so that none is missed.
*Resolution*: 0.1 W and 1 Wh; 0.1 V and 1 mA (004T), 0.01 V and 0.01 A (017). *Accuracy*: 0.5 %
(004T), 1 % (017) of the reading and one count. *A reading is taken as the average* over the
module's own last second, which ended up to a second before. Below 0.4 W (004T) or 20 mA (017) the
modules read zero: neither suits a board of 3 W alone. Sources and what they leave open:
`pzem_models`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import MeterError, NoAnswerError, NoPacketError, WrongInstrumentError
from powermeter.meters.driver import Driver, serial_driver
from powermeter.meters.meter import AVERAGE, MeterBase, Transport
from powermeter.meters.pzem.models import (
    DEFAULT_ADDRESS,
    MODELS,
    PERIOD_S,
    PZEM_004T,
    PZEM_017,
    READ_S,
    UPDATE_S,
    UPDATE_TOLERANCE,
    Model,
)
from powermeter.meters.pzem.protocol import (
    ModbusError,
    PzemDecoder,
    Reply,
    ReplySplitter,
    read_holding,
    read_input,
    reset_energy,
)

if TYPE_CHECKING:
    from powermeter.simulation.device import Device

BAUD = 9600
_POLL_S, _TRY_S, _TRIES = 0.05, 0.6, 3
_SETTINGS = ("address", "period_s", "range_a")


class Pzem(MeterBase):
    """A module behind an injected transport.

    `settings` may hold `address` (1 to 247), `period_s` (seconds between requests, 0.2 at least)
    and `range_a` (10 or 100 for a PZEM-004T; for a PZEM-017 it is read, and compared if given).
    """

    reading = AVERAGE
    asynchronous = True
    counter_wh = 1.0

    def __init__(
        self,
        model: Model,
        transport: Transport,
        *,
        provenance: str = "metered",
        settings: dict[str, Any] | None = None,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        self.driver = model.name.lower()
        self._model = model
        settings = _checked(model, settings or {})
        self._address, self._period_s = settings["address"], settings["period_s"]
        self._range_a = settings["range_a"]
        decoder = self._make_decoder()
        super().__init__(transport, decoder, provenance=provenance, clock=clock)
        self._due_s = -math.inf
        self._turn = 0

    @property
    def accuracy(self) -> PowerAccuracy:
        """Limits of the power register."""
        return self._model.accuracy

    @property
    def period_s(self) -> float:
        """Seconds between two requests."""
        return float(self._period_s)

    @property
    def resolution_w(self) -> float:
        """Watts of the power register's last digit."""
        return self._model.power.lsb

    @property
    def latency_s(self) -> float:
        """How far a reading may lie behind the period that it is counted for.

        A register is the mean of an update's length, and is read until the next update has ended:
        the middle of what it describes lies up to one and a half updates and a read before the
        reply, that of the period for which it counts half a period.
        """
        return 1.5 * UPDATE_S * (1 + UPDATE_TOLERANCE) + READ_S - self._period_s / 2

    def open(self) -> None:
        """Find the module, and for a PZEM-017 its current range; `MeterError`."""
        if self._model.range_register is not None:
            count = self._model.range_register + 1
            registers = self._ask(read_holding(self._address, count), count)
            self._set_range(registers[self._model.range_register])
        count = self._model.registers
        self._ask(read_input(self._address, count), count)
        self._due_s = self._clock()

    def reset_energy(self) -> None:
        """Set the module's energy counter to zero; nothing here does that unasked."""
        self._ask(reset_energy(self._address), 0)

    def receive(self, timeout_s: float) -> bytes:
        """See `Meter.receive`: a request each period on a fixed grid, however late a call comes.

        Turns that were missed count: so a reply's length tells its place on the grid.
        """
        until = self._clock() + timeout_s
        while True:
            now = self._clock()
            if now >= self._due_s:
                turns = math.floor((now - self._due_s) / self._period_s) + 1
                self._turn = (self._turn + turns) % len(self._model.lengths)
                self._due_s += turns * self._period_s
                count = self._model.lengths[self._turn]
                self._transport.write(read_input(self._address, count))
            raw = self._read(max(0.0, min(until, self._due_s) - now))
            if raw or self._clock() >= until:
                return raw

    def identity(self) -> dict[str, Any]:
        """Model, address, current range and the period of the requests."""
        return {
            "model": self._model.name,
            "address": self._address,
            "range_a": self._range_a,
            "period_s": self._period_s,
        }

    def _make_decoder(self) -> PzemDecoder:
        range_a = math.inf if self._range_a is None else self._range_a
        return PzemDecoder(self._model, self._address, self._period_s, range_a)

    def _set_range(self, code: int) -> None:
        ranges = {value: amperes for amperes, value in self._model.ranges_a.items()}
        amperes = ranges.get(code)
        name = self._transport.name
        if amperes is None:
            raise WrongInstrumentError(f"{name}: {self._model.name} has no current range {code}")
        if self._range_a not in (None, amperes):
            raise MeterError(
                f"{name}: the meter is in its {amperes} A range, not {self._range_a} A (set by "
                f"holding register {self._model.range_register})"
            )
        self._range_a = amperes
        self._decoder = self._make_decoder()

    def _ask(self, request: bytes, count: int) -> list[int]:
        """Send `request` until it is answered with `count` registers; these."""
        splitter, heard = ReplySplitter(self._address), 0
        for _ in range(_TRIES):
            self._transport.write(request)
            until = self._clock() + _TRY_S
            while self._clock() < until:
                raw = self._read(_POLL_S)
                heard += len(raw)
                for item in splitter.feed(raw):
                    if isinstance(item, ModbusError):
                        raise self._refusal(item)
                    if isinstance(item, Reply) and len(item.registers) == count:
                        return item.registers
        name, what = self._transport.name, f"{self._model.name} at address {self._address}"
        if heard:
            raise NoPacketError(
                f"{name}: {heard} bytes came and no reply of a {what} (is the baud rate right?)"
            )
        raise NoAnswerError(f"{name}: no answer of a {what}")

    def _refusal(self, error: ModbusError) -> MeterError:
        other = next(name for name in MODELS if name != self._model.name)
        return WrongInstrumentError(
            f"{self._transport.name}: a Modbus device answered that lacks the registers of a "
            f"{self._model.name} (error {error.code}); is it a {other}?"
        )


def probe(model: Model, transport: Transport) -> str | None:
    """Read registers that only this model has, at the default address; changes nothing."""
    register = model.range_register
    count = model.registers if register is None else register + 1
    request = (read_input if register is None else read_holding)(DEFAULT_ADDRESS, count)
    transport.write(request)
    splitter = ReplySplitter(DEFAULT_ADDRESS)
    for _ in range(round(_TRY_S / _POLL_S)):
        for item in splitter.feed(transport.read(_POLL_S)):
            if isinstance(item, Reply) and len(item.registers) == count:
                return f"{model.name} at address {DEFAULT_ADDRESS}"
    return None


def _checked(model: Model, settings: dict[str, Any]) -> dict[str, Any]:
    name = model.name.lower()
    if unknown := set(settings) - set(_SETTINGS):
        raise MeterError(
            f"{name} has no setting {', '.join(sorted(unknown))}; there is: {', '.join(_SETTINGS)}"
        )
    defaults = {
        "address": DEFAULT_ADDRESS,
        "period_s": PERIOD_S,
        "range_a": model.default_range_a,
    }
    full = defaults | settings
    if full["address"] != int(full["address"]) or not 1 <= full["address"] <= 247:
        raise MeterError(f"{name}: address must be 1 to 247, got {full['address']}")
    if not 0.2 <= full["period_s"] <= 60:
        raise MeterError(f"{name}: period_s must be 0.2 to 60 s, got {full['period_s']}")
    if full["range_a"] not in (None, *model.ranges_a):
        ranges = ", ".join(map(str, sorted(model.ranges_a)))
        raise MeterError(f"{name}: range_a must be one of {ranges}, got {full['range_a']}")
    return full


def _decoder(identity: dict[str, Any]) -> PzemDecoder:
    range_a = math.inf if identity["range_a"] is None else identity["range_a"]
    model = MODELS[identity["model"]]
    return PzemDecoder(model, identity["address"], identity["period_s"], range_a)


def _simulator(model: Model, seed: int = 0, **settings: Any) -> Device:
    from powermeter.meters.pzem.simulator import PzemDevice

    return PzemDevice(model, seed, **settings)


def _driver(model: Model, description: str) -> Driver:
    return serial_driver(
        model.name.lower(),
        description,
        baud=BAUD,
        frame=model.frame,
        meter=partial(Pzem, model),
        decoder=_decoder,
        probe=partial(probe, model),
        simulator=partial(_simulator, model),
    )


DRIVER_004T = _driver(PZEM_004T, "PZEM-004T v3 mains module, Modbus RTU, serial line 9600 8N1")
DRIVER_017 = _driver(PZEM_017, "PZEM-017 DC module, Modbus RTU, serial line 9600 8N2")
