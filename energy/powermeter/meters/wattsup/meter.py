# SPDX-License-Identifier: Apache-2.0
"""Driver of the Watts Up? PRO, a wall plug meter for mains (115200 8N1).

*Rate*: one reading each `interval_s`, 1 s at the least. *Resolution*: 0.1 W, 0.1 V, 1 mA, 0.1 Wh.
*Accuracy*: ±(1.5 % of the reading + 3 counts), "for example 100 W load is ±1.8 W" (maker's
technical specifications), so a count is 0.1 W. *A reading is taken as the average over the interval
before it*: the meter samples continuously and its energy counter is the sum of its readings; the
maker's protocol (revision 4.42) gives no averaging time. Below 0.5 W it is not specified.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import NoAnswerError, NoPacketError, WrongInstrumentError
from powermeter.meters.driver import serial_driver
from powermeter.meters.meter import AVERAGE, Meter, Transport
from powermeter.meters.settings import Setting, read_settings
from powermeter.meters.wattsup.protocol import (
    Header,
    Packet,
    PacketSplitter,
    Version,
    WattsUpDecoder,
    interpret,
)

if TYPE_CHECKING:
    from powermeter.simulation.device import Device

BAUD = 115200
ACCURACY = PowerAccuracy(reading=0.015, counts_w=0.3)
ABORT = b"\x18"
STOP, ASK_VERSION, ASK_HEADER = b"#L,R,0;", b"#V,R,0;", b"#H,R,0;"
MODELS = {"0": "Standard", "1": "PRO", "2": "ES", "3": ".Net", "4": "blind module"}
SETTINGS = (Setting("interval_s", "seconds between two readings", 1, int, "s", least=1, most=3600),)
_POLL_S = 0.05
_ANSWER_S, _AGAIN_S = 3.0, 1.0
_PROBE_READS = 20
_Answer = TypeVar("_Answer", bound=NamedTuple)


class WattsUp(Meter):
    """The meter behind an injected transport; `settings` as in `SETTINGS`."""

    driver = "wattsup"
    reading = AVERAGE
    resolution_w = 0.1
    counter_wh = 0.1
    latency_s = 0.1  # a packet of 100 characters takes 9 ms, a USB adapter holds it up to 16 ms
    accuracy = ACCURACY

    def __init__(
        self,
        transport: Transport,
        *,
        provenance: str = "metered",
        settings: dict[str, Any] | None = None,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        self._interval_s = read_settings(self.driver, SETTINGS, settings)["interval_s"]
        decoder = WattsUpDecoder(self._interval_s)
        super().__init__(transport, decoder, provenance=provenance, clock=clock)
        self._version: Version | None = None
        self._header: Header | None = None
        self._heard_s = -math.inf

    @property
    def period_s(self) -> float:
        """Seconds between two readings, as the meter was told."""
        return float(self._interval_s)

    def open(self) -> None:
        """Stop an older stream, ask version and header, start logging.

        Raises `NoAnswerError`, `NoPacketError` or `WrongInstrumentError`. The stream begins with
        the header, so a recording needs nothing else to be understood.
        """
        self._transport.write(ABORT + STOP)
        self._version, _ = self._ask(ASK_VERSION, Version)
        self._header, self._backlog = self._ask(ASK_HEADER, Header)
        if "W" not in self._header.names:
            raise WrongInstrumentError(f"{self._transport.name}: its packets hold no field W")
        self._start()

    def receive(self, timeout_s: float) -> bytes:
        """See `Meter.receive`. A meter that fell silent was switched off: it is started again."""
        raw = super().receive(timeout_s)
        now = self._clock()
        if raw:
            self._heard_s = now
        elif now - self._heard_s > 3 * self._interval_s + 1:
            self._transport.write(ASK_HEADER)
            self._start()
        return raw

    def identity(self) -> dict[str, Any]:
        """Model, versions and fields as the meter told them; the interval that it was told."""
        version, header = self._version, self._header
        return {
            "model": version and MODELS.get(version.model, version.model),
            "hardware": version and version.hardware,
            "firmware": version and version.firmware,
            "fields": list(header.names) if header else None,
            "interval_s": self._interval_s,
        }

    def _start(self) -> None:
        self._transport.write(b"#L,W,3,E,,%d;" % self._interval_s)
        self._heard_s = self._clock()

    def _ask(self, request: bytes, kind: type[_Answer]) -> tuple[_Answer, bytes]:
        """Send `request` until a packet of `kind` comes; with it, all bytes from there on."""
        splitter = PacketSplitter()
        began = self._clock()
        send_at, heard, packets = began, b"", 0
        while (now := self._clock()) < began + _ANSWER_S:
            if now >= send_at:
                self._transport.write(request)
                send_at = now + _AGAIN_S
            raw = self._read(_POLL_S)
            heard += raw
            for packet in splitter.feed(raw):
                packets += isinstance(packet, Packet)
                answer = interpret(packet, ()) if isinstance(packet, Packet) else packet
                if isinstance(answer, kind):
                    letter = request[1:2].lower()
                    return answer, heard[heard.rindex(b"#" + letter) :]
        self._fail(request.decode(), len(heard), packets)
        raise AssertionError("unreachable")

    def _fail(self, request: str, heard: int, packets: int) -> None:
        name = self._transport.name
        if packets:
            raise WrongInstrumentError(f"{name}: {packets} packets and no answer to {request}")
        if heard:
            raise NoPacketError(
                f"{name}: {heard} bytes came and no packet (is the baud rate right, is this a "
                "Watts Up? PRO?)"
            )
        raise NoAnswerError(f"{name}: no answer to {request} in {_ANSWER_S:g} s")


def probe(transport: Transport) -> str | None:
    """Ask for the version: changes nothing in the meter."""
    transport.write(ASK_VERSION)
    splitter = PacketSplitter()
    for _ in range(_PROBE_READS):
        for packet in splitter.feed(transport.read(_POLL_S)):
            version = interpret(packet, ()) if isinstance(packet, Packet) else packet
            if isinstance(version, Version):
                model = MODELS.get(version.model, f"model {version.model}")
                return f"Watts Up? {model}, firmware {version.firmware}"
    return None


def _simulator(seed: int = 0, **settings: Any) -> Device:
    from powermeter.meters.wattsup.simulator import SETTINGS as OF_SIMULATOR
    from powermeter.meters.wattsup.simulator import WattsUpDevice

    return WattsUpDevice(seed, **read_settings("the simulated wattsup", OF_SIMULATOR, settings))


DRIVER = serial_driver(
    "wattsup",
    "Watts Up? PRO mains meter, 1 reading a second, serial line 115200 8N1",
    baud=BAUD,
    meter=WattsUp,
    decoder=lambda identity: WattsUpDecoder(identity["interval_s"]),
    probe=probe,
    declared=SETTINGS,
    simulator=_simulator,
)
