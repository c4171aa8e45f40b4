# SPDX-License-Identifier: Apache-2.0
"""The integer arithmetic on tensors: every integer and every float bit of the host's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.spec import NetworkSpec
from engine_parts import (
    SMALL_MOBILENET,
    SMALL_RESNET,
    GivenDecisions,
    batch,
    emulator,
    fixed_network,
    mean_of,
)

torch = pytest.importorskip("torch")
from e2train.training.graph.integer import GraphFixedArithmetic  # noqa: E402
from e2train.training.graph.network import GraphNetwork  # noqa: E402

SAMPLES = 8
FULL, PSG = FixedSettings(predict=False), FixedSettings(predict=True)
DEEPER = ("resnet-14", (3, 16, 8), 10)


class _HostGiven(GivenDecisions):
    """Decisions given, some skipped samples explored (but not where none ran)."""

    def __init__(self, ran: np.ndarray) -> None:
        super().__init__(ran, wants_products=True)
        self.chosen = ~ran & (np.arange(ran.shape[1]) % 2 == 0) & ran.any(axis=1)[:, None]
        self.explored_products: dict[int, np.ndarray] = {}

    def explored(self, index: int) -> np.ndarray:
        return self.chosen[index]

    def observe_explored(self, index: int, products: np.ndarray) -> None:
        self.explored_products[index] = products


class _Given:
    """The host's decisions for the graph."""

    def __init__(self, ran: np.ndarray, where: Any) -> None:
        self.ran = torch.from_numpy(ran).to(where)
        self.products: dict[int, np.ndarray] = {}

    def begin(self, row: Any, samples: int, training: bool) -> None:
        assert samples == self.ran.shape[1]

    def decide(self, index: int, arithmetic: Any, stream: Any) -> Any:
        return self.ran[index]

    def scale(self, index: int) -> float:
        return 1.0

    def wants_products(self, index: int) -> bool:
        return True

    def observe(self, index: int, products: Any) -> None:
        self.products[index] = products.cpu().numpy()


class Pair:
    """The same network on the host and as tensors, after the first iterations on the host."""

    def __init__(
        self,
        spec: NetworkSpec,
        settings: FixedSettings,
        samples: int = SAMPLES,
        where: Any = "cpu",
        do: Any = None,
    ) -> None:
        self.spec, self.samples, self.where = spec, samples, torch.device(where)
        self.host: Network = fixed_network(emulator("native"), settings, spec=spec)
        for iteration in range(2):
            _, gradients = self.host.forward_backward(*batch(spec, samples, 90), iteration)
            self.step(gradients)
        self.parameters = {
            name: torch.from_numpy(value.copy()).to(self.where)
            for name, value in self.host.parameters.items()
        }
        self.arithmetic = GraphFixedArithmetic(
            spec, self.parameters, settings, mean_of(spec), samples, do
        )
        self.arithmetic.restore(self.host.arithmetic.state())
        self.graph = GraphNetwork(spec, self.arithmetic, None, self.where)

    def step(self, gradients: dict[str, np.ndarray]) -> None:
        """Some descent on the host's parameters."""
        for name, gradient in gradients.items():
            self.host.parameters[name] -= np.float32(0.01) * gradient

    def iteration(self, number: int, ran: np.ndarray | None = None) -> None:
        """One on both sides; all that comes out must be equal."""
        images, labels = batch(self.spec, self.samples, number)
        self.host.policy = None if ran is None else _HostGiven(ran)
        self.graph.policy = None if ran is None else _Given(ran, self.where)
        for tally in self.host.arithmetic.tally.values():
            tally.predicted = 0
        outcome, expected = self.host.forward_backward(images, labels, number)
        passed = self.graph.forward_backward(
            torch.from_numpy(images).to(self.where),
            torch.from_numpy(labels.astype(np.int64)).to(self.where),
            {},
        )
        self.compare_values(expected, passed.gradients)
        if ran is not None:
            self.compare_products(ran)
        loss = float(-np.log(passed.picked.cpu().numpy()).mean())
        assert loss == outcome.loss
        self.step(expected)
        for name, value in self.host.parameters.items():
            self.parameters[name].copy_(torch.from_numpy(value))

    def compare_values(self, expected: dict[str, np.ndarray], found: dict[str, Any]) -> None:
        for name, gradient in expected.items():
            assert found[name].dtype == torch.float32
            np.testing.assert_array_equal(gradient, found[name].cpu().numpy(), err_msg=name)
        for name, gradient in found.items():
            assert np.isfinite(gradient.cpu().numpy()).all(), name
        for name, value in self.host.parameters.items():
            np.testing.assert_array_equal(value, self.parameters[name].cpu().numpy(), err_msg=name)
        state = self.arithmetic.state()
        assert list(state.items()) == list(self.host.arithmetic.state().items())
        tallies = self.arithmetic.tallies()
        for name, tally in self.host.arithmetic.tally.items():
            layer = name.rsplit(".", 1)[0] + ".weight"
            if layer in expected or f"{name}.weight" in expected:
                assert int(tallies[name]) == tally.predicted

    def compare_products(self, ran: np.ndarray) -> None:
        policy, found = self.host.policy, self.graph.policy.products
        for index, products in policy.products.items():
            np.testing.assert_array_equal(products, found[index][ran[index]])
        for index, products in policy.explored_products.items():
            np.testing.assert_array_equal(products, found[index][policy.chosen[index]])

    def compare_logits(self) -> None:
        images, _ = batch(self.spec, self.samples, 77)
        expected = self.host.logits(images, 9, training=False)
        found = self.graph.logits(torch.from_numpy(images).to(self.where), {}, False)
        np.testing.assert_array_equal(expected, found.cpu().numpy())


