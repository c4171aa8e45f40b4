# SPDX-License-Identifier: Apache-2.0
"""Bytes to events: the line protocol, version 2, of the EdgePowerMeter firmware 2.x (INA226).

Source: the firmware's protocol description (DanielRossi1/EdgePowerMeter, docs on serial protocol):
ASCII lines ended by LF (a CR before it is tolerated).

    D,<seq uint32>,<t_us int64>,<bus_raw uint16>,<shunt_raw int16>    one reading
    T,<t_us>,<rtc_s>,S|P                                              clock anchor, once a second
    !HELLO,EdgePowerMeter,<firmware>,<protocol>   !CFG,k=v,...   !OK <CMD>   !ERR <CMD> <reason>
    # ... and the older firmware's [INFO], === and CSV lines          ignored
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from powermeter.events import ClockAnchor, Gap, Malformed, OverRange, Sample
from powermeter.meters.ina226 import chip


class Hello(NamedTuple):
    """The meter's identity: `!HELLO,EdgePowerMeter,2.0.0,2`."""

    name: str
    firmware: str
    protocol: int


class Config(NamedTuple):
    """`!CFG`: averages, conversion times, shunt, output mode and nominal period."""

    averages: int
    vct_us: int
    ict_us: int
    shunt_ohm: float | None
    mode: str | None
    period_us: int


class Ok(NamedTuple):
    """`!OK <command>`."""

    command: str


class Err(NamedTuple):
    """`!ERR <command> <reason>`."""

    command: str
    reason: str


Event = Sample | ClockAnchor | Gap | OverRange | Malformed | Hello | Config | Ok | Err

MAX_LINE = 255  # the longest line of the protocol, !CFG, stays below 130 characters
SEQ_MODULUS = 1 << 32
_EXCERPT = 60
_SAMPLE = re.compile(rb"D,(\d{1,10}),(\d{1,19}),(\d{1,5}),(-?\d{1,5})")
_ANCHOR = re.compile(rb"T,(\d{1,19}),(\d{1,11}),([SP])")
_HELLO = re.compile(rb"!HELLO,([^,]+),([^,]+),(\d{1,4})")
_REPLY = re.compile(rb"!(OK|ERR) (\S+)(?: (\S.*))?")
_IGNORED = re.compile(
    rb"#.*|\[[A-Z]+\].*|===.*|Timestamp,.*|\d{4}-\d\d-\d\d [\d:.]+,.*|", re.DOTALL
)
_PUBLIC_STATE = ("shunt_ohm", "period_us", "malformed", "ignored", "samples", "lost")
_TIME_STEP_BACK = 0.5  # periods; below, the clock was set back
_TIME_GAP = 1.5  # periods; the chip's clock is within ±10 %, so 1 is never 1.5 and 2 always is


