# SPDX-License-Identifier: Apache-2.0
"""The emulator in torch: the integer contract on any device that torch drives, such as CUDA."""

from __future__ import annotations

import numpy as np
import torch

from ...errors import UserError
from ..base import Convolved, Device, Peaked, PsgResult, Tensor
from ..geometry import Geometry
from .numpy_emulator import decide_signs
from .torch_product import convolve, convolve_input_gradient, convolve_weight_gradient

Sums = tuple[np.ndarray, np.ndarray]


def open_torch(backend: str) -> TorchEmulator:
    """The emulator for `backend` "torch" (CPU) or "cuda"; UserError where there is no CUDA."""
    if backend == "cuda" and not torch.cuda.is_available():
        raise UserError("backend 'cuda': torch finds no CUDA device here")
    return TorchEmulator(torch.device("cuda" if backend == "cuda" else "cpu"))


def _round_shift(v: torch.Tensor, shift: int) -> torch.Tensor:
    if shift <= 0:
        return v << -shift
    return (v + (1 << (shift - 1))) >> shift


def _peak(v: torch.Tensor) -> int:
    if v.numel() == 0:
        return 0
    low, high = torch.aminmax(v)
    return max(int(high), -int(low), 0)


def _saturate(v: torch.Tensor, bits: int) -> torch.Tensor:
    limit = 1 << (bits - 1)
    return v.clamp(-limit, limit - 1).to(torch.int8 if bits == 8 else torch.int16)


def _open_mask(output: torch.Tensor, ceiling: int | None) -> torch.Tensor:
    positive = output > 0
    # torch would wrap a ceiling beyond 127 to the int8 of the tensor it is compared with
    return positive if ceiling is None else positive & (output.to(torch.int32) < ceiling)


def _slice_msb(v: torch.Tensor, bits: int, msb: int) -> torch.Tensor:
    top = (1 << (msb - 1)) - 1
    return _round_shift(v.to(torch.int32), bits - msb).clamp(-top, top).to(v.dtype)


