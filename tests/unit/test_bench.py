# SPDX-License-Identifier: Apache-2.0
"""The benchmark compares the same networks, and its gates skip what they are told to."""

import numpy as np
import pytest

from device_cases import device
from e2train import cli
from e2train.bench import emulator as bench
from e2train.bench.emulator import EmulatorTraining, ForcedGates
from e2train.device.counter import Counter
from e2train.network.models import network_spec
from engine_parts import float_network


@pytest.mark.parametrize(
    "name", [("resnet-8", (3, 16, 16), 10), ("mobilenet-v2", (3, 16, 16), 10)], ids=lambda n: n[0]
)
def test_the_torch_network_is_the_same_network(name):
    """Logits of the torch modules equal those of the engine's float32 arithmetic."""
    torch = pytest.importorskip("torch")
    from e2train.bench.torch_reference import FloatNetwork

    spec = network_spec(*name)
    engine = float_network("numpy", spec=spec)
    module = FloatNetwork(spec)
    parameters = iter(module.parameters())
    with torch.no_grad():
        for unit in spec.units():
            for part in ("weight", "gamma", "beta"):
                value = engine.parameters[f"{unit.name}.{part}"]
                next(parameters).copy_(torch.from_numpy(value))
        weight = engine.parameters["classifier.weight"][:, :, 0, 0]
        next(parameters).copy_(torch.from_numpy(weight))
        next(parameters).copy_(torch.from_numpy(engine.parameters["classifier.bias"]))
    assert next(parameters, None) is None
    images = np.random.default_rng(0).integers(0, 256, (4, *name[1]), dtype=np.uint8)
    expected = engine.logits(images, 0, training=True)
    arithmetic = engine.arithmetic
    normalised = arithmetic.picture(images)
    found = module(torch.from_numpy(np.asarray(normalised, np.float32))).detach().numpy()
    scale = np.abs(expected).max()
    assert np.allclose(found, expected, atol=1e-3 * scale)


@pytest.mark.parametrize("ratio", [0.0, 0.25, 0.6, 1.0])
def test_forced_gates_skip_exactly_what_is_asked(ratio):
    spec = network_spec("resnet-8", (3, 32, 32), 10)
    gates = ForcedGates(spec, Counter(), ratio)
    images, labels = bench.mini_batch(8)
    training = EmulatorTraining(spec, device("native"), images, labels, skip=ratio)
    training.step()
    ran = training._gates.ran
    assert ran.shape == (len(gates.blocks), 8)
    assert (ran.sum(axis=1) == 8 - round(ratio * 8)).all()
    assert training._gates.skip_ratio == pytest.approx(round(ratio * 8) / 8)  # of all the blocks
    assert not training._gates.chosen.any(), "no skipped sample may be computed"


def test_medians_are_taken_in_turns(monkeypatch):
    order, now = [], [0]
    durations = {"a": iter([100, 5, 7, 6]), "b": iter([100, 1, 2, 9])}
    monkeypatch.setattr(bench.time, "process_time", lambda: now[0])

    def step(name):
        order.append(name)
        now[0] += next(durations[name])

    medians = bench._seconds([lambda: step("a"), lambda: step("b")], 3)
    assert order == ["a", "b"] * 4
    assert medians == [6, 2]


def test_the_command_prints_both_tables(capsys):
    pytest.importorskip("torch")
    device("native")
    arguments = ["bench", "emulator", "--network", "resnet-8", "--skip-network", "resnet-8"]
    assert cli.run([*arguments, "--batch", "4", "--iterations", "1"]) == 0
    shown = capsys.readouterr().out
    assert "resnet-8" in shown and "ratio" in shown
    assert all(ratio in shown for ratio in ("0%", "20%", "40%", "60%"))


def test_the_command_without_torch_says_so(monkeypatch, capsys):
    monkeypatch.setattr("e2train.cli.bench.find_spec", lambda name: None)
    assert cli.run(["bench", "emulator"]) == 2
    assert "compares with torch: pip install" in capsys.readouterr().err
