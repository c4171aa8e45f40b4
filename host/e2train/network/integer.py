# SPDX-License-Identifier: Apache-2.0
"""The integer contract (docs/numerics.md) on a device: every full tensor is integers x 2^exponent.

What runs where: convolutions, normalise, masks, sums and pooling are device operations (PL); the
exponents, batch-norm coefficients and running statistics here are per layer or per channel (PS).
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..device.base import Device, Peaked, Tensor
from ..device.counter import Counter
from ..device.geometry import Geometry
from ..device.operations import (
    LOGITS,
    PIXELS,
    UNITS,
    Convolution,
    convolution_once,
    processor_once,
    vector_once,
)
from ..numerics import normalisation as bn
from ..numerics.exponent import DelayedExponent
from ..numerics.fixedpoint import (
    exponent_for,
    limits,
    mean_by_shift,
    quantise_beta,
    round_half_up,
    round_shift,
    saturate,
)
from ..processor import processor
from .arithmetic import Arithmetic, Gradients, RunningShare, grid_work, shortcut_work
from .parameters import Parameters
from .spec import Block, NetworkSpec, Unit

INITIAL_ACTIVATION = 7.9  # a batch-norm output is rarely more than 8 deviations from 0
INITIAL_STREAM = 31.0  # several such outputs added
GENTLE_HEADROOM = 1.25
WIDE_HEADROOM = 2.0
GRADIENT_STREAM = "gradient stream"  # one exponent for the gradient of the whole residual stream
INITIAL_GRADIENT_GROWTH = 16.0  # from the classifier, where it is first seen, to the stem


@dataclass(frozen=True)
class FixedSettings:
    """How the integer arithmetic takes its gradients.

    predict: weight-gradient signs by PSG (else the full 8x16 gradient); input_gradient_bits: 16, or
    8 as in Banner et al. 2018; stream_bits: width of the residual stream, 9 to 16.
    """

    predict: bool
    beta: float = 0.05
    x_msb_bits: int = 4
    g_msb_bits: int = 10
    input_gradient_bits: int = 16
    stream_bits: int = 16

    def gradient_bits(self, spec: NetworkSpec, layer: str) -> int:
        """Bits of the output gradient in the pass to the layer's input.

        16 for `invariant_readers`: the gradients of the beta or the gamma before them are sums that
        all but cancel, and what 8 bits round away would take their place.
        """
        return 16 if layer in spec.invariant_readers else self.input_gradient_bits


def track_bits(name: str, stream_bits: int) -> int:
    """Width of the tensor whose delayed exponent has this name."""
    if name == "stream":
        return stream_bits
    return 8 if name.rsplit(".", 1)[-1] in ("x", "z") else 16


def new_track(name: str, bits: int) -> DelayedExponent:
    """The delayed exponent of this name (`LAYER.y`, `stream`, ...) as a training starts it."""
    kind = name.rsplit(".", 1)[-1]
    headroom = {"x": 1.0, "z": 1.0, "y": WIDE_HEADROOM}.get(kind, GENTLE_HEADROOM)
    first = {"z": INITIAL_ACTIVATION, "stream": INITIAL_STREAM}.get(kind, 0.0)
    return DelayedExponent(bits, headroom, first)


@dataclass
class FixedTensor:
    """Device tensor x 2^exponent; `peak` bounds its real magnitude."""

    tensor: Tensor
    samples: int
    exponent: int
    peak: float = 0.0


@dataclass
class _Memory:
    """What a unit's backward pass needs of its forward pass."""

    x: FixedTensor
    weights: np.ndarray
    weight_exponent: int
    y: FixedTensor
    output: FixedTensor
    stats: bn.Moments
    ceiling: int | None
    count: int


@dataclass
class PredictorTally:
    """Weights of a layer, and how many of them the predictor decided, since last asked."""

    predicted: int = 0
    weights: int = 0


