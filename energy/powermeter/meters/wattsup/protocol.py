# SPDX-License-Identifier: Apache-2.0
"""The serial protocol of the Watts Up? PRO: bytes to packets, and packets with times to readings.

Source: the maker's "Communications Protocol", revision 4.41/4.42. Text packets, anything between
them is ignored:

    #<command>,<sub>,<n>,<argument 1>,...,<argument n>;

The meter's own packets carry the command's letter in lower case: `#h` names the fields of the data
packets, `#v` is the version, `#d` is one reading. `_` stands for a field that is not logged.
There is no checksum and no time stamp; what the fields of one packet say about each other is
checked instead (`contradiction`).
"""

from __future__ import annotations

from typing import Any, NamedTuple

from powermeter.events import Gap, Malformed, OverRange, Sample

MAX_PACKET = 512  # bytes; the longest of the protocol, #i with two names, stays below 300
_EXCERPT = 60

WATT_LIMIT, VOLT_LIMIT, AMPERE_LIMIT = 50_000, 2_800, 20_000  # 5 kW, 280 V, 20 A in counts
_FULL_SCALE = 1 / 1.1
_WIDTHS = {"W": 16, "V": 16, "A": 16, "WH": 32}
_ORDERED = (("Wmin", "W", "Wmax"), ("Vmin", "V", "Vmax"), ("Amin", "A", "Amax"))
_PF_TOLERANCE, _PF_FLOOR = 5, 100  # percent points; below 10 VA its rounding says nothing


class Packet(NamedTuple):
    """A whole packet; `body` is its text between `#` and `;`."""

    command: str
    sub: str
    arguments: tuple[str, ...]
    body: bytes


class Header(NamedTuple):
    """`#h`: what the fields of the data packets are called, in their order."""

    names: tuple[str, ...]


class Version(NamedTuple):
    """`#v`: model (0 standard, 1 PRO, 2 ES, 3 .Net, 4 blind), hardware and firmware."""

    model: str
    hardware: str
    firmware: str


class Reading(NamedTuple):
    """`#d`: the counts that matter here, None where the meter does not log the field."""

    watts: int
    volts: int | None
    amperes: int | None
    watt_hours: int | None
    power_cycles: int | None
    body: bytes

    @property
    def over_range(self) -> str | None:
        """Which quantity is at the end of its range or so near that a peak may be beyond it."""
        if self.amperes is not None and self.amperes > _FULL_SCALE * AMPERE_LIMIT:
            return "current"
        if self.watts > _FULL_SCALE * WATT_LIMIT:
            return "power"
        return "voltage" if (self.volts or 0) > VOLT_LIMIT else None


class OtherPacket(NamedTuple):
    """A packet that is neither reading, header nor version, e.g. `#l` (end of a log): its text."""

    text: str


