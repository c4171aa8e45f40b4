# SPDX-License-Identifier: Apache-2.0
"""The simulated INA226 meter itself: commands and passing time in, protocol bytes out. No I/O.

Modelled: conversions back to back on an oscillator up to 10 % off, each reading the mean of power
over its whole interval; gain, offset and shunt errors and both clocks' errors drawn once from the
seed, uniformly within the data sheet's limits (`chip`); rounding and saturation of the
registers; sequence numbers; clock anchors. Not modelled: noise, temperature, the alternation of
shunt and bus conversions within an interval, a supply that sags, jitter of time stamps.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from powermeter.errors import MeterError, SimulatorError
from powermeter.meters.ina226 import chip
from powermeter.meters.ina226.protocol import SEQ_MODULUS
from powermeter.meters.settings import Setting
from powermeter.simulation.device import CLOCK_JUMP, REBOOT, SKIP, Segment

FIRMWARE = "2.0.0"
CSV_HEADER = b"Timestamp,Voltage[V],Current[A],Power[W]\n"
BANNER = f"# EdgePowerMeter v{FIRMWARE} ready (protocol 2)\n".encode()
SETTINGS = (
    Setting("bus_v", "true supply voltage", 12.0, unit="V", above=0, most=40),
    Setting("averages", "conversions a reading", chip.DEFAULT_AVERAGES, int,
            choices=chip.AVERAGES),
    Setting("vct_us", "conversion time of the bus", chip.DEFAULT_CONVERSION_US, int, "us",
            choices=chip.CONVERSION_TIMES_US),
    Setting("ict_us", "conversion time of the shunt", chip.DEFAULT_CONVERSION_US, int, "us",
            choices=chip.CONVERSION_TIMES_US),
    Setting("shunt_ohm", "what the meter takes its shunt for", chip.DEFAULT_SHUNT_OHM, unit="ohm",
            least=chip.SHUNT_LEAST_OHM, most=chip.SHUNT_MOST_OHM),
    Setting("baud", "of the line; 0: nothing bounds it", 115200, int, least=0, most=100_000_000),
    Setting("clock_rate", "factor of its clock", 1.0, least=0.5, most=2),
    Setting("clock_offset_s", "start of its clock", 0.0, unit="s", least=-1e9, most=1e9),
)  # fmt: skip
_LONGEST_COMMAND = 95
_RTC_START = 1_700_000_000
_JUMP_US = 10_000_000


@dataclass(frozen=True)
class Errors:
    """One instrument's deviations: fractions, volts and ohms."""

    shunt_ohm: float
    shunt_gain: float
    shunt_offset_v: float
    bus_gain: float
    bus_offset_v: float
    conversion_clock: float
    crystal: float
    rtc: float
    boot_us: int

    @staticmethod
    def draw(seed: int, shunt_ohm: float) -> Errors:
        """Uniform within the limits of `chip`; the same for the same seed everywhere."""
        uniform = random.Random(seed).uniform
        return Errors(
            shunt_ohm=shunt_ohm * (1 + uniform(-1, 1) * chip.SHUNT_TOLERANCE),
            shunt_gain=uniform(-1, 1) * chip.SHUNT_GAIN_LIMIT,
            shunt_offset_v=uniform(-1, 1) * chip.SHUNT_OFFSET_LIMIT_V,
            bus_gain=uniform(-1, 1) * chip.BUS_GAIN_LIMIT,
            bus_offset_v=uniform(-1, 1) * chip.BUS_OFFSET_LIMIT_V,
            conversion_clock=uniform(-1, 1) * chip.CONVERSION_TIME_LIMIT,
            crystal=uniform(-1, 1) * chip.CRYSTAL_LIMIT,
            rtc=uniform(-1, 1) * chip.RTC_LIMIT,
            boot_us=int(uniform(20e6, 60e6)),
        )


@dataclass
class _State:
    """Everything that changes; times in true seconds, JSON-able."""

    averages: int
    vct_us: int
    ict_us: int
    shunt_ohm: float
    now_s: float = 0.0
    epoch_s: float = 0.0  # conversions have run back to back since then
    conversions: int = 0  # finished since the epoch
    carry_j: float = 0.0  # energy since the running conversion began
    seq: int = 0
    rtc_s: int = 0  # the second that the next anchor will show, less _RTC_START
    mode: str = "CSV"
    oled: int = 1
    stream: int = 1
    drop: int = 0
    shift_us: int = 0  # of the microsecond clock, by a jump or a reboot


