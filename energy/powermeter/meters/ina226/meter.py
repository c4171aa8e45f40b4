# SPDX-License-Identifier: Apache-2.0
"""Driver of an INA226 meter with EdgePowerMeter firmware 2 on a serial port (115200 8N1).

*Rate*: one reading each `averages x (vct + ict)`: 8.8 ms, 113 readings a second, by default; the
chip's oscillator is within ±10 %. *Resolution*: 1.25 mV and 2.5 uV across the shunt, 3 mW at 12 V
and 10 mOhm. *A reading is the average over the interval before its time stamp*, so energies are
right rectangles. The chip converts shunt and bus in turn: what happens within one period is seen
for ict/(vct + ict) of the time only. See `chip` for accuracy and sources.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from powermeter.energy.accuracy import Accuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import (
    NoAnswerError,
    NoPacketError,
    RefusedError,
    WrongInstrumentError,
)
from powermeter.meters.driver import serial_driver
from powermeter.meters.ina226 import chip
from powermeter.meters.ina226.protocol import Config, Err, Event, Hello, LineDecoder, Ok
from powermeter.meters.meter import AVERAGE, Meter, Transport
from powermeter.meters.settings import Setting, read_settings

if TYPE_CHECKING:
    from powermeter.simulation.device import Device

__all__ = ["BAUD", "DRIVER", "Ina226Serial", "LineDecoder"]

BAUD = 115200
_WORDS = {"averages": "AVG", "vct_us": "VCT", "ict_us": "ICT"}
_NAME, _PROTOCOL = "EdgePowerMeter", 2
_AS_SET = "as the meter has it"
SETTINGS = (
    Setting("averages", "conversions a reading", None, int, choices=chip.AVERAGES, unset=_AS_SET),
    Setting(
        "vct_us", "conversion time of the bus voltage", None, int, "us",
        choices=chip.CONVERSION_TIMES_US, unset=_AS_SET,
    ),
    Setting(
        "ict_us", "conversion time of the shunt voltage", None, int, "us",
        choices=chip.CONVERSION_TIMES_US, unset=_AS_SET,
    ),
    Setting(
        "shunt_ohm", "resistance of the shunt", None, unit="ohm",
        least=chip.SHUNT_LEAST_OHM, most=chip.SHUNT_MOST_OHM, unset=_AS_SET,
    ),
    Setting(
        "shunt_tolerance", "how well that is known, as a fraction", chip.SHUNT_TOLERANCE,
        least=0, most=0.5,
    ),
)  # fmt: skip
_POLL_S = 0.05


class Ina226Serial(Meter):
    """The meter behind an injected transport.

    `settings` as in `SETTINGS`: `shunt_ohm` overrides the meter's own value.
    """

    driver = "ina226-serial"
    reading = AVERAGE
    latency_s = chip.LATENCY_LIMIT_S

    def __init__(
        self,
        transport: Transport,
        *,
        provenance: str = "metered",
        settings: dict[str, Any] | None = None,
        answer_s: float = 3.0,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        self._settings = read_settings(self.driver, SETTINGS, settings)
        self._shunt_override = self._settings["shunt_ohm"]
        self._shunt_tolerance = self._settings["shunt_tolerance"]
        super().__init__(
            transport, LineDecoder(self._shunt_override), provenance=provenance, clock=clock
        )
        self._answer_s = answer_s
        # The answers of open() are read by a decoder of their own, and once more by whoever reads
        # the stream: so a recording starts with them and needs nothing else to be understood.
        self._listener = LineDecoder(self._shunt_override)
        #: bytes from before the pause, which nobody gets to see
        self.discarded = 0
        self.hello: Hello | None = None
        self.config: Config | None = None

    @property
    def accuracy(self) -> Accuracy:
        """Limits of the readings with the shunt in use."""
        return chip.accuracy(self._listener.shunt_ohm, self._shunt_tolerance)

    @property
    def period_s(self) -> float:
        """Nominal seconds between two readings."""
        micros = self._listener.period_us
        if micros is not None:
            return micros * 1e-6
        conversion = chip.DEFAULT_CONVERSION_US
        return chip.period_s(chip.DEFAULT_AVERAGES, conversion, conversion)

    @property
    def resolution_w(self) -> float:
        """One count of the shunt voltage, at 12 V."""
        return 12.0 * chip.SHUNT_LSB_V / self._listener.shunt_ohm

    def open(self) -> None:
        """HELLO, pause, settings, GET, MODE RAW, go on; every answer is awaited.

        The pause lets readings drain that waited in the meter from before our time, so the stream
        begins with the configuration and then holds readings without a gap.
        Raises `NoAnswerError`, `NoPacketError` (bytes that are no protocol), `RefusedError` or
        `WrongInstrumentError`.
        """
        # Opening some ports resets the meter, which then loses what it is sent: ask HELLO again.
        self.hello = self._ask("HELLO", Hello, again_s=1.0)
        if self.hello.name != _NAME or self.hello.protocol != _PROTOCOL:
            raise WrongInstrumentError(
                f"{self._transport.name}: answered as {self.hello.name!r} with protocol "
                f"{self.hello.protocol}; need {_NAME} with protocol {_PROTOCOL}"
            )
        self._ask("SET STREAM 0", Ok)
        self.discarded, self._backlog = len(self._backlog), b""
        for key, word in _WORDS.items():
            if (value := self._settings[key]) is not None:
                self._ask(f"SET {word} {value}", Ok)
        self.config = self._ask("GET", Config)
        self._ask("MODE RAW", Ok)
        self._ask("SET STREAM 1", Ok)

    def identity(self) -> dict[str, Any]:
        """Firmware and settings as the meter told them (before its mode was set)."""
        config = self.config._asdict() if self.config else {}
        config.pop("mode", None)
        return {
            "hello": self.hello._asdict() if self.hello else None,
            "config": config or None,
            "shunt_override": self._shunt_override,
            "shunt_tolerance": self._shunt_tolerance,
        }

    def _ask(self, command: str, answer: type[Any], again_s: float = math.inf) -> Any:
        """Send one command and return its reply; all bytes are kept for `receive()`."""
        word = command.split()[0]
        deadline = self._clock() + self._answer_s
        send_at = -math.inf
        heard = 0
        while (now := self._clock()) < deadline:
            if now >= send_at:
                self._transport.write(command.encode() + b"\n")
                send_at = now + again_s
            raw = self._read(_POLL_S)
            heard += len(raw)
            self._backlog += raw
            for event in self._listener.feed(raw):
                if self._is_reply(event, word, answer):
                    return event
        name = self._transport.name
        if heard:
            raise NoPacketError(
                f"{name}: {heard} bytes came and no answer to {command} (is the baud rate right, "
                "is this an EdgePowerMeter with firmware 2?)"
            )
        raise NoAnswerError(f"{name}: no answer to {command} in {self._answer_s:g} s")

    def _is_reply(self, event: Any, word: str, answer: type[Event]) -> bool:
        if isinstance(event, Err) and event.command == word:
            raise RefusedError(f"{self._transport.name}: refused {word}: {event.reason}")
        # A late reply to an earlier command names that command.
        return isinstance(event, answer) and getattr(event, "command", word) == word


def probe(transport: Transport) -> str | None:
    """Ask HELLO; the meter's name and firmware, or None."""
    meter = Ina226Serial(transport, answer_s=1.5)
    try:
        hello: Hello = meter._ask("HELLO", Hello, again_s=0.7)
    except (NoAnswerError, NoPacketError, RefusedError):
        return None
    return f"{hello.name} firmware {hello.firmware}, protocol {hello.protocol}"


def _simulator(seed: int = 0, **settings: Any) -> Device:
    from powermeter.meters.ina226.simulator import SETTINGS as OF_SIMULATOR
    from powermeter.meters.ina226.simulator import Ina226Device

    owner = "the simulated ina226-serial"
    return Ina226Device(seed, **read_settings(owner, OF_SIMULATOR, settings))


DRIVER = serial_driver(
    "ina226-serial",
    "INA226 with EdgePowerMeter firmware 2, serial line 115200 8N1",
    baud=BAUD,
    meter=Ina226Serial,
    decoder=lambda identity: LineDecoder(identity["shunt_override"]),
    probe=probe,
    declared=SETTINGS,
    simulator=_simulator,
)
