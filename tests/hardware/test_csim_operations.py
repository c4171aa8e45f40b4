# SPDX-License-Identifier: Apache-2.0
"""Every operation in C simulation against the int64 reference, with guard bytes around buffers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import csim_device
from csim_device import csim, expect_same
from device_cases import Values, geometries
from e2train.device import Geometry
from recording_device import same
from reference_device import (
    convolved,
    input_gradient,
    predicted_signs,
    top_bits,
    weight_gradient,
)

SEEDS = st.integers(0, 2**32 - 1)
BATCHES = st.sampled_from((1, 2, 15, 16, 17, 33))
SHAPES = st.tuples(
    BATCHES, st.sampled_from((1, 3, 8, 17, 64)), st.integers(1, 9), st.integers(1, 9)
)


def some(examples):
    return settings(max_examples=examples, deadline=None)


def optional(values, dev, array):
    return dev.put(array) if values.chance(0.5) else None


def pinned(geometry, batch, values, beta, x_msb, g_msb):
    dev = csim()
    x, w, g = values.x(geometry, batch), values.w(geometry), values.g(geometry, batch)
    options = {"stride": geometry.stride, "padding": geometry.padding, "groups": geometry.groups}
    same(dev.conv_forward(x, w, **options), convolved(x, w, geometry).astype(np.int32), "forward")
    back = dev.conv_backward_input(g, w, (geometry.height, geometry.width), **options)
    same(back, input_gradient(g, w, geometry), "input gradient")
    full = weight_gradient(x, g, geometry)
    same(dev.conv_backward_weight(x, g, geometry.kernel, **options), full, "weight gradient")
    found = dev.psg_backward_weight(
        x, g, geometry.kernel, beta=beta, x_msb_bits=x_msb, g_msb_bits=g_msb, **options
    )
    low = weight_gradient(top_bits(x, 8, x_msb), top_bits(g, 16, g_msb), geometry)
    expected = predicted_signs(low, full, int(np.floor(beta * 65536 + 0.5)))
    same(found.sign, expected.sign, "sign")
    same(found.predicted, expected.predicted, "predicted")
    assert found.max_msb == expected.max_msb


@some(25)
@given(
    geometry=geometries(),
    batch=BATCHES,
    seed=SEEDS,
    beta=st.floats(0, 1),
    x_msb=st.integers(2, 7),
    g_msb=st.integers(2, 15),
)
def test_pinned_operations(geometry, batch, seed, beta, x_msb, g_msb):
    pinned(geometry, batch, Values(seed), beta, x_msb, g_msb)


class Lowest(Values):
    """Everything at the value of largest magnitude."""

    def array(self, shape, dtype, low=None):
        return np.full(shape, -(2**7) if dtype == np.int8 else -(2**15), dtype) + (low == -127)


LARGE = {
    "sums beyond 32 bits in both backward passes": (Geometry(8, 24, 24, 96, (5, 5), 1, 2, 1), 1),
    "long rows": (Geometry(2, 1, 1300, 3, (1, 3), 1, 1, 1), 2),
    "long rows, stride 2": (Geometry(2, 2, 2600, 3, (1, 3), 2, 2, 1), 1),
    "depthwise, long rows": (Geometry(3, 2, 1300, 3, (2, 2), 1, 1, 3), 2),
    "a reduction in several launches": (Geometry(440, 2, 3, 20, (3, 3), 1, 1, 1), 17),
    "several launches back": (Geometry(20, 2, 3, 600, (3, 3), 1, 1, 1), 3),
    "several filter and channel tiles": (Geometry(160, 4, 4, 80, (1, 1), 1, 0, 1), 16),
    "7x7": (Geometry(3, 12, 12, 33, (7, 7), 2, 3, 1), 3),
    "largest picture": (Geometry(1, 4095, 1, 1, (3, 1), 2, 1, 1), 1),
}


@pytest.mark.parametrize("values", [Lowest(0), Values(5)], ids=["lowest", "any"])
@pytest.mark.parametrize("case", LARGE)
def test_large(case, values):
    pinned(*LARGE[case], values, 0.05, 4, 10)


@some(15)
@given(geometry=geometries(), batch=BATCHES, shift=st.integers(-2, 40), seed=SEEDS)
def test_convolve(geometry, batch, shift, seed):
    def steps(dev):
        values = Values(seed)
        dev.convolve(dev.put(values.x(geometry, batch)), values.w(geometry), geometry, shift)

    expect_same(steps)


@some(25)
@given(
    geometry=geometries(),
    batch=BATCHES,
    shift=st.integers(-15, 47),
    g_bits=st.sampled_from((16, 16, 8)),
    ceiling=st.sampled_from((None, -5, 0, 1, 100, 127, 128, 32767, 32768)),
    seed=SEEDS,
)
def test_input_gradient(geometry, batch, shift, g_bits, ceiling, seed):
    shape = (batch, geometry.channels, geometry.height, geometry.width)

    def steps(dev):
        values = Values(seed)
        kind = np.int8 if values.chance(0.5) else np.int16
        dev.input_gradient(
            dev.put(values.g(geometry, batch)),
            values.w(geometry),
            geometry,
            shift,
            output=optional(values, dev, values.array(shape, kind)),
            ceiling=ceiling,
            residual=optional(values, dev, values.stream(*shape)),
            g_bits=g_bits,
        )

    expect_same(steps)


@pytest.mark.parametrize("batch", [1, 17])
def test_requantised_after_several_launches(batch):
    """The last launch of a split reduction rounds, masks, adds and takes sums and peak."""
    forward, back = (
        Geometry(600, 2, 3, 20, (3, 3), 1, 1, 1),
        Geometry(20, 2, 3, 600, (3, 3), 1, 1, 1),
    )

    def steps(dev):
        values = Values(11)
        dev.convolve(dev.put(values.x(forward, batch)), values.w(forward), forward, 9)
        for bits in (16, 8):
            dev.input_gradient(
                dev.put(values.g(back, batch)),
                values.w(back),
                back,
                9,
                output=dev.put(values.array((batch, 20, 2, 3), np.int8)),
                residual=dev.put(values.stream(batch, 20, 2, 3)),
                g_bits=bits,
            )

    expect_same(steps)


def bounded(values, channels, shift):
    """Offsets int32 with |offset| + half < 2^30, often at that bound."""
    return values.factors(channels, 2**30 - 2 ** (shift - 1) - 1)


@some(25)
@given(
    shape=SHAPES,
    shift=st.integers(1, 30),
    bits=st.integers(8, 16),
    rectify=st.booleans(),
    ceiling=st.sampled_from((None, -3, 0, 1, 96, 127, 128, 32768, 70000)),
    seed=SEEDS,
)
def test_normalise(shape, shift, bits, rectify, ceiling, seed):
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

    expect_same(steps)


@some(15)
@given(shape=SHAPES, shift=st.integers(1, 30), seed=SEEDS)
def test_normalise_backward(shape, shift, seed):
    def steps(dev):
        values = Values(seed)
        g, y = dev.put(values.stream(*shape)), dev.put(values.stream(*shape))
        a, b = (values.factors(shape[1], 2**14 - 1) for _ in range(2))
        dev.gradient_sums(g, y)
        dev.normalise_backward(g, y, a, b, bounded(values, shape[1], shift), shift)

    expect_same(steps)


@some(20)
@given(
    shape=SHAPES,
    shift=st.integers(0, 15),
    ceiling=st.sampled_from((None, -5, 0, 1, 96, 127, 128, 200, 32767, 32768)),
    seed=SEEDS,
)
def test_elementwise(shape, shift, ceiling, seed):
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

    expect_same(steps)


@some(20)
@given(shape=SHAPES, stride=st.sampled_from((1, 2)), wider=st.integers(0, 19), seed=SEEDS)
def test_rearranging(shape, stride, wider, seed):
    n, channels, height, width = shape
    out = (n, channels + wider, -(-height // stride), -(-width // stride))

    def steps(dev):
        values = Values(seed)
        dev.shortcut_pad(dev.put(values.stream(*shape)), stride, channels + wider)
        g = dev.put(values.stream(*out))
        dev.shortcut_pad_backward(g, stride, channels, height, width)
        for kind in (np.int8, np.int16):
            base = dev.put(values.array(shape, kind))
            some_samples = np.flatnonzero(values.random.random(n) < 0.6)
            if len(some_samples):
                part = dev.put(values.array((len(some_samples), *shape[1:]), kind))
                dev.merge(base, some_samples, part)
                dev.take(base, some_samples)

    expect_same(steps)


def test_moves_longer_than_the_chip_holds():
    """More words a group than a chunk of the move, of both kinds."""

    def steps(dev):
        values = Values(3)
        for kind in (np.int8, np.int16):
            base = dev.put(values.array((40, 3, 20, 20), kind))
            chosen = np.flatnonzero(values.random.random(40) < 0.5)
            part = dev.put(values.array((len(chosen), 3, 20, 20), kind))
            dev.merge(base, chosen, part)
            dev.take(base, chosen)

    expect_same(steps)


@pytest.mark.parametrize(
    ("part", "weight"), [("end of out", -3), ("middle of out", -5), ("sums", -7)]
)
def test_a_write_outside_would_be_noticed(part, weight, monkeypatch):
    """The watch itself: with one byte less declared, a correct launch is a stray write."""

    def fewer(registers):
        out, result = csim_device.written(registers)
        if part == "sums":
            return [out, (result[0], result[1] - 8)]
        if part == "middle of out":
            return [(out[0], 100), (out[0] + 101, out[1] - 101), result]
        return [(out[0], out[1] - 1), result]

    dev = csim()
    x = dev.put(np.full((16, 1, 5, 5), 127, np.int8))
    w, geometry = np.full((1, 1, 1, 1), weight, np.int8), Geometry(1, 5, 5, 1, (1, 1), 1, 0, 1)
    monkeypatch.setattr(csim_device, "_written", fewer)
    with pytest.raises(AssertionError, match="bytes written outside"):
        dev.convolve(x, w, geometry, 0)


def test_selftest_passes(capsys):
    from e2train import cli

    csim()
    assert cli.run(["device", "selftest", "--device", "csim"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "csim (HLS C++):" and len(lines) == 5
    assert all(line.endswith(": ok") for line in lines[1:])
