# SPDX-License-Identifier: Apache-2.0
"""Argument checks of the pinned operations: ValueError names the argument and what was expected."""

from __future__ import annotations

import numpy as np

from .geometry import Geometry

MAX_TERMS = ((1 << 31) - 1) // (128 * 127)  # of a forward sum at extreme operands


def _array(name: str, value: np.ndarray, dtype: type, axes: str) -> None:
    if not isinstance(value, np.ndarray):
        raise ValueError(f"{name}: {type(value).__name__} given, expected a NumPy array {axes}")
    if value.dtype != dtype:
        raise ValueError(f"{name}: dtype {value.dtype} given, expected {np.dtype(dtype).name}")
    if value.ndim != 4:
        raise ValueError(f"{name}: {value.ndim} axes given, expected 4 {axes}")
    if 0 in value.shape:
        raise ValueError(f"{name}: shape {value.shape} is empty, expected every axis >= 1")


def _integer(name: str, value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise ValueError(f"{name}: {value!r} given, expected an integer")
    return int(value)


def _pair(name: str, value: object) -> tuple[int, int]:
    if not isinstance(value, (tuple, list)) or len(value) != 2:
        raise ValueError(f"{name}: {value!r} given, expected two integers")
    return _integer(name, value[0]), _integer(name, value[1])


def _weights(w: np.ndarray) -> None:
    _array("w", w, np.int8, "[K,C/groups,R,S]")
    if int(w.min()) < -127:
        raise ValueError("w: holds -128, expected weights in -127 to 127")


def _geometry(
    channels: int,
    size: tuple[int, int],
    filters: int,
    kernel: tuple[int, int],
    stride: object,
    padding: object,
    groups: object,
) -> Geometry:
    return Geometry(
        channels,
        *size,
        filters,
        kernel,
        _integer("stride", stride),
        _integer("padding", padding),
        _integer("groups", groups),
    )


def _channels_match(w: np.ndarray, geometry: Geometry) -> None:
    if w.shape != geometry.weight_shape:
        raise ValueError(f"w: shape {w.shape} given, expected {geometry.weight_shape}")


def _gradient_matches(g: np.ndarray, geometry: Geometry, batch: int) -> None:
    expected = (batch, geometry.filters, geometry.out_height, geometry.out_width)
    if g.shape != expected:
        raise ValueError(f"g: shape {g.shape} given, expected {expected}")


def forward(x: np.ndarray, w: np.ndarray, stride: int, padding: int, groups: int) -> Geometry:
    """Check the arguments of `conv_forward`."""
    _array("x", x, np.int8, "[N,C,H,W]")
    _weights(w)
    k, _, r, s = w.shape
    geometry = _geometry(x.shape[1], (x.shape[2], x.shape[3]), k, (r, s), stride, padding, groups)
    _channels_match(w, geometry)
    if w[0].size > MAX_TERMS:
        raise ValueError(
            f"w: {w[0].size} products a sum given, expected at most {MAX_TERMS} "
            "(the forward accumulator has 32 bits)"
        )
    return geometry


def backward_input(
    g: np.ndarray,
    w: np.ndarray,
    input_size: tuple[int, int],
    stride: int,
    padding: int,
    groups: int,
) -> Geometry:
    """Check the arguments of `conv_backward_input`."""
    _array("g", g, np.int16, "[N,K,P,Q]")
    _weights(w)
    k, c, r, s = w.shape
    size = _pair("input_size", input_size)
    channels = c * _integer("groups", groups)
    geometry = _geometry(channels, size, k, (r, s), stride, padding, groups)
    _gradient_matches(g, geometry, g.shape[0])
    return geometry


def backward_weight(
    x: np.ndarray,
    g: np.ndarray,
    kernel_size: tuple[int, int],
    stride: int,
    padding: int,
    groups: int,
) -> Geometry:
    """Check the arguments of `conv_backward_weight` and `psg_backward_weight`."""
    _array("x", x, np.int8, "[N,C,H,W]")
    _array("g", g, np.int16, "[N,K,P,Q]")
    kernel = _pair("kernel_size", kernel_size)
    size = (x.shape[2], x.shape[3])
    geometry = _geometry(x.shape[1], size, g.shape[1], kernel, stride, padding, groups)
    _gradient_matches(g, geometry, x.shape[0])
    return geometry


def psg(beta: float, x_msb_bits: int, g_msb_bits: int) -> None:
    """Check the predictor's settings."""
    if not isinstance(beta, (int, float)) or not 0 <= beta <= 1:
        raise ValueError(f"beta: {beta!r} given, expected 0 to 1")
    for name, value, bits in (("x_msb_bits", x_msb_bits, 8), ("g_msb_bits", g_msb_bits, 16)):
        if not 2 <= _integer(name, value) < bits:
            raise ValueError(f"{name}: {value} given, expected 2 to {bits - 1}")
