# SPDX-License-Identifier: Apache-2.0
"""Visits for the MAC core: random and extreme operands within the contract's ranges."""

from __future__ import annotations

import numpy as np
from core_reference import COLUMNS, MODES, PACKED_ROWS, ROWS, RUN, Visit

Random = np.random.Generator
MOST_WORDS = {"along packed": PACKED_ROWS, "along plain": ROWS, "across plain": 1}
MOST_WORDS["across packed"] = 2
RANGES = {  # of the rows' bytes (or slices), and of the columns' numbers
    "along packed": ((-127, 127), (-128, 127)),
    "along plain": ((-128, 127), (-32768, 32767)),
    "across plain": ((-128, 127), (-32768, 32767)),
    "across packed": ((-7, 7), (-511, 511)),
}
KINDS = ("random", "extreme", "corner", "sparse")


def _draw(random: Random, limits: tuple[int, int], shape: tuple[int, ...], kind: str) -> np.ndarray:
    low, high = limits
    if kind == "extreme":
        return random.choice([low, high], shape)
    if kind == "corner":
        return random.choice([low, low + 1, -1, 0, 1, high - 1, high], shape)
    found = random.integers(low, high, shape, endpoint=True)
    if kind == "sparse":
        found[random.random(shape) < 0.8] = 0
    return found


def _one_sign(random: Random, drawn: np.ndarray, mode: str) -> np.ndarray:
    """Operands of one row all at the same end, so that sums reach the bounds of their lanes."""
    return np.broadcast_to(drawn[:1], drawn.shape) if random.random() < 0.5 else drawn


def draw_visit(
    random: Random,
    mode: str,
    *,
    steps: int | None = None,
    words: int | None = None,
    kind: str | None = None,
) -> Visit:
    """A visit; what is not given is drawn. Idle rows, lanes and columns hold zeros."""
    across, packed = MODES[mode]
    steps = steps or int(random.integers(1, 24))
    words = words or int(random.integers(1, MOST_WORDS[mode], endpoint=True))
    kind = kind or str(random.choice(KINDS))
    row_limits, column_limits = RANGES[mode]
    shape = (steps, PACKED_ROWS, COLUMNS)
    rows = _draw(random, row_limits, shape, kind)
    first = _draw(random, column_limits, (steps, COLUMNS), kind)
    second = _draw(random, column_limits, (steps, COLUMNS), kind)
    if kind == "extreme":
        rows, first = (_one_sign(random, drawn, mode) for drawn in (rows, first))
    if across and packed:
        upper = _draw(random, row_limits, shape, kind)
        rows = (upper * 16) | (rows & 15)
    if not across:
        rows = rows.copy()
        rows[:, :, 1:] = 0
    if not packed:
        rows = rows.copy()
        rows[:, ROWS:] = 0
    ahead = int(random.integers(0, 256)) if mode == "across plain" else 0
    runs = None
    if mode == "along packed" and random.random() < 0.3:
        runs = _runs(random, steps)
    other = across and packed and bool(random.integers(0, 2))
    narrow = [half.astype(np.int16) for half in (first, second)]
    return Visit(mode, words, rows.astype(np.int8), *narrow, ahead, other, runs)


def largest_visit(mode: str, steps: int) -> Visit:
    """All operands at the ends of their ranges where products are largest, every lane full."""
    across, packed = MODES[mode]
    (row, _), (column, _) = RANGES[mode]
    rows = np.zeros((steps, PACKED_ROWS, COLUMNS), np.int8)
    filled = rows[:, : PACKED_ROWS if packed else ROWS, : COLUMNS if across else 1]
    filled[:] = (row * 16) | (row & 15) if across and packed else row
    columns = np.full((steps, COLUMNS), column, np.int16)
    return Visit(mode, MOST_WORDS[mode], rows, columns, columns)


def _runs(random: Random, steps: int) -> tuple[int, ...]:
    found: list[int] = []
    while (left := steps - sum(found)) > 0:
        found.append(min(left, int(random.integers(1, RUN, endpoint=True))))
    return tuple(found)
