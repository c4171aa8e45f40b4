# SPDX-License-Identifier: Apache-2.0
"""float32 networks against torch modules in float64 under autograd: loss, logits, every gradient."""

from __future__ import annotations

import numpy as np
import pytest

from e2train.network.catalogue import network_spec
from e2train.network.network import Network, cross_entropy
from e2train.network.parameters import trainable
from engine_parts import SMALL_MOBILENET, SMALL_RESNET, GivenDecisions, batch, float_network

torch = pytest.importorskip("torch", reason="torch's autograd is the reference here")
torch_networks = pytest.importorskip("torch_networks")

BACKENDS = ("numpy", "torch")
CASES = {
    "resnet-8": (SMALL_RESNET, lambda: torch_networks.resnet(8, 1, 10)),
    "resnet-14, odd pictures": (
        ("resnet-14", (3, 9, 7), 10),
        lambda: torch_networks.resnet(14, 3, 10),
    ),
    "mobilenet-v2": (SMALL_MOBILENET, lambda: torch_networks.mobilenet(3, 10)),
}
SAMPLES = 6
TOLERANCE = 2e-4  # of a tensor's own length: float32 through up to 53 layers


def jolted(network: Network, seed: int = 1) -> None:
    """Batch-norm parameters and a bias away from 1 and 0, so that a slip in them shows."""
    rng = np.random.default_rng(seed)
    for name, value in network.parameters.items():
        if name.endswith((".gamma", ".running_variance")):
            value[...] = rng.uniform(0.5, 1.5, value.shape)
        elif name.endswith((".beta", ".bias", ".running_mean")):
            value[...] = rng.normal(size=value.shape) * 0.2


def close(found: np.ndarray, expected: np.ndarray, what: str) -> None:
    length = np.linalg.norm(expected)
    assert length > 0, f"{what} is all zeros: nothing is compared"
    assert found.shape == expected.shape, what
    assert np.linalg.norm(found - expected) < TOLERANCE * length, what


def pictures(network: Network, images: np.ndarray) -> torch.Tensor:
    arithmetic = network.arithmetic
    normalised = (images.astype(np.float64) - arithmetic.mean) / arithmetic.deviation
    return torch.from_numpy(normalised)


def compare(network: Network, reference, ran: np.ndarray | None, products: bool = False) -> None:
    """One training iteration of both; `ran` as the policy has it."""
    images, labels = batch(network.spec, SAMPLES)
    gate = None
    if products:
        gate = torch.ones(ran.shape, dtype=torch.float64, requires_grad=True)
    before = {name: value.copy() for name, value in network.parameters.items()}
    reference.load(before).train()
    logits = reference(pictures(network, images), ran, gate)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels))
    loss.backward()
    outcome, gradients = network.forward_backward(images, labels, 0)
    assert outcome.loss == pytest.approx(loss.item(), rel=1e-5)
    close(outcome.logits, logits.detach().numpy(), "logits")
    expected = reference.named(gradients=True)
    assert gradients.keys() == expected.keys()
    for name, gradient in gradients.items():
        assert gradient.dtype == np.float32
        close(gradient, expected[name], name)
    after = reference.named(gradients=False)
    for name, value in network.parameters.items():
        if trainable(name):
            assert np.array_equal(value, before[name]), f"{name} changed without an optimiser"
    if ran is None:
        for name, value in network.parameters.items():
            if not trainable(name):
                close(value, after[name], name)
    if products:
        for index, found in network.policy.products.items():
            wanted = gate.grad[index].numpy()[ran[index]] * SAMPLES
            close(found, wanted, f"<g, F(x) - x> of block {index}")


def build(case: str, backend: str, policy: GivenDecisions | None = None):
    arguments, make = CASES[case]
    network = float_network(backend, spec=network_spec(*arguments), policy=policy)
    jolted(network)
    return network, make()


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_training_equals_autograd(case: str, backend: str) -> None:
    compare(*build(case, backend), ran=None)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_training_with_skipped_samples_equals_autograd(case: str, backend: str) -> None:
    """Some samples left out of some blocks, one block run by none: values, gradients, <g, F - x>."""
    blocks = len(network_spec(*CASES[case][0]).skippable_blocks)
    ran = np.random.default_rng(5).random((blocks, SAMPLES)) < 0.6
    ran[:, 0] = True  # one sample goes through all
    ran[blocks // 2] = False
    assert not ran.all() and ran.any(axis=1).sum() == blocks - 1
    network, reference = build(case, backend, GivenDecisions(ran, wants_products=True))
    compare(network, reference, ran, products=True)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("case", CASES)
def test_evaluation_uses_running_statistics(case: str, backend: str) -> None:
    network, reference = build(case, backend)
    images, _ = batch(network.spec, SAMPLES)
    before = {name: value.copy() for name, value in network.parameters.items()}
    found = network.logits(images, 0, training=False)
    reference.load(before).eval()
    with torch.no_grad():
        close(found, reference(pictures(network, images)).numpy(), "logits")
    for name, value in network.parameters.items():
        assert np.array_equal(value, before[name]), f"evaluation changed {name}"
    # evaluation of one picture depends on no other
    alone = network.logits(images[:1], 0, training=False)
    assert np.allclose(alone[0], found[0], rtol=1e-4, atol=1e-5)


def test_backends_agree() -> None:
    found = []
    for backend in BACKENDS:
        network, _ = build("resnet-8", backend)
        images, labels = batch(network.spec, SAMPLES)
        found.append(network.forward_backward(images, labels, 0)[1])
    for name, gradient in found[0].items():
        close(found[1][name], gradient, name)


def test_running_statistics_follow_the_share_that_ran() -> None:
    """Half of the batch through a block moves its statistics half as far (momentum 0.1)."""
    spec = network_spec(*SMALL_RESNET)
    ran = np.ones((3, SAMPLES), bool)
    ran[1, ::2] = False
    name = "stage2.block1.conv1"
    moved = {}
    for share, policy in ((1.0, None), (0.5, GivenDecisions(ran))):
        network = float_network("numpy", spec=spec, policy=policy)
        images, _ = batch(spec, SAMPLES)
        images[::2] = images[1::2]  # both halves alike: the same statistics either way
        network.logits(images, 0, training=True)
        moved[share] = network.parameters[f"{name}.running_mean"].copy()
    assert np.allclose(moved[0.5], moved[1.0] / 2, rtol=1e-5, atol=1e-7)


def test_pictures_of_another_size_are_refused() -> None:
    from e2train.errors import UserError

    network = float_network("numpy")
    with pytest.raises(UserError, match=r"pictures of \(1, 9, 8\), but resnet-8 takes \(1, 8, 8\)"):
        network.logits(np.zeros((2, 1, 9, 8), np.uint8), 0, training=False)


def test_cross_entropy() -> None:
    logits = np.random.default_rng(0).normal(size=(7, 10)) * 4
    labels = np.arange(7)
    outcome, gradient = cross_entropy(logits, labels)
    tensor = torch.tensor(logits, requires_grad=True)
    loss = torch.nn.functional.cross_entropy(tensor, torch.from_numpy(labels), reduction="sum")
    loss.backward()
    assert outcome.loss == pytest.approx(loss.item() / 7, rel=1e-12)
    assert np.allclose(gradient, tensor.grad.numpy(), atol=1e-13)
