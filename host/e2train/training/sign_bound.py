# SPDX-License-Identifier: Apache-2.0
"""Eq. 3 on the tensors of a real training run: the bound and the observed rate, layer by layer."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..data.dataset import Dataset
from ..device.base import Device, PsgResult, Tensor
from ..device.geometry import Geometry
from ..methods.sign_bound import FailureBound, Failures, Predictor, failure_bound, observed_failures
from .experiment import Experiment
from .metering import NO_METER
from .trainer import Trainer


@dataclass(frozen=True)
class LayerFinding:
    """One layer of one mini-batch: what eq. 3 allows and what happened."""

    iteration: int
    layer: str
    bound: FailureBound
    failures: Failures


class WatchedDevice:
    """A device that keeps the operands of its PSG gradients while `watching`."""

    def __init__(self, device: Device) -> None:
        self._device = device
        self.watching = False
        self.seen: list[tuple[np.ndarray, np.ndarray, Geometry]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._device, name)

    def psg_gradient(
        self, x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, x_msb: int, g_msb: int
    ) -> PsgResult:
        if self.watching:
            self.seen.append((self._device.get(x), self._device.get(g), geometry))
        return self._device.psg_gradient(x, g, geometry, beta_q, x_msb, g_msb)


def findings(
    experiment: Experiment, dataset: Dataset, device: Device, iterations: list[int]
) -> Iterator[LayerFinding]:
    """Train as the experiment says, and look at every layer at the given iterations (ascending)."""
    watched = WatchedDevice(device)
    chosen = experiment.psg
    predictor = Predictor(chosen.beta, chosen.x_msb_bits, chosen.g_msb_bits)
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainer(experiment, dataset, Path(folder), device=watched, meter=NO_METER) as trainer,  # type: ignore[arg-type]
    ):
        layers = [unit.name for unit in reversed(list(trainer.parts.spec.units()))]
        for iteration in range(iterations[-1] + 1):
            watched.watching = iteration in iterations
            trainer.mini_batch(iteration)
            if not watched.watching:
                continue
            for layer, (x, g, geometry) in zip(layers, watched.seen, strict=True):
                bound = failure_bound(x, g, geometry, predictor)
                seen = observed_failures(device, x, g, geometry, predictor)
                yield LayerFinding(iteration, layer, bound, seen)
            watched.seen.clear()
