# SPDX-License-Identifier: Apache-2.0
"""Replies of a PZEM module to events, from the bytes and their arrival times alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from powermeter.drivers.pzem_frames import READ_INPUT, Reply, ReplySplitter
from powermeter.drivers.pzem_models import Model
from powermeter.events import Gap, Malformed, OverRange, Sample

_EARLY, _LATE = 0.25, 1.5  # periods
_FULL_SCALE = 1 / 1.1  # of the range; a mean above may hide a peak beyond its end
_STATE = ("seq", "malformed", "lost", "_last_s", "_energy", "_seen_s", "_turn")


class PzemDecoder:
    """A pure decoder: the same bytes with the same arrival times give the same events.

    A reading is dated by the arrival of its reply, and requests go out each `period_s`. So a reply
    that is missing or late is a gap before the next reading. One that comes sooner than a quarter
    of a period after another, or is not as long as the request of its turn asked (`Model`), answers
    no request of its own: it is left out as `stale`. An energy counter that decreases has been
    reset. No bytes raise, memory is bounded.
    """

    def __init__(self, model: Model, address: int, period_s: float, range_a: float) -> None:
        self._model, self._period_s, self._range_a = model, period_s, range_a
        self._splitter = ReplySplitter(address)
        self._last_s: float | None = None
        self._energy: int | None = None
        self._seen_s = 0.0  # when the last reply came that was no early one, reading or not,
        self._turn = 0  # and its turn
        self.seq = 0
        self.malformed = 0
        self.lost = 0

    @property
    def pending(self) -> int:
        """Bytes of a reply that is not complete yet."""
        return self._splitter.pending

    def feed(self, data: bytes, host_time_s: float) -> list[NamedTuple]:
        """Events of the replies that `data`, which was there at `host_time_s`, completes."""
        events: list[NamedTuple] = []
        for item in self._splitter.feed(data):
            self.malformed += isinstance(item, Malformed)
            if not isinstance(item, Reply):
                events.append(item)
            elif item.function == READ_INPUT:
                self._reading(item.registers, host_time_s, events)
        return events

    def state(self) -> dict[str, Any]:
        """JSON-able: all that decoding of the following whole replies depends upon."""
        return {name: getattr(self, name) for name in _STATE}

    def restore(self, state: dict[str, Any]) -> None:
        """Take up at a reply's end where `state()` was taken."""
        self._splitter.clear()
        for name in _STATE:
            setattr(self, name, state[name])

    def _reading(self, registers: list[int], time_s: float, events: list[NamedTuple]) -> None:
        model = self._model
        if len(registers) not in model.lengths:
            self.malformed += 1
            reason = f"{len(registers)} registers are no reading of a {model.name}"
            events.append(Malformed(str(registers), reason))
            return
        energy, turn = model.energy.count(registers), model.lengths.index(len(registers))
        if not self._follows(energy, turn, time_s, events):
            return
        self._last_s, self._energy = time_s, energy
        self._seen_s, self._turn = time_s, turn
        volts, amperes = model.voltage.value(registers), model.current.value(registers)
        if amperes > self._range_a * _FULL_SCALE:
            events.append(OverRange(self.seq, time_s, "current"))
        elif volts > model.volts_max:
            events.append(OverRange(self.seq, time_s, "voltage"))
        watts, hours = model.power.value(registers), model.energy.value(registers)
        events.append(Sample(self.seq, time_s, volts, amperes, watts, hours))
        self.seq += 1

    def _follows(self, energy: int, turn: int, time_s: float, events: list[NamedTuple]) -> bool:
        """Report what lies between the last reading and this one; False if this is none."""
        if self._last_s is None or self._energy is None:
            return True
        elapsed = (time_s - self._last_s) / self._period_s
        if energy < self._energy or elapsed < 0:
            events.append(Gap("restart", time_s, 0))
            return True
        if elapsed < _EARLY or not self._next_turn(turn, time_s):
            self.lost += 1
            events.append(Gap("stale", time_s, 1))
            return False
        if elapsed > _LATE:
            lost = max(1, round(elapsed) - 1)
            self.lost += lost
            events.append(Gap("time", time_s, lost))
        return True

    def _next_turn(self, turn: int, time_s: float) -> bool:
        """Whether `turn` follows the last reply's after as many periods as have passed since.

        Compared with the last reply, not the last reading: so the first two sound replies after a
        disturbance agree with each other, whatever was before.
        """
        turns = round((time_s - self._seen_s) / self._period_s)
        expected = (self._turn + turns) % len(self._model.lengths)
        self._seen_s, self._turn = time_s, turn
        return turn == expected
