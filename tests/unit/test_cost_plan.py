# SPDX-License-Identifier: Apache-2.0
"""The planned cost of an iteration equals what the engine counts when it executes one."""

from fractions import Fraction

import numpy as np
import pytest

from e2train.cost.counts import (
    FIXED8,
    FLOAT32,
    FULL_SIGN,
    OFFERED,
    PSG,
    count_mix,
    expected,
    iteration,
    operations,
)
from e2train.device.counter import Counter
from e2train.device.emulator.numpy_emulator import NumpyEmulator
from e2train.device.operations import WEIGHTS, Processor
from e2train.methods.slu import SluGates
from e2train.methods.slu_gates import gate_macs
from e2train.network.float32 import FloatArithmetic
from e2train.network.float_backend import NumpyFloat
from e2train.network.integer import FixedArithmetic, FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.parameters import initial_parameters

BATCH = 4
SETTINGS = {
    "fixed8": (FIXED8, FixedSettings(predict=False, input_gradient_bits=8)),
    "signsgd": (FULL_SIGN, FixedSettings(predict=False)),
    "psg": (PSG, FixedSettings(predict=True)),
}


class FixedChoice:
    """A skip policy that lets the first `ran[index]` samples of each skippable block run."""

    def __init__(self, ran):
        self.ran = ran

    def begin(self, iteration, samples, training):
        self.samples = samples

    def decide(self, index, arithmetic, stream):
        return np.arange(self.samples) < self.ran[index]

    def scale(self, index):
        return 1.0

    def wants_products(self, index):
        return False

    def observe(self, index, products):
        raise AssertionError("this policy learns nothing")


def batch(spec, iteration_):
    rng = np.random.default_rng(iteration_)
    first = next(spec.units()).geometry
    shape = (BATCH, first.channels, first.height, first.width)
    return rng.integers(0, 256, shape, dtype=np.uint8), rng.integers(0, 10, BATCH)


def executed(spec, arithmetic, policy=None):
    """What the second iteration counts (the first one probes for exponents)."""
    network = Network(spec, arithmetic, initial_parameters(spec, 0), policy)
    network.forward_backward(*batch(spec, 0), 0)
    before = arithmetic.counter.copy()
    arithmetic.counter.take_operations()
    if isinstance(arithmetic, FixedArithmetic):
        arithmetic.tally.clear()
    network.forward_backward(*batch(spec, 1), 1)
    return arithmetic.counter.minus(before)


def recorded(arithmetic):
    """The operations of that iteration, in order."""
    return arithmetic.counter.take_operations()


def planned(spec, scheme, **how):
    """`operations` but the optimiser's, which the trainer records."""
    found = operations(spec, scheme, BATCH, **how)
    assert found.pop() == Processor(WEIGHTS, found_weights(spec, how.get("ran")))
    return found


def found_weights(spec, ran):
    trained = [
        unit.geometry
        for block in spec.blocks
        if ran is None or not block.skippable or ran(block)
        for unit in block.units
    ]
    return sum(geometry.weights for geometry in (*trained, spec.classifier))


def fixed(settings):
    return FixedArithmetic(NumpyEmulator(), Counter(), settings, (125, 123, 114))


def shares(arithmetic):
    return {name: t.predicted / t.weights for name, t in arithmetic.tally.items()}


@pytest.mark.parametrize("network", ["resnet-8", "mobilenet-v2"])
@pytest.mark.parametrize("name", SETTINGS)
def test_integer_iteration(network, name):
    scheme, settings = SETTINGS[name]
    spec = network_spec(network, (3, 8, 8), 10)
    arithmetic = fixed(settings)
    counted = executed(spec, arithmetic)
    predicted = shares(arithmetic) if settings.predict else 0.0
    assert counted == iteration(spec, scheme, BATCH, predicted=predicted)
    assert recorded(arithmetic) == planned(spec, scheme, predicted=predicted)


@pytest.mark.parametrize("ran", [(4, 4, 4), (2, 0, 3), (0, 1, 0), (0, 0, 0)])
def test_integer_iteration_with_skipping(ran):
    spec = network_spec("resnet-8", (3, 8, 8), 10)
    arithmetic = fixed(SETTINGS["signsgd"][1])
    counted = executed(spec, arithmetic, FixedChoice(ran))
    chosen = dict(zip((b.name for b in spec.skippable_blocks), ran, strict=True))
    assert counted == iteration(spec, FULL_SIGN, BATCH, ran=lambda block: chosen[block.name])
    work = planned(spec, FULL_SIGN, ran=lambda block: chosen[block.name])
    assert recorded(arithmetic) == work


