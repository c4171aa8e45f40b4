# SPDX-License-Identifier: Apache-2.0
"""Bounds below the modelled cycles of a plan, in a few multiplications.

A sum of maxima is at least the maximum of the sums: a pass lasts at least as long as all its
products on the array, or all beats of any port, and each step adds its latency.
"""

from __future__ import annotations

from functools import lru_cache

from ...geometry import Geometry
from .array import Hardware
from .cycles import (
    BYTE_BEATS,
    HALF_BEATS,
    PACKED_CHANNELS,
    STEP_LATENCY,
    Tiles,
    axes,
    channels,
    groups_of,
)
from .psg_cycles import even_visits
from .spans import Axis, spans


def _along(axis: Axis, tile: int) -> tuple[int, int]:
    """(tiles, positions of the read plane that they touch) along an axis."""
    found = spans(axis, tile)
    return sum(times for _, times in found), sum(span.touched * times for span, times in found)


@lru_cache(maxsize=4096)
def _cuts(geometry: Geometry, direction: str, height: int, width: int) -> tuple[int, int, int]:
    """(tiles of the produced plane, words a channel that they touch, positions produced)."""
    axis_y, axis_x = axes(geometry, direction)
    (rows, high), (columns, wide) = _along(axis_y, height), _along(axis_x, width)
    return rows * columns, high * wide, axis_y.produced * axis_x.produced


def least_position_cycles(
    geometry: Geometry, samples: int, direction: str, tiles: Tiles, hardware: Hardware
) -> int:
    """Of the launches of a pass along positions that need not reduce in parts, or more."""
    outer, inner = channels(geometry, direction)
    count, words, positions = _cuts(geometry, direction, tiles.height, tiles.width)
    parts = -(-outer // tiles.outer)
    depthwise = geometry.groups > 1
    load = (
        words
        * (outer if depthwise else parts * inner)
        * (BYTE_BEATS if direction == "forward" else HALF_BEATS)
    )
    store = outer * positions * HALF_BEATS
    steps = count * parts * STEP_LATENCY
    return groups_of(samples, hardware) * (max(load, store) + steps)


def least_weight_cycles(
    geometry: Geometry, samples: int, tiles: Tiles, packed: bool, hardware: Hardware
) -> int:
    """Of `weight_pass`."""
    outer, inner = channels(geometry, "weight")
    count, words, positions = _cuts(geometry, "weight", tiles.height, tiles.width)
    filters, parts = -(-outer // tiles.outer), -(-inner // tiles.inner)
    r, s = geometry.kernel
    # Whole visits of tiles cannot be fewer than all products at full rows.
    most = 2 if geometry.groups > 1 else PACKED_CHANNELS if packed else hardware.rows
    compute = -(-outer * inner * r * s // most) * positions
    g = parts * outer * positions * HALF_BEATS // 2
    x = words * BYTE_BEATS * (outer if geometry.groups > 1 else filters * inner)
    steps = count * filters * parts * STEP_LATENCY
    return groups_of(samples, hardware) * (max(compute, g, x) + steps) + geometry.weights


def least_second(
    geometry: Geometry, samples: int, tiles: Tiles, unsure: float, hardware: Hardware
) -> int:
    """Of `even_second`: each visit's positions, every channel's words at least once."""
    _, words, positions = _cuts(geometry, "weight", tiles.height, tiles.width)
    parts, _, visits = even_visits(geometry, tiles, unsure, hardware)
    compute = parts * visits * positions
    x = 0 if geometry.groups > 1 else parts * words * BYTE_BEATS * geometry.channels
    return groups_of(samples, hardware) * max(compute, x)
