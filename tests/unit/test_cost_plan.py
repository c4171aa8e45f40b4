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
from e2train.device.operations import WEIGHTS, Processor, Vector
from e2train.errors import UserError
from e2train.methods.slu import SluGates, gated_names
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

    def explored(self, index):
        return np.zeros(self.samples, bool)

    def observe(self, index, products):
        raise AssertionError("this policy learns nothing")

    observe_explored = observe


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
@pytest.mark.parametrize("gated", ["identity", "all"])
def test_gated_iteration(scheme, gated):
    """SLU's gates decide; what ran, was explored and was predicted settles the rest."""
    spec = network_spec("resnet-14", (3, 8, 8), 10)
    arithmetic = (
        FloatArithmetic(NumpyFloat(), Counter(), (125, 123, 114), (63.0, 62.0, 67.0))
        if scheme.float32
        else fixed(SETTINGS["psg"][1])
    )
    gates = SluGates(spec, arithmetic.counter, 0.25, seed=4, gated=gated, explore=0.8)
    counted = executed(spec, arithmetic, gates)
    assert 0 < gates.ran.mean() < 1 and gates.chosen.any()
    gates.gradients()
    names = [b.name for b in spec.skippable_blocks]
    ran = dict(zip(names, gates.ran.sum(axis=1).tolist(), strict=True))
    looked = dict(zip(names, gates.chosen.sum(axis=1).tolist(), strict=True))
    how = {
        "ran": lambda block: ran[block.name],
        "explored": lambda block: looked[block.name],
        "predicted": 0.0 if scheme.float32 else shares(arithmetic),
        "gated": gated_names(spec, gated),
    }
    assert recorded(arithmetic) == planned(spec, scheme, **how)
    gradients = 4 * BATCH * sum(gate_macs(b) for b in spec.blocks if b.name in how["gated"])
    assert counted.macs + gradients == iteration(spec, scheme, BATCH, **how).macs
    assert counted.macs < iteration(spec, scheme, BATCH).macs


def test_explored_samples_are_counted_forwards_only():
    """Of one block: a convolution pass each way more, products, and moves; nothing backwards."""
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    block = spec.skippable_blocks[1]
    gated = gated_names(spec, "identity")

    def counts(looked):
        def ran(one):
            return 60 if one is block else 100

        work = operations(spec, FULL_SIGN, 100, ran=ran, explored=lambda _: looked, gated=gated)
        return work, count_mix([(work, 1)])

    (without, less), (with_, more) = counts(0), counts(7)
    added = [one for one in with_ if one not in without]
    passes = {name: sum(n.values()) for name, n in more.by_pass().items()}
    before = {name: sum(n.values()) for name, n in less.by_pass().items()}
    changed = {name for name in passes if passes[name] != before[name]}
    assert changed == {"forward"}
    assert passes["forward"] - before["forward"] == 7 * block.macs
    kinds = sorted(o.kind for o in added if isinstance(o, Vector))
    assert kinds == ["gate_products", "narrow", "normalise", "normalise", "take", "take"]


def test_an_identity_block_takes_its_input_and_a_transition_its_shortcut_as_well():
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    for block in spec.skippable_blocks:
        work = operations(spec, FULL_SIGN, 8, ran=lambda one, b=block: 5 if one is b else 8)
        takes = [one for one in work if isinstance(one, Vector) and one.kind == "take"]
        assert len(takes) == (2 if block.shortcut == "identity" else 3)
        assert {one.samples for one in takes} == {5}


def test_gates_run_for_every_sample_forward_and_four_times_backward():
    """Twice for the gradient of the loss and twice for the cost's, which is projected out."""
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    plain = iteration(spec, PSG, BATCH)
    for gated in ("identity", "all"):
        names = gated_names(spec, gated)
        found = iteration(spec, PSG, BATCH, ran=lambda _: 0, gated=names)
        macs = BATCH * sum(gate_macs(b) for b in spec.skippable_blocks if b.name in names)
        assert found.by_pass()["gate"] == {"32x32": 5 * macs}
        assert found.macs - 5 * macs < 0.2 * plain.macs  # stem and classifier alone
    assert "gate" not in plain.by_pass()


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


def test_expected_skips_the_share_of_all_blocks_by_the_gated_ones():
    """Six of nine equal blocks: each skips 3/2 of the target; a fifth of that is explored."""
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    gated = gated_names(spec, "identity")
    share = Fraction(
        sum(b.macs for b in spec.skippable_blocks if b.name in gated),
        sum(b.macs for b in spec.skippable_blocks),
    )
    skip = share * Fraction(2, 5)
    mixed = count_mix(expected(spec, FULL_SIGN, 10, skip=skip, gated=gated, explore=Fraction(1, 4)))
    one = iteration(
        spec,
        FULL_SIGN,
        10,
        ran=lambda block: 6 if block.name in gated else 10,
        explored=lambda _: 1,
        gated=gated,
    )
    assert mixed == one.times(OFFERED)
    macs = sum(b.macs for b in spec.skippable_blocks)
    skipped = sum(b.macs for b in spec.skippable_blocks if b.name in gated) * 4
    assert Fraction(skipped, 10 * macs) == skip
    with pytest.raises(UserError, match=r"resnet-20: skips of 90% .* its gated blocks have") as e:
        expected(spec, FULL_SIGN, 10, skip=Fraction(9, 10), gated=gated)
    assert "\n" not in str(e.value)


def test_smd_saves_exactly_its_third():
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    kept = count_mix(expected(spec, FLOAT32, 128, kept=Fraction(2, 3)))
    whole = count_mix(expected(spec, FLOAT32, 128))
    assert 3 * kept.bit_operations == 2 * whole.bit_operations
    assert 3 * kept.bytes == 2 * whole.bytes
