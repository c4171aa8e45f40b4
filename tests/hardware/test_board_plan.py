# SPDX-License-Identifier: Apache-2.0
"""The memory plan against the memory: csim's allocator, after the same trainings for real."""

import numpy as np
import pytest

from e2train.board.plan import METHODS, Question, plan
from e2train.data.shapes import picture_shape
from e2train.device.accelerator.csim import CsimTransport
from e2train.device.accelerator.csim_build import CsimUnavailable
from e2train.device.accelerator.device import KernelDevice
from e2train.device.counter import Counter
from e2train.network.integer import FixedArithmetic
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.rng import generator

EVALUATED = 20


def question(method, batch):
    spec = network_spec("resnet-8", *picture_shape("digits"))
    return Question(spec, "digits", method, batch, EVALUATED)


def opened():
    try:
        return KernelDevice(CsimTransport(16 << 20))
    except CsimUnavailable as error:
        if "hls4ml" in str(error):
            pytest.skip(str(error))
        raise


def used(asked, samples, iterations):
    """The allocator of csim after iterations (or, for 0, an evaluation) with real pictures."""
    device = opened()
    arithmetic = FixedArithmetic(device, Counter(), METHODS[asked.method], (8,))
    network = Network(asked.spec, arithmetic, asked.parameters)
    draw = generator(1, "pictures", 0)
    images = draw.integers(0, 17, (samples, 1, 8, 8)).astype(np.uint8)
    labels = draw.integers(0, 10, samples)
    for iteration in range(iterations):
        network.forward_backward(images, labels, iteration)
    if not iterations:
        network.logits(images, 0, training=False)
    return device.driver.memory.arena


@pytest.mark.parametrize("method, batch", [("psg", 20), ("fixed8", 3)])
def test_the_planned_peak_is_the_measured_one(method, batch):
    asked = question(method, batch)
    found, arena = plan(asked), used(asked, batch, 2)
    assert found.peak == arena.most_in_use
    assert found.peak <= found.extent <= found.peak * 1.2
    assert sum(buffer.size for buffer in found.at_the_peak()) == found.peak


def test_the_planned_addresses_suffice_and_not_a_line_less():
    """First fit lays the same tensors where the plan says, and in one line less it cannot."""
    asked = question("psg", 20)
    found = plan(asked)
    for size, enough in ((found.extent, True), (found.extent - 64, False)):
        device = opened()
        memory = device.driver.memory
        memory.arena = type(memory.arena)(64, size)  # a board's pool begins at an aligned address
        arithmetic = FixedArithmetic(device, Counter(), METHODS["psg"], (8,))
        network = Network(asked.spec, arithmetic, asked.parameters)
        pictures = np.zeros((20, 1, 8, 8), np.uint8)
        try:
            network.forward_backward(pictures, np.zeros(20, np.int64), 0)
        except ValueError as error:
            assert "device memory" in str(error) and not enough
        else:
            assert enough


def test_the_planned_evaluation_is_the_measured_one():
    asked = question("psg", 16)
    arena = used(asked, EVALUATED, 0)
    peak = arena.most_in_use
    assert peak <= plan(asked).evaluation <= peak * 1.2