@pytest.mark.parametrize("network", ["resnet-8", "mobilenet-v2"])
@pytest.mark.parametrize("ran", [4, 2, 0])
def test_float_iteration(network, ran):
    spec = network_spec(network, (3, 8, 8), 10)
    arithmetic = FloatArithmetic(NumpyFloat(), Counter(), (125, 123, 114), (63.0, 62.0, 67.0))
    policy = FixedChoice((ran,) * len(spec.skippable_blocks))
    counted = executed(spec, arithmetic, policy)
    assert counted == iteration(spec, FLOAT32, BATCH, ran=lambda _: ran)
    assert recorded(arithmetic) == planned(spec, FLOAT32, ran=lambda _: ran)


@pytest.mark.parametrize("scheme", [PSG, FLOAT32], ids=lambda scheme: scheme.name)
def test_gated_iteration(scheme):
    """SLU's gates decide; what ran, and what was predicted, settle the rest."""
    spec = network_spec("resnet-8", (3, 8, 8), 10)
    arithmetic = (
        FloatArithmetic(NumpyFloat(), Counter(), (125, 123, 114), (63.0, 62.0, 67.0))
        if scheme.float32
        else fixed(SETTINGS["psg"][1])
    )
    gates = SluGates(spec, arithmetic.counter, 0.4, seed=1)
    counted = executed(spec, arithmetic, gates)
    assert 0 < gates.ran.mean() < 1
    gates.controller.skip = 0.0  # below the target no second gradient is taken
    gates.gradients()
    ran = dict(zip((b.name for b in spec.skippable_blocks), gates.ran.sum(axis=1), strict=True))
    predicted = 0.0 if scheme.float32 else shares(arithmetic)
    work = planned(
        spec, scheme, ran=lambda block: int(ran[block.name]), predicted=predicted, gated=True
    )
    found = recorded(arithmetic)
    assert found == work
    assert counted.macs < iteration(spec, scheme, BATCH).macs


def test_gates_run_for_every_sample_forward_and_twice_backward():
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    plain = iteration(spec, PSG, BATCH)
    gated = iteration(spec, PSG, BATCH, ran=lambda _: 0, gated=True)
    macs = BATCH * sum(gate_macs(block) for block in spec.skippable_blocks)
    assert gated.by_pass()["gate"] == {"32x32": 3 * macs}
    assert "gate" not in plain.by_pass()
    assert gated.macs - 3 * macs < 0.2 * plain.macs  # stem and classifier alone


def test_known_size_of_resnet_74():
    """He et al. 2016: 1.1 M weights; 3x3 convolutions of equal cost within the stages."""
    spec = network_spec("resnet-74", (3, 32, 32), 10)
    forward = iteration(spec, FLOAT32, 1).by_pass()["forward"]["32x32"]
    stem, block = 27 * 16 * 1024, 9 * 16 * 16 * 1024
    convolutions = 72 * block - 2 * block // 2  # two of them have half the input channels
    assert forward == stem + convolutions + 640 == spec.forward_macs


def test_expected_mixes_whole_samples():
    spec = network_spec("resnet-8", (3, 8, 8), 10)
    base = count_mix(expected(spec, FULL_SIGN, 10))
    assert base == iteration(spec, FULL_SIGN, 10).times(OFFERED)
    mixed = count_mix(expected(spec, FULL_SIGN, 10, kept=Fraction(2, 3), skip=Fraction(1, 4)))
    low = iteration(spec, FULL_SIGN, 10, ran=lambda _: 7)
    high = iteration(spec, FULL_SIGN, 10, ran=lambda _: 8)
    assert mixed == low.times(OFFERED // 3).plus(high.times(OFFERED // 3))


def test_smd_saves_exactly_its_third():
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    kept = count_mix(expected(spec, FLOAT32, 128, kept=Fraction(2, 3)))
    whole = count_mix(expected(spec, FLOAT32, 128))
    assert 3 * kept.bit_operations == 2 * whole.bit_operations
    assert 3 * kept.bytes == 2 * whole.bytes
