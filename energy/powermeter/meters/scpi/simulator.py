# SPDX-License-Identifier: Apache-2.0
"""A simulated laboratory power supply with SCPI queries on a serial line, and what such share.

Messages come in and answers go out, as IEEE 488.2 has it on a serial line: a message ends with LF
(a CR before it is no part of it), its units are joined by semicolons, a header without a leading
colon goes on from the path of the one before, mnemonics come in long or short form, and answers to
one message are joined by semicolons. A unit that is not understood enters the error queue and ends
its message.

Modelled of the supply: `MEASure` queries that read the last refresh of its display (the mean over
`refresh_s`); a gain error of power within `gain` and of voltage, drawn once from the seed; digits
of 1 mV, 0.1 mA and 1 mW; 9.9E+37 above `range_w`; an error queue with SCPI's negative codes; remote
and local mode, if it insists on them; any line end; a restart with seconds of silence. It has no
clock to tell. Not modelled: noise, the output's regulation, its settings.
"""

from __future__ import annotations

import math
import random
import re
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from powermeter.errors import SimulatorError
from powermeter.meters.scpi.protocol import ENDINGS
from powermeter.meters.settings import Setting
from powermeter.simulation.device import REBOOT, Segment

IDENTITY = "SIMULATED,PSU-3005,0001,1.0"
SETTINGS = (
    Setting("bus_v", "true voltage", 12.0, unit="V", above=0, most=1000),
    Setting("baud", "speed of the line", 9600, int, "Bd", least=300, most=1_000_000),
    Setting("gain", "limit of power's error, as a fraction", 0.01, least=0, most=0.5),
    Setting("refresh_s", "time between two refreshes", 0.05, unit="s", above=0, most=60),
    Setting("range_w", "largest power", 60.0, unit="W", above=0, most=1e6),
    Setting("has_power", "whether it knows MEAS:POW?", True, bool),
    Setting("ending", "how its answers end", "crlf", str, choices=tuple(ENDINGS)),
    Setting("needs_remote", "whether it measures in remote mode only", False, bool),
)
_LONGEST = 512
_QUEUE = 16
_NO_ERROR = '0,"No error"'
_LOCAL = (550, "Command not allowed in local")
_BOOT_S = 2.0
_VOLTAGE_GAIN = 5e-4
_OVERLOAD = "9.9E+37"

#: Takes the header's numeric suffix ("" without) and the arguments; returns the answer, if any.
Handler = Callable[[str, list[str]], str | None]


class ScpiFault(Exception):
    """What enters the error queue."""

    def __init__(self, code: int, words: str) -> None:
        super().__init__(words)
        self.code, self.words = code, words


_UNDEFINED = ScpiFault(-113, "Undefined header")


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


