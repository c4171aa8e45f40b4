# SPDX-License-Identifier: Apache-2.0
"""Time of the two Arm cores in an iteration: estimates from operation counts, nothing measured.

What the processor does either way (optimiser, softmax, gates, coefficients, starting launches), and
what the layers around the convolutions would take if it did those too.
"""

from __future__ import annotations

from dataclasses import dataclass

from ...methods.slu_gates import gate_macs
from ...network.spec import NetworkSpec
from ..table import Board
from .work import VECTOR, Work

# Assumptions. Element operations are NumPy's over an array, at `processor_macs_per_s` of the cost
# table (one multiply-accumulate stands for one element operation).
LAUNCH_S = 400e-6  # 39 registers from Python over MMIO, cache lines, interrupt, result block
CALL_S = 20e-6  # a NumPy call on an array of a few channels
UNIT_CALLS = 120  # statistics, coefficients and exponents of a unit, forward and back
WEIGHT_OPERATIONS = 18  # momentum 4, step 2, sign 2, quantise 6, rows of both passes 4
LOGIT_OPERATIONS = 60  # exp as a polynomial, sums, division, in float64
PIXEL_OPERATIONS = 6  # crop, flip, subtract the mean, lay out by groups of 16
STREAM_BYTES_PER_S = 500_000_000  # what one core reads and writes at best, in a loop of its own

# Element operations of the layers around the convolutions: requantise (add half, shift, clip at
# both ends, peak), statistics (sum, square, sum), line (multiply, add, shift, ...), mask, add.
ELEMENT_OPERATIONS = {
    "normalise": 10 + 8,  # the convolution's requantisation and statistics, then the line
    "normalise_backward": 4 + 9,  # the sums, then the line with two operands
    "mask": 2 + 8,  # and the requantisation of the gradient to the input
    "narrow": 4,
    "shortcut": 2,
    "pool": 1,
}


@dataclass(frozen=True)
class Share:
    """One line of the time budget, in seconds; `count` says of what."""

    name: str
    seconds: float
    count: int
    unit: str


def processor_shares(
    spec: NetworkSpec, samples: int, launches: int, board: Board, gated: bool
) -> list[Share]:
    """What the processor does in an iteration, one after the other and not beside the fabric."""
    rate = board.processor_macs_per_s
    units = sum(1 for _ in spec.units())
    weights = sum(unit.geometry.weights for unit in spec.units()) + spec.classifier.weights
    pixels = samples * next(spec.units()).geometry.input_size
    logits = samples * spec.classifier.filters
    shares = [
        Share("start launches", launches * LAUNCH_S, launches, "launches"),
        Share("batch-norm coefficients, exponents", units * UNIT_CALLS * CALL_S, units, "units"),
        Share("optimiser, quantising", weights * WEIGHT_OPERATIONS / rate, weights, "weights"),
        Share("softmax and loss", logits * LOGIT_OPERATIONS / rate, logits, "logits"),
        Share("pictures", pixels * PIXEL_OPERATIONS / rate, pixels, "pixels"),
    ]
    if gated:
        macs = 3 * samples * sum(gate_macs(block) for block in spec.skippable_blocks)
        shares.append(Share("gates, both directions", macs / rate, macs, "MACs"))
    return shares


@dataclass(frozen=True)
class Alternative:
    """A vector-unit pass if the processor did it: seconds by NumPy, and at its memory's speed."""

    pass_: str
    fabric_s: float
    numpy_s: float
    stream_s: float


def on_processor(work: list[Work], clock_hz: float, board: Board) -> list[Alternative]:
    """The layers around the convolutions on one Arm core instead of the vector unit.

    numpy_s: element operations at the cost table's rate. stream_s: the bytes alone, at what a core
    can stream; no program on it can be faster.
    """
    found = []
    for pass_ in VECTOR:
        mine = [one for one in work if one.pass_ == pass_]
        elements = sum(one.elements for one in mine)
        data = sum(one.tally.beats for one in mine) * 8
        found.append(
            Alternative(
                pass_,
                sum(one.tally.cycles for one in mine) / clock_hz,
                elements * ELEMENT_OPERATIONS[pass_] / board.processor_macs_per_s,
                data / STREAM_BYTES_PER_S,
            )
        )
    return found
