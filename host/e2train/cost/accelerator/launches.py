# SPDX-License-Identifier: Apache-2.0
"""Launches of the accelerator in modelled cycles: what an operation of training takes.

Convolutions follow the tile plans that the driver chooses, the vector unit its loops. Work of the
processor is in `processor`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from ...device.accelerator.generated import BUFFERS_CHUNK, RESULT_SUMS
from ...device.accelerator.tiling.array import HARDWARE, Hardware
from ...device.accelerator.tiling.cycles import (
    HALF_BEATS,
    PACKED,
    RAW_BEATS,
    STEP_LATENCY,
    Options,
    Tally,
    groups_of,
    weight_pass,
)
from ...device.accelerator.tiling.plan import plan_convolution, position_tally, tiles_of
from ...device.accelerator.tiling.psg_cycles import (
    PsgTally,
    psg_pass,
    random_unsure,
    slices_pack,
)
from ...device.geometry import Geometry
from ...device.operations import TAKE, VECTOR_KINDS, Convolution, Vector

CONVOLUTIONS = ("forward", "backward_input", "backward_weight")
PASSES = (*CONVOLUTIONS, *VECTOR_KINDS)
HEADER = Tally(cycles=RESULT_SUMS, output=RESULT_SUMS)  # of the result block, a beat a word
PACKED_PRODUCTS = 2  # a DSP: 8x8
PREDICTOR_PRODUCTS = 4  # and with the predictor's slices: two in the DSP, two in LUTs beside it
NARROW_BITS = 8  # of a gradient that packs
BITS_A_BEAT = 4  # bits of each of a word's 16 samples that a beat of 64 bits holds
ENTRY_BEATS = 3  # of a line of a move's table
SHARES = 20  # steps of the predicted share at which PSG is modelled; straight lines between


_Between = tuple[tuple[float, float], ...]  # each field of a tally, and its rise to the next share


@dataclass(frozen=True)
class Launched:
    """One operation (of a long reduction a few launches): what it is, its tally and its ideal.

    macs: products asked for; ideal: cycles they would take on the array if every cell had work
    every cycle, packed where the pass packs; both 0 for the vector unit. elements: what the vector
    unit writes, or sums up, samples included.
    """

    pass_: str
    layer: str
    tally: Tally
    launches: int = 1
    macs: int = 0
    ideal: float = 0.0
    elements: int = 0
    geometry: Geometry | None = None

    @property
    def utilisation(self) -> float:
        """Share of the pass's own multiply-accumulate peak."""
        return self.ideal / self.tally.cycles if self.tally.cycles else 0.0


def peak(products: int, hardware: Hardware = HARDWARE) -> int:
    """Multiply-accumulates a cycle, with that many products a DSP."""
    return hardware.rows * hardware.columns * products


def launched(operation: Convolution | Vector, hardware: Hardware = HARDWARE) -> Launched:
    """The launches of an operation; ValueError naming the limit if a layer fits no tile."""
    if isinstance(operation, Vector):
        return _vector(operation, hardware)
    if operation.predictor is not None:  # as many unsure weights may never be seen again
        return psg_launched(operation, _interpolated(operation, hardware), hardware)
    return _convolution(operation, hardware)


