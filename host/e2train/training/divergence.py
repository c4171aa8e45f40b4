# SPDX-License-Identifier: Apache-2.0
"""Where the integer arithmetic parts from float32: every unit of a network in training, measured.

After some iterations of a run, one more mini-batch goes through the integer arithmetic, and float32
does the same units again from the same parameters, twice: *alone*, where every unit gets the
integer arithmetic's own operands, so that what a unit adds by itself shows; and *in a row*, where
the gradient comes all the way down from the loss through float32, so that what adds up shows. Both
take the operands of the forward pass from the integer arithmetic: a deep untrained network blows up
any rounding, and gradients at two different activations have nothing to say about each other.
"""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..data.batches import augment, batch_indices
from ..data.dataset import Dataset
from ..device.base import Device
from ..device.counter import Counter
from ..network.arithmetic import Gradients
from ..network.float32 import FloatArithmetic
from ..network.float_backend import float_backend
from ..network.integer import FixedArithmetic, FixedSettings, FixedTensor
from ..network.network import Network
from ..network.parameters import Parameters
from ..network.spec import Unit
from .assembly import fixed_settings
from .experiment import Experiment
from .metering import NO_METER
from .trainer import Trainer

GRADIENTS = ("weight", "gamma", "beta")
Seen = dict[tuple[str, str], np.ndarray]  # (unit, "output", "input" or one of GRADIENTS)


@dataclass(frozen=True)
class Likeness:
    """A tensor against its reference: |a - b| / |b|, cosine of the angle, and |b|.

    Infinite error where the reference is 0 and the tensor is not.
    """

    error: float
    cosine: float
    length: float


@dataclass(frozen=True)
class UnitFinding:
    """One unit against float32: by itself, and with all the units behind it.

    Both by what was measured: "output", "input" (the gradient handed on; the stem has none),
    "weight", "gamma", "beta" (gradients). In a row, "output" is as alone.
    """

    unit: str
    alone: dict[str, Likeness]
    in_a_row: dict[str, Likeness]

    @property
    def affine_errors(self) -> tuple[float, float]:
        """Errors in gamma's and in beta's gradient, over the length of both together (in a row)."""
        pair = [self.in_a_row[kind] for kind in ("gamma", "beta")]
        both = math.hypot(*(part.length for part in pair))
        gamma, beta = (part.error * part.length / both if both else math.inf for part in pair)
        return gamma, beta


def likeness(found: np.ndarray, expected: np.ndarray) -> Likeness:
    """How near `found` comes to `expected`, two arrays of one shape."""
    a, b = found.ravel().astype(np.float64), expected.ravel().astype(np.float64)
    difference, length, wanted = (float(np.linalg.norm(v)) for v in (a - b, a, b))
    if wanted == 0.0:
        return Likeness(*((0.0, 1.0) if length == 0.0 else (math.inf, 0.0)), 0.0)
    cosine = 0.0 if length == 0.0 else float(a @ b) / (length * wanted)
    return Likeness(difference / wanted, cosine, wanted)


