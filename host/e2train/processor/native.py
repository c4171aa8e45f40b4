# SPDX-License-Identifier: Apache-2.0
"""The processor's work in C++: one call a layer and pass instead of some thirty of NumPy's."""

from __future__ import annotations

from collections.abc import Sequence
from ctypes import Structure, byref, c_void_p
from dataclasses import fields

import numpy as np

from ..device.address import address as _at
from ..numerics.gate_cell import HIDDEN, GateStep, GateWeights
from ..numerics.normalisation import BackwardLine, Moments
from .base import Moves, Processor, Step
from .library import load

MOST_KEPT = 4096  # addresses of parameters, which hold their arrays


class _Room:
    """What the two passes of a unit write, in place from one iteration to the next."""

    def __init__(self, gamma: np.ndarray) -> None:
        channels = len(gamma)
        self.gamma = gamma  # held, so that no other array can have its identity
        self._reals = np.empty((10, channels))  # mean, variance, room of both passes
        whole = np.empty((3, channels), np.int32)
        self.reals_at, self.integers_at = _at(self._reals), _at(whole)
        self.stats = Moments(self._reals[0], self._reals[1])
        self.integers = (whole[0], whole[1], whole[2])

    def stats_at(self, stats: Moments) -> tuple[int, int]:
        """Addresses of mean and variance."""
        if stats is self.stats:
            return self.reals_at, self.reals_at + 8 * len(self.gamma)
        return _at(stats.mean), _at(stats.variance)


class _Pointers(Structure):
    """The addresses of a dataclass's arrays, in order."""

    @classmethod
    def of(cls, arrays: GateWeights | GateStep) -> _Pointers:
        """Of float64 arrays, which must be C-contiguous and outlive this."""
        return cls(*(_at(getattr(arrays, name)) for name, *_ in cls._fields_))


class _Weights(_Pointers):
    _fields_ = [(field.name, c_void_p) for field in fields(GateWeights)]


class _Step(_Pointers):
    _fields_ = [(field.name, c_void_p) for field in fields(GateStep)]


