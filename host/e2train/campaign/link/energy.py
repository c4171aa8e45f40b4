# SPDX-License-Identifier: Apache-2.0
"""The energy of a run on the board, out of what the meter here recorded meanwhile.

The board's stamps, led to this computer's time, are the edges of the windows. How far an edge may
be off is a hard limit; what it means in joules is found by moving both edges by it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from powermeter import Joules, MeterError, WindowResult, open_session
from powermeter.energy.budget import Budget
from powermeter.energy.joules import COVERAGE_FACTOR
from powermeter.energy.net import sum_of
from powermeter.record.recording import (
    META,
    energy_until,
    integrate_windows,
    read_meta,
)

from ...files import write_text
from ..lease import Heartbeat
from .clock import ClockLog, ClockReading
from .stamps import Stretch, stretches

METER = "meter"
_EDGES = "board's clock"
_LAST_READINGS = 3  # periods that the meter is left on after the run


class BoardMeter:
    """Records the meter here while a board works; a new recording for each attempt at a cell."""

    def __init__(self, meter: str, folder: Path, seed: int) -> None:
        self._folder = folder / METER
        _keep_earlier(folder)
        self._folder.mkdir()
        self._session = open_session(meter, self._folder, seed=seed)
        self._clock = ClockLog(self._folder)
        #: Where its joules come from.
        self.provenance = self._session.provenance
        #: Why there are no joules of it, once the recorder died.
        self.died = ""

    def on_clock(self, reading: ClockReading) -> None:
        """Keep a measurement of the board's clock beside the recording."""
        self._clock.add(reading)

    def joules(self) -> float | None:
        """Since the recording began; None where the meter says nothing (valid) now."""
        try:
            self._session.advance([])
            window = self._session.energy()
        except MeterError as error:
            self.died = self.died or str(error)
            return None
        return window.joules.value if window.valid else None

    def finish(self, heart: Heartbeat) -> None:
        """Wait for the reading that ends the run, then end the recording."""
        meta = read_meta(self._folder)
        heart.wait(_LAST_READINGS * meta["period_s"] + meta["latency_s"])
        try:
            self._session.finish()
        except MeterError as error:
            self.died = self.died or str(error)

    def close(self) -> None:
        """End the recording, if it has not ended."""
        with suppress(MeterError):  # `finish` says why, or the cell was stopped
            self._session.close()


def measured(folder: Path, timing: Path, died: str) -> tuple[WindowResult, list[dict[str, Any]]]:
    """Window of the run and, for each stamped event of `timing`, its kind, iteration and joules.

    `folder` is the cell's; `died` what is known of the recorder's death. An event's joules are None
    where the window up to it is not valid. Raises MeterError where nothing can be measured.
    """
    recordings = [path for path in _recordings(folder) if (path / META).exists()]
    windows: list[WindowResult] = []
    events: list[dict[str, Any]] = []
    for stretch in stretches(timing):
        window, curve = _best(recordings, partial(_stretch, stretch, died))
        for (kind, iteration, _), part in zip(stretch.events, curve, strict=True):
            whole = sum_of([*windows, part])
            energy = _as_event(whole) if whole.valid else None
            events.append({"event": kind, "iteration": iteration, "energy": energy})
        windows.append(window)
    return sum_of(windows), events


def merge(folder: Path, mirror: Path, meter: str, window: WindowResult, events: list[Any]) -> None:
    """Write the cell's events.jsonl and result.json: the board's, with this computer's joules."""
    todo: dict[tuple[str, int | None], list[Any]] = {}
    for event in events:
        todo.setdefault((event["event"], event["iteration"]), []).append(event["energy"])
    lines = []
    for line in (mirror / "events.jsonl").read_text().splitlines():
        event = json.loads(line)
        found = todo.get((event["event"], event.get("iteration")))
        if found:
            event["energy"] = found.pop(0)
        lines.append(json.dumps(event, separators=(",", ":")) + "\n")
    write_text(folder / "events.jsonl", "".join(lines))
    result = json.loads((mirror / "result.json").read_text())
    energy = _as_event(window) if window.valid else {}
    result["meter"] = meter
    result["cell"] |= {
        "energy_joules": energy.get("joules"),
        "energy_uncertainty_joules": energy.get("uncertainty_joules"),
        "energy_provenance": energy.get("provenance"),
        "energy_missing": None if window.valid else window.reason,
    }
    write_text(folder / "result.json", json.dumps(result, indent=1) + "\n")


def _stretch(
    stretch: Stretch, died: str, recording: Path
) -> tuple[WindowResult, list[WindowResult]]:
    """Window and curve of a stretch, from one recording."""
    alignment = ClockLog(recording).alignment()
    begin, begin_bound = alignment.host(stretch.boot, stretch.begin_s)
    end, end_bound = alignment.host(stretch.boot, stretch.end_s)
    wide = (begin - begin_bound, end + end_bound)
    narrow = (begin + begin_bound, end - end_bound)
    if narrow[0] >= narrow[1]:
        raise MeterError(f"the run was shorter than the clocks agree ({begin_bound:.2g} s)")
    window, most, least = integrate_windows(recording, [(begin, end), wide, narrow], died=died)
    limit_j = abs(most.joules.value - least.joules.value) / 2
    moments = [alignment.host(stretch.boot, clock)[0] for _, _, clock in stretch.events]
    return _with_edges(window, limit_j), energy_until(recording, begin, moments)


def _with_edges(window: WindowResult, limit_j: float) -> WindowResult:
    """The window with the uncertainty of its edges, a rectangular distribution, added."""
    budget = Budget(
        window.budget.of_meter, window.budget.of_window | {_EDGES: limit_j / math.sqrt(3)}
    )
    sigma = math.hypot(*budget.of_meter.values(), *budget.of_window.values())
    joules = replace(window.joules, uncertainty=COVERAGE_FACTOR * sigma)
    return replace(window, joules=joules, budget=budget)


def _best(
    recordings: list[Path], integrate: Callable[[Path], tuple[WindowResult, list[WindowResult]]]
) -> tuple[WindowResult, list[WindowResult]]:
    """Of several recordings the one that covers most; MeterError where none knows the clock."""
    found, why = [], "nothing was recorded"
    for recording in recordings:
        try:
            found.append(integrate(recording))
        except MeterError as error:
            why = str(error)
    if not found:
        raise MeterError(why)
    return max(found, key=lambda one: one[0].coverage)


def _as_event(window: WindowResult) -> dict[str, Any]:
    energy: Joules = window.joules
    return {
        "joules": energy.value,
        "uncertainty_joules": energy.uncertainty,
        "provenance": energy.provenance,
    }


def _recordings(folder: Path) -> list[Path]:
    """This attempt's recording, then earlier ones'."""
    return [folder / METER, *sorted(folder.glob(f"{METER}-*"))]


def _keep_earlier(folder: Path) -> None:
    """Give an earlier attempt's recording a name of its own."""
    if (folder / METER).exists():
        number = 1 + len(list(folder.glob(f"{METER}-*")))
        (folder / METER).rename(folder / f"{METER}-{number}")
