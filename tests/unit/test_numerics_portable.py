# SPDX-License-Identifier: Apache-2.0
"""Host floats that are alike everywhere: accuracy against libm, and independence of order."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2train.numerics import portable

GRID = np.concatenate(
    [
        np.linspace(-700, 700, 40_001),
        np.random.default_rng(0).normal(size=20_000),
        np.random.default_rng(1).normal(size=20_000) * 1e-8,
        [0.0, -0.0, 1.0, -1.0, 700.0, -700.0, np.log(2) / 2, -np.log(2) / 2],
    ]
)


def relative(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.max(np.abs(found - expected) / np.abs(expected)))


def test_exp() -> None:
    assert relative(portable.exp(GRID), np.exp(GRID)) < 1e-14


def test_exp_is_clipped() -> None:
    found = portable.exp(np.array([-1e9, 1e9, -np.inf, np.inf]))
    assert found.tolist() == portable.exp(np.array([-700.0, 700.0, -700.0, 700.0])).tolist()


def test_sigmoid() -> None:
    expected = np.where(GRID >= 0, 1 / (1 + np.exp(-np.abs(GRID))), 0.0)
    expected = np.where(GRID < 0, np.exp(GRID) / (1 + np.exp(GRID)), expected)
    assert relative(portable.sigmoid(GRID), expected) < 1e-13
    assert portable.sigmoid(np.array([0.0]))[0] == 0.5


def test_tanh() -> None:
    found, expected = portable.tanh(GRID), np.tanh(GRID)
    assert np.max(np.abs(found - expected)) < 1e-13
    assert portable.tanh(np.array([0.0]))[0] == 0.0
    assert np.array_equal(portable.tanh(-GRID), -portable.tanh(GRID))


@given(hnp.arrays(np.float64, (3, 10), elements=st.floats(-500, 500)))
def test_softmax(logits: np.ndarray) -> None:
    found = portable.softmax(logits)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    assert np.max(np.abs(found - powers / powers.sum(axis=1, keepdims=True))) < 1e-13
    assert np.allclose(found.sum(axis=1), 1.0, atol=1e-14)
    assert np.array_equal(portable.softmax(logits + 0.0), found)


def test_softmax_far_apart() -> None:
    found = portable.softmax(np.array([[1e6, 0.0, -1e6]]))
    assert found[0, 0] == pytest.approx(1.0) and np.isfinite(found).all()


SIDES = st.integers(1, 6)


def matrices(seed: int, m: int, t: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scale = 2.0 ** rng.integers(-40, 40, 2)
    return rng.normal(size=(m, t)) * scale[0], rng.normal(size=(t, n)) * scale[1]


@settings(max_examples=60)
@given(st.integers(0, 2**32), SIDES, st.integers(1, 3000), SIDES)
def test_product_does_not_depend_on_order(seed: int, m: int, t: int, n: int) -> None:
    a, b = matrices(seed, m, t, n)
    found = portable.product(a, b)
    order = np.random.default_rng(seed + 1).permutation(t)
    assert portable.product(a[:, order], b[order]).tobytes() == found.tobytes()
    rows = np.random.default_rng(seed + 2).permutation(m)
    assert portable.product(a[rows], b).tobytes() == found[rows].tobytes()
    assert portable.product(b.T, a.T).T.tobytes() == np.ascontiguousarray(found).tobytes()
    exact = np.sum(np.abs(a)[:, :, None] * np.abs(b)[None], axis=1)
    peaks = t * np.abs(a).max() * np.abs(b).max()
    assert (np.abs(found - a @ b) <= 2.0**-19 * peaks + 1e-12 * exact).all()


@given(st.integers(0, 2**32), st.integers(1, 8))
def test_product_is_exact_on_its_grid(seed: int, t: int) -> None:
    """Integers of up to 20 bits are their own grid: the product is the integers' product."""
    rng = np.random.default_rng(seed)
    a = rng.integers(-(2**19) + 1, 2**19, (3, t))
    b = rng.integers(-(2**19) + 1, 2**19, (t, 2))
    a.flat[0], b.flat[0] = 2**19, -(2**19)
    expected = [[sum(int(x) * int(y) for x, y in zip(r, c, strict=True)) for c in b.T] for r in a]
    assert portable.product(a.astype(float), b.astype(float)).tolist() == expected


def test_product_at_its_widest_is_exact() -> None:
    """8,192 terms of two full 20-bit peaks: 2^53, the last sum that a double holds."""
    a = np.full((1, portable.PRODUCT_TERMS), 1.0)
    found = portable.product(a, a.T)
    assert found.tolist() == [[float(portable.PRODUCT_TERMS)]]
    wiggled = a.copy()
    wiggled[0, ::2] = 1.0 - 2.0**-20
    exact = sum(Fraction(x) ** 2 for x in wiggled[0].tolist())
    assert Fraction(portable.product(wiggled, wiggled.T)[0, 0]) == exact


def test_product_refuses_more_terms() -> None:
    terms = portable.PRODUCT_TERMS + 1
    with pytest.raises(ValueError, match=f"product: {terms} terms given, expected at most 8192"):
        portable.product(np.ones((1, terms)), np.ones((terms, 1)))


def test_product_of_zeros() -> None:
    assert portable.product(np.zeros((2, 3)), np.zeros((3, 2))).tolist() == [[0, 0], [0, 0]]


@given(st.integers(0, 2**32), st.integers(1, 2000))
def test_column_sums_do_not_depend_on_order(seed: int, rows: int) -> None:
    a, _ = matrices(seed, rows, 4, 1)
    found = portable.column_sums(a)
    order = np.random.default_rng(seed + 1).permutation(rows)
    assert portable.column_sums(a[order]).tobytes() == found.tobytes()
    assert np.allclose(found, a.sum(axis=0), atol=rows * np.abs(a).max() * 2.0**-20)


def test_no_libm_in_what_steers_decisions() -> None:
    """exp, sigmoid, tanh and softmax use nothing of NumPy whose last bit a platform may choose."""
    source = Path(portable.__file__).read_text(encoding="utf-8")
    used = set(re.findall(r"\bnp\.(\w+)", source))
    assert not used & {"exp", "tanh", "log", "power", "exp2", "expm1", "sinh", "cosh", "sum"}
