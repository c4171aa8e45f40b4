# SPDX-License-Identifier: Apache-2.0
"""What a network is made of, as data: blocks of convolution + batch-norm units, then a classifier.

Where each part runs on the Zynq is stated by the classes: a `Unit` (convolution, batch norm,
activation, residual add) is programmable logic (PL); pooling sums are PL; the `classifier` is a
1x1 convolution on the PL whose bias, softmax and loss are on the processing system (PS), as are
the gates, the batch-norm multipliers and the optimiser.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ..device.geometry import Geometry


@dataclass(frozen=True)
class Unit:
    """Convolution without bias, batch norm, activation (`relu`, `relu6` or `none`)."""

    name: str
    geometry: Geometry
    activation: str


@dataclass(frozen=True)
class Block:
    """Units in a row; `shortcut` adds the block's input before the last unit's activation.

    `shortcut`: `identity`; `pad` (stride-2 subsampling and zero channels, He et al. 2016 option A);
    or `none`. A block with a shortcut can be skipped by SLU or stochastic depth.
    """

    name: str
    units: tuple[Unit, ...]
    shortcut: str

    @property
    def skippable(self) -> bool:
        """Whether the shortcut alone can stand for the block."""
        return self.shortcut != "none"

    @property
    def macs(self) -> int:
        """Forward multiply-accumulates of one sample."""
        return sum(unit.geometry.macs for unit in self.units)


@dataclass(frozen=True)
class NetworkSpec:
    """A whole network: blocks, then average pooling and a linear classifier."""

    name: str
    blocks: tuple[Block, ...]
    classifier: Geometry

    def units(self) -> Iterator[Unit]:
        """All convolution units in forward order."""
        for block in self.blocks:
            yield from block.units

    @property
    def forward_macs(self) -> int:
        """Multiply-accumulates of one sample's forward pass, classifier included."""
        return sum(block.macs for block in self.blocks) + self.classifier.macs

    @property
    def skippable_blocks(self) -> tuple[Block, ...]:
        """The blocks that gates may skip."""
        return tuple(block for block in self.blocks if block.skippable)

    def block_shares(self) -> np.ndarray:
        """Each skippable block's share of the MACs of them all, float64 [skippable blocks]."""
        macs = np.array([block.macs for block in self.skippable_blocks], np.float64)
        return macs / macs.sum()


def linear(channels: int, classes: int) -> Geometry:
    """A fully connected layer as the 1x1 convolution of a 1x1 picture."""
    return Geometry(channels, 1, 1, classes, (1, 1), 1, 0, 1)
