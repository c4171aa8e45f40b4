# SPDX-License-Identifier: Apache-2.0
"""The integer arithmetic (`network.integer.FixedArithmetic`) on tensors, reading nothing back.

All that the host decides between two operations there (shifts, exponents, coefficients) is a
tensor here. Every integer and every float bit of what comes out is the same.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch

from ...network.integer import (
    GRADIENT_STREAM,
    FixedSettings,
    new_track,
    track_bits,
)
from ...network.spec import Block, NetworkSpec, Unit
from ...numerics.exponent import DECAY
from ...numerics.fixedpoint import limits, mean_by_shift, quantise_beta
from . import normalisation as bn
from . import products, real, steps
from .arithmetic import GraphArithmetic, Tensors
from .weights import Weights

Tensor = torch.Tensor


@dataclass
class Fixed:
    """Integers [N,H,W,C] x 2^exponent; peak: their largest magnitude, in `exponent`'s units."""

    tensor: Tensor
    exponent: Tensor
    peak: Tensor


@dataclass
class _Memory:
    """What a unit's backward pass needs of its forward pass."""

    x: Fixed
    y: Tensor
    y_exponent: Tensor
    output: Tensor
    stats: bn.Moments
    ceiling: Tensor | None
    count: bn.Count


@dataclass
class _Peak:
    """What a tensor's delayed exponent is to learn from this iteration."""

    slot: int
    peak: Tensor
    exponent: Tensor
    ran: Tensor | None  # bool []: whether any sample ran


def track_names(spec: NetworkSpec) -> list[str]:
    """The delayed exponents of a network that has been trained."""
    names = ["stream", "classifier.x", GRADIENT_STREAM]
    for block in spec.blocks:
        if block.name != "stem":
            names.append(f"{block.name}.x")
        for unit in block.units:
            names += [f"{unit.name}.y", f"{unit.name}.dy"]
        for unit in block.units[:-1]:
            names += [f"{unit.name}.z", f"{unit.name}.g"]
    return names


def unknown_tracks(spec: NetworkSpec, state: dict[str, Any]) -> list[str]:
    """Delayed exponents that `state` does not know yet: their layers have not run so far."""
    return [name for name in track_names(spec) if not state.get(name, 0.0) > 0]


def _steps(where: torch.device) -> Any:
    """Triton's kernels on a GPU, where there is Triton; else a torch call for every operation."""
    if where.type != "cuda":
        return steps
    try:
        from .fused import Fused
    except ImportError as error:
        warnings.warn(
            f"each step as many small kernels, as Triton is missing: {error}", stacklevel=3
        )
        return steps
    return Fused(where)