class Ina226Device:
    """`command()` answers lines, `advance()` lets time pass; both return the bytes to send.

    `bus_v` is the true supply voltage. `baud` 0 or None stands for native USB, without a line
    behind it; `clock_rate` and `clock_offset_s` make the microsecond clock faster and set it
    forward. Time starts one conversion before zero, so that the first reading is due at zero.
    """

    frame = "8N1"

    def __init__(
        self,
        seed: int = 0,
        *,
        bus_v: float = 12.0,
        averages: int = chip.DEFAULT_AVERAGES,
        vct_us: int = chip.DEFAULT_CONVERSION_US,
        ict_us: int = chip.DEFAULT_CONVERSION_US,
        shunt_ohm: float = chip.DEFAULT_SHUNT_OHM,
        baud: int | None = 115200,
        clock_rate: float = 1.0,
        clock_offset_s: float = 0.0,
    ) -> None:
        chip.period_s(averages, vct_us, ict_us)  # refuses what the chip does not have
        if not bus_v > 0:
            raise SimulatorError(f"the bus voltage must be positive, got {bus_v:g} V")
        self.seed, self.bus_v, self.baud = seed, bus_v, baud or None
        self.errors = Errors.draw(seed, shunt_ohm)
        self.range_w = bus_v * chip.SHUNT_RAW_MAX * chip.SHUNT_LSB_V / shunt_ohm
        self._clock_rate = clock_rate * (1 + self.errors.crystal)
        self._typed = b""
        self._s = _State(averages, vct_us, ict_us, shunt_ohm)
        self._s.shift_us = round(clock_offset_s * 1e6)
        self._s.now_s = self._s.epoch_s = -self.period_s
        self._s.rtc_s = math.floor(self._s.now_s + 0.5) + 1

    @property
    def period_s(self) -> float:
        """True seconds between two readings."""
        s = self._s
        nominal = chip.period_s(s.averages, s.vct_us, s.ict_us)
        return nominal * (1 + self.errors.conversion_clock)

    @property
    def now_s(self) -> float:
        """True seconds since the start."""
        return self._s.now_s

    def device_time_s(self, true_s: float) -> float:
        """What the meter's microsecond clock shows at a true time."""
        return self._stamp(true_s) / 1e6

    def drop_next(self, readings: int) -> None:
        """Lose the next readings, as a meter does whose transmit buffer is full."""
        self._s.drop += readings

    def state(self) -> dict[str, Any]:
        """JSON-able; a device of the same seed and bus voltage continues from it bit for bit."""
        return {"seed": self.seed, "bus_v": self.bus_v} | asdict(self._s)

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from `state()`; `SimulatorError` if it is another instrument's."""
        rest = dict(state)
        other = (rest.pop("seed", None), rest.pop("bus_v", None))
        if other != (self.seed, self.bus_v):
            raise SimulatorError(
                f"the saved simulator has seed and bus voltage {other}, this one "
                f"{(self.seed, self.bus_v)}"
            )
        try:
            self._s = _State(**rest)
        except TypeError:
            raise SimulatorError("the saved simulator state is of another version") from None

    def advance(self, segments: Sequence[Segment]) -> bytes:
        """Let the segments pass, in order; return all lines that fall due meanwhile."""
        durations, powers = _checked(segments)
        s = self._s
        edges = s.now_s + np.concatenate([[0.0], np.cumsum(durations)])
        joules = np.concatenate([[0.0], np.cumsum(durations * powers)])
        end = float(edges[-1])
        period = self.period_s
        most = s.conversions + int((end - s.now_s) / period) + 2
        due = s.epoch_s + period * np.arange(s.conversions + 1, most + 1)
        due = due[due <= end]
        # The integral of a piecewise constant power is piecewise linear: interpolation is exact.
        at_due = np.interp(due, edges, joules)
        means = np.diff(np.concatenate([[-s.carry_j], at_due])) / period
        s.carry_j = float(joules[-1] - at_due[-1]) if due.size else s.carry_j + float(joules[-1])
        s.conversions += int(due.size)
        s.now_s = end
        return self._lines(due, means)

    def command(self, data: bytes) -> bytes:
        """The replies to all command lines that `data` completes."""
        *lines, rest = (self._typed + data).split(b"\n")
        self._typed = rest[: _LONGEST_COMMAND + 1]
        return b"".join(self._answer(line.rstrip(b"\r")) for line in lines)

    def banner(self) -> bytes:
        """What the firmware prints when it starts: in CSV mode, with its header."""
        return BANNER + CSV_HEADER

    def fault(self, kind: str) -> bytes:
        """See `Device.fault`: reboot, clock jump (by ±10 s) or ten readings not sent."""
        s = self._s
        if kind == SKIP:
            self.drop_next(10)
        elif kind == CLOCK_JUMP:
            back = self._stamp(s.now_s) > _JUMP_US and s.seq % 2
            s.shift_us += -_JUMP_US if back else _JUMP_US
        elif kind == REBOOT:
            s.shift_us -= self._stamp(s.now_s)
            s.seq, s.mode, s.stream, self._typed = 0, "CSV", 1, b""
            return self.banner()
        else:
            raise SimulatorError(f"the INA226 meter has no fault {kind!r}")
        return b""

    def _answer(self, line: bytes) -> bytes:
        """The reply to one command line (without its LF)."""
        text = line.decode("ascii", "replace").strip()
        if not text:
            return b""
        if len(line) > _LONGEST_COMMAND:
            return b"!ERR ? line_too_long\n"
        word, *arguments = text.upper().split()
        reply, after = self._execute(word, arguments)
        return f"!{reply}\n".encode() + after

    def _execute(self, word: str, arguments: list[str]) -> tuple[str, bytes]:
        s = self._s
        if word == "HELLO":
            return f"HELLO,EdgePowerMeter,{FIRMWARE},2", b""
        if word == "GET":
            return self._configuration(), b""
        if word not in ("MODE", "SET", "SYNC", "SAVE"):
            return f"ERR {word} unknown_command", b""
        if len(arguments) < {"SET": 2, "SAVE": 0}.get(word, 1):
            return f"ERR {word} missing_argument", b""
        if word == "MODE":
            if arguments[0] not in ("RAW", "CSV"):
                return "ERR MODE invalid_value", b""
            s.mode = arguments[0]
            return "OK MODE", self._anchor(s.rtc_s - 1) if s.mode == "RAW" else CSV_HEADER
        if word == "SET":
            if reason := self._set(arguments[0], arguments[1]):
                return f"ERR SET {reason}", b""
            resumed = s.mode == "RAW" and arguments[:2] == ["STREAM", "1"]
            return "OK SET", self._anchor(s.rtc_s - 1) if resumed else b""
        if word == "SYNC":
            return "ERR SYNC rtc_unavailable", b""  # one time line a run, and none to flash
        return f"OK {word}", b""

    def _set(self, name: str, value: str) -> str:
        """Change one setting; return the reason for refusing, or nothing."""
        s = self._s
        fields = {"AVG": "averages", "VCT": "vct_us", "ICT": "ict_us", "SHUNT": "shunt_ohm"}
        fields |= {"OLED": "oled", "STREAM": "stream"}
        if name not in fields:
            return "unknown_parameter"
        try:
            number: float = float(value) if name == "SHUNT" else int(value)
        except ValueError:
            return "invalid_value"
        changed = asdict(s) | {fields[name]: number}
        try:
            chip.period_s(changed["averages"], changed["vct_us"], changed["ict_us"])
        except MeterError:
            return "invalid_value"
        switches = changed["oled"] in (0, 1) and changed["stream"] in (0, 1)
        if not (switches and 1e-5 <= changed["shunt_ohm"] <= 100):
            return "invalid_value"
        setattr(s, fields[name], number)
        if name in ("AVG", "VCT", "ICT"):  # "restarts the conversion pipeline"
            s.epoch_s, s.conversions, s.carry_j = s.now_s, 0, 0.0
        return ""

    def _configuration(self) -> str:
        s = self._s
        period = s.averages * (s.vct_us + s.ict_us)
        return (
            f"CFG,avg={s.averages},vct={s.vct_us},ict={s.ict_us},shunt={s.shunt_ohm:g},"
            f"oled={s.oled},stream={s.stream},mode={s.mode},sqw=1,period_us={period}"
        )

    def _lines(self, due: np.ndarray, means: np.ndarray) -> bytes:
        """Readings that end at the true times `due` and the anchors between, in order of time."""
        s, e = self._s, self.errors
        current = means / self.bus_v
        shunt = (current * e.shunt_ohm + e.shunt_offset_v) * (1 + e.shunt_gain) / chip.SHUNT_LSB_V
        bus = (self.bus_v + e.bus_offset_v) * (1 + e.bus_gain) / chip.BUS_LSB_V
        shunt_raw = np.clip(np.rint(shunt), chip.SHUNT_RAW_MIN, chip.SHUNT_RAW_MAX)
        bus_raw = min(max(round(bus), 0), chip.BUS_RAW_MAX)
        stamps = self._stamps(due)
        first, s.seq = s.seq, (s.seq + len(stamps)) % SEQ_MODULUS
        drop, s.drop = min(s.drop, len(stamps)), max(0, s.drop - len(stamps))
        if s.mode == "CSV":
            lines = [self._csv(t, bus_raw, int(raw)) for t, raw in zip(due, shunt_raw, strict=True)]
        else:
            lines = [
                b"D,%d,%d,%d,%d\n" % ((first + n) % SEQ_MODULUS, stamp, bus_raw, raw)
                for n, (stamp, raw) in enumerate(
                    zip(stamps.tolist(), shunt_raw.astype(int).tolist(), strict=True), 1
                )
            ]
        lines[:drop] = [b""] * drop
        self._insert_anchors(lines, stamps)
        return b"".join(lines) if s.stream else b""

    def _insert_anchors(self, lines: list[bytes], stamps: np.ndarray) -> None:
        """Put the anchors that fell due before, between and after the lines into the list."""
        s = self._s
        inserted = 0
        while self._rtc_true_s(s.rtc_s) <= s.now_s:
            stamp = self._stamp(self._rtc_true_s(s.rtc_s))
            place = int(np.searchsorted(stamps, stamp, side="right")) + inserted
            if s.mode == "RAW":
                lines.insert(place, self._anchor(s.rtc_s))
                inserted += 1
            s.rtc_s += 1

    def _anchor(self, second: int) -> bytes:
        stamp = self._stamp(self._rtc_true_s(second))
        return b"T,%d,%d,S\n" % (stamp, _RTC_START + second) if stamp >= 0 else b""

    def _rtc_true_s(self, second: int) -> float:
        """True time at which the real-time clock turns to `second`, half way between ours."""
        return (second - 0.5) / (1 + self.errors.rtc)

    def _csv(self, true_s: float, bus_raw: int, shunt_raw: int) -> bytes:
        volt = bus_raw * chip.BUS_LSB_V
        ampere = shunt_raw * chip.SHUNT_LSB_V / self._s.shunt_ohm
        whole, milli = divmod(int((_RTC_START + true_s) * 1000), 1000)
        stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(whole))
        return f"{stamp}.{milli:03d},{volt:.4f},{ampere:.4f},{volt * ampere:.4f}\n".encode()

    def _stamp(self, true_s: float) -> int:
        return int(self._stamps(np.array([true_s]))[0])

    def _stamps(self, true_s: np.ndarray) -> np.ndarray:
        """Microseconds since boot on the meter's crystal."""
        micros = np.floor(true_s * (1e6 * self._clock_rate))
        return (self.errors.boot_us + self._s.shift_us + micros).astype(np.int64)


def _checked(segments: Sequence[Segment]) -> tuple[np.ndarray, np.ndarray]:
    pairs = np.asarray(segments, dtype=np.float64).reshape(-1, 2)
    durations, powers = pairs[:, 0], pairs[:, 1]
    if not (np.isfinite(pairs).all() and (durations >= 0).all()):
        raise SimulatorError("segments must be finite, with durations of zero seconds or more")
    lasting = durations > 0
    return durations[lasting], powers[lasting]
