# SPDX-License-Identifier: Apache-2.0
"""Integer batch norm: the bounds of its coefficients, and closeness to float64 batch norm."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.numerics import normalisation as bn
from e2train.numerics.fixedpoint import exponent_for

torch = pytest.importorskip("torch", reason="torch's autograd is the reference here")

EXPONENTS = st.integers(-40, 40)
SCALES = st.floats(-1e6, 1e6)
SEEDS = st.integers(0, 2**32 - 1)
TALL = st.sampled_from([1e-6, 1e-2, 1.0, 1e3])


def channels(seed: int, count: int, scale: float) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count) * scale


def keeps_bounds(values: np.ndarray, bits: int, shift: int, half: bool = False) -> None:
    assert values.dtype == np.int32
    assert 1 <= shift <= 30
    room = (1 << (shift - 1)) if half else 0
    assert np.abs(values.astype(np.int64)).max(initial=0) + room < 1 << bits


@given(SEEDS, EXPONENTS, EXPONENTS, SCALES, TALL)
def test_forward_bounds(seed: int, y_exp: int, out_exp: int, tall: float, spread: float) -> None:
    gamma, beta = channels(seed, 5, tall), channels(seed + 1, 5, tall)
    stats = bn.Moments(channels(seed + 2, 5, spread), np.abs(channels(seed + 3, 5, spread)) ** 2)
    multiplier, offset, shift = bn.forward_coefficients(gamma, beta, stats, y_exp, out_exp)
    keeps_bounds(multiplier, 15, shift)
    keeps_bounds(offset, 30, shift, half=True)
    worst = 32768 * np.abs(multiplier.astype(object)) + np.abs(offset.astype(object))
    assert max(worst) + (1 << (shift - 1)) < 2**31


@given(SEEDS, EXPONENTS, EXPONENTS, EXPONENTS, SCALES, TALL)
def test_backward_bounds(
    seed: int, g_exp: int, y_exp: int, out_exp: int, tall: float, spread: float
) -> None:
    line = bn.BackwardLine(*(channels(seed + i, 5, tall * spread**i) for i in range(3)))
    a, b, c, shift = bn.backward_coefficients(line, g_exp, y_exp, out_exp)
    keeps_bounds(a, 14, shift)
    keeps_bounds(b, 14, shift)
    keeps_bounds(c, 30, shift, half=True)
    sums = 32768 * (np.abs(a.astype(object)) + np.abs(b.astype(object))) + np.abs(c.astype(object))
    assert max(sums) + (1 << (shift - 1)) < 2**31


def test_bounds_at_their_edges() -> None:
    """Peaks that sit on a power of two: the shift must give way before the range does."""
    for power in range(-40, 40):
        for nudge in (1 - 2.0**-30, 1.0, 1 + 2.0**-30):
            value = np.array([2.0**power * nudge])
            stats = bn.Moments(np.zeros(1), np.full(1, 1.0 - bn.EPSILON))
            multiplier, offset, shift = bn.forward_coefficients(value, value, stats, 0, 0)
            keeps_bounds(multiplier, 15, shift)
            keeps_bounds(offset, 30, shift, half=True)
            line = bn.BackwardLine(value, -value, value)
            *coefficients, shift = bn.backward_coefficients(line, 0, 0, 0)
            for each, bits in zip(coefficients, (14, 14, 30), strict=True):
                keeps_bounds(each, bits, shift, half=bits == 30)


@given(SEEDS, st.integers(1, 400), st.integers(-20, 5))
def test_moments_are_the_samples(seed: int, count: int, exponent: int) -> None:
    y = np.random.default_rng(seed).integers(-32768, 32768, (3, count))
    found = bn.moments(y.sum(axis=1), (y * y).sum(axis=1), count, exponent)
    real = y * 2.0**exponent
    assert np.allclose(found.mean, real.mean(axis=1), rtol=1e-12)
    assert np.allclose(found.variance, real.var(axis=1), rtol=1e-7, atol=1e-7 * 4.0**exponent)
    assert (found.variance >= 0).all()


def test_a_constant_channel_has_no_negative_variance() -> None:
    y = np.full((1, 999), 12_345)
    found = bn.moments(y.sum(axis=1), (y * y).sum(axis=1), 999, -3)
    assert found.variance[0] >= 0
    assert np.isfinite(found.inverse_deviation).all()


class Layer:
    """One batch-norm layer on random integers, with torch's autograd in float64 beside it."""

    def __init__(self, seed: int, samples: int, size: int) -> None:
        rng = np.random.default_rng(seed)
        shape = (samples, 6, size, size)
        centre, spread = rng.normal(size=6) * 3000, rng.uniform(500, 5000, 6)
        y = rng.normal(size=shape) * spread[:, None, None] + centre[:, None, None]
        self.y = y.round().clip(-32768, 32767).astype(np.int64)
        self.g = (rng.normal(size=shape) * 6000).round().clip(-32768, 32767).astype(np.int64)
        self.y_exp, self.g_exp = int(rng.integers(-20, 3)), int(rng.integers(-25, 0))
        self.gamma = rng.uniform(0.2, 2.0, 6).astype(np.float32)
        self.beta = rng.normal(size=6).astype(np.float32)
        self.count = samples * size * size
        axes = (0, 2, 3)
        self.stats = bn.moments(
            self.y.sum(axis=axes), (self.y**2).sum(axis=axes), self.count, self.y_exp
        )
        self.real_y = torch.tensor(self.y * 2.0**self.y_exp, requires_grad=True)
        self.real_gamma = torch.tensor(self.gamma.astype(np.float64), requires_grad=True)
        self.real_beta = torch.tensor(self.beta.astype(np.float64), requires_grad=True)
        self.out = torch.nn.functional.batch_norm(
            self.real_y, None, None, self.real_gamma, self.real_beta, training=True, eps=1e-5
        )
        self.out.backward(torch.tensor(self.g * 2.0**self.g_exp))


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 6), st.integers(2, 6))
def test_forward_is_batch_norm(seed: int, samples: int, size: int) -> None:
    layer = Layer(seed, samples, size)
    expected = layer.out.detach().numpy()
    out_exp = exponent_for(float(np.abs(expected).max()), 127)
    multiplier, offset, shift = bn.forward_coefficients(
        layer.gamma, layer.beta, layer.stats, layer.y_exp, out_exp
    )
    exact = layer.y * multiplier[:, None, None].astype(np.int64) + offset[:, None, None]
    found = np.floor(exact / 2.0**shift + 0.5) * 2.0**out_exp
    assert np.abs(found - expected).max() <= 0.51 * 2.0**out_exp


