# SPDX-License-Identifier: Apache-2.0
"""The contract's convolutions as int8 matrix products with int32 sums: exact on every device.

Tensors have their channels last, [N,H,W,C]. Windows are copied out as matrices and multiplied by
`torch._int_mm` (int8 x int8 -> int32; the tensor cores' integers on a GPU), never given to a
convolution routine. A 16-bit operand is two bytes, v = 256*high + low + 128 with both in
[-128, 127]; the 128 is made good with a sum of the other operand. Products of bytes are at most
2^14, so that sums of fewer than 2^17 of them fit int32; longer ones are split.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from ...device.geometry import Geometry

Tensor = torch.Tensor

TERMS = (1 << 17) - 1  # products of two bytes that fit int32
CHUNK = 1 << 16  # positions of a weight gradient's partial sum


def check(geometry: Geometry) -> None:
    """Raise ValueError for a geometry whose sums the products here cannot hold."""
    r, s = geometry.kernel
    if geometry.padding >= min(r, s):
        raise ValueError(f"padding: {geometry.padding} given, expected below {min(r, s)}")
    terms = r * s * max(geometry.channels, geometry.filters)
    if terms > TERMS // 2:  # a rounding half of up to 2^29 is added to a forward sum
        raise ValueError(f"a sum of {terms} products, expected at most {TERMS // 2}")


# ---- weights as matrices --------------------------------------------------------------------


def forward_matrix(w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """w [K,C/groups,R,S] -> [K, R*S*C] for `convolve` (depthwise: [R*S, C])."""
    if geometry.groups > 1:
        return w.reshape(geometry.filters, -1).T
    return w.transpose(0, 2, 3, 1).reshape(geometry.filters, -1)


def backward_matrix(w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """w [K,C/groups,R,S] -> [C, R*S*K], turned round, for `input_gradient` (depthwise: [R*S,C])."""
    turned = w[:, :, ::-1, ::-1]
    if geometry.groups > 1:
        return turned.reshape(geometry.filters, -1).T
    return turned.transpose(1, 2, 3, 0).reshape(geometry.channels, -1)


# ---- products -------------------------------------------------------------------------------


def _up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def product(a: Tensor, b: Tensor) -> Tensor:
    """int8 a [M, T] and b [N, T] -> a @ b.T, int32 [M, N]; T below 2^17.

    Padded to what the GPU's routine takes: more than 16 rows, the rest in multiples.
    """
    (m, t), n = a.shape, b.shape[0]
    rows, terms, columns = max(m, 32), _up(t, 16), _up(n, 8)
    if (rows, terms) != (m, t):
        a = F.pad(a, (0, terms - t, 0, rows - m))
    if (columns, terms) != (n, t):
        b = F.pad(b, (0, terms - t, 0, columns - n))
    return torch._int_mm(a.contiguous(), b.contiguous().t())[:m, :n]


def split(v: Tensor) -> tuple[Tensor, Tensor]:
    """int16 v -> int8 (high, low) with v = 256*high + low + 128."""
    return (v >> 8).to(torch.int8), ((v & 255) - 128).to(torch.int8)


def _windows(padded: Tensor, kernel: tuple[int, int], stride: int) -> Tensor:
    """View [N,P,Q,R,S,C] of padded [N,H,W,C]."""
    windows = padded.unfold(1, kernel[0], stride).unfold(2, kernel[1], stride)
    return windows.permute(0, 1, 2, 4, 5, 3)


def _padded(x: Tensor, padding: int) -> Tensor:
    return F.pad(x, (0, 0, padding, padding, padding, padding)) if padding else x


def _depthwise(padded: Tensor, w: Tensor, geometry: Geometry, stride: int) -> Tensor:
    """Sum over taps of integers padded [N,H,W,C] x w [R*S,C] -> int32."""
    windows = _windows(padded, geometry.kernel, stride)
    factors = w.to(torch.int32)
    total: Tensor | None = None
    for i in range(geometry.kernel[0]):
        for j in range(geometry.kernel[1]):
            part = windows[:, :, :, i, j] * factors[i * geometry.kernel[1] + j]
            total = part if total is None else total + part
    assert total is not None
    return total


def convolve(x: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    """x int8 [N,H,W,C], w int8 from `forward_matrix` -> int32 [N,P,Q,K]."""
    padded = _padded(x, geometry.padding)
    if geometry.groups > 1:
        return _depthwise(padded, w, geometry, geometry.stride)
    columns = _windows(padded, geometry.kernel, geometry.stride).reshape(-1, w.shape[1])
    size = (geometry.out_height, geometry.out_width, geometry.filters)
    return product(columns, w).reshape(-1, *size)


def _spaced(g: Tensor, geometry: Geometry) -> Tensor:
    """g [N,P,Q,K] with zeros around and between, so that its windows give [N,H,W,...]."""
    (r, s), step, pad = geometry.kernel, geometry.stride, geometry.padding
    n, p, q, k = g.shape
    top, left = r - 1 - pad, s - 1 - pad
    height, width = geometry.height + r - 1, geometry.width + s - 1
    if step == 1:
        return F.pad(g, (0, 0, left, width - left - q, top, height - top - p))
    spaced = g.new_zeros(n, height, width, k)
    spaced[:, top : top + step * p : step, left : left + step * q : step] = g
    return spaced


def input_gradient(g: Tensor, w: Tensor, geometry: Geometry) -> Tensor:
    """g int8 or int16 [N,P,Q,K], w int8 from `backward_matrix` -> int64 [N,H,W,C]."""
    spaced = _spaced(g, geometry)
    if geometry.groups > 1:  # |g * w| < 2^22 and at most 49 taps: below 2^28
        return _depthwise(spaced, w, geometry, 1).to(torch.int64)
    size = (geometry.height, geometry.width, geometry.channels)

    def one(part: Tensor) -> Tensor:
        columns = _windows(part, geometry.kernel, 1).reshape(-1, w.shape[1])
        return product(columns, w)

    if g.dtype == torch.int8:
        return one(spaced).to(torch.int64).reshape(-1, *size)
    high, low = split(spaced)
    constant = 128 * w.sum(1, dtype=torch.int64)
    return (256 * one(high).to(torch.int64) + one(low) + constant).reshape(-1, *size)


def weight_gradient(x: Tensor, g: Tensor, geometry: Geometry) -> Tensor:
    """x int8 [N,H,W,C], g int16 [N,P,Q,K] -> int64 [K,C/groups,R,S]."""
    (r, s), c, k = geometry.kernel, geometry.channels, geometry.filters
    windows = _windows(_padded(x, geometry.padding), geometry.kernel, geometry.stride)
    if geometry.groups > 1:
        taps = [
            (windows[:, :, :, i, j] * g.to(torch.int32)).sum((0, 1, 2), dtype=torch.int64)
            for i in range(r)
            for j in range(s)
        ]
        return torch.stack(taps, 1).reshape(geometry.weight_shape)
    columns = windows.permute(3, 4, 5, 0, 1, 2).reshape(r * s * c, -1)
    high, low = split(g.reshape(-1, k).t())
    ones = torch.ones_like(high[:1])
    rows = torch.cat((high, low, ones))
    total: Tensor | None = None
    for start in range(0, rows.shape[1], CHUNK):
        part = slice(start, start + CHUNK)
        sums = product(columns[:, part], rows[:, part]).to(torch.int64)
        total = sums if total is None else total + sums
    assert total is not None
    exact = 256 * total[:, :k] + total[:, k : 2 * k] + 128 * total[:, 2 * k :]
    return exact.reshape(r, s, c, k).permute(3, 2, 0, 1)
