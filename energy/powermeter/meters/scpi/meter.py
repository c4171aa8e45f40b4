# SPDX-License-Identifier: Apache-2.0
"""Driver of power supplies and meters that answer SCPI queries on a serial line.

By default `MEAS:VOLT?`, `MEAS:CURR?`, `MEAS:POW?` (SCPI-1999, volume 2, MEASure subsystem), each a
line of its own: not every instrument takes several queries in one message. Where the instrument has
no `MEAS:POW?`, power is voltage times current, read one after the other.

*Rate*: a poll each `poll_s`, 0.25 s by default. *A reading is instantaneous* as far as anybody can
tell (what an instrument averages over is in its own manual), so energies are trapezoids.
*Resolution*: the last digit of the answers. *Accuracy*: the instrument's manual has to say; give
it as `reading`, `of_range` with `range_w`, and `counts_w`. The default, 1 % of the reading and the
last digit, is an assumption and called so in the recording. *Clock*: the host's.

The protocol has neither check sums nor counters: a digit that the line spoils, or an instrument
that repeats an old reading, goes unseen. Lost, doubled and late answers do not (`scpi_answers`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import (
    MeterError,
    NoAnswerError,
    NoPacketError,
    RefusedError,
    WrongInstrumentError,
)
from powermeter.meters.driver import Driver
from powermeter.meters.meter import INSTANTANEOUS, Meter, Transport
from powermeter.meters.scpi.protocol import UNITS, ScpiDecoder, parse_number, resolution, text
from powermeter.meters.scpi.settings import (
    ScpiMeter,
    ask_name,
    check_settings,
    is_name,
    no_error,
    number,
)
from powermeter.meters.scpi.visa import VisaTransport
from powermeter.meters.transport import is_pseudo_terminal

NAME = "scpi"
BAUD = 9600
SETTINGS: dict[str, Any] = {
    "voltage": "MEAS:VOLT?",
    "current": "MEAS:CURR?",
    "power": "MEAS:POW?",
    "errors": "SYST:ERR?",
    "poll_s": 0.25,
    "reading": None,
    "of_range": 0.0,
    "range_w": 0.0,
    "counts_w": 0.0,
    "baud": BAUD,
}
_ASSUMED_READING = 0.01
_ANSWER_S = 1.0
_MOST_ERRORS = 64
_IDENTITY = "*IDN?"


class Scpi(ScpiMeter):
    """The instrument behind an injected transport; `settings` as in `SETTINGS`.

    `voltage`, `current` and `power` are queries, "" for one that the instrument does not have;
    `errors` asks its error queue and ends each poll ("": its identity does).
    """

    driver = NAME
    reading = INSTANTANEOUS

    def __init__(
        self,
        transport: Transport,
        *,
        provenance: str = "metered",
        settings: dict[str, Any] | None = None,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        chosen = check_settings(settings, SETTINGS, "SCPI")
        self._asked_for = {name: _query(chosen[name]) for name in UNITS}
        self._optional = "power" not in (settings or {})  # then only assumed to be there
        self._errors = _query(chosen["errors"])
        self._period_s = number(chosen, "poll_s", "SCPI")
        if self._period_s <= 0:
            raise MeterError("SCPI setting poll_s must be above 0")
        self._limits = {
            name: number(chosen, name, "SCPI") for name in ("of_range", "range_w", "counts_w")
        }
        self._assumed = chosen["reading"] is None
        self._reading = _ASSUMED_READING if self._assumed else number(chosen, "reading", "SCPI")
        self._baud = number(chosen, "baud", "SCPI")
        self._name, self._ending, self._digit_w = "", "", 0.0
        super().__init__(
            transport,
            self._new_decoder(),
            answer_s=_ANSWER_S,
            provenance=provenance,
            clock=clock,
        )

    @property
    def accuracy(self) -> PowerAccuracy:
        """The limits given in the settings, and the last digit."""
        return PowerAccuracy(reading=self._reading, lsb_w=self._digit_w, **self._limits)

    @property
    def period_s(self) -> float:
        """Seconds between two polls."""
        return self._period_s

    @property
    def resolution_w(self) -> float:
        """Watts of the answers' last digits, as of `open()`."""
        return self._digit_w

    @property
    def latency_s(self) -> float:
        """Query and answer of about 40 bytes on the line, and 50 ms for the instrument."""
        return 400 / max(self._baud, 1.0) + 0.05

    def open(self) -> None:
        """Identify, find out which queries are answered, begin to poll.

        Raises `WrongInstrumentError` where no SCPI identity comes back, `RefusedError` where the
        queries do not give a power.
        """
        self._talk.drain()
        line = self._talk.identity()
        if not is_name(line):
            raise WrongInstrumentError(
                f"{self._transport.name}: need an SCPI instrument; answered {text(line)!r} to *IDN?"
            )
        self._name = text(line, 200)
        self._talk.tell("*CLS")
        self._ending = self._find_ending()
        answers = {name: self._try(name) for name, query in self._asked_for.items() if query}
        self._asked_for = {
            name: query if answers.get(name) else "" for name, query in self._asked_for.items()
        }
        self._digit_w = _digit_w(answers)
        self._decoder = self._new_decoder()
        self._talk.drain()
        self._start_polling((*self._queries_in_use(), self._errors or _IDENTITY), self._period_s)

    def identity(self) -> dict[str, Any]:
        """The instrument's name, what is asked, and whether its accuracy is an assumption."""
        return {
            "idn": self._name,
            "queries": {name: query for name, query in self._asked_for.items() if query},
            "ending": self._ending,
            "poll_s": self._period_s,
            "accuracy": "assumed" if self._assumed else "as set",
        }

    def _queries_in_use(self) -> list[str]:
        return [query for query in self._asked_for.values() if query]

    def _new_decoder(self) -> ScpiDecoder:
        names = tuple(name for name, query in self._asked_for.items() if query)
        return ScpiDecoder(names, self._period_s, self._ending)

    def _find_ending(self) -> str:
        """What an empty error queue answers; the identity where there is no such queue."""
        try:
            line = self._empty_queue() if self._errors else b""
        except NoAnswerError:
            line = b""
        if not no_error(line):
            self._errors, line = "", self._name.encode("ascii")
        return line.decode("ascii")

    def _empty_queue(self) -> bytes:
        """Take the errors of others out of the queue; its answer when it is empty."""
        line = b""
        for _ in range(_MOST_ERRORS):
            line = self._talk.ask(self._errors)
            if no_error(line):
                break
        return line

    def _try(self, name: str) -> bytes:
        """The answer to one quantity's query; b"" for a power that is not there."""
        query = self._asked_for[name]
        try:
            line = self._talk.ask(query)
        except (NoAnswerError, NoPacketError):
            line = b""
        if parse_number(line, UNITS[name]) is not None:
            return line
        self._talk.drain()
        if self._errors:
            reason = text(self._talk.ask(self._errors))
            self._empty_queue()
        else:
            reason = text(line) or "no answer"
        has_product = self._asked_for["voltage"] and self._asked_for["current"]
        if name == "power" and self._optional and has_product:
            return b""
        raise RefusedError(
            f"{self._transport.name}: {self._name} gives no number for {query!r} ({reason})"
        )


