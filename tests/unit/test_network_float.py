# SPDX-License-Identifier: Apache-2.0
"""Float networks against torch modules in float64 under autograd: loss, logits, every gradient.

The engine's code runs in float64 too ("double"), where what is left between the two is algebra, and
in its own float32, where a ReLU6 network of 53 layers may see a unit on the other side of its kink.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from e2train.device.counter import Counter
from e2train.errors import UserError
from e2train.network import float_backend
from e2train.network.float32 import FloatArithmetic
from e2train.network.float_backend import NumpyFloat, TorchFloat
from e2train.network.models import network_spec
from e2train.network.network import Network, cross_entropy
from e2train.network.parameters import initial_parameters, trainable
from engine_parts import SMALL_MOBILENET, SMALL_RESNET, GivenDecisions, batch, mean_of

torch = pytest.importorskip("torch", reason="torch's autograd is the reference here")
torch_networks = pytest.importorskip("torch_networks")

SAMPLES = 6
DEVIATION = 64.0  # a power of two: normalised pictures are exact in float32
DOUBLE, SINGLE, KINKS = 2e-6, 2e-4, 5e-2  # tolerated error, of a tensor's own length


class DoubleNumpy(NumpyFloat):
    """The NumPy backend in float64 (with the fixture `wide`)."""

    def put(self, array: np.ndarray) -> np.ndarray:
        return np.asarray(array, np.float64)


class DoubleTorch(TorchFloat):
    """The torch backend in float64, on the CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.place = "cpu"

    def put(self, array: np.ndarray) -> Any:
        return torch.from_numpy(np.ascontiguousarray(array, np.float64))


BACKENDS = {
    "numpy, double": DoubleNumpy,
    "torch, double": DoubleTorch,
    "numpy": NumpyFloat,
    "torch": TorchFloat,
}
CASES = {
    "resnet-8": (SMALL_RESNET, lambda: torch_networks.resnet(8, 1, 10), SINGLE),
    "resnet-14, odd pictures": (
        ("resnet-14", (3, 9, 7), 10),
        lambda: torch_networks.resnet(14, 3, 10),
        SINGLE,
    ),
    "mobilenet-v2": (SMALL_MOBILENET, lambda: torch_networks.mobilenet(3, 10), KINKS),
}


@pytest.fixture(autouse=True)
def wide(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> None:
    """Per-channel vectors of the NumPy backend in float64 as well, where the test is in double."""
    if "double" in request.node.name:
        monkeypatch.setattr(
            float_backend, "_vector", lambda v: np.asarray(v, np.float64)[:, None, None]
        )


class Pair:
    """The engine's network and the torch module with the same parameters."""

    def __init__(self, case: str, backend: str, policy: GivenDecisions | None = None) -> None:
        arguments, make, loose = CASES[case]
        self.tolerance = DOUBLE if "double" in backend else loose
        spec = network_spec(*arguments)
        mean = mean_of(spec)
        arithmetic = FloatArithmetic(BACKENDS[backend](), Counter(), mean, (DEVIATION,) * len(mean))
        self.network = Network(spec, arithmetic, initial_parameters(spec, 0), policy)
        jolt(self.network)
        self.before = {name: value.copy() for name, value in self.network.parameters.items()}
        self.reference = make().load(self.before)
        self.images, self.labels = batch(spec, SAMPLES)
        centred = self.images.astype(np.float64) - np.reshape(mean, (-1, 1, 1))
        self.pictures = torch.from_numpy(centred / DEVIATION)

    def close(self, found: np.ndarray, expected: np.ndarray, what: str, least: float = 0.0) -> None:
        """Within the tolerance of the expected tensor's length (of `least`, if that is shorter)."""
        length = max(float(np.linalg.norm(expected)), least)
        assert length > 0, f"{what} is all zeros: nothing is compared"
        assert found.shape == expected.shape, what
        error = float(np.linalg.norm(found - expected)) / length
        assert error < self.tolerance, f"{what}: off by {error:.2g}"

    def train(
        self, ran: np.ndarray | None = None, gate: Any = None, peek: Any = None
    ) -> dict[str, np.ndarray]:
        """One iteration of both, compared; the reference's gradients."""
        logits = self.reference.train()(self.pictures, ran, gate, peek=peek)
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(self.labels))
        loss.backward()
        outcome, gradients = self.network.forward_backward(self.images, self.labels, 0)
        assert outcome.loss == pytest.approx(loss.item(), rel=self.tolerance)
        self.close(outcome.logits, logits.detach().numpy(), "logits")
        expected = self.reference.named(gradients=True)
        assert gradients.keys() == expected.keys()
        for name, gradient in gradients.items():
            assert gradient.dtype == np.float32
            # a constant ahead of a batch norm changes nothing: the gradient of such a beta is 0
            gamma = expected[name[:-4] + "gamma"] if name.endswith(".beta") else np.zeros(1)
            self.close(gradient, expected[name], name, float(np.linalg.norm(gamma)))
        for name, value in self.network.parameters.items():
            if trainable(name):
                assert np.array_equal(value, self.before[name]), f"{name}: changed"
        return expected


