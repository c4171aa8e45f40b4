# SPDX-License-Identifier: Apache-2.0
"""Training iterations on the emulator that can be timed, and a stopwatch that takes turns."""

from __future__ import annotations

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
from ..network.network import Network
from ..network.parameters import initial_parameters
from ..network.spec import NetworkSpec
from ..rng import generator

SHAPE = (3, 32, 32)
CLASSES = 10
MEAN = (128, 128, 128)


@dataclass(frozen=True)
class Taken:
    """Seconds of one step: of processor time, over all threads, and of the clock on the wall."""

    processor: float
    wall: float


class ForcedGates(SluGates):
    """SLU's gates at work, their decisions replaced by random ones of an exact skip ratio.

    All residual blocks are gated, so that the ratio is the one over them all, whatever the network.
    Of the skipped samples the usual share is explored, as in training: that is part of the price.
    """

    def __init__(self, spec: NetworkSpec, counter: Counter, ratio: float) -> None:
        # the target steers nothing here
        super().__init__(spec, counter, 0.5, 0, gated="all")
        self.ratio = ratio
        self._random = generator(0, "forced gates", 0)

    def decide(self, index: int, arithmetic: Arithmetic, stream: Value) -> np.ndarray:
        super().decide(index, arithmetic, stream)
        ran = np.ones(self.samples, bool)
        ran[self._random.permutation(self.samples)[: round(self.ratio * self.samples)]] = False
        self.ran[index] = ran
        self.chosen[index] = ~ran & self.exploring[index] & ran.any()
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


def in_turns(steps: Sequence[Callable[[], None]], iterations: int) -> list[list[Taken]]:
    """What each step took in each iteration: [steps][iterations].

    The steps alternate, so that a machine that slows down slows them all. A first round is left
    out: it builds kernels and warms caches.
    """
    taken: list[list[Taken]] = [[] for _ in steps]
    for iteration in range(iterations + 1):
        for times, step in zip(taken, steps, strict=True):
            processor, wall = time.process_time(), time.perf_counter()
            step()
            if iteration:
                times.append(Taken(time.process_time() - processor, time.perf_counter() - wall))
    return taken
