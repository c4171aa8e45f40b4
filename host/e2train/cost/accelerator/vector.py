# SPDX-License-Identifier: Apache-2.0
"""The vector unit's operations around the convolutions, in modelled cycles."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ...device.accelerator.tiling.cycles import (
    BYTE_BEATS,
    HALF_BEATS,
    RAW_BEATS,
    STEP_LATENCY,
    Tally,
    groups_of,
)
from ...network.spec import Block, Unit
from .work import HEADER, Setting, Work


@dataclass(frozen=True)
class Words:
    """Beats a word on each port of a vector operation."""

    columns: int = HALF_BEATS
    rows: int = 0
    extra: int = 0
    output: int = 0


def vector_work(
    pass_: str, layer: str, size: int, words: Words, setting: Setting, beside: Tally = HEADER
) -> Work:
    """One operation over `size` elements a sample: a word of 16 samples each four cycles.

    `beside`: what it does before and after (coefficients, sums, the result block).
    """
    count = groups_of(setting.samples, setting.hardware) * size
    slowest = max(HALF_BEATS, words.columns, words.rows, words.extra, words.output)
    tally = Tally(
        cycles=slowest * count + STEP_LATENCY,
        columns=words.columns * count,
        rows=words.rows * count,
        extra=words.extra * count,
        output=words.output * count,
    )
    return Work(pass_, layer, tally + beside, elements=size * setting.samples)


def coefficients(channels: int) -> Tally:
    """Two beats a channel, read before a map; and the result block."""
    return HEADER + Tally(cycles=2 * channels, rows=2 * channels)


def sums(count: int) -> Tally:
    """64-bit sums written after an operation, a beat each; and the result block."""
    return HEADER + Tally(cycles=count, output=count)


MAP_BYTES = Words(output=BYTE_BEATS)
MAP_HALVES = Words(output=HALF_BEATS)


def normalise(unit: Unit, setting: Setting, *, last: bool, residual: bool) -> Work:
    """Batch norm, residual add and activation; the last unit of a block writes 16 bits."""
    words = replace(MAP_HALVES if last else MAP_BYTES, extra=HALF_BEATS if residual else 0)
    geometry = unit.geometry
    table = coefficients(geometry.filters)
    return vector_work("normalise", unit.name, geometry.output_size, words, setting, table)


def normalise_backward(unit: Unit, setting: Setting) -> Work:
    """Two launches: the sums of g and g*y, then the line through them."""
    geometry = unit.geometry
    read = Words(rows=HALF_BEATS)
    first, second = (
        vector_work("normalise_backward", unit.name, geometry.output_size, *how)
        for how in (
            (read, setting, sums(2 * geometry.filters)),
            (replace(read, output=HALF_BEATS), setting, coefficients(geometry.filters)),
        )
    )
    return replace(first, tally=first.tally + second.tally, launches=2)


def mask(unit: Unit, setting: Setting) -> Work:
    """A gradient behind the activation of a 16-bit output."""
    words, channels = replace(MAP_HALVES, extra=HALF_BEATS), unit.geometry.filters
    size = unit.geometry.output_size
    return vector_work("mask", unit.name, size, words, setting, coefficients(channels))


def narrow(block: Block, setting: Setting) -> Work:
    """The stream to 8 bits, for a block's first convolution."""
    first = block.units[0].geometry
    table = coefficients(first.channels)
    return vector_work("narrow", block.name, first.input_size, MAP_BYTES, setting, table)


def shortcut(block: Block, size: int, setting: Setting) -> Work:
    """A parameter-free shortcut, forward or back: `size` elements written, fewer read."""
    first, last = block.units[0].geometry, block.units[-1].geometry
    kept = first.channels * last.out_height * last.out_width
    read = HALF_BEATS * groups_of(setting.samples, setting.hardware) * kept
    words = Words(columns=0, output=HALF_BEATS)
    return vector_work("shortcut", block.name, size, words, setting, HEADER + Tally(columns=read))


def pool(channels: int, size: int, setting: Setting) -> Work:
    """Sums over positions of `size` elements: 16 64-bit sums a channel and group of samples.

    Sums leave while the next channel is read.
    """
    output = RAW_BEATS * channels * groups_of(setting.samples, setting.hardware)
    read = vector_work("pool", "pool", size, Words(), setting)
    cycles = max(output - read.tally.cycles, 0)
    return replace(read, tally=read.tally + Tally(cycles=cycles, output=output))


def spread(size: int, setting: Setting) -> Work:
    """The pooling's gradient, one value to every position."""
    return vector_work("pool", "spread", size, MAP_HALVES, setting)
