# SPDX-License-Identifier: Apache-2.0
"""SLU's decisions, gradients and steering, with arithmetic that hands out given features."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from e2train.device.counter import Counter
from e2train.methods.slu import (
    SMALLEST_PROBABILITY,
    SkipController,
    SluGates,
    evaluation_thresholds,
)
from e2train.methods.slu_gates import GRID_POINTS, HIDDEN, gate_macs, gate_share
from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from engine_parts import SMALL_RESNET, batch, emulator, fixed_network, float_network

SPEC = network_spec(*SMALL_RESNET)
BLOCKS = len(SPEC.skippable_blocks)


class Features:
    """Stands in for the arithmetic: the same sums of features for every sample."""

    def __init__(self, seed: int = 0, scale: float = 1.0) -> None:
        self.rng, self.scale = np.random.default_rng(seed), scale
        self.one: dict[int, np.ndarray] = {}

    def gate_features(self, block: Any, stream: Any, points: int) -> np.ndarray:
        samples, channels = stream
        assert points == GRID_POINTS
        if channels not in self.one:
            self.one[channels] = self.rng.normal(size=channels) * self.scale
        return np.repeat(self.one[channels][None], samples, axis=0)


def decide_all(gates: SluGates, arithmetic: Features, iteration: int, samples: int) -> np.ndarray:
    gates.begin(iteration, samples, training=True)
    for index, block in enumerate(gates.blocks):
        gates.decide(index, arithmetic, (samples, block.units[0].geometry.channels))  # type: ignore[arg-type]
    return np.stack([step.probability for step in gates.cell.steps])


def test_decisions_follow_the_probabilities() -> None:
    gates = SluGates(SPEC, Counter(), 0.3, seed=1)
    samples = 40_000
    probability = decide_all(gates, Features(), 0, samples)
    error = np.sqrt(probability[:, 0] * (1 - probability[:, 0]) / samples)
    assert (np.abs(gates.ran.mean(axis=1) - probability[:, 0]) < 5 * error).all()
    expected = float(gates.cost @ (1 - gates.ran.mean(axis=1)))
    assert gates.skip_ratio == pytest.approx(expected)


def test_skip_ratio_weighs_blocks_by_their_macs() -> None:
    gates = SluGates(SPEC, Counter(), 0.3, seed=1)
    macs = [block.macs for block in SPEC.skippable_blocks]
    for index in range(BLOCKS):
        gates.ran = np.ones((BLOCKS, 4), bool)
        gates.ran[index, :2] = False
        assert gates.skip_ratio == pytest.approx(0.5 * macs[index] / sum(macs))


@pytest.mark.parametrize("target", [0.1, 0.4, 0.7])
def test_first_probabilities_are_near_the_target(target: float) -> None:
    """The output bias starts every gate near 1 - target; the small random maps move it a little."""
    found = []
    for seed in range(20):
        gates = SluGates(SPEC, Counter(), target, seed=seed)
        found.append(decide_all(gates, Features(seed), 0, 2).mean())
    assert np.mean(found) == pytest.approx(1 - target, abs=0.06)


def test_straight_through_gradient_is_unbiased() -> None:
    """Over the random decisions, the mean is what full computation of every <g, F(x) - x> gives."""
    samples, rounds = 6000, 10
    gates = SluGates(SPEC, Counter(), 0.5, seed=2)
    products, features = np.array([2.0, -1.5, 0.7]), Features()
    found, expected, naive = [], [], []
    for iteration in range(rounds):
        gates.controller.integral, gates.controller.skip = 3.0, 0.3  # fewer skipped than wanted
        alpha = gates.controller.alpha
        assert alpha > 0
        p = decide_all(gates, features, iteration, samples)[:, 0]
        assert (p > SMALLEST_PROBABILITY).all()
        for index in range(BLOCKS):
            gates.observe(index, np.full(int(gates.ran[index].sum()), products[index]))
        found.append(gates.gradients()["gate.output_bias"][0])
        expected.append(((products + alpha * gates.cost) * p * (1 - p)).sum())
        naive.append(((products * p + alpha * gates.cost) * p * (1 - p)).sum())
    variance = (products**2 * (1 - p) / p * (p * (1 - p)) ** 2).sum() / (samples * rounds)
    assert abs(np.mean(found) - np.mean(expected)) < 5 * math.sqrt(variance)
    # leaving out the weight 1/p would be far off: the test can tell
    assert abs(np.mean(found) - np.mean(naive)) > 30 * math.sqrt(variance)


def test_weight_of_rare_runs_is_bounded() -> None:
    gates = SluGates(SPEC, Counter(), 0.5, seed=2)
    gates.parameters["gate.output_bias"][:] = -6.0
    gates.controller.integral = 0.0
    probability = decide_all(gates, Features(scale=0.1), 5, 4000)
    assert probability.max() < SMALLEST_PROBABILITY
    counts = gates.ran.sum(axis=1)
    assert counts.min() > 0
    for index in range(BLOCKS):
        gates.observe(index, np.ones(counts[index]))
    found = gates.gradients()["gate.output_bias"][0]
    p = probability[:, 0]
    expected = (p * (1 - p) * counts / SMALLEST_PROBABILITY / 4000).sum()
    assert found == pytest.approx(expected, rel=1e-4)


def test_cost_reaches_gates_whose_blocks_did_not_run() -> None:
    """alpha * C pulls every probability down, in proportion to the block's cost."""
    gates = SluGates(SPEC, Counter(), 0.5, seed=2)
    gates.controller.integral = 2.0
    alpha = gates.controller.alpha
    p = decide_all(gates, Features(), 5, 8)
    gates.ran[:] = False
    found = gates.gradients()["gate.output_bias"][0]
    expected = alpha * float((gates.cost[:, None] * p * (1 - p)).mean(axis=1).sum())
    assert found == pytest.approx(expected, rel=1e-4) and found > 0


