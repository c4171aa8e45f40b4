# SPDX-License-Identifier: Apache-2.0
"""What golden vectors hold: every operation, its operands, and the integers of the int64 reference.

Operands come from a seed, often at the limits of their type. Each function records launches on a
`GoldenDevice` and tells it what memory must hold afterwards.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from device_cases import Values
from e2train.device import Geometry
from e2train.device.accelerator.launch import Launch
from golden_device import GoldenDevice, blocked
from reference_device import (
    ReferenceDevice,
    clipped,
    convolved,
    input_gradient,
    peak_of,
    predicted_signs,
    rounded,
    top_bits,
    weight_gradient,
)

REFERENCE = ReferenceDevice()
BATCHES = (1, 2, 15, 16, 17, 33)
LANES = 16


class Lowest(Values):
    """Every element at the limit of largest magnitude: sums as large as they can be."""

    def array(self, shape: tuple[int, ...], dtype: type, low: int | None = None) -> np.ndarray:
        return np.full(shape, np.iinfo(dtype).min if low is None else low, dtype)


def smaller_tiles(random: np.random.Generator) -> Callable[[Launch], None]:
    """A change to launches: tiles of any size up to the planned one, so that edges are many."""

    def any_of(most: int, step: int = 1, least: int = 1) -> int:
        return step * int(random.integers(min(least, most // step), most // step + 1))

    def change(launch: Launch) -> None:
        tiles = launch.registers
        if "tile_h" not in tiles:
            return
        weights = launch.operation in ("weight_gradient", "psg_gradient")
        # PSG's second phase keeps two filters at a time.
        least = 2 if launch.operation == "psg_gradient" else 1
        outer = any_of(tiles["tile_outer"], 1 if weights else LANES, least)
        launch.set(tile_h=any_of(tiles["tile_h"]), tile_w=any_of(tiles["tile_w"]), tile_outer=outer)
        if weights and not tiles["depthwise"]:
            launch.set(tile_inner=any_of(tiles["tile_inner"], LANES))

    return change


def any_geometry(random: np.random.Generator) -> Geometry:
    """1x1 to 7x7, stride 1 and 2, any padding, dense or depthwise."""
    depthwise = random.random() < 0.35
    channels = int(random.choice((1, 2, 3, 5, 8, 16, 17, 33)))
    filters = channels if depthwise else int(random.choice((1, 2, 7, 16, 24, 33, 48)))
    kernel = int(random.integers(1, 8)), int(random.integers(1, 8))
    padding = int(random.integers(0, max(kernel)))
    height, width = (int(random.integers(max(1, side - 2 * padding), 12)) for side in kernel)
    stride = int(random.integers(1, 3))
    groups = channels if depthwise else 1
    return Geometry(channels, height, width, filters, kernel, stride, padding, groups)


def _pick(random: np.random.Generator, *choices: int | None) -> int | None:
    return choices[int(random.integers(len(choices)))]


def _telling_shift(random: np.random.Generator, sums: np.ndarray) -> int:
    """Any shift, but mostly one that leaves results of 8 to 17 bits: all of their bits tell."""
    if random.random() < 0.2:
        return int(random.integers(-6, 31))
    return max(peak_of(sums).bit_length() - int(random.integers(8, 18)), -15)


def _saturated(v: np.ndarray) -> int:
    return int(np.count_nonzero(v != clipped(v, 16)))


# ---- convolutions -------------------------------------------------------------------------------


def convolve(dev: GoldenDevice, values: Values, geometry: Geometry, batch: int) -> None:
    x, w = values.x(geometry, batch), values.w(geometry)
    exact = convolved(x, w, geometry)
    shift = _telling_shift(values.random, exact)
    dev.convolve(dev.put(x), w, geometry, shift)
    expected = REFERENCE.convolve(x, w, geometry, shift)
    dev.expect_tensor(expected.y)
    saturations = _saturated(rounded(exact, shift))
    dev.expect_counters(peak=expected.peak, saturations=saturations)
    dev.expect_sums(expected.total, expected.squares)


def convolve_exactly(dev: GoldenDevice, values: Values, geometry: Geometry, batch: int) -> None:
    x, w = values.x(geometry, batch), values.w(geometry)
    options = {"stride": geometry.stride, "padding": geometry.padding, "groups": geometry.groups}
    dev.conv_forward(x, w, **options)
    dev.expect_tensor(convolved(x, w, geometry))


def _with_some(array: np.ndarray, value: int | None, random: np.random.Generator) -> np.ndarray:
    """A third of the elements are `value`: masks must decide at their ceiling."""
    if value is None or value > np.iinfo(array.dtype).max:
        return array
    return np.where(random.random(array.shape) < 0.33, array.dtype.type(value), array)


def gradient_to_input(dev: GoldenDevice, values: Values, geometry: Geometry, batch: int) -> None:
    random = values.random
    g, w = values.g(geometry, batch), values.w(geometry)
    shape = batch, geometry.channels, geometry.height, geometry.width
    shift = _telling_shift(random, input_gradient(g, w, geometry))
    ceiling = _pick(random, None, 0, 1, 100, 127, 32767)
    mask = values.array(shape, np.int8 if values.chance(0.5) else np.int16)
    options = {
        "output": _with_some(mask, ceiling, random) if values.chance(0.6) else None,
        "ceiling": ceiling,
        "residual": values.stream(*shape) if values.chance(0.5) else None,
        "g_bits": 8 if values.chance(0.4) else 16,
    }
    if options["g_bits"] == 8:
        shift = max(shift - 8, -15)
    given = {
        name: dev.put(value) if isinstance(value, np.ndarray) else value
        for name, value in options.items()
    }
    dev.input_gradient(dev.put(g), w, geometry, shift, **given)
    expected = REFERENCE.input_gradient(g, w, geometry, shift, **options)
    dev.expect_tensor(expected.tensor)
    dev.expect_counters(peak=expected.peak)


def gradient_to_input_exactly(
    dev: GoldenDevice, values: Values, geometry: Geometry, batch: int
) -> None:
    g, w = values.g(geometry, batch), values.w(geometry)
    options = {"stride": geometry.stride, "padding": geometry.padding, "groups": geometry.groups}
    dev.conv_backward_input(g, w, (geometry.height, geometry.width), **options)
    dev.expect_tensor(input_gradient(g, w, geometry))


def gradient_to_weights(dev: GoldenDevice, values: Values, geometry: Geometry, batch: int) -> None:
    x, g = values.x(geometry, batch), values.g(geometry, batch)
    dev.weight_gradient(dev.put(x), dev.put(g), geometry)
    full = weight_gradient(x, g, geometry)
    dev.expect("out", "out_address", full)
    dev.expect_counters(peak=peak_of(full), weights=full.size)


def psg(
    dev: GoldenDevice,
    values: Values,
    geometry: Geometry,
    batch: int,
    predictor: tuple[int, int, int],
) -> None:
    """`predictor`: beta_q, x_msb, g_msb."""
    beta_q, x_msb, g_msb = predictor
    x, g = values.x(geometry, batch), values.g(geometry, batch)
    dev.psg_gradient(dev.put(x), dev.put(g), geometry, *predictor)
    low = weight_gradient(top_bits(x, 8, x_msb), top_bits(g, 16, g_msb), geometry)
    expected = predicted_signs(low, weight_gradient(x, g, geometry), beta_q)
    codes = (expected.sign & 3) | expected.predicted.astype(np.int8) << 2
    dev.expect("out", "out_address", codes.astype(np.int8))
    filler = np.zeros(-codes.size % 8, np.int8)  # of the last 64-bit beat
    dev.expect("filler", "out_address", filler, codes.size)
    dev.expect_counters(
        max_msb=expected.max_msb, predicted=int(expected.predicted.sum()), weights=codes.size
    )


# ---- the layers around them ---------------------------------------------------------------------


def any_shape(random: np.random.Generator) -> tuple[int, int, int, int]:
    sizes = (random.choice(BATCHES), random.choice((1, 3, 8, 17)), *random.integers(1, 9, 2))
    n, c, h, w = (int(size) for size in sizes)
    return n, c, h, w


def _bounded(values: Values, channels: int, shift: int) -> np.ndarray:
    return values.factors(channels, 2**30 - 2 ** (shift - 1) - 1)


def normalise(dev: GoldenDevice, values: Values) -> None:
    shape, shift = any_shape(values.random), int(values.random.integers(1, 31))
    y, residual = values.stream(*shape), values.stream(*shape)
    m, o = values.factors(shape[1], 2**15 - 1), _bounded(values, shape[1], shift)
    options = {
        "rectify": values.chance(0.5),
        "ceiling": _pick(values.random, None, 0, 96, 127, 128, 32768),
        "bits": int(values.random.integers(8, 17)),
    }
    added = values.chance(0.5)
    given = dev.put(residual) if added else None
    dev.normalise(dev.put(y), m, o, shift, residual=given, **options)
    expected = REFERENCE.normalise(y, m, o, shift, residual=residual if added else None, **options)
    dev.expect_tensor(expected.tensor)
    dev.expect_counters(peak=expected.peak)


def normalise_backward(dev: GoldenDevice, values: Values) -> None:
    shape, shift = any_shape(values.random), int(values.random.integers(1, 31))
    g, y = values.stream(*shape), values.stream(*shape)
    a, b = (values.factors(shape[1], 2**14 - 1) for _ in range(2))
    c = _bounded(values, shape[1], shift)
    dev.normalise_backward(dev.put(g), dev.put(y), a, b, c, shift)
    expected = REFERENCE.normalise_backward(g, y, a, b, c, shift)
    dev.expect_tensor(expected.tensor)
    dev.expect_counters(peak=expected.peak)


def elementwise(dev: GoldenDevice, values: Values) -> None:
    shape = any_shape(values.random)
    a, b = values.stream(*shape), values.stream(*shape)
    shift = int(values.random.integers(0, 16))
    dev.narrow(dev.put(a), shift)
    dev.expect_tensor(REFERENCE.narrow(a, shift))
    dev.add(dev.put(a), dev.put(b))
    dev.expect_tensor(REFERENCE.add(a, b))
    for output in (b, values.array(shape, np.int8)):
        ceiling = _pick(values.random, None, 0, 96, 127, 128, 32767)
        output = _with_some(output, ceiling, values.random)
        dev.mask(dev.put(a), dev.put(output), ceiling)
        dev.expect_tensor(REFERENCE.mask(a, output, ceiling))


def sums(dev: GoldenDevice, values: Values) -> None:
    shape = any_shape(values.random)
    a, b, c = (values.stream(*shape) for _ in range(3))
    dev.gradient_sums(dev.put(a), dev.put(b))
    dev.expect_sums(*REFERENCE.gradient_sums(a, b))
    dev.gate_products(dev.put(a), dev.put(b), dev.put(c))
    products = np.zeros(-(-shape[0] // LANES) * LANES, np.int64)
    products[: shape[0]] = REFERENCE.gate_products(a, b, c)
    dev.expect_sums(products)
    for points in (1, 2, 4):
        dev.pool_grid(dev.put(a), points)
        pooled = REFERENCE.pool_grid(a, points)[:, :, None, None]
        dev.expect_sums(blocked(pooled))


def rearranged(dev: GoldenDevice, values: Values) -> None:
    n, channels, height, width = any_shape(values.random)
    stride, wider = int(values.random.integers(1, 3)), int(values.random.integers(0, 20))
    stream = values.stream(n, channels, height, width)
    dev.shortcut_pad(dev.put(stream), stride, channels + wider)
    padded = REFERENCE.shortcut_pad(stream, stride, channels + wider)
    dev.expect_tensor(padded)
    g = values.stream(*padded.shape)
    dev.shortcut_pad_backward(dev.put(g), stride, channels, height, width)
    back = REFERENCE.shortcut_pad_backward(g, stride, channels, height, width)
    dev.expect_tensor(back)
    point = values.stream(n, channels)
    dev.spread(point, height, width)
    dev.expect_tensor(REFERENCE.spread(point, height, width))


def moved(dev: GoldenDevice, values: Values) -> None:
    shape = any_shape(values.random)
    if values.chance(0.3):  # more words than are kept on chip at a time
        shape = shape[0], 17, 6, 7
    kind = np.int8 if values.chance(0.5) else np.int16
    base = values.array(shape, kind)
    some = np.flatnonzero(values.random.random(shape[0]) < 0.6)
    if not len(some):
        some = np.array([shape[0] - 1])
    part = values.array((len(some), *shape[1:]), kind)
    dev.merge(dev.put(base), some, dev.put(part))
    dev.expect_tensor(REFERENCE.merge(base, some, part))
    dev.take(dev.put(base), some)
    dev.expect_tensor(REFERENCE.take(base, some))


LAYERS = {
    "normalise": normalise,
    "normalise_backward": normalise_backward,
    "elementwise": elementwise,
    "sums": sums,
    "rearranged": rearranged,
    "moved": moved,
}
