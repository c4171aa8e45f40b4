# SPDX-License-Identifier: Apache-2.0
"""A simulated Yokogawa WT310E on its serial line: the commands that its driver and people use.

`Wt310Input` measures, from a power trace to shown values and registers; `Wt310Device` talks.

Modelled: values renewed each update interval of its own oscillator, each the mean over the whole
interval; errors of the reading and of the range, drawn once from the seed within the data sheet's
limits; five digits; auto range and fixed ranges, over-range (`INF`, bit 6) and peaks (bits 7, 8);
condition and extended event register with transition filters; `:COMMunicate:WAIT`; integration in
watt-hours, during which settings are refused; headers in answers until they are switched off; the
error queue. Not modelled: noise, temperature, harmonics, alternating current, keys and display.
Seconds of silence after a restart and the code of "refused while integrating" are assumptions.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Sequence
from typing import Any

from powermeter.errors import SimulatorError
from powermeter.meters.scpi.simulator import (
    CommandTable,
    ErrorQueue,
    Handler,
    Interval,
    IntervalClock,
    MessageParser,
    ScpiFault,
    Unit,
    nr3,
)
from powermeter.meters.settings import Setting
from powermeter.meters.wt310 import protocol as ranges
from powermeter.meters.wt310.protocol import OVER, PEAK_CURRENT, PEAK_VOLTAGE, UPDATED
from powermeter.simulation.device import REBOOT, SKIP, Segment

CLOCK_LIMIT = 1e-4
_RAISE, _LOWER, _NEXT = 1.3, 0.3, 1.25  # auto range: shares of a range at which it changes

STOPPED, RUNNING, RESET = "STOP", "START", "RESET"
SETTINGS = (
    Setting("bus_v", "true voltage", 12.0, unit="V", above=0, most=1000),
    Setting("baud", "speed of the line", 9600, int, "Bd", least=300, most=1_000_000),
    Setting("clock", "error of its clock, as a fraction", least=-0.5, most=0.5, unset="drawn"),
)

IDENTITY = "YOKOGAWA,WT310E,C3UE12345E,F1.04"
_BOOT_S = 3.0
_ITEMS = ("U", "I", "P", "WH", "URANGE", "IRANGE", "NONE")
_VALUE = re.compile(r"([+-]?[0-9.]+(?:E[+-]?\d+)?)\s*(M|U|K)?(V|A|S)?")
_MULTIPLIERS = {"": 1.0, "M": 1e-3, "U": 1e-6, "K": 1e3}
_UNDEFINED = ScpiFault(113, "Undefined Header")
_BAD_DATA = ScpiFault(141, "Invalid character data")
_MISSING = ScpiFault(109, "Missing parameter")
_OUT_OF_RANGE = ScpiFault(222, "Data out of range")
_BUSY = ScpiFault(221, "Setting conflict")
#: Settings that choose a word; the first is the one that it is delivered with.
_WORDS = {
    ":[INPut:]MODE": ("RMS", "VMEAN", "DC"),
    ":[INPut:]SYNChronize": ("CURRENT", "VOLTAGE", "OFF"),
    ":NUMeric:FORMat": ("ASCII",),
    ":INTEGrate:MODE": ("NORMAL", "CONTINUOUS"),
}
_REMOTE, _HEADER, _HOLD = ":COMMunicate:REMote", ":COMMunicate:HEADer", ":HOLD"
_AVERAGING = ":MEASure:AVERaging[:STATe]"
_SWITCHED_ON = {_REMOTE: False, _HEADER: True, _HOLD: False}  # also after every restart
_FREE = (_REMOTE, _HEADER, _HOLD, ":NUMeric:FORMat")  # settings open while integrating
_STATES = {RUNNING: "STAR", STOPPED: "STOP", RESET: "RES"}


class Registers:
    """Condition register, and the event register that its edges enter through filters."""

    def __init__(self) -> None:
        self.condition = 0
        self.events = 0
        self.filters: dict[int, str] = {}  # by bit number + 1, as in the command; RISE without

    def change(self, condition: int) -> None:
        """Set the condition."""
        for bit in range(16):
            before, now = self.condition >> bit & 1, condition >> bit & 1
            kind = self.filters.get(bit + 1, "RISE")
            rose, fell = now > before, now < before
            if (rose and kind in ("RISE", "BOTH")) or (fell and kind in ("FALL", "BOTH")):
                self.events |= 1 << bit
        self.condition = condition

    def take_events(self) -> int:
        """The events since the last time."""
        events, self.events = self.events, 0
        return events

    def state(self) -> list[Any]:
        """JSON-able."""
        return [self.condition, self.events, {str(bit): kind for bit, kind in self.filters.items()}]

    def restore(self, state: Sequence[Any]) -> None:
        """Continue from `state()`."""
        self.condition, self.events = state[0], state[1]
        self.filters = {int(bit): kind for bit, kind in state[2].items()}


class Wt310Input:
    """Ranges, values and the integrator; `bus_v` is the true voltage.

    Errors are shares of the data sheet's limits, of the reading and of the range, for voltage,
    current and power each; drawn once.
    """

    def __init__(self, random_: random.Random, bus_v: float) -> None:
        self.bus_v = bus_v
        self.update_s = 0.25
        self.range_v, self.range_a = ranges.VOLTAGE_RANGES_V[-1], ranges.CURRENT_RANGES_A[-1]
        self.auto_v = self.auto_a = True
        self.errors = [(random_.uniform(-1, 1), random_.uniform(-1, 1)) for _ in range(3)]
        self.registers = Registers()
        self.values: list[float | None] = [None] * 3  # U, I, P as shown; None: no data
        self.integration, self.counted_wh = RESET, 0.0

    @property
    def overload_w(self) -> float:
        """Watts above which the current range is exceeded."""
        return ranges.OVER_RANGE * self.range_a * self.bus_v

    @property
    def scales(self) -> tuple[float, float, float]:
        """Full scale of voltage, current and power."""
        return self.range_v, self.range_a, self.range_v * self.range_a

    def update(self, interval: Interval) -> None:
        """New values are complete: the bit "updating" falls."""
        watts = interval.joules / interval.seconds
        true = (self.bus_v, watts / self.bus_v, watts)
        over = [abs(true[i]) > ranges.OVER_RANGE * self.scales[i] for i in (0, 1)]
        over.append(any(over))
        shown = self._shown(true)
        if self.integration == RUNNING and not over[2]:
            self.counted_wh += shown[2] * self.update_s / 3600
        self.values = [
            math.inf if beyond else value for value, beyond in zip(shown, over, strict=True)
        ]
        bits = (OVER if over[2] else 0) | self._peaks(interval.peak_w)
        self.registers.change(self.registers.condition | UPDATED)  # it rose when the update began
        self.registers.change(bits)
        if self.integration != RUNNING:  # ranges stay while integrating
            self._choose_ranges(true)

    def restart(self) -> None:
        """Power off and on: settings stay, values and integrals do not."""
        self.values, self.registers = [None] * 3, Registers()
        self.integration, self.counted_wh = RESET, 0.0

    def state(self) -> dict[str, Any]:
        """JSON-able."""
        return {
            "update_s": self.update_s,
            "ranges": [self.range_v, self.range_a, self.auto_v, self.auto_a],
            "values": list(self.values),
            "registers": self.registers.state(),
            "integration": [self.integration, self.counted_wh],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`."""
        self.update_s = state["update_s"]
        self.range_v, self.range_a, self.auto_v, self.auto_a = state["ranges"]
        self.values = list(state["values"])
        self.registers.restore(state["registers"])
        self.integration, self.counted_wh = state["integration"]

    def _shown(self, true: Sequence[float]) -> list[float]:
        """True values with this instrument's errors, rounded to the ranges' digits."""
        gain, share = ranges.limits("WT310E", "DC")
        shown = []
        for value, scale, (of_reading, of_range) in zip(
            true, self.scales, self.errors, strict=True
        ):
            wrong = value + of_reading * gain * value + of_range * share * scale
            digit = ranges.step(scale)
            shown.append(round(wrong / digit) * digit)
        return shown

    def _peaks(self, peak_w: float) -> int:
        volts, amperes = self.bus_v, peak_w / self.bus_v
        bits = PEAK_VOLTAGE if volts > ranges.PEAK_FACTOR * self.range_v else 0
        return bits | (PEAK_CURRENT if amperes > ranges.PEAK_FACTOR * self.range_a else 0)

    def _choose_ranges(self, true: Sequence[float]) -> None:
        if self.auto_v:
            self.range_v = _chosen(ranges.VOLTAGE_RANGES_V, self.range_v, abs(true[0]))
        if self.auto_a:
            self.range_a = _chosen(ranges.CURRENT_RANGES_A, self.range_a, abs(true[1]))


