# SPDX-License-Identifier: Apache-2.0
"""Whole training steps, integer for integer, against a device written from the contract alone."""

from __future__ import annotations

import numpy as np
import pytest

from e2train.device.counter import Counter
from e2train.methods import fixed8, psg
from e2train.methods.sgd import Sgd
from e2train.methods.slu import SluGates
from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from engine_parts import BACKENDS, SMALL_MOBILENET, SMALL_RESNET, batch, emulator, fixed_network
from recording_device import RecordingDevice, same, same_calls
from reference_device import ReferenceDevice

PSG = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)
SETTINGS = {
    "psg": PSG,
    "psg, other slices": psg.settings(0.2, 5, 7, 16),
    "psg, 9-bit stream": psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 9),
    "fixed8": fixed8.settings(16),
    "full signs": FixedSettings(predict=False),
}


class Steps:
    """A network on a recorded device, trained for a few iterations."""

    def __init__(
        self, device: object, settings: FixedSettings, name: tuple, samples: int, skip: float
    ) -> None:
        spec = network_spec(*name)
        self.device = RecordingDevice(device)
        self.gates = SluGates(spec, Counter(), skip, 3, gated="all", explore=0.5) if skip else None
        self.samples = samples
        self.network: Network = fixed_network(self.device, settings, spec=spec, policy=self.gates)
        self.outcomes: list[float] = []
        self.ran: list[np.ndarray] = []
        self.explored: list[np.ndarray] = []

    def train(self, iterations: int) -> Steps:
        optimiser = Sgd(self.network.parameters, 0.9, 1e-4)
        gate_optimiser = None if self.gates is None else Sgd(self.gates.parameters, 0.9, 0.0)
        for iteration in range(iterations):
            images, labels = batch(self.network.spec, self.samples, iteration)
            outcome, gradients = self.network.forward_backward(images, labels, iteration)
            optimiser.step(self.network.parameters, gradients, 0.03)
            if self.gates is not None and gate_optimiser is not None:
                self.ran.append(self.gates.ran)
                self.explored.append(self.gates.chosen)
                gate_optimiser.step(self.gates.parameters, self.gates.gradients(), 0.05)
            self.outcomes.append(outcome.loss)
        images, _ = batch(self.network.spec, self.samples, iterations)
        self.outcomes += self.network.logits(images, iterations, training=False).ravel().tolist()
        return self


def same_training(found: Steps, expected: Steps) -> None:
    same_calls(found.device.calls, expected.device.calls)
    assert found.outcomes == expected.outcomes
    assert found.network.arithmetic.state() == expected.network.arithmetic.state()
    pairs = [(found.network.parameters, expected.network.parameters)]
    if found.gates is not None and expected.gates is not None:
        pairs.append((found.gates.parameters, expected.gates.parameters))
    for mine, theirs in pairs:
        assert mine.keys() == theirs.keys()
        for name, value in mine.items():
            assert value.tobytes() == theirs[name].tobytes(), f"weights of {name} differ"


_REFERENCES: dict[tuple, Steps] = {}


def reference(kind: str, name: tuple, samples: int, skip: float, iterations: int) -> Steps:
    """The same training on the reference device, computed once for all backends."""
    key = (kind, name, samples, skip, iterations)
    if key not in _REFERENCES:
        steps = Steps(ReferenceDevice(), SETTINGS[kind], name, samples, skip)
        _REFERENCES[key] = steps.train(iterations)
    return _REFERENCES[key]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", SETTINGS)
def test_resnet_steps_equal_the_reference(backend: str, kind: str) -> None:
    case = (SMALL_RESNET, 5, 0.0)
    found = Steps(emulator(backend), SETTINGS[kind], *case).train(3)
    expected = reference(kind, *case, 3)
    same_training(found, expected)
    convolved = {c.inputs["2"] for c in expected.device.named("convolve")}
    assert convolved == {unit.geometry for unit in expected.network.spec.units()}
    convolutions, layers = list(expected.network.spec.units()), []
    for name in ("psg_gradient", "weight_gradient"):
        layers.append([c.inputs["2"] for c in expected.device.named(name)])
    signed, full = (len(convolutions), 1) if kind.startswith("psg") else (0, len(convolutions) + 1)
    assert (len(layers[0]), len(layers[1])) == (3 * signed, 3 * full)
    assert layers[1].count(expected.network.spec.classifier) == 3, "never signed"


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("kind", ["psg", "fixed8"])
def test_resnet_steps_with_gates_equal_the_reference(backend: str, kind: str) -> None:
    case = (SMALL_RESNET, 8, 0.4)
    found = Steps(emulator(backend), SETTINGS[kind], *case).train(3)
    expected = reference(kind, *case, 3)
    same_training(found, expected)
    ran = np.concatenate(expected.ran, axis=1)
    assert 0.2 < 1.0 - ran.mean() < 0.6, "the case must skip some samples and run others"
    assert np.concatenate(expected.explored, axis=1).any(), "and look at some that it skips"
    assert expected.device.named("merge") and expected.device.named("gate_products")


@pytest.mark.parametrize("backend", BACKENDS)
def test_mobilenet_step_equals_the_reference(backend: str) -> None:
    case = (SMALL_MOBILENET, 4, 0.0)
    found = Steps(emulator(backend), PSG, *case).train(1)
    expected = reference("psg", *case, 1)
    same_training(found, expected)
    depthwise = [c for c in expected.device.named("psg_gradient") if c.inputs["2"].groups > 1]
    assert len(depthwise) == 17


def test_predictor_decides_some_signs_and_leaves_others() -> None:
    calls = reference("psg", SMALL_RESNET, 5, 0.0, 3).device.named("psg_gradient")
    shares = [call.outputs[1].mean() for call in calls]
    assert min(shares) > 0.0 and max(shares) < 1.0


def test_recording_tells_a_single_wrong_integer() -> None:
    """The comparison itself: one element, one peak or one dropped call must be seen."""

    class Wrong(ReferenceDevice):
        def narrow(self, stream: np.ndarray, shift: int) -> np.ndarray:
            out = super().narrow(stream, shift)
            out.flat[17] ^= 1
            return out

    case = ("psg", SMALL_RESNET, 5, 0.0, 3)
    wrong = Steps(Wrong(), PSG, *case[1:4]).train(3)
    with pytest.raises(AssertionError, match="narrow, output 0: 1 of"):
        same_calls(wrong.device.calls, reference(*case).device.calls)
    with pytest.raises(AssertionError, match="instead of"):
        same(3, 4, "peak")
