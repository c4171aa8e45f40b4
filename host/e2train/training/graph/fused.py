# SPDX-License-Identifier: Apache-2.0
"""The steps as Triton kernels: one or two launches where `steps` takes dozens.

For a GPU; with TRITON_INTERPRET=1 also on CPU tensors, which is how the arithmetic is tested where
there is none. What networks with depthwise convolutions or ReLU6 need is left to `steps`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from triton import cdiv, next_power_of_2

from ...device.geometry import Geometry
from ...network.arithmetic import RUNNING_MOMENTUM
from ...numerics.exponent import DECAY
from ...numerics.fixedpoint import BETA_FRACTION_BITS, limits
from ...numerics.normalisation import BACKWARD_BITS, EPSILON, FORWARD_BITS, OFFSET_BITS
from . import kernels, products, steps
from .normalisation import Count, Moments, Parameters
from .steps import Convolved, Track

Tensor = torch.Tensor

OFFSET_TOP = float((1 << (OFFSET_BITS - 1)) - 1)
FLAT = 1024  # elements of a program over a flat tensor
PROGRAMS = 528  # four to each multiprocessor of a large GPU
ARENA = 1 << 20  # first guess of the zeroed integers that an iteration needs


def _launch(kernel: Any, grid: tuple[int, ...], *arguments: Any, **options: Any) -> None:
    kernel[grid](*arguments, enable_fp_fusion=False, **options)


def _shape(geometry: Geometry) -> dict[str, int]:
    (r, s), g = geometry.kernel, geometry
    return {
        "P": g.out_height, "Q": g.out_width, "H": g.height, "W": g.width, "C": g.channels,
        "K": g.filters, "R": r, "S": s, "STRIDE": g.stride, "PAD": g.padding,
    }  # fmt: skip


def _flags(ran: Tensor | None) -> Tensor | None:
    """A mask as bytes, which a kernel reads as integers."""
    return None if ran is None else ran.contiguous().view(torch.uint8)


def _rows(positions: int) -> int:
    """Of a product's tile: few enough for every multiprocessor to have some."""
    return 128 if positions >= 128 * PROGRAMS // 2 else 64


def _columns(channels: int) -> int:
    return min(64, max(16, next_power_of_2(channels)))


