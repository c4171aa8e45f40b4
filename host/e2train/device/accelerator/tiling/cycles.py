# SPDX-License-Identifier: Apache-2.0
"""Cycles and memory beats of one pass of a convolution, cut into given tiles.

The loop nest of the kernels, counted rather than run. A pass is a sequence of steps; a step loads
one tile's operands, multiplies and stores, each through buffers of which there are two, so that
the three overlap: a step lasts as long as the slowest of them. docs/hardware.md states what is
assumed (full-rate bursts, a fixed latency a step). `narrow_input` is the pass to the input on the
gradient's eight most significant bits, of which two products share a DSP.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ...geometry import Geometry
from .array import HARDWARE, Hardware
from .spans import Axis, Span, spans

DIRECTIONS = ("forward", "backward_input", "narrow_input", "weight", "psg")
TRANSPOSED = ("backward_input", "narrow_input")
PACKED = ("forward", "narrow_input")  # along positions, two products a DSP
STEP_LATENCY = 40  # cycles until a step's first result: address, memory, pipeline and restart
BYTE_BEATS = 2  # a word of 16 samples of 8 bits
HALF_BEATS = 4  # of 16 bits
RAW_BEATS = 16  # of 64-bit sums
FINISH = HALF_BEATS  # cycles a word: four lanes a cycle
VISIT_ROWS = 8  # cycles in which a visit to the weights is set up, a row of the array each
PACKED_CHANNELS = 32  # of a packed visit to the weights; up to half of them, it takes two filters


@dataclass(frozen=True)
class Tiles:
    """How a launch is cut: channels produced and reduced a step, positions of the produced plane.

    Weight gradients: filters (`outer`) and channels (`inner`) a weight tile, output positions.
    """

    outer: int
    inner: int
    height: int
    width: int


@dataclass(frozen=True)
class Options:
    """What a store does besides: beats a word on the extra port and on the output port."""

    extra_beats: int = 0
    output_beats: int = HALF_BEATS


REQUANTISED = Options()


def beside_bursts(options: Options) -> int:
    """Bursts a run on the extra port: sums of an earlier launch, a residual, a mask."""
    carried, beside = divmod(options.extra_beats, RAW_BEATS)
    return carried + (2 if beside > HALF_BEATS else 1 if beside else 0)


@dataclass(frozen=True)
class Tally:
    """Cycles, steps (tiles), operand words of the MAC core and beats by port."""

    cycles: int = 0
    steps: int = 0
    core_steps: int = 0
    columns: int = 0
    rows: int = 0
    extra: int = 0
    output: int = 0

    def __add__(self, other: Tally) -> Tally:
        return Tally(
            self.cycles + other.cycles,
            self.steps + other.steps,
            self.core_steps + other.core_steps,
            self.columns + other.columns,
            self.rows + other.rows,
            self.extra + other.extra,
            self.output + other.output,
        )

    def times(self, count: int) -> Tally:
        """`count` repetitions."""
        return Tally(
            self.cycles * count,
            self.steps * count,
            self.core_steps * count,
            self.columns * count,
            self.rows * count,
            self.extra * count,
            self.output * count,
        )

    @property
    def beats(self) -> int:
        """Beats over all ports."""
        return self.columns + self.rows + self.extra + self.output


def port_cycles(columns: int, rows: int, extra: int, output: int, hardware: Hardware) -> int:
    """Cycles that the ports need: the busiest one's beats, or all bytes at the memory's rate."""
    everything = (columns + rows + extra + output) * hardware.bytes_per_beat
    return max(columns, rows, extra, output, -(-everything // hardware.total_bytes_per_cycle))


@lru_cache(maxsize=1024)
def axes(geometry: Geometry, direction: str) -> tuple[Axis, Axis]:
    """Vertical and horizontal axis of a pass."""
    inputs, outputs = (geometry.height, geometry.width), (geometry.out_height, geometry.out_width)
    transposed = direction in TRANSPOSED
    pairs = zip(*((outputs, inputs) if transposed else (inputs, outputs)), strict=True)
    rows, columns = (
        Axis(read, produced, kernel, geometry.stride, geometry.padding, transposed)
        for (read, produced), kernel in zip(pairs, geometry.kernel, strict=True)
    )
    return rows, columns


def channels(geometry: Geometry, direction: str) -> tuple[int, int]:
    """(outer, inner): channels produced and reduced. Depthwise: inner is 1."""
    depthwise = geometry.groups > 1
    if direction in TRANSPOSED:
        return geometry.channels, 1 if depthwise else geometry.filters
    return geometry.filters, 1 if depthwise else geometry.channels


def groups_of(samples: int, hardware: Hardware = HARDWARE) -> int:
    """Words that `samples` samples of one element take."""
    return -(-samples // hardware.columns)


def parts(total: int, tile: int) -> Iterator[tuple[int, int]]:
    """Different tile sizes when `total` is cut every `tile`, each with how often it occurs."""
    if total >= tile:
        yield tile, total // tile
    if total % tile:
        yield total % tile, 1


# ---- a step of a pass along positions (forward, backward to the input) --------------------------


def _visits(outer: int, depth: int, rows: int) -> int:
    """Cycles of all blocks of `rows` channels at one position: sums leave one word a cycle."""
    whole, rest = divmod(outer, rows)
    return whole * max(depth, rows) + (max(depth, rest) if rest else 0)


def _position_compute(
    geometry: Geometry, direction: str, y: Span, x: Span, tiles: Tiles, hardware: Hardware
) -> tuple[int, int]:
    """(operand words that the array takes, cycles of a step's visits)."""
    depthwise = geometry.groups > 1
    rows = 1 if depthwise else hardware.rows * (2 if direction in PACKED else 1)
    words = cycles = 0
    for taps_y, count_y in y.taps:
        for taps_x, count_x in x.taps:
            depth = max(tiles.inner * taps_y * taps_x, 1)  # no tap: one step of zeros
            positions = count_y * count_x
            words += positions * -(-tiles.outer // rows) * depth
            cycles += positions * _visits(tiles.outer, depth, rows)
    return words, cycles


def runs(height: int, width: int, plane_width: int) -> int:
    """Bursts of a region: one where it is as wide as its plane, else one a row."""
    return 1 if width == plane_width else height


def _position_step(
    geometry: Geometry,
    direction: str,
    y: Span,
    x: Span,
    tiles: Tiles,
    options: Options,
    hardware: Hardware,
) -> Tally:
    """One step; `tiles` holds the channels that this very step has."""
    depthwise = geometry.groups > 1
    words = y.touched * x.touched * (tiles.outer if depthwise else tiles.inner)
    columns = words * (BYTE_BEATS if direction == "forward" else HALF_BEATS)
    r, s = geometry.kernel
    rows = -(-tiles.outer // hardware.columns) * tiles.inner * r * s * BYTE_BEATS
    produced = tiles.outer * y.count * x.count
    extra, output = produced * options.extra_beats, produced * options.output_beats
    operands, compute = _position_compute(geometry, direction, y, x, tiles, hardware)
    ports = port_cycles(columns, rows, extra, output, hardware)
    wait = hardware.burst_wait
    _, axis_x = axes(geometry, direction)
    bursts = runs(y.touched, x.touched, axis_x.read)
    load = columns + wait * bursts * (tiles.outer if depthwise else tiles.inner)
    bursts = tiles.outer * runs(y.count, x.count, axis_x.produced)
    store = max(output + wait * bursts, FINISH * produced)
    beside = extra + wait * bursts * beside_bursts(options)
    cycles = max(ports, load, store, beside, compute) + STEP_LATENCY
    return Tally(cycles, 1, operands, columns, rows, extra, output)


@lru_cache(maxsize=1024)
def position_pass(
    geometry: Geometry,
    samples: int,
    direction: str,
    tiles: Tiles,
    options: Options = REQUANTISED,
    hardware: Hardware = HARDWARE,
) -> Tally:
    """One launch of `forward` or `backward_input` over `tiles.inner` reduced channels."""
    axis_y, axis_x = axes(geometry, direction)
    outer, _ = channels(geometry, direction)
    total, first, last = Tally(), 0, 0
    for y, count_y in spans(axis_y, tiles.height):
        for x, count_x in spans(axis_x, tiles.width):
            for size, count_outer in parts(outer, tiles.outer):
                actual = Tiles(size, tiles.inner, y.count, x.count)
                step = _position_step(geometry, direction, y, x, actual, options, hardware)
                total += step.times(count_y * count_x * count_outer)
                first = first or max(step.columns, step.rows)
                last = step.output
    total = total.times(groups_of(samples, hardware))
    return total + Tally(cycles=first + last)  # the first load and the last store overlap nothing


# ---- a step of a pass to the weights ------------------------------------------------------------


@lru_cache(maxsize=1024)
def places(geometry: Geometry, height: int, width: int) -> tuple[tuple[int, ...], ...]:
    """Different tiles of the output plane.

    Each: positions, words of x a channel, bursts of g and of x a channel, how often it occurs.
    """
    axis_y, axis_x = axes(geometry, "weight")
    return tuple(
        (
            y.count * x.count,
            y.touched * x.touched,
            runs(y.count, x.count, axis_x.produced),
            runs(y.touched, x.touched, axis_x.read),
            count_y * count_x,
        )
        for y, count_y in spans(axis_y, height)
        for x, count_x in spans(axis_x, width)
    )


def weight_visits(geometry: Geometry, outer: int, inner: int, packed: bool, rows: int) -> int:
    """Visits that a tile of `outer` filters and `inner` channels takes the array.

    A visit is one filter, one block of channels, one tap. Depthwise, and packed with few channels,
    it is two filters.
    """
    r, s = geometry.kernel
    if geometry.groups > 1 or (packed and inner <= PACKED_CHANNELS // 2):
        return -(-outer // 2) * r * s
    return outer * -(-inner // (PACKED_CHANNELS if packed else rows)) * r * s


def gradient_beats(filters: int, positions: int) -> tuple[int, int]:
    """(columns, extra): two ports take turns at the filters of a weight tile."""
    return -(-filters // 2) * positions * HALF_BEATS, filters // 2 * positions * HALF_BEATS


def weight_step(
    place: tuple[int, ...], filters: int, channels: int, visits: int, hardware: Hardware
) -> Tally:
    """A step of a weight pass at one of the `places`: g of `filters`, x of `channels`, visits."""
    positions, touched, g_bursts, x_bursts, _ = place
    columns, extra = gradient_beats(filters, positions)
    rows = channels * touched * BYTE_BEATS
    wait = hardware.burst_wait
    load_g = columns + wait * -(-filters // 2) * g_bursts
    load_x = rows + wait * channels * x_bursts
    ports = port_cycles(columns, rows, extra, 0, hardware)
    compute = visits * max(positions, VISIT_ROWS)
    cycles = max(ports, load_g, load_x, compute) + STEP_LATENCY
    return Tally(cycles, 1, visits * positions, columns, rows, extra)


def weight_steps(
    geometry: Geometry, samples: int, tiles: Tiles, visits: int, hardware: Hardware = HARDWARE
) -> Tally:
    """All steps that accumulate one weight tile. Its first load overlaps nothing.

    `tiles` holds the filters and channels that this very tile has.
    """
    inner = tiles.outer if geometry.groups > 1 else tiles.inner
    total = Tally()
    for place in places(geometry, tiles.height, tiles.width):
        total += weight_step(place, tiles.outer, inner, visits, hardware).times(place[-1])
    fill = max(total.columns, total.rows) // total.steps
    return total.times(groups_of(samples, hardware)) + Tally(cycles=fill)


def weight_pass(
    geometry: Geometry,
    samples: int,
    tiles: Tiles,
    packed: bool = False,
    hardware: Hardware = HARDWARE,
) -> Tally:
    """Every weight tile accumulated, then stored (64 bits a weight, a burst a filter)."""
    r, s = geometry.kernel
    total = Tally()
    outer, inner = channels(geometry, "weight")
    for k, count_k in parts(outer, tiles.outer):
        for c, count_c in parts(inner, tiles.inner):
            actual = Tiles(k, c, tiles.height, tiles.width)
            visits = weight_visits(geometry, k, c, packed, hardware.rows)
            steps = weight_steps(geometry, samples, actual, visits, hardware)
            store = Tally(cycles=k * (c * r * s + hardware.burst_wait), output=k * c * r * s)
            total += (steps + store).times(count_k * count_c)
    return total
