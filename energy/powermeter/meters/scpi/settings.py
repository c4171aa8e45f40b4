# SPDX-License-Identifier: Apache-2.0
"""What meters that are asked in SCPI share: command and answer, and the schedule of the asking.

One *poll* is one or more queries, each answered by a line. Only answers come into the log, so they
have to tell by themselves which poll they belong to: a WT310 answers in one line, and the polls of
other instruments end with a query whose answer cannot be taken for a reading.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from powermeter.energy.clock import host_time_s
from powermeter.errors import MeterError, NoAnswerError, NoPacketError, RefusedError
from powermeter.meters.meter import Decoder, MeterBase, Transport
from powermeter.meters.scpi.protocol import LineBuffer, text

CRLF = b"\r\n"
_READ_S = 0.05
_QUIET_S = 0.3
_NUMBERS_ONLY = re.compile(rb"[0-9.,;+\-EeNnAaIiFf\s]*")  # a reading that an earlier program asked
_LETTERS = 3  # that a name has at least
_NO_NAME = (b"!", b"#", b"?")  # how other protocols' answers and errors begin


class Conversation:
    """Commands to an instrument and its answers, for the time before the polling."""

    def __init__(
        self,
        transport: Transport,
        answer_s: float,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        self._transport, self._answer_s, self._clock = transport, answer_s, clock
        self._lines = LineBuffer()
        self._waiting: list[bytes | None] = []

    def tell(self, command: str) -> None:
        """Send a command that has no answer."""
        self._transport.write(command.encode("ascii") + CRLF)

    def drain(self) -> None:
        """Throw away what has arrived."""
        while self._transport.read(0.0):
            pass
        self._waiting.clear()
        self._lines.clear()

    def ask(self, command: str) -> bytes:
        """The line that answers `command`; `NoAnswerError`, or `NoPacketError` for no line."""
        self.tell(command)
        heard, deadline = 0, self._clock() + self._answer_s
        while not self._waiting:
            raw = self._transport.read(_READ_S)
            heard += len(raw)
            self._waiting += self._lines.feed(raw)
            if not self._waiting and self._clock() >= deadline:
                raise self._silence(command, heard)
        line = self._waiting.pop(0)
        if line is None or not line.isascii():
            raise self._silence(command, max(1, heard))
        return line

    def identity(self) -> bytes:
        """The answer to `*IDN?`, asked for once more where none or a reading comes first.

        None comes where half a command of an earlier program stands in the instrument: its end is
        that of our first question.
        """
        try:
            line = self.ask("*IDN?")
        except NoAnswerError:
            line = self.ask("*IDN?")
        for _ in range(2):
            if not _NUMBERS_ONLY.fullmatch(line):
                break
            while self._transport.read(_QUIET_S):  # the answer to the question before comes too
                pass
            self.drain()
            line = self.ask("*IDN?")
        return line

    def _silence(self, command: str, heard: int) -> MeterError:
        name = self._transport.name
        if heard:
            return NoPacketError(
                f"{name}: {heard} bytes came and no answer to {command} (is the baud rate the "
                "same as the instrument's?)"
            )
        return NoAnswerError(f"{name}: no answer to {command} in {self._answer_s:g} s")


def is_name(line: bytes) -> bool:
    """Whether a line may answer `*IDN?`: maker, model, number, firmware (IEEE 488.2, 10.14).

    A name has letters; a reading that another instrument streams (`D,1,280,9600,1200`) hardly any.
    """
    printable = line.isascii() and line.decode("ascii", "replace").isprintable()
    letters = sum(character.isalpha() for character in line.decode("ascii", "replace"))
    named = letters >= _LETTERS and not _NUMBERS_ONLY.fullmatch(line)
    return printable and named and not line.startswith(_NO_NAME)


def ask_name(transport: Transport, answer_s: float = 0.7) -> str | None:
    """What is at the other end, by `*IDN?`; None where nothing or no name comes back."""
    try:
        line = Conversation(transport, answer_s).identity()
    except (NoAnswerError, NoPacketError):
        return None
    return text(line, 100) if is_name(line) else None


class ScpiMeter(MeterBase):
    """Polls `queries`: every `poll_s` seconds, or (None) again as soon as they are answered.

    Each query goes out when a line has come since the one before it. A query that is not answered
    within `answer_s` ends its poll. The schedule does not drift; a poll that would be late by a
    period or more is left out.
    """

    def __init__(
        self,
        transport: Transport,
        decoder: Decoder,
        *,
        answer_s: float,
        provenance: str,
        clock: Callable[[], float],
    ) -> None:
        super().__init__(transport, decoder, provenance=provenance, clock=clock)
        self._talk = Conversation(transport, answer_s, clock)
        self._answer_s = answer_s
        self._queries: tuple[bytes, ...] = ()
        self._poll_s: float | None = None
        self._due = 0.0
        self._sent = 0  # queries of the running poll; 0 between polls
        self._asked = 0.0  # when the last one went out

    def receive(self, timeout_s: float) -> bytes:
        """See `Meter.receive`."""
        until = self._clock() + timeout_s
        while True:
            if not self._sent and self._clock() >= self._due:
                self._begin()
            wake = self._asked + self._answer_s if self._sent else self._due
            raw = self._read(max(0.0, min(wake, until) - self._clock()))
            if self._sent and b"\n" in raw:
                self._ask_next()
            elif self._sent and self._clock() >= wake:
                self._sent = 0
            if raw or self._clock() >= until:
                return raw

    def _start_polling(self, queries: tuple[str, ...], poll_s: float | None) -> None:
        """From now on `receive()` asks `queries`."""
        self._queries = tuple(query.encode("ascii") + CRLF for query in queries)
        self._poll_s, self._due, self._sent = poll_s, self._clock(), 0

    def _stop_polling(self) -> None:
        """Take the answer that is still due, and no other."""
        while self._sent and self._clock() < self._asked + self._answer_s:
            if b"\n" in self._read(_READ_S):
                self._sent = 0
        self._sent, self._due = 0, math.inf
        self._talk.drain()

    def _begin(self) -> None:
        if self._poll_s is not None:
            missed = int((self._clock() - self._due) / self._poll_s)
            self._due += self._poll_s * (1 + missed)
        self._ask_next()

    def _ask_next(self) -> None:
        if self._sent == len(self._queries):
            self._sent = 0
            return
        self._transport.write(self._queries[self._sent])
        self._asked = self._clock()
        self._sent += 1

    def _set(self, command: str, error_query: str) -> None:
        """Send a setting and ask whether it was taken; `RefusedError` with the meter's reason."""
        self._talk.tell(command)
        answer = self._talk.ask(error_query)
        if not no_error(answer):
            raise RefusedError(f"{self._transport.name}: refused {command!r}: {text(answer)}")


def no_error(answer: bytes) -> bool:
    """Whether an error queue is empty: `0,"No error"`, `+0,...`."""
    return re.match(rb"[+-]?0+\s*(,|$)", answer.strip()) is not None


def check_settings(
    settings: dict[str, Any] | None, known: dict[str, Any], name: str
) -> dict[str, Any]:
    """`known` (names and defaults) with `settings` laid over it; `MeterError` for other names."""
    given = settings or {}
    for key in given:
        if key not in known:
            raise MeterError(f"{name} has no setting {key!r}; there is: {', '.join(known)}")
    return known | given


def number(settings: dict[str, Any], key: str, name: str) -> float:
    """A setting as a number above or equal to zero; `MeterError`."""
    try:
        value = float(settings[key])
    except (TypeError, ValueError):
        value = math.nan
    if not (math.isfinite(value) and value >= 0):
        raise MeterError(f"{name} setting {key} must be a number from 0 on; got {settings[key]!r}")
    return value
