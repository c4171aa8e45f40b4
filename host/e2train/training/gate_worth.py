# SPDX-License-Identifier: Apache-2.0
"""What skipping a block truly costs, beside what SLU's gate is told of it.

On a trained network, block by block: the loss with every sample through the block less the loss
with none through it, all other gates drawing alike; and the mean of the gate's estimates over many
draws, with its two halves, the first-order estimates behind the block (where it ran) and before it
(where it was skipped and explored). Whole mini-batches are compared, so a block's effect on the
batch statistics of later ones is part of the truth and not of the estimate.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..data.dataset import Dataset
from ..device.base import Device
from ..errors import UserError
from ..methods.slu import SluGates
from ..network.arithmetic import Arithmetic, Value
from ..network.network import Network, cross_entropy
from ..runs.checkpoint import read_checkpoint
from .assembly import assemble
from .experiment import Experiment

DRAWS = 4  # of the gates' decisions a mini-batch
EXPLORED = 0.5  # more than in training: the estimate's mean is the same, its error smaller


class _Forced:
    """The gates' decisions, but for one block (an index), which all samples run or none does."""

    skip_ratio = 0.0

    def __init__(self, gates: SluGates, block: int, run: bool) -> None:
        self.gates, self.block, self.run = gates, block, run
        self.ran = gates.ran

    def begin(self, iteration: int, samples: int, training: bool) -> None:
        self.gates.begin(iteration, samples, training)
        self.ran = self.gates.ran

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        self.gates.decide(index, arithmetic, stream)
        if index == self.block:
            self.ran[index] = self.run
        return self.ran[index]

    def explored(self, index: int) -> np.ndarray:
        return np.zeros_like(self.ran[index])

    def scale(self, index: int) -> float:
        return 1.0

    def wants_products(self, index: int) -> bool:
        return False

    def observe(self, index: int, products: np.ndarray) -> None:
        raise AssertionError("a forced decision teaches nothing")

    observe_explored = observe


@dataclass(frozen=True)
class Worth:
    """Of one gated block: what running it adds to a sample's loss (below 0: it helps).

    probability: mean of its gate's; change, estimate: means over mini-batches, and their standard
    errors; behind, before: first-order estimates with the gradient behind and before the block.
    """

    block: str
    probability: float
    change: float
    change_error: float
    estimate: float
    estimate_error: float
    behind: float
    before: float


def trained(experiment: Experiment, dataset: Dataset, folder: Path, device: Device) -> Network:
    """The network of a run's last checkpoint, its gates as its policy. UserError if it has none."""
    parts = assemble(experiment, dataset, device)
    if parts.gates is None:
        raise UserError(f"{folder}: {experiment.name} has no gates (slu.skip is 0)")
    path = folder / "checkpoint.npz"
    saved = read_checkpoint(path)
    for group, table in (
        ("parameters", parts.network.parameters),
        ("gates", parts.gates.parameters),
    ):
        for name, value in table.items():
            found = saved.arrays.get(f"{group}/{name}")
            if found is None or found.shape != value.shape:
                raise UserError(f"{path}: {name} is missing or not of shape {value.shape}")
            value[...] = found
    parts.network.arithmetic.restore(saved.meta["arithmetic"])
    vars(parts.gates.controller).update(saved.meta["controller"])
    return parts.network


def worths(
    network: Network, gates: SluGates, batches: list[tuple[np.ndarray, np.ndarray]]
) -> list[Worth]:
    """One entry a gated block; `batches` of uint8 images [N,C,H,W] and labels [N]."""
    kept = {name: value.copy() for name, value in network.parameters.items()}
    explore, gates.explore = gates.explore, EXPLORED
    try:
        told = [_told(network, gates, batches, index) for index in _gated(gates)]
        true = [_changes(network, gates, batches, index) for index in _gated(gates)]
    finally:
        network.policy, gates.explore = gates, explore
        network.parameters.update(kept)
    return [
        _worth(gates.blocks[index].name, seen, changes)
        for index, seen, changes in zip(_gated(gates), told, true, strict=True)
    ]


def _gated(gates: SluGates) -> list[int]:
    return [index for index, gated in enumerate(gates.gated) if gated]


def _told(
    network: Network, gates: SluGates, batches: list[tuple[np.ndarray, np.ndarray]], index: int
) -> np.ndarray:
    """float64 [mini-batches, 4]: probability, estimate, behind, before, of one block."""
    network.policy, step = gates, _gated(gates).index(index)
    rows = []
    for number, (images, labels) in enumerate(batches):
        for draw in range(DRAWS):
            network.forward_backward(images, labels, number * DRAWS + draw)
            p, seen = gates.cell.steps[step].probability, gates.seen[index]
            estimate = gates.estimates()[step].mean()
            rows.append((p.mean(), estimate, _mean(seen.ran), _mean(seen.explored)))
    return np.array(rows).reshape(len(batches), DRAWS, 4)


def _mean(products: np.ndarray | None) -> float:
    return np.nan if products is None else float(products.mean())


def _changes(
    network: Network, gates: SluGates, batches: list[tuple[np.ndarray, np.ndarray]], index: int
) -> np.ndarray:
    """float64 [mini-batches]: the loss with the block less the loss without."""
    found = []
    for number, (images, labels) in enumerate(batches):
        for draw in range(DRAWS):
            losses = []
            for run in (True, False):
                network.policy = _Forced(gates, index, run)
                logits = network.logits(images, number * DRAWS + draw, training=True)
                losses.append(cross_entropy(logits, labels)[0].loss)
            found.append(losses[0] - losses[1])
    return np.array(found).reshape(len(batches), DRAWS).mean(axis=1)


def _worth(block: str, told: np.ndarray, changes: np.ndarray) -> Worth:
    each = told[:, :, 1].mean(axis=1)
    root = np.sqrt(len(changes))
    return Worth(
        block,
        float(told[:, :, 0].mean()),
        float(changes.mean()),
        float(changes.std(ddof=1) / root),
        float(each.mean()),
        float(each.std(ddof=1) / root),
        float(np.nanmean(told[:, :, 2])),
        float(np.nanmean(told[:, :, 3])),
    )
