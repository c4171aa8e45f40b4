# SPDX-License-Identifier: Apache-2.0
"""Skipping meets its target by a steered offset; the gates' gradients leave the cost as it is."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2train.data.load import load_dataset
from e2train.device.counter import Counter
from e2train.methods.sgd import Sgd
from e2train.methods.slu import SkipController, SluGates, at_equal_cost, reach
from e2train.methods.slu_gates import logit
from e2train.network.models import network_spec
from e2train.numerics.gate_cell import LEAST_PROBABILITY, MOST_PROBABILITY
from e2train.training.experiment import Experiment, SluSettings, TrainSettings
from e2train.training.trainer import Trainer

SLOPE = MOST_PROBABILITY - LEAST_PROBABILITY


@given(
    hnp.arrays(np.float64, (3, 4), elements=st.floats(-100, 100)),
    hnp.arrays(np.float64, (3, 4), elements=st.floats(1e-6, 0.25)),
    hnp.arrays(np.float64, 3, elements=st.floats(1e-3, 1)),
)
def test_projection(estimates, slopes, cost):
    """A step along the logits' gradient leaves the cost as it is, and keeps what lies across it."""
    found = at_equal_cost(estimates, slopes, cost) * slopes
    g, c = estimates * slopes, cost[:, None] * slopes
    slack = 1e-4 * np.linalg.norm(g) * np.linalg.norm(c) + 1e-12
    assert abs((found * c).sum()) <= slack
    across = g - (g * c).sum() / (c * c).sum() * c
    np.testing.assert_allclose(found, across, atol=1e-4 * max(1e-9, np.linalg.norm(g)))


def test_no_slope_is_no_projection():
    estimates = np.arange(6.0).reshape(2, 3)
    found = at_equal_cost(estimates, np.zeros((2, 3)), np.ones(2))
    np.testing.assert_array_equal(found, estimates)


# ---- steering ------------------------------------------------------------------------------------


def probability(value):
    return LEAST_PROBABILITY + SLOPE / (1 + math.exp(-value))


def steered(target, bias, rounds, samples, seed=0):
    """A plant: gates whose own logit is `bias`; skip ratios and offsets of its mini-batches."""
    controller, rng = SkipController(target, 1 - target), np.random.default_rng(seed)
    skips, offsets = [], []
    for _ in range(rounds):
        offsets.append(controller.offset)
        skips.append(1 - rng.binomial(samples, probability(bias + controller.offset)) / samples)
        controller.observe(skips[-1])
    return np.array(skips), np.array(offsets)


@pytest.mark.parametrize("target", [0.05, 0.2, 0.4, 0.6, 0.9])
@pytest.mark.parametrize("bias", [-4.0, -1.0, 0.0, 1.0, 4.0])
def test_a_plant_comes_to_its_target_from_above_and_below(target, bias):
    """Gates that skip far too much, or far too little, when nobody steers."""
    skips, offsets = steered(target, bias, 3000, 128)
    assert skips[-400:].mean() == pytest.approx(target, abs=0.01)
    settled = logit(1 - target) - bias  # the offset that cancels what the gates do themselves
    assert offsets[-400:].mean() == pytest.approx(settled, abs=0.3)
    assert np.abs(skips[100:].mean() - target) < 0.03, "within a hundred mini-batches"


@settings(max_examples=60, deadline=None)
@given(st.floats(0.02, 0.97), st.floats(-6, 6), st.sampled_from([8, 64, 256]), st.integers(0, 99))
def test_the_offset_never_runs_away(target, bias, samples, seed):
    skips, offsets = steered(target, bias, 600, samples, seed)
    wanted = logit(1 - target) - bias
    assert np.abs(offsets).max() < 2 * max(abs(wanted), abs(logit(1 - target))) + 6
    assert np.isfinite(offsets).all()
    assert abs(skips[-200:].mean() - target) < 0.06


