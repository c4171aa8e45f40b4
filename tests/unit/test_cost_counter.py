# SPDX-License-Identifier: Apache-2.0
"""Exact counts, against loops that count one product at a time."""

import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from e2train.device.counter import ELEMENTWISE, LEVELS, PASSES, Counter
from e2train.device.geometry import Geometry

WIDTHS = st.sampled_from([4, 8, 10, 16, 32])


@st.composite
def geometries(draw):
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 3), (5, 5)]))
    groups = draw(st.sampled_from([1, 3]))
    channels = 3 if groups == 3 else draw(st.integers(1, 5))
    filters = 3 if groups == 3 else draw(st.integers(1, 20))
    height, width = draw(st.integers(5, 8)), draw(st.integers(5, 8))
    padding = draw(st.integers(0, max(kernel) - 1))
    return Geometry(
        channels, height, width, filters, kernel, draw(st.integers(1, 2)), padding, groups
    )


@st.composite
def counters(draw):
    counter = Counter()
    amounts = st.integers(0, 2**70)
    for _ in range(draw(st.integers(0, 6))):
        counter.mac(draw(st.sampled_from(PASSES)), draw(WIDTHS), draw(WIDTHS), draw(amounts))
        counter.move(draw(st.sampled_from(LEVELS)), draw(amounts))
        counter.move(draw(st.sampled_from(LEVELS)), draw(amounts), draw(st.sampled_from(PASSES)))
    return counter


def products(geometry, samples):
    """Every product of a convolution pass, one by one: (sample, output, weight)."""
    k, c, r, s = geometry.weight_shape
    rows, columns = range(geometry.out_height), range(geometry.out_width)
    return sum(
        1
        for _ in itertools.product(range(samples), range(k), rows, columns, *map(range, (c, r, s)))
    )


@given(geometries(), st.integers(1, 2), st.sampled_from(PASSES))
def test_convolution_counts_every_product_once(geometry, samples, pass_):
    counter = Counter()
    counter.convolution(pass_, geometry, samples, 8, 16, 48)
    assert counter.macs == products(geometry, samples)
    assert counter.by_pass() == {pass_: {"8x16": counter.macs}}
    assert counter.bit_operations == 128 * counter.macs


@pytest.mark.parametrize(
    ("pass_", "a_bits", "b_bits", "out_bits", "expected"),
    [  # x 2*4*4 = 32 elements, w 3*2*2*2 = 24, y 3*3*3 = 27 a sample; 5 samples
        ("forward", 8, 8, 16, 160 * 1 + 24 * 1 + 135 * 2),
        ("forward", 32, 32, 32, 160 * 4 + 24 * 4 + 135 * 4),
        ("backward_input", 16, 8, 16, 135 * 2 + 24 * 1 + 160 * 2),
        ("backward_weight", 8, 16, 48, 160 * 1 + 135 * 2 + 24 * 8),
        ("predictor", 4, 10, 48, 160 * 1 + 135 * 2 + 24 * 8),
    ],
)
def test_every_tensor_crosses_dram_once_as_stored(pass_, a_bits, b_bits, out_bits, expected):
    counter = Counter()
    counter.convolution(pass_, Geometry(2, 4, 4, 3, (2, 2), 1, 0, 1), 5, a_bits, b_bits, out_bits)
    assert counter.bytes == expected
    assert counter.moved("buffer") > expected


def test_buffer_traffic_of_a_dense_and_of_a_depthwise_layer():
    dense, depthwise = Counter(), Counter()
    dense.convolution("forward", Geometry(16, 8, 8, 32, (3, 3), 1, 1, 1), 1, 8, 8, 16)
    depthwise.convolution("forward", Geometry(16, 8, 8, 16, (3, 3), 1, 1, 16), 1, 8, 8, 16)
    # each operand serves 16 products; depthwise, no other filter uses the same activation
    assert dense.moved("buffer") - dense.bytes == 2 * dense.macs // 16
    assert depthwise.moved("buffer") - depthwise.bytes == depthwise.macs + depthwise.macs // 16


@given(geometries(), st.integers(0, 1000))
def test_share_computes_whole_weights_only(geometry, unsure):
    unsure %= geometry.weights + 1
    part, whole = Counter(), Counter()
    part.convolution("backward_weight", geometry, 3, 8, 16, 48, unsure / geometry.weights)
    whole.convolution("backward_weight", geometry, 3, 8, 16, 48)
    assert part.macs * geometry.weights == whole.macs * unsure
    if unsure:  # the operands cross again in full, the result in part
        assert whole.bytes - part.bytes == 8 * (geometry.weights - unsure)
    else:
        assert part == Counter()


def test_elementwise_rounds_bits_up_to_bytes():
    counter = Counter()
    counter.elementwise(9, 16)
    assert counter.bytes_by_pass() == {ELEMENTWISE: {"buffer": 4, "dram": 4}}
    assert counter.macs == 0


@given(counters(), counters())
def test_arithmetic_is_exact(a, b):
    both = a.plus(b)
    assert both.macs == a.macs + b.macs
    assert both.bit_operations == a.bit_operations + b.bit_operations
    assert both.minus(b) == a
    assert a.times(3) == a.plus(a).plus(a)
    assert a.minus(a) == Counter()


@given(counters())
def test_state_survives_json(counter):
    other = Counter()
    other.restore(json.loads(json.dumps(counter.state())))
    assert other == counter
    assert all(type(n) is int for n in (other.macs, other.bit_operations, other.bytes))


@given(counters())
def test_copy_is_independent(counter):
    before = counter.state()
    counter.copy().mac("forward", 8, 8, 1)
    assert counter.state() == before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda c: c.mac("backwards", 8, 8, 1), "pass_"),
        (lambda c: c.mac("forward", 0, 8, 1), "a_bits"),
        (lambda c: c.mac("forward", 8, 8, -1), "count"),
        (lambda c: c.move("disk", 1), "level"),
        (lambda c: c.move("dram", 1, "somewhere"), "pass_"),
        (lambda c: c.minus(_one()), "count"),
        (lambda c: c.convolution("forward", _ONE, 1, 8, 8, 16, 1.5), "share"),
        (lambda c: c.convolution("forward", _ONE, 1, 8, 8, 65), "bits"),
    ],
)
def test_mistakes_name_the_argument(call, words):
    with pytest.raises(ValueError, match=words):
        call(Counter())


_ONE = Geometry(1, 1, 1, 1, (1, 1), 1, 0, 1)


def _one():
    counter = Counter()
    counter.mac("forward", 8, 8, 1)
    return counter


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"macs": {}, "bytes": 3},
        {"macs": {"forward": {"8": 1}}, "bytes": {}},
        {"macs": {"forward": {"8x8": "many"}}, "bytes": {}},
        {"macs": {"forward": {"8x8": -1}}, "bytes": {}},
    ],
)
def test_restore_refuses_what_is_no_state_and_keeps_its_counts(state):
    counter = _one()
    with pytest.raises(ValueError):
        counter.restore(state)
    assert counter == _one()
