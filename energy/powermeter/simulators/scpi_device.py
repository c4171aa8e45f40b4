# SPDX-License-Identifier: Apache-2.0
"""What simulated SCPI instruments share: messages in, answers with CR+LF out, and an error queue.

IEEE 488.2 as instruments on a serial line have it: a message ends with LF (a CR before it is no
part of it), its units are joined by semicolons, a header without a leading colon goes on from the
path of the one before, mnemonics come in long or short form, and answers to one message are joined
by semicolons. A unit that is not understood enters the error queue and ends its message.
"""

from __future__ import annotations

import math
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from powermeter.simulators.device import Segment

_LONGEST = 512
_QUEUE = 16

#: Takes the header's numeric suffix ("" without) and the arguments; returns the answer, if any.
Handler = Callable[[str, list[str]], str | None]


class ScpiFault(Exception):
    """What enters the error queue."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


class Unit(NamedTuple):
    """A command of a message: its absolute header in upper case, and its arguments."""

    header: str
    arguments: list[str]


class MessageParser:
    """Bytes to complete messages, as units; what is too long for the input buffer is dropped."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[list[Unit] | None]:
        """Messages that `data` completes; None for one that was too long or no text."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        messages: list[list[Unit] | None] = []
        if len(self._rest) > _LONGEST:
            messages, self._rest = [None], b""
        for line in lines:
            whole = len(line) <= _LONGEST and line.isascii()
            messages.append(units(line.decode("ascii")) if whole else None)
        return messages

    def clear(self) -> None:
        """Forget an unfinished message."""
        self._rest = b""

    def state(self) -> str:
        """JSON-able."""
        return self._rest.decode("latin-1")

    def restore(self, state: str) -> None:
        """Continue from `state()`."""
        self._rest = state.encode("latin-1")


def units(message: str) -> list[Unit]:
    """The units of a message, with the path that a header takes over from the one before."""
    found, path = [], ""
    for part in message.strip().split(";"):
        header, _, rest = part.strip().partition(" ")
        if not header:
            continue
        header = header.upper()
        if not header.startswith(("*", ":")):
            header = f":{path}{header}"
        if header.startswith(":"):
            path = header[1:].rpartition(":")[0]
            path += ":" if path else ""
        arguments = [argument.strip() for argument in rest.split(",")] if rest.strip() else []
        found.append(Unit(header, arguments))
    return found


def header_pattern(spelling: str) -> re.Pattern[str]:
    """A pattern for a header as manuals spell it, e.g. `:NUMeric[:NORMal]:ITEM<x>?`."""
    pattern = ""
    for piece in re.findall(r"\[:?|\]|<x>|[A-Za-z]+|[*:?]", spelling):
        if piece.startswith("["):
            pattern += "(?:" + piece[1:]
        elif piece == "]":
            pattern += ")?"
        elif piece == "<x>":
            pattern += r"(\d{0,3})"
        elif piece.isalpha():
            short = "".join(letter for letter in piece if letter.isupper())
            long_form = piece.upper()
            pattern += short if short == long_form else f"{short}(?:{long_form[len(short) :]})?"
        else:
            pattern += re.escape(piece)
    return re.compile(pattern)


class ErrorQueue:
    """Errors, oldest first; the newest place tells of an overflow."""

    def __init__(self, overflow: tuple[int, str]) -> None:
        self._entries: deque[tuple[int, str]] = deque()
        self._overflow = overflow

    def add(self, code: int, words: str) -> None:
        """Append an error."""
        if len(self._entries) == _QUEUE:
            self._entries.pop()
            code, words = self._overflow
        self._entries.append((code, words))

    def take(self, empty: str) -> str:
        """The oldest error as an answer; `empty` where there is none."""
        if not self._entries:
            return empty
        code, words = self._entries.popleft()
        return f'{code},"{words}"'

    def clear(self) -> None:
        """Forget them all."""
        self._entries.clear()

    def state(self) -> list[list[int | str]]:
        """JSON-able."""
        return [list(entry) for entry in self._entries]

    def restore(self, entries: Sequence[Sequence[int | str]]) -> None:
        """Continue from `state()`."""
        self._entries = deque((int(code), str(words)) for code, words in entries)


class CommandTable:
    """Handlers by header; `run` executes one unit."""

    def __init__(self, handlers: dict[str, Handler], undefined: ScpiFault) -> None:
        self._handlers = [(header_pattern(name), handler) for name, handler in handlers.items()]
        self._undefined = undefined

    def run(self, unit: Unit) -> str | None:
        """The unit's answer, None for a command; `ScpiFault`."""
        for pattern, handler in self._handlers:
            if match := pattern.fullmatch(unit.header):
                suffix = match.group(1) or "" if match.re.groups else ""
                return handler(suffix, unit.arguments)
        raise self._undefined


def nr3(value: float | None, digit: float) -> str:
    """A number as these instruments send it, e.g. `216.42E-03`; `digit` is its last digit's weight.

    `NAN` stands for no data, `INF` for an overflow.
    """
    if value is None:
        return "NAN"
    if not math.isfinite(value):
        return "INF" if value > 0 else "-INF"
    last = round(math.log10(digit))
    rounded = round(value / digit)
    magnitude = len(str(abs(rounded))) - 1 + last if rounded else 0
    exponent = 3 * (magnitude // 3)
    decimals = max(0, exponent - last)
    return f"{rounded * 10.0 ** (last - exponent):.{decimals}f}E{exponent:+03d}"


class Interval(NamedTuple):
    """What an instrument saw of a trace between two of its updates."""

    joules: float
    peak_w: float
    seconds: float


class IntervalClock:
    """Cuts a trace at updates that are `period_s` true seconds apart, the first after one period.

    Kept apart from the instrument: it is where time passes. `now_s` counts true seconds.
    """

    def __init__(self, period_s: float) -> None:
        self.now_s = 0.0
        self._due_s = period_s
        self._joules = 0.0
        self._peak_w = 0.0
        self._since_s = 0.0

    def restart(self, period_s: float) -> None:
        """Begin an interval now."""
        self._due_s, self._since_s = self.now_s + period_s, self.now_s
        self._joules = self._peak_w = 0.0

    def pass_segments(
        self, segments: Sequence[Segment], period_s: float, update: Callable[[Interval], None]
    ) -> None:
        """Let the segments pass; `update` is called at each update's true time."""
        for duration, power in segments:
            end = self.now_s + duration
            while self.now_s < end:
                until = min(end, self._due_s)
                self._joules += power * (until - self.now_s)
                self._peak_w = max(self._peak_w, abs(power))
                self.now_s = until
                if until >= self._due_s:
                    seconds = self.now_s - self._since_s
                    interval = Interval(self._joules, self._peak_w, seconds)
                    due = self._due_s
                    self.restart(period_s)
                    self._due_s = due + period_s
                    update(interval)

    def state(self) -> list[float]:
        """JSON-able."""
        return [self.now_s, self._due_s, self._joules, self._peak_w, self._since_s]

    def restore(self, state: Sequence[float]) -> None:
        """Continue from `state()`."""
        self.now_s, self._due_s, self._joules, self._peak_w, self._since_s = state
