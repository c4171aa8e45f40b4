# SPDX-License-Identifier: Apache-2.0
"""Training operations of every device against obvious int64 ones, at the docstrings' bounds."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_cases import BATCHES, DEVICES, SEEDS, Values, device, geometries
from e2train.device import Geometry
from e2train.device.emulator.native import NativeEmulator
from recording_device import RecordingDevice, same_calls
from reference_device import ReferenceDevice

SHAPES = st.tuples(
    BATCHES, st.sampled_from((1, 3, 8, 16, 17, 64)), st.integers(1, 9), st.integers(1, 9)
)
EVERY = pytest.mark.parametrize("name", DEVICES)


def expect_same(name, steps):
    """Run the same operations on the device and on the reference; every result must be equal."""
    calls = []
    for inner in (device(name), ReferenceDevice()):
        recorded = RecordingDevice(inner)
        steps(recorded)
        calls.append(recorded.calls)
    same_calls(*calls)


def optional(values, dev, array):
    return dev.put(array) if values.chance(0.5) else None


@EVERY
@settings(max_examples=25, deadline=None)
@given(geometry=geometries(), batch=BATCHES, shift=st.integers(-2, 40), seed=SEEDS)
def test_convolve(name, geometry, batch, shift, seed):
    def steps(dev):
        values = Values(seed)
        dev.convolve(dev.put(values.x(geometry, batch)), values.w(geometry), geometry, shift)

    expect_same(name, steps)


@EVERY
@settings(max_examples=25, deadline=None)
@given(
    geometry=geometries(),
    batch=BATCHES,
    shift=st.integers(-15, 47),
    g_bits=st.sampled_from((16, 16, 8, 5)),
    ceiling=st.sampled_from((None, -5, 0, 1, 100, 127, 128, 32767, 32768)),
    seed=SEEDS,
)
def test_input_gradient(name, geometry, batch, shift, g_bits, ceiling, seed):
    shape = (batch, geometry.channels, geometry.height, geometry.width)

    def steps(dev):
        values = Values(seed)
        kind = np.int8 if values.chance(0.5) else np.int16
        bits = max(g_bits, 8) if name == "csim" else g_bits  # which narrows to 8 bits only
        dev.input_gradient(
            dev.put(values.g(geometry, batch)),
            values.w(geometry),
            geometry,
            shift,
            output=optional(values, dev, values.array(shape, kind)),
            ceiling=ceiling,
            residual=optional(values, dev, values.stream(*shape)),
            g_bits=bits,
        )

    expect_same(name, steps)


def bounded(values, channels, shift):
    """Offsets int32 with |offset| + half < 2^30, often at that bound."""
    return values.factors(channels, 2**30 - 2 ** (shift - 1) - 1)


@EVERY
@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES,
    shift=st.integers(1, 30),
    bits=st.integers(8, 16),
    rectify=st.booleans(),
    ceiling=st.sampled_from((None, -3, 0, 1, 96, 127, 128, 32768, 70000)),
    seed=SEEDS,
)
def test_normalise(name, shape, shift, bits, rectify, ceiling, seed):
    def steps(dev):
        values = Values(seed)
        dev.normalise(
            dev.put(values.stream(*shape)),
            values.factors(shape[1], 2**15 - 1),
            bounded(values, shape[1], shift),
            shift,
            residual=optional(values, dev, values.stream(*shape)),
            rectify=rectify,
            ceiling=ceiling,
            bits=bits,
        )

    expect_same(name, steps)


@EVERY
@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, shift=st.integers(1, 30), seed=SEEDS)
def test_normalise_backward(name, shape, shift, seed):
    def steps(dev):
        values = Values(seed)
        g, y = dev.put(values.stream(*shape)), dev.put(values.stream(*shape))
        a, b = (values.factors(shape[1], 2**14 - 1) for _ in range(2))
        dev.gradient_sums(g, y)
        dev.normalise_backward(g, y, a, b, bounded(values, shape[1], shift), shift)

    expect_same(name, steps)


@EVERY
@settings(max_examples=25, deadline=None)
@given(
    shape=SHAPES,
    shift=st.integers(0, 15),
    ceiling=st.sampled_from((None, -5, 0, 1, 96, 127, 128, 200, 32767, 32768)),
    seed=SEEDS,
)
def test_elementwise(name, shape, shift, ceiling, seed):
    def steps(dev):
        values = Values(seed)
        a, b, c = (dev.put(values.stream(*shape)) for _ in range(3))
        dev.narrow(a, shift)
        dev.mask(a, b, ceiling)
        dev.mask(a, dev.put(values.array(shape, np.int8)), ceiling)
        dev.add(a, b)
        dev.gate_products(a, b, c)
        dev.pool(a)
        dev.spread(values.stream(*shape[:2]), *shape[2:])
        for points in (1, 2, 4, 9):
            dev.pool_grid(a, points)

    expect_same(name, steps)


@EVERY
@settings(max_examples=25, deadline=None)
@given(shape=SHAPES, stride=st.sampled_from((1, 2)), wider=st.integers(0, 19), seed=SEEDS)
def test_rearranging(name, shape, stride, wider, seed):
    n, channels, height, width = shape
    out = (n, channels + wider, -(-height // stride), -(-width // stride))

    def steps(dev):
        values = Values(seed)
        dev.shortcut_pad(dev.put(values.stream(*shape)), stride, channels + wider)
        g = dev.put(values.stream(*out))
        dev.shortcut_pad_backward(g, stride, channels, height, width)
        for kind in (np.int8, np.int16):
            base = dev.put(values.array(shape, kind))
            some = np.flatnonzero(values.random.random(n) < 0.6)
            if len(some):
                part = dev.put(values.array((len(some), *shape[1:]), kind))
                dev.merge(base, some, part)
                dev.take(base, some)

    expect_same(name, steps)


@EVERY
@settings(max_examples=15, deadline=None)
@given(
    geometry=geometries(),
    batch=BATCHES,
    beta_q=st.integers(0, 2**16),
    x_msb=st.integers(2, 7),
    g_msb=st.integers(2, 15),
    seed=SEEDS,
)
def test_weight_gradients(name, geometry, batch, beta_q, x_msb, g_msb, seed):
    def steps(dev):
        values = Values(seed)
        x, g = dev.put(values.x(geometry, batch)), dev.put(values.g(geometry, batch))
        dev.weight_gradient(x, g, geometry)
        dev.psg_gradient(x, g, geometry, beta_q, x_msb, g_msb)

    expect_same(name, steps)


def test_32_bit_sums_are_left_where_weights_could_overflow_them(monkeypatch):
    """64 filters of 3x3 weights at 127 reach 2.4e9: native goes through 64-bit sums, exactly."""
    native = device("native")
    wide = []
    exact = NativeEmulator._exact_input_gradient
    monkeypatch.setattr(
        NativeEmulator,
        "_exact_input_gradient",
        lambda self, *given: wide.append(given) or exact(self, *given),
    )
    geometry = Geometry(3, 4, 4, 64, (3, 3), 1, 1, 1)
    for weight, through in ((127, 1), (20, 0)):
        wide.clear()

        def steps(dev, weight=weight):
            g = dev.put(np.full((2, 64, 4, 4), -32768, np.int16))
            w = np.full((64, 3, 3, 3), weight, np.int8)
            residual = dev.put(np.full((2, 3, 4, 4), -32768, np.int16))
            dev.input_gradient(g, w, geometry, 16, residual=residual)

        calls = []
        for inner in (native, ReferenceDevice()):
            recorded = RecordingDevice(inner)
            steps(recorded)
            calls.append(recorded.calls)
        same_calls(*calls)
        assert len(wide) == through