class Fused:
    """`steps` with the same functions, on the device `where`."""

    def __init__(self, where: torch.device) -> None:
        self._where = where
        self._need = ARENA
        self.begin(False)

    def begin(self, training: bool) -> None:
        """A new mini-batch: fresh zeros for all its peaks and sums."""
        self._zeros = torch.zeros(self._need, dtype=torch.int64, device=self._where)
        self._used = self._taken = 0

    def _zeroed(self, size: int) -> Tensor:
        step = -(-size // 16) * 16
        if self._used + step > len(self._zeros):
            size_of_next = max(step, ARENA)
            self._zeros = torch.zeros(size_of_next, dtype=torch.int64, device=self._where)
            self._used = 0
        part = self._zeros[self._used : self._used + size]
        self._used += step
        self._taken += step
        self._need = max(self._need, self._taken)
        return part

    def _peak(self) -> Tensor:
        return self._zeroed(1)[0]

    def _empty(self, *shape: int, dtype: torch.dtype = torch.int64) -> Tensor:
        return torch.empty(shape, dtype=dtype, device=self._where)

    # ---- exponents ------------------------------------------------------------------------------

    def follow(
        self, track: Track, peak: Tensor, exponent: Tensor, ran: Tensor | None, training: bool
    ) -> Tensor:
        if not training:
            return steps.follow(track, peak, exponent, ran, training)
        out = self._empty()
        arguments = track.peak, track.headroom, track.limit, peak, exponent, _flags(ran), out
        _launch(kernels.follow, (1,), *arguments, DECAY=DECAY, num_warps=1)
        return out

    def narrow(self, stream: Tensor, exponent: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        x, out, size = torch.empty_like(stream, dtype=torch.int8), self._empty(), stream.numel()
        grid = (cdiv(size, FLAT),)
        _launch(kernels.narrow, grid, stream, exponent, target, x, out, size, BLOCK=FLAT)
        return x, out

    # ---- forward --------------------------------------------------------------------------------

    def convolve(
        self,
        x: Tensor,
        w: Tensor,
        geometry: Geometry,
        exponents: tuple[Tensor, Tensor, Tensor],
        ran: Tensor | None,
    ) -> Convolved:
        if geometry.groups > 1:
            return steps.convolve(x, w, geometry, exponents, ran)
        size = (x.shape[0], geometry.out_height, geometry.out_width, geometry.filters)
        y = self._empty(*size, dtype=torch.int16)
        rows, block = y.numel() // geometry.filters, _columns(geometry.filters)
        tile = _rows(rows)
        made = Convolved(
            y, self._empty(), self._peak(), self._empty(), self._zeroed(2 * geometry.filters)
        )
        _launch(
            kernels.convolve, (cdiv(rows, tile), cdiv(geometry.filters, block)),
            x, w, *exponents, _flags(ran),
            y, made.exponent, made.peak_exponent, made.peak, made.sums,
            rows, **_shape(geometry), BLOCK_M=tile, BLOCK_N=block,
            BLOCK_K=32 if geometry.channels <= 16 else 64,
        )  # fmt: skip
        return made

    def batch_norm_forward(
        self,
        sums: Tensor,
        exponents: tuple[Tensor, Tensor],
        parameters: Parameters,
        count: Count | None,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], Moments]:
        channels = parameters.gamma.numel()
        multiplier, offset = self._empty(2, channels, dtype=torch.int32)
        mean, variance = self._empty(2, channels, dtype=torch.float64)
        shift = self._empty()
        counts: tuple[Tensor | None, ...] = (None,) * 4
        if count is not None:
            counts = count.values, count.samples, count.batch, _flags(count.ran)
        of = parameters.gamma, parameters.beta, parameters.running_mean, parameters.running_variance
        _launch(
            kernels.batch_norm_forward, (1,),
            sums, *exponents, *of, *counts, multiplier, offset, shift, mean, variance,
            K=channels, TRAINING=count is not None, EPSILON=EPSILON, MOMENTUM=RUNNING_MOMENTUM,
            SLOPE_TOP=float((1 << FORWARD_BITS) - 1), OFFSET_TOP=OFFSET_TOP,
            BLOCK=next_power_of_2(channels), num_warps=1,
        )  # fmt: skip
        return (multiplier, offset, shift), Moments(mean, variance)

    def normalise(
        self,
        y: Tensor,
        coefficients: tuple[Tensor, Tensor, Tensor],
        *,
        residual: Tensor | None,
        rectify: bool,
        ceiling: Tensor | None,
        bits: int,
        ran: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        if ceiling is not None:
            return steps.normalise(
                y, coefficients, residual=residual, rectify=rectify, ceiling=ceiling, bits=bits,
                ran=ran,
            )  # fmt: skip
        low, high = limits(bits)
        z = torch.empty_like(y, dtype=torch.int8 if bits == 8 else torch.int16)
        peak = self._peak()
        self._over_positions(
            kernels.normalise, y, y, *coefficients, residual, _flags(ran), z, peak,
            RECTIFY=rectify, LOW=low, HIGH=high,
        )  # fmt: skip
        return z, peak

    def _over_positions(self, kernel: Any, like: Tensor, *arguments: Any, **options: Any) -> None:
        """A kernel over the positions and channels of `like` [N,H,W,C]."""
        channels = like.shape[3]
        rows, block = like.numel() // channels, min(64, next_power_of_2(channels))
        block_rows = 4096 // block
        positions = like.shape[1] * like.shape[2]
        grid = (cdiv(rows, block_rows * options.get("LOOPS", 1)), cdiv(channels, block))
        sizes = {"K": channels, "BLOCK_M": block_rows, "BLOCK_K": block}
        _launch(kernel, grid, *arguments, rows, positions, **sizes, **options)

    # ---- backward -------------------------------------------------------------------------------

    def mask(self, g: Tensor, output: Tensor, ceiling: Tensor | None) -> Tensor:
        if ceiling is not None:
            return steps.mask(g, output, ceiling)
        out, size = torch.empty_like(g), g.numel()
        _launch(kernels.mask, (cdiv(size, FLAT),), g, output, out, size, BLOCK=FLAT)
        return out

    def channel_sums(self, a: Tensor, b: Tensor, ran: Tensor | None) -> Tensor:
        sums = self._zeroed(2 * a.shape[3])
        self._over_positions(kernels.channel_sums, a, a, b, _flags(ran), sums, LOOPS=2)
        return sums

    def batch_norm_backward(
        self,
        sums: Tensor,
        stats: Moments,
        gamma: Tensor,
        count: Count,
        exponents: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[tuple[Tensor, Tensor, Tensor, Tensor], Tensor, Tensor]:
        channels = gamma.numel()
        a, b, c = self._empty(3, channels, dtype=torch.int32)
        gradients = self._empty(2, channels, dtype=torch.float32)
        shift = self._empty()
        _launch(
            kernels.batch_norm_backward, (1,),
            sums, stats.mean, stats.variance, gamma, *exponents, count.values, count.batch,
            a, b, c, shift, gradients[0], gradients[1],
            K=channels, EPSILON=EPSILON, SLOPE_TOP=float((1 << BACKWARD_BITS) - 1),
            OFFSET_TOP=OFFSET_TOP, BLOCK=next_power_of_2(channels), num_warps=1,
        )  # fmt: skip
        return (a, b, c, shift), gradients[0], gradients[1]

    def normalise_backward(
        self,
        g: Tensor,
        y: Tensor,
        coefficients: tuple[Tensor, Tensor, Tensor, Tensor],
        ran: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        dy, peak = torch.empty_like(y), self._peak()
        kernel: Callable[..., None] = kernels.normalise_backward
        self._over_positions(kernel, y, g, y, *coefficients, _flags(ran), dy, peak)
        return dy, peak

    def input_gradient(
        self,
        g: Tensor,
        w: Tensor,
        geometry: Geometry,
        exponents: tuple[Tensor, Tensor, Tensor],
        *,
        output: Tensor | None,
        ceiling: Tensor | None,
        residual: Tensor | None,
        ran: Tensor | None,
        bits: int,
    ) -> tuple[Tensor, Tensor, Tensor]:
        if geometry.groups > 1 or ceiling is not None:
            return steps.input_gradient(
                g, w, geometry, exponents,
                output=output, ceiling=ceiling, residual=residual, ran=ran, bits=bits,
            )  # fmt: skip
        size = (g.shape[0], geometry.height, geometry.width, geometry.channels)
        v, exponent, peak = self._empty(*size, dtype=torch.int16), self._empty(), self._peak()
        rows, block = v.numel() // geometry.channels, _columns(geometry.channels)
        tile = _rows(rows)
        _launch(
            kernels.input_gradient, (cdiv(rows, tile), cdiv(geometry.channels, block)),
            g, w, *exponents, output, residual, _flags(ran), v, exponent, peak, rows,
            **_shape(geometry), BITS=bits, BLOCK_M=tile, BLOCK_N=block,
            BLOCK_K=32 if geometry.filters <= 16 else 64,
        )  # fmt: skip
        return v, exponent, peak

    def _sums(
        self,
        x: Tensor,
        g: Tensor,
        geometry: Geometry,
        predictor: Tensor | None,
        msb: tuple[int, int],
    ) -> Tensor:
        """Weight gradient int64 [K * R*S*C] in `products.forward_matrix`'s order."""
        full = self._zeroed(geometry.weights)
        rows, terms = g.numel() // geometry.filters, geometry.weights // geometry.filters
        block, inner = _columns(geometry.filters), 64
        tiles = cdiv(terms, 64), cdiv(geometry.filters, block)
        chunks = max(1, PROGRAMS // (tiles[0] * tiles[1]))
        chunk = min(cdiv(cdiv(rows, chunks), inner) * inner, products.CHUNK)
        _launch(
            kernels.weight_gradient, (*tiles, cdiv(rows, chunk)),
            x, g, full, predictor, rows, chunk, **_shape(geometry), X_MSB=msb[0], G_MSB=msb[1],
            BLOCK_J=64, BLOCK_N=block, BLOCK_M=inner,
        )  # fmt: skip
        return full

    def signs(
        self, x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, msb_bits: tuple[int, int]
    ) -> tuple[Tensor, Tensor]:
        if geometry.groups > 1:
            return steps.signs(x, g, geometry, beta_q, msb_bits)
        size = geometry.weights
        predictor, top, sure = self._zeroed(size), self._peak(), self._peak()
        full = self._sums(x, g, geometry, predictor, msb_bits)
        grid = (cdiv(size, FLAT),)
        _launch(kernels.largest, grid, predictor, top, size, BLOCK=FLAT)
        sign = self._empty(*geometry.weight_shape, dtype=torch.float32)
        _launch(
            kernels.signs, grid, full, predictor, top, sign, sure, size, BETA=beta_q,
            FRACTION=BETA_FRACTION_BITS, **self._taps(geometry), BLOCK=FLAT,
        )  # fmt: skip
        return sign, sure

    def _taps(self, geometry: Geometry) -> dict[str, int]:
        return {"C": geometry.channels, "R": geometry.kernel[0], "S": geometry.kernel[1]}

    def full_gradient(
        self,
        x: Tensor,
        g: Tensor,
        geometry: Geometry,
        exponents: tuple[Tensor, Tensor],
        batch: Tensor,
    ) -> Tensor:
        if geometry.groups > 1:
            return steps.full_gradient(x, g, geometry, exponents, batch)
        full, size = self._sums(x, g, geometry, None, (4, 10)), geometry.weights
        gradient = self._empty(*geometry.weight_shape, dtype=torch.float32)
        _launch(
            kernels.real_gradient, (cdiv(size, FLAT),), full, *exponents, batch, gradient, size,
            **self._taps(geometry), BLOCK=FLAT,
        )  # fmt: skip
        return gradient