class NativeProcessor(Processor):
    """The C++ of `kernels/`. Raises NativeUnavailable where it cannot be built."""

    name = "C++"

    def __init__(self) -> None:
        self._library = load()
        self._addresses: dict[int, tuple[np.ndarray, int]] = {}
        self._rooms: dict[int, _Room] = {}

    def _kept(self, array: np.ndarray) -> int:
        """The address of an array that stays, such as a parameter."""
        known = self._addresses.get(id(array))
        if known is None:
            if not array.flags.c_contiguous:
                raise ValueError("parameters must be C-contiguous")
            if len(self._addresses) >= MOST_KEPT:
                self._addresses.clear()
            known = self._addresses[id(array)] = (array, _at(array))
        return known[1]

    def _room(self, gamma: np.ndarray) -> _Room:
        """Of the unit that has this gamma."""
        known = self._rooms.get(id(gamma))
        if known is None:
            if len(self._rooms) >= MOST_KEPT:
                self._rooms.clear()
            known = self._rooms[id(gamma)] = _Room(gamma)
        return known

    def quantise(self, weights: np.ndarray) -> tuple[np.ndarray, int]:
        weights = np.ascontiguousarray(weights, np.float32)
        mantissas = np.empty(weights.shape, np.int8)
        exponent = self._library.e2p_quantise(_at(weights), weights.size, _at(mantissas))
        return mantissas, exponent

    def centre(self, pictures: np.ndarray, mean: np.ndarray) -> np.ndarray:
        pictures = np.ascontiguousarray(pictures, np.uint8)
        samples, channels, height, width = pictures.shape
        mean = np.ascontiguousarray(mean, np.int16)
        centred = np.empty(pictures.shape, np.int8)
        self._library.e2p_centre(
            _at(pictures), samples, channels, height * width, _at(mean), _at(centred)
        )
        return centred

    def move(self, pictures: np.ndarray, drawn: Moves, border: np.ndarray) -> np.ndarray:
        pictures = np.ascontiguousarray(pictures, np.uint8)
        samples, channels, height, width = pictures.shape
        out = np.empty_like(pictures)
        self._library.e2p_move(
            _at(pictures),
            samples,
            channels,
            height,
            width,
            _at(drawn.down),
            _at(drawn.right),
            _at(drawn.mirrored),
            drawn.shift,
            _at(border),
            _at(out),
        )
        return out

    def steps(
        self, tensors: Sequence[Step], decays: np.ndarray, momentum: float, rates: np.ndarray
    ) -> None:
        held = [
            np.ascontiguousarray(g, np.int8 if g.dtype == np.int8 else np.float32)
            for _, _, g in tensors
        ]
        table = np.array(
            [
                (self._kept(value), self._kept(velocity), _at(g), value.size, g.itemsize)
                for (value, velocity, _), g in zip(tensors, held, strict=True)
            ],
            np.int64,
        )
        self._library.e2p_steps(_at(table), len(table), _at(decays), _at(rates), momentum)

    def moments(self, total: np.ndarray, squares: np.ndarray, count: int, exponent: int) -> Moments:
        total = np.ascontiguousarray(total, np.int64)
        squares = np.ascontiguousarray(squares, np.int64)
        found = np.empty((2, len(total)))
        at = _at(found)
        self._library.e2p_moments(
            _at(total), _at(squares), len(total), count, exponent, at, at + 8 * len(total)
        )
        return Moments(found[0], found[1])

    def follow(
        self,
        running_mean: np.ndarray,
        running_variance: np.ndarray,
        stats: Moments,
        count: int,
        share: float,
    ) -> None:
        self._library.e2p_follow(
            self._kept(running_mean),
            self._kept(running_variance),
            _at(stats.mean),
            _at(stats.variance),
            len(running_mean),
            count,
            share,
        )

    def forward(
        self,
        gamma: np.ndarray,
        beta: np.ndarray,
        scale: float,
        stats: Moments,
        y_exponent: int,
        out_exponent: int,
    ) -> tuple[np.ndarray, np.ndarray, int]:
        channels = len(gamma)
        room, found = np.empty(2 * channels), np.empty((2, channels), np.int32)
        at = _at(found)
        shift = self._library.e2p_forward(
            self._kept(gamma),
            self._kept(beta),
            scale,
            _at(stats.mean),
            _at(stats.variance),
            channels,
            y_exponent,
            out_exponent,
            _at(room),
            at,
            at + 4 * channels,
        )
        return found[0], found[1], shift

    def backward_line(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        gamma: np.ndarray,
        stats: Moments,
        sizes: tuple[int, int],
        exponents: tuple[int, int],
    ) -> tuple[BackwardLine, np.ndarray, np.ndarray]:
        channels = len(gamma)
        sum_g, sum_g_y = (np.ascontiguousarray(one, np.int64) for one in sums)
        line, gradients = np.empty((3, channels)), np.empty((2, channels), np.float32)
        at = _at(gradients)
        self._library.e2p_backward_line(
            _at(sum_g),
            _at(sum_g_y),
            self._kept(gamma),
            _at(stats.mean),
            _at(stats.variance),
            channels,
            *sizes,
            *exponents,
            _at(line),
            at,
            at + 4 * channels,
        )
        return BackwardLine(line[0], line[1], line[2]), gradients[1], gradients[0]

    def backward(
        self, line: BackwardLine, g_exponent: int, y_exponent: int, out_exponent: int
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
        channels = len(line.a)
        whole = np.concatenate((line.a, line.b, line.c))
        room, found = np.empty(3 * channels), np.empty((3, channels), np.int32)
        shift = self._library.e2p_backward(
            _at(whole),
            channels,
            g_exponent,
            y_exponent,
            out_exponent,
            _at(room),
            _at(found),
        )
        return found[0], found[1], found[2], shift

    def train_forward(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        count: int,
        share: float,
        running: tuple[np.ndarray, np.ndarray],
        affine: tuple[np.ndarray, np.ndarray],
        scale: float,
        exponents: tuple[int, int],
    ) -> tuple[Moments, tuple[np.ndarray, np.ndarray, int]]:
        total, squares = (np.ascontiguousarray(one, np.int64) for one in sums)
        room = self._room(affine[0])
        shift = self._library.e2p_train_forward(
            _at(total),
            _at(squares),
            len(total),
            count,
            share,
            self._kept(running[0]),
            self._kept(running[1]),
            self._kept(affine[0]),
            self._kept(affine[1]),
            scale,
            *exponents,
            room.reals_at,
            room.integers_at,
        )
        return room.stats, (room.integers[0], room.integers[1], shift)

    def train_backward(
        self,
        sums: tuple[np.ndarray, np.ndarray],
        gamma: np.ndarray,
        stats: Moments,
        sizes: tuple[int, int],
        exponents: tuple[int, int],
        out_exponent: int,
    ) -> tuple[tuple[np.ndarray, np.ndarray, np.ndarray, int], np.ndarray, np.ndarray]:
        sum_g, sum_g_y = (np.ascontiguousarray(one, np.int64) for one in sums)
        channels, room = len(gamma), self._room(gamma)
        gradients = np.empty((2, channels), np.float32)
        shift = self._library.e2p_train_backward(
            _at(sum_g),
            _at(sum_g_y),
            self._kept(gamma),
            *room.stats_at(stats),
            channels,
            *sizes,
            *exponents,
            out_exponent,
            room.reals_at + 32 * channels,
            _at(gradients),
            room.integers_at,
        )
        return (*room.integers, shift), gradients[1], gradients[0]

    def gate_step(
        self,
        weights: GateWeights,
        features: np.ndarray,
        before: tuple[np.ndarray, np.ndarray],
        raised: float,
        offset: float,
    ) -> GateStep:
        features = np.ascontiguousarray(features, np.float64)
        samples, channels = features.shape
        step = GateStep(
            features,
            *before,
            np.empty((samples, HIDDEN)),
            np.empty((samples, 4 * HIDDEN)),
            np.empty((samples, HIDDEN)),
            np.empty((samples, HIDDEN)),
            np.empty(samples),
            np.empty(samples),
        )
        pointers = _Weights.of(weights), _Step.of(step)
        self._library.e2p_gate_step(*map(byref, pointers), samples, channels, raised, offset)
        return step

    def gate_backward(
        self,
        weights: GateWeights,
        step: GateStep,
        gradients: GateWeights,
        g_probability: np.ndarray,
        behind: tuple[np.ndarray, np.ndarray],
    ) -> tuple[float, np.ndarray, np.ndarray]:
        samples, channels = step.features.shape
        raised, g_hidden, g_cell = np.zeros(1), behind[0].copy(), behind[1].copy()
        g_probability = np.ascontiguousarray(g_probability, np.float64)
        pointers = _Weights.of(weights), _Step.of(step), _Weights.of(gradients)
        self._library.e2p_gate_backward(
            *map(byref, pointers),
            _at(raised),
            _at(g_probability),
            _at(g_hidden),
            _at(g_cell),
            samples,
            channels,
        )
        return float(raised[0]), g_hidden, g_cell
