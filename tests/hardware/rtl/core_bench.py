# SPDX-License-Identifier: Apache-2.0
"""The Verilated core behind its fast C++ bench: launches of visits, with streams that stall."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import astuple, dataclass, replace

import numpy as np
from core_reference import MODES, SUM_BYTES, Visit, expected, launch_cycles, sums_of, words_of
from core_stimuli import KINDS, MOST_WORDS, draw_visit, largest_visit


@dataclass(frozen=True)
class Stalls:
    """Percent of cycles in which a stream or the clock waits; reset_after: cycles, 0 for none."""

    seed: int = 0
    steps: int = 0
    rows: int = 0
    columns: int = 0
    sums: int = 0
    clock: int = 0
    reset_after: int = 0


class _Stalls(ctypes.Structure):
    _fields_ = (
        ("seed", ctypes.c_uint32),
        ("steps", ctypes.c_int32),
        ("rows", ctypes.c_int32),
        ("columns", ctypes.c_int32),
        ("sums", ctypes.c_int32),
        ("clock", ctypes.c_int32),
        ("reset_after", ctypes.c_int32),
    )


class _Result(ctypes.Structure):
    _fields_ = tuple((name, ctypes.c_int64) for name in ("words", "taken", "cycles", "first_word"))


@dataclass(frozen=True)
class Launch:
    """sums: int64 (words, 16); cycles: from start to done; first_word: the cycle of its leaving."""

    sums: np.ndarray
    cycles: int
    first_word: int


def launch(library: ctypes.CDLL, visits: Sequence[Visit], stalls: Stalls = Stalls()) -> Launch:
    """Run visits in one launch. Raises AssertionError where the core does not end as it should."""
    words = words_of(visits)
    count = sum(visit.words for visit in visits)
    sums = np.zeros((count, SUM_BYTES), np.uint8)
    result = _Result()
    limit = 200 + 100 * (len(words.steps) + count)
    data = [
        array.__array_interface__["data"][0]
        for array in (words.steps, words.rows, words.columns, sums)
    ]
    late = library.e2_rtl_bench(
        ctypes.c_int64(len(words.steps)),
        *map(ctypes.c_void_p, data[:3]),
        ctypes.byref(_Stalls(*astuple(stalls))),
        ctypes.c_int64(limit),
        ctypes.c_int64(count),
        ctypes.c_void_p(data[3]),
        ctypes.byref(result),
    )
    assert late == 0, f"not done after {limit} cycles: {result.words} of {count} words came"
    assert result.taken == len(words.steps), f"{result.taken} of {len(words.steps)} steps taken"
    assert result.words == count, f"{result.words} words came, not {count}"
    return Launch(sums_of(sums), result.cycles, result.first_word)


def check(library: ctypes.CDLL, visits: Sequence[Visit], stalls: Stalls = Stalls()) -> Launch:
    """Run visits and compare every sum; the AssertionError names the first visit that differs."""
    found = launch(library, visits, stalls)
    at = 0
    for number, visit in enumerate(visits):
        sums = found.sums[at : at + visit.words]
        wrong = np.argwhere(sums != expected(visit))
        assert not len(wrong), (
            f"visit {number} ({visit.mode}, {visit.steps} steps, {visit.words} words): word "
            f"{wrong[0][0]} lane {wrong[0][1]} is {sums[tuple(wrong[0])]}, expected "
            f"{expected(visit)[tuple(wrong[0])]}; {len(wrong)} differ"
        )
        at += visit.words
    return found


def suite(library: ctypes.CDLL, seed: int, rounds: int = 1) -> int:
    """All that a fault of the core can be seen by; returns the cycles that it took.

    Every mode with random and extreme operands, tile edges, all pairs of modes, stalls, resets in
    mid-visit, and the cycles of launches without stalls. Raises AssertionError.
    """
    random = np.random.default_rng(seed)
    cycles = 0
    for _ in range(rounds):
        for mode, most in MOST_WORDS.items():
            for kind in KINDS:
                long = draw_visit(random, mode, steps=23, words=most, kind=kind)
                short = draw_visit(random, mode, steps=1, words=most, kind=kind)
                cycles += _in_time(library, [long, short, long, *[short] * 3])
            cycles += _in_time(library, [draw_visit(random, mode) for _ in range(12)])
        pairs = [mode for before in MODES for after in MODES for mode in (before, after)]
        for steps in (1, None):
            cycles += _in_time(library, [draw_visit(random, mode, steps=steps) for mode in pairs])
        for mode in MODES:  # sums of more than 32 bits, where products are of 24
            cycles += _in_time(library, [largest_visit(mode, 540)] * 2)
        visits = [draw_visit(random, mode, steps=5) for mode in MODES]
        for cycle in range(2, 40):
            cycles += check(library, visits, Stalls(reset_after=cycle)).cycles
        for _ in range(6):
            visits = [draw_visit(random, mode) for mode in random.choice(list(MODES), 8)]
            shares = random.choice([0, 20, 50], 5)
            stalls = Stalls(int(random.integers(1 << 30)), *map(int, shares))
            cycles += check(library, visits, stalls).cycles
            reset = replace(stalls, reset_after=int(random.integers(2, 60)))
            cycles += check(library, visits, reset).cycles
    return cycles


def _in_time(library: ctypes.CDLL, visits: Sequence[Visit]) -> int:
    """Check visits without stalls, and that they take the cycles of the timing contract."""
    cycles, wanted = check(library, visits).cycles, launch_cycles(visits)
    assert cycles == wanted, f"{cycles} cycles, not {wanted}"
    return cycles
