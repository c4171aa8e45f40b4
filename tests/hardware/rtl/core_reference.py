# SPDX-License-Identifier: Apache-2.0
"""What the MAC core is to compute, in int64 NumPy from its contract, and its streams' words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from e2train.device.accelerator import generated as hw

ROWS, COLUMNS, RUN = hw.ARRAY_ROWS, hw.ARRAY_COLUMNS, hw.ARRAY_PACKED_RUN
PACKED_ROWS = 2 * ROWS
ROW_BYTES, COLUMN_HALVES = hw.CORE_ROW_BITS // 8, hw.CORE_COLUMN_BITS // 16
SUM_BYTES = hw.CORE_SUM_BITS // 8
MODES = {
    "along packed": (False, True),
    "along plain": (False, False),
    "across plain": (True, False),
    "across packed": (True, True),
}


@dataclass(frozen=True)
class Visit:
    """Steps into fresh sums. rows: int8 (steps, 16, 16); first and second: int16 (steps, 16).

    ahead: bit r for row r of the DSPs; other: the LUT half takes the second word. runs: lengths of
    the runs of an along, packed visit; None: of four, as long as there are.
    """

    mode: str
    words: int
    rows: np.ndarray
    first: np.ndarray
    second: np.ndarray
    ahead: int = 0
    other: bool = False
    runs: tuple[int, ...] | None = None

    @property
    def steps(self) -> int:
        return len(self.rows)

    def run_lengths(self) -> tuple[int, ...]:
        if self.runs is not None:
            return self.runs
        whole, left = divmod(self.steps, RUN)
        return (RUN,) * whole + ((left,) if left else ())


OUTPUT = 13  # cycles from a visit's last step to its first word


def launch_cycles(visits: Sequence[Visit]) -> int:
    """Cycles from start to done of a launch whose streams never wait: the timing contract.

    A step a cycle, but runs end at least four cycles apart (as the visits of plain sums do), and a
    visit's end waits for the words of the visit before, along positions in whole fours.
    """
    now = run_end = drained = 0
    for visit in visits:
        across, packed = MODES[visit.mode]
        runs = visit.run_lengths() if packed and not across else (visit.steps,)
        for number, length in enumerate(runs, 1):
            now += length
            if not across:
                now = run_end = max(now, run_end + RUN if run_end else 0)
            if number == len(runs):
                now = max(now, drained)
                run_end = run_end if across else now
        drained = now + (visit.words if across else -(-visit.words // RUN) * RUN)
    return now + OUTPUT + visits[-1].words


def low_slice(rows: np.ndarray) -> np.ndarray:
    """The lower four bits of bytes, signed."""
    return ((rows.astype(np.int64) & 15) ^ 8) - 8


def high_slice(rows: np.ndarray) -> np.ndarray:
    """The upper four bits of bytes, signed."""
    return rows.astype(np.int64) >> 4


def expected(visit: Visit) -> np.ndarray:
    """The words of sums that a visit sends: int64 (words, 16)."""
    rows = visit.rows.astype(np.int64)
    first, second = visit.first.astype(np.int64), visit.second.astype(np.int64)
    found = np.zeros((PACKED_ROWS, COLUMNS), np.int64)
    across, packed = MODES[visit.mode]
    if not across:
        found = np.einsum("sr,sc->rc", rows[:, :, 0], first)
    elif packed:
        found[0] = np.einsum("src,sc->r", low_slice(visit.rows), first)
        other = second if visit.other else first
        found[1] = np.einsum("src,sc->r", high_slice(visit.rows), other)
    else:
        for r in range(ROWS):
            ahead = visit.ahead >> r & 1
            found[0, r] = (rows[:, r] * (second if ahead else first)).sum()
    return found[: visit.words]


def step_flags(visit: Visit, end: bool) -> np.ndarray:
    """uint32 (steps): the step words of a visit, `end` for a launch's last."""
    across, packed = MODES[visit.mode]
    flags = np.zeros(visit.steps, np.uint32)
    flags |= (across << hw.CORE_ACROSS) | (packed << hw.CORE_PACKED)
    flags |= (visit.other << hw.CORE_OTHER) | (visit.ahead << hw.CORE_AHEAD)
    flags |= np.uint32(visit.words << hw.CORE_WORDS)
    flags[0] |= 1 << hw.CORE_FIRST
    flags[-1] |= (1 << hw.CORE_LAST) | (end << hw.CORE_END)
    if packed and not across:
        ends = np.cumsum(visit.run_lengths())
        flags[ends - 1] |= 1 << hw.CORE_RUN_LAST
        flags[np.r_[0, ends[:-1]]] |= 1 << hw.CORE_RUN_FIRST
    return flags


@dataclass(frozen=True)
class Words:
    """A launch's words: steps uint32 (n), rows uint8 (n, 256), columns uint16 (n, 32)."""

    steps: np.ndarray
    rows: np.ndarray
    columns: np.ndarray


def words_of(visits: Sequence[Visit]) -> Words:
    """What the three input streams carry for these visits in one launch."""
    last = len(visits) - 1
    steps = [step_flags(visit, at == last) for at, visit in enumerate(visits)]
    rows = [visit.rows.reshape(visit.steps, ROW_BYTES).view(np.uint8) for visit in visits]
    columns = [np.hstack([visit.first, visit.second]).view(np.uint16) for visit in visits]
    return Words(np.concatenate(steps), np.concatenate(rows), np.concatenate(columns))


def sums_of(words: np.ndarray) -> np.ndarray:
    """uint8 (n, 96) to int64 (n, 16): words of sums as numbers."""
    lanes = words.reshape(-1, COLUMNS, 6)
    wide = np.zeros((*lanes.shape[:2], 8), np.uint8)
    wide[:, :, 2:] = lanes
    return wide.view("<i8")[:, :, 0] >> 16
