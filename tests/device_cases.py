# SPDX-License-Identifier: Apache-2.0
"""Devices to compare, and operands for them: geometries and values with their extremes."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import strategies as st

from csim_device import csim
from e2train.device import Device, Geometry
from e2train.device.emulator.library import NativeUnavailable
from e2train.device.emulator.native import NativeEmulator
from engine_parts import emulator

# The kernels as this processor has them, with plain vectors, and as processors without
# matrix tiles, VNNI or AVX-512 have them; quick to build, as their speed matters to no test.
NATIVE_FLAGS = {
    "native, plain": ("-O1",),
    "native, no tiles": ("-O1", "-march=native", "-mno-amx-int8"),
    "native, no VNNI": ("-O1", "-march=native", "-mno-avx512vnni"),
    "native, no AVX-512": ("-O1", "-march=native", "-mno-avx512f"),
}
DEVICES = ("numpy", "torch", "native", "native, 3 threads", *NATIVE_FLAGS, "csim")

# Around the 16 samples that the accelerator takes at once.
BATCHES = st.sampled_from((1, 2, 5, 15, 16, 17, 33))
SEEDS = st.integers(0, 2**32 - 1)

LIMITS = {np.int8: (-128, 127), np.int16: (-32768, 32767)}


@cache
def device(name: str) -> Device:
    """The device called `name` in DEVICES, csim with its memory watched; skips without it."""
    if name == "csim":
        return csim()
    if "," not in name:
        return emulator(name)
    try:
        if name == "native, 3 threads":
            return NativeEmulator(threads=3)
        return NativeEmulator(threads=1, flags=NATIVE_FLAGS[name])
    except NativeUnavailable as error:
        pytest.skip(str(error))


@st.composite
def geometries(draw: Any) -> Geometry:
    """Any geometry of the contract: 1x1 to 7x7, stride 1 and 2, any padding, dense or depthwise."""
    depthwise = draw(st.booleans())
    channels = draw(st.sampled_from((1, 2, 3, 5, 8, 16, 17, 33)))
    filters = channels if depthwise else draw(st.sampled_from((1, 2, 7, 16, 24, 33, 48)))
    kernel = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    padding = draw(st.integers(0, max(kernel) - 1))
    height, width = (draw(st.integers(max(1, side - 2 * padding), 11)) for side in kernel)
    stride = draw(st.sampled_from((1, 2)))
    return Geometry(
        channels, height, width, filters, kernel, stride, padding, channels if depthwise else 1
    )


class Values:
    """Random integers, often at the limits of their type."""

    def __init__(self, seed: int) -> None:
        self.random = np.random.default_rng(seed)

    def array(self, shape: tuple[int, ...], dtype: type, low: int | None = None) -> np.ndarray:
        """Uniform values, limits only, near zero, or one limit throughout."""
        bottom, top = LIMITS[dtype]
        bottom = bottom if low is None else low
        style = self.random.integers(5)
        if style == 0:
            return np.full(shape, self.random.choice((bottom, top)), dtype)
        if style == 1:
            return self.random.choice((bottom, top), shape).astype(dtype)
        if style == 2:
            return self.random.choice((bottom, -127, -1, 0, 1, top), shape).astype(dtype)
        if style == 3:
            return self.random.integers(-3, 4, shape, dtype)
        return self.random.integers(bottom, top, shape, dtype, endpoint=True)

    def x(self, geometry: Geometry, batch: int) -> np.ndarray:
        return self.array((batch, geometry.channels, geometry.height, geometry.width), np.int8)

    def w(self, geometry: Geometry) -> np.ndarray:
        return self.array(geometry.weight_shape, np.int8, low=-127)

    def g(self, geometry: Geometry, batch: int) -> np.ndarray:
        shape = (batch, geometry.filters, geometry.out_height, geometry.out_width)
        return self.array(shape, np.int16)

    def stream(self, *shape: int) -> np.ndarray:
        return self.array(shape, np.int16)

    def factors(self, channels: int, limit: int) -> np.ndarray:
        """int32 factors of magnitude up to `limit`, often exactly that."""
        values = self.random.integers(-limit, limit, channels, np.int32, endpoint=True)
        extreme = self.random.choice((-limit, limit), channels).astype(np.int32)
        return np.where(self.random.random(channels) < 0.4, extreme, values)

    def chance(self, probability: float) -> bool:
        return bool(self.random.random() < probability)


class Lowest(Values):
    """Everything at the value of largest magnitude."""

    def array(self, shape: tuple[int, ...], dtype: type, low: int | None = None) -> np.ndarray:
        return np.full(shape, LIMITS[dtype][0] if low is None else low, dtype)
