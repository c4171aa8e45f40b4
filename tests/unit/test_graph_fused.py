# SPDX-License-Identifier: Apache-2.0
"""The Triton kernels do what the steps in torch do: on a GPU, else in Triton's interpreter."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from e2train.network.models import network_spec
from test_graph_integer import DEEPER, FULL, PSG, Pair, decisions

torch = pytest.importorskip("torch")
CUDA = torch.cuda.is_available()
if not CUDA:
    os.environ["TRITON_INTERPRET"] = "1"  # read when the kernels are defined
pytest.importorskip("triton")

SMALL = ("resnet-8", (3, 8, 4), 10)
SAMPLES = 3
CASES = [
    pytest.param(SMALL, PSG, id="psg"),
    pytest.param(SMALL, FULL, id="full"),
    pytest.param(SMALL, replace(PSG, input_gradient_bits=8), id="psg 8-bit"),
]
if CUDA:  # the interpreter would take minutes
    CASES += [
        pytest.param(DEEPER, PSG, id="resnet-14 psg"),
        pytest.param(("resnet-20", (3, 32, 32), 10), PSG, id="resnet-20 psg"),
        pytest.param(("resnet-20", (3, 32, 32), 10), FULL, id="resnet-20 full"),
        pytest.param(("mobilenet-v2", (3, 16, 16), 10), PSG, id="mobilenet psg"),
    ]


@pytest.mark.parametrize(("case", "settings"), CASES)
def test_iterations_are_equal(case: tuple, settings: object) -> None:
    from e2train.training.graph.fused import Fused

    where = torch.device("cuda" if CUDA else "cpu")
    samples = 64 if CUDA else SAMPLES
    pair = Pair(network_spec(*case), settings, samples, where, Fused(where))
    pair.iteration(0)
    blocks = len(pair.spec.skippable_blocks)
    pair.iteration(1, decisions(blocks, samples, 1))
    pair.iteration(2, np.zeros((blocks, samples), bool))
    pair.compare_logits()


def _same(expected: torch.Tensor, found: torch.Tensor) -> None:
    assert expected.dtype == found.dtype
    nan = expected != expected
    assert (nan == (found.cpu() != found.cpu())).all()
    bits = expected.view(torch.int64), found.cpu().view(torch.int64)
    assert ((bits[0] == bits[1]) | nan).all()


def test_floats_are_equal() -> None:
    """Of all magnitudes, subnormal ones and what is no number among them."""
    from e2train.training.graph import elementwise, real

    rng = np.random.default_rng(5)
    words = rng.integers(0, 2**64, 3000, np.uint64, endpoint=False)
    odd = [0.0, -0.0, 5e-324, -1e-310, float("inf"), float("nan"), 2.0**-1022, 0.5, 3.0]
    values = torch.from_numpy(np.concatenate([words.view(np.float64), odd]))
    exponents = torch.from_numpy(rng.integers(-2044, 2045, len(values)))
    usual = torch.from_numpy(np.concatenate([rng.standard_normal(1000) * 40, odd]))
    where = "cuda" if CUDA else "cpu"
    constants = real._INVERSE_LN2, (real._LN2_HIGH, real._LN2_LOW), real._TAYLOR
    with np.errstate(all="ignore"):
        there = values.to(where)
        one = torch.tensor(-3)
        _same(real.ldexp(values, exponents), elementwise.ldexp(there, exponents.to(where)))
        _same(real.ldexp(values, one), elementwise.ldexp(there, one.to(where)))
        _same(real.ceiling_exponent(values), elementwise.ceiling_exponent(there))
        _same(real.exp(usual), elementwise.exp(usual.to(where), *constants))
