# SPDX-License-Identifier: Apache-2.0
"""The simulated Watts Up? PRO: commands and passing time in, packets out. No I/O.

Modelled: a measuring interval of one second on its own crystal, free-running; gain and offset
within the accuracy formula, drawn from the seed; rounding to the fields' counts; saturation at the
end of the range; minima, maxima, energy, power cycles; any logging interval; fields that are not
logged. Not modelled: a mains voltage that varies, noise, internal logging. A power below zero reads
as 0, because the fields have no sign. The banner is this project's own: only that text between
packets means nothing is known of the real one.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from powermeter.errors import SimulatorError
from powermeter.meters.settings import Setting
from powermeter.meters.wattsup.meter import ABORT, ACCURACY, BAUD
from powermeter.meters.wattsup.protocol import AMPERE_LIMIT, WATT_LIMIT, Packet, PacketSplitter
from powermeter.simulation.cycle import Cycle
from powermeter.simulation.device import REBOOT, SKIP, Segment

FIELDS = (
    *("W", "V", "A", "WH", "Cost", "WH/Mo", "Cost/Mo", "Wmax", "Vmax", "Amax"),
    *("Wmin", "Vmin", "Amin", "PF", "DC", "PC", "Hz", "VA"),
)
BANNER = b"\x00\r\nWatts up?\r\n"
VERSION = b"#v,-,8,1,32768,6,16,4,42,20071130093000,3A;\r\n"
CRYSTAL_LIMIT = 100e-6  # an ordinary quartz crystal
SETTINGS = (
    Setting("volts", "mains voltage", 230.0, unit="V", above=0, most=1000),
    Setting("hertz", "mains frequency", 50.0, unit="Hz", above=0, most=1000),
    Setting("power_factor", "of the load", 0.9, above=0, most=1),
    Setting("rate", "fraction by which its clock is fast", least=-0.5, most=0.5, unset="drawn"),
)
_BOOT_S = 2.0
_MILS_A_KWH = 80  # the tariff that it leaves the factory with: 8 cents
_MONTH_H = 24 * 30


@dataclass
class _State:
    """Everything that changes besides the measuring cycle; JSON-able."""

    interval_s: int = 0  # 0: not logging to the serial port
    seconds: int = 0  # since the last reading was sent
    watt_seconds: float = 0.0  # as measured, in those seconds
    watt_hours: float = 0.0
    power_cycles: int = 0
    least: list[int] = field(default_factory=list)  # W, V, A
    most: list[int] = field(default_factory=list)
    skip: int = 0


class WattsUpDevice:
    """A wall plug meter at `volts` and a load of constant `power_factor`.

    `rate` is the fraction by which its clock is fast; drawn from the seed unless given. `logged`
    are the fields that it sends, the others are `_`.
    """

    baud: int | None = BAUD
    frame = "8N1"

    def __init__(
        self,
        seed: int = 0,
        *,
        volts: float = 230.0,
        hertz: float = 50.0,
        power_factor: float = 0.9,
        rate: float | None = None,
        logged: Sequence[str] = FIELDS,
    ) -> None:
        if not (volts > 0 and 0 < power_factor <= 1):
            raise SimulatorError("volts must be positive and the power factor in (0, 1]")
        draw = random.Random(seed).uniform
        self.seed, self.volts, self.hertz, self.power_factor = seed, volts, hertz, power_factor
        # Watts at which the field of the current, or of the power, is full.
        self.range_w = min(WATT_LIMIT / 10, AMPERE_LIMIT / 1000 * volts * power_factor)
        self.gain = draw(-1, 1) * ACCURACY.reading
        self.offset_w = draw(-1, 1) * ACCURACY.counts_w
        self.rate = draw(-1, 1) * CRYSTAL_LIMIT if rate is None else rate
        self._logged = frozenset(logged)
        self._cycle = Cycle(1 / (1 + self.rate), draw(0.05, 1.0))
        self._splitter = PacketSplitter()
        self._s = _State()

    @property
    def period_s(self) -> float:
        """True seconds between two readings."""
        return max(1, self._s.interval_s) / (1 + self.rate)

    def command(self, data: bytes) -> bytes:
        """See `Device.command`. 0x18 forgets a command begun and ends what is being sent."""
        *aborted, rest = data.split(ABORT)
        reply = b""
        for part in aborted:
            reply += self._execute(part)
            self._splitter.clear()
            self._s.interval_s = 0
        return reply + self._execute(rest)

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """See `Device.advance`: the readings that fall due while logging to the serial port."""
        return b"".join(self._second(watts) for _, watts in self._cycle.advance(segments))

    def banner(self) -> bytes:
        """See `Device.banner`."""
        return BANNER

    def fault(self, kind: str) -> bytes:
        """`reboot` (stops logging, counts a power cycle) and `sequence-gap` (loses a reading)."""
        s = self._s
        if kind == REBOOT:
            self._s = _State(watt_hours=s.watt_hours, power_cycles=(s.power_cycles + 1) % 256)
            self._splitter.clear()
            self._cycle.restart(_BOOT_S)
            return BANNER
        if kind == SKIP:
            s.skip += 1
            return b""
        raise SimulatorError(f"a simulated Watts Up? PRO has no fault {kind!r}")

    def state(self) -> dict[str, Any]:
        """See `Device.state`."""
        return {"seed": self.seed, "cycle": self._cycle.state(), **asdict(self._s)}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Device.restore`; `SimulatorError` for another instrument's state."""
        rest = dict(state)
        if rest.pop("seed", None) != self.seed:
            raise SimulatorError("the saved simulator state is another instrument's")
        try:
            self._cycle.restore(rest.pop("cycle"))
            self._s = _State(**rest)
        except (KeyError, TypeError):
            raise SimulatorError("the saved simulator state is of another version") from None
        self._splitter.clear()

    def _execute(self, data: bytes) -> bytes:
        packets = self._splitter.feed(data)
        return b"".join(self._reply(each) for each in packets if isinstance(each, Packet))

    def _reply(self, packet: Packet) -> bytes:
        """Commands that it does not know stay without an answer."""
        s, arguments = self._s, packet.arguments
        if packet.body.startswith(b"V,R,"):
            return VERSION
        if packet.body.startswith(b"H,R,"):
            return f"#h,-,{len(FIELDS)},{','.join(FIELDS)};\r\n".encode()
        if packet.body.startswith(b"L,R,"):
            s.interval_s = 0
            return b"#l,-,1,0;\r\n"
        if packet.body.startswith(b"R,W,"):
            self._s = _State(interval_s=s.interval_s, power_cycles=0)
        elif packet.body.startswith(b"L,W,3,E,") and arguments[2].isdigit():
            s.interval_s, s.seconds, s.watt_seconds = max(1, int(arguments[2])), 0, 0.0
        return b""

    def _second(self, true_w: float) -> bytes:
        """One measuring interval has ended."""
        s = self._s
        watts = max(0.0, true_w * (1 + self.gain) + self.offset_w) if true_w > 0 else 0.0
        watts = min(watts, self.range_w)
        s.watt_hours += watts / 3600
        s.watt_seconds += watts
        s.seconds += 1
        if not s.interval_s or s.seconds < s.interval_s:
            return b""
        mean, s.seconds, s.watt_seconds = s.watt_seconds / s.seconds, 0, 0.0
        packet = self._packet(mean)
        if s.skip:
            s.skip -= 1
            return b""
        return packet

    def _packet(self, watts: float) -> bytes:
        s = self._s
        apparent = watts / self.power_factor
        now = [round(watts * 10), round(self.volts * 10), round(apparent / self.volts * 1000)]
        s.least = [min(pair) for pair in zip(s.least or now, now, strict=True)]
        s.most = [max(pair) for pair in zip(s.most or now, now, strict=True)]
        hours = int(s.watt_hours * 10)
        cost = int(s.watt_hours / 1000 * _MILS_A_KWH)
        month_wh = int(watts * _MONTH_H)
        factor = round(100 * self.power_factor) if now[0] else 0
        values = [*now, hours, cost, month_wh, int(month_wh / 1000 * _MILS_A_KWH)]
        values += [*s.most, *s.least, factor, 0, s.power_cycles]
        values += [round(self.hertz * 10), round(apparent * 10)]
        texts = [str(v) if n in self._logged else "_" for n, v in zip(FIELDS, values, strict=True)]
        return f"#d,-,{len(texts)},{','.join(texts)};\r\n".encode()
