# SPDX-License-Identifier: Apache-2.0
"""Convolution and its two gradients as NumPy matrix products, in the dtype of the operands.

Used with float64 for exact integers and with float32 for the float baselines on NumPy.
"""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from ..geometry import Geometry


def _windows(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """View [N,C,P,Q,R,S] of the padded input x [N,C,H,W]."""
    pad = geometry.padding
    padded = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    # NumPy 1.26, the board's, types `axis` as one number.
    windows = sliding_window_view(padded, geometry.kernel, axis=(2, 3))  # type: ignore[call-overload]
    return windows[:, :, :: geometry.stride, :: geometry.stride]


def _columns(x: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Matrix [N*P*Q, C*R*S] of all windows."""
    windows = _windows(x, geometry).transpose(0, 2, 3, 1, 4, 5)
    return windows.reshape(-1, geometry.channels * geometry.kernel[0] * geometry.kernel[1])


def convolve(x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """x [N,C,H,W], w [K,C/groups,R,S] -> y [N,K,P,Q]."""
    if geometry.groups > 1:
        return np.einsum("ncpqrs,crs->ncpq", _windows(x, geometry), w[:, 0], optimize=True)
    rows = _columns(x, geometry) @ w.reshape(geometry.filters, -1).T
    out = rows.reshape(x.shape[0], geometry.out_height, geometry.out_width, geometry.filters)
    return out.transpose(0, 3, 1, 2)


def convolve_weight_gradient(x: np.ndarray, g: np.ndarray, geometry: Geometry) -> np.ndarray:
    """x [N,C,H,W], g [N,K,P,Q] -> weight gradient [K,C/groups,R,S]."""
    if geometry.groups > 1:
        windows = _windows(x, geometry)
        return np.einsum("ncpqrs,ncpq->crs", windows, g, optimize=True)[:, None]
    rows = g.transpose(0, 2, 3, 1).reshape(-1, geometry.filters)
    return (rows.T @ _columns(x, geometry)).reshape(geometry.weight_shape)


def convolve_input_gradient(g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
    """g [N,K,P,Q], w [K,C/groups,R,S] -> input gradient [N,C,H,W].

    Every kernel position adds its product into a strided view of the padded input gradient.
    """
    n, (r, s), pad = g.shape[0], geometry.kernel, geometry.padding
    p, q, step = geometry.out_height, geometry.out_width, geometry.stride
    height, width = geometry.height + 2 * pad, geometry.width + 2 * pad
    padded = np.zeros((n, geometry.channels, height, width), g.dtype)
    rows = g.transpose(0, 2, 3, 1).reshape(-1, geometry.filters)
    for i in range(r):
        for j in range(s):
            if geometry.groups > 1:
                part = g * w[:, 0, i, j][:, None, None]
            else:
                part = (rows @ w[:, :, i, j]).reshape(n, p, q, -1).transpose(0, 3, 1, 2)
            padded[:, :, i : i + step * p : step, j : j + step * q : step] += part
    return padded[:, :, pad : pad + geometry.height, pad : pad + geometry.width]