CASES = [
    pytest.param(SMALL_RESNET, FULL, id="resnet-8"),
    pytest.param(SMALL_RESNET, replace(PSG, input_gradient_bits=8), id="resnet-8 psg 8-bit"),
    pytest.param(SMALL_RESNET, replace(FULL, stream_bits=9), id="resnet-8 9-bit stream"),
    pytest.param(DEEPER, PSG, id="resnet-14 psg"),
    pytest.param(DEEPER, replace(PSG, beta=0.2, x_msb_bits=7, g_msb_bits=15), id="wide predictor"),
    pytest.param(SMALL_MOBILENET, PSG, id="mobilenet psg"),
    pytest.param(SMALL_MOBILENET, replace(FULL, input_gradient_bits=8), id="mobilenet 8-bit"),
]


@pytest.mark.parametrize(("case", "settings"), CASES)
def test_iterations_are_equal(case: tuple, settings: FixedSettings) -> None:
    pair = Pair(network_spec(*case), settings)
    for number in range(2):
        pair.iteration(number)
    pair.compare_logits()


def decisions(blocks: int, samples: int, seed: int) -> np.ndarray:
    """About half; all in one block, none in another, one sample in a third."""
    ran = np.random.default_rng(seed).random((blocks, samples)) < 0.5
    for row, count in enumerate((samples, 0, 1)):
        ran[(seed + row) % blocks] = np.arange(samples) >= samples - count
    return ran


@pytest.mark.parametrize(("case", "settings"), CASES)
def test_samples_that_skip_leave_no_trace(case: tuple, settings: FixedSettings) -> None:
    pair = Pair(network_spec(*case), settings)
    blocks = len(pair.spec.skippable_blocks)
    for number in range(2):
        pair.iteration(number, decisions(blocks, SAMPLES, number))
    pair.iteration(2, np.zeros((blocks, SAMPLES), bool))
    pair.compare_logits()


def test_one_value_a_channel_moves_no_running_statistics() -> None:
    """Stage 3 of 4x4 pictures has 1x1 positions: one sample alone has no variance."""
    pair = Pair(network_spec("resnet-8", (1, 4, 4), 10), FULL, samples=2)
    one = np.zeros((3, 2), bool)
    one[:, 1] = True
    pair.iteration(0, one)
    pair.iteration(1)


@pytest.mark.parametrize("factor", [1e-30, 1e-6, 1e6, 1e30])
def test_peaks_far_from_the_values(factor: float) -> None:
    """All saturates, or all is zero: the ends of every shift's range."""
    pair = Pair(network_spec(*SMALL_RESNET), PSG)
    peaks = {name: peak * factor for name, peak in pair.host.arithmetic.state().items()}
    pair.host.arithmetic.restore(peaks)
    pair.arithmetic.restore(peaks)
    pair.iteration(0)
    pair.iteration(1)


def test_restore_refuses_exponents_that_are_not_known() -> None:
    pair = Pair(network_spec(*SMALL_RESNET), FULL)
    state = pair.arithmetic.state()
    state["stem.conv.y"] = 0.0
    with pytest.raises(ValueError, match=r"stem\.conv\.y"):
        pair.arithmetic.restore(state)