class GraphFixedArithmetic(GraphArithmetic):
    """The integer arithmetic on one torch device, all samples always computed."""

    def __init__(
        self,
        spec: NetworkSpec,
        parameters: Tensors,
        settings: FixedSettings,
        mean: tuple[int, ...],
        batch: int,
        do: Any = None,
    ) -> None:
        """`parameters`: float32 by name, on one device; `batch`: samples of a training iteration.

        do: what does the steps; by default `fused.Fused` on a GPU, else the module `steps`.

        Raises ValueError for a network whose sums of products might exceed 32 bits.
        """
        where = parameters["classifier.weight"].device
        for unit in spec.units():
            products.check(unit.geometry)
        products.check(spec.classifier)
        self.spec, self.settings, self.parameters, self.where = spec, settings, parameters, where
        self.batch = batch
        self.mean = torch.tensor(mean, dtype=torch.int16, device=where)
        self.beta_q = quantise_beta(settings.beta)
        self._names = track_names(spec)
        self._slots = {name: slot for slot, name in enumerate(self._names)}
        bits = [track_bits(name, settings.stream_bits) for name in self._names]
        tracks = [new_track(name, width) for name, width in zip(self._names, bits, strict=True)]
        self.peaks = self._vector(track.peak for track in tracks)
        self._headrooms = self._vector(track.headroom for track in tracks)
        self._limits = self._vector(float(track.limit) for track in tracks)
        self._weights = Weights(spec, parameters, where)
        self._do = _steps(where) if do is None else do
        self._exponent_of_pixels = torch.full((), -7, device=where)
        self._one = torch.full((), 128, device=where)  # in 2^-7
        self._numbers: dict[float, Tensor] = {}
        self._indices: dict[tuple[int, ...], Tensor] = {}

    def _vector(self, values: Iterable[float]) -> Tensor:
        return torch.tensor(list(values), dtype=torch.float64, device=self.where)

    def _number(self, value: float) -> Tensor:
        """A float64 [] on the device, made once: it divides exactly, as a Python number may not."""
        if value not in self._numbers:
            self._numbers[value] = torch.full((), value, dtype=torch.float64, device=self.where)
        return self._numbers[value]

    # ---- state ----------------------------------------------------------------------------------

    def state(self) -> dict[str, Any]:
        return dict(zip(self._names, self.peaks.tolist(), strict=True))

    def restore(self, state: dict[str, Any]) -> None:
        missing = unknown_tracks(self.spec, state)
        if missing or len(state) != len(self._names):
            raise ValueError(f"{len(state)} exponents, unknown: {', '.join(missing) or 'none'}")
        # the order of a checkpoint's exponents is that of their first use: kept
        order = [self._slots[name] for name in state]
        for vector in (self._headrooms, self._limits):
            vector.copy_(vector[order])
        self._names = list(state)
        self._slots = {name: slot for slot, name in enumerate(self._names)}
        self.peaks.copy_(self._vector(float(peak) for peak in state.values()))

    def tensors(self) -> list[Tensor]:
        return [self.peaks]

    def tallies(self) -> Tensors:
        return self._tallies

    # ---- iteration ------------------------------------------------------------------------------

    def begin(self, training: bool) -> None:
        self.training = training
        self._memory: dict[str, _Memory] = {}
        self._tallies: Tensors = {}
        self._seen: list[_Peak] = []
        self._ran: dict[int, tuple[Tensor, Tensor, Tensor]] = {}
        exponents = real.exponent_for(self.peaks * self._headrooms, self._limits)
        self._exponents = exponents.unbind()
        self._weights.quantise()
        self._do.begin(training)
        self.stream_exponent = self._exponent("stream")

    def _exponent(self, name: str) -> Tensor:
        return self._exponents[self._slots[name]]

    def _observe(self, name: str, peak: Tensor, exponent: Tensor, ran: Tensor | None) -> None:
        if self.training:
            any_ran = None if ran is None else self._any(ran)[0]
            self._seen.append(_Peak(self._slots[name], peak, exponent, any_ran))

    def _any(self, ran: Tensor) -> tuple[Tensor, Tensor]:
        """(whether any sample ran, bool []; how many did but at least 1, float64 [])."""
        if id(ran) not in self._ran:
            count = ran.sum().to(torch.float64)
            # `ran` is kept too: another tensor must not come by its identity
            self._ran[id(ran)] = count > 0, count.clamp(min=1.0), ran
        return self._ran[id(ran)][:2]

    def _learn(self) -> None:
        """All that was observed, in the order of observation where a track saw several peaks."""
        rounds = self._rounds()
        peaks = [one for chosen in rounds for one in chosen]
        integers = torch.stack([one.peak for one in peaks]).to(torch.float64)
        seen = real.ldexp(integers, torch.stack([one.exponent for one in peaks]))
        ran = None
        if any(one.ran is not None for one in peaks):
            always = torch.ones((), dtype=torch.bool, device=self.where)
            ran = torch.stack([always if one.ran is None else one.ran for one in peaks])
        slots = self._slot_index(tuple(one.slot for one in rounds[0]))
        tracks, start = self.peaks[slots], 0
        for chosen in rounds:  # the first so many tracks see another peak
            part = slice(start, start + len(chosen))
            before, start = tracks[: len(chosen)], part.stop
            after = torch.maximum(seen[part], before * DECAY)
            before.copy_(after if ran is None else torch.where(ran[part], after, before))
        self.peaks.index_copy_(0, slots, tracks)
        self._seen = []

    def _rounds(self) -> list[list[_Peak]]:
        """The n-th peak of each track that saw so many, the tracks that saw most first."""
        by_slot: dict[int, list[_Peak]] = {}
        for peak in self._seen:
            by_slot.setdefault(peak.slot, []).append(peak)
        series = sorted(by_slot.values(), key=len, reverse=True)
        return [
            [peaks[number] for peaks in series if len(peaks) > number]
            for number in range(len(series[0]))
        ]

    def _slot_index(self, slots: tuple[int, ...]) -> Tensor:
        if slots not in self._indices:
            self._indices[slots] = torch.tensor(slots, device=self.where)
        return self._indices[slots]

    # ---- forward --------------------------------------------------------------------------------

    def picture(self, images: Tensor) -> Fixed:
        centred = images.permute(0, 2, 3, 1).to(torch.int16) - self.mean
        return Fixed(steps.saturate(centred, 8).contiguous(), self._exponent_of_pixels, self._one)

    def merge(self, base: Fixed, ran: Tensor, part: Fixed) -> Fixed:
        """Both have the stream's exponent, or both its gradient's."""
        tensor = torch.where(ran[:, None, None, None], part.tensor, base.tensor)
        peak = torch.where(self._any(ran)[0], torch.maximum(base.peak, part.peak), base.peak)
        return Fixed(tensor, base.exponent, peak)

    def shortcut(self, block: Block, stream: Fixed) -> Fixed:
        if block.shortcut == "identity":
            return stream
        first, last = block.units[0].geometry, block.units[-1].geometry
        tensor = steps.shortcut_pad(stream.tensor, first.stride, last.filters)
        return Fixed(tensor, stream.exponent, stream.peak)

    def block_input(self, block: Block, stream: Fixed, ran: Tensor | None) -> Fixed:
        if block.name == "stem":
            return stream
        target = self._followed(f"{block.name}.x", stream.peak, stream.exponent, ran)
        tensor, exponent = self._do.narrow(stream.tensor, stream.exponent, target)
        return Fixed(tensor, exponent, stream.peak)

    def _followed(self, name: str, peak: Tensor, exponent: Tensor, ran: Tensor | None) -> Tensor:
        """The exponent of a track that takes in a peak before it is used."""
        slot = self._slots[name]
        track = steps.Track(self.peaks[slot], self._headrooms[slot], self._limits[slot])
        any_ran = None if ran is None else self._any(ran)[0]
        return self._do.follow(track, peak, exponent, any_ran, self.training)

    def unit_forward(
        self,
        unit: Unit,
        x: Fixed,
        *,
        last: bool,
        residual: Fixed | None,
        scale: float,
        ran: Tensor | None,
    ) -> Fixed:
        w, weight_exponent = self._weights.forward(unit.name)
        aim = self._exponent(f"{unit.name}.y")
        exponents = x.exponent, weight_exponent, aim
        y = self._do.convolve(x.tensor, w, unit.geometry, exponents, ran)
        self._observe(f"{unit.name}.y", y.peak, y.peak_exponent, ran)
        exponent = self.stream_exponent if last else self._exponent(f"{unit.name}.z")
        count = self._count(unit, ran) if self.training else None
        coefficients, stats = self._do.batch_norm_forward(
            y.sums, (y.exponent, exponent), self._parameters_of(unit, scale), count
        )
        ceiling = None
        if unit.activation == "relu6":
            six = real.ldexp(self._number(6.0), (-exponent).clamp(max=27))
            ceiling = real.round_half_up(six).to(torch.int64)
        z, peak = self._do.normalise(
            y.y,
            coefficients,
            residual=None if residual is None else residual.tensor,
            rectify=unit.activation != "none",
            ceiling=ceiling,
            bits=self.settings.stream_bits if last else 8,
            ran=ran,
        )
        self._observe("stream" if last else f"{unit.name}.z", peak, exponent, ran)
        if count is not None:
            self._memory[unit.name] = _Memory(x, y.y, y.exponent, z, stats, ceiling, count)
        return Fixed(z, exponent, peak)

    def _parameters_of(self, unit: Unit, scale: float) -> bn.Parameters:
        kinds = ("gamma", "beta", "running_mean", "running_variance")
        gamma, beta, mean, variance = (self.parameters[f"{unit.name}.{kind}"] for kind in kinds)
        if scale != 1.0:  # the host's product of float32 with float32(scale)
            factor = self._number(scale).to(torch.float32)
            gamma, beta = gamma * factor, beta * factor
        return bn.Parameters(gamma, beta, mean, variance)

    def _count(self, unit: Unit, ran: Tensor | None) -> bn.Count:
        positions, batch = unit.geometry.out_height * unit.geometry.out_width, float(self.batch)
        if ran is None:
            values = self._number(batch * positions)
            return bn.Count(values, self._number(batch), self._number(batch), None)
        any_ran, samples = self._any(ran)
        return bn.Count(samples * float(positions), samples, self._number(batch), any_ran)

    def classify(self, stream: Fixed) -> Tensor:
        last = self.spec.blocks[-1].units[-1].geometry
        self._pool_shift, self._pool_scale = mean_by_shift(last.out_height * last.out_width)
        exponent = stream.exponent - self._pool_shift
        sums = stream.tensor.sum((1, 2), dtype=torch.int64)
        peak = sums.abs().amax().clamp(min=1)
        followed = self._followed("classifier.x", peak, exponent, None)
        shift = (followed - exponent).clamp(min=0)
        # sums are below 2^46: all shifts beyond 62 make 0 of them, as 62 does
        x = steps.saturate(steps.shift_right(sums, shift.clamp(max=62)), 8)[:, None, None]
        self._features = Fixed(x, exponent + shift, peak)
        w, weight_exponent = self._weights.forward("classifier")
        logits = products.convolve(x, w, self.spec.classifier)[:, 0, 0].to(torch.float64)
        scale = self._features.exponent + weight_exponent
        whole = real.ldexp(logits, scale) * self._pool_scale
        return whole + self.parameters["classifier.bias"]

    def gate_features(self, block: Block, stream: Fixed, points: int) -> Tensor:
        step_h, step_w = (-(-size // points) for size in stream.tensor.shape[1:3])
        sums = stream.tensor[:, ::step_h, ::step_w].sum((1, 2), dtype=torch.int64)
        return real.ldexp(sums.to(torch.float64), stream.exponent)

    # ---- backward -------------------------------------------------------------------------------

    def classify_backward(self, g: Tensor) -> tuple[Fixed, Tensors]:
        g = g * self._pool_scale
        exponent = real.exponent_for(real.peak_of(g), limits(16)[1])
        integers = real.round_half_up(real.ldexp(g, -exponent)).to(torch.int16)
        sums = integers.sum(0, dtype=torch.int64).to(torch.float64)
        batch = self._number(float(self.batch))
        bias = real.ldexp(sums, exponent) / batch / self._pool_scale
        wide = integers[:, None, None]
        geometry = self.spec.classifier
        gradients = {
            "classifier.weight": steps.full_gradient(
                self._features.tensor, wide, geometry, (self._features.exponent, exponent), batch
            ),
            "classifier.bias": bias.to(torch.float32),
        }
        w, weight_exponent = self._weights.backward("classifier")
        aim = self._exponent(GRADIENT_STREAM)
        back, self._gradient_exponent, peak = steps.input_gradient(
            wide,
            w,
            geometry,
            (exponent - self._pool_shift, weight_exponent, aim),
            output=None,
            ceiling=None,
            residual=None,
            ran=None,
            bits=self.settings.input_gradient_bits,
        )
        self._observe(GRADIENT_STREAM, peak, self._gradient_exponent, None)
        last = self.spec.blocks[-1].units[-1].geometry
        spread = back.expand(-1, last.out_height, last.out_width, -1).contiguous()
        return Fixed(spread, self._gradient_exponent, peak), gradients

    def output_mask(self, unit: Unit, g: Fixed) -> Fixed:
        if unit.activation == "none":
            return g
        memory = self._memory[unit.name]
        return Fixed(self._do.mask(g.tensor, memory.output, memory.ceiling), g.exponent, g.peak)

    def unit_backward(
        self,
        unit: Unit,
        g: Fixed,
        *,
        previous: Unit | None,
        residual: Fixed | None,
        stem: bool,
        ran: Tensor | None,
    ) -> tuple[Fixed | None, Tensors]:
        memory = self._memory.pop(unit.name)
        dy, gradients = self._normalise_backward(unit, g, memory, ran)
        gradients[f"{unit.name}.weight"] = self._weight_gradient(unit, memory.x, dy)
        if stem:
            self._learn()
            return None, gradients
        before = None if previous is None else self._memory[previous.name]
        masked = before if previous is not None and previous.activation != "none" else None
        w, weight_exponent = self._weights.backward(unit.name)
        track = GRADIENT_STREAM if previous is None else f"{previous.name}.g"
        aim = self._gradient_exponent if previous is None else self._exponent(track)
        tensor, exponent, peak = self._do.input_gradient(
            dy.tensor,
            w,
            unit.geometry,
            (dy.exponent, weight_exponent, aim),
            output=None if masked is None else masked.output,
            ceiling=None if masked is None else masked.ceiling,
            residual=None if residual is None else residual.tensor,
            ran=ran,
            bits=self.settings.gradient_bits(self.spec, unit.name),
        )
        if previous is None:  # beyond the shift's range all is 0 or saturated in either exponent
            exponent = aim
        self._observe(track, peak, exponent, ran)
        return Fixed(tensor, exponent, peak), gradients

    def _normalise_backward(
        self, unit: Unit, g: Fixed, memory: _Memory, ran: Tensor | None
    ) -> tuple[Fixed, Tensors]:
        exponent = self._exponent(f"{unit.name}.dy")
        coefficients, gamma, beta = self._do.batch_norm_backward(
            self._do.channel_sums(g.tensor, memory.y, ran),
            memory.stats,
            self.parameters[f"{unit.name}.gamma"],
            memory.count,
            (g.exponent, memory.y_exponent, exponent),
        )
        dy, peak = self._do.normalise_backward(g.tensor, memory.y, coefficients, ran)
        self._observe(f"{unit.name}.dy", peak, exponent, ran)
        gradients = {f"{unit.name}.gamma": gamma, f"{unit.name}.beta": beta}
        return Fixed(dy, exponent, peak), gradients

    def _weight_gradient(self, unit: Unit, x: Fixed, g: Fixed) -> Tensor:
        chosen, batch = self.settings, self._number(float(self.batch))
        if not chosen.predict:
            exponents = x.exponent, g.exponent
            return self._do.full_gradient(x.tensor, g.tensor, unit.geometry, exponents, batch)
        msb_bits = chosen.x_msb_bits, chosen.g_msb_bits
        sign, sure = self._do.signs(x.tensor, g.tensor, unit.geometry, self.beta_q, msb_bits)
        self._tallies[unit.name] = sure
        return sign

    def shortcut_backward(self, block: Block, g: Fixed) -> Fixed:
        if block.shortcut == "identity":
            return g
        first = block.units[0].geometry
        tensor = steps.shortcut_pad_backward(
            g.tensor, first.stride, first.channels, (first.height, first.width)
        )
        return Fixed(tensor, g.exponent, g.peak)

    def gate_products(self, block: Block, g: Fixed, after: Fixed, before: Fixed) -> Tensor:
        exact = steps.gate_products(g.tensor, after.tensor, before.tensor)
        return real.ldexp(exact.to(torch.float64), g.exponent + after.exponent)