@settings(max_examples=40, deadline=None)
@given(SEEDS, st.integers(2, 6), st.integers(2, 6))
def test_backward_is_batch_norms_gradient(seed: int, samples: int, size: int) -> None:
    layer = Layer(seed, samples, size)
    axes = (0, 2, 3)
    sums = bn.backward_sums(
        layer.g.sum(axis=axes),
        (layer.g * layer.y).sum(axis=axes),
        layer.stats,
        layer.g_exp,
        layer.y_exp,
    )
    assert np.allclose(sums.g, layer.real_beta.grad.numpy(), rtol=1e-9, atol=0)
    g_gamma = layer.real_gamma.grad.numpy()
    assert np.allclose(sums.g_y_hat, g_gamma, rtol=1e-7, atol=1e-7 * np.abs(g_gamma).max())
    line = bn.backward_line(layer.gamma, layer.stats, sums, layer.count)
    expected = layer.real_y.grad.numpy()
    real = (
        line.a[:, None, None] * (layer.g * 2.0**layer.g_exp)
        + line.b[:, None, None] * (layer.y * 2.0**layer.y_exp)
        + line.c[:, None, None]
    )
    assert np.abs(real - expected).max() <= 1e-7 * np.abs(expected).max()
    bound = line.bound(32768 * 2.0**layer.g_exp, 32768 * 2.0**layer.y_exp)
    assert np.abs(expected).max() <= bound
    out_exp = exponent_for(float(np.abs(expected).max()) * 1.25, 32767)
    a, b, c, shift = bn.backward_coefficients(line, layer.g_exp, layer.y_exp, out_exp)
    vectors = [v[:, None, None].astype(np.int64) for v in (a, b, c)]
    exact = layer.g * vectors[0] + layer.y * vectors[1] + vectors[2]
    found = np.floor(exact / 2.0**shift + 0.5) * 2.0**out_exp
    # half a step of rounding, and the coefficients' own 14 bits on operands of 16
    scale = np.abs(expected).max()
    assert np.abs(found - expected).max() <= 2e-3 * scale
    assert np.sqrt(((found - expected) ** 2).mean()) <= 5e-4 * scale


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_what_exceeds_every_shift_saturates_with_its_sign(sign: float) -> None:
    """As a layer that was all zeros for long makes it: its delayed exponent has fallen very low."""
    value = np.array([sign])
    stats = bn.Moments(np.zeros(1), np.ones(1))
    multiplier, offset, shift = bn.forward_coefficients(value, value, stats, 0, -200)
    assert (multiplier.tolist(), offset.tolist(), shift) == (
        [sign * (2**15 - 1)],
        [sign * (2**29 - 1)],
        1,
    )
    line = bn.BackwardLine(value, value, value)
    a, b, c, _ = bn.backward_coefficients(line, 0, 0, -200)
    assert [a[0], b[0], c[0]] == [sign * (2**14 - 1), sign * (2**14 - 1), sign * (2**29 - 1)]