class SupplyDevice:
    """See `Device`. `bus_v` is the true voltage, `gain` the limit of power's error (a fraction).

    `has_power` False: an instrument without `MEASure:POWer?`. `ending` as in `ENDINGS`.
    `needs_remote`: it measures after `SYSTem:REMote` only.
    """

    frame = "8N1"

    def __init__(
        self,
        seed: int = 0,
        *,
        bus_v: float = 12.0,
        baud: int = 9600,
        gain: float = 0.01,
        refresh_s: float = 0.05,
        range_w: float = 60.0,
        has_power: bool = True,
        ending: str = "crlf",
        needs_remote: bool = False,
    ) -> None:
        if not (bus_v > 0 and refresh_s > 0):
            raise SimulatorError("the bus voltage and the refresh time must be positive")
        uniform = random.Random(seed).uniform
        self.seed, self.bus_v, self.baud, self.range_w = seed, bus_v, baud, range_w
        self._voltage_gain = uniform(-1, 1) * _VOLTAGE_GAIN
        self._power_gain = uniform(-1, 1) * gain
        self._refresh_s, self._ending = refresh_s, ENDINGS[ending]
        self._needs_remote, self.remote = needs_remote, False
        self._time = IntervalClock(refresh_s)
        self._watts: float | None = None  # true mean of the last refresh
        self._parser, self._queue = MessageParser(), ErrorQueue((-350, "Queue overflow"))
        self._table = CommandTable(self._handlers(has_power), _UNDEFINED)
        self._boots_until_s = -math.inf

    @property
    def period_s(self) -> float:
        """True seconds between two refreshes."""
        return self._refresh_s

    def banner(self) -> bytes:
        """It says nothing when switched on."""
        return b""

    def command(self, data: bytes) -> bytes:
        """See `Device.command`."""
        if self._time.now_s < self._boots_until_s:
            return b""
        sent = b""
        for message in self._parser.feed(data):
            if message is None:
                self._queue.add(-363, "Input buffer overrun")
            else:
                sent += self._answer(message)
        return sent

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """See `Device.advance`; it never speaks unasked."""
        self._time.pass_segments(segments, self._refresh_s, self._refresh)
        return b""

    def fault(self, kind: str) -> bytes:
        """See `Device.fault`: a restart is all that can happen to it."""
        if kind != REBOOT:
            raise SimulatorError(f"a power supply has no fault {kind!r}")
        self._watts = None
        self.remote = False
        self._queue.clear()
        self._parser.clear()
        self._boots_until_s = self._time.now_s + _BOOT_S
        return b""

    def state(self) -> dict[str, Any]:
        """See `Device.state`."""
        return {
            "seed": self.seed,
            "time": self._time.state(),
            "watts": self._watts,
            "remote": self.remote,
            "received": self._parser.state(),
            "errors": self._queue.state(),
            "boots_for_s": max(0.0, self._boots_until_s - self._time.now_s),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Device.restore`."""
        if state.get("seed") != self.seed:
            raise SimulatorError(f"the saved supply has seed {state.get('seed')}, not {self.seed}")
        self._time.restore(state["time"])
        self._watts, self.remote = state["watts"], state["remote"]
        self._parser.restore(state["received"])
        self._queue.restore(state["errors"])
        self._boots_until_s = self._time.now_s + state["boots_for_s"]

    def _refresh(self, interval: Interval) -> None:
        self._watts = interval.joules / interval.seconds

    def _answer(self, message: list[Unit]) -> bytes:
        answers = []
        for unit in message:
            try:
                answer = self._table.run(unit)
            except ScpiFault as fault:
                self._queue.add(fault.code, fault.words)
                break
            if answer is not None:
                answers.append(answer)
        return ";".join(answers).encode("ascii") + self._ending if answers else b""

    def _handlers(self, has_power: bool) -> dict[str, Handler]:
        table: dict[str, Handler] = {
            "*IDN?": lambda *_: IDENTITY,
            "*CLS": lambda *_: self._queue.clear(),
            "*OPC?": lambda *_: "1",
            ":SYSTem:ERRor[:NEXT]?": lambda *_: self._queue.take(_NO_ERROR),
            ":SYSTem:REMote": lambda *_: self._switch(True),
            ":SYSTem:LOCal": lambda *_: self._switch(False),
            ":MEASure[:SCALar]:VOLTage[:DC]?": lambda *_: self._measured(f"{self._volts():.3f}"),
            ":MEASure[:SCALar]:CURRent[:DC]?": lambda *_: self._measured(self._current()),
        }
        if has_power:
            table[":MEASure[:SCALar]:POWer[:DC]?"] = lambda *_: self._measured(self._power())
        return table

    def _switch(self, remote: bool) -> None:
        self.remote = remote

    def _measured(self, answer: str) -> str:
        if self._needs_remote and not self.remote:
            raise ScpiFault(*_LOCAL)
        return answer

    def _volts(self) -> float:
        return self.bus_v * (1 + self._voltage_gain)

    def _read_w(self) -> float:
        """Watts with this instrument's error; infinite beyond its range."""
        watts = self._watts or 0.0
        return math.inf if abs(watts) > self.range_w else watts * (1 + self._power_gain)

    def _current(self) -> str:
        watts = self._read_w()
        return _OVERLOAD if math.isinf(watts) else f"{watts / self._volts():.4f}"

    def _power(self) -> str:
        watts = self._read_w()
        return _OVERLOAD if math.isinf(watts) else f"{watts:.3f}"
