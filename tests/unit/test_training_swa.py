# SPDX-License-Identifier: Apache-2.0
"""Weight averaging: the statistics that are taken for averaged weights, and the rate meanwhile."""

from __future__ import annotations

import numpy as np
import pytest

from e2train.methods.schedule import Schedule
from e2train.network.integer import FixedSettings
from engine_parts import batch, emulator, fixed_network, float_network


@pytest.mark.parametrize("arithmetic", ["float32", "fixed"])
def test_statistics_are_the_mean_over_mini_batches(arithmetic: str) -> None:
    """Nothing is left of what was there before, and every mini-batch weighs the same."""
    network = (
        float_network("torch")
        if arithmetic == "float32"
        else fixed_network(emulator("numpy"), FixedSettings(predict=False))
    )
    names = [name for name in network.parameters if "running" in name]
    batches = [batch(network.spec, 16, seed=seed)[0] for seed in range(4)]
    network.logits(batches[0], 0, training=True)  # exponents settle
    exponents, alone = network.arithmetic.state(), []
    for images in batches:
        network.arithmetic.running.restart()
        network.logits(images, 0, training=True)
        alone.append({name: network.parameters[name].copy() for name in names})
    for name in names:
        network.parameters[name][:] = 50.0
    network.arithmetic.restore(exponents)
    network.arithmetic.running.restart()
    for images in batches:
        network.logits(images, 0, training=True)
    for name in names:
        mean = np.mean([one[name] for one in alone], axis=0)
        assert network.parameters[name] == pytest.approx(mean, rel=2e-4, abs=2e-4), name
    network.arithmetic.running.resume()
    network.arithmetic.restore(exponents)
    before = {name: network.parameters[name].copy() for name in names}
    network.logits(batches[0], 0, training=True)
    for name in names:
        moved = before[name] + 0.1 * (alone[0][name] - before[name])
        assert network.parameters[name] == pytest.approx(moved, rel=1e-3, abs=1e-3), name


@pytest.mark.parametrize("kind", ["linear", "cosine"])
def test_rate_is_held_while_weights_are_averaged(kind: str) -> None:
    schedule = Schedule(0.1, 1000, kind=kind, hold=0.75, held=0.2)
    rates = [schedule.rate(iteration) for iteration in range(1000)]
    assert rates[0] == pytest.approx(0.1)
    assert np.allclose(rates[750:], 0.02)
    assert (np.diff(rates[:750]) < 0).all()
    assert rates[375] == pytest.approx(0.06, rel=1e-3)
    plain = Schedule(0.1, 1000, kind=kind)
    assert plain.rate(500) == pytest.approx(0.05) and plain.rate(999) < 1e-3
