# SPDX-License-Identifier: Apache-2.0
"""SGD, SignSGD and weight averaging against torch and direct computation."""

from __future__ import annotations

import numpy as np
import pytest

from e2train.methods.sgd import Sgd
from e2train.methods.signsgd import signs
from e2train.methods.swa import WeightAverage

SHAPES = {
    "a.weight": (4, 3, 3, 3),
    "a.gamma": (4,),
    "a.beta": (4,),
    "a.running_mean": (4,),
    "a.running_variance": (4,),
    "classifier.weight": (5, 4, 1, 1),
    "classifier.bias": (5,),
}


def random(seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=shape).astype(np.float32) for name, shape in SHAPES.items()}


def gradients(seed: int) -> dict[str, np.ndarray]:
    return {name: value for name, value in random(seed).items() if "running" not in name}


@pytest.mark.parametrize(("momentum", "decay"), [(0.9, 1e-4), (0.0, 0.0), (0.99, 0.1)])
def test_sgd_equals_torch(momentum: float, decay: float) -> None:
    torch = pytest.importorskip("torch", reason="torch.optim.SGD is the reference here")
    parameters = random(0)
    tensors = {name: torch.tensor(value) for name, value in parameters.items()}
    theirs = torch.optim.SGD(
        [tensors[name] for name in gradients(0)], lr=0.1, momentum=momentum, weight_decay=decay
    )
    mine = Sgd(parameters, momentum, decay)
    for step, lr in enumerate([0.1, 0.1, 0.05, 0.01, 0.01, 0.001]):
        theirs.param_groups[0]["lr"] = lr
        for name, gradient in gradients(step + 1).items():
            tensors[name].grad = torch.tensor(gradient)
        theirs.step()
        mine.step(parameters, gradients(step + 1), lr)
    for name, value in parameters.items():
        assert value.dtype == np.float32
        assert np.allclose(value, tensors[name].numpy(), rtol=1e-5, atol=1e-6), name


def test_decay_of_convolutions_alone() -> None:
    parameters = random(0)
    before = {name: value.copy() for name, value in parameters.items()}
    nothing = {name: np.zeros_like(value) for name, value in gradients(1).items()}
    Sgd(parameters, 0.9, 0.25, 0.5).step(parameters, nothing, 0.5)
    for name in nothing:
        kept = 1 - 0.5 * (0.5 if name == "a.weight" else 0.25)
        assert np.allclose(parameters[name], kept * before[name], rtol=1e-6), name


def test_sgd_leaves_what_has_no_gradient() -> None:
    """A skipped block's parameters and velocities stay bit for bit: no decay, no momentum."""
    parameters = random(0)
    optimiser = Sgd(parameters, 0.9, 1e-2)
    optimiser.step(parameters, gradients(1), 0.1)
    before = {name: value.copy() for name, value in parameters.items()}
    velocity = {name: value.copy() for name, value in optimiser.velocity.items()}
    optimiser.step(parameters, {"a.weight": gradients(2)["a.weight"]}, 0.1)
    for name, value in parameters.items():
        assert np.array_equal(value, before[name]) == (name != "a.weight")
    for name, value in optimiser.velocity.items():
        assert np.array_equal(value, velocity[name]) == (name != "a.weight")
    assert set(optimiser.velocity) == set(gradients(0)), "running statistics have no velocity"


def test_signs_of_convolutions_alone() -> None:
    given = gradients(3)
    given["a.weight"][0, 0, 0] = 0.0
    found = signs(given)
    assert found.keys() == given.keys()
    for name, value in given.items():
        if name == "a.weight":
            expected = (value > 0).astype(np.float32) - (value < 0).astype(np.float32)
            assert found[name].dtype == np.float32
            assert np.array_equal(found[name], expected)
        else:
            assert np.array_equal(found[name], value)
    assert (signs(given)["a.weight"] == 0).sum() == 3


def test_average_is_the_mean() -> None:
    average = WeightAverage()
    history = [random(seed) for seed in range(7)]
    for parameters in history:
        average.add(parameters)
    found = average.parameters(history[-1])
    assert average.count == 7
    for name, value in found.items():
        assert value.dtype == np.float32 and value.shape == SHAPES[name]
        if "running" in name:
            assert np.array_equal(value, history[-1][name])
            assert value is not history[-1][name]
        else:
            stacked = np.stack([p[name] for p in history]).astype(np.float64)
            assert np.allclose(value, stacked.mean(axis=0), rtol=1e-6, atol=1e-7)


def test_average_keeps_its_own_numbers() -> None:
    """The network goes on in place; what was averaged must not move with it."""
    average, parameters = WeightAverage(), random(0)
    average.add(parameters)
    first = {name: value.copy() for name, value in parameters.items()}
    for value in parameters.values():
        value += 1000.0
    found = average.parameters(parameters)
    assert np.array_equal(found["a.weight"], first["a.weight"])
    found["a.weight"][...] = 0.0
    assert np.array_equal(average.parameters(parameters)["a.weight"], first["a.weight"])


def test_average_of_many_small_steps_is_not_lost_in_rounding() -> None:
    average = WeightAverage()
    for i in range(3000):
        average.add({"a.weight": np.full(1, 1.0 + (i % 2) * 1e-6, np.float32)})
    exact = (1.0 + float(np.float32(1.0 + 1e-6))) / 2
    assert average.mean["a.weight"][0] == pytest.approx(exact, abs=1e-12)
