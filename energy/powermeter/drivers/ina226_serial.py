# SPDX-License-Identifier: Apache-2.0
"""Driver of an INA226 meter with EdgePowerMeter firmware 2 on a serial port (115200 8N1).

*Rate*: one reading each `averages x (vct + ict)`: 8.8 ms, 113 readings a second, by default; the
chip's oscillator is within ±10 %. *Resolution*: 1.25 mV and 2.5 uV across the shunt, 3 mW at 12 V
and 10 mOhm. *A reading is the average over the interval before its time stamp*, so energies are
right rectangles. The chip converts shunt and bus in turn: what happens within one period is seen
for ict/(vct + ict) of the time only. See `ina226_chip` for accuracy and sources.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from typing import Any

from powermeter.accuracy import Accuracy
from powermeter.drivers import ina226_chip as chip
from powermeter.drivers.ina226_lines import Config, Err, Event, Hello, LineDecoder, Ok
from powermeter.errors import (
    NoAnswerError,
    NoPacketError,
    PortClosedError,
    RefusedError,
    WrongInstrumentError,
)
from powermeter.events import Sample
from powermeter.meter import Transport

__all__ = ["BAUD", "Ina226Serial", "LineDecoder"]

BAUD = 115200
_NAME, _PROTOCOL = "EdgePowerMeter", 2
_POLL_S = 0.05


class Ina226Serial:
    """The meter behind an injected transport: `open()`, then `samples()` or `receive()`/`decode()`.

    `settings` may hold `averages`, `vct_us` and `ict_us`; what is not named stays as the meter has
    it. `shunt_ohm` overrides the meter's own value; `shunt_tolerance` says how well it is known.
    """

    driver = "ina226-serial"

    def __init__(
        self,
        transport: Transport,
        *,
        provenance: str = "metered",
        settings: dict[str, int] | None = None,
        shunt_ohm: float | None = None,
        shunt_tolerance: float = chip.SHUNT_TOLERANCE,
        answer_s: float = 3.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.provenance = provenance
        self._transport = transport
        self._settings = settings or {}
        self._shunt_tolerance = shunt_tolerance
        self._answer_s = answer_s
        self._clock = clock
        self._shunt_override = shunt_ohm
        self._decoder = LineDecoder(shunt_ohm)
        # The answers of open() are read by a decoder of their own, and once more by whoever reads
        # the stream: so a recording starts with them and needs nothing else to be understood.
        self._listener = LineDecoder(shunt_ohm)
        self._backlog = b""
        #: bytes from before the pause, which nobody gets to see
        self.discarded = 0
        self._closed = False
        self.hello: Hello | None = None
        self.config: Config | None = None

    @property
    def accuracy(self) -> Accuracy:
        """Limits of the readings with the shunt in use."""
        return chip.accuracy(self._informed().shunt_ohm, self._shunt_tolerance)

    @property
    def period_s(self) -> float:
        """Nominal seconds between two readings."""
        micros = self._informed().period_us
        if micros is not None:
            return micros * 1e-6
        conversion = chip.DEFAULT_CONVERSION_US
        return chip.period_s(chip.DEFAULT_AVERAGES, conversion, conversion)

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
        for key, word in (("averages", "AVG"), ("vct_us", "VCT"), ("ict_us", "ICT")):
            if key in self._settings:
                self._ask(f"SET {word} {self._settings[key]}", Ok)
        self.config = self._ask("GET", Config)
        self._ask("MODE RAW", Ok)
        self._ask("SET STREAM 1", Ok)

    def receive(self, timeout_s: float) -> bytes:
        """The next bytes, those that came during `open()` first; `PortClosedError`."""
        raw, self._backlog = self._backlog, b""
        return raw or self._read(timeout_s)

    def decode(self, raw: bytes) -> list[Event]:
        """Events of the lines that `raw` completes."""
        return self._decoder.feed(raw)

    def samples(self) -> Iterator[Sample]:
        """Readings as they come; `NoPacketError` after 5 s, or three periods, without any."""
        silence_s = max(5.0, 3 * self.period_s)
        heard = self._clock()
        while True:
            for event in self.decode(self.receive(_POLL_S)):
                if isinstance(event, Sample):
                    heard = self._clock()
                    yield event
            if self._clock() - heard > silence_s:
                raise NoPacketError(f"{self._transport.name}: no reading for {silence_s:g} s")

    def identity(self) -> dict[str, Any]:
        """Firmware and settings as the meter told them."""
        return {
            "hello": self.hello._asdict() if self.hello else None,
            "config": self.config._asdict() if self.config else None,
            "shunt_override": self._shunt_override,
            "shunt_tolerance": self._shunt_tolerance,
        }

    def pending(self) -> int:
        """Bytes of a line that is not complete yet."""
        return self._decoder.pending

    def state(self) -> dict[str, Any]:
        """The decoder's state; see `LineDecoder.state`."""
        return self._decoder.state()

    def restore(self, state: dict[str, Any]) -> None:
        """Go on where `state()` was taken, without a new handshake; see `LineDecoder.restore`."""
        self._decoder.restore(state)

    def close(self) -> None:
        """Release the port. The meter keeps streaming: it has no other state to leave."""
        self._closed = True
        self._transport.close()

    def _informed(self) -> LineDecoder:
        return self._listener if self._decoder.period_us is None else self._decoder

    def _read(self, timeout_s: float) -> bytes:
        if self._closed:
            raise PortClosedError(f"{self._transport.name}: closed")
        return self._transport.read(timeout_s)

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
