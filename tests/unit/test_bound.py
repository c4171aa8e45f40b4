# SPDX-License-Identifier: Apache-2.0
"""PSG's failure bound (paper eq. 3) against what exact integers do."""

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.bench.sign_bound_table import LAYERS, random_layer, rows
from e2train.device.emulator.numpy_emulator import NumpyEmulator
from e2train.device.geometry import Geometry
from e2train.methods.sign_bound import Predictor, failure_bound, layer_geometry, observed_failures

DEVICE = NumpyEmulator()
LAYER = Geometry(8, 12, 12, 8, (3, 3), 1, 1, 1)
DOCS = Path(__file__).parents[2] / "docs" / "psg.md"


@st.composite
def layers(draw):
    """Small layers of any geometry, with activations and gradients from mild to extreme."""
    depthwise = draw(st.booleans())
    channels = draw(st.integers(1, 4))
    filters = channels if depthwise else draw(st.integers(1, 4))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (3, 2)]))
    geometry = Geometry(
        channels,
        draw(st.integers(3, 7)),
        draw(st.integers(3, 7)),
        filters,
        kernel,
        draw(st.integers(1, 2)),
        draw(st.integers(0, max(kernel) - 1)),
        channels if depthwise else 1,
    )
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    samples = draw(st.integers(1, 3))
    x = rng.integers(-128, 128, (samples, channels, geometry.height, geometry.width))
    if draw(st.booleans()):
        x = np.maximum(x, 0)
    g = rng.standard_t(2, (samples, filters, geometry.out_height, geometry.out_width))
    g = np.clip(np.rint(g * draw(st.sampled_from([20, 500, 20_000]))), -32768, 32767)
    return geometry, x.astype(np.int8), g.astype(np.int16)


PREDICTORS = st.builds(
    Predictor,
    beta=st.sampled_from([0.0, 0.05, 0.3, 1.0]),
    x_msb_bits=st.integers(2, 7),
    g_msb_bits=st.integers(2, 15),
    truncate=st.booleans(),
)


def loop_errors(geometry, x, g, predictor):
    """Full and predictor gradients, and the certain bound's two sums, element by element."""
    shift_x, shift_g = 8 - predictor.x_msb_bits, 16 - predictor.g_msb_bits
    pad, stride = geometry.padding, geometry.stride
    full = np.zeros(geometry.weight_shape)
    first, second = np.zeros(geometry.weight_shape), np.zeros(geometry.weight_shape)

    def cut(v, bits, shift):
        top = 2 ** (bits - 1) - 1
        if predictor.truncate:
            return (v >> shift) << shift
        return max(-top, min(top, (v + (1 << shift >> 1)) >> shift)) << shift

    for n, k, p, q in np.ndindex(g.shape):
        value = int(g[n, k, p, q])
        cut_g = cut(value, predictor.g_msb_bits, shift_g)
        for c, r, s in np.ndindex(geometry.weight_shape[1:]):
            row, column = p * stride + r - pad, q * stride + s - pad
            if not (0 <= row < geometry.height and 0 <= column < geometry.width):
                continue
            a = int(x[n, k if geometry.groups > 1 else c, row, column])
            cut_x = cut(a, predictor.x_msb_bits, shift_x)
            full[k, c, r, s] += a * value
            first[k, c, r, s] += (a - cut_x) * value
            second[k, c, r, s] += cut_x * (value - cut_g)
    return full, first, second


@settings(max_examples=25, deadline=None)
@given(layers(), PREDICTORS)
def test_error_is_the_sum_that_the_derivation_starts_from(layer, predictor):
    geometry, x, g = layer
    full, first, second = loop_errors(geometry, x, g, predictor)
    seen = observed_failures(DEVICE, x, g, geometry, predictor)
    msb = full - first - second
    largest = np.abs(msb).max(initial=0)
    threshold = round(predictor.beta * 2**16) / 2**16 * largest
    predicted = (msb != 0) & (np.abs(msb) >= threshold)
    assert seen.predicted == predicted.sum()
    assert np.array_equal(seen.failed, predicted & (np.sign(msb) != np.sign(full)))


@settings(max_examples=150, deadline=None)
@given(layers(), PREDICTORS)
def test_bounds_are_sane_and_certain_weights_never_fail(layer, predictor):
    geometry, x, g = layer
    found = failure_bound(x, g, geometry, predictor)
    seen = observed_failures(DEVICE, x, g, geometry, predictor)
    assert found.predicted == seen.predicted
    assert found.weights == geometry.weights
    assert 0.0 <= found.per_weight <= 1.0
    assert min(found.e1, found.e2) >= 0.0
    # whatever the noise: a weight that cannot fail has not failed
    assert seen.rate <= 1.0 - found.certain + 1e-12 or seen.predicted == 0


def test_hypothesis_layers_do_have_certain_and_failing_weights():
    """The test above says something: both kinds occur."""
    x, g = random_layer(LAYER, 2, 0)
    fine = Predictor(x_msb_bits=7, g_msb_bits=15)
    assert failure_bound(x, g, LAYER, fine).certain > 0.5
    assert observed_failures(DEVICE, x, g, LAYER, Predictor(beta=0.0)).failed.any()


