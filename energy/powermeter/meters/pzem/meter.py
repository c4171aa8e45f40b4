# SPDX-License-Identifier: Apache-2.0
"""Driver of the PZEM-004T v3 (mains, 9600 8N1) and PZEM-017 (DC, 9600 8N2), Modbus RTU.

*Rate*: registers change about once a second; they are read twice as often, so that none is missed.
*Resolution*: 0.1 W and 1 Wh; 0.1 V and 1 mA (004T), 0.01 V and 0.01 A (017). *Accuracy*: 0.5 %
(004T), 1 % (017) of the reading and one count. *A reading is taken as the average* over the
module's own last second, which ended up to a second before. Below 0.4 W (004T) or 20 mA (017) the
modules read zero: neither suits a board of 3 W alone. Sources and what they leave open:
`models`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, Any

from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import MeterError, NoAnswerError, NoPacketError, WrongInstrumentError
from powermeter.meters.driver import Driver, serial_driver
from powermeter.meters.meter import AVERAGE, Meter, Transport
from powermeter.meters.pzem.models import (
    DEFAULT_ADDRESS,
    GENERAL_ADDRESS,
    LAST_ADDRESS,
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
from powermeter.meters.settings import Setting, read_settings

if TYPE_CHECKING:
    from powermeter.simulation.device import Device

BAUD = 9600
_POLL_S, _TRY_S, _TRIES = 0.05, 0.6, 3
_SCAN_S = 0.3  # for an address's answer, twice what a read takes
_AUTO = "auto"
_EXCERPT = 24  # bytes of what came, in a message


class Pzem(Meter):
    """A module behind an injected transport; `settings` as in `settings_of(model)`."""

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
        chosen = read_settings(self.driver, settings_of(model), settings)
        wanted = chosen["address"]
        self._addresses: tuple[int, ...] = (
            (DEFAULT_ADDRESS, GENERAL_ADDRESS) if wanted == _AUTO else (wanted,)
        )
        self._period_s, self._range_a = chosen["period_s"], chosen["range_a"]
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
        """Find the module, and for a PZEM-017 its current range; `MeterError`.

        The registers are asked at every address that may be meant; the one that answers is kept.
        """
        if self._model.range_register is not None:
            count = self._model.range_register + 1
            registers = self._ask(lambda address: read_holding(address, count), count)
            self._set_range(registers[self._model.range_register])
        full = self._model.registers
        self._ask(lambda address: read_input(address, full), full)
        self._decoder = self._make_decoder()
        self._due_s = self._clock()

    def reset_energy(self) -> None:
        """Set the module's energy counter to zero; nothing here does that unasked."""
        self._ask(reset_energy, 0)

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
                self._transport.write(read_input(self._addresses[0], count))
            raw = self._read(max(0.0, min(until, self._due_s) - now))
            if raw or self._clock() >= until:
                return raw

    def identity(self) -> dict[str, Any]:
        """Model, address, current range and the period of the requests."""
        return {
            "model": self._model.name,
            "address": self._addresses[0],
            "range_a": self._range_a,
            "period_s": self._period_s,
        }

    def _make_decoder(self) -> PzemDecoder:
        range_a = math.inf if self._range_a is None else self._range_a
        return PzemDecoder(self._model, self._addresses[0], self._period_s, range_a)

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

    def _ask(self, request: Callable[[int], bytes], count: int) -> list[int]:
        """Ask each address in turn until one answers with `count` registers; these.

        Only that address is asked from then on.
        """
        splitters = {address: ReplySplitter(address) for address in self._addresses}
        heard = b""
        for address in self._addresses * _TRIES:
            self._transport.write(request(address))
            until = self._clock() + _TRY_S
            while self._clock() < until:
                raw = self._read(_POLL_S)
                heard += raw
                for source, splitter in splitters.items():
                    for item in splitter.feed(raw):
                        if isinstance(item, ModbusError):
                            raise self._refusal(item)
                        if isinstance(item, Reply) and len(item.registers) == count:
                            self._settle_on(source)
                            return item.registers
        raise self._silence(heard, [request(address) for address in self._addresses])

    def _settle_on(self, address: int) -> None:
        if address == GENERAL_ADDRESS and len(self._addresses) > 1:
            self.notes.append(
                f"no answer at address {DEFAULT_ADDRESS}; a {self._model.name} answered at the "
                f"general address 0x{GENERAL_ADDRESS:X}, which works while it is alone on the line"
            )
        self._addresses = (address,)

    def _silence(self, heard: bytes, requests: list[bytes]) -> MeterError:
        """Why nothing could be read: nothing came, only an echo, or no reply."""
        what = f"{self._model.name} at {' or '.join(map(_address_words, self._addresses))}"
        name, rest = self._transport.name, heard
        for request in requests:
            rest = rest.replace(request, b"")
        if not heard:
            return NoAnswerError(f"{name}: no answer of a {what}")
        if not rest:
            return NoAnswerError(
                f"{name}: only an echo of the requests came, and no answer of a {what}"
            )
        more = "..." if len(rest) > _EXCERPT else ""
        return NoPacketError(
            f"{name}: {len(heard)} bytes came and no reply of a {what} (is the baud rate right? "
            f"do several modules answer at once?): {rest[:_EXCERPT].hex(' ')}{more}"
        )

    def _refusal(self, error: ModbusError) -> MeterError:
        other = next(name for name in MODELS if name != self._model.name)
        return WrongInstrumentError(
            f"{self._transport.name}: a Modbus device answered that lacks the registers of a "
            f"{self._model.name} (error {error.code}); is it a {other}?"
        )


