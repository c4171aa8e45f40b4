# SPDX-License-Identifier: Apache-2.0
"""How a convolution pass is cut into tiles: the plan with the fewest modelled cycles that fits.

The kernels take the tiles as registers and check them against their buffers; this module chooses
them, for the driver and for the performance model alike.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter

from ...geometry import Geometry
from .array import HARDWARE, Hardware
from .bounds import least_position_cycles, least_second, least_weight_cycles
from .cycles import (
    DIRECTIONS,
    RAW_BEATS,
    REQUANTISED,
    Options,
    Tally,
    Tiles,
    axes,
    channels,
    position_pass,
    weight_pass,
    weight_visits,
)
from .psg_cycles import even_second

EXHAUSTIVE = 8  # up to here every tile size is tried, beyond only those that cut evenly
LANES = 16  # channels come in blocks of this many
LAUNCH_CYCLES = 40_000  # what another launch costs the processor, as fabric cycles (an assumption)
NOMINAL_UNSURE = 0.3  # share of the weights that PSG is planned for; any share is computed
RAW = Options(output_beats=RAW_BEATS)
CARRIED = Options(extra_beats=RAW_BEATS, output_beats=RAW_BEATS)
LAST = Options(extra_beats=RAW_BEATS)


@dataclass(frozen=True)
class TilePlan:
    """Tiles of a pass, and the launches that a long reduction is split into.

    tile_outer: channels produced a step (weight gradients: filters a weight tile); tile_inner:
    channels reduced a launch (weight gradients: channels a weight tile); tile_h, tile_w: positions
    of the produced plane (weight gradients: of the output's). inner_ranges: (begin, count) of the
    reduced channels of each launch, in order; weight gradients need one launch.
    """

    tile_outer: int
    tile_inner: int
    tile_h: int
    tile_w: int
    inner_ranges: tuple[tuple[int, int], ...]


@lru_cache(maxsize=1024)
def plan_convolution(
    geometry: Geometry, samples: int, direction: str, hardware: Hardware = HARDWARE
) -> TilePlan:
    """The fastest plan (`plan_cost`) of a pass over `samples` samples.

    `direction`: forward, backward_input, narrow_input, weight or psg. Raises ValueError naming the
    limit if the layer fits no tile of this hardware, or for an unknown direction.
    """
    if direction not in DIRECTIONS:
        raise ValueError(f"direction: {direction!r} given, expected one of {', '.join(DIRECTIONS)}")
    _check_limits(geometry, samples, hardware)
    candidates = _weight_plans if direction in ("weight", "psg") else _position_plans
    best, least = None, 0
    bounded = [
        (_least_cost(geometry, samples, direction, plan, hardware), index, plan)
        for index, plan in enumerate(candidates(geometry, direction, hardware))
    ]
    for bound, _, plan in sorted(bounded, key=itemgetter(0, 1)):
        if best is not None and bound >= least:
            break  # no plan from here on can be better
        cost = plan_cost(geometry, samples, direction, plan, hardware)
        if best is None or cost < least:
            best, least = plan, cost
    if best is None:
        raise ValueError(_too_large(geometry, direction, hardware))
    return best


def plan_cost(
    geometry: Geometry,
    samples: int,
    direction: str,
    plan: TilePlan,
    hardware: Hardware = HARDWARE,
) -> int:
    """What plans are chosen by: modelled cycles, and the time to start each launch."""
    cycles = plan_cycles(geometry, samples, direction, plan, hardware)
    return cycles + LAUNCH_CYCLES * len(plan.inner_ranges)


def _least_cost(
    geometry: Geometry, samples: int, direction: str, plan: TilePlan, hardware: Hardware
) -> int:
    """A bound below `plan_cost`, quick to compute, so that few plans need the whole model."""
    launches = LAUNCH_CYCLES * len(plan.inner_ranges)
    if direction == "weight":
        return launches + least_weight_cycles(geometry, samples, tiles_of(plan), False, hardware)
    if direction == "psg":
        first = least_weight_cycles(geometry, samples, tiles_of(plan), True, hardware)
        second = least_second(geometry, samples, tiles_of(plan), NOMINAL_UNSURE, hardware)
        return launches + first + second
    return launches + least_position_cycles(geometry, samples, direction, tiles_of(plan), hardware)


def plan_cycles(
    geometry: Geometry,
    samples: int,
    direction: str,
    plan: TilePlan,
    hardware: Hardware = HARDWARE,
) -> int:
    """Modelled cycles of all launches of a plan; PSG's at a nominal share of unsure weights."""
    if direction == "weight":
        return weight_pass(geometry, samples, tiles_of(plan), hardware=hardware).cycles
    if direction == "psg":
        tiles = tiles_of(plan)
        first = weight_pass(geometry, samples, tiles, True, hardware)
        second = even_second(geometry, samples, tiles, NOMINAL_UNSURE, hardware)
        return first.cycles + second.cycles
    return position_tally(geometry, samples, direction, plan, hardware).cycles


def tiles_of(plan: TilePlan, inner: int | None = None) -> Tiles:
    """The tiles of one launch of a plan."""
    return Tiles(
        plan.tile_outer, plan.tile_inner if inner is None else inner, plan.tile_h, plan.tile_w
    )


def position_tally(
    geometry: Geometry,
    samples: int,
    direction: str,
    plan: TilePlan,
    hardware: Hardware = HARDWARE,
    options: Options = REQUANTISED,
) -> Tally:
    """All launches of a plan along positions; `options` is what the last one stores."""
    total = Tally()
    for index, (_, count) in enumerate(plan.inner_ranges):
        chosen = _launch_options(index, len(plan.inner_ranges), options)
        tiles = tiles_of(plan, count)
        total += position_pass(geometry, samples, direction, tiles, chosen, hardware)
    return total


def _launch_options(index: int, launches: int, options: Options) -> Options:
    """Launches hand their 64-bit sums on; the last one requantises."""
    if index == launches - 1:
        carried = RAW_BEATS if launches > 1 else 0
        return Options(options.extra_beats + carried, options.output_beats)
    return RAW if index == 0 else CARRIED


# ---- what fits ----------------------------------------------------------------------------------


def sizes(total: int) -> list[int]:
    """Tile sizes worth trying: all of a small extent, of a large one those that cut it evenly."""
    if total <= EXHAUSTIVE:
        return list(range(1, total + 1))
    return sorted({-(-total // pieces) for pieces in range(1, total + 1)})


def row_words(geometry: Geometry, outer: int, inner: int) -> int:
    """Words of weights of a step, in all banks of the row buffer."""
    r, s = geometry.kernel
    return -(-outer // LANES) * inner * r * s


def column_words(geometry: Geometry, direction: str, tiles: Tiles) -> int:
    """Words of the column buffer that a step needs."""
    if direction in ("weight", "psg"):
        return tiles.outer * tiles.height * tiles.width
    depth = tiles.outer if geometry.groups > 1 else tiles.inner
    return _region(geometry, direction, tiles.height, tiles.width) * depth


def x_words(geometry: Geometry, tiles: Tiles) -> int:
    """Words a bank of the row buffer that a weight step's activations need."""
    depthwise = geometry.groups > 1  # such a tile may begin at any bank, so reach into one more
    blocks = -(-tiles.outer // LANES) + 1 if depthwise else -(-tiles.inner // LANES)
    return blocks * _region(geometry, "weight", tiles.height, tiles.width)


@lru_cache(maxsize=4096)
def _region(geometry: Geometry, direction: str, height: int, width: int) -> int:
    y, x = axes(geometry, direction)
    return y.most_touched(height) * x.most_touched(width)


def _position_plans(geometry: Geometry, direction: str, hardware: Hardware) -> Iterator[TilePlan]:
    outer, inner = channels(geometry, direction)
    y, x = axes(geometry, direction)
    for blocks in sizes(-(-outer // LANES)):
        tile = LANES * blocks
        if tile > hardware.tile_sums:
            break
        for height in sizes(y.produced):
            for width in sizes(x.produced):
                if tile * height * width > hardware.tile_sums:
                    break
                tiles = Tiles(tile, 1, height, width)
                most = _most_inner(geometry, direction, tiles, hardware)
                if most:
                    yield _split(tiles, inner, min(inner, most))


def _most_inner(geometry: Geometry, direction: str, tiles: Tiles, hardware: Hardware) -> int:
    """Reduced channels that one launch can take with these tiles; 0 if none."""
    by_columns = hardware.column_depth // column_words(geometry, direction, tiles)
    by_rows = hardware.row_banks * hardware.row_depth // row_words(geometry, tiles.outer, 1)
    return min(by_columns, by_rows)


def _split(tiles: Tiles, inner: int, most: int) -> TilePlan:
    """As few launches as possible, of equal size but for the last."""
    launches = -(-inner // most)
    count = -(-inner // launches)
    ranges = tuple((begin, min(count, inner - begin)) for begin in range(0, inner, count))
    return TilePlan(tiles.outer, count, tiles.height, tiles.width, ranges)


def _weight_plans(geometry: Geometry, direction: str, hardware: Hardware) -> Iterator[TilePlan]:
    outer, inner = channels(geometry, direction)
    y, x = axes(geometry, direction)
    blocks = -(-inner // LANES)
    inners = [1] if geometry.groups > 1 else [LANES * count for count in sizes(blocks)]
    for tile_inner in inners:
        for height in sizes(y.produced):
            for width in sizes(x.produced):
                for tile_outer in sizes(outer):
                    tiles = Tiles(tile_outer, tile_inner, height, width)
                    if not _weight_fits(geometry, direction, tiles, hardware):
                        break
                    if direction == "psg" and not _slots_fit(geometry, tiles, hardware):
                        continue
                    yield TilePlan(tile_outer, tile_inner, height, width, ((0, inner),))


def slot_words(geometry: Geometry, tiles: Tiles) -> int:
    """Words a bank of x that PSG's second phase needs: all channels, or a depthwise tile's."""
    if geometry.groups > 1:
        return x_words(geometry, tiles)
    every = Tiles(tiles.outer, geometry.channels, tiles.height, tiles.width)
    return x_words(geometry, every)


def sums_words(geometry: Geometry, direction: str, outer: int, inner: int, rows: int) -> int:
    """Sums on the chip that a weight tile takes, lanes without a weight included.

    PSG's predictor keeps 32 a visit where its slices are packed, 8 where they are too wide.
    """
    _, most = channels(geometry, "weight")
    real = min(inner, most)
    plain = rows * weight_visits(geometry, outer, real, False, rows)
    packed = 4 * rows * weight_visits(geometry, outer, real, True, rows)
    return max(plain, packed) if direction == "psg" else plain


def _weight_fits(geometry: Geometry, direction: str, tiles: Tiles, hardware: Hardware) -> bool:
    sums = sums_words(geometry, direction, tiles.outer, tiles.inner, hardware.rows)
    return (
        column_words(geometry, "weight", tiles) <= hardware.column_depth
        and x_words(geometry, tiles) <= hardware.row_depth
        and sums <= hardware.weight_sums
    )


def queued_weights(geometry: Geometry, hardware: Hardware) -> int:
    """Weights of one filter that may wait in the queue of one row of the array."""
    r, s = geometry.kernel
    return -(-(geometry.channels // geometry.groups) // hardware.rows) * r * s


def _slots_fit(geometry: Geometry, tiles: Tiles, hardware: Hardware) -> bool:
    """PSG's second phase: two filters' gradients, x of all their channels, queues for both."""
    two = min(2, geometry.filters)
    return (
        two * tiles.height * tiles.width <= hardware.column_depth
        and slot_words(geometry, tiles) <= hardware.row_depth
        and 2 * queued_weights(geometry, hardware) <= hardware.schedule_depth
        and (geometry.groups == 1 or tiles.outer >= two)
    )


# ---- refusals -----------------------------------------------------------------------------------


def _check_limits(geometry: Geometry, samples: int, hardware: Hardware) -> None:
    largest = max(geometry.height, geometry.width)
    for name, value, limit in (
        ("samples", samples, hardware.samples),
        ("channels", geometry.channels, hardware.channels),
        ("filters", geometry.filters, hardware.channels),
        ("height, width", largest, hardware.size),
    ):
        if not 1 <= value <= limit:
            raise ValueError(f"{name}: {value} given, the accelerator takes 1 to {limit}")


def _too_large(geometry: Geometry, direction: str, hardware: Hardware) -> str:
    """Which buffer even the smallest tile exceeds."""
    weight = direction in ("weight", "psg")
    depthwise = geometry.groups > 1
    inner = LANES if weight and not depthwise else 1
    outer = 1 if weight else LANES
    if direction == "psg" and depthwise:
        outer = min(2, geometry.filters)
    least = Tiles(outer, inner, 1, 1)
    needs = [("column_depth", column_words(geometry, direction, least), hardware.column_depth)]
    if weight:
        sums = sums_words(geometry, direction, least.outer, least.inner, hardware.rows)
        needs += [
            ("row_depth", x_words(geometry, least), hardware.row_depth),
            ("weight_sums", sums, hardware.weight_sums),
        ]
        if direction == "psg":
            needs += [
                ("schedule_depth", 2 * queued_weights(geometry, hardware), hardware.schedule_depth),
                ("row_depth", slot_words(geometry, least), hardware.row_depth),
                ("column_depth", min(2, geometry.filters), hardware.column_depth),
            ]
    else:
        rows = row_words(geometry, least.outer, 1)
        needs += [
            ("row_banks x row_depth", rows, hardware.row_banks * hardware.row_depth),
            ("tile_sums", least.outer, hardware.tile_sums),
        ]
    over = next((need for need in needs if need[1] > need[2]), needs[0])
    return f"{direction}: the smallest tile needs {over[1]} words of {over[0]}, there are {over[2]}"
