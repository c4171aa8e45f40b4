# SPDX-License-Identifier: Apache-2.0
"""All layers' weights quantised at once, laid out as the matrices that the products take."""

from __future__ import annotations

import numpy as np
import torch

from ...device.geometry import Geometry
from ...network.spec import NetworkSpec
from ...numerics.fixedpoint import WEIGHT_LIMIT
from . import products
from .arithmetic import Tensors
from .real import exponent_for, ldexp, round_half_up

Tensor = torch.Tensor


class Weights:
    """int8 matrices and exponents (int64 []) of every layer, remade by `quantise`."""

    def __init__(self, spec: NetworkSpec, parameters: Tensors, where: torch.device) -> None:
        layers = {unit.name: unit.geometry for unit in spec.units()}
        layers["classifier"] = spec.classifier
        self._masters = [parameters[f"{name}.weight"] for name in layers]
        self._number = {name: number for number, name in enumerate(layers)}
        sizes = torch.tensor([geometry.weights for geometry in layers.values()])
        self._owner = torch.repeat_interleave(torch.arange(len(layers)), sizes).to(where)
        self._shapes: list[tuple[int, int]] = []
        self._gather = torch.from_numpy(self._places(list(layers.values()))).to(where)

    def _places(self, layers: list[Geometry]) -> np.ndarray:
        """Where, among all layers' weights in a row, each matrix's elements are found."""
        places, start = [], 0
        for geometry in layers:
            w = np.arange(start, start + geometry.weights).reshape(geometry.weight_shape)
            start += geometry.weights
            for layout in (products.forward_matrix, products.backward_matrix):
                matrix = layout(w, geometry)
                self._shapes.append((matrix.shape[0], matrix.shape[1]))
                places.append(matrix.reshape(-1))
        return np.concatenate(places)

    def quantise(self) -> None:
        """Take the master weights of now, as `fixedpoint.quantise_weights` does layer by layer."""
        # the norm of infinite order is the largest magnitude, exactly
        peaks = torch.stack(torch._foreach_norm(self._masters, float("inf"))).to(torch.float64)
        exponents = exponent_for(peaks, WEIGHT_LIMIT)
        wide = torch.cat([master.reshape(-1) for master in self._masters]).to(torch.float64)
        scaled = round_half_up(ldexp(wide, -exponents[self._owner]))
        integers = scaled.clamp(-WEIGHT_LIMIT, WEIGHT_LIMIT).to(torch.int8)
        sizes = [rows * columns for rows, columns in self._shapes]
        pieces = integers[self._gather].split(sizes)
        self._matrices = [
            piece.view(shape) for piece, shape in zip(pieces, self._shapes, strict=True)
        ]
        self._exponents = exponents.unbind()

    def forward(self, layer: str) -> tuple[Tensor, Tensor]:
        """The matrix for `products.convolve`, and the exponent."""
        number = self._number[layer]
        return self._matrices[2 * number], self._exponents[number]

    def backward(self, layer: str) -> tuple[Tensor, Tensor]:
        """The matrix for `products.input_gradient`, and the exponent."""
        number = self._number[layer]
        return self._matrices[2 * number + 1], self._exponents[number]