def jolt(network: Network) -> None:
    """Batch-norm parameters and the bias away from 1 and 0, so that a slip in them shows."""
    rng = np.random.default_rng(1)
    for name, value in network.parameters.items():
        if name.endswith((".gamma", ".running_variance")):
            value[...] = rng.uniform(0.5, 1.5, value.shape)
        elif name.endswith((".beta", ".bias", ".running_mean")):
            value[...] = rng.normal(size=value.shape) * 0.2


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_training_equals_autograd(case: str, backend: str) -> None:
    pair = Pair(case, backend)
    pair.train()
    after = pair.reference.named(gradients=False)
    for name, value in pair.network.parameters.items():
        if not trainable(name):
            pair.close(value, after[name], name)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_training_with_skipped_samples_equals_autograd(case: str, backend: str) -> None:
    """Samples left out of blocks, one block run by none: gradients, and <g, F(x) - x>.

    Of those that ran and of those that skipped, whose F(x) comes from the others' statistics.
    """
    blocks = len(network_spec(*CASES[case][0]).skippable_blocks)
    ran = np.random.default_rng(5).random((blocks, SAMPLES)) < 0.7
    ran[:, :2] = True  # batch norm of one sample is a case of its own
    ran[blocks // 2] = False
    assert not ran[:, 2:].all() and ran.any(axis=1).sum() == blocks - 1
    looked = ~ran
    looked[1::2, -1] = False
    policy = GivenDecisions(ran, wants_products=True, looked=looked)
    pair = Pair(case, backend, policy)
    gate = torch.ones(ran.shape, dtype=torch.float64, requires_grad=True)
    peek = torch.zeros(ran.shape, dtype=torch.float64, requires_grad=True)
    gradients = pair.train(ran, gate, peek)
    assert len(gradients) < len([name for name in pair.before if trainable(name)])
    assert sorted(policy.products) == [b for b in range(blocks) if b != blocks // 2]
    for index, found in policy.products.items():
        expected = gate.grad[index].numpy()[ran[index]] * SAMPLES
        pair.close(found, expected, f"<g, F(x) - x> of block {index}")
    some = [b for b in range(blocks) if b != blocks // 2 and looked[b].any()]
    assert some and sorted(policy.explored_products) == some
    for index, found in policy.explored_products.items():
        expected = peek.grad[index].numpy()[looked[index]] * SAMPLES
        pair.close(found, expected, f"<g, F(x) - x> of samples that skipped block {index}")


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_evaluation_uses_running_statistics(case: str, backend: str) -> None:
    pair = Pair(case, backend)
    found = pair.network.logits(pair.images, 0, training=False)
    with torch.no_grad():
        pair.close(found, pair.reference.eval()(pair.pictures).numpy(), "logits")
    for name, value in pair.network.parameters.items():
        assert np.array_equal(value, pair.before[name]), f"evaluation changed {name}"
    alone = pair.network.logits(pair.images[:1], 0, training=False)
    pair.close(alone[0], found[0], "a picture's logits without the others")


def test_classifier_alone() -> None:
    """Last-layer gradients: those of autograd with everything else in evaluation mode."""
    pair = Pair("resnet-8", "torch, double")
    logits = pair.reference.eval()(pair.pictures)
    torch.nn.functional.cross_entropy(logits, torch.from_numpy(pair.labels)).backward()
    expected = pair.reference.named(gradients=True)
    _, gradients = pair.network.classifier_only(pair.images, pair.labels, 0)
    assert set(gradients) == {"classifier.weight", "classifier.bias"}
    for name, gradient in gradients.items():
        pair.close(gradient, expected[name], name)


def test_running_statistics_follow_the_share_that_ran() -> None:
    """Half of the batch through a block moves its statistics half as far (momentum 0.1)."""
    ran = np.ones((3, SAMPLES), bool)
    ran[1, ::2] = False
    name = "stage2.block1.conv1.running_mean"
    moved = []
    for policy in (None, GivenDecisions(ran)):
        pair = Pair("resnet-8", "numpy", policy)
        pair.network.parameters[name][...] = 0.0
        pair.images[::2] = pair.images[1::2]  # halves alike: the same statistics either way
        pair.network.logits(pair.images, 0, training=True)
        moved.append(pair.network.parameters[name].copy())
    assert np.abs(moved[0]).max() > 0
    assert np.allclose(moved[1], moved[0] / 2, rtol=1e-4, atol=1e-6)


def test_pictures_of_another_size_are_refused() -> None:
    pair = Pair("resnet-8", "numpy")
    with pytest.raises(UserError, match=r"pictures of \(1, 9, 8\), but resnet-8 takes \(1, 8, 8\)"):
        pair.network.logits(np.zeros((2, 1, 9, 8), np.uint8), 0, training=False)


def test_cross_entropy() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 10)) * 4
    labels = np.arange(7)
    outcome, gradient = cross_entropy(logits, labels)
    tensor = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(labels), reduction="sum")
    loss.backward()
    assert outcome.loss == pytest.approx(loss.item() / 7, rel=1e-12)
    assert np.allclose(gradient, tensor.grad.numpy(), atol=1e-13)
