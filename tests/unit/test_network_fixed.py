# SPDX-License-Identifier: Apache-2.0
"""The integer arithmetic: near to float64 training, on every backend, and in odd conditions."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from e2train.device import Geometry, open_device
from e2train.device.base import Device
from e2train.device.counter import Counter
from e2train.methods import fixed8, psg
from e2train.methods.sgd import Sgd
from e2train.network.integer import FixedArithmetic, FixedSettings, FixedTensor
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.parameters import initial_parameters
from e2train.network.spec import Unit
from engine_parts import (
    BACKENDS,
    SMALL_RESNET,
    batch,
    emulator,
    fixed_network,
    float_network,
    mean_of,
)

FULL = FixedSettings(predict=False)
PIXEL = 128.0  # the integer picture's unit: both arithmetics then see the same numbers


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.ravel().astype(np.float64), b.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))


@pytest.mark.parametrize(
    ("network", "settings", "samples", "least"),
    [
        ("resnet-8", FULL, 256, 0.95),
        ("resnet-8", fixed8.settings(16), 256, 0.95),
        ("resnet-8", FixedSettings(predict=False, stream_bits=9), 256, 0.9),
        ("resnet-20", FULL, 512, 0.92),
    ],
)
def test_gradients_are_near_to_floats(
    network: str, settings: FixedSettings, samples: int, least: float
) -> None:
    """Direction (cosine) and length of every convolution's and the classifier's gradient."""
    spec = network_spec(network, (1, 8, 8), 10)
    fixed = fixed_network(open_device("emulator"), settings, spec=spec)
    for iteration in range(2):  # the first ones set the exponents
        fixed.forward_backward(*batch(spec, samples, 10 + iteration), iteration)
    images, labels = batch(spec, samples)
    outcome, gradients = fixed.forward_backward(images, labels, 2)
    expected_outcome, expected = float_network(
        "torch", spec=spec, deviation=PIXEL
    ).forward_backward(images, labels, 0)
    assert outcome.loss == pytest.approx(expected_outcome.loss, rel=0.02)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        if name.endswith(".weight"):
            assert cosine(gradient, expected[name]) > least, name
            length = np.linalg.norm(gradient) / np.linalg.norm(expected[name])
            assert 0.85 < length < 1.15, name


def test_psg_signs_agree_with_the_full_gradient() -> None:
    """The predictor may err where it decides, seldom and on small weights; elsewhere never."""
    spec = network_spec(*SMALL_RESNET)
    chosen = psg.settings(psg.BETA, psg.X_MSB_BITS, psg.G_MSB_BITS, 16)
    images, labels = batch(spec, 32)
    found = {}
    for settings in (chosen, replace(chosen, beta=1.0), FULL):
        network = fixed_network(emulator("torch"), settings, spec=spec)
        found[settings] = network.forward_backward(images, labels, 0)[1]
    for name, full in found[FULL].items():
        if not name.endswith(".weight") or name == "classifier.weight":
            assert np.array_equal(found[chosen][name], full)
            continue
        signs = found[chosen][name]
        assert set(np.unique(signs)) <= {-1.0, 0.0, 1.0}
        assert (signs == np.sign(full)).mean() > 0.9, name
        # beta = 1 leaves only the largest to the predictor: the rest are the full gradient's
        assert (found[replace(chosen, beta=1.0)][name] == np.sign(full)).mean() > 0.99, name


@pytest.mark.parametrize("samples", [1, 2, 3])
def test_small_batches(samples: int) -> None:
    spec = network_spec(*SMALL_RESNET)
    results = []
    for backend in BACKENDS:
        network = fixed_network(emulator(backend), FULL, spec=spec)
        outcome, gradients = network.forward_backward(*batch(spec, samples), 0)
        results.append((outcome.loss, {k: v.tobytes() for k, v in gradients.items()}))
        assert np.isfinite(outcome.loss)
        assert all(np.isfinite(g).all() for g in gradients.values())
    assert all(result == results[0] for result in results)


@pytest.mark.parametrize("value", [0, 39, 255])
def test_pictures_without_content(value: int) -> None:
    """All pixels alike: variances of 0, gradients of 0; nothing may break or become NaN."""
    spec = network_spec(*SMALL_RESNET)
    for backend in BACKENDS:
        network = fixed_network(emulator(backend), FULL, spec=spec)
        optimiser = Sgd(network.parameters, 0.9, 1e-4)
        for iteration in range(3):
            images = np.full((4, 1, 8, 8), value, np.uint8)
            outcome, gradients = network.forward_backward(images, np.arange(4), iteration)
            optimiser.step(network.parameters, gradients, 0.1)
            assert np.isfinite(outcome.loss)
        assert all(np.isfinite(v).all() for v in network.parameters.values())


def test_evaluation_changes_nothing() -> None:
    spec = network_spec(*SMALL_RESNET)
    network = fixed_network(emulator("numpy"), FULL, spec=spec)
    images, labels = batch(spec, 16)
    network.forward_backward(images, labels, 0)
    before = {name: value.copy() for name, value in network.parameters.items()}
    state = network.arithmetic.state()
    first = network.logits(images, 0, training=False)
    assert network.arithmetic.state() == state
    for name, value in network.parameters.items():
        assert np.array_equal(value, before[name]), name
    # and a picture's logits depend on no other picture
    assert np.array_equal(network.logits(images[3:5], 0, training=False), first[3:5])


def test_state_round_trip_continues_bit_for_bit() -> None:
    """A new arithmetic with the restored state goes on with the same integers as the old one."""
    import json

    spec = network_spec(*SMALL_RESNET)
    network = fixed_network(emulator("numpy"), FULL, spec=spec)
    for iteration in range(2):
        network.forward_backward(*batch(spec, 16, iteration), iteration)
    state = json.loads(json.dumps(network.arithmetic.state()))
    arithmetic = FixedArithmetic(emulator("numpy"), Counter(), FULL, mean_of(spec))
    arithmetic.restore(state)
    assert arithmetic.state() == network.arithmetic.state()
    parameters = {name: value.copy() for name, value in network.parameters.items()}
    again = Network(spec, arithmetic, parameters)
    expected = network.forward_backward(*batch(spec, 16, 2), 2)[1]
    found = again.forward_backward(*batch(spec, 16, 2), 2)[1]
    assert {k: v.tobytes() for k, v in found.items()} == {
        k: v.tobytes() for k, v in expected.items()
    }


def test_fresh_exponents_matter_to_that_test() -> None:
    """Without the restored exponents the integers do differ: the test above can fail."""
    spec = network_spec(*SMALL_RESNET)
    network = fixed_network(emulator("numpy"), FULL, spec=spec)
    for iteration in range(2):
        network.forward_backward(*batch(spec, 16, iteration), iteration)
    parameters = {name: value.copy() for name, value in network.parameters.items()}
    arithmetic = FixedArithmetic(emulator("numpy"), Counter(), FULL, mean_of(spec))
    expected = network.forward_backward(*batch(spec, 16, 2), 2)[1]
    found = Network(spec, arithmetic, parameters).forward_backward(*batch(spec, 16, 2), 2)[1]
    assert any(not np.array_equal(found[name], expected[name]) for name in found)


def unit_output(device: Device, activation: str, peak: float) -> FixedTensor:
    """Output, inside a block, of a 1x1 unit in training whose delayed peak fell to `peak`."""
    unit = Unit("u", Geometry(2, 4, 4, 2, (1, 1), 1, 0, 1), activation)
    spec = network_spec(*SMALL_RESNET)
    arithmetic = FixedArithmetic(device, Counter(), FULL, (0,))
    parameters = initial_parameters(spec, 0) | {
        "u.weight": np.array([[1.0, 0.0], [0.0, 1.0]], np.float32)[:, :, None, None],
        "u.gamma": np.ones(2, np.float32),
        "u.beta": np.zeros(2, np.float32),
        "u.running_mean": np.zeros(2, np.float32),
        "u.running_variance": np.ones(2, np.float32),
    }
    arithmetic.begin(spec, parameters, 3, training=True)
    arithmetic._track("u.z", 8).peak = peak
    x = np.random.default_rng(0).integers(-100, 100, (3, 2, 4, 4)).astype(np.int8)
    tensor = FixedTensor(device.put(x), 3, -7, 1.0)
    output = arithmetic.unit_forward(unit, tensor, last=False, residual=None)
    return output


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("peak", [7.9, 1e-5, 1e-12, 1e-30, 1e-200])
def test_an_exponent_that_fell_low_saturates_and_recovers(
    backend: str, activation: str, peak: float
) -> None:
    """After many iterations of all zeros a layer's first values must saturate, not wrap around."""
    device = emulator(backend)
    output = unit_output(device, activation, peak)
    values = device.get(output.tensor)
    assert (values > 0).any() and values.min() == 0
    if peak < 1.0:
        assert set(np.unique(values)) <= {0, 127}
        assert output.peak > peak, "the peak must tell that the exponent is too small"
