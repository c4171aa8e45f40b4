# SPDX-License-Identifier: Apache-2.0
"""The shared LSTM of SLU's gates against torch's LSTM cell, forward and through autograd."""

from __future__ import annotations

import numpy as np
import pytest

from e2train.methods.slu_gates import GateCell, initial_gates
from e2train.network.models import network_spec
from e2train.numerics.gate_cell import HIDDEN, LEAST_PROBABILITY, MOST_PROBABILITY

torch = pytest.importorskip("torch", reason="torch's LSTM cell is the reference here")

SPEC = network_spec("resnet-20", (3, 32, 32), 10)
CHANNELS = [block.units[0].geometry.channels for block in SPEC.skippable_blocks]
SAMPLES = 7
OFFSET = 0.6  # of every logit
NEAR = 3e-5  # products round their operands to 20 bits


class TorchGates(torch.nn.Module):
    """Linear map a channel count, ReLU, an LSTM cell, a linear output, a bias a block, sigmoid."""

    def __init__(self, parameters: dict[str, np.ndarray]) -> None:
        super().__init__()
        p = {name: torch.tensor(v, dtype=torch.float64) for name, v in parameters.items()}
        self.maps = torch.nn.ParameterDict(
            {name[8:]: torch.nn.Parameter(v) for name, v in p.items() if "map" in name}
        )
        self.cell = torch.nn.LSTMCell(HIDDEN, HIDDEN, dtype=torch.float64)
        self.out = torch.nn.Linear(HIDDEN, 1, bias=False, dtype=torch.float64)
        self.bias = torch.nn.Parameter(p["gate.block_bias"])
        with torch.no_grad():
            self.cell.weight_ih.copy_(p["gate.input"].T)
            self.cell.weight_hh.copy_(p["gate.recurrent"].T)
            self.cell.bias_ih.copy_(p["gate.bias"])
            self.cell.bias_hh.zero_()[HIDDEN : 2 * HIDDEN] = 1.0  # remember at first
            self.out.weight.copy_(p["gate.output"].T)

    def forward(self, features: list[np.ndarray]) -> list[torch.Tensor]:
        state, found = None, []
        for each, bias in zip(features, self.bias, strict=True):
            x = torch.relu(torch.tensor(each) @ self.maps[str(each.shape[1])])
            state = self.cell(x, state)
            opened = torch.sigmoid(self.out(state[0])[:, 0] + bias + OFFSET)
            found.append(LEAST_PROBABILITY + (MOST_PROBABILITY - LEAST_PROBABILITY) * opened)
        return found

    def gradients(self) -> dict[str, np.ndarray]:
        found = {f"gate.map{name}": value.grad for name, value in self.maps.items()}
        found |= {
            "gate.input": self.cell.weight_ih.grad.T,
            "gate.recurrent": self.cell.weight_hh.grad.T,
            "gate.bias": self.cell.bias_ih.grad,
            "gate.output": self.out.weight.grad.T,
            "gate.block_bias": self.bias.grad,
        }
        return {name: value.numpy() for name, value in found.items()}


def case(seed: int) -> tuple[dict[str, np.ndarray], list[np.ndarray], list[np.ndarray]]:
    """Parameters (biases too), features of every block, gradients of every probability."""
    rng = np.random.default_rng(seed)
    parameters = initial_gates(SPEC.skippable_blocks, seed)
    for value in parameters.values():
        value += rng.normal(size=value.shape).astype(np.float32) * 0.3
    features = [np.abs(rng.normal(size=(SAMPLES, c))) for c in CHANNELS]
    return parameters, features, [rng.normal(size=SAMPLES) for _ in CHANNELS]


@pytest.mark.parametrize("seed", range(4))
def test_cell_equals_torch(seed: int) -> None:
    parameters, features, g = case(seed)
    reference, cell = TorchGates(parameters), GateCell(parameters)
    for _ in range(2):  # a second mini-batch starts from zero state again
        cell.begin(SAMPLES, OFFSET)
        found = [cell.step(each) for each in features]
    expected = reference(features)
    for mine, theirs in zip(found, expected, strict=True):
        assert np.abs(mine - theirs.detach().numpy()).max() < NEAR
    spread = np.concatenate(found)
    assert spread.std() > 0.03, "the case must move the gates"
    sum((p * torch.tensor(each)).sum() for p, each in zip(expected, g, strict=True)).backward()
    gradients = cell.backward(g)
    wanted = reference.gradients()
    assert gradients.keys() == wanted.keys() == parameters.keys()
    for name, gradient in gradients.items():
        assert gradient.dtype == np.float32 and gradient.shape == parameters[name].shape
        scale = np.abs(wanted[name]).max()
        assert scale > 0, name
        assert np.abs(gradient - wanted[name]).max() < 2e-4 * scale, name


def test_order_of_samples_does_not_change_the_gradients() -> None:
    """Bit for bit: sums over samples are exact on their grid (numerics.portable)."""
    parameters, features, g = case(3)
    order = np.random.default_rng(0).permutation(SAMPLES)
    found = []
    for pick in (np.arange(SAMPLES), order):
        cell = GateCell(parameters)
        cell.begin(SAMPLES, OFFSET)
        for each in features:
            cell.step(each[pick])
        found.append(cell.backward([each[pick] for each in g]))
    for name, value in found[0].items():
        assert value.tobytes() == found[1][name].tobytes(), name
