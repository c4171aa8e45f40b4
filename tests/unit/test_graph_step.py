# SPDX-License-Identifier: Apache-2.0
"""The graph engine's parts against the host's: pictures, float32, optimiser, gates, no read-backs.

Whole trainings are compared in end_to_end/test_graph_run.py.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from e2train.data.batches import augment, batch_indices
from e2train.methods import slu_gates
from e2train.methods.sgd import Sgd
from e2train.network.models import network_spec
from e2train.training.experiment import (
    DepthSettings,
    Experiment,
    MethodSettings,
    SluSettings,
    SwaSettings,
    TrainSettings,
)
from e2train.training.trainer import Trainer
from engine_parts import (
    SMALL_MOBILENET,
    SMALL_RESNET,
    GivenDecisions,
    batch,
    digits,
    emulator,
    float_network,
    mean_of,
)

torch = pytest.importorskip("torch")
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from e2train.training.graph.float32 import GraphFloat32  # noqa: E402
from e2train.training.graph.gates import GateCell  # noqa: E402
from e2train.training.graph.network import GraphNetwork  # noqa: E402
from e2train.training.graph.pictures import Pictures  # noqa: E402
from e2train.training.graph.step import descent  # noqa: E402

CPU = torch.device("cpu")
SAMPLES = 6
# Error of a gradient's length; that of a beta before another batch norm is rounding alone.
NEAR, LEAST = 1e-2, 1e-3


@pytest.mark.parametrize("augmented", [True, False])
def test_pictures_are_the_host_s(augmented: bool) -> None:
    data = replace(digits(), mirror=True, shift=2)
    pictures = Pictures(data, SAMPLES, 5, augmented, CPU)
    order = torch.from_numpy(pictures.order([3, 400]))
    for row, iteration in zip(order, (3, 400), strict=True):
        chosen = batch_indices(len(data.train_labels), SAMPLES, iteration, 5)
        expected = data.train_images[chosen]
        if augmented:
            expected = augment(expected, iteration, 5, data.mirror, data.shift, data.mean)
        images, labels = pictures.batch(row)
        np.testing.assert_array_equal(images.numpy(), expected)
        np.testing.assert_array_equal(labels.numpy(), data.train_labels[chosen])


class Given(GivenDecisions):
    """The same decisions for host and tensors; whether products are wanted, always."""

    def __init__(self, ran: np.ndarray, of_tensors: bool) -> None:
        super().__init__(ran, wants_products=True)
        self.of_tensors = of_tensors

    def decide(self, index: int, arithmetic: Any, stream: Any) -> Any:
        return torch.from_numpy(self.ran[index]) if self.of_tensors else self.ran[index]

    def explored(self, index: int) -> np.ndarray:
        return np.zeros_like(self.ran[index])


def decisions(blocks: int, kind: str) -> np.ndarray | None:
    if kind == "all":
        return None
    ran = np.arange(blocks * SAMPLES).reshape(blocks, SAMPLES) % 3 > 0
    ran[0] = False  # nobody runs the first one
    return ran


@pytest.mark.parametrize("kind", ["all", "some"])
@pytest.mark.parametrize("network", [SMALL_RESNET, SMALL_MOBILENET], ids=["resnet", "mobilenet"])
def test_float32_is_the_host_s_but_for_rounding(network: Any, kind: str) -> None:
    spec = network_spec(*network)
    host = float_network("torch", spec=spec)
    own = {name: torch.from_numpy(value.copy()) for name, value in host.parameters.items()}
    mean = mean_of(spec)
    arithmetic = GraphFloat32(spec, own, mean, (50.0,) * len(mean), SAMPLES)
    graph = GraphNetwork(spec, arithmetic, None, CPU)
    ran = decisions(len(spec.skippable_blocks), kind)
    if ran is not None:
        host.policy, graph.policy = Given(ran, False), Given(ran, True)
    images, labels = batch(spec, SAMPLES)
    outcome, expected = host.forward_backward(images, labels, 0)
    passed = graph.forward_backward(
        torch.from_numpy(images), torch.from_numpy(labels.astype(np.int64)), {}
    )
    assert -np.log(passed.picked.numpy()).mean() == pytest.approx(outcome.loss, rel=1e-5)
    for name, gradient in expected.items():
        error = np.linalg.norm(passed.gradients[name].numpy() - gradient)
        assert error < NEAR * max(np.linalg.norm(gradient), LEAST), name
    for name, value in host.parameters.items():
        np.testing.assert_allclose(own[name].numpy(), value, rtol=1e-4, atol=1e-6, err_msg=name)
    if ran is not None:
        for index, products in host.policy.products.items():
            found = graph.policy.products[index].numpy()[ran[index]]
            near = 1e-4 * float(np.abs(products).max())
            np.testing.assert_allclose(found, products, atol=near, rtol=1e-3)
    host.policy = graph.policy = None
    logits = host.logits(images, 0, training=False)
    found = graph.logits(torch.from_numpy(images), {}, training=False).numpy()
    np.testing.assert_allclose(found, logits, rtol=1e-3, atol=1e-3)


def test_descent_is_sgd_bit_for_bit() -> None:
    random = np.random.default_rng(0)
    host = {"layer.weight": random.standard_normal((40, 7)).astype(np.float32)}
    optimiser = Sgd(host, momentum=0.9, weight_decay=1e-4)
    values, velocity = (torch.from_numpy(host["layer.weight"].copy()), torch.zeros(40, 7))
    for step in range(5):
        gradient = random.standard_normal((40, 7)).astype(np.float32)
        rate = np.float32(0.1 / (step + 1))
        optimiser.step(host, {"layer.weight": gradient}, rate)
        values, velocity = descent(
            values,
            velocity,
            torch.from_numpy(gradient),
            torch.tensor(rate),
            float(optimiser.momentum),
            torch.tensor(optimiser.decay["layer.weight"]),
        )
    np.testing.assert_array_equal(values.numpy(), host["layer.weight"])
    np.testing.assert_array_equal(velocity.numpy(), optimiser.velocity["layer.weight"])


def test_gates_are_the_host_s_bit_for_bit() -> None:
    spec = network_spec("resnet-20", (3, 32, 32), 10)
    random = np.random.default_rng(1)
    parameters = slu_gates.initial_gates(spec.skippable_blocks, 3)
    parameters["gate.block_bias"] += random.standard_normal(9).astype(np.float32)
    own = {name: torch.from_numpy(value) for name, value in parameters.items()}
    host, cell = slu_gates.GateCell(parameters), GateCell(own)
    offset = 0.123456789
    host.begin(SAMPLES, offset)
    cell.begin(SAMPLES, torch.tensor(offset, dtype=torch.float64))
    for block in spec.skippable_blocks:
        features = 3.0 * random.standard_normal((SAMPLES, block.units[0].geometry.channels))
        found = cell.step(torch.from_numpy(features))
        np.testing.assert_array_equal(found.numpy(), host.step(features))
    sets = random.standard_normal((2, 9, SAMPLES)) * np.array([1.0, 1e-9])[:, None, None]
    sets[1, 4] = 0.0  # a block of which nothing is known
    both = cell.backward(torch.from_numpy(sets))
    for number, given in enumerate(sets):
        for name, gradient in host.backward(list(given)).items():
            np.testing.assert_array_equal(both[name][number].numpy(), gradient, err_msg=name)


class NothingReadBack(TorchDispatchMode):
    """Fails at operations that a CUDA graph cannot hold, as they look at values."""

    FORBIDDEN = (
        "_local_scalar_dense",
        "nonzero",
        "masked_select",
        "unique",
        "is_nonzero",
        "equal.default",
        "lift_fresh",  # a tensor of host values: a copy to the device
        "repeat_interleave.Tensor",
        "bincount",
    )

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __torch_dispatch__(
        self, function: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        name = str(function).removeprefix("aten.")
        assert not name.startswith(self.FORBIDDEN), name
        self.seen += 1
        return function(*args, **(kwargs or {}))


CASES = {
    "float32": (MethodSettings("float32", "signsgd"), {}),
    "psg with gates": (MethodSettings("fixed", "psg"), {"slu": SluSettings(0.3, gated="all")}),
    "fixed with depth": (
        MethodSettings("fixed", "sgd"),
        {"stochastic_depth": DepthSettings(0.3), "swa": SwaSettings(0.0, 1)},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_an_iteration_reads_nothing_back(case: str, tmp_path: Path) -> None:
    method, others = CASES[case]
    train = TrainSettings(iterations=40, batch=8, log_every=1, checkpoint_every=100)
    experiment = Experiment("case", train=train, method=method, **others)
    device = emulator("native") if method.arithmetic == "fixed" else None
    with Trainer(experiment, digits(), tmp_path, device=device, meter="none", graph="cpu") as one:
        run = one._graph
        while not run.ready:
            one._advance(last=True)
        one._advance(last=True)  # the first one sees the shapes of the readings
        with NothingReadBack() as mode:
            run._engine._program()
        assert mode.seen > 100
