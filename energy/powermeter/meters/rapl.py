# SPDX-License-Identifier: Apache-2.0
"""Driver of the energy counters of Intel and AMD processors (RAPL), through Linux's powercap tree.

A reading is a line: the microjoules of each zone, separated by blanks. A counter runs to its zone's
`max_energy_range_uj` and begins again at zero, so nothing is lost where a poll comes late. Source:
Linux kernel, Documentation/power/powercap/powercap.rst.

For development machines: it sees processor packages and, where they have a counter of their own,
memories, and nothing else of the machine. Its joules are `on-chip`.

*Rate*: a poll each `poll_s`, 0.5 s by default (the counters move about once a millisecond; a busy
machine polls late, which is no gap up to half a period). *A reading is the average since the one
before*. *Resolution*: the counter's unit, mostly 61 uJ. *Accuracy*: no maker states one. Studies
against external meters (Hackenberg et al., IPDPSW 2015; Khan et al., TOMPECS 3(2), 2018)
found the counters of Haswell and later, which measure, close to the truth, and earlier ones, which
model, some per cent off. 5 % of the reading is assumed. *Clock*: the host's.

Zones counted: `package-*` and `dram`. Not counted: `core` and `uncore` (parts of their package),
`psys` (the packages again and more), and `intel-rapl-mmio` (the same packages, read through
memory-mapped registers).
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from powermeter.energy.accuracy import PowerAccuracy
from powermeter.energy.clock import host_time_s
from powermeter.errors import MeterError, NoPortError, PortClosedError, PortPermissionError
from powermeter.events import Gap, Malformed, OverRange, Sample
from powermeter.meters.driver import Driver
from powermeter.meters.meter import AVERAGE, Meter, Transport
from powermeter.meters.scpi.protocol import LineBuffer, text
from powermeter.meters.settings import Setting, read_settings

NAME = "rapl"
ROOT = Path("/sys/class/powercap")
SETTINGS = (
    Setting("poll_s", "seconds between two readings", 0.5, unit="s", least=0.01, most=60),
    Setting("reading", "assumed accuracy as a fraction of the reading", 0.05, above=0, most=1),
)
_CONTROL = "intel-rapl"  # the kernel's name for AMD's counters too
_UNIT_J = 61e-6
#: No package and no memory takes more: a counter that says so was reset, or ran round twice.
MOST_W = 2000.0
_COUNTS = re.compile(rb"\d{1,20}(?: \d{1,20})*")
_UJ_PER_WH = 3.6e9


class Zone(NamedTuple):
    """A counter: its zone's path, e.g. `intel-rapl:0`, its name, and where it begins again."""

    path: str
    name: str
    range_uj: int


