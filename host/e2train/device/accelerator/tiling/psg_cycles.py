# SPDX-License-Identifier: Apache-2.0
"""PSG's pass to the weights: the predictor, the schedule of unsure weights, and their visits.

The second phase's visits follow from simulating the kernels' compaction (hls/src/psg_schedule.cpp)
on which weights are unsure: drawn at random at a share, or a given mask.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ....rng import generator
from ...geometry import Geometry
from .array import HARDWARE, Hardware
from .cycles import (
    Tally,
    Tiles,
    groups_of,
    places,
    weight_pass,
    weight_step,
)

VISIT_BEATS = 3  # of one visit's entry in the schedule
LOOP_RESTART = 10  # cycles between two loops of schedule and merge, a burst's wait besides
SCHEDULE_LOOPS, SCHEDULE_BURSTS = 2, 2  # a filter: queue its weights, write its visits
MERGE_LOOPS, MERGE_BURSTS = 4, 3  # queue, place the visits' signs, pack, write
SIGNS_A_BEAT = 8
PACKED_X, PACKED_G = 4, 10  # bits of the widest slices that pack


def slices_pack(predictor: tuple[int, int] | None) -> bool:
    """Whether slices of these widths (x, g) share DSPs and bytes (hls/include, products.hpp)."""
    return predictor is not None and predictor[0] <= PACKED_X and predictor[1] <= PACKED_G


@dataclass(frozen=True)
class SlotTile:
    """Visits that share a tile: filters they span (loaded together), how many they are.

    read: visits that its load takes from the schedule, as many as there are or may fit.
    """

    filters: int
    visits: int
    read: int


@dataclass(frozen=True)
class Compaction:
    """Unsure weights packed into visits: slots per visit, and the tiles of the second phase."""

    unsure: int
    visits: int
    tiles: tuple[SlotTile, ...]

    def efficiency(self, rows: int = HARDWARE.rows) -> float:
        """Share of the visits' slots that hold a weight; 1 where there is no visit."""
        return self.unsure / (rows * self.visits) if self.visits else 1.0


def random_unsure(geometry: Geometry, predicted: float, seed: int = 0) -> np.ndarray:
    """bool [K,C/groups,R,S], each weight unsure with probability 1 - `predicted`."""
    shape = geometry.weight_shape
    purpose = f"unsure weights {shape} {predicted:g}"
    drawn: np.ndarray = generator(seed, purpose).random(shape) >= predicted
    return drawn


def queue_lengths(unsure: np.ndarray, groups: int, rows: int = HARDWARE.rows) -> np.ndarray:
    """Unsure weights of each filter by row of the array, int64 [K, rows]: channel modulo rows.

    `unsure`: bool [K,C/groups,R,S]; a depthwise filter's channel is its own number.
    """
    by_channel = unsure.sum(axis=(2, 3), dtype=np.int64)
    filters, channels = by_channel.shape
    lengths = np.zeros((filters, rows), np.int64)
    if groups > 1:
        lengths[np.arange(filters), np.arange(filters) % rows] = by_channel[:, 0]
        return lengths
    for row in range(min(rows, channels)):
        lengths[:, row] = by_channel[:, row::rows].sum(axis=1)
    return lengths


def filter_visits(lengths: np.ndarray) -> np.ndarray:
    """Visits by their base filter, int64 [K].

    Filters queue in turn. A visit takes the first of every queue; a row that has none left of the
    base filter takes the next filter's. Visits of a base filter end when it has none left.
    """
    filters, rows = lengths.shape
    visits = np.zeros(filters, np.int64)
    taken = np.zeros(rows, np.int64)  # of this filter, by visits of the one before
    for filter_ in range(filters):
        waiting = lengths[filter_] - taken
        visits[filter_] = waiting.max()
        after = lengths[filter_ + 1] if filter_ + 1 < filters else np.zeros(rows, np.int64)
        taken = np.minimum(visits[filter_] - waiting, after)
    return visits


def slot_tiles(visits: Sequence[int], most_filters: int, most_visits: int) -> list[SlotTile]:
    """Cut the visits as the kernel loads them: until filters or sums fill their buffer."""
    tiles: list[SlotTile] = []
    begin = span = held = 0
    waiting = sum(map(int, visits))

    def close() -> int:
        tiles.append(SlotTile(span, held, min(waiting, most_visits)))
        return waiting - held

    for filter_, left in enumerate(map(int, visits)):
        last = min(filter_ + 1, len(visits) - 1)
        while left:
            if held and (held == most_visits or last - begin + 1 > most_filters):
                waiting = close()
                held = 0
            if held == 0:
                begin = filter_
            span = last - begin + 1
            fitting = min(left, most_visits - held)
            held += fitting
            left -= fitting
    if held:
        close()
    return tiles


