# SPDX-License-Identifier: Apache-2.0
"""The board's clock against this computer's, with a bound that holds.

The board answers a line with its clock. Its answer lies between the moments at which the line was
sent and the answer came, whatever the link did meanwhile, so half of the time between them bounds
the error of their middle; of several exchanges the shortest counts (Cristian: Probabilistic clock
synchronization, Distributed Computing 3, 1989). Between measurements the offset is interpolated;
away from them the bound grows by what two crystals may run apart.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from powermeter.errors import MeterError

EXCHANGES = 12
RATE_LIMIT = 100e-6  # board and computer, 50 ppm each: ordinary crystals, neither disciplined


@dataclass(frozen=True)
class ClockReading:
    """At `board_s` of the board's clock since its start `boot` it was `host_s` ± `bound_s` here."""

    boot: str
    board_s: float
    host_s: float
    bound_s: float

    @property
    def offset_s(self) -> float:
        """This computer's time less the board's."""
        return self.host_s - self.board_s


def best_of(boot: str, exchanges: Iterable[tuple[float, float, float]]) -> ClockReading:
    """The tightest of exchanges (sent here, board's clock, answer here), in seconds."""
    sent, board, came = min(exchanges, key=lambda exchange: exchange[2] - exchange[0])
    return ClockReading(boot, board, (sent + came) / 2, (came - sent) / 2)


class Alignment:
    """Leads moments of the board's clock to this computer's time."""

    def __init__(self, readings: Iterable[ClockReading]) -> None:
        self._boots: dict[str, list[ClockReading]] = {}
        for reading in sorted(readings, key=lambda one: one.board_s):
            self._boots.setdefault(reading.boot, []).append(reading)

    def host(self, boot: str, board_s: float) -> tuple[float, float]:
        """This computer's time at a moment of the board's clock, and the bound of its error.

        Raises MeterError where the clock was never measured since that start of the board.
        """
        known = self._boots.get(boot)
        if not known:
            raise MeterError("the board's clock was not measured since the board was started")
        after = bisect_left([reading.board_s for reading in known], board_s)
        near = known[max(0, after - 1) : after + 1]
        apart = min(abs(reading.board_s - board_s) for reading in near)
        bound = max(reading.bound_s for reading in near) + RATE_LIMIT * apart
        first, last = near[0], near[-1]
        offset = first.offset_s
        if last is not first:
            share = (board_s - first.board_s) / (last.board_s - first.board_s)
            offset += share * (last.offset_s - first.offset_s)
        return board_s + offset, bound


class ClockLog:
    """The measurements of one recording of the meter, in a file beside it (JSON lines)."""

    NAME = "board-clock.jsonl"

    def __init__(self, folder: Path) -> None:
        self._path = folder / self.NAME

    def add(self, reading: ClockReading) -> None:
        """Append a measurement."""
        with open(self._path, "a") as stream:
            stream.write(json.dumps(asdict(reading) | {"offset_s": reading.offset_s}) + "\n")

    def alignment(self) -> Alignment:
        """Of all that was measured; a last line that was cut off does not count."""
        if not self._path.exists():
            return Alignment([])
        lines = self._path.read_text().splitlines(keepends=True)
        rows = [json.loads(line) for line in lines if line.endswith("\n")]
        return Alignment(
            ClockReading(row["boot"], row["board_s"], row["host_s"], row["bound_s"]) for row in rows
        )