@pytest.mark.parametrize("groups", [1, 8])
@pytest.mark.parametrize("bits", [(3, 6), (4, 8), (4, 10), (5, 11)])
def test_bound_holds_on_average_over_layers(groups, bits):
    geometry = replace(LAYER, groups=groups)
    predictor = Predictor(x_msb_bits=bits[0], g_msb_bits=bits[1])
    bounds, per_weight, rates = [], [], []
    for seed in range(6):
        x, g = random_layer(geometry, 4, seed)
        found = failure_bound(x, g, geometry, predictor)
        bounds.append(min(found.bound, 1.0))
        per_weight.append(found.per_weight)
        rates.append(observed_failures(DEVICE, x, g, geometry, predictor).rate)
    assert np.mean(rates) <= np.mean(per_weight) <= np.mean(bounds)


def test_bound_holds_where_its_assumptions_do():
    """Independent uniform bits below random slices: the failure rate over many draws, eq. 3."""
    rng = np.random.default_rng(3)
    geometry, predictor = (
        Geometry(4, 6, 6, 4, (3, 3), 1, 1, 1),
        Predictor(x_msb_bits=3, g_msb_bits=5),
    )
    slices_x = rng.integers(-2, 3, (1, 4, 6, 6)) * 32
    slices_g = rng.integers(-14, 15, (1, 4, 6, 6)) * 2048
    failed, bounds = 0, []
    for _ in range(100):
        x = (slices_x + rng.integers(-16, 16, slices_x.shape)).astype(np.int8)
        g = (slices_g + rng.integers(-1024, 1024, slices_g.shape)).astype(np.int16)
        seen = observed_failures(DEVICE, x, g, geometry, predictor)
        found = failure_bound(x, g, geometry, predictor)
        bounds.append(found.bound)
        failed += int(seen.failed.sum())
    assert 0 < failed / (100 * seen.predicted) <= np.mean(bounds)
    # the slices fix E2 and, but for noise, E1: the bound is that of the slices, not of the draw
    assert np.std(bounds) < 0.1 * np.mean(bounds)


@pytest.mark.parametrize("layer", LAYERS)
def test_each_bit_on_both_slices_divides_the_bound_by_four(layer):
    geometry, samples = LAYERS[layer]
    x, g = random_layer(geometry, samples, 1)
    bounds = [
        failure_bound(x, g, geometry, Predictor(x_msb_bits=b, g_msb_bits=b + 6)).bound
        for b in (4, 5, 6)
    ]
    ratios = np.array(bounds[:-1]) / np.array(bounds[1:])
    assert np.all((ratios > 2.8) & (ratios < 5.7)), ratios


def test_only_x_bits_shrink_the_x_term():
    x, g = random_layer(LAYER, 4, 2)
    coarse, fine = (
        failure_bound(x, g, LAYER, Predictor(x_msb_bits=4, g_msb_bits=b)) for b in (10, 14)
    )
    first = [found.delta_x**2 * found.e1 for found in (coarse, fine)]
    second = [found.delta_g**2 * found.e2 for found in (coarse, fine)]
    assert first[0] == pytest.approx(first[1], rel=0.05)
    assert second[0] == pytest.approx(256 * second[1], rel=0.1)


def test_truncation_can_break_eq_3():
    """A counterexample: half of the predicted signs are wrong where eq. 3 promises one in 14."""
    geometry, samples = LAYERS["16 channels, 32x32"]
    x, g = random_layer(geometry, samples, 10)
    predictor = Predictor(truncate=True)
    rate = observed_failures(DEVICE, x, g, geometry, predictor).rate
    assert failure_bound(x, g, geometry, predictor).bound < 0.1
    assert rate > 0.4


def test_truncation_fails_far_more_often_and_the_per_weight_bound_knows():
    geometry, samples = LAYERS["16 channels, 32x32"]
    found: dict[bool, list] = {False: [], True: []}
    for seed, truncate in itertools.product(range(4), found):
        x, g = random_layer(geometry, samples, seed)
        predictor = Predictor(truncate=truncate)
        limit = failure_bound(x, g, geometry, predictor).per_weight
        rate = observed_failures(DEVICE, x, g, geometry, predictor).rate
        found[truncate].append((limit, rate))
    (limit, rounded), (higher, truncated) = (np.mean(found[way], axis=0) for way in found)
    assert rounded < limit
    assert truncated < higher
    assert truncated > 4 * rounded


@pytest.mark.parametrize("seed", range(3))
def test_decisions_are_the_devices_own(seed):
    x, g = random_layer(LAYER, 2, seed)
    result = DEVICE.psg_backward_weight(x, g, (3, 3), padding=1)
    full = DEVICE.conv_backward_weight(x, g, (3, 3), padding=1)
    seen = observed_failures(DEVICE, x, g, LAYER)
    assert seen.predicted == result.predicted.sum()
    assert np.array_equal(seen.failed, result.predicted & (result.sign != np.sign(full)))


def test_no_predicted_weight():
    x, g = np.ones((1, 2, 4, 4), np.int8), np.zeros((1, 2, 4, 4), np.int16)
    geometry = layer_geometry(x, g, (1, 1))
    assert failure_bound(x, g, geometry).predicted == 0
    assert failure_bound(x, g, geometry).bound == 0.0
    assert observed_failures(DEVICE, x, g, geometry).rate == 0.0


def test_geometry_of_mismatched_arrays():
    with pytest.raises(ValueError, match="g: shape"):
        layer_geometry(np.ones((1, 2, 4, 4), np.int8), np.ones((1, 2, 3, 4), np.int16), (1, 1))


def test_steps_are_those_below_eq_3():
    assert (Predictor().delta_x, Predictor().delta_g) == (2.0**-3, 2.0**-9)


def test_docs_quote_the_table():
    assert "\n".join(rows()) in DOCS.read_text(encoding="utf-8")
