# SPDX-License-Identifier: Apache-2.0
"""Driver of the Yokogawa WT310 and WT310E power meters on their serial line (RS-232, CR+LF).

*Rate*: one reading each update interval, 0.1 to 5 s, 0.25 s by default. *A reading is the average
over the update interval before it* (synchronisation source off: the whole interval is used), so
energies are right rectangles. *Resolution*: five digits of the range, 0.1 mW at 15 V x 0.2 A.
*Accuracy*: DC ±(0.1 % of the reading + 0.2 % of the range), see `protocol`. *Clock*: the meter
sends no time; a reading gets the host time at which its last byte arrived, `latency_s` after the
update at most. The integrated watt-hours come with each reading, for comparison.

*Ranges are fixed while readings are taken*: a change of range leaves readings out and changes the
accuracy. `voltage_range_v` and `current_range_a` say which. Where one is missing and the meter
stands in auto range, `open()` lets it range for `ranging_s` seconds and fixes the smallest ranges
that hold 1.1 times the largest reading (the rule of MLPerf and SPEC, which run the whole load for
it).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import MeterError, NoPacketError, RefusedError, WrongInstrumentError
from powermeter.events import OverRange, Sample
from powermeter.meters.driver import Driver
from powermeter.meters.meter import AVERAGE, Meter, Transport
from powermeter.meters.scpi.conversation import ScpiMeter, ask_name, is_name
from powermeter.meters.scpi.protocol import parse_number, text
from powermeter.meters.scpi.visa import VisaTransport
from powermeter.meters.settings import Setting, read_settings
from powermeter.meters.transport import is_pseudo_terminal
from powermeter.meters.wt310 import protocol as ranges
from powermeter.meters.wt310.protocol import ITEMS, READ, Wt310Decoder

NAME = "wt310"
BAUD = 9600
_MODEL = re.compile(rb"YOKOGAWA,\s*(WT310[A-Z]{0,2})\b.*", re.IGNORECASE)
_ERROR = ":STAT:ERR?"
_HEADROOM = 1.1
_MOST_CHANGES = 12  # of ranges, until auto range must have settled
_LINE_BYTES = len(READ) + 60  # request and longest answer
_FOUND = "as the meter stands, or found by auto range"
SETTINGS = (
    Setting("update_s", "update interval", 0.25, unit="s", choices=ranges.UPDATE_S),
    Setting("mode", "direct current, or effective values", "DC", str, choices=ranges.MODES),
    Setting("voltage_range_v", "fixed voltage range", None, unit="V",
            choices=ranges.VOLTAGE_RANGES_V, unset=_FOUND),
    Setting("current_range_a", "fixed current range", None, unit="A",
            choices=ranges.ALL_CURRENT_RANGES_A, unset=_FOUND),
    Setting("ranging_s", "how long auto range looks for a range", 2.0, unit="s", above=0,
            most=3600),
    Setting("baud", "speed of the line, as set on the meter", BAUD, int, "Bd", least=300,
            most=1_000_000),
)  # fmt: skip


class Wt310(ScpiMeter):
    """The meter behind an injected transport; `settings` as in `SETTINGS`.

    In mode `RMS` (alternating current) the limits are those at 45 to 66 Hz.
    """

    driver = NAME
    reading = AVERAGE
    counter_wh: float | None = 1e-3  # six digits: finer below 100 Wh

    def __init__(
        self,
        transport: Transport,
        *,
        provenance: str = "metered",
        settings: dict[str, Any] | None = None,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        chosen = read_settings(NAME, SETTINGS, settings)
        self._update_s, self._mode = chosen["update_s"], chosen["mode"]
        self._baud = chosen["baud"]
        if 0.9 * self._update_s * self._baud < 10 * _LINE_BYTES:
            raise MeterError(
                f"{NAME}: {self._baud} baud are too few for a reading each {self._update_s:g} s"
            )
        self._ranging_s = chosen["ranging_s"]
        self._wanted = (chosen["voltage_range_v"], chosen["current_range_a"])
        self._range_v, self._range_a = math.nan, math.nan
        self._name, self._model = "", "WT310"
        super().__init__(
            transport,
            Wt310Decoder(self._update_s),
            answer_s=max(2.0, 3 * self._update_s),
            provenance=provenance,
            clock=clock,
            ending="crlf",
        )

    @property
    def accuracy(self) -> PowerAccuracy:
        """Limits in the ranges in use; NaN before `open()`."""
        reading, of_range = ranges.limits(self._model, self._mode)
        return PowerAccuracy(
            reading=reading,
            range_w=self._range_v * self._range_a,
            of_range=of_range,
            lsb_w=self.resolution_w,
        )

    @property
    def period_s(self) -> float:
        """The update interval."""
        return self._update_s

    @property
    def resolution_w(self) -> float:
        """The last of five digits in the power range, which is voltage range x current range."""
        power = self._range_v * self._range_a
        return ranges.step(power) if math.isfinite(power) else math.nan

    @property
    def latency_s(self) -> float:
        """Time on the line of the longest answer, and 20 ms for the meter to make it."""
        return 600 / self._baud + 0.02

    def open(self) -> None:
        """Identify, set up, fix the ranges, start the integration and the polling.

        Raises `WrongInstrumentError`, `RefusedError` for a setting that the meter does not take,
        or `MeterError` where a reading is beyond the fixed ranges.
        """
        self._identify()
        for command in ("*CLS", ":COMM:REM ON", ":COMM:HEAD OFF"):
            self._talk.tell(command)
        if self._talk.ask(":INTEG:STAT?").upper().startswith(b"STAR"):
            self._set(":INTEG:STOP", _ERROR)
        for command in self._setup():
            self._set(command, _ERROR)
        self._fix_ranges()
        for command in (":INTEG:MODE NORM", ":INTEG:TIM 0,0,0", ":INTEG:STAR"):
            self._set(command, _ERROR)
        self._decoder = _decoder(self.identity())
        self._talk.ask(":STAT:EESR?")  # reading it clears what happened up to now
        self._check_ranges()
        self._start_polling((READ,), None)

    def identity(self) -> dict[str, Any]:
        """The meter's name and how it is set up."""
        return {
            "idn": self._name,
            "update_s": self._update_s,
            "mode": self._mode,
            "voltage_range_v": self._range_v,
            "current_range_a": self._range_a,
            "baud": self._baud,
        }

    def _identify(self) -> None:
        self._talk.drain()
        line = self._talk.identity()
        match = _MODEL.fullmatch(line)
        if match is None:
            who = text(line) if is_name(line) else f"{text(line)!r}, which is no SCPI identity"
            raise WrongInstrumentError(
                f"{self._transport.name}: need a Yokogawa WT310; answered: {who}"
            )
        self._name, self._model = text(line, 100), match[1].decode("ascii")

    def _setup(self) -> list[str]:
        items = [f":NUM:NORM:ITEM{place} {item},1" for place, item in enumerate(ITEMS, 1)]
        return [
            ":INTEG:RES",  # the settings below are refused while integrated values stand
            ":HOLD OFF",
            f":RATE {self._update_s:g}",
            f":INP:MODE {self._mode}",
            ":INP:SYNC OFF",
            ":MEAS:AVER:STAT OFF",
            ":NUM:FORM ASCII",
            f":NUM:NORM:NUM {len(ITEMS)}",
            *items,
            ":STAT:FILT1 FALL",  # "updating" falls when new values are complete
        ]

    def _fix_ranges(self) -> None:
        volts, amperes = self._wanted
        auto = any(self._number(f":INP:{axis}:AUTO?") != 0 for axis in ("VOLT", "CURR"))
        if auto and (volts is None or amperes is None):
            most_v, most_a = self._range_freely(self._ranging_s)
            available_a = ranges.current_ranges(self._model)
            if volts is None:
                volts = ranges.smallest_range(ranges.VOLTAGE_RANGES_V, _HEADROOM * most_v, "V")
            if amperes is None:
                amperes = ranges.smallest_range(available_a, _HEADROOM * most_a, "A")
        for axis, value in (("VOLT", volts), ("CURR", amperes)):
            self._set(f":INP:{axis}:AUTO OFF", _ERROR)
            if value is not None:
                self._set(f":INP:{axis}:RANG {value:g}", _ERROR)
        self._range_v = self._number(":INP:VOLT:RANG?")
        self._range_a = self._number(":INP:CURR:RANG?")

    def _range_freely(self, seconds: float) -> tuple[float, float]:
        """Largest voltage and current of `seconds` in auto range, once that has settled."""
        for axis in ("VOLT", "CURR"):
            self._set(f":INP:{axis}:AUTO ON", _ERROR)
        chosen: tuple[float, ...] = ()
        for _ in range(_MOST_CHANGES):
            before, chosen = (
                chosen,
                tuple(self._number(f":INP:{a}:RANG?") for a in ("VOLT", "CURR")),
            )
            if chosen == before:
                break
            self._read_once()
            self._read_once()
        most_v, most_a, heard = 0.0, 0.0, False
        until = self._clock() + max(seconds, 4 * self._update_s)
        while self._clock() < until:
            for event in Wt310Decoder(self._update_s).feed(self._read_once(), 0.0):
                if isinstance(event, Sample):  # none while the ranges change
                    most_v = max(most_v, abs(event.voltage_v or 0.0))
                    most_a = max(most_a, abs(event.current_a or 0.0))
                    heard = True
        if not heard:
            raise NoPacketError(f"{self._transport.name}: no reading while the meter was ranging")
        return most_v, most_a

    def _check_ranges(self) -> None:
        self._read_once()  # may be from before the ranges were fixed
        for event in Wt310Decoder(self._update_s).feed(self._read_once(), 0.0):
            if isinstance(event, OverRange):
                raise MeterError(
                    f"{self._transport.name}: over range ({event.what}) in {self._range_v:g} V, "
                    f"{self._range_a:g} A: choose larger ranges"
                )

    def _read_once(self) -> bytes:
        return self._talk.ask(READ) + b"\n"

    def _number(self, query: str) -> float:
        answer = self._talk.ask(query)
        value = parse_number(answer)
        if value is None:
            raise RefusedError(f"{self._transport.name}: answered {text(answer)!r} to {query}")
        return value