def test_at_the_end_of_its_reach_the_offset_grows_like_a_logarithm():
    """Where the target is all that can be skipped it is approached, and nothing overflows."""
    skips, offsets = steered(1 - LEAST_PROBABILITY, 0.0, 5000, 128)
    assert skips[-500:].mean() > 0.975
    assert offsets.min() > -25 and np.abs(np.diff(offsets[-500:])).max() < 0.5


def test_learning_gates_are_held_at_their_target():
    """Gates that would close or open by what they learn, at a rate that falls as a run's does.

    While they learn fast the offset follows at a distance; then it meets the target.
    """
    spec, samples = network_spec("resnet-20", (1, 8, 8), 10), 64
    for target, worth in ((0.2, 0.3), (0.4, -0.3), (0.4, 0.3)):
        gates = SluGates(spec, Counter(), target, seed=1)
        optimiser, rng = Sgd(gates.parameters, 0.9, 0.0), np.random.default_rng(0)
        before = {name: value.copy() for name, value in gates.parameters.items()}
        skips, offsets = [], []
        for iteration in range(450):
            gates.begin(iteration, samples, training=True)
            for index, block in enumerate(gates.blocks):
                channels = block.units[0].geometry.channels
                features = 16 * rng.normal(size=(samples, channels))
                ran = gates.decide(index, Given(features), None)
                value = worth * (1 + features[:, 0] / 32 + index / 9)
                gates.observe(index, value[ran])
                if gates.explored(index).any():
                    gates.observe_explored(index, value[gates.explored(index)])
            skips.append(gates.skip_ratio)
            optimiser.step(gates.parameters, gates.gradients(), 0.05 if iteration < 250 else 0.005)
            offsets.append(gates.controller.offset)
        assert np.mean(skips[50:250]) == pytest.approx(target, abs=0.04)
        assert np.mean(skips[-200:]) == pytest.approx(target, abs=0.01)
        assert np.abs(offsets).max() < 8
        moved = [np.abs(gates.parameters[n] - before[n]).max() for n in before]
        assert max(moved) > 0.1, "they must have learnt for this to be a test"


class Given:
    """An arithmetic whose features are given."""

    def __init__(self, features):
        self.features = features

    def gate_features(self, block, stream, points):
        return self.features


# ---- in a run ------------------------------------------------------------------------------------


def trainer(folder, warmup, **train):
    experiment = Experiment(
        "slu",
        train=TrainSettings(iterations=8, **train),
        slu=SluSettings(skip=0.3, gated="all", warmup=warmup),
    )
    return Trainer(experiment, load_dataset("digits"), folder, device=None, meter="none")


@pytest.mark.parametrize("warmup", [0.0, 0.5])
def test_gates_wait_for_the_warm_up_and_are_steered_from_the_first(tmp_path, warmup):
    with trainer(tmp_path, warmup) as running:
        gates = running.parts.gates
        before = {n: v.copy() for n, v in gates.parameters.items()}
        offsets = []
        for iteration in range(4):
            running.mini_batch(iteration)
            offsets.append(gates.controller.offset)
        changed = any(not np.array_equal(before[n], gates.parameters[n]) for n in before)
        assert changed == (warmup == 0.0)
        assert len(set(offsets)) == 4
        running.mini_batch(4)
        assert any(not np.array_equal(before[n], gates.parameters[n]) for n in before)


def test_the_gates_rate_falls_with_the_weights(tmp_path, monkeypatch):
    with trainer(tmp_path, 0.0, lr=0.4, drops=(0.25, 0.75), drop_factor=0.5) as running:
        rates = []
        monkeypatch.setattr(running.gate_optimiser, "step", lambda p, g, lr: rates.append(lr))
        for iteration in range(8):
            running.mini_batch(iteration)
    assert rates == pytest.approx([0.5] * 2 + [0.25] * 4 + [0.125] * 2)


def test_reach_is_that_of_the_gated_blocks():
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    assert 0.6 < reach(spec, "identity") < reach(spec, "all") == pytest.approx(0.98)
