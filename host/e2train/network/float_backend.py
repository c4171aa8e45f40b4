# SPDX-License-Identifier: Apache-2.0
"""The float32 tensor operations of the baselines, on torch where there is one and on NumPy."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np

from ..device.emulator import im2col
from ..device.geometry import Geometry

Array = Any  # numpy.ndarray or torch.Tensor, float32 [N,C,H,W]
EPSILON = 1e-5


class FloatBackend(Protocol):
    """What differs between NumPy and torch; the rest is written with operators common to both."""

    def put(self, array: np.ndarray) -> Array:
        """A float32 NumPy array on the backend."""

    def get(self, array: Array) -> np.ndarray:
        """Back to NumPy."""

    def take(self, array: Array, samples: np.ndarray) -> Array:
        """Rows at the int64 indices."""

    def merge(self, base: Array, samples: np.ndarray, part: Array) -> Array:
        """A copy of `base` with rows replaced."""

    def where(self, condition: Array, array: Array) -> Array:
        """The array where the condition holds, else 0."""

    def clip(self, array: Array, low: float | None, high: float | None) -> Array:
        """Clipped values."""

    def convolve(self, x: Array, w: Array, geometry: Geometry) -> Array:
        """x * w -> y."""

    def input_gradient(self, g: Array, w: Array, geometry: Geometry) -> Array:
        """Gradient of x."""

    def weight_gradient(self, x: Array, g: Array, geometry: Geometry) -> np.ndarray:
        """Gradient of w, as NumPy."""

    def normalise(
        self, y: Array, gamma: np.ndarray, beta: np.ndarray
    ) -> tuple[Array, np.ndarray, np.ndarray]:
        """Batch norm with batch statistics: z, mean [K], biased variance [K]."""

    def normalise_backward(
        self, g: Array, y: Array, gamma: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[Array, np.ndarray, np.ndarray]:
        """Gradients of y, gamma and beta."""

    def pad_channels(self, array: Array, before: int, after: int) -> Array:
        """Zero channels around."""

    def scatter_strided(
        self, g: Array, stride: int, first: int, channels: int, size: tuple[int, int]
    ) -> Array:
        """`channels` channels of g from `first`, at every `stride`-th position of zeros."""


def _vector(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, np.float32)[:, None, None]


class NumpyFloat:
    """float32 on NumPy."""

    def put(self, array: np.ndarray) -> Array:
        return np.asarray(array, np.float32)

    def get(self, array: Array) -> np.ndarray:
        return np.asarray(array)

    def take(self, array: Array, samples: np.ndarray) -> Array:
        return array[samples]

    def merge(self, base: Array, samples: np.ndarray, part: Array) -> Array:
        merged = base.copy()
        merged[samples] = part
        return merged

    def where(self, condition: Array, array: Array) -> Array:
        return np.where(condition, array, np.float32(0))

    def clip(self, array: Array, low: float | None, high: float | None) -> Array:
        return np.clip(array, low, high)

    def convolve(self, x: Array, w: Array, geometry: Geometry) -> Array:
        return im2col.convolve(x, w, geometry)

    def input_gradient(self, g: Array, w: Array, geometry: Geometry) -> Array:
        return im2col.convolve_input_gradient(g, w, geometry)

    def weight_gradient(self, x: Array, g: Array, geometry: Geometry) -> np.ndarray:
        return im2col.convolve_weight_gradient(x, g, geometry)

    def normalise(
        self, y: Array, gamma: np.ndarray, beta: np.ndarray
    ) -> tuple[Array, np.ndarray, np.ndarray]:
        mean, variance = y.mean(axis=(0, 2, 3)), y.var(axis=(0, 2, 3))
        slope = gamma / np.sqrt(variance + np.float32(EPSILON))
        return (y - _vector(mean)) * _vector(slope) + _vector(beta), mean, variance

    def normalise_backward(
        self, g: Array, y: Array, gamma: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[Array, np.ndarray, np.ndarray]:
        inverse = 1.0 / np.sqrt(variance + np.float32(EPSILON))
        y_hat = (y - _vector(mean)) * _vector(inverse)
        g_gamma, g_beta = (g * y_hat).sum(axis=(0, 2, 3)), g.sum(axis=(0, 2, 3))
        count = y.shape[0] * y.shape[2] * y.shape[3]
        centred = g - _vector(g_beta / count) - y_hat * _vector(g_gamma / count)
        return centred * _vector(gamma * inverse), g_gamma, g_beta

    def pad_channels(self, array: Array, before: int, after: int) -> Array:
        return np.pad(array, ((0, 0), (before, after), (0, 0), (0, 0)))

    def scatter_strided(
        self, g: Array, stride: int, first: int, channels: int, size: tuple[int, int]
    ) -> Array:
        back = np.zeros((len(g), channels, *size), np.float32)
        back[:, :, ::stride, ::stride] = g[:, first : first + channels]
        return back


class TorchFloat:
    """float32 on torch, channels last; gradients by explicit calls, without autograd."""

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.place = "cuda" if torch.cuda.is_available() else "cpu"
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False

    def put(self, array: np.ndarray) -> Array:
        tensor = self.torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(self.place)
        if tensor.dim() == 4:
            return tensor.contiguous(memory_format=self.torch.channels_last)
        return tensor

    def get(self, array: Array) -> np.ndarray:
        return array.cpu().numpy()

    def _index(self, samples: np.ndarray) -> Any:
        return self.torch.from_numpy(samples).to(self.place)

    def take(self, array: Array, samples: np.ndarray) -> Array:
        return array.index_select(0, self._index(samples))

    def merge(self, base: Array, samples: np.ndarray, part: Array) -> Array:
        return base.index_copy(0, self._index(samples), part)

    def where(self, condition: Array, array: Array) -> Array:
        return array * condition

    def clip(self, array: Array, low: float | None, high: float | None) -> Array:
        return array.clamp(low, high)

    def convolve(self, x: Array, w: Array, geometry: Geometry) -> Array:
        return self.torch.conv2d(
            x, w, None, geometry.stride, geometry.padding, groups=geometry.groups
        )

    def _backward(self, g: Array, x: Array, w: Array, geometry: Geometry, which: int) -> Array:
        wanted = [index == which for index in range(3)]
        strides, paddings = [geometry.stride] * 2, [geometry.padding] * 2
        return self.torch.ops.aten.convolution_backward(
            g, x, w, None, strides, paddings, [1, 1], False, [0, 0], geometry.groups, wanted
        )[which]

    def input_gradient(self, g: Array, w: Array, geometry: Geometry) -> Array:
        shape = (g.shape[0], geometry.channels, geometry.height, geometry.width)
        return self._backward(g, g.new_empty(1).expand(shape), w, geometry, 0)

    def weight_gradient(self, x: Array, g: Array, geometry: Geometry) -> np.ndarray:
        w = g.new_empty(1).expand(geometry.weight_shape)
        return self.get(self._backward(g, x, w, geometry, 1).contiguous())

    def normalise(
        self, y: Array, gamma: np.ndarray, beta: np.ndarray
    ) -> tuple[Array, np.ndarray, np.ndarray]:
        z, mean, inverse = self.torch.native_batch_norm(
            y, self.put(gamma), self.put(beta), None, None, True, 0.0, EPSILON
        )
        deviation = 1.0 / self.get(inverse)
        variance = np.maximum(deviation * deviation - np.float32(EPSILON), 0)
        return z, self.get(mean), variance

    def normalise_backward(
        self, g: Array, y: Array, gamma: np.ndarray, mean: np.ndarray, variance: np.ndarray
    ) -> tuple[Array, np.ndarray, np.ndarray]:
        inverse = 1.0 / np.sqrt(variance + np.float32(EPSILON))
        dy, g_gamma, g_beta = self.torch.ops.aten.native_batch_norm_backward(
            g,
            y,
            self.put(gamma),
            None,
            None,
            self.put(mean),
            self.put(inverse),
            True,
            EPSILON,
            [True, True, True],
        )
        return dy, self.get(g_gamma), self.get(g_beta)

    def pad_channels(self, array: Array, before: int, after: int) -> Array:
        return self.torch.nn.functional.pad(array, (0, 0, 0, 0, before, after))

    def scatter_strided(
        self, g: Array, stride: int, first: int, channels: int, size: tuple[int, int]
    ) -> Array:
        back = g.new_zeros((g.shape[0], channels, *size))
        back[:, :, ::stride, ::stride] = g[:, first : first + channels]
        return back


def float_backend(name: str = "auto") -> FloatBackend:
    """`torch` (CUDA where there is one), `numpy`, or `auto`: torch where it is installed."""
    if name == "numpy" or (name == "auto" and find_spec("torch") is None):
        return NumpyFloat()
    return TorchFloat()
