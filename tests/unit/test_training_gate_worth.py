# SPDX-License-Identifier: Apache-2.0
"""The diagnostic of SLU: a gate's estimate against the true change of the loss by its block."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from e2train.cli import run
from e2train.device.counter import Counter
from e2train.methods.sgd import Sgd
from e2train.methods.slu import SluGates
from e2train.network.models import network_spec
from e2train.training.gate_worth import worths
from engine_parts import batch, float_network

SPEC = network_spec("resnet-14", (1, 8, 8), 10)


@pytest.fixture(scope="module")
def found() -> list:
    """A toy trained on the digits for 60 iterations, a third of its gated blocks skipped."""
    gates = SluGates(SPEC, Counter(), 0.15, seed=1)
    network = float_network("torch", spec=SPEC, policy=gates)
    optimiser = Sgd(network.parameters, 0.9, 1e-4)
    for iteration in range(60):
        images, labels = batch(SPEC, 64, seed=iteration)
        optimiser.step(
            network.parameters, network.forward_backward(images, labels, iteration)[1], 0.05
        )
    kept = {name: value.copy() for name, value in network.parameters.items()}
    result = worths(network, gates, [batch(SPEC, 64, seed=100 + n) for n in range(6)])
    assert network.policy is gates and gates.explore == 0.1
    assert all(np.array_equal(network.parameters[name], value) for name, value in kept.items())
    return result


def test_estimate_has_the_sign_and_size_of_the_truth(found: list) -> None:
    assert [one.block for one in found] == [f"stage{stage}.block2" for stage in (1, 2, 3)]
    clear = [one for one in found if abs(one.change) > 4 * one.change_error]
    assert clear, "no block matters here, so that nothing is tested"
    for one in clear:
        assert np.sign(one.estimate) == np.sign(one.change), one
        error = np.hypot(one.estimate_error, one.change_error)
        assert abs(one.estimate - one.change) < 0.5 * abs(one.change) + 3 * error, one


def test_the_gradient_behind_a_block_alone_makes_it_look_worse_than_it_is(found: list) -> None:
    """Why the straight-through estimate shuts gates: the loss is convex along the block's step."""
    for one in found:
        assert one.before < one.change < one.behind


def test_a_run_without_gates_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    plain = tmp_path / "plain.toml"
    plain.write_text('network = "resnet-8"\n[train]\niterations = 1\nbatch = 8\n')
    assert run(["train", str(plain), "--out", str(tmp_path / "run"), "--quiet"]) == 0
    assert run(["gates", str(tmp_path / "run"), "--batches", "2"]) == 2
    assert "has no gates" in capsys.readouterr().err
    assert run(["gates", str(tmp_path / "run"), "--batches", "1"]) == 2
    assert "--batches 1" in capsys.readouterr().err
