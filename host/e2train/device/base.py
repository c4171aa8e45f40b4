# SPDX-License-Identifier: Apache-2.0
"""The device protocol: four pinned kernel operations on arrays, and the training operations.

Every operation is exact integer arithmetic (docs/numerics.md), so that any two devices return the
same integers. Training operations work on opaque `Tensor` handles (int8 or int16, [N, C, H, W])
that stay on the device; per-channel and per-sample vectors travel as NumPy arrays.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np

from ..numerics.fixedpoint import quantise_beta
from . import checks
from .geometry import Geometry

Tensor = Any  # a device's own handle; never looked into by the host


@dataclass(frozen=True)
class PsgResult:
    """Predicted gradient signs of one layer (paper eq. 2).

    sign: int8 [K,C/groups,R,S] in {-1, 0, 1}; predicted: bool, where the MSB predictor decided;
    max_msb: M, the layer's largest |predictor gradient|.
    """

    sign: np.ndarray
    predicted: np.ndarray
    max_msb: int


class Convolved(NamedTuple):
    """Forward convolution, requantised to 16 bits, with what its store gathers on the way.

    y: int16 Tensor [N,K,P,Q]; peak: largest |accumulator|; total, squares: int64 [K], the exact
    sums of y and y^2 over samples and positions.
    """

    y: Tensor
    peak: int
    total: np.ndarray
    squares: np.ndarray


class Peaked(NamedTuple):
    """A tensor and the largest magnitude it had before saturation (in its own integers)."""

    tensor: Tensor
    peak: int


class Device(ABC):
    """A compute device; use as a context manager."""

    name: str

    def __enter__(self) -> Device:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:  # noqa: B027 - most devices hold nothing
        """Release what the device holds."""

    # ---- pinned kernel operations: NumPy in and out -------------------------------------------

    def conv_forward(
        self, x: np.ndarray, w: np.ndarray, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> np.ndarray:
        """x int8 [N,C,H,W] * w int8 [K,C/groups,R,S] -> int32 [N,K,P,Q], exact.

        Raises ValueError naming the argument for a wrong dtype, rank, size, weight -128 or
        unsupported geometry (as do the three below).
        """
        geometry = checks.forward(x, w, stride, padding, groups)
        return self._forward(x, w, geometry)

    def conv_backward_input(
        self,
        g: np.ndarray,
        w: np.ndarray,
        input_size: tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> np.ndarray:
        """Output gradient g int16 [N,K,P,Q], w int8 -> input gradient int64 [N,C,H,W], exact."""
        geometry = checks.backward_input(g, w, input_size, stride, padding, groups)
        return self._backward_input(g, w, geometry)

    def conv_backward_weight(
        self,
        x: np.ndarray,
        g: np.ndarray,
        kernel_size: tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
    ) -> np.ndarray:
        """x int8 [N,C,H,W], g int16 [N,K,P,Q] -> weight gradient int64 [K,C/groups,R,S], exact."""
        geometry = checks.backward_weight(x, g, kernel_size, stride, padding, groups)
        return self.weight_gradient(self.put(x), self.put(g), geometry)

    def psg_backward_weight(
        self,
        x: np.ndarray,
        g: np.ndarray,
        kernel_size: tuple[int, int],
        *,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        beta: float = 0.05,
        x_msb_bits: int = 4,
        g_msb_bits: int = 10,
    ) -> PsgResult:
        """Signs of the weight gradient, by the MSB predictor where it is sure (paper eq. 2).

        Predicted where m != 0 and |m| * 2^16 >= round(beta * 2^16) * M, with m the weight gradient
        of the operands' most significant bits and M = max |m| over the layer (the authors' code
        takes this maximum; eq. 2 as printed takes that of the output gradient, in other units).
        """
        geometry = checks.backward_weight(x, g, kernel_size, stride, padding, groups)
        checks.psg(beta, x_msb_bits, g_msb_bits)
        return self.psg_gradient(
            self.put(x), self.put(g), geometry, quantise_beta(beta), x_msb_bits, g_msb_bits
        )

    @abstractmethod
    def _forward(self, x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray: ...

    @abstractmethod
    def _backward_input(self, g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray: ...

    # ---- tensors --------------------------------------------------------------------------------

    @abstractmethod
    def put(self, array: np.ndarray) -> Tensor:
        """An int8 or int16 array [N,C,H,W] as a device tensor."""

    @abstractmethod
    def get(self, tensor: Tensor) -> np.ndarray:
        """The tensor as an array [N,C,H,W] of its own dtype."""

    @abstractmethod
    def take(self, tensor: Tensor, samples: np.ndarray) -> Tensor:
        """The samples at the (sorted, int64) indices, as a new tensor."""

    @abstractmethod
    def merge(self, base: Tensor, samples: np.ndarray, part: Tensor) -> Tensor:
        """A new tensor: `part` at the given samples, `base` elsewhere (same dtype and shape)."""

    # ---- forward --------------------------------------------------------------------------------

    @abstractmethod
    def narrow(self, stream: Tensor, shift: int) -> Tensor:
        """int16 -> int8: saturate((v + half) >> shift); shift 0 to 15."""

    @abstractmethod
    def convolve(self, x: Tensor, w: np.ndarray, geometry: Geometry, shift: int) -> Convolved:
        """Forward convolution of x int8 with w int8; y = saturate16((acc + half) >> shift)."""

    @abstractmethod
    def normalise(
        self,
        y: Tensor,
        multiplier: np.ndarray,
        offset: np.ndarray,
        shift: int,
        *,
        residual: Tensor | None = None,
        rectify: bool = False,
        ceiling: int | None = None,
        bits: int = 8,
    ) -> Peaked:
        """Batch norm as integers, residual add, activation, in one pass.

        v = ((y * multiplier[c] + offset[c] + half) >> shift) + residual; `rectify`: max(v, 0);
        `ceiling`: min(v, ceiling); then the peak |v| is taken and v saturates to `bits` (8 -> int8
        tensor, 9 to 16 -> int16 tensor). y int16; multiplier, offset int32 [K] with
        |multiplier| < 2^15 and |offset| + half < 2^30, so that every sum fits 32 bits; shift 1 to
        30; residual int16.
        """

    @abstractmethod
    def shortcut_pad(self, stream: Tensor, stride: int, channels: int) -> Tensor:
        """Option-A shortcut: every `stride`-th row and column, zero channels before and after."""

    @abstractmethod
    def pool(self, stream: Tensor) -> np.ndarray:
        """Sums over positions, int64 [N, C]."""

    @abstractmethod
    def pool_grid(self, stream: Tensor, points: int) -> np.ndarray:
        """Sums over an evenly spaced grid of at most points x points positions, int64 [N, C].

        Rows and columns 0, d, 2d, ... with d = ceil(size / points).
        """

    # ---- backward -------------------------------------------------------------------------------

    @abstractmethod
    def mask(self, g: Tensor, output: Tensor, ceiling: int | None) -> Tensor:
        """Gradient through ReLU (or ReLU6): g where 0 < output (< ceiling), else 0. g int16."""

    @abstractmethod
    def gradient_sums(self, g: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
        """Exact per-channel sums of g and of g*y (both int16 tensors), int64 [K] each."""

    @abstractmethod
    def normalise_backward(
        self, g: Tensor, y: Tensor, a: np.ndarray, b: np.ndarray, c: np.ndarray, shift: int
    ) -> Peaked:
        """Batch norm's input gradient: saturate16((a*g + b*y + c + half) >> shift).

        g, y int16; a, b, c int32 [K] with |a|, |b| < 2^14 and |c| + half < 2^30; shift 1 to 30.
        """

    @abstractmethod
    def input_gradient(
        self,
        g: Tensor,
        w: np.ndarray,
        geometry: Geometry,
        shift: int,
        *,
        output: Tensor | None = None,
        ceiling: int | None = None,
        residual: Tensor | None = None,
        g_bits: int = 16,
    ) -> Peaked:
        """Convolution backward to its input, requantised: v = (acc + half) >> shift.

        `output` (what the previous unit put out, int8 or int16): v is masked as by `mask`;
        `residual` (int16): added afterwards; then the peak |v| is taken and v saturates to 16 bits.
        g int16, or its `g_bits` most significant bits (`g_bits` 8: Banner et al.'s 8-bit copy,
        saturate8((g + 128) >> 8), with the accumulator in those units). shift -15 to 47; negative
        multiplies.
        """

    @abstractmethod
    def weight_gradient(self, x: Tensor, g: Tensor, geometry: Geometry) -> np.ndarray:
        """Weight gradient of x int8 and g int16: int64 [K,C/groups,R,S], exact."""

    @abstractmethod
    def psg_gradient(
        self, x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, x_msb: int, g_msb: int
    ) -> PsgResult:
        """As `psg_backward_weight`, on tensors, with beta_q = round(beta * 2^16)."""

    @abstractmethod
    def gate_products(self, g: Tensor, after: Tensor, before: Tensor) -> np.ndarray:
        """Per-sample sums of g * (after - before), int16 tensors: int64 [N], for the gates."""

    @abstractmethod
    def shortcut_pad_backward(
        self, g: Tensor, stride: int, channels: int, height: int, width: int
    ) -> Tensor:
        """Gradient of `shortcut_pad` to its input of `channels` x `height` x `width`."""

    @abstractmethod
    def add(self, a: Tensor, b: Tensor) -> Tensor:
        """saturate16(a + b) of int16 tensors."""

    @abstractmethod
    def spread(self, g: np.ndarray, height: int, width: int) -> Tensor:
        """int16 [N, C] repeated over every position: the gradient of `pool`."""