class TorchEmulator(Device):
    """Exact device on torch tensors; a Tensor is an int8 or int16 torch tensor [N,C,H,W]."""

    def __init__(self, where: torch.device) -> None:
        self.name = f"emulator (torch, {where.type})"
        self._where = where

    def _vector(self, values: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self._where, dtype)

    def _channels(self, values: np.ndarray) -> torch.Tensor:
        """Per-channel int32 factors, ready to broadcast over [N,C,H,W]."""
        return self._vector(values, torch.int32)[:, None, None]

    def _forward(self, x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return self.get(convolve(self.put(x), self.put(w), geometry))

    def _backward_input(self, g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return self.get(convolve_input_gradient(self.put(g), self.put(w), geometry))

    def put(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(array, order="C")).to(self._where)

    def get(self, tensor: Tensor) -> np.ndarray:
        return tensor.cpu().numpy()

    def take(self, tensor: Tensor, samples: np.ndarray) -> Tensor:
        return tensor[self._vector(samples, torch.int64)]

    def merge(self, base: Tensor, samples: np.ndarray, part: Tensor) -> Tensor:
        return base.index_copy(0, self._vector(samples, torch.int64), part)

    def narrow(self, stream: Tensor, shift: int) -> Tensor:
        return _saturate(_round_shift(stream.to(torch.int32), shift), 8)

    def convolve(self, x: Tensor, w: np.ndarray, geometry: Geometry, shift: int) -> Convolved:
        accumulator = convolve(x, self.put(w), geometry)
        # int64: a half of 2^31 or a left shift leaves 32 bits
        y = _saturate(_round_shift(accumulator.to(torch.int64), shift), 16)
        total, squares = self.gradient_sums(y, y)
        return Convolved(y, _peak(accumulator), total, squares)

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
        v = y.to(torch.int32) * self._channels(multiplier) + self._channels(offset)
        v = _round_shift(v, shift)
        if residual is not None:
            v = v + residual
        if rectify or ceiling is not None:
            v = v.clamp(0 if rectify else None, ceiling)
        return Peaked(_saturate(v, bits), _peak(v))

    def shortcut_pad(self, stream: Tensor, stride: int, channels: int) -> Tensor:
        kept = stream[:, :, ::stride, ::stride]
        before = (channels - kept.shape[1]) // 2
        padded = kept.new_zeros((kept.shape[0], channels, *kept.shape[2:]))
        padded[:, before : before + kept.shape[1]] = kept
        return padded

    def pool(self, stream: Tensor) -> np.ndarray:
        return self.get(stream.sum(dim=(2, 3), dtype=torch.int64))

    def pool_grid(self, stream: Tensor, points: int) -> np.ndarray:
        step_h, step_w = (-(-size // points) for size in stream.shape[2:])
        return self.pool(stream[:, :, ::step_h, ::step_w])

    def mask(self, g: Tensor, output: Tensor, ceiling: int | None) -> Tensor:
        return g * _open_mask(output, ceiling)

    def gradient_sums(self, g: Tensor, y: Tensor) -> Sums:
        # a product of two int16 fits int32: -32768 * -32768 = 2^30
        products = g.to(torch.int32) * y
        axes = (0, 2, 3)
        return (
            self.get(g.sum(dim=axes, dtype=torch.int64)),
            self.get(products.sum(dim=axes, dtype=torch.int64)),
        )

    def normalise_backward(
        self, g: Tensor, y: Tensor, a: np.ndarray, b: np.ndarray, c: np.ndarray, shift: int
    ) -> Peaked:
        # |a|, |b| < 2^14 and 16-bit operands: a*g + b*y < 2^30, and |c| + half < 2^30
        v = g.to(torch.int32) * self._channels(a) + y.to(torch.int32) * self._channels(b)
        v = _round_shift(v + self._channels(c), shift)
        return Peaked(_saturate(v, 16), _peak(v))

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
            g = _saturate(_round_shift(g.to(torch.int32), 16 - g_bits), g_bits)
        v = _round_shift(convolve_input_gradient(g, self.put(w), geometry), shift)
        if output is not None:
            v = v * _open_mask(output, ceiling)
        if residual is not None:
            v = v + residual
        return Peaked(_saturate(v, 16), _peak(v))

    def weight_gradient(self, x: Tensor, g: Tensor, geometry: Geometry) -> np.ndarray:
        return self.get(convolve_weight_gradient(x, g, geometry))

    def psg_gradient(
        self, x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, x_msb: int, g_msb: int
    ) -> PsgResult:
        low_x, low_g = _slice_msb(x, 8, x_msb), _slice_msb(g, 16, g_msb)
        tops = (1 << (x_msb - 1)) - 1, (1 << (g_msb - 1)) - 1
        predictor = self.get(convolve_weight_gradient(low_x, low_g, geometry, *tops))
        return decide_signs(predictor, self.weight_gradient(x, g, geometry), beta_q)

    def gate_products(self, g: Tensor, after: Tensor, before: Tensor) -> np.ndarray:
        # |g| <= 2^15 times |after - before| < 2^16 can reach 2^31: 64 bits
        difference = (after.to(torch.int32) - before).to(torch.int64)
        return self.get((g * difference).sum(dim=(1, 2, 3)))

    def shortcut_pad_backward(
        self, g: Tensor, stride: int, channels: int, height: int, width: int
    ) -> Tensor:
        before = (g.shape[1] - channels) // 2
        back = g.new_zeros((g.shape[0], channels, height, width))
        back[:, :, ::stride, ::stride] = g[:, before : before + channels]
        return back

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        return _saturate(a.to(torch.int32) + b, 16)

    def spread(self, g: np.ndarray, height: int, width: int) -> Tensor:
        values = self._vector(g, torch.int16)[:, :, None, None]
        return values.expand(*g.shape, height, width).contiguous()
