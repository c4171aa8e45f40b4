# SPDX-License-Identifier: Apache-2.0
"""The four pinned kernel operations of every device against int64 sums over kernel positions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from device_cases import BATCHES, DEVICES, SEEDS, Lowest, Values, device, geometries
from e2train.device import Geometry, open_device
from recording_device import same
from reference_device import (
    convolved,
    input_gradient,
    predicted_signs,
    top_bits,
    weight_gradient,
)


def options(g):
    return {"stride": g.stride, "padding": g.padding, "groups": g.groups}


def expect_exact(dev, g, batch, values, beta, x_msb, g_msb):
    x, w, gradient = values.x(g, batch), values.w(g), values.g(g, batch)
    y = dev.conv_forward(x, w, **options(g))
    same(y, convolved(x, w, g).astype(np.int32), "conv_forward")
    gx = dev.conv_backward_input(gradient, w, (g.height, g.width), **options(g))
    same(gx, input_gradient(gradient, w, g), "conv_backward_input")
    full = weight_gradient(x, gradient, g)
    same(dev.conv_backward_weight(x, gradient, g.kernel, **options(g)), full, "weight gradient")
    result = dev.psg_backward_weight(
        x, gradient, g.kernel, beta=beta, x_msb_bits=x_msb, g_msb_bits=g_msb, **options(g)
    )
    low = weight_gradient(top_bits(x, 8, x_msb), top_bits(gradient, 16, g_msb), g)
    expected = predicted_signs(low, full, int(np.floor(beta * 65536 + 0.5)))
    same(result.sign, expected.sign, "sign")
    same(result.predicted, expected.predicted, "predicted")
    assert result.max_msb == expected.max_msb


@pytest.mark.parametrize("name", DEVICES)
@settings(max_examples=40, deadline=None)
@given(
    geometry=geometries(),
    batch=BATCHES,
    seed=SEEDS,
    beta=st.floats(0, 1),
    x_msb=st.integers(2, 7),
    g_msb=st.integers(2, 15),
)
def test_any_geometry(name, geometry, batch, seed, beta, x_msb, g_msb):
    expect_exact(device(name), geometry, batch, Values(seed), beta, x_msb, g_msb)


LARGE = {
    "sums beyond 32 bits in both backward passes": (Geometry(8, 24, 24, 96, (5, 5), 1, 2, 1), 1),
    "rows of more positions than 32 bits can sum": (Geometry(2, 1, 1300, 3, (1, 3), 1, 1, 1), 2),
    "the same with stride 2": (Geometry(2, 2, 2600, 3, (1, 3), 2, 2, 1), 1),
    "depthwise, long rows": (Geometry(3, 2, 1300, 3, (2, 2), 1, 1, 3), 2),
    "more channels and filters than a tile": (Geometry(160, 4, 4, 80, (1, 1), 1, 0, 1), 16),
    "many samples a chunk": (Geometry(64, 8, 8, 64, (3, 3), 1, 1, 1), 9),
    "a reduction in several launches": (Geometry(440, 2, 3, 20, (3, 3), 1, 1, 1), 17),
    "several launches back": (Geometry(20, 2, 3, 600, (3, 3), 1, 1, 1), 3),
    "7x7": (Geometry(3, 12, 12, 33, (7, 7), 2, 3, 1), 3),
    "largest picture": (Geometry(1, 4095, 1, 1, (3, 1), 2, 1, 1), 1),
}


@pytest.mark.parametrize("name", DEVICES)
@pytest.mark.parametrize("values", [Lowest, Values], ids=["lowest", "any"])
@pytest.mark.parametrize("case", LARGE)
def test_large(name, values, case):
    geometry, batch = LARGE[case]
    expect_exact(device(name), geometry, batch, values(5), 0.05, 4, 10)


# ---- what is refused ----

X = np.zeros((2, 3, 5, 6), np.int8)
W = np.zeros((4, 3, 3, 3), np.int8)
G = np.zeros((2, 4, 5, 6), np.int16)
FORWARD = {"x": X, "w": W, "padding": 1}
INPUT = {"g": G, "w": W, "input_size": (5, 6), "padding": 1}
WEIGHT = {"x": X, "g": G, "kernel_size": (3, 3), "padding": 1}

REFUSED = [
    ("conv_forward", FORWARD, "x", X.astype(np.int16), "dtype int16 given, expected int8"),
    ("conv_forward", FORWARD, "x", X.tolist(), "list given, expected a NumPy array"),
    ("conv_forward", FORWARD, "x", X[0], "3 axes given, expected 4"),
    ("conv_forward", FORWARD, "x", X[:0], "is empty"),
    ("conv_forward", FORWARD, "w", np.full_like(W, -128), "holds -128"),
    ("conv_forward", FORWARD, "w", W.astype(float), "dtype float64 given, expected int8"),
    ("conv_forward", FORWARD, "w", W[:, :2], r"expected \(4, 3, 3, 3\)"),
    ("conv_forward", FORWARD, "stride", 3, "3 given, expected 1 or 2"),
    ("conv_forward", FORWARD, "stride", 1.0, "expected an integer"),
    ("conv_forward", FORWARD, "padding", 3, "3 given, expected 0 to 2"),
    ("conv_forward", FORWARD, "padding", True, "expected an integer"),
    ("conv_forward", FORWARD, "groups", 3, "expected 1"),
    ("conv_backward_input", INPUT, "g", G.astype(np.int32), "dtype int32 given, expected int16"),
    ("conv_backward_input", INPUT, "g", G[:, :, 1:], r"expected \(2, 4, 5, 6\)"),
    ("conv_backward_input", INPUT, "input_size", 5, "expected two integers"),
    ("conv_backward_input", INPUT, "w", np.full_like(W, -128), "holds -128"),
    ("conv_backward_weight", WEIGHT, "g", G[:1], r"expected \(2, 4, 5, 6\)"),
    ("conv_backward_weight", WEIGHT, "kernel_size", (3, 3, 3), "expected two integers"),
    ("conv_backward_weight", WEIGHT, "kernel_size", (8, 3), "8x3 given, expected 1x1 to 7x7"),
    ("psg_backward_weight", WEIGHT, "beta", 1.5, "expected 0 to 1"),
    ("psg_backward_weight", WEIGHT, "x_msb_bits", 8, "expected 2 to 7"),
    ("psg_backward_weight", WEIGHT, "g_msb_bits", 1, "expected 2 to 15"),
]


@pytest.mark.parametrize(("operation", "right", "argument", "value", "says"), REFUSED)
def test_value_errors_name_the_argument(operation, right, argument, value, says):
    with open_device("emulator", backend="numpy") as dev:
        getattr(dev, operation)(**right)
        wrong = {**right, argument: value}
        name = "kernel_size" if says.startswith("8x3") else argument
        with pytest.raises(ValueError, match=f"^{name}: .*{says}"):
            getattr(dev, operation)(**wrong)


def test_kernel_larger_than_the_picture():
    message = "kernel_size: 3x3 exceeds the padded input 2x6"
    with pytest.raises(ValueError, match=message):
        device("numpy").conv_forward(X[:, :, :2], W)


def test_arrays_in_any_memory_order():
    values, g = Values(1), Geometry(3, 6, 5, 4, (3, 3), 1, 1, 1)
    x, w = values.x(g, 2), values.w(g)
    expected = convolved(x, w, g).astype(np.int32)
    for name in ("numpy", "torch", "native"):
        strided = np.asfortranarray(x)
        flipped = np.ascontiguousarray(w[..., ::-1])[..., ::-1]
        same(device(name).conv_forward(strided, flipped, padding=1), expected, name)
