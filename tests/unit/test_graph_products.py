# SPDX-License-Identifier: Apache-2.0
"""Integer matrix products on tensors give what the NumPy emulator's convolutions give."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2train.device.emulator.numpy_emulator import NumpyEmulator
from e2train.device.geometry import Geometry

torch = pytest.importorskip("torch")
from e2train.training.graph import products  # noqa: E402

EMULATOR = NumpyEmulator()
QUICK = settings(max_examples=60, deadline=None)
EXTREMES = ("any", "lowest", "highest")


@st.composite
def geometries(draw):
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (2, 2), (5, 3)]))
    channels = draw(st.integers(1, 9))
    depthwise = draw(st.booleans())
    return Geometry(
        channels,
        draw(st.integers(max(kernel), 9)),
        draw(st.integers(max(kernel), 9)),
        channels if depthwise else draw(st.integers(1, 9)),
        kernel,
        draw(st.sampled_from([1, 2])),
        draw(st.integers(0, min(kernel) - 1)),
        channels if depthwise else 1,
    )


def _integers(rng, kind: str, shape, bits: int, low: int | None = None) -> np.ndarray:
    dtype = np.int8 if bits == 8 else np.int16
    bottom, top = -(1 << (bits - 1)) if low is None else low, (1 << (bits - 1)) - 1
    if kind == "any":
        return rng.integers(bottom, top + 1, shape).astype(dtype)
    return np.full(shape, bottom if kind == "lowest" else top, dtype)


def _last(array: np.ndarray) -> "torch.Tensor":
    return torch.from_numpy(np.ascontiguousarray(array.transpose(0, 2, 3, 1)))


def _first(tensor: "torch.Tensor") -> np.ndarray:
    return tensor.numpy().transpose(0, 3, 1, 2)


def _matrix(layout, w: np.ndarray, geometry: Geometry) -> "torch.Tensor":
    return torch.from_numpy(np.ascontiguousarray(layout(w, geometry)))


@QUICK
@given(geometries(), st.integers(1, 3), st.sampled_from(EXTREMES), st.integers(0, 2**32))
def test_convolve(geometry, samples, kind, seed):
    products.check(geometry)
    rng = np.random.default_rng(seed)
    shape = (samples, geometry.channels, geometry.height, geometry.width)
    x, w = _integers(rng, kind, shape, 8), _integers(rng, kind, geometry.weight_shape, 8, -127)
    found = products.convolve(_last(x), _matrix(products.forward_matrix, w, geometry), geometry)
    assert found.dtype == torch.int32
    np.testing.assert_array_equal(EMULATOR._forward(x, w, geometry), _first(found))


@QUICK
@given(
    geometries(),
    st.integers(1, 3),
    st.sampled_from(EXTREMES),
    st.sampled_from([8, 16]),
    st.integers(0, 2**32),
)
def test_input_gradient(geometry, samples, kind, bits, seed):
    rng = np.random.default_rng(seed)
    shape = (samples, geometry.filters, geometry.out_height, geometry.out_width)
    g, w = _integers(rng, kind, shape, bits), _integers(rng, kind, geometry.weight_shape, 8, -127)
    matrix = _matrix(products.backward_matrix, w, geometry)
    found = products.input_gradient(_last(g), matrix, geometry)
    expected = EMULATOR._backward_input(g.astype(np.int16), w, geometry)
    np.testing.assert_array_equal(expected, _first(found))


@QUICK
@given(geometries(), st.integers(1, 3), st.sampled_from(EXTREMES), st.integers(0, 2**32))
def test_weight_gradient(geometry, samples, kind, seed):
    rng = np.random.default_rng(seed)
    shape = (samples, geometry.channels, geometry.height, geometry.width)
    x = _integers(rng, kind, shape, 8)
    shape = (samples, geometry.filters, geometry.out_height, geometry.out_width)
    g = _integers(rng, kind, shape, 16)
    found = products.weight_gradient(_last(x), _last(g), geometry)
    np.testing.assert_array_equal(EMULATOR.weight_gradient(x, g, geometry), found.numpy())


@pytest.mark.parametrize("g", [-32768, 32767])
def test_weight_gradient_of_more_positions_than_int32_holds(g):
    """2^18 positions of the largest products."""
    geometry = Geometry(1, 128, 128, 1, (1, 1), 1, 0, 1)
    x = torch.full((16, 128, 128, 1), -128, dtype=torch.int8)
    found = products.weight_gradient(x, torch.full_like(x, g, dtype=torch.int16), geometry)
    assert int(found) == -128 * g * (1 << 18)


def test_check_refuses_what_might_overflow():
    with pytest.raises(ValueError, match="products"):
        products.check(Geometry(2000, 8, 8, 8, (7, 7), 1, 0, 1))
