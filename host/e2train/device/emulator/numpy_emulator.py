# SPDX-License-Identifier: Apache-2.0
"""The emulator in NumPy alone: what runs where there is no torch, such as on the board itself.

Convolutions are im2col and a float64 matrix product: every product of the contract is below 2^22
and every sum has fewer than 2^31 terms, so all partial sums stay below 2^53 and are exact.
"""

from __future__ import annotations

import numpy as np

from ...numerics.fixedpoint import BETA_FRACTION_BITS, round_shift, saturate, slice_msb
from ..base import Convolved, Device, Peaked, PsgResult, Tensor
from ..geometry import Geometry
from .im2col import convolve, convolve_input_gradient, convolve_weight_gradient


def _peak(values: np.ndarray) -> int:
    return max(int(values.max(initial=0)), -int(values.min(initial=0)))


def _channels(vector: np.ndarray) -> np.ndarray:
    return vector.astype(np.int64)[:, None, None]


def _open_mask(output: np.ndarray, ceiling: int | None) -> np.ndarray:
    positive = output > 0
    return positive if ceiling is None else positive & (output < ceiling)


def decide_signs(predictor: np.ndarray, full: np.ndarray, beta_q: int) -> PsgResult:
    """Paper eq. 2 on exact integers: predictor gradient and full gradient, int64, to signs."""
    magnitude = np.abs(predictor)
    top = int(magnitude.max(initial=0))
    # |m| < 2^44 and beta_q <= 2^16: both sides stay below 2^62
    sure = (predictor != 0) & ((magnitude << BETA_FRACTION_BITS) >= beta_q * top)
    sign = np.where(sure, np.sign(predictor), np.sign(full)).astype(np.int8)
    return PsgResult(sign, sure, top)


class NumpyEmulator(Device):
    """Exact device on NumPy arrays; a Tensor is an int8 or int16 array [N,C,H,W]."""

    name = "emulator (numpy)"

    def _forward(self, x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return self._accumulate(x, w, geometry).astype(np.int32)

    def _backward_input(self, g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return self._accumulate_back(g, w, geometry)

    def _accumulate(self, x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return convolve(x.astype(np.float64), w.astype(np.float64), geometry).astype(np.int64)

    def _accumulate_back(self, g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        exact = convolve_input_gradient(g.astype(np.float64), w.astype(np.float64), geometry)
        return exact.astype(np.int64)

    def put(self, array: np.ndarray) -> Tensor:
        return np.ascontiguousarray(array)

    def get(self, tensor: Tensor) -> np.ndarray:
        return np.asarray(tensor)

    def take(self, tensor: Tensor, samples: np.ndarray) -> Tensor:
        return tensor[samples]

    def merge(self, base: Tensor, samples: np.ndarray, part: Tensor) -> Tensor:
        merged = base.copy()
        merged[samples] = part
        return merged

    def narrow(self, stream: Tensor, shift: int) -> Tensor:
        return saturate(round_shift(stream.astype(np.int32), shift), 8).astype(np.int8)

    def convolve(self, x: Tensor, w: np.ndarray, geometry: Geometry, shift: int) -> Convolved:
        accumulator = self._accumulate(x, w, geometry)
        y = saturate(round_shift(accumulator, shift), 16)
        total, squares = y.sum(axis=(0, 2, 3)), (y * y).sum(axis=(0, 2, 3))
        return Convolved(y.astype(np.int16), _peak(accumulator), total, squares)

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
        v = round_shift(y.astype(np.int64) * _channels(multiplier) + _channels(offset), shift)
        if residual is not None:
            v = v + residual
        if rectify:
            v = np.maximum(v, 0)
        if ceiling is not None:
            v = np.minimum(v, ceiling)
        return Peaked(saturate(v, bits).astype(np.int8 if bits == 8 else np.int16), _peak(v))

    def shortcut_pad(self, stream: Tensor, stride: int, channels: int) -> Tensor:
        kept = stream[:, :, ::stride, ::stride]
        before = (channels - kept.shape[1]) // 2
        after = channels - kept.shape[1] - before
        return np.pad(kept, ((0, 0), (before, after), (0, 0), (0, 0)))

    def pool(self, stream: Tensor) -> np.ndarray:
        return stream.sum(axis=(2, 3), dtype=np.int64)

    def pool_grid(self, stream: Tensor, points: int) -> np.ndarray:
        step_h, step_w = (-(-size // points) for size in stream.shape[2:])
        return self.pool(stream[:, :, ::step_h, ::step_w])

    def mask(self, g: Tensor, output: Tensor, ceiling: int | None) -> Tensor:
        return np.where(_open_mask(output, ceiling), g, np.int16(0))

    def gradient_sums(self, g: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
        wide = g.astype(np.int64)
        return wide.sum(axis=(0, 2, 3)), (wide * y).sum(axis=(0, 2, 3))

    def normalise_backward(
        self, g: Tensor, y: Tensor, a: np.ndarray, b: np.ndarray, c: np.ndarray, shift: int
    ) -> Peaked:
        exact = g.astype(np.int64) * _channels(a) + y.astype(np.int64) * _channels(b) + _channels(c)
        v = round_shift(exact, shift)
        return Peaked(saturate(v, 16).astype(np.int16), _peak(v))

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
        if g_bits < 16:
            g = saturate(round_shift(g.astype(np.int32), 16 - g_bits), g_bits).astype(np.int16)
        v = round_shift(self._accumulate_back(g, w, geometry), shift)
        if output is not None:
            v = np.where(_open_mask(output, ceiling), v, 0)
        if residual is not None:
            v = v + residual
        return Peaked(saturate(v, 16).astype(np.int16), _peak(v))

    def weight_gradient(self, x: Tensor, g: Tensor, geometry: Geometry) -> np.ndarray:
        exact = convolve_weight_gradient(x.astype(np.float64), g.astype(np.float64), geometry)
        return exact.astype(np.int64)

    def psg_gradient(
        self, x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, x_msb: int, g_msb: int
    ) -> PsgResult:
        low = self.weight_gradient(slice_msb(x, 8, x_msb), slice_msb(g, 16, g_msb), geometry)
        return decide_signs(low, self.weight_gradient(x, g, geometry), beta_q)

    def gate_products(self, g: Tensor, after: Tensor, before: Tensor) -> np.ndarray:
        difference = after.astype(np.int64) - before
        return (g * difference).sum(axis=(1, 2, 3))

    def shortcut_pad_backward(
        self, g: Tensor, stride: int, channels: int, height: int, width: int
    ) -> Tensor:
        before = (g.shape[1] - channels) // 2
        back = np.zeros((g.shape[0], channels, height, width), np.int16)
        back[:, :, ::stride, ::stride] = g[:, before : before + channels]
        return back

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return saturate(a.astype(np.int32) + b, 16).astype(np.int16)

    def spread(self, g: np.ndarray, height: int, width: int) -> Tensor:
        return np.ascontiguousarray(
            np.broadcast_to(g[:, :, None, None], (*g.shape, height, width)), np.int16
        )
