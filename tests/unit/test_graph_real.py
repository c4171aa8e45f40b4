# SPDX-License-Identifier: Apache-2.0
"""Host floats as torch tensors have the bits that NumPy's have."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2train.numerics import fixedpoint, portable

torch = pytest.importorskip("torch")
from e2train.training.graph import real  # noqa: E402

ANY = st.floats(allow_nan=False, allow_infinity=False)
FINITE = st.floats(-1e300, 1e300)
USUAL = st.floats(-1e6, 1e6)
QUICK = settings(max_examples=60, deadline=None)


def _same(expected: np.ndarray, found: "torch.Tensor") -> None:
    found = found.numpy()
    assert expected.dtype == found.dtype
    np.testing.assert_array_equal(expected.view(np.int64), found.view(np.int64))


def _rows(elements, most=6):
    return hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=2, max_dims=2, max_side=most),
        elements=elements,
    )


@QUICK
@given(hnp.arrays(np.float64, st.integers(0, 5), elements=ANY), st.integers(-2044, 2044))
def test_ldexp_rounds_once(values, exponent):
    with np.errstate(over="ignore", under="ignore"):
        expected = np.ldexp(values, exponent)
    _same(expected, real.ldexp(torch.from_numpy(values), torch.tensor(exponent)))


@QUICK
@given(
    st.one_of(
        st.floats(min_value=0.0),
        st.integers(-1074, 1023).map(lambda e: float(np.ldexp(1.0, e))),
        st.just(float("nan")),
    ),
    st.sampled_from([1, 127, 255, 32767, 1 << 20]),
)
def test_exponent_for(peak, limit):
    found = real.exponent_for(torch.tensor(peak, dtype=torch.float64), limit)
    assert int(found) == fixedpoint.exponent_for(peak, limit)


@QUICK
@given(hnp.arrays(np.float32, (3, 2, 1, 2), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_quantise_weights(weights):
    expected, exponent = fixedpoint.quantise_weights(weights)
    found, found_exponent = real.quantise_weights(torch.from_numpy(weights))
    assert int(found_exponent) == exponent
    np.testing.assert_array_equal(expected, found.numpy())


@QUICK
@given(_rows(FINITE))
def test_exponential_functions(x):
    tensor = torch.from_numpy(x)
    for name in ("exp", "sigmoid", "tanh"):
        _same(getattr(portable, name)(x), getattr(real, name)(tensor))


@QUICK
@given(_rows(USUAL))
def test_softmax(logits):
    _same(portable.softmax(logits), real.softmax(torch.from_numpy(logits)))


@QUICK
@given(_rows(USUAL), _rows(USUAL))
def test_product_and_column_sums(a, b):
    b = np.resize(b, (a.shape[1], b.shape[1]))
    # + 0.0: a BLAS is free in the sign that it gives a zero
    _same(
        portable.product(a, b) + 0.0, real.product(torch.from_numpy(a), torch.from_numpy(b)) + 0.0
    )
    _same(portable.column_sums(a) + 0.0, real.column_sums(torch.from_numpy(a)) + 0.0)


def test_product_refuses_sums_that_might_round():
    with pytest.raises(ValueError, match="8193 terms"):
        real.product(torch.zeros(1, 8193), torch.zeros(8193, 1))