def span_limit(geometry: Geometry, tiles: Tiles, hardware: Hardware) -> int:
    """Most filters that a step of the second phase holds gradients (depthwise: also x) of."""
    fitting = min(geometry.filters, hardware.column_depth // (tiles.height * tiles.width))
    return min(fitting, tiles.outer) if geometry.groups > 1 else fitting


def compact(
    geometry: Geometry, unsure: np.ndarray, tiles: Tiles, hardware: Hardware = HARDWARE
) -> Compaction:
    """Schedule the unsure weights (bool [K,C/groups,R,S]) and cut their visits into tiles."""
    visits = filter_visits(queue_lengths(unsure, geometry.groups, hardware.rows))
    most = hardware.weight_sums // hardware.rows
    cut = slot_tiles(visits.tolist(), span_limit(geometry, tiles, hardware), most)
    return Compaction(int(unsure.sum()), int(visits.sum()), tuple(cut))


def slot_steps(
    geometry: Geometry, samples: int, tiles: Tiles, tile: SlotTile, hardware: Hardware = HARDWARE
) -> Tally:
    """All steps of a slot tile: every sample and position passes its visits, then signs leave."""
    channels = tile.filters if geometry.groups > 1 else geometry.channels
    total = Tally()
    for place in places(geometry, tiles.height, tiles.width):
        step = weight_step(place, tile.filters, channels, tile.visits, hardware)
        total += step.times(place[-1])
    fill = max(total.columns, total.rows) // total.steps
    entries = VISIT_BEATS * tile.read
    ends = entries + tile.visits + 2 * hardware.burst_wait  # read entries, write signs
    return total.times(groups_of(samples, hardware)) + Tally(
        cycles=fill + ends, extra=entries, output=tile.visits
    )


def schedule_and_merge(geometry: Geometry, visits: int, hardware: Hardware = HARDWARE) -> Tally:
    """Two walks over the predictor's sums, one weight a cycle, and the signs put in order."""
    weights, wait = geometry.weights, hardware.burst_wait
    signs = -(-weights // SIGNS_A_BEAT)
    schedule = weights + VISIT_BEATS * visits
    merge = 2 * weights + visits + signs
    restart = LOOP_RESTART * (SCHEDULE_LOOPS + MERGE_LOOPS)
    restart += wait * (SCHEDULE_BURSTS + MERGE_BURSTS)
    return Tally(
        cycles=schedule + merge + restart * geometry.filters,
        extra=2 * weights + visits,
        output=VISIT_BEATS * visits + signs,
    )


@dataclass(frozen=True)
class PsgTally:
    """A PSG pass by phase; `bookkeeping` is schedule and merge."""

    predictor: Tally
    second: Tally
    bookkeeping: Tally
    compaction: Compaction

    @property
    def total(self) -> Tally:
        """All phases."""
        return self.predictor + self.second + self.bookkeeping


def psg_pass(
    geometry: Geometry,
    samples: int,
    tiles: Tiles,
    unsure: np.ndarray,
    hardware: Hardware = HARDWARE,
    packed: bool = True,
) -> PsgTally:
    """One launch with the weights that `unsure` (bool [K,C/groups,R,S]) marks in full precision.

    packed: the predictor's slices pack (`slices_pack`).
    """
    found = compact(geometry, unsure, tiles, hardware)
    second = Tally()
    for tile in found.tiles:
        second += slot_steps(geometry, samples, tiles, tile, hardware)
    return PsgTally(
        weight_pass(geometry, samples, tiles, packed, hardware),
        second,
        schedule_and_merge(geometry, found.visits, hardware),
        found,
    )


def even_visits(
    geometry: Geometry, tiles: Tiles, unsure: float, hardware: Hardware
) -> tuple[int, int, int]:
    """(slot tiles, filters and visits of each) with a share unsure, spread evenly."""
    rows = 1 if geometry.groups > 1 else min(hardware.rows, geometry.channels)
    visits = max(-(-int(geometry.weights * unsure) // rows), 1)
    most = hardware.weight_sums // hardware.rows
    span = span_limit(geometry, tiles, hardware)
    parts = max(-(-visits // most), -(-(geometry.filters - 1) // max(span - 1, 1)))
    return parts, min(-(-geometry.filters // parts) + 1, span), max(visits // parts, 1)


def even_second(
    geometry: Geometry, samples: int, tiles: Tiles, unsure: float, hardware: Hardware
) -> Tally:
    """The second phase with a share of the weights unsure: what tiles are chosen by."""
    parts, filters, visits = even_visits(geometry, tiles, unsure, hardware)
    one = slot_steps(geometry, samples, tiles, SlotTile(filters, visits, visits), hardware)
    return one.times(parts)
