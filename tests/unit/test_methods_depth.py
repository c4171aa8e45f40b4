# SPDX-License-Identifier: Apache-2.0
"""Stochastic depth: linear decay, a matched skip ratio, and evaluation with scaled branches."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.errors import UserError
from e2train.methods.stochastic_depth import StochasticDepth, survival_probabilities
from e2train.network.models import network_spec
from engine_parts import SMALL_RESNET, batch, float_network

SPEC = network_spec("resnet-38", (3, 32, 32), 10)


@given(st.integers(1, 60), st.floats(0.0, 1.0))
def test_survival_decays_linearly_to_the_skip_ratio(blocks: int, skip: float) -> None:
    most = (blocks + 1) / (2 * blocks)
    if skip > most * (1 + 1e-12):
        with pytest.raises(UserError) as caught:
            survival_probabilities(blocks, skip)
        assert f"{blocks} blocks" in str(caught.value) and f"{most:.0%}" in str(caught.value)
    elif skip < most * (1 - 1e-12):
        p = survival_probabilities(blocks, skip)
        assert p.shape == (blocks,)
        assert 1.0 - p.mean() == pytest.approx(skip, abs=1e-12)
        assert (p > -1e-12).all() and (p <= 1).all()
        # linear from 1 before the first block (Huang et al. 2016, eq. 4)
        line = 1.0 - np.arange(1, blocks + 1) / blocks * (1 - p[-1])
        assert np.allclose(p, line, atol=1e-12)


def test_skip_ratio_of_many_mini_batches() -> None:
    policy = StochasticDepth(SPEC, 0.4, seed=1)
    alive = []
    for iteration in range(4000):
        policy.begin(iteration, 3, training=True)
        decided = [policy.decide(i, None, None) for i in range(18)]  # type: ignore[arg-type]
        assert all((row == row[0]).all() for row in decided), "a block drops for all samples"
        alive.append([row[0] for row in decided])
    rates = np.mean(alive, axis=0)
    error = np.sqrt(policy.survival * (1 - policy.survival) / 4000)
    assert (np.abs(rates - policy.survival) < 5 * error).all()
    assert 1 - rates.mean() == pytest.approx(0.4, abs=0.01)
    correlation = np.corrcoef(np.array(alive, float).T)
    assert np.abs(correlation - np.eye(18)).max() < 0.08, "blocks drop independently"


def test_samples_draw_for_themselves() -> None:
    policy = StochasticDepth(SPEC, 0.4, seed=1, per="sample")
    policy.begin(0, 20_000, training=True)
    error = np.sqrt(policy.survival * (1 - policy.survival) / 20_000)
    assert (np.abs(policy.ran.mean(axis=1) - policy.survival) < 5 * error).all()
    correlation = np.corrcoef(policy.ran[1:].astype(float))
    assert np.abs(correlation - np.eye(17)).max() < 0.04, "blocks drop independently"
    assert policy.skip_ratio == pytest.approx(0.4, abs=0.01)
    assert policy.scale(3) == 1.0
    policy.begin(0, 4, training=False)
    assert policy.ran.all() and policy.scale(3) == policy.survival[3]


def test_decisions_are_a_function_of_seed_and_iteration() -> None:
    first, second = (StochasticDepth(SPEC, 0.4, seed=1) for _ in range(2))
    second.begin(99, 5, training=True)
    for policy in (first, second):
        policy.begin(7, 5, training=True)
    assert np.array_equal(first.ran, second.ran)
    assert first.ran.shape == (18, 5)


def test_evaluation_runs_all_and_scales() -> None:
    policy = StochasticDepth(SPEC, 0.4, seed=1)
    policy.begin(0, 5, training=False)
    assert policy.ran.all()
    assert [policy.scale(i) for i in range(18)] == pytest.approx(policy.survival.tolist())
    policy.begin(0, 5, training=True)
    assert all(policy.scale(i) == 1.0 for i in range(18))


def test_scaled_evaluation_equals_torch() -> None:
    torch = pytest.importorskip("torch", reason="torch is the reference here")
    torch_networks = pytest.importorskip("torch_networks")
    spec = network_spec(*SMALL_RESNET)
    policy = StochasticDepth(spec, 0.5, seed=1)
    network = float_network("numpy", spec=spec, policy=policy)
    for value in network.parameters.values():
        value += np.random.default_rng(3).uniform(0.0, 0.3, value.shape).astype(np.float32)
    images, _ = batch(spec, 5)
    found = network.logits(images, 0, training=False)
    reference = torch_networks.resnet(8, 1, 10).load(network.parameters).eval()
    pictures = torch.from_numpy((images - network.arithmetic.mean) / network.arithmetic.deviation)
    expected = reference(pictures.double(), scale=policy.survival).detach().numpy()
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5 * np.abs(expected).max())
    unscaled = reference(pictures.double()).detach().numpy()
    assert not np.allclose(found, unscaled, rtol=1e-2)