def open_port(port: str, *, settings: dict[str, Any] | None = None) -> Meter:
    """A WT310 on a serial port; on a pseudo-terminal its joules are `simulated`."""
    chosen = read_settings(NAME, SETTINGS, settings)
    provenance = "simulated" if is_pseudo_terminal(port) else "metered"
    transport = VisaTransport(port, chosen["baud"])
    try:
        return Wt310(transport, provenance=provenance, settings=settings)
    except MeterError:  # a setting that does not go with another
        transport.close()
        raise


def probe(transport: Transport) -> str | None:
    """The name of a WT310 at the other end; see `Driver.probe`."""
    name = ask_name(transport)
    return name if name and _MODEL.fullmatch(name.encode("ascii")) else None


def _decoder(identity: dict[str, Any]) -> Wt310Decoder:
    range_w = identity["voltage_range_v"] * identity["current_range_a"]
    return Wt310Decoder(identity["update_s"], range_w, dc=identity["mode"] == "DC")


def _simulator(seed: int = 0, **settings: Any) -> Any:
    from powermeter.meters.wt310.simulator import SETTINGS as OF_SIMULATOR
    from powermeter.meters.wt310.simulator import Wt310Device

    return Wt310Device(seed, **read_settings(f"the simulated {NAME}", OF_SIMULATOR, settings))


DRIVER = Driver(
    NAME,
    f"Yokogawa WT310 or WT310E, SCPI on RS-232, {BAUD} 8N1 by default",
    meter=Wt310,
    open_port=open_port,
    decoder=_decoder,
    probe=probe,
    settings=SETTINGS,
    simulator=_simulator,
    baud=BAUD,
)