class LineDecoder:
    """A pure decoder: `feed(bytes)` returns the events of all lines that became complete.

    However a stream is cut into chunks, the events are the same, and no bytes raise. At most
    `MAX_LINE + 1` bytes are held between calls. What cannot be read is reported as `Malformed` and
    counted, never guessed. `shunt_ohm` overrides what the meter's `!CFG` says; until either is
    known the firmware's default, 10 mOhm, is used.

    `seq` wraps at 2^32. `t_us` is 64 bits wide by the protocol; a 32-bit counter that wraps is
    recognised (clock back by more than half its range while `seq` goes on) and unwrapped.
    """

    def __init__(self, shunt_ohm: float | None = None) -> None:
        self._fixed_shunt = shunt_ohm
        self._pending = b""
        self._pending_length = 0
        self._seq: int | None = None
        self._raw_us = 0
        self._wraps_us = 0
        self.shunt_ohm = shunt_ohm or chip.DEFAULT_SHUNT_OHM
        self.period_us: int | None = None
        self.malformed = 0
        self.ignored = 0
        self.samples = 0
        self.lost = 0

    def feed(self, data: bytes, host_time_s: float = 0.0) -> list[Event]:
        """Decode `data`, the next bytes of the stream (any number, cut anywhere).

        The meter stamps its readings itself, so `host_time_s` has no part in it.
        """
        *lines, rest = (self._pending + data).split(b"\n")
        self._pending = rest[: MAX_LINE + 1]
        self._pending_length = len(rest) if lines else self._pending_length + len(data)
        events: list[Event] = []
        for line in lines:
            self._line(line, events)
        return events

    @property
    def pending(self) -> int:
        """Length of the unfinished line in bytes (of a long one, only the beginning is held)."""
        return self._pending_length

    def state(self) -> dict[str, Any]:
        """JSON-able: all that decoding of the following whole lines depends upon."""
        counters = {name: getattr(self, name) for name in _PUBLIC_STATE}
        clock = {"seq": self._seq, "raw_us": self._raw_us, "wraps_us": self._wraps_us}
        return clock | counters

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a line boundary where `state()` was taken."""
        self._pending, self._pending_length = b"", 0
        self._seq, self._raw_us = state["seq"], state["raw_us"]
        self._wraps_us = state["wraps_us"]
        for name in _PUBLIC_STATE:
            setattr(self, name, state[name])

    def _line(self, line: bytes, events: list[Event]) -> None:
        if line.endswith(b"\r"):
            line = line[:-1]
        match = _SAMPLE.fullmatch(line)
        if match is not None:
            self._sample(line, match, events)
        elif len(line) > MAX_LINE:
            self._malformed(line, f"longer than {MAX_LINE} characters", events)
        elif line[:1] == b"T" and (match := _ANCHOR.fullmatch(line)):
            time_us = int(match[1]) + self._wraps_us
            if self._wrapped(int(match[1]) - self._raw_us):
                time_us += 1 << 32  # the first line after the wrap is an anchor
            events.append(ClockAnchor(time_us / 1e6, int(match[2]), match[3].decode()))
        elif line[:1] == b"!":
            self._reply(line, events)
        elif _IGNORED.fullmatch(line):
            self.ignored += 1
        else:
            self._malformed(line, "no line of the protocol", events)

    def _sample(self, line: bytes, match: re.Match[bytes], events: list[Event]) -> None:
        seq, time_us, bus, shunt = map(int, match.groups())
        if seq >= SEQ_MODULUS or time_us >= 1 << 63 or bus > 0xFFFF:
            return self._malformed(line, "a number beyond its width", events)
        if not chip.SHUNT_RAW_MIN <= shunt <= chip.SHUNT_RAW_MAX:
            return self._malformed(line, "a number beyond its width", events)
        if seq == self._seq:
            return self._malformed(line, "sequence number repeated", events)
        self._continuity(seq, time_us, events)
        self._seq, self._raw_us = seq, time_us
        time_s = (time_us + self._wraps_us) / 1e6
        if shunt in (chip.SHUNT_RAW_MIN, chip.SHUNT_RAW_MAX):
            events.append(OverRange(seq, time_s, "shunt"))
        elif bus >= chip.BUS_RAW_MAX:
            events.append(OverRange(seq, time_s, "bus"))
        voltage = bus * chip.BUS_LSB_V
        current = shunt * chip.SHUNT_LSB_V / self.shunt_ohm
        self.samples += 1
        events.append(Sample(seq, time_s, voltage, current, voltage * current))

    def _continuity(self, seq: int, time_us: int, events: list[Event]) -> None:
        """Unwrap the clock and report what is missing between the previous reading and this."""
        if self._seq is None:
            return
        step = (seq - self._seq) % SEQ_MODULUS
        elapsed = time_us - self._raw_us
        if self._wrapped(elapsed) and step < SEQ_MODULUS // 2:
            self._wraps_us += 1 << 32
            elapsed += 1 << 32
        time_s = (time_us + self._wraps_us) / 1e6
        if step >= SEQ_MODULUS // 2 or elapsed <= 0:
            events.append(Gap("restart", time_s, 0))
        elif step > 1:
            self.lost += step - 1
            events.append(Gap("sequence", time_s, step - 1))
        elif self.period_us and elapsed > _TIME_GAP * self.period_us:
            missed = max(1, round(elapsed / self.period_us) - 1)
            self.lost += missed
            events.append(Gap("time", time_s, missed))
        elif self.period_us and elapsed < _TIME_STEP_BACK * self.period_us:
            events.append(Gap("time", time_s, 0))

    def _wrapped(self, elapsed_us: int) -> bool:
        """Whether the clock went back as a 32-bit counter does, and not as after a restart."""
        return self._raw_us < 1 << 32 and elapsed_us < -(1 << 31)

    def _reply(self, line: bytes, events: list[Event]) -> None:
        if match := _HELLO.fullmatch(line):
            events.append(Hello(_text(match[1]), _text(match[2]), int(match[3])))
        elif line.startswith(b"!CFG,"):
            self._config(line, events)
        elif match := _REPLY.fullmatch(line):
            command, reason = _text(match[2]), _text(match[3] or b"")
            events.append(Ok(command) if match[1] == b"OK" else Err(command, reason))
        else:
            self._malformed(line, "no reply of the protocol", events)

    def _config(self, line: bytes, events: list[Event]) -> None:
        pairs = (field.partition("=") for field in _text(line).split(",")[1:])
        fields = {key: value for key, _, value in pairs}
        try:
            averages, vct, ict = (int(fields[key]) for key in ("avg", "vct", "ict"))
            shunt = float(fields["shunt"]) if "shunt" in fields else None
            period = int(fields.get("period_us", averages * (vct + ict)))
        except (KeyError, ValueError):
            return self._malformed(line, "!CFG lacks a number", events)
        possible = shunt is None or chip.SHUNT_LEAST_OHM <= shunt <= chip.SHUNT_MOST_OHM
        if period <= 0 or not possible:
            return self._malformed(line, "!CFG with an impossible number", events)
        self.period_us = period
        self.shunt_ohm = self._fixed_shunt or shunt or self.shunt_ohm
        events.append(Config(averages, vct, ict, shunt, fields.get("mode"), period))

    def _malformed(self, line: bytes, reason: str, events: list[Event]) -> None:
        self.malformed += 1
        events.append(Malformed(_text(line[:_EXCERPT]), reason))


def _text(raw: bytes) -> str:
    return raw.decode("ascii", "backslashreplace")
