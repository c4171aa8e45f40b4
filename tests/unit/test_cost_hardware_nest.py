# SPDX-License-Identifier: Apache-2.0
"""The performance model's counts against the loop nest, walked step by step."""

from collections import deque
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.device.accelerator.tiling.array import HARDWARE as CONFIGURED
from e2train.device.accelerator.tiling.cycles import (
    STEP_LATENCY,
    Options,
    Tiles,
    position_pass,
    weight_pass,
)
from e2train.device.accelerator.tiling.psg_cycles import (
    SlotTile,
    compact,
    filter_visits,
    queue_lengths,
    random_unsure,
    slot_tiles,
)
from e2train.device.geometry import Geometry
from hardware_geometries import geometries, touched

HARDWARE = replace(CONFIGURED, burst_wait=0)
SAMPLES = 20  # two groups, the second one partial


def cuts(total, tile):
    return [(begin, min(tile, total - begin)) for begin in range(0, total, tile)]


def walk_positions(geometry, direction, tiles, options):
    """(cycles, steps, operand words, beats by port) of a launch, one tile after the other."""
    transposed, depthwise = direction != "forward", geometry.groups > 1
    outputs, inputs = (geometry.out_height, geometry.out_width), (geometry.height, geometry.width)
    made, read = (inputs, outputs) if transposed else (outputs, inputs)
    channels = geometry.channels if transposed else geometry.filters
    rows = 1 if depthwise else 8 if direction == "backward_input" else 16
    r, s = geometry.kernel
    found, ends = np.zeros(7, int), []
    for _ in range(-(-SAMPLES // 16)):
        for y, height in cuts(made[0], tiles.height):
            for x, width in cuts(made[1], tiles.width):
                for _, outer in cuts(channels, tiles.outer):
                    common = (geometry.stride, geometry.padding)
                    area = touched(y, height, r, *common, read[0], transposed) * touched(
                        x, width, s, *common, read[1], transposed
                    )
                    words = area * (outer if depthwise else tiles.inner)
                    operands = cycles = 0
                    for at_y in range(y, y + height):
                        for at_x in range(x, x + width):
                            taps = sum(
                                not transposed
                                or (
                                    (at_y + geometry.padding - i) % geometry.stride == 0
                                    and (at_x + geometry.padding - j) % geometry.stride == 0
                                )
                                for i in range(r)
                                for j in range(s)
                            )
                            depth = max(taps * tiles.inner, 1)
                            for _, block in cuts(outer, rows):
                                operands += depth
                                cycles += max(depth, block)
                    produced = outer * height * width
                    beats = (
                        words * (4 if transposed else 2),
                        -(-outer // 16) * tiles.inner * r * s * 2,
                        produced * options.extra_beats,
                        produced * options.output_beats,
                    )
                    bound = max(*beats, -(-sum(beats) * 8 // 32), 4 * produced, cycles)
                    found += np.array([bound + STEP_LATENCY, 1, operands, *beats])
                    ends.append((max(beats[:2]), beats[3]))
    return found, ends


@settings(max_examples=50)
@given(
    geometries(channels=40, filters=40, size=8),
    st.sampled_from(("forward", "backward_input", "narrow_input")),
    st.integers(1, 3),
    st.integers(1, 5),
    st.integers(1, 5),
    st.sampled_from((Options(), Options(2, 4), Options(16, 16))),
)
def test_position_passes_count_what_the_nest_does(geometry, direction, outer, high, wide, options):
    reduced = geometry.channels if direction == "forward" else geometry.filters
    tiles = Tiles(16 * outer, 1 if geometry.groups > 1 else reduced, high, wide)
    tally = position_pass(geometry, SAMPLES, direction, tiles, options, HARDWARE)
    expected, ends = walk_positions(geometry, direction, tiles, options)
    assert [tally.steps, tally.core_steps] == list(expected[1:3])
    assert [tally.columns, tally.rows, tally.extra, tally.output] == list(expected[3:])
    overlapped = tally.cycles - expected[0]  # the first load, the last store
    assert overlapped == ends[0][0] + ends[-1][1]


@settings(max_examples=40)
@given(geometries(channels=40, filters=20, size=8), st.booleans(), st.integers(1, 5))
def test_weight_passes_count_what_the_nest_does(geometry, packed, side):
    depthwise, (r, s) = geometry.groups > 1, geometry.kernel
    tiles = Tiles(6, 1 if depthwise else 32, side, side + 1)
    tally = weight_pass(geometry, SAMPLES, tiles, packed, HARDWARE)
    steps = operands = columns = extra = rows = 0
    channels = 1 if depthwise else geometry.channels
    for _, filters in cuts(geometry.filters, tiles.outer):
        for _, part in cuts(channels, tiles.inner):
            for _ in range(-(-SAMPLES // 16)):
                for y, height in cuts(geometry.out_height, tiles.height):
                    for x, width in cuts(geometry.out_width, tiles.width):
                        common = (geometry.stride, geometry.padding)
                        area = touched(y, height, r, *common, geometry.height, False) * touched(
                            x, width, s, *common, geometry.width, False
                        )
                        steps += 1
                        columns += 4 * -(-filters // 2) * height * width
                        extra += 4 * (filters // 2) * height * width
                        rows += 2 * area * (filters if depthwise else part)
                        operands += (
                            visits_of(depthwise, packed, filters, part) * r * s * (height * width)
                        )
    assert (tally.steps, tally.core_steps) == (steps, operands)
    assert (tally.columns, tally.extra) == (columns, extra)  # two ports take turns at the filters
    assert (tally.rows, tally.output) == (rows, geometry.weights)
    assert tally.cycles >= max(operands, columns, rows) + STEP_LATENCY * steps


def visits_of(depthwise, packed, filters, channels):
    """Visits a tap: which filters and channels each one takes, one after the other."""
    if depthwise or (packed and channels <= 16):
        return len(range(0, filters, 2))
    return filters * len(range(0, channels, 32 if packed else 8))


def walk_schedule(unsure, groups):
    """Visits by base filter, popping queues of (filter, weight) as the kernel does."""
    queues = [deque() for _ in range(8)]
    filters = len(unsure)
    bases = []

    def queue(filter_):
        for channel, tap in zip(
            *np.nonzero(unsure[filter_].reshape(len(unsure[0]), -1)), strict=True
        ):
            queues[(filter_ if groups > 1 else channel) % 8].append((filter_, channel, tap))

    queue(0)
    for base in range(filters):
        if base + 1 < filters:
            queue(base + 1)
        while any(q and q[0][0] == base for q in queues):
            taken = [q.popleft() for q in queues if q]
            assert all(entry[0] in (base, base + 1) for entry in taken)
            bases.append(base)
    assert not any(queues)
    return bases


@settings(max_examples=60)
@given(
    st.integers(1, 12),
    st.integers(1, 20),
    st.sampled_from(((1, 1), (3, 3), (2, 3))),
    st.booleans(),
    st.floats(0, 1),
    st.integers(0, 1000),
)
def test_compaction_is_the_kernels(filters, channels, kernel, depthwise, share, seed):
    shape = (filters, 1 if depthwise else channels, *kernel)
    unsure = np.random.default_rng(seed).random(shape) >= share
    groups = filters if depthwise else 1
    visits = filter_visits(queue_lengths(unsure, groups))
    assert np.repeat(np.arange(filters), visits).tolist() == walk_schedule(unsure, groups)


def test_no_unsure_weight_needs_no_visit_and_all_fill_every_slot():
    geometry = Geometry(16, 8, 8, 16, (3, 3), 1, 1, 1)
    tiles = Tiles(16, 16, 4, 8)
    none = compact(geometry, np.zeros(geometry.weight_shape, bool), tiles)
    every = compact(geometry, np.ones(geometry.weight_shape, bool), tiles)
    assert (none.visits, none.tiles, none.efficiency()) == (0, (), 1.0)
    assert every.visits == geometry.weights // 8
    assert every.efficiency() == 1.0


def test_visits_of_one_channel_use_one_slot():
    unsure = np.zeros((4, 16, 3, 3), bool)
    unsure[:, 8] = True  # one row of the array
    assert filter_visits(queue_lengths(unsure, 1)).tolist() == [9, 9, 9, 9]


@given(st.lists(st.integers(0, 30), min_size=1, max_size=20), st.integers(2, 6), st.integers(1, 40))
def test_slot_tiles_hold_all_visits_within_their_limits(visits, filters, most):
    tiles = slot_tiles(visits, filters, most)
    assert sum(tile.visits for tile in tiles) == sum(visits)
    assert all(1 <= tile.visits <= tile.read <= most for tile in tiles)
    assert all(1 <= tile.filters <= min(filters, len(visits)) for tile in tiles)


def test_slot_tiles_split_where_a_span_ends():
    assert slot_tiles([3, 2, 4], 2, 100) == [SlotTile(2, 3, 9), SlotTile(2, 6, 6)]
    assert slot_tiles([3, 2, 4], 3, 4) == [SlotTile(3, 4, 4), SlotTile(2, 4, 4), SlotTile(1, 1, 1)]


def test_random_masks_have_the_share_and_repeat():
    geometry = Geometry(64, 8, 8, 64, (3, 3), 1, 1, 1)
    for share in (0.6, 0.8, 0.95):
        unsure = random_unsure(geometry, share)
        assert abs(1 - unsure.mean() - share) < 0.01
        assert (unsure == random_unsure(geometry, share)).all()


def test_waiting_bursts_cost_time():
    geometry, tiles = Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1), Tiles(16, 16, 4, 8)
    cycles = [
        position_pass(
            geometry, 16, "forward", tiles, hardware=replace(HARDWARE, burst_wait=wait)
        ).cycles
        for wait in (0, 160, 400)
    ]
    assert cycles[0] < cycles[1] < cycles[2]


def test_a_stage_1_forward_step_by_hand():
    """16 channels, 32x32: 32 positions x 144 steps beat every port (docs/hardware.md)."""
    geometry, tiles = Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1), Tiles(16, 16, 4, 8)
    tally = position_pass(geometry, 16, "forward", tiles, hardware=HARDWARE)
    assert tally.steps == 32
    assert tally.core_steps == 32 * 32 * 144
    first_load, last_store = 2 * 5 * 9 * 16, 4 * 512
    assert tally.cycles == 32 * (32 * 144 + STEP_LATENCY) + first_load + last_store


@pytest.mark.parametrize("direction", ["forward", "backward_input"])
def test_idle_lanes_of_a_partial_group_take_as_long_as_a_full_one(direction):
    geometry, tiles = Geometry(16, 8, 8, 16, (3, 3), 1, 1, 1), Tiles(16, 16, 4, 8)
    one, sixteen, more = (
        position_pass(geometry, samples, direction, tiles).cycles for samples in (1, 16, 17)
    )
    assert one == sixteen < more
