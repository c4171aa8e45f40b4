# SPDX-License-Identifier: Apache-2.0
"""Time of the two Arm cores in an iteration: estimates from operation counts, nothing measured.

What the processor does either way (optimiser, softmax, gates, coefficients, starting launches), and
what the layers around the convolutions would take if it did those too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ...device.operations import (
    GATE_MACS,
    LOGITS,
    PIXELS,
    UNITS,
    VECTOR_KINDS,
    WEIGHTS,
    Operation,
    Processor,
)
from ..table import Board
from .launches import Launched

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
    "take": 2,
    "merge": 2,
    "pool": 1,
    "spread": 1,
    "gate_features": 1,
    "gate_products": 3,
}


@dataclass(frozen=True)
class ProcessorShare:
    """One line of the time budget, in seconds; `count` says of what."""

    name: str
    seconds: float
    count: int
    unit: str


NAMES = {
    UNITS: "batch-norm coefficients, exponents",
    WEIGHTS: "optimiser, quantising",
    LOGITS: "softmax and loss",
    PIXELS: "pictures",
    GATE_MACS: "gates, both directions",
}
OPERATIONS = {  # element operations of one, at the cost table's rate
    WEIGHTS: WEIGHT_OPERATIONS,
    LOGITS: LOGIT_OPERATIONS,
    PIXELS: PIXEL_OPERATIONS,
    GATE_MACS: 1,
}


def processor_shares(
    work: Iterable[Operation], launches: int, board: Board
) -> list[ProcessorShare]:
    """What the processor does of `work`, one after the other and not beside the fabric."""
    amounts = dict.fromkeys(NAMES, 0)
    for operation in work:
        if isinstance(operation, Processor):
            amounts[operation.unit] += operation.amount
    each = {unit: n / board.processor_macs_per_s for unit, n in OPERATIONS.items()}
    each[UNITS] = UNIT_CALLS * CALL_S
    return [
        ProcessorShare("start launches", launches * LAUNCH_S, launches, "launches"),
        *(
            ProcessorShare(NAMES[unit], amount * each[unit], amount, unit)
            for unit, amount in amounts.items()
        ),
    ]


@dataclass(frozen=True)
class Alternative:
    """A vector-unit pass if the processor did it: seconds by NumPy, and at its memory's speed."""

    pass_: str
    fabric_s: float
    numpy_s: float
    stream_s: float


def on_processor(work: list[Launched], clock_hz: float, board: Board) -> list[Alternative]:
    """The layers around the convolutions on one Arm core instead of the vector unit.

    numpy_s: element operations at the cost table's rate. stream_s: the bytes alone, at what a core
    can stream; no program on it can be faster.
    """
    found = []
    for pass_ in VECTOR_KINDS:
        mine = [one for one in work if one.pass_ == pass_]
        if not mine:
            continue
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
