# SPDX-License-Identifier: Apache-2.0
"""What meters that are asked in SCPI share: question and answer, and the schedule of the asking.

One *poll* is one or more queries, each answered by a line. Only answers come into the log, so they
have to tell by themselves which poll they belong to: a WT310 answers in one line, and the polls of
other instruments end with a query whose answer cannot be taken for a reading.

Instruments end their answers with LF, CR, CR LF or not at all; where there is no end, a pause is
taken for it (`protocol.ENDINGS`). What has come without a question is never taken for an answer: it
is thrown away before the next question, and counted.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable

from powermeter.energy.clock import host_time_s
from powermeter.errors import MeterError, NoAnswerError, NoPacketError, RefusedError
from powermeter.meters.meter import Decoder, Meter, Transport
from powermeter.meters.scpi.protocol import (
    CRLF,
    LONGEST,
    NONE,
    PAUSE_S,
    ending_of,
    terminator,
    text,
)

_READ_S = 0.05
_QUIET_S = 0.3
_SETTLE_S = 0.2  # within which an instrument answers a command that has no answer
_NUMBERS_ONLY = re.compile(rb"[0-9.,;+\-EeNnAaIiFf\s]*")  # a reading that an earlier program asked
_LETTERS = 3  # that a name has at least
_NO_NAME = (b"!", b"#", b"?")  # how other protocols' answers and errors begin


class Conversation:
    """Commands to an instrument and its answers, for the time before the polling.

    `ending` is how answers end, a name of `protocol.ENDINGS`; None until the first answer has
    shown it (or the caller knows).
    """

    def __init__(
        self,
        transport: Transport,
        answer_s: float,
        clock: Callable[[], float] = host_time_s,
        ending: str | None = None,
    ) -> None:
        self._transport, self._answer_s, self._clock = transport, answer_s, clock
        self.ending = ending
        #: Lines that came without a question.
        self.unasked = 0
        #: The first of them.
        self.first_unasked = b""

    def tell(self, command: str) -> None:
        """Send a command that has no answer."""
        self._transport.write(command.encode("ascii") + CRLF)

    def settle(self) -> None:
        """Wait for what comes although nothing was asked: some answer every command."""
        heard, until = b"", self._clock() + _SETTLE_S
        while self._clock() < until:
            heard += self._transport.read(_READ_S)
        self._leave(heard)

    def drain(self) -> None:
        """Throw away what has arrived, without counting it: it is from before our time."""
        while self._transport.read(0.0):
            pass

    def ask(self, command: str) -> bytes:
        """The line that answers `command`, without its end.

        `NoAnswerError`, or `NoPacketError` for bytes that are no line of text.
        """
        late = b""
        while raw := self._transport.read(0.0):
            late += raw
        self._leave(late)
        self.tell(command)
        heard = self._listen(self._clock() + self._answer_s)
        if self.ending is None and heard.strip() and heard.isascii():
            self.ending = ending_of(heard)
        first, *others = [line for line in re.split(rb"[\r\n]+", heard) if line.strip()] or [b""]
        self._leave(b"\n".join(others))
        line = first.strip()
        whole = self.ending == NONE or re.search(rb"[\r\n]", heard.lstrip())
        if not line or not whole or not line.isascii() or len(line) > LONGEST:
            raise self._silence(command, heard)
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
            line = self.ask("*IDN?")
        return line

    def _listen(self, deadline: float) -> bytes:
        """What comes up to the end of a line, or up to a pause; at most until `deadline`."""
        heard, quiet = b"", math.inf
        while (now := self._clock()) < min(deadline, quiet):
            ended = self._ended(heard)
            if ended and self.ending is not None:
                break
            raw = self._transport.read(min(_READ_S, deadline - now))
            heard += raw
            if raw and self.ending is None:
                # An end is known by what follows it, no end by the silence after it.
                quiet = self._clock() + (PAUSE_S if self._ended(heard) else _QUIET_S)
            elif raw and self.ending == NONE:
                quiet = self._clock() + PAUSE_S
        return heard

    def _ended(self, heard: bytes) -> bool:
        rest = heard.lstrip()
        if self.ending in (None, NONE):
            return self.ending is None and (b"\n" in rest or b"\r" in rest)
        return terminator(self.ending) in rest

    def _leave(self, raw: bytes) -> None:
        """Count what nobody asked for."""
        lines = [line for line in re.split(rb"[\r\n]+", raw) if line.strip()]
        if lines and not self.unasked:
            self.first_unasked = lines[0].strip()
        self.unasked += len(lines)

    def _silence(self, command: str, heard: bytes) -> MeterError:
        name = self._transport.name
        if heard:
            return NoPacketError(
                f"{name}: {len(heard)} bytes came and no answer to {command}, but "
                f"{text(heard)!r} (is the baud rate the same as the instrument's?)"
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


class ScpiMeter(Meter):
    """Polls `queries`: every `poll_s` seconds, or (None) again as soon as they are answered.

    Each query goes out when a line has come since the one before it. A query that is not answered
    within `answer_s` ends its poll. The schedule does not drift; a poll that would be late by a
    period or more is left out. `ending` is how answers end, None to find out.
    """

    def __init__(
        self,
        transport: Transport,
        decoder: Decoder,
        *,
        answer_s: float,
        provenance: str,
        clock: Callable[[], float],
        ending: str | None = None,
    ) -> None:
        super().__init__(transport, decoder, provenance=provenance, clock=clock)
        self._talk = Conversation(transport, answer_s, clock, ending)
        self._answer_s = answer_s
        self._queries: tuple[bytes, ...] = ()
        self._closing = b""  # the answer that ends a poll where no line end does
        self._poll_s: float | None = None
        self._due = 0.0
        self._sent = 0  # queries of the running poll; 0 between polls
        self._asked = 0.0  # when the last one went out
        self._answer = b""  # to it, as far as it has come
        # Where a pause ends an answer: since when, counted from after its bytes were stamped, so
        # that whoever decodes the log finds the same pause between the stamps.
        self._quiet_since: float | None = None

    def receive(self, timeout_s: float) -> bytes:
        """See `Meter.receive`."""
        until = self._clock() + timeout_s
        if self._talk.ending == NONE and self._answer and self._quiet_since is None:
            self._quiet_since = self._clock()
        while True:
            now = self._clock()
            if not self._sent and now >= self._due:
                self._begin()
            elif self._sent and self._answered(now):
                self._ask_next()
            elif self._sent and now >= self._asked + self._answer_s:
                self._sent = 0
            raw = self._read(max(0.0, min(self._wake(), until) - self._clock()))
            if raw:
                self._answer, self._quiet_since = self._answer + raw, None
                if self._sent and self._answered(self._clock()):
                    self._ask_next()
                return raw
            if self._clock() >= until:
                return raw

    def _wake(self) -> float:
        """When something is to be done although nothing comes."""
        if not self._sent:
            return self._due
        limit = self._asked + self._answer_s
        return limit if self._quiet_since is None else min(limit, self._quiet_since + PAUSE_S)

    def _answered(self, now: float) -> bool:
        """Whether the running query has its answer."""
        heard = self._answer.lstrip()
        if self._talk.ending != NONE:
            return terminator(self._talk.ending) in heard
        if heard and heard == self._closing and self._sent == len(self._queries):
            return True
        quiet = self._quiet_since
        return bool(heard) and quiet is not None and now >= quiet + PAUSE_S

    def _start_polling(
        self, queries: tuple[str, ...], poll_s: float | None, closing: str = ""
    ) -> None:
        """From now on `receive()` asks `queries`; `closing` is the last one's usual answer."""
        self._queries = tuple(query.encode("ascii") + CRLF for query in queries)
        self._poll_s, self._due, self._sent = poll_s, self._clock(), 0
        self._closing = closing.encode("ascii")

    def _begin(self) -> None:
        if self._poll_s is not None:
            missed = int((self._clock() - self._due) / self._poll_s)
            self._due += self._poll_s * (1 + missed)
        self._ask_next()

    def _ask_next(self) -> None:
        self._answer, self._quiet_since = b"", None
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
