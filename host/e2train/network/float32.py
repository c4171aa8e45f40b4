# SPDX-License-Identifier: Apache-2.0
"""Plain float32 arithmetic: the baselines (32-bit SGD, SignSGD and whatever combines with them)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device.counter import Counter
from ..device.geometry import Geometry
from ..device.operations import (
    FLOAT_BITS,
    LOGITS,
    PIXELS,
    UNITS,
    Convolution,
    Processor,
    Vector,
)
from .arithmetic import Arithmetic, Gradients, RunningShare, grid_work, shortcut_work
from .float_backend import EPSILON, Array, FloatBackend
from .parameters import Parameters
from .spec import Block, NetworkSpec, Unit


@dataclass
class _Memory:
    """What a unit's backward pass needs of its forward pass."""

    x: Array
    weights: Array
    y: Array
    output: Array
    mean: np.ndarray
    variance: np.ndarray


class FloatArithmetic(Arithmetic):
    """float32 on a backend; a Value is the backend's own array."""

    stream_bits = FLOAT_BITS

    def __init__(
        self,
        backend: FloatBackend,
        counter: Counter,
        mean: tuple[int, ...],
        deviation: tuple[float, ...],
    ) -> None:
        self.backend = backend
        self.counter = counter
        self.running = RunningShare()
        self.mean = np.asarray(mean, np.float32)[:, None, None]
        self.deviation = np.asarray(deviation, np.float32)[:, None, None]
        self._memory: dict[str, _Memory] = {}
        self._weights: dict[str, Array] = {}

    def begin(self, spec: NetworkSpec, parameters: Parameters, batch: int, training: bool) -> None:
        self.spec, self.parameters, self.batch, self.training = spec, parameters, batch, training
        self._memory.clear()
        self._weights.clear()

    def state(self) -> dict[str, Any]:
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        return

    def _weight(self, name: str) -> Array:
        if name not in self._weights:
            self._weights[name] = self.backend.put(self.parameters[f"{name}.weight"])
        return self._weights[name]

    def _count(
        self, pass_: str, layer: str, geometry: Geometry, samples: int, fused: int = 0
    ) -> None:
        """A pass; `fused`: tensors that the store of an input gradient reads besides."""
        bits, exact = (FLOAT_BITS, FLOAT_BITS), pass_ == "forward" and layer == "classifier"
        extra = fused * (FLOAT_BITS,)
        self.counter.record(
            Convolution(pass_, layer, geometry, samples, bits, FLOAT_BITS, extra, exact)
        )

    def _count_unit(self, kind: str, unit: Unit, samples: int, read: int, written: int) -> None:
        """Work on a unit's output; `read`, `written`: tensors of its size."""
        size, channels = unit.geometry.output_size, unit.geometry.filters
        bits = read * FLOAT_BITS, written * FLOAT_BITS
        self.counter.record(Vector(kind, unit.name, samples, size, channels, *bits))

    # ---- forward --------------------------------------------------------------------------------

    def picture(self, images: np.ndarray) -> Array:
        self.counter.record(Processor(PIXELS, images.size))
        return self.backend.put((images - self.mean) / self.deviation)

    def samples(self, value: Array) -> int:
        return int(value.shape[0])

    def take(self, value: Array, samples: np.ndarray) -> Array:
        return self.backend.take(value, samples)

    def merge(self, base: Array, samples: np.ndarray, part: Array) -> Array:
        return self.backend.merge(base, samples, part)

    def shortcut(self, block: Block, stream: Array) -> Array:
        if block.shortcut == "identity":
            return stream
        first, last = block.units[0].geometry, block.units[-1].geometry
        samples = self.samples(stream)
        self.counter.record(shortcut_work(block, samples, last.output_size, FLOAT_BITS))
        kept = stream[:, :, :: first.stride, :: first.stride]
        before = (last.filters - first.channels) // 2
        return self.backend.pad_channels(kept, before, last.filters - first.channels - before)

    def block_input(self, block: Block, stream: Array) -> Array:
        return stream

    def _running(self, unit: Unit, y: Array) -> tuple[Array, np.ndarray, np.ndarray]:
        mean = self.parameters[f"{unit.name}.running_mean"]
        variance = self.parameters[f"{unit.name}.running_variance"]
        return self._normalised(unit, y, mean, variance), mean, variance

    def _normalised(self, unit: Unit, y: Array, mean: np.ndarray, variance: np.ndarray) -> Array:
        """Batch norm with given statistics, float32 [K]."""
        slope = self.parameters[f"{unit.name}.gamma"] / np.sqrt(variance + np.float32(EPSILON))
        offset = self.parameters[f"{unit.name}.beta"] - slope * mean
        put = self.backend.put
        return y * put(slope[None, :, None, None]) + put(offset[None, :, None, None])

    def _batch(self, unit: Unit, y: Array) -> tuple[Array, np.ndarray, np.ndarray]:
        gamma, beta = self.parameters[f"{unit.name}.gamma"], self.parameters[f"{unit.name}.beta"]
        z, mean, variance = self.backend.normalise(y, gamma, beta)
        count = y.shape[0] * y.shape[2] * y.shape[3]
        if count > 1:
            share = np.float32(self.running.of(unit.name, y.shape[0], self.batch))
            running_mean = self.parameters[f"{unit.name}.running_mean"]
            running_variance = self.parameters[f"{unit.name}.running_variance"]
            running_mean += share * (mean - running_mean)
            running_variance += share * (variance * (count / (count - 1)) - running_variance)
        return z, mean, variance

    def unit_forward(
        self, unit: Unit, x: Array, *, last: bool, residual: Array | None, scale: float = 1.0
    ) -> Array:
        w = self._weight(unit.name)
        y = self.backend.convolve(x, w, unit.geometry)
        samples = self.samples(x)
        self._count("forward", unit.name, unit.geometry, samples)
        z, mean, variance = self._batch(unit, y) if self.training else self._running(unit, y)
        if scale != 1.0:
            z = z * scale
        z = self._activated(unit, z, residual)
        self._count_unit("normalise", unit, samples, 1 if residual is None else 2, 1)
        if self.training:
            self.counter.record(Processor(UNITS, 1))
            self._memory[unit.name] = _Memory(x, w, y, z, mean, variance)
        return z

    def _activated(self, unit: Unit, z: Array, residual: Array | None) -> Array:
        if residual is not None:
            z = z + residual
        if unit.activation == "none":
            return z
        return self.backend.clip(z, 0.0, 6.0 if unit.activation == "relu6" else None)

    def explore(self, block: Block, stream: Array, residual: Array) -> Array:
        h, samples = stream, self.samples(stream)
        for unit in block.units:
            memory, last = self._memory[unit.name], unit is block.units[-1]
            y = self.backend.convolve(h, memory.weights, unit.geometry)
            self._count("forward", unit.name, unit.geometry, samples)
            z = self._normalised(unit, y, memory.mean, memory.variance)
            h = self._activated(unit, z, residual if last else None)
            self._count_unit("normalise", unit, samples, 2 if last else 1, 1)
        return h

    def classify(self, stream: Array) -> np.ndarray:
        last = self.spec.blocks[-1].units[-1].geometry
        self._positions = (last.out_height, last.out_width)
        self._features = stream.mean((2, 3))[:, :, None, None]
        samples = self.samples(stream)
        self.counter.record(
            Vector("pool", "pool", samples, last.output_size, last.filters, FLOAT_BITS, 0)
        )
        w = self._weight("classifier")
        logits = self.backend.convolve(self._features, w, self.spec.classifier)
        self._count("forward", "classifier", self.spec.classifier, samples)
        self.counter.record(Processor(LOGITS, samples * self.spec.classifier.filters))
        bias = self.parameters["classifier.bias"]
        return self.backend.get(logits)[:, :, 0, 0].astype(np.float64) + bias

    def gate_features(self, block: Block, stream: Array, points: int) -> np.ndarray:
        self.counter.record(grid_work(block, self.samples(stream), points, FLOAT_BITS))
        step_h, step_w = (-(-size // points) for size in stream.shape[2:])
        grid = stream[:, :, ::step_h, ::step_w].sum((2, 3))
        return self.backend.get(grid).astype(np.float64)

    # ---- backward -------------------------------------------------------------------------------

    def classify_backward(
        self, g: np.ndarray, *, to_stream: bool
    ) -> tuple[Array | None, Gradients]:
        samples, geometry = len(g), self.spec.classifier
        gradient = self.backend.put(g[:, :, None, None].astype(np.float32))
        weight = self.backend.weight_gradient(self._features, gradient, geometry)
        self._count("backward_weight", "classifier", geometry, samples)
        gradients = {
            "classifier.weight": (weight / self.batch).astype(np.float32),
            "classifier.bias": (g.sum(axis=0) / self.batch).astype(np.float32),
        }
        if not to_stream:
            return None, gradients
        back = self.backend.input_gradient(gradient, self._weight("classifier"), geometry)
        self._count("backward_input", "classifier", geometry, samples)
        height, width = self._positions
        ones = self.backend.put(np.full((1, 1, height, width), 1.0 / (height * width), np.float32))
        return back * ones, gradients

    def output_mask(self, unit: Unit, g: Array) -> Array:
        if unit.activation == "none":
            return g
        self._count_unit("mask", unit, self.samples(g), 2, 1)
        return self._masked(unit, g)

    def _masked(self, unit: Unit, g: Array) -> Array:
        output = self._memory[unit.name].output
        open_ = output > 0
        if unit.activation == "relu6":
            open_ = open_ & (output < 6.0)
        return self.backend.where(open_, g)

    def unit_backward(
        self, unit: Unit, g: Array, *, previous: Unit | None, residual: Array | None, stem: bool
    ) -> tuple[Array | None, Gradients]:
        memory = self._memory.pop(unit.name)
        samples = self.samples(g)
        dy, g_gamma, g_beta = self.backend.normalise_backward(
            g, memory.y, self.parameters[f"{unit.name}.gamma"], memory.mean, memory.variance
        )
        self._count_unit("normalise_backward", unit, samples, 4, 1)
        weight = self.backend.weight_gradient(memory.x, dy, unit.geometry)
        self._count("backward_weight", unit.name, unit.geometry, samples)
        gradients = {
            f"{unit.name}.weight": (weight / self.batch).astype(np.float32),
            f"{unit.name}.gamma": (g_gamma / self.batch).astype(np.float32),
            f"{unit.name}.beta": (g_beta / self.batch).astype(np.float32),
        }
        if stem:
            return None, gradients
        back = self.backend.input_gradient(dy, memory.weights, unit.geometry)
        fused = 0
        if previous is not None and previous.activation != "none":
            back = self._masked(previous, back)
            fused += 1
        if residual is not None:
            back = back + residual
            fused += 1
        self._count("backward_input", unit.name, unit.geometry, samples, fused)
        return back, gradients

    def shortcut_backward(self, block: Block, g: Array) -> Array:
        if block.shortcut == "identity":
            return g
        first, last = block.units[0].geometry, block.units[-1].geometry
        before = (last.filters - first.channels) // 2
        self.counter.record(shortcut_work(block, self.samples(g), first.input_size, FLOAT_BITS))
        return self.backend.scatter_strided(
            g, first.stride, before, first.channels, (first.height, first.width)
        )

    def gate_products(self, block: Block, g: Array, after: Array, before: Array) -> np.ndarray:
        self._count_unit("gate_products", block.units[-1], self.samples(g), 3, 0)
        products = (g * (after - before)).sum((1, 2, 3))
        return self.backend.get(products).astype(np.float64)