class PacketSplitter:
    """A pure splitter: however a stream is cut into chunks, the packets are the same.

    At most `MAX_PACKET` bytes are held between calls, and no bytes raise.
    """

    def __init__(self) -> None:
        self._held = b""

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not complete yet."""
        return len(self._held)

    def feed(self, data: bytes) -> list[Packet | Malformed]:
        """The packets that `data` completes, and what began as one and is none."""
        text, found = self._held + data, list[Packet | Malformed]()
        at = text.find(b"#")
        while at >= 0:
            end, following = text.find(b";", at), text.find(b"#", at + 1)
            if following >= 0 and not at < end < following:
                found.append(malformed(text[at:following], "cut off by the next packet"))
            elif end < 0:
                break
            elif end - at > MAX_PACKET:
                found.append(malformed(text[at:end], f"longer than {MAX_PACKET} characters"))
            else:
                found.append(_packet(text[at + 1 : end]))
            at = following
        self._held = text[at:] if at >= 0 else b""
        if len(self._held) > MAX_PACKET:
            found.append(malformed(self._held, f"longer than {MAX_PACKET} characters"))
            self._held = b""
        return found

    def clear(self) -> None:
        """Forget the packet that is not complete."""
        self._held = b""


def interpret(packet: Packet, names: tuple[str, ...]) -> NamedTuple:
    """A packet as `Header`, `Version`, `Reading`, `Malformed` or, of another kind, `OtherPacket`.

    `names` are the last header's, empty while there was none: without it nothing says which field
    is which, and no reading is made up.
    """
    if packet.command == "h":
        return Header(packet.arguments)
    if packet.command == "v":
        return _version(packet)
    if packet.command != "d":
        return OtherPacket(packet.body.decode("ascii", "backslashreplace"))
    if not names:
        return malformed(packet.body, "a reading before the header that names its fields")
    if len(names) != len(packet.arguments):
        return malformed(
            packet.body, f"{len(packet.arguments)} fields, the header has {len(names)}"
        )
    try:
        fields = {
            name: None if text == "_" else _count(text)
            for name, text in zip(names, packet.arguments, strict=True)
        }
    except ValueError:
        return malformed(packet.body, "a field that is neither a count nor _")
    return _reading(packet.body, fields)


def contradiction(fields: dict[str, int | None]) -> str | None:
    """What cannot be true of one packet's counts, or None: stands in for a checksum.

    Extremes must enclose the value; true power cannot exceed the apparent; the power factor is
    their ratio in percent. The margins are several times the rounding of the fields.
    """
    for low, middle, high in _ORDERED:
        least, value, most = fields.get(low), fields.get(middle), fields.get(high)
        if value is None:
            continue
        if (least is not None and value < least) or (most is not None and value > most):
            return f"{middle} is not between {low} and {high}"
    watts, apparent, factor = fields.get("W"), fields.get("VA"), fields.get("PF")
    if watts is None or apparent is None:
        return None
    if watts > 1.05 * apparent + 10:
        return "W is more than VA"
    if factor is not None and apparent >= _PF_FLOOR:
        ratio = min(100.0, 100.0 * watts / apparent)
        if abs(factor - ratio) > _PF_TOLERANCE:
            return "PF is not W/VA"
    return None


def malformed(body: bytes, reason: str) -> Malformed:
    """The event for bytes that fit no rule, with their beginning."""
    return Malformed(body[:_EXCERPT].decode("ascii", "backslashreplace"), reason)


def _packet(body: bytes) -> Packet | Malformed:
    try:
        command, sub, count, *arguments = body.decode("ascii").split(",")
        declared = _count(count)
    except ValueError:  # UnicodeDecodeError is one
        return malformed(body, "no packet of the protocol")
    if len(command) != 1 or declared != len(arguments):
        return malformed(body, "the number of arguments is not the declared one")
    return Packet(command, sub, tuple(arguments), body)


def _version(packet: Packet) -> Version | Malformed:
    try:
        model, _memory, *numbers = packet.arguments
        hardware_major, hardware_minor, firmware_major, firmware_minor = numbers[:4]
    except ValueError:
        return malformed(packet.body, "a version with too few arguments")
    hardware, firmware = (hardware_major, hardware_minor), (firmware_major, firmware_minor)
    return Version(model, ".".join(hardware), ".".join(firmware))


def _reading(body: bytes, fields: dict[str, int | None]) -> Reading | Malformed:
    watts = fields.get("W")
    if watts is None:
        return malformed(body, "the meter does not log W")
    if any((fields.get(name) or 0) >> bits for name, bits in _WIDTHS.items()):
        return malformed(body, "a number beyond its width")
    if reason := contradiction(fields):
        return malformed(body, reason)
    volts, amperes, hours, cycles = (fields.get(name) for name in ("V", "A", "WH", "PC"))
    return Reading(watts, volts, amperes, hours, cycles, body)


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 10):
        raise ValueError(text)
    return int(text)


_EARLY = 0.25  # of an interval: sooner after the last one no reading of its own can be due
_LATE = 1.5  # intervals; the meter's clock is far better than that, so one loss always shows
_STATE = ("seq", "malformed", "lost", "_last_s", "_watt_hours", "_power_cycles")


class WattsUpDecoder:
    """A pure decoder: the same bytes with the same arrival times give the same events.

    A packet has neither number nor time. The meter sends one each interval, so a reading is dated
    by its arrival. What arrives sooner than a quarter of an interval after the last reading is
    left out as `stale`: a copy, or a packet that waited for a busy host and belongs to an earlier
    interval. A restart shows in the meter's own counters: it counts power cycles, and its energy
    never decreases otherwise. No bytes raise, and at most one packet is held between calls.
    `interval_s` is the logging interval that the meter was told.
    """

    def __init__(self, interval_s: float = 1.0) -> None:
        self._splitter = PacketSplitter()
        self._interval_s = interval_s
        self._names: tuple[str, ...] = ()
        self._last_s: float | None = None
        self._watt_hours: int | None = None
        self._power_cycles: int | None = None
        self.seq = 0
        self.malformed = 0
        self.lost = 0

    @property
    def pending(self) -> int:
        """Bytes of a packet that is not complete yet."""
        return self._splitter.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the packets that `data`, which was there at `host_time_s`, completes."""
        events: list[NamedTuple] = []
        for packet in self._splitter.feed(data):
            item = interpret(packet, self._names) if isinstance(packet, Packet) else packet
            if isinstance(item, Reading):
                self._reading(item, host_time_s, events)
                continue
            if isinstance(item, Header):
                self._names = item.names
            self.malformed += isinstance(item, Malformed)
            events.append(item)
        return events

    def state(self) -> dict[str, Any]:
        """JSON-able: all that decoding of the following whole packets depends upon."""
        return {"names": list(self._names)} | {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a packet boundary where `state()` was taken."""
        self._splitter.clear()
        self._names = tuple(state["names"])
        for name in _STATE:
            setattr(self, name, state[name])

    def _reading(self, reading: Reading, time_s: float, events: list[NamedTuple]) -> None:
        restarted = self._restarted(reading, time_s)
        elapsed = None if self._last_s is None else (time_s - self._last_s) / self._interval_s
        if restarted:
            events.append(Gap("restart", time_s, 0))
        elif elapsed is not None and elapsed < _EARLY:
            self.lost += 1
            events.append(Gap("stale", time_s, 1))
            return
        elif elapsed is not None and elapsed > _LATE:
            lost = max(1, round(elapsed) - 1)
            self.lost += lost
            events.append(Gap("time", time_s, lost))
        self._last_s = time_s
        self._watt_hours, self._power_cycles = reading.watt_hours, reading.power_cycles
        if what := reading.over_range:
            events.append(OverRange(self.seq, time_s, what))
        events.append(_sample(self.seq, time_s, reading))
        self.seq += 1

    def _restarted(self, reading: Reading, time_s: float) -> bool:
        """Whether a counter tells of a power cycle or a cleared memory, or host time went back."""
        if self._last_s is not None and time_s < self._last_s:
            return True
        before, after = self._power_cycles, reading.power_cycles
        if before is not None and after is not None and before != after:
            return True
        before, after = self._watt_hours, reading.watt_hours
        return before is not None and after is not None and after < before


def _sample(seq: int, time_s: float, reading: Reading) -> Sample:
    volts = None if reading.volts is None else reading.volts / 10
    amperes = None if reading.amperes is None else reading.amperes / 1000
    hours = None if reading.watt_hours is None else reading.watt_hours / 10
    return Sample(seq, time_s, volts, amperes, reading.watts / 10, hours)