# ---- convolutions -------------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def _convolution(operation: Convolution, hardware: Hardware) -> Launched:
    one, geometry = operation, operation.geometry
    samples = _whole_groups(one.samples, hardware)
    if one.pass_ == "backward_weight":
        tally, launches = _full_gradient(geometry, samples, hardware), 1
    else:
        beats = RAW_BEATS if one.exact else HALF_BEATS
        options = Options(sum(one.fused) // BITS_A_BEAT, beats)
        tally, launches = _positions(geometry, samples, _direction(one), options, hardware)
    macs = geometry.macs * one.samples
    ideal = macs / peak(PACKED_PRODUCTS if _direction(one) in PACKED else 1, hardware)
    return Launched(one.pass_, one.layer, tally, launches, macs, ideal, geometry=geometry)


def _direction(one: Convolution) -> str:
    """The plan's name of the pass: to the input, 8-bit gradients share a DSP."""
    narrow = one.pass_ == "backward_input" and one.bits[0] <= NARROW_BITS and not one.exact
    return "narrow_input" if narrow else one.pass_


def _whole_groups(samples: int, hardware: Hardware) -> int:
    """Samples that take as long, and are planned alike: idle lanes of a group cost a full one."""
    if samples > hardware.samples:
        return samples  # planning refuses it by its own number
    return groups_of(samples, hardware) * hardware.columns


@lru_cache(maxsize=8192)
def _positions(
    geometry: Geometry, samples: int, direction: str, options: Options, hardware: Hardware
) -> tuple[Tally, int]:
    """Forward, or backward to the input: (tally, launches)."""
    plan = plan_convolution(geometry, samples, direction, hardware)
    tally = position_tally(geometry, samples, direction, plan, hardware, options)
    outer = geometry.filters if direction == "forward" else geometry.channels
    around = HEADER + Tally(cycles=outer)  # channel sums begin at 0
    tally += around.times(len(plan.inner_ranges))
    if direction == "forward" and options.output_beats == HALF_BEATS:  # channel sums: y and y^2
        tally += Tally(cycles=2 * geometry.filters, output=2 * geometry.filters)
    return tally, len(plan.inner_ranges)


@lru_cache(maxsize=8192)
def _full_gradient(geometry: Geometry, samples: int, hardware: Hardware) -> Tally:
    plan = plan_convolution(geometry, samples, "weight", hardware)
    return weight_pass(geometry, samples, tiles_of(plan), hardware=hardware) + HEADER


def full_gradient_cycles(geometry: Geometry, samples: int, hardware: Hardware) -> int:
    """Of the full gradient's pass to the weights, without the result block."""
    return _full_gradient(geometry, samples, hardware).cycles - HEADER.cycles


def psg_launched(operation: Convolution, found: Tally, hardware: Hardware = HARDWARE) -> Launched:
    """PSG's pass to the weights, whose phases take `found`."""
    one, geometry = operation, operation.geometry
    macs = geometry.macs * one.samples
    unsure = macs * one.unsure // geometry.weights
    products = PREDICTOR_PRODUCTS if slices_pack(one.predictor) else 1
    ideal = macs / peak(products, hardware) + unsure / peak(1, hardware)
    all_macs = macs + unsure
    return Launched(one.pass_, one.layer, found + HEADER, 1, all_macs, ideal, geometry=geometry)


def psg_of_mask(
    geometry: Geometry,
    samples: int,
    unsure: np.ndarray,
    hardware: Hardware = HARDWARE,
    packed: bool = True,
) -> PsgTally:
    """PSG's pass by phase where the weights in `unsure` (bool [K,C/groups,R,S]) are unsure.

    packed: the predictor's slices share DSPs and bytes.
    """
    plan = plan_convolution(geometry, samples, "psg", hardware)
    return psg_pass(geometry, samples, tiles_of(plan), unsure, hardware, packed)


@lru_cache(maxsize=8192)
def psg_of_share(
    geometry: Geometry,
    samples: int,
    predicted: float,
    hardware: Hardware = HARDWARE,
    packed: bool = True,
) -> PsgTally:
    """PSG's pass by phase with that share of the signs predicted, drawn at random."""
    unsure = random_unsure(geometry, predicted)
    return psg_of_mask(geometry, samples, unsure, hardware, packed)


@lru_cache(maxsize=8192)
def _psg_total(
    geometry: Geometry, samples: int, step: int, hardware: Hardware, packed: bool
) -> Tally:
    return psg_of_share(geometry, samples, step / SHARES, hardware, packed).total


@lru_cache(maxsize=8192)
def _shares(
    geometry: Geometry, samples: int, step: int, hardware: Hardware, packed: bool
) -> _Between:
    low = _psg_total(geometry, samples, step, hardware, packed)
    high = _psg_total(geometry, samples, step + 1, hardware, packed)
    return tuple((a, b - a) for a, b in zip(vars(low).values(), vars(high).values(), strict=True))


def _interpolated(operation: Convolution, hardware: Hardware) -> Tally:
    """On the line through the two modelled shares nearest to the operation's own.

    Without an unsure weight there is no second phase; the first one makes it load everything, so
    the last line before is drawn on up to there.
    """
    geometry = operation.geometry
    samples = _whole_groups(operation.samples, hardware)
    share = 1.0 - operation.unsure / geometry.weights
    packed = slices_pack(operation.predictor)
    if operation.unsure == 0:
        return _psg_total(geometry, samples, SHARES, hardware, packed)
    step = min(int(share * SHARES), SHARES - 2)
    beyond = share * SHARES - step
    found = _shares(geometry, samples, step, hardware, packed)
    return Tally(*[round(a + beyond * rise) for a, rise in found])


def psg_cost(operation: Convolution, hardware: Hardware) -> tuple[float, int]:
    """Cycles and beats of PSG's pass to the weights, as `launched` has them."""
    found = _interpolated(operation, hardware)
    return found.cycles + HEADER.cycles, found.beats + HEADER.beats


# ---- the vector unit ----------------------------------------------------------------------------


@lru_cache(maxsize=8192)
def _vector(operation: Vector, hardware: Hardware) -> Launched:
    tally, launches = _VECTOR[operation.kind](operation, hardware)
    elements = operation.samples * operation.size
    return Launched(operation.kind, operation.layer, tally, launches, elements=elements)


def _over(words: int, columns: int = HALF_BEATS, **ports: int) -> Tally:
    """A loop over `words` words of 16 samples, four cycles each; beats a word on each port."""
    slowest = max(HALF_BEATS, columns, *ports.values())
    beats = {port: words * each for port, each in ports.items()}
    return HEADER + Tally(slowest * words + STEP_LATENCY, columns=columns * words, **beats)


def _coefficients(channels: int) -> Tally:
    """Two beats a channel, read before a map."""
    return Tally(cycles=2 * channels, rows=2 * channels)


def _sums(count: int) -> Tally:
    """64-bit sums written after an operation, a beat each."""
    return Tally(cycles=count, output=count)


def _words(one: Vector, hardware: Hardware) -> int:
    return groups_of(one.samples, hardware) * one.size


def _map(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """A line a channel: normalise (with the residual), mask, narrow."""
    extra = one.read // BITS_A_BEAT - HALF_BEATS
    tally = _over(_words(one, hardware), extra=extra, output=one.written // BITS_A_BEAT)
    return tally + _coefficients(one.channels), 1


def _normalise_backward(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """Two launches: the sums of g and g*y, then the line through them."""
    words = _words(one, hardware)
    first = _over(words, rows=HALF_BEATS) + _sums(2 * one.channels)
    second = _over(words, rows=HALF_BEATS, output=HALF_BEATS) + _coefficients(one.channels)
    return first + second, 2


def _gathered(one: Vector, hardware: Hardware) -> Tally:
    """Rows that are read as a whole; each is a burst of its own where others lie between."""
    groups = groups_of(one.samples, hardware)
    read = HALF_BEATS * groups * one.source
    return Tally(cycles=read + groups * one.rows * STEP_LATENCY, columns=read)


def _beside(first: Tally, second: Tally) -> Tally:
    """Two that run at the same time."""
    return first + second + Tally(cycles=-min(first.cycles, second.cycles))


def _shortcut(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """A parameter-free shortcut, forward or back."""
    written = _over(_words(one, hardware), 0, output=HALF_BEATS)
    return _beside(written, _gathered(one, hardware)), 1


def _pool(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """Sums over all positions: 16 64-bit sums a channel and group of samples.

    Sums leave while the next channel is read.
    """
    return _beside(_over(_words(one, hardware)), _plane_sums(one, hardware)), 1


def _plane_sums(one: Vector, hardware: Hardware) -> Tally:
    output = RAW_BEATS * one.channels * groups_of(one.samples, hardware)
    return Tally(cycles=output, output=output)


def _grid(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """As `_pool`, over a grid of positions."""
    read = HEADER + Tally(cycles=STEP_LATENCY) + _gathered(one, hardware)
    return _beside(read, _plane_sums(one, hardware)), 1


def _spread(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """The pooling's gradient, one value to every position."""
    read = HALF_BEATS * one.channels * groups_of(one.samples, hardware)
    return _over(_words(one, hardware), 0, output=HALF_BEATS) + Tally(columns=read), 1


def _gate_products(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """Sums a sample of three operands' products; a group's leave while the next one is read."""
    tally = _over(_words(one, hardware), rows=HALF_BEATS, extra=HALF_BEATS)
    output = RAW_BEATS * groups_of(one.samples, hardware)
    return tally + Tally(cycles=RAW_BEATS, output=output), 1


def _move(one: Vector, hardware: Hardware) -> tuple[Tally, int]:
    """Samples taken out of a batch, or put back: a line of the table a pair of groups that meet.

    Stretch by stretch, every group is read once, from one port a tensor, and written on a third.
    What of a group goes to a second group of the result is on chip by then: a cycle a word. As many
    pairs meet as can: no boundary of two groups coincides by chance.
    """
    groups, others = (groups_of(n, hardware) for n in (one.samples, one.source))
    pairs = groups + others - 1
    takes = one.kind == TAKE
    read_a, read_b = (others, 0) if takes else (groups, others)
    entries = pairs if takes else pairs + groups
    again = pairs - others
    stretches = -(-one.size // BUFFERS_CHUNK)
    slowest = max(groups, read_a, read_b)
    waits = stretches * (slowest + again + 2) + 2
    table = ENTRY_BEATS * entries * (stretches + 1)
    return HEADER + Tally(
        cycles=one.size * (HALF_BEATS * slowest + again) + table + STEP_LATENCY * waits,
        columns=HALF_BEATS * one.size * read_a,
        rows=HALF_BEATS * one.size * read_b,
        extra=table,
        output=HALF_BEATS * one.size * groups,
    ), 1


_VECTOR: dict[str, Callable[[Vector, Hardware], tuple[Tally, int]]] = {
    "normalise": _map,
    "normalise_backward": _normalise_backward,
    "mask": _map,
    "narrow": _map,
    "shortcut": _shortcut,
    "take": _move,
    "merge": _move,
    "pool": _pool,
    "spread": _spread,
    "gate_features": _grid,
    "gate_products": _gate_products,
}
