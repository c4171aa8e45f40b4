# SPDX-License-Identifier: Apache-2.0
"""What the performance model is asked about, and what it answers for one launch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ...device.accelerator.generated import RESULT_SUMS
from ...device.accelerator.tiling.array import HARDWARE, Hardware
from ...device.accelerator.tiling.cycles import Tally
from ...device.geometry import Geometry

CONVOLUTIONS = ("forward", "backward_input", "backward_weight")
VECTOR = ("normalise", "normalise_backward", "mask", "narrow", "shortcut", "pool")
PASSES = (*CONVOLUTIONS, *VECTOR)
HEADER = Tally(cycles=RESULT_SUMS, output=RESULT_SUMS)  # of the result block, a beat a word


@dataclass(frozen=True)
class Work:
    """One launch (or, of a long reduction, a few): what it is, its tally and its ideal.

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


def peak(packed: bool, hardware: Hardware = HARDWARE) -> int:
    """Multiply-accumulates a cycle."""
    return hardware.rows * hardware.columns * (2 if packed else 1)


@dataclass(frozen=True)
class Setting:
    """What is modelled: samples, the method, the share of signs that PSG predicts.

    method: psg, or signsgd (the same with the full gradient). masks: which weights are unsure by
    layer, bool [K,C/groups,R,S]; layers without one draw theirs at random at `predicted`.
    """

    samples: int
    method: str = "psg"
    predicted: float = 0.6
    masks: dict[str, np.ndarray] | None = None
    hardware: Hardware = HARDWARE
