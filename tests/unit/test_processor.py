# SPDX-License-Identifier: Apache-2.0
"""The processor's C++ against NumPy: every bit equal, extreme values included."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.numerics.gate_cell import HIDDEN, GateWeights
from e2train.numerics.normalisation import Moments
from e2train.processor import Moves, NativeProcessor, NumpyProcessor

NUMPY = NumpyProcessor()
SEEDS = st.integers(0, 2**32 - 1)
EXPONENTS = st.integers(-40, 20)


@pytest.fixture(scope="module")
def native():
    return NativeProcessor()


def same(ours, theirs):
    """Whether two answers (arrays, numbers, tuples of them) have the same bits."""
    if isinstance(theirs, tuple):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
    if hasattr(theirs, "__dataclass_fields__"):
        names = [field.name for field in fields(theirs)]
        return all(same(getattr(ours, name), getattr(theirs, name)) for name in names)
    return ours == theirs


def sums(rng, channels):
    """Exact sums as a device returns them, some of them 0 and some as large as they get."""
    bits = rng.integers(0, 46, channels)
    return (rng.integers(-(2**16), 2**16, channels) << bits) >> 16


@given(SEEDS, st.integers(1, 600), st.integers(-140, 120))
def test_quantised_weights(native, seed, count, exponent):
    rng = np.random.default_rng(seed)
    weights = np.ldexp(rng.standard_normal(count), exponent).astype(np.float32)
    weights[rng.random(count) < 0.1] = 0
    assert same(native.quantise(weights), NUMPY.quantise(weights))


@given(st.integers(1, 127), st.integers(-120, 110), st.sampled_from([-0.5, 0.0, 0.5, 2.0**-20]))
def test_weights_halfway_between_two_mantissas(native, mantissa, exponent, beside):
    weights = np.ldexp(np.array([127.0, mantissa + beside, -mantissa + beside]), exponent)
    weights = weights.astype(np.float32)
    assert same(native.quantise(weights), NUMPY.quantise(weights))


@given(SEEDS, st.integers(1, 5), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9))
def test_centred_pictures(native, seed, samples, channels, height, width):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (samples, channels, height, width)).astype(np.uint8)
    mean = rng.integers(0, 256, channels).astype(np.int16)
    assert same(native.centre(pictures, mean), NUMPY.centre(pictures, mean))


@given(SEEDS, st.integers(1, 5), st.integers(1, 9), st.integers(1, 9), st.integers(0, 5))
def test_moved_pictures(native, seed, samples, height, width, shift):
    rng = np.random.default_rng(seed)
    pictures = rng.integers(0, 256, (samples, 3, height, width)).astype(np.uint8)
    down, right = rng.integers(0, 2 * shift + 1, (2, samples))
    moves = Moves(down, right, rng.random(samples) < 0.5, shift)
    border = rng.integers(0, 256, 3).astype(np.uint8)
    assert same(native.move(pictures, moves, border), NUMPY.move(pictures, moves, border))


@given(SEEDS, st.booleans(), st.floats(0, 1), st.floats(1e-6, 1))
def test_a_step_of_sgd(native, seed, signs, momentum, rate):
    rng = np.random.default_rng(seed)
    shapes = [(3,), (5, 4, 3, 3), (70,)]
    started = [rng.standard_normal((2, *shape)).astype(np.float32) for shape in shapes]
    gradients = [
        rng.integers(-1, 2, shape).astype(np.int8)
        if signs
        else rng.standard_normal(shape).astype(np.float32)
        for shape in shapes
    ]
    decays = np.array([0.0, 1e-4, 0.3], np.float32)
    rates = np.array([rate, rate / 3, rate], np.float32)
    ended = []
    for one in (native, NUMPY):
        own = [array.copy() for array in started]
        values, velocities = [array[0] for array in own], [array[1] for array in own]
        tensors = list(zip(values, velocities, gradients, strict=True))
        one.steps(tensors, decays, float(np.float32(momentum)), rates)
        ended.append(tuple(own))
    assert same(*ended)


@given(SEEDS, st.integers(1, 70), st.integers(2, 10**6), EXPONENTS, EXPONENTS)
def test_batch_norm_forward(native, seed, channels, count, y_exponent, out_exponent):
    rng = np.random.default_rng(seed)
    total = sums(rng, channels)
    squares = np.abs(sums(rng, channels)) + total * total // count
    gamma, beta, mean, variance = rng.standard_normal((4, channels)).astype(np.float32)
    scale = float(rng.choice([1.0, 0.8]))
    found = []
    for one in (native, NUMPY):
        running = mean.copy(), np.abs(variance)
        answer = one.train_forward(
            (total, squares), count, 0.07, running, (gamma, beta), scale, (y_exponent, out_exponent)
        )
        stats = Moments(*(value.astype(np.float64) for value in running))
        found.append((answer, running, one.forward(gamma, beta, scale, stats, -7, out_exponent)))
    assert same(*found)


@given(SEEDS, st.integers(1, 70), st.integers(1, 10**6), EXPONENTS, EXPONENTS, EXPONENTS)
def test_batch_norm_backward(native, seed, channels, count, g_exponent, y_exponent, out_exponent):
    rng = np.random.default_rng(seed)
    pair, gamma = (sums(rng, channels), sums(rng, channels)), rng.standard_normal(channels)
    gamma = gamma.astype(np.float32)
    stats = Moments(rng.standard_normal(channels), np.abs(rng.standard_normal(channels)))
    rest = (gamma, stats, (count, 128), (g_exponent, y_exponent))
    line = NUMPY.backward_line(pair, *rest)
    assert same(native.backward_line(pair, *rest), line)
    ours = native.train_backward(pair, *rest, out_exponent)
    assert same(ours, NUMPY.train_backward(pair, *rest, out_exponent))
    exponents = (g_exponent, y_exponent, out_exponent)
    assert same(native.backward(line[0], *exponents), NUMPY.backward(line[0], *exponents))


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 40), st.sampled_from([16, 32, 64]), st.floats(0.01, 30))
def test_the_gates(native, seed, samples, channels, spread):
    rng = np.random.default_rng(seed)
    shapes = [(channels, HIDDEN), (HIDDEN, 4 * HIDDEN), (HIDDEN, 4 * HIDDEN), (4 * HIDDEN,)]
    shapes.append((HIDDEN, 1))
    weights = GateWeights(*(spread * rng.standard_normal(shape) for shape in shapes))
    features = np.abs(spread * rng.standard_normal((samples, channels)))
    before = tuple(rng.standard_normal((2, samples, HIDDEN)))
    behind = tuple(rng.standard_normal((2, samples, HIDDEN)))
    g_probability = rng.standard_normal(samples)
    found = []
    for one in (native, NUMPY):
        step = one.gate_step(weights, features, before, 0.3, -1.7)
        gradients = GateWeights(*(np.ones(shape) for shape in shapes))
        back = one.gate_backward(weights, step, gradients, g_probability, behind)
        found.append((step, tuple(value + 0.0 for value in back), gradients))
    assert same(*found)


def test_a_parameter_that_is_no_whole_array_is_refused(native):
    value = np.zeros((4, 4), np.float32)[:, ::2]
    with pytest.raises(ValueError, match="C-contiguous"):
        native.steps(
            [(value, value, np.zeros((4, 2), np.float32))], np.zeros(1, np.float32), 0.9, 0.1
        )
