# SPDX-License-Identifier: Apache-2.0
"""Tile plans: buffer limits hold, small plans are the best there are, refusals name limits."""

from dataclasses import replace
from itertools import pairwise, product

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from e2train.device.accelerator import generated as hw
from e2train.device.accelerator.tiling.array import HARDWARE
from e2train.device.accelerator.tiling.plan import TilePlan, plan_convolution, plan_cost
from e2train.device.geometry import Geometry
from hardware_geometries import geometries, touched

TRANSPOSED = ("backward_input", "narrow_input")
POSITIONS = ("forward", *TRANSPOSED)
DIRECTIONS = (*POSITIONS, "weight", "psg")


def region(geometry, direction, height, width):
    """Words a channel of the largest region that any tile of this size touches."""
    transposed = direction in TRANSPOSED
    inputs, outputs = (
        (geometry.height, geometry.width),
        (geometry.out_height, geometry.out_width),
    )
    sides = []
    for axis, tile in enumerate((height, width)):
        read, made = (outputs, inputs) if transposed else (inputs, outputs)
        common = (geometry.kernel[axis], geometry.stride, geometry.padding, read[axis], transposed)
        sides.append(
            max(
                touched(begin, min(tile, made[axis] - begin), *common)
                for begin in range(0, made[axis], tile)
            )
        )
    return sides[0] * sides[1]


