# SPDX-License-Identifier: Apache-2.0
"""The fast emulator: the integer contract in C++ kernels on NumPy arrays.

A Tensor is a C-contiguous int8 or int16 array in memory order [N,H,W,C]: channels vary fastest, so
that a vector of channels is one load. Every operation is one pass over its tensors; convolutions
multiply 8- and 16-bit integers into 32-bit sums that are carried to 64 bits in time.
"""

from __future__ import annotations

import ctypes
import os

import numpy as np

from ...numerics.fixedpoint import round_shift, saturate
from ..address import address as _at
from ..base import Convolved, Device, Peaked, PsgResult, Tensor
from ..geometry import Geometry
from .library import GradientStore, NativeGeometry, describe, load
from .memory_pool import MemoryPool
from .numpy_emulator import decide_signs

NO_CEILING = 1 << 30  # above every 16-bit value


def available_threads() -> int:
    """OMP_NUM_THREADS where it is set, else the processors this process may use."""
    wanted = os.environ.get("OMP_NUM_THREADS", "")
    if wanted.isdigit() and int(wanted) > 0:
        return int(wanted)
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _int32(vector: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(vector, np.int32)


def _bits(tensor: np.ndarray) -> int:
    return tensor.dtype.itemsize * 8


def _native(geometry: Geometry, samples: int) -> NativeGeometry:
    return NativeGeometry(
        samples,
        geometry.channels,
        geometry.height,
        geometry.width,
        geometry.filters,
        *geometry.kernel,
        geometry.stride,
        geometry.padding,
        geometry.groups > 1,
        geometry.out_height,
        geometry.out_width,
    )


class NativeEmulator(Device):
    """Exact device on the C++ kernels. Results do not depend on `threads`."""

    def __init__(self, threads: int | None = None, flags: tuple[str, ...] | None = None) -> None:
        """`flags` builds the kernels with these compiler flags instead of the machine's own.

        Raises NativeUnavailable where the kernels cannot be built.
        """
        self._library = load(flags)
        self.threads = threads or available_threads()
        self._memory = MemoryPool()
        self.name = f"emulator (native: {describe(self._library)})"

    def close(self) -> None:
        self._memory.clear()

    # ---- tensors --------------------------------------------------------------------------------

    def put(self, array: np.ndarray) -> Tensor:
        return np.array(array.transpose(0, 2, 3, 1), order="C")

    def get(self, tensor: Tensor) -> np.ndarray:
        return np.ascontiguousarray(tensor.transpose(0, 3, 1, 2))

    def take(self, tensor: Tensor, samples: np.ndarray) -> Tensor:
        chosen = np.ascontiguousarray(samples, np.int64)
        out = self._memory.empty((len(chosen), *tensor.shape[1:]), tensor.dtype)
        size = tensor[:1].nbytes
        self._library.e2_take(_at(tensor), _at(chosen), len(chosen), size, _at(out), self.threads)
        return out

    def merge(self, base: Tensor, samples: np.ndarray, part: Tensor) -> Tensor:
        chosen = np.ascontiguousarray(samples, np.int64)
        out = self._memory.empty(base.shape, base.dtype)
        self._library.e2_merge(
            _at(base),
            _at(part),
            _at(chosen),
            len(chosen),
            len(base),
            base[:1].nbytes,
            _at(out),
            self.threads,
        )
        return out

    # ---- pinned operations ----------------------------------------------------------------------

    def _forward(self, x: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        tensor, weights = self.put(x), np.ascontiguousarray(w)
        native = _native(geometry, x.shape[0])
        out = self._memory.empty(self._out_shape(x.shape[0], geometry), np.int32)
        self._library.e2_forward(
            ctypes.byref(native), _at(tensor), _at(weights), _at(out), self.threads
        )
        return self.get(out)

    def _backward_input(self, g: np.ndarray, w: np.ndarray, geometry: Geometry) -> np.ndarray:
        return self.get(self._exact_input_gradient(self.put(g), w, geometry, 16))

    @staticmethod
    def _out_shape(samples: int, geometry: Geometry) -> tuple[int, int, int, int]:
        return samples, geometry.out_height, geometry.out_width, geometry.filters

    @staticmethod
    def _in_shape(samples: int, geometry: Geometry) -> tuple[int, int, int, int]:
        return samples, geometry.height, geometry.width, geometry.channels

    # ---- forward --------------------------------------------------------------------------------

    def narrow(self, stream: Tensor, shift: int) -> Tensor:
        out = self._memory.empty(stream.shape, np.int8)
        self._library.e2_narrow(_at(stream), stream.size, shift, _at(out), self.threads)
        return out

    def convolve(self, x: Tensor, w: np.ndarray, geometry: Geometry, shift: int) -> Convolved:
        native, weights = _native(geometry, x.shape[0]), np.ascontiguousarray(w)
        y = self._memory.empty(self._out_shape(x.shape[0], geometry), np.int16)
        total = np.empty(geometry.filters, np.int64)
        squares = np.empty(geometry.filters, np.int64)
        peak = self._library.e2_convolve(
            ctypes.byref(native),
            _at(x),
            _at(weights),
            shift,
            _at(y),
            _at(total),
            _at(squares),
            self.threads,
        )
        return Convolved(y, peak, total, squares)

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
        factors, offsets = _int32(multiplier), _int32(offset)
        out = self._memory.empty(y.shape, np.int8 if bits == 8 else np.int16)
        peak = self._library.e2_normalise(
            _at(y),
            y.size,
            y.shape[3],
            _at(factors),
            _at(offsets),
            shift,
            None if residual is None else _at(residual),
            0 if rectify else -(1 << 31),
            (1 << 31) - 1 if ceiling is None else ceiling,
            bits,
            _at(out),
            self.threads,
        )
        return Peaked(out, peak)

    def shortcut_pad(self, stream: Tensor, stride: int, channels: int) -> Tensor:
        n, height, width, narrow = stream.shape
        before = (channels - narrow) // 2
        out = self._memory.empty((n, -(-height // stride), -(-width // stride), channels), np.int16)
        self._library.e2_shortcut_pad(
            _at(stream), n, height, width, narrow, stride, before, channels, _at(out)
        )
        return out

    def pool(self, stream: Tensor) -> np.ndarray:
        return self._pool(stream, 1, 1)

    def pool_grid(self, stream: Tensor, points: int) -> np.ndarray:
        return self._pool(stream, *(-(-size // points) for size in stream.shape[1:3]))

    def _pool(self, stream: np.ndarray, row_step: int, column_step: int) -> np.ndarray:
        n, height, width, channels = stream.shape
        out = np.empty((n, channels), np.int64)
        self._library.e2_pool(
            _at(stream),
            n,
            height,
            width,
            channels,
            row_step,
            column_step,
            _at(out),
            self.threads,
        )
        return out

    # ---- backward -------------------------------------------------------------------------------

    def mask(self, g: Tensor, output: Tensor, ceiling: int | None) -> Tensor:
        out = self._memory.empty(g.shape, np.int16)
        top = NO_CEILING if ceiling is None else ceiling
        self._library.e2_mask(
            _at(g), _at(output), _bits(output), top, g.size, _at(out), self.threads
        )
        return out

    def gradient_sums(self, g: Tensor, y: Tensor) -> tuple[np.ndarray, np.ndarray]:
        channels = g.shape[3]
        total, products = np.empty(channels, np.int64), np.empty(channels, np.int64)
        self._library.e2_gradient_sums(
            _at(g),
            _at(y),
            g.size,
            channels,
            _at(total),
            _at(products),
            self.threads,
        )
        return total, products

    def normalise_backward(
        self, g: Tensor, y: Tensor, a: np.ndarray, b: np.ndarray, c: np.ndarray, shift: int
    ) -> Peaked:
        factors, slopes, offsets = _int32(a), _int32(b), _int32(c)
        out = self._memory.empty(g.shape, np.int16)
        peak = self._library.e2_normalise_backward(
            _at(g),
            _at(y),
            g.size,
            g.shape[3],
            _at(factors),
            _at(slopes),
            _at(offsets),
            shift,
            _at(out),
            self.threads,
        )
        return Peaked(out, peak)

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
        native, weights = _native(geometry, g.shape[0]), np.ascontiguousarray(w)
        store = GradientStore(
            shift,
            0 if output is None else _bits(output),
            NO_CEILING if ceiling is None else ceiling,
            None if output is None else _at(output),
            None if residual is None else _at(residual),
        )
        out = self._memory.empty(self._in_shape(g.shape[0], geometry), np.int16)
        peak = self._library.e2_input_gradient(
            ctypes.byref(native),
            _at(g),
            g_bits,
            _at(weights),
            ctypes.byref(store),
            _at(out),
            self.threads,
        )
        if peak >= 0:
            return Peaked(out, peak)
        # these weights could overflow 32 bits: 64-bit sums, stored by NumPy
        v = round_shift(self._exact_input_gradient(g, weights, geometry, g_bits), shift)
        if output is not None:
            v = np.where((output > 0) & (output < store.ceiling), v, 0)
        if residual is not None:
            v = v + residual
        peak = max(int(v.max(initial=0)), -int(v.min(initial=0)))
        return Peaked(saturate(v, 16).astype(np.int16), peak)

    def _exact_input_gradient(
        self, g: np.ndarray, w: np.ndarray, geometry: Geometry, g_bits: int
    ) -> np.ndarray:
        native, weights = _native(geometry, g.shape[0]), np.ascontiguousarray(w)
        out = np.zeros(self._in_shape(g.shape[0], geometry), np.int64)
        self._library.e2_input_gradient_exact(
            ctypes.byref(native), _at(g), g_bits, _at(weights), _at(out), self.threads
        )
        return out

    def weight_gradient(self, x: Tensor, g: Tensor, geometry: Geometry) -> np.ndarray:
        native = _native(geometry, x.shape[0])
        out = np.empty(geometry.weight_shape, np.int64)
        self._library.e2_weight_gradient(
            ctypes.byref(native), _at(x), _at(g), _at(out), self.threads
        )
        return out

    def psg_gradient(
        self, x: Tensor, g: Tensor, geometry: Geometry, beta_q: int, x_msb: int, g_msb: int
    ) -> PsgResult:
        native = _native(geometry, x.shape[0])
        full = np.empty(geometry.weight_shape, np.int64)
        predictor = np.empty(geometry.weight_shape, np.int64)
        self._library.e2_psg_gradients(
            ctypes.byref(native),
            _at(x),
            _at(g),
            x_msb,
            g_msb,
            _at(full),
            _at(predictor),
            self.threads,
        )
        return decide_signs(predictor, full, beta_q)

    def gate_products(self, g: Tensor, after: Tensor, before: Tensor) -> np.ndarray:
        n = g.shape[0]
        out = np.empty(n, np.int64)
        self._library.e2_gate_products(
            _at(g), _at(after), _at(before), n, g[:1].size, _at(out), self.threads
        )
        return out

    def shortcut_pad_backward(
        self, g: Tensor, stride: int, channels: int, height: int, width: int
    ) -> Tensor:
        n, wide = g.shape[0], g.shape[3]
        out = self._memory.empty((n, height, width, channels), np.int16)
        self._library.e2_shortcut_pad_backward(
            _at(g),
            n,
            height,
            width,
            channels,
            stride,
            (wide - channels) // 2,
            wide,
            _at(out),
        )
        return out

    def add(self, a: Tensor, b: Tensor) -> Tensor:
        out = self._memory.empty(a.shape, np.int16)
        self._library.e2_add(_at(a), _at(b), a.size, _at(out), self.threads)
        return out

    def spread(self, g: np.ndarray, height: int, width: int) -> Tensor:
        samples, channels = g.shape
        out = self._memory.empty((samples, height, width, channels), np.int16)
        np.copyto(out, g[:, None, None])
        return out