def probe(model: Model, transport: Transport) -> str | None:
    """Read registers that only this model has, at the default and at the general address."""
    for address in (DEFAULT_ADDRESS, GENERAL_ADDRESS):
        if _answers(model, transport, address, _TRY_S):
            return f"{model.name} at {_address_words(address)}"
    return None


def scan(model: Model, transport: Transport) -> Iterator[str | None]:
    """Ask every address that a module may have; for each the module's model and address, or None.

    Takes 0.3 s an address without an answer.
    """
    for address in range(1, LAST_ADDRESS + 1):
        found = _answers(model, transport, address, _SCAN_S)
        yield f"{model.name} at {_address_words(address)}" if found else None


def settings_of(model: Model) -> tuple[Setting, ...]:
    """What can be set on a module."""
    measured = model.range_register is not None
    return (
        Setting(
            "address", f"Modbus address; auto: {DEFAULT_ADDRESS}, else the general one (0xF8)",
            _AUTO, int, least=1, most=GENERAL_ADDRESS, words=(_AUTO,),
        ),
        Setting("period_s", "seconds between two requests", PERIOD_S, unit="s", least=0.2, most=60),
        Setting(
            "range_a", "current range" + ("; compared with the module's own" if measured else ""),
            model.default_range_a, int, "A", choices=tuple(sorted(model.ranges_a)),
            unset="read from the module",
        ),
    )  # fmt: skip


def _answers(model: Model, transport: Transport, address: int, seconds: float) -> bool:
    register = model.range_register
    count = model.registers if register is None else register + 1
    transport.write((read_input if register is None else read_holding)(address, count))
    splitter = ReplySplitter(address)
    for _ in range(round(seconds / _POLL_S)):
        for item in splitter.feed(transport.read(_POLL_S)):
            if isinstance(item, Reply) and len(item.registers) == count:
                return True
    return False


def _address_words(address: int) -> str:
    if address == GENERAL_ADDRESS:
        return f"the general address 0x{GENERAL_ADDRESS:X}"
    return f"address {address}"


def _decoder(identity: dict[str, Any]) -> PzemDecoder:
    range_a = math.inf if identity["range_a"] is None else identity["range_a"]
    model = MODELS[identity["model"]]
    return PzemDecoder(model, identity["address"], identity["period_s"], range_a)


def _simulator(model: Model, seed: int = 0, **settings: Any) -> Device:
    from powermeter.meters.pzem.simulator import PzemDevice
    from powermeter.meters.pzem.simulator import settings_of as simulator_settings

    owner = f"the simulated {model.name.lower()}"
    return PzemDevice(model, seed, **read_settings(owner, simulator_settings(model), settings))


def _driver(model: Model, description: str) -> Driver:
    return serial_driver(
        model.name.lower(),
        description,
        baud=BAUD,
        frame=model.frame,
        meter=partial(Pzem, model),
        decoder=_decoder,
        probe=partial(probe, model),
        declared=settings_of(model),
        scan=partial(scan, model),
        simulator=partial(_simulator, model),
    )


DRIVER_004T = _driver(PZEM_004T, "PZEM-004T v3 mains module, Modbus RTU, serial line 9600 8N1")
DRIVER_017 = _driver(PZEM_017, "PZEM-017 DC module, Modbus RTU, serial line 9600 8N2")