class FixedArithmetic(Arithmetic):
    """The integer arithmetic on one device."""

    stream_bits = 16  # in memory, whatever `FixedSettings.stream_bits` says of the values

    def __init__(
        self, device: Device, counter: Counter, settings: FixedSettings, mean: tuple[int, ...]
    ) -> None:
        self.device = device
        self.counter = counter
        self.running = RunningShare()
        self.settings = settings
        self.mean = np.asarray(mean, np.int16)
        self.processor = processor()
        self.beta_q = quantise_beta(settings.beta)
        self.exponents: dict[str, DelayedExponent] = {}
        self.tally: dict[str, PredictorTally] = {}
        self._memory: dict[str, _Memory] = {}
        self._weights: dict[str, tuple[np.ndarray, int]] = {}

    # ---- iteration ------------------------------------------------------------------------------

    def begin(self, spec: NetworkSpec, parameters: Parameters, batch: int, training: bool) -> None:
        self.spec, self.parameters, self.batch, self.training = spec, parameters, batch, training
        self._memory.clear()
        self._weights.clear()
        self.stream_exponent = self._track("stream", self.settings.stream_bits).exponent
        self._stream_peak = 0.0

    def state(self) -> dict[str, Any]:
        return {name: track.peak for name, track in self.exponents.items()}

    def restore(self, state: dict[str, Any]) -> None:
        self.exponents.clear()
        for name, peak in state.items():
            self._track(name, track_bits(name, self.settings.stream_bits)).peak = peak

    def _track(self, name: str, bits: int) -> DelayedExponent:
        if name not in self.exponents:
            self.exponents[name] = new_track(name, bits)
        return self.exponents[name]

    def forget(self, units: Iterable[Unit]) -> None:
        """Let go of what the backward passes of these units need of their forward passes."""
        for unit in units:
            self._memory.pop(unit.name, None)

    def _observe(self, track: DelayedExponent, peak: float) -> None:
        if self.training:
            track.update(peak)

    def _quantised(self, name: str) -> tuple[np.ndarray, int]:
        if name not in self._weights:
            self._weights[name] = self.processor.quantise(self.parameters[f"{name}.weight"])
        return self._weights[name]

    # ---- forward --------------------------------------------------------------------------------

    def picture(self, images: np.ndarray) -> FixedTensor:
        self.counter.record(processor_once(PIXELS, images.size))
        centred = self.processor.centre(images, self.mean)
        return FixedTensor(self.device.put(centred), len(images), -7, 1.0)

    def samples(self, value: FixedTensor) -> int:
        return value.samples

    def take(self, value: FixedTensor, samples: np.ndarray) -> FixedTensor:
        tensor = self.device.take(value.tensor, samples)
        return FixedTensor(tensor, len(samples), value.exponent, value.peak)

    def merge(self, base: FixedTensor, samples: np.ndarray, part: FixedTensor) -> FixedTensor:
        if base.exponent != part.exponent:
            raise ValueError("merge: the parts of a stream must share one exponent")
        tensor = self.device.merge(base.tensor, samples, part.tensor)
        return FixedTensor(tensor, base.samples, base.exponent, max(base.peak, part.peak))

    def shortcut(self, block: Block, stream: FixedTensor) -> FixedTensor:
        if block.shortcut == "identity":
            return stream
        first, last = block.units[0].geometry, block.units[-1].geometry
        tensor = self.device.shortcut_pad(stream.tensor, first.stride, last.filters)
        self.counter.record(shortcut_work(block, stream.samples, last.output_size, 16))
        return FixedTensor(tensor, stream.samples, stream.exponent, stream.peak)

    def block_input(self, block: Block, stream: FixedTensor) -> FixedTensor:
        if block.name == "stem":
            return stream
        track = self._track(f"{block.name}.x", 8)
        if not track.known:
            track.update(stream.peak)
        self._observe(track, stream.peak)
        shift = min(max(track.exponent - stream.exponent, 0), 15)
        tensor = self.device.narrow(stream.tensor, shift)
        first = block.units[0].geometry
        self.counter.record(
            vector_once(
                "narrow", block.name, stream.samples, first.input_size, first.channels, 16, 8
            )
        )
        return FixedTensor(tensor, stream.samples, stream.exponent + shift, stream.peak)

    def _convolve(self, unit: Unit, x: FixedTensor) -> tuple[FixedTensor, np.ndarray, np.ndarray]:
        """The unit's convolution, requantised to 16 bits, and the sums that come with it."""
        w, weight_exponent = self._quantised(unit.name)
        track = self._track(f"{unit.name}.y", 16)
        exponent = x.exponent + weight_exponent
        if not track.known:  # no peak seen yet: run once to find it
            probe = self.device.convolve(x.tensor, w, unit.geometry, 16)
            self._count_forward(unit.name, unit.geometry, x.samples)
            track.update(math.ldexp(max(probe.peak, 1), exponent))
        shift = min(max(track.exponent - exponent, 0), 30)
        y, peak, total, squares = self.device.convolve(x.tensor, w, unit.geometry, shift)
        self._count_forward(unit.name, unit.geometry, x.samples)
        real = math.ldexp(peak, exponent)
        self._observe(track, real)
        kept = min(real, math.ldexp(32768.0, exponent + shift))
        return FixedTensor(y, x.samples, exponent + shift, kept), total, squares

    def _count_forward(
        self, layer: str, geometry: Geometry, samples: int, exact: bool = False
    ) -> None:
        self.counter.record(
            convolution_once("forward", layer, geometry, samples, (8, 8), 16, (), exact)
        )

    def _coefficients(
        self,
        unit: Unit,
        y: FixedTensor,
        sums: tuple[np.ndarray, np.ndarray],
        scale: float,
        out: int,
    ) -> tuple[bn.Moments, tuple[np.ndarray, np.ndarray, int]]:
        """Batch norm's statistics, and its coefficients for outputs in 2^out.

        In training those of the mini-batch (the running ones move by the share that ran), else the
        running ones.
        """
        find = self.parameters.__getitem__
        running = (find(f"{unit.name}.running_mean"), find(f"{unit.name}.running_variance"))
        affine = (find(f"{unit.name}.gamma"), find(f"{unit.name}.beta"))
        if not self.training:
            mean, variance = (one.astype(np.float64) for one in running)
            stats = bn.Moments(mean, variance)
            return stats, self.processor.forward(*affine, scale, stats, y.exponent, out)
        count = _values(unit, y)
        share = self.running.of(unit.name, y.samples, self.batch) if count > 1 else 0.0
        return self.processor.train_forward(
            sums, count, share, running, affine, scale, (y.exponent, out)
        )

    def unit_forward(
        self,
        unit: Unit,
        x: FixedTensor,
        *,
        last: bool,
        residual: FixedTensor | None,
        scale: float = 1.0,
    ) -> FixedTensor:
        y, total, squares = self._convolve(unit, x)
        track = None if last else self._track(f"{unit.name}.z", 8)
        exponent = self.stream_exponent if track is None else track.exponent
        stats, (multiplier, offset, shift) = self._coefficients(
            unit, y, (total, squares), scale, exponent
        )
        ceiling = None
        if unit.activation == "relu6":  # beyond every value (a cast of 2^63 is none) clips nothing
            ceiling = int(round_half_up(np.ldexp(6.0, min(-exponent, 27))))
        z = self.device.normalise(
            y.tensor,
            multiplier,
            offset,
            shift,
            residual=None if residual is None else residual.tensor,
            rectify=unit.activation != "none",
            ceiling=ceiling,
            bits=self.settings.stream_bits if last else 8,
        )
        read, written = 16 if residual is None else 32, 16 if last else 8
        self._count_unit("normalise", unit, y.samples, read, written)
        output = FixedTensor(z.tensor, y.samples, exponent, math.ldexp(z.peak, exponent))
        if track is None:
            self._stream_peak = max(self._stream_peak, output.peak)
            self._observe(self._track("stream", self.settings.stream_bits), output.peak)
        else:
            self._observe(track, output.peak)
        if self.training:
            self.counter.record(processor_once(UNITS, 1))
            w, weight_exponent = self._quantised(unit.name)
            self._memory[unit.name] = _Memory(
                x, w, weight_exponent, y, output, stats, ceiling, _values(unit, y)
            )
        return output

    def explore(self, block: Block, stream: FixedTensor, residual: FixedTensor) -> FixedTensor:
        first = block.units[0].geometry
        exponent = self._memory[block.units[0].name].x.exponent
        tensor = self.device.narrow(stream.tensor, exponent - stream.exponent)
        h = FixedTensor(tensor, stream.samples, exponent)
        self.counter.record(
            vector_once("narrow", block.name, h.samples, first.input_size, first.channels, 16, 8)
        )
        for unit in block.units:
            last = unit is block.units[-1]
            h = self._explore_unit(unit, h, last, residual if last else None)
        return h

    def _explore_unit(
        self, unit: Unit, x: FixedTensor, last: bool, residual: FixedTensor | None
    ) -> FixedTensor:
        memory = self._memory[unit.name]
        shift = memory.y.exponent - x.exponent - memory.weight_exponent
        y = self.device.convolve(x.tensor, memory.weights, unit.geometry, shift).y
        self._count_forward(unit.name, unit.geometry, x.samples)
        exponent = memory.output.exponent
        multiplier, offset, shift = self.processor.forward(
            self.parameters[f"{unit.name}.gamma"],
            self.parameters[f"{unit.name}.beta"],
            1.0,
            memory.stats,
            memory.y.exponent,
            exponent,
        )
        z = self.device.normalise(
            y,
            multiplier,
            offset,
            shift,
            residual=None if residual is None else residual.tensor,
            rectify=unit.activation != "none",
            ceiling=memory.ceiling,
            bits=self.settings.stream_bits if last else 8,
        )
        read, written = 16 if residual is None else 32, 16 if last else 8
        self._count_unit("normalise", unit, x.samples, read, written)
        return FixedTensor(z.tensor, x.samples, exponent)

    def _count_unit(self, kind: str, unit: Unit, samples: int, read: int, written: int) -> None:
        """Work on a unit's output, in bits an element."""
        size, channels = unit.geometry.output_size, unit.geometry.filters
        self.counter.record(vector_once(kind, unit.name, samples, size, channels, read, written))

    def classify(self, stream: FixedTensor) -> np.ndarray:
        sums = self.device.pool(stream.tensor)
        last = self.spec.blocks[-1].units[-1].geometry
        self._pool_shift, self._pool_scale = mean_by_shift(last.out_height * last.out_width)
        self._pool_size = (last.out_height, last.out_width)
        self.counter.record(
            vector_once("pool", "pool", stream.samples, last.output_size, last.filters, 16, 0)
        )
        exponent = stream.exponent - self._pool_shift
        track = self._track("classifier.x", 8)
        peak = math.ldexp(np.abs(sums).max(initial=1), exponent)
        if not track.known:
            track.update(peak)
        self._observe(track, peak)
        shift = max(track.exponent - exponent, 0)
        x = saturate(round_shift(sums, shift), 8).astype(np.int8)[:, :, None, None]
        w, weight_exponent = self._quantised("classifier")
        self._features = FixedTensor(self.device.put(x), len(x), exponent + shift)
        logits = self.device.conv_forward(x, w)[:, :, 0, 0]
        self._count_forward("classifier", self.spec.classifier, len(x), exact=True)
        self.counter.record(processor_once(LOGITS, logits.size))
        real = np.ldexp(logits.astype(np.float64), self._features.exponent + weight_exponent)
        return real * self._pool_scale + self.parameters["classifier.bias"]

    def gate_features(self, block: Block, stream: FixedTensor, points: int) -> np.ndarray:
        sums = self.device.pool_grid(stream.tensor, points)
        self.counter.record(grid_work(block, stream.samples, points, 16))
        return np.ldexp(sums.astype(np.float64), stream.exponent)

    # ---- backward -------------------------------------------------------------------------------

    def classify_backward(
        self, g: np.ndarray, *, to_stream: bool
    ) -> tuple[FixedTensor | None, Gradients]:
        g = g * self._pool_scale  # as the logits were, but for the bias
        exponent = exponent_for(float(np.abs(g).max(initial=0.0)), limits(16)[1])
        mantissas = round_half_up(np.ldexp(g, -exponent)).astype(np.int16)[:, :, None, None]
        gradient = FixedTensor(self.device.put(mantissas), len(g), exponent)
        bias = np.ldexp(mantissas.sum(axis=(0, 2, 3), dtype=np.int64).astype(np.float64), exponent)
        gradients = {
            "classifier.weight": self._weight_gradient(
                "classifier", self.spec.classifier, self._features, gradient
            ),
            "classifier.bias": (bias / self.batch / self._pool_scale).astype(np.float32),
        }
        if not to_stream:
            return None, gradients
        w, weight_exponent = self._quantised("classifier")
        pooled = FixedTensor(gradient.tensor, len(g), exponent - self._pool_shift)
        back = self._input_gradient(
            GRADIENT_STREAM, "classifier", self.spec.classifier, pooled, w, weight_exponent
        )
        spread = self.device.spread(self.device.get(back.tensor)[:, :, 0, 0], *self._pool_size)
        last = self.spec.blocks[-1].units[-1].geometry
        self.counter.record(
            vector_once("spread", "spread", len(g), last.output_size, last.filters, 0, 16)
        )
        self._gradient_exponent = back.exponent
        return FixedTensor(spread, len(g), back.exponent, back.peak), gradients

    def output_mask(self, unit: Unit, g: FixedTensor) -> FixedTensor:
        if unit.activation == "none":
            return g
        memory = self._memory[unit.name]
        tensor = self.device.mask(g.tensor, memory.output.tensor, memory.ceiling)
        self._count_unit("mask", unit, g.samples, 32, 16)
        return FixedTensor(tensor, g.samples, g.exponent, g.peak)

    def unit_backward(
        self,
        unit: Unit,
        g: FixedTensor,
        *,
        previous: Unit | None,
        residual: FixedTensor | None,
        stem: bool,
    ) -> tuple[FixedTensor | None, Gradients]:
        memory = self._memory.pop(unit.name)
        dy, gradients = self._normalise_backward(unit, g, memory)
        gradients[f"{unit.name}.weight"] = self._weight_gradient(
            unit.name, unit.geometry, memory.x, dy
        )
        if stem:
            return None, gradients
        before = None if previous is None else self._memory[previous.name]
        masked = before if previous is not None and previous.activation != "none" else None
        back = self._input_gradient(
            GRADIENT_STREAM if previous is None else f"{previous.name}.g",
            unit.name,
            unit.geometry,
            dy,
            memory.weights,
            memory.weight_exponent,
            masked=masked,
            residual=residual,
            exponent=self._gradient_exponent if previous is None else None,
        )
        return back, gradients

    def _normalise_backward(
        self, unit: Unit, g: FixedTensor, memory: _Memory
    ) -> tuple[FixedTensor, Gradients]:
        """Through batch norm: the convolution's output gradient, and gamma's and beta's."""
        y, stats = memory.y, memory.stats
        sums = self.device.gradient_sums(g.tensor, y.tensor)
        gamma = self.parameters[f"{unit.name}.gamma"]
        sizes, exponents = (memory.count, self.batch), (g.exponent, y.exponent)
        track = self._track(f"{unit.name}.dy", 16)
        if not track.known:  # no peak seen yet: run once within the proven bound to find it
            line = self.processor.backward_line(sums, gamma, stats, sizes, exponents)[0]
            bound = line.bound(math.ldexp(32768.0, g.exponent), math.ldexp(32768.0, y.exponent))
            out = exponent_for(bound, limits(16)[1])
            probe = self._apply_line(self.processor.backward(line, *exponents, out), g, y, out)
            track.update(probe.peak)
        out = track.exponent
        coefficients, g_gamma, g_beta = self.processor.train_backward(
            sums, gamma, stats, sizes, exponents, out
        )
        dy = self._apply_line(coefficients, g, y, out)
        self._observe(track, dy.peak)
        self._count_unit("normalise_backward", unit, g.samples, 64, 16)
        return dy, {f"{unit.name}.gamma": g_gamma, f"{unit.name}.beta": g_beta}

    def _apply_line(
        self,
        coefficients: tuple[np.ndarray, np.ndarray, np.ndarray, int],
        g: FixedTensor,
        y: FixedTensor,
        exponent: int,
    ) -> FixedTensor:
        tensor, peak = self.device.normalise_backward(g.tensor, y.tensor, *coefficients)
        return FixedTensor(tensor, g.samples, exponent, math.ldexp(peak, exponent))

    def _weight_gradient(
        self, name: str, geometry: Geometry, x: FixedTensor, g: FixedTensor
    ) -> np.ndarray:
        """The full gradient in real units, float32, or PSG's signs, int8 [K,C/groups,R,S]."""
        chosen = self.settings
        if not chosen.predict or name == "classifier":  # the authors' code signs convolutions only
            exact = self.device.weight_gradient(x.tensor, g.tensor, geometry)
            self.counter.record(
                convolution_once("backward_weight", name, geometry, x.samples, (8, 16), 48)
            )
            real = np.ldexp(exact.astype(np.float64), x.exponent + g.exponent)
            return (real / self.batch).astype(np.float32)
        result = self.device.psg_gradient(
            x.tensor, g.tensor, geometry, self.beta_q, chosen.x_msb_bits, chosen.g_msb_bits
        )
        sure = int(np.count_nonzero(result.predicted))
        tally = self.tally.setdefault(name, PredictorTally())
        tally.predicted += sure
        tally.weights += geometry.weights
        self.counter.record(
            Convolution(
                "backward_weight",
                name,
                geometry,
                x.samples,
                (8, 16),
                48,
                predictor=(chosen.x_msb_bits, chosen.g_msb_bits),
                unsure=geometry.weights - sure,
            )
        )
        signs: np.ndarray = result.sign
        return signs

    def _input_gradient(
        self,
        track_name: str,
        layer: str,
        geometry: Geometry,
        g: FixedTensor,
        w: np.ndarray,
        weight_exponent: int,
        *,
        masked: _Memory | None = None,
        residual: FixedTensor | None = None,
        exponent: int | None = None,
    ) -> FixedTensor:
        """Convolution backward to its input; `exponent` fixed for the stream, else delayed."""
        bits = self.settings.gradient_bits(self.spec, layer)
        accumulator_exponent = g.exponent + weight_exponent + (16 - bits)
        residual_stream = track_name == GRADIENT_STREAM
        track = self._track(track_name, 16)

        def run(target: int) -> tuple[Peaked, int]:
            shift = min(max(target - accumulator_exponent, -15), 47)
            peaked = self.device.input_gradient(
                g.tensor,
                w,
                geometry,
                shift,
                output=None if masked is None else masked.output.tensor,
                ceiling=None if masked is None else masked.ceiling,
                residual=None if residual is None else residual.tensor,
                g_bits=bits,
            )
            fused = (*(() if masked is None else (8,)), *(() if residual is None else (16,)))
            self.counter.record(
                convolution_once("backward_input", layer, geometry, g.samples, (bits, 8), 16, fused)
            )
            return peaked, accumulator_exponent + shift

        if exponent is None and not track.known:  # no peak seen yet: run once to find it
            probe, at = run(accumulator_exponent + 16)
            growth = INITIAL_GRADIENT_GROWTH if residual_stream else 1.0
            track.update(math.ldexp(max(probe.peak, 1) * growth, at))
        peaked, at = run(track.exponent if exponent is None else exponent)
        if exponent is not None:
            at = exponent  # beyond the shift's range all is 0 or saturated in either exponent
        peak = math.ldexp(peaked.peak, at)
        self._observe(track, peak)
        return FixedTensor(peaked.tensor, g.samples, at, peak)

    def shortcut_backward(self, block: Block, g: FixedTensor) -> FixedTensor:
        if block.shortcut == "identity":
            return g
        first = block.units[0].geometry
        tensor = self.device.shortcut_pad_backward(
            g.tensor, first.stride, first.channels, first.height, first.width
        )
        self.counter.record(shortcut_work(block, g.samples, first.input_size, 16))
        return FixedTensor(tensor, g.samples, g.exponent, g.peak)

    def gate_products(
        self, block: Block, g: FixedTensor, after: FixedTensor, before: FixedTensor
    ) -> np.ndarray:
        self._count_unit("gate_products", block.units[-1], g.samples, 48, 0)
        products = self.device.gate_products(g.tensor, after.tensor, before.tensor)
        return np.ldexp(products.astype(np.float64), g.exponent + after.exponent)


def _values(unit: Unit, y: FixedTensor) -> int:
    """Values of y a channel."""
    return y.samples * unit.geometry.out_height * unit.geometry.out_width