def _chosen(available: tuple[float, ...], present: float, value: float) -> float:
    """Auto range (IM WT310E-01EN, 2-7): one range up above 130 %, down below 30 %."""
    place = available.index(present)
    if value > _RAISE * present:
        return available[min(place + 1, len(available) - 1)]
    if value <= _LOWER * present:
        return min(present, next(each for each in available if value <= _NEXT * each))
    return present


class Wt310Device:
    """See `Device`. `bus_v` is the true voltage; `clock` the oscillator's error (a fraction)."""

    frame = "8N1"

    def __init__(
        self,
        seed: int = 0,
        *,
        bus_v: float = 12.0,
        baud: int = 9600,
        clock: float | None = None,
    ) -> None:
        if not bus_v > 0:
            raise SimulatorError(f"the bus voltage must be positive, got {bus_v:g} V")
        draw = random.Random(seed)
        drawn, phase = draw.uniform(-1, 1) * CLOCK_LIMIT, draw.uniform(0.1, 1.0)
        self.seed, self.baud = seed, baud
        self.clock_error = drawn if clock is None else clock
        self.input = Wt310Input(draw, bus_v)
        self._time = IntervalClock(phase * self.period_s)
        self._words = {name: words[0] for name, words in _WORDS.items()}
        self._switches = {**_SWITCHED_ON, _AVERAGING: False}
        self._items = ["U", "I", "P"]
        self._parser, self._queue = MessageParser(), ErrorQueue((350, "Queue overflow"))
        self._table = CommandTable(self._handlers(), _UNDEFINED)
        self._messages: list[list[Unit]] = []  # not executed yet; the first may have begun
        self._answers: list[str] = []  # of the message that has begun
        self._awaited = 0  # events that execution waits for
        self._skip = 0
        self._boots_until_s = -math.inf

    @property
    def period_s(self) -> float:
        """True seconds between two updates."""
        return self.input.update_s * (1 + self.clock_error)

    @property
    def range_w(self) -> float:
        """See `Device.range_w`: at the bus voltage, in the present current range."""
        return self.input.overload_w

    def banner(self) -> bytes:
        """It says nothing when switched on."""
        return b""

    def command(self, data: bytes) -> bytes:
        """See `Device.command`."""
        if self._time.now_s < self._boots_until_s:
            return b""
        for message in self._parser.feed(data):
            if message is None:
                self._queue.add(363, "Input buffer overrun")
            else:
                self._messages.append(message)
        return self._work()

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """See `Device.advance`: answers that waited for an update."""
        sent = bytearray()

        def update(interval: Interval) -> None:
            if self._skip:
                self._skip -= 1
            elif not (self._switches[_HOLD] or self._time.now_s < self._boots_until_s):
                self.input.update(interval)
                sent.extend(self._work())

        for segment in segments:
            self._time.pass_segments([segment], self.period_s, update)
        return bytes(sent)

    def fault(self, kind: str) -> bytes:
        """See `Device.fault`: a restart, or an update that is left out."""
        if kind == REBOOT:
            self.input.restart()
            self._switches |= _SWITCHED_ON
            self._queue.clear()
            self._parser.clear()
            self._messages, self._answers, self._awaited = [], [], 0
            self._boots_until_s = self._time.now_s + _BOOT_S
        elif kind == SKIP:
            self._skip += 1
        else:
            raise SimulatorError(f"a WT310 has no fault {kind!r}")
        return b""

    def state(self) -> dict[str, Any]:
        """See `Device.state`."""
        return {
            "seed": self.seed,
            "time": self._time.state(),
            "input": self.input.state(),
            "words": dict(self._words),
            "switches": dict(self._switches),
            "items": list(self._items),
            "received": self._parser.state(),
            "messages": [[list(unit) for unit in message] for message in self._messages],
            "answers": list(self._answers),
            "awaited": self._awaited,
            "errors": self._queue.state(),
            "skip": self._skip,
            "boots_for_s": max(0.0, self._boots_until_s - self._time.now_s),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """See `Device.restore`."""
        if state.get("seed") != self.seed:
            raise SimulatorError(f"the saved WT310 has seed {state.get('seed')}, not {self.seed}")
        self._time.restore(state["time"])
        self.input.restore(state["input"])
        self._words, self._switches = dict(state["words"]), dict(state["switches"])
        self._items = list(state["items"])
        self._parser.restore(state["received"])
        self._messages = [[Unit(*unit) for unit in message] for message in state["messages"]]
        self._answers, self._awaited = list(state["answers"]), state["awaited"]
        self._queue.restore(state["errors"])
        self._skip = state["skip"]
        self._boots_until_s = self._time.now_s + state["boots_for_s"]

    def _work(self) -> bytes:
        """Execute what has arrived, as far as nothing waits for an event."""
        sent = b""
        while self._messages:
            if self._awaited and not self._awaited & self.input.registers.events:
                return sent
            self._awaited = 0
            message = self._messages[0]
            while message and not self._awaited:
                self._run(message)
            if not message and not self._awaited:
                self._messages.pop(0)
                if self._answers:
                    sent += ";".join(self._answers).encode("ascii") + b"\r\n"
                self._answers = []
        return sent

    def _run(self, message: list[Unit]) -> None:
        """One unit; an error ends the message."""
        try:
            answer = self._table.run(message.pop(0))
        except ScpiFault as fault:
            self._queue.add(fault.code, fault.words)
            message.clear()
        else:
            if answer is not None:
                self._answers.append(answer)

    def _handlers(self) -> dict[str, Handler]:
        registers = self.input
        table: dict[str, Handler] = {
            "*IDN?": lambda *_: IDENTITY,
            "*CLS": self._clear,
            ":STATus:ERRor?": lambda *_: self._queue.take('0,"No error"'),
            ":STATus:EESR?": lambda *_: str(registers.registers.take_events()),
            ":STATus:CONDition?": lambda *_: str(registers.registers.condition),
            ":STATus:FILTer<x>": self._set_filter,
            ":COMMunicate:WAIT": self._wait,
            ":RATE": self._set_rate,
            ":RATE?": lambda *_: self._told(":RATE", nr3(self.input.update_s, 1e-4)),
            ":NUMeric[:NORMal]:NUMber": self._set_count,
            ":NUMeric[:NORMal]:ITEM<x>": self._set_item,
            ":NUMeric[:NORMal]:VALue?": lambda *_: ",".join(map(self._value, self._items)),
            ":INTEGrate:TIMer": self._set_timer,
            ":INTEGrate:STARt": lambda *_: self._integrate(RUNNING, (RESET, STOPPED)),
            ":INTEGrate:STOP": lambda *_: self._integrate(STOPPED, (RUNNING,)),
            ":INTEGrate:RESet": lambda *_: self._integrate(RESET, (RESET, STOPPED)),
            ":INTEGrate:STATe?": lambda *_: _STATES[self.input.integration],
        }
        for axis, spelling in (("v", "VOLTage"), ("a", "CURRent")):
            header = f":[INPut:]{spelling}"
            table[f"{header}:RANGe"] = _bind(self._set_range, axis)
            table[f"{header}:RANGe?"] = _bind(self._tell_range, axis, spelling)
            table[f"{header}:AUTO"] = _bind(self._set_auto, axis)
            table[f"{header}:AUTO?"] = _bind(self._tell_auto, axis, spelling)
        for name in self._words:
            table[name] = _bind(self._set_word, name)
        for name in self._switches:
            table[name] = _bind(self._switch, name)
            table[f"{name}?"] = _bind(self._tell_switch, name)
        return table

    def _told(self, header: str, data: str) -> str:
        """An answer to a setting's query, with the header in front while that is on."""
        plain = re.sub(r"\[:STATe\]|[\[\]]", "", header).upper()
        return f"{plain} {data}" if self._switches[_HEADER] else data

    def _clear(self, suffix: str, arguments: list[str]) -> None:
        self._queue.clear()
        self.input.registers.events = 0

    def _set_filter(self, suffix: str, arguments: list[str]) -> None:
        kind = _one(arguments).upper()
        if kind not in ("RISE", "FALL", "BOTH", "NEVER") or not 1 <= int(suffix or 0) <= 16:
            raise _BAD_DATA
        self.input.registers.filters[int(suffix)] = kind

    def _wait(self, suffix: str, arguments: list[str]) -> None:
        mask = int(_number(arguments))
        if not 0 < mask < 1 << 16:
            raise _OUT_OF_RANGE
        self._awaited = 0 if self.input.registers.events & mask else mask

    def _set_rate(self, suffix: str, arguments: list[str]) -> None:
        self._refuse_while_integrating()
        seconds = _number(arguments)
        if seconds not in ranges.UPDATE_S:
            raise _OUT_OF_RANGE
        self.input.update_s = seconds
        self._time.restart(self.period_s)

    def _set_count(self, suffix: str, arguments: list[str]) -> None:
        count = int(_number(arguments))
        if not 1 <= count <= 255:
            raise _OUT_OF_RANGE
        self._items = (self._items + ["NONE"] * count)[:count]

    def _set_item(self, suffix: str, arguments: list[str]) -> None:
        place, item = int(suffix or 1), (arguments or [""])[0].upper()
        if item not in _ITEMS or arguments[1:] not in ([], ["1"]):
            raise _BAD_DATA
        if not 1 <= place <= len(self._items):
            raise _OUT_OF_RANGE
        self._items[place - 1] = item

    def _value(self, item: str) -> str:
        if item in ("U", "I", "P"):
            place = "UIP".index(item)
            return nr3(self.input.values[place], ranges.step(self.input.scales[place]))
        if item == "WH":
            counted = None if self.input.integration == RESET else self.input.counted_wh
            return nr3(counted, _six_digits(counted or 0.0))
        if item == "NONE":
            return "NAN"
        return nr3(self.input.range_v if item == "URANGE" else self.input.range_a, 1e-4)

    def _set_timer(self, suffix: str, arguments: list[str]) -> None:
        self._refuse_while_integrating()
        if not arguments:
            raise _MISSING
        if any(argument != "0" for argument in arguments):
            raise _OUT_OF_RANGE  # an integration that ends by itself is not modelled

    def _integrate(self, to: str, allowed: tuple[str, ...]) -> None:
        if self.input.integration not in allowed:
            raise _BUSY
        self.input.integration = to
        if to == RESET:
            self.input.counted_wh = 0.0

    def _set_range(self, axis: str, arguments: list[str]) -> None:
        self._refuse_while_integrating()
        available = ranges.VOLTAGE_RANGES_V if axis == "v" else ranges.CURRENT_RANGES_A
        value = _number(arguments)
        fitting = [each for each in available if math.isclose(value, each)]
        if not fitting:
            raise _OUT_OF_RANGE
        setattr(self.input, f"range_{axis}", fitting[0])
        setattr(self.input, f"auto_{axis}", False)

    def _tell_range(self, axis: str, spelling: str, arguments: list[str]) -> str:
        value = getattr(self.input, f"range_{axis}")
        return self._told(f":INPut:{spelling}:RANGe", nr3(value, ranges.step(value)))

    def _set_auto(self, axis: str, arguments: list[str]) -> None:
        self._refuse_while_integrating()
        setattr(self.input, f"auto_{axis}", _boolean(arguments))

    def _tell_auto(self, axis: str, spelling: str, arguments: list[str]) -> str:
        value = getattr(self.input, f"auto_{axis}")
        return self._told(f":INPut:{spelling}:AUTO", str(int(value)))

    def _set_word(self, name: str, arguments: list[str]) -> None:
        if name not in _FREE:
            self._refuse_while_integrating()
        given = _one(arguments).upper()
        fitting = [word for word in _WORDS[name] if given in (word, word[:4])]
        if not fitting:
            raise _BAD_DATA
        self._words[name] = fitting[0]

    def _switch(self, name: str, arguments: list[str]) -> None:
        if name not in _FREE:
            self._refuse_while_integrating()
        self._switches[name] = _boolean(arguments)

    def _tell_switch(self, name: str, arguments: list[str]) -> str:
        return self._told(name, str(int(self._switches[name])))

    def _refuse_while_integrating(self) -> None:
        if self.input.integration == RUNNING:
            raise _BUSY


def _bind(method: Any, *names: str) -> Handler:
    """A handler that needs no suffix, bound to what its header is about."""
    return lambda suffix, arguments: method(*names, arguments)


def _one(arguments: list[str]) -> str:
    if not arguments:
        raise _MISSING
    return arguments[0]


def _boolean(arguments: list[str]) -> bool:
    given = _one(arguments).upper()
    if given not in ("ON", "OFF", "1", "0"):
        raise _BAD_DATA
    return given in ("ON", "1")


def _number(arguments: list[str]) -> float:
    """`0.25`, `250MS`, `15V`, `200MA`."""
    match = _VALUE.fullmatch(_one(arguments).upper())
    try:
        return float(match[1]) * _MULTIPLIERS[match[2] or ""]  # type: ignore[index]
    except (TypeError, ValueError):
        raise _BAD_DATA from None


def _six_digits(value: float) -> float:
    """The last digit's weight of a counter with six digits."""
    power = math.floor(math.log10(value)) if value >= 1e-9 else -9
    return float(10.0 ** (power - 5))