def allowance(geometry, direction, height, width):
    """Words a channel that the kernels' own check allows for (hls/src/check.cpp)."""
    transposed = direction in TRANSPOSED
    planes = (
        (geometry.out_height, geometry.out_width)
        if transposed
        else (geometry.height, geometry.width)
    )
    words = 1
    for tile, kernel, plane in zip((height, width), geometry.kernel, planes, strict=True):
        if transposed:
            words *= min((tile + kernel - 2) // geometry.stride + 1, plane)
        else:
            words *= min((tile - 1) * geometry.stride + kernel, plane)
    return words


def blocks(channels):
    return -(-channels // 16)


def sums_on_chip(geometry, direction, filters, channels):
    """Lanes of sums that a tile of weights takes: 8 a visit, or 32 of a packed predictor's."""
    r, s = geometry.kernel
    channels, pairs = min(channels, geometry.channels), -(-filters // 2)
    if geometry.groups > 1:
        plain, packed = pairs, pairs
    else:
        plain = filters * -(-channels // 8)
        packed = pairs if channels <= 16 else filters * -(-channels // 32)
    return r * s * max(8 * plain, 32 * packed if direction == "psg" else 0)


def assert_fits(geometry, direction, plan):
    r, s = geometry.kernel
    depthwise = geometry.groups > 1
    positions = plan.tile_h * plan.tile_w
    words = region(geometry, direction, plan.tile_h, plan.tile_w)
    transposed = direction in TRANSPOSED
    plane = (
        (geometry.height, geometry.width)
        if transposed
        else (geometry.out_height, geometry.out_width)
    )
    assert 1 <= plan.tile_h <= plane[0]
    assert 1 <= plan.tile_w <= plane[1]
    if direction in POSITIONS:
        assert plan.tile_outer % 16 == 0
        assert words * (plan.tile_outer if depthwise else plan.tile_inner) <= (
            hw.BUFFERS_COLUMN_DEPTH
        )
        weights = blocks(plan.tile_outer) * plan.tile_inner * r * s
        assert weights <= hw.BUFFERS_ROW_BANKS * hw.BUFFERS_ROW_DEPTH
        assert plan.tile_outer * positions <= hw.BUFFERS_TILE_SUMS
        return
    banked = blocks(plan.tile_outer) + 1 if depthwise else blocks(plan.tile_inner)
    assert plan.tile_inner == 1 if depthwise else plan.tile_inner % 16 == 0
    assert banked * words <= hw.BUFFERS_ROW_DEPTH
    assert plan.tile_outer * positions <= hw.BUFFERS_COLUMN_DEPTH
    sums = sums_on_chip(geometry, direction, plan.tile_outer, plan.tile_inner)
    assert sums <= hw.BUFFERS_WEIGHT_SUMS
    if direction == "psg":
        two = min(2, geometry.filters)
        assert two * positions <= hw.BUFFERS_COLUMN_DEPTH
        if depthwise:
            assert plan.tile_outer >= two
        else:
            assert blocks(geometry.channels) * words <= hw.BUFFERS_ROW_DEPTH


def assert_covers(geometry, direction, plan):
    reduced = geometry.filters if direction in TRANSPOSED else geometry.channels
    total = 1 if geometry.groups > 1 else reduced
    begins = [begin for begin, _ in plan.inner_ranges]
    ends = [begin + count for begin, count in plan.inner_ranges]
    assert begins[0] == 0
    assert ends[-1] == total
    assert all(end == begin for end, begin in zip(ends[:-1], begins[1:], strict=True))
    assert all(count >= 1 for _, count in plan.inner_ranges)
    if direction in POSITIONS:
        assert max(count for _, count in plan.inner_ranges) == plan.tile_inner


@settings(max_examples=60)
@given(geometries(), st.integers(1, 200), st.sampled_from(DIRECTIONS))
def test_every_plan_respects_every_buffer(geometry, samples, direction):
    try:
        plan = plan_convolution(geometry, samples, direction)
    except ValueError:
        assume(direction != "psg" or geometry.groups > 1)
        r, s = geometry.kernel
        wide = blocks(geometry.channels)
        queued = 2 * -(-geometry.channels // 8) * r * s
        assert (
            wide * allowance(geometry, "weight", 1, 1) > hw.BUFFERS_ROW_DEPTH
            or queued > hw.BUFFERS_SCHEDULE_DEPTH
        )
        return
    assert_fits(geometry, direction, plan)
    assert_covers(geometry, direction, plan)


SMALL = replace(
    HARDWARE, row_depth=24, column_depth=96, tile_sums=128, weight_sums=1024, schedule_depth=256
)


def all_plans(geometry, direction, hardware):
    """Every plan at all that fits, without the planner's choice of candidates."""
    depthwise, (r, s) = geometry.groups > 1, geometry.kernel
    transposed = direction in TRANSPOSED
    outer = geometry.channels if transposed else geometry.filters
    inner = 1 if depthwise else (geometry.filters if transposed else geometry.channels)
    height, width = (
        (geometry.height, geometry.width)
        if transposed
        else (geometry.out_height, geometry.out_width)
    )
    for th, tw in product(range(1, height + 1), range(1, width + 1)):
        words = allowance(geometry, direction, th, tw)
        if direction == "weight":
            inners = [1] if depthwise else [16 * n for n in range(1, blocks(inner) + 1)]
            for ti, to in product(inners, range(1, outer + 1)):
                banked = blocks(to) + 1 if depthwise else blocks(ti)
                if (
                    banked * words <= hardware.row_depth
                    and to * th * tw <= hardware.column_depth
                    and sums_on_chip(geometry, direction, to, ti) <= hardware.weight_sums
                ):
                    yield TilePlan(to, ti, th, tw, ((0, inner),))
            continue
        for block, count in product(range(1, blocks(outer) + 1), range(1, inner + 1)):
            if (
                words * (16 * block if depthwise else count) <= hardware.column_depth
                and block * count * r * s <= hardware.row_banks * hardware.row_depth
                and 16 * block * th * tw <= hardware.tile_sums
            ):
                ranges = tuple((at, min(count, inner - at)) for at in range(0, inner, count))
                yield TilePlan(16 * block, count, th, tw, ranges)


@settings(max_examples=20)
@given(
    geometries(channels=40, filters=8, size=6),
    st.integers(1, 40),
    st.sampled_from((*POSITIONS, "weight")),
)
def test_small_plans_are_the_best_there_are(geometry, samples, direction):
    assume(geometry.out_height <= 6 and geometry.out_width <= 6)
    every = list(all_plans(geometry, direction, SMALL))
    if not every:
        with pytest.raises(ValueError, match="smallest tile"):
            plan_convolution(geometry, samples, direction, SMALL)
        return
    plan = plan_convolution(geometry, samples, direction, SMALL)
    assert plan in every
    best = min(plan_cost(geometry, samples, direction, one, SMALL) for one in every)
    assert plan_cost(geometry, samples, direction, plan, SMALL) == best


def test_a_reduction_beyond_the_buffers_takes_several_launches():
    geometry = Geometry(512, 8, 8, 512, (3, 3), 1, 1, 1)
    for direction in POSITIONS:
        plan = plan_convolution(geometry, 16, direction)
        assert len(plan.inner_ranges) > 1
        assert_fits(geometry, direction, plan)
        assert_covers(geometry, direction, plan)
    assert all(a < b for (a, _), (b, _) in pairwise(plan.inner_ranges))


CASE = Geometry(64, 8, 8, 64, (3, 3), 1, 1, 1)


@pytest.mark.parametrize(
    ("hardware", "direction", "words"),
    [
        (replace(HARDWARE, tile_sums=15), "forward", "tile_sums"),
        (replace(HARDWARE, column_depth=8), "forward", "column_depth"),
        (replace(HARDWARE, row_depth=0), "backward_input", "row_banks x row_depth"),
        (replace(HARDWARE, weight_sums=143), "weight", "weight_sums"),
        (replace(HARDWARE, row_depth=8), "weight", "row_depth"),
        (replace(HARDWARE, column_depth=0), "weight", "column_depth"),
        (replace(HARDWARE, schedule_depth=143), "psg", "schedule_depth"),
        (replace(HARDWARE, column_depth=1), "psg", "column_depth"),
        (replace(HARDWARE, row_depth=35), "psg", "row_depth"),
    ],
)
def test_what_fits_nowhere_is_refused_with_the_limit(hardware, direction, words):
    with pytest.raises(ValueError, match=f"smallest tile needs .* of {words},"):
        plan_convolution(CASE, 16, direction, hardware)


def test_sizes_beyond_the_registers_are_refused():
    with pytest.raises(ValueError, match="samples: 4097 given"):
        plan_convolution(CASE, 4097, "forward")
    with pytest.raises(ValueError, match="samples: 0 given"):
        plan_convolution(CASE, 0, "forward")
    with pytest.raises(ValueError, match="filters: 2049 given"):
        plan_convolution(Geometry(8, 4, 4, 2049, (1, 1), 1, 0, 1), 16, "forward")
    with pytest.raises(ValueError, match="direction: 'sideways' given"):
        plan_convolution(CASE, 16, "sideways")
