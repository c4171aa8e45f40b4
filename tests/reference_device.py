# SPDX-License-Identifier: Apache-2.0
"""Every device operation in slow, obvious int64 NumPy, from the docstrings of device/base.py.

It shares no code with the package's devices: only the result tuples are theirs. Divisions round by
`//` (towards minus infinity) instead of shifts, convolutions walk over kernel positions.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from e2train.device import Convolved, Geometry, Peaked, PsgResult

Array = np.ndarray


def rounded(v: Array, shift: int) -> Array:
    """Nearest integer to v / 2^shift, halves up."""
    v = np.asarray(v, np.int64)
    return v * 2**-shift if shift < 0 else (2 * v + 2**shift) // 2 ** (shift + 1)


def clipped(v: Array, bits: int) -> Array:
    return np.maximum(np.minimum(v, 2 ** (bits - 1) - 1), -(2 ** (bits - 1)))


def peak_of(v: Array) -> int:
    return int(np.max(np.abs(v))) if v.size else 0


def let_through(output: Array, ceiling: int | None) -> Array:
    return (output > 0) & (np.ones(output.shape, bool) if ceiling is None else output < ceiling)


def per_channel(v: Array) -> Array:
    return np.asarray(v, np.int64).reshape(1, -1, 1, 1)


def top_bits(v: Array, bits: int, msb: int) -> Array:
    top = 2 ** (msb - 1) - 1
    return np.maximum(np.minimum(rounded(v, bits - msb), top), -top)


class _Taps:
    """The input positions that meet kernel position (r, s), for all outputs at once."""

    def __init__(self, geometry: Geometry) -> None:
        self.g = geometry

    def padded(self, x: Array) -> Array:
        p, (n, c, h, w) = self.g.padding, x.shape
        out = np.zeros((n, c, h + 2 * p, w + 2 * p), np.int64)
        out[:, :, p : p + h, p : p + w] = x
        return out

    def __iter__(self) -> Any:
        step, rows, columns = self.g.stride, self.g.out_height, self.g.out_width
        for r in range(self.g.kernel[0]):
            for s in range(self.g.kernel[1]):
                window = (
                    slice(None),
                    slice(None),
                    slice(r, r + step * (rows - 1) + 1, step),
                    slice(s, s + step * (columns - 1) + 1, step),
                )
                yield r, s, window


def convolved(x: Array, w: Array, geometry: Geometry) -> Array:
    taps, w = _Taps(geometry), w.astype(np.int64)
    padded = taps.padded(x)
    out = np.zeros((len(x), geometry.filters, geometry.out_height, geometry.out_width), np.int64)
    for r, s, window in taps:
        if geometry.groups == 1:
            out += np.tensordot(padded[window], w[:, :, r, s], axes=(1, 1)).transpose(0, 3, 1, 2)
        else:
            out += padded[window] * per_channel(w[:, 0, r, s])
    return out


def input_gradient(g: Array, w: Array, geometry: Geometry) -> Array:
    taps, g, w = _Taps(geometry), g.astype(np.int64), w.astype(np.int64)
    size = (len(g), geometry.channels, geometry.height, geometry.width)
    back = taps.padded(np.zeros(size, np.int64))
    for r, s, window in taps:
        if geometry.groups == 1:
            back[window] += np.tensordot(g, w[:, :, r, s], axes=(1, 0)).transpose(0, 3, 1, 2)
        else:
            back[window] += g * per_channel(w[:, 0, r, s])
    p = geometry.padding
    return back[:, :, p : p + geometry.height, p : p + geometry.width]


def weight_gradient(x: Array, g: Array, geometry: Geometry) -> Array:
    taps, g = _Taps(geometry), g.astype(np.int64)
    padded = taps.padded(x)
    out = np.zeros(geometry.weight_shape, np.int64)
    for r, s, window in taps:
        if geometry.groups == 1:
            out[:, :, r, s] = np.tensordot(g, padded[window], axes=((0, 2, 3), (0, 2, 3)))
        else:
            out[:, 0, r, s] = (g * padded[window]).sum(axis=(0, 2, 3))
    return out


def predicted_signs(low: Array, full: Array, beta_q: int) -> PsgResult:
    """Paper eq. 2, weight by weight in Python integers."""
    top = peak_of(low)
    sign, sure = np.zeros(low.shape, np.int8), np.zeros(low.shape, bool)
    for at, m in np.ndenumerate(low):
        m = int(m)
        sure[at] = m != 0 and abs(m) * 65536 >= beta_q * top
        decider = m if sure[at] else int(full[at])
        sign[at] = (decider > 0) - (decider < 0)
    return PsgResult(sign, sure, top)


class ReferenceDevice:
    """The protocol of `e2train.device.Device` on int64 arithmetic; a tensor is a NumPy array."""

    name = "reference"

    # ---- pinned operations that the network uses ------------------------------------------------

    def conv_forward(
        self, x: Array, w: Array, *, stride: int = 1, padding: int = 0, groups: int = 1
    ) -> Array:
        k, _, r, s = w.shape
        geometry = Geometry(*x.shape[1:], k, (r, s), stride, padding, groups)
        return convolved(x, w, geometry).astype(np.int32)

    # ---- tensors --------------------------------------------------------------------------------

    def put(self, array: Array) -> Array:
        return array.copy()

    def get(self, tensor: Array) -> Array:
        return tensor.copy()

    def take(self, tensor: Array, samples: Array) -> Array:
        return np.stack([tensor[i] for i in samples])

    def merge(self, base: Array, samples: Array, part: Array) -> Array:
        out = base.copy()
        for row, i in enumerate(samples):
            out[i] = part[row]
        return out

    # ---- forward --------------------------------------------------------------------------------

    def narrow(self, stream: Array, shift: int) -> Array:
        return clipped(rounded(stream, shift), 8).astype(np.int8)

    def convolve(self, x: Array, w: Array, geometry: Geometry, shift: int) -> Convolved:
        accumulator = convolved(x, w, geometry)
        assert peak_of(accumulator) < 2**31, "the forward accumulator has 32 bits"
        y = clipped(rounded(accumulator, shift), 16)
        total, squares = y.sum(axis=(0, 2, 3)), (y**2).sum(axis=(0, 2, 3))
        return Convolved(y.astype(np.int16), peak_of(accumulator), total, squares)

    def normalise(
        self,
        y: Array,
        multiplier: Array,
        offset: Array,
        shift: int,
        *,
        residual: Array | None = None,
        rectify: bool = False,
        ceiling: int | None = None,
        bits: int = 8,
    ) -> Peaked:
        assert 1 <= shift <= 30
        assert peak_of(multiplier) < 2**15
        assert peak_of(offset) + 2 ** (shift - 1) < 2**30
        v = rounded(y.astype(np.int64) * per_channel(multiplier) + per_channel(offset), shift)
        if residual is not None:
            v = v + residual.astype(np.int64)
        if rectify:
            v = np.maximum(v, 0)
        if ceiling is not None:
            v = np.minimum(v, ceiling)
        return Peaked(clipped(v, bits).astype(np.int8 if bits == 8 else np.int16), peak_of(v))

    def shortcut_pad(self, stream: Array, stride: int, channels: int) -> Array:
        kept = stream[:, :, ::stride, ::stride]
        out = np.zeros((len(kept), channels, *kept.shape[2:]), stream.dtype)
        first = (channels - kept.shape[1]) // 2
        out[:, first : first + kept.shape[1]] = kept
        return out

    def pool(self, stream: Array) -> Array:
        return stream.astype(np.int64).sum(axis=3).sum(axis=2)

    def pool_grid(self, stream: Array, points: int) -> Array:
        height, width = stream.shape[2:]
        rows = range(0, height, -(-height // points))
        columns = range(0, width, -(-width // points))
        out = np.zeros(stream.shape[:2], np.int64)
        for i in rows:
            for j in columns:
                out += stream[:, :, i, j]
        return out

    # ---- backward -------------------------------------------------------------------------------

    def mask(self, g: Array, output: Array, ceiling: int | None) -> Array:
        return (g * let_through(output, ceiling)).astype(np.int16)

    def gradient_sums(self, g: Array, y: Array) -> tuple[Array, Array]:
        g, y = g.astype(np.int64), y.astype(np.int64)
        return g.sum(axis=(0, 2, 3)), (g * y).sum(axis=(0, 2, 3))

    def normalise_backward(
        self, g: Array, y: Array, a: Array, b: Array, c: Array, shift: int
    ) -> Peaked:
        assert 1 <= shift <= 30
        assert peak_of(a) < 2**14 and peak_of(b) < 2**14
        assert peak_of(c) + 2 ** (shift - 1) < 2**30
        exact = g.astype(np.int64) * per_channel(a) + y.astype(np.int64) * per_channel(b)
        v = rounded(exact + per_channel(c), shift)
        return Peaked(clipped(v, 16).astype(np.int16), peak_of(v))

    def input_gradient(
        self,
        g: Array,
        w: Array,
        geometry: Geometry,
        shift: int,
        *,
        output: Array | None = None,
        ceiling: int | None = None,
        residual: Array | None = None,
        g_bits: int = 16,
    ) -> Peaked:
        assert -15 <= shift <= 47
        if g_bits != 16:
            g = clipped(rounded(g, 16 - g_bits), g_bits)
        v = rounded(input_gradient(g, w, geometry), shift)
        if output is not None:
            v = v * let_through(output, ceiling)
        if residual is not None:
            v = v + residual.astype(np.int64)
        return Peaked(clipped(v, 16).astype(np.int16), peak_of(v))

    def weight_gradient(self, x: Array, g: Array, geometry: Geometry) -> Array:
        return weight_gradient(x, g, geometry)

    def psg_gradient(
        self, x: Array, g: Array, geometry: Geometry, beta_q: int, x_msb: int, g_msb: int
    ) -> PsgResult:
        low = weight_gradient(top_bits(x, 8, x_msb), top_bits(g, 16, g_msb), geometry)
        return predicted_signs(low, weight_gradient(x, g, geometry), beta_q)

    def gate_products(self, g: Array, after: Array, before: Array) -> Array:
        products = g.astype(np.int64) * (after.astype(np.int64) - before.astype(np.int64))
        return products.reshape(len(g), -1).sum(axis=1)

    def shortcut_pad_backward(
        self, g: Array, stride: int, channels: int, height: int, width: int
    ) -> Array:
        out = np.zeros((len(g), channels, height, width), np.int16)
        first = (g.shape[1] - channels) // 2
        for c in range(channels):
            out[:, c, ::stride, ::stride] = g[:, first + c]
        return out

    def add(self, a: Array, b: Array) -> Array:
        return clipped(a.astype(np.int64) + b.astype(np.int64), 16).astype(np.int16)

    def spread(self, g: Array, height: int, width: int) -> Array:
        out = np.empty((*g.shape, height, width), np.int16)
        out[:] = g[:, :, None, None]
        return out
