# SPDX-License-Identifier: Apache-2.0
"""Does a device keep the contract? The four kernel operations at extreme values.

The expected integers come from sums over kernel positions in int64 NumPy, written here from the
definition of a convolution and shared with no device.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from ..errors import UserError
from ..numerics.fixedpoint import quantise_beta
from . import BACKENDS, open_device
from .base import Device
from .geometry import Geometry

BETA = 0.05
X_MSB, G_MSB = 4, 10

GEOMETRIES = {
    "3x3": Geometry(16, 9, 8, 32, (3, 3), 1, 1, 1),
    "3x3 stride 2": Geometry(5, 8, 9, 17, (3, 3), 2, 1, 1),
    "1x1": Geometry(33, 4, 4, 10, (1, 1), 1, 0, 1),
    "1x1 stride 2": Geometry(8, 7, 6, 16, (1, 1), 2, 0, 1),
    "7x7 padding 6": Geometry(3, 6, 5, 4, (7, 7), 1, 6, 1),
    "2x5 stride 2": Geometry(6, 11, 12, 7, (2, 5), 2, 3, 1),
    "depthwise 3x3": Geometry(19, 8, 7, 19, (3, 3), 1, 1, 19),
    "depthwise 5x3 stride 2": Geometry(8, 9, 9, 8, (5, 3), 2, 2, 8),
    "3x3, 64 channels": Geometry(64, 8, 8, 64, (3, 3), 1, 1, 1),
    "long row": Geometry(2, 1, 1200, 2, (1, 3), 1, 1, 1),
}


@dataclass(frozen=True)
class Operands:
    """x int8, w int8, g int16 of one case."""

    x: np.ndarray
    w: np.ndarray
    g: np.ndarray


@dataclass(frozen=True)
class Check:
    """One operation on one case: `wrong` of `total` integers differ from int64 NumPy."""

    operation: str
    case: str
    wrong: int
    total: int


def _windows(g: Geometry) -> Iterator[tuple[int, int, tuple[slice, ...]]]:
    """Every kernel position and the padded input positions that it meets."""
    everything = slice(None)
    for r in range(g.kernel[0]):
        for s in range(g.kernel[1]):
            rows = slice(r, r + g.stride * (g.out_height - 1) + 1, g.stride)
            columns = slice(s, s + g.stride * (g.out_width - 1) + 1, g.stride)
            yield r, s, (everything, everything, rows, columns)


def _padded(x: np.ndarray, padding: int) -> np.ndarray:
    sides = (padding, padding)
    return np.pad(x.astype(np.int64), ((0, 0), (0, 0), sides, sides))


def _forward(o: Operands, g: Geometry) -> np.ndarray:
    padded, sums = _padded(o.x, g.padding), np.zeros(o.g.shape, np.int64)
    for r, s, window in _windows(g):
        tap = o.w[:, :, r, s].astype(np.int64)
        form = "nkpq,k->nkpq" if g.groups > 1 else "ncpq,kc->nkpq"
        sums += np.einsum(form, padded[window], tap[:, 0] if g.groups > 1 else tap)
    return sums


def _backward_input(o: Operands, g: Geometry) -> np.ndarray:
    padded = _padded(np.zeros(o.x.shape), g.padding)
    for r, s, window in _windows(g):
        tap = o.w[:, :, r, s].astype(np.int64)
        form = "nkpq,k->nkpq" if g.groups > 1 else "nkpq,kc->ncpq"
        padded[window] += np.einsum(form, o.g.astype(np.int64), tap[:, 0] if g.groups > 1 else tap)
    inside = slice(g.padding, g.padding + g.height), slice(g.padding, g.padding + g.width)
    return padded[:, :, inside[0], inside[1]]


def _backward_weight(x: np.ndarray, gradient: np.ndarray, g: Geometry) -> np.ndarray:
    padded, sums = _padded(x, g.padding), np.zeros(g.weight_shape, np.int64)
    for r, s, window in _windows(g):
        form = "nkpq,nkpq->k" if g.groups > 1 else "nkpq,ncpq->kc"
        found = np.einsum(form, gradient.astype(np.int64), padded[window])
        sums[:, :, r, s] = found[:, None] if g.groups > 1 else found
    return sums


def _sliced(v: np.ndarray, bits: int, msb: int) -> np.ndarray:
    step, top = 1 << (bits - msb), (1 << (msb - 1)) - 1
    return np.clip((v.astype(np.int64) + step // 2) // step, -top, top)


def _signs(o: Operands, g: Geometry) -> tuple[np.ndarray, np.ndarray, int]:
    low = _backward_weight(_sliced(o.x, 8, X_MSB), _sliced(o.g, 16, G_MSB), g)
    top = int(np.abs(low).max())
    predicted = (low != 0) & (np.abs(low) * 65536 >= quantise_beta(BETA) * top)
    full = _backward_weight(o.x, o.g, g)
    return np.sign(np.where(predicted, low, full)), predicted, top


def _operands(g: Geometry, batch: int) -> Iterator[tuple[str, Operands]]:
    shapes = {"x": (batch, g.channels, g.height, g.width), "w": g.weight_shape}
    shapes["g"] = (batch, g.filters, g.out_height, g.out_width)
    kinds = {"x": np.int8, "w": np.int8, "g": np.int16}
    tops = {"x": (-128, 127), "w": (-127, 127), "g": (-32768, 32767)}
    random = np.random.default_rng(1)

    def fill(choose: Callable[[str], np.ndarray]) -> Operands:
        return Operands(**{key: choose(key).astype(kinds[key]) for key in shapes})

    yield "all lowest", fill(lambda key: np.full(shapes[key], tops[key][0]))
    yield "all highest", fill(lambda key: np.full(shapes[key], tops[key][1]))
    yield "extremes", fill(lambda key: random.choice(tops[key], shapes[key]))
    yield "random", fill(lambda key: random.integers(*tops[key], shapes[key], endpoint=True))


def _differing(found: np.ndarray, expected: np.ndarray, dtype: type) -> int:
    if found.dtype != dtype or found.shape != expected.shape:
        return expected.size
    return int(np.count_nonzero(found != expected))


def run_selftest(device: Device) -> Iterator[Check]:
    """Compare the four pinned operations with int64 sums, one check an operation and case."""
    for name, g in GEOMETRIES.items():
        options = {"stride": g.stride, "padding": g.padding, "groups": g.groups}
        for values, o in _operands(g, batch=2):
            case = f"{name}, {values}"
            y = device.conv_forward(o.x, o.w, **options)
            yield Check("conv_forward", case, _differing(y, _forward(o, g), np.int32), y.size)
            gx = device.conv_backward_input(o.g, o.w, (g.height, g.width), **options)
            expected = _backward_input(o, g)
            yield Check("conv_backward_input", case, _differing(gx, expected, np.int64), gx.size)
            gw = device.conv_backward_weight(o.x, o.g, g.kernel, **options)
            expected = _backward_weight(o.x, o.g, g)
            yield Check("conv_backward_weight", case, _differing(gw, expected, np.int64), gw.size)
            r = device.psg_backward_weight(
                o.x, o.g, g.kernel, beta=BETA, x_msb_bits=X_MSB, g_msb_bits=G_MSB, **options
            )
            sign, predicted, top = _signs(o, g)
            wrong = _differing(r.sign, sign, np.int8) + _differing(r.predicted, predicted, np.bool_)
            wrong += r.max_msb != top
            yield Check("psg_backward_weight", case, wrong, 2 * sign.size + 1)


@dataclass(frozen=True)
class Backend:
    """A backend of the emulator: its full name where it works, else why it does not."""

    name: str
    available: bool
    detail: str


def emulator_backends() -> Iterator[Backend]:
    """Every backend that `open_device("emulator", backend=...)` knows, tried in turn."""
    for name in BACKENDS:
        if name == "auto":
            continue
        try:
            with open_device("emulator", backend=name) as device:
                yield Backend(name, True, device.name)
        except UserError as error:
            yield Backend(name, False, str(error))