class _Watched(FixedArithmetic):
    """The integer arithmetic, keeping what goes into every unit and comes out, in real units."""

    def __init__(
        self, device: Device, counter: Counter, settings: FixedSettings, mean: tuple[int, ...]
    ) -> None:
        super().__init__(device, counter, settings, mean)
        self.seen: Seen = {}
        self.operands: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}
        self.gradients: dict[str, tuple[np.ndarray, np.ndarray | None]] = {}

    def _real(self, value: FixedTensor) -> np.ndarray:
        return np.ldexp(self.device.get(value.tensor).astype(np.float32), value.exponent)

    def _pair(
        self, first: FixedTensor, second: FixedTensor | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        return self._real(first), None if second is None else self._real(second)

    def unit_forward(self, unit: Unit, x: FixedTensor, **given: Any) -> FixedTensor:
        output = super().unit_forward(unit, x, **given)
        self.operands[unit.name] = self._pair(x, given["residual"])
        self.seen[unit.name, "output"] = self._real(output)
        return output

    def unit_backward(
        self, unit: Unit, g: FixedTensor, **given: Any
    ) -> tuple[FixedTensor | None, Gradients]:
        self.gradients[unit.name] = self._pair(g, given["residual"])
        back, gradients = super().unit_backward(unit, g, **given)
        _keep(self.seen, unit, None if back is None else self._real(back), gradients)
        return back, gradients


class _Reference(FloatArithmetic):
    """Float32 whose units read `watched`'s operands; `alone`: its gradients, too."""

    def __init__(self, watched: _Watched, dataset: Dataset, alone: bool) -> None:
        super().__init__(float_backend(), Counter(), dataset.mean, dataset.std)
        self.seen: Seen = {}
        self.watched, self.alone = watched, alone

    def _put(self, array: np.ndarray | None) -> Any:
        return None if array is None else self.backend.put(array)

    def unit_forward(self, unit: Unit, x: Any, **given: Any) -> Any:
        operand, residual = map(self._put, self.watched.operands[unit.name])
        output = super().unit_forward(unit, operand, **given | {"residual": residual})
        self.seen[unit.name, "output"] = self.backend.get(output)
        return output

    def unit_backward(self, unit: Unit, g: Any, **given: Any) -> tuple[Any, Gradients]:
        if self.alone:
            g, given["residual"] = map(self._put, self.watched.gradients[unit.name])
        back, gradients = super().unit_backward(unit, g, **given)
        _keep(self.seen, unit, None if back is None else self.backend.get(back), gradients)
        return back, gradients


def _keep(seen: Seen, unit: Unit, back: np.ndarray | None, gradients: Gradients) -> None:
    if back is not None:
        seen[unit.name, "input"] = back
    for kind in GRADIENTS:
        seen[unit.name, kind] = gradients[f"{unit.name}.{kind}"]


def findings(
    experiment: Experiment, dataset: Dataset, device: Device, after: int
) -> list[UnitFinding]:
    """Train `after` iterations in integers, then compare the next mini-batch unit by unit.

    PSG's signs are compared as the full gradient that they are the signs of.
    """
    settings = replace(fixed_settings(experiment), predict=False)
    watched = _Watched(device, Counter(), settings, dataset.mean)
    with (
        tempfile.TemporaryDirectory() as folder,
        Trainer(experiment, dataset, Path(folder), device=device, meter=NO_METER) as trainer,
    ):
        for iteration in range(after):
            trainer.mini_batch(iteration)
        watched.restore(trainer.network.arithmetic.state())
        spec, parameters = trainer.parts.spec, trainer.network.parameters
    images, labels = _mini_batch(experiment, dataset, after)
    alone, in_a_row = (_Reference(watched, dataset, by_itself) for by_itself in (True, False))
    for arithmetic in (watched, alone, in_a_row):
        network = Network(spec, arithmetic, _copy(parameters))
        network.forward_backward(images, labels, after)
    return [
        UnitFinding(
            unit.name,
            _compare(watched.seen, alone.seen, unit),
            _compare(watched.seen, in_a_row.seen, unit),
        )
        for unit in spec.units()
    ]


def _mini_batch(
    experiment: Experiment, dataset: Dataset, iteration: int
) -> tuple[np.ndarray, np.ndarray]:
    seed, batch = experiment.train.seed, experiment.train.batch
    chosen = batch_indices(len(dataset.train_labels), batch, iteration, seed)
    images = dataset.train_images[chosen]
    if experiment.data.augment:
        images = augment(images, iteration, seed, dataset.mirror, dataset.shift, dataset.mean)
    return images, dataset.train_labels[chosen]


def _copy(parameters: Parameters) -> Parameters:
    return {name: value.copy() for name, value in parameters.items()}


def _compare(found: Seen, expected: Seen, unit: Unit) -> dict[str, Likeness]:
    return {
        kind: likeness(found[unit.name, kind], expected[unit.name, kind])
        for kind in ("output", "input", *GRADIENTS)
        if (unit.name, kind) in found
    }