class RaplDecoder:
    """Lines to events; see `Decoder`.

    A counter beyond its stated range gives no reading, but an `OverRange`: where such a counter
    begins again at zero is not known, so no energy is made of it.
    """

    def __init__(self, zones: tuple[Zone, ...]) -> None:
        self._zones = zones
        self._ranges_uj = tuple(zone.range_uj for zone in zones)
        self._lines = LineBuffer()
        self._seq = 0
        self._last: tuple[float, tuple[int, ...]] | None = None
        self._total_uj = 0

    @property
    def pending(self) -> int:
        """Bytes of a line that is not complete yet."""
        return self._lines.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the lines that `data` completes."""
        events: list[NamedTuple] = []
        for line in self._lines.feed(data):
            if line is None or not _COUNTS.fullmatch(line):
                events.append(Malformed(text(line or b""), "no counters"))
                continue
            counts = tuple(int(field) for field in line.split())
            if len(counts) != len(self._zones):
                events.append(Malformed(text(line), "other counters than at the beginning"))
            elif beyond := self._beyond(counts):
                events.append(OverRange(self._seq, host_time_s, beyond))
            else:
                self._reading(counts, host_time_s, events)
        return events

    def state(self) -> dict[str, Any]:
        """See `Decoder.state`."""
        last = None if self._last is None else [self._last[0], list(self._last[1])]
        return {"seq": self._seq, "last": last, "total_uj": self._total_uj}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Decoder.restore`."""
        self._lines.clear()
        last = state["last"]
        self._last = None if last is None else (float(last[0]), tuple(last[1]))
        self._seq, self._total_uj = int(state["seq"]), int(state["total_uj"])

    def _beyond(self, counts: tuple[int, ...]) -> str:
        """Which counters say more than their zone's `max_energy_range_uj`; "" for none."""
        return ", ".join(
            f"energy counter of {zone.name} ({count} uJ, above its max_energy_range_uj "
            f"{zone.range_uj})"
            for zone, count in zip(self._zones, counts, strict=True)
            if count > zone.range_uj
        )

    def _reading(self, counts: tuple[int, ...], time_s: float, events: list[NamedTuple]) -> None:
        last, self._last = self._last, (time_s, counts)
        if last is None:
            return
        seconds = time_s - last[0]
        if seconds <= 0:
            events.append(Gap("restart", time_s, 0))
            return
        spent = [
            now - before if now >= before else now - before + most
            for now, before, most in zip(counts, last[1], self._ranges_uj, strict=True)
        ]
        # So slow a poll that a counter may have run round unseen, or so much that it was reset.
        unseen = any(seconds * MOST_W * 1e6 >= most for most in self._ranges_uj)
        if unseen or any(uj > seconds * MOST_W * 1e6 for uj in spent):
            events.append(Gap("restart", time_s, 0))
            return
        self._seq += 1
        self._total_uj += sum(spent)
        watts = sum(spent) * 1e-6 / seconds
        energy_wh = self._total_uj / _UJ_PER_WH
        events.append(Sample(self._seq, time_s, None, None, watts, energy_wh))


class PowercapTransport:
    """Reads counters on demand: `write` (of anything) takes a reading, `read` hands it on."""

    def __init__(self, root: Path = ROOT, wait: Callable[[float], None] = time.sleep) -> None:
        """Find the zones under `root`; `NoPortError` where there are none."""
        self.name = str(root)
        self._root, self._wait = root, wait
        self.zones = _zones(root)
        self._ready = b""

    def read(self, timeout_s: float) -> bytes:
        """See `Transport.read`."""
        if not self._ready and timeout_s > 0:
            self._wait(timeout_s)
        ready, self._ready = self._ready, b""
        return ready

    def write(self, data: bytes) -> None:
        """Read all counters now; `PortPermissionError`, or `PortClosedError` for a lost one."""
        counts = []
        for zone in self.zones:
            path = self._root / zone.path / "energy_uj"
            try:
                counts.append(str(int(path.read_text())))
            except OSError as error:
                raise _unreadable(path, error) from error
            except ValueError:
                raise MeterError(f"{path}: holds no number") from None
        self._ready += (" ".join(counts) + "\n").encode("ascii")

    def close(self) -> None:
        """Nothing is held."""


