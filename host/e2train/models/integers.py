# SPDX-License-Identifier: Apache-2.0
"""The integers of a trained network: what each operation multiplies, adds and shifts by.

They are those of the evaluation (docs/numerics.md): running batch-norm statistics, and exponents
as training left them. One picture is sent through the network to learn the exponents from the
arithmetic itself.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..device.base import Device
from ..device.counter import Counter
from ..network.integer import FixedArithmetic, FixedSettings, FixedTensor
from ..network.network import Network
from ..network.parameters import Parameters
from ..network.spec import Block, NetworkSpec, Unit
from ..numerics import normalisation as bn
from ..numerics.fixedpoint import quantise_weights, round_half_up


@dataclass(frozen=True)
class UnitIntegers:
    """A unit: y = round(x * w >> shift), z = round((y * multiplier + offset) >> bn_shift).

    weight int8 [K,C/groups,R,S]; multiplier, offset int32 [K]; exponents of two that make real
    numbers of the integers; ceiling of z (ReLU6), in its integers.
    """

    unit: Unit
    weight: np.ndarray
    weight_exponent: int
    y_exponent: int
    multiplier: np.ndarray
    offset: np.ndarray
    bn_shift: int
    out_exponent: int
    ceiling: int | None

    @property
    def slope(self) -> np.ndarray:
        """What the batch norm multiplies real numbers by, float64 [K]."""
        power = self.out_exponent - self.y_exponent - self.bn_shift
        return np.ldexp(self.multiplier.astype(np.float64), power)

    @property
    def constant(self) -> np.ndarray:
        """What it then adds, float64 [K]."""
        return np.ldexp(self.offset.astype(np.float64), self.out_exponent - self.bn_shift)


@dataclass(frozen=True)
class NetworkIntegers:
    """A whole network. Block inputs, the stream and the pooled features have an exponent each.

    classifier int8 [K,C,1,1]; bias float32 [K]; mean: what is taken from pixels, whose exponent is
    -7 then.
    """

    spec: NetworkSpec
    units: dict[str, UnitIntegers]
    block_exponents: dict[str, int]
    stream_exponent: int
    stream_bits: int
    features_exponent: int
    classifier: np.ndarray
    classifier_exponent: int
    bias: np.ndarray
    mean: tuple[int, ...]


class _Traced(FixedArithmetic):
    """Remembers the exponents of what it computes."""

    def __init__(self, device: Device, settings: FixedSettings, mean: tuple[int, ...]) -> None:
        super().__init__(device, Counter(), settings, mean)
        self.block_exponents: dict[str, int] = {}
        self.y_exponents: dict[str, int] = {}
        self.out_exponents: dict[str, int] = {}

    def block_input(self, block: Block, stream: FixedTensor) -> FixedTensor:
        narrowed = super().block_input(block, stream)
        self.block_exponents[block.name] = narrowed.exponent
        return narrowed

    def _convolve(self, unit: Unit, x: FixedTensor) -> tuple[FixedTensor, np.ndarray, np.ndarray]:
        found = super()._convolve(unit, x)
        self.y_exponents[unit.name] = found[0].exponent
        return found

    def unit_forward(
        self,
        unit: Unit,
        x: FixedTensor,
        *,
        last: bool,
        residual: FixedTensor | None,
        scale: float = 1.0,
    ) -> FixedTensor:
        found = super().unit_forward(unit, x, last=last, residual=residual, scale=scale)
        self.out_exponents[unit.name] = found.exponent
        return found

    @property
    def features_exponent(self) -> int:
        return self._features.exponent


def integers_of(
    spec: NetworkSpec, arithmetic: FixedArithmetic, parameters: Parameters
) -> NetworkIntegers:
    """The integers of the network with all blocks; `arithmetic` stays as it is."""
    traced = _Traced(
        arithmetic.device, arithmetic.settings, tuple(arithmetic.mean.ravel().tolist())
    )
    traced.restore(arithmetic.state())
    first = next(spec.units()).geometry
    picture = np.zeros((1, first.channels, first.height, first.width), np.uint8)
    Network(spec, traced, parameters).logits(picture, 0, training=False)
    weight, exponent = quantise_weights(parameters["classifier.weight"])
    return NetworkIntegers(
        spec,
        {unit.name: _unit(unit, traced, parameters) for unit in spec.units()},
        traced.block_exponents,
        traced.stream_exponent,
        arithmetic.settings.stream_bits,
        traced.features_exponent,
        weight,
        exponent,
        parameters["classifier.bias"].copy(),
        tuple(int(value) for value in arithmetic.mean.ravel()),
    )


def _unit(unit: Unit, traced: _Traced, parameters: Parameters) -> UnitIntegers:
    name = unit.name
    weight, weight_exponent = quantise_weights(parameters[f"{name}.weight"])
    stats = bn.Moments(
        parameters[f"{name}.running_mean"].astype(np.float64),
        parameters[f"{name}.running_variance"].astype(np.float64),
    )
    y_exponent, out_exponent = traced.y_exponents[name], traced.out_exponents[name]
    multiplier, offset, shift = bn.forward_coefficients(
        parameters[f"{name}.gamma"], parameters[f"{name}.beta"], stats, y_exponent, out_exponent
    )
    ceiling = None
    if unit.activation == "relu6":
        ceiling = int(round_half_up(np.ldexp(6.0, min(-out_exponent, 27))))
    return UnitIntegers(
        unit,
        weight,
        weight_exponent,
        y_exponent,
        multiplier,
        offset,
        shift,
        out_exponent,
        ceiling,
    )
