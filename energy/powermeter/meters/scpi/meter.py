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

*Line*: answers may end with LF, CR, CR LF or nothing (a pause), which the first answer shows. Many
instruments measure in remote mode only, which `SYST:REM` begins on a serial line: it is sent, and
`SYST:LOC` at the end, unless the setting `remote` forbids it. `*CLS` is not sent: some answer it.

The protocol has neither check sums nor counters: a digit that the line spoils, or an instrument
that repeats an old reading, goes unseen. Lost, doubled and late answers do not (`protocol`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
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
from powermeter.meters.scpi.conversation import ScpiMeter, ask_name, is_name, no_error
from powermeter.meters.scpi.protocol import (
    ENDINGS,
    NONE,
    UNITS,
    ScpiDecoder,
    parse_number,
    resolution,
    text,
)
from powermeter.meters.scpi.visa import VisaTransport
from powermeter.meters.settings import Setting, read_settings
from powermeter.meters.transport import is_pseudo_terminal

NAME = "scpi"
BAUD = 9600
_AUTO, _YES, _NO = "auto", "yes", "no"
SETTINGS = (
    Setting("voltage", "question for the voltage; empty: there is none", "MEAS:VOLT?", str),
    Setting("current", "question for the current; empty: there is none", "MEAS:CURR?", str),
    Setting("power", "question for the power; empty: there is none", None, str,
            unset="MEAS:POW?, or voltage times current where that is not answered"),
    Setting("errors", "question for the error queue; empty: there is none", "SYST:ERR?", str),
    Setting("poll_s", "seconds between two readings", None, unit="s", least=0.02, most=3600,
            unset="0.25, or 0.5 where a pause ends the answers"),
    Setting("reading", "accuracy as a fraction of the reading", None, above=0, most=1,
            unset="0.01, an assumption"),
    Setting("of_range", "accuracy as a fraction of range_w", 0.0, least=0, most=1),
    Setting("range_w", "power range that of_range is meant of", 0.0, unit="W", least=0, most=1e6),
    Setting("counts_w", "accuracy as a fixed power", 0.0, unit="W", least=0, most=1e6),
    Setting("baud", "speed of the line, as set on the instrument", BAUD, int, "Bd", least=300,
            most=1_000_000),
    Setting("line_end", "how answers end; auto: as the first one does", _AUTO, str,
            choices=(_AUTO, *ENDINGS)),
    Setting("remote", "SYST:REM before measuring; yes: it must be taken", _AUTO, str,
            choices=(_AUTO, _YES, _NO)),
)  # fmt: skip
_POWER = "MEAS:POW?"
_POLL_S, _POLL_WITH_PAUSES_S = 0.25, 0.5
_ASSUMED_READING = 0.01
_REMOTE, _LOCAL = "SYST:REM", "SYST:LOC"
_ANSWER_S = 1.0
_MOST_ERRORS = 64
_QUEUED = re.compile(rb"[+-]?\d+\s*,")  # how an error begins: its number
_IDENTITY = "*IDN?"


class Scpi(ScpiMeter):
    """The instrument behind an injected transport; `settings` as in `SETTINGS`.

    The question for the error queue ends each poll; where there is none, that for the identity.
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
        chosen = read_settings(NAME, SETTINGS, settings)
        self._optional = chosen["power"] is None  # then only assumed to be there
        self._asked_for = {name: chosen[name] for name in UNITS}
        if self._optional:
            self._asked_for["power"] = _POWER
        self._errors, self._remote = chosen["errors"], chosen["remote"]
        self._wanted_poll_s, self._period_s = chosen["poll_s"], chosen["poll_s"] or _POLL_S
        self._limits = {name: chosen[name] for name in ("of_range", "range_w", "counts_w")}
        self._assumed = chosen["reading"] is None
        self._reading = _ASSUMED_READING if self._assumed else chosen["reading"]
        self._baud = chosen["baud"]
        self._name, self._digit_w = "", 0.0
        self._empty = ""  # what an empty error queue answers, or the name: it ends each poll
        self._is_remote = False  # and is to be given back
        ending = None if chosen["line_end"] == _AUTO else chosen["line_end"]
        super().__init__(
            transport,
            ScpiDecoder((), self._period_s, ""),
            answer_s=_ANSWER_S,
            provenance=provenance,
            clock=clock,
            ending=ending,
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
        """Identify, put in remote mode, find out which queries are answered, begin to poll.

        Raises `WrongInstrumentError` where no SCPI identity comes back, `RefusedError` where the
        queries do not give a power or remote mode is refused that was asked for.
        """
        self._talk.drain()
        line = self._talk.identity()
        if not is_name(line):
            raise WrongInstrumentError(
                f"{self._transport.name}: need an SCPI instrument; answered {text(line)!r} to *IDN?"
            )
        self._name = text(line, 200)
        if self._talk.ending == NONE:
            self._period_s = self._wanted_poll_s or _POLL_WITH_PAUSES_S
            self.notes.append(
                "answers end with nothing but a pause: one that the line cuts short looks whole"
            )
        self._empty = self._find_closing()
        self._go_remote()
        answers = {name: self._try(name) for name, query in self._asked_for.items() if query}
        self._asked_for = {
            name: query if answers.get(name) else "" for name, query in self._asked_for.items()
        }
        self._digit_w = _digit_w(answers)
        self._decoder = _decoder(self.identity())
        self._note_what_came_unasked()
        queries = (*filter(None, self._asked_for.values()), self._errors or _IDENTITY)
        self._start_polling(queries, self._period_s, self._empty)

    def close(self) -> None:
        """Give the instrument's keys back and release the port; harmless when repeated."""
        if self._is_remote:
            self._is_remote = False
            with suppress(MeterError):  # a port that went away has nobody to tell
                self._talk.tell(_LOCAL)
        super().close()

    def identity(self) -> dict[str, Any]:
        """The instrument's name, what is asked, and whether its accuracy is an assumption."""
        return {
            "idn": self._name,
            "queries": {name: query for name, query in self._asked_for.items() if query},
            "ending": self._empty,
            "line_end": self._talk.ending,
            "remote": self._is_remote,
            "poll_s": self._period_s,
            "accuracy": "assumed" if self._assumed else "as set",
        }

    def _go_remote(self) -> None:
        """`SYST:REM`; whatever is answered to it is no answer to anything else.

        An instrument that does not know the command says so in its error queue or by a line.
        """
        if self._remote == _NO:
            return
        before = self._talk.unasked
        self._talk.tell(_REMOTE)
        self._talk.settle()
        refused = text(self._talk.first_unasked) if self._talk.unasked > before else ""
        if self._errors and not no_error(answer := self._talk.ask(self._errors)):
            refused = refused or text(answer)
            self._empty_queue()
        self._is_remote = not refused
        if refused and self._remote == _YES:
            raise RefusedError(f"{self._transport.name}: refused {_REMOTE!r}: {refused}")

    def _note_what_came_unasked(self) -> None:
        self._talk.settle()
        if self._talk.unasked:
            self.notes.append(
                f"what came without a question was left out ({self._talk.unasked} times, first "
                f"{text(self._talk.first_unasked, 30)!r})"
            )

    def _find_closing(self) -> str:
        """What an empty error queue answers; the identity where there is no such queue."""
        try:
            line = self._empty_queue() if self._errors else b""
        except (NoAnswerError, NoPacketError):
            line = b""
        if not no_error(line):
            self._errors, line = "", self._name.encode("ascii")
        return line.decode("ascii")

    def _empty_queue(self) -> bytes:
        """Take the errors of others out of the queue; its answer when it is empty."""
        line = b""
        for _ in range(_MOST_ERRORS):
            line = self._talk.ask(self._errors)
            if no_error(line) or not _QUEUED.match(line):
                break
        return line

    def _try(self, name: str) -> bytes:
        """The answer to one quantity's query; b"" for a power that is not there."""
        query = self._asked_for[name]
        line, reason = b"", ""
        try:
            line = self._talk.ask(query)
            reason = f"answered {text(line)!r}"
        except (NoAnswerError, NoPacketError) as error:
            reason = str(error).partition(": ")[2]
        if parse_number(line, UNITS[name]) is not None:
            return line
        if self._errors:
            reason += f"; {self._errors} says {text(self._talk.ask(self._errors))}"
            self._empty_queue()
        has_product = self._asked_for["voltage"] and self._asked_for["current"]
        if name == "power" and self._optional and has_product:
            return b""
        raise RefusedError(
            f"{self._transport.name}: {self._name} gives no number for {query!r} ({reason})"
        )


def _digit_w(answers: dict[str, bytes]) -> float:
    """Watts that the last digit stands for, in the power or in the product's larger part."""
    power = resolution(answers.get("power", b""), b"W")
    if power is not None:
        return power
    volts = parse_number(answers.get("voltage", b""), b"V") or 0.0
    amperes = parse_number(answers.get("current", b""), b"A") or 0.0
    digit_v = resolution(answers.get("voltage", b""), b"V") or 0.0
    digit_a = resolution(answers.get("current", b""), b"A") or 0.0
    return max(digit_v * abs(amperes), digit_a * abs(volts))


def open_port(port: str, *, settings: dict[str, Any] | None = None) -> Meter:
    """An SCPI instrument on a serial port; on a pseudo-terminal its joules are `simulated`."""
    chosen = read_settings(NAME, SETTINGS, settings)
    provenance = "simulated" if is_pseudo_terminal(port) else "metered"
    transport = VisaTransport(port, chosen["baud"])
    return Scpi(transport, provenance=provenance, settings=settings)


def probe(transport: Transport) -> str | None:
    """The name that an SCPI instrument gives itself; see `Driver.probe`.

    A WT310 does not know `MEAS:...?`, so it is left to its own driver.
    """
    name = ask_name(transport)
    return None if name and re.match(r"YOKOGAWA,\s*WT\d", name, re.IGNORECASE) else name


def _decoder(identity: dict[str, Any]) -> ScpiDecoder:
    names = tuple(identity["queries"])
    line_end = identity.get("line_end", "crlf")  # recordings that do not say: LF had to be there
    return ScpiDecoder(names, identity["poll_s"], identity["ending"], line_end)


def _simulator(seed: int = 0, **settings: Any) -> Any:
    from powermeter.meters.scpi.simulator import SETTINGS as OF_SIMULATOR
    from powermeter.meters.scpi.simulator import SupplyDevice

    return SupplyDevice(seed, **read_settings(f"the simulated {NAME}", OF_SIMULATOR, settings))


DRIVER = Driver(
    NAME,
    f"power supply or meter with SCPI queries (MEAS:...?) on a serial line, {BAUD} 8N1 by default",
    meter=Scpi,
    open_port=open_port,
    decoder=_decoder,
    probe=probe,
    settings=SETTINGS,
    simulator=_simulator,
    baud=BAUD,
)