def _query(text_: Any) -> str:
    query = str(text_ or "")
    if not (query.isascii() and query.isprintable()):
        raise MeterError(f"SCPI: a query is one line of ASCII, got {query!r}")
    return query


def _digit_w(answers: dict[str, bytes]) -> float:
    """Watts that the last digit stands for, in the power or in the product's larger part."""
    power = resolution(answers.get("power", b""))
    if power is not None:
        return power
    volts = parse_number(answers.get("voltage", b""), b"V") or 0.0
    amperes = parse_number(answers.get("current", b""), b"A") or 0.0
    digit_v = resolution(answers.get("voltage", b"")) or 0.0
    digit_a = resolution(answers.get("current", b"")) or 0.0
    return max(digit_v * abs(amperes), digit_a * abs(volts))


def open_port(port: str, *, settings: dict[str, Any] | None = None) -> Meter:
    """An SCPI instrument on a serial port; on a pseudo-terminal its joules are `simulated`."""
    baud = int(number(check_settings(settings, SETTINGS, "SCPI"), "baud", "SCPI"))
    provenance = "simulated" if is_pseudo_terminal(port) else "metered"
    return Scpi(VisaTransport(port, baud), provenance=provenance, settings=settings)


def probe(transport: Transport) -> str | None:
    """The name that an SCPI instrument gives itself; see `Driver.probe`.

    A WT310 does not know `MEAS:...?`, so it is left to its own driver.
    """
    name = ask_name(transport)
    return None if name and re.match(r"YOKOGAWA,\s*WT\d", name, re.IGNORECASE) else name


def _decoder(identity: dict[str, Any]) -> ScpiDecoder:
    names = tuple(identity["queries"])
    return ScpiDecoder(names, identity["poll_s"], identity["ending"])


def _simulator(seed: int = 0, **settings: Any) -> Any:
    from powermeter.meters.scpi.simulator import SupplyDevice

    return SupplyDevice(seed, **settings)


DRIVER = Driver(
    NAME,
    f"power supply or meter with SCPI queries (MEAS:...?) on a serial line, {BAUD} 8N1 by default",
    meter=Scpi,
    open_port=open_port,
    decoder=_decoder,
    probe=probe,
    simulator=_simulator,
    baud=BAUD,
)
