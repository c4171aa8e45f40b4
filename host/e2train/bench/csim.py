# SPDX-License-Identifier: Apache-2.0
"""How fast C simulation computes each pass of a convolution."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..device.base import Device
from ..device.geometry import Geometry
from ..numerics.fixedpoint import quantise_beta
from ..rng import generator

LAYERS = {
    "ResNet 3x3, 16 channels, 32x32": Geometry(16, 32, 32, 16, (3, 3), 1, 1, 1),
    "ResNet 3x3, 64 channels, 8x8": Geometry(64, 8, 8, 64, (3, 3), 1, 1, 1),
    "MobileNetV2 1x1, 144 to 24, 32x32": Geometry(144, 32, 32, 24, (1, 1), 1, 0, 1),
    "MobileNetV2 depthwise 3x3, 144, 32x32": Geometry(144, 32, 32, 144, (3, 3), 1, 1, 144),
}
PASSES = ("forward", "input gradient", "weight gradient", "PSG")
BETA, X_MSB, G_MSB = 0.05, 4, 10
SHIFT = 8
RUNS = 3


@dataclass(frozen=True)
class Speed:
    """A pass of one layer: multiply-accumulates of the full pass over processor seconds."""

    layer: str
    name: str
    macs_per_second: float


def _steps(device: Device, geometry: Geometry, batch: int) -> dict[str, Callable[[], object]]:
    random = generator(0, "bench csim", 0)
    w = random.integers(-127, 128, geometry.weight_shape, np.int8)
    size = geometry.height, geometry.width
    x = random.integers(-128, 128, (batch, geometry.channels, *size), np.int8)
    out = geometry.out_height, geometry.out_width
    g = random.normal(0, 4096, (batch, geometry.filters, *out)).clip(-32768, 32767).astype(np.int16)
    x_tensor, g_tensor = device.put(x), device.put(g)
    beta_q = quantise_beta(BETA)
    return {
        "forward": lambda: device.convolve(x_tensor, w, geometry, SHIFT),
        "input gradient": lambda: device.input_gradient(g_tensor, w, geometry, SHIFT),
        "weight gradient": lambda: device.weight_gradient(x_tensor, g_tensor, geometry),
        "PSG": lambda: device.psg_gradient(x_tensor, g_tensor, geometry, beta_q, X_MSB, G_MSB),
    }


def speeds(device: Device, batch: int) -> Iterator[Speed]:
    """Every pass of every layer of LAYERS: the median of RUNS runs, in processor time."""
    for layer, geometry in LAYERS.items():
        for name, step in _steps(device, geometry, batch).items():
            taken = statistics.median(_seconds(step) for _ in range(RUNS))
            yield Speed(layer, name, batch * geometry.macs / taken)


def _seconds(step: Callable[[], object]) -> float:
    started = time.process_time()
    step()
    return time.process_time() - started
