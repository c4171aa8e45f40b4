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
