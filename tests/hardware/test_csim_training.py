# SPDX-License-Identifier: Apache-2.0
"""Training on csim and on the emulator: every integer of every operation, and all that is learned.

Compared are the inputs and outputs of each device operation in order (sign masks, predicted
weights, activations, gradients), then losses, weights, batch-norm state, exponents, gates and the
predictor's shares.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from csim_device import watched_transport
from e2train.device.accelerator.csim import CsimTransport
from e2train.device.accelerator.device import KernelDevice
from e2train.device.counter import Counter
from e2train.methods import fixed8, psg
from e2train.methods.sgd import Sgd
from e2train.methods.slu import SluGates
from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from engine_parts import batch, emulator, fixed_network
from recording_device import RecordingDevice, same_calls

PSG = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)


@dataclass
class Trained:
    """What training leaves behind."""

    device: RecordingDevice
    losses: list[float] = field(default_factory=list)
    ran: list[np.ndarray] = field(default_factory=list)
    explored: list[np.ndarray] = field(default_factory=list)
    arrays: dict[str, np.ndarray] = field(default_factory=dict)
    state: Any = None
    tally: Any = None


def train(
    device: Any, name: tuple, settings: FixedSettings, iterations: int, samples: int, skip: float
) -> Trained:
    spec = network_spec(*name)
    found = Trained(RecordingDevice(device))
    gates = SluGates(spec, Counter(), skip, 3, gated="all", explore=0.5) if skip else None
    network = fixed_network(found.device, settings, spec=spec, policy=gates)
    optimiser = Sgd(network.parameters, 0.9, 1e-4)
    gate_optimiser = None if gates is None else Sgd(gates.parameters, 0.9, 0.0)
    for iteration in range(iterations):
        images, labels = batch(spec, samples, iteration)
        outcome, gradients = network.forward_backward(images, labels, iteration)
        optimiser.step(network.parameters, gradients, 0.03)
        found.losses.append(outcome.loss)
        if gates is not None and gate_optimiser is not None:
            found.ran.append(gates.ran.copy())
            found.explored.append(gates.chosen.copy())
            gate_optimiser.step(gates.parameters, gates.gradients(), 0.05)
    found.arrays = dict(network.parameters)
    if gates is not None:
        found.arrays |= {f"gates: {key}": value for key, value in gates.parameters.items()}
    found.state = network.arithmetic.state()
    found.tally = network.arithmetic.tally
    return found


def same_training(
    name: tuple, settings: FixedSettings, iterations: int, samples: int, skip: float
) -> Trained:
    watched_transport(1 << 17)  # skips where csim cannot be built
    with KernelDevice(CsimTransport()) as csim:
        found = train(csim, name, settings, iterations, samples, skip)
    expected = train(emulator("auto"), name, settings, iterations, samples, skip)
    same_calls(found.device.calls, expected.device.calls)
    assert found.losses == expected.losses
    assert found.state == expected.state
    assert found.tally == expected.tally
    assert all(np.array_equal(*pair) for pair in zip(found.ran, expected.ran, strict=True))
    assert found.arrays.keys() == expected.arrays.keys()
    for key, value in found.arrays.items():
        assert value.tobytes() == expected.arrays[key].tobytes(), key
    return found


def learned(found: Trained, iterations: int) -> None:
    """It was training: weights moved, and the predictor decided some weights and left others."""
    assert len(found.losses) == iterations and len(set(found.losses)) > 1
    predicted = sum(one.predicted for one in found.tally.values())
    weights = sum(one.weights for one in found.tally.values())
    assert 0.2 * weights < predicted < 0.98 * weights


def test_20_iterations_of_resnet_8_on_digits():
    learned(same_training(("resnet-8", (1, 8, 8), 10), PSG, 20, 16, 0.0), 20)


@pytest.mark.parametrize(("network", "iterations"), [("resnet-20", 3), ("mobilenet-v2", 2)])
def test_iterations_with_gates_on_cifar_shapes(network, iterations):
    """MobileNetV2 takes csim 15 s an iteration; the second uses what the first has left."""
    found = same_training((network, (3, 32, 32), 10), PSG, iterations, 4, 0.3)
    learned(found, iterations)
    ran = np.concatenate([decisions.ravel() for decisions in found.ran])
    assert 0 < ran.mean() < 1
    assert any(chosen.any() for chosen in found.explored)


@pytest.mark.parametrize(
    "settings", [fixed8.settings(16), FixedSettings(predict=False, stream_bits=9)], ids=["8", "9"]
)
def test_full_gradients_with_gates(settings):
    same_training(("resnet-8", (3, 16, 16), 10), settings, 3, 19, 0.4)
