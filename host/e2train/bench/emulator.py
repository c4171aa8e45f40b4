# SPDX-License-Identifier: Apache-2.0
"""Processor seconds of a training iteration: PSG on the emulator and float32 torch, in turns.

One thread each, processor time (which other programs on the machine disturb little), and the two
alternate, so that a machine that slows down slows both. Medians over the iterations, the first of
each left out: it builds kernels and warms caches.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from ..device.base import Device
from ..device.counter import Counter
from ..methods import psg
from ..methods.sgd import Sgd
from ..methods.slu import SluGates
from ..network.arithmetic import Arithmetic, Value
from ..network.integer import FixedArithmetic
from ..network.models import network_spec
from ..network.network import Network
from ..network.parameters import initial_parameters
from ..network.spec import NetworkSpec
from ..rng import generator

SHAPE = (3, 32, 32)
CLASSES = 10
MEAN = (128, 128, 128)


@dataclass(frozen=True)
class Comparison:
    """Median processor seconds an iteration of one network, and their ratio."""

    network: str
    emulator: float
    float32: float

    @property
    def ratio(self) -> float:
        """Emulator over float32."""
        return self.emulator / self.float32


@dataclass(frozen=True)
class Skipping:
    """Median processor seconds an iteration with a share of the blocks' samples skipped."""

    ratio: float
    seconds: float


class ForcedGates(SluGates):
    """SLU's gates at work, their decisions replaced by random ones of an exact skip ratio.

    All residual blocks are gated, so that the ratio is the one over them all, whatever the network.
    What is forced teaches nothing, so no skipped sample is computed to learn from it.
    """

    def __init__(self, spec: NetworkSpec, counter: Counter, ratio: float) -> None:
        # the target steers nothing here
        super().__init__(spec, counter, 0.5, 0, gated="all", explore=0.0)
        self.ratio = ratio
        self._random = generator(0, "forced gates", 0)

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        super().decide(index, arithmetic, stream)
        ran = np.ones(self.samples, bool)
        ran[self._random.permutation(self.samples)[: round(self.ratio * self.samples)]] = False
        self.ran[index] = ran
        return ran


class EmulatorTraining:
    """PSG training iterations on a device, on one mini-batch; with gates where `skip` is given."""

    def __init__(
        self,
        spec: NetworkSpec,
        device: Device,
        images: np.ndarray,
        labels: np.ndarray,
        skip: float | None = None,
    ) -> None:
        """images uint8 [N,C,H,W], labels int64 [N]."""
        counter = Counter()
        settings = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)
        arithmetic = FixedArithmetic(device, counter, settings, MEAN)
        self._gates = None if skip is None else ForcedGates(spec, counter, skip)
        self._network = Network(spec, arithmetic, initial_parameters(spec, 0), self._gates)
        self._optimiser = Sgd(self._network.parameters, 0.9, 1e-4)
        self._images, self._labels = images, labels
        self._iteration = 0

    def step(self) -> None:
        """Forward, backward and update."""
        _, gradients = self._network.forward_backward(self._images, self._labels, self._iteration)
        self._optimiser.step(self._network.parameters, gradients, psg.LEARNING_RATE)
        if self._gates is not None:
            self._gates.gradients()
        self._iteration += 1


def mini_batch(batch: int) -> tuple[np.ndarray, np.ndarray]:
    """Random pictures uint8 [batch, 3, 32, 32] and labels int64 [batch]."""
    random = generator(0, "bench", 0)
    images = random.integers(0, 256, (batch, *SHAPE), dtype=np.uint8)
    return images, random.integers(0, CLASSES, batch)


def _seconds(steps: Sequence[Callable[[], None]], iterations: int) -> list[float]:
    """Median processor seconds of each step, taken in turns after one round of warming up."""
    taken: list[list[float]] = [[] for _ in steps]
    for iteration in range(iterations + 1):
        for times, step in zip(taken, steps, strict=True):
            started = time.process_time()
            step()
            if iteration:
                times.append(time.process_time() - started)
    return [statistics.median(times) for times in taken]


def compare(name: str, device: Device, iterations: int, batch: int) -> Comparison:
    """PSG on the device against float32 torch, the same network and batch. Needs torch."""
    import torch

    from .torch_reference import FloatTraining

    spec = network_spec(name, SHAPE, CLASSES)
    images, labels = mini_batch(batch)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        ours = EmulatorTraining(spec, device, images, labels)
        theirs = FloatTraining(spec, images, labels)
        emulator, float32 = _seconds((ours.step, theirs.step), iterations)
    finally:
        torch.set_num_threads(threads)
    return Comparison(name, emulator, float32)


def skipping(
    name: str, device: Device, ratios: Sequence[float], iterations: int, batch: int
) -> list[Skipping]:
    """PSG with gates on the device, at several skip ratios in turns."""
    spec = network_spec(name, SHAPE, CLASSES)
    images, labels = mini_batch(batch)
    runs = [EmulatorTraining(spec, device, images, labels, skip=ratio) for ratio in ratios]
    seconds = _seconds([run.step for run in runs], iterations)
    return [Skipping(ratio, taken) for ratio, taken in zip(ratios, seconds, strict=True)]
