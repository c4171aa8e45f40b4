# SPDX-License-Identifier: Apache-2.0
"""Convolution and its two gradients as torch matrix products that are exact by proof.

A floating-point product of integers is exact, in whatever order it is summed, while every partial
sum is an integer that the format holds: at most 2^24 in float32, 2^53 in float64. The bound of
each product is computed from the operands' widths and the number of terms; float64 always suffices
(products of the contract stay below 2^22 and sums have fewer than 2^31 terms).

Windows are unfolded and multiplied, never given to a convolution routine: those may choose
Winograd or FFT algorithms, whose intermediate values are not integers.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
import torch.nn.functional as F

from ..geometry import Geometry

FLOAT32_EXACT = 1 << 24
SLAB_BYTES = 256 << 20  # unfolded windows held at once


def exact_dtype(bound: int) -> torch.dtype:
    """The narrowest float type in which integer sums of magnitude up to `bound` are exact.

    float32 products count only while torch is not told to replace them by bf16 or TF32.
    """
    if bound <= FLOAT32_EXACT and torch.get_float32_matmul_precision() == "highest":
        return torch.float32
    return torch.float64


def _product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Matrix product outside any autocast region, which would narrow the operands."""
    with torch.autocast(a.device.type, enabled=False):
        return torch.matmul(a, b)


def _taps(geometry: Geometry) -> int:
    return geometry.kernel[0] * geometry.kernel[1]


def _windows(x: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """x [n,C,H,W] (float) -> [n, C*R*S, P*Q], padded with zeros."""
    return F.unfold(x, geometry.kernel, padding=geometry.padding, stride=geometry.stride)


def _slabs(samples: int, geometry: Geometry) -> Iterator[slice]:
    """Ranges of samples whose float64 windows stay below SLAB_BYTES."""
    positions = geometry.out_height * geometry.out_width
    a_sample = 8 * geometry.channels * _taps(geometry) * positions
    step = max(1, SLAB_BYTES // a_sample)
    for start in range(0, samples, step):
        yield slice(start, start + step)


def convolve(
    x: torch.Tensor, w: torch.Tensor, geometry: Geometry, x_top: int = 128
) -> torch.Tensor:
    """x int8 [N,C,H,W] of magnitude up to x_top, w int8 [K,C/groups,R,S] -> int32 [N,K,P,Q]."""
    terms = geometry.weight_shape[1] * _taps(geometry)
    dtype = exact_dtype(terms * x_top * 127)
    size = (geometry.filters, geometry.out_height, geometry.out_width)
    out = torch.empty((x.shape[0], *size), dtype=torch.int32, device=x.device)
    for part in _slabs(x.shape[0], geometry):
        columns = _windows(x[part].to(dtype), geometry)
        if geometry.groups > 1:
            columns = columns.unflatten(1, (geometry.channels, -1))
            rows = _product(w.to(dtype).reshape(geometry.filters, 1, -1), columns)
        else:
            rows = _product(w.to(dtype).reshape(geometry.filters, -1), columns)
        out[part] = rows.reshape(-1, *size)
    return out


def convolve_input_gradient(g: torch.Tensor, w: torch.Tensor, geometry: Geometry) -> torch.Tensor:
    """g int16 [N,K,P,Q], w int8 [K,C/groups,R,S] -> int64 [N,C,H,W]."""
    size = (geometry.height, geometry.width)
    out = torch.empty((g.shape[0], geometry.channels, *size), dtype=torch.int64, device=g.device)
    wide = w.to(torch.float64)
    for part in _slabs(g.shape[0], geometry):
        rows = g[part].to(torch.float64).flatten(2)
        if geometry.groups > 1:
            columns = (wide.reshape(geometry.filters, -1, 1) * rows[:, :, None]).flatten(1, 2)
        else:
            columns = _product(wide.reshape(geometry.filters, -1).T, rows)
        out[part] = F.fold(
            columns, size, geometry.kernel, padding=geometry.padding, stride=geometry.stride
        ).to(torch.int64)
    return out


def convolve_weight_gradient(
    x: torch.Tensor, g: torch.Tensor, geometry: Geometry, x_top: int = 128, g_top: int = 32768
) -> torch.Tensor:
    """x int8 [N,C,H,W], g int16 [N,K,P,Q], magnitudes up to x_top, g_top -> int64 [K,C/groups,R,S].

    One product a sample, summed over samples as integers.
    """
    dtype = exact_dtype(geometry.out_height * geometry.out_width * x_top * g_top)
    total = torch.zeros(geometry.weight_shape, dtype=torch.int64, device=x.device)
    for part in _slabs(x.shape[0], geometry):
        columns = _windows(x[part].to(dtype), geometry)
        rows = g[part].to(dtype).flatten(2)
        if geometry.groups > 1:
            columns = columns.unflatten(1, (geometry.channels, -1))
            sums = _product(columns, rows[..., None])
        else:
            sums = _product(rows, columns.transpose(1, 2))
        total += sums.to(torch.int64).sum(0).reshape(geometry.weight_shape)
    return total