class Rapl(Meter):
    """The counters behind an injected `PowercapTransport`; `settings` as in `SETTINGS`."""

    driver = NAME
    reading = AVERAGE

    def __init__(
        self,
        transport: PowercapTransport,
        *,
        provenance: str = "on-chip",
        settings: dict[str, Any] | None = None,
        clock: Callable[[], float] = host_time_s,
    ) -> None:
        chosen = read_settings(NAME, SETTINGS, settings)
        self._poll_s, self._reading = chosen["poll_s"], chosen["reading"]
        self._zones = transport.zones
        decoder = RaplDecoder(transport.zones)
        super().__init__(transport, decoder, provenance=provenance, clock=clock)
        self._due = 0.0

    @property
    def accuracy(self) -> PowerAccuracy:
        """The assumed limit; the counter's unit is far below it."""
        return PowerAccuracy(reading=self._reading)

    @property
    def period_s(self) -> float:
        """Seconds between two polls."""
        return self._poll_s

    @property
    def resolution_w(self) -> float:
        """A counter's unit over the time between two polls."""
        return _UNIT_J / self._poll_s

    @property
    def latency_s(self) -> float:
        """A counter may be one update, about a millisecond, behind."""
        return 0.002

    def open(self) -> None:
        """Read the counters once, to see that they can be read, and begin to poll."""
        self._transport.write(b"")
        self._read(0.0)
        self._due = self._clock()

    def receive(self, timeout_s: float) -> bytes:
        """See `Meter.receive`."""
        until = self._clock() + timeout_s
        if (now := self._clock()) < self._due:
            self._read(min(self._due, until) - now)
        if (now := self._clock()) < self._due:
            return b""
        self._due += self._poll_s * (1 + int((now - self._due) / self._poll_s))
        self._transport.write(b"")
        return self._read(0.0)

    def identity(self) -> dict[str, Any]:
        """The zones counted."""
        return {"zones": [zone._asdict() for zone in self._zones], "poll_s": self._poll_s}


def _zones(root: Path) -> tuple[Zone, ...]:
    """Packages, and memories below them; each package once, whichever way the tree links it."""
    zones = []
    try:
        packages = sorted(path for path in root.glob(f"{_CONTROL}:*") if path.name.count(":") == 1)
        for package in packages:
            name = _text(package / "name")
            if not name.startswith("package"):
                continue
            zones.append(Zone(package.name, name, int(_text(package / "max_energy_range_uj"))))
            for part in sorted(package.glob(f"{_CONTROL}:*:*")):
                if (part_name := _text(part / "name")) == "dram":
                    most = int(_text(part / "max_energy_range_uj"))
                    where = f"{package.name}/{part.name}"
                    zones.append(Zone(where, f"{name} {part_name}", most))
    except OSError as error:
        raise _unreadable(Path(error.filename or root), error) from error
    except ValueError:
        raise MeterError(f"{root}: a zone's max_energy_range_uj is no number") from None
    if not zones:
        raise NoPortError(
            f"{root}: no RAPL package there (an Intel or AMD processor, Linux with the module "
            "intel_rapl_msr, and no virtual machine?)"
        )
    return tuple(zones)


def _text(path: Path) -> str:
    return path.read_text(encoding="ascii", errors="replace").strip()


def _unreadable(path: Path, error: OSError) -> MeterError:
    if error.errno in (errno.EACCES, errno.EPERM):
        return PortPermissionError(
            f"{path}: not readable; since Linux 5.10 only root may read it: run as root, or "
            "`sudo chmod a+r` that file"
        )
    return PortClosedError(f"{path}: not readable ({os.strerror(error.errno or 0)})")


def open_port(port: str, *, settings: dict[str, Any] | None = None) -> Meter:
    """The counters of this machine; `port` is the tree's root, or `-` for the kernel's own.

    Joules of another tree (copied, or made for a test) are `simulated`.
    """
    values = read_settings(NAME, SETTINGS, settings)  # before the tree is looked for
    root = ROOT if port in ("", "-") else Path(port)
    provenance = "on-chip" if root.resolve() == ROOT.resolve() else "simulated"
    return Rapl(PowercapTransport(root), provenance=provenance, settings=values)


def probe(transport: Transport) -> str | None:
    """Nothing on a port is a RAPL counter; see `Driver.probe`."""
    if isinstance(transport, PowercapTransport):
        return ", ".join(zone.name for zone in transport.zones)
    return None


def _decoder(identity: dict[str, Any]) -> RaplDecoder:
    zones = identity["zones"]
    return RaplDecoder(tuple(Zone(z["path"], z["name"], int(z["range_uj"])) for z in zones))


DRIVER = Driver(
    NAME,
    "energy counters of this machine's processors (RAPL); port: - or the powercap folder",
    meter=Rapl,
    open_port=open_port,
    decoder=_decoder,
    probe=probe,
    settings=SETTINGS,
)