def flat(gradients: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([gradients[name].ravel() for name in sorted(gradients)]).astype(float)


@pytest.mark.parametrize("worth", [-1.0, 1.0])
def test_beyond_the_target_gates_do_not_close_further(worth: float) -> None:
    """Of a loss gradient that would skip more, only what leaves the cost as it is gets through."""
    found = {}
    for skip in (0.3, 0.7):
        gates = SluGates(SPEC, Counter(), 0.5, seed=2)
        gates.controller.skip, gates.controller.integral = skip, 0.0
        decide_all(gates, Features(), 5, 64)
        for index in range(BLOCKS):
            count = int(gates.ran[index].sum())
            gates.observe(index, -worth * np.linspace(1.0, 2.0, count) * (index + 1))
        cost = flat(gates.cell.backward([np.full(64, share / 64) for share in gates.cost]))
        gates.controller.integral = -5.0 * (0.5 - skip) if skip < 0.5 else 0.0
        assert gates.controller.alpha == 0.0
        found[skip] = flat(gates.gradients())
    # descent moves against the gradient: a positive product with the cost's closes gates
    closing = {skip: float(gradient @ cost) for skip, gradient in found.items()}
    if worth > 0:  # running helps: opening gates is free either way
        assert closing[0.3] < 0
        assert np.array_equal(found[0.3], found[0.7])
    else:
        assert closing[0.3] > 0
        assert abs(closing[0.7]) < 1e-5 * closing[0.3]
        expected = found[0.3] - cost * closing[0.3] / (cost @ cost)
        assert np.abs(found[0.7] - expected).max() < 1e-4 * np.abs(found[0.3]).max()


def test_no_cost_and_no_runs_give_no_gradient() -> None:
    gates = SluGates(SPEC, Counter(), 0.5, seed=2)
    decide_all(gates, Features(), 5, 8)
    gates.ran[:] = False
    gates.controller.integral, gates.controller.skip = 0.0, 0.9
    assert gates.controller.alpha == 0.0
    assert all(not value.any() for value in gates.gradients().values())


@pytest.mark.parametrize("target", [0.1, 0.2, 0.4, 0.6])
@pytest.mark.parametrize("worth", [0.05, 0.5, 2.0])
def test_controller_brings_a_plant_to_its_target(target: float, worth: float) -> None:
    """Gates as a toy: noisy logits pushed up by what blocks are worth, down by alpha.

    Worth falls off as more is skipped no further than it stays positive, so an alpha exists.
    """
    controller, rng = SkipController(target), np.random.default_rng(0)
    u, velocity, history = math.log((1 - target) / target) + 1.0, 0.0, []
    for _ in range(6000):
        p = 1 / (1 + math.exp(-u))
        skip = 1 - rng.binomial(64, p) / 64
        alpha = controller.alpha
        assert alpha >= 0.0
        gradient = (alpha - worth * (1 + skip)) * p * (1 - p) + rng.normal() * 0.02
        velocity = 0.9 * velocity + gradient
        u -= 0.05 * velocity
        controller.observe(skip)
        history.append(skip)
    assert np.mean(history[-2000:]) == pytest.approx(target, abs=0.02)


def test_controller_lets_go_above_its_target() -> None:
    """Where more is skipped than asked for, alpha falls to 0 and does not wind up below."""
    controller = SkipController(0.2)
    for _ in range(500):
        controller.observe(0.9)
    assert controller.alpha == 0.0 and controller.integral == 0.0
    for _ in range(60):
        controller.observe(0.0)
    assert controller.alpha > 0.0, "it must come back at once, without paying off a debt"


def test_evaluation_thresholds_are_spread_evenly() -> None:
    assert evaluation_thresholds(7).tolist() == [0.5, 0.25, 0.75, 0.125, 0.625, 0.375, 0.875]
    for blocks in (3, 7, 12, 18, 36, 54):
        values = np.sort(evaluation_thresholds(blocks))
        assert len(set(values)) == blocks and values[0] > 0 and values[-1] < 1
        assert np.diff(np.concatenate([[0], values, [1]])).max() <= 2.0 / blocks


def test_evaluation_skips_as_often_as_training() -> None:
    """Thresholds (over many blocks) stand in for draws: a share of about p of the blocks runs."""
    thresholds = evaluation_thresholds(54)
    for p in np.linspace(0.05, 0.95, 19):
        assert (thresholds < p).mean() == pytest.approx(p, abs=0.04)


def test_evaluation_draws_nothing() -> None:
    gates = SluGates(SPEC, Counter(), 0.4, seed=1)
    network = float_network("numpy", spec=SPEC, policy=gates)
    images, _ = batch(SPEC, 8)
    found = []
    for iteration in (0, 1, 12345):
        logits = network.logits(images, iteration, training=False)
        found.append((logits.tobytes(), gates.ran.tobytes()))
    assert found[0] == found[1] == found[2]
    training = [network.logits(images, i, training=True) is not None and gates.ran for i in (0, 1)]
    assert not np.array_equal(*training)


def test_evaluation_of_a_picture_does_not_depend_on_its_neighbours() -> None:
    gates = SluGates(SPEC, Counter(), 0.4, seed=1)
    network = fixed_network(
        emulator("numpy"), FixedSettings(predict=False), spec=SPEC, policy=gates
    )
    images, labels = batch(SPEC, 64)
    network.forward_backward(images, labels, 0)
    whole = network.logits(images, 0, training=False)
    probability = np.stack([step.probability for step in gates.cell.steps])
    for start in range(0, 64, 16):
        part = slice(start, start + 16)
        alone = network.logits(images[part], 0, training=False)
        assert np.array_equal(alone, whole[part])
        again = np.stack([step.probability for step in gates.cell.steps])
        assert np.abs(again - probability[:, part]).max() < 1e-5


@pytest.mark.parametrize("arithmetic", ["fixed", "float"])
def test_features_are_means_over_a_grid(arithmetic: str) -> None:
    """What a gate sees: means over at most 4 x 4 positions of its block's input."""
    spec = network_spec("resnet-8", (3, 16, 16), 10)
    network = (
        fixed_network(emulator("numpy"), FixedSettings(predict=False), spec=spec)
        if arithmetic == "fixed"
        else float_network("numpy", spec=spec)
    )
    gates = SluGates(spec, Counter(), 0.001, seed=1)
    network.policy = gates
    seen: list[np.ndarray] = []
    original = network.arithmetic.gate_features

    def watch(block: Any, stream: Any, points: int) -> np.ndarray:
        if arithmetic == "fixed":
            seen.append(np.ldexp(stream.tensor.astype(float), stream.exponent))
        else:
            seen.append(np.asarray(stream, float))
        return original(block, stream, points)

    network.arithmetic.gate_features = watch  # type: ignore[method-assign]
    network.logits(batch(spec, 3)[0], 0, training=True)
    for stream, step, size in zip(seen, gates.cell.steps, (16, 16, 8), strict=True):
        assert stream.shape[2] == size
        grid = stream[:, :, :: size // 4, :: size // 4]
        assert grid.shape[2:] == (4, 4)
        assert np.allclose(step.features, grid.mean(axis=(2, 3)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "name", ["resnet-20", "resnet-38", "resnet-74", "resnet-110", "mobilenet-v2"]
)
def test_gates_are_almost_free(name: str, record_property: Any) -> None:
    """Below 0.04 % of the network's forward FLOPs (section 3.2 of the paper), counted by hand."""
    spec = network_spec(name, (3, 32, 32), 10)
    flops = 0
    for block in spec.skippable_blocks:
        geometry = block.units[0].geometry
        multiplications = geometry.channels * HIDDEN + 2 * HIDDEN * 4 * HIDDEN + HIDDEN
        assert gate_macs(block) == multiplications
        points = min(4, geometry.height) * min(4, geometry.width)
        flops += 2 * multiplications + geometry.channels * (points - 1)
    share = flops / (2 * spec.forward_macs)
    record_property("gate share, percent", 100 * share)
    assert gate_share(spec) == pytest.approx(share, rel=1e-12)
    if name != "resnet-20":
        assert share < 0.0004, f"{100 * share:.4f} %"


def test_gates_are_counted() -> None:
    """Forward once and backward twice, 32 x 32 bits, for every sample, skipped or not."""
    counter = Counter()
    gates = SluGates(SPEC, counter, 0.4, seed=1)
    network = float_network("numpy", spec=SPEC, policy=gates)
    macs = sum(gate_macs(block) for block in SPEC.skippable_blocks)
    expected = 0
    for skip in (0.3, 0.6):  # beyond the target the cost's own gradient is taken as well
        network.forward_backward(*batch(SPEC, 8), 0)
        gates.controller.skip = skip
        gates.gradients()
        expected += (3 if skip < 0.4 else 5) * 8 * macs
        assert counter.by_pass() == {"gate": {"32x32": expected}}
