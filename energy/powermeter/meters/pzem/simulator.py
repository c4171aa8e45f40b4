# SPDX-License-Identifier: Apache-2.0
"""The simulated PZEM-004T v3 and PZEM-017: requests and passing time in, replies out. No I/O.

Modelled: registers that change each second of its own clock to the mean of that second; a gain
error within the accuracy, drawn from the seed; rounding to counts; reading zero below the starting
power; readings that go on beyond the range (the driver says so); the energy counter in whole
watt-hours and its reset; function codes 3, 4, 6 and 0x42, the general address, exception replies;
the time that a reply takes. Not modelled: calibration (0x41), noise, a voltage that varies, the
inertia seen on real ones. A power below zero reads as 0, because the registers have no sign.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from pymodbus.pdu import ExceptionResponse, ModbusPDU
from pymodbus.pdu.register_message import (
    ReadHoldingRegistersResponse,
    ReadInputRegistersResponse,
    WriteSingleRegisterResponse,
)

from powermeter.errors import SimulatorError
from powermeter.meters.pzem.models import (
    DEFAULT_ADDRESS,
    GENERAL_ADDRESS,
    LAST_ADDRESS,
    PZEM_004T,
    UPDATE_S,
    UPDATE_TOLERANCE,
    Field,
    Model,
)
from powermeter.meters.pzem.protocol import (
    READ_HOLDING,
    READ_INPUT,
    RESET,
    WRITE,
    ResetEnergy,
    frame,
    parse_request,
    request_length,
    sound,
)
from powermeter.meters.settings import Setting
from powermeter.simulation.cycle import Cycle
from powermeter.simulation.device import REBOOT, SKIP, Segment

#: Faults of its own besides those of `device`: refuse the next request, answer the next one late.
REFUSE, LATE = "error-reply", "late-reply"
_ILLEGAL_FUNCTION, _ILLEGAL_ADDRESS, _ILLEGAL_VALUE, _DEVICE_FAILURE = 1, 2, 3, 4
_REPLY_S = 0.08  # 0.12 s measured for a read, less 0.034 s for its 33 bytes at 9600 baud
_LATE_S = 0.6
_BOOT_S = 1.5
_SILENCE_S = 0.05  # ends a frame, however incomplete; the standard says 3.5 characters


@dataclass
class _State:
    """Everything that changes besides the measuring cycle; JSON-able."""

    registers: list[int]
    holding: list[int]
    address: int = DEFAULT_ADDRESS
    watt_hours: float = 0.0
    ready_s: float = 0.0  # answers nothing before
    heard_s: float = 0.0  # when the last byte came
    replies: list[list[Any]] = field(default_factory=list)  # [due at, bytes in hex]
    skip: int = 0
    refuse: int = 0
    late: int = 0


def settings_of(model: Model) -> tuple[Setting, ...]:
    """What can be set on a simulated module."""
    return (
        Setting("volts", "voltage", unit="V", above=0, most=1000, unset="230 V, or 12 V for DC"),
        Setting("hertz", "mains frequency", 50.0, unit="Hz", above=0, most=1000),
        Setting("power_factor", "of the load", 0.9, above=0, most=1),
        Setting("rate", "fraction by which its clock is fast", least=-0.5, most=0.5, unset="drawn"),
        Setting("reply_s", "time that an answer takes", _REPLY_S, unit="s", least=0, most=10),
        Setting("range_a", "current range", None, int, "A", choices=tuple(sorted(model.ranges_a))),
        Setting("address", "Modbus address", DEFAULT_ADDRESS, int, least=1, most=LAST_ADDRESS),
    )


class PzemDevice:
    """A module at `volts` (230 V mains, 12 V DC by default).

    `rate` is the fraction by which its clock is fast; drawn from the seed unless given. `reply_s`
    is how long it takes to answer. `range_a` picks one of the model's current ranges. `address` is
    the one that it was given.
    """

    baud: int | None = 9600

    def __init__(
        self,
        model: Model = PZEM_004T,
        seed: int = 0,
        *,
        volts: float | None = None,
        hertz: float = 50.0,
        power_factor: float = 0.9,
        rate: float | None = None,
        reply_s: float = _REPLY_S,
        range_a: int | None = None,
        address: int = DEFAULT_ADDRESS,
    ) -> None:
        self.model, self.seed, self.frame = model, seed, model.frame
        self._mains = model is PZEM_004T
        self.volts = (230.0 if self._mains else 12.0) if volts is None else volts
        self.power_factor = power_factor if self._mains else 1.0
        default_a = model.default_range_a or next(iter(model.ranges_a))
        self.range_a = default_a if range_a is None else range_a
        if self.volts <= 0 or not 0 < self.power_factor <= 1 or self.range_a not in model.ranges_a:
            raise SimulatorError("volts, power factor or range are none of this module's")
        self.range_w = self.range_a * self.volts * self.power_factor
        draw = random.Random(seed).uniform
        self.gain = draw(-1, 1) * model.accuracy.reading
        self.rate = draw(-1, 1) * UPDATE_TOLERANCE if rate is None else rate
        self._hertz, self._reply_s = hertz, reply_s
        self._cycle = Cycle(UPDATE_S / (1 + self.rate), draw(0.05, 1.0))
        self._partial = b""
        self._s = _State([0] * model.registers, self._settings(), address)

    @property
    def period_s(self) -> float:
        """True seconds between two changes of the registers."""
        return self._cycle.period_s

    def command(self, data: bytes) -> bytes:
        """See `Device.command`; a reply falls due in `advance`, unless it takes no time."""
        s = self._s
        if self._cycle.now_s < s.ready_s:
            return b""
        if self._cycle.now_s - s.heard_s > _SILENCE_S:
            self._partial = b""
        s.heard_s = self._cycle.now_s
        self._partial += data
        while request := self._next_request():
            self._answer(request)
        return self._due()

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """See `Device.advance`: replies that fall due meanwhile."""
        for end_s, watts in self._cycle.advance(segments):
            if end_s > self._s.ready_s:
                self._update(watts)
        return self._due()

    def banner(self) -> bytes:
        """It sends nothing unasked."""
        return b""

    def fault(self, kind: str) -> bytes:
        """`reboot`, `sequence-gap` (one request without a reply), `error-reply`, `late-reply`."""
        s = self._s
        if kind == REBOOT:
            s.ready_s = self._cycle.now_s + _BOOT_S
            self._cycle.restart(_BOOT_S)
            s.registers, s.replies, self._partial = [0] * self.model.registers, [], b""
            s.skip = s.refuse = s.late = 0
        elif kind == SKIP:
            s.skip += 1
        elif kind == REFUSE:
            s.refuse += 1
        elif kind == LATE:
            s.late += 1
        else:
            raise SimulatorError(f"a simulated {self.model.name} has no fault {kind!r}")
        return b""

    def state(self) -> dict[str, Any]:
        """See `Device.state`."""
        whose = {"model": self.model.name, "seed": self.seed}
        return whose | {"cycle": self._cycle.state(), **asdict(self._s)}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Device.restore`; `SimulatorError` for another instrument's state."""
        rest = dict(state)
        if (rest.pop("model", None), rest.pop("seed", None)) != (self.model.name, self.seed):
            raise SimulatorError("the saved simulator state is another instrument's")
        try:
            self._cycle.restore(rest.pop("cycle"))
            self._s = _State(**rest)
        except (KeyError, TypeError):
            raise SimulatorError("the saved simulator state is of another version") from None
        self._partial = b""

    def _settings(self) -> list[int]:
        """The holding registers as delivered."""
        if self._mains:
            return [0, 23_000, DEFAULT_ADDRESS]  # none, alarm threshold in W, address
        code = self.model.ranges_a[self.range_a] or 0
        return [30_000, 700, DEFAULT_ADDRESS, code]  # over- and undervoltage in 0.01 V

    def _next_request(self) -> bytes | None:
        """The next whole request for anyone, taken off what has arrived."""
        while len(self._partial) >= 2:
            length = request_length(self._partial)
            if len(self._partial) < length:
                return None
            request = self._partial[:length]
            if sound(request):
                self._partial = self._partial[length:]
                return request
            self._partial = self._partial[1:]
        return None

    def _answer(self, request: bytes) -> None:
        s = self._s
        if request[0] not in (s.address, GENERAL_ADDRESS):
            return
        if s.skip:
            s.skip -= 1
            return
        if s.refuse:
            s.refuse -= 1
            reply: ModbusPDU = ExceptionResponse(request[1], _DEVICE_FAILURE)
        else:
            reply = self._execute(request)
        wait = _LATE_S if s.late else self._reply_s
        s.late = max(0, s.late - 1)
        s.replies.append([self._cycle.now_s + wait, frame(reply, request[0]).hex()])

    def _execute(self, request: bytes) -> ModbusPDU:
        s, function = self._s, request[1]
        message = parse_request(request)
        if message is None:
            return ExceptionResponse(function, _ILLEGAL_FUNCTION)
        if function == RESET:
            s.watt_hours = 0.0
            self._set(self.model.energy, 0)
            return ResetEnergy()
        if function == WRITE:
            return self._write(message)
        held = s.registers if function == READ_INPUT else s.holding
        first = 1 if self._mains and function == READ_HOLDING else 0
        if message.address < first or message.address + message.count > len(held):
            return ExceptionResponse(function, _ILLEGAL_ADDRESS)
        values = held[message.address : message.address + message.count]
        if function == READ_INPUT:
            return ReadInputRegistersResponse(registers=values)
        return ReadHoldingRegistersResponse(registers=values)

    def _write(self, message: ModbusPDU) -> ModbusPDU:
        s, value = self._s, message.registers[0]
        if not (1 if self._mains else 0) <= message.address < len(s.holding):
            return ExceptionResponse(WRITE, _ILLEGAL_ADDRESS)
        if message.address == 2:
            if not 1 <= value <= 0xF7:
                return ExceptionResponse(WRITE, _ILLEGAL_VALUE)
            s.address = value
        s.holding[message.address] = value
        return WriteSingleRegisterResponse(address=message.address, registers=[value])

    def _due(self) -> bytes:
        s, now = self._s, self._cycle.now_s
        due = [data for at, data in sorted(s.replies) if at <= now]
        s.replies = [[at, data] for at, data in s.replies if at > now]
        return b"".join(map(bytes.fromhex, due))

    def _update(self, true_w: float) -> None:
        """One of its seconds has ended: new registers."""
        model, s = self.model, self._s
        watts = true_w * (1 + self.gain)
        if watts < model.least_w:
            watts = 0.0
        s.watt_hours += watts * UPDATE_S / 3600
        self._set(model.voltage, round(self.volts * model.voltage.counts))
        amperes = watts / (self.volts * self.power_factor)
        self._set(model.current, round(amperes * model.current.counts))
        self._set(model.power, round(watts * model.power.counts))
        self._set(model.energy, int(s.watt_hours))
        if self._mains:
            s.registers[7] = round(self._hertz * 10)
            s.registers[8] = round(self.power_factor * 100) if watts else 0
            s.registers[9] = 0xFFFF if watts > s.holding[1] else 0
        else:
            s.registers[6] = 0xFFFF if self.volts * 100 > s.holding[0] else 0
            s.registers[7] = 0xFFFF if self.volts * 100 < s.holding[1] else 0

    def _set(self, where: Field, count: int) -> None:
        count = min(count, (1 << 16 * where.words) - 1)
        for word in range(where.words):
            self._s.registers[where.register + word] = (count >> 16 * word) & 0xFFFF
