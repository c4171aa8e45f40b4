# SPDX-License-Identifier: Apache-2.0
"""Every unit of the integer networks by itself, against float64 autograd on the same operands.

A network as deep as MobileNetV2 amplifies rounding from layer to layer, so end-to-end gradients of
8-bit and float networks differ before training; layer by layer the two must agree closely.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest

from e2train.device import open_device
from e2train.methods import fixed8
from e2train.network.integer import FixedSettings
from e2train.network.models import network_spec
from e2train.network.network import Network
from e2train.network.spec import NetworkSpec, Unit
from engine_parts import SMALL_MOBILENET, batch, fixed_network

torch = pytest.importorskip("torch", reason="torch's autograd is the reference here")
SAMPLES = 16
STEP = 1 / 32  # 6 lies within half a step of the 8-bit grid, which is 1/16 or finer


class Watched:
    """Operands and results of all units of one training iteration, as real numbers."""

    def __init__(self, network: Network) -> None:
        self.arithmetic: Any = network.arithmetic
        self.forward: dict[str, dict[str, Any]] = {}
        self.backward: dict[str, dict[str, Any]] = {}
        self._forward, self._backward = (
            self.arithmetic.unit_forward,
            self.arithmetic.unit_backward,
        )
        self.arithmetic.unit_forward = self.unit_forward
        self.arithmetic.unit_backward = self.unit_backward

    def real(self, value: Any) -> Any:
        if value is None:
            return None
        mantissas = self.arithmetic.device.get(value.tensor).astype(np.float64)
        return torch.from_numpy(np.ldexp(mantissas, value.exponent))

    def unit_forward(self, unit: Unit, x: Any, **given: Any) -> Any:
        out = self._forward(unit, x, **given)
        self.forward[unit.name] = {
            "unit": unit,
            "x": self.real(x),
            "residual": self.real(given["residual"]),
            "out": self.real(out),
        }
        return out

    def unit_backward(self, unit: Unit, g: Any, **given: Any) -> Any:
        back, gradients = self._backward(unit, g, **given)
        self.backward[unit.name] = {
            "g": self.real(g),
            "previous": given["previous"],
            "residual": self.real(given["residual"]),
            "back": self.real(back),
            "gradients": gradients,
        }
        return back, gradients


def similar(found: Any, expected: Any, least: float, what: str) -> None:
    a, b = (np.asarray(v, np.float64).ravel() for v in (found, expected))
    assert np.linalg.norm(b) > 0, what
    cosine = a @ b / (np.linalg.norm(a) * np.linalg.norm(b))
    length = np.linalg.norm(a) / np.linalg.norm(b)
    assert cosine > least, f"{what}: cosine {cosine:.4f}"
    assert abs(length - 1) < 0.05, f"{what}: length {length:.3f} of the expected one"


def check_unit(seen: dict[str, Any], back: dict[str, Any], parameters: dict) -> None:
    unit, name = seen["unit"], seen["unit"].name
    geometry = unit.geometry
    tensors = {
        key: torch.tensor(parameters[f"{name}.{key}"], dtype=torch.float64, requires_grad=True)
        for key in ("weight", "gamma", "beta")
    }
    x = seen["x"].requires_grad_()
    y = torch.conv2d(
        x, tensors["weight"], None, geometry.stride, geometry.padding, groups=geometry.groups
    )
    z = torch.nn.functional.batch_norm(
        y, None, None, tensors["gamma"], tensors["beta"], training=True
    )
    out = z if seen["residual"] is None else z + seen["residual"]
    if unit.activation != "none":
        out = out.clamp(0.0, 6.0 if unit.activation == "relu6" else None)
    similar(seen["out"], out.detach(), 0.998, f"{name}: output")
    z.backward(back["g"])
    for key, tensor in tensors.items():
        found = back["gradients"][f"{name}.{key}"].astype(np.float64) * SAMPLES
        scale = torch.linalg.norm(tensors["gamma"].grad)
        if key != "beta" or torch.linalg.norm(tensor.grad) > 1e-2 * scale:
            least = 0.99 if key == "weight" else 0.98  # sums over all positions that nearly cancel
            similar(found, tensor.grad, least, f"{name}: gradient of {key}")
    if back["back"] is None:
        return
    gradient = x.grad
    if back["previous"] is not None and back["previous"].activation != "none":
        inside = x > 0
        if back["previous"].activation == "relu6":
            inside &= x < 6.0 - STEP
        gradient = gradient * inside
    if back["residual"] is not None:
        gradient = gradient + back["residual"]
    similar(back["back"], gradient, 0.99, f"{name}: gradient of the input")


@pytest.mark.parametrize("case", [SMALL_MOBILENET, ("resnet-20", (3, 16, 16), 10)])
def test_units_are_near_to_float64(case: tuple) -> None:
    spec = network_spec(*case)
    network = fixed_network(open_device("emulator"), FixedSettings(predict=False), spec=spec)
    rng = np.random.default_rng(2)
    for name, value in network.parameters.items():
        if name.endswith((".gamma", ".beta")):
            value += rng.normal(size=value.shape).astype(np.float32) * 0.2
    for iteration in range(2):  # the first ones set the exponents
        network.forward_backward(*batch(spec, SAMPLES, 10 + iteration), iteration)
    watched = Watched(network)
    network.forward_backward(*batch(spec, SAMPLES), 2)
    assert len(watched.forward) == len(watched.backward) == len(list(spec.units()))
    for name, seen in watched.forward.items():
        check_unit(seen, watched.backward[name], network.parameters)


class EightBits(FixedSettings):
    """8-bit copies for every layer, the invariant readers among them."""

    def gradient_bits(self, spec: NetworkSpec, layer: str) -> int:
        return self.input_gradient_bits


def excess(settings: FixedSettings, spec: NetworkSpec) -> tuple[float, float]:
    """Median error, against 16 bits, in two sums that all but cancel.

    In beta's gradient of the units without activation, and in gamma's of those before a depthwise
    convolution; relative to the unit's gradients of gamma and of beta.
    """
    gradients = []
    for chosen in (settings, FixedSettings(predict=False)):
        network = fixed_network(open_device("emulator"), chosen, spec=spec)
        for iteration in range(2):  # the first one sets the exponents
            _, found = network.forward_backward(*batch(spec, SAMPLES), iteration)
        gradients.append(found)
    found, exact = gradients

    def error(name: str, kind: str, beside: str) -> float:
        difference = found[f"{name}.{kind}"] - exact[f"{name}.{kind}"]
        return float(np.linalg.norm(difference) / np.linalg.norm(exact[f"{name}.{beside}"]))

    units = list(spec.units())
    linear = [u.name for u in units if u.activation == "none"]
    spread = [u.name for u, reader in pairwise(units) if reader.geometry.groups > 1]
    return (
        float(np.median([error(name, "beta", "gamma") for name in linear])),
        float(np.median([error(name, "gamma", "beta") for name in spread])),
    )


def test_sums_that_cancel_survive_eight_bit_gradients() -> None:
    spec = network_spec(*SMALL_MOBILENET)
    beta, gamma = excess(fixed8.settings(16), spec)
    naive_beta, naive_gamma = excess(EightBits(False, input_gradient_bits=8), spec)
    assert beta < naive_beta / 4, (beta, naive_beta)
    assert gamma < naive_gamma / 2, (gamma, naive_gamma)


def test_invariant_readers() -> None:
    assert not network_spec("resnet-20", (3, 32, 32), 10).invariant_readers
    spec = network_spec(*SMALL_MOBILENET)
    readers = spec.invariant_readers
    expected = {u.name for u in spec.units() if not u.name.endswith(".project")}
    assert readers == expected - {"stem.conv"}
    settings = fixed8.settings(16)
    assert settings.gradient_bits(spec, "stage2.block1.expand") == 16
    assert settings.gradient_bits(spec, "stage2.block1.project") == 8
    assert settings.gradient_bits(spec, "classifier") == 8
